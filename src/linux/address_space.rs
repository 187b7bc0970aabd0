// SPDX-License-Identifier: GPL-2.0

//! The mapping of a regular file: its page cache, served by iomap.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/pagemap.h`](srctree/include/linux/pagemap.h)
//!
//! A table belongs to the type, not to an inode: it is constant. [`super::kinds`] gives it to every regular file.
//!
//! # Locks
//!
//! None is taken here. iomap locks folios; see [`super::iomap`] for what its callbacks may do.
//!
//! # Examples
//!
//! ```ignore
//! impl AddressSpace for Regular {
//!     type FileSystem = MyFs;
//!     type Read = Lookup;
//!     type Swap = Lookup;
//!     type Writeback = PageCache;
//!
//!     const LARGE_FOLIOS: bool = true;
//! }
//! ```

use super::{
    bindings,
    fs::FileSystem,
    inode::INode,
    iomap::{
        self,
        buffered,
        dax,
        writeback::{
            self,
            Writeback, //
        },
        Ops, //
    }, //
};
use core::marker::PhantomData;
use kernel::{
    error::{
        to_result,
        Result, //
    },
    ffi::c_int,
    sync::atomic::{
        Acquire,
        Atomic, //
    }, //
};

/// How the page cache of a regular file is read and written.
pub(crate) trait AddressSpace: Sized + 'static {
    /// The filesystem.
    type FileSystem: FileSystem;
    /// Finds blocks for reading.
    type Read: Ops<FileSystem = Self::FileSystem>;
    /// Finds blocks that swap may write to without asking again.
    type Swap: Ops<FileSystem = Self::FileSystem>;
    /// Writes back.
    type Writeback: Writeback<FileSystem = Self::FileSystem>;

    /// Whether folios may be larger than pages.
    const LARGE_FOLIOS: bool = false;
}

/// The table of an [`AddressSpace`], for regular files that have a page cache only.
pub(super) fn table<A: AddressSpace>() -> &'static bindings::address_space_operations {
    Table::<A>::TABLE
}

/// The same for those that have none ([`super::dax`]). Without a way to read a folio nobody swaps to them.
pub(super) fn dax_table<A: AddressSpace>() -> &'static bindings::address_space_operations {
    Table::<A>::DAX_TABLE
}

struct Table<A>(PhantomData<A>);

impl<A: AddressSpace> Table<A> {
    const TABLE: &'static bindings::address_space_operations =
        &bindings::address_space_operations {
            read_folio: Some(Self::read_folio),
            readahead: Some(Self::readahead),
            writepages: Some(Self::writepages),
            dirty_folio: Some(bindings::iomap_dirty_folio),
            release_folio: Some(bindings::iomap_release_folio),
            invalidate_folio: Some(bindings::iomap_invalidate_folio),
            #[cfg(CONFIG_MIGRATION)]
            migrate_folio: Some(bindings::filemap_migrate_folio),
            is_partially_uptodate: Some(bindings::iomap_is_partially_uptodate),
            error_remove_folio: Some(bindings::generic_error_remove_folio),
            bmap: Some(Self::bmap),
            swap_activate: Some(Self::swap_activate),
            ..pin_init::zeroed()
        };

    const DAX_TABLE: &'static bindings::address_space_operations =
        &bindings::address_space_operations {
            writepages: Some(Self::dax_writepages),
            dirty_folio: Some(bindings::noop_dirty_folio),
            bmap: Some(Self::bmap),
            ..pin_init::zeroed()
        };

    /// `read_folio`.
    ///
    /// # Safety
    ///
    /// For the page cache (`filemap_read_folio()`), with a locked folio of a regular file of `A::FileSystem`.
    unsafe extern "C" fn read_folio(
        _file: *mut bindings::file,
        folio: *mut bindings::folio,
    ) -> c_int {
        // SAFETY: By the function's requirements.
        unsafe { buffered::read_folio::<A::Read>(folio) };
        0
    }

    /// `readahead`.
    ///
    /// # Safety
    ///
    /// For the page cache (`read_pages()`), with a request for a regular file of `A::FileSystem` that is the caller's
    /// alone. The invalidate lock is held shared, the request's folios are locked.
    unsafe extern "C" fn readahead(rac: *mut bindings::readahead_control) {
        // SAFETY: By the function's requirements.
        unsafe { buffered::readahead::<A::Read>(rac) }
    }

    /// `writepages`.
    ///
    /// # Safety
    ///
    /// For writeback (`do_writepages()`), with the mapping of a regular file of `A::FileSystem`, whose inode stays
    /// for the call, and a control that is the caller's alone.
    unsafe extern "C" fn writepages(
        mapping: *mut bindings::address_space,
        wbc: *mut bindings::writeback_control,
    ) -> c_int {
        // SAFETY: By the function's requirements.
        unsafe { writeback::writepages::<A::Writeback>(mapping, wbc) }
    }

    /// `writepages`, where there is no page cache.
    ///
    /// # Safety
    ///
    /// As for [`Self::writepages`], of a file with `S_DAX`.
    unsafe extern "C" fn dax_writepages(
        mapping: *mut bindings::address_space,
        wbc: *mut bindings::writeback_control,
    ) -> c_int {
        // SAFETY: By the function's requirements.
        unsafe { dax::writepages::<A::FileSystem>(mapping, wbc) }
    }

    /// `bmap`.
    ///
    /// # Safety
    ///
    /// For the VFS (`bmap()`), with the mapping of a regular file of `A::FileSystem`.
    unsafe extern "C" fn bmap(
        mapping: *mut bindings::address_space,
        block: bindings::sector_t,
    ) -> bindings::sector_t {
        // SAFETY: By the function's requirements.
        unsafe { iomap::bmap::<A::Read>(mapping, block) }
    }

    /// `swap_activate`.
    ///
    /// # Safety
    ///
    /// For `swapon(2)` (`setup_swap_extents()`), with an open regular file of `A::FileSystem`, whose `i_rwsem` is held
    /// exclusively, and a new swap area.
    unsafe extern "C" fn swap_activate(
        sis: *mut bindings::swap_info_struct,
        file: *mut bindings::file,
        span: *mut bindings::sector_t,
    ) -> c_int {
        // SAFETY: By the function's requirements.
        unsafe { iomap::swap_activate::<A::Swap>(sis, file, span) }
    }
}

/// What concerns the data of regular files.
impl<T: FileSystem> INode<T> {
    /// The device that the filesystem is on.
    pub(super) fn block_device(&self) -> *mut bindings::block_device {
        // SAFETY: The inode is live, and so is its super block.
        unsafe { (*(*self.as_raw()).i_sb).s_bdev }
    }

    /// Whether a write is known to have nothing to take away: no set-user-id bit, no capabilities.
    pub(crate) fn is_nosec(&self) -> bool {
        // SAFETY: The inode is live; any value may be read.
        unsafe { (&raw const (*self.as_raw()).i_flags).read_volatile() & bindings::S_NOSEC != 0 }
    }

    fn mapping(&self) -> *mut bindings::address_space {
        // SAFETY: The inode is live; its mapping does not change.
        unsafe { (*self.as_raw()).i_mapping }
    }

    /// Writes dirty folios of bytes `start..=end` back and waits for it.
    pub(crate) fn write_and_wait(&self, start: u64, end: u64) -> Result {
        // SAFETY: The inode is live.
        to_result(unsafe {
            bindings::filemap_write_and_wait_range(
                self.mapping(),
                start.min(i64::MAX as u64) as i64,
                end.min(i64::MAX as u64) as i64,
            )
        })
    }

    /// Waits for direct I/O in flight. With the lock of the inode held exclusively, none comes after.
    pub(crate) fn dio_wait(&self) {
        // SAFETY: The inode is live.
        unsafe { bindings::inode_dio_wait(self.as_raw()) }
    }

    /// Whether direct I/O is in flight.
    pub(crate) fn dio_in_flight(&self) -> bool {
        // SAFETY: The inode is live, and the counter is only ever accessed atomically.
        let count = unsafe { Atomic::from_ptr(&raw mut (*self.as_raw()).i_dio_count.counter) };
        count.load(Acquire) != 0
    }

    /// The size grew from `from` to `to`: the folio at the old end must fault again before it is written.
    pub(crate) fn size_extended(&self, from: u64, to: u64) {
        // SAFETY: The inode is live.
        unsafe {
            bindings::pagecache_isize_extended(
                self.as_raw(),
                from.min(i64::MAX as u64) as i64,
                to.min(i64::MAX as u64) as i64,
            );
        }
    }

    /// Whether a new size is allowed by limits, and by swapping.
    pub(crate) fn check_new_size(&self, size: u64) -> Result {
        // SAFETY: The inode is live.
        to_result(unsafe {
            bindings::inode_newsize_ok(self.as_raw(), size.min(i64::MAX as u64) as i64)
        })
    }
}
