// SPDX-License-Identifier: GPL-2.0

//! Reads and writes through the page cache, and faults of shared mappings.
//!
//! # Locks
//!
//! A write needs the inode's lock exclusively: iomap raises the size. Reads need none.
//!
//! C header: [`include/linux/iomap.h`](srctree/include/linux/iomap.h)
//!
//! # Examples
//!
//! ```ignore
//! let lock = iocb.inode().lock();
//! let written = buffered::write::<Mapper>(&mut iocb, from, &lock)?;
//! ```

use super::super::{
    bindings,
    file::{
        IterSource,
        Kiocb, //
    },
    lock::Exclusive, //
};
use super::{
    locked,
    Ops,
    Table, //
};
use core::ptr::null_mut;
use kernel::error::{
    code::*,
    Error,
    Result, //
};

/// Copies `from` into the page cache at the position of `iocb`, moves the position, and raises the size.
/// Returns the number of bytes, less than asked where an error came later.
///
/// # Errors
///
/// `EINVAL` where the lock is another inode's, or the file has no page cache; those of iomap.
pub(crate) fn write<O: Ops>(
    iocb: &mut Kiocb<'_, O::FileSystem>,
    from: &mut IterSource<'_>,
    lock: &Exclusive<'_, O::FileSystem>,
) -> Result<usize> {
    locked(iocb.inode(), lock.inode())?;
    if iocb.inode().is_dax() {
        return Err(EINVAL);
    }
    // SAFETY: `iocb` and `from` are live and exclusively ours, the file is a regular file of `O::FileSystem` with a
    // page cache.
    let ret = unsafe {
        bindings::iomap_file_buffered_write(
            iocb.as_raw(),
            from.as_raw(),
            Table::<O>::OPS,
            Table::<O>::WRITE_OPS,
            null_mut(),
        )
    };
    usize::try_from(ret).map_err(|_| Error::from_errno(ret as i32))
}

/// Brings a folio up to date and unlocks it.
///
/// # Safety
///
/// As the kernel calls `read_folio`: `folio` is locked and belongs to a regular file of `O::FileSystem`.
pub(in crate::linux) unsafe fn read_folio<O: Ops>(folio: *mut bindings::folio) {
    let mut ctx = bindings::iomap_read_folio_ctx {
        ops: &raw const bindings::iomap_bio_read_ops,
        cur_folio: folio,
        ..Default::default()
    };
    // SAFETY: By the function's requirements; the context lives until the function returns.
    unsafe { bindings::iomap_read_folio(Table::<O>::OPS, &mut ctx, null_mut()) }
}

/// Starts reading the folios of a readahead request.
///
/// # Safety
///
/// As the kernel calls `readahead`, for a regular file of `O::FileSystem`.
pub(in crate::linux) unsafe fn readahead<O: Ops>(rac: *mut bindings::readahead_control) {
    let mut ctx = bindings::iomap_read_folio_ctx {
        ops: &raw const bindings::iomap_bio_read_ops,
        rac,
        ..Default::default()
    };
    // SAFETY: By the function's requirements; the context lives until the function returns.
    unsafe { bindings::iomap_readahead(Table::<O>::OPS, &mut ctx, null_mut()) }
}

/// Makes the folio of a write fault writable: `begin` is called with [`super::Op::FAULT`] and the folio locked.
///
/// # Safety
///
/// As the kernel calls `page_mkwrite`, for a regular file of `O::FileSystem`, with the invalidate lock shared and
/// inside `sb_start_pagefault`.
pub(in crate::linux) unsafe fn page_mkwrite<O: Ops>(
    vmf: *mut bindings::vm_fault,
) -> bindings::vm_fault_t {
    // SAFETY: By the function's requirements.
    unsafe { bindings::iomap_page_mkwrite(vmf, Table::<O>::OPS, null_mut()) }
}
