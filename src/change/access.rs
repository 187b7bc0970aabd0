// SPDX-License-Identifier: GPL-2.0

//! What a write to a file needs before it begins, in which order, and what it is told of the blocks that it goes to.
//! How data gets to the device is left to the caller.
//!
//! Tests: `tools/core/tests/change_access.rs`.
//!
//! # Locks
//!
//! `i_rwsem` in one mode or the other by the caller; here none but those of the `lookup` that is handed in.

use super::live::Live;
use super::resize::has_clean_end;
use crate::disk::LogicalBlock;
use crate::map::{Mapping, State};
use crate::store::{Rule, Store};
use core::ops::Range;
use kernel::error::Result;

/// Who looks at blocks, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// To read them, or what is known of them.
    Read,
    /// To read them past the page cache.
    DirectRead,
    /// To write to them without asking again.
    Swap,
    /// To write to them through the page cache, or from there.
    Write,
    /// To write to them past the page cache.
    DirectWrite,
    /// To write to them as memory ([`place`](super::dax::place)).
    Memory,
}

/// What blocks are to somebody who looks at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// There is nothing, which reads as zeros.
    Hole,
    /// Their data is in the page cache, and no blocks are chosen.
    Delayed,
    /// They read as zeros. Of a block that is written in part the rest is zero, and once the data is on the device they
    /// have to be [shown](super::publish).
    Unwritten,
    /// They have what the device has.
    Mapped,
}

/// What blocks in `state` are to whoever looks at them in this way.
///
/// | view | hole | delayed | pending | unwritten | written |
/// |---|---|---|---|---|---|
/// | [`View::Read`], [`View::Write`], [`View::DirectWrite`] | hole | delayed | unwritten | unwritten | mapped |
/// | [`View::DirectRead`] | hole | hole | unwritten | unwritten | mapped |
/// | [`View::Swap`] | hole | delayed | delayed | unwritten | mapped |
/// | [`View::Memory`] | hole | delayed | mapped | unwritten | mapped |
///
/// *Pending* blocks are chosen in memory and free on disk: until they are shown they are as unwritten ones.
#[inline]
pub fn seen<S: Store>(store: &S, state: State, view: View) -> Seen {
    let hidden = match view {
        View::Read | View::DirectRead => !store.breaks(Rule::UnwrittenHidden),
        View::DirectWrite => !store.breaks(Rule::RestZeroed),
        View::Write | View::Swap | View::Memory => true,
    };
    match (state, view) {
        (State::Hole, _) => Seen::Hole,
        // What is delayed was written back before a direct read, unless a mapping into memory was written to
        // meanwhile: then the read may as well have come before.
        (State::Delayed, View::DirectRead) => Seen::Hole,
        (State::Delayed, _) | (State::Pending, View::Swap) => Seen::Delayed,
        // What is not written of them is zero already.
        (State::Pending, View::Memory) => Seen::Mapped,
        (State::Pending | State::Unwritten, _) if hidden => Seen::Unwritten,
        (State::Pending | State::Unwritten | State::Written, _) => Seen::Mapped,
    }
}

/// Whether something has to be done behind the end of the file, at byte `size`, before bytes `write` are written: to
/// make zero what is between the end and the write, or to cut off what a truncate or a write that failed has left
/// behind. A write must not go over that, not even where it begins at the end: for the journal the blocks have data, so
/// the size on disk goes up when one of them is written, and the old data of the others comes to light.
///
/// `shared` is whether others may be writing, `page` how many bytes a page has. `lookup` finds a mapping as
/// [`FileMap::lookup`](crate::map::FileMap::lookup) does.
///
/// # Errors
///
/// Those of `lookup`.
pub fn is_gap<S: Store, L: Live<S>>(
    live: &L,
    size: u64,
    write: &Range<u64>,
    shared: bool,
    page: u64,
    lookup: impl FnMut(LogicalBlock, u32) -> Result<Mapping>,
) -> Result<bool> {
    let volume = live.volume();
    if write.end <= size || volume.store.breaks(Rule::GapZeroed) {
        return Ok(false);
    }
    // An end between pages has nothing behind it that is to be zeroed, if nothing has failed.
    let page = page.max(volume.layout.block_size().bytes().into());
    let within = size & page.wrapping_sub(1) != 0;
    Ok(write.start > size && (!shared || within) || !has_clean_end(live, size, lookup)?)
}

/// The state of a write that is being prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preparing {
    /// Whether others may write while this one does.
    pub shared: bool,
    /// Whether no direct I/O may be in flight.
    pub alone: bool,
    /// Whether nobody else can begin to write now.
    pub exclusive: bool,
    /// Whether direct I/O was waited for since then.
    pub drained: bool,
}

/// What comes next when a write is being prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The write.
    Write,
    /// To keep others from beginning to write, and then to look again: the end may have moved.
    Exclude,
    /// To wait for direct I/O, and then to look again: it may have moved the end.
    Drain,
    /// To [zero a gap](super::resize::zero_gap), which may be empty, and then the write.
    Zero(Range<u64>),
}

/// What comes next when a write of bytes `write` to a file of `size` bytes is being prepared. `page` and `lookup` are
/// as in [`is_gap`].
///
/// # Errors
///
/// Those of `lookup`.
#[inline]
pub fn next_step<S: Store, L: Live<S>>(
    live: &L,
    size: u64,
    write: Range<u64>,
    state: Preparing,
    page: u64,
    lookup: impl FnMut(LogicalBlock, u32) -> Result<Mapping>,
) -> Result<Step> {
    let gap = is_gap(live, size, &write, state.shared, page, lookup)?;
    Ok(if gap && !state.exclusive {
        Step::Exclude
    } else if (gap || state.alone) && !state.drained {
        Step::Drain
    } else if gap {
        Step::Zero(size..write.start.max(size))
    } else {
        Step::Write
    })
}

/// The largest folio that [`folio_size`] asks for, in bytes. Larger ones save little: what is done once for a folio is
/// a small part of what is done for each of sixteen writes by then.
pub const LARGEST_FOLIO: usize = 64 << 10;

/// How many bytes a new folio of the page cache should have, into which `len` bytes are to be written at byte `pos` of
/// a file of `size` bytes. `since` is the size that it had when it was synchronised last or came into memory.
///
/// A stream of small writes at the end gets folios that grow with what it has written by then, so that no more than a
/// quarter of that is memory ahead of it. A stream that is synchronised again and again gets small ones: the last folio
/// is written each time.
///
/// How much memory there is does not matter here. `__filemap_get_folio_mpol()` takes this for a wish: it allocates a
/// large folio with `__GFP_NORETRY`, and where there is none, or the task's cgroup may not have so much, a smaller one.
#[inline]
pub fn folio_size((size, since): (u64, u64), pos: u64, len: usize) -> usize {
    if pos != size {
        return len;
    }
    let ahead = usize::try_from(size.saturating_sub(since) / 4).unwrap_or(LARGEST_FOLIO);
    ahead.min(LARGEST_FOLIO).max(len)
}

/// How a direct write can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectWay {
    /// While others write, too.
    Shared,
    /// The same, if all blocks that it touches have data: of new ones the rest would be zeroed, which others may be
    /// writing to.
    OverData,
    /// Only while nobody else writes and no direct I/O is in flight.
    Alone,
}

/// How a direct write of bytes `pos..end` can be made to a file of `size` bytes; `page` is how many bytes a page has.
#[inline]
pub fn direct_way<S: Store, L: Live<S>>(
    live: &L,
    (pos, end): (u64, u64),
    size: u64,
    page: u64,
) -> DirectWay {
    let block = u64::from(live.volume().layout.block_size().bytes());
    let parts = (pos | end) & block.wrapping_sub(1) != 0;
    // The rest of a new block is zeroed, and of the one behind the end even where the write just reaches the end:
    // nobody else may be writing to it.
    let zeroes = parts && end >= size;
    // Where data was written to the page cache only, the size on disk is still to follow. A plain overwrite may be
    // completed where that cannot be done: it is waited for.
    let behind_disk = end <= size && end > live.disk_size_hint();
    // A page has both blocks before the end of the file and behind it. When the end moves, a store to a mapping of that
    // page must ask for blocks again.
    let splits_page = end > size && block < page && size & page.wrapping_sub(1) != 0;
    let alone = zeroes || behind_disk || splits_page;
    if alone && !live.volume().store.breaks(Rule::DirectAlone) {
        DirectWay::Alone
    } else if parts {
        DirectWay::OverData
    } else {
        DirectWay::Shared
    }
}
