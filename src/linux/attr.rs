// SPDX-License-Identifier: GPL-2.0

//! Attributes of inodes: how they are asked for, changed, and mapped between users.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/stat.h`](srctree/include/linux/stat.h),
//! [`include/linux/mnt_idmapping.h`](srctree/include/linux/mnt_idmapping.h)
//!
//! The structures are the VFS's, lent for one call.
//!
//! # Locks
//!
//! A change ([`Attr`]) comes with the inode's `i_rwsem` held exclusively, a question ([`Stat`]) with none.
//!
//! # Examples
//!
//! ```ignore
//! fn setattr(idmap: &Idmap, inode: &INode<MyFs>, attr: &mut Attr<'_, MyFs>) -> Result {
//!     attr.prepare(idmap)?;
//!     if attr.size().is_some() {
//!         return Err(EOPNOTSUPP);
//!     }
//!     attr.apply(idmap);
//!     Ok(())
//! }
//! ```

use super::{
    bindings,
    fs::FileSystem,
    inode::INode,
    lock::ExclusiveRef,
    time::Timestamp, //
};
use core::marker::PhantomData;
use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// How a mount maps user and group ids.
///
/// # Invariants
///
/// Wraps a valid `struct mnt_idmap`.
#[repr(transparent)]
pub(crate) struct Idmap(Opaque<bindings::mnt_idmap>);

impl Idmap {
    /// # Safety
    ///
    /// `idmap` must be valid for the lifetime of the reference.
    pub(super) unsafe fn from_raw<'a>(idmap: *mut bindings::mnt_idmap) -> &'a Self {
        // SAFETY: `Self` is a transparent wrapper; the rest is the function's requirements.
        unsafe { &*idmap.cast() }
    }

    /// The C structure.
    pub(super) fn as_raw(&self) -> *mut bindings::mnt_idmap {
        self.0.get()
    }
}

/// A wanted change of the attributes of one inode, whose `i_rwsem` is held exclusively.
///
/// # Invariants
///
/// `attr` is a valid `struct iattr` and the caller's alone, `dentry` a valid dentry with an inode of `T`, for the
/// lifetime, for which this task holds the inode's `i_rwsem` exclusively. Fields of `attr` that `ia_valid` does not
/// name may not be initialised.
pub(crate) struct Attr<'a, T: FileSystem> {
    attr: *mut bindings::iattr,
    dentry: *mut bindings::dentry,
    _p: PhantomData<(&'a mut bindings::iattr, &'a INode<T>)>,
}

impl<'a, T: FileSystem> Attr<'a, T> {
    /// # Safety
    ///
    /// The type's invariants must hold for the lifetime.
    pub(super) unsafe fn from_raw(
        attr: *mut bindings::iattr,
        dentry: *mut bindings::dentry,
    ) -> Self {
        // INVARIANT: By the function's requirements.
        Self {
            attr,
            dentry,
            _p: PhantomData,
        }
    }

    fn inode(&self) -> *mut bindings::inode {
        // SAFETY: Valid by the type's invariants; a dentry in use keeps its inode.
        unsafe { (*self.dentry).d_inode }
    }

    /// Shows that the inode's `i_rwsem` is held.
    pub(crate) fn lock(&self) -> ExclusiveRef<'a, T> {
        // SAFETY: An inode with a dentry is ready, and stays for the lifetime, as does the lock.
        unsafe { ExclusiveRef::of(INode::from_raw(self.inode())) }
    }

    /// The dentry of the inode.
    pub(super) fn dentry(&self) -> *mut bindings::dentry {
        self.dentry
    }

    /// Whether the permissions change.
    pub(super) fn changes_mode(&self) -> bool {
        self.has(bindings::ATTR_MODE)
    }

    fn has(&self, flags: u32) -> bool {
        // SAFETY: Valid by the type's invariants.
        unsafe { (*self.attr).ia_valid & flags != 0 }
    }

    /// The size that the file is to have.
    pub(crate) fn size(&self) -> Option<i64> {
        self.has(bindings::ATTR_SIZE).then(|| {
            // SAFETY: Valid by the type's invariants; set, as the flag says.
            unsafe { (*self.attr).ia_size }
        })
    }

    /// The user and the group that it is to belong to from now on, as numbers of the initial user namespace; `None`
    /// where that does not change.
    pub(crate) fn new_owner(&self, idmap: &Idmap) -> (Option<u32>, Option<u32>) {
        let (attr, inode) = (self.attr, self.inode());
        // SAFETY: Valid by the types' invariants.
        let user =
            unsafe { bindings::i_uid_needs_update(idmap.as_raw(), attr, inode) }.then(|| {
                // SAFETY: As above; set, as it changes.
                unsafe { bindings::iattr_uid(idmap.as_raw(), attr, inode) }.val
            });
        // SAFETY: As above.
        let group =
            unsafe { bindings::i_gid_needs_update(idmap.as_raw(), attr, inode) }.then(|| {
                // SAFETY: As above; set, as it changes.
                unsafe { bindings::iattr_gid(idmap.as_raw(), attr, inode) }.val
            });
        (user, group)
    }

    /// Adds that the times of the last change of data and inode become the present.
    pub(crate) fn touch(&mut self) {
        // SAFETY: Valid by the type's invariants.
        let now = unsafe { bindings::current_time(self.inode()) };
        // SAFETY: Valid by the type's invariants.
        unsafe { (*self.attr).ia_mtime = now };
        // SAFETY: Valid by the type's invariants.
        unsafe { (*self.attr).ia_ctime = now };
        // SAFETY: Valid by the type's invariants.
        unsafe { (*self.attr).ia_valid |= bindings::ATTR_MTIME | bindings::ATTR_CTIME };
    }

    /// Checks that the task may make this change, and that limits allow it.
    pub(crate) fn prepare(&mut self, idmap: &Idmap) -> Result {
        // SAFETY: Valid by the types' invariants.
        to_result(unsafe { bindings::setattr_prepare(idmap.as_raw(), self.dentry, self.attr) })
    }

    /// Sets the attributes other than the size in the inode. The VFS has checked that the type of file stays.
    pub(crate) fn apply(&self, idmap: &Idmap) {
        // SAFETY: Valid by the types' invariants; the inode is locked.
        unsafe { bindings::setattr_copy(idmap.as_raw(), self.inode(), self.attr) };
    }
}

/// Attributes that `statx(2)` can tell of a file.
pub(crate) mod attributes {
    use crate::linux::bindings;

    /// Data can only be added at the end.
    pub(crate) const APPEND: u64 = bindings::STATX_ATTR_APPEND as u64;
    /// Not to be backed up.
    pub(crate) const NODUMP: u64 = bindings::STATX_ATTR_NODUMP as u64;
    /// Nothing can be changed.
    pub(crate) const IMMUTABLE: u64 = bindings::STATX_ATTR_IMMUTABLE as u64;
}

/// The answer to `statx(2)`.
#[repr(transparent)]
pub(crate) struct Stat(bindings::kstat);

impl Stat {
    /// # Safety
    ///
    /// `stat` must be valid, initialised, and the caller's alone, for the lifetime of the reference.
    pub(super) unsafe fn from_raw<'a>(stat: *mut bindings::kstat) -> &'a mut Self {
        // SAFETY: `Self` is a transparent wrapper; the rest is the function's requirements.
        unsafe { &mut *stat.cast() }
    }

    /// Fills in what the VFS knows of the inode.
    pub(crate) fn fill<T: FileSystem>(&mut self, idmap: &Idmap, wanted: Wanted, inode: &INode<T>) {
        // SAFETY: Valid by the types' invariants; what the callee reads of the inode are words.
        unsafe {
            bindings::generic_fillattr(idmap.as_raw(), wanted.0, inode.as_raw(), &mut self.0);
        }
    }

    /// Sets the time at which the file was created.
    pub(crate) fn set_birth_time(&mut self, time: Timestamp) {
        self.0.btime = time.into_raw();
        self.0.result_mask |= bindings::STATX_BTIME;
    }

    /// Sets which of [`attributes`] the filesystem knows, and which of them the file has.
    pub(crate) fn set_attributes(&mut self, known: u64, has: u64) {
        self.0.attributes |= has & known;
        self.0.attributes_mask |= known;
    }

    /// Sets to what memory and file offset of direct I/O must be aligned, in bytes.
    pub(crate) fn set_direct_alignment(&mut self, memory: u32, offset: u32) {
        self.0.dio_mem_align = memory;
        self.0.dio_offset_align = offset;
        self.0.result_mask |= bindings::STATX_DIOALIGN;
    }

    /// Sets how many bytes a write may have that is to be there whole after a power cut or not at all, at least and at
    /// most, and how many at most are `fast`: zero where none is faster than others.
    pub(crate) fn set_atomic_write(&mut self, (least, most): (u32, u32), fast: u32) {
        // SAFETY: The structure is valid and the caller's alone, by the requirements of `from_raw`.
        unsafe { bindings::generic_fill_statx_atomic_writes(&mut self.0, least, most, fast) };
    }

    /// Adds to the space that the file takes, in units of 512 bytes.
    pub(crate) fn add_blocks(&mut self, sectors: u64) {
        self.0.blocks = self.0.blocks.saturating_add(sectors);
    }
}

/// What the caller of `statx(2)` asks for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted(pub(super) u32);

impl Wanted {
    /// Whether the alignment of direct I/O is asked for.
    pub(crate) fn direct_alignment(self) -> bool {
        self.0 & bindings::STATX_DIOALIGN != 0
    }

    /// Whether the lengths of atomic writes are asked for.
    pub(crate) fn atomic_write(self) -> bool {
        self.0 & bindings::STATX_WRITE_ATOMIC != 0
    }

    /// Whether the time of creation is asked for.
    pub(crate) fn birth_time(self) -> bool {
        self.0 & bindings::STATX_BTIME != 0
    }
}
