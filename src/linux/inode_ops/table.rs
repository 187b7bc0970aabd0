// SPDX-License-Identifier: GPL-2.0

//! The C side of [`Operations`]: the functions that the VFS calls.

use super::super::{
    attr::{Attr, Idmap, Stat, Wanted},
    bindings,
    dentry::Entry,
    fiemap::ExtentInfo,
    fileattr::FileAttr,
    fs::FileSystem,
    inode::{INode, IntoRawInode, Ready},
};
use super::{Operations, Rename};
use core::{marker::PhantomData, ptr};
use kernel::{
    error::{from_result, to_result, Result},
    ffi::{c_char, c_int, c_uint, c_void},
    prelude::*,
};

/// The tables for inodes with the operations `O`.
pub(super) struct Table<O>(PhantomData<O>);

/// Marks a dentry's new inode as its own.
///
/// # Safety
///
/// `dentry` must be a valid dentry without an inode, in a directory that is locked exclusively.
unsafe fn instantiate<T: FileSystem>(dentry: *mut bindings::dentry, inode: Ready<T>) {
    let inode = inode.into_inner();
    // SAFETY: By the caller's promise; the reference passes on. A ready inode that was put in the hash
    // table is locked as new, which is undone by this call; another one is not locked.
    unsafe {
        if bindings::inode_is_new(inode.as_raw()) {
            bindings::d_instantiate_new(dentry, inode.into_raw_inode());
        } else {
            bindings::d_instantiate(dentry, inode.into_raw_inode());
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

impl<O: Operations> Table<O> {
    pub(super) const OPERATIONS: bindings::inode_operations = bindings::inode_operations {
        lookup: if O::HAS_LOOKUP {
            Some(Self::lookup)
        } else {
            None
        },
        get_link: if O::HAS_READ_LINK {
            Some(Self::get_link)
        } else {
            None
        },
        create: if O::HAS_CREATE {
            Some(Self::create)
        } else {
            None
        },
        link: if O::HAS_LINK { Some(Self::link) } else { None },
        unlink: if O::HAS_UNLINK {
            Some(Self::unlink)
        } else {
            None
        },
        symlink: if O::HAS_SYMLINK {
            Some(Self::symlink)
        } else {
            None
        },
        mkdir: if O::HAS_MKDIR {
            Some(Self::mkdir)
        } else {
            None
        },
        rmdir: if O::HAS_RMDIR {
            Some(Self::rmdir)
        } else {
            None
        },
        mknod: if O::HAS_MKNOD {
            Some(Self::mknod)
        } else {
            None
        },
        rename: if O::HAS_RENAME {
            Some(Self::rename)
        } else {
            None
        },
        setattr: if O::HAS_SETATTR {
            Some(Self::setattr)
        } else {
            None
        },
        getattr: if O::HAS_GETATTR {
            Some(Self::getattr)
        } else {
            None
        },
        tmpfile: if O::HAS_TMPFILE {
            Some(Self::tmpfile)
        } else {
            None
        },
        fiemap: if O::HAS_FIEMAP {
            Some(Self::fiemap)
        } else {
            None
        },
        fileattr_get: if O::HAS_GET_FLAGS {
            Some(Self::fileattr_get)
        } else {
            None
        },
        fileattr_set: if O::HAS_SET_FLAGS {
            Some(Self::fileattr_set)
        } else {
            None
        },
        ..pin_init::zeroed()
    };

    pub(super) const LINK_OPERATIONS: bindings::inode_operations = bindings::inode_operations {
        get_link: Some(bindings::simple_get_link),
        ..Self::OPERATIONS
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
            let inode = inode.map_or(ptr::null_mut(), IntoRawInode::into_raw_inode);
            // SAFETY: The dentry is new, and the reference passes on. Null stands for no inode.
            unsafe { bindings::d_splice_alias(inode, dentry) }
        }))
    }

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

    unsafe extern "C" fn create(
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
                bindings::d_instantiate(
                    (*file).__bindgen_anon_1.f_path.dentry,
                    inode.into_raw_inode(),
                );
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
                bindings::d_instantiate(dentry, inode.to_ref().into_raw_inode());
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

    unsafe extern "C" fn setattr(
        idmap: *mut bindings::mnt_idmap,
        dentry: *mut bindings::dentry,
        attr: *mut bindings::iattr,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The VFS gives a dentry with its inode, which is locked, and a change that is ours.
            unsafe {
                let entry = Entry::from_raw(dentry);
                let inode = entry.inode().ok_or(ENOENT)?;
                O::setattr(Idmap::from_raw(idmap), &entry, inode, Attr::from_raw(attr))?;
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
                O::getattr(Idmap::from_raw(idmap), inode, wanted, Stat::from_raw(stat))?;
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
                O::get_flags(inode, FileAttr::from_raw(attr.cast()))?;
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
                O::set_flags(inode, FileAttr::from_raw(attr.cast()))?;
            }
            Ok(0)
        })
    }

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
