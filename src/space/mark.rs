// SPDX-License-Identifier: GPL-2.0

//! The device's side of block allocation: bits of the block bitmaps, and counts, flags and checksums of the
//! group descriptors.
//!
//! # Locks
//!
//! One group's disk lock at a time. [`Transaction::edit`] is called under it and may wait until the journal
//! has written an older version of the buffer; that cannot deadlock, as no commit takes a disk lock.

use super::index::{FreeIndex, Span};
use super::zone::BlockRange;
use super::{Run, Space};
use crate::disk::bitmap::{self, BlockBitmapFormat};
use crate::disk::group_desc::{GroupDesc, GroupFlags};
use crate::disk::{Flaw, Group};
use crate::store::{About, Store, Tid, Transaction};
use kernel::error::{code::*, Error, Result};

/// Whether bits are being set or cleared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BitChange {
    Use,
    Free,
}

impl<S: Store> Space<S> {
    /// Marks chosen blocks as used on the device.
    ///
    /// Costs [`Space::credits_run`] credits, or for runs that were not chosen yet
    /// [`Space::credits_mark_used`].
    ///
    /// # Errors
    ///
    /// `EUCLEAN` where the bitmap has one of them as used already; `EIO`, `ENOMEM`, and what the journal
    /// says.
    pub fn mark_used(&self, store: &S, tx: &mut S::Tx<'_>, run: Run) -> Result {
        self.check_run(store, run)?;
        for (group, span) in self.parts(run) {
            self.change(store, tx, group, span, BitChange::Use)?;
            self.counters.marked(span.len);
            self.groups.with_index(group, |_, slot| {
                if let Some(index) = slot {
                    index.chosen = index.chosen.saturating_sub(span.len);
                }
            });
        }
        Ok(())
    }

    /// Takes [`Space::mark_used`] back, in the same transaction: the blocks are chosen, as they were before.
    ///
    /// # Errors
    ///
    /// `EUCLEAN` where the group has turned out to be bad: then they stay in use until the file system is checked.
    /// Errors of the journal.
    pub fn unmark(&self, store: &S, tx: &mut S::Tx<'_>, run: Run) -> Result {
        for (group, span) in self.parts(run) {
            let done = self.clear(store, tx, group, span, |index| &mut index.chosen)?;
            if !done {
                return Err(store.reported());
            }
            self.counters.unmarked(span.len);
        }
        Ok(())
    }

    /// Marks used blocks as free on the device. They can be chosen again after [`Space::committed`].
    ///
    /// Costs [`Space::credits_run`] credits. The caller revokes metadata blocks ([`Transaction::forget`]).
    ///
    /// In a group whose bitmap is bad nothing is changed: that only leaks blocks, until the file system is
    /// checked.
    ///
    /// # Errors
    ///
    /// `EUCLEAN` where the bitmap has one of them as free already, or where one of them holds the file
    /// system's own metadata; `EIO`, and what the journal says. Where there is no memory it waits: nothing maps the
    /// blocks any more, so they would be lost.
    pub fn free(&self, store: &S, tx: &mut S::Tx<'_>, run: Run) -> Result {
        self.check_run(store, run)?;
        if self.zone.overlaps(BlockRange::new(run.start, run.len)) {
            let (block, len) = (run.start.get(), run.len);
            let flaw = Flaw::BlockOfSystem { block, len };
            return Err(store.flawed(About::NONE, flaw));
        }
        for (group, span) in self.parts(run) {
            store.insist(|| self.free_part(store, tx, group, span))?;
        }
        Ok(())
    }

    /// Changes nothing where it fails.
    fn free_part(&self, store: &S, tx: &mut S::Tx<'_>, group: Group, span: Span) -> Result {
        let Some(start) = self.block_of(group, span.start) else {
            return Err(store.bug(group, "a block is freed that is in no group"));
        };
        let tid = tx.tid();
        self.deferred.prepare(tid)?;
        let freed = self.clear(store, tx, group, span, |index| &mut index.pending);
        if freed != Ok(true) {
            self.deferred.withdraw(tid);
            return freed.map(drop);
        }
        self.counters.freed(span.len);
        let len = span.len;
        self.deferred.add(tid, Run { start, len });
        Ok(())
    }

    /// Clears bits of the group's bitmap. In memory the blocks are not free, but part of what `count` counts. `false`
    /// for a group that is bad. Changes nothing then, or where it fails.
    fn clear(
        &self,
        store: &S,
        tx: &mut S::Tx<'_>,
        group: Group,
        span: Span,
        count: fn(&mut FreeIndex) -> &mut u32,
    ) -> Result<bool> {
        let counted = |f: &dyn Fn(u32) -> u32| {
            let counted = self.groups.with_index(group, |info, slot| match slot {
                Some(index) if !info.is_bad() => {
                    let count = count(index);
                    *count = f(*count);
                    true
                }
                _ => false,
            });
            counted == Some(true)
        };
        // Before the bitmap changes: from here on the index differs from it and has to stay.
        while !counted(&|n| n.saturating_add(span.len)) {
            if !self.ensure_index(store, group)? {
                return Ok(false);
            }
        }
        self.change(store, tx, group, span, BitChange::Free)
            .inspect_err(|_| {
                counted(&|n| n.saturating_sub(span.len));
            })?;
        Ok(true)
    }

    /// Transaction `tid` has committed: what it freed can be chosen again. `on_free` is told each run before
    /// that, while nobody can get it, for discards.
    ///
    /// For the commit callback; never fails or allocates. Sleeps for a mutex.
    pub fn committed(&self, tid: Tid, mut on_free: impl FnMut(Run)) {
        while let Some(runs) = self.deferred.remove(tid) {
            for run in runs.iter() {
                on_free(*run);
                for (group, span) in self.parts(*run) {
                    if self.free_in_memory(group, span, |index| &mut index.pending) {
                        self.counters.returned(span.len);
                    }
                    self.counters.committed(span.len);
                }
            }
        }
    }

    /// Changes bits of the group's bitmap, with all that hangs on it.
    fn change(
        &self,
        store: &S,
        tx: &mut S::Tx<'_>,
        group: Group,
        span: Span,
        what: BitChange,
    ) -> Result {
        let _disk = self.lock_disk(store, group)?;
        let mut desc = self.desc(store, group)?;
        let free = match what {
            BitChange::Use => desc.free_blocks.checked_sub(span.len),
            BitChange::Free => desc.free_blocks.checked_add(span.len),
        };
        let Some(free) = free.filter(|free| *free <= self.layout.blocks_in_group(group)) else {
            return Err(self.spoiled(store, group, span, what));
        };
        let (start, len) = (span.start, span.len);
        let edit = |bytes: &mut [u8]| match what {
            BitChange::Use => bitmap::set(bytes, start, len),
            BitChange::Free => bitmap::clear(bytes, start, len),
        };
        let sum = if self.uninit(&desc, GroupFlags::BLOCK_UNINIT) {
            let format = self.block_bitmap_format(group, &desc);
            let (_, sum) = tx.create(desc.block_bitmap, format, |bytes| {
                self.init_bitmap(group, bytes);
                edit(bytes).then(|| self.block_sum.map(|sum| sum.of(bytes)))
            })?;
            sum
        } else {
            let block = store.read(desc.block_bitmap, self.block_bitmap_format(group, &desc))?;
            let old = desc.block_bitmap_csum;
            tx.edit(&block, |bytes| {
                edit(bytes).then(|| {
                    let sum = self.block_sum?;
                    Some(sum.after(old, &self.powers, start, len, bytes))
                })
            })?
        };
        let Some(sum) = sum else {
            return Err(self.spoiled(store, group, span, what));
        };
        desc.free_blocks = free;
        desc.flags = desc.flags.without(GroupFlags::BLOCK_UNINIT);
        desc.block_bitmap_csum = sum.unwrap_or(desc.block_bitmap_csum);
        self.write_desc(store, tx, group, &desc)
    }

    /// The bitmap does not have the blocks as it must: reports it, and allocates nothing more from the group.
    #[track_caller]
    fn spoiled(&self, store: &S, group: Group, span: Span, what: BitChange) -> Error {
        self.spoil(group);
        let first = span.start;
        let last = first.saturating_add(span.len).saturating_sub(1);
        let flaw = match what {
            BitChange::Use => Flaw::BlocksUsed { first, last },
            BitChange::Free => Flaw::BlocksFree { first, last },
        };
        store.flawed(group, flaw)
    }

    /// Writes the first bitmap of a group that has had none: its metadata and the padding are in use. Gives
    /// its checksum. The block is zero before.
    pub(super) fn init_bitmap(&self, group: Group, bytes: &mut [u8]) -> Option<u32> {
        for span in self.zone_of(group) {
            // Parts of the zone do not overlap, so none of the bits is set yet.
            let _ = bitmap::set(bytes, span.start, span.len);
        }
        bitmap::pad(bytes, self.layout.blocks_in_group(group));
        self.block_sum.map(|sum| sum.of(bytes))
    }

    /// What the group's block bitmap must be like now.
    pub(super) fn block_bitmap_format(&self, group: Group, desc: &GroupDesc) -> BlockBitmapFormat {
        let sum = self.block_sum.map(|sum| (sum, desc.block_bitmap_csum));
        BlockBitmapFormat::new(sum, self.layout.blocks_in_group(group), desc.free_blocks)
    }

    /// Makes sure that the group's index is in memory; `false` for a group that is bad, which was reported
    /// when that was found. Reads the bitmap: no spinning lock.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn ensure_index(&self, store: &S, group: Group) -> Result<bool> {
        let state = || {
            self.groups
                .with_index(group, |info, slot| (info.is_bad(), slot.is_some()))
                .ok_or_else(|| store.bug(group, "blocks of a group are wanted that does not exist"))
        };
        let settled = |(bad, loaded): (bool, bool)| {
            if bad {
                Some(false)
            } else {
                loaded.then_some(true)
            }
        };
        if let Some(usable) = settled(state()?) {
            return Ok(usable);
        }
        let _disk = self.lock_disk(store, group)?;
        if let Some(usable) = settled(state()?) {
            return Ok(usable);
        }
        match self.read_index(store, group) {
            Ok(index) => {
                self.groups.load(group, index);
                Ok(true)
            }
            Err(e) if e == ENOMEM => Err(e),
            Err(_) => {
                self.spoil(group);
                Ok(false)
            }
        }
    }

    /// Makes the index of a group from what the device has. Under the disk lock.
    fn read_index(&self, store: &S, group: Group) -> Result<FreeIndex> {
        let desc = self.desc(store, group)?;
        if self.uninit(&desc, GroupFlags::BLOCK_UNINIT) {
            return self.uninit_index(store, group, &desc);
        }
        let mut index = FreeIndex::new(self.layout.blocks_in_group(group))?;
        self.read_ahead(store, group);
        let block = store.read(desc.block_bitmap, self.block_bitmap_format(group, &desc))?;
        block.with(|bytes| index.add_bitmap(bytes));
        if let Some(span) = self.zone_of(group).find(|span| index.has_free(*span)) {
            let bit = span.start;
            return Err(store.flawed(group, Flaw::BlockUnmarked { bit }));
        }
        Ok(index)
    }

    /// The index of a group that has no bitmap yet: only metadata is in use. Its descriptor must say so.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EUCLEAN`, reported.
    pub(super) fn uninit_index(
        &self,
        store: &S,
        group: Group,
        desc: &GroupDesc,
    ) -> Result<FreeIndex> {
        let mut index = FreeIndex::new(self.layout.blocks_in_group(group))?;
        self.zone_of(group).for_each(|span| index.set_used(span));
        let (found, expected) = (desc.free_blocks, index.count_free());
        if found != expected {
            return Err(store.flawed(group, Flaw::GroupWithoutBitmap { found, expected }));
        }
        Ok(index)
    }

    /// The next groups will be wanted too, and the bitmaps of a flex group lie side by side.
    fn read_ahead(&self, store: &S, group: Group) {
        let Some(first) = self.groups.get(group) else {
            return;
        };
        let size = self.flex_groups().max(1);
        let left = size.saturating_sub(group.get().checked_rem(size).unwrap_or(0));
        let beside = |n: &u32| {
            let other = self.groups.get(Group::new(group.get().saturating_add(*n)));
            other.is_some_and(|info| {
                info.block_bitmap.distance_from(first.block_bitmap) == Some(u64::from(*n))
            })
        };
        let count = (1..left).take_while(beside).last().unwrap_or(0);
        if count > 0 {
            store.readahead(first.block_bitmap, count.saturating_add(1));
        }
    }
}
