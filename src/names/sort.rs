// SPDX-License-Identifier: GPL-2.0

//! Sorting without a panic path: `core`'s sorts panic when they find that an order is none.

/// Distances at which items are brought into order, one after the other (M. Ciura's, and on by 9/4).
const GAPS: [usize; 14] = [
    90_927, 40_412, 17_961, 7_983, 3_548, 1_577, 701, 301, 132, 57, 23, 10, 4, 1,
];

/// Sorts `items` so that none is less than the one before it. Shell sort: in place, no recursion; for the some hundred
/// names of a block it takes about half the comparisons of a heap sort.
pub(super) fn sort_by<T: Copy>(items: &mut [T], less: impl Fn(&T, &T) -> bool) {
    for gap in GAPS {
        for at in gap..items.len() {
            insert(items, at, gap, &less);
        }
    }
}

/// Moves the item at `at` towards the front, by `gap` at a time, until the one before it is not greater.
fn insert<T: Copy>(items: &mut [T], at: usize, gap: usize, less: &impl Fn(&T, &T) -> bool) {
    let Some(&item) = items.get(at) else { return };
    let mut place = at;
    while let Some(before) = place.checked_sub(gap) {
        match items.get(before) {
            Some(&other) if less(&item, &other) => {
                if let Some(to) = items.get_mut(place) {
                    *to = other;
                }
                place = before;
            }
            _ => break,
        }
    }
    if let Some(to) = items.get_mut(place) {
        *to = item;
    }
}
