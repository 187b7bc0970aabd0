// SPDX-License-Identifier: GPL-2.0

//! The sorts: as the one of the standard library, whatever the keys are like.

use iomapfs_core::sort::{sort_by, sort_spread};
use kernel::alloc::{flags::GFP_KERNEL, KVec};
use kernel::error::code::*;
use kernel::host::fail_allocation;
use proptest::prelude::*;

fn keys() -> impl Strategy<Value = Vec<u32>> {
    prop_oneof![
        // As hashes are, in one leaf, all the same, at both ends, in order, against it.
        prop::collection::vec(any::<u32>(), 0..300),
        prop::collection::vec(0x1000_0000_u32..0x1000_4000, 0..300),
        prop::collection::vec(Just(7), 0..300),
        prop::collection::vec(prop_oneof![0..3_u32, 0xffff_fff0..=u32::MAX], 0..300),
        (0_u32..300, 1_u32..9).prop_map(|(n, by)| (0..n).map(|i| i * by).collect()),
        (0_u32..300, any::<u32>()).prop_map(|(n, x)| (0..n).rev().chain([x]).collect()),
    ]
}

proptest! {
    #[test]
    fn in_order(keys in keys()) {
        // The second number tells apart what has the same key.
        let mut want: Vec<(u32, u32)> = keys.iter().copied().zip((0..).map(|n| n * 7 % 13)).collect();
        let items = || {
            let mut items = KVec::new();
            items.extend_from_slice(&want, GFP_KERNEL).unwrap();
            items
        };
        let (mut spread, mut merged) = (items(), items());
        sort_spread(&mut spread, |item| item.0, |a, b| a < b).unwrap();
        sort_by(&mut merged, |a, b| a < b).unwrap();
        let mut short = items();
        fail_allocation(Some(0));
        let failed = sort_spread(&mut short, |item| item.0, |a, b| a < b);
        fail_allocation(None);
        prop_assert_eq!(failed, if want.is_empty() { Ok(()) } else { Err(ENOMEM) });
        prop_assert_eq!(&*short, &want[..]);
        want.sort();
        prop_assert_eq!(&*spread, &want[..]);
        prop_assert_eq!(&*merged, &want[..]);
    }
}
