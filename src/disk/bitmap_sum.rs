// SPDX-License-Identifier: GPL-2.0

//! Checksums of bitmaps, and how they change with a few bits.
//!
//! The checksum of a bitmap is the CRC-32C of one bit for each block or inode of a whole group, stored in the
//! group's descriptor (Documentation/filesystems/ext4/checksums.rst).
//!
//! CRCs are linear: flipping bits changes the checksum by the CRC, begun with zero, of a bitmap in which just
//! these bits are set. Bytes of zero before them change nothing, and the n bytes of zero behind them multiply it
//! by x^(8n) modulo the polynomial. So the cost does not depend on the size of the bitmap, and a bitmap that went
//! bad in memory does not get a good checksum by the next change.

use crate::crc32c;
use crate::disk::CsumSeed;
use kernel::alloc::{flags::GFP_KERNEL, KVVec};
use kernel::error::Result;

/// The polynomial of CRC-32C, lowest power in the highest bit.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// The polynomial 1.
const ONE: u32 = 1 << 31;

/// How the checksum of a kind of bitmap is made.
#[derive(Clone, Copy)]
pub struct Sum {
    seed: CsumSeed,
    bytes: u32,
    mask: u32,
}

impl Sum {
    /// `bits` = blocks or inodes of a whole group, of which every eight are a byte in the checksum; `wide` where
    /// the descriptor has room for all 32 bits of it (`s_desc_size` >= 64).
    pub fn new(seed: CsumSeed, bits: u32, wide: bool) -> Self {
        Self {
            seed,
            bytes: bits >> 3,
            mask: if wide { !0 } else { 0xffff },
        }
    }

    /// The checksum, as far as the descriptor can hold it.
    pub fn of(&self, bitmap: &[u8]) -> u32 {
        let summed = bitmap.get(..self.bytes as usize).unwrap_or(bitmap);
        self.seed.checksum(summed) & self.mask
    }

    /// The checksum of a bitmap of which `len` bits from `start` on were flipped; `old` is what it was before.
    pub fn after(&self, old: u32, powers: &Powers, start: u32, len: u32, bitmap: &[u8]) -> u32 {
        match self.difference(powers, start, len) {
            Some(difference) => (old ^ difference) & self.mask,
            None => self.of(bitmap),
        }
    }

    /// By what flipping bits changes the checksum. `None` where it is no work to speak of to make it anew, or the
    /// bits are not in it.
    fn difference(&self, powers: &Powers, start: u32, len: u32) -> Option<u32> {
        const ONES: [u8; 32] = [0xff; 32];
        let last = start.checked_add(len.checked_sub(1)?)?;
        let head = 0xff_u8.wrapping_shl(start & 7);
        let tail = 0xff_u8.wrapping_shr(7 ^ (last & 7));
        let bytes = (last >> 3).wrapping_sub(start >> 3);
        if bytes > self.bytes >> 2 {
            return None;
        }
        let crc = match bytes.checked_sub(1) {
            None => crc32c(0, &[head & tail]),
            Some(whole) => {
                let mut crc = crc32c(0, &[head]);
                for _ in 0..whole / ONES.len() as u32 {
                    crc = crc32c(crc, &ONES);
                }
                let rest = ONES.get(..whole as usize % ONES.len())?;
                crc32c(crc32c(crc, rest), &[tail])
            }
        };
        let behind = self.bytes.checked_sub((last >> 3).checked_add(1)?)?;
        Some(multiply(crc, *powers.0.get(behind as usize)?))
    }
}

/// The powers x^(8n), n bytes of zero.
pub struct Powers(KVVec<u32>);

impl Powers {
    /// For bitmaps of up to `bits` bits.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(bits: u32) -> Result<Self> {
        let count = (bits >> 3) as usize;
        let mut powers = KVVec::with_capacity(count, GFP_KERNEL)?;
        let mut power = ONE;
        for _ in 0..count {
            powers.push_within_capacity(power)?;
            power = crc32c(power, &[0]);
        }
        Ok(Self(powers))
    }
}

/// The product of two polynomials modulo that of the CRC.
fn multiply(a: u32, b: u32) -> u32 {
    // Four powers of `a` at a time, the highest first: what was summed goes up by x^4, and one of 16 products of `b`
    // and a polynomial of four terms is added.
    let b1 = times_x(b);
    let b2 = times_x(b1);
    let b3 = times_x(b2);
    let (low, high) = (b2 ^ b3, b ^ b1);
    #[rustfmt::skip]
    let products = [
        0, b3, b2, low,
        b1, b1 ^ b3, b1 ^ b2, b1 ^ low,
        b, b ^ b3, b ^ b2, b ^ low,
        high, high ^ b3, high ^ b2, high ^ low,
    ];
    let four = |table: &[u32; 16], terms: u32| {
        table
            .get((terms & 15) as usize)
            .copied()
            .unwrap_or_default()
    };
    (0..u32::BITS).step_by(4).fold(0, |sum, at| {
        (sum >> 4) ^ four(&OVERFLOW, sum) ^ four(&products, a.wrapping_shr(at))
    })
}

/// The product of a polynomial and x.
const fn times_x(a: u32) -> u32 {
    (a >> 1) ^ (POLYNOMIAL & 0_u32.wrapping_sub(a & 1))
}

/// The product of x^4 and a polynomial of its four highest powers, one for each of the 16.
#[rustfmt::skip]
const OVERFLOW: [u32; 16] = [
    times_x4(0), times_x4(1), times_x4(2), times_x4(3), times_x4(4), times_x4(5), times_x4(6), times_x4(7),
    times_x4(8), times_x4(9), times_x4(10), times_x4(11), times_x4(12), times_x4(13), times_x4(14), times_x4(15),
];

/// The product of a polynomial and x^4.
const fn times_x4(a: u32) -> u32 {
    times_x(times_x(times_x(times_x(a))))
}
