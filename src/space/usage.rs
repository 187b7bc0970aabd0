// SPDX-License-Identifier: GPL-2.0

//! What the blocks of the device are for, as far as that is known without reading inodes: metadata with a place of its
//! own, what is free, and the rest, which is files, directories and the journal.
//!
//! What is free is so in memory. While something changes, blocks that have become free or were chosen may be told of
//! the one way or the other, but each once.
//!
//! Tests: `tools/core/tests/space_usage.rs`, `qemu/test/t/fsmap-like-ext4.sh`.
//!
//! # Locks
//!
//! None is held while a piece is told. To find it, bitmaps are read, and the index lock of a group is taken.

use super::Space;
use crate::disk::PhysBlock;
use crate::sort::merge_sort;
use crate::store::Store;
use core::ops::Range;
use kernel::alloc::{flags::GFP_KERNEL, KVVec};
use kernel::error::{code::*, Result};

/// What blocks are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Nothing.
    Free,
    /// Files, directories, the journal; what comes before the first group.
    Unknown,
    /// The super block, or a copy of it.
    SuperBlock,
    /// Group descriptors, or a copy of them.
    Descriptors,
    /// Kept for more of them.
    MoreDescriptors,
    /// The bitmap of a group's blocks.
    BlockBitmap,
    /// The bitmap of a group's inodes.
    InodeBitmap,
    /// A part of the inode table.
    Inodes,
}

/// Blocks that follow each other, all for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The first.
    pub start: PhysBlock,
    /// How many.
    pub len: u64,
    /// What for.
    pub purpose: Purpose,
}

impl Usage {
    fn new(start: PhysBlock, len: u64, purpose: Purpose) -> Self {
        Self {
            start,
            len,
            purpose,
        }
    }

    /// The block behind the last one.
    pub fn end(&self) -> PhysBlock {
        PhysBlock::new(self.start.get().saturating_add(self.len))
    }

    /// Takes in `next`, if that is for the same and begins where this ends.
    fn join(&mut self, next: &Self) -> bool {
        let joins = self.end() == next.start && self.purpose == next.purpose;
        if joins {
            self.len = self.len.saturating_add(next.len);
        }
        joins
    }
}

/// Somebody who is told one piece after the other.
struct Listener<F> {
    tell: F,
    /// All before this block was told.
    next: PhysBlock,
}

impl<F: FnMut(Usage) -> Result<bool>> Listener<F> {
    /// Tells a piece, and of what is between it and the last one that its purpose is not known. `false` where that was
    /// enough.
    fn tell(&mut self, piece: Usage) -> Result<bool> {
        if !self.tell_gap(piece.start)? || !(self.tell)(piece)? {
            return Ok(false);
        }
        self.next = piece.end().max(self.next);
        Ok(true)
    }

    fn tell_gap(&mut self, end: PhysBlock) -> Result<bool> {
        let len = end.get().saturating_sub(self.next.get());
        if len == 0 {
            return Ok(true);
        }
        let gap = Usage::new(self.next, len, Purpose::Unknown);
        self.next = end;
        (self.tell)(gap)
    }
}

impl<S: Store> Space<S> {
    /// Tells what `blocks` are for, from the first to the last: pieces of which each begins where the one before ends.
    /// Metadata that is not all within `blocks` is told as a whole. `tell` gives whether it wants more.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` where blocks are allocated in clusters; `EUCLEAN`, reported, where a group is bad; `EIO`, `ENOMEM`;
    /// those of `tell`.
    pub fn usage(
        &self,
        store: &S,
        blocks: Range<PhysBlock>,
        tell: impl FnMut(Usage) -> Result<bool>,
    ) -> Result {
        if self.layout.cluster_bits() != 0 {
            return Err(EOPNOTSUPP);
        }
        let end = PhysBlock::new(blocks.end.get().min(self.layout.blocks_count()));
        let mut listener = Listener {
            tell,
            next: blocks.start,
        };
        let fixed = self.fixed(store)?;
        let mut fixed = fixed
            .iter()
            .filter(|piece| piece.end() > blocks.start && piece.start < end)
            .peekable();
        let mut free = None;
        let first = PhysBlock::new(self.layout.first_data_block().into());
        let mut at = blocks.start.max(first);
        loop {
            // What is free across the border of two groups is one piece.
            let found = self.next_free(store, at, end)?;
            if let (Some(last), Some(next)) = (&mut free, &found) {
                if Usage::join(last, next) {
                    at = last.end();
                    continue;
                }
            }
            let until = free.as_ref().map_or(blocks.start, |free| free.start);
            while let Some(piece) = fixed.next_if(|piece| piece.start < until) {
                if !listener.tell(*piece)? {
                    return Ok(());
                }
            }
            if let Some(free) = free.take() {
                if !listener.tell(free)? {
                    return Ok(());
                }
            }
            let Some(next) = found else {
                break;
            };
            at = next.end();
            free = Some(next);
        }
        for piece in fixed {
            if !listener.tell(*piece)? {
                return Ok(());
            }
        }
        listener.tell_gap(end).map(drop)
    }

    /// The first free blocks of one group from `at` on, before `end`.
    fn next_free(&self, store: &S, at: PhysBlock, end: PhysBlock) -> Result<Option<Usage>> {
        let mut at = at;
        while let Some((group, start)) = self.layout.group_of(at).filter(|_| at < end) {
            if !self.ensure_index(store, group)? {
                return Err(store.reported());
            }
            let first = self.layout.group_first_block(group).get();
            let count = self.layout.blocks_in_group(group);
            let behind = end.get().saturating_sub(first).min(count.into()) as u32;
            let found = self.groups.with_index(group, |_, slot| {
                slot.as_ref().map(|index| index.next_run(start..behind, 1))
            });
            match found.flatten() {
                Some(Some(span)) => {
                    let start = PhysBlock::new(first.saturating_add(span.start.into()));
                    return Ok(Some(Usage::new(start, span.len.into(), Purpose::Free)));
                }
                // It has left memory meanwhile.
                None => continue,
                Some(None) => at = PhysBlock::new(first.saturating_add(count.into())),
            }
        }
        Ok(None)
    }

    /// All metadata with a place of its own, in order.
    fn fixed(&self, store: &S) -> Result<KVVec<Usage>> {
        const EACH: usize = 6;
        let layout = &self.layout;
        let room = (layout.groups() as usize).saturating_mul(EACH);
        let mut pieces = KVVec::with_capacity(room, GFP_KERNEL)?;
        for group in layout.all_groups() {
            let mut add = |start: PhysBlock, len: u32, purpose| -> Result {
                if len != 0 {
                    pieces.push_within_capacity(Usage::new(start, len.into(), purpose))?;
                }
                Ok(())
            };
            if layout.has_super(group) {
                let start = layout.group_first_block(group).get();
                let behind = |len: u32| PhysBlock::new(start.saturating_add(len.into()));
                let all = layout.base_meta_blocks(group);
                let known = layout.gdt_blocks().saturating_add(1);
                add(behind(0), 1, Purpose::SuperBlock)?;
                add(behind(1), layout.gdt_blocks(), Purpose::Descriptors)?;
                let more = all.saturating_sub(known);
                add(behind(known), more, Purpose::MoreDescriptors)?;
            }
            let desc = self.desc(store, group)?;
            add(desc.block_bitmap, 1, Purpose::BlockBitmap)?;
            add(desc.inode_bitmap, 1, Purpose::InodeBitmap)?;
            let table = layout.inode_table_blocks();
            add(desc.inode_table, table, Purpose::Inodes)?;
        }
        let mut other = KVVec::with_capacity(pieces.len(), GFP_KERNEL)?;
        other.extend_from_slice(&pieces, GFP_KERNEL)?;
        if merge_sort(&mut pieces, &mut other, |a, b| a.start < b.start) {
            core::mem::swap(&mut pieces, &mut other);
        }
        // In place of those that were sorted: not more come of it.
        other.clear();
        for piece in &pieces {
            if !other.last_mut().is_some_and(|last| last.join(piece)) {
                other.push_within_capacity(*piece)?;
            }
        }
        Ok(other)
    }
}
