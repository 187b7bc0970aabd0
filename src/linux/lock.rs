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
    ops::Range,
    ptr::NonNull, //
};
use kernel::{
    error::{
        code::*,
        to_result,
        Result, //
    },
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

/// `i_rwsem` and the invalidate lock of two inodes, no directories, both held for writing: nobody reads, writes or maps
/// anything of them but what the page cache has, and stores through mappings that are writable already.
pub(crate) struct Two<'a, T: FileSystem> {
    first: &'a INode<T>,
    second: &'a INode<T>,
    _not_send: NotThreadSafe,
}

impl<'a, T: FileSystem> Two<'a, T> {
    /// Waits for the locks. Direct I/O that is in flight is waited for, too.
    ///
    /// # Errors
    ///
    /// `EINVAL` where it is one inode, or one of them is no regular file; `EOPNOTSUPP` where one is used as memory
    /// (DAX).
    pub(crate) fn lock(first: &'a INode<T>, second: &'a INode<T>) -> Result<Self> {
        let are_regular = first.is_regular() && second.is_regular();
        if !are_regular || first.as_raw() == second.as_raw() {
            return Err(EINVAL);
        }
        if first.is_dax() || second.is_dax() {
            return Err(EOPNOTSUPP);
        }
        // SAFETY: Both are live inodes and no directories.
        unsafe { bindings::lock_two_nondirectories(first.as_raw(), second.as_raw()) };
        first.dio_wait();
        second.dio_wait();
        // SAFETY: Both have mappings, which are those of regular files, and so different ones.
        unsafe {
            bindings::filemap_invalidate_lock_two(
                (*first.as_raw()).i_mapping,
                (*second.as_raw()).i_mapping,
            )
        };
        Ok(Self {
            first,
            second,
            _not_send: NotThreadSafe,
        })
    }

    /// Waits until nobody reads bytes `range` of the first one, which is not empty, from the device into the page
    /// cache. What is there and clean may be dropped.
    pub(crate) fn wait_for_reads_of_first(&self, range: &Range<u64>) {
        wait_for_reads(self.first, range);
    }

    /// Drops bytes `range` of the second one's page cache, which is not empty, and its mappings into memory. Waits for
    /// writeback.
    pub(crate) fn drop_of_second(&self, range: Range<u64>) {
        truncate_range(self.second, &range);
    }
}

impl<T: FileSystem> Drop for Two<'_, T> {
    fn drop(&mut self) {
        // SAFETY: Held by this task, by the existence of the guard.
        unsafe {
            bindings::filemap_invalidate_unlock_two(
                (*self.first.as_raw()).i_mapping,
                (*self.second.as_raw()).i_mapping,
            )
        };
        // SAFETY: As above.
        unsafe { bindings::unlock_two_nondirectories(self.first.as_raw(), self.second.as_raw()) };
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

    /// Waits until nobody uses bytes `range` of the file's blocks as memory: they are mapped no more, and no device
    /// reads or writes them for somebody who had them mapped. Meanwhile the lock may be given up and taken again. Where
    /// the file has a page cache, there is nothing to wait for.
    ///
    /// # Errors
    ///
    /// `ERESTARTSYS` where a signal has come.
    pub(crate) fn break_layouts(&mut self, range: Range<u64>) -> Result {
        if !self.inode.is_dax() || range.is_empty() {
            return Ok(());
        }
        while let Some(page) = self.busy_page(&around(&range)) {
            // SAFETY: Held by this guard.
            unsafe { bindings::filemap_invalidate_unlock(self.mapping()) };
            // SAFETY: It is of a device that stays as long as the filesystem is mounted.
            let waited = unsafe { bindings::dax_wait_page_idle_interruptible(page.as_ptr()) };
            // SAFETY: Given up above.
            unsafe { bindings::filemap_invalidate_lock(self.mapping()) };
            to_result(waited)?;
        }
        Ok(())
    }

    fn mapping(&self) -> *mut bindings::address_space {
        // SAFETY: Valid by the type's invariants; the pointer never changes.
        unsafe { (*self.inode.as_raw()).i_mapping }
    }

    /// A page of bytes `range` that somebody uses as memory. They are mapped no more.
    fn busy_page(&self, range: &Range<u64>) -> Option<NonNull<bindings::page>> {
        let (start, last) = inclusive(range);
        // SAFETY: Valid by the type's invariants, and the lock that keeps the range from being mapped is held.
        NonNull::new(unsafe { bindings::dax_layout_busy_page_range(self.mapping(), start, last) })
    }

    /// Forgets that blocks of bytes `range` are memory, where they are. Whoever uses them so is waited for, with the
    /// lock held: [`Self::break_layouts`] has done so before.
    fn forget_memory(&self, range: Range<u64>) {
        if !self.inode.is_dax() || range.is_empty() {
            return;
        }
        let all = around(&range);
        while let Some(page) = self.busy_page(&all) {
            // SAFETY: It is of a device that stays as long as the filesystem is mounted.
            unsafe { bindings::dax_wait_page_idle(page.as_ptr()) };
        }
        // What was stored around the range has to be durable with the next sync, which would not know of it.
        for edge in [all.start..range.start, range.end..all.end] {
            if !edge.is_empty() {
                // What fails is told at that sync.
                let _ = self
                    .inode
                    .write_and_wait(edge.start, edge.end.saturating_sub(1));
            }
        }
        let (start, last) = inclusive(&all);
        // SAFETY: Valid by the type's invariants. Nobody has mapped the range, nor does while the lock is held.
        unsafe { bindings::dax_delete_mapping_range(self.mapping(), start, last) };
    }

    /// Drops the page cache beyond `size`, and its mappings into memory. Waits for writeback.
    ///
    /// Where the inode's size is still a greater one, folios come back with what is on the device: then that is seen in
    /// place of what was written, and no worse.
    pub(crate) fn truncate_pagecache(&self, size: u64) {
        let below = (PAGE_SIZE as u64).wrapping_sub(1);
        self.forget_memory(size.saturating_add(below) & !below..u64::MAX);
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
        self.forget_memory(range.clone());
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
        truncate_range(self.inode, &range);
    }
}

/// The bytes that can be mapped together with some of `range`.
fn around(range: &Range<u64>) -> Range<u64> {
    let below = (bindings::PMD_SIZE as u64).wrapping_sub(1);
    range.start & !below..range.end.saturating_add(below) & !below
}

/// The first and the last byte of a range, as C wants them: the last offset that there is stands for the end of the
/// file.
fn inclusive(range: &Range<u64>) -> (i64, i64) {
    let offset = |byte| i64::try_from(byte).unwrap_or(i64::MAX);
    let start = offset(range.start);
    (start, offset(range.end.saturating_sub(1)).max(start))
}

/// Drops bytes `range` of the page cache of an inode whose invalidate lock this task holds for writing.
fn truncate_range<T: FileSystem>(inode: &INode<T>, range: &Range<u64>) {
    let (start, last) = inclusive(range);
    // SAFETY: The inode is live. Without the lock folios might come back with what is on the device, and no worse.
    unsafe { bindings::truncate_pagecache_range(inode.as_raw(), start, last) };
}

impl<T: FileSystem> Drop for Invalidate<'_, T> {
    fn drop(&mut self) {
        // SAFETY: Held by this task, by the existence of the guard.
        unsafe { bindings::filemap_invalidate_unlock((*self.inode.as_raw()).i_mapping) };
    }
}

/// The invalidate lock of an inode's mapping, held for writing by somebody who need not hold `i_rwsem`: no folio enters
/// the page cache by reading, and no store to a mapping into memory makes a clean one dirty.
pub(crate) struct NoFaults<'a, T: FileSystem> {
    invalidate: Invalidate<'a, T>,
}

impl<'a, T: FileSystem> NoFaults<'a, T> {
    /// Waits for the lock. Not with memory at hand that may be a mapping of the file, and is still to be read or
    /// written: that would be a fault.
    pub(crate) fn lock(inode: &'a INode<T>) -> Self {
        Self {
            invalidate: Invalidate::lock_alone(inode),
        }
    }

    /// Waits until nobody reads bytes `range`, which is not empty, from the device into the page cache: nobody begins
    /// to. What is there and clean may be dropped.
    pub(crate) fn wait_for_reads(&self, range: &Range<u64>) {
        wait_for_reads(self.invalidate.inode, range);
    }
}

/// Waits until what is being read of bytes `range` into the page cache is there. What is there and clean may be
/// dropped.
fn wait_for_reads<T: FileSystem>(inode: &INode<T>, range: &Range<u64>) {
    let page = PAGE_SIZE as u64;
    let (first, behind) = (range.start / page, range.end.div_ceil(page));
    // What somebody uses at the time stays, and was locked once all the same: that is what is wanted.
    // SAFETY: The inode is live, and has a mapping.
    let _ = unsafe {
        bindings::invalidate_inode_pages2_range(
            (*inode.as_raw()).i_mapping,
            first as usize,
            behind.saturating_sub(1) as usize,
        )
    };
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
