// SPDX-License-Identifier: GPL-2.0

//! Small rests of unwritten extents become zero on the device, and written, together with the data beside them.
//!
//! Data that is written into an unwritten extent makes three extents of it. A file that is written here and there would
//! be in very many pieces, and each write would change the tree. Where what is left before the data or behind it is
//! small, it costs less to write zeros there: what is written to it later changes no metadata.
//!
//! # Why nobody loses data
//!
//! Who writes to unwritten blocks has claimed them before, with the map lock. So nobody writes to blocks that are
//! unwritten and not claimed while the map lock is held, and with it they are made zero. What is then known of them is
//! that they are [`PieceKind::Zeroed`], until somebody claims or frees them; only that becomes written beside the data.
//! A page of the cache that has anything else for such a block is dirty, and will claim it or find it written.
//!
//! Nothing behind the end of the file becomes written, as somebody would see it when the file goes on there.
//!
//! # Locks
//!
//! The inode's map lock, exclusively. The device is waited for with it, as when a node of the tree is read, and so with
//! no handle.

use super::cache::CacheHit;
use super::change::Way;
use super::piece::{Piece, PieceKind};
use super::FileMap;
use crate::disk::extent::Extent;
use crate::disk::{LogicalBlock, PhysBlock};
use crate::store::Store;
use crate::volume::Volume;
use core::ops::Range;
use kernel::error::Result;

/// The longest rest that is made zero, in bytes.
const MOST: u64 = 32 << 10;

/// What may be done beside data that is published.
#[derive(Debug, Default)]
pub struct Rests {
    /// Rests that end here or before may become written.
    pub end: LogicalBlock,
    /// From where to where blocks became written beside the data, and with it; empty where none did.
    pub shown: Range<LogicalBlock>,
    /// Before more is published, without a handle, [`FileMap::zero_rests`] is to be called with the next block.
    pub wanted: bool,
}

impl Rests {
    /// Those blocks, and `data`.
    pub fn with(&self, data: Range<LogicalBlock>) -> Range<LogicalBlock> {
        match self.shown.is_empty() {
            true => data,
            false => self.shown.start.min(data.start)..self.shown.end.max(data.end),
        }
    }
}

/// What is to become of a rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// It stays unwritten.
    Stays,
    /// It is to be zero.
    ToZero,
    /// It is.
    Zeroed,
}

/// What is before and behind `data` in an extent.
fn around(extent: &Extent, data: &Range<LogicalBlock>) -> [Range<LogicalBlock>; 2] {
    [extent.start..data.start, data.end..extent.end()]
}

impl FileMap {
    fn rest<S: Store>(
        &self,
        vol: &Volume<S>,
        rest: &Range<LogicalBlock>,
        end: LogicalBlock,
    ) -> Rest {
        let most = MOST >> vol.layout.block_size().bits();
        let len = rest.end.saturating_distance_from(rest.start);
        if len == 0 || u64::from(len) > most || rest.end > end {
            return Rest::Stays;
        }
        let (mut at, mut found) = (rest.start, Rest::Zeroed);
        while at < rest.end {
            at = match self.cache.get(at) {
                CacheHit::Unknown(_, to) => {
                    found = Rest::ToZero;
                    to
                }
                CacheHit::Piece(piece) => {
                    match piece.kind() {
                        PieceKind::Zeroed => (),
                        PieceKind::Unwritten => found = Rest::ToZero,
                        // Somebody writes there.
                        _ => return Rest::Stays,
                    }
                    piece.end()
                }
            };
        }
        found
    }

    /// What becomes written when `data` does, in the unwritten extent `here`; `None` where [`Self::zero_rests`] is to
    /// be called before.
    #[inline]
    pub(super) fn with_rests<S: Store>(
        &self,
        vol: &Volume<S>,
        here: &Extent,
        data: Range<LogicalBlock>,
        end: LogicalBlock,
    ) -> Option<Range<LogicalBlock>> {
        let mut all = data.clone();
        for rest in around(here, &data) {
            match self.rest(vol, &rest, end) {
                Rest::Stays => (),
                Rest::ToZero => return None,
                Rest::Zeroed => all = all.start.min(rest.start)..all.end.max(rest.end),
            }
        }
        Some(all)
    }

    /// Has `zero` make the rests zero, blocks of the file and their place on the device, that are beside what of the
    /// `len` blocks from `at` on is one unwritten extent. Nothing is changed on disk; `end` is as in [`Rests`].
    ///
    /// # Errors
    ///
    /// Those of `zero`, and of [`FileMap::lookup`].
    pub fn zero_rests<S: Store>(
        &mut self,
        vol: &Volume<S>,
        (at, len): (LogicalBlock, u32),
        end: LogicalBlock,
        mut zero: impl FnMut(Range<LogicalBlock>, PhysBlock) -> Result,
    ) -> Result {
        let piece = self.piece(vol, at)?.clip(at, at.saturating_add(len));
        let here = self.tree.seek(vol, at, &mut Way::new())?;
        let Some(here) = here.filter(|here| !here.written && here.end() > at) else {
            return Ok(());
        };
        let data = at..piece.end().min(here.end());
        for rest in around(&here, &data) {
            if self.rest(vol, &rest, end) == Rest::ToZero {
                let phys = here.phys_at(rest.start);
                let len = rest.end.saturating_distance_from(rest.start);
                zero(rest.clone(), phys)?;
                // Without memory nobody knows, and it stays unwritten.
                let zeroed = Piece::new(rest.start, len, PieceKind::Zeroed, Some(phys));
                let _ = self.cache.set(zeroed);
            }
        }
        Ok(())
    }
}
