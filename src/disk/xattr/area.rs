// SPDX-License-Identifier: GPL-2.0

//! Extended attributes as they are side by side in an inode or in a block
//! (Documentation/filesystems/ext4/attributes.rst): entries with their names from the beginning on, a word of zeros,
//! and the values from the end on.
//!
//! An [`Area`] was checked ([`Area::check`]) when its inode or block came into memory. What is wrong all the same, as
//! somebody has changed it since, ends the walk along the entries.

use super::HEADER_SIZE;
use crate::disk::bytes::copy;
use crate::disk::{Flaw, Ino};
use core::cmp::Ordering;
use core::mem::size_of;
use core::ops::Range;
use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, IntoBytes};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The most bytes of a value (`XATTR_SIZE_MAX`).
pub const VALUE_MAX: usize = 65536;

/// The most bytes of a value that the format allows, in an inode of its own.
const VALUE_LIMIT: u32 = 1 << 24;

/// The most bytes of a name, without what stands for its prefix.
pub const NAME_MAX: usize = 255;

/// Bytes of the word of zeros behind the last entry.
const END_SIZE: usize = 4;

/// What a name begins with, as a number (`e_name_index`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix(pub u8);

impl Prefix {
    /// `user.`
    pub const USER: Self = Self(1);
    /// `system.posix_acl_access`, the whole name.
    pub const ACL_ACCESS: Self = Self(2);
    /// `system.posix_acl_default`, the whole name.
    pub const ACL_DEFAULT: Self = Self(3);
    /// `trusted.`
    pub const TRUSTED: Self = Self(4);
    /// `security.`
    pub const SECURITY: Self = Self(6);

    /// `gnu.`
    pub const HURD: Self = Self(10);

    /// Whether it is that of an access control list.
    pub fn is_acl(self) -> bool {
        self == Self::ACL_ACCESS || self == Self::ACL_DEFAULT
    }
}

/// The name of an attribute. Ordered as the entries of a block are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    /// What it begins with.
    pub prefix: Prefix,
    /// The rest, at most [`NAME_MAX`] bytes, none of them 0.
    pub rest: &'a [u8],
}

impl Ord for Name<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |name: &Self| (name.prefix, name.rest.len());
        key(self)
            .cmp(&key(other))
            .then_with(|| self.rest.cmp(other.rest))
    }
}

impl PartialOrd for Name<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawEntry {
    name_len: u8,
    prefix: u8,
    value_offset: U16,
    value_inode: U32,
    value_size: U32,
    hash: U32,
}

const ENTRY_SIZE: usize = size_of::<RawEntry>();

const _: () = assert!(ENTRY_SIZE == 16);

/// An attribute in an area.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its name.
    pub name: Name<'a>,
    /// Bytes of its value.
    pub size: u32,
    /// Where the value is, in bytes from the beginning of the area.
    offset: u16,
    /// The inode with the value; 0 where that is in the area.
    inode: u32,
    /// The hash of name and value; 0 in an inode.
    hash: u32,
}

/// The value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Beside the entry.
    Here(&'a [u8]),
    /// In an inode of its own.
    Elsewhere(ValueRef),
}

/// What an entry says of a value that is in an inode of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueRef {
    /// The inode.
    pub ino: Ino,
    /// Bytes of the value, not none.
    pub size: u32,
    /// The hash of the name and of the value's hash.
    pub hash: u32,
}

impl ValueRef {
    /// The value of `name` is in inode `ino`, has `size` bytes, and `hash`.
    pub fn new(name: Name<'_>, ino: Ino, size: u32, hash: u32) -> Self {
        Self {
            ino,
            size,
            hash: entry_hash(name, &hash.to_le_bytes()),
        }
    }

    /// Whether this may be what the entry of `name` says of a value with `hash`. Old kernels took the bytes of names
    /// for signed numbers.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn check(&self, name: Name<'_>, hash: u32) -> Result<(), Flaw> {
        let word = hash.to_le_bytes();
        let expected = entry_hash(name, &word);
        let signed = with_value(name_hash(name, |byte| byte as i8 as u32), &word);
        match self.hash == expected || self.hash == signed {
            true => Ok(()),
            false => Err(Flaw::ValueEntryHash {
                hash: self.hash,
                expected,
            }),
        }
    }
}

impl Entry<'_> {
    /// Its value, if that is in an inode of its own.
    fn elsewhere(&self) -> Option<ValueRef> {
        Some(ValueRef {
            ino: Ino::new(self.inode)?,
            size: self.size,
            hash: self.hash,
        })
    }
}

/// Up to the next multiple of 4. What is behind the largest number does not fit anywhere.
fn padded(len: usize) -> usize {
    len.checked_next_multiple_of(4).unwrap_or(usize::MAX)
}

/// Bytes of an entry with such a name.
fn entry_size(name: &[u8]) -> usize {
    padded(ENTRY_SIZE.saturating_add(name.len()))
}

/// What is at a place where an entry is expected.
enum Step<'a> {
    /// An entry, and where the next one is.
    Entry(Entry<'a>, usize),
    /// The word of zeros.
    End,
    /// Something that does not fit into the area.
    Outside,
}

/// The attributes of an inode or a block. See the top of the file.
#[derive(Clone, Copy)]
pub struct Area<'a> {
    /// What the places of values count from.
    bytes: &'a [u8],
    /// Where the first entry is.
    first: usize,
    /// Whether entries are sorted, and have a hash.
    in_block: bool,
}

impl<'a> Area<'a> {
    /// What is in an inode, behind the magic number.
    pub fn in_inode(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            first: 0,
            in_block: false,
        }
    }

    /// What is in a block: `bytes` are all of it.
    pub fn in_block(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            first: HEADER_SIZE,
            in_block: true,
        }
    }

    /// All of its bytes.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    fn step(self, at: usize) -> Step<'a> {
        let Some(rest) = self.bytes.get(at..) else {
            return Step::Outside;
        };
        match rest.first_chunk::<END_SIZE>() {
            None => return Step::Outside,
            Some([0, 0, 0, 0]) => return Step::End,
            Some(_) => {}
        }
        let Ok((raw, rest)) = RawEntry::ref_from_prefix(rest) else {
            return Step::Outside;
        };
        let Some(name) = rest.get(..raw.name_len.into()) else {
            return Step::Outside;
        };
        let entry = Entry {
            name: Name {
                prefix: Prefix(raw.prefix),
                rest: name,
            },
            size: raw.value_size.get(),
            offset: raw.value_offset.get(),
            inode: raw.value_inode.get(),
            hash: raw.hash.get(),
        };
        Step::Entry(entry, at.saturating_add(entry_size(name)))
    }

    /// The attributes, in the order in which they are there.
    pub fn entries(self) -> impl Iterator<Item = Entry<'a>> {
        let mut at = self.first;
        core::iter::from_fn(move || match self.step(at) {
            Step::Entry(entry, next) => {
                at = next;
                Some(entry)
            }
            Step::End | Step::Outside => None,
        })
    }

    /// How many there are of [`Self::elsewhere`].
    pub fn count_elsewhere(self) -> usize {
        self.elsewhere().fold(0, |count, _| count.saturating_add(1))
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.entries().next().is_none()
    }

    /// Whether all entries lie within the area, with their values behind them, and there is room for all side by side.
    /// `values`: whether values may be in inodes of their own.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn check(self, values: bool) -> Result<(), Flaw> {
        let mut end = self.first;
        loop {
            match self.step(end) {
                Step::Outside => return Err(Flaw::XattrEntry { at: end as u32 }),
                Step::End => break,
                Step::Entry(entry, _) if entry.name.rest.contains(&0) => {
                    return Err(Flaw::XattrName { at: end as u32 });
                }
                Step::Entry(_, next) => end = next,
            }
        }
        let end = end.saturating_add(END_SIZE);
        let mut left = self.bytes.len().saturating_sub(end);
        for entry in self.entries() {
            let (at, size) = (u32::from(entry.offset), entry.size);
            match entry.inode {
                0 => {}
                ino if !values => return Err(Flaw::XattrInode { ino }),
                ino if !(1..=VALUE_LIMIT).contains(&size) => {
                    return Err(Flaw::XattrSize { size, ino });
                }
                _ => continue,
            }
            let len = padded(size as usize);
            let room = self.bytes.len().checked_sub(entry.offset.into());
            let fits = usize::from(entry.offset) >= end && room.is_some_and(|room| len <= room);
            let rest = left.checked_sub(len);
            if size != 0 && !(fits && rest.is_some()) {
                return Err(Flaw::XattrValue { at, size });
            }
            left = rest.unwrap_or(left);
        }
        Ok(())
    }

    /// The attribute of this name.
    pub fn find(self, name: Name<'_>) -> Option<Entry<'a>> {
        self.entries().find(|entry| entry.name == name)
    }

    /// The value of one of its attributes.
    pub fn value(self, entry: &Entry<'_>) -> Option<Value<'a>> {
        if let Some(value) = entry.elsewhere() {
            return Some(Value::Elsewhere(value));
        }
        if entry.size == 0 {
            return Some(Value::Here(&[]));
        }
        let at = usize::from(entry.offset);
        let value = self.bytes.get(at..at.checked_add(entry.size as usize)?)?;
        Some(Value::Here(value))
    }

    /// Where the value of an attribute is that is `len` bytes long, not none, and has no hash: another value of that
    /// length can take its place, and nothing else changes.
    pub fn same_room(self, name: Name<'_>, len: usize) -> Option<Range<usize>> {
        let entry = self.find(name)?;
        let same = entry.inode == 0 && entry.hash == 0 && entry.size as usize == len && len > 0;
        let at = usize::from(entry.offset);
        same.then_some(at..at.checked_add(len)?)
    }

    /// The values that are in inodes of their own.
    pub fn elsewhere(self) -> impl Iterator<Item = ValueRef> + use<'a> {
        self.entries().filter_map(|entry| entry.elsewhere())
    }

    /// `h_hash` of a block with these attributes: 0 where it must not be shared.
    pub fn hash(self) -> u32 {
        let mut hash = 0u32;
        for entry in self.entries() {
            if entry.hash == 0 {
                return 0;
            }
            hash = hash.rotate_left(16) ^ entry.hash;
        }
        hash
    }

    /// Whether `other` has the same attributes.
    pub fn equals(self, other: Area<'_>) -> bool {
        let mut others = other.entries();
        let same = self.entries().all(|mine| {
            others.next().is_some_and(|theirs| {
                mine.name == theirs.name
                    && mine.hash == theirs.hash
                    && self.value(&mine) == other.value(&theirs)
            })
        });
        same && others.next().is_none()
    }

    /// Writes these attributes to `to`, but for `name`, which gets `value` or goes. `to` is as long as the area, and
    /// zero where entries may be.
    ///
    /// Returns where the values begin; `None` where there was no room: `to` has something of all that then.
    pub fn write_with(
        self,
        to: &mut [u8],
        name: Name<'_>,
        value: Option<Value<'_>>,
    ) -> Option<usize> {
        let mut values = to.len();
        let mut writer = Writer {
            at: self.first,
            bytes: to,
            values: &mut values,
        };
        let hash = |value| match value {
            Value::Elsewhere(value) => value.hash,
            Value::Here(value) if self.in_block => entry_hash(name, value),
            Value::Here(_) => 0,
        };
        let mut new = value;
        for entry in self.entries() {
            let comes_here = entry.name == name || self.in_block && entry.name > name;
            if let Some(value) = new.take_if(|_| comes_here) {
                writer.put(name, value, hash(value))?;
            }
            if entry.name == name {
                continue;
            }
            writer.put(entry.name, self.value(&entry)?, entry.hash)?;
        }
        if let Some(value) = new {
            writer.put(name, value, hash(value))?;
        }
        Some(values)
    }
}

/// Attributes on their way to an area.
struct Writer<'a> {
    bytes: &'a mut [u8],
    /// Where the next entry goes.
    at: usize,
    /// Where the values begin that were written.
    values: &'a mut usize,
}

impl Writer<'_> {
    /// Adds an attribute. `None` where there is no room for it.
    fn put(&mut self, name: Name<'_>, value: Value<'_>, hash: u32) -> Option<()> {
        let next = self.at.checked_add(entry_size(name.rest))?;
        let (value, inode, size) = match value {
            Value::Here(value) => (value, 0, u32::try_from(value.len()).ok()?),
            Value::Elsewhere(value) => (Default::default(), value.ino.get(), value.size),
        };
        let start = self.values.checked_sub(padded(value.len()))?;
        if next.checked_add(END_SIZE)? > start {
            return None;
        }
        let offset = if value.is_empty() { 0 } else { start };
        let raw = RawEntry {
            name_len: u8::try_from(name.rest.len()).ok()?,
            prefix: name.prefix.0,
            value_offset: U16::new(u16::try_from(offset).ok()?),
            value_inode: U32::new(inode),
            value_size: U32::new(size),
            hash: U32::new(hash),
        };
        let entry = self.bytes.get_mut(self.at..next)?;
        copy(entry, raw.as_bytes());
        copy(entry.get_mut(ENTRY_SIZE..)?, name.rest);
        copy(self.bytes.get_mut(start..)?, value);
        self.at = next;
        *self.values = start;
        Some(())
    }
}

/// `e_hash` of an entry of a block.
fn entry_hash(name: Name<'_>, value: &[u8]) -> u32 {
    with_value(name_hash(name, u32::from), value)
}

/// The hash of a name, whose bytes stand for the numbers that `number` says.
fn name_hash(name: Name<'_>, number: impl Fn(u8) -> u32) -> u32 {
    let bytes = name.rest.iter();
    bytes.fold(0u32, |hash, byte| hash.rotate_left(5) ^ number(*byte))
}

/// The hash of a name and what follows.
fn with_value(of_name: u32, value: &[u8]) -> u32 {
    value.chunks(4).fold(of_name, |hash, part| {
        let mut word = [0; 4];
        copy(&mut word, part);
        hash.rotate_left(16) ^ u32::from_le_bytes(word)
    })
}
