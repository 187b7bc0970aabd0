// SPDX-License-Identifier: GPL-2.0

//! How iomap finds blocks: one [`Ops`] for each way of using a file.
//!
//! | way | does with a hole | with delayed blocks | with unwritten ones |
//! |---|---|---|---|
//! | [`Read`], [`Swap`] | | | |
//! | [`Buffered`] | reserves: delayed, new | | chooses: pending |
//! | [`Direct`] | chooses: pending | chooses: pending | chooses: pending |
//! | [`Memory`], within the file | makes zero, and shows: written | | makes zero, and shows: written |
//! | [`Memory`], behind its end | chooses: pending | | chooses: pending |
//!
//! What iomap is told of the blocks that are there then is in [`seen`](crate::change::access::seen).
//!
//! # Locks
//!
//! No handle is taken here, only the map lock; but a handle by [`Memory`], with the entry of a page locked, as iomap
//! would have a folio locked (law 1 of ARCHITECTURE.md).

use super::lookup::{lookup, lookup_locked, to_map, try_with_core, unchanged, with_core, Blocks};
use crate::change::access::{folio_size, View};
use crate::change::dax::place;
use crate::change::{atomic, sync, target, Live};
use crate::disk::LogicalBlock;
use crate::linux::fiemap::ExtentInfo;
use crate::linux::iomap::{self, Done, Extent, Map, MapFlags, Op, Ops, Watched};
use crate::linux::memalloc::NofsScope;
use crate::linux::task;
use crate::map::{Mapping, State};
use crate::ops::reclaim::{with_space, Effort};
use crate::ops::{trace, Fs, Node};
use crate::space::Run;
use crate::store::Store;
use kernel::prelude::*;

impl Watched for Fs {
    #[inline(always)]
    fn begins(node: &Node, pos: u64, len: u64, op: Op) {
        trace::file::mapping(node, (pos, len), op.bits());
    }

    #[inline(always)]
    fn began(result: &Result<Map>) {
        trace::file::mapped(result);
    }
}

/// For reading, and for questions about the map.
pub(crate) struct Read;

#[vtable]
impl Ops for Read {
    type FileSystem = Fs;

    fn begin(node: &Node, pos: u64, len: u64, op: Op) -> Result<Map> {
        let volume = node.data().volume();
        let blocks = match Blocks::touched(volume, pos, len) {
            // Whole folios are read, and the last one may reach behind all that a file can have.
            Err(e) if e == EFBIG => {
                let below = u64::from(volume.layout.block_size().bytes()).wrapping_sub(1);
                let start = pos & !below;
                let end = pos.saturating_add(len).saturating_add(below) & !below;
                return Ok(Map {
                    start,
                    len: end.saturating_sub(start),
                    extent: Extent::Hole,
                    flags: MapFlags::NONE,
                    cookie: 0,
                });
            }
            blocks => blocks?,
        };
        let mapping = lookup(node, blocks, !op.contains(Op::NOWAIT))?;
        let view = match op.contains(Op::DIRECT) {
            true => View::DirectRead,
            false => View::Read,
        };
        to_map(volume, &mapping, view, MapFlags::NONE)
    }
}

/// For swap, which writes to blocks without asking again: they must be allocated on disk.
pub(crate) struct Swap;

#[vtable]
impl Ops for Swap {
    type FileSystem = Fs;

    fn begin(node: &Node, pos: u64, len: u64, _op: Op) -> Result<Map> {
        let volume = node.data().volume();
        let mapping = lookup(node, Blocks::touched(volume, pos, len)?, true)?;
        to_map(volume, &mapping, View::Swap, MapFlags::NONE)
    }
}

/// For writing to the page cache: by `write`, by a fault, by zeroing.
pub(crate) struct Buffered;

#[vtable]
impl Ops for Buffered {
    type FileSystem = Fs;

    fn begin(node: &Node, pos: u64, len: u64, op: Op) -> Result<Map> {
        let volume = node.data().volume();
        let blocks = Blocks::touched(volume, pos, len)?;
        let wait = !op.contains(Op::NOWAIT);
        let fast = node.data().snapshot().get(blocks.start, blocks.len);
        if let Some(mapping) =
            fast.filter(|found| !matches!(found.state, State::Hole | State::Unwritten))
        {
            return to_map(volume, &mapping, View::Write, MapFlags::NONE);
        }
        Self::reserve(node, blocks, op, wait)
    }

    fn end(done: &mut Done<'_, Fs>) -> Result {
        done.release_reservation::<Self>();
        Ok(())
    }

    fn folio_size(node: &Node, pos: u64, len: usize) -> usize {
        folio_size((node.size(), node.data().stream_start()), pos, len)
    }

    fn punch(node: &Node, start: u64, end: u64) {
        discard_delayed(node, start, end);
    }

    fn valid(node: &Node, cookie: u64) -> bool {
        unchanged(node, cookie)
    }
}

impl Buffered {
    /// What is at the first of `blocks`, reserved where it is not on disk yet.
    fn reserve(node: &Node, blocks: Blocks, op: Op, wait: bool) -> Result<Map> {
        try_with_core(node, wait, |volume, core| {
            if op.contains(Op::ZERO) {
                let found = lookup_locked(volume, core, blocks, wait)?;
                return to_map(volume, &found, View::Write, MapFlags::NONE);
            }
            let reserved = target::reserve(node, core, blocks.span(), wait)?;
            let flags = match reserved.new {
                true => MapFlags::NEW,
                false => MapFlags::NONE,
            };
            to_map(volume, &reserved.mapping, View::Write, flags)
        })
    }
}

/// Bytes `start..end` will not be written back: gives up the reservations of blocks that begin in them. Other
/// states stay as they are. A folio may be locked.
pub(crate) fn discard_delayed(node: &Node, start: u64, end: u64) {
    if end <= start {
        return;
    }
    with_core(node, |volume, core| {
        if let Ok(blocks) = Blocks::touched(volume, start, end.saturating_sub(start)) {
            core.map.cancel_delayed(volume, blocks.start, blocks.end());
        }
    });
}

/// For direct writes. `QUEUED`: what there is to do when the data is on the device is done by somebody else, so a task
/// that must not wait may choose blocks. That needs no handle, only memory. On a device in memory the data is there at
/// once, and the task does the rest itself, for which it may wait for the journal.
pub(crate) struct Direct<const QUEUED: bool>;

#[vtable]
impl<const QUEUED: bool> Ops for Direct<QUEUED> {
    type FileSystem = Fs;

    fn begin(node: &Node, pos: u64, len: u64, op: Op) -> Result<Map> {
        if !op.contains(Op::WRITE) {
            return Read::begin(node, pos, len, op);
        }
        let volume = node.data().volume();
        let blocks = Blocks::touched(volume, pos, len)?;
        let end = pos.saturating_add(len);
        let mapping = if op.intersects(Op::OVERWRITE_ONLY.with(Op::NOWAIT).with(Op::ATOMIC)) {
            if op.contains(Op::ATOMIC) {
                return Self::atomic(node, blocks, op, end);
            }
            Self::whole(node, blocks, op, end, len)?
        } else {
            let found = node.data().snapshot().get(blocks.start, blocks.len);
            match found.filter(|found| matches!(found.state, State::Written | State::Pending)) {
                Some(found) => found,
                None => with_space(node, Effort::Blocks, || {
                    with_core(node, |_, core| {
                        target::direct(node, core, blocks.span(), end)
                    })
                })?,
            }
        };
        // A mapping that is not durable, or a size that will change, rules out the FUA shortcut of O_DSYNC.
        let committed = || volume.store.committed();
        let flags = match sync::is_found(node, end, committed) {
            true => MapFlags::NONE,
            false => MapFlags::DIRTY,
        };
        to_map(volume, &mapping, View::DirectWrite, flags)
    }
}

impl<const QUEUED: bool> Direct<QUEUED> {
    /// For an atomic write. What goes over data does so while others write, and else it fails with `EAGAIN`; who tries
    /// again is alone with the file.
    #[cold]
    fn atomic(node: &Node, blocks: Blocks, op: Op, end: u64) -> Result<Map> {
        let volume = node.data().volume();
        if op.contains(Op::OVERWRITE_ONLY) {
            let found = lookup(node, blocks, !op.contains(Op::NOWAIT))?;
            let committed = || volume.store.committed();
            return match atomic::goes_over(node, &found, (blocks.len, end), committed) {
                true => to_map(volume, &found, View::DirectWrite, MapFlags::ATOMIC),
                false => Err(EAGAIN),
            };
        }
        let chosen = with_space(node, Effort::Blocks, || {
            with_core(node, |_, core| {
                atomic::aside(node, core, blocks.span(), end)
            })
        })?;
        to_map(volume, &chosen, View::DirectWrite, MapFlags::DIRTY)
    }

    /// For a write that must not wait, or only if it has nothing to change: an `EAGAIN` after part of the request was
    /// submitted would lose that part, so there is one mapping for all of `blocks` or none.
    fn whole(node: &Node, blocks: Blocks, op: Op, end: u64, len: u64) -> Result<Mapping> {
        let wait = !op.contains(Op::NOWAIT);
        let found = lookup(node, blocks, wait)?;
        if found.len < blocks.len {
            return Err(EAGAIN);
        }
        match found.state {
            State::Written => Ok(found),
            _ if op.contains(Op::OVERWRITE_ONLY) || !QUEUED || len > target::MOST_NOWAIT => {
                Err(EAGAIN)
            }
            State::Pending => Ok(found),
            State::Hole | State::Delayed | State::Unwritten => {
                try_with_core(node, false, |_, core| {
                    target::direct_now(node, core, blocks.span(), end)
                })
            }
        }
    }
}

/// For files whose blocks are memory: by `read`, by `write`, by a fault, by zeroing.
pub(crate) struct Memory;

#[vtable]
impl Ops for Memory {
    type FileSystem = Fs;

    fn begin(node: &Node, pos: u64, len: u64, op: Op) -> Result<Map> {
        if !op.contains(Op::WRITE) {
            return Read::begin(node, pos, len, op);
        }
        let volume = node.data().volume();
        // What is stored cannot be held back once it is mapped.
        volume.store.check_writable()?;
        let blocks = Blocks::touched(volume, pos, len)?;
        let end = pos.saturating_add(len);
        let found = node.data().snapshot().get(blocks.start, blocks.len);
        let (mapping, new) = match found.filter(|found| found.state == State::Written) {
            Some(found) => (found, false),
            None if op.contains(Op::NOWAIT) => {
                let found = lookup(node, blocks, false)?;
                match found.state {
                    State::Written => (found, false),
                    _ => return Err(EAGAIN),
                }
            }
            None => {
                let _nofs = NofsScope::enter();
                let zero = |_, run| zero(node, run);
                let place = place(node, blocks.span(), &(pos..end), zero)?;
                (place.mapping, place.new)
            }
        };
        // Who was promised that the blocks can be found waits until they can.
        let committed = || volume.store.committed();
        let found = sync::is_found(node, end.min(node.size()), committed);
        let flags = match (found, new) {
            (true, _) => MapFlags::NONE,
            (false, true) => MapFlags::DIRTY.with(MapFlags::NEW),
            (false, false) => MapFlags::DIRTY,
        };
        to_map(volume, &mapping, View::Memory, flags)
    }
}

/// Makes blocks of the device zero.
fn zero(node: &Node, run: Run) -> Result {
    let volume = node.data().volume();
    let size = volume.layout.block_size();
    let Some(device) = node.super_block().dax_device() else {
        let what = "a file without a page cache is on a device that is no memory";
        return Err(volume.store.bug(node.ino(), what));
    };
    device.zero(
        run.start.get() << size.bits(),
        u64::from(run.len) << size.bits(),
    )
}

/// The first hole at or after `pos`.
pub(crate) fn seek_hole(node: &Node, pos: i64) -> Result<i64> {
    let _lock = node.lock_shared();
    iomap::seek_hole::<Read>(node, pos)
}

/// The first data at or after `pos`.
pub(crate) fn seek_data(node: &Node, pos: i64) -> Result<i64> {
    let _lock = node.lock_shared();
    iomap::seek_data::<Read>(node, pos)
}

/// The extents of bytes `start..start + len` of a file or directory, those that are only in memory too; or where its
/// extended attributes are.
pub(crate) fn fiemap(node: &Node, to: &mut ExtentInfo, start: u64, len: u64) -> Result {
    let _lock = node.lock_shared();
    if to.take_cache() {
        read_map(node)?;
    }
    if !to.wants_attributes() {
        return iomap::fiemap::<Read>(node, to, start, len);
    }
    let found = with_core(node, |volume, core| core.attributes(volume))?;
    let extent = found.map(|found| (found.start, found.len.into(), found.in_inode));
    to.tell_attributes(node, (start, len), extent)
}

/// Reads the whole map of a file or directory into memory, as far as there is room for it.
pub(crate) fn precache(node: &Node) -> Result {
    let _lock = node.lock_shared();
    read_map(node)
}

fn read_map(node: &Node) -> Result {
    let mut start = LogicalBlock::new(0);
    while start < LogicalBlock::LIMIT && !task::is_dying() {
        let len = LogicalBlock::LIMIT.saturating_distance_from(start);
        let found = lookup(node, Blocks { start, len }, true)?;
        start = start.saturating_add(found.len.max(1));
    }
    Ok(())
}
