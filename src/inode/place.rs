// SPDX-License-Identifier: GPL-2.0

//! The bytes of an inode in the inode table: where they are, and how they are read and changed.
//!
//! The byte lock of the block of the inode table is held while they are: neighbours change one after the other.

use crate::disk::inode::{self, InodeTableFormat};
use crate::disk::layout::InodeSlot;
use crate::disk::{Flaw, Ino};
use crate::store::{Block, Store, Transaction};
use crate::volume::Volume;
use kernel::error::Result;

/// The block of the inode table with an inode, and where in it that is.
pub(super) struct InodePlace<S: Store> {
    block: Block<S, InodeTableFormat>,
    slot: InodeSlot,
}

impl<S: Store> InodePlace<S> {
    pub(super) fn of(vol: &Volume<S>, ino: Ino) -> Result<Self> {
        let nr = |slot: &InodeSlot| {
            let table = vol.space.inode_table(slot.group)?;
            table.checked_add(slot.block.into())
        };
        let slot = vol.layout.inode_slot(ino);
        let Some((slot, nr)) = slot.and_then(|slot| Some((slot, nr(&slot)?))) else {
            return Err(vol.store.flawed(ino, Flaw::InodeNumber));
        };
        Ok(Self {
            block: vol.store.read(nr, InodeTableFormat)?,
            slot,
        })
    }

    fn bytes<'a>(&self, vol: &Volume<S>, block: &'a [u8]) -> Result<&'a [u8], Flaw> {
        let end = self
            .slot
            .offset
            .saturating_add(vol.layout.inode_size().into());
        block.get(self.slot.offset..end).ok_or(Flaw::TooShort)
    }

    fn bytes_mut<'a>(&self, vol: &Volume<S>, block: &'a mut [u8]) -> Result<&'a mut [u8], Flaw> {
        let end = self
            .slot
            .offset
            .saturating_add(vol.layout.inode_size().into());
        block.get_mut(self.slot.offset..end).ok_or(Flaw::TooShort)
    }

    /// Its first byte on the device.
    pub(super) fn byte(&self, vol: &Volume<S>) -> u64 {
        let block = self.block.nr().get();
        let start = block.wrapping_shl(vol.layout.block_size().bits());
        start.saturating_add(self.slot.offset as u64)
    }

    /// Gives `f` the whole inode.
    pub(super) fn with<R>(
        &self,
        vol: &Volume<S>,
        f: impl FnOnce(&[u8]) -> Result<R, Flaw>,
    ) -> Result<R, Flaw> {
        self.block.with(|block| f(self.bytes(vol, block)?))
    }

    /// Gives `f` the whole inode, to change it.
    pub(super) fn edit<R>(
        &self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        ino: Ino,
        f: impl FnOnce(&mut [u8]) -> Result<R, Flaw>,
    ) -> Result<R> {
        tx.edit(&self.block, |block| f(self.bytes_mut(vol, block)?))?
            .map_err(|flaw| vol.store.flawed(ino, flaw))
    }
}

/// The block of the inode table with an inode. As long as it is kept, the inode can be written without being read.
///
/// # Errors
///
/// `EUCLEAN`, reported; `EIO`, `ENOMEM`.
pub fn pin<S: Store>(vol: &Volume<S>, ino: Ino) -> Result<Block<S, InodeTableFormat>> {
    Ok(InodePlace::of(vol, ino)?.block)
}

/// Reads `i_dtime` of an inode: when it was deleted, or the next orphan.
///
/// # Errors
///
/// `EUCLEAN`, reported; `EIO`, `ENOMEM`.
pub fn dtime<S: Store>(vol: &Volume<S>, ino: Ino) -> Result<u32> {
    InodePlace::of(vol, ino)?
        .with(vol, |bytes| inode::dtime(bytes).ok_or(Flaw::TooShort))
        .map_err(|flaw| vol.store.flawed(ino, flaw))
}

/// Sets `i_dtime` of an inode: when it was deleted, in seconds of Unix time, or the next orphan. Costs one credit.
///
/// # Errors
///
/// `EUCLEAN`, reported; `EIO`, `ENOMEM`; what the journal says.
pub fn set_dtime<S: Store>(vol: &Volume<S>, tx: &mut S::Tx<'_>, ino: Ino, value: u32) -> Result {
    InodePlace::of(vol, ino)?.edit(vol, tx, ino, |bytes| {
        inode::set_dtime(bytes, value);
        inode::seal(&vol.layout, ino, bytes);
        Ok(())
    })
}

/// Wipes an inode that was not finished: it is as one that was never used. Costs one credit.
///
/// # Errors
///
/// As [`set_dtime`].
pub fn wipe<S: Store>(vol: &Volume<S>, tx: &mut S::Tx<'_>, ino: Ino) -> Result {
    InodePlace::of(vol, ino)?.edit(vol, tx, ino, |bytes| {
        bytes.fill(0);
        Ok(())
    })
}
