// SPDX-License-Identifier: GPL-2.0

//! The super block of a mounted file system: what is written to it, when, and which way.
//!
//! While the journal is in use the super block is changed in transactions as any other block. It is
//! written directly, past the journal, at the moments when no transaction can hold a change of it: before
//! the first one, after the journal was emptied, and after it was aborted.
//!
//! # Invariants
//!
//! * `RECOVER` is on the device before the first transaction commits, and is taken away after the journal was
//!   emptied: who finds it replays the journal, who does not finds everything in place.

use super::background::Works;
use super::store::JournalStore;
use crate::disk::superblock::{RawSuper, SuperFormat, STATE_ERROR};
use crate::disk::Layout;
use crate::linux::printk::{self, Level};
use crate::space::Run;
use crate::store::{Block, Credits, Format, Store, Tid};
use crate::volume::Volume;
use kernel::error::{code::*, Error, Result};
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

    /// The amount of now, in KiB.
    fn now(&self, store: &JournalStore) -> u64 {
        let sectors = store.cache().device().sectors_written();

        self.kbytes
            .saturating_add(sectors.saturating_sub(self.sectors) / 2)
    }
}

/// The super block's block.
fn block(store: &JournalStore, layout: &Layout) -> Result<Block<JournalStore, SuperFormat>> {
    let (nr, offset) = layout.super_location();

    store.read(nr, SuperFormat::new(offset))
}

/// A copy of what the super block is now.
pub(crate) fn read(store: &JournalStore, layout: &Layout) -> Result<RawSuper> {
    let (_, offset) = layout.super_location();

    block(store, layout)?
        .with(|bytes| RawSuper::from_block(bytes, offset).cloned())
        .ok_or_else(|| store.bug("the super block is not in its block"))
}

/// Changes the super block on the device at once. No transaction may hold a change of it.
pub(crate) fn change_at_once(
    store: &JournalStore,
    layout: &Layout,
    f: impl FnOnce(&mut RawSuper),
) -> Result {
    let (nr, offset) = layout.super_location();
    let barrier = store.journal().is_none_or(|journal| journal.has_barrier());
    let result = store
        .cache()
        .read(nr.get())?
        .write_through(barrier, |bytes| {
            if let Some(raw) = RawSuper::from_block_mut(bytes, offset) {
                f(raw);
            }
            SuperFormat::new(offset).seal(nr, bytes);
        });

    result.inspect_err(|error: &Error| {
        store.log(
            Level::Error,
            fmt!(
                "the super block could not be written: error {}",
                error.to_errno()
            ),
        );
    })
}

/// Writes what every direct write of a mounted file system brings up to date.
fn bring_up_to_date(vol: &Volume<JournalStore>, written: &Written, raw: &mut RawSuper) {
    let counts = vol.space.counts();

    raw.set_wtime(printk::unix_time());
    raw.set_free(
        counts.free_blocks_on_disk,
        u32::try_from(counts.free_inodes).unwrap_or(u32::MAX),
    );
    raw.kbytes_written.set(written.now(&vol.store));
    vol.store.errors().write(raw);
}

/// What the begin of a mount for writing tells the super block.
pub(crate) struct Mount {
    /// Blocks that `statfs` does not count.
    pub(crate) overhead: u64,
}

/// From now on there may be something in the journal. `mount`: a mount begins, rather than the end of a freeze.
pub(crate) fn mark_in_use(
    vol: &Volume<JournalStore>,
    written: &Written,
    mount: Option<Mount>,
) -> Result {
    let orphan_file = vol.layout.orphan_file_ino().is_some();

    change_at_once(&vol.store, &vol.layout, |raw| {
        bring_up_to_date(vol, written, raw);
        if let Some(Mount { overhead }) = mount {
            raw.overhead_clusters
                .set(u32::try_from(overhead).unwrap_or(0));
            raw.set_mtime(printk::unix_time());
            raw.count_mount();
            raw.note_hash_sign();
        }
        raw.set_needs_recovery(true);
        if orphan_file {
            raw.set_orphan_present(true);
        }
    })
}

/// Notes where the file system is mounted.
///
/// # Errors
///
/// Those of [`Store::begin`] and [`Volume::change_super`].
pub(crate) fn note_mount_point(vol: &Volume<JournalStore>, path: &[u8]) -> Result {
    let mut tx = vol.store.begin(Credits::new(1, 0))?;
    vol.change_super(&mut tx, |raw| raw.set_last_mounted(path))
}

/// The journal was emptied: the device holds all there is. `orphans`: whether the orphan file has entries.
pub(crate) fn mark_clean(vol: &Volume<JournalStore>, written: &Written, orphans: bool) -> Result {
    change_at_once(&vol.store, &vol.layout, |raw| {
        bring_up_to_date(vol, written, raw);
        raw.set_needs_recovery(false);
        if !orphans {
            raw.set_orphan_present(false);
        }
    })
}

/// The journal of a read-only mount was replayed. Nothing else is brought up to date: the clock may be wrong yet.
pub(crate) fn mark_replayed(store: &JournalStore, layout: &Layout) -> Result {
    change_at_once(store, layout, |raw| raw.set_needs_recovery(false))
}

/// The last user of the journal recorded an error in it, which the super block may not have.
pub(crate) fn mark_error(store: &JournalStore, layout: &Layout) -> Result {
    change_at_once(store, layout, |raw| {
        raw.state.set(raw.state.get() | STATE_ERROR);
    })
}

/// Errors are recorded past the journal, and replay may bring back what was before: takes them over from `before`.
pub(crate) fn restore_errors(
    store: &JournalStore,
    layout: &Layout,
    before: &RawSuper,
    now: &RawSuper,
) -> Result {
    let lost = before.error_count.get() > now.error_count.get();
    let state = before.state.get() & STATE_ERROR;

    if !lost && now.state.get() & STATE_ERROR == state {
        return Ok(());
    }
    change_at_once(store, layout, |raw| {
        raw.state.set(raw.state.get() | state);
        if lost {
            raw.copy_errors(before);
        }
    })
}

/// Writes the errors that the super block does not have yet: in a transaction, or past a journal that is aborted or not
/// written to.
fn write_errors(vol: &Volume<JournalStore>) {
    if vol.store.is_frozen() {
        // The end of the freeze writes them.
        return;
    }
    let in_transaction = vol
        .store
        .begin(Credits::new(1, 0))
        .and_then(|mut tx| vol.change_super(&mut tx, |raw| vol.store.errors().write(raw)));

    // A mount that is read-only has no transaction that could hold a change.
    let none_open = vol.store.errors().is_stopped() || !vol.store.was_writable();
    if in_transaction.is_err() && none_open {
        // Reported where it fails.
        let _ = change_at_once(&vol.store, &vol.layout, |raw| {
            vol.store.errors().write(raw);
        });
    }
}

impl Works for Volume<JournalStore> {
    fn give_back(&self, tid: Tid, discards: bool) -> bool {
        self.refresh_reserve(false);
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

/// Tells the device that blocks hold nothing any more. They are still not free to be used again.
/// Returns whether it can.
fn discard(volume: &Volume<JournalStore>, run: Run) -> bool {
    let size = u64::from(volume.layout.block_size().bytes());
    let start = run.start.get().saturating_mul(size);
    let result = volume
        .store
        .cache()
        .device()
        .discard(start, u64::from(run.len).saturating_mul(size));

    let Err(error) = result else {
        return true;
    };
    if error == EOPNOTSUPP {
        volume
            .store
            .log(Level::Warning, fmt!("the device cannot discard"));
        return false;
    } else {
        volume.store.log(
            Level::Warning,
            fmt!(
                "blocks {}+{} could not be discarded: error {}",
                run.start.get(),
                run.len,
                error.to_errno()
            ),
        );
    }
    true
}
