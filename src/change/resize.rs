// SPDX-License-Identifier: GPL-2.0

//! The size of a regular file on disk changes, and blocks are cut off.
//!
//! # Crash safety
//!
//! A file that shrinks in one transaction needs nothing more. If its blocks do not fit into one, the inode is an orphan
//! from the first to the last: recovery then cuts the file off at its size, which is the first thing that was made
//! durable.

use super::live::{InodePart, Live};
use super::{mark_orphan, reservation, unmark_orphan, write};
use crate::disk::LogicalBlock;
use crate::map::Progress;
use crate::store::{Rule, Store};
use kernel::error::Result;

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
