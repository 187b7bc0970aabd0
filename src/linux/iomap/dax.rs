// SPDX-License-Identifier: GPL-2.0

//! Files whose blocks are memory that the processor has at an address: reads, writes and faults without a page cache.
//!
//! A write goes to mapped blocks only: whoever finds a block for it ([`Ops::begin`]) sees to it that what the write
//! does not cover is zero already, and says that the mapping is [`NEW`](super::MapFlags::NEW) where there was a hole
//! that others may have mapped into memory.
//!
//! # Locks
//!
//! A write needs the inode's lock exclusively, a read needs it shared. [`fault`] calls `begin` with the invalidate lock
//! held shared and an entry of the mapping locked, which is to a page here what the folio lock is to one of the page
//! cache.
//!
//! C header: [`include/linux/dax.h`](srctree/include/linux/dax.h)
//!
//! # Examples
//!
//! ```ignore
//! let lock = iocb.inode().lock();
//! let written = dax::write::<Mapper>(&mut iocb, from, &lock)?;
//! ```

use super::super::{
    bindings,
    file::{
        IterDest,
        IterSource,
        Kiocb, //
    },
    fs::FileSystem,
    inode::INode,
    lock::{
        Exclusive,
        Held,
        Invalidate, //
    }, //
};
use super::{
    locked,
    loff,
    Ops,
    Table, //
};
use kernel::{
    error::{
        code::*,
        to_result,
        Error,
        Result, //
    },
    ffi::{
        c_int,
        c_uint, //
    }, //
};

/// Refuses what has a page cache.
fn direct<T: FileSystem>(inode: &INode<T>) -> Result {
    match inode.is_dax() {
        true => Ok(()),
        false => Err(EINVAL),
    }
}

/// Reads from the position of `iocb` on, and moves it. Returns the number of bytes, less than asked where an error came
/// later.
///
/// # Errors
///
/// `EINVAL` where the lock is another inode's, or the file has a page cache; those of `begin` and of the device.
pub(crate) fn read<O: Ops>(
    iocb: &mut Kiocb<'_, O::FileSystem>,
    to: &mut IterDest<'_>,
    lock: &Held<'_, O::FileSystem>,
) -> Result<usize> {
    locked(iocb.inode(), lock.inode())?;
    direct(iocb.inode())?;
    // SAFETY: `iocb` and `to` are live and exclusively ours, the file is a regular file of `O::FileSystem` with
    // `S_DAX`, and its lock is held.
    let ret = unsafe { bindings::dax_iomap_rw(iocb.as_raw(), to.as_raw(), Table::<O, true>::OPS) };
    usize::try_from(ret).map_err(|_| Error::from_errno(ret as c_int))
}

/// Copies `from` to the blocks at the position of `iocb`, and moves that. The size stays as it is. Returns the number
/// of bytes, less than asked where an error came later.
///
/// # Errors
///
/// As [`read`]; `EOPNOTSUPP` for a write that is to be done as a whole or not at all.
pub(crate) fn write<O: Ops>(
    iocb: &mut Kiocb<'_, O::FileSystem>,
    from: &mut IterSource<'_>,
    lock: &Exclusive<'_, O::FileSystem>,
) -> Result<usize> {
    locked(iocb.inode(), lock.inode())?;
    direct(iocb.inode())?;
    if iocb.is_atomic() {
        return Err(EOPNOTSUPP);
    }
    // SAFETY: As for `read`; the lock is held exclusively.
    let ret =
        unsafe { bindings::dax_iomap_rw(iocb.as_raw(), from.as_raw(), Table::<O, true>::OPS) };
    usize::try_from(ret).map_err(|_| Error::from_errno(ret as c_int))
}

/// Makes bytes `pos..pos + len` zero on the device, as far as there is data. Returns whether there was any.
///
/// # Errors
///
/// `EINVAL` where the file has a page cache; those of `begin` and of the device.
pub(crate) fn zero_range<O: Ops>(
    lock: &Invalidate<'_, O::FileSystem>,
    pos: u64,
    len: u64,
) -> Result<bool> {
    let inode = lock.inode();
    direct(inode)?;
    let (pos, len) = (loff(pos)?, loff(len)?);
    let mut did_zero = false;
    // SAFETY: The inode is a live regular file with `S_DAX`, nobody else changes its blocks, and the table fits its
    // filesystem.
    to_result(unsafe {
        bindings::dax_zero_range(
            inode.as_raw(),
            pos,
            len,
            &mut did_zero,
            Table::<O, true>::OPS,
        )
    })?;
    Ok(did_zero)
}

/// Serves a fault of `1 << order` pages: `begin` is called with [`super::Op::FAULT`], and with [`super::Op::WRITE`] for
/// a store to a shared mapping. Where the user has been promised that what leads to the blocks is durable (`MAP_SYNC`)
/// and the mapping is [`DIRTY`](super::MapFlags::DIRTY), the file is synchronised before the store can be made. Returns
/// what the memory manager is told, and whether there was no space.
///
/// # Safety
///
/// As the kernel calls `huge_fault`, for a regular file of `O::FileSystem` with `S_DAX`, with the invalidate lock
/// shared; for a store to a shared mapping inside `sb_start_pagefault`.
pub(in crate::linux) unsafe fn fault<O: Ops>(
    vmf: *mut bindings::vm_fault,
    order: c_uint,
) -> (bindings::vm_fault_t, bool) {
    let mut pfn = 0;
    let mut error = 0;
    // SAFETY: By the function's requirements.
    let ret = unsafe {
        bindings::dax_iomap_fault(vmf, order, &mut pfn, &mut error, Table::<O, true>::OPS)
    };
    let ret = if ret & bindings::VM_FAULT_NEEDDSYNC != 0 {
        // SAFETY: By the function's requirements; the callee before has set the number.
        unsafe { bindings::dax_finish_sync_fault(vmf, order, pfn) }
    } else {
        ret
    };
    let failed = ret & bindings::VM_FAULT_ERROR != 0;
    (ret, failed && error == ENOSPC.to_errno())
}

/// Makes what was stored to mappings durable, as the control says.
///
/// # Safety
///
/// As the kernel calls `writepages`, for a regular file of `T` with `S_DAX`.
pub(in crate::linux) unsafe fn writepages<T: FileSystem>(
    mapping: *mut bindings::address_space,
    wbc: *mut bindings::writeback_control,
) -> c_int {
    // SAFETY: By the function's requirements.
    let inode = unsafe { INode::<T>::from_raw((*mapping).host) };
    match inode.super_block().dax_device() {
        // SAFETY: By the function's requirements; the device stays as long as the super block.
        Some(device) => unsafe {
            bindings::dax_writeback_mapping_range(mapping, device.as_raw(), wbc)
        },
        None => EIO.to_errno(),
    }
}
