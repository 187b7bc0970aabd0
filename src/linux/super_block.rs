// SPDX-License-Identifier: GPL-2.0

//! Super blocks: one mounted filesystem each.
//!
//! C headers: [`include/linux/fs/super_types.h`](srctree/include/linux/fs/super_types.h)

use super::{
    bindings,
    block_device::BlockDevice,
    fs::{FileSystem, Wait},
    fs_context::FsContext,
    inode::INode,
    statfs::StatFs,
    time::Timestamp,
};
use core::{marker::PhantomData, ops::ControlFlow, ptr};
use kernel::{
    container_of,
    error::{from_result, to_result},
    prelude::*,
    seq_file::SeqFile,
    sync::Arc,
    types::{ForeignOwnable, Opaque},
};

/// A super block of filesystem `T`.
///
/// # Invariants
///
/// Wraps a valid `struct super_block` of a type that a [`super::fs::Registration`] of `T` registered.
/// `s_fs_info` is a reference on an [`Arc`] of `T::SuperData` from before the first use as a
/// `SuperBlock<T>` until after [`FileSystem::put_super`].
#[repr(transparent)]
pub(crate) struct SuperBlock<T: FileSystem>(Opaque<bindings::super_block>, PhantomData<T>);

// SAFETY: What can be changed through a shared reference is guarded by the VFS's locks or atomic; `T`'s
// data is `Send + Sync` by the bounds of the trait.
unsafe impl<T: FileSystem> Send for SuperBlock<T> {}
// SAFETY: As above.
unsafe impl<T: FileSystem> Sync for SuperBlock<T> {}

impl<T: FileSystem> SuperBlock<T> {
    /// # Safety
    ///
    /// The type's invariants must hold for `sb`, for the lifetime of the reference.
    pub(super) unsafe fn from_raw<'a>(sb: *mut bindings::super_block) -> &'a Self {
        // SAFETY: `Self` is a transparent wrapper; the rest is the caller's promise.
        unsafe { &*sb.cast() }
    }

    /// The C structure.
    pub(super) fn as_raw(&self) -> *mut bindings::super_block {
        self.0.get()
    }

    /// The filesystem's own data.
    pub(crate) fn data(&self) -> &T::SuperData {
        // SAFETY: By the type's invariants a live `Arc` for as long as `self` is used; the reference that
        // `s_fs_info` is keeps the value. `Arc::into_foreign` gives the address that `borrow` takes.
        let data =
            unsafe { <Arc<T::SuperData> as ForeignOwnable>::borrow((*self.as_raw()).s_fs_info) };
        // SAFETY: As above: the value lives for as long as `self` may be used.
        unsafe { &*ptr::from_ref::<T::SuperData>(&data) }
    }

    /// Whether nothing may be changed.
    pub(crate) fn is_read_only(&self) -> bool {
        // SAFETY: Valid by the type's invariants; other bits of the word may change meanwhile.
        unsafe {
            ptr::addr_of!((*self.as_raw()).s_flags).read_volatile() & bindings::SB_RDONLY != 0
        }
    }

    /// The block size in bytes.
    pub(crate) fn block_size(&self) -> u32 {
        // SAFETY: Valid by the type's invariants, and not changed after the mount.
        unsafe { (*self.as_raw()).s_blocksize as u32 }
    }

    /// The device.
    pub(crate) fn block_device(&self) -> Result<BlockDevice> {
        // SAFETY: Valid by the type's invariants; the device is open as long as there is data.
        unsafe { BlockDevice::of_super(self.as_raw()) }
    }

    /// Writes out all dirty data and waits until it is on the device, which makes `ENOSPC` definite: what was reserved
    /// for it and not needed is given back then. Meanwhile callers pile up here and not on the device.
    ///
    /// The caller must hold no lock of an inode. Does nothing while a mount, remount or unmount is under way.
    pub(crate) fn try_to_write_back(&self) {
        // SAFETY: Valid by the type's invariants. The lock that the callee wants is held; as it is only tried, who
        // holds it and waits for the caller is not waited for.
        unsafe {
            let lock = &raw mut (*self.as_raw()).s_umount;

            if bindings::down_read_trylock(lock) != 0 {
                bindings::sync_inodes_sb(self.as_raw());
                bindings::up_read(lock);
            }
        }
    }

    /// Writes out and waits for all that is dirty, as `sync(2)` does. For [`FileSystem::reconfigure`], which the VFS
    /// calls with the necessary lock.
    pub(crate) fn write_out(&self) -> Result {
        // SAFETY: Valid by the type's invariants.
        to_result(unsafe { bindings::sync_filesystem(self.as_raw()) })
    }

    /// Gives `f` the filesystem's data of the inodes in memory, one after the other, until it says that it has had
    /// enough.
    ///
    /// The inodes themselves may be on their way out of memory, without a reference that could be shared: that is why
    /// `f` does not get them. It is called with a spinning lock held and must not sleep. Between inodes references may
    /// be given up, so the caller must be where an inode may be evicted: without a handle or a locked folio. An inode
    /// without links is evicted here only if its last link goes meanwhile, and so never while the mount is frozen.
    pub(crate) fn for_each_inode_data(&self, mut f: impl FnMut(&T::INodeData) -> ControlFlow<()>) {
        /// After so many inodes others get the lock.
        const AT_ONCE: u32 = 256;

        let sb = self.as_raw();
        let mut anchor: *mut bindings::inode = ptr::null_mut();
        // SAFETY: Valid by the type's invariants. The list is walked under its lock, and an inode is taken off the list
        // before it is destroyed; so it and its data live while the lock is held, or while there is a reference, as to
        // `anchor`. `f` can keep no borrow of the data beyond its call, and the lock is held throughout that.
        unsafe {
            let head = ptr::addr_of_mut!((*sb).s_inodes);
            bindings::lock_inode_list(sb);
            let mut at = (*head).next;
            let mut left = AT_ONCE;
            while at != head {
                let inode = container_of!(at, bindings::inode, i_sb_list);
                if let Some(inode) = INode::<T>::if_ready(inode) {
                    if f(inode.data()).is_break() {
                        break;
                    }
                }
                left = left.saturating_sub(1);
                if left == 0 {
                    // The next one may go while the lock is not held; this one may not. One that is on its way out is
                    // no anchor, nor is one without links: ours might be the last reference, and evicting it waits
                    // until a freeze has ended, which may wait for our caller's `s_umount`.
                    let linked = (*inode).__bindgen_anon_1.i_nlink != 0;
                    let next = if linked {
                        bindings::igrab(inode)
                    } else {
                        ptr::null_mut()
                    };
                    if !next.is_null() {
                        bindings::unlock_inode_list(sb);
                        bindings::iput(anchor);
                        anchor = next;
                        bindings::lock_inode_list(sb);
                        left = AT_ONCE;
                    }
                }
                at = (*at).next;
            }
            bindings::unlock_inode_list(sb);
            bindings::iput(anchor);
        }
    }

    /// Keeps the filesystem from being frozen while the guard lives. Waits while it is.
    pub(crate) fn internal_write(&self) -> InternalWrite<'_, T> {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::sb_start_intwrite(self.as_raw()) };
        InternalWrite(self)
    }

    /// As [`Self::internal_write`], but does not wait: `None` while the filesystem is frozen.
    pub(crate) fn try_internal_write(&self) -> Option<InternalWrite<'_, T>> {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::sb_start_intwrite_trylock(self.as_raw()) }.then_some(InternalWrite(self))
    }
}

/// A change that the filesystem makes by itself. Made by [`SuperBlock::internal_write`] and
/// [`SuperBlock::try_internal_write`].
pub(crate) struct InternalWrite<'a, T: FileSystem>(&'a SuperBlock<T>);

impl<T: FileSystem> Drop for InternalWrite<'_, T> {
    fn drop(&mut self) {
        // SAFETY: Pairs with the call that made the guard.
        unsafe { bindings::sb_end_intwrite(self.0.as_raw()) };
    }
}

/// A super block that is being set up: its data is not there yet.
///
/// # Invariants
///
/// A valid super block whose device is open and which nobody else uses.
pub(crate) struct New<'a, T: FileSystem>(*mut bindings::super_block, PhantomData<(&'a (), T)>);

impl<T: FileSystem> New<'_, T> {
    /// The name of the device, for messages.
    pub(crate) fn id(&self) -> &CStr {
        // SAFETY: Set once, when the device was opened, and ended by a zero.
        unsafe { CStr::from_char_ptr((*self.0).s_id.as_ptr()) }
    }

    /// Sets the block size to `wanted` bytes or the least that the device can do, and returns it.
    pub(crate) fn set_min_block_size(&self, wanted: u32) -> Result<u32> {
        // SAFETY: Valid by the type's invariants, and nobody else uses the super block.
        match unsafe { bindings::sb_min_blocksize(self.0, wanted as i32) } {
            0 => Err(EINVAL),
            size => Ok(size as u32),
        }
    }

    /// Sets the block size in bytes.
    ///
    /// # Errors
    ///
    /// `EINVAL` where the device or the kernel cannot do it.
    pub(crate) fn set_block_size(&self, bytes: u32) -> Result {
        // SAFETY: Valid by the type's invariants, and nobody else uses the super block.
        match unsafe { bindings::sb_set_blocksize(self.0, bytes as i32) } {
            0 => Err(EINVAL),
            _ => Ok(()),
        }
    }

    /// The device.
    pub(crate) fn block_device(&self) -> Result<BlockDevice> {
        // SAFETY: Valid by the type's invariants; the device is open.
        unsafe { BlockDevice::of_super(self.0) }
    }

    /// Sets what the VFS has to know.
    pub(crate) fn set_limits(&self, limits: &Limits) {
        // SAFETY: Valid by the type's invariants, and nobody else uses the super block.
        unsafe {
            (*self.0).s_magic = limits.magic as _;
            (*self.0).s_maxbytes = limits.max_bytes;
            (*self.0).s_max_links = limits.max_links;
            (*self.0).s_time_gran = limits.time_granularity;
            (*self.0).s_time_min = limits.time_min.seconds;
            (*self.0).s_time_max = limits.time_max.seconds;
        }
    }

    /// Sets the filesystem's UUID.
    pub(crate) fn set_uuid(&self, uuid: &[u8; 16]) {
        // SAFETY: Valid by the type's invariants, and nobody else uses the super block.
        unsafe {
            (*self.0).s_uuid.b = *uuid;
            (*self.0).s_uuid_len = uuid.len() as u8;
        }
    }

    /// Inodes have a version that changes with them.
    pub(crate) fn set_inode_versions(&self) {
        // SAFETY: Valid by the type's invariants, and nobody else uses the super block.
        unsafe { (*self.0).s_flags |= bindings::SB_I_VERSION };
    }

    /// Page cache of this filesystem is accounted to the control group that dirtied it.
    pub(crate) fn set_cgroup_writeback(&self) {
        // SAFETY: Valid by the type's invariants, and nobody else uses the super block.
        unsafe { (*self.0).s_iflags |= bindings::SB_I_CGROUPWB as kernel::ffi::c_ulong };
    }
}

/// What [`New::set_limits`] sets.
pub(crate) struct Limits {
    /// `f_type` of `statfs(2)`.
    pub(crate) magic: u32,
    /// The largest size of a file in bytes.
    pub(crate) max_bytes: i64,
    /// The most links to an inode; 0 where the filesystem looks after that itself.
    pub(crate) max_links: u32,
    /// The granularity of timestamps in nanoseconds.
    pub(crate) time_granularity: u32,
    /// The earliest timestamp; only its seconds count.
    pub(crate) time_min: Timestamp,
    /// The latest timestamp; only its seconds count.
    pub(crate) time_max: Timestamp,
}

/// Fills a new super block of `T`.
///
/// # Safety
///
/// `sb` must be a super block of the type that `T` registered, with an open device, that nobody else uses.
pub(super) unsafe fn fill<T: FileSystem>(
    sb: *mut bindings::super_block,
    context: &FsContext,
    options: T::Options,
) -> Result {
    // SAFETY: Nobody else uses it yet.
    unsafe { (*sb).s_op = &Table::<T>::OPERATIONS };
    // INVARIANT: By the caller's promise.
    let data = T::fill_super(&New(sb, PhantomData), context, options)?;
    // SAFETY: Nobody else uses it yet.
    unsafe { (*sb).s_fs_info = data.into_foreign().cast() };

    // SAFETY: The data is there now.
    let this = unsafe { SuperBlock::<T>::from_raw(sb) };
    let root = T::root(this, context).and_then(|inode| {
        // SAFETY: The inode is valid; its reference goes to the dentry, or is dropped by the call.
        let root = unsafe { bindings::d_make_root(inode.into_raw()) };
        if root.is_null() {
            return Err(ENOMEM);
        }
        Ok(root)
    });
    match root {
        Ok(root) => {
            // SAFETY: Nobody else uses it yet.
            unsafe { (*sb).s_root = root };
            Ok(())
        }
        Err(error) => {
            // SAFETY: Without a root the VFS does not call `put_super`, so this is the only call.
            unsafe { finish::<T>(sb) };
            Err(error)
        }
    }
}

/// Ends the filesystem's part of a super block.
///
/// # Safety
///
/// The data must be set; called once.
unsafe fn finish<T: FileSystem>(sb: *mut bindings::super_block) {
    // SAFETY: The data is there by the caller's promise.
    T::put_super(unsafe { SuperBlock::<T>::from_raw(sb) });
    // SAFETY: Nobody uses the super block as a `SuperBlock<T>` any more, so this reference can go.
    drop(unsafe {
        let data = core::mem::replace(&mut (*sb).s_fs_info, ptr::null_mut());
        <Arc<T::SuperData> as ForeignOwnable>::from_foreign(data)
    });
}

/// `kill_sb` of filesystem `T`.
///
/// # Safety
///
/// For the VFS only.
pub(super) unsafe extern "C" fn kill_callback<T: FileSystem>(sb: *mut bindings::super_block) {
    // SAFETY: The VFS gives a super block of ours, which is on a block device.
    unsafe { bindings::kill_block_super(sb) };
}

/// The operations of the super blocks of `T`.
struct Table<T>(PhantomData<T>);

impl<T: FileSystem> Table<T> {
    const OPERATIONS: bindings::super_operations = bindings::super_operations {
        alloc_inode: Some(INode::<T>::alloc_callback),
        destroy_inode: Some(INode::<T>::destroy_callback),
        free_inode: Some(INode::<T>::free_callback),
        dirty_inode: Some(Self::dirty_inode),
        write_inode: Some(Self::write_inode),
        evict_inode: Some(INode::<T>::evict_callback),
        put_super: Some(Self::put_super),
        sync_fs: Some(Self::sync_fs),
        freeze_fs: Some(Self::freeze_fs),
        unfreeze_fs: Some(Self::unfreeze_fs),
        shutdown: Some(Self::shutdown),
        statfs: Some(Self::statfs),
        show_options: Some(Self::show_options),
        nr_cached_objects: Some(Self::nr_cached_objects),
        free_cached_objects: Some(Self::free_cached_objects),
        ..pin_init::zeroed()
    };

    unsafe extern "C" fn dirty_inode(inode: *mut bindings::inode, _flags: kernel::ffi::c_int) {
        // SAFETY: Only inodes that are set up become dirty.
        T::dirty_inode(unsafe { INode::from_raw(inode) });
    }

    unsafe extern "C" fn write_inode(
        inode: *mut bindings::inode,
        wbc: *mut bindings::writeback_control,
    ) -> kernel::ffi::c_int {
        // SAFETY: The VFS gives a valid structure. During `sync(2)` the filesystem's `sync_fs` waits once for
        // everything.
        let wait = unsafe {
            if (*wbc).sync_mode == bindings::writeback_sync_modes_WB_SYNC_ALL
                && (*wbc).for_sync() == 0
            {
                Wait::Yes
            } else {
                Wait::No
            }
        };
        from_result(|| {
            // SAFETY: Only inodes that are set up are written.
            T::write_inode(unsafe { INode::from_raw(inode) }, wait)?;
            Ok(0)
        })
    }

    unsafe extern "C" fn put_super(sb: *mut bindings::super_block) {
        // SAFETY: The VFS calls this once, for a super block that has a root and so its data.
        unsafe { finish::<T>(sb) };
    }

    unsafe extern "C" fn sync_fs(
        sb: *mut bindings::super_block,
        wait: kernel::ffi::c_int,
    ) -> kernel::ffi::c_int {
        let wait = if wait != 0 { Wait::Yes } else { Wait::No };
        from_result(|| {
            // SAFETY: The VFS gives a mounted super block.
            T::sync_fs(unsafe { SuperBlock::from_raw(sb) }, wait)?;
            Ok(0)
        })
    }

    unsafe extern "C" fn freeze_fs(sb: *mut bindings::super_block) -> kernel::ffi::c_int {
        from_result(|| {
            // SAFETY: The VFS gives a mounted super block.
            T::freeze_fs(unsafe { SuperBlock::from_raw(sb) })?;
            Ok(0)
        })
    }

    unsafe extern "C" fn unfreeze_fs(sb: *mut bindings::super_block) -> kernel::ffi::c_int {
        from_result(|| {
            // SAFETY: The VFS gives a mounted super block.
            T::unfreeze_fs(unsafe { SuperBlock::from_raw(sb) })?;
            Ok(0)
        })
    }

    unsafe extern "C" fn shutdown(sb: *mut bindings::super_block) {
        // SAFETY: The VFS gives a mounted super block, which it keeps from being unmounted.
        T::shutdown(unsafe { SuperBlock::from_raw(sb) });
    }

    unsafe extern "C" fn statfs(
        dentry: *mut bindings::dentry,
        to: *mut kernel::bindings::kstatfs,
    ) -> kernel::ffi::c_int {
        from_result(|| {
            // SAFETY: The VFS gives a dentry of a mounted super block, and a structure that is ours to fill.
            let (sb, to) = unsafe {
                (
                    SuperBlock::from_raw((*dentry).d_sb),
                    StatFs::from_raw(to.cast()),
                )
            };
            T::statfs(sb, to)?;
            Ok(0)
        })
    }

    unsafe extern "C" fn show_options(
        seq: *mut bindings::seq_file,
        root: *mut bindings::dentry,
    ) -> kernel::ffi::c_int {
        // SAFETY: The VFS gives a valid file, used by one task, and a dentry of a mounted super block.
        unsafe { T::show_options(SuperBlock::from_raw((*root).d_sb), SeqFile::from_raw(seq)) };
        0
    }

    unsafe extern "C" fn nr_cached_objects(
        sb: *mut bindings::super_block,
        _control: *mut bindings::shrink_control,
    ) -> kernel::ffi::c_long {
        // SAFETY: The VFS gives a super block that is mounted; it ends shrinking before it unmounts.
        let objects = T::cached_objects(unsafe { SuperBlock::from_raw(sb) });
        kernel::ffi::c_long::try_from(objects).unwrap_or(kernel::ffi::c_long::MAX)
    }

    unsafe extern "C" fn free_cached_objects(
        sb: *mut bindings::super_block,
        control: *mut bindings::shrink_control,
    ) -> kernel::ffi::c_long {
        // SAFETY: As in `nr_cached_objects`; the VFS gives a valid structure.
        let (sb, wanted) = unsafe {
            (
                SuperBlock::<T>::from_raw(sb),
                (*control).nr_to_scan as usize,
            )
        };
        let freed = T::free_cached_objects(sb, wanted);
        kernel::ffi::c_long::try_from(freed).unwrap_or(kernel::ffi::c_long::MAX)
    }
}
