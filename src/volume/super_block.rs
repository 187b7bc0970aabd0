// SPDX-License-Identifier: GPL-2.0

//! The super block of a volume. It is read once, and stays in memory as long as the volume is there.
//!
//! While the journal is in use the super block is changed in transactions, as any other block. It is changed *past the
//! journal* at the moments when no transaction can hold a change of it: before the first one, after the journal was
//! emptied, and after it was aborted.
//!
//! # Locks
//!
//! A mutex, with which nothing is taken but the byte lock of the block and, by who changes it, spinning locks. It may
//! be taken with the updates of the journal locked. Another one for the copies of the super block, with which handles
//! are begun.

use crate::disk::superblock::{RawSuper, SuperFormat};
use crate::disk::Layout;
use crate::store::{About, Block, Store, Transaction};
use core::pin::Pin;
use kernel::error::{Error, Result};
use kernel::prelude::*;
use kernel::sync::{new_mutex, Mutex, MutexGuard};

/// See the top of the file.
pub struct SuperBlock<S: Store> {
    block: Block<S, SuperFormat>,
    /// Where it begins in its block, in bytes.
    offset: usize,
    /// Held by who changes it past the journal, from the copy to the device.
    past_journal: Pin<KBox<Mutex<()>>>,
    /// Held by who changes the copies.
    backups: Pin<KBox<Mutex<()>>>,
}

impl<S: Store> SuperBlock<S> {
    /// Reads the super block. The journal was replayed.
    ///
    /// # Errors
    ///
    /// Those of [`Store::read`]; `ENOMEM`.
    pub fn read(store: &S, layout: &Layout) -> Result<Self> {
        let (nr, offset) = layout.super_location();
        let block = store.read(nr, SuperFormat::new(offset))?;
        let past_journal = KBox::pin_init(new_mutex!((), "iomapfs_super_block"), GFP_KERNEL)?;
        let backups = KBox::pin_init(new_mutex!((), "iomapfs_backups"), GFP_KERNEL)?;
        Ok(Self {
            block,
            offset,
            past_journal,
            backups,
        })
    }

    /// Gives `f` what the super block is now, under the byte lock of its block.
    ///
    /// # Errors
    ///
    /// `EUCLEAN`, reported, where the block has no room for it, which the check of the block has ruled out.
    pub fn with<R>(&self, store: &S, f: impl FnOnce(&RawSuper) -> R) -> Result<R> {
        let result = self
            .block
            .with(|bytes| RawSuper::from_block(bytes, self.offset).map(f));
        result.ok_or_else(|| self.missing(store))
    }

    /// A copy of what the super block is now.
    ///
    /// # Errors
    ///
    /// Those of [`Self::with`].
    pub fn copy(&self, store: &S) -> Result<RawSuper> {
        self.with(store, RawSuper::clone)
    }

    /// Changes the super block in a transaction. Costs one credit.
    ///
    /// # Errors
    ///
    /// `EIO`, `ENOMEM`; what the journal says.
    pub fn change<R>(
        &self,
        store: &S,
        tx: &mut S::Tx<'_>,
        f: impl FnOnce(&mut RawSuper) -> R,
    ) -> Result<R> {
        tx.edit(&self.block, |bytes| {
            RawSuper::from_block_mut(bytes, self.offset).map(f)
        })?
        .ok_or_else(|| self.missing(store))
    }

    /// Changes the super block past the journal ([`Store::write_through`]), at one of the moments at the top of the
    /// file. `f` may take spinning locks.
    ///
    /// # Errors
    ///
    /// Those of [`Store::write_through`].
    pub fn change_past_journal(&self, store: &S, f: impl FnOnce(&mut RawSuper)) -> Result {
        let _alone = self.past_journal.lock();
        let mut changed = false;
        store.write_through(&self.block, |bytes| {
            if let Some(raw) = RawSuper::from_block_mut(bytes, self.offset) {
                f(raw);
                changed = true;
            }
        })?;
        match changed {
            true => Ok(()),
            false => Err(self.missing(store)),
        }
    }

    /// Keeps others from changing the copies of the super block. The caller has no handle.
    pub fn lock_backups(&self) -> MutexGuard<'_, ()> {
        self.backups.lock()
    }

    #[track_caller]
    fn missing(&self, store: &S) -> Error {
        store.bug(About::NONE, "the super block is not in its block")
    }
}
