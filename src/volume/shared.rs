// SPDX-License-Identifier: GPL-2.0

//! Blocks of extended attributes that further inodes may share: where there was one with a certain hash, seen last.
//!
//! Only a hint: whoever takes it compares the block with what it is to have. It leads to a block of attributes that is
//! in use, though: the lock is held by who looks for one, until the block counts the new user; and by who gives a block
//! up, from the moment that it counts none until nothing leads to it. Blocks that nobody has made or changed since the
//! mount are not found.
//!
//! # Locks
//!
//! The mutex is taken inside a handle and the map lock. Byte locks are taken inside it.

use crate::disk::PhysBlock;
use core::pin::Pin;
use kernel::alloc::{flags::GFP_KERNEL, KBox, KVVec};
use kernel::error::Result;
use kernel::prelude::*;
use kernel::sync::{new_mutex, Mutex, MutexGuard};

/// How many blocks are remembered, by the last bits of their hash.
const SLOTS: usize = 1024;

/// A block and the hash of what it had.
type Slot = Option<(u32, PhysBlock)>;

/// See the top of the file.
pub struct SharedBlocks(Pin<KBox<Mutex<KVVec<Slot>>>>);

/// The blocks, with the lock.
pub struct Locked<'a>(MutexGuard<'a, KVVec<Slot>>);

impl SharedBlocks {
    /// None yet; or for good, where inodes are not to share.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(share: bool) -> Result<Self> {
        let slots = if share { SLOTS } else { 0 };
        let slots = KVVec::from_elem(None, slots, GFP_KERNEL)?;
        Ok(Self(KBox::pin_init(
            new_mutex!(slots, "iomapfs_shared_blocks"),
            GFP_KERNEL,
        )?))
    }

    /// Takes the lock.
    pub fn lock(&self) -> Locked<'_> {
        Locked(self.0.lock())
    }
}

impl Locked<'_> {
    fn slot(&mut self, hash: u32) -> Option<&mut Slot> {
        self.0.get_mut(hash as usize % SLOTS)
    }

    /// A block that had this hash when it was seen.
    pub fn find(&mut self, hash: u32) -> Option<PhysBlock> {
        match *self.slot(hash)? {
            Some((found, nr)) if found == hash => Some(nr),
            _ => None,
        }
    }

    /// There is a block with this hash; 0 is that of one which must not be shared.
    pub fn note(&mut self, hash: u32, nr: PhysBlock) {
        if let Some(slot) = self.slot(hash).filter(|_| hash != 0) {
            *slot = Some((hash, nr));
        }
    }

    /// The block has another hash from now on, or is given up.
    pub fn forget(&mut self, hash: u32, nr: PhysBlock) {
        if let Some(slot) = self.slot(hash).filter(|slot| **slot == Some((hash, nr))) {
            *slot = None;
        }
    }
}
