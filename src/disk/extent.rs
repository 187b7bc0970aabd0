// SPDX-License-Identifier: GPL-2.0

//! Nodes of an extent tree: a header and entries of 12 bytes, in `i_block` of the inode (the root, four
//! entries) or in a block of their own (checksum at the end).
//!
//! Follows `Documentation/filesystems/ext4/ifork.rst`, "Extent Tree".
//!
//! # Invariants
//!
//! * [`ExtentNode`] and [`ExtentNodeMut`] never reach beyond the entries that fit into their bytes, whatever the header
//!   says. They look at one node by itself; what a node must be in its tree (depth, key range) is checked by
//!   [`ExtentNode::fits`], on every visit.
//! * [`ExtentNodeFormat::verify`] accepts a node only if every entry is valid by itself, keys strictly
//!   increase, extents do not overlap and nothing lies outside the device. Changes through [`ExtentNodeMut`] keep
//!   that as long as the caller puts valid entries in order.

mod entry;

pub use entry::{Extent, Index};

use super::{BlockSize, CsumSeed, Flaw, Ino, Layout, LogicalBlock, PhysBlock};
use crate::disk::{BlockKind, Format};
use core::cell::Cell;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, IntoBytes};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `eh_magic`.
const MAGIC: u16 = 0xf30a;
/// Bytes of a header, and of an entry.
const SLOT: usize = 12;
/// Bytes of the root: all of `i_block`.
pub const ROOT_BYTES: usize = 60;
/// Entries that the root holds.
pub const ROOT_ENTRIES: u16 = 4;
/// Levels of index nodes above the leaves, at most.
pub const MAX_DEPTH: u16 = 5;
/// Longest written extent, in blocks.
pub const MAX_WRITTEN: u32 = 32768;
/// Longest unwritten extent, in blocks.
pub const MAX_UNWRITTEN: u32 = 32767;

/// `struct ext4_extent_header`.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHeader {
    magic: U16,
    entries: U16,
    max: U16,
    depth: U16,
    generation: U32,
}

/// `struct ext4_extent` or `struct ext4_extent_idx`; both start with the file block.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RawEntry {
    block: U32,
    rest: [u8; 8],
}

/// The root of a tree.
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct RawRoot {
    header: RawHeader,
    slots: [[u8; SLOT]; ROOT_ENTRIES as usize],
}

/// A root without entries, which is a leaf.
pub const EMPTY_ROOT: [u8; ROOT_BYTES] = zerocopy::transmute!(RawRoot {
    header: RawHeader {
        magic: U16::new(MAGIC),
        entries: U16::new(0),
        max: U16::new(ROOT_ENTRIES),
        depth: U16::new(0),
        generation: U32::new(0),
    },
    slots: [[0; SLOT]; ROOT_ENTRIES as usize],
});

/// Levels below a root that was checked.
pub fn depth_of(root: &[u8; ROOT_BYTES]) -> u16 {
    RawHeader::ref_from_prefix(root).map_or(0, |(header, _)| header.depth.get())
}

impl RawEntry {
    fn key(&self) -> LogicalBlock {
        LogicalBlock::new(self.block.get())
    }

    /// The entry of a leaf. A length of zero gives an extent that no check accepts.
    fn extent(&self) -> Extent {
        let [l0, l1, h0, h1, a, b, c, d] = self.rest;
        let len = u32::from(u16::from_le_bytes([l0, l1]));
        let (len, written) = match len.checked_sub(MAX_WRITTEN) {
            None | Some(0) => (len, true),
            Some(len) => (len, false),
        };
        Extent {
            start: self.key(),
            len,
            phys: PhysBlock::new(u64::from_le_bytes([a, b, c, d, h0, h1, 0, 0])),
            written,
        }
    }

    /// The entry of an index node.
    fn index(&self) -> Index {
        let [a, b, c, d, h0, h1, _, _] = self.rest;
        Index {
            start: self.key(),
            child: PhysBlock::new(u64::from_le_bytes([a, b, c, d, h0, h1, 0, 0])),
        }
    }
}

impl From<Extent> for RawEntry {
    fn from(extent: Extent) -> Self {
        let len = if extent.written {
            extent.len
        } else {
            extent.len.saturating_add(MAX_WRITTEN)
        };
        let [l0, l1, ..] = len.to_le_bytes();
        let [a, b, c, d, h0, h1, ..] = extent.phys.get().to_le_bytes();
        Self {
            block: U32::new(extent.start.get()),
            rest: [l0, l1, h0, h1, a, b, c, d],
        }
    }
}

impl From<Index> for RawEntry {
    fn from(index: Index) -> Self {
        let [a, b, c, d, h0, h1, ..] = index.child.get().to_le_bytes();
        Self {
            block: U32::new(index.start.get()),
            rest: [a, b, c, d, h0, h1, 0, 0],
        }
    }
}

/// One node, to look at.
#[derive(Clone, Copy)]
pub struct ExtentNode<'a> {
    depth: u16,
    max: u16,
    slots: &'a [RawEntry],
}

impl<'a> ExtentNode<'a> {
    /// A node in `bytes`: magic, and counts that the bytes can hold.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Flaw> {
        let (header, rest) = RawHeader::ref_from_prefix(bytes).map_err(|_| Flaw::TooShort)?;
        let (magic, depth) = (header.magic.get(), header.depth.get());
        let (entries, max) = (header.entries.get(), header.max.get());
        if magic != MAGIC {
            return Err(Flaw::ExtentMagic { magic });
        }
        if entries > max {
            return Err(Flaw::ExtentEntries { entries, max });
        }
        if depth > MAX_DEPTH {
            return Err(Flaw::ExtentDepth { depth });
        }
        let (slots, _) = <[RawEntry]>::ref_from_prefix_with_elems(rest, entries.into())
            .map_err(|_| Flaw::TooShort)?;
        Ok(Self { depth, max, slots })
    }

    /// Levels below this node; 0 is a leaf.
    pub fn depth(&self) -> u16 {
        self.depth
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Entries that could be added.
    pub fn room(&self) -> usize {
        usize::from(self.max).saturating_sub(self.slots.len())
    }

    /// Key of the first entry.
    pub fn first_key(&self) -> Option<LogicalBlock> {
        self.slots.first().map(RawEntry::key)
    }

    /// Key of entry `i`.
    pub fn key(&self, i: usize) -> Option<LogicalBlock> {
        self.slots.get(i).map(RawEntry::key)
    }

    /// Entry `i` of a leaf.
    pub fn extent(&self, i: usize) -> Option<Extent> {
        self.slots.get(i).map(RawEntry::extent)
    }

    /// Entry `i` of an index node.
    pub fn index(&self, i: usize) -> Option<Index> {
        self.slots.get(i).map(RawEntry::index)
    }

    /// The entries as they are on disk.
    pub fn slots(&self) -> &'a [RawEntry] {
        self.slots
    }

    /// The last entry whose key is at most `at`; `None` where all keys are greater.
    pub fn find(&self, at: LogicalBlock) -> Option<usize> {
        self.slots
            .partition_point(|slot| slot.key() <= at)
            .checked_sub(1)
    }

    /// Whether this can be the child that its parent means: `depth` levels above the leaves, with `from` as
    /// the first key and nothing at or beyond `to`.
    ///
    /// As the depth goes down by one with each level, a descent that asks this ends, loop or not.
    pub fn fits(&self, depth: u16, from: LogicalBlock, to: LogicalBlock) -> Result<(), Flaw> {
        if self.depth != depth {
            return Err(Flaw::ExtentChildDepth {
                depth: self.depth,
                expected: depth,
            });
        }
        if self.first_key() != Some(from) {
            return Err(Flaw::ExtentChildStart {
                expected: from.get(),
            });
        }
        let end = match (self.slots.last(), depth) {
            (Some(slot), 0) => slot.extent().end(),
            (Some(slot), _) => slot.key().saturating_add(1),
            (None, _) => return Err(Flaw::ExtentEmpty),
        };
        if end > to {
            return Err(Flaw::ExtentChildEnd {
                end: end.get(),
                limit: to.get(),
            });
        }
        Ok(())
    }
}

/// One node, to change. Keeps the count of entries right; keys and order are the caller's.
pub struct ExtentNodeMut<'a> {
    header: &'a mut RawHeader,
    /// All the places for entries, of which the first `header.entries` are in use.
    slots: &'a mut [RawEntry],
}

impl<'a> ExtentNodeMut<'a> {
    /// The node in `bytes`, `None` unless [`ExtentNode::parse`] takes it.
    pub fn parse(bytes: &'a mut [u8]) -> Option<Self> {
        ExtentNode::parse(bytes).ok()?;
        let (header, rest) = RawHeader::mut_from_prefix(bytes).ok()?;
        let max = usize::from(header.max.get()).min(rest.len() / SLOT);
        let (slots, _) = <[RawEntry]>::mut_from_prefix_with_elems(rest, max).ok()?;
        Some(Self { header, slots })
    }

    /// Makes an empty node that fills `bytes`. `None` if they are too short for one.
    pub fn init(bytes: &'a mut [u8], depth: u16) -> Option<Self> {
        let max = bytes.len().checked_sub(SLOT)? / SLOT;
        let (header, rest) = RawHeader::mut_from_prefix(bytes).ok()?;
        let (slots, _) = <[RawEntry]>::mut_from_prefix_with_elems(rest, max).ok()?;
        *header = RawHeader {
            magic: U16::new(MAGIC),
            entries: U16::new(0),
            max: U16::new(max.try_into().ok()?),
            depth: U16::new(depth),
            generation: U32::new(0),
        };
        slots.fill(RawEntry::default());
        Some(Self { header, slots })
    }

    /// Sets the number of levels below.
    pub fn set_depth(&mut self, depth: u16) {
        self.header.depth = U16::new(depth);
    }

    /// Sets the key of entry `i`, if there is one.
    pub fn set_key(&mut self, i: usize, key: LogicalBlock) {
        if i < usize::from(self.header.entries.get()) {
            if let Some(slot) = self.slots.get_mut(i) {
                slot.block = U32::new(key.get());
            }
        }
    }

    /// Puts `new` where the `count` entries from `at` on are now.
    ///
    /// `None`, and nothing changed, where the node has no such entries or no room for the new ones.
    #[inline(always)]
    pub fn splice<T: Copy + Into<RawEntry>>(
        &mut self,
        at: usize,
        count: usize,
        new: &[T],
    ) -> Option<()> {
        let used = usize::from(self.header.entries.get());
        let after = at.checked_add(count)?;
        let rest = used.checked_sub(after)?;
        let behind = at.checked_add(new.len())?;
        let total = behind.checked_add(rest)?;
        if total > self.slots.len() {
            return None;
        }
        let entries = U16::new(total.try_into().ok()?);
        // Entries move inside one slice; cells make that possible without indices that could be wrong.
        let cells = Cell::from_mut(&mut *self.slots).as_slice_of_cells();
        let from = cells.get(after..used)?;
        let to = cells.get(behind..total)?;
        if new.len() > count {
            for (to, from) in to.iter().rev().zip(from.iter().rev()) {
                to.set(from.get());
            }
        } else if new.len() < count {
            for (to, from) in to.iter().zip(from) {
                to.set(from.get());
            }
        }
        for (to, new) in cells.get(at..)?.iter().zip(new) {
            to.set((*new).into());
        }
        self.header.entries = entries;
        Some(())
    }
}

/// How the nodes of one file's tree are checked and sealed.
#[derive(Clone, Copy, Debug)]
pub struct ExtentNodeFormat {
    ino: Ino,
    /// Seed of the file's checksums; `None` without metadata checksums.
    seed: Option<CsumSeed>,
    block_size: BlockSize,
    /// First and last-plus-one device block that may be mapped.
    first: u64,
    end: u64,
}

impl ExtentNodeFormat {
    /// For the tree of inode `ino`, whose checksum seed is `seed`.
    pub fn new(layout: &Layout, ino: Ino, seed: Option<CsumSeed>) -> Self {
        Self {
            ino,
            seed,
            block_size: layout.block_size(),
            first: layout.first_data_block().into(),
            end: layout.blocks_count(),
        }
    }

    /// Entries that a node in a block holds.
    pub fn entries_per_block(&self) -> u16 {
        // 64 KiB gives 5460.
        (self.block_size.bytes().saturating_sub(SLOT as u32) / SLOT as u32) as u16
    }

    /// Offset of `struct ext4_extent_tail`, behind the last place for an entry.
    fn tail(&self) -> usize {
        SLOT + usize::from(self.entries_per_block()) * SLOT
    }

    fn checksum(&self, bytes: &[u8]) -> Option<(u32, usize)> {
        let at = self.tail();
        Some((self.seed?.checksum(bytes.get(..at)?), at))
    }

    /// Whether extents and children may lie in `len` blocks from `start` on.
    fn on_device(&self, start: PhysBlock, len: u32) -> bool {
        start.get() >= self.first
            && start
                .checked_add(len.into())
                .is_some_and(|end| end.get() <= self.end)
    }

    /// Checks all entries of a node, by themselves and against each other.
    fn verify_entries(&self, node: &ExtentNode<'_>) -> Result<(), Flaw> {
        let mut end = LogicalBlock::ZERO;
        for (i, slot) in node.slots.iter().enumerate() {
            // The count of entries has 16 bits.
            let index = i as u16;
            if i > 0 && slot.key() < end {
                return Err(Flaw::ExtentOrder { index });
            }
            let (start, len, covers) = if node.depth == 0 {
                let extent = slot.extent();
                (extent.phys, extent.len, extent.len)
            } else {
                (slot.index().child, 1, 1)
            };
            if len == 0 {
                return Err(Flaw::ExtentLength { index });
            }
            end = match slot.key().checked_add(covers) {
                Some(end) => end,
                None => return Err(Flaw::ExtentTooFar { index }),
            };
            if !self.on_device(start, len) {
                let block = start.get();
                return Err(Flaw::ExtentOutside { index, block });
            }
        }
        Ok(())
    }

    /// Checks the root of a tree, as it is in the inode.
    pub fn verify_root(&self, bytes: &[u8; ROOT_BYTES]) -> Result<(), Flaw> {
        let node = ExtentNode::parse(bytes)?;
        if node.max != ROOT_ENTRIES {
            return Err(Flaw::ExtentMax {
                max: node.max,
                expected: ROOT_ENTRIES,
            });
        }
        if node.is_empty() && node.depth != 0 {
            return Err(Flaw::ExtentEmpty);
        }
        self.verify_entries(&node)
    }
}

impl Format for ExtentNodeFormat {
    const KIND: BlockKind = BlockKind::ExtentNode;

    fn owner(&self) -> Option<Ino> {
        Some(self.ino)
    }

    fn verify(&self, _nr: PhysBlock, bytes: &[u8]) -> Result<(), Flaw> {
        let node = ExtentNode::parse(bytes)?;
        let (max, expected) = (node.max, self.entries_per_block());
        if max != expected {
            return Err(Flaw::ExtentMax { max, expected });
        }
        if let Some((crc, at)) = self.checksum(bytes) {
            let stored = bytes
                .get(at..)
                .and_then(|tail| U32::read_from_prefix(tail).ok());
            if stored.map(|(stored, _)| stored.get()) != Some(crc) {
                return Err(Flaw::Checksum);
            }
        }
        if node.is_empty() {
            return Err(Flaw::ExtentEmpty);
        }
        if node.depth >= MAX_DEPTH {
            return Err(Flaw::ExtentDepth { depth: node.depth });
        }
        self.verify_entries(&node)
    }

    fn seal(&self, _nr: PhysBlock, bytes: &mut [u8]) {
        if let Some((crc, at)) = self.checksum(bytes) {
            if let Some(tail) = bytes.get_mut(at..) {
                // Fails only for a block that is shorter than the block size.
                let _ = U32::new(crc).write_to_prefix(tail);
            }
        }
    }
}
