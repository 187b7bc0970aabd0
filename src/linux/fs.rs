// SPDX-License-Identifier: GPL-2.0

//! Filesystem types.
//!
//! A filesystem implements [`FileSystem`], and its module is a [`Module`]. The operations
//! of its super blocks are methods of the trait; those of inodes, files and mappings are tables of their
//! own, which an inode gets by its type of file ([`super::kinds`]).
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/fs/super_types.h`](srctree/include/linux/fs/super_types.h)
//!
//! A type is registered for as long as its [`Module`] is there, and that is there for as long as anything is mounted.
//!
//! # Locks
//!
//! The VFS holds `s_umount` where a super block is filled, reconfigured, frozen, synced or put.
//!
//! # Examples
//!
//! ```ignore
//! module! {
//!     type: linux::fs::Module<MyFs>,
//!     name: "myfs",
//!     authors: ["Somebody"],
//!     description: "A filesystem",
//!     license: "GPL",
//!     alias: ["fs-myfs"],
//! }
//! ```

use super::{
    bindings,
    buffer::BufferCache,
    compat,
    debugfs::{
        Figure,
        Folder, //
    },
    fs_context::{
        self,
        FsContext,
        Parameter, //
    },
    inode::{
        INode,
        InodeRef, //
    },
    iomap::ioend::Batch,
    quota::Change,
    statfs::StatFs,
    super_block::{
        self,
        Locked,
        SuperBlock, //
    },
    sysfs::{
        Attribute,
        Feature,
        Top, //
    }, //
};
use core::{
    marker::PhantomPinned,
    ptr, //
};
use kernel::{
    error::to_result,
    prelude::*,
    seq_file::SeqFile,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
    types::Opaque, //
};

/// What a [`FileSystem`] type can do (`FS_*`). Others of these flags ask for more than the tables here give.
#[derive(Clone, Copy)]
pub(crate) struct Flags(i32);

impl Flags {
    /// Can be mounted with mapped user and group ids.
    pub(crate) const ALLOW_IDMAP: Self = Self(bindings::FS_ALLOW_IDMAP as i32);
    /// Has timestamps that get finer when somebody looks at them.
    pub(crate) const MGTIME: Self = Self(bindings::FS_MGTIME as i32);

    /// Both.
    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Whether what is to be written must be durable when the call returns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Start it, nobody waits.
    No,
    /// It must be durable.
    Yes,
}

/// A type of filesystem on a block device.
///
/// The callbacks run in process context and may sleep, but for [`FileSystem::cached_objects`].
#[vtable]
pub(crate) trait FileSystem: Sized + Send + Sync + 'static {
    /// What `mount -t` calls it.
    const NAME: &'static CStr;

    /// What it can do.
    const FLAGS: Flags;

    /// The mount options, ended by [`Parameter::END`].
    const PARAMETERS: &'static [Parameter];

    /// What debugfs has of each mount ([`super::debugfs`]).
    const FIGURES: &'static [Figure<Self>] = &[];

    /// What sysfs has of each mount ([`super::sysfs`]).
    const ATTRIBUTES: &'static [Attribute<Self>] = &[];

    /// What sysfs says that the filesystem can do.
    const FEATURES: &'static [Feature] = &[];

    /// The mount options as they are collected before a mount or remount.
    type Options: Send;

    /// What belongs to a mounted super block, dropped after [`Self::put_super`]. Unmounting then waits until whoever
    /// has the [`BufferCache`] or a block device of it has given that up.
    type SuperData: Send + Sync;

    /// What belongs to an inode in memory, beside `struct inode` and in the same allocation.
    ///
    /// Dropped when the inode is destroyed, in a context that may sleep.
    type INodeData: Send + Sync;

    /// The options to start from: defaults, or those of `remount`, a mounted super block.
    fn options(remount: Option<&SuperBlock<Self>>) -> Result<Self::Options>;

    /// Takes one option of [`Self::PARAMETERS`].
    fn parse_parameter(
        context: &FsContext,
        options: &mut Self::Options,
        number: u8,
        value: fs_context::Value,
    ) -> Result;

    /// Reads the super block of the device and gives the mount its data. `cache` is the only one of the device.
    fn fill_super(
        sb: &super_block::New<'_, Self>,
        cache: BufferCache,
        context: &FsContext,
        options: Self::Options,
    ) -> Result<Self::SuperData>;

    /// Gives the root directory, once [`SuperBlock::data`] is set.
    ///
    /// If it fails, [`Self::put_super`] is called.
    fn root<'a>(sb: &Locked<'a, Self>, context: &FsContext) -> Result<InodeRef<'a, Self>>;

    /// Changes the options of a mounted super block.
    fn reconfigure(sb: &Locked<'_, Self>, context: &FsContext, options: Self::Options) -> Result;

    /// The last call on a super block: finishes everything. The caller has evicted all inodes.
    fn put_super(sb: &SuperBlock<Self>);

    /// Writes out what is in memory only.
    fn sync_fs(sb: &SuperBlock<Self>, wait: Wait) -> Result;

    /// Makes the device consistent as it is; no change comes until [`Self::unfreeze_fs`].
    fn freeze_fs(sb: &SuperBlock<Self>) -> Result;

    /// Ends [`Self::freeze_fs`].
    fn unfreeze_fs(sb: &SuperBlock<Self>) -> Result;

    /// The device is gone, with the filesystem mounted: from now on nothing can be changed.
    fn shutdown(sb: &SuperBlock<Self>);

    /// Whether the filesystem still serves its files. `EIO` after a shutdown: then no file is opened, mapped or read.
    fn check_alive(inode: &INode<Self>) -> Result;

    /// Whether it still serves those who change something: as [`Self::check_alive`], and `EROFS` after an error that
    /// has stopped all changes. Then no file is opened for writing, nor mapped by who has it open so.
    fn check_going_on(inode: &INode<Self>) -> Result;

    /// Fills in the numbers of `statfs(2)`, which was asked for `inode`.
    fn statfs(sb: &SuperBlock<Self>, inode: &INode<Self>, to: &mut StatFs) -> Result;

    /// Writes the options that differ from the defaults, each as `,name` or `,name=value`.
    fn show_options(sb: &SuperBlock<Self>, to: &SeqFile);

    /// How many objects the filesystem keeps in memory that could be had again from the device. Must not sleep.
    fn cached_objects(sb: &SuperBlock<Self>) -> usize;

    /// Memory is short: gives up to `wanted` of them back. Returns the number of those that were given back.
    ///
    /// Whoever needs memory calls this, with whatever locks that `GFP_KERNEL` allows: nothing may be waited for.
    fn free_cached_objects(sb: &SuperBlock<Self>, wanted: usize) -> usize;

    /// Times of the inode, and perhaps its version, have changed in memory, by a read or a write. They are to be
    /// durable when [`Self::write_inode`] was called, which the VFS does after a while, or the file was synchronised;
    /// on a mount with `lazytime` when [`Self::dirty_inode`] was. Must not sleep.
    fn times_changed(inode: &INode<Self>);

    /// The inode was marked dirty for more than a change of times, or for times that were kept by `lazytime`: puts it
    /// where it will be durable with the others.
    fn dirty_inode(inode: &INode<Self>);

    /// Writeback wants the inode to be on the device.
    fn write_inode(inode: &INode<Self>, wait: Wait) -> Result;

    /// The data of the whole batch is on the device: makes the file show it, by [`Batch::each`]. Called by a workqueue
    /// of the mount that makes progress under memory pressure, or by the task that wrote. Folios are unlocked and
    /// requests completed after it: no journal handle may be held when this returns.
    fn complete_writes(inode: &INode<Self>, batch: &mut Batch<'_>);

    /// Runs `f`, which does `change` to a quota file ([`super::quota`]), in the transaction that is lent, or one of its
    /// own that has room for that. [`Self::quota_write`] is called in it.
    ///
    /// # Errors
    ///
    /// Those of `f`; of beginning the transaction, without a call of `f`.
    fn quota_change(sb: &SuperBlock<Self>, change: Change, f: &mut dyn FnMut() -> Result)
        -> Result;

    /// Reads bytes of a quota file from `pos` on, as many as there are. What has no block is zero, and `to` is already.
    fn quota_read(file: &INode<Self>, pos: u64, to: &mut [u8]) -> Result<usize>;

    /// Writes bytes of a quota file at `pos`, in the transaction that [`Self::quota_change`] has lent.
    fn quota_write(file: &INode<Self>, pos: u64, from: &[u8]) -> Result;

    /// The inode leaves memory; its page cache is empty already, and what gets there in this call is dropped. If it has
    /// no links, it is freed here.
    fn evict_inode(inode: &INode<Self>);
}

/// A module that is one filesystem type and nothing else, for `module!`: the type is registered as long as the module
/// is loaded, which it stays while anything is mounted.
///
/// One that somebody else has made cannot be registered beside it, as names are unique. Dropped, it waits until nothing
/// is mounted.
#[pin_data]
pub(crate) struct Module<T: FileSystem> {
    #[pin]
    registration: Registration<T>,
}

impl<T: FileSystem> kernel::InPlaceModule for Module<T> {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            registration <- Registration::new(),
        })
    }
}

/// A registered filesystem type.
///
/// # Invariants
///
/// `cache` is a live slab cache of [`INode<T>`]s, `owner` the module that `T` is a part of. If `registered` is set,
/// `fs` is or was registered.
#[pin_data(PinnedDrop)]
pub(super) struct Registration<T: FileSystem> {
    #[pin]
    fs: Opaque<bindings::file_system_type>,
    cache: *mut bindings::kmem_cache,
    owner: *mut bindings::module,
    registered: Atomic<bool>,
    /// Where the mounts have theirs.
    folder: Folder,
    /// The same in sysfs.
    top: Top,
    #[pin]
    _pin: PhantomPinned,
    _p: core::marker::PhantomData<T>,
}

// SAFETY: Nothing of it can be changed through a shared reference; it may be dropped by any task.
unsafe impl<T: FileSystem> Send for Registration<T> {}
// SAFETY: As above.
unsafe impl<T: FileSystem> Sync for Registration<T> {}

impl<T: FileSystem> Registration<T> {
    /// Registers the type with the VFS.
    fn new() -> impl PinInit<Self, Error> {
        const { fs_context::check_parameters(T::PARAMETERS) };
        try_pin_init!(Self {
            cache: INode::<T>::create_cache(T::NAME)?,
            owner: compat::owner!(T),
            registered: Atomic::new(false),
            folder: match T::FIGURES {
                [] => Folder::none(),
                _ => Folder::at_top(T::NAME),
            },
            top: Top::new::<T>(),
            fs <- Opaque::ffi_init(|slot: *mut bindings::file_system_type| {
                // SAFETY: `slot` is valid for writes; all zeros is a valid value of the C structure.
                unsafe { ptr::write_bytes(slot, 0, 1) };
                // SAFETY: As above: it is initialised now, and nobody else sees it yet.
                let fs = unsafe { &mut *slot };
                fs.name = T::NAME.as_ptr().cast();
                fs.fs_flags = bindings::FS_REQUIRES_DEV as i32 | T::FLAGS.0;
                fs.owner = compat::owner!(T);
                fs.init_fs_context = Some(fs_context::init_context::<T>);
                fs.parameters = T::PARAMETERS.as_ptr().cast();
                fs.kill_sb = Some(super_block::kill_callback::<T>);
            }),
            _pin: PhantomPinned,
            _p: core::marker::PhantomData,
        })
        .pin_chain(|this| {
            // SAFETY: The structure is filled in, pinned, and unregistered before it goes away, for which nobody uses
            // it. If this fails, `this` is dropped.
            to_result(unsafe { bindings::register_filesystem(this.fs.get()) })?;
            this.registered.store(true, Relaxed);
            Ok(())
        })
    }

    /// The slab cache of the inodes of `sb`.
    ///
    /// # Safety
    ///
    /// `sb` must be a super block of a filesystem type that was registered by a `Registration<T>`.
    pub(super) unsafe fn cache_of(sb: *mut bindings::super_block) -> *mut bindings::kmem_cache {
        // SAFETY: By the function's requirements.
        unsafe { Self::of(sb) }.cache
    }

    /// The folder in debugfs in which `sb` may have its own.
    ///
    /// # Safety
    ///
    /// As for [`Self::cache_of`], and the super block stays for `'a`.
    pub(super) unsafe fn folder_of<'a>(sb: *mut bindings::super_block) -> &'a Folder {
        // SAFETY: By the function's requirements.
        &unsafe { Self::of(sb) }.folder
    }

    /// The folder in sysfs in which `sb` may have its own.
    ///
    /// # Safety
    ///
    /// As for [`Self::folder_of`].
    pub(super) unsafe fn top_of<'a>(sb: *mut bindings::super_block) -> &'a Top {
        // SAFETY: By the function's requirements.
        &unsafe { Self::of(sb) }.top
    }

    /// The registration of the type of `sb`.
    ///
    /// # Safety
    ///
    /// As for [`Self::folder_of`].
    unsafe fn of<'a>(sb: *mut bindings::super_block) -> &'a Self {
        // SAFETY: By the function's requirements; a super block has a type.
        let fs = Opaque::cast_from(unsafe { (*sb).s_type }).cast_mut();
        // SAFETY: By the function's requirements the type is the field of a `Registration<T>`, which stays until no
        // super block is left.
        unsafe { &*kernel::container_of!(fs, Self, fs) }
    }
}

#[pinned_drop]
impl<T: FileSystem> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        if self.registered.load(Relaxed) {
            // SAFETY: Registered by the type's invariants.
            unsafe { bindings::unregister_filesystem(self.fs.get()) };
            // From now on nobody finds it. Who has found it has a reference on the module, which is given up after the
            // last use of the type. When the module is unloaded there is none.
            // SAFETY: The module is valid, as its code runs.
            while unsafe { bindings::module_is_used(self.owner) } {
                fsleep(Delta::from_millis(20));
            }
        }
        // SAFETY: Inodes are freed by callbacks of RCU; after the barrier all of them are.
        unsafe { bindings::rcu_barrier() };
        // SAFETY: The cache is live by the invariants, and empty now.
        unsafe { bindings::kmem_cache_destroy(self.cache) };
    }
}
