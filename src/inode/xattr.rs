// SPDX-License-Identifier: GPL-2.0

//! Extended attributes: where those of an inode are, how they are read, and how their block is given up. How they
//! change is in `xattr/draft.rs`.
//!
//! Some are in the inode itself, behind its fields, and those that did not fit there in one block. Inodes with equal
//! attributes in their blocks share one, which counts them (Documentation/filesystems/ext4/attributes.rst).
//!
//! # Locks
//!
//! The map lock guards the attributes of an inode, as all of it. That of the [shared
//! blocks](crate::volume::shared) is taken inside.

mod draft;
mod value;

pub use draft::{needs_inode, Changed, Draft, How};
pub use value::{value_hash, Owner, Unused, ValueCounts};

use super::place::InodePlace;
use super::Inode;
use crate::disk::bytes::copy;
use crate::disk::inode;
use crate::disk::xattr::{Area, Name, Prefix, Value, XattrFormat, XattrHeader};
use crate::disk::{Flaw, PhysBlock};
use crate::space::Run;
use crate::store::{About, Block, Credits, Store, Transaction};
use crate::volume::Volume;
use kernel::alloc::{flags::GFP_KERNEL, KVec};
use kernel::error::{code::*, Result};

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

/// An attribute that an inode is born with.
pub struct NewAttribute {
    /// What its name begins with.
    pub prefix: Prefix,
    /// The rest of its name.
    pub rest: KVec<u8>,
    /// Its value.
    pub value: KVec<u8>,
}

impl NewAttribute {
    /// One of this name, without a value.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn named(name: Name<'_>) -> Result<Self> {
        let mut rest = KVec::new();
        rest.extend_from_slice(name.rest, GFP_KERNEL)?;
        Ok(Self {
            prefix: name.prefix,
            rest,
            value: KVec::new(),
        })
    }

    /// Its name.
    pub fn name(&self) -> Name<'_> {
        Name {
            prefix: self.prefix,
            rest: &self.rest,
        }
    }
}

/// A block of attributes.
pub type AttributeBlock<S> = Block<S, XattrFormat>;

/// What became of a block that an inode does not use any more.
enum XattrRest {
    Shared,
    Unused,
    Bad(u32),
}

/// How many inodes use a block.
fn users(bytes: &[u8]) -> u32 {
    XattrHeader::split(bytes).map_or(0, |(header, _)| header.refcount.get())
}

/// The hash that a block says it has.
fn noted_hash(bytes: &[u8]) -> u32 {
    XattrHeader::split(bytes).map_or(0, |(header, _)| header.hash.get())
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
            .with(vol, |bytes| Ok(inode::attributes_at(bytes)))
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

    /// The block with attributes, if there is one.
    fn attribute_block<S: Store>(&self, vol: &Volume<S>) -> Result<Option<AttributeBlock<S>>> {
        self.file_acl
            .map(|nr| vol.store.read(nr, XattrFormat::new(&vol.layout)))
            .transpose()
    }

    /// Gives `f` the attributes that are in the inode itself, if any are.
    fn with_own<S: Store, R>(
        &self,
        vol: &Volume<S>,
        f: impl FnOnce(Area<'_>) -> R,
    ) -> Result<Option<R>> {
        self.with_own_at(vol, &InodePlace::of(vol, self.ino)?, f)
    }

    /// The same, of an inode that is at `place`.
    fn with_own_at<S: Store, R>(
        &self,
        vol: &Volume<S>,
        place: &InodePlace<S>,
        f: impl FnOnce(Area<'_>) -> R,
    ) -> Result<Option<R>> {
        place
            .with(vol, |bytes| Ok(inode::attributes(bytes).map(f)))
            .map_err(|flaw| vol.store.flawed(self.ino, flaw))
    }

    /// Copies the value of an attribute to `to`, and returns how many bytes it has. Without room for any nothing is
    /// copied.
    ///
    /// # Errors
    ///
    /// `ENODATA` where there is no such attribute; `ERANGE` where there is not enough room in `to`; `EUCLEAN`,
    /// reported; `EIO`, `ENOMEM`.
    pub fn attribute<S: Store>(
        &self,
        vol: &Volume<S>,
        name: Name<'_>,
        to: &mut [u8],
    ) -> Result<usize> {
        let mut elsewhere = None;
        let mut read = |area: Area<'_>| {
            let value = area.value(&area.find(name)?)?;
            let len = match value {
                Value::Here(value) => value.len(),
                Value::Elsewhere(value) => value.size as usize,
            };
            if to.is_empty() {
                return Some(Ok(len));
            }
            Some(match (to.get_mut(..len), value) {
                (None, _) => Err(ERANGE),
                (Some(to), Value::Here(value)) => {
                    copy(to, value);
                    Ok(len)
                }
                (Some(_), Value::Elsewhere(value)) => {
                    elsewhere = Some(value);
                    Ok(len)
                }
            })
        };
        let found = match self.with_own(vol, &mut read)?.flatten() {
            Some(found) => found,
            None => match self.attribute_block(vol)? {
                Some(block) => block
                    .with(|bytes| read(Area::in_block(bytes)))
                    .unwrap_or(Err(ENODATA)),
                None => Err(ENODATA),
            },
        };
        let (len, value) = (found?, elsewhere);
        if let (Some(value), Some(to)) = (value, to.get_mut(..len)) {
            self.read_elsewhere(vol, name, value, to)?;
        }
        Ok(len)
    }

    /// Tells `each` the names of all attributes: first of those in the inode. It is called under the byte lock of a
    /// block.
    ///
    /// # Errors
    ///
    /// Those of `each`, with which it ends; `EUCLEAN`, reported; `EIO`, `ENOMEM`.
    pub fn list_attributes<S: Store>(
        &self,
        vol: &Volume<S>,
        mut each: impl FnMut(Name<'_>) -> Result,
    ) -> Result {
        let mut tell =
            |area: Area<'_>| -> Result { area.entries().try_for_each(|entry| each(entry.name)) };
        self.with_own(vol, &mut tell)?.unwrap_or(Ok(()))?;
        match self.attribute_block(vol)? {
            Some(block) => block.with(|bytes| tell(Area::in_block(bytes))),
            None => Ok(()),
        }
    }

    /// Credits for [`Inode::release_attributes`] beside those of the inode and of a freed block.
    pub const RELEASE_CREDITS: Credits = Credits::new(1, 1);

    /// How many of its entries lead to values in inodes of their own. Each counts as an inode of this one's owners,
    /// whoever else leads to the value, and whoever shares the block with the entry.
    ///
    /// # Errors
    ///
    /// `EUCLEAN`, reported; `EIO`, `ENOMEM`.
    pub fn values<S: Store>(&self, vol: &Volume<S>) -> Result<u32> {
        if vol.layout.value_seed().is_none() {
            return Ok(0);
        }
        let own = self.with_own(vol, |area| area.count_elsewhere())?;
        let block = self.attribute_block(vol)?;
        let in_block = block.map_or(0, |block| {
            block.with(|bytes| Area::in_block(bytes).count_elsewhere())
        });
        let own = own.unwrap_or(0);
        Ok(u32::try_from(own.saturating_add(in_block)).unwrap_or(u32::MAX))
    }

    /// The inode does not use its attribute block any more, which is freed if it was the last. Returns how many values
    /// the block leads to ([`Self::values`]), or `None` as [`release`]. The caller writes the inode. Costs
    /// [`Inode::RELEASE_CREDITS`] and the credits for a freed block.
    ///
    /// # Errors
    ///
    /// `EUCLEAN` where the block is bad, or counts no users; `EIO`, `ENOMEM`; those of the journal.
    pub fn release_attributes<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        counts: &mut ValueCounts<'_, S>,
    ) -> Result<Option<u32>> {
        let Some(block) = self.attribute_block(vol)? else {
            return Ok(Some(0));
        };
        let owner = self.owner();
        let value = |n| block.with(|bytes| Area::in_block(bytes).elsewhere().nth(n));
        let mut sectors = vol.layout.block_size().sectors() as i64;
        let mut values = 0u32;
        while let Some(value) = value(values as usize) {
            sectors = sectors.saturating_add(counts.sectors(value, owner));
            values = values.saturating_add(1);
        }
        let nr = self.file_acl.take();
        self.map.add_sectors(sectors.saturating_neg());
        let done = release(vol, tx, &block, owner, counts)?;
        if !done {
            self.file_acl = nr;
            self.map.add_sectors(sectors);
        }
        Ok(done.then_some(values))
    }
}

/// Inode `owner`, which is new and goes again, gives up its attributes, with those of block `nr`. As [`release`].
///
/// # Errors
///
/// Those of [`Inode::release_attributes`].
pub fn release_new<S: Store>(
    vol: &Volume<S>,
    tx: &mut S::Tx<'_>,
    nr: Option<PhysBlock>,
    owner: Owner,
    counts: &mut ValueCounts<'_, S>,
) -> Result {
    let place = InodePlace::of(vol, owner.0)?;
    let own = |n| {
        let found = place.with(vol, |bytes| {
            Ok(inode::attributes(bytes).and_then(|own| own.elsewhere().nth(n)))
        });
        found.ok().flatten()
    };
    counts.down_all(tx, own, owner);
    if let Some(nr) = nr {
        let block = vol.store.read(nr, XattrFormat::new(&vol.layout))?;
        release(vol, tx, &block, owner, counts)?;
    }
    Ok(())
}

/// `owner` does not use a block of attributes any more, which is freed if it was the last. `false` where the block
/// leads to more values than the credits of `counts` are for: nothing has changed then.
///
/// # Errors
///
/// Those of [`Inode::release_attributes`], but `ENOMEM`.
pub fn release<S: Store>(
    vol: &Volume<S>,
    tx: &mut S::Tx<'_>,
    block: &AttributeBlock<S>,
    owner: Owner,
    counts: &mut ValueCounts<'_, S>,
) -> Result<bool> {
    let nr: PhysBlock = block.nr();
    let mut shared = vol.shared.lock();
    let values = block.with(|bytes| Area::in_block(bytes).count_elsewhere());
    if block.with(users) == 1 && !counts.pay_for(values) {
        return Ok(false);
    }
    // Others change the count as well, in handles of their own: it is looked at and changed under one lock.
    let rest = tx.edit(block, |bytes| {
        match (users(bytes), XattrHeader::split_mut(bytes)) {
            (1, _) => XattrRest::Unused,
            (users, Some((header, _))) if users > 1 => {
                header.refcount.set(users.wrapping_sub(1));
                XattrRest::Shared
            }
            (users, _) => XattrRest::Bad(users),
        }
    })?;
    match rest {
        XattrRest::Shared => Ok(true),
        XattrRest::Unused => {
            shared.forget(block.with(noted_hash), nr);
            // Where it cannot be freed, it must not be revoked: on the device the inode may lead to it still.
            vol.space.free(&vol.store, tx, Run { start: nr, len: 1 })?;
            let value = |n| block.with(|bytes| Area::in_block(bytes).elsewhere().nth(n));
            counts.down_all(tx, value, owner);
            tx.forget(nr)?;
            Ok(true)
        }
        XattrRest::Bad(count) => {
            let about = About::block(nr, block.format());
            Err(vol.store.flawed(about, Flaw::XattrRefcount { count }))
        }
    }
}
