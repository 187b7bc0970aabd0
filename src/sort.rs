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
