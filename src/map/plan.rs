// SPDX-License-Identifier: GPL-2.0

//! What a change of the map does to one leaf of the extent tree: entries next to each other are replaced by others.
//!
//! Here is decided which extents are joined, and a leaf that does not allow the change is found out. How the
//! leaf gets the room, and what that does to the nodes above, is in `change.rs`.

use crate::disk::extent::{Extent, Node};
use crate::disk::LogicalBlock;
use crate::store::Flaw;

/// A change within one hole or one extent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// Maps a hole.
    Insert(Extent),
    /// Makes `from..to`, within an unwritten extent, written.
    Convert(LogicalBlock, LogicalBlock),
    /// Makes `from..to`, within an extent, a hole.
    Punch(LogicalBlock, LogicalBlock),
}

impl Change {
    pub(super) fn start(&self) -> LogicalBlock {
        match self {
            Self::Insert(extent) => extent.start,
            Self::Convert(from, _) | Self::Punch(from, _) => *from,
        }
    }
}

/// A few extents in order; what continues the one before is joined with it.
#[derive(Clone, Copy)]
pub(super) struct Pieces {
    pub(super) items: [Option<Extent>; 5],
    pub(super) len: usize,
}

impl Pieces {
    fn push(&mut self, extent: Extent) {
        if extent.len == 0 {
            return;
        }
        if let Some(Some(last)) = self.len.checked_sub(1).and_then(|i| self.items.get_mut(i)) {
            let len = last.len.saturating_add(extent.len);
            if last.continued_by(&extent) && len <= last.max_len() {
                last.len = len;
                return;
            }
        }
        if let Some(item) = self.items.get_mut(self.len) {
            *item = Some(extent);
            self.len = self.len.saturating_add(1);
        }
    }
}

/// What a change does to the leaf: `count` entries from `slot` on are replaced by `new`.
pub(super) struct Plan {
    pub(super) slot: usize,
    pub(super) count: usize,
    pub(super) new: Pieces,
}

impl Plan {
    pub(super) fn make(node: &Node<'_>, change: &Change) -> Result<Self, Flaw> {
        let at = node.find(change.start());
        let here = at.and_then(|i| node.extent(i));
        let mut new = Pieces {
            items: [None; 5],
            len: 0,
        };
        let (slot, count) = match change {
            Change::Insert(extent) => {
                let next_slot = at.map_or(0, |i| i.saturating_add(1));
                let next = node.extent(next_slot);
                if here.is_some_and(|here| here.end() > extent.start)
                    || next.is_some_and(|next| next.start < extent.end())
                {
                    return Err(Flaw("blocks to be mapped are mapped already"));
                }
                for piece in [here, Some(*extent), next].into_iter().flatten() {
                    new.push(piece);
                }
                (
                    at.unwrap_or(0),
                    usize::from(here.is_some()) + usize::from(next.is_some()),
                )
            }
            Change::Convert(from, to) => {
                let here = here
                    .filter(|here| !here.written && here.end() >= *to)
                    .ok_or(Flaw("blocks to be made written are not unwritten"))?;
                let slot = at.unwrap_or(0);
                let prev = slot.checked_sub(1).and_then(|i| node.extent(i));
                let next = node.extent(slot.saturating_add(1));
                let written = Extent {
                    written: true,
                    ..here.clip(*from, *to)
                };
                let before = here.clip(here.start, *from);
                let after = here.clip(*to, here.end());
                let parts = [prev, Some(before), Some(written), Some(after), next];
                for piece in parts.into_iter().flatten() {
                    new.push(piece);
                }
                let count = 1 + usize::from(prev.is_some()) + usize::from(next.is_some());
                (slot.saturating_sub(usize::from(prev.is_some())), count)
            }
            Change::Punch(from, to) => {
                let here = here
                    .filter(|here| here.end() >= *to)
                    .ok_or(Flaw("blocks to be unmapped are not mapped"))?;
                new.push(here.clip(here.start, *from));
                new.push(here.clip(*to, here.end()));
                (at.unwrap_or(0), 1)
            }
        };
        Ok(Self { slot, count, new })
    }

    /// By how many entries the leaf grows.
    pub(super) fn growth(&self) -> usize {
        self.new.len.saturating_sub(self.count)
    }
}
