// SPDX-License-Identifier: GPL-2.0

//! A block of the orphan file (Documentation/filesystems/ext4/orphan.rst): slots with inode numbers, zero for a
//! free one, and a tail with a magic number and a checksum.

use super::{CsumSeed, Flaw, Ino, PhysBlock};
use crate::disk::{BlockKind, Format};

/// `ob_magic`.
const MAGIC: u32 = 0x0b10_ca04;
/// Bytes of the tail: `ob_magic` and `ob_checksum`.
const TAIL_SIZE: usize = 8;
/// Bytes of a slot.
const SLOT_SIZE: usize = 4;

/// How many slots a block of `block_size` bytes has.
pub const fn slots_per_block(block_size: u32) -> u32 {
    block_size.saturating_sub(TAIL_SIZE as u32) / SLOT_SIZE as u32
}

/// The inode number in a slot, zero for none.
fn get(slot: &[u8]) -> u32 {
    slot.first_chunk().map_or(0, |b| u32::from_le_bytes(*b))
}

/// How many orphans there are in a block.
pub fn used_slots(bytes: &[u8]) -> usize {
    orphans(bytes).fold(0, |n: usize, _| n.saturating_add(1))
}

/// The orphans in a block, each with its slot. What is no inode of the file system is for the caller to find out.
pub fn orphans(bytes: &[u8]) -> impl Iterator<Item = (usize, Ino)> + '_ {
    let slots = bytes
        .split_last_chunk::<TAIL_SIZE>()
        .map(|(slots, _)| slots);
    slots
        .unwrap_or_default()
        .chunks_exact(SLOT_SIZE)
        .zip(0..usize::MAX)
        .filter_map(|(slot, i)| Some((i, Ino::new(get(slot))?)))
}

fn slots_mut(bytes: &mut [u8]) -> impl Iterator<Item = &mut [u8]> {
    let slots = bytes
        .split_last_chunk_mut::<TAIL_SIZE>()
        .map(|(slots, _)| slots);
    slots.unwrap_or_default().chunks_exact_mut(SLOT_SIZE)
}

/// Puts an orphan into a free slot, if there is one. Gives the slot.
pub fn insert(bytes: &mut [u8], ino: Ino) -> Option<usize> {
    let (slot, i) = slots_mut(bytes)
        .zip(0..usize::MAX)
        .find(|(slot, _)| get(slot) == 0)?;
    *slot.first_chunk_mut()? = ino.get().to_le_bytes();
    Some(i)
}

/// Makes the slot free in which `ino` is. False where it is not there.
pub fn remove(bytes: &mut [u8], slot: usize, ino: Ino) -> bool {
    match slots_mut(bytes).nth(slot) {
        Some(slot) if get(slot) == ino.get() => {
            slot.fill(0);
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
    fn checksum(&self, nr: PhysBlock, slots: &[u8]) -> Option<u32> {
        let sum = self.seed?.start().with(&nr.get().to_le_bytes()).with(slots);
        Some(sum.finish())
    }

    /// What the tail must be.
    fn tail(&self, nr: PhysBlock, slots: &[u8]) -> [u8; TAIL_SIZE] {
        let sum = self.checksum(nr, slots).unwrap_or(0);
        (u64::from(sum) << 32 | u64::from(MAGIC)).to_le_bytes()
    }
}

impl Format for OrphanFormat {
    const KIND: BlockKind = BlockKind::Orphan;

    fn verify(&self, nr: PhysBlock, bytes: &[u8]) -> Result<(), Flaw> {
        let (slots, tail) = bytes.split_last_chunk().ok_or(Flaw::TooShort)?;
        let tail = u64::from_le_bytes(*tail);
        let magic = tail as u32;
        if magic != MAGIC {
            return Err(Flaw::OrphanMagic { magic });
        }
        match self.checksum(nr, slots) {
            Some(sum) if sum != (tail >> 32) as u32 => Err(Flaw::Checksum),
            _ => Ok(()),
        }
    }

    fn seal(&self, nr: PhysBlock, bytes: &mut [u8]) {
        if let Some((slots, tail)) = bytes.split_last_chunk_mut() {
            *tail = self.tail(nr, slots);
        }
    }
}
