// SPDX-License-Identifier: GPL-2.0

//! What writes share: the checks, with the lock that they need, and what is done where there is no space.
//!
//! # Locks
//!
//! A write through the page cache holds `i_rwsem` exclusively, a direct one mostly shared ([`super::direct`]).

use super::lookup::{lookup, Blocks};
use super::resize::Pages;
use crate::change::access::{next_step, Preparing, Step};
use crate::change::resize::zero_gap;
use crate::change::Live;
use crate::linux::file::{IterSource, Kiocb};
use crate::linux::lock::Held;
use crate::ops::reclaim::{with_space, Effort};
use crate::ops::{Fs, Node};
use crate::store::Store;
use kernel::error::{code::*, Result};
use kernel::page::PAGE_SIZE;

/// Takes the lock, or `EAGAIN` where the request must not wait.
fn held<'a>(node: &'a Node, exclusive: bool, wait: bool) -> Result<Held<'a, Fs>> {
    let lock = if exclusive {
        Held::exclusive(node, wait)
    } else {
        Held::shared(node, wait)
    };
    lock.ok_or(EAGAIN)
}

/// Writes by `once`, and does what `O_SYNC` asks for. Where there is no space, waits until what was freed is free and
/// what was reserved too much is given back, and tries again.
///
/// # Errors
///
/// Those of `once` and of the sync.
#[inline]
pub(crate) fn write<'a>(
    iocb: &mut Kiocb<'a, Fs>,
    from: &mut IterSource<'_>,
    once: impl Fn(&mut Kiocb<'a, Fs>, &mut IterSource<'_>) -> Result<usize>,
) -> Result<usize> {
    let node = iocb.inode();
    let written = match iocb.is_nowait() {
        true => once(iocb, from)?,
        false => with_space(node, Effort::All, || once(iocb, from))?,
    };
    if written == 0 {
        return Ok(0);
    }
    iocb.write_sync(written)
}

/// How a write needs `i_rwsem`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Others may write too.
    Shared,
    /// Nobody else starts to write.
    Exclusive,
    /// Nobody else is writing, nor is direct I/O in flight.
    Alone,
}

/// The checks before any write, with the lock that they and the write need: as `need` says, or exclusive where there
/// is a set-user-id bit to take away or something to be done behind the end of the file. Returns the lock and how many
/// bytes may be written, which may be none.
pub(crate) fn prepare<'a>(
    iocb: &mut Kiocb<'a, Fs>,
    from: &mut IterSource<'_>,
    need: Need,
) -> Result<(Held<'a, Fs>, usize)> {
    let mut lock = held(iocb.inode(), need != Need::Shared, !iocb.is_nowait())?;
    let (mut count, step) = check(iocb, from, &lock, need, false)?;
    if step != Step::Write {
        (lock, count) = follow(iocb, from, need, lock, (count, step))?;
    }
    if count != 0 {
        iocb.modified(&lock)?;
    }
    Ok((lock, count))
}

/// Checks a write. Returns how many bytes may be written, and what comes next.
#[inline(always)]
fn check(
    iocb: &mut Kiocb<'_, Fs>,
    from: &mut IterSource<'_>,
    lock: &Held<'_, Fs>,
    need: Need,
    drained: bool,
) -> Result<(usize, Step)> {
    let node = lock.inode();
    // It may have become so since the file was opened.
    if node.is_immutable() {
        return Err(EPERM);
    }
    from.uncut();
    let count = iocb.write_checks(from, lock)?;
    if count == 0 {
        return Ok((0, Step::Write));
    }
    let state = Preparing {
        shared: need == Need::Shared,
        alone: need == Need::Alone,
        exclusive: lock.is_exclusive(),
        drained,
    };
    if !state.exclusive && !node.is_nosec() {
        return Ok((count, Step::Exclude));
    }
    let pos = iocb.pos() as u64;
    let write = pos..pos.saturating_add(count as u64);
    let look = |start, len| lookup(node, Blocks { start, len }, !iocb.is_nowait());
    let step = next_step(node, node.size(), write, state, PAGE_SIZE as u64, look)?;
    Ok((count, step))
}

/// Does what comes next, and what comes then, up to the write. Returns as [`prepare`].
#[cold]
fn follow<'a>(
    iocb: &mut Kiocb<'a, Fs>,
    from: &mut IterSource<'_>,
    need: Need,
    mut lock: Held<'a, Fs>,
    (mut count, mut step): (usize, Step),
) -> Result<(Held<'a, Fs>, usize)> {
    let node = iocb.inode();
    let wait = !iocb.is_nowait();
    let mut drained = false;
    loop {
        match step {
            Step::Write => return Ok((lock, count)),
            Step::Exclude => {
                drop(lock);
                lock = held(node, true, wait)?;
            }
            Step::Drain => {
                // With the lock no new direct write starts, but one in flight may yet move the end.
                if node.dio_in_flight() {
                    if !wait {
                        return Err(EAGAIN);
                    }
                    node.dio_wait();
                }
                drained = true;
            }
            Step::Zero(gap) => {
                if !wait {
                    return Err(EAGAIN);
                }
                let Held::Exclusive(exclusive) = &lock else {
                    let store = &node.data().volume().store;
                    return Err(store.bug(
                        node.ino(),
                        "a gap is to be zeroed with the inode lock shared",
                    ));
                };
                // What is behind the end nobody has mapped.
                zero_gap(node, &mut Pages::of(exclusive.borrow(), 0..0)?, gap)?;
                return Ok((lock, count));
            }
        }
        (count, step) = check(iocb, from, &lock, need, drained)?;
    }
}
