// SPDX-License-Identifier: GPL-2.0

//! Between iomap's bytes and the core's blocks: looks mappings up, and turns one into the other.
//!
//! # Locks
//!
//! Takes the map lock of the inode, if the lock-free copy of the last mapping does not answer. The caller may
//! hold a folio lock.

use crate::change::access::{seen, Seen, View};
use crate::change::Live;
use crate::disk::LogicalBlock;
use crate::linux::iomap::{Extent, Map, MapFlags};
use crate::map::Mapping;
use crate::ops::{Core, Node, Volume};
use crate::store::{About, Store};
use kernel::error::{code::*, Result};

/// File blocks, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocks {
    /// The first.
    pub(crate) start: LogicalBlock,
    /// How many.
    pub(crate) len: u32,
}

impl Blocks {
    /// The blocks that bytes `pos..pos + len` touch, at least the one of `pos`; cut where a file can have no
    /// more blocks.
    ///
    /// # Errors
    ///
    /// `EFBIG` where a file cannot have a block at `pos`.
    pub(crate) fn touched(volume: &Volume, pos: u64, len: u64) -> Result<Self> {
        let size = volume.layout.block_size();
        let start = LogicalBlock::holding(size, pos).ok_or(EFBIG)?;
        let end = LogicalBlock::first_behind(size, pos.saturating_add(len.max(1)));
        Ok(Self {
            start,
            len: end.saturating_distance_from(start),
        })
    }

    /// The first, and how many.
    pub(crate) fn span(&self) -> (LogicalBlock, u32) {
        (self.start, self.len)
    }

    /// The block after the last.
    pub(crate) fn end(&self) -> LogicalBlock {
        self.start.saturating_add(self.len)
    }
}

/// The blocks that lie wholly within bytes `pos..end`, where `end` may be within the last block of a file.
pub(crate) fn byte_range(volume: &Volume, mapping: &Mapping) -> (u64, u64) {
    let bits = volume.layout.block_size().bits();
    (
        u64::from(mapping.start.get()) << bits,
        u64::from(mapping.len) << bits,
    )
}

/// iomap's form of a mapping, for somebody who looks at it in this way.
#[inline]
pub(crate) fn to_map(
    volume: &Volume,
    mapping: &Mapping,
    view: View,
    flags: MapFlags,
) -> Result<Map> {
    // As who looks is known here, there is little to decide.
    map_of(
        volume,
        mapping,
        seen(&volume.store, mapping.state, view),
        flags,
    )
}

fn map_of(volume: &Volume, mapping: &Mapping, seen: Seen, flags: MapFlags) -> Result<Map> {
    let bits = volume.layout.block_size().bits();
    let (start, len) = byte_range(volume, mapping);
    let place = || {
        let phys = mapping.phys.map(|phys| phys.get() << bits);
        phys.ok_or_else(|| {
            volume
                .store
                .bug(About::NONE, "a mapping with blocks has no device block")
        })
    };
    let extent = match seen {
        Seen::Hole => Extent::Hole,
        Seen::Delayed => Extent::Delayed,
        Seen::Unwritten => Extent::Unwritten(place()?),
        Seen::Mapped => Extent::Mapped(place()?),
    };
    Ok(Map {
        start,
        len,
        extent,
        flags,
        cookie: u64::from(mapping.seq),
    })
}

/// Runs `f` with the map lock.
pub(crate) fn with_core<R>(node: &Node, f: impl FnOnce(&Volume, &mut Core) -> R) -> R {
    f(node.data().volume(), &mut node.map_lock())
}

/// Runs `f` with the map lock.
///
/// # Errors
///
/// `EAGAIN` where it is not free and `wait` is unset.
pub(crate) fn try_with_core<R>(
    node: &Node,
    wait: bool,
    f: impl FnOnce(&Volume, &mut Core) -> Result<R>,
) -> Result<R> {
    if wait {
        return with_core(node, f);
    }
    let data = node.data();
    let mut core = data.try_map_lock().ok_or(EAGAIN)?;
    f(data.volume(), &mut core)
}

/// The mapping at the first of `blocks`.
///
/// # Errors
///
/// `EAGAIN` where it is not in memory and `wait` is unset; else those of reading metadata.
pub(crate) fn lookup(node: &Node, blocks: Blocks, wait: bool) -> Result<Mapping> {
    if let Some(mapping) = node.data().snapshot().get(blocks.start, blocks.len) {
        return Ok(mapping);
    }
    try_with_core(node, wait, |volume, core| {
        lookup_locked(volume, core, blocks, wait)
    })
}

/// As [`lookup`], by somebody who has the map lock.
pub(crate) fn lookup_locked(
    volume: &Volume,
    core: &mut Core,
    blocks: Blocks,
    wait: bool,
) -> Result<Mapping> {
    match wait {
        true => core.map.find(volume, blocks.start, blocks.len),
        false => core
            .map
            .lookup_cached(blocks.start, blocks.len)
            .ok_or(EAGAIN),
    }
}

/// The first block that lies wholly behind byte `size`.
pub(crate) fn first_behind(volume: &Volume, size: u64) -> LogicalBlock {
    LogicalBlock::first_behind(volume.layout.block_size(), size)
}

/// Whether the map is still as it was when `cookie` was taken.
pub(crate) fn unchanged(node: &Node, cookie: u64) -> bool {
    u64::from(node.data().snapshot().seq()) == cookie
}
