// SPDX-License-Identifier: GPL-2.0

//! Group descriptors (`Documentation/filesystems/ext4/group_descr.rst`): where the bitmaps and the inode
//! table of a group are, how much of it is free, and the checksums of its bitmaps.
//!
//! A descriptor has 32 bytes, or 64 and more with the feature `64bit`; the second half has the high parts of
//! the fields of the first.
//!
//! # Invariants
//!
//! * Every descriptor of a table block that was verified has a good checksum, if the file system has any.
//! * [`GroupDesc::store`] keeps the fields that this code does not know.

use crate::disk::checksum::crc16;
use crate::disk::{BlockKind, CsumSeed, Flaw, Format, Group, PhysBlock};
use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::FromBytes;
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The descriptor's first 32 bytes.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawLow {
    block_bitmap: U32,
    inode_bitmap: U32,
    inode_table: U32,
    free_blocks: U16,
    free_inodes: U16,
    used_dirs: U16,
    flags: U16,
    exclude_bitmap: U32,
    block_bitmap_csum: U16,
    inode_bitmap_csum: U16,
    itable_unused: U16,
    checksum: U16,
}

/// The next 32 bytes, where `s_desc_size` says that they are there.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHigh {
    block_bitmap: U32,
    inode_bitmap: U32,
    inode_table: U32,
    free_blocks: U16,
    free_inodes: U16,
    used_dirs: U16,
    itable_unused: U16,
    exclude_bitmap: U32,
    block_bitmap_csum: U16,
    inode_bitmap_csum: U16,
    reserved: U32,
}

/// Offset of `bg_checksum`.
const CHECKSUM_AT: usize = 0x1e;
/// Offset of what follows `bg_checksum`.
const CHECKSUM_END: usize = 0x20;

/// Flags of a group (`bg_flags`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupFlags(u16);

impl GroupFlags {
    /// The inode bitmap was never written: no inode is in use.
    pub const INODE_UNINIT: Self = Self(1);
    /// The block bitmap was never written: only metadata is in use.
    pub const BLOCK_UNINIT: Self = Self(2);

    /// Whether `flag` is set.
    pub fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    /// Without `flag`.
    #[must_use]
    pub fn without(self, flag: Self) -> Self {
        Self(self.0 & !flag.0)
    }
}

/// A group descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupDesc {
    /// Where the block bitmap is.
    pub block_bitmap: PhysBlock,
    /// Where the inode bitmap is.
    pub inode_bitmap: PhysBlock,
    /// Where the inode table starts.
    pub inode_table: PhysBlock,
    /// Free blocks.
    pub free_blocks: u32,
    /// Free inodes.
    pub free_inodes: u32,
    /// Inodes that are directories.
    pub used_dirs: u32,
    /// Inodes at the end of the table that were never used.
    pub itable_unused: u32,
    /// Flags.
    pub flags: GroupFlags,
    /// Checksum of the block bitmap; 16 bits of it in a short descriptor.
    pub block_bitmap_csum: u32,
    /// Checksum of the inode bitmap; 16 bits of it in a short descriptor.
    pub inode_bitmap_csum: u32,
}

fn wide(low: U32, high: Option<U32>) -> PhysBlock {
    PhysBlock::new(u64::from(low.get()) | (high.map_or(0, |high| u64::from(high.get())) << 32))
}

fn join(low: U16, high: Option<U16>) -> u32 {
    u32::from(low.get()) | (high.map_or(0, |high| u32::from(high.get())) << 16)
}

fn low_half(value: u32) -> U16 {
    U16::new((value & 0xffff) as u16)
}

fn high_half(value: u32) -> U16 {
    U16::new((value >> 16) as u16)
}

impl GroupDesc {
    /// Reads a descriptor of `bytes.len()` bytes (`s_desc_size`); `None` if these are fewer than 32.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (low, rest) = RawLow::ref_from_prefix(bytes).ok()?;
        let high = RawHigh::ref_from_prefix(rest).ok().map(|(high, _)| high);
        Some(Self {
            block_bitmap: wide(low.block_bitmap, high.map(|h| h.block_bitmap)),
            inode_bitmap: wide(low.inode_bitmap, high.map(|h| h.inode_bitmap)),
            inode_table: wide(low.inode_table, high.map(|h| h.inode_table)),
            free_blocks: join(low.free_blocks, high.map(|h| h.free_blocks)),
            free_inodes: join(low.free_inodes, high.map(|h| h.free_inodes)),
            used_dirs: join(low.used_dirs, high.map(|h| h.used_dirs)),
            itable_unused: join(low.itable_unused, high.map(|h| h.itable_unused)),
            flags: GroupFlags(low.flags.get()),
            block_bitmap_csum: join(low.block_bitmap_csum, high.map(|h| h.block_bitmap_csum)),
            inode_bitmap_csum: join(low.inode_bitmap_csum, high.map(|h| h.inode_bitmap_csum)),
        })
    }

    /// Writes counts, flags and checksums back to `bytes` (`s_desc_size` of them), and the descriptor's own
    /// checksum. Places never change and are not written.
    pub fn store(&self, csum: &DescCsum, group: Group, bytes: &mut [u8]) {
        {
            let Ok((low, rest)) = RawLow::mut_from_prefix(bytes) else {
                return;
            };
            low.free_blocks = low_half(self.free_blocks);
            low.free_inodes = low_half(self.free_inodes);
            low.used_dirs = low_half(self.used_dirs);
            low.itable_unused = low_half(self.itable_unused);
            low.flags = U16::new(self.flags.0);
            low.block_bitmap_csum = low_half(self.block_bitmap_csum);
            low.inode_bitmap_csum = low_half(self.inode_bitmap_csum);
            if let Ok((high, _)) = RawHigh::mut_from_prefix(rest) {
                high.free_blocks = high_half(self.free_blocks);
                high.free_inodes = high_half(self.free_inodes);
                high.used_dirs = high_half(self.used_dirs);
                high.itable_unused = high_half(self.itable_unused);
                high.block_bitmap_csum = high_half(self.block_bitmap_csum);
                high.inode_bitmap_csum = high_half(self.inode_bitmap_csum);
            }
        }
        let Some(sum) = csum.of(group, bytes) else {
            return;
        };
        if let Ok((low, _)) = RawLow::mut_from_prefix(bytes) {
            low.checksum = U16::new(sum);
        }
    }
}

/// How descriptors are checked.
#[derive(Clone, Copy)]
pub enum DescCsum {
    /// Not at all.
    None,
    /// `gdt_csum`: CRC-16 of UUID, group number, descriptor without its checksum.
    Crc16([u8; 16]),
    /// `metadata_csum`: CRC-32C of group number, descriptor with its checksum as zero.
    Crc32c(CsumSeed),
}

impl DescCsum {
    /// Whether there are checksums, and with them the flags of uninitialised bitmaps and tables.
    pub fn is_some(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// The checksum that a descriptor must have.
    fn of(&self, group: Group, desc: &[u8]) -> Option<u16> {
        let head = desc.get(..CHECKSUM_AT)?;
        let tail = desc.get(CHECKSUM_END..).unwrap_or(&[]);
        let nr = group.get().to_le_bytes();
        match self {
            Self::None => None,
            Self::Crc16(uuid) => {
                let parts: [&[u8]; 4] = [uuid, &nr, head, tail];
                Some(parts.iter().fold(!0, |crc, part| crc16(crc, part)))
            }
            Self::Crc32c(seed) => {
                let crc = seed
                    .start()
                    .with(&nr)
                    .with(head)
                    .with(&[0; 2])
                    .with(tail)
                    .finish();
                Some((crc & 0xffff) as u16)
            }
        }
    }

    fn holds(&self, group: Group, desc: &[u8]) -> bool {
        let stored = RawLow::ref_from_prefix(desc)
            .ok()
            .map(|(low, _)| low.checksum.get());
        self.of(group, desc).is_none_or(|sum| stored == Some(sum))
    }
}

/// A block of the group descriptor table.
///
/// It has a checksum for each descriptor, which [`GroupDesc::store`] sets for the one that it changes: there
/// is nothing left to seal.
#[derive(Clone, Copy)]
pub struct GroupDescFormat {
    /// How descriptors are checked.
    pub csum: DescCsum,
    /// Bytes of a descriptor (`s_desc_size`).
    pub size: u32,
    /// Group of the block's first descriptor.
    pub first: Group,
    /// How many descriptors the block has.
    pub count: u32,
}

impl GroupDescFormat {
    /// The bytes of the `n`th descriptor of the block.
    pub fn slot<'a>(&self, n: u32, block: &'a [u8]) -> Option<&'a [u8]> {
        let at = n.checked_mul(self.size)? as usize;
        block.get(at..at.checked_add(self.size as usize)?)
    }

    /// The bytes of the `n`th descriptor of the block.
    pub fn slot_mut<'a>(&self, n: u32, block: &'a mut [u8]) -> Option<&'a mut [u8]> {
        let at = n.checked_mul(self.size)? as usize;
        block.get_mut(at..at.checked_add(self.size as usize)?)
    }
}

impl Format for GroupDescFormat {
    const KIND: BlockKind = BlockKind::GroupDesc;

    fn verify(&self, _nr: PhysBlock, bytes: &[u8]) -> Result<(), Flaw> {
        for n in 0..self.count {
            let desc = self.slot(n, bytes).ok_or(Flaw::TooShort)?;
            if !self
                .csum
                .holds(Group::new(self.first.get().saturating_add(n)), desc)
            {
                return Err(Flaw::Checksum);
            }
        }
        Ok(())
    }

    fn seal(&self, _nr: PhysBlock, _bytes: &mut [u8]) {}
}
