// SPDX-License-Identifier: GPL-2.0

//! Operations of inodes: names in directories, attributes, symbolic links.
//!
//! A filesystem implements [`Operations`] once for each sort of inode, and gives an inode the
//! [`InodeTable`] of its sort.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    attr::{Attr, Idmap, Stat, Wanted},
    bindings,
    dentry::Entry,
    fiemap::ExtentInfo,
    fileattr::FileAttr,
    fs::FileSystem,
    inode::{INode, Ready},
};
use core::marker::PhantomData;
use kernel::{
    error::{Result, VTABLE_DEFAULT_ERROR},
    prelude::*,
    sync::aref::ARef,
};

mod table;

use table::Table;

/// A new name for an entry, as `rename(2)` wants it.
pub(crate) struct Rename<'a, T: FileSystem> {
    /// The directory that the entry is in.
    pub(crate) old_dir: &'a INode<T>,
    /// The entry; it has an inode.
    pub(crate) old: Entry<'a, T>,
    /// The directory that it moves to, in the same filesystem.
    pub(crate) new_dir: &'a INode<T>,
    /// The name that it gets. Where there is an inode by that name, it is of the same sort, and not the
    /// entry's own.
    pub(crate) new: Entry<'a, T>,
    /// How: 0 or some of [`rename`].
    pub(crate) flags: u32,
}

/// Flags of a [`Rename`].
pub(crate) mod rename {
    use crate::linux::bindings;

    /// There must be nothing by the new name. The VFS has checked.
    pub(crate) const NOREPLACE: u32 = bindings::RENAME_NOREPLACE;
    /// The two names change inodes with each other.
    pub(crate) const EXCHANGE: u32 = bindings::RENAME_EXCHANGE;
    /// A whiteout is left by the old name.
    pub(crate) const WHITEOUT: u32 = bindings::RENAME_WHITEOUT;
}

/// The operations of one sort of inode. All run in process context and may sleep.
///
/// Those that change a directory are called with the directory's `i_rwsem` held exclusively, and that of an
/// inode which loses a name too; [`Self::lookup`] with the directory's held shared or exclusively.
#[vtable]
pub(crate) trait Operations: Sized + 'static {
    /// The filesystem.
    type FileSystem: FileSystem;

    /// Finds the inode by a name.
    fn lookup(
        _dir: &INode<Self::FileSystem>,
        _name: &[u8],
    ) -> Result<Option<ARef<INode<Self::FileSystem>>>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Makes a regular file.
    fn create(
        _idmap: &Idmap,
        _dir: &INode<Self::FileSystem>,
        _name: &[u8],
        _mode: u16,
    ) -> Result<Ready<Self::FileSystem>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Makes a directory.
    fn mkdir(
        _idmap: &Idmap,
        _dir: &INode<Self::FileSystem>,
        _name: &[u8],
        _mode: u16,
    ) -> Result<Ready<Self::FileSystem>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Makes a device special file (`device` has 12 bits major and 20 bits minor), pipe or socket.
    fn mknod(
        _idmap: &Idmap,
        _dir: &INode<Self::FileSystem>,
        _name: &[u8],
        _mode: u16,
        _device: u32,
    ) -> Result<Ready<Self::FileSystem>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Makes a symbolic link.
    fn symlink(
        _idmap: &Idmap,
        _dir: &INode<Self::FileSystem>,
        _name: &[u8],
        _target: &[u8],
    ) -> Result<Ready<Self::FileSystem>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Makes a regular file without a name or links.
    fn tmpfile(
        _idmap: &Idmap,
        _dir: &INode<Self::FileSystem>,
        _mode: u16,
    ) -> Result<Ready<Self::FileSystem>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Gives an inode another name.
    fn link(
        _inode: &INode<Self::FileSystem>,
        _dir: &INode<Self::FileSystem>,
        _name: &[u8],
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Takes a name from an inode that is no directory.
    fn unlink(
        _dir: &INode<Self::FileSystem>,
        _name: &[u8],
        _inode: &INode<Self::FileSystem>,
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Removes a directory, if it is empty.
    fn rmdir(
        _dir: &INode<Self::FileSystem>,
        _name: &[u8],
        _inode: &INode<Self::FileSystem>,
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Gives an inode a new name in place of an old one.
    fn rename(_idmap: &Idmap, _how: &Rename<'_, Self::FileSystem>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Changes attributes, under `i_rwsem` held exclusively.
    fn setattr(
        _idmap: &Idmap,
        _entry: &Entry<'_, Self::FileSystem>,
        _inode: &INode<Self::FileSystem>,
        _attr: &mut Attr,
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Tells attributes.
    fn getattr(
        _idmap: &Idmap,
        _inode: &INode<Self::FileSystem>,
        _wanted: Wanted,
        _to: &mut Stat,
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Tells the flags of a file.
    fn get_flags(_inode: &INode<Self::FileSystem>, _to: &mut FileAttr) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Changes the flags of a file, under `i_rwsem` held exclusively. The VFS has checked that the task may.
    fn set_flags(_inode: &INode<Self::FileSystem>, _wanted: &FileAttr) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Reads the target of a symbolic link that the VFS does not know ([`super::inode::New::set_link`]).
    fn read_link(_inode: &INode<Self::FileSystem>) -> Result<KVec<u8>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Tells where the bytes from `start` on, `len` of them, are on the device.
    fn fiemap(
        _inode: &INode<Self::FileSystem>,
        _to: &mut ExtentInfo,
        _start: u64,
        _len: u64,
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// A table of operations for inodes of `T`.
pub(crate) struct InodeTable<T: FileSystem>(
    &'static bindings::inode_operations,
    PhantomData<fn(T) -> T>,
);

impl<T: FileSystem> InodeTable<T> {
    /// The operations of `O`.
    pub(crate) const fn of<O: Operations<FileSystem = T>>() -> Self {
        Self(&Table::<O>::OPERATIONS, PhantomData)
    }

    /// For symbolic links whose target the VFS knows ([`super::inode::New::set_link`]).
    pub(crate) const fn of_links<O: Operations<FileSystem = T>>() -> Self {
        Self(&Table::<O>::LINK_OPERATIONS, PhantomData)
    }

    pub(super) fn as_raw(&self) -> &'static bindings::inode_operations {
        self.0
    }
}
