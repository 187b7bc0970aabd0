// SPDX-License-Identifier: GPL-2.0

//! The checksums of the format (Documentation/filesystems/ext4/checksums.rst).
//!
//! With the feature `metadata_csum` every structure carries a CRC-32C, begun with the seed of the file system
//! or of the inode that the structure belongs to. Where the feature is off there is no seed: users hold an
//! `Option<CsumSeed>` and neither check nor set checksums then. The older `gdt_csum` protects only group
//! descriptors, with a CRC-16.

use super::Ino;
use crate::crc32c;

/// What the checksums of the structures of one file system, or of one inode, begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CsumSeed(u32);

impl CsumSeed {
    /// The seed that the super block names (`s_checksum_seed`, feature `metadata_csum_seed`).
    pub const fn new(seed: u32) -> Self {
        Self(seed)
    }

    /// The seed of a file system that does not name one: the checksum of its UUID.
    pub fn from_uuid(uuid: &[u8; 16]) -> Self {
        Self(crc32c(!0, uuid))
    }

    /// The seed of what belongs to an inode: the inode itself, its extent tree and its directory blocks.
    pub fn for_inode(self, ino: Ino, generation: u32) -> Self {
        let both = u64::from(generation) << 32 | u64::from(ino.get());
        Self(self.start().with(&both.to_le_bytes()).finish())
    }

    /// Begins a checksum.
    pub const fn start(self) -> Checksum {
        Checksum(self.0)
    }

    /// The checksum of bytes that lie together.
    pub fn checksum(self, bytes: &[u8]) -> u32 {
        self.start().with(bytes).finish()
    }
}

/// A checksum under way, for a structure that is taken in parts.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Checksum(u32);

impl Checksum {
    /// Goes on with bytes.
    pub fn with(self, bytes: &[u8]) -> Self {
        Self(crc32c(self.0, bytes))
    }

    /// The value so far.
    pub const fn finish(self) -> u32 {
        self.0
    }
}

/// CRC-16 as `gdt_csum` uses it (polynomial 0x8005, reflected, no inversion), begun with `!0` and the UUID.
pub fn crc16(seed: u16, bytes: &[u8]) -> u16 {
    // Only group descriptors of old file systems come here, so no table.
    bytes.iter().fold(seed, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 != 0 { 0xa001 } else { 0 }
        })
    })
}
