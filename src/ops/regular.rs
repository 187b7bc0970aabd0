// SPDX-License-Identifier: GPL-2.0

//! Regular files: which functions serve which operation of the VFS.

use super::begin::{self, Buffered, Read, Swap};
use super::complete::PageCache;
use super::extents::{first_behind, with_core};
use super::{dio, fsync, mount, write, Fs, Node};
use crate::linux::address_space::{self, AddressSpace};
use crate::linux::file::{self, File, FileOperations, IterDest, IterSource, Kiocb};
use crate::linux::inode::{FileTable, MappingTable};
use crate::linux::mmap::Mmap;
use crate::store::Store;
use kernel::error::{code::*, Result};

/// The operations of open files.
pub(super) fn file_table() -> FileTable<Fs> {
    file::table::<Regular>()
}

/// The operations of the page cache.
pub(super) fn mapping_table() -> MappingTable<Fs> {
    address_space::table::<Regular>()
}

struct Regular;

impl AddressSpace for Regular {
    type Fs = Fs;
    type Read = Read;
    type Swap = Swap;
    type Writeback = PageCache;
}

impl Mmap for Regular {
    type Fs = Fs;
    type Write = Buffered;

    fn failed(node: &Node) -> bool {
        // As a write does that finds no space.
        let writable = node.data().volume().store.check_writable().is_ok();
        if writable {
            write::reclaim_space(node.super_block());
        }
        writable
    }
}

impl FileOperations for Regular {
    type Fs = Fs;
    type Mmap = Self;

    /// Blocks are chosen ahead for as long as somebody may write. The map counts its writers itself: those of the
    /// VFS are counted without the map lock, and writeback could not tell whether the last one has gone.
    fn open(file: File<'_, Fs>) -> Result {
        mount::note_mount_point(&file);
        if file.is_writable() {
            with_core(file.inode(), |_, core| core.map.add_writer());
        }
        Ok(())
    }

    fn release(file: File<'_, Fs>) {
        if file.is_writable() {
            let node = file.inode();
            // As long as somebody is writing, there is a writer.
            with_core(node, |volume, core| {
                let end = first_behind(volume, node.size());
                core.map.remove_writer(volume, end);
            });
            if node.data().take_emptied() {
                write::start_replacing(node);
            }
        }
    }

    fn read_iter(mut iocb: Kiocb<'_, Fs>, mut to: IterDest<'_>) -> Result<usize> {
        if iocb.is_direct() {
            dio::read(iocb, to)
        } else {
            iocb.read_buffered(&mut to)
        }
    }

    fn write_iter(iocb: Kiocb<'_, Fs>, from: IterSource<'_>) -> Result<usize> {
        write::write_iter(iocb, from)
    }

    fn fsync(file: File<'_, Fs>, start: i64, end: i64, data_only: bool) -> Result {
        fsync::fsync(file, start, end, data_only)
    }

    fn seek_data(node: &Node, pos: i64) -> Result<i64> {
        begin::seek_data(node, pos)
    }

    fn seek_hole(node: &Node, pos: i64) -> Result<i64> {
        begin::seek_hole(node, pos)
    }

    fn fallocate(_file: File<'_, Fs>, _mode: u32, _pos: i64, _len: i64) -> Result {
        Err(EOPNOTSUPP)
    }

    fn ioctl(_file: File<'_, Fs>, _cmd: u32, _arg: usize) -> Result<i64> {
        Err(ENOTTY)
    }
}
