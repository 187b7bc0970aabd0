// SPDX-License-Identifier: GPL-2.0

//! What is done to one block of directory records: find, insert, remove, and divide by hash.
//!
//! Pure functions on the bytes of a block; no I/O, no locks. A block that is not sound is reported and
//! left as it is.

use crate::disk::dirent::{put_entry, rec_len_for, set_rec_len, DirLeafFormat};
use crate::disk::hash::NameHasher;
use crate::disk::{FileType, Flaw, Ino};
use crate::sort::sort_by;
use kernel::alloc::flags::GFP_KERNEL;
use kernel::alloc::KVec;
use kernel::error::Result;

/// A name to be inserted, and what it leads to.
#[derive(Clone, Copy)]
pub(super) struct NewEntry<'a> {
    pub(super) name: &'a [u8],
    pub(super) ino: Ino,
    pub(super) file_type: Option<FileType>,
}

impl NewEntry<'_> {
    /// Bytes that its record needs.
    fn needs(&self) -> usize {
        rec_len_for(self.name.len())
    }
}

/// Where in a block a name was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FoundName {
    pub(super) at: usize,
    pub(super) ino: Ino,
    pub(super) file_type: Option<FileType>,
}

/// Looks for `name`.
pub(super) fn find(
    format: &DirLeafFormat,
    block: &[u8],
    name: &[u8],
) -> Result<Option<FoundName>, Flaw> {
    if format.allow_index && format.is_index(block) {
        return Ok(None);
    }
    let found = format.find(block, name)?;
    Ok(found.and_then(|entry| {
        Some(FoundName {
            at: entry.at,
            ino: entry.ino?,
            file_type: entry.file_type,
        })
    }))
}

/// Whether any name but `.` and `..` is in the block; the records before byte `from` are not looked at.
pub(super) fn has_names(format: &DirLeafFormat, block: &[u8], from: usize) -> Result<bool, Flaw> {
    if format.allow_index && format.is_index(block) {
        return Ok(false);
    }
    for entry in format.entries_from(block, from) {
        if entry?.ino.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Room for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// The record that has it.
    at: usize,
    /// Its length.
    rec_len: usize,
    /// What it needs itself.
    needs: usize,
}

/// What a search for room came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RoomSearch {
    /// There is some.
    At(Gap),
    /// None is large enough.
    Full,
    /// The name was met on the way.
    Exists,
}

/// Looks for the first room for `name`.
pub(super) fn room(format: &DirLeafFormat, block: &[u8], name: &[u8]) -> Result<RoomSearch, Flaw> {
    let Some(entry) = format.find_room(block, name, rec_len_for(name.len()))? else {
        return Ok(RoomSearch::Full);
    };
    if entry.ino.is_some() && entry.name == name {
        return Ok(RoomSearch::Exists);
    }
    Ok(RoomSearch::At(Gap {
        at: entry.at,
        rec_len: entry.rec_len,
        needs: entry.needs(),
    }))
}

/// Puts a record where [`room`] found that it fits.
pub(super) fn insert_at(block: &mut [u8], slot: Gap, new: &NewEntry<'_>) -> Option<()> {
    let at = slot.at.checked_add(slot.needs)?;
    let rec_len = slot.rec_len.checked_sub(slot.needs)?;
    put_entry(block, at, rec_len, Some(new.ino), new.file_type, new.name)?;
    match slot.needs {
        0 => Some(()),
        needs => set_rec_len(block, slot.at, needs),
    }
}

/// Frees the record at byte `at`: the one before it takes its bytes over, and they are wiped.
///
/// Gives `false` where no record starts there.
pub(super) fn remove(format: &DirLeafFormat, block: &mut [u8], at: usize) -> Result<bool, Flaw> {
    let Some((before, entry)) = format.find_at(block, at)? else {
        return Ok(false);
    };
    let rec_len = entry.rec_len;
    if let Some(record) = block.get_mut(at..at.saturating_add(rec_len)) {
        record.fill(0);
    }
    let done = match before {
        Some(before) => set_rec_len(
            block,
            before,
            at.saturating_sub(before).saturating_add(rec_len),
        ),
        None => set_rec_len(block, at, rec_len),
    };
    Ok(done.is_some())
}

/// A record on its way to a new place.
#[derive(Clone, Copy)]
struct Record {
    hash: u32,
    /// Where it is in the old block; `None` for the new one.
    at: Option<u32>,
    needs: u32,
}

/// The records of a full block and a new one, in the order of their hashes.
pub(super) struct Sorted<'a> {
    format: DirLeafFormat,
    block: &'a [u8],
    new: NewEntry<'a>,
    items: KVec<Record>,
    total: usize,
}

/// Where [`Sorted`] is divided.
pub(super) struct Division {
    /// Records of the lower block.
    items: usize,
    /// The least hash of the upper block, with bit 0 set where the lower one has records of that hash too.
    pub(super) hash: u32,
}

/// Whether something went wrong with the block or with memory.
pub(super) enum SortError {
    Bad(Flaw),
    Memory(kernel::error::Error),
}

impl<'a> Sorted<'a> {
    /// `block` is a copy, as hashing takes longer than a buffer may be locked.
    pub(super) fn new(
        format: DirLeafFormat,
        block: &'a [u8],
        new: NewEntry<'a>,
        hasher: &NameHasher,
    ) -> Result<Self, SortError> {
        let mut items = KVec::new();
        let mut total: usize = 0;
        let mut push = |hash, at, needs: usize| {
            total = total.saturating_add(needs);
            let needs = needs as u32;
            items
                .push(Record { hash, at, needs }, GFP_KERNEL)
                .map_err(|e| SortError::Memory(e.into()))
        };
        for entry in format.entries(block) {
            let entry = entry.map_err(SortError::Bad)?;
            if entry.ino.is_some() {
                let hash = hasher.hash(entry.name).major;
                push(hash, Some(entry.at as u32), entry.needs())?;
            }
        }
        push(hasher.hash(new.name).major, None, new.needs())?;
        sort_by(&mut items, |a, b| (a.hash, a.at) < (b.hash, b.at)).map_err(SortError::Memory)?;
        Ok(Self {
            format,
            block,
            new,
            items,
            total,
        })
    }

    /// Divides the records in two, about equal in bytes.
    pub(super) fn divide(&self) -> Option<Division> {
        let end = self.format.end(self.block);
        let mut lower: usize = 0;
        let mut last: Option<&Record> = None;
        for (items, item) in self.items.iter().enumerate() {
            let needs = item.needs as usize;
            match last {
                Some(last) if lower.saturating_add(needs / 2) >= self.total / 2 => {
                    let upper = self.total.saturating_sub(lower);
                    let continued = (last.hash == item.hash) as u32;
                    return (lower <= end && upper <= end).then_some(Division {
                        items,
                        hash: item.hash | continued,
                    });
                }
                _ => {}
            }
            lower = lower.saturating_add(needs);
            last = Some(item);
        }
        None
    }

    /// Writes the records below the division to `lower` and the others to `upper`. `None` is a bug: they were read and
    /// their sizes counted.
    pub(super) fn write_divided(
        &self,
        division: &Division,
        lower: &mut [u8],
        upper: &mut [u8],
    ) -> Option<()> {
        let (low, high) = self.items.split_at_checked(division.items)?;
        self.write(lower, low)?;
        self.write(upper, high)
    }

    /// Makes `to` a block of these records, packed, all the room behind the last one.
    fn write(&self, to: &mut [u8], items: &[Record]) -> Option<()> {
        self.format.clear(to);
        let end = self.format.end(to);
        let mut at: usize = 0;
        let mut left = items.len();
        for item in items {
            left = left.saturating_sub(1);
            let rec_len = match left {
                0 => end.checked_sub(at)?,
                _ => item.needs as usize,
            };
            let record = match item.at {
                None => self.new,
                Some(at) => {
                    let entry = self.format.entries_from(self.block, at as usize).next();
                    let entry = entry?.ok()?;
                    NewEntry {
                        name: entry.name,
                        ino: entry.ino?,
                        file_type: entry.file_type,
                    }
                }
            };
            put_entry(
                to,
                at,
                rec_len,
                Some(record.ino),
                record.file_type,
                record.name,
            )?;
            at = at.saturating_add(rec_len);
        }
        Some(())
    }
}

/// Makes `to`, a new block, hold the records of `from` behind `.` and `..`, which end at byte `start`.
pub(super) fn move_behind_dots(
    format: &DirLeafFormat,
    from: &[u8],
    start: usize,
    to: &mut [u8],
) -> Result<(), Flaw> {
    format.clear(to);
    let end = format.end(to);
    let mut last: Option<(usize, usize)> = None;
    for entry in format.entries_from(from, start) {
        let entry = entry?;
        let Some(ino) = entry.ino else { continue };
        let (at, needs) = (
            last.map_or(0, |(at, len)| at.saturating_add(len)),
            entry.needs(),
        );
        let rest = end.saturating_sub(at);
        // All fit, as they were in a block of the same size.
        let _ = put_entry(to, at, rest, Some(ino), entry.file_type, entry.name);
        if let Some((before, len)) = last {
            let _ = set_rec_len(to, before, len);
        }
        last = Some((at, needs));
    }
    Ok(())
}
