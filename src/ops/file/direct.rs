// SPDX-License-Identifier: GPL-2.0

//! Direct reads and writes.
//!
//! # Which lock a write takes
//!
//! | write | `i_rwsem` |
//! |---|---|
//! | whole blocks: over data, into holes, behind the end | shared, may be asynchronous |
//! | the same, behind a gap after an end within a page | exclusive while the gap is zeroed, then shared |
//! | parts of blocks, over data within the file | shared |
//! | parts of blocks otherwise | exclusive, alone in flight: iomap zeroes the rest of the blocks |
//! | behind an end within a page, if blocks are smaller than pages | the same: the page is mapped anew |
//! | behind the end on disk, within the file | the same: the size on disk goes up when the data is there |
//! | `O_APPEND` | exclusive and alone in flight until it is known where it goes, then as the others |
//!
//! What is appended goes where the file ends when nothing is in flight, so the next one waits for it, though it need
//! not wait itself. Were places given ahead, to be written side by side, a reader would see zeros for a while where
//! something is appended, and for good where that fails and what comes behind does not: an append never makes a hole.
//!
//! Aligned writes that extend the file run side by side: the size goes up when their blocks are mapped, so
//! nobody sees what is not there, and a gap that a slower one leaves for a while is a hole.
//!
//! What the device cannot take, offsets or memory that are not aligned to its sectors, iomap refuses with
//! `EINVAL`.

use super::complete::DirectWrite;
use super::iomap_ops::Read;
use super::lookup::Blocks;
use super::resize::give_back_chosen;
use super::{
    cached,
    checks::{prepare, Need},
};
use crate::change::access::{direct_way, DirectWay};
use crate::change::Live;
use crate::linux::file::{Answer, IterDest, IterSource, Kiocb};
use crate::linux::iomap::dio::{self, Flags, Outcome};
use crate::linux::lock::Held;
use crate::map::State;
use crate::ops::{Fs, Node};
use kernel::error::code::*;
use kernel::page::PAGE_SIZE;

/// Reads.
pub(crate) fn read<'a>(iocb: Kiocb<'a, Fs>, to: &mut IterDest<'_>) -> Answer<'a> {
    let node = iocb.inode();
    let file = iocb.file();
    let Some(lock) = Held::shared(node, !iocb.is_nowait()) else {
        return iocb.done(Err(EAGAIN));
    };
    let answer = dio::read::<Read>(iocb, to, &lock).answer();
    drop(lock);
    file.accessed();
    answer
}

/// How a write that has to be tried another way ended.
pub(super) enum Tried<'a> {
    Outcome(Outcome<'a, Fs>),
    /// It needs the lock exclusively.
    Exclusive(Kiocb<'a, Fs>),
}

/// Writes, with the lock as the table says, if `exclusive` is right about it.
fn write_direct<'a>(
    mut iocb: Kiocb<'a, Fs>,
    from: &mut IterSource<'_>,
    exclusive: bool,
) -> Tried<'a> {
    let node = iocb.inode();
    let nowait = iocb.is_nowait();
    if exclusive && nowait {
        return Tried::Outcome(Outcome::Done(iocb, Err(EAGAIN)));
    }
    let need = match exclusive || iocb.is_append() {
        true => Need::Alone,
        false => Need::Shared,
    };
    let (lock, count) = match prepare(&mut iocb, from, need) {
        Ok(prepared) => prepared,
        Err(e) => return Tried::Outcome(Outcome::Done(iocb, Err(e))),
    };
    if count == 0 {
        return Tried::Outcome(Outcome::Done(iocb, Ok(0)));
    }
    // Only now is it known where it goes and how much it is: a limit may have cut it.
    let (pos, len) = (iocb.pos() as u64, count as u64);
    let end = pos.saturating_add(len);
    let size = node.size();
    let way = match exclusive {
        true => DirectWay::Alone,
        false => direct_way(node, (pos, end), size, PAGE_SIZE as u64),
    };
    let (lock, flags) = match way {
        DirectWay::Alone if !exclusive => return Tried::Exclusive(iocb),
        DirectWay::Alone => (lock, Flags::FORCE_WAIT),
        DirectWay::OverData => (lock.downgrade(), Flags::OVERWRITE_ONLY),
        DirectWay::Shared => (lock.downgrade(), Flags::NONE),
    };
    // What there is to do at the end goes better together with others, if there is anything.
    let batch = end > size || !seems_written(node, pos);
    let outcome = dio::write::<DirectWrite>(iocb, from, flags, batch, &lock);
    if exclusive {
        // Nobody else can have moved the end.
        node.size_extended(size, node.size());
    }
    drop(lock);
    match outcome {
        Outcome::Done(iocb, Err(e)) if e == EAGAIN && way == DirectWay::OverData && !nowait => {
            Tried::Exclusive(iocb)
        }
        outcome => {
            // What must not wait is tried again by somebody who may.
            if matches!(&outcome, Outcome::Done(_, Err(e)) if *e != EAGAIN) && end > size {
                give_back_chosen(node);
            }
            Tried::Outcome(outcome)
        }
    }
}

/// Whether there is data at `pos`, going by the last mapping that was found: a guess.
fn seems_written(node: &Node, pos: u64) -> bool {
    let data = node.data();
    let at = Blocks::touched(data.volume(), pos, 1).map(|blocks| blocks.start);
    let found = at.ok().and_then(|at| data.snapshot().get(at, 1));
    found.is_some_and(|found| found.state == State::Written)
}

/// Writes; what direct I/O cannot do goes through the page cache, and from there to the device at once.
pub(crate) fn write<'a>(mut iocb: Kiocb<'a, Fs>, from: &mut IterSource<'_>) -> Answer<'a> {
    let mut exclusive = false;
    let outcome = loop {
        match write_direct(iocb, from, exclusive) {
            Tried::Outcome(outcome) => break outcome,
            Tried::Exclusive(back) => {
                iocb = back;
                exclusive = true;
            }
        }
    };
    match outcome {
        Outcome::Done(iocb, Ok(written)) if from.len() != 0 => write_fallback(iocb, from, written),
        outcome => outcome.answer(),
    }
}

/// Writes the rest through the page cache, after `direct` bytes.
fn write_fallback<'a>(
    mut iocb: Kiocb<'a, Fs>,
    from: &mut IterSource<'_>,
    direct: usize,
) -> Answer<'a> {
    iocb.clear_direct();
    let buffered = cached::write(&mut iocb, from);
    let written = iocb.direct_write_fallback(from, direct, buffered);
    iocb.done(written)
}
