// SPDX-License-Identifier: GPL-2.0

//! Sorting without a panic path: the sorts of `core` panic where a comparison is not a total order.

use kernel::alloc::flags::GFP_KERNEL;
use kernel::alloc::KVec;
use kernel::error::Result;

/// Sorts `items` so that none is less than the one before it.
///
/// # Errors
///
/// `ENOMEM`; the order is as it was.
pub fn sort_by<T: Copy>(items: &mut KVec<T>, less: impl Fn(&T, &T) -> bool) -> Result {
    let mut other = KVec::with_capacity(items.len(), GFP_KERNEL)?;
    other.extend_from_slice(items, GFP_KERNEL)?;
    if merge_sort(items, &mut other, less) {
        core::mem::swap(items, &mut other);
    }
    Ok(())
}

/// As [`sort_by`], of items whose keys are spread as hashes are, by which they are ordered first: each is put where its
/// key says that it will be about, and moves a few places from there. Where the keys are not spread, no place is lost
/// but some time.
///
/// # Errors
///
/// `ENOMEM`; the order is as it was.
pub fn sort_spread<T: Copy>(
    items: &mut KVec<T>,
    key: impl Fn(&T) -> u32,
    less: impl Fn(&T, &T) -> bool,
) -> Result {
    let keys = || items.iter().map(&key);
    let (Some(least), Some(most)) = (keys().min(), keys().max()) else {
        return Ok(());
    };
    let len = items.len();
    let buckets = len.checked_next_power_of_two().unwrap_or(len);
    let bits = u32::BITS.saturating_sub(most.wrapping_sub(least).leading_zeros());
    let shift = bits.saturating_sub(buckets.trailing_zeros());
    let bucket = |item: &T| key(item).wrapping_sub(least).wrapping_shr(shift) as usize;
    // How many there are in each, then where the next of each goes.
    let mut places = KVec::from_elem(0_u32, buckets, GFP_KERNEL)?;
    let mut other = KVec::with_capacity(len, GFP_KERNEL)?;
    other.extend_from_slice(items, GFP_KERNEL)?;
    for item in items.iter() {
        if let Some(count) = places.get_mut(bucket(item)) {
            *count = count.wrapping_add(1);
        }
    }
    let mut sum = 0_u32;
    for place in places.iter_mut() {
        sum = sum.wrapping_add(core::mem::replace(place, sum));
    }
    for item in items.iter() {
        let place = places.get_mut(bucket(item));
        let to = place.and_then(|place| {
            let at = *place;
            *place = at.wrapping_add(1);
            other.get_mut(at as usize)
        });
        if let Some(to) = to {
            *to = *item;
        }
    }
    if !settle(&mut other, &less) && merge_sort(&mut other, items, less) {
        return Ok(());
    }
    core::mem::swap(items, &mut other);
    Ok(())
}

/// Sorts items that are nearly in order. `false`, and only some are, where they were too far from it.
fn settle<T>(items: &mut [T], less: &impl Fn(&T, &T) -> bool) -> bool {
    let mut left = items.len().saturating_mul(8);
    for i in 1..items.len() {
        let mut at = i;
        while let Some([before, here]) = at
            .checked_sub(1)
            .and_then(|start| items.get_mut(start..=at))
            .filter(|pair| matches!(pair, [before, here] if less(here, before)))
        {
            core::mem::swap(before, here);
            at = at.wrapping_sub(1);
            left = match left.checked_sub(1) {
                Some(left) => left,
                None => return false,
            };
        }
    }
    true
}

/// Sorts `items` with the help of `other`, which is as long. Returns whether the sorted ones are in `other`. Merge
/// sort: no recursion.
#[must_use]
pub fn merge_sort<T: Copy>(
    items: &mut [T],
    other: &mut [T],
    less: impl Fn(&T, &T) -> bool,
) -> bool {
    let (mut from, mut to) = (items, other);
    let mut swapped = false;
    let mut run = 1;
    while run < from.len() {
        merge_runs(from, to, run, &less);
        core::mem::swap(&mut from, &mut to);
        swapped = !swapped;
        run = run.saturating_mul(2);
    }
    swapped
}

/// Merges runs of `run` items, which are sorted, into ones of twice as many.
fn merge_runs<T: Copy>(from: &[T], to: &mut [T], run: usize, less: &impl Fn(&T, &T) -> bool) {
    let (mut from, mut to) = (from, to);
    while !from.is_empty() {
        let (a, rest) = split(from, run);
        let (b, rest) = split(rest, run);
        from = rest;
        let (mut a, mut b) = (a, b);
        let both = a.len().saturating_add(b.len());
        let Some((here, there)) = to.split_at_mut_checked(both) else {
            return;
        };
        to = there;
        for place in here {
            match (a, b) {
                ([x, rest @ ..], [y, ..]) if !less(y, x) => (*place, a) = (*x, rest),
                (_, [y, rest @ ..]) => (*place, b) = (*y, rest),
                ([x, rest @ ..], []) => (*place, a) = (*x, rest),
                ([], []) => return,
            }
        }
    }
}

/// The first `len` items, or as many as there are, and the others.
fn split<T>(items: &[T], len: usize) -> (&[T], &[T]) {
    items.split_at_checked(len).unwrap_or((items, &[]))
}
