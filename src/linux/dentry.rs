// SPDX-License-Identifier: GPL-2.0

//! Entries of the VFS's cache of names, as operations of an inode get them.
//!
//! C header: [`include/linux/dcache.h`](srctree/include/linux/dcache.h)
//!
//! # Locks
//!
//! `i_rwsem` of the entry's directory, by the VFS: see [`Entry`].
//!
//! # Examples
//!
//! ```ignore
//! fn rename(idmap: &Idmap, how: &Rename<'_, MyFs>) -> Result {
//!     match how.new.inode() {
//!         Some(_) => Err(EEXIST),
//!         None => move_name(how.old_dir, how.old.name(), how.new_dir, how.new.name()),
//!     }
//! }
//! ```

use super::{
    bindings,
    fs::FileSystem,
    inode::INode, //
};
use core::{
    marker::PhantomData,
    ops::Deref,
    slice, //
};

/// The name of an entry, as bytes without end mark.
///
/// # Invariants
///
/// A `struct qstr` of a string, which does not change as long as there is a reference to it.
#[repr(transparent)]
pub(crate) struct EntryName(bindings::qstr);

impl EntryName {
    /// The C structure.
    pub(super) fn as_raw(&self) -> *const bindings::qstr {
        &self.0
    }
}

impl Deref for EntryName {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: Both ways to see the union are plain numbers.
        let len = unsafe { self.0.__bindgen_anon_1.__bindgen_anon_1.len };
        // SAFETY: The name has that many bytes, and neither changes nor goes, by the type's invariants.
        unsafe { slice::from_raw_parts(self.0.name.cast(), len as usize) }
    }
}

/// An entry whose name and inode cannot change while the caller uses it: `i_rwsem` of its directory is held
/// exclusively, or the entry is not known to others.
///
/// # Invariants
///
/// A valid `struct dentry` of a super block of `T`, with that stability, for the lifetime.
pub(crate) struct Entry<'a, T: FileSystem>(*mut bindings::dentry, PhantomData<(&'a (), T)>);

impl<'a, T: FileSystem> Entry<'a, T> {
    /// # Safety
    ///
    /// The type's invariants must hold for `dentry`, for the lifetime.
    pub(super) unsafe fn from_raw(dentry: *mut bindings::dentry) -> Self {
        Self(dentry, PhantomData)
    }

    /// The name, without directories.
    pub(crate) fn name(&self) -> &'a EntryName {
        // SAFETY: Valid and stable by the type's invariants. INVARIANT: A name in the cache is a string.
        unsafe { &*(&raw const (*self.0).__bindgen_anon_1.d_name).cast() }
    }

    /// The inode, where there is one by that name.
    pub(crate) fn inode(&self) -> Option<&'a INode<T>> {
        // SAFETY: Valid and stable by the type's invariants.
        let inode = unsafe { (*self.0).d_inode };
        if inode.is_null() {
            return None;
        }
        // SAFETY: An inode that has a name is ready, and the dentry has a reference.
        Some(unsafe { INode::from_raw(inode) })
    }
}
