// SPDX-License-Identifier: GPL-2.0

//! What users, groups and projects have is counted, where the volume has the feature `quota`.
//!
//! The kernel counts ([`crate::linux::quota`]), in hidden files of the volume (`change/quota.rs`). Each inode has what
//! it occupies counted as it is written (`change/live.rs` `account`), and asks before it takes more (`promise`).
//!
//! Tests: `qemu/test/t/quota*.sh`.

use super::options::Options;
use crate::change::quota;
use crate::change::Live;
use crate::disk::{Flaw, Ino};
use crate::linux::quota::{Change, Kind};
use crate::linux::super_block::Locked;
use crate::ops::inode::read;
use crate::ops::{Fs, Node, SuperBlock};
use crate::store::{About, Credits, Store};
use kernel::prelude::*;

/// The inodes that the files of users and groups are, always (`EXT4_USR_QUOTA_INO`, `EXT4_GRP_QUOTA_INO`).
const FIXED: [u32; 2] = [3, 4];

/// Begins to count, or goes on, on a mount that can be written to; the limits count as the options say.
///
/// # Errors
///
/// Reported. `EUCLEAN` where a file is not where it must be; `ESRCH` where the kernel does not know the format; `EIO`.
pub(super) fn begin(sb: &Locked<'_, Fs>, options: &Options) -> Result {
    let volume = &sb.data().mounted.volume;
    if !volume.layout.has_quota() {
        return Ok(());
    }
    volume.store.begin_counting();
    let files = volume.layout.quota_inodes();
    let done = if sb.has_quota() {
        sb.resume_quota()
    } else {
        let mut kinds = Kind::ALL.into_iter().zip(files);
        kinds.try_for_each(|(kind, number)| match Ino::new(number) {
            None => Ok(()),
            Some(ino) => enable(sb, kind, ino, options.has_limits(kind)),
        })
    };
    done.and_then(|()| {
        let mut limited = Kind::ALL
            .into_iter()
            .filter(|kind| options.has_limits(*kind));
        limited.try_for_each(|kind| sb.enforce_quota(kind))
    })
    .map_err(|error| {
        let number = error.to_errno();
        let what = fmt!("what owners have cannot be counted: error {number}");
        volume.store.fail(error, About::NONE, what)
    })
}

/// Begins to count for one kind of owners, in file `ino`.
fn enable(sb: &Locked<'_, Fs>, kind: Kind, ino: Ino, limits: bool) -> Result {
    let volume = &sb.data().mounted.volume;
    let right = match FIXED.get(kind as usize) {
        Some(fixed) => ino.get() == *fixed,
        None => ino.get() >= volume.layout.first_ino(),
    };
    if !right {
        return Err(volume.store.flawed(ino, Flaw::QuotaFile));
    }
    let file = read::get_system(sb.get(), ino)?;
    if !file.is_regular() {
        return Err(volume.store.flawed(ino, Flaw::QuotaFile));
    }
    sb.enable_quota(kind, &file, limits)
}

/// See [`FileSystem::quota_change`](crate::linux::fs::FileSystem::quota_change).
pub(super) fn change(sb: &SuperBlock, what: Change, f: &mut dyn FnMut() -> Result) -> Result {
    let volume = &sb.data().mounted.volume;
    let store = &volume.store;
    if store.has_lent() {
        return f();
    }
    // What is not the last that somebody does in a system call, who would keep a freeze away.
    let _writing = (what == Change::Release).then(|| sb.internal_write());
    let credits = match what {
        // A tree of extents with more levels is none that a quota file gets.
        Change::Acquire | Change::Release => quota::credits(volume, 1),
        Change::Record | Change::Info => Credits::blocks(1),
    };
    let mut tx = store.begin(credits)?;
    tx.lend(f)
}

/// See [`FileSystem::quota_write`](crate::linux::fs::FileSystem::quota_write).
pub(super) fn write(file: &Node, pos: u64, from: &[u8]) -> Result {
    let store = &file.volume().store;
    let done = store.with_lent(|mut tx| quota::write_bytes(file, &mut tx, pos, from));
    done.unwrap_or(Err(EROFS)).map_err(|error| {
        // The device is full, or nothing can be changed any more, which was told.
        if error == ENOSPC || store.check_writable().is_err() {
            return error;
        }
        let what = fmt!("a record of what an owner has could not be written");
        store.fail(error, file.ino(), what)
    })
}
