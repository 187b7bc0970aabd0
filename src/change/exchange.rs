// SPDX-License-Identifier: GPL-2.0

//! Two files exchange blocks, and the contents of the first stay as they are: `EXT4_IOC_MOVE_EXT`, by which
//! defragmenting works. The *donor* gets the blocks of the first file, unwritten: it reads as zeros there.
//!
//! What the first file has is copied to the donor's blocks, before a transaction exchanges them: so both places have
//! the same data when it commits, and a power cut, wherever it comes, leaves the first file with its data. The donor
//! may have that, too, in place of its own, but not where it had none: on disk it may still have had some there, before
//! something that has not committed, which is waited for first. Each extent is a step of its own.
//!
//! On disk the first file has its old blocks until the transaction commits. That is waited for, before anybody can
//! write to the donor: it would write to those.
//!
//! Tests: `tools/core/tests/change_exchange.rs`, `qemu/test/t/defrag.sh`.
//!
//! # Locks
//!
//! The caller holds `i_rwsem` of both exclusively, and keeps readers, faults and direct I/O off both. Here the map
//! locks are taken inside a handle, one after the other: nobody else changes what is looked at.

use super::live::{InodePart, Live, Shown};
use super::{pin, reservation, write};
use crate::disk::{LogicalBlock, PhysBlock};
use crate::map::Place;
use crate::store::{About, Rule, Store, Tid, Transaction};
use kernel::error::Result;

/// Who can copy blocks of the device, and wait for a commit.
pub trait Copier {
    /// Copies `len` blocks from `from` to `to`, and waits for that. It need not be durable.
    ///
    /// # Errors
    ///
    /// `EIO`, `ENOMEM`; `EINTR` where somebody does not want to wait any more.
    fn copy(&mut self, from: PhysBlock, to: PhysBlock, len: u32) -> Result;

    /// Waits until transaction `tid` has committed.
    ///
    /// # Errors
    ///
    /// What the journal says, which was aborted then.
    fn commit(&mut self, tid: Tid) -> Result;
}

/// What is to be exchanged: so many blocks, from these on of the first file and of the donor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Of the first file.
    pub start: LogicalBlock,
    /// Of the donor.
    pub donor_start: LogicalBlock,
    /// How many.
    pub len: u32,
}

/// Exchanges blocks, where both files have some. Both are written back, and nothing of the donor's is in the page cache
/// there. Returns how many blocks were exchanged, and whether that was all.
///
/// # Errors
///
/// `ENOSPC` where a tree of extents needs a node and there is no block for it; those of [`Store::begin`] and of
/// `copier`. Each block is then exchanged or as it was.
pub fn exchange<S: Store, L: Live<S>>(
    first: &L,
    donor: &L,
    wanted: Wanted,
    copier: &mut impl Copier,
) -> (u32, Result) {
    let store = &first.volume().store;
    if !store.breaks(Rule::DonorCommitted) {
        if let Err(error) = copier.commit(donor.noted_transaction(InodePart::Data)) {
            return (0, Err(error));
        }
    }
    let (exchanged, mut done) = in_steps(first, donor, wanted, copier);
    if exchanged != 0 && !store.breaks(Rule::ExchangeCommitted) {
        let committed = copier.commit(first.noted_transaction(InodePart::Data));
        done = done.and(committed);
    }
    (exchanged, done)
}

fn in_steps<S: Store, L: Live<S>>(
    first: &L,
    donor: &L,
    wanted: Wanted,
    copier: &mut impl Copier,
) -> (u32, Result) {
    let (mut done, mut exchanged) = (0, 0);
    while done < wanted.len {
        let rest = Wanted {
            start: wanted.start.saturating_add(done),
            donor_start: wanted.donor_start.saturating_add(done),
            len: wanted.len.saturating_sub(done),
        };
        match step(first, donor, rest, copier) {
            Ok((len, moved)) => {
                done = done.saturating_add(len.max(1));
                exchanged = if moved { len } else { 0 }.saturating_add(exchanged);
            }
            Err(error) => return (exchanged, Err(error)),
        }
    }
    (exchanged, Ok(()))
}

/// Exchanges the first blocks of `rest`, as many as lie in one extent of both. Returns how many these were, and whether
/// they were exchanged.
fn step<S: Store, L: Live<S>>(
    first: &L,
    donor: &L,
    rest: Wanted,
    copier: &mut impl Copier,
) -> Result<(u32, bool)> {
    let volume = first.volume();
    let (ours, place) = first.map_lock().map.place(volume, rest.start, rest.len)?;
    let (theirs, donor_place) = donor
        .map_lock()
        .map
        .place(volume, rest.donor_start, ours.len)?;
    let len = ours.len.min(theirs.len);
    let (Some(place), Some(donor_place)) = (place, donor_place) else {
        return Ok((len, false));
    };
    if place.written && !volume.store.breaks(Rule::CopiedFirst) {
        copier.copy(place.phys, donor_place.phys, len)?;
    }
    let new = Place {
        phys: donor_place.phys,
        written: place.written,
    };
    // A tree may have become higher, or memory is short: nothing has changed then.
    while !swap(
        first,
        donor,
        (rest.start, rest.donor_start, len),
        place,
        new,
    )? {}
    Ok((len, true))
}

/// Exchanges `len` blocks in one transaction: those of the first file are at `new` then, and those of the donor where
/// the first file's were, `old`, unwritten. `false` where the credits were too few.
fn swap<S: Store, L: Live<S>>(
    first: &L,
    donor: &L,
    (at, donor_at, len): (LogicalBlock, LogicalBlock, u32),
    old: Place,
    new: Place,
) -> Result<bool> {
    let volume = first.volume();
    let depths = (first.map_lock().map.depth(), donor.map_lock().map.depth());
    let (for_first, for_donor, all) = reservation::exchange(volume, depths);
    let mut tx = volume.store.begin(all)?;
    let _pinned = (pin(first)?, pin(donor)?);
    // What can fail for want of space does so before anything changes.
    donor.map_lock().map.reserve_remap(volume, len)?;
    let mut inode = first.map_lock();
    first.note_transaction(tx.tid(), InodePart::Data);
    let done = inode
        .map
        .reserve_remap(volume, len)
        .and_then(|()| inode.map.remap(volume, &mut tx, (at, len), new, for_first));
    let written = write(first, &inode, &mut tx, InodePart::Data);
    drop(inode);
    if done != Ok(true) || written.is_err() {
        donor.map_lock().map.end_remap(volume);
        return written.and(done);
    }

    let mut inode = donor.map_lock();
    donor.note_transaction(tx.tid(), InodePart::Data);
    let place = Place {
        written: false,
        ..old
    };
    let done = volume.store.insist(|| {
        inode
            .map
            .remap(volume, &mut tx, (donor_at, len), place, for_donor)
    });
    write(donor, &inode, &mut tx, InodePart::Data)?;
    if done == Ok(true) {
        let what = Shown::Unwritten(donor_at, donor_at.saturating_add(len));
        donor.shown(tx.tid(), what, inode.disk_size);
        return Ok(true);
    }
    drop(inode);
    // Two files must not have the same blocks. The nodes are in memory, and none more is needed.
    let mut inode = first.map_lock();
    let back = volume
        .store
        .insist(|| inode.map.remap(volume, &mut tx, (at, len), old, for_first));
    write(first, &inode, &mut tx, InodePart::Data)?;
    match back {
        Ok(true) => done,
        _ => {
            let about = About::from(first.ino());
            Err(volume
                .store
                .bug(about, "an exchange of blocks cannot be undone"))
        }
    }
}
