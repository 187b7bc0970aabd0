// SPDX-License-Identifier: GPL-2.0

//! The name of the volume and its UUID: in the super block, and in the copies of it that e2fsck goes by where that is
//! lost.
//!
//! All of them are changed in the journal, the super block first, and as many as it takes in one transaction: a power
//! cut in the middle leaves the old one in some of the copies.
//!
//! # Locks
//!
//! Who changes copies holds a mutex of the [super block](crate::volume::super_block), so that all of them come to have
//! the same, and begins handles with it.

use super::reservation;
use crate::disk::features::{compat, incompat, ro_compat};
use crate::disk::superblock::{BackupFormat, RawSuper};
use crate::store::{Store, Transaction};
use crate::volume::Volume;
use kernel::error::{code::*, Result};
use kernel::prelude::*;

/// The most bytes of a name.
pub const LABEL_MAX: usize = 16;

/// The name of the volume, with zeros behind it.
///
/// # Errors
///
/// Those of [`SuperBlock::with`](crate::volume::super_block::SuperBlock::with).
pub fn label<S: Store>(volume: &Volume<S>) -> Result<[u8; LABEL_MAX]> {
    volume
        .super_block
        .with(&volume.store, |raw| raw.volume_name)
}

/// Gives the volume a name; behind it are zeros.
///
/// # Errors
///
/// Those of [`Store::begin`] and [`Store::read`]; what the journal says. Then the super block may have the name and
/// some of its copies the old one.
pub fn set_label<S: Store>(volume: &Volume<S>, label: &[u8; LABEL_MAX]) -> Result {
    change_all(volume, |raw| raw.volume_name = *label)
}

/// The UUID of the volume.
///
/// # Errors
///
/// As [`label`].
pub fn uuid<S: Store>(volume: &Volume<S>) -> Result<[u8; 16]> {
    volume.super_block.with(&volume.store, |raw| raw.uuid)
}

/// Whether the UUID of the volume may be changed. It may not where checksums begin with it, or what users have made of
/// it and the numbers of inodes (the feature `stable_inodes`).
pub fn can_change_uuid<S: Store>(volume: &Volume<S>) -> bool {
    let features = volume.layout.features();
    let sums = features.has_ro_compat(ro_compat::METADATA_CSUM)
        || features.has_ro_compat(ro_compat::GDT_CSUM)
        || volume.layout.value_seed().is_some();
    !features.has_compat(compat::STABLE_INODES)
        && (!sums || features.has_incompat(incompat::CSUM_SEED))
}

/// Gives the volume another UUID.
///
/// # Errors
///
/// `EOPNOTSUPP` where it cannot change ([`can_change_uuid`]); those of [`set_label`].
pub fn set_uuid<S: Store>(volume: &Volume<S>, uuid: &[u8; 16]) -> Result {
    if !can_change_uuid(volume) {
        return Err(EOPNOTSUPP);
    }
    change_all(volume, |raw| raw.uuid = *uuid)
}

/// Changes the super block and all its copies.
///
/// # Errors
///
/// Those of [`set_label`].
fn change_all<S: Store>(volume: &Volume<S>, change: impl Fn(&mut RawSuper)) -> Result {
    let (store, layout) = (&volume.store, &volume.layout);
    let _alone = volume.super_block.lock_backups();
    let mut tx = store.begin(reservation::SUPER)?;
    volume.change_super(&mut tx, &change)?;
    let mut groups = layout.all_groups();
    // The first group has the super block itself.
    groups.next();
    for group in groups.filter(|group| layout.has_super(*group)) {
        let nr = layout.group_first_block(group);
        let block = store.read(nr, BackupFormat)?;
        if !block.with(BackupFormat::is_good) {
            store.warn(fmt!(
                "block {} is no good copy of the super block, and left as it is",
                nr.get()
            ));
            continue;
        }
        tx.ensure(reservation::SUPER)?;
        tx.edit(&block, |bytes| {
            if let Some(raw) = RawSuper::from_block_mut(bytes, 0) {
                change(raw);
            }
        })?;
    }
    Ok(())
}
