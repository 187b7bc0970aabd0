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
use crate::disk::{Group, Ino, PhysBlock};
use crate::store::{About, Store, Transaction};
use crate::volume::Volume;
use kernel::error::{code::*, Result};
use kernel::prelude::*;
use kernel::sync::atomic::Relaxed;

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
        vol: &Volume<S>,
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
            if let Some(ino) = self.take_inode(&vol.store, tx, group, is_dir)? {
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
    pub fn free_inode(
        &self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        ino: Ino,
        is_dir: bool,
    ) -> Result {
        let store = &vol.store;
        let bad = || store.corrupt(ino, fmt!("inode {}: cannot be freed", ino.get()));
        let Some(slot) = self.layout.inode_slot(ino) else {
            return Err(bad());
        };
        let (group, bit) = (slot.group, slot.index);
        if ino.get() < self.layout.first_ino() {
            return Err(bad());
        }
        let _disk = self.groups.disk_lock(group)?.lock();
        let mut desc = self.desc(group)?;
        let free = desc.free_inodes.saturating_add(1);
        if self.uninit(&desc, GroupFlags::INODE_UNINIT) || free > self.layout.inodes_per_group() {
            return Err(bad());
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
            return Err(bad());
        };
        desc.free_inodes = free;
        desc.used_dirs = desc.used_dirs.saturating_sub(u32::from(is_dir));
        desc.inode_bitmap_csum = sum.unwrap_or(desc.inode_bitmap_csum);
        self.write_desc(tx, group, &desc)?;
        if let Some(info) = self.groups.get(group) {
            info.free_inodes.store(desc.free_inodes, Relaxed);
            info.dirs.store(desc.used_dirs, Relaxed);
        }
        self.counters.free_inodes.add(1, Relaxed);
        if is_dir {
            self.counters.dirs.fetch_sub(1, Relaxed);
        }
        Ok(())
    }

    /// Whether inode `ino` is in use, as its group's bitmap says.
    ///
    /// # Errors
    ///
    /// `EIO`, `ENOMEM`; `EUCLEAN`, reported, where the bitmap is bad.
    pub fn inode_in_use(&self, vol: &Volume<S>, ino: Ino) -> Result<bool> {
        let Some(slot) = self.layout.inode_slot(ino) else {
            return Ok(false);
        };
        let _disk = self.groups.disk_lock(slot.group)?.lock();
        let desc = self.desc(slot.group)?;
        if self.uninit(&desc, GroupFlags::INODE_UNINIT) {
            return Ok(false);
        }
        let format = self.inode_bitmap_format(&desc);
        let block = vol.store.read(desc.inode_bitmap, format)?;
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
        let _disk = self.groups.disk_lock(group)?.lock();
        let mut desc = self.desc(group)?;
        let per_group = self.layout.inodes_per_group();
        let uninit = self.uninit(&desc, GroupFlags::INODE_UNINIT);
        // Inodes that were ever used lie before this one.
        let used = match self.desc_csum.is_some() {
            true => per_group.saturating_sub(desc.itable_unused),
            false => per_group,
        };

        // Which one.
        let reserved = if group.get() == 0 {
            self.layout.first_ino().saturating_sub(1)
        } else {
            0
        };
        let bitmap = if uninit {
            None
        } else {
            match store.read(desc.inode_bitmap, self.inode_bitmap_format(&desc)) {
                Ok(block) => Some(block),
                Err(e) if e == ENOMEM => return Err(e),
                Err(_) => return Ok(self.spoil_inodes(group)),
            }
        };
        let first = match &bitmap {
            Some(block) => block.with(|bytes| bitmap::first_clear(bytes, reserved)),
            None => Some(reserved),
        };
        let Some(bit) = first.filter(|bit| *bit < per_group) else {
            // All are used, although the descriptor counts free ones: reserved inodes that are marked as
            // free.
            return Ok(None);
        };
        let flaw = if bit > used {
            Some("an inode is in use that was never used")
        } else if uninit && (desc.free_inodes != per_group || used != 0 || group.get() == 0) {
            Some("inodes are in use without a bitmap")
        } else {
            None
        };
        let (Some(ino), None) = (self.layout.ino_of(group, bit), flaw) else {
            store.corrupt(
                About::NONE,
                fmt!("group {}: {}", group.get(), flaw.unwrap_or("no such inode")),
            );
            return Ok(self.spoil_inodes(group));
        };

        // Once there is a bitmap, nobody compares the count with what is in use.
        let bitmapless = self.uninit(&desc, GroupFlags::BLOCK_UNINIT);
        if bitmapless {
            match self.uninit_index(store, group, &desc) {
                Ok(_) => {}
                Err(e) if e == ENOMEM => return Err(e),
                Err(_) => return Ok(self.spoil_inodes(group)),
            }
        }

        // The inode's block of the table, if it holds none that was ever used.
        if let Some(block) = self.fresh_table_block(&desc, bit, used) {
            tx.create(block, InodeTableFormat, |_| ())?;
        }

        // The block bitmap of a group that has inodes is never left out.
        if bitmapless {
            let format = self.block_bitmap_format(group, &desc);
            let (_, sum) = tx.create(desc.block_bitmap, format, |bytes| {
                self.fill_uninit(group, bytes)
            })?;
            desc.block_bitmap_csum = sum.unwrap_or(desc.block_bitmap_csum);
            desc.flags = desc.flags.without(GroupFlags::BLOCK_UNINIT);
        }

        let sum = match bitmap {
            Some(block) => {
                let old = desc.inode_bitmap_csum;
                tx.edit(&block, |bytes| {
                    bitmap::set(bytes, bit, 1).then(|| {
                        let sum = self.inode_sum?;
                        Some(sum.after(old, &self.powers, bit, 1, bytes))
                    })
                })?
            }
            None => {
                let format = self.inode_bitmap_format(&desc);
                let (_, sum) = tx.create(desc.inode_bitmap, format, |bytes| {
                    bitmap::pad(bytes, per_group);
                    bitmap::set(bytes, bit, 1).then(|| self.inode_sum.map(|sum| sum.of(bytes)))
                })?;
                sum
            }
        };
        // The bit was seen to be clear, under the disk lock.
        let Some(sum) = sum else {
            return Err(store.bug("an inode that was free is in use"));
        };
        desc.inode_bitmap_csum = sum.unwrap_or(desc.inode_bitmap_csum);
        desc.free_inodes = desc.free_inodes.saturating_sub(1);
        desc.used_dirs = desc.used_dirs.saturating_add(u32::from(is_dir));
        desc.flags = desc.flags.without(GroupFlags::INODE_UNINIT);
        if bit >= used {
            desc.itable_unused = per_group.saturating_sub(bit).saturating_sub(1);
        }
        self.write_desc(tx, group, &desc)?;
        if let Some(info) = self.groups.get(group) {
            info.free_inodes.store(desc.free_inodes, Relaxed);
            info.dirs.store(desc.used_dirs, Relaxed);
        }
        self.counters.free_inodes.fetch_sub(1, Relaxed);
        if is_dir {
            self.counters.dirs.add(1, Relaxed);
        }
        Ok(Some(ino))
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

    /// No more inodes from this group.
    fn spoil_inodes(&self, group: Group) -> Option<Ino> {
        if let Some(info) = self.groups.get(group) {
            info.bad_inodes.store(true, Relaxed);
        }
        None
    }
}
