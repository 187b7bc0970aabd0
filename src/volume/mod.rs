// SPDX-License-Identifier: GPL-2.0

//! A mounted file system as the core has it: what all its rooms share.
//!
//! Tests: `tools/core/tests/{change_names,inode}.rs`, which use one.
//!
//! # Locks
//!
//! None of its own: the layout never changes, the store and the space lock inside.

pub mod settings;
pub mod shared;
pub mod super_block;

use crate::disk::superblock::RawSuper;
use crate::disk::Layout;
use crate::space::{Share, Space};
use crate::store::Store;
use kernel::error::{code::*, Result};
use settings::Settings;
use shared::{SharedBlocks, SharedValues};
use super_block::SuperBlock;

/// See the top of the file.
pub struct Volume<S: Store> {
    /// The super block. It goes before the store that its block is of.
    pub super_block: SuperBlock<S>,
    /// The metadata blocks and the journal.
    pub store: S,
    /// The geometry.
    pub layout: Layout,
    /// Which blocks and inodes are free.
    pub space: Space<S>,
    /// Blocks of extended attributes that inodes may share.
    pub shared: SharedBlocks,
    /// Inodes with values that attributes may share.
    pub values: SharedValues,
    /// What mount options change.
    pub settings: Settings,
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
                if error == ENOSPC && self.store.may_use_reserve(self.settings.reserve_owner()) =>
            {
                f(Share::Reserve)
            }
            other => other,
        }
    }

    /// Takes over how many blocks the super block reserves, which `tune2fs` changes under a mounted file system, too.
    pub fn refresh_reserve(&self) {
        let reserved = self
            .super_block
            .with(&self.store, RawSuper::reserved_blocks_count);
        if let Ok(reserved) = reserved {
            self.space.set_reserved(reserved);
        }
    }

    /// [`SuperBlock::change`].
    pub fn change_super<R>(
        &self,
        tx: &mut S::Tx<'_>,
        f: impl FnOnce(&mut RawSuper) -> R,
    ) -> Result<R> {
        self.super_block.change(&self.store, tx, f)
    }
}
