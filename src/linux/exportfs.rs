// SPDX-License-Identifier: GPL-2.0

//! Handles of files (`name_to_handle_at(2)`, `fanotify(7)`, NFS): the number of an inode and its generation.
//!
//! C header: [`include/linux/exportfs.h`](srctree/include/linux/exportfs.h)
//!
//! # Locks
//!
//! None is held where an inode is looked for; `i_rwsem` of a directory, exclusively, where its parent is; that of an
//! inode may be where it is made durable.
//!
//! # Examples
//!
//! ```ignore
//! impl Handles for MyFs {
//!     fn find_handle(sb: &SuperBlock<MyFs>, number: u64, generation: Option<u32>) -> Result<InodeRef<'_, MyFs>> {
//!         let inode = get(sb, number.try_into().map_err(|_| ESTALE)?)?;
//!         match generation {
//!             Some(generation) if generation != inode.generation() => Err(ESTALE),
//!             _ => Ok(inode),
//!         }
//!     }
//!     // ...
//! }
//! ```

use super::{
    bindings,
    fs::FileSystem,
    inode::{
        INode,
        InodeRef, //
    },
    super_block::SuperBlock, //
};
use core::{
    ffi::c_int,
    marker::PhantomData, //
};
use kernel::{
    error::from_result,
    prelude::*, //
};

/// A filesystem whose files can be found by handles.
pub(crate) trait Handles: FileSystem {
    /// Finds the inode that a handle names. Any bits may be in a handle. `None` stands for any generation.
    ///
    /// # Errors
    ///
    /// `ESTALE` where there is none.
    fn find_handle(
        sb: &SuperBlock<Self>,
        number: u64,
        generation: Option<u32>,
    ) -> Result<InodeRef<'_, Self>>;

    /// Finds the directory that a directory is in.
    fn parent(dir: &INode<Self>) -> Result<InodeRef<'_, Self>>;

    /// Makes the last change of an inode durable, of a directory that of its names, too. A server asks for it before it
    /// tells a client that something was done.
    fn commit(inode: &INode<Self>) -> Result;
}

/// The table of a [`Handles`].
pub(super) struct Table<T>(PhantomData<T>);

impl<T: Handles> Table<T> {
    const OPERATIONS: &'static bindings::export_operations = &bindings::export_operations {
        encode_fh: Some(bindings::generic_encode_ino32_fh),
        fh_to_dentry: Some(Self::fh_to_dentry),
        fh_to_parent: Some(Self::fh_to_parent),
        get_parent: Some(Self::get_parent),
        // Without it only what the VFS knows to be dirty would be written.
        commit_metadata: Some(Self::commit_metadata),
        ..pin_init::zeroed()
    };

    /// The table, which stays.
    pub(super) fn operations() -> *const kernel::bindings::export_operations {
        (&raw const *Self::OPERATIONS).cast()
    }

    /// `fh_to_dentry`.
    ///
    /// # Safety
    ///
    /// For exportfs (`exportfs_decode_fh_raw()`), with a mounted super block of `T` and a handle of `len` words.
    unsafe extern "C" fn fh_to_dentry(
        sb: *mut bindings::super_block,
        fid: *mut bindings::fid,
        len: c_int,
        kind: c_int,
    ) -> *mut bindings::dentry {
        // SAFETY: By the function's requirements, which are those of the callback.
        unsafe { bindings::generic_fh_to_dentry(sb, fid, len, kind, Some(Self::get_inode)) }
    }

    /// `fh_to_parent`.
    ///
    /// # Safety
    ///
    /// As for [`Self::fh_to_dentry`].
    unsafe extern "C" fn fh_to_parent(
        sb: *mut bindings::super_block,
        fid: *mut bindings::fid,
        len: c_int,
        kind: c_int,
    ) -> *mut bindings::dentry {
        // SAFETY: By the function's requirements, which are those of the callback.
        unsafe { bindings::generic_fh_to_parent(sb, fid, len, kind, Some(Self::get_inode)) }
    }

    /// The inode of a handle, with a reference for the caller, or an error as a pointer. A handle of a parent may lack
    /// the generation, and has a zero then.
    ///
    /// # Safety
    ///
    /// `sb` must be a mounted super block of `T`.
    unsafe extern "C" fn get_inode(
        sb: *mut bindings::super_block,
        number: u64,
        generation: u32,
    ) -> *mut bindings::inode {
        // SAFETY: By the function's requirements.
        let sb = unsafe { SuperBlock::<T>::from_raw(sb) };
        match T::find_handle(sb, number, (generation != 0).then_some(generation)) {
            Ok(inode) => inode.into_raw(),
            Err(error) => error.to_ptr(),
        }
    }

    /// `get_parent`.
    ///
    /// # Safety
    ///
    /// For exportfs (`reconnect_one()`), with the dentry of a directory of `T`, whose `i_rwsem` is held exclusively.
    unsafe extern "C" fn get_parent(child: *mut bindings::dentry) -> *mut bindings::dentry {
        // SAFETY: By the function's requirements; an inode with a dentry is ready.
        let dir = unsafe { INode::<T>::from_raw((*child).d_inode) };
        let parent = match T::parent(dir) {
            Ok(inode) => inode.into_raw(),
            Err(error) => error.to_ptr(),
        };
        // SAFETY: An inode, whose reference passes on, or an error.
        unsafe { bindings::d_obtain_alias(parent) }
    }

    /// `commit_metadata`.
    ///
    /// # Safety
    ///
    /// For whoever serves files to others (`commit_inode_metadata()` of nfsd), with an inode of `T` that is ready and
    /// stays.
    unsafe extern "C" fn commit_metadata(inode: *mut bindings::inode) -> c_int {
        // SAFETY: By the function's requirements.
        let inode = unsafe { INode::<T>::from_raw(inode) };
        from_result(|| {
            T::commit(inode)?;
            Ok(0)
        })
    }
}
