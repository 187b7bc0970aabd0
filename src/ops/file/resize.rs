// SPDX-License-Identifier: GPL-2.0

//! Changing the size of a regular file: locks, what is in flight, and the page cache. What is done, in which order, is
//! in [`resize`](mod@crate::change::resize).
//!
//! # Locks
//!
//! `i_rwsem` exclusively by the caller; here the invalidate lock, and direct I/O is waited for. So nothing is in
//! flight beyond the new size, and nothing comes: reservations and chosen blocks there may be taken back. What
//! locks folios is done before the first handle (law 1 of ARCHITECTURE.md).

use super::iomap_ops::{Buffered, Memory};
use super::lookup::{first_behind, with_core};
use crate::change::resize::{self, PageCache};
use crate::change::Live;
use crate::disk::LogicalBlock;
use crate::linux::iomap::{dax, zero_range};
use crate::linux::lock::{ExclusiveRef, Invalidate};
use crate::linux::memalloc::NofsScope;
use crate::ops::{Fs, Node};
use crate::store::Store;
use core::ops::Range;
use kernel::error::Result;
use kernel::page::PAGE_SIZE;

/// Sets the size of a regular file to `new` bytes.
pub(crate) fn set_size(lock: ExclusiveRef<'_, Fs>, new: u64) -> Result {
    let node = lock.inode();
    node.check_new_size(new)?;
    // Later the page cache would be cut already, and the size be another than that on disk.
    node.data().volume().store.check_writable()?;
    node.dio_wait();
    let was_empty = node.map_lock().disk_size == 0;
    node.data().set_stream_start(new);
    let below = (PAGE_SIZE as u64).wrapping_sub(1);
    let freed = match new <= node.size() {
        true => new.saturating_add(below) & !below..u64::MAX,
        false => 0..0,
    };
    resize::set_size(node, &mut Pages::of(lock, freed)?, new)?;
    if new == 0 && !was_empty {
        node.data().set_emptied();
    }
    Ok(())
}

/// The page cache of a file whose size may change: nobody else has its invalidate lock.
pub(crate) struct Pages<'a> {
    // Left before the lock is given up.
    _nofs: NofsScope,
    invalidate: Invalidate<'a, Fs>,
    node: &'a Node,
}

impl<'a> Pages<'a> {
    /// Takes the invalidate lock. The caller has waited for direct I/O since it has `lock`. Blocks of bytes `moved` may
    /// be freed or moved: where they are memory, nobody has them any more.
    ///
    /// # Errors
    ///
    /// `ERESTARTSYS` where that was waited for, and a signal has come.
    pub(crate) fn of(lock: ExclusiveRef<'a, Fs>, moved: Range<u64>) -> Result<Self> {
        let mut invalidate = Invalidate::lock(lock);
        invalidate.break_layouts(moved)?;
        Ok(Self {
            _nofs: NofsScope::enter(),
            invalidate,
            node: lock.inode(),
        })
    }
}

impl PageCache for Pages<'_> {
    fn zero(&mut self, range: Range<u64>) -> Result<bool> {
        let len = range.end.saturating_sub(range.start);
        match self.is_device() {
            true => dax::zero_range::<Memory>(&self.invalidate, range.start, len),
            false => zero_range::<Buffered>(&self.invalidate, range.start, len),
        }
    }

    fn is_device(&self) -> bool {
        self.node.is_dax()
    }

    fn write_back(&mut self, range: Range<u64>) -> Result {
        self.node
            .write_and_wait(range.start, range.end.saturating_sub(1))
    }

    fn grown(&mut self, old: u64, new: u64) {
        self.node.size_extended(old, new);
    }

    fn drop_behind(&mut self, pos: u64) {
        self.invalidate.truncate_pagecache(pos);
    }

    fn drop_range(&mut self, range: Range<u64>) {
        self.invalidate.truncate_pagecache_range(range);
    }
}

/// A direct write that goes behind the end of the file has failed: gives back the blocks there that were chosen for it.
/// Those within the file stay with it, as unwritten blocks do. The caller holds no lock of the inode.
pub(crate) fn give_back_chosen(node: &Node) {
    let _lock = node.lock();
    // Others may be writing there.
    node.dio_wait();
    with_core(node, |volume, core| {
        let end = first_behind(volume, node.size());
        core.map.cancel(volume, end, LogicalBlock::LIMIT);
    });
}
