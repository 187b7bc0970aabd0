// SPDX-License-Identifier: GPL-2.0

//! Writing: the checks that all writes share, and writes through the page cache.
//!
//! # Locks
//!
//! A write through the page cache holds `i_rwsem` exclusively, a direct one mostly shared ([`super::dio`]).
//! Whoever may change the size while it is not the only one does so under the map lock
//! ([`super::complete`]); a buffered write that extends the file waits for direct I/O first, so that it
//! does not set the size back.

use super::begin::Buffered;
use super::extents::{is_written, release_windows};
use super::truncate::{has_clean_end, zero_behind};
use super::{dio, Fs, Node, SuperBlock};
use crate::linux::file::{IterSource, Kiocb};
use crate::linux::inode::Kind;
use crate::linux::iomap::buffered;
use crate::linux::lock::{Held, Invalidate};
use crate::store::Store;
use kernel::error::{code::*, Result};
use kernel::page::PAGE_SIZE;

/// Writes, one way or the other.
pub(super) fn write_iter(iocb: Kiocb<'_, Fs>, mut from: IterSource<'_>) -> Result<usize> {
    if from.len() == 0 {
        return Ok(0);
    }
    iocb.inode().data().volume().store.check_writable()?;
    if iocb.is_direct() {
        return dio::write(iocb, &mut from);
    }
    let mut iocb = iocb;
    write(&mut iocb, &mut from)
}

/// Takes the lock, or `EAGAIN` where the request must not wait.
fn held<'a>(node: &'a Node, exclusive: bool, wait: bool) -> Result<Held<'a, Fs>> {
    let lock = if exclusive {
        Held::exclusive(node, wait)
    } else {
        Held::shared(node, wait)
    };
    lock.ok_or(EAGAIN)
}

/// How a write needs `i_rwsem`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Others may write too.
    Shared,
    /// Nobody else starts to write.
    Exclusive,
    /// Nobody else is writing, nor is direct I/O in flight.
    Alone,
}

/// The checks before any write, with the lock that they and the write need: as `need` says, or exclusive where there
/// is a set-user-id bit to take away or a gap behind the end of the file to be zeroed. Returns the lock and how many
/// bytes may be written, which may be none.
pub(super) fn prepare<'a>(
    iocb: &mut Kiocb<'a, Fs>,
    from: &mut IterSource<'_>,
    need: Need,
) -> Result<(Held<'a, Fs>, usize)> {
    let node = iocb.inode();
    let wait = !iocb.is_nowait();
    let mut lock = held(node, need != Need::Shared, wait)?;
    let mut drained = false;
    loop {
        // It may have become so since the file was opened.
        if node.is_immutable() {
            return Err(EPERM);
        }
        from.uncut();
        let count = iocb.write_checks(from)?;
        if count == 0 {
            return Ok((lock, 0));
        }
        let (pos, size) = (iocb.pos() as u64, node.size());
        // An end between pages has nothing behind it that is to be zeroed, if nothing has failed.
        let page = u64::from(node.super_block().block_size()).max(PAGE_SIZE as u64);
        let gap = pos > size
            && (need != Need::Shared
                || size & page.wrapping_sub(1) != 0
                || !has_clean_end(node, size, wait)?);
        if !lock.is_exclusive() && (gap || !node.is_nosec()) {
            drop(lock);
            lock = held(node, true, wait)?;
            continue;
        }
        if (gap || need == Need::Alone) && !drained {
            // With the lock no new direct write starts, but one in flight may yet move the end.
            if node.dio_in_flight() {
                if !wait {
                    return Err(EAGAIN);
                }
                node.dio_wait();
            }
            drained = true;
            continue;
        }
        if gap {
            if !wait {
                return Err(EAGAIN);
            }
            let _invalidate = Invalidate::lock(node);
            if zero_behind(node, size, pos)? && is_written(node, size)? {
                // The block may have other bytes on disk, in images of others. The zeros must be there before the size
                // on disk is behind them: this write may be made durable alone.
                node.write_and_wait(size.saturating_sub(1), size)?;
            }
        }
        iocb.modified()?;
        return Ok((lock, count));
    }
}

/// Writes through the page cache, once.
fn write_once(iocb: &mut Kiocb<'_, Fs>, from: &mut IterSource<'_>) -> Result<usize> {
    let node = iocb.inode();
    let mut need = Need::Exclusive;
    loop {
        let (lock, count) = prepare(iocb, from, need)?;
        let Held::Exclusive(lock) = lock else {
            return Err(EIO);
        };
        if count == 0 {
            return Ok(0);
        }
        let end = (iocb.pos() as u64).saturating_add(count as u64);
        if end > node.size() && node.dio_in_flight() {
            if iocb.is_nowait() {
                return Err(EAGAIN);
            }
            // The end may move, and with it the place of an append: it is checked again, without giving the lock up
            // after the wait. There may always be others who want it.
            need = Need::Alone;
            continue;
        }
        return buffered::write::<Buffered>(iocb, from, &lock);
    }
}

/// Makes space: writes back what was reserved for more than it needs, takes back what was chosen ahead, and commits
/// what was freed. What fails here fails again, and is reported, where the space is used.
pub(super) fn reclaim_space(sb: &SuperBlock) {
    sb.try_to_write_back();
    // Writeback may have chosen ahead again.
    release_windows(sb);
    let _ = sb.data().mounted.reclaim_freed();
}

/// What a file holds is to stand in for what was there before: for another file of the name that it gets, or for its
/// own content, which was cut off. Starts to write it back, so that a crash finds neither the one nor the other only if
/// it comes before that has ended. This is for programs that do not call `fsync`; ext4 calls it `auto_da_alloc`.
///
/// The caller holds no map lock, no handle and no locked folio.
pub(super) fn start_replacing(node: &Node) {
    if node.kind() == Kind::Regular && node.super_block().data().writes_replacements_early() {
        // What fails is told at the next sync.
        node.start_writing();
    }
}

/// Writes through the page cache. Where there is no space, waits until what was freed is free and what was
/// reserved too much is given back, and tries again.
pub(super) fn write(iocb: &mut Kiocb<'_, Fs>, from: &mut IterSource<'_>) -> Result<usize> {
    let node = iocb.inode();
    let written = match write_once(iocb, from) {
        Err(e) if e == ENOSPC && !iocb.is_nowait() => {
            reclaim_space(node.super_block());
            write_once(iocb, from)?
        }
        other => other?,
    };
    if written == 0 {
        return Ok(0);
    }
    iocb.write_sync(written)
}
