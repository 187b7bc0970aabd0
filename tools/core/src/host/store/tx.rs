// SPDX-License-Identifier: GPL-2.0

//! A handle of the store on the host.

use super::{lock, Buffer, HostStore, Raw, Restart, IN_HANDLE};
use crate::disk::{Flaw, Format, PhysBlock};
use crate::store::{About, Block, Credits, Store, Tid, Transaction};
use kernel::error::{code::*, Result};
use kernel::host::might_sleep;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

/// A handle.
#[derive(Debug)]
pub struct Tx<'a> {
    pub(super) store: &'a HostStore,
    pub(super) tid: Tid,
    pub(super) credits: u32,
    pub(super) revokes: u32,
    /// The blocks that have cost this handle a credit.
    pub(super) paid: BTreeSet<u64>,
}

impl Tx<'_> {
    /// The credits that are left.
    pub fn credits(&self) -> u32 {
        self.credits
    }

    /// The revoke credits that are left.
    pub fn revokes(&self) -> u32 {
        self.revokes
    }

    #[track_caller]
    fn pay(&mut self, nr: u64, what: &str) {
        if self.paid.insert(nr) {
            assert!(
                self.credits > 0,
                "no credit left to change block {nr} ({what}); changed so far: {:?}",
                self.paid
            );
            self.credits -= 1;
        }
    }

    fn dirty(&self, buffer: &Arc<Buffer>) {
        let mut state = lock(&self.store.state);
        state.revoked.remove(&buffer.nr);
        state.dirty.insert(buffer.nr, buffer.clone());
    }

    fn leave(&self) {
        lock(&self.store.state).handles -= 1;
        IN_HANDLE.with(|h| h.set(false));
        self.store.changed.notify_all();
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Transaction<HostStore> for Tx<'_> {
    fn tid(&self) -> Tid {
        self.tid
    }

    #[track_caller]
    fn edit<F: Format, R>(
        &mut self,
        block: &Block<HostStore, F>,
        f: impl FnOnce(&mut [u8]) -> R,
    ) -> Result<R> {
        might_sleep();
        let buffer = &block.raw().0;
        self.pay(buffer.nr, &format!("{:?}", F::KIND));
        if self.store.aborted.load(Ordering::SeqCst) {
            return Err(EROFS);
        }
        let mut state = lock(&self.store.state);
        if self.store.lenient.load(Ordering::SeqCst) {
            state.cache.insert(buffer.nr, buffer.clone());
        }
        let current = state.cache.get(&buffer.nr).cloned();
        drop(state);
        assert!(
            current.is_some_and(|c| Arc::ptr_eq(&c, buffer)),
            "block {} ({:?}) is changed after it was given up",
            buffer.nr,
            F::KIND
        );
        let nr = block.nr();
        let r = buffer.locked(|bytes| {
            let r = f(bytes);
            block.format().seal(nr, bytes);
            r
        });
        // A block may become another kind (`Block::retyped`).
        buffer.checked.store(F::KIND as u8, Ordering::SeqCst);
        self.dirty(buffer);
        Ok(r)
    }

    #[track_caller]
    fn create<F: Format, R>(
        &mut self,
        nr: PhysBlock,
        format: F,
        f: impl FnOnce(&mut [u8]) -> R,
    ) -> Result<(Block<HostStore, F>, R)> {
        might_sleep();
        if nr.get() >= self.store.blocks {
            let about = About::block(nr, &format);
            return Err(self.store.flawed(about, Flaw::BlockNotOnDevice));
        }
        self.pay(nr.get(), &format!("new {:?}", F::KIND));
        if self.store.aborted.load(Ordering::SeqCst) {
            return Err(EROFS);
        }
        let size = self.store.block_size.bytes() as usize;
        let held = match self.store.lenient.load(Ordering::SeqCst) {
            true => lock(&self.store.state).cache.get(&nr.get()).cloned(),
            false => None,
        };
        let buffer = held.unwrap_or_else(|| {
            Arc::new(Buffer {
                nr: nr.get(),
                bytes: Mutex::new(Vec::new()),
                checked: AtomicU8::new(0),
            })
        });
        buffer.locked(|bytes| *bytes = vec![0; size]);
        buffer.checked.store(F::KIND as u8, Ordering::SeqCst);
        let r = buffer.locked(|bytes| {
            let r = f(bytes);
            format.seal(nr, bytes);
            r
        });
        lock(&self.store.state)
            .cache
            .insert(nr.get(), buffer.clone());
        self.dirty(&buffer);
        Ok((Block::from_parts(Raw(buffer), format), r))
    }

    #[track_caller]
    fn forget(&mut self, nr: PhysBlock) -> Result {
        might_sleep();
        assert!(
            self.revokes > 0,
            "no revoke credit left for block {}",
            nr.get()
        );
        self.revokes -= 1;
        if self.store.aborted.load(Ordering::SeqCst) {
            return Err(EROFS);
        }
        let mut state = lock(&self.store.state);
        state.cache.remove(&nr.get());
        state.dirty.remove(&nr.get());
        state.revoked.insert(nr.get());
        Ok(())
    }

    fn ensure(&mut self, credits: Credits) -> Result<bool> {
        let Credits {
            blocks: credits,
            revokes,
        } = credits;
        might_sleep();
        if self.store.aborted.load(Ordering::SeqCst) {
            return Err(EROFS);
        }
        if std::mem::take(&mut lock(&self.store.state).fails_to_extend) {
            return Err(ENOMEM);
        }
        if self.credits >= credits && self.revokes >= revokes {
            return Ok(false);
        }
        let restart = {
            let mut state = lock(&self.store.state);
            if credits > state.max_credits {
                return Err(ENOSPC);
            }
            state.extensions = state.extensions.wrapping_add(1);
            match state.restart {
                Restart::Never => false,
                Restart::Always => true,
                Restart::Every(n) => state.extensions % n.max(1) == 0,
            }
        };
        if !restart {
            self.credits = self.credits.max(credits);
            self.revokes = self.revokes.max(revokes);
            return Ok(false);
        }
        self.leave();
        let committed = self.store.commit();
        let mut state = lock(&self.store.state);
        while state.committing {
            state = self.store.wait(state);
        }
        // Also after an error: dropping the handle leaves once more.
        state.handles += 1;
        IN_HANDLE.with(|h| h.set(true));
        committed?;
        self.tid = state.tid;
        drop(state);
        self.credits = credits;
        self.revokes = revokes;
        self.paid.clear();
        Ok(true)
    }
}
