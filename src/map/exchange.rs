// SPDX-License-Identifier: GPL-2.0

//! Two files exchange blocks: `EXT4_IOC_MOVE_EXT`. What is done to one of them is here.
//!
//! # Locks
//!
//! A handle, then the inode's map lock, exclusively. Nothing here waits for a transaction.

use super::change::Way;
use super::plan::TreeChange;
use super::{FileMap, Mapping, State};
use crate::disk::extent::{Extent, MAX_UNWRITTEN};
use crate::disk::{LogicalBlock, PhysBlock};
use crate::space::Share;
use crate::store::{Credits, Store};
use crate::volume::Volume;
use kernel::error::Result;

/// Blocks of the device, and whether they have data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The first.
    pub phys: PhysBlock,
    /// Whether they have data; else they read as zeros.
    pub written: bool,
}

impl FileMap {
    /// What is at `at`, as far as `len` blocks, and where that is on the device, if it is there on disk. Then it is no
    /// longer than an extent can be.
    ///
    /// # Errors
    ///
    /// As [`FileMap::lookup`].
    pub fn place<S: Store>(
        &mut self,
        vol: &Volume<S>,
        at: LogicalBlock,
        len: u32,
    ) -> Result<(Mapping, Option<Place>)> {
        let mut found = self.lookup(vol, at, len)?;
        let written = match found.state {
            State::Written => true,
            State::Unwritten => false,
            _ => return Ok((found, None)),
        };
        if let Some(here) = self.tree.seek(vol, at, &mut Way::new())? {
            // What is one run in memory may be more than one extent.
            let len = here.end().saturating_distance_from(at);
            found.len = found.len.min(len).clamp(1, MAX_UNWRITTEN);
        }
        let phys = self.placed(vol, &found)?;
        Ok((found, Some(Place { phys, written })))
    }

    /// Reserves the nodes that [`FileMap::remap`] of `len` blocks may need.
    ///
    /// # Errors
    ///
    /// `ENOSPC`.
    pub fn reserve_remap<S: Store>(&mut self, vol: &Volume<S>, len: u32) -> Result {
        self.reserve_nodes(vol, len, Share::All)
    }

    /// Gives back what [`FileMap::reserve_remap`] has reserved, where it is not needed.
    pub fn end_remap<S: Store>(&mut self, vol: &Volume<S>) {
        self.release_spare_nodes(vol);
    }

    /// Gives the `len` blocks from `at` on another place, on disk, which is one that [`FileMap::place`] has told of as
    /// long. `false`, and nothing has changed, where `granted` is too little. [`FileMap::publish_credits`] is enough,
    /// unless the tree has become higher.
    ///
    /// The place is nobody's, or becomes so in the same handle: so is the one that the blocks have had.
    ///
    /// # Errors
    ///
    /// As [`FileMap::publish`]; nothing has changed then. `ENOSPC` only where nothing was reserved.
    pub fn remap<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        (at, len): (LogicalBlock, u32),
        place: Place,
        granted: Credits,
    ) -> Result<bool> {
        let extent = Extent {
            start: at,
            len,
            phys: place.phys,
            written: place.written,
        };
        let mut left = granted;
        let change = TreeChange::Replace(extent);
        let done = self.map(vol, tx, &change, extent, &mut Way::new(), &mut left);
        self.release_spare_nodes(vol);
        done
    }
}
