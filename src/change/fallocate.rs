// SPDX-License-Identifier: GPL-2.0

//! What `fallocate` does to a regular file, beside its size: blocks without data, holes, and what moves in the file.
//!
//! Tests: `tools/core/tests/change_fallocate.rs`, `qemu/test/t/fallocate*.sh`.
//!
//! # Crash safety
//!
//! [`allocate`], [`punch`] and [`zero`] take as many transactions as they need. After each the file is whole: a crash
//! between two leaves a part done, of what would have become zeros anyway, or blocks that nobody sees. [`collapse`] and
//! [`insert`] are one transaction for all that a user sees. What was collapsed is behind the end of the file then, and
//! the inode an orphan until it is freed: recovery cuts the file off at its size, which ends the work.
//!
//! # Locks
//!
//! `i_rwsem` exclusively by the caller, and what a [`PageCache`] stands for: nobody else changes the size, there is no
//! direct I/O in flight, and no page comes into the page cache. Blocks before those that are dropped from there may
//! be written back meanwhile.

use super::live::{InodePart, Live, Shown};
use super::publish::zero_on_device;
use super::resize::{self, PageCache};
use super::{mark_orphan, pin, reservation, unmark_again, unmark_orphan, write};
use crate::disk::LogicalBlock;
use crate::inode::Inode;
use crate::map::{NewTree, Progress, Shift, State};
use crate::space::Share;
use crate::store::{Credits, Rule, Store, Transaction};
use crate::volume::Volume;
use core::ops::Range;
use kernel::error::{code::*, Result};

/// Blocks of a file.
type Blocks = Range<LogicalBlock>;

/// Blocks that are promised by [`Space::reserve`](crate::space::Space::reserve), given back when this is dropped.
struct Promise<'a, S: Store> {
    volume: &'a Volume<S>,
    blocks: u32,
    /// What more may be taken.
    share: Share,
}

impl<'a, S: Store> Promise<'a, S> {
    fn new(volume: &'a Volume<S>, blocks: u32) -> Result<Self> {
        volume.with_reserves(|share| {
            volume.space.reserve(blocks, 0, share)?;
            Ok(Self {
                volume,
                blocks,
                share,
            })
        })
    }
}

impl<S: Store> Drop for Promise<'_, S> {
    fn drop(&mut self) {
        self.volume.space.unreserve(self.blocks, 0);
    }
}

/// The blocks that bytes `range` touch.
fn touched<S: Store>(volume: &Volume<S>, range: &Range<u64>) -> Result<Blocks> {
    let size = volume.layout.block_size();
    let first = LogicalBlock::holding(size, range.start).ok_or(EFBIG)?;
    Ok(first..LogicalBlock::first_behind(size, range.end))
}

/// The blocks that lie wholly in bytes `range`, and the bytes before and behind them, which may be none. If there are
/// no such blocks, all of the range is before them.
fn whole<S: Store>(volume: &Volume<S>, range: &Range<u64>) -> (Blocks, [Range<u64>; 2]) {
    let size = volume.layout.block_size();
    let start = LogicalBlock::first_behind(size, range.start);
    let end = LogicalBlock::holding(size, range.end).unwrap_or(LogicalBlock::LIMIT);
    if start >= end {
        return (start..start, [range.clone(), range.end..range.end]);
    }
    let edges = [
        range.start..start.first_byte(size),
        end.first_byte(size)..range.end,
    ];
    (start..end, edges)
}

/// Bytes of blocks.
fn bytes<S: Store>(volume: &Volume<S>, blocks: &Blocks) -> Range<u64> {
    let size = volume.layout.block_size();
    blocks.start.first_byte(size)..blocks.end.first_byte(size)
}

/// One transaction after the other, until `step` has done all. It gets what it may change beside the inode,
/// which is written after each call; it may be called several times in a transaction. In the last one the inode ceases
/// to be an orphan, if it is one for this.
fn in_steps<S: Store, L: Live<S>>(
    live: &L,
    orphan: bool,
    mut step: impl FnMut(&mut Inode, &mut S::Tx<'_>, Credits) -> Result<bool>,
) -> Result {
    let volume = live.volume();
    let mut handle = None;
    loop {
        let (granted, credits) = reservation::fallocate(volume, live.snapshot().depth());
        let tx = volume.store.ready(&mut handle, credits)?;
        let mut inode = live.map_lock();
        live.note_transaction(tx.tid(), InodePart::Data);
        let done = step(&mut inode, tx, granted);
        // After an error too: a part may have been done.
        write(live, &inode, tx, InodePart::Data)?;
        if done? {
            let size = inode.disk_size;
            drop(inode);
            if orphan {
                unmark_orphan(live, tx)?;
                live.shown(tx.tid(), Shown::Whole, size);
            }
            return Ok(());
        }
    }
}

/// Makes all of `blocks` have blocks on the device: those that are not there become unwritten, as do those that are
/// there and have data, if `zeroes`. All of the space is promised before anything is changed.
fn fill<S: Store, L: Live<S>>(live: &L, blocks: &Blocks, zeroes: bool) -> Result {
    let volume = live.volume();
    let is_good = |state| state == State::Unwritten || state == State::Written && !zeroes;
    let (mut holes, mut is_full): (u32, bool) = (0, true);
    let mut at = blocks.start;
    while at < blocks.end {
        let found = resize::look(live, at, blocks.end.saturating_distance_from(at))?;
        is_full &= is_good(found.state);
        if found.state == State::Hole {
            holes = holes.saturating_add(found.len);
        }
        at = found.end();
    }
    if is_full {
        return Ok(());
    }
    // Whoever counts is asked for all, too. Others may come before the last of it is counted.
    let inode = live.map_lock();
    if holes != 0 && live.promise(holes)? < holes {
        return Err(EDQUOT);
    }
    drop(inode);
    let mut promise = Promise::new(volume, holes)?;
    let share = promise.share;
    let mut at = blocks.start;
    in_steps(live, false, |inode, tx, granted| {
        while at < blocks.end {
            let len = blocks.end.saturating_distance_from(at);
            let found = inode.map.find(volume, at, len)?;
            if is_good(found.state) {
                at = found.end();
                continue;
            }
            let made = if found.state == State::Written {
                inode.map.unwrite(volume, tx, at, len, granted)?
            } else {
                let from = (&mut promise.blocks, share);
                let place = (at, found.len);
                let goal = live.goal(false);
                inode
                    .map
                    .preallocate(volume, tx, place, goal, from, granted)?
            };
            if let Some(made) = made {
                live.shown(tx.tid(), Shown::Unwritten(at, made.end()), inode.disk_size);
                at = made.end();
            }
            break;
        }
        Ok(at >= blocks.end)
    })
}

/// Does what `change` does to bytes `range`, and raises the size to the end of the range, unless `keep_size`.
fn and_grow<S: Store, L: Live<S>, P: PageCache + ?Sized>(
    live: &L,
    pages: &mut P,
    range: Range<u64>,
    keep_size: bool,
    change: impl FnOnce(&mut P, &Range<u64>) -> Result,
) -> Result {
    let size = live.size();
    if range.end <= size {
        return change(pages, &range);
    }
    resize::clean_end(live, pages, size)?;
    change(pages, &range)?;
    match keep_size {
        true => Ok(()),
        false => resize::set_size(live, pages, range.end),
    }
}

/// Blocks for bytes `range`, as far as there are none: they read as zeros. The size goes up to the end of the range,
/// unless `keep_size`.
///
/// # Errors
///
/// `ENOSPC`, most often before anything was changed; `EFBIG`; those of [`resize::set_size`] and
/// [`FileMap::preallocate`](crate::map::FileMap::preallocate). The size has not changed then.
pub fn allocate<S: Store, L: Live<S>, P: PageCache + ?Sized>(
    live: &L,
    pages: &mut P,
    range: Range<u64>,
    keep_size: bool,
) -> Result {
    and_grow(live, pages, range, keep_size, |_, range| {
        fill(live, &touched(live.volume(), range)?, false)
    })
}

/// Drops what the page cache has of whole blocks, which will be zeros. Their data was perhaps never written: if the
/// file ends in them, nothing else would raise the size on disk to the end that it has in memory.
fn drop_blocks<S: Store, L: Live<S>, P: PageCache + ?Sized>(
    live: &L,
    pages: &mut P,
    blocks: &Blocks,
) -> Result {
    let bytes = bytes(live.volume(), blocks);
    if bytes.is_empty() {
        return Ok(());
    }
    let (size, disk_size) = (live.size(), live.map_lock().disk_size);
    let skips = live.volume().store.breaks(Rule::SizeOfDropped);
    if disk_size < size && bytes.end > disk_size && !skips {
        for around in [disk_size..bytes.start, bytes.end..size] {
            if !around.is_empty() {
                pages.write_back(around)?;
            }
        }
        resize::raise(live, size, Shown::Dropped)?;
    }
    pages.drop_range(bytes);
    Ok(())
}

/// Makes bytes `range` a hole, as far as the file reaches: whole blocks are freed, parts of others become zeros.
///
/// # Errors
///
/// Those of the page cache and of [`FileMap::remove`](crate::map::FileMap::remove). A part may be done.
pub fn punch<S: Store, L: Live<S>, P: PageCache + ?Sized>(
    live: &L,
    pages: &mut P,
    range: Range<u64>,
) -> Result {
    let volume = live.volume();
    let size = live.size();
    if range.start >= size {
        return Ok(());
    }
    let block = volume.layout.block_size();
    // Of the last block all that there is can go.
    let end = match range.end >= size {
        true => LogicalBlock::first_behind(block, size).first_byte(block),
        false => range.end,
    };
    let (blocks, edges) = whole(volume, &(range.start..end));
    zero_edges(live, pages, edges)?;
    drop_blocks(live, pages, &blocks)?;
    remove(live, blocks, false)
}

/// Makes the parts of blocks zero that a range has at its ends.
fn zero_edges<S: Store, L: Live<S>, P: PageCache + ?Sized>(
    live: &L,
    pages: &mut P,
    edges: [Range<u64>; 2],
) -> Result {
    for edge in edges {
        if !edge.is_empty() && !live.volume().store.breaks(Rule::EdgesZeroed) {
            pages.zero(edge)?;
        }
    }
    Ok(())
}

/// Frees `blocks`, which become a hole; what the page cache had of them is gone. `orphan` is whether the inode is one
/// until they are free.
fn remove<S: Store, L: Live<S>>(live: &L, blocks: Blocks, orphan: bool) -> Result {
    let volume = live.volume();
    if blocks.is_empty() {
        return Ok(());
    }
    let mut to = blocks.end;
    in_steps(live, orphan, |inode, tx, granted| {
        let progress = inode.map.remove(volume, tx, blocks.start, to, granted);
        let (next, done) = match progress? {
            Progress::Done => (blocks.start, true),
            Progress::Again(next) => (next, false),
        };
        live.shown(tx.tid(), Shown::Hole(next, to), inode.disk_size);
        to = next;
        Ok(done)
    })
}

/// Makes bytes `range` zeros that have blocks on the device, without writing most of them. The size goes up to
/// the end of the range, unless `keep_size`.
///
/// # Errors
///
/// As [`allocate`]; a part may be zeros then.
pub fn zero<S: Store, L: Live<S>, P: PageCache + ?Sized>(
    live: &L,
    pages: &mut P,
    range: Range<u64>,
    keep_size: bool,
) -> Result {
    let volume = live.volume();
    and_grow(live, pages, range, keep_size, |pages, range| {
        let (blocks, edges) = whole(volume, range);
        // What is there in part is not needed again, and what is not there is promised before anything is lost.
        fill(live, &touched(volume, range)?, false)?;
        zero_edges(live, pages, edges)?;
        drop_blocks(live, pages, &blocks)?;
        // What its conversion would have needed.
        live.map_lock().map.cancel(volume, blocks.start, blocks.end);
        fill(live, &blocks, true)
    })
}

/// Makes bytes `range` zeros that are written, so that data can be written over them without a change of metadata. The
/// size goes up to the end of the range.
///
/// # Errors
///
/// As [`zero`], and those of [`Store::zero`]. All is zeros then, and some may be unwritten, if it failed at the device.
pub fn write_zeroes<S: Store, L: Live<S>, P: PageCache + ?Sized>(
    live: &L,
    pages: &mut P,
    range: Range<u64>,
) -> Result {
    let blocks = touched(live.volume(), &range)?;
    zero(live, pages, range.clone(), false)?;
    // Blocks at the ends have data beside the zeros, perhaps, and what is in memory only gets its place with it.
    pages.write_back(range)?;
    let mut at = blocks.start;
    while at < blocks.end {
        let found = resize::look(live, at, blocks.end.saturating_distance_from(at))?;
        if let Some(phys) = found.phys.filter(|_| found.state == State::Unwritten) {
            zero_on_device(live, at..found.end(), phys, true)?;
            show_zeroes(live, at..found.end())?;
        }
        at = found.end();
    }
    Ok(())
}

/// Makes unwritten blocks written, which are zero on the device. The size on disk goes up with them where the end in
/// memory lies behind.
fn show_zeroes<S: Store, L: Live<S>>(live: &L, blocks: Blocks) -> Result {
    let volume = live.volume();
    let mut at = blocks.start;
    in_steps(live, false, |inode, tx, granted| {
        let len = blocks.end.saturating_distance_from(at);
        let next = match inode.map.publish(volume, tx, at, len, granted)? {
            Progress::Done => blocks.end,
            Progress::Again(next) => next,
        };
        let end = next.first_byte(volume.layout.block_size());
        inode.disk_size = inode.disk_size.max(end.min(live.size()));
        live.shown(tx.tid(), Shown::Data(at, next), inode.disk_size);
        at = next;
        Ok(at >= blocks.end)
    })
}

/// What moves is written back and shown, so that its blocks can move alone, and leaves the page cache. Pages begin at
/// multiples of `page` bytes.
fn settle<S: Store, L: Live<S>, P: PageCache + ?Sized>(
    live: &L,
    pages: &mut P,
    from: u64,
    page: u64,
) -> Result {
    let size = live.size();
    resize::clean_end(live, pages, size)?;
    let from = from & !page.wrapping_sub(1);
    if from < size && !live.volume().store.breaks(Rule::MovedWritten) {
        pages.write_back(from..size)?;
    }
    pages.drop_behind(from);
    Ok(())
}

/// Begins the transaction in which `what` moves. Returns with it what the map may change, or the tree that it is to
/// have, where the journal cannot hold all that would change.
fn begin_shift<'a, S: Store, L: Live<S>, P: PageCache + ?Sized>(
    live: &'a L,
    pages: &mut P,
    what: &Shift,
) -> Result<(S::Tx<'a>, Credits, Option<NewTree<'a, S>>)> {
    let volume = live.volume();
    let granted = live.map_lock().map.shift_credits(volume, what.from())?;
    match volume.store.begin(reservation::shift(granted)) {
        Err(error) if error == ENOSPC => {}
        begun => return Ok((begun?, granted, None)),
    }
    // What is shown while the tree is built would make it useless.
    pages.write_back(0..what.from().first_byte(volume.layout.block_size()))?;
    let new = live.map_lock().map.build(volume, what, live.goal(false))?;
    let credits = new.credits();
    let tx = volume.store.begin(reservation::shift(credits))?;
    Ok((tx, credits, Some(new)))
}

/// Has blocks of the file moved, in one transaction, which gives it size `size`, and where some are collapsed makes the
/// inode an orphan, if it is none. Returns whether it has become one, and where the blocks are that are to be freed.
/// Where nothing has moved, the inode is no orphan by this: a recovery would cut off what the file gets behind its end
/// from now on.
fn shift<S: Store, L: Live<S>, P: PageCache + ?Sized>(
    live: &L,
    pages: &mut P,
    what: &Shift,
    size: u64,
    shown: Shown,
) -> Result<(bool, Blocks)> {
    let volume = live.volume();
    let collapses = matches!(what, Shift::Collapse { .. });
    let orphan = collapses && !volume.store.breaks(Rule::OrphanOnTruncate);
    let _pinned = pin(live)?;
    loop {
        let (mut tx, granted, new) = begin_shift(live, pages, what)?;
        // First, as it can fail.
        let marked = orphan && mark_orphan(live, &mut tx)?;
        let mut inode = live.map_lock();
        live.note_transaction(tx.tid(), InodePart::Data);
        let done = match new {
            None => inode.map.shift(volume, &mut tx, what, granted),
            Some(new) => inode.map.take(volume, &mut tx, new),
        };
        if let Ok(Some(_)) = done {
            inode.disk_size = size;
            live.set_size(size);
            if collapses {
                live.note_clean_end(false);
            }
            live.shown(tx.tid(), shown, size);
        }
        let written = write(live, &inode, &mut tx, InodePart::Data);
        drop(inode);
        if marked && !matches!(done, Ok(Some(_))) {
            unmark_again(live, &mut tx);
        }
        written?;
        // What was written back meanwhile may have changed the tree: then it is tried again.
        if let Some(gone) = done? {
            return Ok((marked, gone));
        }
    }
}

/// Takes bytes `range` out of the file: what is behind them moves to their place. Both ends are multiples of the block
/// size, and the second lies before the end of the file; pages begin at multiples of `page` bytes.
///
/// # Errors
///
/// `ENOSPC` where the tree of extents needs a node, or is too large for the journal and is to be built anew, and there
/// are no blocks for that; or where the nodes are in more groups of the device than the journal can hold. Nothing has
/// moved then. Those of the page cache, of [`FileMap::collapse`](crate::map::FileMap::collapse) and of
/// [`FileMap::build`](crate::map::FileMap::build).
pub fn collapse<S: Store, L: Live<S>, P: PageCache + ?Sized>(
    live: &L,
    pages: &mut P,
    range: Range<u64>,
    page: u64,
) -> Result {
    let volume = live.volume();
    let blocks = touched(volume, &range)?;
    settle(live, pages, range.start, page)?;
    let len = range.end.saturating_sub(range.start);
    let size = live.size().saturating_sub(len);
    let least = LogicalBlock::first_behind(volume.layout.block_size(), size);
    let shown = Shown::Collapsed(blocks.start, blocks.end);
    let what = Shift::Collapse {
        range: blocks,
        least,
    };
    let (ours, gone) = shift(live, pages, &what, size, shown)?;
    remove(live, gone, ours)?;
    live.note_clean_end(true);
    Ok(())
}

/// Makes a hole of `len` bytes at byte `at`: what is there moves back. Both are multiples of the block size, and the
/// hole begins before the end of the file; pages begin at multiples of `page` bytes.
///
/// # Errors
///
/// As [`collapse`]; `EINVAL` where a block would lie behind the last that a file can have.
pub fn insert<S: Store, L: Live<S>, P: PageCache + ?Sized>(
    live: &L,
    pages: &mut P,
    (at, len): (u64, u64),
    page: u64,
) -> Result {
    let volume = live.volume();
    let range = touched(volume, &(at..at.saturating_add(len)))?;
    settle(live, pages, at, page)?;
    let size = live.size().saturating_add(len);
    let shown = Shown::Inserted(range.start, range.end);
    shift(live, pages, &Shift::Insert { range }, size, shown).map(drop)
}
