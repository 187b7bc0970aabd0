// SPDX-License-Identifier: GPL-2.0

//! Where writeback and direct writes meet the core: blocks are chosen for what the page cache has, and what is on the
//! device is shown ([`publish`]).
//!
//! # Locks
//!
//! Journal handle, then map lock, both inside `publish`; a folio may be locked where blocks are chosen. Around an
//! atomic write that takes the place of others the invalidate lock, with `i_rwsem` held exclusively.

use super::iomap_ops::discard_delayed;
use super::lookup::{to_map, unchanged, with_core, Blocks};
use crate::change::access::View;
use crate::change::publish::{is_complete, is_due, publish, WrittenData};
use crate::change::{atomic, target};
use crate::linux::file::Kiocb;
use crate::linux::iomap::dio;
use crate::linux::iomap::ioend::{Batch, Range, Writer};
use crate::linux::iomap::writeback::Writeback;
use crate::linux::iomap::{Map, MapFlags};
use crate::linux::lock::NoFaults;
use crate::linux::memalloc::NofsScope;
use crate::ops::{trace, Fs, Node};
use crate::store::Store;
use kernel::error::Result;

/// Direct writes.
pub(crate) struct DirectWrite;

impl dio::Write for DirectWrite {
    type Ops = super::iomap_ops::Direct<false>;
    type BatchOps = super::iomap_ops::Direct<true>;

    #[inline]
    fn is_complete(node: &Node, written: &dio::Written, told: bool) -> bool {
        is_complete(node, &direct(written), told)
    }

    #[inline(always)]
    fn end_io(iocb: &Kiocb<'_, Fs>, written: &dio::Written) -> Result {
        let node = iocb.inode();
        if written.unwritten && iocb.is_atomic() {
            return end_atomic(node, &direct(written));
        }
        let _nofs = NofsScope::enter();
        let mut handle = None;
        let written = direct(written);
        trace::file::publishing(node, &written);
        let result = publish(node, &mut handle, &written);
        trace::file::published(node, &result);
        result
    }

    #[inline(always)]
    fn is_watched() -> bool {
        trace::Submit::is_on()
    }

    #[inline(always)]
    fn submitted(node: &Node, range: &Range, sector: u64) {
        trace::file::submitted(node, range, sector);
    }

    #[inline(always)]
    fn is_end_watched() -> bool {
        trace::Complete::is_on()
    }

    fn ended(node: &Node, range: &Range, result: Result, told: bool) {
        trace::file::completed(node, range, result, told);
    }
}

/// An atomic write to new blocks is on the device: the file shows it, by the task that has written.
#[cold]
fn end_atomic(node: &Node, written: &WrittenData) -> Result {
    let no_faults = NoFaults::lock(node);
    let _nofs = NofsScope::enter();
    atomic::show(node, written, |range| {
        node.write_and_wait(range.start, range.end.saturating_sub(1))?;
        // A read that is still on its way would find what somebody else has written to the old blocks.
        no_faults.wait_for_reads(&range);
        Ok(())
    })
}

/// What a direct write has written.
#[inline]
fn direct(written: &dio::Written) -> WrittenData {
    WrittenData {
        pos: written.pos,
        end: written.pos.saturating_add(written.len),
        unwritten: written.unwritten,
        direct: true,
    }
}

/// What one or several writes have written that are completed together.
fn collected(range: &Range) -> WrittenData {
    WrittenData {
        pos: range.pos,
        end: range.end(),
        unwritten: range.unwritten,
        direct: range.writer == Writer::Direct,
    }
}

/// Makes the file show what writeback of the page cache or asynchronous direct writes have written.
pub(crate) fn complete_writes(node: &Node, batch: &mut Batch<'_>) {
    let _nofs = NofsScope::enter();
    let store = &node.data().volume().store;
    if trace::Complete::is_on() {
        batch.each_failed(|range, error| {
            trace::file::completed(node, &range, Err(error), false);
        });
    }
    if node.super_block().data().stops_for_data() {
        batch.each_failed(|range, error| {
            if range.writer == Writer::Cache {
                store.stop_for_data(error);
            }
        });
    }
    // As few transactions as possible.
    let mut handle = None;
    // Nobody would write it again: for want of memory it would be lost. It is not waited for within a transaction,
    // the commit of which may be what gives some back.
    batch.each(|range| {
        if trace::Complete::is_on() {
            trace::file::completed(node, &range, Ok(()), false);
        }
        let written = collected(&range);
        trace::file::publishing(node, &written);
        let result =
            store.insist(|| publish(node, &mut handle, &written).inspect_err(|_| handle = None));
        trace::file::published(node, &result);
        result
    });
}

/// Writeback of the page cache.
pub(crate) struct PageCache;

impl PageCache {
    /// Where the bytes from `pos` on go, `len` of them at least. Blocks that were only reserved are chosen.
    fn place(node: &Node, pos: u64, len: u64) -> Result<Map> {
        with_core(node, |volume, core| {
            let blocks = Blocks::touched(volume, pos, len)?;
            let mapping = target::write_back(node, core, blocks.start)?;
            to_map(volume, &mapping, View::Write, MapFlags::NONE)
        })
    }
}

impl Writeback for PageCache {
    type FileSystem = Fs;

    fn map(node: &Node, pos: u64, len: u64) -> Result<Map> {
        let store = &node.data().volume().store;
        // After an abort nothing may get to the device: what the file system thinks is free may not be free there.
        store.check_writable()?;
        // What cannot be mapped is given up: that is not to be for want of memory.
        let flags = trace::IOMAPFS_WRITE | trace::IOMAPFS_WRITEBACK;
        trace::file::mapping(node, (pos, len), flags);
        let result = store.insist(|| Self::place(node, pos, len));
        trace::file::mapped(&result);
        result
    }

    fn valid(node: &Node, cookie: u64) -> bool {
        unchanged(node, cookie)
    }

    fn discard(node: &Node, pos: u64, end: u64) {
        discard_delayed(node, pos, end);
    }

    fn is_due(node: &Node, range: &Range) -> bool {
        // Errors are to be seen wherever they are found.
        is_due(node, &collected(range)) || node.super_block().data().stops_for_data()
    }

    #[inline(always)]
    fn submitted(node: &Node, range: &Range, sector: u64) {
        trace::file::submitted(node, range, sector);
    }
}
