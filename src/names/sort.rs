// SPDX-License-Identifier: GPL-2.0

//! Sorting without a panic path: `core`'s sorts panic when they find that an order is none.

/// Sorts `items` so that none is less than the one before it. Heap sort: in place, no recursion.
pub(super) fn sort_by<T: Copy>(items: &mut [T], less: impl Fn(&T, &T) -> bool) {
    for top in (0..items.len() / 2).rev() {
        sift_down(items, top, &less);
    }
    for end in (1..items.len()).rev() {
        let Some(rest) = items.get_mut(..=end) else {
            return;
        };
        if let [first, .., last] = rest {
            core::mem::swap(first, last);
        }
        if let Some(heap) = items.get_mut(..end) {
            sift_down(heap, 0, &less);
        }
    }
}

/// Moves the item at `at` down until none below it is greater.
fn sift_down<T: Copy>(heap: &mut [T], mut at: usize, less: &impl Fn(&T, &T) -> bool) {
    let Some(&item) = heap.get(at) else { return };
    loop {
        let left = at.saturating_mul(2).saturating_add(1);
        let Some(mut child) = heap.get(left).copied() else {
            break;
        };
        let mut child_at = left;
        if let Some(right) = heap.get(left.saturating_add(1)) {
            if less(&child, right) {
                child = *right;
                child_at = left.saturating_add(1);
            }
        }
        if !less(&item, &child) {
            break;
        }
        if let Some(place) = heap.get_mut(at) {
            *place = child;
        }
        at = child_at;
    }
    if let Some(place) = heap.get_mut(at) {
        *place = item;
    }
}
