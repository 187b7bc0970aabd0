// SPDX-License-Identifier: GPL-2.0

//! Block and inode bitmaps: one block a group, one bit a block or inode, least significant bit first, set
//! where used (`Documentation/filesystems/ext4/bitmaps.rst`).
//!
//! The checksum of a bitmap lies in the group's descriptor, so [`Format::seal`] has nothing to do here: who
//! changes a bitmap changes the descriptor in the same transaction, with [`Sum`].
//!
//! # Invariants
//!
//! * [`set`] and [`clear`] change all bits of a range, or none where one of them is not as it must be.
//! * The bits behind the last block or inode of the group are set in a bitmap that was verified.

use crate::disk::bitmap_sum::Sum;
use crate::disk::{BlockKind, Flaw, Format, PhysBlock};

/// The bytes that a range of bits touches: a first one in part, whole ones, a last one in part.
struct ByteSpan {
    first: usize,
    head: u8,
    whole: usize,
    tail: u8,
}

impl ByteSpan {
    /// `None` where the range is empty or not representable.
    fn new(start: u32, len: u32) -> Option<Self> {
        let last = start.checked_add(len.checked_sub(1)?)?;
        let head = 0xff_u8.wrapping_shl(start & 7);
        let tail = 0xff_u8.wrapping_shr(7 ^ (last & 7));
        let first = (start >> 3) as usize;
        let bytes = (last >> 3).wrapping_sub(start >> 3) as usize;
        Some(if bytes == 0 {
            Self {
                first,
                head: head & tail,
                whole: 0,
                tail: 0,
            }
        } else {
            Self {
                first,
                head,
                whole: bytes.wrapping_sub(1),
                tail,
            }
        })
    }

    /// The bytes in one go, for a look.
    fn of<'a>(&self, bits: &'a [u8]) -> Option<(u8, &'a [u8], u8)> {
        let (head, rest) = bits.get(self.first..)?.split_first()?;
        let (whole, rest) = rest.split_at_checked(self.whole)?;
        let tail = if self.tail == 0 { 0 } else { *rest.first()? };
        Some((*head, whole, tail))
    }

    /// Gives `f` every byte with the bits of the range in it.
    fn change(&self, bits: &mut [u8], f: impl Fn(&mut u8, u8)) {
        let Some((head, rest)) = bits.get_mut(self.first..).and_then(|b| b.split_first_mut())
        else {
            return;
        };
        f(head, self.head);
        let Some((whole, rest)) = rest.split_at_mut_checked(self.whole) else {
            return;
        };
        whole.iter_mut().for_each(|b| f(b, 0xff));
        if let Some(tail) = rest.first_mut() {
            f(tail, self.tail);
        }
    }
}

/// Sets `len` bits from `start` on. `false`, and nothing changed, where one is set already or outside.
#[must_use]
pub fn set(bits: &mut [u8], start: u32, len: u32) -> bool {
    let Some(span) = ByteSpan::new(start, len) else {
        return false;
    };
    let clear = span.of(bits).is_some_and(|(head, whole, tail)| {
        head & span.head == 0 && whole.iter().all(|b| *b == 0) && tail & span.tail == 0
    });
    if clear {
        span.change(bits, |byte, mask| *byte |= mask);
    }
    clear
}

/// Clears `len` bits from `start` on. `false`, and nothing changed, where one is clear already or outside.
#[must_use]
pub fn clear(bits: &mut [u8], start: u32, len: u32) -> bool {
    let Some(span) = ByteSpan::new(start, len) else {
        return false;
    };
    let set = span.of(bits).is_some_and(|(head, whole, tail)| {
        head & span.head == span.head
            && whole.iter().all(|b| *b == 0xff)
            && tail & span.tail == span.tail
    });
    if set {
        span.change(bits, |byte, mask| *byte &= !mask);
    }
    set
}

/// Sets all bits from `start` to the end of the bitmap, whatever they were.
pub fn pad(bits: &mut [u8], start: u32) {
    let Some((head, rest)) = bits
        .get_mut((start >> 3) as usize..)
        .and_then(|b| b.split_first_mut())
    else {
        return;
    };
    *head |= 0xff_u8.wrapping_shl(start & 7);
    rest.fill(0xff);
}

/// Whether all bits from `start` to the end of the bitmap are set.
fn is_padded(bits: &[u8], start: u32) -> bool {
    match bits
        .get((start >> 3) as usize..)
        .and_then(|b| b.split_first())
    {
        Some((head, rest)) => {
            let mask = 0xff_u8.wrapping_shl(start & 7);
            head & mask == mask && rest.iter().all(|b| *b == 0xff)
        }
        None => true,
    }
}

/// How many of all bits are clear.
pub fn count_clear(bits: &[u8]) -> u32 {
    bits.iter()
        .fold(0_u32, |n, b| n.wrapping_add(b.count_zeros()))
}

/// The first clear bit at `from` or later.
pub fn first_clear(bits: &[u8], from: u32) -> Option<u32> {
    let skip = from >> 3;
    let (head, rest) = bits.get(skip as usize..)?.split_first()?;
    let below = 0xff_u8.wrapping_shl(from & 7);
    let (byte, at) = if head | !below != 0xff {
        (head | !below, skip)
    } else {
        // Eight at a time: in a group that is half full this is most of what it takes to make a file.
        let words = rest.chunks_exact(8);
        let is_full = |word: &&[u8]| **word == [0xff; 8];
        let full = words.take_while(is_full).count().wrapping_mul(8);
        let n = rest.get(full..)?.iter().position(|b| *b != 0xff)?;
        let n = full.wrapping_add(n);
        (*rest.get(n)?, skip.wrapping_add(1).wrapping_add(n as u32))
    };
    at.checked_mul(8)?.checked_add(byte.trailing_ones())
}

/// What a bitmap on the device must be like.
#[derive(Clone, Copy)]
struct Expected {
    /// How its checksum is made, and what the descriptor says that it is.
    sum: Option<(Sum, u32)>,
    /// Blocks or inodes that the group has; the bits behind them are padding.
    bits: u32,
    /// Clear bits that there are, as the descriptor says.
    free: u32,
}

impl Expected {
    fn verify(&self, bitmap: &[u8]) -> Result<(), Flaw> {
        if self
            .sum
            .is_some_and(|(sum, stored)| sum.of(bitmap) != stored)
        {
            return Err(Flaw::Checksum);
        }
        if !is_padded(bitmap, self.bits) {
            return Err(Flaw::BitmapPadding);
        }
        let (found, expected) = (count_clear(bitmap), self.free);
        if found != expected {
            return Err(Flaw::BitmapFree { found, expected });
        }
        Ok(())
    }
}

macro_rules! bitmap_format {
    ($(#[$doc:meta])* $name:ident, $kind:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name(Expected);

        impl $name {
            /// A bitmap of a group with `bits` of them, `free` of these clear, of checksum `sum.1`.
            pub fn new(sum: Option<(Sum, u32)>, bits: u32, free: u32) -> Self {
                Self(Expected { sum, bits, free })
            }
        }

        impl Format for $name {
            const KIND: BlockKind = $kind;

            fn verify(&self, _nr: PhysBlock, bytes: &[u8]) -> Result<(), Flaw> {
                self.0.verify(bytes)
            }

            fn seal(&self, _nr: PhysBlock, _bytes: &mut [u8]) {}
        }
    };
}

bitmap_format!(
    /// A block bitmap, as its group's descriptor describes it at the time of the reading.
    BlockBitmapFormat,
    BlockKind::BlockBitmap
);
bitmap_format!(
    /// An inode bitmap, as its group's descriptor describes it at the time of the reading.
    InodeBitmapFormat,
    BlockKind::InodeBitmap
);
