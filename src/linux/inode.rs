// SPDX-License-Identifier: GPL-2.0

//! Inodes in memory.
//!
//! A filesystem's own data of an inode lies in one allocation with the VFS's `struct inode`, so that
//! neither needs a pointer to the other. An inode comes to life in steps, each a type:
//!
//! * [`New`]: allocated, known to nobody or locked as new; what the VFS needs is set here;
//! * [`Ready`]: it has the filesystem's data too, and can be used, but is still locked as new;
//! * [`INode`]: everybody may find it; an [`InodeRef`] keeps it in memory.
//!
//! None of them can be kept longer than the mount: each borrows the super block, or an inode of it. One that is leaked
//! keeps the mount: unmounting waits until there is no inode.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/iversion.h`](srctree/include/linux/iversion.h)
//!
//! # Locks
//!
//! `i_rwsem` ([`super::lock`]) keeps changes apart that consist of more than one word. Single words of an inode that
//! others know are set atomically, or under its `i_lock`, under which no lock is taken; whoever reads them gets the old
//! or the new.
//!
//! # Examples
//!
//! ```ignore
//! let new = INode::<MyFs>::new(sb)?;
//! new.set_mode(mode)?;
//! new.set_links(1);
//! new.insert(number)?;
//! let inode = new.init(Body::Plain, MyData::new())?.unlock();
//! ```

use super::{
    bindings,
    fs::FileSystem,
    iomap::ioend,
    quota::Head,
    super_block::SuperBlock,
    time::Timestamp, //
};
use core::{
    cell::UnsafeCell,
    ffi::c_int,
    marker::PhantomData,
    mem::{
        ManuallyDrop,
        MaybeUninit, //
    },
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    prelude::*,
    sync::atomic::Atomic,
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

mod memory;
mod new;

pub(crate) use new::{
    GroupOf,
    New,
    Ready, //
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

/// How the VFS is told that only times have changed, so that it has the inode written in a while. Nobody else marks an
/// inode so: in the VFS `I_DIRTY_SYNC` goes with this mark.
pub(super) const TIMES_CHANGED: c_int = bindings::I_DIRTY_DATASYNC;

/// An inode of filesystem `T`.
///
/// # Invariants
///
/// `head` has one of a super block of `T`, and `writes` is initialised. Where a reference to an
/// `INode` is given to safe code, `has_data` is set and `data` initialised, until the inode is destroyed.
#[repr(C)]
pub(crate) struct INode<T: FileSystem> {
    /// First, so that it has the same address as the VFS's inode.
    head: Head,
    has_data: Atomic<bool>,
    /// Writes that have ended. It lives as long as the inode, which those that are not finished keep alive.
    writes: ioend::Queue<T>,
    data: UnsafeCell<MaybeUninit<T::INodeData>>,
    _p: PhantomData<T>,
}

// SAFETY: The VFS's fields are guarded by its locks, or are words that anybody may read; `T::INodeData` is
// `Send + Sync`; `has_data` is atomic.
unsafe impl<T: FileSystem> Send for INode<T> {}
// SAFETY: As above.
unsafe impl<T: FileSystem> Sync for INode<T> {}

/// A reference to an inode, while its super block is there: `'a` is that of who has lent the super block or another
/// inode of it, so that nothing that outlives the mount can keep one.
///
/// # Invariants
///
/// A counted reference on an inode of `T` that is ready.
pub(crate) struct InodeRef<'a, T: FileSystem>(NonNull<INode<T>>, PhantomData<&'a INode<T>>);

// SAFETY: The VFS counts references atomically; they may be given up in any task.
unsafe impl<T: FileSystem> Send for InodeRef<'_, T> {}
// SAFETY: Shared, it is a shared inode.
unsafe impl<T: FileSystem> Sync for InodeRef<'_, T> {}

impl<T: FileSystem> InodeRef<'_, T> {
    /// # Safety
    ///
    /// The type's invariants must hold; the value takes over the reference. The super block must be there for the
    /// lifetime.
    pub(super) unsafe fn from_raw(inode: NonNull<bindings::inode>) -> Self {
        // INVARIANT: By the function's requirements.
        Self(inode.cast(), PhantomData)
    }

    /// Gives up the value, not the reference.
    pub(super) fn into_raw(self) -> *mut bindings::inode {
        ManuallyDrop::new(self).0.as_ptr().cast()
    }
}

impl<T: FileSystem> Deref for InodeRef<'_, T> {
    type Target = INode<T>;

    fn deref(&self) -> &INode<T> {
        // SAFETY: By the type's invariants.
        unsafe { self.0.as_ref() }
    }
}

impl<T: FileSystem> Drop for InodeRef<'_, T> {
    fn drop(&mut self) {
        // SAFETY: Our reference, which is not used afterwards.
        unsafe { bindings::iput(self.0.as_ptr().cast()) };
    }
}

impl<T: FileSystem> Deref for INode<T> {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.head.inode
    }
}

/// How [`INode::get`] found an inode.
pub(super) enum Got<'a, T: FileSystem> {
    /// In memory.
    Cached(InodeRef<'a, T>),
    /// Not in memory: it must be read.
    New(New<'a, T>),
}

impl<T: FileSystem> INode<T> {
    /// # Safety
    ///
    /// The type's invariants must hold for `inode`, for the lifetime of the reference.
    pub(super) unsafe fn from_raw<'a>(inode: *mut bindings::inode) -> &'a Self {
        // SAFETY: The inode is at the beginning of `Self`; the rest is the function's requirements.
        unsafe { &*inode.cast() }
    }

    /// A new reference.
    pub(super) fn to_ref(&self) -> InodeRef<'_, T> {
        // SAFETY: Whoever lends the inode has a reference, so the count is not zero.
        unsafe { bindings::ihold(self.as_raw()) };
        // SAFETY: The reference that was just taken is the value's; `self` is ready.
        unsafe { InodeRef::from_raw(NonNull::from(self).cast()) }
    }

    /// Finds inode `number` in memory, or allocates it, locked as new.
    ///
    /// Waits while another task reads or evicts the inode.
    pub(super) fn get(sb: &SuperBlock<T>, number: u32) -> Result<Got<'_, T>> {
        // SAFETY: The super block is valid.
        let inode = unsafe { bindings::iget_locked(sb.as_raw(), number.into()) };
        let inode = NonNull::new(inode).ok_or(ENOMEM)?;
        // SAFETY: Valid, as we have a reference; `Common` is a transparent wrapper.
        if unsafe { inode.cast::<Common>().as_ref() }.is_locked_as_new() {
            // SAFETY: Ours, and locked as new by the callee.
            return Ok(Got::New(unsafe { New::of(inode) }));
        }
        // SAFETY: Found in the hash table and not new, so it has its data; the reference is ours.
        Ok(Got::Cached(unsafe { InodeRef::from_raw(inode) }))
    }

    /// Allocates an inode that nobody can find.
    pub(crate) fn new(sb: &SuperBlock<T>) -> Result<New<'_, T>> {
        // SAFETY: The super block is valid.
        let inode = unsafe { bindings::new_inode(sb.as_raw()) };
        let inode = NonNull::new(inode).ok_or(ENOMEM)?;
        // SAFETY: Ours, and known to nobody.
        Ok(unsafe { New::of(inode) })
    }

    /// The filesystem's own data.
    pub(crate) fn data(&self) -> &T::INodeData {
        // SAFETY: Initialised, by the type's invariants, and then only shared.
        unsafe { (*self.data.get()).assume_init_ref() }
    }

    /// Writes that have ended.
    pub(super) fn writes(&self) -> &ioend::Queue<T> {
        &self.writes
    }

    /// The super block.
    pub(crate) fn super_block(&self) -> &SuperBlock<T> {
        // SAFETY: By the type's invariants a super block of `T`; its data is there, as there are inodes.
        unsafe { SuperBlock::from_raw((*self.as_raw()).i_sb) }
    }
}

/// `i_lock`, under which no lock is taken: words of an inode that belong together are set.
struct Fields<'a>(&'a Common, NotThreadSafe);

impl Common {
    /// Locks `i_lock`. Nothing sleeps while it is held.
    fn lock_fields(&self) -> Fields<'_> {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::spin_lock(&raw mut (*self.as_raw()).i_lock) };
        Fields(self, NotThreadSafe)
    }
}

impl Drop for Fields<'_> {
    fn drop(&mut self) {
        // SAFETY: Held by this guard.
        unsafe { bindings::spin_unlock(&raw mut (*self.0.as_raw()).i_lock) };
    }
}

/// What an inode has, whatever the filesystem, and from the beginning: a [`New`] and an [`INode`] are one.
///
/// # Invariants
///
/// Wraps a valid `struct inode`.
#[repr(transparent)]
pub(crate) struct Common(Opaque<bindings::inode>);

impl Common {
    /// The C structure.
    pub(super) fn as_raw(&self) -> *mut bindings::inode {
        self.0.get()
    }

    /// The number.
    pub(crate) fn number(&self) -> u64 {
        // SAFETY: Valid by the type's invariants; set before others know the inode.
        unsafe { (*self.as_raw()).i_ino }
    }

    /// The mode: file type and permissions.
    pub(crate) fn mode(&self) -> u16 {
        // SAFETY: Valid by the type's invariants; any value may be read.
        unsafe { ptr::addr_of!((*self.as_raw()).i_mode).read_volatile() }
    }

    /// The file type. An [`INode`] has one.
    pub(crate) fn kind(&self) -> Option<Kind> {
        Kind::from_mode(self.mode())
    }

    /// Whether it is a regular file.
    pub(crate) fn is_regular(&self) -> bool {
        self.kind() == Some(Kind::Regular)
    }

    /// Whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.kind() == Some(Kind::Directory)
    }

    /// Whether it can be found, and whoever does waits until it is ready (`I_NEW`).
    pub(super) fn is_locked_as_new(&self) -> bool {
        // SAFETY: Valid by the type's invariants; a word is read at once.
        unsafe { bindings::inode_is_new(self.as_raw()) }
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

    /// Sets the number of links. Whoever works it out from the old number keeps others from doing so, by `i_rwsem`.
    pub(crate) fn set_links(&self, links: u32) {
        let _fields = self.lock_fields();
        // SAFETY: Valid by the type's invariants. Nobody else sets the number, nor the count of the super block that
        // goes with it: all who do are here. Others read it at any time, as a word.
        unsafe { bindings::set_nlink(self.as_raw(), links) };
    }

    /// Sets the permissions; the type of file stays. Who works them out from the old ones keeps others from doing so,
    /// by `i_rwsem`.
    pub(crate) fn set_permissions(&self, mode: u16) {
        let file_type = bindings::S_IFMT as u16;
        let mode = self.mode() & file_type | mode & !file_type;
        // SAFETY: Valid by the type's invariants. Others read it at any time, as a word.
        unsafe { (&raw mut (*self.as_raw()).i_mode).write_volatile(mode) };
    }

    /// The device number of a device special file: 12 bits major, 20 bits minor.
    pub(crate) fn device(&self) -> u32 {
        // SAFETY: Valid by the type's invariants; set before others know the inode.
        unsafe { (*self.as_raw()).i_rdev }
    }

    /// The size in bytes.
    pub(crate) fn size(&self) -> u64 {
        // SAFETY: Valid by the type's invariants.
        let size = unsafe { bindings::i_size_read(self.as_raw()) };
        // A size is never negative; `set_size` sees to that.
        u64::try_from(size).unwrap_or(0)
    }

    /// Sets the size in bytes. Where another task does so too, one of the two comes last.
    pub(crate) fn set_size(&self, size: u64) {
        // With less there is a sequence count around the size, which must not be raised by two tasks at once.
        const { assert!(usize::BITS >= i64::BITS) };
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        // SAFETY: Valid by the type's invariants; a word is stored at once, with `smp_store_release()`.
        unsafe { bindings::i_size_write(self.as_raw(), size) };
    }

    /// The space that it takes, in units of 512 bytes.
    pub(crate) fn blocks(&self) -> u64 {
        // SAFETY: Valid by the type's invariants; a word is read at once.
        unsafe { ptr::read_volatile(&raw const (*self.as_raw()).i_blocks) as u64 }
    }

    /// Sets it.
    pub(crate) fn set_blocks(&self, sectors: u64) {
        // SAFETY: Valid by the type's invariants; a word is stored at once, with `WRITE_ONCE()`.
        unsafe { bindings::inode_set_sectors(self.as_raw(), sectors as _) };
    }

    /// A timestamp.
    pub(crate) fn time(&self, which: Time) -> Timestamp {
        let get = match which {
            Time::Access => bindings::inode_get_atime,
            Time::Modify => bindings::inode_get_mtime,
            Time::Change => bindings::inode_get_ctime,
        };
        // SAFETY: Valid by the type's invariants; words that anybody may read.
        Timestamp::from_raw(unsafe { get(self.as_raw()) })
    }

    /// Sets the change time to the present.
    pub(crate) fn touch_inode(&self) {
        self.set_change_time(&self.lock_fields());
    }

    /// Sets the times of the last change of data and inode to the present.
    pub(crate) fn touch(&self) {
        let fields = self.lock_fields();
        let now = self.set_change_time(&fields);
        // SAFETY: As for the change time. Seconds and nanoseconds are two words: who reads them meanwhile may get one
        // of the old time, as is so for all filesystems.
        unsafe { bindings::inode_set_mtime_to_ts(self.as_raw(), now) };
    }

    fn set_change_time(&self, _fields: &Fields<'_>) -> bindings::timespec64 {
        // SAFETY: Valid by the type's invariants. What is done by others at the same time, a page fault or a read of
        // the kernel's own, takes no lock either: these are words, stored one by one.
        unsafe { bindings::inode_set_ctime_current(self.as_raw()) }
    }

    /// The version as it is stored.
    pub(crate) fn version(&self) -> u64 {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::inode_peek_iversion(self.as_raw()) }
    }

    /// Raises the version, as the inode changes.
    pub(crate) fn raise_version(&self) {
        // SAFETY: Valid by the type's invariants; raised atomically.
        unsafe { bindings::inode_inc_iversion(self.as_raw()) };
    }

    /// Sets those of [`flags`] that are in `set`, and clears the others.
    pub(crate) fn set_flags(&self, set: u32) {
        // SAFETY: Valid by the type's invariants; changed atomically.
        unsafe { bindings::inode_set_flags(self.as_raw(), set, flags::ALL) };
    }

    /// The inode leaves memory as soon as nobody uses it, as do the names that lead to it: what can only be decided
    /// when it comes into memory is to be decided anew.
    pub(crate) fn keep_no_longer(&self) {
        // SAFETY: Valid by the type's invariants; the callee takes `i_lock`.
        unsafe { bindings::d_mark_dontcache(self.as_raw()) };
    }

    /// Sets the generation number.
    pub(crate) fn set_generation(&self, generation: u32) {
        // SAFETY: Valid by the type's invariants; a word is written at once.
        unsafe { ptr::write_volatile(&raw mut (*self.as_raw()).i_generation, generation) };
    }

    /// Sets one of the flags that are not among [`flags`].
    pub(super) fn set_flag(&self, flag: u32) {
        // SAFETY: Valid by the type's invariants; changed atomically.
        unsafe { bindings::inode_set_flags(self.as_raw(), flag, flag) };
    }

    fn has_flag(&self, flag: u32) -> bool {
        // SAFETY: Valid by the type's invariants; a word is read at once.
        let flags = unsafe { ptr::read_volatile(&raw const (*self.as_raw()).i_flags) };
        flags & flag != 0
    }

    /// Whether nothing of the inode may be changed.
    pub(crate) fn is_immutable(&self) -> bool {
        self.has_flag(flags::IMMUTABLE)
    }

    /// Whether data can only be added at the end.
    pub(crate) fn is_append_only(&self) -> bool {
        self.has_flag(flags::APPEND)
    }

    /// Whether the file is swapped to.
    pub(crate) fn is_swap_file(&self) -> bool {
        self.has_flag(bindings::S_SWAPFILE)
    }

    /// Whether it is a file that has no page cache, as its blocks are memory ([`super::dax`]).
    #[inline]
    pub(crate) fn is_dax(&self) -> bool {
        // SAFETY: Valid by the type's invariants; a word is read at once.
        let flags = unsafe { ptr::read_volatile(&raw const (*self.as_raw()).i_flags) };
        // Where the kernel has no DAX, this is no bit.
        flags & bindings::S_DAX != 0
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
}
