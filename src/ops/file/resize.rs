// SPDX-License-Identifier: GPL-2.0

//! Changing the size of a regular file: the page cache, and what is in flight. The size on disk changes in
//! [`resize`](mod@crate::change::resize).
//!
//! # Locks
//!
//! `i_rwsem` exclusively by the caller; here the invalidate lock, and direct I/O is waited for. So nothing is in
//! flight beyond the new size, and nothing comes: reservations and chosen blocks there may be taken back. What
//! locks folios is done before the first handle (law 1 of ARCHITECTURE.md).

use super::iomap_ops::Buffered;
use super::lookup::{first_behind, is_written, lookup, with_core, Blocks};
use crate::change::{resize, Live};
use crate::disk::LogicalBlock;
use crate::linux::iomap::zero_range;
use crate::linux::lock::{ExclusiveRef, Invalidate};
use crate::linux::memalloc::NofsScope;
use crate::ops::{Fs, Node};
use crate::store::Store;
use core::ops::Range;
use kernel::error::Result;

/// Sets the size of a regular file to `new` bytes.
pub(crate) fn set_size(lock: ExclusiveRef<'_, Fs>, new: u64) -> Result {
    let node = lock.inode();
    node.check_new_size(new)?;
    // Later the page cache would be cut already, and the size be another than that on disk.
    node.data().volume().store.check_writable()?;
    node.dio_wait();
    let invalidate = Invalidate::lock(lock);
    let old = node.size();
    let tail = resize::tail(node.data().volume(), old, new);
    let zeroed = if new > old {
        zero_behind(node, &invalidate, tail)?
    } else {
        zero(&invalidate, &tail)?
    };
    let disk_size = node.map_lock().disk_size;
    if resize::writes_first(disk_size, old, new, zeroed) {
        node.write_and_wait(disk_size, new.saturating_sub(1))?;
    }
    node.set_size(new);
    if new > old {
        node.size_extended(old, new);
        let _nofs = NofsScope::enter();
        return resize::grow(node, new);
    }
    invalidate.truncate_pagecache(new);
    {
        let _nofs = NofsScope::enter();
        resize::cut(node, new)?;
    }
    if new == 0 && disk_size != 0 {
        node.data().set_emptied();
    }
    if zeroed && is_written(node, new)? {
        // On disk the rest of the block has what was cut off. It must be gone before the size can go up again.
        node.write_and_wait(new, new)?;
    }
    Ok(())
}

/// Makes bytes read as zeros, `range`, which begins with the end of the file. Returns whether any had to be written.
/// `invalidate` is the lock of `node`, and no direct I/O is in flight.
pub(crate) fn zero_behind(
    node: &Node,
    invalidate: &Invalidate<'_, Fs>,
    range: Range<u64>,
) -> Result<bool> {
    let look = |start, len| lookup(node, Blocks { start, len }, true);
    if !resize::has_clean_end(node, range.start, look)? {
        // A truncate or a write that failed has left it. iomap does not zero what lies wholly behind the end, where
        // nothing would be written back.
        let _nofs = NofsScope::enter();
        resize::cut_behind(node, range.start, |unwritten| {
            node.write_and_wait(unwritten.start, unwritten.end.saturating_sub(1))
        })?;
    }
    zero(invalidate, &range)
}

/// Makes the bytes of `range` zero in the page cache, as far as there can be data.
fn zero(invalidate: &Invalidate<'_, Fs>, range: &Range<u64>) -> Result<bool> {
    match range.is_empty() {
        true => Ok(false),
        false => {
            let len = range.end.saturating_sub(range.start);
            zero_range::<Buffered>(invalidate, range.start, len)
        }
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
