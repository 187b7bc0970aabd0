// SPDX-License-Identifier: GPL-2.0

//! The memory of inodes: their slab cache, and what the super block's operations do when an inode comes and goes.
//!
//! # Invariants
//!
//! The filesystem's data is dropped when nobody can find or refer to the inode any more; the memory is given back after
//! a grace period, as lookups under RCU may still read the VFS's part.

use super::super::iomap::ioend::Queue;
use super::super::{
    bindings, compat,
    fs::{FileSystem, Registration},
};
use super::INode;
use core::ptr;
use kernel::{
    prelude::*,
    sync::atomic::{Acquire, Atomic, Relaxed},
};

impl<T: FileSystem> INode<T> {
    /// Makes the slab cache of the inodes of `T`.
    pub(in crate::linux) fn create_cache(name: &'static CStr) -> Result<*mut bindings::kmem_cache> {
        unsafe extern "C" fn construct<T: FileSystem>(object: *mut kernel::ffi::c_void) {
            // SAFETY: A new object of the cache, of the size of `INode<T>`, which starts with the inode.
            unsafe { bindings::inode_init_once(object.cast()) };
        }
        let mut args = bindings::kmem_cache_args {
            align: core::mem::align_of::<Self>() as u32,
            ctor: Some(construct::<T>),
            ..pin_init::zeroed()
        };
        // SAFETY: The name is static and the arguments are valid for the call.
        let cache = unsafe {
            bindings::__kmem_cache_create_args(
                name.as_ptr().cast(),
                core::mem::size_of::<Self>() as u32,
                &mut args,
                bindings::SLAB_RECLAIM_ACCOUNT | bindings::SLAB_ACCOUNT,
            )
        };
        if cache.is_null() {
            return Err(ENOMEM);
        }
        Ok(cache)
    }

    /// `super_operations::alloc_inode`: an inode that has no data of the filesystem's yet.
    ///
    /// # Safety
    ///
    /// `sb` must be a super block of `T`.
    pub(in crate::linux) unsafe extern "C" fn alloc_callback(
        sb: *mut bindings::super_block,
    ) -> *mut bindings::inode {
        // SAFETY: The VFS gives a super block of `T`.
        let inode = unsafe { bindings::alloc_inode_sb(sb, Registration::<T>::cache_of(sb)) };
        if !inode.is_null() {
            let this = inode.cast::<Self>();
            // SAFETY: A new object of the cache: ours alone, and inodes do not move.
            unsafe {
                // The VFS leaves the last one's.
                (*inode).i_mode = 0;
                ptr::addr_of_mut!((*this).has_data).write(Atomic::new(false));
                compat::raw_init(ptr::addr_of_mut!((*this).writes), Queue::new());
            }
        }
        inode.cast()
    }

    /// The inode, if it has its data already.
    ///
    /// # Safety
    ///
    /// `inode` must be an inode of a super block of `T` that is not destroyed while the reference lives.
    pub(in crate::linux) unsafe fn if_ready<'a>(inode: *mut bindings::inode) -> Option<&'a Self> {
        // SAFETY: Valid by the caller's promise.
        let this = unsafe { &*inode.cast::<Self>() };
        // INVARIANT: The data was there before this was set.
        this.has_data.load(Acquire).then_some(this)
    }

    /// `super_operations::destroy_inode`: drops the filesystem's data.
    ///
    /// # Safety
    ///
    /// `inode` must be an inode of a super block of `T` that nobody can find or refer to any more.
    pub(in crate::linux) unsafe extern "C" fn destroy_callback(inode: *mut bindings::inode) {
        let this = inode.cast::<Self>();
        // SAFETY: The VFS gives an inode that nobody can find or refer to any more. Lookups under RCU may
        // still read the VFS's part, but do not come to the filesystem's data.
        unsafe {
            if (*this).has_data.load(Relaxed) {
                (*this).has_data.store(false, Relaxed);
                (*(*this).data.get()).assume_init_drop();
            }
        }
    }

    /// `super_operations::free_inode`: gives the memory back.
    ///
    /// # Safety
    ///
    /// `inode` must be an inode of a super block of `T` that was destroyed, after a grace period of RCU.
    pub(in crate::linux) unsafe extern "C" fn free_callback(inode: *mut bindings::inode) {
        // SAFETY: The VFS gives an inode that nobody uses, after a grace period. `i_link` is null or was
        // allocated by `New::set_link`: the union has no other user in inodes that are links, and no inode changes its
        // type.
        unsafe {
            if bindings::inode_is_symlink(inode) {
                bindings::kfree((*inode).__bindgen_anon_5.i_link.cast());
            }
            // Not by the cache: the way to that is through the super block, whose own callback may have come first.
            bindings::kfree(inode.cast());
        }
    }

    /// `super_operations::evict_inode`: the last that is done with an inode that has no references.
    ///
    /// # Safety
    ///
    /// `inode` must be an inode of a super block of `T` that is being evicted.
    pub(in crate::linux) unsafe extern "C" fn evict_callback(inode: *mut bindings::inode) {
        let this = inode.cast::<Self>();
        // SAFETY: The VFS gives an inode without references. It may never have got its data, or, where
        // something went wrong, have outlived the super block's: then it is no `INode` for safe code.
        let ready =
            unsafe { (*this).has_data.load(Relaxed) && !(*(*inode).i_sb).s_fs_info.is_null() };
        // SAFETY: The inode is being evicted.
        unsafe { bindings::truncate_inode_pages_final(&mut (*inode).i_data) };
        if ready {
            // SAFETY: The invariants hold, as was just checked.
            T::evict_inode(unsafe { &*this });
        }
        // SAFETY: The last that is done with the inode before it is destroyed; its pages are gone.
        unsafe { bindings::clear_inode(inode) };
    }
}
