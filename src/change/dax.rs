// SPDX-License-Identifier: GPL-2.0

//! Writes to files whose blocks are memory of the processor's: what is stored there is on the device.
//!
//! Tests: `tools/core/tests/change_dax.rs`, `qemu/test/t/dax*.sh`.
//!
//! # Crash safety
//!
//! A block within the file can be mapped into memory by others, who store to it whenever they like. So it has to have
//! data on disk before: it becomes zero, and is shown ([`publish`](mod@super::publish)), and only then somebody
//! gets it to write to. Nobody can map a block behind the end: it is written first and shown then, as with a direct
//! write, and only what the write does not cover of it becomes zero before.
//!
//! Who was promised that what leads to a mapped block is durable gets the block when the transaction has committed
//! ([`is_found`](super::sync::is_found)).
//!
//! # Invariants
//!
//! A block within the file that is chosen and not shown yet is zero, whoever has given up in between.
//!
//! # Locks
//!
//! `i_rwsem` exclusively by who writes, the invalidate lock of the mapping shared by a fault: the size stays as it is.
//! The blocks become zero under the map lock, so that of two who find a hole only one makes it zero. Then a journal
//! handle, and the map lock in it.

use super::live::Live;
use super::publish::{publish_alone, WrittenData};
use super::target::promise_hole;
use crate::disk::LogicalBlock;
use crate::map::{Mapping, State};
use crate::space::Run;
use crate::store::{Rule, Store};
use core::ops::Range;
use kernel::error::Result;

/// How many blocks become zero at once at most: others wait for the map lock meanwhile.
pub const MOST_ZEROED: u32 = 512;

/// What can be written to without asking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Written blocks, or pending ones behind the end of the file.
    pub mapping: Mapping,
    /// Whether others may have the blocks mapped as a hole.
    pub new: bool,
}

/// Blocks for a write of bytes `write`, of up to `len` blocks from `at` on, which hold the first of these bytes or
/// begin behind it. `zero` makes blocks of the device zero, which are those of the file from a block on. What is behind
/// the end of the file is to be shown when it is written.
///
/// # Errors
///
/// Those of [`FileMap::choose`](crate::map::FileMap::choose), of `zero` and of [`publish`](fn@super::publish::publish).
/// Nothing of the device can be seen then that was not there before.
pub fn place<S: Store, L: Live<S>>(
    live: &L,
    (at, len): (LogicalBlock, u32),
    write: &Range<u64>,
    mut zero: impl FnMut(LogicalBlock, Run) -> Result,
) -> Result<Place> {
    let volume = live.volume();
    let block = volume.layout.block_size();
    let size = live.size();
    let end = LogicalBlock::first_behind(block, size);
    let within = end.saturating_distance_from(at);
    let (mapping, was) = if within == 0 {
        choose(live, (at, len), |chosen| {
            edges(live, &chosen, write, &mut zero)
        })?
    } else {
        choose(live, (at, len.min(within)), |chosen| match chosen.phys {
            Some(start) if !volume.store.breaks(Rule::MemoryZeroed) => {
                let len = chosen.len;
                zero(chosen.start, Run { start, len })
            }
            _ => Ok(()),
        })?
    };
    if was == State::Written {
        let new = false;
        return Ok(Place { mapping, new });
    }
    if within == 0 {
        let state = State::Pending;
        return Ok(Place {
            mapping: Mapping { state, ..mapping },
            new: false,
        });
    }
    if !volume.store.breaks(Rule::MemoryShown) {
        let shown = WrittenData {
            pos: mapping.start.first_byte(block),
            end: mapping.end().first_byte(block).min(size),
            unwritten: true,
            direct: false,
        };
        publish_alone(live, &shown)?;
    }
    let state = State::Written;
    Ok(Place {
        mapping: Mapping { state, ..mapping },
        new: true,
    })
}

/// Chooses blocks where there are none with data, and has those that were not chosen before prepared by `prepare`: if
/// that fails, they are not chosen any more. Returns the blocks, and what was there.
fn choose<S: Store, L: Live<S>>(
    live: &L,
    (at, len): (LogicalBlock, u32),
    prepare: impl FnOnce(Mapping) -> Result,
) -> Result<(Mapping, State)> {
    let volume = live.volume();
    let mut inode = live.map_lock();
    let found = inode.map.lookup(volume, at, len)?;
    if found.state == State::Written || inode.map.is_chosen(at) {
        return Ok((found, found.state));
    }
    let len = found.len.min(MOST_ZEROED);
    let goal = live.goal(found.end().first_byte(volume.layout.block_size()) >= live.size());
    let len = promise_hole(live, &mut inode, at, len, true)?;
    let chosen = volume.with_reserves(|share| inode.map.choose(volume, at, len, goal, share))?;
    prepare(chosen).inspect_err(|_| inode.map.cancel(volume, at, chosen.end()))?;
    Ok((chosen, found.state))
}

/// Makes the blocks of `chosen` zero that bytes `write` cover only in part.
fn edges<S: Store, L: Live<S>>(
    live: &L,
    chosen: &Mapping,
    write: &Range<u64>,
    zero: &mut impl FnMut(LogicalBlock, Run) -> Result,
) -> Result {
    let volume = live.volume();
    let block = volume.layout.block_size();
    if volume.store.breaks(Rule::RestZeroed) {
        return Ok(());
    }
    let first = chosen.start.first_byte(block);
    let last = chosen.end().first_byte(block);
    let len = u64::from(block.bytes());
    let mut at = |index: u32| match chosen.phys.and_then(|phys| phys.checked_add(index.into())) {
        Some(start) => zero(chosen.start.saturating_add(index), Run { start, len: 1 }),
        None => Ok(()),
    };
    let final_index = chosen.len.saturating_sub(1);
    let head = write.start > first;
    if head {
        at(0)?;
    }
    // The last block, where the write ends in it, if that is another one.
    if write.end < last && write.end > last.saturating_sub(len) && !(head && final_index == 0) {
        at(final_index)?;
    }
    Ok(())
}

/// A write to memory has ended behind byte `size`, the end of the file until then, having written bytes `written`:
/// shows them and raises the size, and gives back what was chosen for more. The caller holds `i_rwsem` exclusively.
///
/// # Errors
///
/// Those of [`publish`](fn@super::publish::publish). What could not be shown is given back, too.
pub fn extend<S: Store, L: Live<S>>(live: &L, size: u64, written: &Range<u64>) -> Result {
    let volume = live.volume();
    let shown = match written.end > size && !written.is_empty() {
        true => publish_alone(
            live,
            &WrittenData {
                pos: written.start,
                end: written.end,
                unwritten: true,
                direct: true,
            },
        ),
        false => Ok(()),
    };
    let end = LogicalBlock::first_behind(volume.layout.block_size(), live.size());
    live.map_lock().map.cancel(volume, end, LogicalBlock::LIMIT);
    shown
}
