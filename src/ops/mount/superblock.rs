// SPDX-License-Identifier: GPL-2.0

//! What the super block of a mounted file system is told by the kernel: times, errors, where it is mounted; and what is
//! done with blocks when a commit has freed them.
//!
//! When it is written, and which way, is in [`mount`](mod@crate::change::mount) and
//! [`super_block`](crate::volume::super_block).

use super::background::Works;
use super::store::JournalStore;
use super::trim;
use crate::change::reservation;
use crate::disk::superblock::RawSuper;
use crate::linux::printk::{self, Level};
use crate::space::Run;
use crate::store::{Store, Tid};
use crate::volume::Volume;
use kernel::error::{code::*, Result};
use kernel::prelude::*;

/// What the device had been written before the mount, to keep `s_kbytes_written`.
#[derive(Clone, Copy)]
pub(crate) struct Written {
    /// `s_kbytes_written` then.
    kbytes: u64,
    /// Sectors that the device had been written then.
    sectors: u64,
}

impl Written {
    pub(crate) fn new(store: &JournalStore, raw: &RawSuper) -> Self {
        Self {
            kbytes: raw.kbytes_written.get(),
            sectors: store.cache().device().sectors_written(),
        }
    }

    /// What was written since the mount, in KiB.
    pub(crate) fn since_mount(&self, store: &JournalStore) -> u64 {
        let sectors = store.cache().device().sectors_written();

        sectors.saturating_sub(self.sectors) / 2
    }

    /// The amount of now, in KiB.
    pub(crate) fn now(&self, store: &JournalStore) -> u64 {
        self.kbytes.saturating_add(self.since_mount(store))
    }
}

/// What every begin and end of writing brings up to date, beside what the core counts and errors.
pub(crate) fn bring_up_to_date(store: &JournalStore, written: &Written, raw: &mut RawSuper) {
    raw.set_wtime(printk::unix_time());
    raw.kbytes_written.set(written.now(store));
}

/// Lets `write` change the super block past the journal, with what it is given: the errors that the super block does
/// not have yet.
///
/// # Errors
///
/// Those of `write`.
pub(crate) fn with_errors(
    store: &JournalStore,
    write: impl FnOnce(&mut dyn FnMut(&mut RawSuper)) -> Result,
) -> Result {
    let mut noted = None;
    let result = write(&mut |raw| noted = Some(store.errors().write(raw)));

    // Where only the device has failed, the super block in memory has them.
    let has_them = result.map_or_else(|error| error == EIO, |()| true);
    if let Some(noted) = noted.filter(|_| has_them) {
        store.errors().forget(noted);
    }
    result
}

/// What the begin of a mount for writing tells the super block. `overhead`: blocks that `statfs` does not count.
pub(crate) fn note_mount(raw: &mut RawSuper, overhead: u64) {
    raw.overhead_clusters
        .set(u32::try_from(overhead).unwrap_or(0));
    raw.set_mtime(printk::unix_time());
    raw.count_mount();
    raw.note_hash_sign();
}

/// Notes where the file system is mounted.
///
/// # Errors
///
/// Those of [`Store::begin`] and [`Volume::change_super`].
pub(crate) fn note_mount_point(vol: &Volume<JournalStore>, path: &[u8]) -> Result {
    let mut tx = vol.store.begin(reservation::SUPER)?;
    vol.change_super(&mut tx, |raw| raw.set_last_mounted(path))
}

/// Writes the errors that the super block does not have yet: in a transaction, or past a journal that is aborted or not
/// written to.
fn write_errors(vol: &Volume<JournalStore>) {
    let store = &vol.store;

    // The end of a freeze sees to those that were found in it.
    // After a shutdown nothing is written.
    if store.is_frozen() || !store.errors().are_pending() || store.check_alive().is_err() {
        return;
    }
    let in_transaction = store.begin(reservation::SUPER).and_then(|mut tx| {
        let noted = vol.change_super(&mut tx, |raw| store.errors().write(raw))?;
        // Before the handle ends, after which somebody else may write them.
        store.errors().forget(noted);
        Ok(())
    });

    // A mount that is read-only has no transaction that could hold a change.
    let none_open = store.errors().is_stopped() || !store.was_writable();
    if in_transaction.is_err() && none_open {
        let done = with_errors(store, |errors| {
            vol.super_block.change_past_journal(store, errors)
        });
        if done == Err(EBUSY) {
            // It has become writable meanwhile. All other errors were logged.
            store.record_errors();
        }
    }
}

impl Works for Volume<JournalStore> {
    fn give_back(&self, tid: Tid, discards: bool) -> bool {
        self.refresh_reserve();
        let mut can = discards;
        self.space.committed(tid, |run| {
            if can {
                can = discard(self, run);
            }
        });
        can == discards
    }

    fn write_errors(&self) {
        write_errors(self);
    }
}

/// Tells the device of blocks that were freed, and are still not free to be used again. Returns whether it can.
fn discard(volume: &Volume<JournalStore>, run: Run) -> bool {
    let Err(error) = trim::discard(volume, run) else {
        return true;
    };
    if error == EOPNOTSUPP {
        volume
            .store
            .log(Level::Warning, fmt!("the device cannot discard"));
        return false;
    }
    volume.store.log(
        Level::Warning,
        fmt!(
            "blocks {}+{} could not be discarded: error {}",
            run.start.get(),
            run.len,
            error.to_errno()
        ),
    );
    true
}
