// SPDX-License-Identifier: GPL-2.0

//! Data of files, in the place of the page cache and iomap: what is written, when it gets to the device, and in
//! which order the file shows it.
//!
//! | file | what | in the module |
//! |---|---|---|
//! | `cache.rs` | the page cache: writing, zeroing, writeback | `ops/file/cached.rs`, `iomap_ops.rs`, iomap |
//! | `direct.rs` | direct writes | `ops/file/direct.rs`, `iomap_ops.rs`, iomap |
//! | `exchange.rs` | blocks that two files exchange | `ops/file/exchange.rs` |
//! | `fallocate.rs` | `fallocate` | `ops/file/fallocate.rs` |
//! | `flight.rs` | data on its way, and what is done when it is there | `ops/file/complete.rs`, `ioend.rs` |
//! | `memory.rs` | files whose blocks are memory | `ops/file/dax.rs`, `iomap/dax.rs` |
//! | `size.rs` | truncate, and what is between the end and a write behind it | `ops/file/resize.rs`, `checks.rs` |
//! | `sync.rs` | making files and directories durable | `ops/durable.rs`, `ops/mount/state.rs` |
//!
//! What is decided there by the functions of `change`, and so tested here: what blocks are seen as, gaps and tails that
//! are zeroed, how a direct write is made, what is to be done when data is on the device, what a sync waits for.
//!
//! # What is simpler
//!
//! A page is a block: the kernel writes the dirty blocks of a page together, here each can be on its own. A user does
//! not write to bytes that a direct write of his is on its way to, so what a block must have is always known.

mod cache;
mod direct;
mod exchange;
mod fallocate;
mod flight;
mod memory;
mod size;
mod sync;

pub use cache::Page;
pub use direct::How;
pub use fallocate::What;
pub use flight::Flight;
pub use memory::Memory;

use crate::model;
use crate::mount::Shared;
use crate::sim::Sim;
use iomapfs_core::change::access::{seen, Seen, View};
use iomapfs_core::change::Live;
use iomapfs_core::disk::LogicalBlock;
use iomapfs_core::map::Mapping;
use std::ops::Range;

/// Bytes of a page.
const PAGE: u64 = 4096;

impl Sim {
    /// What a user must see in a block of a file.
    fn shadow_of(&mut self, ino: u32, at: u32) -> &mut Vec<u8> {
        let size = self.block_size as usize;
        self.shadow
            .entry((ino, at))
            .or_insert_with(|| vec![0; size])
    }

    /// The user sees nothing of a file behind its end.
    pub fn cut_shadow(&mut self, ino: u32, size: u64) {
        let (at, from) = self.split(size);
        let first = self.blocks_for(size);
        self.shadow.retain(|(is, at), _| *is != ino || *at < first);
        if from > 0 {
            self.shadow_of(ino, at)[from..].fill(0);
        }
    }

    /// The user sees zeros in bytes `range` of a file.
    fn zero_shadow(&mut self, ino: u32, range: Range<u64>) {
        let size = u64::from(self.block_size);
        let (first, to) = (self.split(range.start).0, self.blocks_for(range.end));
        for ((_, at), shadow) in self.shadow.range_mut((ino, first)..(ino, to)) {
            let begin = u64::from(*at) * size;
            let from = range.start.saturating_sub(begin) as usize;
            let end = (range.end - begin).min(size) as usize;
            shadow[from..end].fill(0);
        }
    }

    fn lookup(&self, node: &Shared, at: u32, len: u32) -> Mapping {
        let map = &mut node.map_lock().map;
        let found = map.lookup(&self.mount.vol, LogicalBlock::new(at), len);
        found.expect("the map can be read")
    }

    /// What blocks are to whoever looks at them in this way.
    fn seen(&self, found: &Mapping, view: View) -> Seen {
        seen(&self.mount.vol.store, found.state, view)
    }

    /// Block and byte in it.
    fn split(&self, pos: u64) -> (u32, usize) {
        let size = u64::from(self.block_size);
        ((pos / size) as u32, (pos % size) as usize)
    }

    /// How many blocks a file of `size` bytes has, if none is a hole.
    pub fn blocks_for(&self, size: u64) -> u32 {
        size.div_ceil(u64::from(self.block_size)) as u32
    }

    /// Where block `at` begins.
    fn byte_of(&self, at: u32) -> u64 {
        u64::from(at) * u64::from(self.block_size)
    }

    /// Reads the blocks of files as a user would, and compares them with what he must see.
    ///
    /// # Errors
    ///
    /// What differs.
    pub fn check_shadow(&mut self) -> Result<(), String> {
        let written = self.shadow.keys().chain(self.pages.keys());
        let mut all: Vec<(u32, u32)> = written.copied().collect();
        let model = self.world.model.iter();
        let unwritten = model.flat_map(|(ino, inode)| inode.unwritten.iter().map(|at| (*ino, *at)));
        all.extend(unwritten);
        all.sort_unstable();
        all.dedup();
        for (ino, at) in all {
            let node = self.node(ino);
            let is = self.read_block(&node, at);
            let len = node.size().saturating_sub(self.byte_of(at));
            let len = len.min(is.len() as u64) as usize;
            let good = match self.shadow.get(&(ino, at)) {
                Some(shadow) => is[..len] == shadow[..len],
                None => is[..len].iter().all(|byte| *byte == 0),
            };
            if !good {
                let what = model::describe(&is);
                return Err(format!("inode {ino}: block {at} reads as {what}"));
            }
        }
        Ok(())
    }
}
