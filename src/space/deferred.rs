// SPDX-License-Identifier: GPL-2.0

//! Blocks that a transaction freed and that may be used again once it has committed.
//!
//! Room for an entry is made before the bitmap is changed ([`Deferred::prepare`]), so that adding it and the
//! commit itself need no memory.
//!
//! # Invariants
//!
//! * The batches are in the order of their transactions. What a transaction freed is in its own batch, or in
//!   that of a later one where there were too many batches: it then waits longer than it needs to.
//!
//! # Locks
//!
//! The list has a mutex of its own, under which no other lock is taken; the blocks are given back with the
//! list unlocked.

use super::Run;
use crate::store::{tid_geq, Tid};
use core::pin::Pin;
use kernel::alloc::{flags::GFP_KERNEL, KBox, KVVec, KVec};
use kernel::error::Result;
use kernel::prelude::*;
use kernel::sync::{new_mutex, Mutex};

/// More transactions than jbd2 has under way. There are more batches only if the blocks are given back more
/// slowly than transactions commit, as discards are slow.
const MAX_BATCHES: usize = 8;

/// What one transaction freed, perhaps also earlier ones.
struct FreedRuns {
    tid: Tid,
    runs: KVVec<Run>,
    /// Entries for which there is room in `runs`, promised to handles.
    promised: usize,
}

/// The list of a volume.
pub(super) struct Deferred(Pin<KBox<Mutex<KVec<FreedRuns>>>>);

/// The batch for what `tid` frees.
fn find(batches: &mut [FreedRuns], tid: Tid) -> Option<&mut FreedRuns> {
    batches.iter_mut().find(|batch| tid_geq(batch.tid, tid))
}

impl Deferred {
    pub(super) fn new() -> Result<Self> {
        let batches: KVec<FreedRuns> = KVec::with_capacity(MAX_BATCHES, GFP_KERNEL)?;
        let lock = new_mutex!(batches, "iomapfs_deferred");
        Ok(Self(KBox::pin_init(lock, GFP_KERNEL)?))
    }

    /// Makes room for one entry of transaction `tid`. A handle of `tid` is open until [`Self::add`] or
    /// [`Self::withdraw`] is called, so the batch stays.
    pub(super) fn prepare(&self, tid: Tid) -> Result {
        let mut batches = self.0.lock();
        if find(&mut batches, tid).is_none() {
            let new = FreedRuns {
                tid,
                runs: KVVec::new(),
                promised: 0,
            };
            if let (Err(_), Some(last)) = (batches.push_within_capacity(new), batches.last_mut()) {
                last.tid = tid;
            }
        }
        if let Some(batch) = find(&mut batches, tid) {
            let promised = batch.promised.saturating_add(1);
            batch.runs.reserve(promised, GFP_KERNEL)?;
            batch.promised = promised;
        }
        Ok(())
    }

    /// Adds the entry that there is room for.
    pub(super) fn add(&self, tid: Tid, run: Run) {
        let mut batches = self.0.lock();
        let Some(batch) = find(&mut batches, tid) else {
            return;
        };
        batch.promised = batch.promised.saturating_sub(1);
        if let Some(last) = batch.runs.last_mut() {
            if let Some(joined) = last.join(run) {
                *last = joined;
                return;
            }
        }
        // There is room: see `prepare`.
        let _ = batch.runs.push_within_capacity(run);
    }

    /// The entry that there is room for will not come.
    pub(super) fn withdraw(&self, tid: Tid) {
        if let Some(batch) = find(&mut self.0.lock(), tid) {
            batch.promised = batch.promised.saturating_sub(1);
        }
    }

    /// Calls `f` with all that waits: for a rule that is broken on purpose.
    pub(super) fn for_each(&self, mut f: impl FnMut(Run) -> Result) -> Result {
        let batches = self.0.lock();
        let mut runs = batches.iter().flat_map(|batch| batch.runs.iter());
        runs.try_for_each(|run| f(*run))
    }

    /// Takes what transaction `tid` and those before it freed, batch by batch.
    pub(super) fn remove(&self, tid: Tid) -> Option<KVVec<Run>> {
        let mut batches = self.0.lock();
        let at = batches.iter().position(|b| tid_geq(tid, b.tid))?;
        batches.remove(at).ok().map(|batch| batch.runs)
    }
}
