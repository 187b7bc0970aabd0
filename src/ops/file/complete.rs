// SPDX-License-Identifier: GPL-2.0

//! Where writeback and direct writes meet the core: blocks are chosen for what the page cache has, and what is on the
//! device is shown ([`publish`]).
//!
//! # Locks
//!
//! Journal handle, then map lock, both inside `publish`; a folio may be locked where blocks are chosen.

use super::iomap_ops::discard_delayed;
use super::lookup::{lookup_locked, to_map, unchanged, with_core, Blocks, MAX_RUN};
use crate::change::publish::{publish, WrittenData};
use crate::change::Live;
use crate::linux::iomap::dio;
use crate::linux::iomap::ioend::{Batch, Writer};
use crate::linux::iomap::writeback::Writeback;
use crate::linux::iomap::{Map, MapFlags};
use crate::linux::memalloc::NofsScope;
use crate::map::State;
use crate::ops::{Fs, Node};
use crate::space::Share;
use crate::store::Store;
use kernel::error::{Error, Result};

/// Direct writes.
pub(crate) struct DirectWrite;

impl dio::Write for DirectWrite {
    type Ops = super::iomap_ops::Direct<false>;
    type BatchOps = super::iomap_ops::Direct<true>;

    fn is_within(node: &Node, end: u64) -> bool {
        Live::is_within(node, end)
    }

    fn is_done(node: &Node, written: &dio::Written) -> bool {
        with_core(node, |volume, core| {
            let mut left = Blocks::touched(volume, written.pos, written.len)?;
            loop {
                let found = lookup_locked(volume, core, left, true)?;
                if found.state != State::Written {
                    return Ok(false);
                }
                if found.end() >= left.end() {
                    return Ok(written.pos.saturating_add(written.len) <= core.disk_size);
                }
                left.len = left.end().saturating_distance_from(found.end());
                left.start = found.end();
            }
        })
        // Then the same error comes up again where it can be reported.
        .unwrap_or_else(|_: Error| false)
    }

    fn end_io(node: &Node, written: &dio::Written) -> Result {
        let written = WrittenData {
            pos: written.pos,
            end: written.pos.saturating_add(written.len),
            unwritten: written.unwritten,
            direct: true,
        };
        let _nofs = NofsScope::enter();
        let mut handle = None;
        publish(node, &mut handle, &written)
    }
}

/// Makes the file show what writeback of the page cache or asynchronous direct writes have written.
pub(crate) fn complete_writes(node: &Node, batch: &mut Batch<'_>) {
    let _nofs = NofsScope::enter();
    let store = &node.data().volume().store;
    // As few transactions as possible.
    let mut handle = None;
    // Nobody would write it again: for want of memory it would be lost. It is not waited for within a transaction,
    // the commit of which may be what gives some back.
    batch.each(|range| {
        let written = WrittenData {
            pos: range.pos,
            end: range.end(),
            unwritten: range.unwritten,
            direct: range.writer == Writer::Direct,
        };
        store.insist(|| publish(node, &mut handle, &written).inspect_err(|_| handle = None))
    });
}

/// Writeback of the page cache.
pub(crate) struct PageCache;

impl PageCache {
    /// Where the bytes from `pos` on go, `len` of them at least. Blocks that were only reserved are chosen.
    fn place(node: &Node, pos: u64, len: u64) -> Result<Map> {
        with_core(node, |volume, core| {
            let mut blocks = Blocks::touched(volume, pos, len)?;
            // The mapping is used for the folios that follow too.
            blocks.len = MAX_RUN;
            let found = lookup_locked(volume, core, blocks, true)?;
            let mapping = match found.state {
                State::Hole | State::Written => found,
                // What was not reserved when the page cache was written, because a fault wrote to unwritten
                // blocks, may use all that is there: there is nobody to tell that the device is full.
                _ => {
                    let bits = volume.layout.block_size().bits();
                    let end = u64::from(found.end().get()) << bits;
                    let goal = node.goal(end >= node.size());
                    core.map
                        .choose(volume, blocks.start, found.len, goal, Share::All)?
                }
            };
            to_map(volume, &mapping, MapFlags::NONE)
        })
    }
}

impl Writeback for PageCache {
    type FileSystem = Fs;

    fn map(node: &Node, pos: u64, len: u64) -> Result<Map> {
        let store = &node.data().volume().store;
        // After an abort nothing may get to the device: what the file system thinks is free may not be free there.
        store.check_writable()?;
        // What cannot be mapped is given up: that is not to be for want of memory.
        store.insist(|| Self::place(node, pos, len))
    }

    fn valid(node: &Node, cookie: u64) -> bool {
        unchanged(node, cookie)
    }

    fn discard(node: &Node, pos: u64, end: u64) {
        discard_delayed(node, pos, end);
    }

    fn extends(node: &Node, end: u64) -> bool {
        end > node.disk_size_hint()
    }
}
