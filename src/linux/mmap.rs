// SPDX-License-Identifier: GPL-2.0

//! Mappings of regular files into memory.
//!
//! Reads fault through the page cache. The first write to a folio asks the filesystem for space: a full
//! disk is then an error of the access, not of a writeback that nobody waits for. Where the file's blocks are memory
//! ([`super::dax`]), they are what is mapped.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)
//!
//! # Locks
//!
//! A write fault holds freeze protection, then the invalidate lock shared, then the folio lock, while
//! blocks are looked up.
//!
//! # Examples
//!
//! ```ignore
//! impl Mmap for Regular {
//!     type FileSystem = MyFs;
//!     type Write = Mapper;
//!     type Dax = Mapper;
//!
//!     fn failed(_inode: &INode<MyFs>) -> bool {
//!         false
//!     }
//! }
//! ```

use super::{
    bindings,
    file::File,
    fs::FileSystem,
    inode::INode,
    iomap::{
        buffered,
        dax,
        Ops, //
    },
    lock::InvalidateShared, //
};
use core::marker::PhantomData;
use kernel::{
    error::{
        code::*,
        from_result, //
    },
    ffi::{
        c_int,
        c_uint, //
    }, //
    page::PAGE_SIZE, //
};

/// How faults are served.
pub(crate) trait Mmap: Sized + 'static {
    /// The filesystem.
    type FileSystem: FileSystem;
    /// Finds or reserves blocks, for [`super::iomap::Op::FAULT`] too.
    type Write: Ops<FileSystem = Self::FileSystem>;
    /// The same for files that have no page cache ([`dax`]), where reads come here, too.
    type Dax: Ops<FileSystem = Self::FileSystem>;

    /// A store to the page that begins at byte `pos` is going to have its blocks: for those who watch.
    #[inline(always)]
    fn begin(_inode: &INode<Self::FileSystem>, _pos: u64) {}

    /// A store to the mapping could not have a block. Whether it is to be tried once more: the process is killed
    /// otherwise. The caller holds the memory map's lock and freeze protection for faults.
    fn failed(inode: &INode<Self::FileSystem>) -> bool;
}

struct VmTable<M>(PhantomData<M>);

impl<M: Mmap> VmTable<M> {
    const TABLE: &'static bindings::vm_operations_struct = &bindings::vm_operations_struct {
        fault: Some(bindings::filemap_fault),
        map_pages: Some(bindings::filemap_map_pages),
        page_mkwrite: Some(Self::page_mkwrite),
        ..pin_init::zeroed()
    };

    /// `page_mkwrite`: a store to a folio that is mapped for reading only.
    ///
    /// # Safety
    ///
    /// For the memory manager (`do_page_mkwrite()`), with a fault in a mapping of a regular file of `M::FileSystem`,
    /// which holds its file open. `mmap_lock` or the lock of the area is held.
    unsafe extern "C" fn page_mkwrite(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: By the function's requirements.
        let file = unsafe { (*(*vmf).__bindgen_anon_1.vma).vm_file };
        // SAFETY: By the function's requirements; an open file holds its inode.
        let inode = unsafe { INode::<M::FileSystem>::from_raw((*file).f_inode) };
        let once = || {
            let _lock = InvalidateShared::lock(inode);
            // SAFETY: By the function's requirements; the locks that it wants are held.
            let ret = unsafe { buffered::page_mkwrite::<M::Write>(vmf) };
            (ret, ret & bindings::VM_FAULT_SIGBUS != 0)
        };
        // SAFETY: By the function's requirements.
        unsafe { Self::store(vmf, inode, once) }
    }

    /// Has `once` serve a store to a shared mapping, with freeze protection, and a second time if it says, beside what
    /// the memory manager is told, that there may have been no space.
    ///
    /// # Safety
    ///
    /// As for [`Self::page_mkwrite`], in a mapping of a file of `inode`.
    unsafe fn store(
        vmf: *mut bindings::vm_fault,
        inode: &INode<M::FileSystem>,
        once: impl Fn() -> (bindings::vm_fault_t, bool),
    ) -> bindings::vm_fault_t {
        // It may have become so since the file was mapped.
        if inode.is_immutable() {
            return bindings::VM_FAULT_SIGBUS;
        }
        // SAFETY: By the function's requirements.
        let page = unsafe { (*vmf).__bindgen_anon_1.pgoff };
        M::begin(inode, (page as u64).wrapping_mul(PAGE_SIZE as u64));
        let _writing = inode.super_block().pagefault();
        // A time that could not be updated is no reason to kill the process.
        // SAFETY: The file is open by the function's requirements, and freeze protection is held.
        let _ = unsafe { bindings::file_update_time((*(*vmf).__bindgen_anon_1.vma).vm_file) };
        match once() {
            (_, true) if M::failed(inode) => once().0,
            (ret, _) => ret,
        }
    }

    const DAX_TABLE: &'static bindings::vm_operations_struct = &bindings::vm_operations_struct {
        fault: Some(Self::dax_fault),
        huge_fault: Some(Self::dax_huge_fault),
        page_mkwrite: Some(Self::dax_fault),
        pfn_mkwrite: Some(Self::dax_fault),
        ..pin_init::zeroed()
    };

    /// `fault`, `page_mkwrite`, `pfn_mkwrite`, where there is no page cache.
    ///
    /// # Safety
    ///
    /// For the memory manager, with a fault in a mapping of a regular file of `M::FileSystem` with `S_DAX`, which holds
    /// its file open. `mmap_lock` or the lock of the area is held.
    unsafe extern "C" fn dax_fault(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: By the function's requirements.
        unsafe { Self::dax_huge_fault(vmf, 0) }
    }

    /// `huge_fault`, where there is no page cache.
    ///
    /// # Safety
    ///
    /// As for [`Self::dax_fault`].
    unsafe extern "C" fn dax_huge_fault(
        vmf: *mut bindings::vm_fault,
        order: c_uint,
    ) -> bindings::vm_fault_t {
        // SAFETY: By the function's requirements.
        let file = unsafe { (*(*vmf).__bindgen_anon_1.vma).vm_file };
        // SAFETY: By the function's requirements; an open file holds its inode.
        let inode = unsafe { INode::<M::FileSystem>::from_raw((*file).f_inode) };
        let once = || {
            let _lock = InvalidateShared::lock(inode);
            // SAFETY: By the function's requirements; the locks that it wants are held.
            unsafe { dax::fault::<M::Dax>(vmf, order) }
        };

        // A store to a private mapping goes to a copy: nothing of the file changes.
        // SAFETY: By the function's requirements.
        if unsafe { !bindings::fault_is_shared_store(vmf) } {
            return once().0;
        }
        // SAFETY: By the function's requirements.
        unsafe { Self::store(vmf, inode, once) }
    }
}

/// Sets up a mapping.
///
/// # Safety
///
/// For the memory manager (`call_mmap_prepare()`), with a description of a mapping of a regular file of
/// `M::FileSystem` that nobody else uses yet. `mmap_lock` is held for writing.
pub(super) unsafe extern "C" fn prepare<M: Mmap>(desc: *mut bindings::vm_area_desc) -> c_int {
    // SAFETY: By the function's requirements: the file is open.
    let file = unsafe { File::<M::FileSystem>::from_raw((*desc).file) };
    from_result(|| {
        file.check_served()?;
        file.accessed();
        // SAFETY: By the function's requirements.
        unsafe { (*desc).vm_ops = VmTable::<M>::TABLE };
        Ok(0)
    })
}

/// Sets up a mapping of a file that has no page cache.
///
/// # Safety
///
/// As for [`prepare`], of a file with `S_DAX`.
pub(super) unsafe extern "C" fn prepare_dax<M: Mmap>(desc: *mut bindings::vm_area_desc) -> c_int {
    // SAFETY: By the function's requirements: the file is open.
    let file = unsafe { File::<M::FileSystem>::from_raw((*desc).file) };
    from_result(|| {
        file.check_served()?;
        // SAFETY: By the function's requirements.
        let sync = unsafe { bindings::vma_desc_is_sync(desc) };
        let device = file.inode().super_block().dax_device().ok_or(EIO)?;
        if sync && !device.is_synchronous() {
            return Err(EOPNOTSUPP);
        }
        file.accessed();
        // SAFETY: By the function's requirements.
        unsafe { (*desc).vm_ops = VmTable::<M>::DAX_TABLE };
        // SAFETY: By the function's requirements.
        unsafe { bindings::vma_desc_set_hugepage(desc) };
        Ok(0)
    })
}

/// Where mappings go: aligned, so that large folios can be mapped as such.
#[cfg(CONFIG_TRANSPARENT_HUGEPAGE)]
pub(super) const UNMAPPED_AREA: Option<
    unsafe extern "C" fn(*mut bindings::file, usize, usize, usize, usize) -> usize,
> = Some(bindings::thp_get_unmapped_area);

/// Where mappings go: anywhere.
#[cfg(not(CONFIG_TRANSPARENT_HUGEPAGE))]
pub(super) const UNMAPPED_AREA: Option<
    unsafe extern "C" fn(*mut bindings::file, usize, usize, usize, usize) -> usize,
> = None;
