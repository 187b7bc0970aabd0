// SPDX-License-Identifier: GPL-2.0

//! The memory of inodes: their slab cache, and what the super block's operations do when an inode comes and goes.
//!
//! # Invariants
//!
//! The filesystem's data is dropped when nobody can find or refer to the inode any more; the memory is given back after
//! a grace period, as lookups under RCU may still read the VFS's part.
//!
//! C header: [`include/linux/fs/super_types.h`](srctree/include/linux/fs/super_types.h)

use super::super::{
    bindings,
    compat,
    fs::{
        FileSystem,
        Registration, //
    },
    iomap::ioend::Queue,
    quota::Counted, //
};
use super::{
    Common,
    INode,
    Kind, //
};
use core::ptr;
use kernel::{
    ffi::c_void,
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Relaxed, //
    }, //
};

impl<T: FileSystem> INode<T> {
    /// Makes the slab cache of the inodes of `T`.
    pub(in crate::linux) fn create_cache(name: &'static CStr) -> Result<*mut bindings::kmem_cache> {
        /// # Safety
        ///
        /// For the slab allocator, with a new object of the cache, of the size of `INode<T>`.
        unsafe extern "C" fn construct<T: FileSystem>(object: *mut c_void) {
            // SAFETY: By the function's requirements; an `INode<T>` starts with the inode.
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
        // SAFETY: By the function's requirements.
        let cache = unsafe { Registration::<T>::cache_of(sb) };
        // SAFETY: The cache is live as long as there are super blocks.
        let inode = unsafe { bindings::alloc_inode_sb(sb, cache) };
        if inode.is_null() {
            return inode.cast();
        }
        let this = inode.cast::<Self>();
        // The VFS leaves the last one's.
        // SAFETY: A new object of the cache: ours alone.
        unsafe { (*this.cast::<bindings::inode>()).i_mode = 0 };
        // SAFETY: As above.
        unsafe { ptr::addr_of_mut!((*this).head.counted).write(Counted::new()) };
        // SAFETY: As above.
        unsafe { ptr::addr_of_mut!((*this).has_data).write(Atomic::new(false)) };
        // SAFETY: As above, and inodes do not move.
        unsafe { compat::raw_init(ptr::addr_of_mut!((*this).writes), Queue::new()) };
        inode.cast()
    }

    /// The inode, if it has its data already.
    ///
    /// # Safety
    ///
    /// `inode` must be an inode of a super block of `T` that is not destroyed while the reference lives.
    pub(in crate::linux) unsafe fn if_ready<'a>(inode: *mut bindings::inode) -> Option<&'a Self> {
        // SAFETY: By the function's requirements.
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
        // Lookups under RCU may still read the VFS's part, but do not come to the filesystem's data.
        // SAFETY: By the function's requirements; initialised when the inode was allocated.
        if unsafe { (*this).has_data.xchg(false, Relaxed) } {
            // SAFETY: By the function's requirements; initialised, as it was set.
            unsafe { (*(*this).data.get()).assume_init_drop() };
        }
    }

    /// `super_operations::free_inode`: gives the memory back.
    ///
    /// # Safety
    ///
    /// `inode` must be an inode of a super block of `T` that was destroyed, after a grace period of RCU.
    pub(in crate::linux) unsafe extern "C" fn free_callback(inode: *mut bindings::inode) {
        // SAFETY: By the function's requirements; `Common` is a transparent wrapper.
        if unsafe { (*inode.cast::<Common>()).kind() } == Some(Kind::Symlink) {
            // SAFETY: Nobody uses the inode. `i_link` is null or was allocated by `New::init`: the union has no other
            // user in inodes that are links, and no inode changes its type.
            unsafe { bindings::kfree((*inode).__bindgen_anon_5.i_link.cast()) };
        }
        // Not by the cache: the way to that is through the super block, whose own callback may have come first.
        // SAFETY: By the function's requirements; from the slab cache.
        unsafe { bindings::kfree(inode.cast()) };
    }

    /// `super_operations::evict_inode`: the last that is done with an inode that has no references.
    ///
    /// # Safety
    ///
    /// `inode` must be an inode of a super block of `T` that is being evicted.
    pub(in crate::linux) unsafe extern "C" fn evict_callback(inode: *mut bindings::inode) {
        // SAFETY: By the function's requirements; `Common` is a transparent wrapper.
        if unsafe { (*inode.cast::<Common>()).is_dax() } {
            // Before the blocks are freed nobody may use them as memory any more: it is waited for.
            // SAFETY: As above; nobody maps the file or brings something in, as there is no reference.
            unsafe { bindings::dax_break_layout_final(inode) };
        }
        // SAFETY: By the function's requirements. No borrow of the inode is left, nor comes, as it has no references.
        unsafe { bindings::truncate_inode_pages_final(&raw mut (*inode).i_data) };
        // Where something went wrong, an inode outlives the super block's data: then it is no `INode` for safe code.
        // SAFETY: By the function's requirements: an inode has its super block.
        if unsafe { !(*(*inode).i_sb).s_fs_info.is_null() } {
            // SAFETY: By the function's requirements. It may never have got its data.
            if let Some(this) = unsafe { Self::if_ready(inode) } {
                T::evict_inode(this);
                // It may have brought pages in again, say by zeroing; without any this is next to nothing.
                // SAFETY: As above.
                unsafe { bindings::truncate_inode_pages_final(&raw mut (*inode).i_data) };
            }
        }
        // SAFETY: The last that is done with the inode before it is destroyed; its pages are gone.
        unsafe { bindings::clear_inode(inode) };
        // SAFETY: As above.
        unsafe { bindings::dquot_drop(inode) };
    }
}
