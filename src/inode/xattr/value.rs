// SPDX-License-Identifier: GPL-2.0

//! Values of extended attributes that are in inodes of their own (feature `ea_inode`).
//!
//! Such an inode is no file: no name and no handle leads to it, and the VFS has none for it. Its fields mean something
//! else: the access time is the hash of the value, the change time (high) and the change counter (low) say how many
//! entries lead to it. Entries of a block that several inodes share count once. It has one link as long as there is an
//! entry, and else it has none and is an orphan. While an entry leads to it its data stays what it is.
//!
//! An inode counts the blocks of the values that its entries lead to as its own (`i_blocks`), whoever else leads to
//! them.
//!
//! Old Lustre kernels have left another form: an inode that is one entry's, says whose (in the modification time and
//! the generation), and has no hash. What it holds counts for nobody.
//!
//! # Locks
//!
//! Who counts an entry more or less holds the mutex of the [shared values](crate::volume::shared). Who reads a value
//! holds the map lock of an inode that leads to it.

use super::Inode;
use crate::disk::bytes::copy;
use crate::disk::inode::{DiskInode, DiskTime, InodeFlags};
use crate::disk::xattr::{Name, ValueFormat, ValueRef};
use crate::disk::{Flaw, Ino, LogicalBlock, PhysBlock};
use crate::inode::place::InodePlace;
use crate::inode::{Attrs, Orphans, ORPHAN_CREDITS};
use crate::map::State;
use crate::store::{Credits, Rule, Store};
use crate::volume::shared::Locked;
use crate::volume::Volume;
use kernel::error::Result;

/// More entries than a block or an inode has.
const MOST_ENTRIES: usize = 65536;

/// The most entries that can be counted and one more added.
const MOST_USERS: u64 = u64::MAX - 1;

/// Whose entries lead to a value: an inode and its generation.
#[derive(Clone, Copy)]
pub struct Owner(pub Ino, pub u32);

/// An inode that holds a value.
struct ValueInode {
    inode: Inode,
    attrs: Attrs,
}

impl ValueInode {
    /// Reads one that an entry leads to.
    fn read<S: Store>(vol: &Volume<S>, ino: Ino) -> Result<Self> {
        let (inode, attrs) = Inode::read_value(vol, ino)?;
        Ok(Self { inode, attrs })
    }

    /// The hash that its value is to have.
    fn hash(&self) -> u32 {
        self.attrs.atime.sec as u32
    }

    fn users(&self) -> (u32, u64) {
        let Attrs { ctime, version, .. } = self.attrs;
        (self.attrs.nlink, DiskInode::joined_users(ctime, version))
    }

    /// Gives `each` the value in pieces, each with its place, as far as `len` bytes.
    fn each_piece<S: Store>(
        &mut self,
        vol: &Volume<S>,
        len: usize,
        mut each: impl FnMut(usize, &[u8]),
    ) -> Result {
        let size = vol.layout.block_size();
        let blocks = size.blocks_for(len as u64) as u32;
        let mut next = LogicalBlock::ZERO;
        while next.get() < blocks {
            let left = blocks.saturating_sub(next.get());
            let found = self.inode.map.lookup(vol, next, left)?;
            let start = match (found.state, found.phys) {
                (State::Written, Some(start)) => start,
                _ => {
                    let block = next.get();
                    return Err(vol.store.flawed(self.inode.ino, Flaw::ValueHole { block }));
                }
            };
            vol.store.readahead(start, found.len);
            for n in 0..found.len {
                let nr = PhysBlock::new(start.get().saturating_add(n.into()));
                let at = next.saturating_add(n).first_byte(size) as usize;
                let block = vol.store.read(nr, ValueFormat)?;
                block.with(|bytes| {
                    let rest = len.saturating_sub(at).min(bytes.len());
                    each(at, bytes.get(..rest).unwrap_or_default());
                });
            }
            next = next.saturating_add(found.len.max(1));
        }
        Ok(())
    }
}

/// Whether an inode with such an access time, modification time and generation is one of the old form, of `owner`.
fn is_old(
    value: ValueRef,
    owner: Owner,
    (atime, mtime, generation): (DiskTime, DiskTime, u32),
) -> bool {
    value.hash != atime.sec as u32 && mtime.sec as u32 == owner.0.get() && generation == owner.1
}

impl Inode {
    /// As an owner of values.
    pub fn owner(&self) -> Owner {
        Owner(self.ino, self.generation)
    }

    /// Copies the value of attribute `name`, which is in an inode of its own, to `to`, which has its size.
    ///
    /// # Errors
    ///
    /// `EUCLEAN`, reported; `EIO`, `ENOMEM`.
    pub(super) fn read_elsewhere<S: Store>(
        &self,
        vol: &Volume<S>,
        name: Name<'_>,
        value: ValueRef,
        to: &mut [u8],
    ) -> Result {
        let bad = |flaw| vol.store.flawed(value.ino, flaw);
        if value.ino == self.ino {
            return Err(bad(Flaw::ValueSelf));
        }
        let mut found = ValueInode::read(vol, value.ino)?;
        let Attrs { atime, mtime, .. } = found.attrs;
        let old = is_old(value, self.owner(), (atime, mtime, found.inode.generation));
        let (links, users) = found.users();
        if links != 1 || users == 0 && !old {
            return Err(bad(Flaw::ValueUsers { links, users }));
        }
        let (size, expected) = (found.inode.disk_size, value.size);
        if size != u64::from(expected) {
            return Err(bad(Flaw::ValueSize { size, expected }));
        }
        found.each_piece(vol, to.len(), |at, piece| {
            copy(to.get_mut(at..).unwrap_or_default(), piece);
        })?;
        if old {
            return Ok(());
        }
        let expected = found.hash();
        let hash = value_hash(vol, to);
        if hash != expected {
            return Err(bad(Flaw::ValueHash { hash, expected }));
        }
        value.check(name, hash).map_err(bad)?;
        vol.values.lock().note(hash, value.ino);
        Ok(())
    }
}

/// The hash of a value.
pub fn value_hash<S: Store>(vol: &Volume<S>, value: &[u8]) -> u32 {
    let seed = vol.layout.value_seed();
    seed.map_or(0, |seed| seed.checksum(value))
}

/// What keeps count of the entries that lead to inodes with values, in one transaction; with the lock of these counts.
pub struct ValueCounts<'a, S: Store> {
    vol: &'a Volume<S>,
    orphans: &'a Orphans<S>,
    /// `None` where the file system has no such inodes.
    shared: Option<Locked<'a, Ino>>,
    /// Inodes that were made for this transaction, and that nothing leads to yet.
    made: &'a [Ino],
    /// How many values the credits are for, in a block that is given up.
    budget: u32,
    unused: Unused,
}

/// Inodes with values that nothing leads to any more; for the caller to free. One that finds no place here is an orphan
/// until the next mount: one change leaves one such inode, unless counts are wrong.
#[derive(Clone, Copy, Default)]
pub struct Unused([Option<Ino>; 4]);

impl Unused {
    fn add(&mut self, ino: Ino) {
        if let Some(slot) = self.0.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some(ino);
        }
    }

    fn remove(&mut self, ino: Ino) {
        for slot in &mut self.0 {
            slot.take_if(|slot| *slot == ino);
        }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Ino> + '_ {
        self.0.iter().flatten().copied()
    }
}

impl<'a, S: Store> ValueCounts<'a, S> {
    /// Credits for an entry more, or less.
    pub const CREDITS: Credits = Credits::blocks(1).plus(ORPHAN_CREDITS);

    /// Takes the lock, inside the map lock. `made` were made for this transaction; its credits are good for giving up a
    /// block that leads to `budget` values.
    pub fn lock(vol: &'a Volume<S>, orphans: &'a Orphans<S>, made: &'a [Ino], budget: u32) -> Self {
        let has_values = vol.layout.value_seed().is_some();
        Self {
            vol,
            orphans,
            shared: has_values.then(|| vol.values.lock()),
            made,
            budget,
            unused: Unused::default(),
        }
    }

    /// What nothing leads to any more. Gives up the lock.
    pub fn into_unused(self) -> Unused {
        self.unused
    }

    /// Whether the credits are for so many values in a block that is given up.
    pub(super) fn pay_for(&self, values: usize) -> bool {
        values <= self.budget as usize
    }

    /// Whether inode `ino`, which was found by the hash, has just this value, and further entries may lead to it. If
    /// not it is found no more.
    pub fn has(&mut self, ino: Ino, value: &[u8], hash: u32) -> bool {
        let vol = self.vol;
        let Some(shared) = &mut self.shared else {
            return false;
        };
        if shared.find(hash) != Some(ino) {
            return false;
        }
        let same = || -> Result<bool> {
            let mut found = ValueInode::read(vol, ino)?;
            let mut same = found.hash() == hash
                && found.inode.disk_size == value.len() as u64
                && matches!(found.users(), (1, 1..));
            if same {
                found.each_piece(vol, value.len(), |at, piece| {
                    let mine = value.get(at..).and_then(|mine| mine.get(..piece.len()));
                    same &= mine == Some(piece);
                })?;
            }
            Ok(same)
        };
        // What is wrong was reported; then it gets an inode of its own.
        let same = same().unwrap_or(false);
        if !same {
            shared.forget(hash, ino);
        }
        same
    }

    /// There is an inode with this hash, which further entries may lead to from now on.
    pub fn note(&mut self, hash: u32, ino: Ino) {
        if let Some(shared) = &mut self.shared {
            shared.note(hash, ino);
        }
    }

    /// One entry more leads to an inode. Costs [`Self::CREDITS`].
    ///
    /// # Errors
    ///
    /// `EUCLEAN`, reported; `EIO`, `ENOMEM`; those of the journal. Nothing has changed but for the latter.
    pub(super) fn up(&mut self, tx: &mut S::Tx<'_>, value: ValueRef) -> Result {
        let vol = self.vol;
        let ino = value.ino;
        let made = self.made.contains(&ino);
        if vol.store.breaks(Rule::ValuesCounted) && !made {
            return Ok(());
        }
        let first = edit(vol, tx, ino, |raw| {
            let users = raw.users();
            match (raw.links, users) {
                (1, 1..=MOST_USERS) => {}
                (0, 0) if made => {}
                (links, users) => {
                    return Err(Flaw::ValueUsers {
                        links: links.into(),
                        users,
                    })
                }
            }
            raw.links = 1;
            raw.set_users(users.wrapping_add(1));
            Ok(users == 0)
        })?;
        if first {
            vol.store.insist(|| self.orphans.remove(vol, tx, ino))?;
            self.unused.remove(ino);
        }
        Ok(())
    }

    /// One entry of `owner` less leads to an inode, which becomes an orphan with the last. Costs [`Self::CREDITS`].
    ///
    /// # Errors
    ///
    /// As [`Self::up`].
    pub(super) fn down(&mut self, tx: &mut S::Tx<'_>, value: ValueRef, owner: Owner) -> Result {
        let vol = self.vol;
        let ino = value.ino;
        let place = InodePlace::of(vol, ino)?;
        let (users, hash) = place
            .with(vol, |bytes| {
                let raw = DiskInode::decode(&vol.layout, ino, bytes)?;
                let users = match is_old(value, owner, (raw.atime, raw.mtime, raw.generation)) {
                    true => 1,
                    false => raw.users(),
                };
                let links = raw.links.into();
                match raw.flags.has(InodeFlags::EA_INODE) {
                    false => Err(Flaw::ValueFlag),
                    true if links != 1 || users == 0 => Err(Flaw::ValueUsers { links, users }),
                    true => Ok((users, raw.atime.sec as u32)),
                }
            })
            .map_err(|flaw| vol.store.flawed(ino, flaw))?;
        let last = users == 1;
        if last {
            self.orphans.add(vol, tx, ino)?;
            if let Some(shared) = &mut self.shared {
                shared.forget(hash, ino);
            }
        }
        edit(vol, tx, ino, |raw| {
            raw.set_users(users.wrapping_sub(1));
            raw.links = u16::from(!last);
            Ok(())
        })?;
        if last {
            self.unused.add(ino);
        }
        Ok(())
    }

    /// How many units of 512 bytes `owner` counts as its own for a value.
    pub(super) fn sectors(&self, value: ValueRef, owner: Owner) -> i64 {
        let old = InodePlace::of(self.vol, value.ino).is_ok_and(|place| {
            let old = place.with(self.vol, |bytes| {
                let raw = DiskInode::decode(&self.vol.layout, value.ino, bytes)?;
                Ok(is_old(value, owner, (raw.atime, raw.mtime, raw.generation)))
            });
            old.unwrap_or(false)
        });
        let size = self.vol.layout.block_size();
        let sectors = size
            .blocks_for(value.size.into())
            .saturating_mul(size.sectors());
        match old {
            true => 0,
            false => i64::try_from(sectors).unwrap_or(0),
        }
    }

    /// [`Self::up`] for each that `nth` gives, or for none.
    ///
    /// # Errors
    ///
    /// As there.
    pub(super) fn up_all(
        &mut self,
        tx: &mut S::Tx<'_>,
        nth: impl Fn(usize) -> Option<ValueRef>,
        owner: Owner,
    ) -> Result {
        for done in 0..MOST_ENTRIES {
            let Some(value) = nth(done) else { break };
            if let Err(error) = self.up(tx, value) {
                self.down_all(tx, |n| nth(n).filter(|_| n < done), owner);
                return Err(error);
            }
        }
        Ok(())
    }

    /// [`Self::down`] for each. What that fails with is reported: such an inode is nobody's then.
    pub(super) fn down_all(
        &mut self,
        tx: &mut S::Tx<'_>,
        nth: impl Fn(usize) -> Option<ValueRef>,
        owner: Owner,
    ) {
        for value in (0..MOST_ENTRIES).map_while(nth) {
            let _ = self.vol.store.insist(|| self.down(tx, value, owner));
        }
    }
}

/// Changes the fields of an inode that holds a value.
fn edit<S: Store, R>(
    vol: &Volume<S>,
    tx: &mut S::Tx<'_>,
    ino: Ino,
    f: impl FnOnce(&mut DiskInode) -> Result<R, Flaw>,
) -> Result<R> {
    InodePlace::of(vol, ino)?.edit(vol, tx, ino, |bytes| {
        let mut raw = DiskInode::decode(&vol.layout, ino, bytes)?;
        if !raw.flags.has(InodeFlags::EA_INODE) {
            return Err(Flaw::ValueFlag);
        }
        let done = f(&mut raw)?;
        raw.encode(&vol.layout, ino, bytes)?;
        Ok(done)
    })
}
