// SPDX-License-Identifier: GPL-2.0

//! An inode as it is in the inode table (Documentation/filesystems/ext4/inodes.rst).
//!
//! [`DiskInode::decode`] checks what can be checked without knowing the file system around it, and gives plain
//! values; [`DiskInode::encode`] puts values back and leaves alone what it does not know: in-inode extended
//! attributes, the deletion time.
//!
//! An inode has 128 bytes, then `i_extra_isize` bytes of further fields of which not all may be there, then
//! extended attributes up to the inode size of the file system.

mod fields;

pub use fields::{DiskTime, InodeFlags};

use super::bytes::{copy, get16, get32, set16, set32};
use super::xattr::{Area, XATTR_MAGIC};
use super::{CsumSeed, FileType, Flaw, Ino, Layout, PhysBlock};
use crate::disk::{Bare, BlockKind};
use core::mem::{offset_of, size_of};
use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::FromBytes;
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Size of `i_block` in bytes.
pub const I_BLOCK_SIZE: usize = 60;

/// Bytes of every inode.
const BASE_SIZE: usize = 128;

/// Bytes of the magic number before the extended attributes.
const MAGIC_SIZE: usize = size_of::<u32>();

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawInode {
    mode: U16,
    uid_lo: U16,
    size_lo: U32,
    atime: U32,
    ctime: U32,
    mtime: U32,
    dtime: U32,
    gid_lo: U16,
    links_count: U16,
    blocks_lo: U32,
    flags: U32,
    version_lo: U32,
    block: [u8; I_BLOCK_SIZE],
    generation: U32,
    file_acl_lo: U32,
    size_hi: U32,
    obso_faddr: U32,
    blocks_hi: U16,
    file_acl_hi: U16,
    uid_hi: U16,
    gid_hi: U16,
    checksum_lo: U16,
    reserved: U16,
}

const _: () = assert!(size_of::<RawInode>() == BASE_SIZE);

/// The fields after the first 128 bytes, as offsets from there.
mod extra {
    pub const EXTRA_ISIZE: usize = 0;
    pub const CHECKSUM_HI: usize = 2;
    pub const CTIME: usize = 4;
    pub const MTIME: usize = 8;
    pub const ATIME: usize = 12;
    pub const CRTIME: usize = 16;
    pub const CRTIME_EXTRA: usize = 20;
    pub const VERSION_HI: usize = 24;
    pub const PROJECT: usize = 28;
}

/// The values of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskInode {
    /// Type and permissions.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Links; 1 for a directory with more than can be counted.
    pub links: u16,
    /// Size in bytes.
    pub size: u64,
    /// What the file occupies, in units of 512 bytes.
    pub sectors: u64,
    /// The flags, without [`InodeFlags::HUGE_FILE`], which follows from `sectors`.
    pub flags: InodeFlags,
    /// The block map, or what else is there.
    pub block: [u8; I_BLOCK_SIZE],
    /// Tells inodes apart that had the same number one after the other.
    pub generation: u32,
    /// The block with extended attributes.
    pub file_acl: Option<PhysBlock>,
    /// Bytes of the inode after the first 128 that have fields.
    pub extra_isize: u16,
    /// The project that it counts for; 0 where the volume has none, or the inode no room for it.
    pub project: u32,
    /// Last access.
    pub atime: DiskTime,
    /// Last change of the inode.
    pub ctime: DiskTime,
    /// Last change of the contents.
    pub mtime: DiskTime,
    /// Creation; zero where it is not recorded.
    pub crtime: DiskTime,
    /// Change counter.
    pub version: u64,
}

/// An inode's bytes in two parts: the first 128, and the rest.
fn split(bytes: &[u8]) -> Option<(&RawInode, &[u8])> {
    RawInode::ref_from_prefix(bytes).ok()
}

fn split_mut(bytes: &mut [u8]) -> Option<(&mut RawInode, &mut [u8])> {
    RawInode::mut_from_prefix(bytes).ok()
}

/// The 32-bit field at `offset` of the second part, where an inode with such an `extra_isize` has it.
fn extra32(rest: &[u8], extra_isize: u16, offset: usize) -> Option<u32> {
    get32(rest.get(..extra_isize.into())?, offset)
}

/// Sets it. `None` where an inode does not have it.
fn set_extra32(rest: &mut [u8], extra_isize: u16, offset: usize, value: u32) -> Option<()> {
    set32(rest.get_mut(..extra_isize.into())?, offset, value)
}

/// Whether the upper half of the checksum is there.
fn has_checksum_hi(extra_isize: u16) -> bool {
    usize::from(extra_isize) >= extra::CHECKSUM_HI + 2
}

/// The checksum of an inode: all of its bytes, but zeros for the checksum's own.
fn checksum(seed: CsumSeed, raw: &[u8], extra_isize: u16) -> Option<u32> {
    const LO: usize = offset_of!(RawInode, checksum_lo);
    const HI: usize = BASE_SIZE + extra::CHECKSUM_HI;
    let sum = seed
        .start()
        .with(raw.get(..LO)?)
        .with(&[0; 2])
        .with(raw.get(LO + 2..BASE_SIZE)?);
    let sum = if has_checksum_hi(extra_isize) {
        sum.with(raw.get(BASE_SIZE..HI)?)
            .with(&[0; 2])
            .with(raw.get(HI + 2..)?)
    } else {
        sum.with(raw.get(BASE_SIZE..)?)
    };
    Some(sum.finish())
}

/// The seed of an inode's checksum, as ext4 has it: none for file systems made elsewhere.
fn seed(layout: &Layout, ino: Ino, generation: u32) -> Option<CsumSeed> {
    layout
        .csum_seed()
        .filter(|_| layout.creator_is_linux())
        .map(|seed| seed.for_inode(ino, generation))
}

/// Sets the checksum of an inode after its bytes were changed, where there is one. `bytes` are the whole inode.
pub fn seal(layout: &Layout, ino: Ino, bytes: &mut [u8]) {
    let Some((raw, rest)) = split(bytes) else {
        return;
    };
    let extra_isize = get16(rest, extra::EXTRA_ISIZE).unwrap_or(0);
    let sum =
        seed(layout, ino, raw.generation.get()).and_then(|seed| checksum(seed, bytes, extra_isize));
    let (Some(sum), Some((raw, rest))) = (sum, split_mut(bytes)) else {
        return;
    };
    raw.checksum_lo.set(sum as u16);
    if has_checksum_hi(extra_isize) {
        let _ = set16(rest, extra::CHECKSUM_HI, (sum >> 16) as u16);
    }
}

/// `i_dtime`: when the inode was deleted, or the next orphan. `bytes` are the whole inode.
pub fn dtime(bytes: &[u8]) -> Option<u32> {
    Some(split(bytes)?.0.dtime.get())
}

/// Where in an inode its extended attributes begin, in bytes; `None` where it has none there. `bytes` are the whole
/// inode.
pub fn attributes_at(bytes: &[u8]) -> Option<usize> {
    let (_, rest) = split(bytes)?;
    let extra_isize = usize::from(get16(rest, extra::EXTRA_ISIZE).filter(|size| *size != 0)?);
    let magic = get32(rest, extra_isize)?;
    (magic == XATTR_MAGIC).then(|| BASE_SIZE.saturating_add(extra_isize))
}

/// The extended attributes in an inode: `bytes` are all of it.
pub fn attributes(bytes: &[u8]) -> Option<Area<'_>> {
    let at = attributes_at(bytes)?.saturating_add(MAGIC_SIZE);
    Some(Area::in_inode(bytes.get(at..)?))
}

/// How many bytes an inode with such an `i_extra_isize` has for entries and values of extended attributes.
pub fn attributes_room(layout: &Layout, extra_isize: u16) -> usize {
    let room = usize::from(layout.inode_size()).saturating_sub(BASE_SIZE);
    match extra_isize {
        0 => 0,
        size => room.saturating_sub(size.into()).saturating_sub(MAGIC_SIZE),
    }
}

/// Replaces the extended attributes in an inode by `area`, which is as long as [`attributes_room`] says; [`seal`] is
/// for the caller. `bytes` are the whole inode.
pub fn set_attributes(bytes: &mut [u8], area: Area<'_>) {
    let room = area.bytes().len().saturating_add(MAGIC_SIZE);
    let at = bytes.len().saturating_sub(room);
    let Some((magic, entries)) = bytes
        .get_mut(at..)
        .and_then(|bytes| bytes.split_first_chunk_mut::<MAGIC_SIZE>())
    else {
        return;
    };
    *magic = match area.is_empty() {
        true => [0; MAGIC_SIZE],
        false => XATTR_MAGIC.to_le_bytes(),
    };
    copy(entries, area.bytes());
}

/// Whether an inode with such an `i_extra_isize` has room for its project.
pub fn has_project(layout: &Layout, extra_isize: u16) -> bool {
    layout.has_project() && usize::from(extra_isize) >= extra::PROJECT + size_of::<u32>()
}

/// Sets `i_dtime`; [`seal`] is for the caller. `bytes` are the whole inode.
pub fn set_dtime(bytes: &mut [u8], value: u32) {
    if let Some((raw, _)) = split_mut(bytes) {
        raw.dtime.set(value);
    }
}

impl DiskInode {
    /// How many entries lead to an inode with the value of an attribute, as its change time and its change counter say.
    pub fn joined_users(ctime: DiskTime, version: u64) -> u64 {
        u64::from(ctime.sec as u32) << 32 | u64::from(version as u32)
    }

    /// [`Self::joined_users`], of this one.
    pub fn users(&self) -> u64 {
        Self::joined_users(self.ctime, self.version)
    }

    /// Sets that number.
    pub fn set_users(&mut self, users: u64) {
        self.ctime = DiskTime {
            sec: i64::from((users >> 32) as u32 as i32),
            nsec: 0,
        };
        self.version = u64::from(users as u32);
    }

    /// Takes an inode apart. `bytes` are the whole inode, of the size that `layout` says.
    ///
    /// # Errors
    ///
    /// Where the checksum is wrong, or the size of the fields is none that it can have.
    pub fn decode(layout: &Layout, ino: Ino, bytes: &[u8]) -> Result<Self, Flaw> {
        let (raw, rest) = split(bytes).ok_or(Flaw::TooShort)?;
        let flags = InodeFlags::from_bits(raw.flags.get());
        let extra_isize = get16(rest, extra::EXTRA_ISIZE).unwrap_or(0);
        if usize::from(extra_isize) > rest.len() || extra_isize % 4 != 0 {
            return Err(Flaw::InodeExtraSize { size: extra_isize });
        }
        if let Some(seed) = seed(layout, ino, raw.generation.get()) {
            let lo = u32::from(raw.checksum_lo.get());
            let hi = get16(rest, extra::CHECKSUM_HI)
                .filter(|_| has_checksum_hi(extra_isize))
                .map(u32::from);
            let mask = if hi.is_some() { u32::MAX } else { 0xffff };
            let found = hi.unwrap_or(0) << 16 | lo;
            if checksum(seed, bytes, extra_isize).map(|sum| sum & mask) != Some(found) {
                return Err(Flaw::Checksum);
            }
        }

        let mode = raw.mode.get();
        // The upper half is used only by regular files; it had another meaning in directories.
        let size_hi = match FileType::from_mode(mode) {
            Some(FileType::Regular) => raw.size_hi.get(),
            Some(FileType::Directory) if layout.has_large_dir() => raw.size_hi.get(),
            _ => 0,
        };
        let mut sectors = u64::from(raw.blocks_lo.get());
        if layout.has_huge_file() {
            sectors |= u64::from(raw.blocks_hi.get()) << 32;
            if flags.has(InodeFlags::HUGE_FILE) {
                sectors = sectors.saturating_mul(layout.block_size().sectors());
            }
        }
        let mut file_acl = u64::from(raw.file_acl_lo.get());
        if layout.has_64bit() {
            file_acl |= u64::from(raw.file_acl_hi.get()) << 32;
        }
        let time =
            |base: U32, offset| DiskTime::decode(base.get(), extra32(rest, extra_isize, offset));
        let crtime = extra32(rest, extra_isize, extra::CRTIME)
            .map(|base| DiskTime::decode(base, extra32(rest, extra_isize, extra::CRTIME_EXTRA)));
        let version_hi = extra32(rest, extra_isize, extra::VERSION_HI).unwrap_or(0);
        let project = extra32(rest, extra_isize, extra::PROJECT).filter(|_| layout.has_project());
        Ok(Self {
            mode,
            uid: u32::from(raw.uid_lo.get()) | u32::from(raw.uid_hi.get()) << 16,
            gid: u32::from(raw.gid_lo.get()) | u32::from(raw.gid_hi.get()) << 16,
            links: raw.links_count.get(),
            size: u64::from(raw.size_lo.get()) | u64::from(size_hi) << 32,
            sectors,
            flags: flags.without(InodeFlags::HUGE_FILE),
            block: raw.block,
            generation: raw.generation.get(),
            file_acl: (file_acl != 0).then(|| PhysBlock::new(file_acl)),
            extra_isize,
            project: project.unwrap_or(0),
            atime: time(raw.atime, extra::ATIME),
            ctime: time(raw.ctime, extra::CTIME),
            mtime: time(raw.mtime, extra::MTIME),
            crtime: crtime.unwrap_or_default(),
            version: u64::from(version_hi) << 32 | u64::from(raw.version_lo.get()),
        })
    }

    /// Puts the values into the bytes of an inode, and sets its checksum. `bytes` are the whole inode, of the size
    /// that `layout` says.
    ///
    /// # Errors
    ///
    /// Where a value is more than the fields can hold; nothing was changed then.
    pub fn encode(&self, layout: &Layout, ino: Ino, bytes: &mut [u8]) -> Result<(), Flaw> {
        let (raw, rest) = split_mut(bytes).ok_or(Flaw::TooShort)?;
        if usize::from(self.extra_isize) > rest.len() {
            return Err(Flaw::InodeExtraSize {
                size: self.extra_isize,
            });
        }
        let (blocks, huge) = self.encode_sectors(layout)?;
        let file_acl = self.file_acl.map_or(0, PhysBlock::get);

        raw.mode.set(self.mode);
        raw.uid_lo.set(self.uid as u16);
        raw.uid_hi.set((self.uid >> 16) as u16);
        raw.gid_lo.set(self.gid as u16);
        raw.gid_hi.set((self.gid >> 16) as u16);
        raw.links_count.set(self.links);
        raw.size_lo.set(self.size as u32);
        raw.size_hi.set((self.size >> 32) as u32);
        raw.blocks_lo.set(blocks as u32);
        raw.blocks_hi.set((blocks >> 32) as u16);
        raw.flags.set(self.flags.with(huge).bits());
        raw.block = self.block;
        raw.generation.set(self.generation);
        raw.file_acl_lo.set(file_acl as u32);
        raw.file_acl_hi.set((file_acl >> 32) as u16);
        raw.version_lo.set(self.version as u32);

        if !rest.is_empty() {
            let _ = set16(rest, extra::EXTRA_ISIZE, self.extra_isize);
        }
        let size = self.extra_isize;
        for (base, offset, time) in [
            (&mut raw.atime, extra::ATIME, self.atime),
            (&mut raw.ctime, extra::CTIME, self.ctime),
            (&mut raw.mtime, extra::MTIME, self.mtime),
        ] {
            let (sec, more) = time.encode();
            base.set(if set_extra32(rest, size, offset, more).is_some() {
                sec
            } else {
                time.encode_small()
            });
        }
        let (sec, more) = self.crtime.encode();
        let sec = if set_extra32(rest, size, extra::CRTIME_EXTRA, more).is_some() {
            sec
        } else {
            self.crtime.encode_small()
        };
        // Not every inode has these.
        let _ = set_extra32(rest, size, extra::CRTIME, sec);
        let _ = set_extra32(rest, size, extra::VERSION_HI, (self.version >> 32) as u32);
        if layout.has_project() {
            let _ = set_extra32(rest, size, extra::PROJECT, self.project);
        }
        seal(layout, ino, bytes);
        Ok(())
    }

    /// What goes into `i_blocks`, 48 bits, and the flag that says that it counts blocks.
    fn encode_sectors(&self, layout: &Layout) -> Result<(u64, InodeFlags), Flaw> {
        const WIDE: u64 = (1 << 48) - 1;
        let sectors = self.sectors;
        if sectors <= u32::MAX.into() {
            return Ok((sectors, InodeFlags::NONE));
        }
        if !layout.has_huge_file() {
            return Err(Flaw::InodeBlocks { sectors });
        }
        if sectors <= WIDE {
            return Ok((sectors, InodeFlags::NONE));
        }
        let shift = layout.block_size().bits().wrapping_sub(9);
        match sectors.wrapping_shr(shift) {
            blocks @ ..=WIDE => Ok((blocks, InodeFlags::HUGE_FILE)),
            _ => Err(Flaw::InodeBlocks { sectors }),
        }
    }
}

/// The device number in `i_block`, in the form that the kernel uses inside (12 bits major, 20 bits minor).
pub fn decode_rdev(block: &[u8; I_BLOCK_SIZE]) -> u32 {
    let word = |offset| get32(block, offset).unwrap_or(0);
    let (old, new) = (word(0), word(4));
    let (major, minor) = if old != 0 {
        (old >> 8 & 0xff, old & 0xff)
    } else {
        (new >> 8 & 0xfff, new & 0xff | new >> 12 & 0xf_ff00)
    };
    major << 20 | minor
}

/// `i_block` of a device.
pub fn encode_rdev(rdev: u32) -> [u8; I_BLOCK_SIZE] {
    let (major, minor) = (rdev >> 20, rdev & 0xf_ffff);
    let (old, new) = if major < 256 && minor < 256 {
        (major << 8 | minor, 0)
    } else {
        (0, minor & 0xff | major << 8 | (minor & !0xff) << 12)
    };
    let mut block = [0; I_BLOCK_SIZE];
    let _ = (set32(&mut block, 0, old), set32(&mut block, 4, new));
    block
}

/// A block of an inode table.
///
/// There is nothing to check in the block as such: each inode has its own checksum, which [`DiskInode`] checks
/// and sets.
#[derive(Clone, Copy, Debug)]
pub struct InodeTableFormat;

impl Bare for InodeTableFormat {
    const KIND: BlockKind = BlockKind::InodeTable;
}
