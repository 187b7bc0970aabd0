// SPDX-License-Identifier: GPL-2.0

//! The device is told which blocks are free (`FITRIM`): what of the volume, in pieces of which size.
//!
//! Nothing of the file system is changed, so there is no transaction. Which blocks are free so that nothing depends on
//! their contents, and that nobody gets one meanwhile, is seen to by [`Space::trim`](crate::space::Space::trim).
//!
//! Tests: `tools/core/tests/change_trim.rs`, `tools/sim`, `qemu/test/t/fstrim.sh`.
//!
//! # Locks
//!
//! The caller has no handle and no map lock.

use crate::disk::PhysBlock;
use crate::space::Trimmer;
use crate::store::Store;
use crate::volume::Volume;
use core::ops::Range;
use kernel::error::{code::*, Result};

/// What is to be trimmed, in bytes (`struct fstrim_range`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where on the device.
    pub start: u64,
    /// How much from there on.
    pub len: u64,
    /// Shorter pieces of free space are left as they are.
    pub min_len: u64,
}

/// Trims the free blocks that are `wanted`, in no pieces that are shorter than the device's `granularity`, in bytes.
/// Gives the bytes that were trimmed: fewer where the trim was stopped.
///
/// # Errors
///
/// `EINVAL` where the range begins behind the end of the file system or is shorter than a block, or where no group has
/// a piece of the size; `EROFS` where the volume has features with which nothing may be written; those of
/// [`Space::trim`](crate::space::Space::trim).
pub fn trim<S: Store>(
    vol: &Volume<S>,
    wanted: Wanted,
    granularity: u32,
    trimmer: &mut impl Trimmer,
) -> Result<u64> {
    let layout = &vol.layout;
    let size = layout.block_size();
    let in_blocks = |bytes: u64| bytes.wrapping_shr(size.bits());
    let in_group = |blocks: u64| blocks <= u64::from(layout.blocks_per_group());

    // What is free there is perhaps free to those only who know the feature.
    if layout.features().unsupported_for_writing().is_some() {
        return Err(EROFS);
    }
    let start = in_blocks(wanted.start);
    let in_range = start < layout.blocks_count() && wanted.len >= size.bytes().into();
    if !in_range || !in_group(in_blocks(wanted.min_len)) {
        return Err(EINVAL);
    }
    let least = in_blocks(wanted.min_len.max(granularity.into())).max(1);
    if !in_group(least) {
        return Ok(0);
    }
    let blocks = Range {
        start: PhysBlock::new(start.max(layout.first_data_block().into())),
        end: PhysBlock::new(start.saturating_add(in_blocks(wanted.len))),
    };
    let least = u32::try_from(least).unwrap_or(u32::MAX);
    let trimmed = vol.space.trim(&vol.store, blocks, least, trimmer)?;
    Ok(trimmed.wrapping_shl(size.bits()))
}
