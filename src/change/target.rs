// SPDX-License-Identifier: GPL-2.0

//! The blocks that data goes to: reserved when it is written to the page cache, chosen before it goes to the device.
//! Both are done in memory, and nothing of it is on the device until the data is [shown](super::publish).
//!
//! Tests: `tools/core/tests/change_access.rs`.
//!
//! # Locks
//!
//! The map lock by the caller, who has no handle and may hold a folio lock.

use super::live::Live;
use crate::disk::extent::MAX_WRITTEN;
use crate::disk::LogicalBlock;
use crate::inode::Inode;
use crate::map::{Mapping, Reserved, State};
use crate::space::Share;
use crate::store::Store;
use kernel::error::{code::*, Error, Result};

/// The longest write, in bytes, that chooses blocks although it must not wait: it is one bio, so that it is its
/// completion that does the rest, and not the task that must not wait, unless the device has ended the bio by the time
/// that it is submitted.
pub const MOST_NOWAIT: u64 = 512 << 10;

/// Data will be written to the page cache, of up to `len` blocks from `at` on: what is there, reserved where it is not
/// on disk yet.
///
/// # Errors
///
/// Those of [`FileMap::reserve`](crate::map::FileMap::reserve) and [`FileMap::choose`](crate::map::FileMap::choose);
/// `EAGAIN` where something would have to be read, or there is no space, and `wait` is unset.
pub fn reserve<S: Store, L: Live<S>>(
    live: &L,
    inode: &mut Inode,
    (at, len): (LogicalBlock, u32),
    wait: bool,
) -> Result<Reserved> {
    let volume = live.volume();
    if !wait {
        // What is in memory, it finds without reading.
        inode.map.lookup_cached(at, len).ok_or(EAGAIN)?;
    }
    let len = promise_hole(live, inode, at, len, wait)?;
    let reserved = volume.with_reserves(|share| inode.map.reserve(volume, at, len, share));
    let reserved = reserved.map_err(|error| no_space(error, wait))?;
    if reserved.mapping.state != State::Unwritten {
        return Ok(reserved);
    }
    // Writeback will make them written: what that may need is reserved now.
    let goal = live.goal(false);
    let mapping = inode.map.choose(volume, at, len, goal, Share::Common);
    Ok(Reserved {
        mapping: mapping.map_err(|error| no_space(error, wait))?,
        new: false,
    })
}

/// Where there is a hole at `at`: how many of its blocks the owner may have, up to `len`. Elsewhere `len`.
///
/// # Errors
///
/// `EDQUOT`; `EAGAIN` where somebody would have to be asked, or something read, and `wait` is unset; those of
/// [`FileMap::find`](crate::map::FileMap::find).
#[inline(always)]
pub(super) fn promise_hole<S: Store, L: Live<S>>(
    live: &L,
    inode: &mut Inode,
    at: LogicalBlock,
    len: u32,
    wait: bool,
) -> Result<u32> {
    let volume = live.volume();
    if !volume.layout.has_quota() {
        return Ok(len);
    }
    let found = match wait {
        true => inode.map.find(volume, at, len)?,
        false => inode.map.lookup_cached(at, len).ok_or(EAGAIN)?,
    };
    match found.state {
        State::Hole if wait => live.promise(found.len),
        State::Hole => Err(EAGAIN),
        _ => Ok(len),
    }
}

/// What somebody is told for `error`, who waits or not: there may be ways to make space, all of which wait.
fn no_space(error: Error, wait: bool) -> Error {
    match error == ENOSPC && !wait {
        true => EAGAIN,
        false => error,
    }
}

/// Data of the page cache goes to the device, of block `at` and of those that follow: where. Blocks that were only
/// reserved are chosen. It is a hole where nothing was reserved.
///
/// # Errors
///
/// Those of [`FileMap::lookup`](crate::map::FileMap::lookup) and [`FileMap::choose`](crate::map::FileMap::choose).
pub fn write_back<S: Store, L: Live<S>>(
    live: &L,
    inode: &mut Inode,
    at: LogicalBlock,
) -> Result<Mapping> {
    let volume = live.volume();
    // As many as may be: the mapping is used for what follows, too.
    let found = inode.map.find(volume, at, MAX_WRITTEN)?;
    if matches!(found.state, State::Hole | State::Written) {
        return Ok(found);
    }
    let end = found.end().first_byte(volume.layout.block_size());
    let goal = live.goal(end >= live.size());
    // What was not reserved when the page cache was written, because a fault wrote to unwritten blocks, may use all
    // that is there: there is nobody to tell that the device is full.
    inode.map.choose(volume, at, found.len, goal, Share::All)
}

/// Data goes to the device past the page cache, of `len` blocks from `at` on and up to byte `end`: where, of them all
/// or of as many as there is a run for. Blocks that are there are kept.
///
/// # Errors
///
/// Those of [`FileMap::choose`](crate::map::FileMap::choose).
#[inline]
pub fn direct<S: Store, L: Live<S>>(
    live: &L,
    inode: &mut Inode,
    (at, len): (LogicalBlock, u32),
    end: u64,
) -> Result<Mapping> {
    let volume = live.volume();
    let goal = live.goal(end >= live.size());
    let len = promise_hole(live, inode, at, len, true)?;
    volume.with_reserves(|share| inode.map.choose(volume, at, len, goal, share))
}

/// As [`direct`], of all the blocks in one run, without waiting.
///
/// # Errors
///
/// `EAGAIN` where that cannot be: what was chosen by then stays, for the one who tries again and waits. Others of
/// [`FileMap::choose_now`](crate::map::FileMap::choose_now).
pub fn direct_now<S: Store, L: Live<S>>(
    live: &L,
    inode: &mut Inode,
    (at, len): (LogicalBlock, u32),
    end: u64,
) -> Result<Mapping> {
    let volume = live.volume();
    let goal = live.goal(end >= live.size());
    promise_hole(live, inode, at, len, false)?;
    let chosen = inode.map.choose_now(volume, at, len, goal, Share::Common);
    match chosen.map_err(|error| no_space(error, false))? {
        run if run.len < len => Err(EAGAIN),
        run => Ok(run),
    }
}
