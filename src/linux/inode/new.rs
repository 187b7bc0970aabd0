// SPDX-License-Identifier: GPL-2.0

//! Inodes on their way: allocated or read, but not known to everybody yet.

use super::super::{attr::Idmap, bindings, fs::FileSystem, inode_ops::InodeTable, time::Timestamp};
use super::{flags, FileTable, INode, IntoRawInode, Kind, MappingTable, Time};
use core::{marker::PhantomData, mem::ManuallyDrop, ops::Deref, ptr::NonNull};
use kernel::{
    error::to_result,
    prelude::*,
    sync::{aref::ARef, atomic::Release},
};

/// The bits of a mode that tell the file type.
const FILE_TYPE: u16 = bindings::S_IFMT as u16;

/// An inode that does not have its data yet. Dropped, it goes away again.
///
/// # Invariants
///
/// A reference on a valid inode of a super block of `T`, which either nobody else can find, or is locked as
/// new by us; `has_data` is not set. Where the file type is set, it stays, and the operations are for it: what
/// `i_link`, `i_pipe` and `i_cdev` share is told apart by these.
pub(crate) struct New<T: FileSystem>(NonNull<bindings::inode>, PhantomData<T>);

// SAFETY: An inode is not bound to a task.
unsafe impl<T: FileSystem> Send for New<T> {}

impl<T: FileSystem> New<T> {
    /// # Safety
    ///
    /// The type's invariants must hold; the value takes over the reference.
    pub(super) unsafe fn of(inode: NonNull<bindings::inode>) -> Self {
        // There are no access control lists here, so that the VFS need not ask for them on each step of a path.
        // SAFETY: The inode is valid, and not known to everybody yet.
        unsafe { bindings::cache_no_acl(inode.as_ptr()) };
        // INVARIANT: By the function's requirements.
        Self(inode, PhantomData)
    }

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
    ///
    /// # Errors
    ///
    /// `EINVAL` where the inode has another file type already.
    pub(crate) fn set_owner(&self, idmap: &Idmap, dir: &INode<T>, mode: u16) -> Result {
        self.check_type(mode)?;
        // SAFETY: Valid by the type's invariants. INVARIANT: The type is new, or stays.
        unsafe { bindings::inode_init_owner(idmap.as_raw(), self.as_raw(), dir.as_raw(), mode) };
        Ok(())
    }

    /// Whether the inode has no file type yet, or that of `mode`.
    fn check_type(&self, mode: u16) -> Result {
        match self.mode() & FILE_TYPE {
            0 => Ok(()),
            kind if kind == mode & FILE_TYPE => Ok(()),
            _ => Err(EINVAL),
        }
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
    ///
    /// # Errors
    ///
    /// `EINVAL` where they are those of a link or a directory and the inode is none, or the other way round.
    pub(crate) fn set_operations(&self, table: InodeTable<T>) -> Result {
        let kind = Kind::from_mode(self.mode()).ok_or(EINVAL)?;
        let table = table.as_raw();
        if table.get_link.is_some() != (kind == Kind::Symlink)
            || table.lookup.is_some() != (kind == Kind::Directory)
        {
            return Err(EINVAL);
        }
        // SAFETY: Valid by the type's invariants; the table is for inodes of `T`. INVARIANT: And for the type.
        unsafe { (*self.as_raw()).i_op = table };
        Ok(())
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
    ///
    /// # Errors
    ///
    /// `EINVAL` where the inode has another file type already.
    pub(crate) fn set_mode(&self, mode: u16) -> Result {
        self.check_type(mode)?;
        // SAFETY: Valid by the type's invariants. INVARIANT: The type is new, or stays.
        unsafe { (*self.as_raw()).i_mode = mode };
        Ok(())
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
                // It becomes a regular file, of which nobody would expect one.
                let link = &mut (*self.as_raw()).__bindgen_anon_5.i_link;
                if bindings::inode_is_symlink(self.as_raw()) {
                    bindings::kfree((*link).cast());
                    *link = core::ptr::null_mut();
                }
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
    pub(in crate::linux) fn into_inner(self) -> ARef<INode<T>> {
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
