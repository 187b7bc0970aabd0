// SPDX-License-Identifier: GPL-2.0

//! Super blocks: one mounted filesystem each.
//!
//! C headers: [`include/linux/fs/super_types.h`](srctree/include/linux/fs/super_types.h)
//!
//! A super block is the VFS's, lent for a call; what belongs to it is the filesystem's, and stays until the VFS
//! unmounts it.
//!
//! # Locks
//!
//! See [`FileSystem`].
//!
//! # Examples
//!
//! ```ignore
//! fn put_super(sb: &SuperBlock<MyFs>) {
//!     sb.for_each_inode_data(|data| {
//!         data.forget();
//!         ControlFlow::Continue(())
//!     });
//! }
//! ```

use super::{
    bindings,
    block_device::BlockDevice,
    buffer::BufferCache,
    dax,
    debugfs::Folder,
    exportfs::{
        self,
        Handles, //
    },
    fs::{
        FileSystem,
        Registration,
        Wait, //
    },
    fs_context::FsContext,
    fserror::{
        Link,
        Reporter, //
    },
    inode::{
        Common,
        INode,
        TIMES_CHANGED, //
    },
    quota,
    statfs::StatFs,
    sysfs,
    task,
    time::Timestamp,
    workqueue::{
        self,
        OwnedQueue, //
    }, //
};
use core::{
    marker::PhantomData,
    mem,
    ops::{
        ControlFlow,
        Deref, //
    },
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    container_of,
    error::{
        from_result,
        to_result, //
    },
    ffi::{
        c_int,
        c_long, //
    },
    page::PAGE_SIZE,
    prelude::*,
    seq_file::SeqFile,
    str::CString,
    sync::Arc,
    types::{
        ForeignOwnable,
        NotThreadSafe,
        Opaque, //
    }, //
};

/// A super block of filesystem `T`.
///
/// # Invariants
///
/// Wraps a valid `struct super_block` of a type that a [`super::fs::Registration`] of `T` registered.
/// `s_fs_info` is a [`KBox`] of a `Mount<T>` from before the first use as a `SuperBlock<T>` until after
/// [`FileSystem::put_super`].
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
        // SAFETY: `Self` is a transparent wrapper; the rest is the function's requirements.
        unsafe { &*sb.cast() }
    }

    /// The C structure.
    pub(super) fn as_raw(&self) -> *mut bindings::super_block {
        self.0.get()
    }

    /// The filesystem's own data.
    pub(crate) fn data(&self) -> &T::SuperData {
        &self.mount().data
    }

    /// The queue in which writes are completed.
    pub(super) fn completions(&self) -> &OwnedQueue {
        &self.mount().completions
    }

    fn mount(&self) -> &Mount<T> {
        // SAFETY: Valid by the type's invariants, and not changed while `self` is used.
        let mount = unsafe { (*self.as_raw()).s_fs_info };
        // SAFETY: By the type's invariants it is that, and lives for as long as `self` is used.
        unsafe { &*mount.cast::<Mount<T>>() }
    }

    /// Whether nothing may be changed.
    pub(crate) fn is_read_only(&self) -> bool {
        // SAFETY: Valid by the type's invariants; other bits of the word may change meanwhile.
        unsafe {
            ptr::addr_of!((*self.as_raw()).s_flags).read_volatile() & bindings::SB_RDONLY != 0
        }
    }

    /// Whether access control lists decide who may do what.
    pub(crate) fn has_acls(&self) -> bool {
        // SAFETY: Valid by the type's invariants; other bits of the word may change meanwhile.
        unsafe {
            ptr::addr_of!((*self.as_raw()).s_flags).read_volatile() & bindings::SB_POSIXACL != 0
        }
    }

    /// The block size in bytes.
    pub(crate) fn block_size(&self) -> u32 {
        // SAFETY: Valid by the type's invariants, and not changed after the mount.
        unsafe { (*self.as_raw()).s_blocksize as u32 }
    }

    /// How many bytes the device can write such that all or nothing is there after a power cut, at least and at most,
    /// at a multiple of their number: zeros where it cannot.
    pub(crate) fn atomic_write_limits(&self) -> (u32, u32) {
        // SAFETY: Valid by the type's invariants; the device is open as long as there is data.
        let device = unsafe { (*self.as_raw()).s_bdev };
        if device.is_null() {
            return (0, 0);
        }
        // SAFETY: As above.
        let least = unsafe { bindings::bdev_atomic_write_unit_min_bytes(device) };
        // SAFETY: As above.
        (least, unsafe {
            bindings::bdev_atomic_write_unit_max_bytes(device)
        })
    }

    /// The device.
    pub(crate) fn block_device(&self) -> Result<BlockDevice> {
        // SAFETY: Valid by the type's invariants; the device is open as long as there is data.
        unsafe { BlockDevice::of_super(self.as_raw()) }
    }

    /// The memory that the device is, if it is memory and files can use it as such: blocks are as large as pages.
    #[inline]
    pub(crate) fn dax_device(&self) -> Option<&dax::Device> {
        self.mount().dax.as_ref()
    }

    /// Writes out all dirty data and waits until it is on the device, which makes `ENOSPC` definite: what was reserved
    /// for it and not needed is given back then. Meanwhile callers pile up here and not on the device. Does nothing
    /// while a mount, remount or unmount is under way.
    ///
    /// # Locks
    ///
    /// Who holds a lock that writing back takes, as that of a folio, or a handle, may wait for itself without end. That
    /// is all that can come of it: the only lock that the callee counts on, `s_umount`, is taken here.
    pub(crate) fn try_to_write_back(&self) {
        // SAFETY: Valid by the type's invariants.
        let lock = unsafe { &raw mut (*self.as_raw()).s_umount };

        // As it is only tried, who holds it and waits for the caller is not waited for.
        // SAFETY: Valid as above.
        if unsafe { bindings::down_read_trylock(lock) } != 0 {
            // SAFETY: Valid by the type's invariants, and the lock that the callee wants is held.
            unsafe { bindings::sync_inodes_sb(self.as_raw()) };
            // SAFETY: Locked above.
            unsafe { bindings::up_read(lock) };
        }
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

        let mut list = InodeList::lock(self);
        let mut left = AT_ONCE;
        while let Some(inode) = list.next() {
            // SAFETY: The inode is on the list and not destroyed before the lock is given up; `f` can keep no borrow
            // of it beyond its call.
            if let Some(inode) = unsafe { INode::<T>::if_ready(inode.as_ptr()) } {
                if f(inode.data()).is_break() {
                    break;
                }
            }
            left = left.saturating_sub(1);
            if left == 0 && list.pause() {
                left = AT_ONCE;
            }
        }
    }

    /// Keeps the filesystem from being frozen while the guard lives. Waits while it is.
    pub(crate) fn internal_write(&self) -> InternalWrite<'_, T> {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::sb_start_intwrite(self.as_raw()) };
        InternalWrite(self, NotThreadSafe)
    }

    /// As [`Self::internal_write`], but does not wait: `None` while the filesystem is frozen.
    pub(crate) fn try_internal_write(&self) -> Option<InternalWrite<'_, T>> {
        // SAFETY: Valid by the type's invariants.
        let taken = unsafe { bindings::sb_start_intwrite_trylock(self.as_raw()) };
        // `then`, not `then_some`: the guard must not be made where nothing was taken.
        taken.then(|| InternalWrite(self, NotThreadSafe))
    }
}

impl<T: FileSystem> SuperBlock<T> {
    /// Keeps the filesystem from being frozen, for a fault. Waits while it is.
    pub(super) fn pagefault(&self) -> Pagefault<'_, T> {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::sb_start_pagefault(self.as_raw()) };
        Pagefault(self, NotThreadSafe)
    }
}

/// A super block whose `s_umount` the VFS holds for the call that it lends this to, exclusively: it stays mounted, and
/// is neither frozen nor changed by others.
///
/// # Invariants
///
/// The lock is held by this task for the lifetime.
pub(crate) struct Locked<'a, T: FileSystem>(&'a SuperBlock<T>, NotThreadSafe);

impl<'a, T: FileSystem> Locked<'a, T> {
    /// # Safety
    ///
    /// The invariants of [`SuperBlock`] must hold for `sb`, and this task must hold its `s_umount` exclusively, for the
    /// lifetime.
    pub(super) unsafe fn from_raw(sb: *mut bindings::super_block) -> Self {
        // INVARIANT: By the function's requirements.
        // SAFETY: By the function's requirements.
        Self(unsafe { SuperBlock::from_raw(sb) }, NotThreadSafe)
    }

    /// The super block.
    pub(crate) fn get(&self) -> &'a SuperBlock<T> {
        self.0
    }

    /// Whether access control lists decide who may do what, from now on.
    pub(crate) fn set_acls(&self, acls: bool) {
        self.set_flag(bindings::SB_POSIXACL, acls);
    }

    /// Whether the VFS takes it for read-only, from now on; what it was.
    pub(super) fn set_read_only(&self, read_only: bool) -> bool {
        self.set_flag(bindings::SB_RDONLY, read_only)
    }

    /// Sets a flag, or takes it away; whether it was set.
    fn set_flag(&self, flag: kernel::ffi::c_ulong, on: bool) -> bool {
        // SAFETY: Valid by the invariants of the super block.
        let flags = unsafe { &raw mut (*self.as_raw()).s_flags };
        // SAFETY: As above; who changes flags holds its `s_umount`.
        let old = unsafe { flags.read_volatile() };
        let new = if on { old | flag } else { old & !flag };
        // SAFETY: As above.
        unsafe { flags.write_volatile(new) };
        old & flag != 0
    }

    /// Writes out and waits for all that is dirty, as `sync(2)` does.
    pub(crate) fn write_out(&self) -> Result {
        // SAFETY: Valid by the invariants of the super block, whose `s_umount` is held by those of the type.
        to_result(unsafe { bindings::sync_filesystem(self.as_raw()) })
    }
}

impl<T: FileSystem> Deref for Locked<'_, T> {
    type Target = SuperBlock<T>;

    fn deref(&self) -> &SuperBlock<T> {
        self.0
    }
}

/// What a mount has. Dropping it waits for the end of the last completion: none runs when the module goes away.
#[repr(C)]
struct Mount<T: FileSystem> {
    /// First, as it is asked for most.
    data: T::SuperData,
    completions: OwnedQueue,
    /// What debugfs has of it, as long as it has a root.
    folder: Folder,
    /// The same of sysfs.
    attributes: sysfs::Folder,
    dax: Option<dax::Device>,
    /// Dropped as the filesystem's part of the super block ends.
    _errors: Link,
}

/// A walk along the inodes of a super block, under the lock of the list.
///
/// # Invariants
///
/// The lock is held. `at` is the list's head, or part of an inode on the list, which stays there at least as long as
/// the lock is held. `anchor` is null or an inode of which the value has a reference.
struct InodeList<'a, T: FileSystem> {
    sb: &'a SuperBlock<T>,
    at: *mut bindings::list_head,
    anchor: *mut bindings::inode,
}

impl<'a, T: FileSystem> InodeList<'a, T> {
    /// Locks the list. The walk starts at its beginning.
    fn lock(sb: &'a SuperBlock<T>) -> Self {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::lock_inode_list(sb.as_raw()) };
        Self {
            sb,
            at: Self::head(sb),
            anchor: ptr::null_mut(),
        }
    }

    fn head(sb: &SuperBlock<T>) -> *mut bindings::list_head {
        // SAFETY: Valid by the type's invariants.
        unsafe { &raw mut (*sb.as_raw()).s_inodes }
    }

    /// The inode at `at`.
    fn inode(&self) -> Option<NonNull<bindings::inode>> {
        if self.at == Self::head(self.sb) {
            return None;
        }
        // SAFETY: By the type's invariants.
        NonNull::new(unsafe { container_of!(self.at, bindings::inode, i_sb_list) })
    }

    /// Goes on to the next inode, if there is one.
    fn next(&mut self) -> Option<NonNull<bindings::inode>> {
        // SAFETY: By the type's invariants. INVARIANT: What follows is on the list too.
        self.at = unsafe { (*self.at).next };
        self.inode()
    }

    /// Lets others have the lock, if the inode that the walk is at can be kept meanwhile. One that is on its way out
    /// cannot, nor is one without links: ours might be the last reference, and evicting it waits until a freeze has
    /// ended, which may wait for our caller's `s_umount`.
    fn pause(&mut self) -> bool {
        let Some(inode) = self.inode() else {
            return false;
        };
        // SAFETY: Valid by the type's invariants; `Common` is a transparent wrapper.
        if unsafe { inode.cast::<Common>().as_ref() }.links() == 0 {
            return false;
        }
        // SAFETY: Valid by the type's invariants.
        let inode = unsafe { bindings::igrab(inode.as_ptr()) };
        if inode.is_null() {
            return false;
        }
        // SAFETY: Locked by the type's invariants.
        unsafe { bindings::unlock_inode_list(self.sb.as_raw()) };
        // INVARIANT: The reference that was just taken keeps the inode on the list.
        let old = mem::replace(&mut self.anchor, inode);
        // SAFETY: Null, or the reference is ours.
        unsafe { bindings::iput(old) };
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::lock_inode_list(self.sb.as_raw()) };
        true
    }
}

impl<T: FileSystem> Drop for InodeList<'_, T> {
    fn drop(&mut self) {
        // SAFETY: Locked by the type's invariants.
        unsafe { bindings::unlock_inode_list(self.sb.as_raw()) };
        // SAFETY: Null, or the reference is ours.
        unsafe { bindings::iput(self.anchor) };
    }
}

/// A fault that changes something. Made by [`SuperBlock::pagefault`].
pub(super) struct Pagefault<'a, T: FileSystem>(&'a SuperBlock<T>, NotThreadSafe);

impl<T: FileSystem> Drop for Pagefault<'_, T> {
    fn drop(&mut self) {
        // SAFETY: Pairs with the call that made the guard.
        unsafe { bindings::sb_end_pagefault(self.0.as_raw()) };
    }
}

/// A change that the filesystem makes by itself. Made by [`SuperBlock::internal_write`] and
/// [`SuperBlock::try_internal_write`].
pub(crate) struct InternalWrite<'a, T: FileSystem>(&'a SuperBlock<T>, NotThreadSafe);

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
/// A valid super block whose device is open, and of which nobody else sets or reads what is set here.
pub(crate) struct New<'a, T: FileSystem> {
    sb: *mut bindings::super_block,
    dax: Option<dax::Device>,
    errors: &'a Arc<Reporter>,
    _p: PhantomData<T>,
}

impl<T: FileSystem> New<'_, T> {
    /// The C structure.
    pub(super) fn as_raw(&self) -> *mut bindings::super_block {
        self.sb
    }

    /// Whether the device is memory and files can use it as such, with the block size that is set.
    pub(crate) fn can_dax(&self) -> bool {
        // SAFETY: Valid by the type's invariants.
        let size = unsafe { (*self.sb).s_blocksize };
        self.dax.is_some() && size as usize == PAGE_SIZE
    }

    /// The name of the device, for messages.
    pub(crate) fn id(&self) -> &CStr {
        // SAFETY: Set once, when the device was opened, and ended by a zero.
        unsafe { CStr::from_char_ptr((*self.sb).s_id.as_ptr()) }
    }

    /// Tells of the errors of this mount.
    pub(crate) fn reporter(&self) -> &Arc<Reporter> {
        self.errors
    }

    /// A cache must be told when the block size of its device changes.
    fn check_cache(&self, cache: &BufferCache) -> Result {
        // SAFETY: Valid by the type's invariants, and not changed while it is mounted.
        let device = unsafe { (*self.sb).s_bdev };

        match cache.device().as_raw() == device {
            true => Ok(()),
            false => Err(EINVAL),
        }
    }

    /// Sets the block size to `bytes`. `cache` is the one of [`FileSystem::fill_super`]; a buffer of it that somebody
    /// has kept is of no use any more.
    ///
    /// # Errors
    ///
    /// `EINVAL` where the device or the kernel cannot do it: not with less than
    /// [`BlockDevice::logical_block_size`]. Also where the cache is that of another mount.
    pub(crate) fn set_block_size(&self, cache: &mut BufferCache, bytes: u32) -> Result {
        self.check_cache(cache)?;
        let bytes = i32::try_from(bytes).map_err(|_| EINVAL)?;
        // SAFETY: Valid by the type's invariants, and nobody else uses the super block.
        let size = unsafe { bindings::sb_set_blocksize(self.sb, bytes) };

        cache.update_block_size();
        match size {
            0 => Err(EINVAL),
            _ => Ok(()),
        }
    }

    /// Sets what the VFS has to know.
    pub(crate) fn set_limits(&self, limits: &Limits) {
        // SAFETY: Valid by the type's invariants, and nobody else uses the super block.
        unsafe { (*self.sb).s_magic = limits.magic as _ };
        // SAFETY: As above.
        unsafe { (*self.sb).s_maxbytes = limits.max_bytes };
        // SAFETY: As above.
        unsafe { (*self.sb).s_max_links = limits.max_links };
        // SAFETY: As above.
        unsafe { (*self.sb).s_time_gran = limits.time_granularity };
        // SAFETY: As above.
        unsafe { (*self.sb).s_time_min = limits.time_min.seconds };
        // SAFETY: As above.
        unsafe { (*self.sb).s_time_max = limits.time_max.seconds };
    }

    /// Sets the filesystem's UUID.
    pub(crate) fn set_uuid(&self, uuid: &[u8; 16]) {
        // SAFETY: Valid by the type's invariants, and nobody else uses the super block.
        unsafe { (*self.sb).s_uuid.b = *uuid };
        // SAFETY: As above.
        unsafe { (*self.sb).s_uuid_len = uuid.len() as u8 };
    }

    /// Quota can be on: what users, groups and projects have is counted.
    pub(crate) fn set_quota(&self) {
        // SAFETY: By the type's invariants it is being filled.
        unsafe { quota::Table::<T>::set(self.sb) };
    }

    /// The name of the device is what tells the filesystem apart from others of its type (`FS_IOC_GETFSSYSFSPATH`).
    pub(crate) fn set_name_by_device(&self) {
        let name = self.id().to_bytes();
        // SAFETY: Valid by the type's invariants, and nobody else uses the super block.
        let to = unsafe { &mut (*self.sb).s_sysfs_name };
        // The last byte stays zero.
        let room = to.len() - 1;
        for (to, from) in to.iter_mut().take(room).zip(name) {
            *to = *from as _;
        }
    }

    /// Inodes have a version that changes with them.
    pub(crate) fn set_inode_versions(&self) {
        // SAFETY: Valid by the type's invariants, and nobody else uses the super block.
        unsafe { (*self.sb).s_flags |= bindings::SB_I_VERSION };
    }

    /// Page cache of this filesystem is accounted to the control group that dirtied it.
    pub(crate) fn set_cgroup_writeback(&self) {
        // SAFETY: Valid by the type's invariants, and nobody else uses the super block.
        unsafe { (*self.sb).s_iflags |= bindings::SB_I_CGROUPWB as kernel::ffi::c_ulong };
    }

    /// Somebody who fills in the contents of files may be asked before they are used (`FAN_PRE_ACCESS`).
    pub(crate) fn set_hierarchical_storage(&self) {
        // SAFETY: Valid by the type's invariants, and nobody else uses the super block.
        unsafe { (*self.sb).s_iflags |= bindings::SB_I_ALLOW_HSM as kernel::ffi::c_ulong };
    }
}

impl<T: Handles> New<'_, T> {
    /// Files can be found by handles.
    pub(crate) fn set_handles(&self) {
        // SAFETY: Valid by the type's invariants, and nobody else uses the super block.
        unsafe { (*self.sb).s_export_op = exportfs::Table::<T>::operations() };
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

/// Whoever waits for memory may wait for the completion of a write, which runs wherever there is time for it.
const QUEUE: workqueue::Flags = workqueue::Flags::MEM_RECLAIM.with(workqueue::Flags::UNBOUND);

/// Fills a new super block of `T`.
///
/// # Safety
///
/// `sb` must be a super block of the type that a `Registration<T>` registered, with an open device, that nobody else
/// uses and that was not filled yet.
pub(super) unsafe fn fill<T: FileSystem>(
    sb: *mut bindings::super_block,
    context: &FsContext,
    options: T::Options,
) -> Result {
    // SAFETY: Nobody else uses it yet.
    unsafe { (*sb).s_op = &Table::<T>::OPERATIONS };
    // SAFETY: By the function's requirements.
    let device = unsafe { BlockDevice::of_super(sb)? };
    // SAFETY: The mount has claimed the device, and this is called once for a mount. Before an earlier one gave up its
    // claim, it has waited until its cache was gone.
    let cache = unsafe { BufferCache::new(device) };
    // SAFETY: Valid by the function's requirements. Dropped here, or with the data.
    let errors = unsafe { Link::new(sb)? };
    let reporter = errors.reporter().clone();
    // SAFETY: By the function's requirements.
    let dax = unsafe { dax::Device::of_super(sb) };
    // INVARIANT: By the function's requirements.
    let new = New {
        sb,
        dax,
        errors: &reporter,
        _p: PhantomData,
    };
    let mount = OwnedQueue::new(
        T::NAME,
        &*CString::try_from_fmt(fmt!("io-{}", new.id()))?,
        QUEUE,
    )
    .and_then(|completions| {
        let data = T::fill_super(&new, cache, context, options)?;
        let can_dax = new.can_dax();
        let mount = Mount::<T> {
            data,
            completions,
            folder: Folder::none(),
            attributes: sysfs::Folder::none(),
            dax: new.dax.filter(|_| can_dax),
            _errors: errors,
        };
        Ok(KBox::new(mount, GFP_KERNEL)?)
    })
    .inspect_err(|_| {
        // SAFETY: The device is open as long as the super block is there, and nobody asks it for the device any
        // more.
        unsafe { BlockDevice::wait_until_unused(sb) }
    })?;
    // SAFETY: Nobody else uses it yet.
    unsafe { (*sb).s_fs_info = mount.into_foreign().cast() };

    // SAFETY: The data is there now. Who mounts holds `s_umount`.
    let locked = unsafe { Locked::<T>::from_raw(sb) };
    let this = locked.get();
    let root = T::root(&locked, context).and_then(|inode| {
        // SAFETY: The inode is valid; its reference goes to the dentry, or is dropped by the call.
        NonNull::new(unsafe { bindings::d_make_root(inode.into_raw()) }).ok_or(ENOMEM)
    });
    match root {
        Ok(root) => {
            // SAFETY: Nobody else uses it yet.
            unsafe { (*sb).s_root = root.as_ptr() };
            // SAFETY: The type is registered, and stays so as long as there is a super block.
            let parent = unsafe { Registration::<T>::folder_of(sb) };
            // SAFETY: `kill_callback` removes the folder before anything of the super block goes.
            unsafe { this.mount().folder.fill(parent, this) };
            // SAFETY: As above.
            let top = unsafe { Registration::<T>::top_of(sb) };
            // SAFETY: As above; a registration is there as long as a super block is.
            unsafe { this.mount().attributes.fill(top, this) };
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
/// `sb` must be a super block of `T` that has its data; called once, when nobody but the caller uses it, with
/// `s_umount` held exclusively.
unsafe fn finish<T: FileSystem>(sb: *mut bindings::super_block) {
    // SAFETY: By the function's requirements.
    let this = unsafe { SuperBlock::<T>::from_raw(sb) };
    // SAFETY: By the function's requirements; who mounts or unmounts holds `s_umount`.
    unsafe { quota::disable(sb) };
    // Only a reference that was leaked is left of one: the inode would be used without its super block, and without the
    // module in the end.
    task::wait_until_unused("an inode", || InodeList::lock(this).next().is_none());
    T::put_super(this);
    // SAFETY: By the function's requirements.
    let mount = unsafe { mem::replace(&mut (*sb).s_fs_info, ptr::null_mut()) };
    // SAFETY: `fill` has set it, and nobody uses the super block as a `SuperBlock<T>` any more.
    drop(unsafe { <KBox<Mount<T>> as ForeignOwnable>::from_foreign(mount) });
    // Somebody may have the cache. The VFS gives the device up next.
    // SAFETY: The device is open as long as the super block is there, and nobody asks it for the device any more.
    unsafe { BlockDevice::wait_until_unused(sb) };
}

/// `kill_sb` of filesystem `T`.
///
/// # Safety
///
/// For the VFS (`deactivate_locked_super()`), with a super block of the type that a `Registration<T>` registered.
/// `s_umount` is held exclusively.
pub(super) unsafe extern "C" fn kill_callback<T: FileSystem>(sb: *mut bindings::super_block) {
    // SAFETY: By the function's requirements.
    if unsafe { !(*sb).s_root.is_null() } {
        // SAFETY: By the function's requirements. As `fill` has given it a root, it has its data.
        let this = unsafe { SuperBlock::<T>::from_raw(sb) };
        this.mount().folder.remove();
        this.mount().attributes.remove();
    }
    // SAFETY: By the function's requirements: it is on a block device.
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
        quota_read: Some(quota::Table::<T>::read),
        quota_write: Some(quota::Table::<T>::write),
        get_dquots: Some(quota::dquots_callback),
        nr_cached_objects: Some(Self::nr_cached_objects),
        free_cached_objects: Some(Self::free_cached_objects),
        ..pin_init::zeroed()
    };

    /// `dirty_inode`.
    ///
    /// # Safety
    ///
    /// For the VFS (`__mark_inode_dirty()`), with an inode of `T` that is ready: no other is marked dirty. Locks of the
    /// inode may be held, but no spinning lock.
    unsafe extern "C" fn dirty_inode(inode: *mut bindings::inode, flags: c_int) {
        let all = bindings::I_DIRTY_SYNC | bindings::I_DIRTY_DATASYNC;
        if flags & all == TIMES_CHANGED {
            return;
        }
        // SAFETY: By the function's requirements.
        let inode = unsafe { INode::from_raw(inode) };
        T::dirty_inode(inode);
    }

    /// `write_inode`.
    ///
    /// # Safety
    ///
    /// For the VFS (`write_inode()` of fs-writeback.c), with an inode of `T` that is ready, which has `I_SYNC` and so
    /// stays, and a valid control.
    unsafe extern "C" fn write_inode(
        inode: *mut bindings::inode,
        wbc: *mut bindings::writeback_control,
    ) -> c_int {
        // SAFETY: By the function's requirements.
        let wbc = unsafe { &*wbc };
        // During `sync(2)` the filesystem's `sync_fs` waits once for everything.
        let wait = match wbc.sync_mode {
            bindings::writeback_sync_modes_WB_SYNC_ALL if wbc.for_sync() == 0 => Wait::Yes,
            _ => Wait::No,
        };
        // SAFETY: By the function's requirements.
        let inode = unsafe { INode::from_raw(inode) };
        from_result(|| {
            T::write_inode(inode, wait)?;
            Ok(0)
        })
    }

    /// `put_super`.
    ///
    /// # Safety
    ///
    /// For the VFS (`generic_shutdown_super()`), with a super block that [`fill`] has filled, once. `s_umount` is held
    /// exclusively, and there are no inodes.
    unsafe extern "C" fn put_super(sb: *mut bindings::super_block) {
        // SAFETY: By the function's requirements: it has a root and so its data.
        unsafe { finish::<T>(sb) };
    }

    /// `sync_fs`.
    ///
    /// # Safety
    ///
    /// For the VFS (`sync_filesystem()`), with a super block that [`fill`] has filled, before [`Self::put_super`].
    /// `s_umount` is held, shared or exclusively.
    unsafe extern "C" fn sync_fs(sb: *mut bindings::super_block, wait: c_int) -> c_int {
        // SAFETY: By the function's requirements.
        let sb = unsafe { SuperBlock::from_raw(sb) };
        let wait = if wait != 0 { Wait::Yes } else { Wait::No };
        from_result(|| {
            T::sync_fs(sb, wait)?;
            Ok(0)
        })
    }

    /// `freeze_fs`.
    ///
    /// # Safety
    ///
    /// For the VFS (`freeze_super()`), with a mounted super block. `s_umount` is held exclusively.
    unsafe extern "C" fn freeze_fs(sb: *mut bindings::super_block) -> c_int {
        // SAFETY: By the function's requirements.
        let sb = unsafe { SuperBlock::from_raw(sb) };
        from_result(|| {
            T::freeze_fs(sb)?;
            Ok(0)
        })
    }

    /// `unfreeze_fs`.
    ///
    /// # Safety
    ///
    /// For the VFS (`thaw_super_locked()`), as [`Self::freeze_fs`].
    unsafe extern "C" fn unfreeze_fs(sb: *mut bindings::super_block) -> c_int {
        // SAFETY: By the function's requirements.
        let sb = unsafe { SuperBlock::from_raw(sb) };
        from_result(|| {
            T::unfreeze_fs(sb)?;
            Ok(0)
        })
    }

    /// `shutdown`.
    ///
    /// # Safety
    ///
    /// For the VFS (`fs_bdev_mark_dead()`), with a mounted super block. `s_umount` is held shared.
    unsafe extern "C" fn shutdown(sb: *mut bindings::super_block) {
        // SAFETY: By the function's requirements.
        let sb = unsafe { SuperBlock::from_raw(sb) };
        T::shutdown(sb);
    }

    /// `statfs`.
    ///
    /// # Safety
    ///
    /// For the VFS (`statfs_by_dentry()`), with a dentry of a mounted super block that has an inode, and a structure
    /// that is the caller's alone, cleared.
    unsafe extern "C" fn statfs(
        dentry: *mut bindings::dentry,
        to: *mut kernel::bindings::kstatfs,
    ) -> c_int {
        // SAFETY: By the function's requirements.
        let sb = unsafe { SuperBlock::from_raw((*dentry).d_sb) };
        // SAFETY: By the function's requirements: a dentry that is in use has an inode, which is ready.
        let inode = unsafe { INode::from_raw((*dentry).d_inode) };
        // SAFETY: By the function's requirements.
        let to = unsafe { StatFs::from_raw(to.cast()) };
        from_result(|| {
            T::statfs(sb, inode, to)?;
            Ok(0)
        })
    }

    /// `show_options`.
    ///
    /// # Safety
    ///
    /// For the VFS (`show_vfsmnt()`), with a file that one task uses, and a dentry of a mounted super block.
    unsafe extern "C" fn show_options(
        seq: *mut bindings::seq_file,
        root: *mut bindings::dentry,
    ) -> c_int {
        // SAFETY: By the function's requirements.
        let sb = unsafe { SuperBlock::from_raw((*root).d_sb) };
        // SAFETY: By the function's requirements.
        let seq = unsafe { SeqFile::from_raw(seq) };
        T::show_options(sb, seq);
        0
    }

    /// `nr_cached_objects`.
    ///
    /// # Safety
    ///
    /// For the shrinker of super blocks (`super_cache_count()`), with a super block that has a root: shrinking ends
    /// before it is unmounted.
    unsafe extern "C" fn nr_cached_objects(
        sb: *mut bindings::super_block,
        _control: *mut bindings::shrink_control,
    ) -> c_long {
        // SAFETY: By the function's requirements.
        let sb = unsafe { SuperBlock::from_raw(sb) };
        c_long::try_from(T::cached_objects(sb)).unwrap_or(c_long::MAX)
    }

    /// `free_cached_objects`.
    ///
    /// # Safety
    ///
    /// For the shrinker of super blocks (`super_cache_scan()`), with a mounted super block, whose `s_umount` is held
    /// shared, and a valid control.
    unsafe extern "C" fn free_cached_objects(
        sb: *mut bindings::super_block,
        control: *mut bindings::shrink_control,
    ) -> c_long {
        // SAFETY: By the function's requirements.
        let sb = unsafe { SuperBlock::from_raw(sb) };
        // SAFETY: By the function's requirements.
        let wanted = unsafe { (*control).nr_to_scan };
        let freed = T::free_cached_objects(sb, wanted as usize);
        c_long::try_from(freed).unwrap_or(c_long::MAX)
    }
}
