// SPDX-License-Identifier: GPL-2.0

//! Regular files: which functions serve which operation of the VFS.

use super::complete::PageCache;
use super::iomap_ops::{self, Buffered, Memory, Read, Swap};
use super::lookup::{first_behind, with_core};
use super::{atomic, cached, dax, direct, fallocate, replace};
use crate::linux::address_space::AddressSpace;
use crate::linux::fiemap::ExtentInfo;
use crate::linux::file::{
    Abilities, Advice, Answer, Fallocate, File, FileOperations, IterDest, IterSource, Kiocb, Modes,
};
use crate::linux::inode_ops::RegularOperations;
use crate::linux::mmap::Mmap;
use crate::ops::mount::mount_point;
use crate::ops::reclaim::{self, Effort};
use crate::ops::{durable, trace, Fs, Node};
use crate::store::Store;
use core::ops::Range;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;

/// The operations of regular files.
pub(crate) struct Regular;

impl RegularOperations for Regular {
    type FileSystem = Fs;

    fn fiemap(node: &Node, to: &mut ExtentInfo, start: u64, len: u64) -> Result {
        iomap_ops::fiemap(node, to, start, len)
    }
}

impl AddressSpace for Regular {
    type FileSystem = Fs;
    type Read = Read;
    type Swap = Swap;
    type Writeback = PageCache;

    const LARGE_FOLIOS: bool = true;
}

impl Mmap for Regular {
    type FileSystem = Fs;
    type Write = Buffered;
    type Dax = Memory;

    #[inline(always)]
    fn begin(node: &Node, pos: u64) {
        let page = pos..pos.saturating_add(PAGE_SIZE as u64);
        let flags = trace::IOMAPFS_WRITE | trace::IOMAPFS_FAULT;
        trace::file::begin_other(node, &page, flags);
    }

    fn failed(node: &Node) -> bool {
        // As a write does that finds no space.
        let writable = node.data().volume().store.check_writable().is_ok();
        if writable {
            // What fails here fails again where the space is used.
            let _ = reclaim::make_space(node, Effort::All);
        }
        writable
    }
}

#[vtable]
impl FileOperations for Regular {
    type FileSystem = Fs;
    type Mmap = Self;

    const MODES: Modes = Modes::NOWAIT.with(Modes::DIRECT).with(Modes::ATOMIC);
    const ABILITIES: Abilities = Abilities::ASYNC_READ
        .with(Abilities::ASYNC_WRITE)
        .with(Abilities::PARALLEL_DIRECT_WRITE)
        .with(Abilities::DONTCACHE);

    /// Blocks are chosen ahead for as long as somebody may write. The map counts its writers itself: those of the
    /// VFS are counted without the map lock, and writeback could not tell whether the last one has gone.
    fn open(file: File<'_, Fs>) -> Result {
        mount_point::note(&file);
        if file.is_writable() {
            file.inode().initialize_quota()?;
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
                // What fails is told at the next sync.
                let _ = replace::write_before_replacing(node);
            }
        }
    }

    fn read_iter<'a>(iocb: Kiocb<'a, Fs>, to: &mut IterDest<'_>) -> Answer<'a> {
        if iocb.is_direct() {
            direct::read(iocb, to)
        } else {
            iocb.read_buffered(to)
        }
    }

    fn write_iter<'a>(mut iocb: Kiocb<'a, Fs>, from: &mut IterSource<'_>) -> Answer<'a> {
        if let Some(done) = begin_write(&iocb, from) {
            return iocb.done(done);
        }
        if iocb.is_atomic() {
            return atomic::write(iocb, from);
        }
        if iocb.is_direct() {
            return direct::write(iocb, from);
        }
        let written = cached::write(&mut iocb, from);
        iocb.done(written)
    }

    fn read_dax<'a>(iocb: Kiocb<'a, Fs>, to: &mut IterDest<'_>) -> Answer<'a> {
        match to.len() {
            0 => iocb.done(Ok(0)),
            _ => dax::read(iocb, to),
        }
    }

    fn write_dax<'a>(mut iocb: Kiocb<'a, Fs>, from: &mut IterSource<'_>) -> Answer<'a> {
        // A copy to memory is not whole or not at all.
        if iocb.is_atomic() {
            return iocb.done(Err(EOPNOTSUPP));
        }
        if let Some(done) = begin_write(&iocb, from) {
            return iocb.done(done);
        }
        let written = dax::write(&mut iocb, from);
        iocb.done(written)
    }

    fn fsync(file: File<'_, Fs>, start: i64, end: i64, data_only: bool) -> Result {
        durable::fsync(file, start, end, data_only)
    }

    fn fallocate(file: File<'_, Fs>, what: Fallocate, range: Range<u64>) -> Result {
        fallocate::fallocate(file, what, range)
    }

    fn advise(file: File<'_, Fs>, start: i64, len: i64, advice: Advice) -> Result {
        // What is read ahead must not be of blocks that somebody is about to free.
        let _lock = (advice == Advice::WILL_NEED).then(|| file.inode().lock_shared());
        file.advise(start, len, advice)
    }

    fn seek_data(node: &Node, pos: i64) -> Result<i64> {
        iomap_ops::seek_data(node, pos)
    }

    fn seek_hole(node: &Node, pos: i64) -> Result<i64> {
        iomap_ops::seek_hole(node, pos)
    }
}

/// A write begins. What it comes to, where that is known: nothing may be written, or there is nothing to write.
#[inline]
fn begin_write(iocb: &Kiocb<'_, Fs>, from: &IterSource<'_>) -> Option<Result<usize>> {
    if let Err(error) = iocb.inode().data().volume().store.check_writable() {
        return Some(Err(error));
    }
    if from.len() == 0 {
        return Some(Ok(0));
    }
    trace::file::begin(iocb, from.len());
    None
}
