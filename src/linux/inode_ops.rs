// SPDX-License-Identifier: GPL-2.0

//! Operations of inodes: names in directories, attributes, symbolic links.
//!
//! A filesystem implements [`Attributes`] for all its inodes, and a trait for each type of file that has more:
//! [`DirectoryOperations`], [`RegularOperations`], [`SymlinkOperations`]. Which of them an inode gets is decided by its
//! type of file ([`super::kinds`]).
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)
//!
//! # Locks
//!
//! Which `i_rwsem` the VFS holds is said at each trait.
//!
//! # Examples
//!
//! ```ignore
//! impl SymlinkOperations for Link {
//!     type FileSystem = MyFs;
//!
//!     fn read_link(inode: &INode<MyFs>) -> Result<KVec<u8>> {
//!         inode.data().read_target()
//!     }
//! }
//! ```

use super::{
    acl::AccessLists,
    attr::{
        Attr,
        Idmap,
        Stat,
        Wanted, //
    },
    dentry::{
        Entry,
        EntryName, //
    },
    fiemap::ExtentInfo,
    fileattr::FileAttr,
    fs::FileSystem,
    inode::{
        INode,
        InodeRef,
        Ready, //
    },
    xattr::ExtendedAttributes, //
};
use kernel::prelude::*;

mod table;

pub(super) use table::{
    Table,
    Tables, //
};

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

/// What is asked and changed of any inode of a filesystem. All run in process context and may sleep.
pub(crate) trait Attributes: FileSystem + ExtendedAttributes + AccessLists {
    /// Changes attributes, under `i_rwsem` held exclusively.
    fn setattr(idmap: &Idmap, inode: &INode<Self>, attr: &mut Attr<'_, Self>) -> Result;

    /// Tells attributes.
    fn getattr(idmap: &Idmap, inode: &INode<Self>, wanted: Wanted, to: &mut Stat) -> Result;

    /// Tells the flags of a file.
    fn get_flags(inode: &INode<Self>, to: &mut FileAttr) -> Result;

    /// Changes the flags of a file, under `i_rwsem` held exclusively. The VFS has checked that the task may.
    fn set_flags(inode: &INode<Self>, wanted: &FileAttr) -> Result;
}

/// The operations of directories. All run in process context and may sleep.
///
/// Those that change a directory are called with the directory's `i_rwsem` held exclusively, and that of an
/// inode which loses a name too; [`Self::lookup`] with the directory's held shared or exclusively.
pub(crate) trait DirectoryOperations: 'static {
    /// The filesystem.
    type FileSystem: Attributes;

    /// Tells where the bytes from `start` on, `len` of them, are on the device.
    fn fiemap(inode: &INode<Self::FileSystem>, to: &mut ExtentInfo, start: u64, len: u64)
        -> Result;

    /// Finds the inode by a name.
    fn lookup<'a>(
        dir: &'a INode<Self::FileSystem>,
        name: &[u8],
    ) -> Result<Option<InodeRef<'a, Self::FileSystem>>>;

    /// Makes a regular file.
    fn create<'a>(
        idmap: &Idmap,
        dir: &'a INode<Self::FileSystem>,
        name: &EntryName,
        mode: u16,
    ) -> Result<Ready<'a, Self::FileSystem>>;

    /// Makes a directory.
    fn mkdir<'a>(
        idmap: &Idmap,
        dir: &'a INode<Self::FileSystem>,
        name: &EntryName,
        mode: u16,
    ) -> Result<Ready<'a, Self::FileSystem>>;

    /// Makes a device special file (`device` has 12 bits major and 20 bits minor), pipe or socket.
    fn mknod<'a>(
        idmap: &Idmap,
        dir: &'a INode<Self::FileSystem>,
        name: &EntryName,
        mode: u16,
        device: u32,
    ) -> Result<Ready<'a, Self::FileSystem>>;

    /// Makes a symbolic link.
    fn symlink<'a>(
        idmap: &Idmap,
        dir: &'a INode<Self::FileSystem>,
        name: &EntryName,
        target: &[u8],
    ) -> Result<Ready<'a, Self::FileSystem>>;

    /// Makes a regular file without a name or links.
    fn tmpfile<'a>(
        idmap: &Idmap,
        dir: &'a INode<Self::FileSystem>,
        mode: u16,
    ) -> Result<Ready<'a, Self::FileSystem>>;

    /// Gives an inode another name.
    fn link(inode: &INode<Self::FileSystem>, dir: &INode<Self::FileSystem>, name: &[u8]) -> Result;

    /// Takes a name from an inode that is no directory.
    fn unlink(
        dir: &INode<Self::FileSystem>,
        name: &[u8],
        inode: &INode<Self::FileSystem>,
    ) -> Result;

    /// Removes a directory, if it is empty.
    fn rmdir(dir: &INode<Self::FileSystem>, name: &[u8], inode: &INode<Self::FileSystem>)
        -> Result;

    /// Gives an inode a new name in place of an old one.
    fn rename(idmap: &Idmap, how: &Rename<'_, Self::FileSystem>) -> Result;
}

/// The operations of regular files, beside those of open ones ([`super::file::FileOperations`]).
pub(crate) trait RegularOperations: 'static {
    /// The filesystem.
    type FileSystem: Attributes;

    /// Tells where the bytes from `start` on, `len` of them, are on the device.
    fn fiemap(inode: &INode<Self::FileSystem>, to: &mut ExtentInfo, start: u64, len: u64)
        -> Result;
}

/// The operations of symbolic links whose target the VFS does not know.
pub(crate) trait SymlinkOperations: 'static {
    /// The filesystem.
    type FileSystem: Attributes;

    /// Reads the target.
    fn read_link(inode: &INode<Self::FileSystem>) -> Result<KVec<u8>>;
}
