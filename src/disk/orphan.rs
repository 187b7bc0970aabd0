// SPDX-License-Identifier: GPL-2.0

//! A block of the orphan file (Documentation/filesystems/ext4/orphan.rst): slots with inode numbers, zero for a
//! free one, and a tail with a magic number and a checksum.

use super::{CsumSeed, Ino, PhysBlock};
use crate::store::{Flaw, Format, Kind};
use core::mem::size_of;
use zerocopy::byteorder::little_endian::U32;
use zerocopy::FromBytes;
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `ob_magic`.
const MAGIC: u32 = 0x0b10_ca04;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Tail {
    magic: U32,
    checksum: U32,
}

/// How many slots a block of `block_size` bytes has.
pub const fn slots_per_block(block_size: u32) -> u32 {
    block_size.saturating_sub(size_of::<Tail>() as u32) / size_of::<U32>() as u32
}

fn split(bytes: &[u8]) -> Option<(&[U32], &Tail)> {
    let (slots, tail) = Tail::ref_from_suffix(bytes).ok()?;
    Some((<[U32]>::ref_from_bytes(slots).ok()?, tail))
}

fn split_mut(bytes: &mut [u8]) -> Option<(&mut [U32], &mut Tail)> {
    let (slots, tail) = Tail::mut_from_suffix(bytes).ok()?;
    Some((<[U32]>::mut_from_bytes(slots).ok()?, tail))
}

/// The orphans in a block, each with its slot. What is no inode of the file system is for the caller to find out.
pub fn orphans(bytes: &[u8]) -> impl Iterator<Item = (usize, Ino)> + '_ {
    let slots = split(bytes).map_or(&[] as &[U32], |(slots, _)| slots);
    slots
        .iter()
        .enumerate()
        .filter_map(|(i, slot)| Some((i, Ino::new(slot.get())?)))
}

/// Puts an orphan into a free slot, if there is one. Gives the slot.
pub fn insert(bytes: &mut [u8], ino: Ino) -> Option<usize> {
    let (slots, _) = split_mut(bytes)?;
    let (i, slot) = slots
        .iter_mut()
        .enumerate()
        .find(|(_, slot)| slot.get() == 0)?;
    slot.set(ino.get());
    Some(i)
}

/// Makes the slot free in which `ino` is. False where it is not there.
pub fn remove(bytes: &mut [u8], slot: usize, ino: Ino) -> bool {
    let slot = split_mut(bytes).and_then(|(slots, _)| slots.get_mut(slot));
    match slot {
        Some(slot) if slot.get() == ino.get() => {
            slot.set(0);
            true
        }
        _ => false,
    }
}

/// A block of the orphan file.
#[derive(Clone, Copy, Debug)]
pub struct OrphanFormat {
    /// The seed of the orphan file's inode; `None` where metadata has no checksums.
    pub seed: Option<CsumSeed>,
}

impl OrphanFormat {
    fn checksum(&self, nr: PhysBlock, bytes: &[u8]) -> Option<u32> {
        let len = bytes.len().checked_sub(size_of::<Tail>())?;
        let sum = self
            .seed?
            .start()
            .with(&nr.get().to_le_bytes())
            .with(bytes.get(..len)?);
        Some(sum.finish())
    }
}

impl Format for OrphanFormat {
    const KIND: Kind = Kind::Orphan;

    fn verify(&self, nr: PhysBlock, bytes: &[u8]) -> Result<(), Flaw> {
        let (_, tail) = split(bytes).ok_or(Flaw("bad block size"))?;
        if tail.magic.get() != MAGIC {
            return Err(Flaw("wrong magic number"));
        }
        match self.checksum(nr, bytes) {
            Some(sum) if sum != tail.checksum.get() => Err(Flaw("wrong checksum")),
            _ => Ok(()),
        }
    }

    fn seal(&self, nr: PhysBlock, bytes: &mut [u8]) {
        let sum = self.checksum(nr, bytes).unwrap_or(0);
        if let Some((_, tail)) = split_mut(bytes) {
            tail.magic.set(MAGIC);
            tail.checksum.set(sum);
        }
    }
}
