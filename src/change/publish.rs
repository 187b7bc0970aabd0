// SPDX-License-Identifier: GPL-2.0

//! The second half of *write, then map*: the data is on the device, now the file shows it.
//!
//! One transaction marks the blocks used, inserts written extents and raises the size on disk. Only then does the size
//! in memory go up (direct writes; the page cache raised it already), and only then does writeback of a folio end, so
//! whoever waits for one waits for the other.
//!
//! # Locks
//!
//! Journal handle, then map lock. The map lock is given up before the handle is restarted: a restart waits for other
//! handles, whose owners may wait for the map lock.

use super::live::{InodePart, Live, Shown};
use super::{reservation, resize, write_noted};
use crate::disk::{LogicalBlock, PhysBlock};
use crate::map::{Progress, Rests, State};
use crate::store::{Rule, Store, Transaction};
use core::ops::Range;
use kernel::error::{code::*, Result};

/// How often what is shown at once may have rests: before those of the extent that it begins in are made zero, before
/// those of the one that it ends in are, and after that.
const MOST_TURNS: u32 = 3;

/// Bytes of a file whose data is on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenData {
    /// The first byte.
    pub pos: u64,
    /// The byte after the last, at most as many as a file can have.
    pub end: u64,
    /// Whether the blocks were unwritten, or only chosen.
    pub unwritten: bool,
    /// Whether the size in memory goes up with that on disk: for direct writes. It went up already when the page cache
    /// was written.
    pub direct: bool,
}

/// The data of `written` is on its way to the device: whether there will be anything to [`publish`](fn@publish) when it
/// is there. Until then the file shows nothing of it.
pub fn is_due<S: Store, L: Live<S>>(live: &L, written: &WrittenData) -> bool {
    let store = &live.volume().store;
    if store.breaks(Rule::MapAfterData) {
        return publish(live, &mut None, written).is_err();
    }
    let extends = written.end > live.disk_size_hint();
    if extends && store.breaks(Rule::SizeAfterData) {
        return resize::grow(live, written.end).is_ok();
    }
    written.unwritten || extends
}

/// Whether the file shows all of `written` already, as written and within its size on disk.
///
/// # Errors
///
/// Those of [`FileMap::lookup`](crate::map::FileMap::lookup); `EFBIG`.
pub fn is_shown<S: Store, L: Live<S>>(live: &L, written: &WrittenData) -> Result<bool> {
    let volume = live.volume();
    let size = volume.layout.block_size();
    let mut at = LogicalBlock::holding(size, written.pos).ok_or(EFBIG)?;
    let to = LogicalBlock::first_behind(size, written.end);
    let mut inode = live.map_lock();
    while at < to {
        let len = to.saturating_distance_from(at);
        let found = inode.map.find(volume, at, len)?;
        if found.state != State::Written {
            return Ok(false);
        }
        at = found.end();
    }
    Ok(written.end <= inode.disk_size)
}

/// The data of a direct write is on the device: whether nothing is left to be done. `told` is whether somebody may have
/// been told before to [`publish`](fn@publish) it, together with others. May be asked where nothing can be waited for,
/// of blocks that were written before.
///
/// No size shrinks while direct I/O is in flight, so what was within it at submission still is.
#[inline]
pub fn is_complete<S: Store, L: Live<S>>(live: &L, written: &WrittenData, told: bool) -> bool {
    // After an error the same one comes up again where it can be reported.
    let shown = || told && is_shown(live, written).unwrap_or(false);
    live.is_within(written.end) && (!written.unwritten || shown())
}

/// Makes the file show `written` in the transaction that is open or in new ones.
///
/// # Errors
///
/// Those of [`FileMap::publish`](crate::map::FileMap::publish), [`Store::begin`] and
/// [`Inode::write`](crate::inode::Inode::write). What was done stays done: it may be called again, with another handle.
pub fn publish<'a, S: Store, L: Live<S>>(
    live: &'a L,
    handle: &mut Option<S::Tx<'a>>,
    written: &WrittenData,
) -> Result {
    publish_with(live, handle, written, MOST_TURNS)
}

/// [`publish`](fn@publish), of which nothing but what was written is shown: who has mapped a block that reads as zeros
/// into memory is not told that it has become a written one.
pub(super) fn publish_alone<S: Store, L: Live<S>>(live: &L, written: &WrittenData) -> Result {
    publish_with(live, &mut None, written, 0)
}

fn publish_with<'a, S: Store, L: Live<S>>(
    live: &'a L,
    handle: &mut Option<S::Tx<'a>>,
    written: &WrittenData,
    most_turns: u32,
) -> Result {
    let volume = live.volume();
    let size = volume.layout.block_size();
    let mut at = LogicalBlock::holding(size, written.pos).ok_or(EFBIG)?;
    let last = LogicalBlock::first_behind(size, written.end);
    let mut to = last;
    if written.unwritten && volume.store.breaks(Rule::ConversionOfPart) {
        let behind = live.map_lock().map.lookup(volume, to, u32::MAX)?;
        if behind.state == State::Unwritten {
            to = behind.end();
        }
    }
    let mut turns: u32 = 0;
    loop {
        // Enough for the worst that one run can need; what fits besides is done too.
        let (granted, credits) = reservation::publish(volume, live.snapshot().depth());
        let tx = volume.store.ready(handle, credits)?;
        let mut inode = live.map_lock();
        // Whoever sees the mapping must see which transaction makes it durable.
        let tid = tx.tid();
        let mut rests = Rests::default();
        live.note_transaction(tid, InodePart::Data);
        let progress = if written.unwritten && !volume.store.breaks(Rule::Conversion) {
            let len = to.saturating_distance_from(at);
            // An append has none.
            if turns < most_turns && written.pos < inode.disk_size {
                rests.end = LogicalBlock::first_behind(size, inode.disk_size.min(live.size()));
            }
            inode
                .map
                .publish_with(volume, tx, (at, len), granted, &mut rests)
                .inspect_err(|_| {
                    live.note_clean_end(false);
                    // What was done before the error belongs to the inode all the same.
                    let _ = write_noted(live, &inode, tx);
                })?
        } else {
            Progress::Done
        };
        let (next, end) = match progress {
            Progress::Done => (to, written.end),
            Progress::Again(next) if volume.store.breaks(Rule::SizeInStep) => (next, written.end),
            Progress::Again(next) => (next, next.first_byte(size).min(written.end)),
        };
        let disk_size = inode.disk_size.max(end);
        if !volume.store.breaks(Rule::SizeWithData) {
            inode.disk_size = disk_size;
        }
        write_noted(live, &inode, tx)?;
        if written.direct && end > live.size() {
            live.set_size(end);
        }
        let shown = if written.unwritten {
            next.min(last)
        } else {
            at
        };
        let shown = rests.with(at..shown);
        live.shown(tid, Shown::Data(shown.start, shown.end), disk_size);
        if progress == Progress::Done {
            return Ok(());
        }
        at = next;
        if rests.wanted {
            turns = turns.saturating_add(1);
        }
        // What nobody would show need not be zero.
        if rests.wanted && turns < most_turns {
            drop(inode);
            // The device is waited for.
            *handle = None;
            zero_rests(live, at..to);
        }
    }
}

/// Makes the rests zero that are beside the first of `blocks`.
fn zero_rests<S: Store, L: Live<S>>(live: &L, blocks: Range<LogicalBlock>) {
    let volume = live.volume();
    let size = volume.layout.block_size();
    let mut inode = live.map_lock();
    let end = LogicalBlock::first_behind(size, inode.disk_size.min(live.size()));
    let len = blocks.end.saturating_distance_from(blocks.start);
    let zeroed = inode
        .map
        .zero_rests(volume, (blocks.start, len), end, |rest, phys| {
            zero_on_device(live, rest, phys, false)
        });
    // If there can be no zeros, there will be more extents.
    let _ = zeroed;
}

/// Makes unwritten blocks, which are on the device from `phys` on, zero there, for which the device may give them up if
/// `unmap`. Nobody else writes to them meanwhile.
///
/// # Errors
///
/// Those of [`Store::check_writable`] and [`Store::zero`].
pub(super) fn zero_on_device<S: Store, L: Live<S>>(
    live: &L,
    blocks: Range<LogicalBlock>,
    phys: PhysBlock,
    unmap: bool,
) -> Result {
    let store = &live.volume().store;
    let len = blocks.end.saturating_distance_from(blocks.start);
    if !store.breaks(Rule::ZeroedFirst) {
        // After an error nothing may get to the device.
        store.check_writable()?;
        store.zero(phys, len, unmap)?;
    }
    live.zeroed(blocks.start, blocks.end, phys);
    Ok(())
}
