// SPDX-License-Identifier: GPL-2.0

//! Writeback: dirty page cache to the device.
//!
//! iomap walks the dirty folios and asks for the place of each dirty range; what lies together becomes one
//! bio. The last mapping is kept and used again while the file's map has not changed.
//!
//! # Locks
//!
//! The folio is locked and marked as under writeback while [`Writeback::map`] runs.

use super::super::bindings;
use super::super::compat;
use super::super::fs::FileSystem;
use super::super::inode::INode;
use super::ioend;
use super::{Extent, Map};
use core::marker::PhantomData;
use kernel::error::{code::*, Result};

/// How a file system writes dirty page cache back.
pub(crate) trait Writeback: Sized + 'static {
    /// The file system.
    type Fs: FileSystem;

    /// Finds blocks for the dirty bytes `pos..pos + len`; the mapping covers `pos` and may go on beyond. A
    /// hole makes iomap skip the range, a reservation must have become blocks.
    fn map(inode: &INode<Self::Fs>, pos: u64, len: u64) -> Result<Map>;

    /// Whether the file's map is still as it was when `cookie` was taken.
    fn valid(inode: &INode<Self::Fs>, cookie: u64) -> bool;

    /// Bytes `pos..end` of a locked folio, no longer dirty, cannot be written: drops their reservation.
    fn discard(inode: &INode<Self::Fs>, pos: u64, end: u64);

    /// Whether data that ends at byte `end` needs [`FileSystem::complete_writes`] although its blocks are mapped
    /// already: where the size on disk is smaller.
    fn extends(inode: &INode<Self::Fs>, end: u64) -> bool;
}

struct WritebackTable<W>(PhantomData<W>);

impl<W: Writeback> WritebackTable<W> {
    const OPS: &'static bindings::iomap_writeback_ops = &bindings::iomap_writeback_ops {
        writeback_range: Some(Self::range),
        writeback_submit: Some(Self::submit),
    };

    /// # Safety
    ///
    /// Called by iomap with the context of [`writepages`] and a locked folio of its inode.
    unsafe extern "C" fn range(
        wpc: *mut bindings::iomap_writepage_ctx,
        folio: *mut bindings::folio,
        pos: u64,
        len: core::ffi::c_uint,
        end_pos: u64,
    ) -> isize {
        // SAFETY: By the caller.
        let inode = unsafe { INode::<W::Fs>::from_raw((*wpc).inode) };
        // SAFETY: As above; only we change the mapping while iomap is in this call.
        let iomap = unsafe { &mut (*wpc).iomap };
        let start = iomap.offset as u64;
        let cached = pos.checked_sub(start).is_some_and(|d| d < iomap.length)
            && W::valid(inode, iomap.validity_cookie);
        let mapped = if cached {
            Ok(())
        } else {
            W::map(inode, pos, u64::from(len)).and_then(|map| match map.extent {
                Extent::Delayed => Err(EIO),
                _ => map.store(inode, pos, iomap),
            })
        };
        let ret = match mapped {
            // SAFETY: The arguments are those of the caller, and the mapping covers `pos`.
            Ok(()) => unsafe {
                bindings::iomap_add_to_ioend(wpc, folio, pos as i64, end_pos as i64, len)
            },
            Err(e) => e.to_errno() as isize,
        };
        if ret < 0 {
            // SAFETY: The folio is locked, so it stays in its place.
            let end = unsafe { bindings::folio_next_pos(folio) } as u64;
            W::discard(inode, pos, end);
        }
        ret
    }

    /// # Safety
    ///
    /// Called by iomap with the context of [`writepages`], which has an ioend.
    unsafe extern "C" fn submit(
        wpc: *mut bindings::iomap_writepage_ctx,
        error: core::ffi::c_int,
    ) -> core::ffi::c_int {
        // SAFETY: By the caller; the ioend is not submitted yet, so it is ours to change.
        unsafe {
            let inode = INode::<W::Fs>::from_raw((*wpc).inode);
            let ioend: *mut bindings::iomap_ioend = (*wpc).wb_ctx.cast();
            let end = ((*ioend).io_offset as u64).saturating_add((*ioend).io_size as u64);
            let unwritten = u32::from((*ioend).io_flags) & bindings::IOMAP_IOEND_UNWRITTEN != 0;
            if unwritten || W::extends(inode, end) || compat::wants_task(ioend) {
                (*ioend).io_bio.bi_end_io = Some(ioend::end_bio::<W::Fs>);
                // The workqueue completes it: the block layer need not find a task for it too.
                compat::has_task(ioend);
            }
            bindings::iomap_ioend_writeback_submit(wpc, error)
        }
    }
}

/// Writes dirty folios back as the control says.
///
/// # Safety
///
/// As the kernel calls `writepages`, for a regular file of `W::Fs`.
pub(in crate::linux) unsafe fn writepages<W: Writeback>(
    mapping: *mut bindings::address_space,
    wbc: *mut bindings::writeback_control,
) -> core::ffi::c_int {
    let mut wpc = bindings::iomap_writepage_ctx {
        // SAFETY: By the caller.
        inode: unsafe { (*mapping).host },
        wbc,
        ops: WritebackTable::<W>::OPS,
        ..Default::default()
    };
    // SAFETY: By the caller; the context lives until the function returns.
    unsafe { bindings::iomap_writepages(&mut wpc) }
}
