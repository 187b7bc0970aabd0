// SPDX-License-Identifier: GPL-2.0

//! The size of a regular file changes, and blocks are cut off; and what comes before and after that, in which order.
//! What is done to pages is left to a [`PageCache`].
//!
//! # Crash safety
//!
//! A file that shrinks in one transaction needs nothing more. If its blocks do not fit into one, the inode is an orphan
//! from the first to the last: recovery then cuts the file off at its size, which is the first thing that was made
//! durable.

use super::live::{InodePart, Live, Shown};
use super::{mark_orphan, reservation, unmark_orphan, write};
use crate::disk::{FileType, LogicalBlock};
use crate::inode::Inode;
use crate::map::{Mapping, Progress, State};
use crate::store::{Credits, Rule, Store, Transaction};
use crate::volume::Volume;
use core::ops::Range;
use kernel::error::Result;

/// The page cache of a regular file, in the hands of somebody who alone changes the size: no direct I/O is in flight,
/// and none comes.
pub trait PageCache {
    /// Makes the bytes of `range` zero, as far as there can be data. Returns whether any have to be written back.
    ///
    /// # Errors
    ///
    /// Those of reading what is around them, and of reserving blocks.
    fn zero(&mut self, range: Range<u64>) -> Result<bool>;

    /// Whether there is no page cache: the blocks of the device are what a user has in memory. What is made zero is so
    /// on the device at once.
    fn is_device(&self) -> bool {
        false
    }

    /// Writes back the blocks that `range` touches, which is not empty, and waits until the file shows them.
    ///
    /// # Errors
    ///
    /// Those of the device, and of what shows the data.
    fn write_back(&mut self, range: Range<u64>) -> Result;

    /// The size in memory went up from `old` to `new`: who writes to a mapping of the old end asks for blocks again.
    fn grown(&mut self, old: u64, new: u64);

    /// Drops what is behind byte `pos`, which is the size in memory by now, or where a page begins. What is being
    /// written there is waited for.
    fn drop_behind(&mut self, pos: u64);

    /// Drops the bytes of `range`, which is not empty and consists of whole blocks: they are zeros where a part of a
    /// page stays. What is being written there is waited for.
    fn drop_range(&mut self, range: Range<u64>);
}

/// Sets the size of a regular file to `new` bytes, in memory and on disk. If that is the size that it has, what is
/// behind the end goes away all the same. The caller holds no handle and no map lock.
///
/// # Errors
///
/// Those of the page cache, and of [`grow`] and [`cut`]. After an error of the last two the size in memory is `new`; it
/// may be called again.
pub fn set_size<S: Store, L: Live<S>, P: PageCache + ?Sized>(
    live: &L,
    pages: &mut P,
    new: u64,
) -> Result {
    let volume = live.volume();
    let old = live.size();
    let tail = tail(volume, old, new);
    let zeroed = match new > old {
        true => zero_behind(live, pages, tail.clone())?,
        // That would be seen before the size is.
        false if pages.is_device() => false,
        false => zero(pages, tail.clone())?,
    };
    let disk_size = live.map_lock().disk_size;
    if writes_first(disk_size, old, new, zeroed) && !volume.store.breaks(Rule::WritesFirst) {
        pages.write_back(disk_size..new)?;
    }
    live.set_size(new);
    if new > old {
        pages.grown(old, new);
        return grow(live, new);
    }
    pages.drop_behind(new);
    let cut = cut(live, new);
    if pages.is_device() {
        return cut.and_then(|()| zero(pages, tail).map(drop));
    }
    let written = match zeroed {
        // On disk the rest of the block has what was cut off. It must be gone before the size can go up again, which it
        // can after an error, too.
        true => write_end(live, pages, new),
        false => Ok(()),
    };
    cut.and(written)
}

/// Makes the bytes of `gap` zero, which begins with the end of the file, before data is written behind it
/// ([`next_step`](super::access::next_step)).
///
/// # Errors
///
/// Those of the page cache and of [`cut_behind`].
pub fn zero_gap<S: Store, L: Live<S>, P: PageCache + ?Sized>(
    live: &L,
    pages: &mut P,
    gap: Range<u64>,
) -> Result {
    let end = gap.start;
    if zero_behind(live, pages, gap)? {
        // The block may have other bytes on disk, in images of others. The zeros must be there before the size on disk
        // is behind them: the data may be made durable alone.
        write_end(live, pages, end)?;
    }
    Ok(())
}

/// Makes the bytes of `range` zero, which begins with the end of the file. Returns whether any have to be written back.
fn zero_behind<S: Store, L: Live<S>, P: PageCache + ?Sized>(
    live: &L,
    pages: &mut P,
    range: Range<u64>,
) -> Result<bool> {
    clean_end(live, pages, range.start)?;
    zero(pages, range)
}

/// Cuts off what a truncate or a write that failed has left behind byte `size`, the end of the file: it would come to
/// light when the end moves. iomap does not zero what lies wholly behind the end, where nothing would be written back.
pub(super) fn clean_end<S: Store, L: Live<S>, P: PageCache + ?Sized>(
    live: &L,
    pages: &mut P,
    size: u64,
) -> Result {
    match has_clean_end(live, size, |at, len| look(live, at, len))? {
        true => Ok(()),
        false => cut_behind(live, size, |unwritten| pages.write_back(unwritten)),
    }
}

fn zero<P: PageCache + ?Sized>(pages: &mut P, range: Range<u64>) -> Result<bool> {
    match range.is_empty() {
        true => Ok(false),
        false => pages.zero(range),
    }
}

/// Writes back the block with byte `end`, the end of the file, if it has data on disk: the rest of it became zero.
fn write_end<S: Store, L: Live<S>, P: PageCache + ?Sized>(
    live: &L,
    pages: &mut P,
    end: u64,
) -> Result {
    let volume = live.volume();
    let at = match LogicalBlock::holding(volume.layout.block_size(), end) {
        Some(at) if !volume.store.breaks(Rule::TailWritten) => at,
        _ => return Ok(()),
    };
    match look(live, at, 1)?.state {
        State::Written => pages.write_back(end..end.saturating_add(1)),
        _ => Ok(()),
    }
}

/// The mapping at block `at`, of up to `len` blocks.
pub(super) fn look<S: Store, L: Live<S>>(live: &L, at: LogicalBlock, len: u32) -> Result<Mapping> {
    if let Some(found) = live.snapshot().get(at, len) {
        return Ok(found);
    }
    live.map_lock().map.find(live.volume(), at, len)
}

/// Which bytes become zero, in the page cache, before the size of a file goes from `old` to `new`: what it grows over,
/// or the rest of the block that it ends in then. The range may be empty.
pub fn tail<S: Store>(volume: &Volume<S>, old: u64, new: u64) -> Range<u64> {
    let size = volume.layout.block_size();
    if volume.store.breaks(Rule::TailZeroed) {
        new..new
    } else if new > old {
        old..new
    } else {
        new..LogicalBlock::first_behind(size, new).first_byte(size)
    }
}

/// Whether the page cache is written back, from the size on disk to `new`, before that goes up from `disk_size` to
/// `new`: what is before the new end and is not on disk yet must be there first. `old` is the size in memory, `zeroed`
/// whether any of [`tail`] had to become zero.
pub fn writes_first(disk_size: u64, old: u64, new: u64, zeroed: bool) -> bool {
    new > disk_size && (zeroed || old != disk_size)
}

/// Whether no block that begins behind byte `size`, the end of the file, has data, and no truncate is to be ended by a
/// recovery. Of an inode without links unwritten blocks count too: nobody knows who has left them. This is looked up
/// once, with `lookup` as [`FileMap::lookup`](crate::map::FileMap::lookup) does it, and again after something has
/// failed.
///
/// # Errors
///
/// Those of `lookup`.
pub fn has_clean_end<S: Store, L: Live<S>>(
    live: &L,
    size: u64,
    lookup: impl FnMut(LogicalBlock, u32) -> Result<Mapping>,
) -> Result<bool> {
    if live.has_clean_end() || live.volume().store.breaks(Rule::CleanEnd) {
        return Ok(true);
    }
    find_clean_end(live, size, lookup)
}

/// [`has_clean_end`], which is looked up.
#[cold]
fn find_clean_end<S: Store, L: Live<S>>(
    live: &L,
    size: u64,
    mut lookup: impl FnMut(LogicalBlock, u32) -> Result<Mapping>,
) -> Result<bool> {
    // A recovery would cut off all that it gets behind its end from now on, too.
    let orphan = live.orphans().contains(live.ino());
    if orphan && live.links() > 0 {
        return Ok(false);
    }
    let mut at = LogicalBlock::first_behind(live.volume().layout.block_size(), size);
    while at < LogicalBlock::LIMIT {
        let found = lookup(at, LogicalBlock::LIMIT.saturating_distance_from(at))?;
        if found.state == State::Written || orphan && found.state == State::Unwritten {
            return Ok(false);
        }
        at = at.saturating_add(found.len.max(1));
    }
    live.note_clean_end(true);
    Ok(true)
}

/// Whether the inode, which has no links, has nothing that would have to be cut off if it had one, as far as that can
/// be found out.
pub(super) fn is_whole<S: Store, L: Live<S>>(live: &L) -> bool {
    let look = |at, len| look(live, at, len);
    live.file_type() != FileType::Regular || has_clean_end(live, live.size(), look).unwrap_or(false)
}

/// Raises the size on disk to `size` bytes. What is mapped up to there is valid.
///
/// # Errors
///
/// Those of [`Store::begin`] and [`Inode::write`](crate::inode::Inode::write).
pub fn grow<S: Store, L: Live<S>>(live: &L, size: u64) -> Result {
    raise(live, size, Shown::Grown)
}

/// [`grow`], which shows `what`.
pub(super) fn raise<S: Store, L: Live<S>>(live: &L, size: u64, what: Shown) -> Result {
    let mut tx = live.volume().store.begin(reservation::ATTRIBUTES)?;
    let mut inode = live.map_lock();
    inode.disk_size = size;
    live.shown(tx.tid(), what, size);
    write(live, &inode, &mut tx, InodePart::Data)
}

/// Cuts off what is behind byte `size`, the end of the file in memory, although nothing should be. `write_back` gets
/// the bytes that the size on disk does not reach to yet, if there are any: it writes the page cache back there, and
/// waits. The page cache has nothing behind the end.
///
/// # Errors
///
/// Those of `write_back` and of [`cut`].
pub fn cut_behind<S: Store, L: Live<S>>(
    live: &L,
    size: u64,
    write_back: impl FnOnce(Range<u64>) -> Result,
) -> Result {
    let disk_size = live.map_lock().disk_size;
    if writes_first(disk_size, size, size, false) {
        write_back(disk_size..size)?;
    }
    cut(live, size)
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
    // It may be an orphan since a truncate has failed.
    let mut marked = !live.has_clean_end();
    live.note_clean_end(false);
    live.map_lock().map.release_window(volume);
    let mut to = LogicalBlock::LIMIT;
    let mut handle = None;
    let mut asked = false;
    loop {
        let (granted, credits) = reservation::cut(volume, live.snapshot().depth());
        let tx = volume.store.ready(&mut handle, credits)?;
        let mut inode = live.map_lock();
        inode.disk_size = size;
        live.shown(tx.tid(), Shown::Cut, size);
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
                if marked && live.links() > 0 {
                    unmark_orphan(live, tx)?;
                }
                return Ok(());
            }
            Progress::Again(next) => {
                to = next;
                if !asked && !volume.store.breaks(Rule::OrphanOnTruncate) {
                    marked |= mark_orphan(live, tx)?;
                    asked = true;
                }
            }
        }
    }
}

/// Frees blocks of a directory, a long symbolic link or the value of an attribute, in one step, of those before
/// `before`: then come those before what it returns, if there are any. They are metadata: replaying the journal must
/// not write them again. Which they are the tree says: ext4 makes the size 0 before it frees the first one. The caller
/// writes the inode, after an error, too.
///
/// # Errors
///
/// Those of [`FileMap::remove`](crate::map::FileMap::remove). What was done stays done.
pub(super) fn cut_metadata<S: Store>(
    volume: &Volume<S>,
    tx: &mut S::Tx<'_>,
    inode: &mut Inode,
    before: LogicalBlock,
    granted: Credits,
) -> Result<Option<LogicalBlock>> {
    const STEP: usize = reservation::METADATA_STEP as usize;

    let to = inode.map.end_before(volume, before)?;
    let to = to.map_or(0, LogicalBlock::get);
    let from = to.saturating_sub(reservation::METADATA_STEP);
    let mut held = [None; STEP];
    for (phys, at) in held.iter_mut().zip(from..to) {
        *phys = inode.map.lookup(volume, LogicalBlock::new(at), 1)?.phys;
    }
    let from_block = LogicalBlock::new(from);
    let progress = inode
        .map
        .remove(volume, tx, from_block, LogicalBlock::LIMIT, granted);
    // After an error too, a part may have been done. What is left for the next round must not be revoked yet: the
    // journal takes it for an error to do so twice.
    for (nr, at) in held.into_iter().zip(from..to) {
        let Some(nr) = nr else { continue };
        let there = inode.map.lookup(volume, LogicalBlock::new(at), 1);
        let gone = !there.is_ok_and(|found| found.phys == Some(nr));
        if gone && !volume.store.breaks(Rule::Forget) {
            Transaction::forget(tx, nr)?;
        }
    }
    Ok(match progress? {
        Progress::Done if from == 0 => None,
        Progress::Done => Some(from_block),
        Progress::Again(done) => Some(done.min(LogicalBlock::new(to))),
    })
}
