// SPDX-License-Identifier: GPL-2.0

//! Bits of bitmaps and their checksums, against the plainest way to do it.

use iomapfs_core::disk::bitmap_sum::{Powers, Sum};
use iomapfs_core::disk::{bitmap, CsumSeed};
use proptest::prelude::*;

fn bits(bytes: &[u8]) -> Vec<bool> {
    (0..bytes.len() * 8)
        .map(|n| bytes[n / 8] >> (n % 8) & 1 == 1)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Would catch: a range that is off by one at a byte, changed in part, or outside; a search that misses a bit.
    #[test]
    fn ranges(
        mut bytes in proptest::collection::vec(prop_oneof![Just(0_u8), Just(0xff), any::<u8>()], 1..40),
        start in 0..330_u32,
        len in 0..330_u32,
        value: bool,
    ) {
        let before = bits(&bytes);
        let range = start as usize..(start + len) as usize;
        let possible = len > 0
            && before.get(range.clone()).is_some_and(|b| b.iter().all(|b| *b != value));
        let done = if value {
            bitmap::set(&mut bytes, start, len)
        } else {
            bitmap::clear(&mut bytes, start, len)
        };
        prop_assert_eq!(done, possible);
        let mut expected = before.clone();
        if possible {
            expected[range].fill(value);
        }
        prop_assert_eq!(&bits(&bytes), &expected);
        let first = expected.iter().skip(start as usize).position(|b| !b);
        prop_assert_eq!(bitmap::first_clear(&bytes, start), first.map(|n| n as u32 + start));
        prop_assert_eq!(
            bitmap::count_clear(&bytes) as usize,
            expected.iter().filter(|b| !**b).count()
        );
        bitmap::pad(&mut bytes, start);
        if let Some(tail) = expected.get_mut(start as usize..) {
            tail.fill(true);
        }
        prop_assert_eq!(&bits(&bytes), &expected);
        prop_assert_eq!(bitmap::set(&mut bytes, start, u32::MAX), false);
    }

    /// Would catch: a checksum that does not follow the bits, in either width, for any place and length.
    #[test]
    fn checksums(
        size in prop_oneof![Just(128_usize), Just(1024), Just(4096), Just(65536)],
        summed in 1..=8_usize,
        fill: u8,
        seed: u32,
        start: u32,
        len in prop_oneof![1..20_u32, 1..3000_u32, 1..600_000_u32],
        wide: bool,
    ) {
        let total = (size * summed) as u32;
        let (start, len) = (start % total, len.min(total));
        let len = len.min(total - start);
        let powers = Powers::new(size as u32 * 8).unwrap();
        let sum = Sum::new(CsumSeed::new(seed), total, wide);
        let mut bytes = vec![fill; size];
        let old = sum.of(&bytes);
        for bit in start..start + len {
            bytes[bit as usize / 8] ^= 1 << (bit % 8);
        }
        prop_assert_eq!(sum.after(old, &powers, start, len, &bytes), sum.of(&bytes));
    }
}
