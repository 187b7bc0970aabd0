// SPDX-License-Identifier: GPL-2.0

//! Blocks of extended attributes, as far as an inode that goes away has one. Inodes with equal attributes share a
//! block, which counts them (Documentation/filesystems/ext4/attributes.rst).

use super::Inode;
use crate::disk::xattr::{XattrFormat, XattrHeader};
use crate::disk::Flaw;
use crate::space::Run;
use crate::store::{About, Credits, Store, Transaction};
use crate::volume::Volume;
use kernel::error::Result;

/// What became of a block that an inode does not use any more.
enum XattrRest {
    Shared,
    Unused,
    Bad(u32),
}

impl Inode {
    /// Credits for [`Inode::release_attributes`] beside those of the inode and of a freed block.
    pub const RELEASE_CREDITS: Credits = Credits::new(1, 1);

    /// The inode does not use its attribute block any more, which is freed if it was the last. The caller writes the
    /// inode. Costs [`Inode::RELEASE_CREDITS`] and the credits for a freed block.
    ///
    /// # Errors
    ///
    /// `EUCLEAN` where the block is bad, or counts no users; `EIO`, `ENOMEM`; those of the journal.
    pub fn release_attributes<S: Store>(&mut self, vol: &Volume<S>, tx: &mut S::Tx<'_>) -> Result {
        let Some(nr) = self.file_acl.take() else {
            return Ok(());
        };
        self.map
            .add_sectors(-(vol.layout.block_size().sectors() as i64));
        let seed = vol.layout.csum_seed();
        let block = vol.store.read(nr, XattrFormat { seed })?;
        let count =
            |bytes: &[u8]| XattrHeader::split(bytes).map(|(header, _)| header.refcount.get());
        // Others change the count as well, in handles of their own: it is looked at and changed under one lock.
        let rest = tx.edit(&block, |bytes| {
            match (count(bytes), XattrHeader::split_mut(bytes)) {
                (Some(1), _) => XattrRest::Unused,
                (Some(users), Some((header, _))) if users > 1 => {
                    header.refcount.set(users.wrapping_sub(1));
                    XattrRest::Shared
                }
                (count, _) => XattrRest::Bad(count.unwrap_or(0)),
            }
        })?;
        match rest {
            XattrRest::Shared => Ok(()),
            XattrRest::Unused => {
                tx.forget(nr)?;
                vol.space.free(&vol.store, tx, Run { start: nr, len: 1 })
            }
            XattrRest::Bad(count) => {
                let about = About::block(nr, block.format());
                Err(vol.store.flawed(about, Flaw::XattrRefcount { count }))
            }
        }
    }
}
