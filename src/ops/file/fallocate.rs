// SPDX-License-Identifier: GPL-2.0

//! `fallocate(2)`: locks, what is in flight, and what is refused. What is done, in which order, is in
//! [`fallocate`](mod@crate::change::fallocate).
//!
//! # Locks
//!
//! `i_rwsem` exclusively, direct I/O is waited for, then the invalidate lock. Whoever makes space holds none of them.

use super::resize::Pages;
use crate::change::fallocate as change;
use crate::change::Live;
use crate::linux::file::{Fallocate, File};
use crate::linux::lock::ExclusiveRef;
use crate::ops::reclaim::{with_space, Effort};
use crate::ops::{durable, trace, Fs, Node};
use crate::store::Store;
use core::ops::Range;
use kernel::error::{code::*, Result};
use kernel::page::PAGE_SIZE;

/// `fallocate(2)`.
pub(crate) fn fallocate(file: File<'_, Fs>, what: Fallocate, range: Range<u64>) -> Result {
    let node = file.inode();
    let store = &node.data().volume().store;
    match what {
        Fallocate::Unshare => return Err(EOPNOTSUPP),
        // Else it would be no better than a write.
        Fallocate::WriteZeroes if !store.cache().device().can_unmap_to_zero() => {
            return Err(EOPNOTSUPP)
        }
        _ => store.check_writable()?,
    }
    trace::file::begin_other(node, &range, trace::IOMAPFS_FALLOCATE);
    with_space(node, Effort::All, || {
        let lock = node.lock();
        node.dio_wait();
        file.modified(lock.borrow())?;
        apply(lock.borrow(), what, range.clone())
    })?;
    let (syncs, all) = file.is_sync();
    if syncs {
        let last = range.end.saturating_sub(1);
        durable::fsync(file, range.start as i64, last as i64, !all)?;
    }
    Ok(())
}

fn apply(lock: ExclusiveRef<'_, Fs>, what: Fallocate, range: Range<u64>) -> Result {
    const PAGE: u64 = PAGE_SIZE as u64;

    let node = lock.inode();
    let size = node.size();
    match what {
        Fallocate::Allocate { keep_size } => {
            check_end(node, &range, keep_size)?;
            change::allocate(node, &mut Pages::of(lock, 0..0)?, range, keep_size)
        }
        Fallocate::ZeroRange { keep_size } => {
            check_end(node, &range, keep_size)?;
            let pages = &mut Pages::of(lock, range.clone())?;
            change::zero(node, pages, range, keep_size)
        }
        Fallocate::WriteZeroes => {
            check_end(node, &range, false)?;
            let pages = &mut Pages::of(lock, range.clone())?;
            change::write_zeroes(node, pages, range)
        }
        Fallocate::PunchHole => {
            let pages = &mut Pages::of(lock, range.clone())?;
            change::punch(node, pages, range)
        }
        Fallocate::CollapseRange => {
            check_aligned(node, &range)?;
            if range.end >= size {
                // That would be a truncate.
                return Err(EINVAL);
            }
            let pages = &mut Pages::of(lock, range.start..u64::MAX)?;
            change::collapse(node, pages, range, PAGE)
        }
        Fallocate::InsertRange => {
            check_aligned(node, &range)?;
            if range.start >= size {
                return Err(EINVAL);
            }
            let len = range.end.saturating_sub(range.start);
            let most = node.data().volume().layout.max_file_size();
            if len > most.saturating_sub(size) {
                return Err(EFBIG);
            }
            let pages = &mut Pages::of(lock, range.start..u64::MAX)?;
            change::insert(node, pages, (range.start, len), PAGE)
        }
        Fallocate::Unshare => Err(EOPNOTSUPP),
    }
}

/// The file may end where the range does, if it will.
fn check_end(node: &Node, range: &Range<u64>, keep_size: bool) -> Result {
    match !keep_size && range.end > node.size() {
        true => node.check_new_size(range.end),
        false => Ok(()),
    }
}

/// What moves consists of whole blocks.
fn check_aligned(node: &Node, range: &Range<u64>) -> Result {
    let block = u64::from(node.data().volume().layout.block_size().bytes());
    match (range.start | range.end) & block.wrapping_sub(1) {
        0 => Ok(()),
        _ => Err(EINVAL),
    }
}
