// SPDX-License-Identifier: GPL-2.0

//! The size of a regular file on disk changes, and blocks are cut off; and what comes before that.
//!
//! # Crash safety
//!
//! A file that shrinks in one transaction needs nothing more. If its blocks do not fit into one, the inode is an orphan
//! from the first to the last: recovery then cuts the file off at its size, which is the first thing that was made
//! durable.

use super::live::{InodePart, Live};
use super::{mark_orphan, reservation, unmark_orphan, write};
use crate::disk::LogicalBlock;
use crate::map::{Mapping, Progress, State};
use crate::store::{Rule, Store};
use crate::volume::Volume;
use core::ops::Range;
use kernel::error::Result;

/// Which bytes become zero, in the page cache, before the size of a file goes from `old` to `new`: what it grows over,
/// or the rest of the block that it ends in then. The range may be empty.
pub fn tail<S: Store>(volume: &Volume<S>, old: u64, new: u64) -> Range<u64> {
    let size = volume.layout.block_size();
    if volume.store.breaks(Rule::TailZeroed) {
        new..new
    } else if new > old {
        old..new
    } else {
        new..LogicalBlock::first_behind(size, new).first_byte(size)
    }
}

/// Whether the page cache is written back, from the size on disk to `new`, before that goes up from `disk_size` to
/// `new`: what is before the new end and is not on disk yet must be there first. `old` is the size in memory, `zeroed`
/// whether any of [`tail`] had to become zero.
pub fn writes_first(disk_size: u64, old: u64, new: u64, zeroed: bool) -> bool {
    new > disk_size && (zeroed || old != disk_size)
}

/// Whether no block that begins behind byte `size`, the end of the file, has data. This is looked up once, with
/// `lookup` as [`FileMap::lookup`](crate::map::FileMap::lookup) does it, and again after something has failed.
///
/// # Errors
///
/// Those of `lookup`.
pub fn has_clean_end<S: Store, L: Live<S>>(
    live: &L,
    size: u64,
    mut lookup: impl FnMut(LogicalBlock, u32) -> Result<Mapping>,
) -> Result<bool> {
    if live.has_clean_end() {
        return Ok(true);
    }
    let mut at = LogicalBlock::first_behind(live.volume().layout.block_size(), size);
    while at < LogicalBlock::LIMIT {
        let found = lookup(at, LogicalBlock::LIMIT.saturating_distance_from(at))?;
        if found.state == State::Written {
            return Ok(false);
        }
        at = at.saturating_add(found.len.max(1));
    }
    live.note_clean_end(true);
    Ok(true)
}

/// Raises the size on disk to `size` bytes. What is mapped up to there is valid.
///
/// # Errors
///
/// Those of [`Store::begin`] and [`Inode::write`](crate::inode::Inode::write).
pub fn grow<S: Store, L: Live<S>>(live: &L, size: u64) -> Result {
    let mut tx = live.volume().store.begin(reservation::ATTRIBUTES)?;
    let mut inode = live.map_lock();
    inode.disk_size = size;
    write(live, &inode, &mut tx, InodePart::Data)
}

/// Cuts off what is behind byte `size`, the end of the file in memory, although nothing should be. `write_back` gets
/// the bytes that the size on disk does not reach to yet, if there are any: it writes the page cache back there, and
/// waits. The page cache has nothing behind the end.
///
/// # Errors
///
/// Those of `write_back` and of [`cut`].
pub fn cut_behind<S: Store, L: Live<S>>(
    live: &L,
    size: u64,
    write_back: impl FnOnce(Range<u64>) -> Result,
) -> Result {
    let disk_size = live.map_lock().disk_size;
    if writes_first(disk_size, size, size, false) {
        write_back(disk_size..size)?;
    }
    cut(live, size)
}

/// Cuts a file off at `size` bytes, on disk: every block that lies wholly behind becomes a hole, in as many
/// transactions as it takes. The page cache has nothing there, and no I/O is in flight.
///
/// # Errors
///
/// Those of [`FileMap::remove`](crate::map::FileMap::remove), [`Store::begin`] and
/// [`Inode::write`](crate::inode::Inode::write). What was done stays done: it may be called again.
pub fn cut<S: Store, L: Live<S>>(live: &L, size: u64) -> Result {
    let volume = live.volume();
    let from = LogicalBlock::first_behind(volume.layout.block_size(), size);
    live.note_clean_end(false);
    live.map_lock().map.release_window(volume);
    let mut to = LogicalBlock::LIMIT;
    let mut handle = None;
    let (mut asked, mut ours) = (false, false);
    loop {
        let (granted, credits) = reservation::cut(volume, live.snapshot().depth());
        let tx = volume.store.ready(&mut handle, credits)?;
        let mut inode = live.map_lock();
        inode.disk_size = size;
        let progress = inode.map.remove(volume, tx, from, to, granted);
        // After an error too: a part may have been done.
        let more = matches!(progress, Ok(Progress::Again(_)));
        if !(more && volume.store.breaks(Rule::InodeInStep)) {
            write(live, &inode, tx, InodePart::Data)?;
        }
        drop(inode);
        match progress? {
            Progress::Done => {
                live.note_clean_end(true);
                if ours {
                    unmark_orphan(live, tx)?;
                }
                return Ok(());
            }
            Progress::Again(next) => {
                to = next;
                if !asked && !volume.store.breaks(Rule::OrphanOnTruncate) {
                    ours = mark_orphan(live, tx)?;
                    asked = true;
                }
            }
        }
    }
}
