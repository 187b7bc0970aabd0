// SPDX-License-Identifier: GPL-2.0

//! The end of an inode without links: its blocks, its attribute block and itself become free. Until the last step it is
//! an orphan, so that a recovery would do the rest.

use super::live::{InodePart, Live};
use super::{is_counted, reservation, resize, unmark_orphan, value, write, write_with};
use crate::disk::inode::InodeFlags;
use crate::disk::{FileType, LogicalBlock};
use crate::inode::{release_attributes, set_dtime, Draft, ValueCounts};
use crate::store::{Rule, Store};
use kernel::error::Result;

/// Frees an inode without links, which nobody uses and whose page cache is empty. `now` is the time of its deletion, in
/// seconds of Unix time.
///
/// # Errors
///
/// `EUCLEAN`, reported; `EIO`; those of the journal. The inode is an orphan then, and left to a recovery.
pub fn free<S: Store, L: Live<S>>(live: &L, now: u32) -> Result {
    let volume = live.volume();
    // Nobody is there to try again: it would be an orphan until the next mount.
    volume.store.insist(|| free_blocks(live))?;
    let ino = live.ino();
    let mut tx = loop {
        volume.store.insist(|| release_values(live, now))?;
        let mut tx = volume.store.begin(reservation::free(volume))?;
        let mut inode = live.map_lock();
        let mut counts = ValueCounts::lock(volume, live.orphans(), &[], 0);
        // Not if somebody has given up the same block meanwhile, and this inode is the last.
        let released = match volume.store.breaks(Rule::Attributes) {
            true => Some(0),
            false => inode.release_attributes(volume, &mut tx, &mut counts)?,
        };
        drop(counts);
        if let Some(values) = released {
            write(live, &inode, &mut tx, InodePart::Data)?;
            if is_counted(&inode) {
                live.uncount_inodes(&mut tx, values.saturating_add(1));
            }
            drop(inode);
            break tx;
        }
    };
    unmark_orphan(live, &mut tx)?;
    set_dtime(volume, &mut tx, ino, now)?;
    volume
        .space
        .free_inode(&volume.store, &mut tx, ino, live.is_dir())
}

/// Gives up the values of attributes that are in inodes of their own, one at a time, as far as no other inode shares
/// the entries that lead to them.
fn release_values<S: Store, L: Live<S>>(live: &L, now: u32) -> Result {
    let volume = live.volume();
    if volume.layout.value_seed().is_none() || volume.store.breaks(Rule::Attributes) {
        return Ok(());
    }
    loop {
        let mut draft = Draft::of(volume, &live.map_lock())?;
        if !draft.take_one(volume)? {
            return Ok(());
        }
        let values = draft.values();
        let gone = draft.gives_up();
        let mut tx = volume.store.begin(reservation::attribute(volume, values))?;
        let mut inode = live.map_lock();
        let mut counts = ValueCounts::lock(volume, live.orphans(), &[], values);
        let left = draft.write(volume, &mut tx, &mut inode, &mut counts)?;
        write_with(live, &inode, &mut tx, &draft)?;
        live.uncount_inodes(&mut tx, gone);
        if let Some(block) = left {
            release_attributes(volume, &mut tx, &block, inode.owner(), &mut counts)?;
        }
        let unused = counts.into_unused();
        drop(inode);
        drop(tx);
        value::free_all(live, unused, now);
    }
}

/// Frees all blocks but that of attributes. May be called again after an error: what is done stays done.
fn free_blocks<S: Store, L: Live<S>>(live: &L) -> Result {
    if live.map_lock().map.is_empty() {
        // No transaction is needed for that.
        Ok(())
    } else if live.file_type() == FileType::Regular && !live.flags().has(InodeFlags::EA_INODE) {
        resize::cut(live, 0)
    } else {
        free_metadata_blocks(live)
    }
}

/// Frees the blocks of a directory, a long symbolic link or the value of an attribute.
fn free_metadata_blocks<S: Store, L: Live<S>>(live: &L) -> Result {
    let volume = live.volume();
    let mut before = LogicalBlock::LIMIT;
    let mut handle = None;
    loop {
        let (granted, credits) = reservation::cut_metadata(volume, live.snapshot().depth());
        let tx = volume.store.ready(&mut handle, credits)?;
        let mut inode = live.map_lock();
        let progress = resize::cut_metadata(volume, tx, &mut inode, before, granted);
        write(live, &inode, tx, InodePart::Data)?;
        match progress? {
            Some(next) => before = next,
            None => return Ok(()),
        }
    }
}
