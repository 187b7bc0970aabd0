// SPDX-License-Identifier: GPL-2.0

//! iomap: the kernel's engine between file offsets and device blocks.
//!
//! The filesystem says where a range of a file is ([`Ops::begin`]) and iomap does the rest: page cache
//! reads and writes ([`buffered`]), direct I/O ([`dio`]), memory that is the device ([`dax`]), writeback
//! ([`writeback`]), and the questions that only need the map (below: holes, fiemap, bmap, swap).
//!
//! C headers: [`include/linux/iomap.h`](srctree/include/linux/iomap.h).
//!
//! # Invariants
//!
//! * Every mapping that reaches iomap consists of whole blocks, covers the position that was asked for, fits `loff_t`,
//!   and is on the device of the inode's own super block: [`Map`] cannot name another device, inline data or buffer
//!   heads.
//! * Page cache operations run on regular files that have a page cache only; [`super::kinds`] gives every such file
//!   the iomap address space.
//! * A mapping for who uses the memory of a device is within it.
//!
//! # Locks
//!
//! `begin` is called with no lock that this module takes, but iomap may hold a folio lock (page faults,
//! writeback): it must not lock a folio nor wait for writeback.
//!
//! # Examples
//!
//! ```ignore
//! #[vtable]
//! impl Ops for Lookup {
//!     type FileSystem = MyFs;
//!
//!     fn begin(inode: &INode<MyFs>, pos: u64, len: u64, _op: Op) -> Result<Map> {
//!         Ok(Map {
//!             start: pos,
//!             len,
//!             extent: Extent::Mapped(inode.data().start() + pos),
//!             flags: MapFlags::NONE,
//!             cookie: 0,
//!         })
//!     }
//! }
//! ```

pub(crate) mod buffered;
pub(crate) mod dax;
pub(crate) mod dio;
pub(crate) mod ioend;
pub(crate) mod writeback;

use super::{bindings, fiemap::ExtentInfo, fs::FileSystem, inode::INode, lock::Invalidate};
use core::marker::PhantomData;
use kernel::{
    error::{
        from_result,
        to_result,
        VTABLE_DEFAULT_ERROR, //
    },
    ffi::{
        c_int,
        c_uint, //
    },
    prelude::*, //
};

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
    /// The device is asked to write all or nothing, in one request: the mapping covers all that is written.
    pub(crate) const ATOMIC: Self = Self(bindings::IOMAP_F_ATOMIC_BIO as u16);

    /// Whether all of `other` is set.
    pub(crate) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
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
    /// All or nothing is to be there after a power cut.
    pub(crate) const ATOMIC: Self = Self(bindings::IOMAP_ATOMIC);

    /// As a number.
    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// Both.
    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is set.
    pub(crate) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is set.
    pub(crate) const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A mapping: bytes `start..start + len` of the file, which are whole blocks, are at `extent`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Map {
    /// First byte, in the file.
    pub(crate) start: u64,
    /// Number of bytes.
    pub(crate) len: u64,
    /// Where.
    pub(crate) extent: Extent,
    /// How.
    pub(crate) flags: MapFlags,
    /// State of the file's map when this was looked up; compared by [`Ops::valid`].
    pub(crate) cookie: u64,
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
    /// `EIO`, with a line in the log, where the mapping does not cover `pos` or does not fit `loff_t`; or where it has
    /// part of a block, as iomap keeps books of whole ones: it would show what was in memory before as data. With
    /// `DAX`, for who uses the memory of the device, also where it is not within that.
    #[inline]
    fn store<T: FileSystem, const DAX: bool>(
        &self,
        inode: &INode<T>,
        pos: u64,
        out: &mut bindings::iomap,
    ) -> Result {
        let end = self.start.saturating_add(self.len);
        // SAFETY: The inode is live; this does not change.
        let bits = unsafe { (*inode.as_raw()).i_blkbits };
        let below = 1_u64.wrapping_shl(bits.into()).wrapping_sub(1);
        if !self.covers(pos) || end > i64::MAX as u64 || (self.start | end) & below != 0 {
            return Err(self.refused(inode.number(), pos));
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
        if DAX {
            let device = inode.super_block().dax_device().ok_or(EIO)?;
            if addr != NULL_ADDR {
                // Nobody else looks whether it is memory of the device.
                let place = device.place(addr, self.len);
                out.addr = place.ok_or_else(|| self.refused(inode.number(), pos))?;
            }
            out.dax_dev = device.as_raw();
        } else {
            out.bdev = inode.block_device();
        }
        out.validity_cookie = self.cookie;
        Ok(())
    }

    /// What [`store`](Self::store) answers to a mapping that iomap must not see.
    #[cold]
    #[inline(never)]
    fn refused(&self, inode: u64, pos: u64) -> Error {
        kernel::pr_err_once!("inode {inode}: {self:?} is no mapping of byte {pos}\n");
        EIO
    }
}

/// What became of a mapping, given to [`Ops::end`].
///
/// # Invariants
///
/// `iomap` is a mapping of `inode` that [`Ops::begin`] has made for `op`. The operation was to go from byte `pos` of
/// the file, which the mapping covers, over `len` bytes, not beyond its end, and has gone over `written` of them.
pub(crate) struct Done<'a, T: FileSystem> {
    inode: &'a INode<T>,
    pos: u64,
    len: u64,
    written: u64,
    op: Op,
    iomap: &'a mut bindings::iomap,
}

impl<T: FileSystem> Done<'_, T> {
    /// If the mapping was a reservation that [`Ops::begin`] marked [`MapFlags::NEW`], gives back the part of it
    /// that has no dirty folio: calls [`Ops::punch`] for it, perhaps with a folio locked.
    ///
    /// Takes the invalidate lock: a fault must not dirty a folio meanwhile.
    pub(crate) fn release_reservation<O: Ops<FileSystem = T>>(&mut self) {
        let punch = match O::HAS_PUNCH {
            true => Table::<O>::punch,
            false => return,
        };
        // A fault never fails after it has reserved; zeroing has the invalidate lock and reserves nothing.
        if u32::from(self.iomap.type_) != bindings::IOMAP_DELALLOC
            || self.iomap.flags & MapFlags::NEW.0 == 0
            || self.op.contains(Op::FAULT)
            || self.op.contains(Op::ZERO)
        {
            return;
        }
        let below = u64::from(self.inode.super_block().block_size()).wrapping_sub(1);
        let round_up = |pos: u64| pos.saturating_add(below) & !below;
        let start = match self.written {
            0 => self.pos & !below,
            written => round_up(self.pos.saturating_add(written)),
        };
        let end = round_up(self.pos.saturating_add(self.len));
        if start >= end {
            return;
        }
        let lock = Invalidate::lock_alone(self.inode);
        // SAFETY: The inode is live, the invalidate lock is held, the mapping is one of this inode and the range within
        // it, by the type's invariants, and the callback fits the filesystem.
        unsafe {
            bindings::iomap_write_delalloc_release(
                lock.inode().as_raw(),
                start as i64,
                end as i64,
                self.op.0,
                self.iomap,
                Some(punch),
            )
        };
    }
}

/// A filesystem that has something for those who watch how iomap finds blocks.
pub(crate) trait Watched: FileSystem {
    /// [`Ops::begin`] is called next, by this task.
    fn begins(inode: &INode<Self>, pos: u64, len: u64, op: Op);

    /// It has come to this.
    fn began(result: &Result<Map>);
}

/// One way of looking files up: a table of `struct iomap_ops` and `struct iomap_write_ops`.
#[vtable]
pub(crate) trait Ops: Sized + 'static {
    /// The filesystem.
    type FileSystem: Watched;

    /// Finds, or for writes makes, the mapping at `pos`. It may be shorter or longer than `len`, may begin
    /// before `pos`, and must cover `pos`.
    fn begin(inode: &INode<Self::FileSystem>, pos: u64, len: u64, op: Op) -> Result<Map>;

    /// Finishes with a mapping, say gives back a reservation that a short write did not use. Nothing, if it is not
    /// there. It may not be called for one that was looked up for reading only.
    fn end(_done: &mut Done<'_, Self::FileSystem>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Whether the file's map is still as it was when `cookie` was taken. Called with a folio locked. If it is not
    /// there, the map of a file never changes.
    fn valid(_inode: &INode<Self::FileSystem>, _cookie: u64) -> bool {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// How many bytes a new folio of the page cache should have at byte `pos`, where `len` bytes are to be written to
    /// it: a wish, which alignment and the memory that is there may not allow. Where it is not there, `len`.
    fn folio_size(_inode: &INode<Self::FileSystem>, _pos: u64, _len: usize) -> usize {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Gives back reservations of whole blocks in bytes `start..end`, and nothing else. A folio may be locked.
    fn punch(_inode: &INode<Self::FileSystem>, _start: u64, _end: u64) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// The tables of an [`Ops`]; `DAX` for who uses the memory of the device.
struct Table<O: Ops, const DAX: bool = false>(PhantomData<O>);

impl<O: Ops, const DAX: bool> Table<O, DAX> {
    const OPS: &'static bindings::iomap_ops = &bindings::iomap_ops {
        iomap_begin: None,
        iomap_end: None,
        iomap_next: Some(Self::next),
    };

    const WRITE_OPS: &'static bindings::iomap_write_ops = &bindings::iomap_write_ops {
        get_folio: if O::HAS_FOLIO_SIZE {
            Some(Self::get_folio)
        } else {
            None
        },
        put_folio: None,
        iomap_valid: if O::HAS_VALID {
            Some(Self::valid)
        } else {
            None
        },
        read_folio_range: None,
    };

    /// `get_folio`.
    ///
    /// # Safety
    ///
    /// For iomap (`iomap_write_begin()`), with its own iterator over an inode of `O::FileSystem`. No folio is locked.
    unsafe extern "C" fn get_folio(
        iter: *mut bindings::iomap_iter,
        pos: bindings::loff_t,
        len: c_uint,
    ) -> *mut bindings::folio {
        // SAFETY: By the function's requirements.
        let inode = unsafe { INode::<O::FileSystem>::from_raw((*iter).inode) };
        let wish = O::folio_size(inode, pos as u64, len as usize);
        // SAFETY: The iterator is iomap's own, lent for the call. The length is taken for the order of a new folio, and
        // for nothing else.
        unsafe { bindings::iomap_get_folio(iter, pos, wish) }
    }

    /// `iomap_next`: ends the last mapping, and makes the next.
    ///
    /// # Safety
    ///
    /// For iomap (`iomap_iter()`), with its own iterator over an inode of `O::FileSystem`, which it changes only
    /// between calls, and the two mappings in it, which are the caller's to change.
    unsafe extern "C" fn next(
        iter: *const bindings::iomap_iter,
        iomap: *mut bindings::iomap,
        srcmap: *mut bindings::iomap,
    ) -> c_int {
        // `iomap` and `srcmap` are fields of the iterator, so no reference to the whole is made.
        // SAFETY: By the function's requirements.
        let (inode, op) = unsafe { ((*iter).inode, Op((*iter).flags)) };
        // SAFETY: By the function's requirements.
        let inode = unsafe { INode::<O::FileSystem>::from_raw(inode) };
        from_result(|| {
            // SAFETY: By the function's requirements.
            if unsafe { (*iomap).length } != 0 {
                // SAFETY: By the function's requirements.
                let ended = match unsafe { Self::end(inode, iter, iomap) } {
                    Ok(()) => 0,
                    Err(error) => error.to_errno(),
                };
                // SAFETY: The arguments are those that iomap passed.
                let more = unsafe { bindings::iomap_iter_continue(iter, iomap, srcmap, ended) };
                match more {
                    ..0 => return Err(Error::from_errno(more)),
                    0 => return Ok(0),
                    _ => {}
                }
            }
            // SAFETY: By the function's requirements; `iomap_iter_continue` does not move the position.
            let (pos, len) = unsafe { ((*iter).pos as u64, (*iter).len) };
            // Not copied before it is checked: that is a part of what a direct write costs.
            O::FileSystem::begins(inode, pos, len, op);
            let result = &O::begin(inode, pos, len, op);
            O::FileSystem::began(result);
            match result {
                // SAFETY: By the function's requirements.
                Ok(map) => map.store::<_, DAX>(inode, pos, unsafe { &mut *iomap })?,
                Err(error) => return Err(of_filesystem(*error)),
            }
            Ok(1)
        })
    }

    /// Ends a mapping.
    ///
    /// # Safety
    ///
    /// As for [`Self::next`]; `inode` is that of the iterator, and `iomap` a mapping that [`Self::next`] has made.
    #[inline]
    unsafe fn end(
        inode: &INode<O::FileSystem>,
        iter: *const bindings::iomap_iter,
        iomap: *mut bindings::iomap,
    ) -> Result {
        if !O::HAS_END {
            return Ok(());
        }
        // SAFETY: By the function's requirements. The reference ends before iomap sees the mapping again.
        let iomap = unsafe { &mut *iomap };
        // SAFETY: By the function's requirements.
        let (pos, len) = unsafe { ((*iter).pos, (*iter).len) };
        // SAFETY: By the function's requirements.
        let (start, op) = unsafe { ((*iter).iter_start_pos, Op((*iter).flags)) };
        // How far the operation went in the mapping, and how far it was to go: what is left of the whole
        // plus what was done, cut to the mapping (iomap_length_trim).
        let written = pos.wrapping_sub(start) as u64;
        let end = (iomap.offset as u64).wrapping_add(iomap.length);
        let whole = len
            .wrapping_add(written)
            .min(end.wrapping_sub(start as u64));
        // INVARIANT: As was worked out, and by the function's requirements.
        O::end(&mut Done {
            inode,
            pos: start as u64,
            len: whole,
            written,
            op,
            iomap,
        })
    }

    /// `iomap_valid`.
    ///
    /// # Safety
    ///
    /// For iomap (`iomap_write_begin()`), with an inode of `O::FileSystem` and a mapping that [`Self::next`] has
    /// made. A folio of the inode is locked.
    unsafe extern "C" fn valid(inode: *mut bindings::inode, iomap: *const bindings::iomap) -> bool {
        // SAFETY: By the function's requirements.
        let inode = unsafe { INode::<O::FileSystem>::from_raw(inode) };
        // SAFETY: By the function's requirements.
        let cookie = unsafe { (*iomap).validity_cookie };
        O::valid(inode, cookie)
    }

    /// What [`Done::release_reservation`] calls for each part that has no dirty folio.
    ///
    /// # Safety
    ///
    /// For iomap (`iomap_write_delalloc_release()`), with an inode of `O::FileSystem`. Its invalidate lock is held, a
    /// folio may be locked.
    unsafe extern "C" fn punch(
        inode: *mut bindings::inode,
        offset: bindings::loff_t,
        length: bindings::loff_t,
        _iomap: *mut bindings::iomap,
    ) {
        // SAFETY: By the function's requirements.
        let inode = unsafe { INode::<O::FileSystem>::from_raw(inode) };
        let start = offset as u64;
        O::punch(inode, start, start.saturating_add(length as u64));
    }
}

/// Refuses what has no page cache, or another one.
fn cached<T: FileSystem>(inode: &INode<T>) -> Result<&INode<T>> {
    match inode.is_dax() {
        true => Err(EINVAL),
        false => regular(inode),
    }
}

/// Refuses what is not a regular file: only those have the iomap address space ([`super::kinds`]).
fn regular<T: FileSystem>(inode: &INode<T>) -> Result<&INode<T>> {
    match inode.is_regular() {
        true => Ok(inode),
        false => Err(EINVAL),
    }
}

/// An error that a filesystem gives. Only iomap knows that a request was queued, so `EIOCBQUEUED` becomes `EIO`.
fn of_filesystem(error: Error) -> Error {
    match error == EIOCBQUEUED {
        true => EIO,
        false => error,
    }
}

/// `EINVAL` for a lock of another inode than the `requested` one. Requests are those of regular files only.
#[inline]
fn locked<T: FileSystem>(requested: &INode<T>, of: &INode<T>) -> Result {
    match core::ptr::eq(requested, of) {
        true => Ok(()),
        false => Err(EINVAL),
    }
}

/// A position, or a negative error number.
fn position(ret: bindings::loff_t) -> Result<i64> {
    match ret {
        0.. => Ok(ret),
        error => Err(Error::from_errno(error as c_int)),
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
pub(crate) fn seek_hole<O: Ops>(inode: &INode<O::FileSystem>, pos: i64) -> Result<i64> {
    regular(inode)?;
    // SAFETY: The inode is live, and the table fits its filesystem.
    position(unsafe { bindings::iomap_seek_hole(inode.as_raw(), pos, Table::<O>::OPS) })
}

/// The offset of the first data at or after `pos`.
///
/// # Errors
///
/// `ENXIO` where there is none before the end of the file.
pub(crate) fn seek_data<O: Ops>(inode: &INode<O::FileSystem>, pos: i64) -> Result<i64> {
    regular(inode)?;
    // SAFETY: The inode is live, and the table fits its filesystem.
    position(unsafe { bindings::iomap_seek_data(inode.as_raw(), pos, Table::<O>::OPS) })
}

/// Reports the extents of bytes `start..start + len`.
pub(crate) fn fiemap<O: Ops>(
    inode: &INode<O::FileSystem>,
    info: &mut ExtentInfo,
    start: u64,
    len: u64,
) -> Result {
    // SAFETY: The inode is live, the request is valid by its invariant, the table fits the filesystem.
    to_result(unsafe {
        bindings::iomap_fiemap(inode.as_raw(), info.as_raw(), start, len, Table::<O>::OPS)
    })
}

/// Zeroes bytes `pos..pos + len` in the page cache, as far as there can be data: dirty folios that writeback
/// will write. Returns whether there were any. Folios are locked, and writeback may be waited for.
pub(crate) fn zero_range<O: Ops>(
    lock: &Invalidate<'_, O::FileSystem>,
    pos: u64,
    len: u64,
) -> Result<bool> {
    let inode = cached(lock.inode())?;
    let (pos, len) = (loff(pos)?, loff(len)?);
    let mut did_zero = false;
    // SAFETY: The inode is a live regular file, both locks that the callee wants are held, and the tables fit its
    // filesystem.
    to_result(unsafe {
        bindings::iomap_zero_range(
            inode.as_raw(),
            pos,
            len,
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
/// As the kernel calls `bmap`, for a regular file of `O::FileSystem`.
pub(super) unsafe fn bmap<O: Ops>(
    mapping: *mut bindings::address_space,
    block: bindings::sector_t,
) -> bindings::sector_t {
    // SAFETY: By the function's requirements.
    unsafe { bindings::iomap_bmap(mapping, block, Table::<O>::OPS) }
}

/// Checks that a file can be swapped to, and gives the swap code its extents.
///
/// # Safety
///
/// As the kernel calls `swap_activate`, for a regular file of `O::FileSystem`.
#[cfg(CONFIG_SWAP)]
pub(super) unsafe fn swap_activate<O: Ops>(
    sis: *mut bindings::swap_info_struct,
    file: *mut bindings::file,
    span: *mut bindings::sector_t,
) -> c_int {
    // SAFETY: By the function's requirements.
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
) -> c_int {
    EINVAL.to_errno()
}
