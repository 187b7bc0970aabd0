// SPDX-License-Identifier: GPL-2.0

//! The C side of [`super::Attributes`] and the operations of the types of file: the functions that the VFS calls.
//!
//! What is lent is lent for the call; a new inode's reference passes to the dentry.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)
//!
//! # Locks
//!
//! The VFS holds what is said at each function (`Documentation/filesystems/locking.rst`).

use super::super::{
    acl,
    attr::{
        Attr,
        Idmap,
        Stat,
        Wanted, //
    },
    bindings,
    compat,
    dentry::Entry,
    fiemap::ExtentInfo,
    fileattr::FileAttr,
    fs::FileSystem,
    inode::{
        INode,
        InodeRef,
        Ready,
        TIMES_CHANGED, //
    },
    xattr::Handlers, //
};
use super::{
    Attributes,
    DirectoryOperations,
    RegularOperations,
    Rename,
    SymlinkOperations, //
};
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    ffi::{
        c_char,
        c_int,
        c_uint,
        c_void, //
    },
    prelude::*, //
};

/// The tables for inodes of a filesystem `T` that have attributes only.
pub(in crate::linux) struct Tables<T>(PhantomData<T>);

/// The table for inodes with the operations `O`.
pub(in crate::linux) struct Table<O>(PhantomData<O>);

/// Marks a dentry's new inode as its own.
///
/// # Safety
///
/// `dentry` must be a valid dentry without an inode, in a directory that is locked exclusively.
unsafe fn instantiate<T: FileSystem>(dentry: *mut bindings::dentry, inode: Ready<'_, T>) {
    let inode = inode.into_inner();
    if inode.is_locked_as_new() {
        // SAFETY: By the function's requirements; the reference passes on. A ready inode that was put in the hash
        // table is locked as new by us, which the callee undoes.
        unsafe { bindings::d_instantiate_new(dentry, inode.into_raw()) };
    } else {
        // SAFETY: By the function's requirements; the reference passes on.
        unsafe { bindings::d_instantiate(dentry, inode.into_raw()) };
    }
}

/// A pointer, or an error as one.
fn pointer<P>(result: Result<*mut P>) -> *mut P {
    match result {
        Ok(pointer) => pointer,
        Err(error) => error.to_ptr(),
    }
}

impl<T: Attributes> Tables<T> {
    /// Devices, pipes, sockets.
    pub(in crate::linux) const SPECIAL: bindings::inode_operations = bindings::inode_operations {
        setattr: Some(Self::setattr),
        getattr: Some(Self::getattr),
        update_time: Some(Self::update_time),
        fileattr_get: Some(Self::fileattr_get),
        fileattr_set: Some(Self::fileattr_set),
        listxattr: Some(Handlers::<T>::list),
        get_inode_acl: Some(acl::get::<T>),
        set_acl: Some(acl::set::<T>),
        ..pin_init::zeroed()
    };

    /// What symbolic links have: nobody asks whether the task may follow them.
    const LINK: bindings::inode_operations = bindings::inode_operations {
        get_inode_acl: None,
        set_acl: None,
        ..Self::SPECIAL
    };

    /// Symbolic links whose target the VFS knows, in `i_link`.
    pub(in crate::linux) const FAST_LINK: bindings::inode_operations = bindings::inode_operations {
        get_link: Some(bindings::simple_get_link),
        ..Self::LINK
    };

    /// `setattr`.
    ///
    /// # Safety
    ///
    /// For the VFS (`notify_change()`), with a dentry that has an inode of `T`, whose `i_rwsem` is held exclusively,
    /// and a change that is the caller's alone.
    unsafe extern "C" fn setattr(
        idmap: *mut bindings::mnt_idmap,
        dentry: *mut bindings::dentry,
        attr: *mut bindings::iattr,
    ) -> c_int {
        // SAFETY: By the function's requirements; an inode with a dentry is ready.
        let inode = unsafe { INode::from_raw((*dentry).d_inode) };
        // SAFETY: By the function's requirements.
        let mut attr = unsafe { Attr::from_raw(attr, dentry) };
        // SAFETY: By the function's requirements.
        let idmap = unsafe { Idmap::from_raw(idmap) };
        from_result(|| {
            T::setattr(idmap, inode, &mut attr)?;
            Ok(0)
        })
    }

    /// `getattr`.
    ///
    /// # Safety
    ///
    /// For the VFS (`vfs_getattr_nosec()`), with the path to an inode of `T`, and a structure that is the caller's
    /// alone, cleared. No lock is held.
    unsafe extern "C" fn getattr(
        idmap: *mut bindings::mnt_idmap,
        path: *const bindings::path,
        stat: *mut bindings::kstat,
        wanted: u32,
        _flags: c_uint,
    ) -> c_int {
        // SAFETY: By the function's requirements; an inode with a dentry is ready.
        let inode = unsafe { INode::from_raw((*(*path).dentry).d_inode) };
        // SAFETY: By the function's requirements.
        let stat = unsafe { Stat::from_raw(stat) };
        // SAFETY: By the function's requirements.
        let idmap = unsafe { Idmap::from_raw(idmap) };
        from_result(|| {
            T::getattr(idmap, inode, Wanted(wanted), stat)?;
            Ok(0)
        })
    }

    /// `update_time`: nothing is waited for, so not to wait (`IOCB_NOWAIT`) is no reason to refuse.
    ///
    /// # Safety
    ///
    /// For the VFS (`touch_atime()`, `file_update_time()`), with an inode of `T` that is ready, on a mount that may be
    /// written to.
    unsafe extern "C" fn update_time(
        inode: *mut bindings::inode,
        which: bindings::fs_update_time,
        _flags: c_uint,
    ) -> c_int {
        // SAFETY: By the function's requirements. Without `IOCB_NOWAIT` the version goes up in memory where it has to.
        let dirty = unsafe { bindings::inode_update_time(inode, which, 0) };
        if dirty <= 0 {
            return dirty;
        }
        // SAFETY: By the function's requirements.
        T::times_changed(unsafe { INode::from_raw(inode) });
        // With `lazytime` the VFS keeps the times.
        let how = match dirty & bindings::I_DIRTY_SYNC {
            0 => bindings::I_DIRTY_TIME,
            _ => TIMES_CHANGED,
        };
        // SAFETY: By the function's requirements.
        unsafe { bindings::__mark_inode_dirty(inode, how) };
        0
    }

    /// `fileattr_get`.
    ///
    /// # Safety
    ///
    /// For the VFS (`vfs_fileattr_get()`), with a dentry that has an inode of `T`, and a structure that is the caller's
    /// alone, cleared. `i_rwsem` may be held.
    unsafe extern "C" fn fileattr_get(
        dentry: *mut bindings::dentry,
        attr: *mut kernel::bindings::file_kattr,
    ) -> c_int {
        // SAFETY: By the function's requirements; an inode with a dentry is ready.
        let inode = unsafe { INode::from_raw((*dentry).d_inode) };
        // SAFETY: By the function's requirements.
        let attr = unsafe { FileAttr::from_raw(attr.cast()) };
        from_result(|| {
            T::get_flags(inode, attr)?;
            Ok(0)
        })
    }

    /// `fileattr_set`.
    ///
    /// # Safety
    ///
    /// For the VFS (`vfs_fileattr_set()`), with a dentry that has an inode of `T`, whose `i_rwsem` is held
    /// exclusively, and a change that is the caller's alone.
    unsafe extern "C" fn fileattr_set(
        _idmap: *mut bindings::mnt_idmap,
        dentry: *mut bindings::dentry,
        attr: *mut kernel::bindings::file_kattr,
    ) -> c_int {
        // SAFETY: By the function's requirements; an inode with a dentry is ready.
        let inode = unsafe { INode::from_raw((*dentry).d_inode) };
        // SAFETY: By the function's requirements.
        let attr = unsafe { FileAttr::from_raw(attr.cast()) };
        from_result(|| {
            T::set_flags(inode, attr)?;
            Ok(0)
        })
    }
}

impl<O: RegularOperations> Table<O> {
    /// Regular files.
    pub(in crate::linux) const REGULAR: bindings::inode_operations = bindings::inode_operations {
        fiemap: Some(Self::fiemap),
        ..Tables::<O::FileSystem>::SPECIAL
    };

    /// `fiemap`.
    ///
    /// # Safety
    ///
    /// For the VFS (`ioctl_fiemap()`), with a regular file of `O::FileSystem` that is open, and a structure that is the
    /// caller's alone.
    unsafe extern "C" fn fiemap(
        inode: *mut bindings::inode,
        info: *mut kernel::bindings::fiemap_extent_info,
        start: u64,
        len: u64,
    ) -> c_int {
        // SAFETY: By the function's requirements.
        unsafe {
            fiemap(inode, info, |inode, info| {
                O::fiemap(inode, info, start, len)
            })
        }
    }
}

/// Has `answer` answer a `fiemap`.
///
/// # Safety
///
/// For the VFS (`ioctl_fiemap()`), with an inode of `T` that is open, and a structure that is the caller's alone.
unsafe fn fiemap<T: FileSystem>(
    inode: *mut bindings::inode,
    info: *mut kernel::bindings::fiemap_extent_info,
    answer: impl FnOnce(&INode<T>, &mut ExtentInfo) -> Result,
) -> c_int {
    // SAFETY: By the function's requirements.
    let inode = unsafe { INode::from_raw(inode) };
    // SAFETY: By the function's requirements.
    let info = unsafe { ExtentInfo::from_raw(info.cast()) };
    from_result(|| answer(inode, info).map(|()| 0))
}

impl<O: SymlinkOperations> Table<O> {
    /// Symbolic links whose target is asked for.
    pub(in crate::linux) const SYMLINK: bindings::inode_operations = bindings::inode_operations {
        get_link: Some(Self::get_link),
        ..Tables::<O::FileSystem>::LINK
    };

    /// `get_link`.
    ///
    /// # Safety
    ///
    /// For the VFS (`pick_link()`, `vfs_readlink()`), with a symbolic link of `O::FileSystem`. If `dentry` is null,
    /// that is under RCU; else there is a reference to the inode, and `done` may be set.
    unsafe extern "C" fn get_link(
        dentry: *mut bindings::dentry,
        inode: *mut bindings::inode,
        done: *mut bindings::delayed_call,
    ) -> *const c_char {
        if dentry.is_null() {
            // Under RCU: nothing may be read, and the inode may be going away.
            return ECHILD.to_ptr();
        }
        // SAFETY: By the function's requirements.
        let inode = unsafe { INode::from_raw(inode) };
        let target = O::read_link(inode).and_then(|mut target| {
            target.push(0, GFP_KERNEL)?;
            let (bytes, _, _) = target.into_raw_parts();
            // SAFETY: `done` is valid; the bytes were allocated by `kmalloc` and are freed by the call.
            unsafe { bindings::set_delayed_kfree(done, bytes.cast::<c_void>()) };
            Ok(bytes.cast::<c_char>())
        });
        pointer(target)
    }
}

impl<O: DirectoryOperations> compat::Create for Table<O> {
    /// # Safety
    ///
    /// For the VFS (`vfs_create()`, `lookup_open()`), with a directory of `O::FileSystem` whose `i_rwsem` is held
    /// exclusively, and a dentry in it that has no inode.
    unsafe fn create(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        mode: bindings::umode_t,
    ) -> c_int {
        // SAFETY: By the function's requirements.
        let (dir, entry) = unsafe { Self::place(dir, dentry) };
        // SAFETY: By the function's requirements.
        let idmap = unsafe { Idmap::from_raw(idmap) };
        from_result(|| {
            let inode = O::create(idmap, dir, entry.name(), mode)?;
            // SAFETY: By the function's requirements.
            unsafe { instantiate(dentry, inode) };
            Ok(0)
        })
    }
}

impl<O: DirectoryOperations> Table<O> {
    /// Directories.
    pub(in crate::linux) const DIRECTORY: bindings::inode_operations = bindings::inode_operations {
        lookup: Some(Self::lookup),
        fiemap: Some(Self::fiemap_dir),
        create: Some(compat::create::<Self>),
        link: Some(Self::link),
        unlink: Some(Self::unlink),
        symlink: Some(Self::symlink),
        mkdir: Some(Self::mkdir),
        rmdir: Some(Self::rmdir),
        mknod: Some(Self::mknod),
        rename: Some(Self::rename),
        tmpfile: Some(Self::tmpfile),
        ..Tables::<O::FileSystem>::SPECIAL
    };

    /// `fiemap` of a directory.
    ///
    /// # Safety
    ///
    /// For the VFS (`ioctl_fiemap()`), with a directory of `O::FileSystem` that is open, and a structure that is the
    /// caller's alone.
    unsafe extern "C" fn fiemap_dir(
        inode: *mut bindings::inode,
        info: *mut kernel::bindings::fiemap_extent_info,
        start: u64,
        len: u64,
    ) -> c_int {
        // SAFETY: By the function's requirements.
        unsafe {
            fiemap(inode, info, |inode, info| {
                O::fiemap(inode, info, start, len)
            })
        }
    }

    /// The directory and the name of a callback.
    ///
    /// # Safety
    ///
    /// `dir` must be a directory of `O::FileSystem` that is ready, and `dentry` an entry of it as [`Entry`] says,
    /// both for the lifetime.
    unsafe fn place<'a>(
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
    ) -> (&'a INode<O::FileSystem>, Entry<'a, O::FileSystem>) {
        // SAFETY: By the function's requirements.
        let dir = unsafe { INode::from_raw(dir) };
        // SAFETY: By the function's requirements.
        let entry = unsafe { Entry::from_raw(dentry) };
        (dir, entry)
    }

    /// `lookup`.
    ///
    /// # Safety
    ///
    /// For the VFS (`lookup_open()`, `__lookup_slow()`), with a directory of `O::FileSystem` whose `i_rwsem` is held,
    /// shared or exclusively, and a dentry in it that has no inode and that nobody else uses.
    unsafe extern "C" fn lookup(
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        _flags: c_uint,
    ) -> *mut bindings::dentry {
        // SAFETY: By the function's requirements.
        let (dir, entry) = unsafe { Self::place(dir, dentry) };
        pointer(O::lookup(dir, entry.name()).map(|inode| {
            let inode = inode.map_or(ptr::null_mut(), InodeRef::into_raw);
            // SAFETY: The dentry is new, and the reference passes on. Null stands for no inode.
            unsafe { bindings::d_splice_alias(inode, dentry) }
        }))
    }

    /// `mkdir`.
    ///
    /// # Safety
    ///
    /// For the VFS (`vfs_mkdir()`), as [`create`](compat::Create::create).
    unsafe extern "C" fn mkdir(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        mode: bindings::umode_t,
    ) -> *mut bindings::dentry {
        // SAFETY: By the function's requirements.
        let (dir, entry) = unsafe { Self::place(dir, dentry) };
        // SAFETY: By the function's requirements.
        let idmap = unsafe { Idmap::from_raw(idmap) };
        let mode = mode | bindings::S_IFDIR as bindings::umode_t;
        pointer(O::mkdir(idmap, dir, entry.name(), mode).map(|inode| {
            // SAFETY: By the function's requirements.
            unsafe { instantiate(dentry, inode) };
            ptr::null_mut()
        }))
    }

    /// `mknod`.
    ///
    /// # Safety
    ///
    /// For the VFS (`vfs_mknod()`), as [`create`](compat::Create::create).
    unsafe extern "C" fn mknod(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        mode: bindings::umode_t,
        device: bindings::dev_t,
    ) -> c_int {
        // SAFETY: By the function's requirements.
        let (dir, entry) = unsafe { Self::place(dir, dentry) };
        // SAFETY: By the function's requirements.
        let idmap = unsafe { Idmap::from_raw(idmap) };
        from_result(|| {
            let inode = O::mknod(idmap, dir, entry.name(), mode, device)?;
            // SAFETY: By the function's requirements.
            unsafe { instantiate(dentry, inode) };
            Ok(0)
        })
    }

    /// `symlink`.
    ///
    /// # Safety
    ///
    /// For the VFS (`vfs_symlink()`), as [`create`](compat::Create::create), with a string.
    unsafe extern "C" fn symlink(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        target: *const c_char,
    ) -> c_int {
        // SAFETY: By the function's requirements.
        let (dir, entry) = unsafe { Self::place(dir, dentry) };
        // SAFETY: By the function's requirements.
        let idmap = unsafe { Idmap::from_raw(idmap) };
        // SAFETY: By the function's requirements.
        let target = unsafe { CStr::from_char_ptr(target) };
        from_result(|| {
            let inode = O::symlink(idmap, dir, entry.name(), target.to_bytes())?;
            // SAFETY: By the function's requirements.
            unsafe { instantiate(dentry, inode) };
            Ok(0)
        })
    }

    /// `tmpfile`.
    ///
    /// # Safety
    ///
    /// For the VFS (`vfs_tmpfile()`), with a directory of `O::FileSystem` that is not locked, and a file that is being
    /// opened, whose dentry has no inode and is nobody else's.
    unsafe extern "C" fn tmpfile(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        file: *mut bindings::file,
        mode: bindings::umode_t,
    ) -> c_int {
        // SAFETY: By the function's requirements.
        let dir = unsafe { INode::from_raw(dir) };
        // SAFETY: By the function's requirements.
        let idmap = unsafe { Idmap::from_raw(idmap) };
        from_result(|| {
            let inode = O::tmpfile(idmap, dir, mode)?.unlock();
            // SAFETY: By the function's requirements.
            let dentry = unsafe { (*file).__bindgen_anon_1.f_path.dentry };
            // SAFETY: By the function's requirements; the inode is ready, and gets its name from its number.
            unsafe { bindings::d_mark_tmpfile(file, inode.as_raw()) };
            // SAFETY: As above; the reference passes on.
            unsafe { bindings::d_instantiate(dentry, inode.into_raw()) };
            // SAFETY: By the function's requirements; the dentry has its inode.
            to_result(unsafe { bindings::finish_open_simple(file, 0) })?;
            Ok(0)
        })
    }

    /// `link`.
    ///
    /// # Safety
    ///
    /// For the VFS (`vfs_link()`), as [`create`](compat::Create::create), with another dentry whose inode's
    /// `i_rwsem` is held exclusively, too.
    unsafe extern "C" fn link(
        old: *mut bindings::dentry,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
    ) -> c_int {
        // SAFETY: By the function's requirements.
        let (dir, entry) = unsafe { Self::place(dir, dentry) };
        // SAFETY: By the function's requirements; an inode with a dentry is ready.
        let inode = unsafe { INode::<O::FileSystem>::from_raw((*old).d_inode) };
        from_result(|| {
            O::link(inode, dir, entry.name())?;
            // SAFETY: By the function's requirements; the reference passes on.
            unsafe { bindings::d_instantiate(dentry, inode.to_ref().into_raw()) };
            Ok(0)
        })
    }

    /// `unlink`.
    ///
    /// # Safety
    ///
    /// For the VFS (`vfs_unlink()`), with a directory of `O::FileSystem` and a dentry in it that has an inode.
    /// `i_rwsem` of both is held exclusively.
    unsafe extern "C" fn unlink(dir: *mut bindings::inode, dentry: *mut bindings::dentry) -> c_int {
        // SAFETY: By the function's requirements.
        let (dir, entry) = unsafe { Self::place(dir, dentry) };
        from_result(|| {
            O::unlink(dir, entry.name(), entry.inode().ok_or(ENOENT)?)?;
            Ok(0)
        })
    }

    /// `rmdir`.
    ///
    /// # Safety
    ///
    /// For the VFS (`vfs_rmdir()`), as [`Self::unlink`].
    unsafe extern "C" fn rmdir(dir: *mut bindings::inode, dentry: *mut bindings::dentry) -> c_int {
        // SAFETY: By the function's requirements.
        let (dir, entry) = unsafe { Self::place(dir, dentry) };
        from_result(|| {
            O::rmdir(dir, entry.name(), entry.inode().ok_or(ENOENT)?)?;
            Ok(0)
        })
    }

    /// `rename`.
    ///
    /// # Safety
    ///
    /// For the VFS (`vfs_rename()`), with two directories of `O::FileSystem`, which may be one, and a dentry in each,
    /// the old one with an inode. `i_rwsem` of the directories is held exclusively, that of the inodes too, but for a
    /// directory that stays in its own and is not replaced.
    unsafe extern "C" fn rename(
        idmap: *mut bindings::mnt_idmap,
        old_dir: *mut bindings::inode,
        old: *mut bindings::dentry,
        new_dir: *mut bindings::inode,
        new: *mut bindings::dentry,
        flags: c_uint,
    ) -> c_int {
        // SAFETY: By the function's requirements.
        let (old_dir, old) = unsafe { Self::place(old_dir, old) };
        // SAFETY: By the function's requirements.
        let (new_dir, new) = unsafe { Self::place(new_dir, new) };
        // SAFETY: By the function's requirements.
        let idmap = unsafe { Idmap::from_raw(idmap) };
        let how = Rename {
            old_dir,
            old,
            new_dir,
            new,
            flags,
        };
        from_result(|| {
            O::rename(idmap, &how)?;
            Ok(0)
        })
    }
}
