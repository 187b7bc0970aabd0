// SPDX-License-Identifier: GPL-2.0

//! What memory knows of each group: where its metadata is, counts that can be looked at without a lock, and
//! the index of its free blocks, read from the device when the group is first used.
//!
//! # Invariants
//!
//! * The number of zero bits of a group's index is its `free`. Before the index is loaded `free` is what the
//!   descriptor says.
//! * `longest` is not less than the group's longest free run.
//! * A bad group has `free` zero, and nothing is added to it any more.
//! * An index is given up only while it is the same as the bitmap on the device: nothing chosen, nothing
//!   pending.
//!
//! # Locks
//!
//! The *disk lock* of a group (a mutex) is held while its bitmaps and descriptor are changed or compared.
//! Journal and device may be waited for under it: a commit never needs a disk lock. The *index lock*
//! (spinning) guards the index; it is taken inside the disk lock or alone. Both are shared by groups whose
//! numbers are equal modulo a power of two; nobody ever holds two disk locks or two index locks. Buffer locks
//! are taken inside disk locks, never inside index locks.

use super::index::{FreeIndex, Span};
use crate::disk::group_desc::GroupDesc;
use crate::disk::{Group, PhysBlock};
use core::pin::Pin;
use kernel::alloc::{flags::GFP_KERNEL, KBox, KVVec, KVec};
use kernel::error::Result;
use kernel::prelude::*;
use kernel::sync::atomic::{Acquire, Atomic, Full, Relaxed};
use kernel::sync::{new_mutex, new_spinlock, Mutex, SpinLock};

/// Most locks of a kind that there are.
const MAX_STRIPES: usize = 128;

/// A group.
pub(super) struct GroupInfo {
    pub(super) block_bitmap: PhysBlock,
    pub(super) inode_table: PhysBlock,
    /// Free blocks in memory.
    free: Atomic<u32>,
    /// Upper bound of the length of a free run.
    longest: Atomic<u32>,
    /// Free inodes.
    pub(super) free_inodes: Atomic<u32>,
    /// Directories.
    pub(super) dirs: Atomic<u32>,
    /// The length of the shortest free runs that were all trimmed, and nothing has become free since; zero where there
    /// is none such. Changed under the index lock.
    trimmed: Atomic<u32>,
    /// The block bitmap cannot be trusted or read.
    bad_blocks: Atomic<bool>,
    /// The inode bitmap cannot be trusted or read.
    pub(super) bad_inodes: Atomic<bool>,
}

impl GroupInfo {
    /// From a descriptor that was checked.
    pub(super) fn new(desc: &GroupDesc) -> Self {
        Self {
            block_bitmap: desc.block_bitmap,
            inode_table: desc.inode_table,
            free: Atomic::new(desc.free_blocks),
            longest: Atomic::new(desc.free_blocks),
            free_inodes: Atomic::new(desc.free_inodes),
            dirs: Atomic::new(desc.used_dirs),
            trimmed: Atomic::new(0),
            bad_blocks: Atomic::new(false),
            bad_inodes: Atomic::new(false),
        }
    }

    /// Free blocks in memory.
    pub(super) fn free(&self) -> u32 {
        self.free.load(Acquire)
    }

    /// How long a free run may be at most.
    pub(super) fn room(&self) -> u32 {
        self.longest.load(Relaxed).min(self.free())
    }

    /// The free runs of at least `least` blocks are going to be trimmed, all of them if `is_whole`. `false` where they
    /// were. Under the index lock.
    pub(super) fn note_trim(&self, least: u32, is_whole: bool) -> bool {
        let before = self.trimmed.load(Relaxed);
        if (1..=least).contains(&before) {
            return false;
        }
        if is_whole {
            self.trimmed.store(least, Relaxed);
        }
        true
    }

    /// Something has become free, or could not be trimmed. Under the index lock.
    pub(super) fn forget_trim(&self) {
        self.trimmed.store(0, Relaxed);
    }

    /// Whether nothing can be allocated here any more.
    pub(super) fn is_bad(&self) -> bool {
        self.bad_blocks.load(Relaxed)
    }
}

/// The indexes that one lock guards.
type Stripe = KVVec<Option<FreeIndex>>;

/// All groups.
pub(super) struct Groups {
    info: KVVec<GroupInfo>,
    /// Number of stripes less one.
    mask: u32,
    shift: u32,
    index: KVec<Pin<KBox<SpinLock<Stripe>>>>,
    /// How many indexes are in memory.
    loaded: Atomic<u32>,
    /// The group that [`Groups::shrink`] looks at next.
    hand: Atomic<u32>,
    disk: KVec<Pin<KBox<Mutex<()>>>>,
}

impl Groups {
    pub(super) fn new(info: KVVec<GroupInfo>) -> Result<Self> {
        let stripes = info
            .len()
            .checked_next_power_of_two()
            .unwrap_or(1)
            .min(MAX_STRIPES);
        let mask = (stripes as u32).wrapping_sub(1);
        let shift = mask.count_ones();
        let mut index = KVec::with_capacity(stripes, GFP_KERNEL)?;
        let mut disk = KVec::with_capacity(stripes, GFP_KERNEL)?;
        let each = info.len().wrapping_shr(shift).saturating_add(1);
        for _ in 0..stripes {
            let mut slots = KVVec::with_capacity(each, GFP_KERNEL)?;
            for _ in 0..each {
                slots.push_within_capacity(None)?;
            }
            let lock = KBox::pin_init(new_spinlock!(slots, "iomapfs_index"), GFP_KERNEL)?;
            index.push_within_capacity(lock)?;
            let lock = KBox::pin_init(new_mutex!((), "iomapfs_group"), GFP_KERNEL)?;
            disk.push_within_capacity(lock)?;
        }
        Ok(Self {
            info,
            mask,
            shift,
            index,
            loaded: Atomic::new(0),
            hand: Atomic::new(0),
            disk,
        })
    }

    /// Number of groups.
    pub(super) fn count(&self) -> u32 {
        self.info.len() as u32
    }

    /// What is known of a group; `None` if there is no such group.
    pub(super) fn get(&self, group: Group) -> Option<&GroupInfo> {
        self.info.get(group.get() as usize)
    }

    /// The lock for the group's metadata on the device.
    ///
    /// `None` if there is no such group.
    pub(super) fn disk_lock(&self, group: Group) -> Option<&Mutex<()>> {
        let stripe = (group.get() & self.mask) as usize;
        self.disk.get(stripe).map(|lock| &**lock)
    }

    /// Runs `f` with the group's slot for an index, under the index lock. `None` if there is no such group.
    pub(super) fn with_index<R>(
        &self,
        group: Group,
        f: impl FnOnce(&GroupInfo, &mut Option<FreeIndex>) -> R,
    ) -> Option<R> {
        let info = self.get(group)?;
        let stripe = (group.get() & self.mask) as usize;
        let slot = group.get().wrapping_shr(self.shift) as usize;
        let mut stripe = self.index.get(stripe)?.lock();
        Some(f(info, stripe.get_mut(slot)?))
    }

    /// Puts an index in its slot.
    pub(super) fn load(&self, group: Group, index: FreeIndex) {
        let old = self.with_index(group, |_, slot| slot.replace(index));
        if let Some(None) = old {
            self.loaded.add(1, Relaxed);
        }
    }

    /// How many indexes are in memory.
    pub(super) fn loaded(&self) -> u32 {
        self.loaded.load(Relaxed)
    }

    /// Drops up to `nr` indexes that are the same as the bitmaps on the device. Returns how many were dropped.
    pub(super) fn shrink(&self, nr: u32) -> u32 {
        let mut gone = 0_u32;
        for _ in 0..self.count() {
            if gone >= nr {
                break;
            }
            let hand = self.hand.fetch_add(1, Relaxed);
            let group = Group::new(hand.checked_rem(self.count()).unwrap_or(0));
            let index = self.with_index(group, |_, slot| slot.take_if(|index| index.is_clean()));
            if let Some(Some(_)) = index {
                self.loaded.fetch_sub(1, Relaxed);
                gone = gone.saturating_add(1);
            }
        }
        gone
    }

    /// `n` blocks of the group were marked as used in the index. Under the index lock.
    pub(super) fn note_used(&self, info: &GroupInfo, n: u32) {
        info.free.fetch_sub(n, Full);
    }

    /// `run` was marked as free in the index. Under the index lock. `false` for a bad group, which gets
    /// nothing back.
    pub(super) fn note_free(&self, info: &GroupInfo, index: &FreeIndex, run: Span) -> bool {
        if info.is_bad() {
            return false;
        }
        let free = info.free.fetch_add(run.len, Full).wrapping_add(run.len);
        // Most of the time the bound is as loose as it can be, and the group need not be looked at.
        let longest = info.longest.load(Relaxed);
        if longest < free {
            let now = index.run_around(run.start).max(longest);
            info.longest.store(now, Relaxed);
        }
        true
    }

    /// The group was searched through: its longest free run is `longest`. Under the index lock.
    pub(super) fn searched(&self, info: &GroupInfo, longest: u32) {
        info.longest.store(longest, Relaxed);
    }

    /// Nothing more is to be allocated from the group. Gives the number of blocks that were free there so
    /// far.
    pub(super) fn spoil(&self, group: Group) -> u32 {
        self.with_index(group, |info, _| {
            info.bad_blocks.store(true, Relaxed);
            info.free.xchg(0, Full)
        })
        .unwrap_or(0)
    }
}
