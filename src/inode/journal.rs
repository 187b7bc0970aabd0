// SPDX-License-Identifier: GPL-2.0

//! Where the journal is.
//!
//! The journal is the file of an inode. It is found with the structures alone, before anything else is
//! read: the descriptor of the inode's group says where the inode table is, the inode has the root of an
//! extent tree. Nothing of that changes while a file system is mounted, so it may be read before replay.
//!
//! # Invariants
//!
//! * The map of a journal covers all its blocks, each within the file system.

use crate::disk::extent::{Extent, ExtentNode, ExtentNodeFormat, Index};
use crate::disk::group_desc::GroupDesc;
use crate::disk::inode::{DiskInode, InodeFlags};
use crate::disk::{Bare, BlockKind, FileType, Flaw, Ino, Layout, LogicalBlock, PhysBlock};
use crate::store::Store;
use kernel::error::{code::*, Error, Result};
use kernel::prelude::*;

/// Blocks that follow each other, in the journal as on the device.
#[derive(Clone, Copy)]
pub struct JournalRun {
    /// First block in the journal.
    logical: u32,
    /// First block on the device.
    pub start: PhysBlock,
    /// Number of blocks.
    pub len: u32,
}

/// Where the blocks of the journal are, in order.
pub struct JournalMap(KVec<JournalRun>);

impl JournalMap {
    /// The pieces.
    pub fn pieces(&self) -> &[JournalRun] {
        &self.0
    }

    /// Number of blocks.
    pub fn blocks(&self) -> u32 {
        self.0
            .last()
            .map_or(0, |last| last.logical.saturating_add(last.len))
    }

    /// Adds a piece, which must go on where the last one ended.
    fn add(&mut self, logical: u32, start: PhysBlock, len: u32) -> Result<bool> {
        if logical != self.blocks() || logical.checked_add(len).is_none() {
            return Ok(false);
        }
        self.0.push(
            JournalRun {
                logical,
                start,
                len,
            },
            GFP_KERNEL,
        )?;
        Ok(true)
    }

    /// How many blocks the journal, inode `ino`, has by its size, whatever is wrong with it otherwise. That
    /// may be more than the file system has.
    ///
    /// # Errors
    ///
    /// The inner one, not reported, is what is wrong with the inode. `EIO`, reported; `ENOMEM`.
    pub fn size_in_blocks<S: Store>(
        store: &S,
        layout: &Layout,
        ino: Ino,
    ) -> Result<Result<u64, Flaw>> {
        let inode = Finder { store, layout, ino }.inode()?;
        Ok(inode.map(|inode| inode.size >> layout.block_size().bits()))
    }

    /// Finds the blocks of the journal, inode `ino`.
    ///
    /// # Errors
    ///
    /// `EUCLEAN` where inode or tree are not valid, and `EIO`, both reported; `EOPNOTSUPP` where the inode has the map
    /// of ext3; `ENOMEM`.
    pub fn find<S: Store>(store: &S, layout: &Layout, ino: Ino) -> Result<Self> {
        let finder = Finder { store, layout, ino };
        let inode = finder.inode()?.map_err(|flaw| finder.flawed(flaw))?;
        let blocks = inode.size >> layout.block_size().bits();

        if FileType::from_mode(inode.mode) != Some(FileType::Regular) || inode.links == 0 {
            return Err(finder.flawed(Flaw::JournalInode));
        }
        if !inode.flags.has(InodeFlags::EXTENTS) {
            return Err(EOPNOTSUPP);
        }
        let seed = layout
            .csum_seed()
            .map(|seed| seed.for_inode(ino, inode.generation));
        let format = ExtentNodeFormat::new(layout, ino, seed);

        format
            .verify_root(&inode.block)
            .map_err(|flaw| finder.flawed(flaw))?;
        let root = ExtentNode::parse(&inode.block).map_err(|flaw| finder.flawed(flaw))?;
        let mut map = JournalMap(KVec::new());

        finder.walk(
            format,
            root.depth(),
            LogicalBlock::LIMIT,
            &|i| Some((root.extent(i)?, root.index(i)?)),
            &mut map,
        )?;
        if u64::from(map.blocks()) < blocks {
            let block = map.blocks();
            return Err(finder.flawed(Flaw::JournalHole { block }));
        }
        Ok(map)
    }
}

/// A block on the way there, which replay may be about to put right: whoever reads it checks what it takes from it.
#[derive(Clone, Copy)]
struct UncheckedFormat;

impl Bare for UncheckedFormat {
    const KIND: BlockKind = BlockKind::Unchecked;
}

/// Looks for the journal in a file system of which nothing is in memory yet.
struct Finder<'a, S: Store> {
    store: &'a S,
    layout: &'a Layout,
    ino: Ino,
}

impl<S: Store> Finder<'_, S> {
    #[cold]
    #[track_caller]
    fn flawed(&self, flaw: Flaw) -> Error {
        self.store.flawed(self.ino, flaw)
    }

    /// Reads the inode, or says what is wrong with it.
    fn inode(&self) -> Result<Result<DiskInode, Flaw>> {
        let layout = self.layout;
        let Some(slot) = layout.inode_slot(self.ino) else {
            return Ok(Err(Flaw::InodeNumber));
        };
        let (block, offset) = layout.desc_location(slot.group);
        // The checksum covers fields that replay may be about to put right, so only the place is looked at.
        let table = self
            .bytes(block, offset, layout.desc_size(), |bytes| {
                GroupDesc::parse(bytes).map(|desc| desc.inode_table)
            })?
            .and_then(|table| table.checked_add(slot.block.into()))
            .filter(|block| layout.contains(*block, 1));
        let Some(table) = table else {
            return Ok(Err(Flaw::JournalTable));
        };
        let decoded = self.bytes(table, slot.offset, layout.inode_size(), |bytes| {
            Some(DiskInode::decode(layout, self.ino, bytes))
        })?;
        Ok(decoded.unwrap_or(Err(Flaw::TooShort)))
    }

    /// Gives `f` a part of a block, if the block has it.
    fn bytes<R>(
        &self,
        block: PhysBlock,
        offset: usize,
        len: u16,
        f: impl FnOnce(&[u8]) -> Option<R>,
    ) -> Result<Option<R>> {
        let block = self.store.read(block, UncheckedFormat)?;
        Ok(block.with(|bytes| f(bytes.get(offset..)?.get(..len.into())?)))
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
                    let block = map.blocks();
                    return Err(self.flawed(Flaw::JournalHole { block }));
                }
                continue;
            };
            let to = entry(i).map_or(to, |(_, next)| next.start);
            let block = self.store.read(index.child, format)?;

            block
                .with(|bytes| ExtentNode::parse(bytes)?.fits(below, index.start, to))
                .map_err(|flaw| self.flawed(flaw))?;
            self.walk(
                format,
                below,
                to,
                &|i| {
                    block.with(|bytes| {
                        let node = ExtentNode::parse(bytes).ok()?;
                        Some((node.extent(i)?, node.index(i)?))
                    })
                },
                map,
            )?;
        }
        Ok(())
    }
}
