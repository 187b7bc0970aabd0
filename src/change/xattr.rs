// SPDX-License-Identifier: GPL-2.0

//! Extended attributes are set and removed, each in a transaction of its own. Those that an inode is born with come
//! with it ([`create`](fn@super::create::create)). A value that is to be in an inode of its own is there before.
//!
//! # Locks
//!
//! The caller holds `i_rwsem` exclusively. The map lock is taken inside the handle, and guards the attributes.

use super::live::Live;
use super::value::{self, Stored};
use super::{reservation, write_with};
use crate::disk::xattr::Name;
use crate::inode::{release_attributes, Changed, Draft, How, Unused, ValueCounts};
use crate::store::{Rule, Store};
use crate::volume::Volume;
use kernel::error::{code::*, Result};

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
    loop {
        let mut draft = Draft::of(live.volume(), &live.map_lock())?;
        let stored = match (draft.set(live.volume(), name, value, how)?, value) {
            (Changed::Nothing, _) if mode.is_none() => return Ok(()),
            (Changed::NotYet, Some(value)) => {
                let stored = Stored::new(live, value)?;
                draft.set_elsewhere(live.volume(), name, stored.entry(name))?;
                Some(stored)
            }
            _ => None,
        };
        if let Some(unused) = write_draft(live, &mut draft, stored.as_ref(), mode)? {
            value::free_all(live, unused, live.attrs().ctime.sec as u32);
            return Ok(());
        }
    }
}

/// Writes what is to be there, and returns which inodes with values nothing leads to any more. `None` where nothing has
/// changed, as `stored` has gone since it was found.
fn write_draft<S: Store, L: Live<S>>(
    live: &L,
    draft: &mut Draft<S>,
    stored: Option<&Stored<'_, S, L>>,
    mode: Option<u16>,
) -> Result<Option<Unused>> {
    let volume = live.volume();
    let values = draft.values();
    let mut tx = volume.store.begin(reservation::attribute(volume, values))?;
    let mut inode = live.map_lock();
    let made = stored.map(Stored::made).unwrap_or_default();
    let mut counts = ValueCounts::lock(volume, live.orphans(), made, values);
    if stored.is_some_and(|stored| !stored.is_right(&mut counts)) {
        return Ok(None);
    }
    let mut left = None;
    if draft.is_changed() {
        let (blocks, inodes) = draft.wants(volume);
        let gone = draft.gives_up();
        // Before anything changes.
        live.count_inodes(&mut tx, inodes)?;
        left = promise_all(live, blocks)
            .and_then(|()| note_feature(volume, &mut tx))
            .and_then(|()| draft.write(volume, &mut tx, &mut inode, &mut counts))
            .inspect_err(|_| live.uncount_inodes(&mut tx, inodes))?;
        live.uncount_inodes(&mut tx, gone);
    }
    if let Some(stored) = stored {
        stored.note(&mut counts);
    }
    if let Some(mode) = mode {
        live.set_mode(mode);
    }
    live.changed();
    if !volume.store.breaks(Rule::AttributesWritten) {
        write_with(live, &inode, &mut tx, draft)?;
    }
    // What this fails with is reported: the block is nobody's then, but the attribute is set.
    let _ =
        left.map(|block| release_attributes(volume, &mut tx, &block, inode.owner(), &mut counts));
    Ok(Some(counts.into_unused()))
}

/// [`Live::promise`], of all or nothing.
fn promise_all<S: Store, L: Live<S>>(live: &L, blocks: u32) -> Result {
    match blocks == 0 || live.promise(blocks)? >= blocks {
        true => Ok(()),
        false => Err(EDQUOT),
    }
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
