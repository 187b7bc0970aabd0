// SPDX-License-Identifier: GPL-2.0

//! What is told of a file.
//!
//! Each function is a no-op while nobody watches its event, and calls one that is kept out of the way where somebody
//! does.

use super::*;
use crate::change::publish::WrittenData;
use crate::change::{InodePart, Live};
use crate::linux::file::Kiocb;
use crate::linux::iomap::ioend::{Range, Writer};
use crate::linux::iomap::{self, Extent, MapFlags};
use crate::ops::{Fs, Node};
use core::ops;

/// Device and inode.
pub(crate) fn who(node: &Node) -> (u32, u64) {
    let data = node.data();
    let device = data.volume().store.cache().device().number();
    (device, Live::ino(node).get().into())
}

/// `flag`, if `is` says so.
fn flag(is: bool, flag: u32) -> u32 {
    match is {
        true => flag,
        false => 0,
    }
}

/// A request to write `len` bytes begins.
#[inline(always)]
pub(crate) fn begin(iocb: &Kiocb<'_, Fs>, len: usize) {
    #[cold]
    fn tell(iocb: &Kiocb<'_, Fs>, len: usize) {
        let (dev, ino) = who(iocb.inode());
        let flags = IOMAPFS_WRITE
            | flag(iocb.is_direct(), IOMAPFS_DIRECT)
            | flag(iocb.is_append(), IOMAPFS_APPEND)
            | flag(iocb.is_nowait(), IOMAPFS_NOWAIT)
            | flag(iocb.is_dsync(), IOMAPFS_SYNC);
        Begin::tell(dev, ino, iocb.pos() as u64, len as u64, flags);
    }
    if Begin::is_on() {
        tell(iocb, len);
    }
}

/// Something else begins that changes what is in `range`: `flags` says what.
#[inline(always)]
pub(crate) fn begin_other(node: &Node, range: &ops::Range<u64>, flags: u32) {
    #[cold]
    fn tell(node: &Node, range: &ops::Range<u64>, flags: u32) {
        let (dev, ino) = who(node);
        let len = range.end.saturating_sub(range.start);
        Begin::tell(dev, ino, range.start, len, flags);
    }
    if Begin::is_on() {
        tell(node, range, flags);
    }
}

/// Somebody is about to be told what is at bytes `pos..pos + len`, for what `flags` say. This task calls [`mapped`]
/// next.
#[inline(always)]
pub(crate) fn mapping(node: &Node, (pos, len): (u64, u64), flags: u32) {
    #[cold]
    fn note(node: &Node, pos: u64, len: u64, flags: u32) {
        let (dev, ino) = who(node);
        let bits = node.data().volume().layout.block_size().bits();
        let facts = [dev.into(), ino, pos, len, flags.into(), bits.into()];
        UNDER_WAY.begins(Doing::Task(1), facts);
    }
    if Map::is_on() {
        note(node, pos, len, flags);
    }
}

/// What that was.
#[inline(always)]
pub(crate) fn mapped(result: &Result<iomap::Map>) {
    #[cold]
    fn tell(result: &Result<iomap::Map>) {
        let Some((facts, duration)) = UNDER_WAY.ends(Doing::Task(1)) else {
            return;
        };
        let [dev, ino, pos, len, flags, bits] = facts;
        let (start, bytes, phys, mflags) = match result {
            Err(_) => (pos, len, 0, 0),
            Ok(map) => {
                let (phys, state) = match map.extent {
                    Extent::Hole => (0, 0),
                    Extent::Delayed => (0, IOMAPFS_MAP_DELAYED),
                    Extent::Unwritten(at) => (at, IOMAPFS_MAP_UNWRITTEN),
                    Extent::Mapped(at) => (at, IOMAPFS_MAP_MAPPED),
                };
                let new = flag(map.flags.contains(MapFlags::NEW), IOMAPFS_MAP_NEW);
                (map.start, map.len, phys, state | new)
            }
        };
        let blocks = |bytes: u64| bytes.wrapping_shr(bits as u32);
        Map::tell(
            dev as u32,
            ino,
            flags as u32,
            blocks(start) as u32,
            blocks(phys),
            blocks(bytes) as u32,
            mflags,
            ret(result),
            duration,
        );
    }
    if Map::is_on() {
        tell(result);
    }
}

/// The flags of what is on its way.
fn range_flags(range: &Range) -> u32 {
    let writer = match range.writer {
        Writer::Cache => IOMAPFS_WRITEBACK,
        Writer::Direct => IOMAPFS_DIRECT,
    };
    IOMAPFS_WRITE | writer | flag(range.unwritten, IOMAPFS_UNWRITTEN)
}

/// `range` goes to the device, from this sector of 512 bytes on.
#[inline(always)]
pub(crate) fn submitted(node: &Node, range: &Range, sector: u64) {
    #[cold]
    fn tell(node: &Node, range: &Range, sector: u64) {
        let (dev, ino) = who(node);
        UNDER_WAY.begins(Doing::Io(dev, ino, range.pos), [0; FACTS]);
        let bits = node.data().volume().layout.block_size().bits();
        let block = sector >> bits.saturating_sub(9);
        let (pos, len) = (range.pos, range.len);
        Submit::tell(dev, ino, pos, len, block, range_flags(range));
    }
    if Submit::is_on() {
        tell(node, range, sector);
    }
}

/// `range` is on the device, or could not be written. `once`: this may have been told before, and is not told again.
/// For where [`Complete`] is watched.
#[cold]
#[inline(never)]
pub(crate) fn completed(node: &Node, range: &Range, result: Result, once: bool) {
    let (dev, ino) = who(node);
    let took = UNDER_WAY.ends(Doing::Io(dev, ino, range.pos));
    if took.is_none() && once {
        return;
    }
    let (pos, len) = (range.pos, range.len);
    let duration = took.map_or(0, |(_, duration)| duration);
    Complete::tell(
        dev,
        ino,
        pos,
        len,
        range_flags(range),
        ret(&result),
        duration,
    );
}

/// The file is about to show `written`. This task calls [`published`] next.
#[inline(always)]
pub(crate) fn publishing(node: &Node, written: &WrittenData) {
    #[cold]
    fn note(node: &Node, written: &WrittenData) {
        let (dev, ino) = who(node);
        let len = written.end.saturating_sub(written.pos);
        let writer = match written.direct {
            true => IOMAPFS_DIRECT,
            false => IOMAPFS_WRITEBACK,
        };
        let flags = writer | flag(written.unwritten, IOMAPFS_UNWRITTEN);
        let facts = [dev.into(), ino, written.pos, len, flags.into(), 0];
        UNDER_WAY.begins(Doing::Task(2), facts);
    }
    if Publish::is_on() {
        note(node, written);
    }
}

/// What came of that.
#[inline(always)]
pub(crate) fn published(node: &Node, result: &Result) {
    #[cold]
    fn tell(node: &Node, error: i32) {
        if let Some((facts, duration)) = UNDER_WAY.ends(Doing::Task(2)) {
            let [dev, ino, pos, len, flags, _] = facts;
            let tid = node.noted_transaction(InodePart::Data);
            Publish::tell(
                dev as u32,
                ino,
                pos,
                len,
                flags as u32,
                tid,
                error,
                duration,
            );
        }
    }
    if Publish::is_on() {
        tell(node, ret(result));
    }
}

/// Transaction `tid` makes the size on disk what `size` says. The map lock is held since the size was another one.
#[inline(always)]
pub(crate) fn sized(node: &Node, tid: u32, size: u64) {
    #[cold]
    fn tell(node: &Node, tid: u32, size: u64) {
        let old = node.disk_size_hint();
        if size > old {
            let (dev, ino) = who(node);
            Extend::tell(dev, ino, old, size, tid);
        }
    }
    if Extend::is_on() {
        tell(node, tid, size);
    }
}
