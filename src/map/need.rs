// SPDX-License-Identifier: GPL-2.0

//! How many nodes the outstanding writes of a file can add to its tree, at worst.
//!
//! Publishing must not fail for lack of space, so this many blocks are reserved before, and each new node is paid from
//! there. The bound has to hold whatever the order in which blocks are published, with however few of them
//! contiguous on the device, and whatever is removed in between.
//!
//! # The bound
//!
//! Each outstanding block is at worst an extent of its own: *E* entries come to the leaves. They come to *K* places
//! (one for each piece of the cache that is delayed or pending), and a place lies in one node of each level
//! as long as nothing is added. A claimed piece may begin in one leaf and end in another: two places. Leaves between
//! have no more entries than there are blocks to be written, so these pay for their splits.
//!
//! A node is split only when it is full, into halves of at least *h* entries (half of what it holds). So between two
//! splits of what was one node there are at least *h* new entries, and a level gets at most *K* new nodes for nodes
//! that were full from the start, and one for each *h* entries that come to it. Each new node is a new entry for the
//! level above. When the root's four places are used up, the tree grows by one node and the rule goes on above it.
//!
//! The bound holds for any tree of this shape, so it is computed anew when something is added, and what is
//! reserved beyond it is given back. Publishing makes neither true again (it may turn one place into two), and
//! needs not: what was enough for any order of publishing is enough for those that remain.
//!
//! Two things could use more, so they are done only if the bound, computed for the shape after them, is still
//! reserved: leaving a full node behind at the end of a file, and taking away a level.

use super::cache::Totals;
use crate::disk::extent::{MAX_DEPTH, ROOT_ENTRIES};

/// What the bound depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Levels below the root.
    pub(super) depth: u16,
    /// Entries of the root.
    pub(super) root: u16,
    /// Entries that a node holds.
    pub(super) per_node: u16,
}

/// What is outstanding.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    /// New entries for the leaves, at most.
    pub(super) entries: u64,
    /// Places that they come to.
    pub(super) places: u64,
}

impl Load {
    /// All that a cache holds.
    pub(super) fn of(totals: &Totals) -> Self {
        // Written blocks in the middle of an unwritten extent make two entries more; of several in a row each makes one
        // more, and the last one two.
        let places = u64::from(totals.held);
        let claims = u64::from(totals.claimed > 0).saturating_mul(places);
        let blocks = u64::from(totals.delayed)
            .saturating_add(totals.pending.into())
            .saturating_add(totals.claimed.into());
        Self {
            entries: blocks.saturating_add(claims),
            places: places.saturating_add(claims),
        }
    }

    /// With `blocks` blocks more, in one piece.
    pub(super) fn plus(&self, blocks: u32) -> Self {
        Self {
            entries: self
                .entries
                .saturating_add(u64::from(blocks))
                .saturating_add(1),
            places: self.places.saturating_add(2),
        }
    }

    /// Without `blocks` of the blocks, in a way that makes one place into two.
    pub(super) fn split(&self, blocks: u32) -> Self {
        Self {
            entries: self.entries.saturating_sub(blocks.into()),
            places: self.places.saturating_add(1),
        }
    }
}

/// The bound: new nodes, at most.
pub(super) fn nodes(shape: Shape, load: Load) -> u32 {
    if load.entries == 0 {
        return 0;
    }
    let full = u64::from(ROOT_ENTRIES);
    let half = u64::from(shape.per_node / 2).max(1);
    let mut entries = load.entries;
    let mut total: u64 = 0;
    // From the leaves up. Nodes that a level can have at most, counted from the root down.
    for level in 0..shape.depth.min(MAX_DEPTH) {
        if entries == 0 {
            break;
        }
        let above = u32::from(shape.depth.saturating_sub(level).saturating_sub(1));
        let exist = u64::from(shape.per_node)
            .saturating_pow(above)
            .saturating_mul(shape.root.into());
        let split = load
            .places
            .min(exist)
            .saturating_add(entries.checked_div(half).unwrap_or(0));
        entries = split.min(entries);
        total = total.saturating_add(entries);
    }
    let mut root = u64::from(shape.root);
    let mut depth = shape.depth;
    while root.saturating_add(entries) > full && entries > 0 && depth < MAX_DEPTH {
        // The new node takes the root's entries: it is far from full.
        total = total.saturating_add(1);
        entries = entries.checked_div(half).unwrap_or(0);
        total = total.saturating_add(entries);
        root = 1;
        depth = depth.saturating_add(1);
    }
    total.min(u32::MAX.into()) as u32
}
