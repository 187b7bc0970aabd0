// SPDX-License-Identifier: GPL-2.0

//! Orphans that a crash has left: those without links are freed, the others cut off at their size.

use super::live::Live;
use super::{reservation, unmark_orphan};
use crate::disk::superblock::{RawSuper, STATE_ERROR};
use crate::disk::Ino;
use crate::inode::Orphans;
use crate::store::Store;
use crate::volume::Volume;
use core::ops::Deref;
use kernel::error::{code::*, Result};
use kernel::prelude::*;

/// How orphans come into memory and are cut off, by whoever holds inodes.
pub trait Keeper<S: Store> {
    /// An inode in memory.
    type Live: Live<S>;

    /// A reference to one. Dropped, an inode without links is freed.
    type Held: Deref<Target = Self::Live>;

    /// Finds an orphan, in memory or on the device; it may be without links.
    ///
    /// # Errors
    ///
    /// Those of [`Checked::read_orphan`](crate::inode::Checked::read_orphan).
    fn get(&mut self, ino: Ino) -> Result<Self::Held>;

    /// Cuts a regular file off at its size, in memory and on disk ([`resize::cut`](super::resize::cut)).
    ///
    /// # Errors
    ///
    /// Whatever that comes to; the orphan stays one.
    fn cut_off(&mut self, live: &Self::Live) -> Result;

    /// The orphan is looked after.
    fn put(&mut self, held: Self::Held);
}

/// What became of the orphans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// How many were freed.
    pub freed: u32,
    /// How many were cut off at their size.
    pub cut: u32,
}

/// Deals with the orphans that a crash has left, when the mount has just become writable; `raw` is the super block.
///
/// # Errors
///
/// Those of [`Orphans::left_over`]. What is wrong with one orphan is reported, and keeps no other from its end.
pub fn recover<S: Store, K: Keeper<S>>(
    volume: &Volume<S>,
    orphans: &Orphans<S>,
    raw: &RawSuper,
    keeper: &mut K,
) -> Result<Recovered> {
    let store = &volume.store;
    let mut done = Recovered::default();
    if raw.state.get() & STATE_ERROR != 0 {
        if raw.last_orphan.get() != 0 || !orphans.file_is_empty() {
            store.warn(fmt!(
                "orphans are left to e2fsck, as the file system has errors"
            ));
        }
        return Ok(done);
    }
    for ino in orphans.left_over(volume, raw)? {
        // An orphan that was passed over would be one for good.
        let held = match store.insist(|| keeper.get(ino)) {
            Ok(held) => held,
            Err(error) if error == EOPNOTSUPP => {
                // There is nothing wrong with it: it stays what it is, for ext4 or e2fsck.
                store.warn(fmt!(
                    "orphan inode {}: the inode has a form that is not supported, and is left as it is",
                    ino.get()
                ));
                continue;
            }
            Err(error) => {
                store.fail(
                    error,
                    ino,
                    fmt!("orphan inode {}: the inode cannot be read", ino.get()),
                );
                // It must not stay in the way. If that fails, an error has stopped everything.
                let _ = orphans.disown(volume, ino);
                continue;
            }
        };
        if held.links() == 0 {
            // Giving it up frees it.
            done.freed = done.freed.saturating_add(1);
        } else if let Err(error) = store.insist(|| cut_off(keeper, &held)) {
            store.fail(
                error,
                ino,
                fmt!(
                    "orphan inode {}: the file cannot be cut off at its size",
                    ino.get()
                ),
            );
        } else {
            done.cut = done.cut.saturating_add(1);
        }
        keeper.put(held);
    }
    Ok(done)
}

/// A crash came when the file was being cut off: cuts it off at its size, and it is no orphan any more.
fn cut_off<S: Store, K: Keeper<S>>(keeper: &mut K, live: &K::Live) -> Result {
    keeper.cut_off(live)?;
    let mut tx = live.volume().store.begin(reservation::ORPHAN)?;
    unmark_orphan(live, &mut tx)
}
