// SPDX-License-Identifier: GPL-2.0

//! Finding the journal, replaying it, and what it needs to know of us.
//!
//! The journal is the file of an inode. It is found with the structures alone, before anything else is
//! read: the descriptor of the inode's group says where the inode table is, the inode has the root of an
//! extent tree. Nothing of that changes while a file system is mounted, so it may be read before replay.
//!
//! # Invariants
//!
//! * The map of a journal in use covers all its blocks, each within the file system and none twice.

use super::background::Background;
use super::store::JournalStore;
use crate::disk::extent::{Extent, ExtentNodeFormat, Index, Node};
use crate::disk::group_desc::GroupDesc;
use crate::disk::inode::{DiskInode, FileKind, InodeFlags};
use crate::disk::{Ino, Layout, LogicalBlock, PhysBlock};
use crate::linux::jbd2::{Client, Features, Unloaded};
use crate::linux::printk::Level;
use crate::store::{Store, Tid};
use kernel::alloc::{flags::GFP_KERNEL, KVec};
use kernel::error::{code::*, Error, Result};

use kernel::prelude::*;
use kernel::sync::Arc;

/// Blocks that follow each other, in the journal as on the device.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    /// First block in the journal.
    logical: u32,
    /// First block on the device.
    pub(crate) start: PhysBlock,
    /// Number of blocks.
    pub(crate) len: u32,
}

/// Where the blocks of the journal are, in order.
pub(crate) struct JournalMap(KVec<Piece>);

impl JournalMap {
    /// The pieces.
    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// Number of blocks.
    fn blocks(&self) -> u32 {
        self.0
            .last()
            .map_or(0, |last| last.logical.saturating_add(last.len))
    }

    fn find(&self, block: u64) -> Option<u64> {
        let block = u32::try_from(block).ok()?;
        let behind = self.0.partition_point(|piece| piece.logical <= block);
        let piece = self.0.get(behind.checked_sub(1)?)?;
        let offset = block.checked_sub(piece.logical)?;

        (offset < piece.len).then_some(())?;
        Some(piece.start.checked_add(u64::from(offset))?.get())
    }

    /// Adds a piece, which must go on where the last one ended.
    fn add(&mut self, logical: u32, start: PhysBlock, len: u32) -> Result<bool> {
        if logical != self.blocks() || logical.checked_add(len).is_none() {
            return Ok(false);
        }
        self.0.push(
            Piece {
                logical,
                start,
                len,
            },
            GFP_KERNEL,
        )?;
        Ok(true)
    }
}

/// What jbd2 asks and tells.
pub(crate) struct JournalClient {
    map: JournalMap,
    background: Arc<Background>,
}

impl JournalClient {
    /// Where the journal's blocks are.
    pub(crate) fn map(&self) -> &JournalMap {
        &self.map
    }
}

impl Client for JournalClient {
    fn map(&self, block: u64) -> Option<u64> {
        self.map.find(block)
    }

    fn committed(&self, tid: Tid) {
        self.background.committed(tid);
    }
}

/// Finds and opens the journal. Nothing is replayed yet.
///
/// # Errors
///
/// All reported. `EUCLEAN` where inode, tree or journal are not valid; `EOPNOTSUPP` where they are of an old kind;
/// `EIO`, `ENOMEM`.
pub(super) fn open(store: &JournalStore, layout: &Layout) -> Result<Unloaded<JournalClient>> {
    let ino = layout.journal_ino().ok_or(EINVAL)?;
    let map = find(store, layout, ino)?;
    let blocks = map.blocks();
    let device = store.cache().device().clone();
    let background = store.background().clone();
    let journal =
        Unloaded::open(device, blocks, JournalClient { map, background }).inspect_err(|error| {
            store.log(
                Level::Error,
                fmt!(
                    "the journal could not be opened: error {}",
                    error.to_errno()
                ),
            );
        })?;

    if !journal.can_have(Features::REVOKE) {
        store.log(
            Level::Error,
            fmt!("the journal is of an old format: run tune2fs -O ^has_journal, then tune2fs -j"),
        );
        return Err(EOPNOTSUPP);
    }
    Ok(journal)
}

/// Finds the blocks of the journal, inode `ino`.
fn find(store: &JournalStore, layout: &Layout, ino: Ino) -> Result<JournalMap> {
    let finder = Finder { store, layout, ino };
    let inode = finder.inode()?;
    let blocks = inode.size >> layout.block_size().bits();

    if FileKind::from_mode(inode.mode) != Some(FileKind::Regular) || inode.links == 0 {
        return Err(finder.corrupt("is no file in use"));
    }
    if !inode.flags.has(InodeFlags::EXTENTS) {
        store.log(
            Level::Error,
            fmt!(
                "the journal, inode {}, is not mapped by extents, which is not supported",
                ino.get()
            ),
        );
        return Err(EOPNOTSUPP);
    }
    let seed = layout
        .csum_seed()
        .map(|seed| seed.for_inode(ino, inode.generation));
    let format = ExtentNodeFormat::new(layout, ino, seed);

    format
        .verify_root(&inode.block)
        .map_err(|flaw| finder.corrupt(flaw.0))?;
    let root = Node::parse(&inode.block).map_err(|flaw| finder.corrupt(flaw.0))?;
    let mut map = JournalMap(KVec::new());

    finder.walk(
        format,
        root.depth(),
        LogicalBlock::LIMIT,
        &|i| Some((root.extent(i)?, root.index(i)?)),
        &mut map,
    )?;
    if u64::from(map.blocks()) < blocks {
        return Err(finder.corrupt("has a hole"));
    }
    Ok(map)
}

/// Looks for the journal in a file system of which nothing is in memory yet.
struct Finder<'a> {
    store: &'a JournalStore,
    layout: &'a Layout,
    ino: Ino,
}

impl Finder<'_> {
    #[track_caller]
    fn corrupt(&self, what: &str) -> Error {
        self.store
            .corrupt(self.ino, fmt!("journal, inode {}: {what}", self.ino.get()))
    }

    /// Reads the inode.
    fn inode(&self) -> Result<DiskInode> {
        let layout = self.layout;
        let slot = layout
            .inode_slot(self.ino)
            .ok_or_else(|| self.corrupt("no such inode"))?;
        let (block, offset) = layout.desc_location(slot.group);
        // The checksum covers fields that replay may be about to put right, so only the place is looked at.
        let table = self
            .bytes(block, offset, layout.desc_size(), |bytes| {
                GroupDesc::parse(bytes).map(|desc| desc.inode_table)
            })?
            .and_then(|table| table.checked_add(slot.block.into()))
            .filter(|block| layout.contains(*block, 1))
            .ok_or_else(|| self.corrupt("its inode table is not on the device"))?;

        self.bytes(table, slot.offset, layout.inode_size(), |bytes| {
            Some(DiskInode::decode(layout, self.ino, bytes))
        })?
        .ok_or_else(|| self.corrupt("no such inode"))?
        .map_err(|flaw| self.corrupt(flaw.0))
    }

    /// Gives `f` a part of a block, if the block has it.
    fn bytes<R>(
        &self,
        block: PhysBlock,
        offset: usize,
        len: u16,
        f: impl FnOnce(&[u8]) -> Option<R>,
    ) -> Result<Option<R>> {
        let buffer = self.store.cache().read(block.get()).map_err(|error| {
            self.store.fail(
                error,
                block,
                fmt!(
                    "block {} could not be read to find the journal",
                    block.get()
                ),
            )
        })?;

        Ok(buffer.with(|bytes| f(bytes.get(offset..)?.get(..len.into())?)))
    }

    /// Adds the extents below a node to `map`. `entry` gives the node's entries; the tree ends at file block `to`.
    ///
    /// `depth` falls with each call, so this ends, and needs little stack.
    fn walk(
        &self,
        format: ExtentNodeFormat,
        depth: u16,
        to: LogicalBlock,
        entry: &dyn Fn(usize) -> Option<(Extent, Index)>,
        map: &mut JournalMap,
    ) -> Result {
        let mut i = 0;

        while let Some((extent, index)) = entry(i) {
            i = i.saturating_add(1);
            let Some(below) = depth.checked_sub(1) else {
                let start = extent.start.get();

                if !extent.written || !map.add(start, extent.phys, extent.len)? {
                    return Err(self.corrupt("has a hole"));
                }
                continue;
            };
            let to = entry(i).map_or(to, |(_, next)| next.start);
            let block = self.store.read(index.child, format)?;

            block
                .with(|bytes| Node::parse(bytes)?.fits(below, index.start, to))
                .map_err(|flaw| self.corrupt(flaw.0))?;
            self.walk(
                format,
                below,
                to,
                &|i| {
                    block.with(|bytes| {
                        let node = Node::parse(bytes).ok()?;
                        Some((node.extent(i)?, node.index(i)?))
                    })
                },
                map,
            )?;
        }
        Ok(())
    }
}
