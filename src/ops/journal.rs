// SPDX-License-Identifier: GPL-2.0

//! Opening the journal, and what it needs to know of us.

use super::background::Background;
use super::store::JournalStore;
use crate::disk::{fast_commit, Layout};
use crate::inode::JournalMap;
use crate::linux::jbd2::{Client, Features, Unloaded};
use crate::linux::printk::Level;
use crate::store::Tid;
use kernel::error::{code::*, Result};
use kernel::prelude::*;
use kernel::sync::Arc;

/// What jbd2 asks and tells.
pub(crate) struct JournalClient {
    map: JournalMap,
    background: Arc<Background>,
}

impl JournalClient {
    /// Where the journal's blocks are.
    pub(crate) fn map(&self) -> &JournalMap {
        &self.map
    }
}

impl Client for JournalClient {
    fn map(&self, block: u64) -> Option<u64> {
        self.map.at(block)
    }

    fn begins_fast_commit(&self, tid: Tid, bytes: &[u8]) -> bool {
        fast_commit::begins(tid, bytes)
    }

    fn committed(&self, tid: Tid) {
        self.background.committed(tid);
    }
}

/// Finds and opens the journal. Nothing is replayed yet.
///
/// # Errors
///
/// All reported. `EUCLEAN` where inode, tree or journal are not valid; `EOPNOTSUPP` where they are of an old kind;
/// `EIO`, `ENOMEM`.
pub(super) fn open(store: &JournalStore, layout: &Layout) -> Result<Unloaded<JournalClient>> {
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
    let journal =
        Unloaded::open(device, blocks, JournalClient { map, background }).inspect_err(|error| {
            store.log(
                Level::Error,
                fmt!(
                    "the journal could not be opened: error {}",
                    error.to_errno()
                ),
            );
        })?;

    if !journal.can_have(Features::REVOKE) {
        store.log(
            Level::Error,
            fmt!("the journal is of an old format: run tune2fs -O ^has_journal, then tune2fs -j"),
        );
        return Err(EOPNOTSUPP);
    }
    Ok(journal)
}
