// SPDX-License-Identifier: GPL-2.0

//! Allocation of inodes: bits of the inode bitmaps, and counts, flags and checksums of the group descriptors.
//!
//! There is no copy in memory: a bit is looked for and set in the bitmap itself, inside a transaction. An
//! inode that was freed may be taken again at once. That is safe across a crash, as both changes and
//! everything else about inodes goes through the journal in the same order, and its blocks wait for the
//! commit on their own.
//!
//! # Locks
//!
//! One group's disk lock at a time, see [`super::groups`].

use super::Space;
use crate::disk::bitmap::{self, InodeBitmapFormat};
use crate::disk::group_desc::{GroupDesc, GroupFlags};
use crate::disk::inode::InodeTableFormat;
use crate::disk::{Flaw, Group, Ino, PhysBlock};
use crate::store::{Block, Store, Transaction};
use kernel::error::{code::*, Result};
use kernel::sync::atomic::Relaxed;

/// An inode that can be taken.
struct FreeInode<S: Store> {
    ino: Ino,
    /// Its bit in the bitmap.
    bit: u32,
    /// Inodes of the group that were ever used lie before this one.
    used: u32,
    /// The inode bitmap; `None` where the group has none yet.
    bitmap: Option<Block<S, InodeBitmapFormat>>,
}

impl<S: Store> Space<S> {
    /// Allocates an inode for a directory or another file in directory `parent`.
    ///
    /// Its bit is set and its group's descriptor counts it. The block of the inode table that it is in can be
    /// read in any case: where it was never written it is made here. Costs [`Space::credits_alloc_inode`]
    /// credits.
    ///
    /// # Errors
    ///
    /// `ENOSPC`, `ENOMEM`, and what the journal says. Groups whose bitmaps are bad or cannot be read are
    /// passed over.
    pub fn alloc_inode(
        &self,
        store: &S,
        tx: &mut S::Tx<'_>,
        parent: Ino,
        is_dir: bool,
    ) -> Result<Ino> {
        let first = self.inode_group(parent, is_dir);
        for group in self.around(first) {
            let empty = self.groups.get(group).is_none_or(|info| {
                info.free_inodes.load(Relaxed) == 0 || info.bad_inodes.load(Relaxed)
            });
            if empty {
                continue;
            }
            if let Some(ino) = self.take_inode(store, tx, group, is_dir)? {
                return Ok(ino);
            }
        }
        Err(ENOSPC)
    }

    /// Frees an inode that [`Space::alloc_inode`] gave with the same `is_dir`. Costs
    /// [`Space::credits_free_inode`] credits.
    ///
    /// # Errors
    ///
    /// `EUCLEAN` for an inode that is free already, or one of the file system's own; `EIO`, and what the
    /// journal says.
    pub fn free_inode(&self, store: &S, tx: &mut S::Tx<'_>, ino: Ino, is_dir: bool) -> Result {
        let free_already = || store.flawed(ino, Flaw::InodeAlreadyFree);
        let slot = self.layout.inode_slot(ino);
        let Some(slot) = slot.filter(|_| ino.get() >= self.layout.first_ino()) else {
            return Err(store.flawed(ino, Flaw::InodeNumber));
        };
        let (group, bit) = (slot.group, slot.index);
        let _disk = self.lock_disk(store, group)?;
        let mut desc = self.desc(store, group)?;
        let free = desc.free_inodes.saturating_add(1);
        if self.uninit(&desc, GroupFlags::INODE_UNINIT) || free > self.layout.inodes_per_group() {
            return Err(free_already());
        }
        let block = store.read(desc.inode_bitmap, self.inode_bitmap_format(&desc))?;
        let old = desc.inode_bitmap_csum;
        let sum = tx.edit(&block, |bytes| {
            bitmap::clear(bytes, bit, 1).then(|| {
                let sum = self.inode_sum?;
                Some(sum.after(old, &self.powers, bit, 1, bytes))
            })
        })?;
        let Some(sum) = sum else {
            return Err(free_already());
        };
        desc.free_inodes = free;
        desc.used_dirs = desc.used_dirs.saturating_sub(u32::from(is_dir));
        desc.inode_bitmap_csum = sum.unwrap_or(desc.inode_bitmap_csum);
        self.write_inode_counts(store, tx, group, &desc)?;
        self.counters.free_inodes.add(1, Relaxed);
        if is_dir {
            self.counters.dirs.fetch_sub(1, Relaxed);
        }
        Ok(())
    }

    /// Writes a descriptor whose counts of inodes have changed; who looks without a lock sees them.
    fn write_inode_counts(
        &self,
        store: &S,
        tx: &mut S::Tx<'_>,
        group: Group,
        desc: &GroupDesc,
    ) -> Result {
        self.write_desc(store, tx, group, desc)?;
        if let Some(info) = self.groups.get(group) {
            info.free_inodes.store(desc.free_inodes, Relaxed);
            info.dirs.store(desc.used_dirs, Relaxed);
        }
        Ok(())
    }

    /// Whether inode `ino` is in use, as its group's bitmap says.
    ///
    /// # Errors
    ///
    /// `EIO`, `ENOMEM`; `EUCLEAN`, reported, where the bitmap is bad.
    pub fn inode_in_use(&self, store: &S, ino: Ino) -> Result<bool> {
        let Some(slot) = self.layout.inode_slot(ino) else {
            return Ok(false);
        };
        let _disk = self.lock_disk(store, slot.group)?;
        let desc = self.desc(store, slot.group)?;
        if self.uninit(&desc, GroupFlags::INODE_UNINIT) {
            return Ok(false);
        }
        let format = self.inode_bitmap_format(&desc);
        let block = store.read(desc.inode_bitmap, format)?;
        Ok(block.with(|bytes| bitmap::first_clear(bytes, slot.index) != Some(slot.index)))
    }

    /// Takes the first free inode of a group. `None` where there is none, or the group is bad, which was
    /// reported.
    fn take_inode(
        &self,
        store: &S,
        tx: &mut S::Tx<'_>,
        group: Group,
        is_dir: bool,
    ) -> Result<Option<Ino>> {
        let _disk = self.lock_disk(store, group)?;
        let mut desc = self.desc(store, group)?;
        let Some(free) = self.find_inode(store, group, &desc)? else {
            return Ok(None);
        };
        if !self.init_for_inode(store, tx, group, &mut desc, &free)? {
            return Ok(None);
        }
        self.mark_inode(store, tx, &mut desc, &free)?;
        desc.free_inodes = desc.free_inodes.saturating_sub(1);
        desc.used_dirs = desc.used_dirs.saturating_add(u32::from(is_dir));
        self.write_inode_counts(store, tx, group, &desc)?;
        self.counters.free_inodes.fetch_sub(1, Relaxed);
        if is_dir {
            self.counters.dirs.add(1, Relaxed);
        }
        Ok(Some(free.ino))
    }

    /// The first free inode of a group; `None` as in [`Space::take_inode`]. Changes nothing.
    fn find_inode(
        &self,
        store: &S,
        group: Group,
        desc: &GroupDesc,
    ) -> Result<Option<FreeInode<S>>> {
        let per_group = self.layout.inodes_per_group();
        let uninit = self.uninit(desc, GroupFlags::INODE_UNINIT);
        let used = match self.desc_csum.is_some() {
            true => per_group.saturating_sub(desc.itable_unused),
            false => per_group,
        };
        let reserved = match group.get() {
            0 => self.layout.first_ino().saturating_sub(1),
            _ => 0,
        };
        let (bitmap, first) = if uninit {
            (None, Some(reserved))
        } else {
            let read = store.read(desc.inode_bitmap, self.inode_bitmap_format(desc));
            let Some(block) = self.or_spoil_inodes(group, read)? else {
                return Ok(None);
            };
            let first = block.with(|bytes| bitmap::first_clear(bytes, reserved));
            (Some(block), first)
        };
        let Some(bit) = first.filter(|bit| *bit < per_group) else {
            // All are used, although the descriptor counts free ones: reserved inodes that are marked as
            // free.
            return Ok(None);
        };
        let flaw = if bit > used {
            Some(Flaw::InodesBeyondUnused { bit })
        } else if uninit && (desc.free_inodes != per_group || used != 0 || group.get() == 0) {
            Some(Flaw::InodesWithoutBitmap)
        } else {
            None
        };
        if let Some(flaw) = flaw {
            return self.or_spoil_inodes(group, Err(store.flawed(group, flaw)));
        }
        let ino = self.layout.ino_of(group, bit);
        Ok(Some(FreeInode {
            ino: ino.ok_or_else(|| store.bug(group, "an inode has no number"))?,
            bit,
            used,
            bitmap,
        }))
    }

    /// Makes what an inode needs in its group and was never written: its block of the table, the block bitmap. `false`
    /// for a group that is bad; nothing is changed then.
    fn init_for_inode(
        &self,
        store: &S,
        tx: &mut S::Tx<'_>,
        group: Group,
        desc: &mut GroupDesc,
        free: &FreeInode<S>,
    ) -> Result<bool> {
        let bitmapless = self.uninit(desc, GroupFlags::BLOCK_UNINIT);
        if bitmapless {
            // Once there is a bitmap, nobody compares the count with what is in use.
            let index = self.uninit_index(store, group, desc);
            if self.or_spoil_inodes(group, index)?.is_none() {
                return Ok(false);
            }
        }
        if let Some(block) = self.fresh_table_block(desc, free.bit, free.used) {
            tx.create(block, InodeTableFormat, |_| ())?;
        }
        // The block bitmap of a group that has inodes is never left out.
        if bitmapless {
            let format = self.block_bitmap_format(group, desc);
            let (_, sum) = tx.create(desc.block_bitmap, format, |bytes| {
                self.init_bitmap(group, bytes)
            })?;
            desc.block_bitmap_csum = sum.unwrap_or(desc.block_bitmap_csum);
            desc.flags = desc.flags.without(GroupFlags::BLOCK_UNINIT);
        }
        Ok(true)
    }

    /// Sets the bit of an inode in its bitmap, and what the descriptor says of that.
    fn mark_inode(
        &self,
        store: &S,
        tx: &mut S::Tx<'_>,
        desc: &mut GroupDesc,
        free: &FreeInode<S>,
    ) -> Result {
        let per_group = self.layout.inodes_per_group();
        let bit = free.bit;
        let sum = match &free.bitmap {
            Some(block) => {
                let old = desc.inode_bitmap_csum;
                tx.edit(block, |bytes| {
                    bitmap::set(bytes, bit, 1).then(|| {
                        let sum = self.inode_sum?;
                        Some(sum.after(old, &self.powers, bit, 1, bytes))
                    })
                })?
            }
            None => {
                let format = self.inode_bitmap_format(desc);
                let (_, sum) = tx.create(desc.inode_bitmap, format, |bytes| {
                    bitmap::pad(bytes, per_group);
                    bitmap::set(bytes, bit, 1).then(|| self.inode_sum.map(|sum| sum.of(bytes)))
                })?;
                sum
            }
        };
        // The bit was seen to be clear, under the disk lock.
        let sum =
            sum.ok_or_else(|| store.bug(free.ino, "an inode whose bit was clear is in use"))?;
        desc.inode_bitmap_csum = sum.unwrap_or(desc.inode_bitmap_csum);
        desc.flags = desc.flags.without(GroupFlags::INODE_UNINIT);
        if bit >= free.used {
            desc.itable_unused = per_group.saturating_sub(bit).saturating_sub(1);
        }
        Ok(())
    }

    /// The block of the table with inode `bit` of the group, where that and all others in the block were
    /// never used: what the device has there is not known. With `bit` at most `used`, the number of inodes
    /// that were.
    fn fresh_table_block(&self, desc: &GroupDesc, bit: u32, used: u32) -> Option<PhysBlock> {
        let per_block = self.layout.inodes_per_block();
        let first = bit.checked_rem(per_block)? == 0;
        if bit < used || !first {
            return None;
        }
        desc.inode_table
            .checked_add(u64::from(bit.checked_div(per_block)?))
    }

    /// What the group's inode bitmap must be like now.
    fn inode_bitmap_format(&self, desc: &GroupDesc) -> InodeBitmapFormat {
        let sum = self.inode_sum.map(|sum| (sum, desc.inode_bitmap_csum));
        InodeBitmapFormat::new(sum, self.layout.inodes_per_group(), desc.free_inodes)
    }

    /// `None` for an error, which was reported: no more inodes from this group.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, for which the group is not to blame.
    fn or_spoil_inodes<R>(&self, group: Group, result: Result<R>) -> Result<Option<R>> {
        match result {
            Ok(found) => Ok(Some(found)),
            Err(error) if error == ENOMEM => Err(error),
            Err(_) => {
                if let Some(info) = self.groups.get(group) {
                    info.bad_inodes.store(true, Relaxed);
                }
                Ok(None)
            }
        }
    }
}
