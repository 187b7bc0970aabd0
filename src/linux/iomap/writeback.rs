// SPDX-License-Identifier: GPL-2.0

//! Writeback: dirty page cache to the device.
//!
//! iomap walks the dirty folios and asks for the place of each dirty range; what lies together becomes one
//! bio. The last mapping is kept and used again while the file's map has not changed.
//!
//! # Locks
//!
//! The folio is locked and marked as under writeback while [`Writeback::map`] runs.
//!
//! C header: [`include/linux/iomap.h`](srctree/include/linux/iomap.h)
//!
//! # Examples
//!
//! ```ignore
//! impl Writeback for PageCache {
//!     type FileSystem = MyFs;
//!
//!     fn map(inode: &INode<MyFs>, pos: u64, len: u64) -> Result<Map> {
//!         inode.data().choose(pos, len)
//!     }
//!
//!     fn valid(inode: &INode<MyFs>, cookie: u64) -> bool {
//!         inode.data().sequence() == cookie
//!     }
//!
//!     fn discard(inode: &INode<MyFs>, pos: u64, end: u64) {
//!         inode.data().give_back(pos, end);
//!     }
//!
//!     fn is_due(inode: &INode<MyFs>, range: &Range) -> bool {
//!         range.unwritten || range.end() > inode.data().disk_size()
//!     }
//! }
//! ```

use super::super::{
    bindings,
    compat,
    fs::FileSystem,
    inode::INode, //
};
use super::{
    ioend,
    Extent,
    Map, //
};
use core::marker::PhantomData;
use kernel::{
    error::{
        code::*,
        from_result,
        Error,
        Result, //
    },
    ffi::{
        c_int,
        c_uint, //
    }, //
};

/// How a filesystem writes dirty page cache back.
pub(crate) trait Writeback: Sized + 'static {
    /// The filesystem.
    type FileSystem: FileSystem;

    /// Finds blocks for the dirty bytes `pos..pos + len`; the mapping covers `pos` and may go on beyond. A
    /// hole makes iomap skip the range, a reservation must have become blocks (else `EIO`, with a line in the log).
    fn map(inode: &INode<Self::FileSystem>, pos: u64, len: u64) -> Result<Map>;

    /// Whether the file's map is still as it was when `cookie` was taken.
    fn valid(inode: &INode<Self::FileSystem>, cookie: u64) -> bool;

    /// Bytes `pos..end` of a locked folio, no longer dirty, cannot be written: drops their reservation.
    fn discard(inode: &INode<Self::FileSystem>, pos: u64, end: u64);

    /// Whether `range`, which is on its way to the device, needs [`FileSystem::complete_writes`] when it is there:
    /// where its blocks were unwritten, or the size on disk is smaller.
    fn is_due(inode: &INode<Self::FileSystem>, range: &ioend::Range) -> bool;

    /// `range` goes to the device now, from this sector of 512 bytes on: for those who watch.
    #[inline(always)]
    fn submitted(_inode: &INode<Self::FileSystem>, _range: &ioend::Range, _sector: u64) {}
}

struct WritebackTable<W>(PhantomData<W>);

impl<W: Writeback> WritebackTable<W> {
    const OPS: &'static bindings::iomap_writeback_ops = &bindings::iomap_writeback_ops {
        writeback_range: Some(Self::range),
        writeback_submit: Some(Self::submit),
    };

    /// `writeback_range`: adds a dirty range to an ioend.
    ///
    /// # Safety
    ///
    /// For iomap (`iomap_writeback_folio()`), with the context of [`writepages`] and a locked folio of its inode.
    unsafe extern "C" fn range(
        wpc: *mut bindings::iomap_writepage_ctx,
        folio: *mut bindings::folio,
        pos: u64,
        len: c_uint,
        end_pos: u64,
    ) -> isize {
        // SAFETY: By the function's requirements.
        let inode = unsafe { INode::<W::FileSystem>::from_raw((*wpc).inode) };
        let added = from_result(|| {
            // SAFETY: By the function's requirements; only we change the mapping while iomap is in this call.
            Self::map(inode, pos, len.into(), unsafe { &mut (*wpc).iomap })?;
            // SAFETY: The arguments are those of the caller, and the mapping covers `pos`.
            let added = unsafe {
                bindings::iomap_add_to_ioend(wpc, folio, pos as i64, end_pos as i64, len)
            };
            match added {
                0.. => Ok(added),
                error => Err(Error::from_errno(error as c_int)),
            }
        });
        if added < 0 {
            // SAFETY: The folio is locked, so it stays in its place.
            let end = unsafe { bindings::folio_next_pos(folio) } as u64;
            W::discard(inode, pos, end);
        }
        added
    }

    /// Sees to it that `iomap` covers `pos`.
    fn map(
        inode: &INode<W::FileSystem>,
        pos: u64,
        len: u64,
        iomap: &mut bindings::iomap,
    ) -> Result {
        let start = iomap.offset as u64;
        let covers = pos.checked_sub(start).is_some_and(|d| d < iomap.length);
        if covers && W::valid(inode, iomap.validity_cookie) {
            return Ok(());
        }
        let map = W::map(inode, pos, len)?;
        if map.extent == Extent::Delayed {
            let number = inode.number();
            kernel::pr_err_once!("inode {number}: byte {pos} is written back and has no block\n");
            return Err(EIO);
        }
        map.store::<_, false>(inode, pos, iomap)
    }

    /// `writeback_submit`: sends an ioend on its way.
    ///
    /// # Safety
    ///
    /// For iomap (`iomap_writepages()`, `iomap_add_to_ioend()`), with the context of [`writepages`], which has an
    /// ioend that was not submitted yet.
    unsafe extern "C" fn submit(wpc: *mut bindings::iomap_writepage_ctx, error: c_int) -> c_int {
        // SAFETY: By the function's requirements.
        let inode = unsafe { INode::<W::FileSystem>::from_raw((*wpc).inode) };
        // SAFETY: By the function's requirements.
        let ioend: *mut bindings::iomap_ioend = unsafe { (*wpc).wb_ctx.cast() };
        // SAFETY: By the function's requirements.
        let range = unsafe { ioend::range_of(ioend) };
        // SAFETY: By the function's requirements.
        let wants_task = unsafe { compat::wants_task(ioend) };
        if W::is_due(inode, &range) || wants_task {
            // SAFETY: By the function's requirements: the ioend is ours to change.
            let bio = unsafe { &raw mut (*ioend).io_bio };
            // SAFETY: As above. The function is for ioends of an inode of this filesystem.
            unsafe { (*bio).bi_end_io = Some(ioend::end_bio::<W::FileSystem>) };
            // The workqueue completes it: the block layer need not find a task for it too.
            // SAFETY: As above.
            unsafe { compat::has_task(ioend) };
        }
        if error == 0 {
            // SAFETY: By the function's requirements.
            W::submitted(inode, &range, unsafe { (*ioend).io_sector });
        }
        // SAFETY: The arguments are those of the caller.
        unsafe { bindings::iomap_ioend_writeback_submit(wpc, error) }
    }
}

/// Writes dirty folios back as the control says.
///
/// # Safety
///
/// As the kernel calls `writepages`, for a regular file of `W::FileSystem`.
pub(in crate::linux) unsafe fn writepages<W: Writeback>(
    mapping: *mut bindings::address_space,
    wbc: *mut bindings::writeback_control,
) -> c_int {
    let mut wpc = bindings::iomap_writepage_ctx {
        // SAFETY: By the function's requirements.
        inode: unsafe { (*mapping).host },
        wbc,
        ops: WritebackTable::<W>::OPS,
        ..Default::default()
    };
    // SAFETY: By the function's requirements; the context lives until the function returns.
    unsafe { bindings::iomap_writepages(&mut wpc) }
}
