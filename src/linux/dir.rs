// SPDX-License-Identifier: GPL-2.0

//! Open directories: listing names, and making them durable.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)
//!
//! What [`Operations::open`] gives lives as long as the open directory.
//!
//! # Locks
//!
//! The VFS holds the directory's `i_rwsem`, shared, while names are listed.
//!
//! # Examples
//!
//! ```ignore
//! fn list(dir: &INode<MyFs>, open: &Self::Open, to: &mut Emitter<'_>) -> Result {
//!     while let Some(name) = open.name_at(to.pos()) {
//!         if !to.emit(name.bytes(), name.inode(), EntryKind::Unknown) {
//!             break;
//!         }
//!         to.set_pos(name.next());
//!     }
//!     Ok(())
//! }
//! ```

use super::{
    bindings,
    inode::INode,
    ioctl::{
        self,
        Requests, //
    }, //
};
use core::marker::PhantomData;
use kernel::{
    error::from_result,
    ffi::{
        c_int,
        c_uint, //
    },
    prelude::*,
    types::ForeignOwnable, //
};

/// The operations of open directories.
pub(crate) trait Operations: Sized + 'static {
    /// The filesystem.
    type FileSystem: Requests;

    /// What belongs to an open directory.
    type Open: Send + Sync;

    /// The position after the last name, to which `lseek(2)` goes from the end.
    const END: i64;

    /// A directory is opened.
    fn open(dir: &INode<Self::FileSystem>) -> Result<KBox<Self::Open>>;

    /// Lists names from [`Emitter::pos`] on until one is not taken, and sets the position to where to go on.
    /// Called with the directory's `i_rwsem` held, shared or exclusively.
    fn list(dir: &INode<Self::FileSystem>, open: &Self::Open, to: &mut Emitter<'_>) -> Result;

    /// Makes the directory durable: its names, and with `data_only` false all its attributes.
    fn sync(dir: &INode<Self::FileSystem>, data_only: bool) -> Result;
}

/// Who takes the names of a directory.
///
/// # Invariants
///
/// The actor of `context` is one that may be called with it.
pub(crate) struct Emitter<'a> {
    context: &'a mut bindings::dir_context,
    narrow: bool,
}

impl Emitter<'_> {
    /// Where to begin: 0, or what [`Self::set_pos`] has set, also in another call.
    pub(crate) fn pos(&self) -> u64 {
        self.context.pos as u64
    }

    /// Sets the position of the next name that is emitted, or where to go on.
    pub(crate) fn set_pos(&mut self, pos: u64) {
        self.context.pos = pos as i64;
    }

    /// Whether the user takes positions of 32 bits only.
    pub(crate) fn is_narrow(&self) -> bool {
        self.narrow
    }

    /// Gives one name, whether inode and type (`DT_*`) are right or not is the caller's business. `false`
    /// where it was not taken.
    #[inline]
    pub(crate) fn emit(&mut self, name: &[u8], inode: u64, kind: EntryKind) -> bool {
        let (Ok(len), Some(actor)) = (c_int::try_from(name.len()), self.context.actor) else {
            return false;
        };
        let pos = self.context.pos;
        // SAFETY: By the type's invariants; the name has that many bytes, and an actor copies it.
        unsafe {
            actor(
                self.context,
                name.as_ptr().cast(),
                len,
                pos,
                inode,
                kind as c_uint,
            )
        }
    }
}

/// What kind of file a name leads to, as `readdir(3)` tells it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum EntryKind {
    /// Not known without looking at the inode.
    Unknown = bindings::DT_UNKNOWN,
    /// A named pipe.
    Fifo = bindings::DT_FIFO,
    /// A character device.
    CharDevice = bindings::DT_CHR,
    /// A directory.
    Directory = bindings::DT_DIR,
    /// A block device.
    BlockDevice = bindings::DT_BLK,
    /// A regular file.
    Regular = bindings::DT_REG,
    /// A symbolic link.
    Symlink = bindings::DT_LNK,
    /// A socket.
    Socket = bindings::DT_SOCK,
}

/// The table of an [`Operations`], for directories only.
pub(super) fn table<O: Operations>() -> &'static bindings::file_operations {
    &Table::<O>::OPERATIONS
}

struct Table<O>(PhantomData<O>);

impl<O: Operations> Table<O> {
    const OPERATIONS: bindings::file_operations = bindings::file_operations {
        llseek: Some(Self::llseek),
        read: Some(bindings::generic_read_dir),
        iterate_shared: Some(Self::iterate),
        unlocked_ioctl: Some(ioctl::unlocked::<O::FileSystem>),
        compat_ioctl: Some(ioctl::compat::<O::FileSystem>),
        open: Some(Self::open),
        release: Some(Self::release),
        fsync: Some(Self::fsync),
        setlease: Some(bindings::generic_setlease),
        ..pin_init::zeroed()
    };

    /// `open`.
    ///
    /// # Safety
    ///
    /// For the VFS (`do_dentry_open()`), with a directory of `O::FileSystem` and a file that nobody uses yet, which
    /// holds it.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: By the function's requirements; an inode that is opened is ready.
        let inode = unsafe { INode::from_raw(inode) };
        from_result(|| {
            let open = O::open(inode)?;
            // SAFETY: By the function's requirements.
            unsafe { (*file).private_data = open.into_foreign().cast() };
            Ok(0)
        })
    }

    /// `release`.
    ///
    /// # Safety
    ///
    /// For the VFS (`__fput()`), with a file that was opened by [`Self::open`], for the last time.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: By the function's requirements: `open` has set it, and nobody uses it any more.
        drop(unsafe { <KBox<O::Open> as ForeignOwnable>::from_foreign((*file).private_data) });
        0
    }

    /// `llseek`.
    ///
    /// # Safety
    ///
    /// For the VFS (`vfs_llseek()`), with an open directory.
    unsafe extern "C" fn llseek(
        file: *mut bindings::file,
        offset: bindings::loff_t,
        whence: c_int,
    ) -> bindings::loff_t {
        // SAFETY: By the function's requirements.
        let end = match unsafe { bindings::file_wants_narrow_positions(file) } {
            true => O::END.min(i32::MAX.into()),
            false => O::END,
        };
        // SAFETY: By the function's requirements.
        unsafe { bindings::generic_file_llseek_size(file, offset, whence, end, end) }
    }

    /// `iterate_shared`.
    ///
    /// # Safety
    ///
    /// For the VFS (`iterate_dir()`), with a file that was opened by [`Self::open`], whose inode's `i_rwsem` is held
    /// shared, and a context that nobody else uses.
    unsafe extern "C" fn iterate(
        file: *mut bindings::file,
        context: *mut bindings::dir_context,
    ) -> c_int {
        // SAFETY: By the function's requirements; an open file holds its inode.
        let inode = unsafe { INode::from_raw((*file).f_inode) };
        // SAFETY: By the function's requirements: `open` has set it, and it stays until the file is released.
        let open = unsafe { &*(*file).private_data.cast::<O::Open>() };
        // SAFETY: By the function's requirements.
        let narrow = unsafe { bindings::file_wants_narrow_positions(file) };
        // SAFETY: By the function's requirements.
        let context = unsafe { &mut *context };
        from_result(|| {
            // INVARIANT: The VFS has set the actor for this context.
            O::list(inode, open, &mut Emitter { context, narrow })?;
            Ok(0)
        })
    }

    /// `fsync`.
    ///
    /// # Safety
    ///
    /// For the VFS (`vfs_fsync_range()`), with an open directory.
    unsafe extern "C" fn fsync(
        file: *mut bindings::file,
        _start: bindings::loff_t,
        _end: bindings::loff_t,
        data_only: c_int,
    ) -> c_int {
        // SAFETY: By the function's requirements; an open file holds its inode.
        let inode = unsafe { INode::from_raw((*file).f_inode) };
        from_result(|| {
            O::sync(inode, data_only != 0)?;
            Ok(0)
        })
    }
}
