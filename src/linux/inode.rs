// SPDX-License-Identifier: GPL-2.0

//! Inodes in memory.
//!
//! A filesystem's own data of an inode lies in one allocation with the VFS's `struct inode`, so that
//! neither needs a pointer to the other. An inode comes to life in steps, each a type:
//!
//! * [`New`]: allocated, known to nobody or locked as new; what the VFS needs is set here;
//! * [`Ready`]: it has the filesystem's data too, and can be used, but is still locked as new;
//! * [`INode`]: everybody may find it.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/iversion.h`](srctree/include/linux/iversion.h)

use super::{
    attr::Idmap,
    bindings,
    fs::{FileSystem, Registration},
    inode_ops::InodeTable,
    super_block::SuperBlock,
    time::Timestamp,
};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    mem::{ManuallyDrop, MaybeUninit},
    ops::Deref,
    ptr::{self, NonNull},
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::{
        aref::{ARef, AlwaysRefCounted},
        atomic::{Acquire, Atomic, Relaxed, Release},
    },
    types::Opaque,
};

/// What an inode is: the file type bits of its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl Kind {
    /// From a mode; `None` where the file type is none of these.
    pub(crate) fn from_mode(mode: u16) -> Option<Self> {
        Some(match u32::from(mode) & bindings::S_IFMT {
            bindings::S_IFREG => Self::Regular,
            bindings::S_IFDIR => Self::Directory,
            bindings::S_IFLNK => Self::Symlink,
            bindings::S_IFCHR => Self::CharDevice,
            bindings::S_IFBLK => Self::BlockDevice,
            bindings::S_IFIFO => Self::Fifo,
            bindings::S_IFSOCK => Self::Socket,
            _ => return None,
        })
    }
}

/// Flags of an inode that the VFS acts upon.
pub(crate) mod flags {
    use crate::linux::bindings;

    /// Every write is synchronous.
    pub(crate) const SYNC: u32 = bindings::S_SYNC;
    /// Reading does not change the access time.
    pub(crate) const NOATIME: u32 = bindings::S_NOATIME;
    /// Data can only be added at the end.
    pub(crate) const APPEND: u32 = bindings::S_APPEND;
    /// Nothing can be changed.
    pub(crate) const IMMUTABLE: u32 = bindings::S_IMMUTABLE;
    /// Every change of the directory is synchronous.
    pub(crate) const DIRSYNC: u32 = bindings::S_DIRSYNC;
    /// All of them.
    pub(crate) const ALL: u32 = SYNC | NOATIME | APPEND | IMMUTABLE | DIRSYNC;
}

/// A timestamp of an inode.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Time {
    /// Last read.
    Access,
    /// Last change of the data.
    Modify,
    /// Last change of the inode.
    Change,
}

/// An inode of filesystem `T`.
///
/// # Invariants
///
/// `inode` is a valid `struct inode` of a super block of `T`. Where a reference to an `INode` is given to
/// safe code, `has_data` is set and `data` initialised, until the inode is destroyed.
#[repr(C)]
pub(crate) struct INode<T: FileSystem> {
    /// First, so that the two have the same address.
    inode: Opaque<bindings::inode>,
    has_data: Atomic<bool>,
    data: UnsafeCell<MaybeUninit<T::INodeData>>,
    _p: PhantomData<T>,
}

// SAFETY: The VFS's fields are guarded by its locks, or are words that anybody may read; `T::INodeData` is
// `Send + Sync`; `has_data` is atomic.
unsafe impl<T: FileSystem> Send for INode<T> {}
// SAFETY: As above.
unsafe impl<T: FileSystem> Sync for INode<T> {}

// SAFETY: The VFS counts references to inodes.
unsafe impl<T: FileSystem> AlwaysRefCounted for INode<T> {
    fn inc_ref(&self) {
        // SAFETY: A reference exists, so the count is not zero.
        unsafe { bindings::ihold(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference of its own.
        unsafe { bindings::iput(obj.as_ref().as_raw()) };
    }
}

/// How [`INode::get`] found an inode.
pub(crate) enum Got<T: FileSystem> {
    /// In memory.
    Cached(ARef<INode<T>>),
    /// Not in memory: it must be read.
    New(New<T>),
}

impl<T: FileSystem> INode<T> {
    /// # Safety
    ///
    /// The type's invariants must hold for `inode`, for the lifetime of the reference.
    pub(super) unsafe fn from_raw<'a>(inode: *mut bindings::inode) -> &'a Self {
        // SAFETY: `inode` is the first field of `Self`; the rest is the caller's promise.
        unsafe { &*inode.cast() }
    }

    /// The C structure.
    pub(super) fn as_raw(&self) -> *mut bindings::inode {
        self.inode.get()
    }

    /// A new reference.
    pub(crate) fn to_ref(&self) -> ARef<Self> {
        self.into()
    }

    /// Finds inode `number` in memory, or allocates it, locked as new.
    ///
    /// Waits while another task reads or evicts the inode.
    pub(crate) fn get(sb: &SuperBlock<T>, number: u32) -> Result<Got<T>> {
        // SAFETY: The super block is valid.
        let inode = unsafe { bindings::iget_locked(sb.as_raw(), number.into()) };
        let inode = NonNull::new(inode).ok_or(ENOMEM)?;
        // SAFETY: We have a reference.
        if unsafe { bindings::inode_is_new(inode.as_ptr()) } {
            // INVARIANT: Ours, and locked as new.
            return Ok(Got::New(New(inode, PhantomData)));
        }
        // SAFETY: Found in the hash table and not new, so it has its data; the reference is ours.
        Ok(Got::Cached(unsafe { ARef::from_raw(inode.cast()) }))
    }

    /// Allocates an inode that nobody can find.
    pub(crate) fn new(sb: &SuperBlock<T>) -> Result<New<T>> {
        // SAFETY: The super block is valid.
        let inode = unsafe { bindings::new_inode(sb.as_raw()) };
        // INVARIANT: Ours, and known to nobody.
        Ok(New(NonNull::new(inode).ok_or(ENOMEM)?, PhantomData))
    }

    /// The filesystem's own data.
    pub(crate) fn data(&self) -> &T::INodeData {
        // SAFETY: Initialised, by the type's invariants, and then only shared.
        unsafe { (*self.data.get()).assume_init_ref() }
    }

    /// The super block.
    pub(crate) fn super_block(&self) -> &SuperBlock<T> {
        // SAFETY: By the type's invariants a super block of `T`; its data is there, as there are inodes.
        unsafe { SuperBlock::from_raw((*self.as_raw()).i_sb) }
    }

    /// The number.
    pub(crate) fn number(&self) -> u64 {
        // SAFETY: Valid by the type's invariants; set before the inode is ready.
        unsafe { (*self.as_raw()).i_ino }
    }

    /// The mode: file type and permissions.
    pub(crate) fn mode(&self) -> u16 {
        // SAFETY: Valid by the type's invariants; any value may be read.
        unsafe { ptr::addr_of!((*self.as_raw()).i_mode).read_volatile() }
    }

    /// The file type. An inode without one is taken for a socket, with which nothing can be done.
    pub(crate) fn kind(&self) -> Kind {
        Kind::from_mode(self.mode()).unwrap_or(Kind::Socket)
    }

    /// Whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.kind() == Kind::Directory
    }

    /// The owner's id, as the filesystem stores it.
    pub(crate) fn uid(&self) -> u32 {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::i_uid_read(self.as_raw()) }
    }

    /// The group's id, as the filesystem stores it.
    pub(crate) fn gid(&self) -> u32 {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::i_gid_read(self.as_raw()) }
    }

    /// The number of links.
    pub(crate) fn links(&self) -> u32 {
        // SAFETY: Valid by the type's invariants; any value may be read.
        unsafe { ptr::addr_of!((*self.as_raw()).__bindgen_anon_1.i_nlink).read_volatile() }
    }

    /// Sets the number of links. The caller holds `i_rwsem` exclusively, or the inode is not known yet.
    pub(crate) fn set_links(&self, links: u32) {
        // SAFETY: Valid by the type's invariants.
        unsafe {
            if links == 0 {
                if self.links() != 0 {
                    bindings::clear_nlink(self.as_raw());
                }
            } else {
                bindings::set_nlink(self.as_raw(), links);
            }
        }
    }

    /// The device number of a device special file: 12 bits major, 20 bits minor.
    pub(crate) fn device(&self) -> u32 {
        // SAFETY: Valid by the type's invariants; set before the inode is ready.
        unsafe { (*self.as_raw()).i_rdev }
    }

    /// The size in bytes.
    pub(crate) fn size(&self) -> u64 {
        // SAFETY: Valid by the type's invariants.
        let size = unsafe { bindings::i_size_read(self.as_raw()) };
        // A size is never negative; `set_size` sees to that.
        u64::try_from(size).unwrap_or(0)
    }

    /// Sets the size in bytes. The caller sees to it that no other task sets it at the same time.
    pub(crate) fn set_size(&self, size: u64) {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::i_size_write(self.as_raw(), size) };
    }

    /// The space that it takes, in units of 512 bytes.
    pub(crate) fn set_blocks(&self, sectors: u64) {
        // SAFETY: Valid by the type's invariants; a word that anybody may read meanwhile.
        unsafe { bindings::inode_set_sectors(self.as_raw(), sectors as _) };
    }

    /// A timestamp.
    pub(crate) fn time(&self, which: Time) -> Timestamp {
        // SAFETY: Valid by the type's invariants.
        Timestamp::from_raw(unsafe {
            match which {
                Time::Access => bindings::inode_get_atime(self.as_raw()),
                Time::Modify => bindings::inode_get_mtime(self.as_raw()),
                Time::Change => bindings::inode_get_ctime(self.as_raw()),
            }
        })
    }

    /// Sets a timestamp.
    pub(crate) fn set_time(&self, which: Time, time: Timestamp) {
        let time = time.into_raw();
        // SAFETY: Valid by the type's invariants.
        unsafe {
            match which {
                Time::Access => bindings::inode_set_atime_to_ts(self.as_raw(), time),
                Time::Modify => bindings::inode_set_mtime_to_ts(self.as_raw(), time),
                Time::Change => {
                    bindings::inode_set_ctime_to_ts(self.as_raw(), time);
                }
            }
        };
    }

    /// Sets the change time to the present, and returns it.
    pub(crate) fn set_change_time_now(&self) -> Timestamp {
        // SAFETY: Valid by the type's invariants.
        Timestamp::from_raw(unsafe { bindings::inode_set_ctime_current(self.as_raw()) })
    }

    /// Sets the times of the last change of data and inode to the present.
    pub(crate) fn touch(&self) {
        let now = self.set_change_time_now();
        self.set_time(Time::Modify, now);
    }

    /// The version as it is stored.
    pub(crate) fn version(&self) -> u64 {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::inode_peek_iversion(self.as_raw()) }
    }

    /// Raises the version, as the inode changes.
    pub(crate) fn raise_version(&self) {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::inode_inc_iversion(self.as_raw()) };
    }

    /// Sets those of [`flags`] that are in `set`, and clears the others.
    pub(crate) fn set_flags(&self, set: u32) {
        // SAFETY: Valid by the type's invariants; changed atomically.
        unsafe { bindings::inode_set_flags(self.as_raw(), set, flags::ALL) };
    }

    /// Whether a change of the inode's data must be durable when the system call returns.
    pub(crate) fn is_sync(&self) -> bool {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::inode_is_sync(self.as_raw()) }
    }

    /// Whether a change of the directory must be durable when the system call returns.
    pub(crate) fn is_directory_sync(&self) -> bool {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::inode_is_dirsync(self.as_raw()) }
    }

    /// Locks `i_rwsem` exclusively.
    pub(crate) fn lock(&self) -> Exclusive<'_, T> {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::inode_lock(self.as_raw()) };
        Exclusive(self)
    }

    /// Locks `i_rwsem` exclusively if nobody has it.
    pub(crate) fn try_lock(&self) -> Option<Exclusive<'_, T>> {
        // SAFETY: Valid by the type's invariants.
        (unsafe { bindings::inode_trylock(self.as_raw()) } != 0).then(|| Exclusive(self))
    }

    /// Locks `i_rwsem` shared.
    pub(crate) fn lock_shared(&self) -> Shared<'_, T> {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::inode_lock_shared(self.as_raw()) };
        Shared(self)
    }

    /// Locks `i_rwsem` shared if nobody has it exclusively.
    pub(crate) fn try_lock_shared(&self) -> Option<Shared<'_, T>> {
        // SAFETY: Valid by the type's invariants.
        (unsafe { bindings::inode_trylock_shared(self.as_raw()) } != 0).then(|| Shared(self))
    }

    /// Makes the slab cache of the inodes of `T`.
    pub(super) fn create_cache(name: &'static CStr) -> Result<*mut bindings::kmem_cache> {
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

    pub(super) unsafe extern "C" fn alloc_callback(
        sb: *mut bindings::super_block,
    ) -> *mut bindings::inode {
        // SAFETY: The VFS gives a super block of `T`.
        let inode = unsafe { bindings::alloc_inode_sb(sb, Registration::<T>::cache_of(sb)) };
        if !inode.is_null() {
            let this = inode.cast::<Self>();
            // SAFETY: A new object of the cache: ours alone.
            unsafe { ptr::addr_of_mut!((*this).has_data).write(Atomic::new(false)) };
        }
        inode.cast()
    }

    /// The inode, if it has its data already.
    ///
    /// # Safety
    ///
    /// `inode` must be an inode of a super block of `T` that is not destroyed while the reference lives.
    pub(super) unsafe fn if_ready<'a>(inode: *mut bindings::inode) -> Option<&'a Self> {
        // SAFETY: Valid by the caller's promise.
        let this = unsafe { &*inode.cast::<Self>() };
        // INVARIANT: The data was there before this was set.
        this.has_data.load(Acquire).then_some(this)
    }

    pub(super) unsafe extern "C" fn destroy_callback(inode: *mut bindings::inode) {
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

    pub(super) unsafe extern "C" fn free_callback(inode: *mut bindings::inode) {
        // SAFETY: The VFS gives an inode that nobody uses, after a grace period. `i_link` is null or was
        // allocated by `New::set_link`; the union has no other user in inodes of `T` that are links.
        unsafe {
            if bindings::inode_is_symlink(inode) {
                bindings::kfree((*inode).__bindgen_anon_5.i_link.cast());
            }
            bindings::kmem_cache_free(Registration::<T>::cache_of((*inode).i_sb), inode.cast());
        }
    }

    pub(super) unsafe extern "C" fn evict_callback(inode: *mut bindings::inode) {
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

/// Passes a reference on to C.
pub(super) trait IntoRawInode {
    /// The pointer, with the reference.
    fn into_raw_inode(self) -> *mut bindings::inode;
}

impl<T: FileSystem> IntoRawInode for ARef<INode<T>> {
    fn into_raw_inode(self) -> *mut bindings::inode {
        ARef::into_raw(self).as_ptr().cast()
    }
}

/// `i_rwsem`, held exclusively.
pub(crate) struct Exclusive<'a, T: FileSystem>(&'a INode<T>);

impl<'a, T: FileSystem> Exclusive<'a, T> {
    /// Goes on with the lock shared, without giving it up.
    pub(crate) fn downgrade(self) -> Shared<'a, T> {
        let this = ManuallyDrop::new(self);
        // SAFETY: Held exclusively by this guard, which is not dropped.
        unsafe { bindings::downgrade_write(&mut (*this.0.as_raw()).i_rwsem) };
        Shared(this.0)
    }
}

impl<T: FileSystem> Drop for Exclusive<'_, T> {
    fn drop(&mut self) {
        // SAFETY: Held exclusively by this guard.
        unsafe { bindings::inode_unlock(self.0.as_raw()) };
    }
}

/// `i_rwsem`, held shared.
pub(crate) struct Shared<'a, T: FileSystem>(&'a INode<T>);

impl<T: FileSystem> Drop for Shared<'_, T> {
    fn drop(&mut self) {
        // SAFETY: Held shared by this guard.
        unsafe { bindings::inode_unlock_shared(self.0.as_raw()) };
    }
}

/// An inode that does not have its data yet. Dropped, it goes away again.
///
/// # Invariants
///
/// A reference on a valid inode of a super block of `T`, which either nobody else can find, or is locked as
/// new by us; `has_data` is not set.
pub(crate) struct New<T: FileSystem>(NonNull<bindings::inode>, PhantomData<T>);

// SAFETY: An inode is not bound to a task.
unsafe impl<T: FileSystem> Send for New<T> {}

impl<T: FileSystem> New<T> {
    fn as_raw(&self) -> *mut bindings::inode {
        self.0.as_ptr()
    }

    /// Gives an inode from [`INode::new`] its number, from which it can be found, locked as new.
    ///
    /// # Errors
    ///
    /// `EBUSY` where there is an inode with this number in memory already.
    pub(crate) fn insert(&self, number: u32) -> Result {
        // SAFETY: Valid by the type's invariants, and not in the hash table yet if it came from
        // `INode::new`; it is checked that it is not.
        unsafe {
            if bindings::inode_is_new(self.as_raw()) {
                return Err(EBUSY);
            }
            (*self.as_raw()).i_ino = number.into();
            to_result(bindings::insert_inode_locked(self.as_raw()))
        }
    }

    /// Sets owner, group and mode from the task that creates the inode in `dir`.
    pub(crate) fn set_owner(&self, idmap: &Idmap, dir: &INode<T>, mode: u16) {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::inode_init_owner(idmap.as_raw(), self.as_raw(), dir.as_raw(), mode) };
    }

    /// Sets owner and group to what the filesystem has stored.
    pub(crate) fn set_ids(&self, uid: u32, gid: u32) {
        // SAFETY: Valid by the type's invariants.
        unsafe {
            bindings::i_uid_write(self.as_raw(), uid);
            bindings::i_gid_write(self.as_raw(), gid);
        }
    }

    /// Sets all timestamps to the present.
    pub(crate) fn set_times_now(&self) -> Timestamp {
        // SAFETY: Valid by the type's invariants.
        Timestamp::from_raw(unsafe { bindings::simple_inode_init_ts(self.as_raw()) })
    }

    /// Sets the number that tells apart files that have had the same inode number.
    pub(crate) fn set_generation(&self, generation: u32) {
        // SAFETY: Valid by the type's invariants.
        unsafe { (*self.as_raw()).i_generation = generation };
    }

    /// Sets the version that the filesystem has stored.
    pub(crate) fn set_version(&self, version: u64) {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::inode_set_iversion_queried(self.as_raw(), version) };
    }

    /// Sets the operations.
    pub(crate) fn set_operations(&self, table: InodeTable<T>) {
        // SAFETY: Valid by the type's invariants; the table is for inodes of `T`.
        unsafe { (*self.as_raw()).i_op = table.as_raw() };
    }

    /// Sets the operations of open files.
    pub(crate) fn set_file_operations(&self, table: FileTable<T>) {
        // SAFETY: Valid by the type's invariants; the table is for files of inodes of `T`.
        unsafe { (*self.as_raw()).__bindgen_anon_3.i_fop = table.0 };
    }

    /// Sets the operations of the page cache.
    pub(crate) fn set_mapping_operations(&self, table: MappingTable<T>) {
        // SAFETY: Valid by the type's invariants; the table is for mappings of inodes of `T`.
        unsafe { (*self.as_raw()).i_data.a_ops = table.0 };
    }

    /// Lets the page cache have folios of any size that the kernel can do. Before the first use only.
    pub(crate) fn set_large_folios(&self) {
        // SAFETY: Valid by the type's invariants; no folio is in the cache of an inode without data.
        unsafe { bindings::mapping_set_large_folios(&mut (*self.as_raw()).i_data) };
    }

    /// Sets the target of a symbolic link that the VFS can then read by itself.
    ///
    /// # Errors
    ///
    /// `EINVAL` where it is no link, or has a target; `ENOMEM`.
    pub(crate) fn set_link(&self, target: &[u8]) -> Result {
        // SAFETY: Valid by the type's invariants; the field is freed after the grace period that follows
        // the inode's end. `kmemdup_nul` copies as many bytes as the slice has.
        unsafe {
            let link = &mut (*self.as_raw()).__bindgen_anon_5.i_link;
            if !bindings::inode_is_symlink(self.as_raw()) || !link.is_null() {
                return Err(EINVAL);
            }
            let copy =
                bindings::kmemdup_nul(target.as_ptr().cast(), target.len(), bindings::GFP_KERNEL);
            if copy.is_null() {
                return Err(ENOMEM);
            }
            *link = copy;
        }
        Ok(())
    }

    /// Makes it what its mode says, a device special file with this number, a pipe or a socket: the VFS serves
    /// its files.
    pub(crate) fn set_special(&self, device: u32) {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::init_special_inode(self.as_raw(), (*self.as_raw()).i_mode, device) };
    }

    /// Sets the filesystem's data.
    pub(crate) fn init(self, data: impl PinInit<T::INodeData, Error>) -> Result<Ready<T>> {
        let this = self.0.cast::<INode<T>>();
        // SAFETY: Nobody else uses the field before `has_data` is set, and it does not move, as inodes do
        // not. If the initialiser fails the field stays uninitialised and `has_data` unset.
        unsafe {
            pin_init::raw_try_init((*this.as_ptr()).data.get().cast::<T::INodeData>(), data)?;
            // Who finds it set, as `SuperBlock::shrink_inodes` may, finds the data.
            (*this.as_ptr()).has_data.store(true, Release);
        }
        let this = ManuallyDrop::new(self);
        // SAFETY: The invariants of `INode` hold now, and the reference passes on. INVARIANT: As ours.
        Ok(Ready(ManuallyDrop::new(unsafe {
            ARef::from_raw(this.0.cast())
        })))
    }
}

/// What can be asked and told of an inode that is not ready yet, as of one that is.
impl<T: FileSystem> New<T> {
    /// Sets the mode: file type and permissions.
    pub(crate) fn set_mode(&self, mode: u16) {
        // SAFETY: Valid by the type's invariants.
        unsafe { (*self.as_raw()).i_mode = mode };
    }

    /// The mode, which [`Self::set_owner`] may have changed.
    pub(crate) fn mode(&self) -> u16 {
        // SAFETY: Valid by the type's invariants.
        unsafe { (*self.as_raw()).i_mode }
    }

    /// The owner's id, as the filesystem stores it.
    pub(crate) fn uid(&self) -> u32 {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::i_uid_read(self.as_raw()) }
    }

    /// The group's id, as the filesystem stores it.
    pub(crate) fn gid(&self) -> u32 {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::i_gid_read(self.as_raw()) }
    }

    /// The number of links.
    pub(crate) fn links(&self) -> u32 {
        // SAFETY: Valid by the type's invariants.
        unsafe { (*self.as_raw()).__bindgen_anon_1.i_nlink }
    }

    /// Sets the number of links.
    pub(crate) fn set_links(&self, links: u32) {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::set_nlink(self.as_raw(), links) };
    }

    /// Sets the size in bytes.
    pub(crate) fn set_size(&self, size: u64) {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::i_size_write(self.as_raw(), size) };
    }

    /// Sets the space that it takes, in units of 512 bytes.
    pub(crate) fn set_blocks(&self, sectors: u64) {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::inode_set_sectors(self.as_raw(), sectors as _) };
    }

    /// Sets a timestamp.
    pub(crate) fn set_time(&self, which: Time, time: Timestamp) {
        let time = time.into_raw();
        // SAFETY: Valid by the type's invariants.
        unsafe {
            match which {
                Time::Access => bindings::inode_set_atime_to_ts(self.as_raw(), time),
                Time::Modify => bindings::inode_set_mtime_to_ts(self.as_raw(), time),
                Time::Change => {
                    bindings::inode_set_ctime_to_ts(self.as_raw(), time);
                }
            }
        };
    }

    /// Sets those of [`flags`] that are in `set`.
    pub(crate) fn set_flags(&self, set: u32) {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::inode_set_flags(self.as_raw(), set, flags::ALL) };
    }
}

impl<T: FileSystem> Drop for New<T> {
    fn drop(&mut self) {
        // SAFETY: Our reference; nobody may use an inode that did not become ready.
        unsafe {
            if bindings::inode_is_new(self.as_raw()) {
                bindings::iget_failed(self.as_raw());
            } else {
                bindings::iput(self.as_raw());
            }
        }
    }
}

/// An inode with its data that is still locked as new. Dropped, it leaves memory again, and the disk too if
/// it has no links.
///
/// # Invariants
///
/// The `ARef` is there until the value is consumed or dropped.
pub(crate) struct Ready<T: FileSystem>(ManuallyDrop<ARef<INode<T>>>);

impl<T: FileSystem> Ready<T> {
    /// Gives up the type without its destructor.
    pub(super) fn into_inner(self) -> ARef<INode<T>> {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is neither used nor dropped afterwards.
        unsafe { ManuallyDrop::take(&mut this.0) }
    }

    /// Lets everybody use the inode.
    pub(crate) fn unlock(self) -> ARef<INode<T>> {
        let inode = self.into_inner();
        // SAFETY: We have a reference. An inode that was never put in the hash table is not locked.
        unsafe {
            if bindings::inode_is_new(inode.as_raw()) {
                bindings::unlock_new_inode(inode.as_raw());
            }
        }
        inode
    }
}

impl<T: FileSystem> Deref for Ready<T> {
    type Target = INode<T>;

    fn deref(&self) -> &INode<T> {
        &self.0
    }
}

impl<T: FileSystem> Drop for Ready<T> {
    fn drop(&mut self) {
        // SAFETY: Not used afterwards.
        let inode = unsafe { ManuallyDrop::take(&mut self.0) };
        // SAFETY: We have a reference, which the first of the calls takes and the other leaves to us.
        unsafe {
            if bindings::inode_is_new(inode.as_raw()) {
                bindings::discard_new_inode(inode.into_raw_inode());
            }
        }
    }
}

/// A table of file operations for inodes of `T`.
pub(crate) struct FileTable<T: FileSystem>(
    &'static bindings::file_operations,
    PhantomData<fn(T) -> T>,
);

impl<T: FileSystem> FileTable<T> {
    /// # Safety
    ///
    /// Every operation of the table must be right for files of inodes of `T`.
    pub(super) const unsafe fn from_raw(table: &'static bindings::file_operations) -> Self {
        Self(table, PhantomData)
    }
}

/// A table of operations of the page cache for inodes of `T`.
pub(crate) struct MappingTable<T: FileSystem>(
    &'static bindings::address_space_operations,
    PhantomData<fn(T) -> T>,
);

impl<T: FileSystem> MappingTable<T> {
    /// # Safety
    ///
    /// Every operation of the table must be right for mappings of inodes of `T`.
    pub(super) const unsafe fn from_raw(
        table: &'static bindings::address_space_operations,
    ) -> Self {
        Self(table, PhantomData)
    }
}
