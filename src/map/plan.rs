// SPDX-License-Identifier: GPL-2.0

//! What a change of the map does to one leaf of the extent tree: entries next to each other are replaced by others.
//!
//! Here is decided which extents are joined, and a leaf that does not allow the change is found out. How the
//! leaf gets the room, and what that does to the nodes above, is in `change.rs`.

use crate::disk::extent::{Extent, ExtentNode};
use crate::disk::{Flaw, LogicalBlock};

/// A change within one hole or one extent; but for [`Self::Replace`], which may take the end of an extent and the hole
/// behind it.
#[derive(Clone, Copy, Debug)]
pub(super) enum TreeChange {
    /// Maps a hole.
    Insert(Extent),
    /// Maps what is a hole, or blocks of the extent that has the first of them: those are not mapped any more.
    Replace(Extent),
    /// The same for one block, which is not joined with anything; nor is what comes behind it.
    Apart(Extent),
    /// Makes `from..to`, within an unwritten extent, written.
    Convert(LogicalBlock, LogicalBlock),
    /// Makes `from..to`, within a written extent, unwritten.
    Unwrite(LogicalBlock, LogicalBlock),
    /// Makes two extents of the one that has this block in the middle.
    Split(LogicalBlock),
    /// Joins the extent that starts at this block with the one before, if they can be.
    Join(LogicalBlock),
    /// Makes `from..to`, within an extent, a hole.
    Punch(LogicalBlock, LogicalBlock),
}

impl TreeChange {
    pub(super) fn start(&self) -> LogicalBlock {
        match self {
            Self::Insert(extent) | Self::Replace(extent) | Self::Apart(extent) => extent.start,
            Self::Convert(from, _) | Self::Unwrite(from, _) | Self::Punch(from, _) => *from,
            Self::Split(at) | Self::Join(at) => *at,
        }
    }
}

/// A few extents in order; what continues the one before is joined with it.
pub(super) struct Pieces {
    /// Of which the first `len` are meant.
    items: [Extent; 5],
    len: usize,
}

impl Pieces {
    /// The extents.
    pub(super) fn get(&self) -> &[Extent] {
        self.items.get(..self.len).unwrap_or(&[])
    }

    fn push(&mut self, extent: Extent) {
        if let Some(last) = self.len.checked_sub(1).and_then(|i| self.items.get_mut(i)) {
            let len = last.len.saturating_add(extent.len);
            if last.continued_by(&extent) && len <= last.max_len() {
                last.len = len;
                return;
            }
        }
        self.push_apart(extent);
    }

    /// Adds an extent that is not joined. An empty one is none.
    fn push_apart(&mut self, extent: Extent) {
        if let Some(item) = self.items.get_mut(self.len).filter(|_| extent.len > 0) {
            *item = extent;
            self.len = self.len.saturating_add(1);
        }
    }
}

/// What a change does to the leaf: `count` entries from `slot` on are replaced by `new`.
pub(super) struct LeafPlan {
    pub(super) slot: usize,
    pub(super) count: usize,
    pub(super) new: Pieces,
}

impl LeafPlan {
    /// A plan that changes nothing, for [`LeafPlan::make`].
    pub(super) fn new() -> Self {
        Self {
            slot: 0,
            count: 0,
            new: Pieces {
                items: [Extent::NOTHING; 5],
                len: 0,
            },
        }
    }

    /// Plans `change` of a leaf. `at` is the last entry that starts at or before it.
    pub(super) fn make(
        &mut self,
        node: &ExtentNode<'_>,
        at: Option<usize>,
        change: &TreeChange,
    ) -> Result<(), Flaw> {
        let here = at.and_then(|i| node.extent(i));
        if here.is_some_and(|here| here.start > change.start()) {
            return Err(Flaw::ExtentChanged);
        }
        let new = &mut self.new;
        new.len = 0;
        (self.slot, self.count) = match change {
            TreeChange::Insert(extent) => {
                let next_slot = at.map_or(0, |i| i.saturating_add(1));
                let next = node.extent(next_slot);
                if here.is_some_and(|here| here.end() > extent.start)
                    || next.is_some_and(|next| next.start < extent.end())
                {
                    let block = extent.start.get();
                    return Err(Flaw::ExtentMapped { block });
                }
                for piece in [here, Some(*extent), next].into_iter().flatten() {
                    new.push(piece);
                }
                (
                    at.unwrap_or(0),
                    usize::from(here.is_some()) + usize::from(next.is_some()),
                )
            }
            TreeChange::Replace(extent) | TreeChange::Apart(extent) => {
                let slot = at.map_or(0, |i| i.saturating_add(1));
                let next = node.extent(slot);
                if next.is_some_and(|next| next.start < extent.end()) {
                    let block = extent.start.get();
                    return Err(Flaw::ExtentMapped { block });
                }
                // What it is taken from stays before and behind, with what comes before that in the leaf.
                let taken = here.filter(|here| here.end() > extent.start);
                let prev = at.and_then(|i| match taken {
                    Some(_) => node.extent(i.checked_sub(1)?),
                    None => here,
                });
                let before = taken.map(|taken| taken.clip(taken.start, extent.start));
                let after = taken.filter(|taken| taken.end() > extent.end());
                let after = after.map(|taken| taken.clip(extent.end(), taken.end()));
                let is_apart = matches!(change, TreeChange::Apart(_));
                let parts = [prev, before, Some(*extent), after, next];
                for piece in parts.into_iter().flatten() {
                    match is_apart && piece.start >= extent.start {
                        true => new.push_apart(piece),
                        false => new.push(piece),
                    }
                }
                let left = usize::from(prev.is_some()) + usize::from(taken.is_some());
                (
                    slot.saturating_sub(left),
                    left.saturating_add(next.is_some().into()),
                )
            }
            TreeChange::Convert(from, to) | TreeChange::Unwrite(from, to) => {
                let written = matches!(change, TreeChange::Convert(..));
                let here = here.filter(|here| here.written != written && here.end() >= *to);
                let here = here.ok_or(match written {
                    true => Flaw::ExtentNotUnwritten { block: from.get() },
                    false => Flaw::ExtentNotMapped { block: from.get() },
                })?;
                let slot = at.unwrap_or(0);
                let prev = slot.checked_sub(1).and_then(|i| node.extent(i));
                let next = node.extent(slot.saturating_add(1));
                let changed = Extent {
                    written,
                    ..here.clip(*from, *to)
                };
                let before = here.clip(here.start, *from);
                let after = here.clip(*to, here.end());
                let parts = [prev, Some(before), Some(changed), Some(after), next];
                for piece in parts.into_iter().flatten() {
                    new.push(piece);
                }
                let count = 1 + usize::from(prev.is_some()) + usize::from(next.is_some());
                (slot.saturating_sub(usize::from(prev.is_some())), count)
            }
            TreeChange::Split(middle) => {
                let here = here
                    .filter(|here| here.start < *middle && here.end() > *middle)
                    .ok_or(Flaw::ExtentNotMapped {
                        block: middle.get(),
                    })?;
                new.push(here.clip(here.start, *middle));
                new.push_apart(here.clip(*middle, here.end()));
                (at.unwrap_or(0), 1)
            }
            TreeChange::Join(start) => {
                let here = here.filter(|here| here.start == *start);
                let slot = at.unwrap_or(0);
                let prev = slot.checked_sub(1).and_then(|i| node.extent(i));
                let block = start.get();
                let (prev, here) = prev.zip(here).ok_or(Flaw::ExtentNotMapped { block })?;
                new.push(prev);
                new.push(here);
                (slot.saturating_sub(1), 2)
            }
            TreeChange::Punch(from, to) => {
                let here = here
                    .filter(|here| here.end() >= *to)
                    .ok_or(Flaw::ExtentNotMapped { block: from.get() })?;
                new.push(here.clip(here.start, *from));
                new.push(here.clip(*to, here.end()));
                (at.unwrap_or(0), 1)
            }
        };
        Ok(())
    }

    /// By how many entries the leaf grows.
    pub(super) fn growth(&self) -> usize {
        self.new.get().len().saturating_sub(self.count)
    }
}
