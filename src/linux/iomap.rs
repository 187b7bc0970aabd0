// SPDX-License-Identifier: GPL-2.0

//! iomap: the kernel's engine between file offsets and device blocks.
//!
//! The file system says where a range of a file is ([`Ops::begin`]) and iomap does the rest: page cache
//! reads and writes ([`buffered`]), direct I/O ([`dio`]), writeback ([`writeback`]), and the questions that
//! only need the map (below: holes, fiemap, bmap, swap).
//!
//! C headers: [`include/linux/iomap.h`](srctree/include/linux/iomap.h).
//!
//! # Invariants
//!
//! * Every mapping that reaches iomap covers the position that was asked for, fits `loff_t`, and is on the
//!   device of the inode's own super block: [`Map`] cannot name another device, inline data or buffer heads.
//! * Page cache operations run on regular files only; [`crate::linux::inode`] gives every regular file
//!   the iomap address space.
//!
//! # Locks
//!
//! `begin` is called with no lock that this module takes, but iomap may hold a folio lock (page faults,
//! writeback): it must not lock a folio nor wait for writeback.

pub(crate) mod buffered;
pub(crate) mod dio;
pub(crate) mod ioend;
pub(crate) mod writeback;

use super::bindings;
use super::fiemap::ExtentInfo;
use super::fs::FileSystem;
use super::inode::{INode, Kind};
use super::lock::Invalidate;
use core::marker::PhantomData;
use kernel::error::{code::*, to_result, Error, Result};

/// `IOMAP_NULL_ADDR`, which bindgen takes for a negative number.
const NULL_ADDR: u64 = u64::MAX;

/// Where a part of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Nowhere: reads as zeros.
    Hole,
    /// Data in the page cache only, space reserved.
    Delayed,
    /// At this byte of the device.
    Mapped(u64),
    /// At this byte of the device, which holds no data of the file yet: reads as zeros.
    Unwritten(u64),
}

/// Properties of a mapping (`IOMAP_F_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MapFlags(u16);

impl MapFlags {
    /// None.
    pub(crate) const NONE: Self = Self(0);
    /// The blocks, or the reservation, were made by this call: zero what the write does not cover.
    pub(crate) const NEW: Self = Self(bindings::IOMAP_F_NEW as u16);
    /// Metadata that is needed to find the data is not durable yet: no FUA shortcut for `O_DSYNC`.
    pub(crate) const DIRTY: Self = Self(bindings::IOMAP_F_DIRTY as u16);
}

/// What iomap is doing (`IOMAP_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Op(u32);

impl Op {
    /// Data will be written: blocks are needed.
    pub(crate) const WRITE: Self = Self(bindings::IOMAP_WRITE);
    /// A range is zeroed: holes may stay.
    pub(crate) const ZERO: Self = Self(bindings::IOMAP_ZERO);
    /// For a page fault.
    pub(crate) const FAULT: Self = Self(bindings::IOMAP_FAULT);
    /// Direct I/O.
    pub(crate) const DIRECT: Self = Self(bindings::IOMAP_DIRECT);
    /// Must not wait: `EAGAIN` instead.
    pub(crate) const NOWAIT: Self = Self(bindings::IOMAP_NOWAIT);
    /// Only written blocks will do: `EAGAIN` for others.
    pub(crate) const OVERWRITE_ONLY: Self = Self(bindings::IOMAP_OVERWRITE_ONLY);

    /// Both.
    const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is set.
    pub(crate) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A mapping: bytes `start..start + len` of the file are at `extent`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Map {
    /// First byte, in the file.
    pub start: u64,
    /// Number of bytes.
    pub len: u64,
    /// Where.
    pub extent: Extent,
    /// How.
    pub flags: MapFlags,
    /// State of the file's map when this was looked up; compared by [`Ops::valid`].
    pub cookie: u64,
}

impl Map {
    /// Whether byte `pos` of the file is covered.
    pub(crate) fn covers(&self, pos: u64) -> bool {
        pos.checked_sub(self.start).is_some_and(|d| d < self.len)
    }

    /// Fills in iomap's form of the mapping.
    ///
    /// # Errors
    ///
    /// `EIO` where the mapping does not cover `pos` or does not fit `loff_t`.
    fn store<T: FileSystem>(
        &self,
        inode: &INode<T>,
        pos: u64,
        out: &mut bindings::iomap,
    ) -> Result {
        let end = self.start.checked_add(self.len).ok_or(EIO)?;
        if !self.covers(pos) || end > i64::MAX as u64 {
            return Err(EIO);
        }
        let (kind, addr) = match self.extent {
            Extent::Hole => (bindings::IOMAP_HOLE, NULL_ADDR),
            Extent::Delayed => (bindings::IOMAP_DELALLOC, NULL_ADDR),
            Extent::Mapped(addr) => (bindings::IOMAP_MAPPED, addr),
            Extent::Unwritten(addr) => (bindings::IOMAP_UNWRITTEN, addr),
        };
        out.addr = addr;
        out.offset = self.start as i64;
        out.length = self.len;
        out.type_ = kind as u16;
        out.flags = self.flags.0;
        out.bdev = inode.block_device();
        out.validity_cookie = self.cookie;
        Ok(())
    }
}

/// What became of a mapping, given to [`Ops::end`].
pub(crate) struct Done<'a> {
    /// Where the operation on this mapping began.
    pub pos: u64,
    /// How far it should have gone.
    pub len: u64,
    /// How far it went.
    pub written: u64,
    /// What was done.
    pub op: Op,
    iomap: &'a mut bindings::iomap,
}

impl Done<'_> {
    /// If the mapping was a reservation that [`Ops::begin`] marked [`MapFlags::NEW`], gives back the part of it
    /// that has no dirty folio: calls [`Ops::punch`] for it, perhaps with a folio locked.
    ///
    /// Takes the invalidate lock: a fault must not dirty a folio meanwhile.
    pub(crate) fn release_reservation<O: Ops>(&mut self, inode: &INode<O::Fs>) {
        // A fault never fails after it has reserved; zeroing has the invalidate lock and reserves nothing.
        if u32::from(self.iomap.type_) != bindings::IOMAP_DELALLOC
            || self.iomap.flags & MapFlags::NEW.0 == 0
            || self.op.contains(Op::FAULT)
            || self.op.contains(Op::ZERO)
        {
            return;
        }
        let below = u64::from(inode.super_block().block_size()).wrapping_sub(1);
        let round_up = |pos: u64| pos.saturating_add(below) & !below;
        let start = match self.written {
            0 => self.pos & !below,
            written => round_up(self.pos.saturating_add(written)),
        };
        let end = round_up(self.pos.saturating_add(self.len));
        if start >= end {
            return;
        }
        let _lock = Invalidate::lock(inode);
        // SAFETY: The inode is live, the invalidate lock is held, and the callback fits the file system.
        unsafe {
            bindings::iomap_write_delalloc_release(
                inode.as_raw(),
                start as i64,
                end as i64,
                self.op.0,
                self.iomap,
                Some(Table::<O>::punch),
            )
        };
    }
}

/// One way of looking files up: a table of `struct iomap_ops` and `struct iomap_write_ops`.
pub(crate) trait Ops: Sized + 'static {
    /// The file system.
    type Fs: FileSystem;

    /// Finds, or for writes makes, the mapping at `pos`. It may be shorter or longer than `len`, may begin
    /// before `pos`, and must cover `pos`.
    fn begin(inode: &INode<Self::Fs>, pos: u64, len: u64, op: Op) -> Result<Map>;

    /// Finishes with a mapping, say gives back a reservation that a short write did not use.
    fn end(_inode: &INode<Self::Fs>, _done: &mut Done<'_>) -> Result {
        Ok(())
    }

    /// Whether the file's map is still as it was when `cookie` was taken. Called with a folio locked.
    fn valid(_inode: &INode<Self::Fs>, _cookie: u64) -> bool {
        true
    }

    /// Gives back reservations of whole blocks in bytes `start..end`, and nothing else. A folio may be locked.
    fn punch(_inode: &INode<Self::Fs>, _start: u64, _end: u64) {}
}

/// The tables of an [`Ops`].
struct Table<O: Ops>(PhantomData<O>);

impl<O: Ops> Table<O> {
    const OPS: &'static bindings::iomap_ops = &bindings::iomap_ops {
        iomap_begin: None,
        iomap_end: None,
        iomap_next: Some(Self::next),
    };

    const WRITE_OPS: &'static bindings::iomap_write_ops = &bindings::iomap_write_ops {
        get_folio: None,
        put_folio: None,
        iomap_valid: Some(Self::valid),
        read_folio_range: None,
    };

    /// # Safety
    ///
    /// Called by iomap with its own iterator over an inode of `O::Fs`.
    unsafe extern "C" fn next(
        iter: *const bindings::iomap_iter,
        iomap: *mut bindings::iomap,
        srcmap: *mut bindings::iomap,
    ) -> core::ffi::c_int {
        // SAFETY: iomap passes a live iterator, which it changes only between calls. `iomap` and `srcmap`
        // are fields of it, so it is read through raw pointers here and no reference to the whole is made.
        let (raw_inode, pos, len, start, op) = unsafe {
            (
                (*iter).inode,
                (*iter).pos,
                (*iter).len,
                (*iter).iter_start_pos,
                Op((*iter).flags),
            )
        };
        // SAFETY: The table is only given to iomap together with an inode of `O::Fs`.
        let inode = unsafe { INode::<O::Fs>::from_raw(raw_inode) };
        // SAFETY: `iomap` is valid and ours to change for the duration of the call.
        let mapped = unsafe { (*iomap).length };
        if mapped != 0 {
            // How far the operation went in the mapping, and how far it was to go: what is left of the whole
            // plus what was done, cut to the mapping (iomap_length_trim).
            let written = pos.wrapping_sub(start) as u64;
            // SAFETY: As above.
            let end = unsafe { (*iomap).offset as u64 }.wrapping_add(mapped);
            let whole = len
                .wrapping_add(written)
                .min(end.wrapping_sub(start as u64));
            let mut done = Done {
                pos: start as u64,
                len: whole,
                written,
                op,
                // SAFETY: As above; the reference ends before iomap sees the mapping again.
                iomap: unsafe { &mut *iomap },
            };
            let ret = match O::end(inode, &mut done) {
                Ok(()) => 0,
                Err(e) => e.to_errno(),
            };
            // SAFETY: The arguments are those that iomap passed.
            let ret = unsafe { bindings::iomap_iter_continue(iter, iomap, srcmap, ret) };
            if ret <= 0 {
                return ret;
            }
        }
        // SAFETY: As above; `iomap_iter_continue` does not move the position.
        let (pos, len) = unsafe { ((*iter).pos as u64, (*iter).len) };
        // SAFETY: As above.
        match O::begin(inode, pos, len, op)
            .and_then(|map| map.store(inode, pos, unsafe { &mut *iomap }))
        {
            Ok(()) => 1,
            Err(e) => e.to_errno(),
        }
    }

    /// # Safety
    ///
    /// Called by iomap with an inode of `O::Fs` and a mapping that [`Self::next`] filled in.
    unsafe extern "C" fn valid(inode: *mut bindings::inode, iomap: *const bindings::iomap) -> bool {
        // SAFETY: By the caller.
        let (inode, cookie) =
            unsafe { (INode::<O::Fs>::from_raw(inode), (*iomap).validity_cookie) };
        O::valid(inode, cookie)
    }
}

impl<O: Ops> Table<O> {
    /// # Safety
    ///
    /// Called by iomap with an inode of `O::Fs`.
    unsafe extern "C" fn punch(
        inode: *mut bindings::inode,
        offset: i64,
        length: i64,
        _iomap: *mut bindings::iomap,
    ) {
        // SAFETY: By the caller.
        let inode = unsafe { INode::<O::Fs>::from_raw(inode) };
        let start = offset as u64;
        O::punch(inode, start, start.saturating_add(length as u64));
    }
}

/// Refuses what is not a regular file: only those have the iomap address space ([`super::kinds`]).
fn regular<T: FileSystem>(inode: &INode<T>) -> Result {
    if inode.kind() == Kind::Regular {
        Ok(())
    } else {
        Err(EINVAL)
    }
}

/// [`regular`], and refuses an inode that is not the one whose lock is held, `of`.
fn locked<T: FileSystem>(inode: &INode<T>, of: &INode<T>) -> Result {
    match core::ptr::eq(inode, of) {
        true => regular(inode),
        false => Err(EINVAL),
    }
}

/// An offset as the kernel has it.
fn loff(pos: u64) -> Result<i64> {
    i64::try_from(pos).map_err(|_| EFBIG)
}

/// The offset of the first hole at or after `pos`; the end of the file counts as one.
///
/// # Errors
///
/// `ENXIO` where `pos` is at or beyond the end of the file.
pub(crate) fn seek_hole<O: Ops>(inode: &INode<O::Fs>, pos: i64) -> Result<i64> {
    regular(inode)?;
    // SAFETY: The inode is live, and the table fits its file system.
    let ret = unsafe { bindings::iomap_seek_hole(inode.as_raw(), pos, Table::<O>::OPS) };
    if ret < 0 {
        Err(Error::from_errno(ret as i32))
    } else {
        Ok(ret)
    }
}

/// The offset of the first data at or after `pos`.
///
/// # Errors
///
/// `ENXIO` where there is none before the end of the file.
pub(crate) fn seek_data<O: Ops>(inode: &INode<O::Fs>, pos: i64) -> Result<i64> {
    regular(inode)?;
    // SAFETY: The inode is live, and the table fits its file system.
    let ret = unsafe { bindings::iomap_seek_data(inode.as_raw(), pos, Table::<O>::OPS) };
    if ret < 0 {
        Err(Error::from_errno(ret as i32))
    } else {
        Ok(ret)
    }
}

/// Reports the extents of bytes `start..start + len`.
pub(crate) fn fiemap<O: Ops>(
    inode: &INode<O::Fs>,
    info: &mut ExtentInfo,
    start: u64,
    len: u64,
) -> Result {
    // SAFETY: The inode is live, the request is valid by its invariant, the table fits the file system.
    to_result(unsafe {
        bindings::iomap_fiemap(inode.as_raw(), info.as_raw(), start, len, Table::<O>::OPS)
    })
}

/// Zeroes bytes `pos..pos + len` in the page cache, as far as there can be data: dirty folios that writeback
/// will write. Returns whether there were any.
///
/// The caller holds the inode's lock exclusively, the invalidate lock too, and no journal handle: folios are
/// locked and writeback may be waited for.
pub(crate) fn zero_range<O: Ops>(inode: &INode<O::Fs>, pos: u64, len: u64) -> Result<bool> {
    regular(inode)?;
    let mut did_zero = false;
    // SAFETY: The inode is a live regular file, and the tables fit its file system.
    to_result(unsafe {
        bindings::iomap_zero_range(
            inode.as_raw(),
            loff(pos)?,
            loff(len)?,
            &mut did_zero,
            Table::<O>::OPS,
            Table::<O>::WRITE_OPS,
            core::ptr::null_mut(),
        )
    })?;
    Ok(did_zero)
}

/// Zeroes from `pos` to the end of its block, with the locks of [`zero_range`].
pub(crate) fn truncate_page<O: Ops>(inode: &INode<O::Fs>, pos: u64) -> Result<bool> {
    regular(inode)?;
    let mut did_zero = false;
    // SAFETY: As in `zero_range`.
    to_result(unsafe {
        bindings::iomap_truncate_page(
            inode.as_raw(),
            loff(pos)?,
            &mut did_zero,
            Table::<O>::OPS,
            Table::<O>::WRITE_OPS,
            core::ptr::null_mut(),
        )
    })?;
    Ok(did_zero)
}

/// The device block of block `block` of a file, 0 where there is none (the `FIBMAP` ioctl).
///
/// # Safety
///
/// As the kernel calls `bmap`, for a regular file of `O::Fs`.
pub(super) unsafe fn bmap<O: Ops>(
    mapping: *mut bindings::address_space,
    block: bindings::sector_t,
) -> bindings::sector_t {
    // SAFETY: By the caller.
    unsafe { bindings::iomap_bmap(mapping, block, Table::<O>::OPS) }
}

/// Checks that a file can be swapped to, and gives the swap code its extents.
///
/// # Safety
///
/// As the kernel calls `swap_activate`, for a regular file of `O::Fs`.
#[cfg(CONFIG_SWAP)]
pub(super) unsafe fn swap_activate<O: Ops>(
    sis: *mut bindings::swap_info_struct,
    file: *mut bindings::file,
    span: *mut bindings::sector_t,
) -> core::ffi::c_int {
    // SAFETY: By the caller.
    unsafe { bindings::iomap_swapfile_activate(sis, file, span, Table::<O>::OPS) }
}

/// The kernel cannot swap.
///
/// # Safety
///
/// None.
#[cfg(not(CONFIG_SWAP))]
pub(super) unsafe fn swap_activate<O: Ops>(
    _sis: *mut bindings::swap_info_struct,
    _file: *mut bindings::file,
    _span: *mut bindings::sector_t,
) -> core::ffi::c_int {
    EINVAL.to_errno()
}
