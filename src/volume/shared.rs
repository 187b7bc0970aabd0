// SPDX-License-Identifier: GPL-2.0

//! Blocks of extended attributes that further inodes may share, and inodes with values that further attributes may
//! share: where there was one with a certain hash, seen last.
//!
//! Only a hint: whoever takes it compares the block with what it is to have. It leads to a block of attributes that is
//! in use, though: the lock is held by who looks for one, until the block counts the new user; and by who gives a block
//! up, from the moment that it counts none until nothing leads to it. Blocks that nobody has made or changed since the
//! mount are not found. The same goes for inodes with values, which are found when they were read, too.
//!
//! # Locks
//!
//! The mutexes are taken inside a handle and the map lock: that of the values, then that of the blocks. Byte locks and
//! the mutex of the orphans are taken inside them.

use crate::disk::{Ino, PhysBlock};
use core::pin::Pin;
use kernel::alloc::{flags::GFP_KERNEL, KBox, KVVec};
use kernel::error::Result;
use kernel::prelude::*;
use kernel::sync::{new_mutex, Mutex, MutexGuard};

/// How many are remembered of each, by the last bits of their hash.
const SLOTS: usize = 1024;

/// One of them, and the hash of what it had.
type Slot<T> = Option<(u32, T)>;

/// See the top of the file.
pub struct Shared<T>(Pin<KBox<Mutex<KVVec<Slot<T>>>>>);

/// Blocks of attributes.
pub type SharedBlocks = Shared<PhysBlock>;

/// Inodes with values.
pub type SharedValues = Shared<Ino>;

/// All of them, with the lock.
pub struct Locked<'a, T>(MutexGuard<'a, KVVec<Slot<T>>>);

fn slots<T: Copy>(share: bool) -> Result<KVVec<Slot<T>>> {
    let slots = if share { SLOTS } else { 0 };
    Ok(KVVec::from_elem(None, slots, GFP_KERNEL)?)
}

// One function for each, as lockdep knows a mutex by where it is made.
impl SharedBlocks {
    /// None yet; or for good, where inodes are not to share.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(share: bool) -> Result<Self> {
        Ok(Self(KBox::pin_init(
            new_mutex!(slots(share)?, "iomapfs_shared_blocks"),
            GFP_KERNEL,
        )?))
    }
}

impl SharedValues {
    /// As [`SharedBlocks::new`].
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(share: bool) -> Result<Self> {
        Ok(Self(KBox::pin_init(
            new_mutex!(slots(share)?, "iomapfs_shared_values"),
            GFP_KERNEL,
        )?))
    }
}

impl<T> Shared<T> {
    /// Takes the lock.
    pub fn lock(&self) -> Locked<'_, T> {
        Locked(self.0.lock())
    }
}

impl<T: Copy + PartialEq> Locked<'_, T> {
    fn slot(&mut self, hash: u32) -> Option<&mut Slot<T>> {
        self.0.get_mut(hash as usize % SLOTS)
    }

    /// One that had this hash when it was seen.
    pub fn find(&mut self, hash: u32) -> Option<T> {
        match *self.slot(hash)? {
            Some((found, nr)) if found == hash => Some(nr),
            _ => None,
        }
    }

    /// There is one with this hash; 0 is that of one which must not be shared.
    pub fn note(&mut self, hash: u32, nr: T) {
        if let Some(slot) = self.slot(hash).filter(|_| hash != 0) {
            *slot = Some((hash, nr));
        }
    }

    /// It has another hash from now on, or is given up.
    pub fn forget(&mut self, hash: u32, nr: T) {
        if let Some(slot) = self.slot(hash).filter(|slot| **slot == Some((hash, nr))) {
            *slot = None;
        }
    }
}
