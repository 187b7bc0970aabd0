// SPDX-License-Identifier: GPL-2.0

//! The journal at mount: its replay, if need be, and its features.
//!
//! Fast commits are neither written nor replayed: a journal that holds some to be replayed is refused before anything
//! is changed. A journal says by a feature of its own that it may have some; jbd2 takes that away when it loads the
//! journal, so that what we write is a journal without, whatever the feature `fast_commit` of the file system says.

use super::client::JournalClient;
use super::options::Options;
use super::store::{Client, JournalStore};
use crate::disk::Layout;
use crate::inode::JournalMap;
use crate::linux::jbd2::{Features, Journal, Unloaded};
use crate::linux::printk::Level;
use kernel::error::{code::*, Result};
use kernel::prelude::*;

/// Opens the journal, replays it if need be, and sets it up.
pub(crate) fn load(
    store: &JournalStore,
    layout: &Layout,
    options: &Options,
    replay: bool,
) -> Result<Journal<Client>> {
    let mut journal = open(store, layout)?;

    journal.set_parameters(options.commit_interval, options.barrier);

    if !replay {
        // The super block says that the journal is empty, whatever it holds.
        journal.wipe(true)?;
    }
    let journal = journal.load().inspect_err(|error| {
        let error = error.to_errno();
        let why = match error == EOPNOTSUPP.to_errno() {
            true => fmt!(
                "the journal holds fast commits, which cannot be replayed: run e2fsck, or mount with -o ro,noload"
            ),
            false => fmt!("the journal could not be loaded: error {error}"),
        };
        store.log(Level::Error, why);
    })?;
    if replay {
        let although = match options.read_only {
            true => ", although the mount is read-only",
            false => "",
        };
        store.log(Level::Info, fmt!("the journal was replayed{although}"));
    }
    let mut on = Features::default();
    let off = Features::CHECKSUM
        .with(Features::CSUM_V2)
        .with(Features::CSUM_V3)
        .with(Features::ASYNC_COMMIT);

    if layout.has_64bit() {
        on = on.with(Features::BITS_64);
    }
    if layout.csum_seed().is_some() {
        on = on.with(Features::CSUM_V3);
    }
    journal.set_features(on, off).inspect_err(|_| {
        store.log(
            Level::Error,
            fmt!("the journal cannot have the features it needs"),
        );
    })?;
    Ok(journal)
}

/// Finds and opens the journal. Nothing is replayed yet.
///
/// # Errors
///
/// All reported. `EUCLEAN` where inode, tree or journal are not valid; `EOPNOTSUPP` where they are of an old kind;
/// `EIO`, `ENOMEM`.
fn open(store: &JournalStore, layout: &Layout) -> Result<Unloaded<Client>> {
    let ino = layout.journal_ino().ok_or(EINVAL)?;
    let map = JournalMap::find(store, layout, ino).inspect_err(|error| {
        if *error == EOPNOTSUPP {
            store.log(
                Level::Error,
                fmt!(
                    "the journal, inode {}, is not mapped by extents, which is not supported",
                    ino.get()
                ),
            );
        }
    })?;
    let blocks = map.blocks();
    let device = store.cache().device().clone();
    let background = store.background().clone();
    let journal = Unloaded::open(device, blocks, JournalClient::new(map, background)).inspect_err(
        |error| {
            store.log(
                Level::Error,
                fmt!(
                    "the journal could not be opened: error {}",
                    error.to_errno()
                ),
            );
        },
    )?;

    if !journal.can_have(Features::REVOKE) {
        store.log(
            Level::Error,
            fmt!("the journal is of an old format: run tune2fs -O ^has_journal, then tune2fs -j"),
        );
        return Err(EOPNOTSUPP);
    }
    Ok(journal)
}
