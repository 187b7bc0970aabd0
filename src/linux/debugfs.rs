// SPDX-License-Identifier: GPL-2.0

//! A folder in debugfs for each mount of a filesystem: `/sys/kernel/debug/NAME/DEVICE`, with a file for each of
//! [`FileSystem::FIGURES`].
//!
//! The folder is there from when the mount has its root until its unmount begins, which waits for who is reading. A
//! file that somebody has open keeps the module loaded, and can be read no more after the unmount (`EIO`). That is
//! what the `debugfs` of the kernel crate does not see to: its files have no owner.
//!
//! Without debugfs (`CONFIG_DEBUG_FS`), or for want of memory, there is no folder, and nobody is told.
//!
//! C header: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h)
//!
//! # Locks
//!
//! Reading takes none; a callback takes what it wants to, but not `s_umount`, with which the folder is taken away.
//!
//! # Examples
//!
//! ```ignore
//! const FIGURES: &'static [Figure<MyFs>] = &[
//!     Figure::new(c"free", |sb, to| seq_print!(to, "{}\n", sb.data().free())),
//! ];
//! ```

use super::{
    bindings,
    compat,
    fs::FileSystem,
    super_block::SuperBlock, //
};
use core::{
    marker::PhantomData,
    ptr::{
        self,
        null_mut, //
    }, //
};
use kernel::{
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    seq_file::SeqFile,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// A file that says something of a mount, for root to read.
pub(crate) struct Figure<T: FileSystem> {
    name: &'static CStr,
    show: fn(&SuperBlock<T>, &SeqFile),
}

impl<T: FileSystem> Figure<T> {
    /// One of this name, which `show` writes.
    pub(crate) const fn new(name: &'static CStr, show: fn(&SuperBlock<T>, &SeqFile)) -> Self {
        Self { name, show }
    }
}

/// A folder.
///
/// # Invariants
///
/// Null, an error, or a folder of debugfs that is ours to remove.
pub(super) struct Folder(Atomic<*mut bindings::dentry>);

impl Folder {
    /// None.
    pub(super) fn none() -> Self {
        Self(Atomic::new(null_mut()))
    }

    /// A folder at the top of debugfs.
    pub(super) fn at_top(name: &'static CStr) -> Self {
        // SAFETY: The name is a string, and is copied.
        let dir = unsafe { bindings::debugfs_create_dir(name.as_ptr().cast(), null_mut()) };
        // INVARIANT: Just made, or an error.
        Self(Atomic::new(dir))
    }

    /// Makes this, which is none, the folder of `sb` in `parent`.
    ///
    /// # Safety
    ///
    /// [`Self::remove`] is called before `sb` is no valid [`SuperBlock`] any more, or the module goes.
    pub(super) unsafe fn fill<T: FileSystem>(&self, parent: &Folder, sb: &SuperBlock<T>) {
        let sb = sb.as_raw();
        // SAFETY: The name of the device is a string, which does not change and is copied. The parent is one of
        // debugfs, or an error, by the invariants.
        let dir = unsafe {
            bindings::debugfs_create_dir((*sb).s_id.as_ptr().cast(), parent.0.load(Relaxed))
        };
        for figure in T::FIGURES {
            // SAFETY: The name is a string, and is copied. `dir` was just made, or is an error. Until it is removed,
            // which waits for who is reading, the operations may use `sb` as a super block of `T`, by the function's
            // requirements; `figure` is static.
            unsafe {
                bindings::debugfs_create_file_aux(
                    figure.name.as_ptr().cast(),
                    0o400,
                    dir,
                    sb.cast(),
                    ptr::from_ref(figure).cast(),
                    Table::<T>::OPERATIONS,
                )
            };
        }
        // INVARIANT: Just made, or an error.
        self.0.store(dir, Relaxed);
    }

    /// Removes it with all that is in it. Waits for who is reading there.
    pub(super) fn remove(&self) {
        let dir = self.0.xchg(null_mut(), Relaxed);
        // SAFETY: By the invariants, it is ours, or nothing.
        unsafe { bindings::debugfs_remove(dir) };
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.remove();
    }
}

struct Table<T>(PhantomData<T>);

impl<T: FileSystem> Table<T> {
    const OPERATIONS: &'static bindings::file_operations = &bindings::file_operations {
        owner: compat::owner!(T),
        open: Some(Self::open),
        read: Some(bindings::seq_read),
        llseek: Some(bindings::seq_lseek),
        release: Some(bindings::single_release),
        ..pin_init::zeroed()
    };

    /// `open`.
    ///
    /// # Safety
    ///
    /// For debugfs (`full_proxy_open_regular()`), with a file of [`Folder::fill`] that is not removed.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: By the function's requirements.
        let sb = unsafe { (*inode).i_private };
        // SAFETY: By the function's requirements.
        unsafe { bindings::single_open(file, Some(Self::show), sb) }
    }

    /// Writes what the file holds.
    ///
    /// # Safety
    ///
    /// For `seq_read()`, which debugfs calls (`full_proxy_read()`) for a file that was opened by [`Self::open`] and is
    /// not removed before this returns.
    unsafe extern "C" fn show(seq: *mut bindings::seq_file, _at: *mut c_void) -> c_int {
        // SAFETY: By the function's requirements; `open` has passed the super block of `fill`, which is valid until
        // the file is removed.
        let sb = unsafe { SuperBlock::<T>::from_raw((*seq).private.cast()) };
        // SAFETY: By the function's requirements; the file is open.
        let figure = unsafe { bindings::debugfs_get_aux((*seq).file) };
        // SAFETY: It is what `fill` has passed, which is static.
        let figure = unsafe { &*figure.cast::<Figure<T>>() };
        // SAFETY: By the function's requirements.
        (figure.show)(sb, unsafe { SeqFile::from_raw(seq) });
        0
    }
}
