// SPDX-License-Identifier: GPL-2.0

//! What jbd2 asks and tells.

use super::background::{Background, Works};
use crate::disk::fast_commit;
use crate::inode::JournalMap;
use crate::linux::jbd2::Client;
use crate::store::Tid;
use kernel::sync::Arc;

/// What jbd2 asks and tells.
pub(crate) struct JournalClient<V: Works> {
    map: JournalMap,
    background: Arc<Background<V>>,
}

impl<V: Works> JournalClient<V> {
    /// For a journal whose blocks are `map`.
    pub(crate) fn new(map: JournalMap, background: Arc<Background<V>>) -> Self {
        Self { map, background }
    }

    /// Where the journal's blocks are.
    pub(crate) fn map(&self) -> &JournalMap {
        &self.map
    }
}

impl<V: Works> Client for JournalClient<V> {
    fn begins_fast_commit(&self, tid: Tid, bytes: &[u8]) -> bool {
        fast_commit::begins(tid, bytes)
    }

    fn committed(&self, tid: Tid) {
        self.background.committed(tid);
    }
}
