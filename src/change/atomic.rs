// SPDX-License-Identifier: GPL-2.0

//! Direct writes that are there whole after a power cut, or not at all (`RWF_ATOMIC`).
//!
//! Tests: `tools/core/tests/change_atomic.rs`, `qemu/test/t/atomic.sh`.
//!
//! # Two ways
//!
//! | way | goes to | how it is whole |
//! |---|---|---|
//! | in place | the blocks that are there | the device does one request whole or not at all |
//! | aside | new blocks | one transaction puts them in the place of the old ones |
//!
//! In place goes a write whose blocks all have data and are one piece on the device, which begins at a multiple of its
//! length, if the device can write so much at once. All others go aside.
//!
//! Aside can go every write that is short enough, on any device. The blocks that it chooses are such
//! that the next write of the same bytes can go in place. So the longest write that we promise ([`LONGEST`]) does
//! not depend on the device, and how much of that is fast does.
//!
//! # Crash safety
//!
//! The device sees to the way in place, but for what leads to the blocks: were that not durable for some of them, a
//! power cut could show a part of the write only. The way aside is safe as the file shows new blocks and gives up the
//! old ones in one transaction, when the data is on the device.
//!
//! # Locks
//!
//! `i_rwsem` in one mode or the other by the caller for a write in place, exclusively for one aside, with no direct I/O
//! in flight.

use super::live::{InodePart, Live, Shown};
use super::publish::{publish, WrittenData};
use super::sync::{is_found, Committed};
use super::{reservation, target, write_noted};
use crate::disk::LogicalBlock;
use crate::inode::Inode;
use crate::map::{Mapping, State};
use crate::store::{Rule, Store, Transaction};
use crate::volume::Volume;
use core::ops::Range;
use kernel::error::{code::*, Result};

/// The longest atomic write, in bytes: as large as pages of databases are. One transaction takes the place of however
/// many extents, also with a journal of 1 MiB, unless they lie in a hundred groups or more.
pub const LONGEST: u32 = 64 << 10;

/// The shortest atomic write, in bytes: a block. None is shorter, as the rest of a block would have to be read.
pub fn shortest<S: Store>(volume: &Volume<S>) -> u32 {
    volume.layout.block_size().bytes()
}

/// The longest atomic write, in bytes, that a device can do at once which writes `min..=max` bytes at once: 0 where it
/// cannot do so with one block.
pub fn longest_in_place<S: Store>(volume: &Volume<S>, (min, max): (u32, u32)) -> u32 {
    let block = shortest(volume);
    match min <= block && block <= max {
        true => max.min(LONGEST),
        false => 0,
    }
}

/// Whether an atomic write of `len` blocks, up to byte `end`, can go over what was `found` where it begins: see the top
/// of the file. That the device can write so much at once is known.
pub fn goes_over<S: Store, L: Live<S>>(
    live: &L,
    found: &Mapping,
    (len, end): (u32, u64),
    committed: impl FnOnce() -> Committed,
) -> bool {
    let start = found.phys.map_or(0, |phys| phys.get());
    found.state == State::Written
        && found.len == len
        && start.checked_rem(len.into()) == Some(0)
        && (live.volume().store.breaks(Rule::AtomicFound) && live.is_within(end)
            || is_found(live, end, committed))
}

/// An atomic write of `len` blocks from `at` on, up to byte `end`, does not go over data: where it goes.
///
/// # Errors
///
/// Those of [`FileMap::choose_aside`](crate::map::FileMap::choose_aside).
pub fn aside<S: Store, L: Live<S>>(
    live: &L,
    inode: &mut Inode,
    (at, len): (LogicalBlock, u32),
    end: u64,
) -> Result<Mapping> {
    let volume = live.volume();
    if volume.store.breaks(Rule::AtomicAside) {
        return target::direct(live, inode, (at, len), end);
    }
    let goal = live.goal(false);
    // All of it or nothing.
    let promised = target::promise_hole(live, inode, at, len, true)?;
    if promised < len && promised < inode.map.find(volume, at, len)?.len {
        return Err(EDQUOT);
    }
    volume.with_reserves(|share| inode.map.choose_aside(volume, at, len, goal, share))
}

/// The data of an atomic write is on the device that does not go over data: has the file show all of it. `write_back`
/// gets the bytes that were written: it writes the page cache back there, and waits until that is shown and nobody
/// reads the old blocks any more, and nobody changes the page cache there until this is done.
///
/// # Errors
///
/// Those of `write_back`, of [`Store::begin`], [`FileMap::replace`](crate::map::FileMap::replace) and
/// [`Inode::write`](crate::inode::Inode::write). The file shows nothing of the write then.
pub fn show<S: Store, L: Live<S>>(
    live: &L,
    written: &WrittenData,
    write_back: impl FnOnce(Range<u64>) -> Result,
) -> Result {
    let volume = live.volume();
    let size = volume.layout.block_size();
    if volume.store.breaks(Rule::AtomicAside) {
        return publish(live, &mut None, written);
    }
    let bytes = written.pos..written.end;
    let chosen = live.map_lock().map.aside();
    let chosen = chosen.filter(|(from, to)| bytes == (from.first_byte(size)..to.first_byte(size)));
    let (from, to) = chosen.ok_or_else(|| {
        volume.store.bug(
            live.ino(),
            "an atomic write is shown for which nobody has chosen blocks",
        )
    })?;
    // What somebody has stored to a mapping meanwhile goes to the old blocks: not when they are others'.
    write_back(bytes)?;
    loop {
        let granted = live.map_lock().map.replace_credits(volume)?;
        let mut tx = volume.store.begin(reservation::replace(granted))?;
        let mut inode = live.map_lock();
        // Whoever sees the mapping must see which transaction makes it durable.
        let tid = tx.tid();
        live.note_transaction(tid, InodePart::Data);
        let replaced = inode.map.replace(volume, &mut tx, granted);
        let done = matches!(replaced, Ok(true));
        if done {
            inode.disk_size = inode.disk_size.max(written.end);
        }
        // After an error too: what was only reserved may be given back.
        write_noted(live, &inode, &mut tx)?;
        if done && written.end > live.size() {
            live.set_size(written.end);
        }
        if done {
            live.shown(tid, Shown::Data(from, to), inode.disk_size);
        }
        // What was changed meanwhile may have made more extents of the old ones: then it is tried again.
        if replaced? {
            return Ok(());
        }
    }
}
