// SPDX-License-Identifier: GPL-2.0

//! Blocks of extended attributes, as far as an inode that goes away has one. Inodes with equal attributes share a
//! block, which counts them (Documentation/filesystems/ext4/attributes.rst).

use super::{Core, JournalStore, Tx, Volume};
use crate::disk::xattr::{XattrFormat, XattrHeader};
use crate::space::Run;
use crate::store::{Store, Transaction};
use kernel::prelude::*;

/// Credits for [`release_block`] beside those of the inode and of a freed block.
pub(super) const RELEASE_CREDITS: u32 = 1;

/// What became of a block that an inode does not use any more.
enum Rest {
    Shared,
    Unused,
    Bad,
}

/// The inode does not use its attribute block any more, which is freed if it was the last. The caller writes the inode.
/// Costs [`RELEASE_CREDITS`], the credits for a freed block, and a revoke.
pub(super) fn release_block(volume: &Volume, tx: &mut Tx<'_>, core: &mut Core) -> Result {
    let Some(nr) = core.file_acl.take() else {
        return Ok(());
    };
    core.map
        .add_sectors(-(volume.layout.block_size().sectors() as i64));
    let seed = volume.layout.csum_seed();
    let block = volume.store.read(nr, XattrFormat { seed })?;
    let count = |bytes: &[u8]| XattrHeader::split(bytes).map(|(header, _)| header.refcount.get());
    // Others change the count as well, in handles of their own: it is looked at and changed under one lock.
    let rest = Transaction::<JournalStore>::edit(tx, &block, |bytes| {
        match (count(bytes), XattrHeader::split_mut(bytes)) {
            (Some(1), _) => Rest::Unused,
            (Some(users), Some((header, _))) if users > 1 => {
                header.refcount.set(users.wrapping_sub(1));
                Rest::Shared
            }
            _ => Rest::Bad,
        }
    })?;
    match rest {
        Rest::Shared => Ok(()),
        Rest::Unused => {
            Transaction::forget(tx, nr)?;
            volume.space.free(volume, tx, Run { start: nr, len: 1 })
        }
        Rest::Bad => Err(volume
            .store
            .corrupt(nr, fmt!("block {}: attributes that nobody uses", nr.get()))),
    }
}
