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
use crate::linux::iomap::{truncate_page, zero_range};
use crate::linux::lock::Invalidate;
use crate::linux::memalloc::NofsScope;
use crate::map::State;
use crate::ops::{Fs, Node};
use crate::store::Store;
use kernel::error::Result;

/// Sets the size of a regular file to `new` bytes. The caller holds `i_rwsem` exclusively.
pub(crate) fn set_size(node: &Node, new: u64) -> Result {
    node.check_new_size(new)?;
    // Later the page cache would be cut already, and the size be another than that on disk.
    node.data().volume().store.check_writable()?;
    node.dio_wait();
    let invalidate = Invalidate::lock(node);
    let old = node.size();
    let zeroed = if new > old {
        zero_behind(node, &invalidate, old, new)?
    } else {
        truncate_page::<Buffered>(&invalidate, new)?
    };
    // What is before the new end and is not on disk yet, the zeros just made included, must be there before
    // the size on disk says that it is.
    let disk_size = node.map_lock().disk_size;
    if new > disk_size && (zeroed || old != disk_size) {
        node.write_and_wait(disk_size, new.saturating_sub(1))?;
    }
    node.set_size(new);
    if new > old {
        node.size_extended(old, new);
        let _nofs = NofsScope::enter();
        return resize::grow(node, new);
    }
    invalidate.truncate_pagecache(new);
    shrink(node, new)?;
    if new == 0 && disk_size != 0 {
        node.data().set_emptied();
    }
    if zeroed && is_written(node, new)? {
        // On disk the rest of the block has what was cut off. It must be gone before the size can go up again.
        node.write_and_wait(new, new)?;
    }
    Ok(())
}

/// Makes bytes `size..to` read as zeros, where `size` is that of the file. Returns whether any had to be written. The
/// caller holds `i_rwsem` exclusively and, as `invalidate`, the invalidate lock, and no direct I/O is in flight.
pub(crate) fn zero_behind(
    node: &Node,
    invalidate: &Invalidate<'_, Fs>,
    size: u64,
    to: u64,
) -> Result<bool> {
    if !has_clean_end(node, size, true)? {
        // A truncate or a write that failed has left it. iomap does not zero what lies wholly behind the end, where
        // nothing would be written back.
        shrink(node, size)?;
    }
    zero_range::<Buffered>(invalidate, size, to.saturating_sub(size))
}

/// Whether no block that begins behind byte `size`, the end of the file, has data. This is looked up once, and again
/// after something has failed.
///
/// # Errors
///
/// As [`lookup`].
pub(crate) fn has_clean_end(node: &Node, size: u64, wait: bool) -> Result<bool> {
    let data = node.data();
    if data.has_clean_end() {
        return Ok(true);
    }
    let mut start = first_behind(data.volume(), size);
    while start < LogicalBlock::LIMIT {
        let len = LogicalBlock::LIMIT.saturating_distance_from(start);
        let found = lookup(node, Blocks { start, len }, wait)?;
        if found.state == State::Written {
            return Ok(false);
        }
        start = start.saturating_add(found.len.max(1));
    }
    node.note_clean_end(true);
    Ok(true)
}

/// Cuts the file off at `new` bytes on disk. The page cache has nothing behind it.
fn shrink(node: &Node, new: u64) -> Result {
    node.map_lock().map.release_window(node.data().volume());
    let _nofs = NofsScope::enter();
    resize::cut(node, new)
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
