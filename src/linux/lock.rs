// SPDX-License-Identifier: GPL-2.0

//! The locks of a regular file: `i_rwsem` in either mode, and the invalidate lock of its mapping.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h)
//!
//! # Locks
//!
//! Order: `i_rwsem`, then the invalidate lock, then folio locks. A guard may be dropped by the task that
//! took the lock only, so guards are not `Send`.

use super::bindings;
use super::fs::FileSystem;
use super::inode::{Exclusive, INode, Shared};
use kernel::types::NotThreadSafe;

/// `i_rwsem` held one way or the other.
pub(crate) enum Held<'a, T: FileSystem> {
    /// For reading.
    Shared(#[expect(dead_code, reason = "kept to be dropped")] Shared<'a, T>),
    /// For writing.
    Exclusive(Exclusive<'a, T>),
}

impl<'a, T: FileSystem> Held<'a, T> {
    /// Takes the lock for reading; `None` where it would have to wait and may not.
    pub(crate) fn shared(inode: &'a INode<T>, wait: bool) -> Option<Self> {
        if wait {
            Some(Self::Shared(inode.lock_shared()))
        } else {
            inode.try_lock_shared().map(Self::Shared)
        }
    }

    /// Takes the lock for writing; `None` where it would have to wait and may not.
    pub(crate) fn exclusive(inode: &'a INode<T>, wait: bool) -> Option<Self> {
        if wait {
            Some(Self::Exclusive(inode.lock()))
        } else {
            inode.try_lock().map(Self::Exclusive)
        }
    }

    /// Whether it is held for writing.
    pub(crate) fn is_exclusive(&self) -> bool {
        matches!(self, Self::Exclusive(_))
    }

    /// For reading from now on.
    pub(crate) fn downgrade(self) -> Self {
        match self {
            Self::Exclusive(lock) => Self::Shared(lock.downgrade()),
            shared => shared,
        }
    }
}

/// The invalidate lock of an inode's mapping, held for writing: no folio enters the page cache by reading or
/// by a fault.
pub(crate) struct Invalidate<'a, T: FileSystem> {
    inode: &'a INode<T>,
    _not_send: NotThreadSafe,
}

impl<'a, T: FileSystem> Invalidate<'a, T> {
    /// Waits for the lock.
    pub(crate) fn lock(inode: &'a INode<T>) -> Self {
        // SAFETY: The inode is live and has a mapping.
        unsafe { bindings::filemap_invalidate_lock((*inode.as_raw()).i_mapping) };
        Self {
            inode,
            _not_send: NotThreadSafe,
        }
    }
}

impl<T: FileSystem> Drop for Invalidate<'_, T> {
    fn drop(&mut self) {
        // SAFETY: Held by this task, by the existence of the guard.
        unsafe { bindings::filemap_invalidate_unlock((*self.inode.as_raw()).i_mapping) };
    }
}
