// SPDX-License-Identifier: GPL-2.0

//! Damage: changes to an image that know what is where, each of them told in words.
//!
//! All choices come from bytes that are given: libFuzzer's, or those of a generator with a seed. The same bytes make
//! the same changes to the same image.

use crate::fields::{fields, Field};
use crate::image::Edit;
use crate::seal::seal;
use crate::survey::{Kind, Place, Survey};
use arbitrary::{Result, Unstructured};

/// How often a kind is chosen. A mount that fails at once finds little, so what it reads first is rare.
const WEIGHTS: [(Kind, u32); 17] = [
    (Kind::Super, 8),
    (Kind::GroupDesc, 8),
    (Kind::BlockBitmap, 6),
    (Kind::InodeBitmap, 6),
    (Kind::Inode, 30),
    (Kind::ExtentNode, 16),
    (Kind::Quota, 4),
    (Kind::DirLeaf, 16),
    (Kind::DirRoot, 10),
    (Kind::DirNode, 8),
    (Kind::Xattr, 5),
    (Kind::Symlink, 2),
    (Kind::Orphan, 6),
    (Kind::JournalSuper, 4),
    (Kind::JournalDescriptor, 5),
    (Kind::JournalRevoke, 3),
    (Kind::JournalCommit, 3),
];

/// Who reads the damaged image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The core alone, which leaves what is in the journal to jbd2.
    Core,
    /// The module.
    Module,
}

impl Reader {
    fn reads(self, kind: Kind) -> bool {
        use Kind::{JournalCommit, JournalDescriptor, JournalRevoke, JournalSuper};
        let journal = [
            JournalSuper,
            JournalDescriptor,
            JournalRevoke,
            JournalCommit,
        ];
        self == Self::Module || !journal.contains(&kind)
    }
}

/// Damages the image, as `u` says, where `reader` looks. Gives a line for each change.
///
/// # Errors
///
/// None that matter: without bytes all choices are the first.
pub fn mutate<'i>(
    survey: &Survey<'i>,
    edit: &mut Edit<'i>,
    u: &mut Unstructured<'_>,
    reader: Reader,
) -> Result<Vec<String>> {
    let mut told = Vec::new();
    let mut touched: Vec<Place> = Vec::new();
    let count = match u.int_in_range(0..=9)? {
        0 => u.int_in_range(4..=16)?,
        1..=4 => 1,
        5..=7 => 2,
        _ => 3,
    };
    for _ in 0..count {
        let mut mutation = Mutation {
            survey,
            edit,
            u,
            reader,
            touched: &mut touched,
        };
        told.push(mutation.any()?);
    }
    let seals = match u.int_in_range(0..=19)? {
        0 => {
            told.push("checksums left wrong".to_string());
            false
        }
        _ => true,
    };
    let counts = !u.ratio(1, 4)?;
    if seals {
        // What an inode has is sealed with the inode's generation.
        let owners: Vec<u32> = touched
            .iter()
            .filter(|p| p.kind == Kind::Inode)
            .map(|p| p.ino)
            .collect();
        for ino in owners {
            touched.extend(survey.of_inode(ino));
        }
        // First what has its checksum in a descriptor.
        touched.sort_by_key(|p| (p.kind == Kind::GroupDesc, p.at));
        touched.dedup_by_key(|p| (p.kind, p.at));
        for place in &touched {
            seal(survey, edit, place, counts);
        }
    }
    Ok(told)
}

struct Mutation<'m, 'i, 'u, 'd> {
    survey: &'m Survey<'i>,
    edit: &'m mut Edit<'i>,
    u: &'m mut Unstructured<'u>,
    reader: Reader,
    touched: &'d mut Vec<Place>,
}

impl Mutation<'_, '_, '_, '_> {
    fn any(&mut self) -> Result<String> {
        match self.u.int_in_range(0..=31)? {
            0..=22 => self.field(),
            23..=24 => self.bits(),
            25..=26 => self.copy(),
            27 => self.fill(),
            28 => self.noise(),
            29 => self.chain_orphan(),
            30 => self.cross_link(),
            _ => self.swap(),
        }
    }

    /// Some structure.
    fn place(&mut self) -> Result<Place> {
        let here = |(kind, _): &&(Kind, u32)| {
            self.reader.reads(*kind) && self.survey.by_kind.contains_key(kind)
        };
        let total: u32 = WEIGHTS.iter().filter(here).map(|(_, weight)| weight).sum();
        let mut rest = self.u.int_in_range(0..=total - 1)?;
        let mut chosen = Kind::Super;
        for (kind, weight) in WEIGHTS.iter().filter(here) {
            chosen = *kind;
            match rest.checked_sub(*weight) {
                Some(less) => rest = less,
                None => break,
            }
        }
        self.of_kind(chosen)
    }

    fn of_kind(&mut self, kind: Kind) -> Result<Place> {
        let nr = *self.u.choose(&self.survey.by_kind[&kind])?;
        Ok(self.survey.places[nr])
    }

    fn touch(&mut self, place: Place) {
        self.touched.push(place);
    }

    /// A field gets a value that is likely to matter.
    fn field(&mut self) -> Result<String> {
        let place = self.place()?;
        let all = fields(self.edit, &place);
        let field = *self.u.choose(&all)?;
        let old = field.get(self.edit);
        let value = self.value(&place, &field, old)? & field.max();
        field.set(self.edit, value);
        self.touch(place);
        Ok(format!(
            "{}: {} from {old:#x} to {value:#x}",
            name(&place),
            field.name
        ))
    }

    fn value(&mut self, place: &Place, field: &Field, old: u64) -> Result<u64> {
        let max = field.max();
        let layout = &self.survey.layout;
        let near = |u: &mut Unstructured<'_>, n: u64| -> Result<u64> {
            Ok(n.wrapping_add(u.int_in_range(0..=4)?).wrapping_sub(2))
        };
        Ok(match self.u.int_in_range(0..=19)? {
            0 => 0,
            1 => 1,
            2 => max,
            3 => max - 1,
            4 => max / 2,
            5 => max / 2 + 1,
            6 => old.wrapping_add(1),
            7 => old.wrapping_sub(1),
            8..=10 => old ^ 1 << self.u.int_in_range(0..=8 * field.width as u32 - 1)?,
            11 => old.wrapping_mul(2),
            12 => old / 2,
            13 => self.u.arbitrary()?,
            14 => near(self.u, layout.block_size().bytes().into())?,
            15 => near(self.u, layout.blocks_count())?,
            16 => near(self.u, layout.inodes_count().into())?,
            17 => *self.u.choose(&self.survey.blocks)?,
            18 => match self.u.int_in_range(0..=3)? {
                0 => place.ino.into(),
                1 => self.survey.block_of(place).get(),
                2 => self.u.int_in_range(0..=12)?,
                _ => u64::from(*self.u.choose(&self.survey.inodes)?),
            },
            _ => {
                // The value of the same field elsewhere.
                let other = self.of_kind(place.kind)?;
                let there = Field {
                    at: other.at + (field.at - place.at),
                    ..*field
                };
                there.get(self.edit)
            }
        })
    }

    /// A few bits are flipped, anywhere.
    fn bits(&mut self) -> Result<String> {
        let place = self.place()?;
        let count = self.u.int_in_range(1..=8)?;
        for _ in 0..count {
            let at = place.at + self.u.int_in_range(0..=place.len as u64 - 1)?;
            let bit = self.u.int_in_range(0..=7)?;
            let byte = self.edit.get(at, 1) ^ 1 << bit;
            self.edit.set(at, 1, byte);
        }
        self.touch(place);
        Ok(format!("{}: {count} bits flipped", name(&place)))
    }

    /// One structure becomes a copy of another of its kind.
    fn copy(&mut self) -> Result<String> {
        let to = self.place()?;
        let from = self.of_kind(to.kind)?;
        let bytes = self.edit.read(from.at, from.len.min(to.len));
        self.edit.write(to.at, &bytes);
        self.touch(to);
        Ok(format!("{}: a copy of {}", name(&to), name(&from)))
    }

    /// Two structures of a kind change places.
    fn swap(&mut self) -> Result<String> {
        let a = self.place()?;
        let b = self.of_kind(a.kind)?;
        let len = a.len.min(b.len);
        let (of_a, of_b) = (self.edit.read(a.at, len), self.edit.read(b.at, len));
        self.edit.write(a.at, &of_b);
        self.edit.write(b.at, &of_a);
        self.touch(a);
        self.touch(b);
        Ok(format!("{}: swapped with {}", name(&a), name(&b)))
    }

    /// From somewhere to the end, all bytes become the same.
    fn fill(&mut self) -> Result<String> {
        let place = self.place()?;
        let from = match self.u.ratio(1, 2)? {
            true => 0,
            false => self.u.int_in_range(0..=place.len - 1)?,
        };
        let byte = *self.u.choose(&[0, 0xff, 0x20])?;
        self.edit
            .write(place.at + from as u64, &vec![byte; place.len - from]);
        self.touch(place);
        Ok(format!(
            "{}: bytes from {from:#x} on are {byte:#x}",
            name(&place)
        ))
    }

    /// A run of bytes becomes any.
    fn noise(&mut self) -> Result<String> {
        let place = self.place()?;
        let from = self.u.int_in_range(0..=place.len - 1)?;
        let len = self.u.int_in_range(1..=32)?.min(place.len - from);
        let bytes = self.u.bytes(len.min(self.u.len()))?.to_vec();
        self.edit.write(place.at + from as u64, &bytes);
        self.touch(place);
        Ok(format!("{}: noise at {from:#x}", name(&place)))
    }

    /// The list of orphans begins with some inode, and goes on, perhaps in a circle.
    fn chain_orphan(&mut self) -> Result<String> {
        let head = self.of_kind(Kind::Super)?;
        let mut at = head.at + 0xe8;
        let mut told = "orphan list:".to_string();
        self.touch(head);
        for _ in 0..self.u.int_in_range(1..=4)? {
            let place = self.of_kind(Kind::Inode)?;
            self.edit.set(at, 4, place.ino.into());
            if self.u.ratio(1, 2)? {
                // An orphan as a rule has no links.
                self.edit.set(place.at + 0x1a, 2, 0);
            }
            at = place.at + 0x14;
            self.touch(place);
            told += &format!(" {}", place.ino);
        }
        Ok(told)
    }

    /// What one extent or index entry of an inode leads to is what another one leads to.
    fn cross_link(&mut self) -> Result<String> {
        let to = self.of_kind(Kind::Inode)?;
        let from = self.of_kind(Kind::Inode)?;
        let bytes = self.edit.read(from.at + 0x28, 60);
        self.edit.write(to.at + 0x28, &bytes);
        if self.u.ratio(1, 2)? {
            let sectors = self.edit.get(from.at + 0x1c, 4);
            self.edit.set(to.at + 0x1c, 4, sectors);
        }
        if self.u.ratio(1, 2)? {
            let size = self.edit.get(from.at + 4, 4);
            self.edit.set(to.at + 4, 4, size);
        }
        self.touch(to);
        Ok(format!("{}: the blocks of {}", name(&to), name(&from)))
    }
}

/// A structure in words.
fn name(place: &Place) -> String {
    match place.kind {
        Kind::Super => "super block".to_string(),
        Kind::GroupDesc | Kind::BlockBitmap | Kind::InodeBitmap => {
            format!("{:?} of group {}", place.kind, place.group)
        }
        Kind::Inode => format!("inode {}", place.ino),
        kind => format!("{kind:?} of inode {} at {:#x}", place.ino, place.at),
    }
}
