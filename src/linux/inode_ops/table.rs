// SPDX-License-Identifier: GPL-2.0

//! The C side of [`super::Attributes`] and the operations of the types of file: the functions that the VFS calls.

use super::super::{
    attr::{Attr, Idmap, Stat, Wanted},
    bindings, compat,
    dentry::Entry,
    fiemap::ExtentInfo,
    fileattr::FileAttr,
    fs::FileSystem,
    inode::{INode, InodeRef, Ready},
};
use super::{Attributes, DirectoryOperations, RegularOperations, Rename, SymlinkOperations};
use core::{marker::PhantomData, ptr};
use kernel::{
    error::{from_result, to_result, Result},
    ffi::{c_char, c_int, c_uint, c_void},
    prelude::*,
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
    // SAFETY: By the caller's promise; the reference passes on. A ready inode that was put in the hash
    // table is locked as new, which is undone by this call; another one is not locked.
    unsafe {
        if bindings::inode_is_new(inode.as_raw()) {
            bindings::d_instantiate_new(dentry, inode.into_raw());
        } else {
            bindings::d_instantiate(dentry, inode.into_raw());
        }
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
        fileattr_get: Some(Self::fileattr_get),
        fileattr_set: Some(Self::fileattr_set),
        ..pin_init::zeroed()
    };

    /// Symbolic links whose target the VFS knows, in `i_link`.
    pub(in crate::linux) const FAST_LINK: bindings::inode_operations = bindings::inode_operations {
        get_link: Some(bindings::simple_get_link),
        ..Self::SPECIAL
    };

    unsafe extern "C" fn setattr(
        idmap: *mut bindings::mnt_idmap,
        dentry: *mut bindings::dentry,
        attr: *mut bindings::iattr,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The VFS gives a dentry with its inode, which is locked, and a change that is ours.
            unsafe {
                let inode = INode::from_raw((*dentry).d_inode);
                let mut attr = Attr::from_raw(attr, dentry);
                T::setattr(Idmap::from_raw(idmap), inode, &mut attr)?;
            }
            Ok(0)
        })
    }

    unsafe extern "C" fn getattr(
        idmap: *mut bindings::mnt_idmap,
        path: *const bindings::path,
        stat: *mut bindings::kstat,
        wanted: u32,
        _flags: c_uint,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The VFS gives a path with an inode, and a structure that is ours to fill.
            unsafe {
                let inode = INode::from_raw((*(*path).dentry).d_inode);
                let wanted = Wanted(wanted);
                T::getattr(Idmap::from_raw(idmap), inode, wanted, Stat::from_raw(stat))?;
            }
            Ok(0)
        })
    }

    unsafe extern "C" fn fileattr_get(
        dentry: *mut bindings::dentry,
        attr: *mut kernel::bindings::file_kattr,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The VFS gives a dentry with its inode, and a structure that is ours to fill.
            unsafe {
                let inode = INode::from_raw((*dentry).d_inode);
                T::get_flags(inode, FileAttr::from_raw(attr.cast()))?;
            }
            Ok(0)
        })
    }

    unsafe extern "C" fn fileattr_set(
        _idmap: *mut bindings::mnt_idmap,
        dentry: *mut bindings::dentry,
        attr: *mut kernel::bindings::file_kattr,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The VFS gives a dentry with its inode, which is locked, and what is wanted.
            unsafe {
                let inode = INode::from_raw((*dentry).d_inode);
                T::set_flags(inode, FileAttr::from_raw(attr.cast()))?;
            }
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

    unsafe extern "C" fn fiemap(
        inode: *mut bindings::inode,
        info: *mut kernel::bindings::fiemap_extent_info,
        start: u64,
        len: u64,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The VFS gives an inode that is ready, and a structure that is ours to use.
            unsafe {
                O::fiemap(
                    INode::from_raw(inode),
                    ExtentInfo::from_raw(info.cast()),
                    start,
                    len,
                )?
            };
            Ok(0)
        })
    }
}

impl<O: SymlinkOperations> Table<O> {
    /// Symbolic links whose target is asked for.
    pub(in crate::linux) const SYMLINK: bindings::inode_operations = bindings::inode_operations {
        get_link: Some(Self::get_link),
        ..Tables::<O::FileSystem>::SPECIAL
    };

    unsafe extern "C" fn get_link(
        dentry: *mut bindings::dentry,
        inode: *mut bindings::inode,
        done: *mut bindings::delayed_call,
    ) -> *const c_char {
        if dentry.is_null() {
            // Under RCU: nothing may be read, and the inode may be going away.
            return ECHILD.to_ptr();
        }
        // SAFETY: With a dentry the inode has a reference and is ready.
        let target = O::read_link(unsafe { INode::from_raw(inode) }).and_then(|mut target| {
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
    unsafe fn create(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        mode: bindings::umode_t,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The VFS gives a directory that is ready and locked, and a dentry in it without an inode.
            unsafe {
                let name = Entry::<O::FileSystem>::from_raw(dentry).name();
                let inode = O::create(Idmap::from_raw(idmap), INode::from_raw(dir), name, mode)?;
                instantiate(dentry, inode);
            }
            Ok(0)
        })
    }
}

impl<O: DirectoryOperations> Table<O> {
    /// Directories.
    pub(in crate::linux) const DIRECTORY: bindings::inode_operations = bindings::inode_operations {
        lookup: Some(Self::lookup),
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

    unsafe extern "C" fn lookup(
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        _flags: c_uint,
    ) -> *mut bindings::dentry {
        // SAFETY: The VFS gives a directory that is ready, and a new dentry.
        let (dir, name) = unsafe {
            let entry = Entry::<O::FileSystem>::from_raw(dentry);
            (INode::from_raw(dir), entry.name())
        };
        pointer(O::lookup(dir, name).map(|inode| {
            let inode = inode.map_or(ptr::null_mut(), InodeRef::into_raw);
            // SAFETY: The dentry is new, and the reference passes on. Null stands for no inode.
            unsafe { bindings::d_splice_alias(inode, dentry) }
        }))
    }

    unsafe extern "C" fn mkdir(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        mode: bindings::umode_t,
    ) -> *mut bindings::dentry {
        // SAFETY: As in `create`.
        let result = unsafe {
            let name = Entry::<O::FileSystem>::from_raw(dentry).name();
            let mode = mode | bindings::S_IFDIR as bindings::umode_t;
            O::mkdir(Idmap::from_raw(idmap), INode::from_raw(dir), name, mode)
                .map(|inode| instantiate(dentry, inode))
        };
        pointer(result.map(|()| ptr::null_mut()))
    }

    unsafe extern "C" fn mknod(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        mode: bindings::umode_t,
        device: bindings::dev_t,
    ) -> c_int {
        from_result(|| {
            // SAFETY: As in `create`.
            unsafe {
                let name = Entry::<O::FileSystem>::from_raw(dentry).name();
                let inode = O::mknod(
                    Idmap::from_raw(idmap),
                    INode::from_raw(dir),
                    name,
                    mode,
                    device,
                )?;
                instantiate(dentry, inode);
            }
            Ok(0)
        })
    }

    unsafe extern "C" fn symlink(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        target: *const c_char,
    ) -> c_int {
        from_result(|| {
            // SAFETY: As in `create`; the target is a string.
            unsafe {
                let name = Entry::<O::FileSystem>::from_raw(dentry).name();
                let target = CStr::from_char_ptr(target).to_bytes();
                let inode = O::symlink(Idmap::from_raw(idmap), INode::from_raw(dir), name, target)?;
                instantiate(dentry, inode);
            }
            Ok(0)
        })
    }

    unsafe extern "C" fn tmpfile(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        file: *mut bindings::file,
        mode: bindings::umode_t,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The VFS gives a directory that is ready, and a file whose dentry has no inode.
            unsafe {
                let inode = O::tmpfile(Idmap::from_raw(idmap), INode::from_raw(dir), mode)?;
                let inode = inode.unlock();
                bindings::d_mark_tmpfile(file, inode.as_raw());
                bindings::d_instantiate((*file).__bindgen_anon_1.f_path.dentry, inode.into_raw());
                to_result(bindings::finish_open_simple(file, 0))?;
            }
            Ok(0)
        })
    }

    unsafe extern "C" fn link(
        old: *mut bindings::dentry,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
    ) -> c_int {
        from_result(|| {
            // SAFETY: As in `create`; the other dentry has an inode, which is locked.
            unsafe {
                let name = Entry::<O::FileSystem>::from_raw(dentry).name();
                let inode = INode::<O::FileSystem>::from_raw((*old).d_inode);
                O::link(inode, INode::from_raw(dir), name)?;
                bindings::d_instantiate(dentry, inode.to_ref().into_raw());
            }
            Ok(0)
        })
    }

    unsafe extern "C" fn unlink(dir: *mut bindings::inode, dentry: *mut bindings::dentry) -> c_int {
        from_result(|| {
            // SAFETY: The VFS gives a directory and a dentry in it, with its inode; both are locked.
            unsafe {
                let entry = Entry::from_raw(dentry);
                let inode = entry.inode().ok_or(ENOENT)?;
                O::unlink(INode::from_raw(dir), entry.name(), inode)?;
            }
            Ok(0)
        })
    }

    unsafe extern "C" fn rmdir(dir: *mut bindings::inode, dentry: *mut bindings::dentry) -> c_int {
        from_result(|| {
            // SAFETY: As in `unlink`.
            unsafe {
                let entry = Entry::from_raw(dentry);
                let inode = entry.inode().ok_or(ENOENT)?;
                O::rmdir(INode::from_raw(dir), entry.name(), inode)?;
            }
            Ok(0)
        })
    }

    unsafe extern "C" fn rename(
        idmap: *mut bindings::mnt_idmap,
        old_dir: *mut bindings::inode,
        old: *mut bindings::dentry,
        new_dir: *mut bindings::inode,
        new: *mut bindings::dentry,
        flags: c_uint,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The VFS gives directories and dentries in them; all are locked.
            unsafe {
                let how = Rename {
                    old_dir: INode::from_raw(old_dir),
                    old: Entry::from_raw(old),
                    new_dir: INode::from_raw(new_dir),
                    new: Entry::from_raw(new),
                    flags,
                };
                O::rename(Idmap::from_raw(idmap), &how)?;
            }
            Ok(0)
        })
    }
}
