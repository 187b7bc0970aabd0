// SPDX-License-Identifier: GPL-2.0

//! Extended attributes (Documentation/filesystems/ext4/attributes.rst): those of an inode and of a block (`area.rs`),
//! and the header and checksum of the block that holds what does not fit into the inode.

mod area;

pub use area::{Area, Name, Prefix, Value, ValueRef, NAME_MAX, VALUE_MAX};

use super::{CsumSeed, Flaw, Layout, PhysBlock};
use crate::disk::{Bare, BlockKind, Format};
use core::mem::{offset_of, size_of};
use zerocopy::byteorder::little_endian::U32;
use zerocopy::FromBytes;
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `h_magic` of the block, and of the attributes in an inode.
pub const XATTR_MAGIC: u32 = 0xea02_0000;

/// Most inodes that can share a block.
pub const MAX_REFCOUNT: u32 = 1024;

/// What a block of attributes begins with.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct XattrHeader {
    magic: U32,
    /// Inodes that use the block.
    pub refcount: U32,
    blocks: U32,
    /// Hash of all entries, by which equal blocks are found.
    pub hash: U32,
    checksum: U32,
    reserved: [U32; 3],
}

/// Size of the header in bytes; the entries begin there.
pub const HEADER_SIZE: usize = size_of::<XattrHeader>();

const _: () = assert!(HEADER_SIZE == 32);

impl XattrHeader {
    /// The header and the entries of a block.
    pub fn split(bytes: &[u8]) -> Option<(&Self, &[u8])> {
        Self::ref_from_prefix(bytes).ok()
    }

    /// Like [`Self::split`], to change them.
    pub fn split_mut(bytes: &mut [u8]) -> Option<(&mut Self, &mut [u8])> {
        Self::mut_from_prefix(bytes).ok()
    }
}

/// A block of extended attributes.
#[derive(Clone, Copy, Debug)]
pub struct XattrFormat {
    /// The seed of the file system (not of an inode: the block can be shared); `None` where metadata has no checksums.
    pub seed: Option<CsumSeed>,
    /// Whether values may be in inodes of their own.
    pub values: bool,
}

impl XattrFormat {
    /// That of a file system.
    pub fn new(layout: &Layout) -> Self {
        Self {
            seed: layout.csum_seed(),
            values: layout.value_seed().is_some(),
        }
    }

    fn checksum(&self, nr: PhysBlock, bytes: &[u8]) -> Option<u32> {
        const AT: usize = offset_of!(XattrHeader, checksum);
        let sum = self
            .seed?
            .start()
            .with(&nr.get().to_le_bytes())
            .with(bytes.get(..AT)?)
            .with(&[0; 4])
            .with(bytes.get(AT + 4..)?);
        Some(sum.finish())
    }
}

impl Format for XattrFormat {
    const KIND: BlockKind = BlockKind::Xattr;

    fn verify(&self, nr: PhysBlock, bytes: &[u8]) -> Result<(), Flaw> {
        let (header, _) = XattrHeader::split(bytes).ok_or(Flaw::TooShort)?;
        let (magic, blocks) = (header.magic.get(), header.blocks.get());
        let count = header.refcount.get();
        if magic != XATTR_MAGIC {
            return Err(Flaw::XattrMagic { magic });
        }
        if blocks != 1 {
            return Err(Flaw::XattrBlocks { blocks });
        }
        if !(1..=MAX_REFCOUNT).contains(&count) {
            return Err(Flaw::XattrRefcount { count });
        }
        match self.checksum(nr, bytes) {
            Some(sum) if sum != header.checksum.get() => Err(Flaw::Checksum),
            _ => Area::in_block(bytes).check(self.values),
        }
    }

    fn seal(&self, nr: PhysBlock, bytes: &mut [u8]) {
        if let Some((header, _)) = XattrHeader::split_mut(bytes) {
            header.magic.set(XATTR_MAGIC);
            header.blocks.set(1);
        }
        let sum = self.checksum(nr, bytes).unwrap_or(0);
        if let Some((header, _)) = XattrHeader::split_mut(bytes) {
            header.checksum.set(sum);
        }
    }
}

/// A block of a value that is in an inode of its own. It has no checksum: the inode has the hash of the whole value.
#[derive(Clone, Copy)]
pub struct ValueFormat;

impl Bare for ValueFormat {
    const KIND: BlockKind = BlockKind::XattrValue;
}
