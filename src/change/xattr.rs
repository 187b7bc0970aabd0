// SPDX-License-Identifier: GPL-2.0

//! Extended attributes are set and removed, each in a transaction of its own. Those that an inode is born with come
//! with it ([`create`](fn@super::create::create)).
//!
//! # Locks
//!
//! The caller holds `i_rwsem` exclusively. The map lock is taken inside the handle, and guards the attributes.

use super::live::{InodePart, Live};
use super::{pin, reservation, write};
use crate::disk::xattr::Name;
use crate::inode::{release_attributes, Draft, How};
use crate::store::{Rule, Store};
use crate::volume::Volume;
use kernel::error::Result;

/// Gives an attribute the value `value`, or removes it. With it the inode gets the mode `mode`, where an access control
/// list says so. Where neither changes anything, nothing is written, and no time changes.
///
/// # Errors
///
/// Those of [`Draft::set`], [`Draft::write`] and [`Store::begin`]: nothing has changed.
pub fn set<S: Store, L: Live<S>>(
    live: &L,
    name: Name<'_>,
    value: Option<&[u8]>,
    how: How,
    mode: Option<u16>,
) -> Result {
    let volume = live.volume();
    let mut tx = volume.store.begin(reservation::attribute(volume))?;
    let _pinned = pin(live)?;
    let mut inode = live.map_lock();
    let mut draft = Draft::of(volume, &inode)?;
    let changed = draft.set(volume, name, value, how)?;
    if !changed && mode.is_none() {
        return Ok(());
    }
    let mut left = None;
    if changed {
        if draft.needs_block(&inode) {
            live.promise(1)?;
        }
        note_feature(volume, &mut tx)?;
        left = draft.write(volume, &mut tx, &mut inode)?;
    }
    if let Some(mode) = mode {
        live.set_mode(mode);
    }
    live.changed();
    if !volume.store.breaks(Rule::AttributesWritten) {
        write(live, &inode, &mut tx, InodePart::Attributes)?;
    }
    // What this fails with is reported: the block is nobody's then, but the attribute is set.
    let _ = left.map(|block| release_attributes(volume, &mut tx, &block));
    Ok(())
}

/// The super block says that there are attributes.
pub(super) fn note_feature<S: Store>(volume: &Volume<S>, tx: &mut S::Tx<'_>) -> Result {
    let noted = volume
        .super_block
        .with(&volume.store, |raw| raw.has_attributes())?;
    match noted {
        true => Ok(()),
        false => volume.change_super(tx, |raw| raw.set_attributes()),
    }
}
