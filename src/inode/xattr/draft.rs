// SPDX-License-Identifier: GPL-2.0

//! How extended attributes change.
//!
//! A [`Draft`] is a copy of what the inode and its block have. It is changed in memory, where nothing can be left half
//! done, and then written as a whole: to the inode, and to a block that already has these attributes, the block that is
//! the inode's alone, or a new one.

use super::{noted_hash, users, AttributeBlock};
use crate::disk::bytes::copy;
use crate::disk::inode::{attributes_room, set_attributes};
use crate::disk::xattr::{
    Area, Name, XattrFormat, XattrHeader, HEADER_SIZE, MAX_REFCOUNT, NAME_MAX,
};
use crate::disk::{Ino, PhysBlock};
use crate::inode::place::InodePlace;
use crate::inode::Inode;
use crate::space::{Claim, Goal, Run, Share};
use crate::store::{Credits, Rule, Store, Transaction};
use crate::volume::shared::Locked;
use crate::volume::Volume;
use kernel::alloc::{flags::GFP_KERNEL, KVec};
use kernel::error::{code::*, Result};

/// What is to be there before an attribute is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It does not matter.
    Any,
    /// No attribute of the name.
    Create,
    /// An attribute of the name.
    Replace,
}

/// The attributes that an inode is to have. See the top of the file.
pub struct Draft<S: Store> {
    /// What is in the inode: as long as there is room.
    own: KVec<u8>,
    own_changed: bool,
    /// The block that the inode has.
    old: Option<AttributeBlock<S>>,
    /// What is to be in the block, as long as a block; empty where that was not looked at, as there is none.
    block: KVec<u8>,
    block_changed: bool,
}

impl<S: Store> Draft<S> {
    /// Credits for [`Self::write`], with those of the inode and of the block that is given up.
    pub fn credits(vol: &Volume<S>) -> Credits {
        // The block that is shared or made, and the one that is given up; the super block, the first time.
        Inode::WRITE_CREDITS
            + Credits::blocks(2)
            + vol.space.credits_mark_used(1)
            + Inode::RELEASE_CREDITS
            + vol.space.credits_free(1)
    }

    /// A copy of what the inode has.
    ///
    /// # Errors
    ///
    /// `EUCLEAN`, reported; `EIO`, `ENOMEM`.
    pub fn of(vol: &Volume<S>, inode: &Inode) -> Result<Self> {
        let room = attributes_room(&vol.layout, inode.extra_isize);
        let mut own = KVec::from_elem(0, room, GFP_KERNEL)?;
        inode.with_own(vol, |area| copy(&mut own, area.bytes()))?;
        let old = inode.attribute_block(vol)?;
        let mut block = KVec::new();
        if let Some(old) = &old {
            block.resize(vol.layout.block_size().bytes() as usize, 0, GFP_KERNEL)?;
            old.with(|bytes| copy(&mut block, bytes));
        }
        Ok(Self {
            own,
            own_changed: false,
            old,
            block,
            block_changed: false,
        })
    }

    fn own_area(&self) -> Area<'_> {
        Area::in_inode(&self.own)
    }

    /// The attributes of the block; `None` where there is none.
    fn block_area(&self) -> Option<Area<'_>> {
        (!self.block.is_empty()).then(|| Area::in_block(&self.block))
    }

    /// Gives an attribute a value, or takes it away. An attribute is in the inode if there is room, and else in the
    /// block. Returns whether that changes anything.
    ///
    /// # Errors
    ///
    /// `EEXIST`, `ENODATA` as `how` says; `ERANGE` for a name that is too long; `ENOSPC` where there is room neither in
    /// the inode nor in a block; `ENOMEM`. Nothing has changed then.
    pub fn set(
        &mut self,
        vol: &Volume<S>,
        name: Name<'_>,
        value: Option<&[u8]>,
        how: How,
    ) -> Result<bool> {
        if name.rest.len() > NAME_MAX {
            return Err(ERANGE);
        }
        let value_in = |area: Area<'_>| {
            let entry = area.find(name)?;
            Some(value.is_some() && area.value(&entry) == value)
        };
        let in_own = value_in(self.own_area());
        let in_block = match in_own {
            Some(_) => None,
            None => self.block_area().and_then(value_in),
        };
        match (in_own.or(in_block), how) {
            (None, How::Replace) => return Err(ENODATA),
            (Some(_), How::Create) => return Err(EEXIST),
            (Some(true), _) => return Ok(false),
            (None, _) if value.is_none() => return Ok(false),
            _ => {}
        }
        if value.is_none() {
            let place = if in_own.is_some() {
                Place::Own
            } else {
                Place::Block
            };
            self.put(vol, place, name, None)?;
            return Ok(true);
        }
        let (to, from) = match self.put(vol, Place::Own, name, value)? {
            true => (Place::Own, in_block.map(|_| Place::Block)),
            false => (Place::Block, in_own.map(|_| Place::Own)),
        };
        if to == Place::Block && !self.put(vol, Place::Block, name, value)? {
            return Err(ENOSPC);
        }
        if let Some(from) = from {
            self.put(vol, from, name, None)?;
        }
        Ok(true)
    }

    /// Sets or removes the attribute in one place. `false` where there is no room.
    fn put(
        &mut self,
        vol: &Volume<S>,
        place: Place,
        name: Name<'_>,
        value: Option<&[u8]>,
    ) -> Result<bool> {
        if place == Place::Block && self.block.is_empty() {
            self.block
                .resize(vol.layout.block_size().bytes() as usize, 0, GFP_KERNEL)?;
        }
        let (bytes, changed) = match place {
            Place::Own => (&mut self.own, &mut self.own_changed),
            Place::Block => (&mut self.block, &mut self.block_changed),
        };
        let mut new = KVec::from_elem(0, bytes.len(), GFP_KERNEL)?;
        let area = match place {
            Place::Own => Area::in_inode(bytes),
            Place::Block => Area::in_block(bytes),
        };
        if !area.write_with(&mut new, name, value) {
            return Ok(false);
        }
        *bytes = new;
        *changed = true;
        Ok(true)
    }

    /// Makes the inode have these attributes. The caller writes the inode, and then gives up the block that this
    /// returns ([`release`](super::release)): the inode does not use it any more. Costs [`Self::credits`].
    ///
    /// # Errors
    ///
    /// `ENOSPC`, `ENOMEM`, `EIO`, `EUCLEAN` reported, those of the journal: nothing has changed but for the latter.
    pub fn write(
        mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        inode: &mut Inode,
    ) -> Result<Option<AttributeBlock<S>>> {
        // Before anything changes.
        let place = InodePlace::of(vol, inode.ino)?;
        let left = match self.block_changed {
            true => self.write_block(vol, tx, inode)?,
            false => None,
        };
        if self.own_changed {
            place.edit(vol, tx, inode.ino, |bytes| {
                set_attributes(bytes, Area::in_inode(&self.own));
                Ok(())
            })?;
        }
        Ok(left)
    }

    /// Whether [`Self::write`] gives a block to `inode`, which has none.
    pub fn needs_block(&self, inode: &Inode) -> bool {
        inode.file_acl.is_none() && !Area::in_block(&self.block).is_empty()
    }

    /// Returns the block that the inode does not use any more.
    fn write_block(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        inode: &mut Inode,
    ) -> Result<Option<AttributeBlock<S>>> {
        let sectors = vol.layout.block_size().sectors() as i64;
        let area = Area::in_block(&self.block);
        if area.is_empty() {
            let left = self.old.take();
            if left.is_some() {
                inode.file_acl = None;
                inode.map.add_sectors(-sectors);
            }
            return Ok(left);
        }
        let hash = area.hash();
        let mut shared = vol.shared.lock();
        let new = match self.share(vol, tx, &mut shared, hash)? {
            Some(nr) => nr,
            None if self.replace(vol, tx, &mut shared, hash)? => return Ok(None),
            None => self.make(vol, tx, &mut shared, hash, inode.ino)?,
        };
        inode.file_acl = Some(new);
        let left = self.old.take();
        if left.is_none() {
            inode.map.add_sectors(sectors);
        }
        Ok(left)
    }

    /// Uses a block that has the same attributes already, if one is known.
    fn share(
        &self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        shared: &mut Locked<'_>,
        hash: u32,
    ) -> Result<Option<PhysBlock>> {
        let seed = vol.layout.csum_seed();
        let found = shared
            .find(hash)
            .filter(|_| hash != 0)
            .filter(|nr| self.old.as_ref().is_none_or(|old| old.nr() != *nr))
            .and_then(|nr| vol.store.read_cached(nr, XattrFormat { seed }));
        let Some(block) = found else {
            return Ok(None);
        };
        let mine = Area::in_block(&self.block);
        // Whoever changes the block, or its count, has the lock of the shared blocks, as we do.
        let fits = block.with(|bytes| {
            (1..MAX_REFCOUNT).contains(&users(bytes)) && mine.equals(Area::in_block(bytes))
        });
        if !fits {
            return Ok(None);
        }
        if vol.store.breaks(Rule::AttributesCounted) {
            return Ok(Some(block.nr()));
        }
        tx.edit(&block, |bytes| {
            let count = users(bytes).saturating_add(1);
            if let Some((header, _)) = XattrHeader::split_mut(bytes) {
                header.refcount.set(count);
            }
        })?;
        Ok(Some(block.nr()))
    }

    /// Changes the block that the inode has, if it is the inode's alone.
    fn replace(
        &self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        shared: &mut Locked<'_>,
        hash: u32,
    ) -> Result<bool> {
        let is_mine = |old: &&AttributeBlock<S>| {
            old.with(users) == 1 || vol.store.breaks(Rule::AttributesApart)
        };
        let Some(old) = self.old.as_ref().filter(is_mine) else {
            return Ok(false);
        };
        let before = old.with(noted_hash);
        tx.edit(old, |bytes| self.fill(bytes, hash))?;
        shared.forget(before, old.nr());
        shared.note(hash, old.nr());
        Ok(true)
    }

    /// Makes a new block.
    fn make(
        &self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        shared: &mut Locked<'_>,
        hash: u32,
        ino: Ino,
    ) -> Result<PhysBlock> {
        let Some(slot) = vol.layout.inode_slot(ino) else {
            return Err(vol.store.bug(ino, "an inode has no group"));
        };
        let goal = Goal::in_group(slot.group);
        let choose = |share: Share| vol.space.choose(&vol.store, goal, 1, Claim::Free(share));
        let run: Run = vol.with_reserves(choose)?;
        if let Err(error) = vol.space.mark_used(&vol.store, tx, run) {
            vol.space.unchoose(run);
            return Err(error);
        }
        let seed = vol.layout.csum_seed();
        let made = tx.create(run.start, XattrFormat { seed }, |bytes| {
            self.fill(bytes, hash)
        });
        if let Err(error) = made {
            vol.space.unmark(&vol.store, tx, run)?;
            return Err(error);
        }
        shared.note(hash, run.start);
        Ok(run.start)
    }

    /// Fills a block that is one inode's.
    fn fill(&self, bytes: &mut [u8], hash: u32) {
        let entries = self.block.get(HEADER_SIZE..).unwrap_or_default();
        copy(bytes.get_mut(HEADER_SIZE..).unwrap_or_default(), entries);
        if let Some((header, _)) = XattrHeader::split_mut(bytes) {
            header.refcount.set(1);
            header.hash.set(hash);
        }
    }
}

/// Where an attribute is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the inode.
    Own,
    /// In the block.
    Block,
}
