// SPDX-License-Identifier: GPL-2.0

//! What has to be done so that a change is durable: which transaction has to commit, and whether the device has to
//! write out its cache besides. The doing is left to the caller.
//!
//! Tests: `tools/core/tests/change_sync.rs`.
//!
//! # Locks
//!
//! None. Whoever does what is said here has no handle and no map lock: a commit waits for the handles of others.

use super::live::{InodePart, Live};
use super::write_times;
use crate::store::{tid_geq, Rule, Store, Tid};
use kernel::error::Result;

/// What makes a change durable, and all data that is on the device by now: one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncPlan {
    /// The transaction that has to have committed.
    pub commit: Option<Tid>,
    /// Whether the device has to write out its cache: no commit that is still to come does so.
    pub flush: bool,
}

/// What makes transaction `tid` durable, and all data that is on the device by now. `barrier` says whether the mount
/// flushes the device's cache at all, `will_flush` whether the commit of a transaction is still to do so.
#[inline]
pub fn plan<S: Store>(
    store: &S,
    tid: Option<Tid>,
    barrier: bool,
    will_flush: impl FnOnce(Tid) -> bool,
) -> SyncPlan {
    let flush = barrier && !tid.is_some_and(will_flush);
    SyncPlan {
        commit: tid,
        flush: flush && !store.breaks(Rule::FlushOnSync),
    }
}

/// Brings what belongs to `part` of an inode, and is in memory only, into a transaction. Data is not meant, which the
/// caller has written back.
///
/// # Errors
///
/// Those of [`write_times`].
pub fn write_rest<S: Store, L: Live<S>>(live: &L, part: InodePart) -> Result {
    if part == InodePart::Data || live.volume().store.breaks(Rule::TimesOnSync) {
        return Ok(());
    }
    write_times(live)
}

/// The transaction that has to have committed so that `part` of an inode is durable: its data can be found, or all of
/// it is. What belongs to a directory is its names.
#[inline]
pub fn transaction<S: Store, L: Live<S>>(live: &L, part: InodePart) -> Option<Tid> {
    let rule = match live.is_dir() {
        true => Rule::CommitOnDirSync,
        false => Rule::CommitOnSync,
    };
    let skipped = live.volume().store.breaks(rule);
    (!skipped).then(|| live.noted_transaction(part))
}

/// What has committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// All, as there is no journal.
    All,
    /// This transaction, and all before it.
    UpTo(Tid),
    /// It is not known: the journal was aborted, which ends transactions that have not committed as if they had.
    Unknown,
}

/// Whether data up to byte `end`, written to blocks that the file shows already, is durable as soon as it is on the
/// device for good: what leads to it has `committed`.
#[inline]
pub fn is_found<S: Store, L: Live<S>>(
    live: &L,
    end: u64,
    committed: impl FnOnce() -> Committed,
) -> bool {
    let has_committed = || {
        let needed = live.noted_transaction(InodePart::Data);
        match committed() {
            Committed::All => true,
            Committed::UpTo(tid) => tid_geq(tid, needed),
            Committed::Unknown => false,
        }
    };
    live.is_within(end) && (live.volume().store.breaks(Rule::CommitOnDsync) || has_committed())
}
