// SPDX-License-Identifier: GPL-2.0

//! What is done to a file system: each operation is one transaction, or several that a crash may come between.
//!
//! Tests: `tools/core/tests/change_{names,access,atomic,dax,sync,mount,trim,ioctl,xattr}.rs`, `tools/sim` (the power
//! cut anywhere), `qemu/test/t/{crash,fault-}*.sh`.
//!
//! | file | what is in it |
//! |---|---|
//! | [`live`] | the interface to an inode that is in memory, and to one that is on its way there |
//! | `dir` | a live directory as [`names`](crate::names) sees it; how directories are counted in link counts |
//! | [`create`](mod@create) | a new inode, with a name or without |
//! | [`link`](mod@link) | a name more, a name less |
//! | [`rename`](mod@rename) | `rename` in all its forms |
//! | [`replace`](mod@replace) | a file stands in for another one |
//! | [`publish`](mod@publish) | data is on the device: the file shows it |
//! | [`resize`] | the size changes, blocks are cut off |
//! | [`fallocate`] | blocks without data, holes, and what moves in a file |
//! | [`xattr`] | extended attributes |
//! | `value` | inodes with values of attributes |
//! | [`generation`] | what tells an inode apart from others with its number |
//! | [`label`] | the name of the volume |
//! | [`quota`] | the files that say what users, groups and projects have |
//! | [`sync`] | what makes a change durable |
//! | [`target`] | the blocks that data goes to |
//! | [`dax`] | blocks that are written to as memory |
//! | [`atomic`] | writes that are there whole or not at all |
//! | [`access`] | what a write needs before it begins, and what it is told of blocks |
//! | [`free`](mod@free) | an inode without links goes away |
//! | [`recover`] | what a crash has left: orphans |
//! | [`trim`](mod@trim) | the device is told of free blocks |
//! | [`mount`](mod@mount) | mount and unmount: the journal, the super block |
//! | [`reservation`] | the credits of each operation, in one table |
//!
//! The module calls these from the VFS's operations (`ops`), the simulation and the fuzzer call them on the host
//! (`tools/sim`, `tools/fuzz`): what is simulated is what ships. Left to the caller are the locks of the VFS, the page
//! cache, waiting for I/O and for commits, and another attempt where there was no space.
//!
//! # Transactions
//!
//! A handle is begun with credits for the worst case before the first change, and ended before anything that may wait
//! for another handle: giving up the last reference to an inode, above all.
//!
//! An error after the first change leaves what was changed in the transaction: each operation does first what can fail.
//! What fails in the middle all the same is reported ([`half_done`]).
//!
//! # Locks
//!
//! For a change of names or of the size the caller holds `i_rwsem` of each inode that is passed, exclusively. Nobody
//! else has an inode that is freed or recovered; [`publish`](mod@publish) and [`write_attributes`] need no lock of the
//! VFS. The map lock is taken inside a handle, and given up before the handle goes on in another transaction.

pub mod access;
pub mod atomic;
pub mod create;
pub mod dax;
mod dir;
pub mod exchange;
pub mod fallocate;
pub mod free;
pub mod generation;
pub mod label;
pub mod link;
pub mod live;
pub mod mount;
pub mod publish;
pub mod quota;
pub mod recover;
pub mod rename;
pub mod replace;
pub mod reservation;
pub mod resize;
pub mod sync;
pub mod target;
pub mod trim;
mod value;
pub mod xattr;

pub use dir::Dir;
pub use live::{InodePart, Live, Newborn};

use crate::disk::inode::InodeFlags;
use crate::inode::{Draft, Inode};
use crate::store::{Rule, Store, Transaction};
use kernel::error::{Error, Result};
use kernel::prelude::*;

/// Writes a live inode to the inode table in this transaction; `inode` is what the map lock guards. Costs
/// [`Inode::WRITE_CREDITS`].
///
/// # Errors
///
/// Those of [`Inode::write`].
pub fn write<S: Store, L: Live<S>>(
    live: &L,
    inode: &Inode,
    tx: &mut S::Tx<'_>,
    part: InodePart,
) -> Result {
    live.note_transaction(tx.tid(), part);
    write_noted(live, inode, tx)
}

/// [`write`](fn@write), with the attributes of `draft`.
pub fn write_with<S: Store, L: Live<S>>(
    live: &L,
    inode: &Inode,
    tx: &mut S::Tx<'_>,
    draft: &Draft<S>,
) -> Result {
    live.note_transaction(tx.tid(), InodePart::Attributes);
    note_write(live, inode, tx);
    inode.write_with(live.volume(), tx, &live.attrs(), draft)
}

/// [`write`](fn@write), of an inode that was told of the transaction.
fn write_noted<S: Store, L: Live<S>>(live: &L, inode: &Inode, tx: &mut S::Tx<'_>) -> Result {
    note_write(live, inode, tx);
    inode.write(live.volume(), tx, &live.attrs())
}

/// What goes with every writing of an inode.
fn note_write<S: Store, L: Live<S>>(live: &L, inode: &Inode, tx: &mut S::Tx<'_>) {
    live.note_new_times(false);
    if is_counted(inode) {
        live.account(tx, inode.map.sectors());
    }
}

/// Whether an inode counts for its owners. One with the value of an attribute counts for those whose entries lead to it
/// ([`Live::count_inodes`]); it is known as an inode only when a recovery frees it.
fn is_counted(inode: &Inode) -> bool {
    !inode.flags.has(InodeFlags::EA_INODE)
}

/// [`write`](fn@write), for callers without the map lock.
pub fn write_now<S: Store, L: Live<S>>(live: &L, tx: &mut S::Tx<'_>, part: InodePart) -> Result {
    write(live, &live.map_lock(), tx, part)
}

/// Writes what the VFS knows of an inode in a transaction of its own. The caller may hold any lock that a handle may be
/// begun under.
///
/// # Errors
///
/// Those of [`Store::begin`] and [`Inode::write`].
pub fn write_attributes<S: Store, L: Live<S>>(live: &L) -> Result {
    let mut tx = live.volume().store.begin(reservation::ATTRIBUTES)?;
    write_now(live, &mut tx, InodePart::Attributes)
}

/// Writes times that have changed in memory only, if any have. Reads and writes change times without a transaction:
/// they go with the next one of the inode, and are written by this when it is synchronised, or has waited for long. As
/// [`write_attributes`].
///
/// # Errors
///
/// Those of [`write_attributes`].
pub fn write_times<S: Store, L: Live<S>>(live: &L) -> Result {
    match live.has_new_times() {
        true => write_attributes(live),
        false => Ok(()),
    }
}

/// The last link is gone, or the file is cut off in several steps: recovery has to know, if it comes to that. `false`
/// where it knows already.
fn mark_orphan<S: Store, L: Live<S>>(live: &L, tx: &mut S::Tx<'_>) -> Result<bool> {
    live.orphans().add(live.volume(), tx, live.ino())
}

/// [`mark_orphan`], of an inode that loses its last name.
fn mark_dying<S: Store, L: Live<S>>(live: &L, tx: &mut S::Tx<'_>) -> Result<bool> {
    match live.volume().store.breaks(Rule::Orphan) {
        true => Ok(false),
        false => mark_orphan(live, tx),
    }
}

/// The inode needs no recovery any more.
fn unmark_orphan<S: Store, L: Live<S>>(live: &L, tx: &mut S::Tx<'_>) -> Result {
    live.orphans().remove(live.volume(), tx, live.ino())
}

/// [`mark_orphan`] has made the inode an orphan for a change that did not come.
fn unmark_again<S: Store, L: Live<S>>(live: &L, tx: &mut S::Tx<'_>) {
    if let Err(error) = unmark_orphan(live, tx) {
        half_done(live, "to keep the inode from being an orphan", error);
    }
}

/// Keeps in memory what an inode is written to. Who changes several things in one transaction calls this first, so that
/// a block which cannot be read is found out before the first change.
fn pin<S: Store, L: Live<S>>(live: &L) -> Result<impl Sized> {
    crate::inode::pin(live.volume(), live.ino())
}

/// Some of what belongs together was changed, and then came `error`: reports that, unless nothing of it will ever be on
/// the device. Returns `error`.
#[track_caller]
fn half_done<S: Store, L: Live<S>>(live: &L, what: &str, error: Error) -> Error {
    let store = &live.volume().store;
    if store.check_writable().is_ok() {
        let ino = live.ino();
        store.fail(
            error,
            ino,
            fmt!(
                "inode {}: a change failed halfway: it was {what}",
                ino.get()
            ),
        );
    }
    error
}
