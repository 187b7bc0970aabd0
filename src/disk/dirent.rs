// SPDX-License-Identifier: GPL-2.0

//! Directory blocks: the records of a linear directory, and of the leaves of a hashed one.
//!
//! A block is a chain of records, each `rec_len` bytes to the next, the last one reaching the end; inode
//! number 0 marks a free one, and a used one may have slack behind its name. With metadata checksums the
//! last 12 bytes are a record of their own that holds the checksum. Documentation/filesystems/ext4/directory.rst,
//! "Linear (Classic) Directories".
//!
//! # Invariants
//!
//! * A [`DirEntry`] lies inside its block and holds its name; its inode number is 0 or one that the file
//!   system has. [`DirLeafFormat::entries`] gives no other, and stops at the first that is none.
//! * In a block that [`DirLeafFormat::verify`] accepted, the chain ends exactly where the tail or the
//!   block does.

use super::bytes::copy;
use super::checksum::CsumSeed;
use super::types::{Ino, PhysBlock};
use super::{FileType, Flaw};
use crate::disk::{BlockKind, Format};

/// Longest name, in bytes (`EXT4_NAME_LEN`).
pub const NAME_LEN: usize = 255;

/// Bytes of a record before its name.
const HEADER_LEN: usize = 8;

/// Bytes of the checksum record (`struct ext4_dir_entry_tail`).
pub const TAIL_LEN: usize = 12;

/// `det_reserved_ft`: file type of the checksum record.
const TAIL_TYPE: u8 = 0xde;

/// Bytes of the smallest record.
pub const LEAST_REC_LEN: usize = 12;

/// Bytes that a record with a name of `name_len` bytes needs (`ext4_dir_rec_len`).
pub const fn rec_len_for(name_len: usize) -> usize {
    name_len.saturating_add(HEADER_LEN + 3) & !3
}

/// One record of a directory block.
#[derive(Clone, Copy, Debug)]
pub struct DirEntry<'a> {
    /// Where it starts, in bytes from the start of the block.
    pub at: usize,
    /// Bytes from here to the next record.
    pub rec_len: usize,
    /// What the name leads to; `None` for a free record.
    pub ino: Option<Ino>,
    /// What the record says of the inode's type: nothing without the feature `filetype`.
    pub file_type: Option<FileType>,
    /// The name; of no meaning in a free record.
    pub name: &'a [u8],
}

impl DirEntry<'_> {
    /// Bytes that the record cannot do without: none if it is free.
    pub fn needs(&self) -> usize {
        match self.ino {
            Some(_) => rec_len_for(self.name.len()),
            None => 0,
        }
    }

    /// Where the name starts, in bytes from the start of the block.
    pub fn name_at(&self) -> usize {
        self.at.saturating_add(HEADER_LEN)
    }

    /// Where the next record starts.
    pub fn end(&self) -> usize {
        self.at.saturating_add(self.rec_len)
    }
}

/// A place in a block, which has at most 64 KiB, for a [`Flaw`].
const fn place(at: usize) -> u16 {
    at as u16
}

/// Length of a record from its 16 bits: lengths that do not fit are those of blocks of 64 KiB.
fn rec_len_from_disk(raw: u16, block_len: usize) -> usize {
    match raw {
        0 | u16::MAX => block_len,
        raw => (raw & 0xfffc) as usize | ((raw & 3) as usize) << 16,
    }
}

/// The 16 bits for a record of `len` bytes, a multiple of 4 and at most 64 KiB.
fn rec_len_to_disk(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}

/// The records of a block, from some offset to the tail.
///
/// Yields each that is sound; after one that is not, nothing more.
#[derive(Clone)]
pub struct Entries<'a> {
    block: &'a [u8],
    at: usize,
    end: usize,
    inodes_count: u32,
}

impl<'a> Entries<'a> {
    fn decode(&self) -> Result<DirEntry<'a>, Flaw> {
        let at = self.at;
        let room = self.end.saturating_sub(at);
        let record = self.block.get(at..self.end).unwrap_or(&[]);
        let Some((&[i0, i1, i2, i3, r0, r1, name_len, file_type], rest)) =
            record.split_first_chunk::<HEADER_LEN>()
        else {
            return Err(Flaw::DirEntryHead { at: place(at) });
        };
        let rec_len = rec_len_from_disk(u16::from_le_bytes([r0, r1]), self.block.len());
        let name_len = name_len as usize;
        let (place, len) = (place(at), rec_len as u32);
        if rec_len < LEAST_REC_LEN {
            return Err(Flaw::DirEntryLeast { at: place, len });
        }
        if rec_len % 4 != 0 {
            return Err(Flaw::DirEntryAlign { at: place, len });
        }
        if rec_len < rec_len_for(name_len) {
            return Err(Flaw::DirEntryName { at: place, len });
        }
        if rec_len > room {
            return Err(Flaw::DirEntryEnd { at: place, len });
        }
        let ino = u32::from_le_bytes([i0, i1, i2, i3]);
        if ino > self.inodes_count {
            return Err(Flaw::DirEntryInode { at: place, ino });
        }
        let ino = Ino::new(ino);
        if ino.is_some() && name_len == 0 {
            return Err(Flaw::DirEntryNoName { at: place });
        }
        let Some(name) = rest.get(..name_len) else {
            return Err(Flaw::DirEntryEnd { at: place, len });
        };
        Ok(DirEntry {
            at,
            rec_len,
            ino,
            file_type: FileType::from_entry(file_type),
            name,
        })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<DirEntry<'a>, Flaw>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        let entry = self.decode();
        self.at = entry.map_or(self.end, |entry| entry.end());
        Some(entry)
    }
}

/// Length of the record at byte `at`, whatever it is worth.
fn rec_len_at(block: &[u8], at: usize) -> Option<usize> {
    let field = block.get(at.checked_add(4)?..)?.first_chunk::<2>()?;
    Some(rec_len_from_disk(u16::from_le_bytes(*field), block.len()))
}

/// Whether `block` begins as a node of a tree does: one free record, as long as the block.
pub(super) fn is_index_node(block: &[u8]) -> bool {
    block.first_chunk() == Some(&[0_u8; 4]) && rec_len_at(block, 0) == Some(block.len())
}

/// Whether `block` begins as the root of a tree does: with `.` and `..`, and all that follows is slack of the second
/// record. The lengths alone say nothing: two short names at the end of their lives look the same, where blocks have no
/// tail.
pub(super) fn is_index_root(block: &[u8]) -> bool {
    let dot_len = rec_len_for(1);
    rec_len_at(block, 0) == Some(dot_len)
        && rec_len_at(block, dot_len) == block.len().checked_sub(dot_len)
        && name_at(block, 0) == Some(b".")
        && name_at(block, dot_len) == Some(b"..")
}

/// The name in the record at byte `at`, whatever it is worth.
fn name_at(block: &[u8], at: usize) -> Option<&[u8]> {
    let (header, name) = block.get(at..)?.split_first_chunk::<HEADER_LEN>()?;
    let [.., name_len, _] = *header;
    name.get(..name_len.into())
}

/// The fields before the name of a record; `rec_len` is as it is on the disk.
fn header_of(
    ino: Option<Ino>,
    rec_len: [u8; 2],
    name_len: u8,
    file_type: Option<FileType>,
) -> [u8; HEADER_LEN] {
    let [i0, i1, i2, i3] = ino.map_or(0, Ino::get).to_le_bytes();
    let [r0, r1] = rec_len;
    let file_type = FileType::to_entry(file_type);
    [i0, i1, i2, i3, r0, r1, name_len, file_type]
}

/// Writes a record at byte `at` of `block`. Gives `None`, with nothing changed, where it would not fit.
pub fn put_entry(
    block: &mut [u8],
    at: usize,
    rec_len: usize,
    ino: Option<Ino>,
    file_type: Option<FileType>,
    name: &[u8],
) -> Option<()> {
    let name_len = u8::try_from(name.len()).ok()?;
    let record = block.get_mut(at..at.checked_add(rec_len)?)?;
    let (header, space) = record.split_first_chunk_mut::<HEADER_LEN>()?;
    let space = space.get_mut(..name.len())?;
    let rec_len = rec_len_to_disk(rec_len).to_le_bytes();
    *header = header_of(ino, rec_len, name_len, file_type);
    copy(space, name);
    Some(())
}

/// Changes the length of the record at byte `at`.
pub fn set_rec_len(block: &mut [u8], at: usize, rec_len: usize) -> Option<()> {
    let field = at.checked_add(4)?;
    let field = block.get_mut(field..)?.first_chunk_mut::<2>()?;
    *field = rec_len_to_disk(rec_len).to_le_bytes();
    Some(())
}

/// Changes what the record at byte `at` leads to.
pub fn set_target(
    block: &mut [u8],
    at: usize,
    ino: Ino,
    file_type: Option<FileType>,
) -> Option<()> {
    let header = block.get_mut(at..)?.first_chunk_mut::<HEADER_LEN>()?;
    let [.., r0, r1, name_len, _] = *header;
    *header = header_of(Some(ino), [r0, r1], name_len, file_type);
    Some(())
}

/// `.` and `..`, the first records of a directory's first block.
#[derive(Clone, Copy, Debug)]
pub struct Dots {
    /// What `..` leads to.
    pub parent: Ino,
    /// Where the record of `..` starts.
    pub parent_at: usize,
    /// Where the record after `..` starts.
    pub end: usize,
}

impl Dots {
    /// Finds them in a first block, the root of a tree or not, of directory `ino`.
    pub fn find(block: &[u8], ino: Ino, inodes_count: u32) -> Result<Self, Flaw> {
        let mut entries = Entries {
            block,
            at: 0,
            end: block.len(),
            inodes_count,
        };
        let dot = entries.next().ok_or(Flaw::DirDot { at: 0 })??;
        if dot.name != b"." || dot.ino != Some(ino) {
            return Err(Flaw::DirDot { at: 0 });
        }
        let missing = Flaw::DirDotDot {
            at: place(dot.end()),
        };
        let dotdot = entries.next().ok_or(missing)??;
        match dotdot.ino {
            Some(parent) if dotdot.name == b".." => Ok(Self {
                parent,
                parent_at: dotdot.at,
                end: dotdot.end(),
            }),
            _ => Err(missing),
        }
    }
}

/// A name that is looked for.
struct Name<'a> {
    bytes: &'a [u8],
    /// Its last four bytes, if it has so many: names of one directory differ there more often than where they begin.
    last: u32,
    /// Those of them that count: all or none.
    mask: u32,
}

impl<'a> Name<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let (last, mask) = match bytes.last_chunk() {
            Some(last) => (u32::from_le_bytes(*last), u32::MAX),
            None => (0, 0),
        };
        Self { bytes, last, mask }
    }
}

/// A record as it is in a block, whatever it is worth ([`DirLeafFormat::first`]).
struct Passed<'a> {
    rec_len: usize,
    /// The fields before the name.
    header: u64,
    /// The records from here on.
    bytes: &'a [u8],
}

impl Passed<'_> {
    #[inline(always)]
    fn is_used(&self) -> bool {
        self.header as u32 != 0
    }

    #[inline(always)]
    fn name_len(&self) -> usize {
        (self.header >> 48) as usize & 0xff
    }

    /// Bytes that the record cannot do without.
    #[inline(always)]
    fn needs(&self) -> usize {
        match self.is_used() {
            true => rec_len_for(self.name_len()),
            false => 0,
        }
    }

    #[inline(always)]
    fn has(&self, name: &Name<'_>) -> bool {
        let len = self.name_len();
        // The four bytes before the end of the name, which are some before the name if it is shorter.
        let last = || {
            let last = self.bytes.get(len.saturating_add(HEADER_LEN - 4)..)?;
            Some(u32::from_le_bytes(*last.first_chunk()?))
        };
        len == name.bytes.len()
            && last().is_some_and(|last| last & name.mask == name.last)
            && self.is_used()
            && self.bytes.get(HEADER_LEN..len.saturating_add(HEADER_LEN)) == Some(name.bytes)
    }
}

/// How a block of records is checked and sealed. Belongs to one directory.
#[derive(Clone, Copy, Debug)]
pub struct DirLeafFormat {
    /// The directory.
    pub ino: Ino,
    /// Checksum seed of the directory; `None` without metadata checksums, and then blocks have no tail.
    pub seed: Option<CsumSeed>,
    /// Inodes of the file system (`s_inodes_count`).
    pub inodes_count: u32,
    /// Index blocks pass as blocks without entries: for scans of a hashed directory that do not use the
    /// index. They look like one free record as long as the block, or behind `..` in the first block.
    pub allow_index: bool,
}

impl DirLeafFormat {
    /// Where the records end and the tail, if any, begins.
    pub fn end(&self, block: &[u8]) -> usize {
        match self.seed {
            Some(_) => block.len().saturating_sub(TAIL_LEN),
            None => block.len(),
        }
    }

    /// The records of `block` from byte `at` on, where one has to start.
    pub fn entries_from<'a>(&self, block: &'a [u8], at: usize) -> Entries<'a> {
        Entries {
            block,
            at,
            end: self.end(block),
            inodes_count: self.inodes_count,
        }
    }

    /// The records of `block`.
    pub fn entries<'a>(&self, block: &'a [u8]) -> Entries<'a> {
        self.entries_from(block, 0)
    }

    /// Looks for the first record for which `f` is true, in a block that was checked.
    ///
    /// What is passed is not checked again, but that the chain goes on and ends where it has to; what is found is.
    #[inline(always)]
    fn first<'a>(
        &self,
        block: &'a [u8],
        mut f: impl FnMut(Passed<'a>) -> bool,
    ) -> Result<Option<DirEntry<'a>>, Flaw> {
        let end = self.end(block);
        let mut bytes = block.get(..end).unwrap_or(&[]);
        while let Some(header) = bytes.first_chunk() {
            let header = u64::from_le_bytes(*header);
            let raw = (header >> 32) as u16;
            let rec_len = match raw as usize {
                // All but the length of a block of 64 KiB, which is looked at apart with what is no length.
                len @ LEAST_REC_LEN..=0xfffc if len % 4 == 0 => len,
                _ => rec_len_from_disk(raw, block.len()),
            };
            let record = Passed {
                rec_len,
                header,
                bytes,
            };
            if f(record) {
                let at = end.saturating_sub(bytes.len());
                return self.entries_from(block, at).next().transpose();
            }
            match bytes.get(rec_len..) {
                Some(behind) if rec_len >= LEAST_REC_LEN => bytes = behind,
                _ => break,
            }
        }
        match bytes.is_empty() {
            true => Ok(None),
            // Says what is wrong there.
            false => self
                .entries(block)
                .find_map(Result::err)
                .map_or(Ok(None), Err),
        }
    }

    /// Finds the record in use with this name, in a block that was checked.
    pub fn find<'a>(&self, block: &'a [u8], name: &[u8]) -> Result<Option<DirEntry<'a>>, Flaw> {
        let name = Name::new(name);
        self.first(block, |record| record.has(&name))
    }

    /// Finds the first record that can do without `wanted` bytes, or is in use with this name, in a block that was
    /// checked.
    pub fn find_room<'a>(
        &self,
        block: &'a [u8],
        name: &[u8],
        wanted: usize,
    ) -> Result<Option<DirEntry<'a>>, Flaw> {
        let name = Name::new(name);
        self.first(block, |record| {
            record.rec_len >= record.needs().saturating_add(wanted) || record.has(&name)
        })
    }

    /// Finds the record at byte `at` of a block that was checked, and where the one before it starts.
    pub fn find_at<'a>(
        &self,
        block: &'a [u8],
        at: usize,
    ) -> Result<Option<(Option<usize>, DirEntry<'a>)>, Flaw> {
        let end = self.end(block);
        let mut before = None;
        let found = self.first(block, |record| {
            let start = end.saturating_sub(record.bytes.len());
            if start < at {
                before = Some(start);
            }
            start >= at
        })?;
        Ok(found
            .filter(|entry| entry.at == at)
            .map(|entry| (before, entry)))
    }

    /// Makes `block` one free record, with a tail if blocks have one.
    pub fn clear(&self, block: &mut [u8]) {
        block.fill(0);
        let end = self.end(block);
        // Both fit, as a block has 1 KiB at least.
        let _ = put_entry(block, 0, end, None, None, &[]);
        self.put_tail(block);
    }

    /// Writes the tail, if blocks have one, with no checksum yet.
    pub fn put_tail(&self, block: &mut [u8]) {
        if self.seed.is_some() {
            if let Some(tail) = block.last_chunk_mut::<TAIL_LEN>() {
                *tail = [0, 0, 0, 0, TAIL_LEN as u8, 0, 0, TAIL_TYPE, 0, 0, 0, 0];
            }
        }
    }

    /// Whether `block` is laid out as an index block: what a scan of records must skip.
    pub fn is_index(&self, block: &[u8]) -> bool {
        is_index_node(block) || is_index_root(block)
    }
}

impl Format for DirLeafFormat {
    const KIND: BlockKind = BlockKind::DirLeaf;

    fn owner(&self) -> Option<Ino> {
        Some(self.ino)
    }

    fn verify(&self, _nr: PhysBlock, block: &[u8]) -> Result<(), Flaw> {
        if self.allow_index && self.is_index(block) {
            return Ok(());
        }
        if let Some(seed) = self.seed {
            let Some((records, tail)) = block.split_last_chunk::<TAIL_LEN>() else {
                return Err(Flaw::TooShort);
            };
            let [0, 0, 0, 0, 12, 0, 0, TAIL_TYPE, c0, c1, c2, c3] = *tail else {
                return Err(Flaw::DirNoTail);
            };
            if seed.checksum(records) != u32::from_le_bytes([c0, c1, c2, c3]) {
                return Err(Flaw::Checksum);
            }
        }
        for entry in self.entries(block) {
            entry?;
        }
        Ok(())
    }

    fn seal(&self, _nr: PhysBlock, block: &mut [u8]) {
        if let Some(seed) = self.seed {
            if let Some((records, tail)) = block.split_last_chunk_mut::<TAIL_LEN>() {
                let [c0, c1, c2, c3] = seed.checksum(records).to_le_bytes();
                if let Some(sum) = tail.last_chunk_mut::<4>() {
                    *sum = [c0, c1, c2, c3];
                }
            }
        }
    }
}
