// SPDX-License-Identifier: GPL-2.0

//! Mappings of regular files into memory.
//!
//! Reads fault through the page cache. The first write to a folio asks the file system for space: a full
//! disk is then an error of the access, not of a writeback that nobody waits for.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)
//!
//! # Locks
//!
//! A write fault holds freeze protection, then the invalidate lock shared, then the folio lock, while
//! blocks are looked up.

use super::bindings;
use super::fs::FileSystem;
use super::inode::INode;
use super::iomap::{buffered, Ops};
use core::ffi::c_int;
use core::marker::PhantomData;

/// How faults are served.
pub(crate) trait Mmap: Sized + 'static {
    /// The file system.
    type Fs: FileSystem;
    /// Finds or reserves blocks, for [`super::iomap::Op::FAULT`] too.
    type Write: Ops<Fs = Self::Fs>;

    /// A store to the mapping could not have a block. Whether it is to be tried once more: the process is killed
    /// otherwise. The caller holds the memory map's lock and freeze protection for faults.
    fn failed(inode: &INode<Self::Fs>) -> bool;
}

struct VmTable<M>(PhantomData<M>);

impl<M: Mmap> VmTable<M> {
    const TABLE: &'static bindings::vm_operations_struct = &bindings::vm_operations_struct {
        fault: Some(bindings::filemap_fault),
        map_pages: Some(bindings::filemap_map_pages),
        page_mkwrite: Some(Self::page_mkwrite),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// Called by the memory manager for a mapping of a regular file of `M::Fs`.
    unsafe extern "C" fn page_mkwrite(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: By the caller: the mapping holds its file open, and with it inode and super block.
        unsafe {
            let file = (*(*vmf).__bindgen_anon_1.vma).vm_file;
            let inode = (*file).f_inode;
            // It may have become so since the file was mapped.
            if INode::<M::Fs>::from_raw(inode).is_immutable() {
                return bindings::VM_FAULT_SIGBUS;
            }
            bindings::sb_start_pagefault((*inode).i_sb);
            // A time that could not be updated is no reason to kill the process.
            let _ = bindings::file_update_time(file);
            let once = || {
                bindings::filemap_invalidate_lock_shared((*inode).i_mapping);
                let ret = buffered::page_mkwrite::<M::Write>(vmf);
                bindings::filemap_invalidate_unlock_shared((*inode).i_mapping);
                ret
            };
            let mut ret = once();
            if ret & bindings::VM_FAULT_SIGBUS != 0 && M::failed(INode::from_raw(inode)) {
                ret = once();
            }
            bindings::sb_end_pagefault((*inode).i_sb);
            ret
        }
    }
}

/// Sets up a mapping.
///
/// # Safety
///
/// Called by the memory manager for a regular file of `M::Fs`.
pub(super) unsafe extern "C" fn prepare<M: Mmap>(desc: *mut bindings::vm_area_desc) -> c_int {
    // SAFETY: By the caller.
    unsafe {
        bindings::file_accessed((*desc).file);
        (*desc).vm_ops = VmTable::<M>::TABLE;
    }
    0
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
