// SPDX-License-Identifier: GPL-2.0

//! The locks of an inode: `i_rwsem` in either mode, and the invalidate lock of its mapping.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h)
//!
//! # Locks
//!
//! Order: `i_rwsem`, then the invalidate lock, then folio locks. A guard may be dropped by the task that
//! took the lock only, so guards are not `Send`.
//!
//! # Examples
//!
//! ```ignore
//! let lock = inode.lock();
//! inode.dio_wait();
//! let invalidate = Invalidate::lock(lock.borrow());
//! inode.set_size(size);
//! invalidate.truncate_pagecache(size);
//! ```

use super::{
    bindings,
    fs::FileSystem,
    inode::INode, //
};
use core::{
    mem::ManuallyDrop,
    ops::Range, //
};
use kernel::{
    page::PAGE_SIZE,
    types::NotThreadSafe, //
};

impl<T: FileSystem> INode<T> {
    /// Locks `i_rwsem` exclusively.
    pub(crate) fn lock(&self) -> Exclusive<'_, T> {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::inode_lock(self.as_raw()) };
        Exclusive(self, NotThreadSafe)
    }

    /// Locks `i_rwsem` exclusively if nobody has it.
    pub(crate) fn try_lock(&self) -> Option<Exclusive<'_, T>> {
        // SAFETY: Valid by the type's invariants.
        (unsafe { bindings::inode_trylock(self.as_raw()) } != 0)
            .then(|| Exclusive(self, NotThreadSafe))
    }

    /// Locks `i_rwsem` shared.
    pub(crate) fn lock_shared(&self) -> Shared<'_, T> {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::inode_lock_shared(self.as_raw()) };
        Shared(self, NotThreadSafe)
    }

    /// Locks `i_rwsem` shared if nobody has it exclusively.
    pub(crate) fn try_lock_shared(&self) -> Option<Shared<'_, T>> {
        // SAFETY: Valid by the type's invariants.
        (unsafe { bindings::inode_trylock_shared(self.as_raw()) } != 0)
            .then(|| Shared(self, NotThreadSafe))
    }
}

/// `i_rwsem`, held exclusively.
pub(crate) struct Exclusive<'a, T: FileSystem>(&'a INode<T>, NotThreadSafe);

impl<'a, T: FileSystem> Exclusive<'a, T> {
    /// Whose lock it is.
    pub(super) fn inode(&self) -> &'a INode<T> {
        self.0
    }

    /// Shows that it is held.
    pub(crate) fn borrow(&self) -> ExclusiveRef<'_, T> {
        // INVARIANT: By the existence of the guard, which is borrowed.
        ExclusiveRef(self.0, NotThreadSafe)
    }

    /// Goes on with the lock shared, without giving it up.
    pub(crate) fn downgrade(self) -> Shared<'a, T> {
        let this = ManuallyDrop::new(self);
        // SAFETY: Held exclusively by this guard, which is not dropped.
        unsafe { bindings::downgrade_write(&raw mut (*this.0.as_raw()).i_rwsem) };
        Shared(this.0, NotThreadSafe)
    }
}

impl<T: FileSystem> Drop for Exclusive<'_, T> {
    fn drop(&mut self) {
        // SAFETY: Held exclusively by this guard.
        unsafe { bindings::inode_unlock(self.0.as_raw()) };
    }
}

/// `i_rwsem`, held exclusively by somebody else's guard or by the VFS.
///
/// # Invariants
///
/// This task holds the lock for the lifetime.
pub(crate) struct ExclusiveRef<'a, T: FileSystem>(&'a INode<T>, NotThreadSafe);

// Not derived, which would ask it of `T`.
impl<T: FileSystem> Clone for ExclusiveRef<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: FileSystem> Copy for ExclusiveRef<'_, T> {}

impl<'a, T: FileSystem> ExclusiveRef<'a, T> {
    /// # Safety
    ///
    /// This task must hold `i_rwsem` of `inode` exclusively for the lifetime.
    pub(super) unsafe fn of(inode: &'a INode<T>) -> Self {
        // INVARIANT: By the function's requirements.
        Self(inode, NotThreadSafe)
    }

    /// Whose lock it is.
    pub(crate) fn inode(self) -> &'a INode<T> {
        self.0
    }
}

/// `i_rwsem`, held shared.
pub(crate) struct Shared<'a, T: FileSystem>(&'a INode<T>, NotThreadSafe);

impl<T: FileSystem> Drop for Shared<'_, T> {
    fn drop(&mut self) {
        // SAFETY: Held shared by this guard.
        unsafe { bindings::inode_unlock_shared(self.0.as_raw()) };
    }
}

/// `i_rwsem` held one way or the other.
pub(crate) enum Held<'a, T: FileSystem> {
    /// For reading.
    Shared(Shared<'a, T>),
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

    /// Whose lock it is.
    pub(crate) fn inode(&self) -> &'a INode<T> {
        match self {
            Self::Shared(lock) => lock.0,
            Self::Exclusive(lock) => lock.0,
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
/// by a fault. Who can have one outside of this room holds `i_rwsem` exclusively, too: nobody else changes the size.
pub(crate) struct Invalidate<'a, T: FileSystem> {
    inode: &'a INode<T>,
    _not_send: NotThreadSafe,
}

impl<'a, T: FileSystem> Invalidate<'a, T> {
    /// Waits for the lock.
    pub(crate) fn lock(lock: ExclusiveRef<'a, T>) -> Self {
        Self::lock_alone(lock.inode())
    }

    /// Waits for the lock, for what needs no other.
    pub(super) fn lock_alone(inode: &'a INode<T>) -> Self {
        // SAFETY: The inode is live and has a mapping.
        unsafe { bindings::filemap_invalidate_lock((*inode.as_raw()).i_mapping) };
        Self {
            inode,
            _not_send: NotThreadSafe,
        }
    }
}

impl<T: FileSystem> Invalidate<'_, T> {
    /// Whose lock it is.
    pub(super) fn inode(&self) -> &INode<T> {
        self.inode
    }

    /// Drops the page cache beyond `size`, and its mappings into memory. Waits for writeback.
    ///
    /// Where the inode's size is still a greater one, folios come back with what is on the device: then that is seen in
    /// place of what was written, and no worse.
    pub(crate) fn truncate_pagecache(&self, size: u64) {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        // SAFETY: Valid by the type's invariants, and the lock that the callee wants is held.
        unsafe { bindings::truncate_pagecache(self.inode.as_raw(), size) };
    }

    /// Drops bytes `range` of the page cache, which is not empty, and its mappings into memory; where only a part of a
    /// folio lies in the range and that stays, the part is zeros. Waits for writeback.
    ///
    /// Pages that only a part of lies in the range are no longer mapped either: who stores to one asks for its blocks
    /// again, of which some may be gone.
    pub(crate) fn truncate_pagecache_range(&self, range: Range<u64>) {
        for edge in [range.start, range.end] {
            let below = edge & (PAGE_SIZE as u64).wrapping_sub(1);
            if below == 0 {
                continue;
            }
            let page = i64::try_from(edge.wrapping_sub(below)).unwrap_or(i64::MAX);
            // SAFETY: Valid by the type's invariants; the pointer never changes.
            let mapping = unsafe { (*self.inode.as_raw()).i_mapping };
            // Private copies stay. No fault makes the page writable while the lock is held.
            // SAFETY: The mapping is that of the inode.
            unsafe { bindings::unmap_mapping_range(mapping, page, PAGE_SIZE as i64, 0) };
        }
        let start = i64::try_from(range.start).unwrap_or(i64::MAX);
        // The callee wants the last byte.
        let last = range.end.saturating_sub(1);
        let last = i64::try_from(last).unwrap_or(i64::MAX).max(start);
        // SAFETY: Valid by the type's invariants, and the lock that the callee wants is held.
        unsafe { bindings::truncate_pagecache_range(self.inode.as_raw(), start, last) };
    }
}

impl<T: FileSystem> Drop for Invalidate<'_, T> {
    fn drop(&mut self) {
        // SAFETY: Held by this task, by the existence of the guard.
        unsafe { bindings::filemap_invalidate_unlock((*self.inode.as_raw()).i_mapping) };
    }
}

/// The invalidate lock of an inode's mapping, held for reading: no folio is taken out of the page cache for good.
pub(super) struct InvalidateShared<'a, T: FileSystem> {
    inode: &'a INode<T>,
    _not_send: NotThreadSafe,
}

impl<'a, T: FileSystem> InvalidateShared<'a, T> {
    /// Waits for the lock.
    pub(super) fn lock(inode: &'a INode<T>) -> Self {
        // SAFETY: The inode is live and has a mapping.
        unsafe { bindings::filemap_invalidate_lock_shared((*inode.as_raw()).i_mapping) };
        Self {
            inode,
            _not_send: NotThreadSafe,
        }
    }
}

impl<T: FileSystem> Drop for InvalidateShared<'_, T> {
    fn drop(&mut self) {
        // SAFETY: Held by this task, by the existence of the guard.
        unsafe { bindings::filemap_invalidate_unlock_shared((*self.inode.as_raw()).i_mapping) };
    }
}
