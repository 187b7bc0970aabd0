// SPDX-License-Identifier: GPL-2.0

//! The files that say what users, groups and projects have and may have. What is in them is the business of who counts;
//! here bytes are read and written, in blocks that are metadata: a record changes in the transaction of what it counts.
//! A block is never freed.
//!
//! Tests: `tools/core/tests/change_quota.rs`, `qemu/test/t/quota*.sh`.
//!
//! # Locks
//!
//! The caller sees to it that nobody else reads what it writes. The map lock of the file is taken, inside a handle and,
//! as what a file has changes with its map, inside the map lock of another file: that of a quota file is always the
//! last.

use super::live::{InodePart, Live};
use super::{reservation, write};
use crate::disk::bytes::copy;
use crate::disk::quota::QuotaFormat;
use crate::disk::{LogicalBlock, PhysBlock};
use crate::inode::Inode;
use crate::map::State;
use crate::space::Share;
use crate::store::{Block, Credits, Store, Transaction};
use crate::volume::Volume;
use core::ops::Range;
use kernel::error::{code::*, Result};

/// The most blocks that are added to a file for one record: those that lead to it, and its own (`QTREE_INIT_ALLOC`).
const ADDED: u32 = 4;
/// The most that are changed beside (`QTREE_INIT_REWRITE`, `QTREE_DEL_REWRITE`), with the one that has the counts of
/// the file.
const CHANGED: u32 = 7;

/// Credits for a record that is new, or goes.
pub fn credits<S: Store>(volume: &Volume<S>, depth: u16) -> Credits {
    let (map, _) = reservation::publish(volume, depth.saturating_add(1));
    (map + Credits::blocks(1)) * ADDED + Credits::blocks(CHANGED) + Inode::WRITE_CREDITS
}

/// The part of a block that bytes from `pos` on are in, as many as `len`: the block, and the bytes in it.
fn part<S: Store>(
    volume: &Volume<S>,
    pos: u64,
    len: usize,
) -> Result<(LogicalBlock, Range<usize>)> {
    let size = volume.layout.block_size();
    let at = LogicalBlock::holding(size, pos).ok_or(EFBIG)?;
    let bytes = size.bytes() as usize;
    let from = pos as usize & bytes.wrapping_sub(1);
    Ok((at, from..from.saturating_add(len).min(bytes)))
}

/// Reads the block at `at`; `None` where there is none.
fn block<S: Store>(
    volume: &Volume<S>,
    inode: &mut Inode,
    at: LogicalBlock,
) -> Result<Option<Block<S, QuotaFormat>>> {
    let found = inode.map.find(volume, at, 1)?;
    let phys: Option<PhysBlock> = found.phys.filter(|_| found.state == State::Written);
    phys.map(|nr| volume.store.read(nr, QuotaFormat))
        .transpose()
}

/// Reads bytes from `pos` on, as many as there are up to the size. `to` is zeros: what has no block is not touched.
///
/// # Errors
///
/// `EFBIG`; those of [`FileMap::find`](crate::map::FileMap::find) and [`Store::read`].
pub fn read<S: Store, L: Live<S>>(live: &L, mut pos: u64, to: &mut [u8]) -> Result<usize> {
    let volume = live.volume();
    let left = usize::try_from(live.size().saturating_sub(pos)).unwrap_or(usize::MAX);
    let len = to.len().min(left);
    let mut rest = to.get_mut(..len).unwrap_or_default();
    while !rest.is_empty() {
        let (at, bytes) = part(volume, pos, rest.len())?;
        let (now, later) = rest.split_at_mut_checked(bytes.len()).ok_or(EINVAL)?;
        if let Some(block) = block(volume, &mut live.map_lock(), at)? {
            block.with(|from| {
                if let Some(from) = from.get(bytes.clone()) {
                    copy(now, from);
                }
            });
        }
        pos = pos.saturating_add(bytes.len() as u64);
        rest = later;
    }
    Ok(len)
}

/// Writes bytes at `pos`. Where there is no block, one is made. The transaction has [`credits`] for that, or the blocks
/// are there.
///
/// # Errors
///
/// `ENOSPC`, `EFBIG`; those of [`FileMap::allocate`](crate::map::FileMap::allocate) and [`Transaction::edit`].
pub fn write_bytes<S: Store, L: Live<S>>(
    live: &L,
    tx: &mut S::Tx<'_>,
    mut pos: u64,
    from: &[u8],
) -> Result {
    let volume = live.volume();
    let mut inode = live.map_lock();
    let mut rest = from;
    while !rest.is_empty() {
        let (at, bytes) = part(volume, pos, rest.len())?;
        let (now, later) = rest.split_at_checked(bytes.len()).ok_or(EINVAL)?;
        pos = pos.saturating_add(now.len() as u64);
        rest = later;
        let put = |to: &mut [u8]| {
            if let Some(to) = to.get_mut(bytes) {
                copy(to, now);
            }
        };
        match block(volume, &mut inode, at)? {
            Some(block) => tx.edit(&block, put)?,
            None => {
                let goal = live.goal(false);
                // What counts must not fail for want of space as long as there is some.
                let run = inode.map.allocate(volume, tx, at, 1, goal, Share::All)?;
                tx.create(run.start, QuotaFormat, put)?;
                write(live, &inode, tx, InodePart::Data)?;
            }
        }
        if pos > inode.disk_size {
            inode.disk_size = pos;
            live.set_size(pos);
            write(live, &inode, tx, InodePart::Data)?;
        }
    }
    Ok(())
}
