// SPDX-License-Identifier: GPL-2.0

//! Inodes on their way: allocated or read, but not known to everybody yet.
//!
//! Both types own a reference, and the lock as new where there is one. Neither can be shared by tasks.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)
//!
//! # Examples
//!
//! ```ignore
//! let new = INode::<MyFs>::new(dir.super_block())?;
//! new.set_owner(idmap, dir, mode, GroupOf::Task)?;
//! let now = new.set_times_now();
//! let ready = new.init(Body::Plain, MyData::new(now))?;
//! ```

use super::super::{
    attr::Idmap,
    bindings,
    compat,
    fs::FileSystem,
    super_block::SuperBlock,
    time::Timestamp, //
};
use super::{
    Common,
    INode,
    InodeRef,
    Kind,
    Time, //
};
use core::{
    marker::PhantomData,
    mem::{
        self,
        ManuallyDrop, //
    },
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::atomic::Release, //
};

/// The bits of a mode that tell the file type.
const FILE_TYPE: u16 = bindings::S_IFMT as u16;

/// An inode that does not have its data yet. Dropped, it goes away again.
///
/// # Invariants
///
/// A reference on a valid inode of a super block of `T`, which either nobody else can find, or is locked as
/// new by us; `has_data` is not set. Where the file type is set, it stays.
pub(crate) struct New<'a, T: FileSystem>(NonNull<bindings::inode>, PhantomData<&'a INode<T>>);

// SAFETY: An inode is not bound to a task.
unsafe impl<T: FileSystem> Send for New<'_, T> {}

/// Whose group a new inode gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupOf {
    /// That of the task, or that of the directory if it has the set-group-ID bit.
    Task,
    /// That of the directory, always.
    Directory,
}

impl<'a, T: FileSystem> New<'a, T> {
    /// # Safety
    ///
    /// The type's invariants must hold; the value takes over the reference.
    pub(super) unsafe fn of(inode: NonNull<bindings::inode>) -> Self {
        // INVARIANT: By the function's requirements.
        Self(inode, PhantomData)
    }

    /// There are no access control lists of the inode: the VFS need not ask for them on each step of a path.
    pub(crate) fn set_no_acl(&self) {
        // SAFETY: Valid by the type's invariants, and not known to everybody yet.
        unsafe { bindings::cache_no_acl(self.as_raw()) };
    }

    /// The super block.
    pub(in crate::linux) fn super_block(&self) -> &'a SuperBlock<T> {
        // SAFETY: By the type's invariants an inode of a super block of `T`, whose data is there: only then there are
        // inodes.
        unsafe { SuperBlock::from_raw((*self.as_raw()).i_sb) }
    }

    /// Gives an inode from [`INode::new`] its number, from which it can be found, locked as new.
    ///
    /// # Errors
    ///
    /// `EBUSY` where there is an inode with this number in memory already.
    pub(crate) fn insert(&self, number: u32) -> Result {
        if self.is_locked_as_new() {
            return Err(EBUSY);
        }
        // SAFETY: Valid by the type's invariants, and not in the hash table yet.
        unsafe { (*self.as_raw()).i_ino = number.into() };
        // SAFETY: As above. If it succeeds, the inode is locked as new.
        to_result(unsafe { bindings::insert_inode_locked(self.as_raw()) })
    }

    /// Sets owner, group and mode from the task that creates the inode in `dir`; the group from `dir` where `group`
    /// says so. A directory with the set-group-ID bit gives its group, too, and the bit to directories.
    ///
    /// # Errors
    ///
    /// `EINVAL` where the inode has another file type already.
    pub(crate) fn set_owner(
        &self,
        idmap: &Idmap,
        dir: &INode<T>,
        mode: u16,
        group: GroupOf,
    ) -> Result {
        self.check_type(mode)?;
        // SAFETY: Valid by the type's invariants. INVARIANT: The type is new, or stays.
        unsafe { bindings::inode_init_owner(idmap.as_raw(), self.as_raw(), dir.as_raw(), mode) };
        if group == GroupOf::Directory {
            // SAFETY: Valid by the type's invariants. As for the function above, a change meanwhile may be seen or not.
            let gid = unsafe { (*dir.as_raw()).i_gid };
            // SAFETY: Valid by the type's invariants, and not known to everybody yet.
            unsafe { (*self.as_raw()).i_gid = gid };
            // SAFETY: As above. INVARIANT: The type is new, or stays.
            unsafe { (*self.as_raw()).i_mode = mode };
        }
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
        unsafe { bindings::i_uid_write(self.as_raw(), uid) };
        // SAFETY: As above.
        unsafe { bindings::i_gid_write(self.as_raw(), gid) };
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

    /// Sets the filesystem's data.
    ///
    /// # Safety
    ///
    /// It must not have been set.
    pub(in crate::linux) unsafe fn set_data(
        &self,
        data: impl PinInit<T::INodeData, Error>,
    ) -> Result {
        let this = self.0.cast::<INode<T>>();
        // SAFETY: Nobody else uses the field before `has_data` is set, and it does not move, as inodes do
        // not. If the initialiser fails the field stays uninitialised and `has_data` unset.
        unsafe {
            compat::raw_try_init((*this.as_ptr()).data.get().cast::<T::INodeData>(), data)?;
        }
        Ok(())
    }

    /// It can be used.
    ///
    /// # Safety
    ///
    /// The inode must have the operations of its type of file, for inodes of `T`, and its data ([`Self::set_data`]).
    pub(in crate::linux) unsafe fn finish(self) -> Ready<'a, T> {
        let this = self.0.cast::<INode<T>>();
        // Who finds it set, as `SuperBlock::for_each_inode_data` may, finds the data.
        // SAFETY: Initialised when the inode was allocated, and atomic.
        unsafe { (*this.as_ptr()).has_data.store(true, Release) };
        let this = ManuallyDrop::new(self);
        // SAFETY: The invariants of `INode` hold now, and the reference passes on. INVARIANT: As ours.
        Ready(ManuallyDrop::new(unsafe { InodeRef::from_raw(this.0) }))
    }
}

/// What can be told of an inode while nobody else tells anything.
impl<T: FileSystem> New<'_, T> {
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

    /// Sets a timestamp.
    pub(crate) fn set_time(&self, which: Time, time: Timestamp) {
        let time = time.into_raw();
        let set = match which {
            Time::Access => bindings::inode_set_atime_to_ts,
            Time::Modify => bindings::inode_set_mtime_to_ts,
            Time::Change => bindings::inode_set_change_time,
        };
        // SAFETY: Valid by the type's invariants.
        unsafe { set(self.as_raw(), time) };
    }
}

impl<T: FileSystem> Deref for New<'_, T> {
    type Target = Common;

    fn deref(&self) -> &Common {
        // SAFETY: Valid by the type's invariants; `Common` is a transparent wrapper.
        unsafe { self.0.cast().as_ref() }
    }
}

impl<T: FileSystem> Drop for New<'_, T> {
    fn drop(&mut self) {
        if !self.is_locked_as_new() {
            // SAFETY: Our reference; nobody can find the inode.
            unsafe { bindings::iput(self.as_raw()) };
            return;
        }
        if self.kind() == Some(Kind::Symlink) {
            // It becomes a regular file, of which nobody would expect a target.
            // SAFETY: Nobody uses an inode that did not become ready. In a symbolic link this is null or the target.
            let target = unsafe {
                mem::replace(
                    &mut (*self.as_raw()).__bindgen_anon_5.i_link,
                    ptr::null_mut(),
                )
            };
            // SAFETY: `New::init` has allocated it with `kmalloc`, and nobody has another pointer.
            unsafe { bindings::kfree(target.cast()) };
        }
        // SAFETY: Our reference, and the inode is locked as new by us.
        unsafe { bindings::iget_failed(self.as_raw()) };
    }
}

/// An inode with its data that is still locked as new. Dropped, it leaves memory again, and the disk too if
/// it has no links.
///
/// # Invariants
///
/// The reference is there until the value is consumed or dropped.
pub(crate) struct Ready<'a, T: FileSystem>(ManuallyDrop<InodeRef<'a, T>>);

impl<'a, T: FileSystem> Ready<'a, T> {
    /// Gives up the type without its destructor.
    pub(in crate::linux) fn into_inner(self) -> InodeRef<'a, T> {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is neither used nor dropped afterwards.
        unsafe { ManuallyDrop::take(&mut this.0) }
    }

    /// Lets everybody use the inode.
    pub(crate) fn unlock(self) -> InodeRef<'a, T> {
        let inode = self.into_inner();
        // One that was never put in the hash table is not locked.
        if inode.is_locked_as_new() {
            // SAFETY: We have a reference, and the lock.
            unsafe { bindings::unlock_new_inode(inode.as_raw()) };
        }
        inode
    }
}

impl<T: FileSystem> Deref for Ready<'_, T> {
    type Target = INode<T>;

    fn deref(&self) -> &INode<T> {
        &self.0
    }
}

impl<T: FileSystem> Drop for Ready<'_, T> {
    fn drop(&mut self) {
        // SAFETY: Not used afterwards.
        let inode = unsafe { ManuallyDrop::take(&mut self.0) };
        if inode.is_locked_as_new() {
            // SAFETY: The callee takes our reference, and the lock.
            unsafe { bindings::discard_new_inode(inode.into_raw()) };
        }
    }
}
