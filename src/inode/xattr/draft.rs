// SPDX-License-Identifier: GPL-2.0

//! How extended attributes change.
//!
//! A [`Draft`] is a copy of what the inode and its block have. It is changed in memory, where nothing can be left half
//! done, and then written as a whole: to the inode, and to a block that already has these attributes, the block that is
//! the inode's alone, or a new one.

use super::{noted_hash, users, AttributeBlock, NewAttribute, Owner, ValueCounts};
use crate::disk::bytes::copy;
use crate::disk::inode::{attributes_room, set_attributes};
use crate::disk::xattr::{
    Area, Name, Value, ValueRef, XattrFormat, XattrHeader, HEADER_SIZE, MAX_REFCOUNT, NAME_MAX,
};
use crate::disk::PhysBlock;
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

/// What [`Draft::set`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Nothing: it is as it should be.
    Nothing,
    /// The attribute.
    All,
    /// Nothing yet: the value belongs in an inode of its own, and then [`Draft::set_elsewhere`] is called.
    NotYet,
}

/// The attributes that an inode is to have. See the top of the file.
pub struct Draft<S: Store> {
    /// Where the inode is. As long as there is the draft it can be written without being read.
    place: InodePlace<S>,
    /// What is in the inode: as long as there is room.
    own: KVec<u8>,
    own_changed: bool,
    /// The block that the inode has.
    old: Option<AttributeBlock<S>>,
    /// What is to be in the block, as long as a block; empty where that was not looked at, as there is none.
    block: KVec<u8>,
    block_changed: bool,
    /// Values in inodes of their own that entries lead to as of late.
    came: KVec<(Place, ValueRef)>,
    /// Such that an entry leads to no more.
    gone: KVec<(Place, ValueRef)>,
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
        let place = InodePlace::of(vol, inode.ino)?;
        let room = attributes_room(&vol.layout, inode.extra_isize);
        let mut own = KVec::from_elem(0, room, GFP_KERNEL)?;
        inode.with_own_at(vol, &place, |area| copy(&mut own, area.bytes()))?;
        let old = inode.attribute_block(vol)?;
        let mut block = KVec::new();
        if let Some(old) = &old {
            block.resize(vol.layout.block_size().bytes() as usize, 0, GFP_KERNEL)?;
            old.with(|bytes| copy(&mut block, bytes));
        }
        Ok(Self {
            place,
            own,
            own_changed: false,
            old,
            block,
            block_changed: false,
            came: KVec::new(),
            gone: KVec::new(),
        })
    }

    /// Whether there is something to write.
    pub fn is_changed(&self) -> bool {
        self.own_changed || self.block_changed
    }

    /// How many values in inodes of their own may be counted anew by [`Self::write`] and by giving up a block: each
    /// costs [`ValueCounts::CREDITS`] more.
    pub fn values(&self) -> u32 {
        let old =
            |old: &AttributeBlock<S>| old.with(|bytes| Area::in_block(bytes).count_elsewhere());
        let in_old = self.old.as_ref().map_or(0, old);
        let in_block = self.block_area().map_or(0, |area| area.count_elsewhere());
        let all = [in_old, in_block, self.came.len(), self.gone.len()];
        let count = all.into_iter().fold(0, usize::saturating_add);
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn own_area(&self) -> Area<'_> {
        Area::in_inode(&self.own)
    }

    /// The attributes of the block; `None` where there is none.
    fn block_area(&self) -> Option<Area<'_>> {
        (!self.block.is_empty()).then(|| Area::in_block(&self.block))
    }

    /// Gives an attribute a value, or takes it away. An attribute is in the inode if there is room, and else in the
    /// block; where there is none either, or the value needs nearly all of a block, an inode can hold it, on a file
    /// system that has such.
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
    ) -> Result<Changed> {
        if name.rest.len() > NAME_MAX {
            return Err(ERANGE);
        }
        let value_in = |area: Area<'_>| {
            let entry = area.find(name)?;
            // What is elsewhere is not compared.
            Some(value.is_some() && area.value(&entry) == value.map(Value::Here))
        };
        let in_own = value_in(self.own_area());
        let in_block = match in_own {
            Some(_) => None,
            None => self.block_area().and_then(value_in),
        };
        match (in_own.or(in_block), how) {
            (None, How::Replace) => return Err(ENODATA),
            (Some(_), How::Create) => return Err(EEXIST),
            (Some(true), _) => return Ok(Changed::Nothing),
            (None, _) if value.is_none() => return Ok(Changed::Nothing),
            _ => {}
        }
        let Some(value) = value else {
            let place = if in_own.is_some() {
                Place::Own
            } else {
                Place::Block
            };
            self.put(vol, place, name, None)?;
            return Ok(Changed::All);
        };
        let has_values = vol.layout.value_seed().is_some();
        if needs_inode(vol, value.len()) || !self.place(vol, name, Value::Here(value))? {
            return match has_values && !value.is_empty() {
                true => Ok(Changed::NotYet),
                false => Err(ENOSPC),
            };
        }
        Ok(Changed::All)
    }

    /// The value of attribute `name` is in an inode of its own from now on.
    ///
    /// # Errors
    ///
    /// `ENOSPC` where there is no room for the name; `ENOMEM`. Nothing has changed then.
    pub fn set_elsewhere(&mut self, vol: &Volume<S>, name: Name<'_>, value: ValueRef) -> Result {
        match self.place(vol, name, Value::Elsewhere(value))? {
            true => Ok(()),
            false => Err(ENOSPC),
        }
    }

    /// Takes away one attribute whose value is in an inode of its own, for an inode that goes: one of the inode itself,
    /// or of a block that nobody shares. `false` where there is none.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. Nothing has changed then.
    pub fn take_one(&mut self, vol: &Volume<S>) -> Result<bool> {
        let alone = |old: &AttributeBlock<S>| {
            // It stays alone then.
            let mut shared = vol.shared.lock();
            shared.forget(old.with(noted_hash), old.nr());
            old.with(users) == 1
        };
        let block = self.block_area();
        let block = block.filter(|_| self.old.as_ref().is_some_and(alone));
        let first = |area: Area<'_>| {
            let is_elsewhere = |value| matches!(value, Some(Value::Elsewhere(_)));
            let mut entries = area.entries();
            let entry = entries.find(|entry| is_elsewhere(area.value(entry)))?;
            Some(NewAttribute::named(entry.name))
        };
        let (place, name) = match (first(self.own_area()), block.and_then(first)) {
            (Some(name), _) => (Place::Own, name?),
            (None, Some(name)) => (Place::Block, name?),
            (None, None) => return Ok(false),
        };
        self.put(vol, place, name.name(), None)
    }

    /// Gives an attribute a value, in the inode if there is room, and else in the block. `false` where there is none
    /// either; nothing has changed then.
    fn place(&mut self, vol: &Volume<S>, name: Name<'_>, value: Value<'_>) -> Result<bool> {
        let has = |area: Area<'_>| area.find(name).is_some();
        if self.put(vol, Place::Own, name, Some(value))? {
            if self.block_area().is_some_and(has) {
                self.put(vol, Place::Block, name, None)?;
            }
        } else if self.put(vol, Place::Block, name, Some(value))? {
            if has(self.own_area()) {
                self.put(vol, Place::Own, name, None)?;
            }
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Sets or removes the attribute in one place. `false` where there is no room.
    fn put(
        &mut self,
        vol: &Volume<S>,
        place: Place,
        name: Name<'_>,
        value: Option<Value<'_>>,
    ) -> Result<bool> {
        if place == Place::Block && self.block.is_empty() {
            self.block
                .resize(vol.layout.block_size().bytes() as usize, 0, GFP_KERNEL)?;
        }
        let (bytes, changed) = match place {
            Place::Own => (&mut self.own, &mut self.own_changed),
            Place::Block => (&mut self.block, &mut self.block_changed),
        };
        if let (Place::Own, Some(Value::Here(value))) = (place, value) {
            let old = Area::in_inode(bytes).same_room(name, value.len());
            if let Some(old) = old.and_then(|old| bytes.get_mut(old)) {
                copy(old, value);
                *changed = true;
                return Ok(true);
            }
        }
        let mut new = KVec::from_elem(0, bytes.len(), GFP_KERNEL)?;
        let area = match place {
            Place::Own => Area::in_inode(bytes),
            Place::Block => Area::in_block(bytes),
        };
        let old = area.find(name).and_then(|entry| area.value(&entry));
        let Some(values) = area.write_with(&mut new, name, value) else {
            return Ok(false);
        };
        if let (Place::Block, Some(Value::Here(value))) = (place, value) {
            let same_size = |old: &[u8]| old.len().div_ceil(4) == value.len().div_ceil(4);
            let replaces = matches!(old, Some(Value::Here(old)) if same_size(old));
            // Names of further values that are elsewhere must find room, too.
            if !value.is_empty() && !replaces && values < kept_for_names(vol) {
                return Ok(false);
            }
        }
        if let Some(Value::Elsewhere(value)) = value {
            self.came.push((place, value), GFP_KERNEL)?;
        }
        if let Some(Value::Elsewhere(old)) = old {
            self.gone.push((place, old), GFP_KERNEL)?;
        }
        *bytes = new;
        *changed = true;
        Ok(true)
    }

    /// Where the inode is.
    pub(in crate::inode) fn inode_place(&self) -> &InodePlace<S> {
        &self.place
    }

    /// Puts the attributes that are to be in the inode there. `bytes` are the whole inode.
    pub(in crate::inode) fn fill_own(&self, bytes: &mut [u8]) {
        if self.own_changed {
            set_attributes(bytes, self.own_area());
        }
    }

    /// Makes the inode have these attributes. The caller writes the inode with them ([`Inode::write_with`]), and then
    /// gives up the block that this returns ([`release`](super::release)): the inode does not use it any more. Costs
    /// [`Self::credits`], and [`ValueCounts::CREDITS`] for each of [`Self::values`].
    ///
    /// # Errors
    ///
    /// `ENOSPC`, `ENOMEM`, `EIO`, `EUCLEAN` reported, those of the journal: nothing has changed but for the latter.
    pub fn write(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        inode: &mut Inode,
        counts: &mut ValueCounts<'_, S>,
    ) -> Result<Option<AttributeBlock<S>>> {
        let owner = inode.owner();
        counts.up_all(tx, at(&self.came, Place::Own), owner)?;
        let mut kept = false;
        let left = match self.block_changed {
            true => match self.write_block(vol, tx, inode, counts, &mut kept) {
                Ok(left) => left,
                Err(error) => {
                    counts.down_all(tx, at(&self.came, Place::Own), owner);
                    return Err(error);
                }
            },
            false => None,
        };
        // Before the last entry goes, and with it what it says.
        for (values, sign) in [(&self.came, 1), (&self.gone, -1)] {
            for (_, value) in values {
                let sectors = counts.sectors(*value, owner);
                inode.map.add_sectors(sectors.saturating_mul(sign));
            }
        }
        counts.down_all(tx, at(&self.gone, Place::Own), owner);
        if kept {
            counts.down_all(tx, at(&self.gone, Place::Block), owner);
        }
        Ok(left)
    }

    /// Whether [`Self::write`] gives a block to `inode`, which has none.
    pub fn needs_block(&self, inode: &Inode) -> bool {
        inode.file_acl.is_none() && !Area::in_block(&self.block).is_empty()
    }

    /// Returns the block that the inode does not use any more. `kept` is set where the inode's own was changed.
    fn write_block(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        inode: &mut Inode,
        counts: &mut ValueCounts<'_, S>,
        kept: &mut bool,
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
            None if self.replace(vol, tx, &mut shared, hash, (inode.owner(), counts))? => {
                *kept = true;
                return Ok(None);
            }
            None => self.make(vol, tx, &mut shared, hash, (inode.owner(), counts))?,
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
        shared: &mut Locked<'_, PhysBlock>,
        hash: u32,
    ) -> Result<Option<PhysBlock>> {
        let found = shared
            .find(hash)
            .filter(|_| hash != 0)
            .filter(|nr| self.old.as_ref().is_none_or(|old| old.nr() != *nr))
            .and_then(|nr| vol.store.read_cached(nr, XattrFormat::new(&vol.layout)));
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
        shared: &mut Locked<'_, PhysBlock>,
        hash: u32,
        (owner, counts): (Owner, &mut ValueCounts<'_, S>),
    ) -> Result<bool> {
        let is_mine = |old: &&AttributeBlock<S>| {
            old.with(users) == 1 || vol.store.breaks(Rule::AttributesApart)
        };
        let Some(old) = self.old.as_ref().filter(is_mine) else {
            return Ok(false);
        };
        let before = old.with(noted_hash);
        counts.up_all(tx, at(&self.came, Place::Block), owner)?;
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
        shared: &mut Locked<'_, PhysBlock>,
        hash: u32,
        (owner, counts): (Owner, &mut ValueCounts<'_, S>),
    ) -> Result<PhysBlock> {
        let Some(slot) = vol.layout.inode_slot(owner.0) else {
            return Err(vol.store.bug(owner.0, "an inode has no group"));
        };
        let goal = Goal::in_group(slot.group);
        let choose = |share: Share| vol.space.choose(&vol.store, goal, 1, Claim::Free(share));
        let run: Run = vol.with_reserves(choose)?;
        if let Err(error) = vol.space.mark_used(&vol.store, tx, run) {
            vol.space.unchoose(run);
            return Err(error);
        }
        let format = XattrFormat::new(&vol.layout);
        let value = |n| Area::in_block(&self.block).elsewhere().nth(n);
        let counted = counts.up_all(tx, value, owner);
        let made = counted.and_then(|()| {
            tx.create(run.start, format, |bytes| self.fill(bytes, hash))
                .inspect_err(|_| counts.down_all(tx, value, owner))
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

/// Whether a value of `len` bytes is put into an inode of its own in any case: it does not fit beside an entry with a
/// short name into a block that has no other.
pub fn needs_inode<S: Store>(vol: &Volume<S>, len: usize) -> bool {
    const OTHERS: usize = HEADER_SIZE + 20 + 4;
    let block = vol.layout.block_size().bytes() as usize;
    vol.layout.value_seed().is_some() && len > block.saturating_sub(OTHERS)
}

/// So much of the beginning of a block is kept free of values, where there can be some that are elsewhere, in bytes.
fn kept_for_names<S: Store>(vol: &Volume<S>) -> usize {
    match vol.layout.value_seed() {
        Some(_) => (vol.layout.block_size().bytes() as usize / 8).min(1024),
        None => 0,
    }
}

/// The `n`th value of one place.
fn at(values: &[(Place, ValueRef)], place: Place) -> impl Fn(usize) -> Option<ValueRef> + '_ {
    move |n| {
        let mut here = values.iter().filter(|(at, _)| *at == place);
        here.nth(n).map(|(_, value)| *value)
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
