// SPDX-License-Identifier: GPL-2.0

//! Extended attributes as ext4 has made them: where they are, and what becomes of their block when an inode goes away.
//! Inodes with equal attributes share a block, which counts them (Documentation/filesystems/ext4/attributes.rst).

use super::place::InodePlace;
use super::Inode;
use crate::disk::inode::attributes_at;
use crate::disk::xattr::{XattrFormat, XattrHeader};
use crate::disk::Flaw;
use crate::space::Run;
use crate::store::{About, Credits, Store, Transaction};
use crate::volume::Volume;
use kernel::error::Result;

/// Where an inode has extended attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The first byte on the device.
    pub start: u64,
    /// How many bytes.
    pub len: u32,
    /// Whether that is in the inode, and no block.
    pub in_inode: bool,
}

/// What became of a block that an inode does not use any more.
enum XattrRest {
    Shared,
    Unused,
    Bad(u32),
}

impl Inode {
    /// Where it has extended attributes: in the inode, or else in its block. Where there are some in both, the block is
    /// not told.
    ///
    /// # Errors
    ///
    /// `EUCLEAN`, reported; `EIO`, `ENOMEM`.
    pub fn attributes<S: Store>(&self, vol: &Volume<S>) -> Result<Option<Attributes>> {
        let place = InodePlace::of(vol, self.ino)?;
        let at = place
            .with(vol, |bytes| Ok(attributes_at(bytes)))
            .map_err(|flaw| vol.store.flawed(self.ino, flaw))?;
        if let Some(at) = at {
            return Ok(Some(Attributes {
                start: place.byte(vol).saturating_add(at as u64),
                len: u32::from(vol.layout.inode_size()).saturating_sub(at as u32),
                in_inode: true,
            }));
        }
        let size = vol.layout.block_size();
        Ok(self.file_acl.map(|nr| Attributes {
            start: nr.get().wrapping_shl(size.bits()),
            len: size.bytes(),
            in_inode: false,
        }))
    }

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
