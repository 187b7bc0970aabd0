// SPDX-License-Identifier: GPL-2.0

//! The journal at mount: its replay, if need be, and its features.
//!
//! Fast commits are neither written nor replayed: a journal that holds some to be replayed is refused before anything
//! is changed. A journal says by a feature of its own that it may have some; jbd2 takes that away when it loads the
//! journal, so that what we write is a journal without, whatever the feature `fast_commit` of the file system says.

use super::client::JournalClient;
use super::errors::Errors;
use super::options::Options;
use super::store::{Client, JournalStore};
use crate::disk::{Ino, Layout};
use crate::inode::JournalMap;
use crate::linux::buffer::{BufferCache, Run};
use crate::linux::jbd2::{Features, Journal, Unloaded};
use crate::linux::printk::Level;
use kernel::error::{code::*, Result};
use kernel::prelude::*;

/// Finds the journal, inode `ino`, opens it, replays it if need be, and sets it up: `store` uses it from now on.
pub(crate) fn load(
    store: JournalStore,
    layout: &Layout,
    ino: Ino,
    options: &Options,
    replay: bool,
) -> Result<JournalStore> {
    let map = find(&store, layout, ino)?;

    store.settle_with(|cache, errors, background| {
        let client = JournalClient::new(map, background.clone());
        set_up(
            open(cache, errors, client)?,
            errors,
            layout,
            options,
            replay,
        )
    })
}

/// Replays a journal if need be, and sets it up.
fn set_up(
    mut journal: Unloaded<Client>,
    errors: &Errors,
    layout: &Layout,
    options: &Options,
    replay: bool,
) -> Result<Journal<Client>> {
    journal.set_parameters(&options.journal());

    if !replay {
        // The super block says that the journal is empty, whatever it holds.
        journal.wipe(true)?;
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
    if !journal.can_have(on) {
        errors.log(
            Level::Error,
            fmt!("the journal cannot have the features that iomapfs needs"),
        );
        return Err(EINVAL);
    }
    let journal = journal.load(on, off).inspect_err(|error| {
        let error = error.to_errno();
        let why = match error == EOPNOTSUPP.to_errno() {
            true => fmt!(
                "the journal holds fast commits, which cannot be replayed: run e2fsck, or mount with -o ro,noload"
            ),
            false => fmt!("the journal could not be loaded: error {error}"),
        };
        errors.log(Level::Error, why);
    })?;
    if replay {
        let although = match options.read_only {
            true => ", although the mount is read-only",
            false => "",
        };
        errors.log(Level::Info, fmt!("the journal was replayed{although}"));
    }
    Ok(journal)
}

/// Finds the journal, inode `ino`.
///
/// # Errors
///
/// All reported. `EUCLEAN` where inode or tree are not valid; `EOPNOTSUPP` where they are of an old kind; `EIO`,
/// `ENOMEM`.
fn find(store: &JournalStore, layout: &Layout, ino: Ino) -> Result<JournalMap> {
    JournalMap::find(store, layout, ino).inspect_err(|error| {
        if *error == EOPNOTSUPP {
            store.log(
                Level::Error,
                fmt!(
                    "the journal, inode {}, is not mapped by extents, which is not supported",
                    ino.get()
                ),
            );
        }
    })
}

/// Opens the journal. Nothing is replayed yet.
///
/// # Errors
///
/// All reported. `EUCLEAN` where the journal is not valid; `EOPNOTSUPP` where it is of an old kind; `EIO`, `ENOMEM`.
fn open(cache: BufferCache, errors: &Errors, client: Client) -> Result<Unloaded<Client>> {
    let mut blocks = KVec::new();

    for piece in client.map().pieces() {
        let run = Run {
            start: piece.start.get(),
            len: piece.len,
        };

        blocks.push(run, GFP_KERNEL)?;
    }
    let journal = Unloaded::open(cache, blocks, client).inspect_err(|error| {
        errors.log(
            Level::Error,
            fmt!(
                "the journal could not be opened: error {}",
                error.to_errno()
            ),
        );
    })?;

    if !journal.can_have(Features::REVOKE) {
        errors.log(
            Level::Error,
            fmt!("the journal is of an old format: run tune2fs -O ^has_journal, then tune2fs -j"),
        );
        return Err(EOPNOTSUPP);
    }
    Ok(journal)
}
