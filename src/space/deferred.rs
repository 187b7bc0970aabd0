// SPDX-License-Identifier: GPL-2.0

//! Blocks that a transaction freed and that may be used again once it has committed.
//!
//! Room for an entry is made before the bitmap is changed ([`Deferred::prepare`]), so that adding it and the
//! commit itself need no memory. jbd2 has at most three transactions at a time, so there are few batches.
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

/// What one transaction freed.
struct Batch {
    tid: Tid,
    runs: KVVec<Run>,
    /// Entries for which there is room in `runs`, promised to handles.
    promised: usize,
}

/// The list of a volume.
pub(super) struct Deferred(Pin<KBox<Mutex<KVec<Batch>>>>);

impl Deferred {
    pub(super) fn new() -> Result<Self> {
        Ok(Self(KBox::pin_init(
            new_mutex!(KVec::new(), "iomapfs_deferred"),
            GFP_KERNEL,
        )?))
    }

    /// Makes room for one entry of transaction `tid`. A handle of `tid` is open until [`Self::add`] or
    /// [`Self::withdraw`] is called, so the batch stays.
    pub(super) fn prepare(&self, tid: Tid) -> Result {
        let mut batches = self.0.lock();
        if !batches.iter().any(|b| b.tid == tid) {
            batches.push(
                Batch {
                    tid,
                    runs: KVVec::new(),
                    promised: 0,
                },
                GFP_KERNEL,
            )?;
        }
        if let Some(batch) = batches.iter_mut().find(|b| b.tid == tid) {
            batch
                .runs
                .reserve(batch.promised.saturating_add(1), GFP_KERNEL)?;
            batch.promised = batch.promised.saturating_add(1);
        }
        Ok(())
    }

    /// Adds the entry that there is room for.
    pub(super) fn add(&self, tid: Tid, run: Run) {
        let mut batches = self.0.lock();
        let Some(batch) = batches.iter_mut().find(|b| b.tid == tid) else {
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
        if let Some(batch) = self.0.lock().iter_mut().find(|b| b.tid == tid) {
            batch.promised = batch.promised.saturating_sub(1);
        }
    }

    /// Takes what transaction `tid` and those before it freed, batch by batch.
    pub(super) fn take(&self, tid: Tid) -> Option<KVVec<Run>> {
        let mut batches = self.0.lock();
        let at = batches.iter().position(|b| tid_geq(tid, b.tid))?;
        batches.remove(at).ok().map(|batch| batch.runs)
    }
}
