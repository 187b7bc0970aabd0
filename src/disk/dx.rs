// SPDX-License-Identifier: GPL-2.0

//! Index blocks of hashed directories: the root (`struct dx_root`) and the nodes below it (`struct dx_node`).
//!
//! Both hold a sorted array of (hash, file block); the first has no hash, as everything below the second
//! one's belongs to it, and keeps the array's `limit` and `count` in that place. Index blocks look to a
//! linear scan like free space: the root's array lies in the slack of `..`, a node is one free record.
//! Documentation/filesystems/ext4/directory.rst, "Hash Tree Directories".
//!
//! A tree has one or two levels of index blocks, and with the feature `large_dir` up to three.
//!
//! # Invariants
//!
//! In a block that [`DxFormat::verify`] accepted, `1 <= count <= limit`, `limit` is what the block size
//! gives, hashes do not decrease, and a root names a known hash function and no more levels than there can be.
//! File block numbers are checked when they are followed.

use super::bytes::{copy, get16, get32, set16, set32};
use super::checksum::CsumSeed;
use super::dirent::{is_index_node, is_index_root, put_entry, rec_len_for};
use super::hash::HashVersion;
use super::types::{Ino, LogicalBlock, PhysBlock};
use super::{FileType, Flaw};
use crate::disk::{BlockKind, Format};

/// Bytes of an entry of the array.
const ENTRY_LEN: usize = 8;

/// Bytes of the checksum behind the array (`struct dx_tail`).
const TAIL_LEN: usize = 8;

/// Where `struct dx_root_info` starts in the root: behind the records of `.` and `..`.
const INFO_AT: usize = 24;

/// Bytes of `struct dx_root_info`.
const INFO_LEN: u8 = 8;

/// Where the array starts in the root.
const ROOT_ARRAY_AT: usize = INFO_AT + INFO_LEN as usize;

/// Where the array starts in a node: behind the head of a free record.
const NODE_ARRAY_AT: usize = 8;

/// The bits of an entry's block number that are one.
const BLOCK_MASK: u32 = 0x0fff_ffff;

/// Most levels of index blocks, the root included, with the feature `large_dir`.
pub const LEVELS: usize = 3;

/// Most levels of index blocks, the root included, without the feature `large_dir`.
pub const LEVELS_SMALL: usize = 2;

/// Which of the two layouts an index block has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexPart {
    /// File block 0.
    Root,
    /// Any other.
    Node,
}

/// How an index block is checked and sealed. Belongs to one directory.
#[derive(Clone, Copy, Debug)]
pub struct DxFormat {
    /// The directory.
    pub ino: Ino,
    /// Checksum seed of the directory; `None` without metadata checksums, and then blocks have no tail.
    pub seed: Option<CsumSeed>,
    /// The layout.
    pub part: IndexPart,
    /// Most levels of index blocks, the root included: at most [`LEVELS`].
    pub levels: usize,
}

/// What the root says of the tree (`struct dx_root_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootInfo {
    /// The hash function.
    pub version: HashVersion,
    /// Levels of nodes below the root, less than [`LEVELS`].
    pub indirect_levels: u8,
}

/// One entry of an index block, and what comes next to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Its place in the array.
    pub at: usize,
    /// Entries of the array.
    pub count: usize,
    /// The file block that it leads to.
    pub block: LogicalBlock,
}

impl DxFormat {
    const fn array_at(&self) -> usize {
        match self.part {
            IndexPart::Root => ROOT_ARRAY_AT,
            IndexPart::Node => NODE_ARRAY_AT,
        }
    }

    /// Entries that an index block of `block_len` bytes holds, the first included.
    pub fn limit(&self, block_len: usize) -> usize {
        let tail = match self.seed {
            Some(_) => TAIL_LEN,
            None => 0,
        };
        block_len.saturating_sub(self.array_at() + tail) / ENTRY_LEN
    }

    /// Entries that the block has, never more than [`Self::limit`].
    pub fn count(&self, block: &[u8]) -> usize {
        let count = get16(block, self.array_at() + 2).unwrap_or(0) as usize;
        count.min(self.limit(block.len()))
    }

    fn entry_at(&self, at: usize) -> usize {
        at.saturating_mul(ENTRY_LEN).saturating_add(self.array_at())
    }

    /// The least hash of entry `at`; 0 for the first.
    pub fn hash(&self, block: &[u8], at: usize) -> Option<u32> {
        match at {
            0 => Some(0),
            at if at < self.count(block) => get32(block, self.entry_at(at)),
            _ => None,
        }
    }

    /// Entry `at`; `None` past the last.
    pub fn step(&self, block: &[u8], at: usize) -> Option<IndexEntry> {
        let count = self.count(block);
        if at >= count {
            return None;
        }
        let child = get32(block, self.entry_at(at).saturating_add(4))? & BLOCK_MASK;
        Some(IndexEntry {
            at,
            count,
            block: LogicalBlock::new(child),
        })
    }

    /// The entry to follow for `hash`: the last whose least hash is not above it.
    pub fn search(&self, block: &[u8], hash: u32) -> Option<IndexEntry> {
        let (mut low, mut high) = (0, self.count(block));
        // The entry sought is in low..high.
        while high.saturating_sub(low) > 1 {
            let middle = low.midpoint(high);
            if self.hash(block, middle)? > hash {
                high = middle;
            } else {
                low = middle;
            }
        }
        self.step(block, low)
    }

    /// Whether no further entry fits.
    pub fn is_full(&self, block: &[u8]) -> bool {
        self.count(block) >= self.limit(block.len())
    }

    /// Inserts an entry behind entry `at`. Gives `None`, with nothing changed, where it does not fit.
    pub fn insert_after(
        &self,
        block: &mut [u8],
        at: usize,
        hash: u32,
        child: LogicalBlock,
    ) -> Option<()> {
        let count = self.count(block);
        if at >= count || self.is_full(block) {
            return None;
        }
        let new = self.entry_at(at.checked_add(1)?);
        let end = self.entry_at(count.checked_add(1)?);
        let moved = block.get_mut(new..end)?;
        let len = moved.len();
        moved.copy_within(..len.checked_sub(ENTRY_LEN)?, ENTRY_LEN);
        set32(block, new, hash)?;
        set32(block, new.checked_add(4)?, child.get())?;
        self.set_count(block, count.checked_add(1)?)
    }

    /// Drops the entries from `count` on.
    pub fn set_count(&self, block: &mut [u8], count: usize) -> Option<()> {
        set16(block, self.array_at() + 2, u16::try_from(count).ok()?)
    }

    /// The bytes of the entries from `from` on, for [`Self::make_node`].
    pub fn entries<'a>(&self, block: &'a [u8], from: usize) -> Option<&'a [u8]> {
        block.get(self.entry_at(from)..self.entry_at(self.count(block)))
    }

    /// Makes `block`, zeros so far, a node with these entries.
    pub fn make_node(&self, block: &mut [u8], entries: &[u8]) -> Option<()> {
        let len = block.len();
        put_entry(block, 0, len, None, None, &[])?;
        let array = block.get_mut(self.array_at()..)?.get_mut(..entries.len())?;
        copy(array, entries);
        // Over the hash of the first entry, which the entry above has.
        let limit = u16::try_from(self.limit(len)).ok()?;
        set16(block, self.array_at(), limit)?;
        self.set_count(block, entries.len() / ENTRY_LEN)
    }

    /// Makes `block` the root of directory `ino` with all names in file block `leaf`.
    pub fn make_root(
        &self,
        block: &mut [u8],
        ino: Ino,
        parent: Ino,
        file_type: Option<FileType>,
        version: HashVersion,
        leaf: LogicalBlock,
    ) -> Option<()> {
        block.fill(0);
        let dot_len = rec_len_for(1);
        let dotdot_len = block.len().checked_sub(dot_len)?;
        put_entry(block, 0, dot_len, Some(ino), file_type, b".")?;
        put_entry(block, dot_len, dotdot_len, Some(parent), file_type, b"..")?;
        let info = block.get_mut(INFO_AT..)?.first_chunk_mut::<8>()?;
        *info = [0, 0, 0, 0, version.to_disk(), INFO_LEN, 0, 0];
        self.become_parent_of(block, leaf)
    }

    /// Makes the root have `child` as its only entry, `levels` above the leaves.
    pub fn become_parent_of(&self, block: &mut [u8], child: LogicalBlock) -> Option<()> {
        let limit = u16::try_from(self.limit(block.len())).ok()?;
        set16(block, self.array_at(), limit)?;
        set32(block, self.array_at() + 4, child.get())?;
        self.set_count(block, 1)
    }

    /// Sets how many levels of nodes are below the root.
    pub fn set_indirect_levels(&self, block: &mut [u8], levels: u8) -> Option<()> {
        *block.get_mut(INFO_AT + 6)? = levels;
        Some(())
    }

    /// What the root says of the tree.
    pub fn info(&self, block: &[u8]) -> Result<RootInfo, Flaw> {
        let info = block.get(INFO_AT..).and_then(|info| info.first_chunk());
        let Some(&[z0, z1, z2, z3, version, info_len, indirect_levels, flags]) = info else {
            return Err(Flaw::TooShort);
        };
        if [z0, z1, z2, z3] != [0; 4] || info_len != INFO_LEN {
            return Err(Flaw::IndexHeader);
        }
        let version = HashVersion::from_disk(version).ok_or(Flaw::IndexHash { version })?;
        if flags & 1 != 0 {
            return Err(Flaw::IndexFlags { flags });
        }
        if indirect_levels as usize >= self.levels.min(LEVELS) {
            return Err(Flaw::IndexLevels {
                levels: indirect_levels,
            });
        }
        Ok(RootInfo {
            version,
            indirect_levels,
        })
    }

    /// The checksum covers the block up to the last entry in use, and the tail with zeros for the checksum.
    fn checksum(&self, seed: CsumSeed, block: &[u8]) -> Option<u32> {
        let used = block.get(..self.entry_at(self.count(block)))?;
        let reserved = block.get(self.entry_at(self.limit(block.len()))..)?;
        let reserved = reserved.first_chunk::<4>()?;
        Some(
            seed.start()
                .with(used)
                .with(reserved)
                .with(&[0; 4])
                .finish(),
        )
    }

    fn checksum_at(&self, block: &[u8]) -> usize {
        self.entry_at(self.limit(block.len())).saturating_add(4)
    }
}

impl Format for DxFormat {
    const KIND: BlockKind = BlockKind::DirIndex;

    fn owner(&self) -> Option<Ino> {
        Some(self.ino)
    }

    fn verify(&self, _nr: PhysBlock, block: &[u8]) -> Result<(), Flaw> {
        match self.part {
            IndexPart::Root => {
                let dots = is_index_root(block)
                    && block
                        .get(6..12)
                        .is_some_and(|dot| matches!(dot, [1, _, b'.', ..]))
                    && block
                        .get(18..24)
                        .is_some_and(|dots| matches!(dots, [2, _, b'.', b'.', ..]));
                if !dots {
                    return Err(Flaw::IndexDots);
                }
                self.info(block)?;
            }
            IndexPart::Node => {
                if !is_index_node(block) {
                    return Err(Flaw::IndexNode);
                }
            }
        }
        // A block has at most 64 KiB, so it holds no more entries than that.
        let expected = self.limit(block.len()) as u16;
        let limit = get16(block, self.array_at()).ok_or(Flaw::TooShort)?;
        let count = get16(block, self.array_at() + 2).ok_or(Flaw::TooShort)?;
        if limit != expected {
            return Err(Flaw::IndexLimit { limit, expected });
        }
        if !(1..=limit).contains(&count) {
            return Err(Flaw::IndexCount { count, limit });
        }
        if let Some(seed) = self.seed {
            if self.checksum(seed, block) != get32(block, self.checksum_at(block)) {
                return Err(Flaw::Checksum);
            }
        }
        let mut last = 0;
        for index in 1..count {
            match self.hash(block, index.into()) {
                Some(hash) if hash >= last => last = hash,
                _ => return Err(Flaw::IndexOrder { index }),
            }
        }
        Ok(())
    }

    fn seal(&self, _nr: PhysBlock, block: &mut [u8]) {
        if let Some(seed) = self.seed {
            if let Some(sum) = self.checksum(seed, block) {
                let at = self.checksum_at(block);
                let _ = set32(block, at, sum);
            }
        }
    }
}
