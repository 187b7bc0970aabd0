// SPDX-License-Identifier: GPL-2.0

//! Types of file: an inode gets its operations by the type that its mode says, all of them and at once.
//!
//! So a regular file has the operations of iomap's page cache, and a link that the VFS is to follow has a target; no
//! caller can mix them. What `i_link`, `i_pipe` and `i_cdev` share is told apart by the type, which stays.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)
//!
//! # Locks
//!
//! None: the inode is known to nobody, or locked as new.
//!
//! # Examples
//!
//! ```ignore
//! impl Kinds for MyFs {
//!     type Regular = Regular;
//!     type Directory = Directory;
//!     type Symlink = Link;
//! }
//!
//! let root = INode::<MyFs>::find(sb, ROOT, |new| {
//!     new.set_mode(0o040_755)?;
//!     new.init(Body::Plain, MyData::new())
//! })?;
//! ```

use super::{
    address_space::{
        self,
        AddressSpace, //
    },
    bindings,
    dir,
    file::{
        self,
        FileOperations, //
    },
    inode::{
        Got,
        INode,
        InodeRef,
        Kind,
        New,
        Ready, //
    },
    inode_ops::{
        Attributes,
        DirectoryOperations,
        RegularOperations,
        SymlinkOperations,
        Table,
        Tables, //
    },
    super_block::SuperBlock, //
};
use kernel::prelude::*;

/// The operations of each type of file that has some of its own.
pub(crate) trait Kinds: Attributes {
    /// Regular files: as inodes, when they are open, and in the page cache.
    type Regular: RegularOperations<FileSystem = Self>
        + FileOperations<FileSystem = Self>
        + AddressSpace<FileSystem = Self>;
    /// Directories, as inodes and when they are open.
    type Directory: DirectoryOperations<FileSystem = Self> + dir::Operations<FileSystem = Self>;
    /// Symbolic links whose target the VFS does not know.
    type Symlink: SymlinkOperations<FileSystem = Self>;
}

/// What goes with the type of file of a new inode.
#[derive(Clone, Copy)]
pub(crate) enum Body<'a> {
    /// Nothing: regular files, directories, links whose target is to be read when somebody follows them.
    Plain,
    /// A regular file that has no page cache ([`super::dax`]).
    Dax,
    /// A symbolic link that leads to these bytes.
    Link(&'a [u8]),
    /// A device (12 bits major and 20 bits minor), or a pipe or socket, where the number means nothing.
    Special(u32),
}

/// A table that stays.
fn table(table: &'static bindings::inode_operations) -> *const bindings::inode_operations {
    table
}

impl<'a, T: Kinds> New<'a, T> {
    /// Makes it an inode that can be used, of the type that its mode says, with the filesystem's data.
    ///
    /// # Errors
    ///
    /// `EINVAL` where the mode has no type, or none that goes with `body`, or no file of the mount can be without a
    /// page cache; `ENOMEM`; those of `data`. The inode comes back then.
    pub(crate) fn init(
        self,
        body: Body<'_>,
        data: impl PinInit<T::INodeData, Error>,
    ) -> Result<Ready<'a, T>, (Error, Self)> {
        match self.fill(body, data) {
            // SAFETY: It has its operations and its data.
            Ok(()) => Ok(unsafe { self.finish() }),
            Err(error) => Err((error, self)),
        }
    }

    /// The part of [`Self::init`] that can fail.
    fn fill(&self, body: Body<'_>, data: impl PinInit<T::INodeData, Error>) -> Result {
        let kind = Kind::from_mode(self.mode()).ok_or(EINVAL)?;
        let inode = self.as_raw();
        match (kind, body) {
            (Kind::Regular, Body::Plain) => {
                // SAFETY: Nobody else uses the inode, which is of `T`; the table is for regular files of `T`.
                unsafe { (*inode).i_op = table(&Table::<T::Regular>::REGULAR) };
                // SAFETY: As above.
                unsafe { (*inode).__bindgen_anon_3.i_fop = file::table::<T::Regular>() };
                // SAFETY: As above.
                unsafe { (*inode).i_data.a_ops = address_space::table::<T::Regular>() };
                if T::Regular::LARGE_FOLIOS {
                    // SAFETY: As above, and no folio is in its cache. iomap takes folios of any size.
                    unsafe { bindings::mapping_set_large_folios(&raw mut (*inode).i_data) };
                }
            }
            (Kind::Regular, Body::Dax) => {
                if self.super_block().dax_device().is_none() {
                    return Err(EINVAL);
                }
                // SAFETY: As above. The flag stays, as no other operation of ours changes it.
                unsafe { (*inode).i_flags |= bindings::S_DAX };
                // SAFETY: As above.
                unsafe { (*inode).i_op = table(&Table::<T::Regular>::REGULAR) };
                // SAFETY: As above; the table is for files without a page cache.
                unsafe { (*inode).__bindgen_anon_3.i_fop = file::dax_table::<T::Regular>() };
                // SAFETY: As above.
                unsafe { (*inode).i_data.a_ops = address_space::dax_table::<T::Regular>() };
            }
            (Kind::Directory, Body::Plain) => {
                // SAFETY: As above; the table is for directories.
                unsafe { (*inode).i_op = table(&Table::<T::Directory>::DIRECTORY) };
                // SAFETY: As above.
                unsafe { (*inode).__bindgen_anon_3.i_fop = dir::table::<T::Directory>() };
            }
            // SAFETY: As above; the table is for symbolic links.
            (Kind::Symlink, Body::Plain) => unsafe {
                (*inode).i_op = table(&Table::<T::Symlink>::SYMLINK);
            },
            (Kind::Symlink, Body::Link(target)) => {
                // SAFETY: Nobody else uses the inode, and in a symbolic link the union is this.
                let link = unsafe { &mut (*inode).__bindgen_anon_5.i_link };
                if !link.is_null() {
                    return Err(EINVAL);
                }
                // It is freed after the grace period that follows the inode's end.
                // SAFETY: The callee copies as many bytes as the slice has.
                *link = unsafe {
                    bindings::kmemdup_nul(
                        target.as_ptr().cast(),
                        target.len(),
                        bindings::GFP_KERNEL,
                    )
                };
                if link.is_null() {
                    return Err(ENOMEM);
                }
                // SAFETY: As for regular files; the table is for symbolic links with a target, which there is.
                unsafe { (*inode).i_op = table(&Tables::<T>::FAST_LINK) };
            }
            (
                Kind::CharDevice | Kind::BlockDevice | Kind::Fifo | Kind::Socket,
                Body::Special(device),
            ) => {
                // SAFETY: As above.
                unsafe { (*inode).i_op = table(&Tables::<T>::SPECIAL) };
                // SAFETY: As above; the callee sets the operations of files by the mode.
                unsafe { bindings::init_special_inode(inode, self.mode(), device) };
            }
            _ => return Err(EINVAL),
        }
        // SAFETY: Called once: the value goes then, unless this fails.
        unsafe { self.set_data(data) }
    }
}

impl<T: Kinds> INode<T> {
    /// Finds inode `number`, in memory or else by `read`, which gets a new one, locked.
    ///
    /// Waits while another task reads or evicts the inode.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; those of `read`.
    pub(crate) fn find(
        sb: &SuperBlock<T>,
        number: u32,
        read: impl for<'a> FnOnce(New<'a, T>) -> Result<Ready<'a, T>>,
    ) -> Result<InodeRef<'_, T>> {
        match Self::get(sb, number)? {
            Got::Cached(inode) => Ok(inode),
            Got::New(new) => Ok(read(new)?.unlock()),
        }
    }
}
