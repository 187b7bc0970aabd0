// SPDX-License-Identifier: GPL-2.0

//! All that differs between the kernels that this is built for. The other files are written for the newest of them,
//! and what an older one lacks has a stand-in here. Only the root of the crate, `rust_iomapfs.rs`, knows more: there
//! the stand-in for the `kernel` crate gets its name.
//!
//! `Kbuild` looks for each interface in the kernel's source and says `has_...` where it is there. With the last kernel
//! that lacks an interface, its line in `Kbuild` and its stand-in go, and who calls it calls the kernel.

use super::bindings;
use kernel::ffi::c_int;
#[cfg(has_error_codes)]
pub(crate) use kernel::prelude::module;
#[cfg(not(has_error_codes))]
pub(crate) use kernel_of_tree::prelude::module;
#[cfg(has_raw_try_init)]
pub(super) use pin_init::{raw_init, raw_try_init};

/// `pin_init::raw_try_init`, which came with Linux 7.3.
///
/// # Safety
///
/// `slot` must be valid for writing, not be used where this fails, and not move while the value lives.
#[cfg(not(has_raw_try_init))]
pub(super) unsafe fn raw_try_init<T, E>(
    slot: *mut T,
    init: impl pin_init::PinInit<T, E>,
) -> Result<(), E> {
    // SAFETY: By the caller.
    unsafe { init.__pinned_init(slot) }
}

/// `pin_init::raw_init`, which came with Linux 7.3.
///
/// # Safety
///
/// `slot` must be valid for writing, and not move while the value lives.
#[cfg(not(has_raw_try_init))]
pub(super) unsafe fn raw_init<T>(slot: *mut T, init: impl pin_init::PinInit<T>) {
    // SAFETY: By the caller.
    match unsafe { raw_try_init(slot, init) } {
        Ok(()) => (),
        Err(never) => match never {},
    }
}

/// The module that implements a table of operations, by the type that does. `#[vtable]` knows it since Linux 7.3.
#[cfg(has_owner_module)]
macro_rules! owner {
    ($implementor:ident) => {
        ::kernel::module::this_module::<$implementor::OwnerModule>().as_ptr()
    };
}

/// The module that implements a table of operations: before Linux 7.3 the one that this code is linked into.
#[cfg(not(has_owner_module))]
macro_rules! owner {
    ($implementor:ident) => {
        $crate::linux::compat::this_module()
    };
}

pub(super) use owner;

/// `THIS_MODULE`.
#[cfg(not(has_owner_module))]
pub(super) const fn this_module() -> *mut bindings::module {
    // The kernel makes the structure when it loads the module, and it lives as long as this code.
    (&raw const bindings::__this_module).cast_mut()
}

/// The operation `create` of directories.
pub(super) trait Create {
    /// Makes a regular file.
    ///
    /// # Safety
    ///
    /// As the VFS calls `inode_operations::create`, for a directory that has the operations of `Self`.
    unsafe fn create(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        mode: bindings::umode_t,
    ) -> c_int;
}

/// What the VFS calls. Before Linux 7.3 it says, too, whether the file must be new; that the name is not there it has
/// found out by itself, but for file systems on a network.
///
/// # Safety
///
/// As for [`Create::create`].
pub(super) unsafe extern "C" fn create<C: Create>(
    idmap: *mut bindings::mnt_idmap,
    dir: *mut bindings::inode,
    dentry: *mut bindings::dentry,
    mode: bindings::umode_t,
    #[cfg(not(has_create_without_excl))] _excl: bool,
) -> c_int {
    // SAFETY: By the caller.
    unsafe { C::create(idmap, dir, dentry, mode) }
}

/// Is there a shorter way for direct reads that lie in one piece? It came with Linux 7.3.
pub(super) const READS_SIMPLE: bool = cfg!(has_dio_read_simple);

/// Reads in one piece, where [`READS_SIMPLE`].
///
/// # Safety
///
/// As for `__iomap_dio_read_simple`: the request, the memory and the iteration are live, the iteration's map is found,
/// and `inode_dio_begin` was called, which this ends.
pub(super) unsafe fn dio_read_simple(
    iocb: *mut bindings::kiocb,
    to: *mut bindings::iov_iter,
    iter: *mut bindings::iomap_iter,
) -> isize {
    #[cfg(has_dio_read_simple)]
    // SAFETY: By the caller.
    unsafe {
        bindings::__iomap_dio_read_simple(iocb, to, iter)
    }
    #[cfg(not(has_dio_read_simple))]
    {
        let _ = (iocb, to);
        // SAFETY: By the caller.
        unsafe { bindings::inode_dio_end((*iter).inode) };
        -(bindings::ENOTBLK as isize)
    }
}

/// Is an ioend one that must end in a task, for its folios to leave the page cache? Since Linux 7.3 the block layer
/// sees to that.
///
/// # Safety
///
/// `ioend` must be live.
pub(super) unsafe fn wants_task(ioend: *const bindings::iomap_ioend) -> bool {
    #[cfg(has_complete_in_task)]
    {
        let _ = ioend;
        false
    }
    #[cfg(not(has_complete_in_task))]
    // SAFETY: By the caller.
    unsafe {
        u32::from((*ioend).io_flags) & bindings::IOMAP_IOEND_DONTCACHE != 0
    }
}

/// Tells the block layer, which may look for a task to end an ioend in, that there is one.
///
/// # Safety
///
/// `ioend` must be live and not submitted.
pub(super) unsafe fn has_task(ioend: *mut bindings::iomap_ioend) {
    #[cfg(has_complete_in_task)]
    // SAFETY: By the caller.
    unsafe {
        bindings::bio_clear_flag(&raw mut (*ioend).io_bio, bindings::BIO_COMPLETE_IN_TASK)
    };
    #[cfg(not(has_complete_in_task))]
    let _ = ioend;
}

/// The `kernel` crate, with those of the error codes that it lacks before Linux 7.3 that are used here. The root of our
/// crate gives it the name `kernel`.
#[cfg(not(has_error_codes))]
pub mod kernel_crate {
    pub use ::kernel_of_tree::*;

    /// `kernel::error`.
    pub mod error {
        pub use ::kernel_of_tree::error::*;

        /// `kernel::error::code`.
        pub mod code {
            use super::Error;
            use crate::linux::bindings;
            pub use ::kernel_of_tree::error::code::*;
            use core::mem::transmute;

            /// The error of a number of C's.
            const fn error(number: u32) -> Error {
                assert!(0 < number && number <= bindings::MAX_ERRNO);
                // SAFETY: An `Error` is the negated number and nothing else (see below), which was checked to be one.
                unsafe { transmute::<i32, Error>(-(number as i32)) }
            }

            const _: () = {
                // SAFETY: What has the size of a number is a number, and any bits are one.
                let number = unsafe { transmute::<Error, i32>(ERANGE) };
                assert!(number == -(bindings::ERANGE as i32));
            };

            macro_rules! declare {
                ($($name:ident)*) => {
                    $(#[allow(missing_docs)] pub const $name: Error = error(bindings::$name);)*
                };
            }

            declare! {
                EDEADLK EFSBADCRC ENAMETOOLONG ENOKEY ENOTEMPTY EOPNOTSUPP ESHUTDOWN ESTALE EUCLEAN
            }
        }
    }

    /// `kernel::prelude`.
    pub mod prelude {
        pub use super::error::code::*;
        pub use ::kernel_of_tree::prelude::*;
    }
}
