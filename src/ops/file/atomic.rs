// SPDX-License-Identifier: GPL-2.0

//! Direct writes that are there whole after a power cut, or not at all (`RWF_ATOMIC`). How that is made so is in
//! [`atomic`](mod@crate::change::atomic).
//!
//! # Locks
//!
//! | write | `i_rwsem` |
//! |---|---|
//! | over data, if the device can | shared, may be asynchronous |
//! | all others | exclusive, alone in flight, waits; at the end the invalidate lock |

use super::checks::{prepare, Need};
use super::complete::DirectWrite;
use super::direct::Tried;
use super::lookup::with_core;
use crate::change::access::{direct_way, DirectWay};
use crate::change::{atomic, Live};
use crate::linux::file::{Answer, IterSource, Kiocb};
use crate::linux::iomap::dio::{self, Flags, Outcome};
use crate::ops::Fs;
use kernel::error::{code::*, Result};
use kernel::page::PAGE_SIZE;

/// Writes all or nothing.
///
/// # Errors
///
/// `EINVAL` where the length is none that `statx(2)` allows, no power of two, or the position is no multiple of it;
/// `EOPNOTSUPP` for a write through the page cache. `EAGAIN` also where the page cache cannot be emptied.
#[cold]
pub(crate) fn write<'a>(mut iocb: Kiocb<'a, Fs>, from: &mut IterSource<'_>) -> Answer<'a> {
    if let Err(error) = check(&mut iocb, from) {
        return iocb.done(Err(error));
    }
    let node = iocb.inode();
    let device = node.super_block().atomic_write_limits();
    let in_place = atomic::longest_in_place(node.data().volume(), device);
    let mut exclusive = iocb.is_append() || from.len() > in_place as usize;
    loop {
        match write_once(iocb, from, exclusive) {
            // There is no other way for the rest: nothing was written.
            Tried::Outcome(Outcome::Done(iocb, Ok(_))) if from.len() != 0 => {
                return iocb.done(Err(EAGAIN));
            }
            Tried::Outcome(outcome) => return outcome.answer(),
            Tried::Exclusive(back) => (iocb, exclusive) = (back, true),
        }
    }
}

fn check(iocb: &mut Kiocb<'_, Fs>, from: &mut IterSource<'_>) -> Result {
    let limits = atomic::shortest(iocb.inode().data().volume())..=atomic::LONGEST;
    if !u32::try_from(from.len()).is_ok_and(|len| limits.contains(&len)) {
        return Err(EINVAL);
    }
    iocb.atomic_write_checks(from)
}

/// Writes, with the lock as the table says, if `exclusive` is right about it.
fn write_once<'a>(
    mut iocb: Kiocb<'a, Fs>,
    from: &mut IterSource<'_>,
    exclusive: bool,
) -> Tried<'a> {
    let node = iocb.inode();
    let nowait = iocb.is_nowait();
    let done = |iocb, error| Tried::Outcome(Outcome::Done(iocb, Err(error)));
    if exclusive && nowait {
        return done(iocb, EAGAIN);
    }
    let len = from.len();
    let need = if exclusive { Need::Alone } else { Need::Shared };
    let (lock, count) = match prepare(&mut iocb, from, need) {
        Ok(prepared) => prepared,
        Err(error) => return done(iocb, error),
    };
    // Only now is it known where it goes and how much it is: the file may end anywhere, and a limit may have cut it.
    let (pos, end) = (
        iocb.pos() as u64,
        (iocb.pos() as u64).saturating_add(len as u64),
    );
    if count != len || pos & (len as u64).wrapping_sub(1) != 0 {
        return done(iocb, EINVAL);
    }
    let size = node.size();
    let alone = exclusive
        || end > size
        || direct_way(node, (pos, end), size, PAGE_SIZE as u64) == DirectWay::Alone;
    if alone && !exclusive {
        return Tried::Exclusive(iocb);
    }
    let (lock, flags) = match exclusive {
        true => (lock, Flags::FORCE_WAIT),
        false => (lock.downgrade(), Flags::OVERWRITE_ONLY),
    };
    let outcome = dio::write::<DirectWrite>(iocb, from, flags, false, &lock);
    if exclusive {
        // Nobody else can have moved the end.
        node.size_extended(size, node.size());
        // It has failed, if there are any.
        with_core(node, |volume, core| core.map.drop_aside(volume));
    }
    drop(lock);
    match outcome {
        Outcome::Done(iocb, Err(error)) if error == EAGAIN && !exclusive && !nowait => {
            Tried::Exclusive(iocb)
        }
        outcome => Tried::Outcome(outcome),
    }
}
