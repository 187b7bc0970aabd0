// SPDX-License-Identifier: GPL-2.0

//! A mounted file system as the core has it: what all its rooms share.
//!
//! # Locks
//!
//! None of its own: the layout never changes, the store and the space lock inside.

use crate::disk::superblock::{RawSuper, SuperFormat};
use crate::disk::Layout;
use crate::space::{Share, Space};
use crate::store::{Store, Transaction};
use kernel::error::{code::*, Result};

/// See the top of the file.
pub struct Volume<S: Store> {
    /// The metadata blocks and the journal.
    pub store: S,
    /// The geometry.
    pub layout: Layout,
    /// Which blocks and inodes are free.
    pub space: Space<S>,
}

impl<S: Store> Volume<S> {
    /// Asks for space with `f`: first for what anybody may have, and where that is not enough with the reserve, if the
    /// task may use it.
    ///
    /// # Errors
    ///
    /// Those of `f`.
    pub fn with_reserves<R>(&self, mut f: impl FnMut(Share) -> Result<R>) -> Result<R> {
        match f(Share::Common) {
            Err(error)
                if error == ENOSPC && self.store.may_use_reserve(self.layout.reserve_owner()) =>
            {
                f(Share::Reserve)
            }
            other => other,
        }
    }

    /// Takes over how many blocks the super block reserves, which `tune2fs` changes under a mounted file system, too.
    /// If the super block cannot be read, they stay as many. Without `wait`, only where it is in memory.
    pub fn refresh_reserve(&self, wait: bool) {
        let (nr, offset) = self.layout.super_location();
        let format = SuperFormat::new(offset);
        let block = match wait {
            true => self.store.read(nr, format).ok(),
            false => self.store.read_cached(nr, format),
        };
        let reserved = block.and_then(|block| {
            block.with(|bytes| Some(RawSuper::from_block(bytes, offset)?.reserved_blocks_count()))
        });
        if let Some(reserved) = reserved {
            self.space.set_reserved(reserved);
        }
    }

    /// Changes the super block in a transaction. Costs one credit.
    ///
    /// # Errors
    ///
    /// `EIO`, `ENOMEM`; what the journal says.
    pub fn change_super<R>(
        &self,
        tx: &mut S::Tx<'_>,
        f: impl FnOnce(&mut RawSuper) -> R,
    ) -> Result<R> {
        let (nr, offset) = self.layout.super_location();
        let block = self.store.read(nr, SuperFormat::new(offset))?;
        tx.edit(&block, |bytes| {
            RawSuper::from_block_mut(bytes, offset).map(f)
        })?
        .ok_or_else(|| self.store.bug("the super block is not in its block"))
    }
}
