// SPDX-License-Identifier: GPL-2.0

//! The generation of an inode, which tells it apart from others that had its number before.
//!
//! # Locks
//!
//! The caller holds `i_rwsem` exclusively. The map lock is taken inside the handle.

use super::live::Live;
use super::{pin, reservation, write, InodePart};
use crate::disk::Layout;
use crate::store::Store;
use kernel::error::{code::*, Result};

/// Whether the generation of an inode may be changed. Where metadata has checksums, those of all blocks of the inode
/// begin with it.
pub fn can_change(layout: &Layout) -> bool {
    layout.csum_seed().is_none()
}

/// Gives an inode the generation `generation`.
///
/// # Errors
///
/// `ENOTTY` where it cannot change ([`can_change`]); those of [`Store::begin`] and
/// [`Inode::write`](crate::inode::Inode::write).
pub fn set_generation<S: Store, L: Live<S>>(live: &L, generation: u32) -> Result {
    if !can_change(&live.volume().layout) {
        return Err(ENOTTY);
    }
    let mut tx = live.volume().store.begin(reservation::ATTRIBUTES)?;
    let _pinned = pin(live)?;
    let mut inode = live.map_lock();
    inode.generation = generation;
    live.changed();
    write(live, &inode, &mut tx, InodePart::Attributes)
}
