// SPDX-License-Identifier: GPL-2.0

//! Changing the size of a regular file, and freeing what a file has when it goes away.
//!
//! # Crash safety
//!
//! A file that shrinks in one transaction needs nothing more. If its blocks do not fit into one, the inode
//! is an orphan from the first to the last: recovery then cuts the file off at its size, which is the first
//! thing that was made durable.
//!
//! # Locks
//!
//! `i_rwsem` exclusively by the caller; here the invalidate lock, and direct I/O is waited for. So nothing is in
//! flight beyond the new size, and nothing comes: reservations and chosen blocks there may be taken back. What
//! locks folios is done before the first handle (law 1).

use super::begin::Buffered;
use super::extents::{first_behind, is_written, lookup, with_core, Blocks};
use super::inode::number;
use super::{Core, Node, Orphans};
use crate::disk::LogicalBlock;
use crate::linux::inode::Kind;
use crate::linux::iomap::{truncate_page, zero_range};
use crate::linux::lock::Invalidate;
use crate::linux::memalloc::NofsScope;
use crate::map::{FileMap, Progress, State};
use crate::store::{Store, Transaction};
use kernel::error::Result;

/// Sets the size of a regular file to `new` bytes. The caller holds `i_rwsem` exclusively.
pub(super) fn set_size(node: &Node, new: u64) -> Result {
    node.check_new_size(new)?;
    // Later the page cache would be cut already, and the size be another than that on disk.
    node.data().volume().store.check_writable()?;
    node.dio_wait();
    let _invalidate = Invalidate::lock(node);
    let old = node.size();
    let zeroed = if new > old {
        zero_behind(node, old, new)?
    } else {
        truncate_page::<Buffered>(node, new)?
    };
    // What is before the new end and is not on disk yet, the zeros just made included, must be there before
    // the size on disk says that it is.
    let disk_size = with_core(node, |_, core| core.disk_size);
    if new > disk_size && (zeroed || old != disk_size) {
        node.write_and_wait(disk_size, new.saturating_sub(1))?;
    }
    node.set_size(new);
    if new > old {
        node.size_extended(old, new);
        return grow(node, new);
    }
    node.truncate_pagecache(new);
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
/// caller holds `i_rwsem` exclusively and the invalidate lock, and no direct I/O is in flight.
pub(super) fn zero_behind(node: &Node, size: u64, to: u64) -> Result<bool> {
    if !has_clean_end(node, size, true)? {
        // A truncate or a write that failed has left it. iomap does not zero what lies wholly behind the end, where
        // nothing would be written back.
        shrink(node, size)?;
    }
    zero_range::<Buffered>(node, size, to.saturating_sub(size))
}

/// Whether no block that begins behind byte `size`, the end of the file, has data. This is looked up once, and again
/// after something has failed.
///
/// # Errors
///
/// As [`lookup`].
pub(super) fn has_clean_end(node: &Node, size: u64, wait: bool) -> Result<bool> {
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
    data.set_clean_end(true);
    Ok(true)
}

/// Raises the size on disk.
fn grow(node: &Node, new: u64) -> Result {
    let _nofs = NofsScope::enter();
    let data = node.data();
    let mut tx = data.volume().store.begin(Core::WRITE_CREDITS, 0)?;
    let mut core = data.core().lock();
    core.disk_size = new;
    data.write_core(node, &core, &mut tx)
}

/// Cuts the file off at `new` bytes. The page cache has nothing behind it.
fn shrink(node: &Node, new: u64) -> Result {
    with_core(node, |volume, core| core.map.release_window(volume));
    remove(node, first_behind(node.data().volume(), new), new)
}

/// Makes everything from block `from` on a hole, in as many transactions as it takes, the first of which sets the
/// size on disk to `size`. No I/O is in flight there.
fn remove(node: &Node, from: LogicalBlock, size: u64) -> Result {
    let _nofs = NofsScope::enter();
    let data = node.data();
    let volume = data.volume();
    let orphans = &node.super_block().data().mounted.orphans;
    data.set_clean_end(false);
    let mut to = LogicalBlock::LIMIT;
    let mut handle = None;
    let mut asked = false;
    let mut ours = false;
    loop {
        let granted = FileMap::remove_credits(volume, data.snapshot().depth());
        let credits = granted
            .blocks
            .saturating_add(Core::WRITE_CREDITS)
            .saturating_add(Orphans::CREDITS);
        let tx = match &mut handle {
            Some(tx) => {
                Transaction::ensure(tx, credits, granted.revokes)?;
                tx
            }
            none => none.insert(volume.store.begin(credits, granted.revokes)?),
        };
        let mut core = data.core().lock();
        core.disk_size = size;
        let progress = core.map.remove(volume, tx, from, to, granted);
        // After an error too: a part may have been done.
        data.write_core(node, &core, tx)?;
        drop(core);
        match progress? {
            Progress::Done => {
                data.set_clean_end(true);
                if ours {
                    orphans.remove(volume, tx, number(node))?;
                }
                return Ok(());
            }
            Progress::Again(next) => {
                to = next;
                if !asked {
                    ours = orphans.add(volume, tx, number(node))?;
                    asked = true;
                }
            }
        }
    }
}

/// A direct write that goes behind the end of the file has failed: gives back the blocks there that were chosen for it.
/// Those within the file stay with it, as unwritten blocks do. The caller holds no lock of the inode.
pub(super) fn give_back_chosen(node: &Node) {
    let _lock = node.lock();
    // Others may be writing there.
    node.dio_wait();
    with_core(node, |volume, core| {
        let end = first_behind(volume, node.size());
        core.map.cancel(volume, end, LogicalBlock::LIMIT);
    });
}

/// A crash came when the file was being cut off: cuts it off at its size, and it is no orphan any more.
pub(super) fn recover(node: &Node) -> Result {
    let _lock = node.lock();
    if node.kind() == Kind::Regular {
        set_size(node, node.size())?;
    }
    let data = node.data();
    let volume = data.volume();
    let mut tx = volume.store.begin(Orphans::CREDITS, 0)?;
    let orphans = &node.super_block().data().mounted.orphans;
    orphans.remove(volume, &mut tx, number(node))
}

/// Frees all blocks of an inode without links, an orphan until the caller has freed the inode. Its page cache is
/// empty.
pub(super) fn evict(node: &Node) -> Result {
    remove(node, LogicalBlock::ZERO, 0)
}

/// The inode leaves memory and its page cache is empty: gives back what it has in memory only.
pub(super) fn forget_all(node: &Node) {
    with_core(node, |volume, core| core.map.evict(volume));
}
