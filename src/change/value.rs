// SPDX-License-Identifier: GPL-2.0

//! Inodes that hold values of extended attributes: how they come and go.
//!
//! # Crash safety
//!
//! Such an inode is made before the change that leads to it, in as many transactions as it takes, and is an orphan
//! until then. When nothing leads to it any more it is an orphan again, and freed in transactions of its own.
//!
//! # Locks
//!
//! No map lock is held. Nobody else knows the inode.

use super::live::Live;
use super::{reservation, resize};
use crate::disk::bytes::copy;
use crate::disk::inode::{DiskTime, InodeFlags};
use crate::disk::xattr::{Name, ValueFormat, ValueRef};
use crate::disk::{Flaw, Ino, LogicalBlock, PhysBlock};
use crate::inode::{
    needs_inode, set_dtime, value_hash, wipe, Attrs, Content, Inode, NewAttribute, Orphans, Unused,
    ValueCounts,
};
use crate::space::Goal;
use crate::store::{Rule, Store, Transaction};
use crate::volume::Volume;
use core::marker::PhantomData;
use kernel::error::Result;
use kernel::prelude::*;

/// Mode of such an inode: a regular file of its owner's.
const MODE: u16 = 0o100_600;

/// An inode with a value that an attribute is to have. If it was made, and no entry leads to it when this is dropped,
/// it is freed: no map lock is held then, and no handle.
pub(super) struct Stored<'v, S: Store, L: Live<S>> {
    live: &'v L,
    value: &'v [u8],
    hash: u32,
    ino: Ino,
    made: bool,
    store: PhantomData<S>,
}

impl<'v, S: Store, L: Live<S>> Stored<'v, S, L> {
    /// Finds one that may have this value already, or makes one for an attribute of `live`, or of an inode that is made
    /// in `live`.
    ///
    /// # Errors
    ///
    /// `ENOSPC`; `EUCLEAN`, reported; `EIO`, `ENOMEM`; those of the journal. There is none then.
    pub(super) fn new(live: &'v L, value: &'v [u8]) -> Result<Self> {
        let volume = live.volume();
        let hash = value_hash(volume, value);
        let found = volume.values.lock().find(hash);
        let (ino, made) = match found {
            Some(ino) if ino != live.ino() => (ino, false),
            _ => (make(live, value, hash)?, true),
        };
        Ok(Self {
            live,
            value,
            hash,
            ino,
            made,
            store: PhantomData,
        })
    }

    /// Whether it has this value.
    pub(super) fn is_of(&self, value: &[u8]) -> bool {
        self.value == value
    }

    /// What the entry of `name` says of it.
    pub(super) fn entry(&self, name: Name<'_>) -> ValueRef {
        ValueRef::new(name, self.ino, self.value.len() as u32, self.hash)
    }

    /// The inode, if it was made.
    pub(super) fn made(&self) -> &[Ino] {
        match self.made {
            true => core::slice::from_ref(&self.ino),
            false => &[],
        }
    }

    /// Whether further entries may lead to it: it was made, or has the value.
    pub(super) fn is_right(&self, counts: &mut ValueCounts<'_, S>) -> bool {
        self.made || counts.has(self.ino, self.value, self.hash)
    }

    /// If an entry leads to it, others may, too.
    pub(super) fn note(&self, counts: &mut ValueCounts<'_, S>) {
        if self.made && !self.live.orphans().contains(self.ino) {
            counts.note(self.hash, self.ino);
        }
    }
}

impl<S: Store, L: Live<S>> Drop for Stored<'_, S, L> {
    fn drop(&mut self) {
        if self.made && self.live.orphans().contains(self.ino) {
            free_one(self.live, self.ino, self.live.attrs().ctime.sec as u32);
        }
    }
}

/// Inodes for those values of `attributes` that need one in any case, of an inode that is to be made in `dir`. Where
/// there is nothing, as most often, there is no vector either: an empty one costs its end.
///
/// # Errors
///
/// Those of [`Stored::new`].
pub(super) fn store<'v, S: Store, L: Live<S>>(
    dir: &'v L,
    attributes: Option<&'v [NewAttribute]>,
) -> Result<Option<KVec<Stored<'v, S, L>>>> {
    let Some(attributes) = attributes else {
        return Ok(None);
    };
    let mut all = KVec::new();
    for new in attributes {
        if needs_inode(dir.volume(), new.value.len()) {
            all.push(Stored::new(dir, &new.value)?, GFP_KERNEL)?;
        }
    }
    Ok(Some(all))
}

/// Makes an inode with the value, as an orphan.
fn make<S: Store, L: Live<S>>(live: &L, value: &[u8], hash: u32) -> Result<Ino> {
    let volume = live.volume();
    let owner = live.attrs();
    let attrs = Attrs {
        mode: MODE,
        uid: owner.uid,
        gid: owner.gid,
        nlink: 0,
        rdev: 0,
        atime: DiskTime {
            sec: i64::from(hash as i32),
            nsec: 0,
        },
        mtime: owner.ctime,
        ctime: DiskTime::default(),
        crtime: owner.ctime,
        version: 0,
        project: 0,
    };
    let mut inode = create(live, &attrs, hash)?;
    let ino = inode.ino;
    fill(volume, &mut inode, &attrs, value).inspect_err(|_| {
        free_one(live, ino, owner.ctime.sec as u32);
    })?;
    Ok(ino)
}

/// Makes an empty one.
fn create<S: Store, L: Live<S>>(live: &L, attrs: &Attrs, hash: u32) -> Result<Inode> {
    let volume = live.volume();
    let mut tx = volume.store.begin(reservation::value(volume))?;
    let ino = volume
        .space
        .alloc_inode(&volume.store, &mut tx, live.ino(), false)?;
    if live.orphans().contains(ino) {
        // Then it must not be freed, either.
        return Err(volume.store.flawed(ino, Flaw::InodeStillUsed));
    }
    // Nobody ever has a handle of it, which the generation would tell from others.
    let flags = InodeFlags::EA_INODE;
    Inode::create(volume, &mut tx, ino, attrs, flags, hash, Content::Mapped)
        .and_then(|inode| {
            if !volume.store.breaks(Rule::ValueOrphan) {
                live.orphans().add(volume, &mut tx, ino)?;
            }
            Ok(inode)
        })
        .inspect_err(|_| {
            // What this fails with is reported; the error that led here tells more.
            let _ = wipe(volume, &mut tx, ino)
                .and_then(|()| volume.space.free_inode(&volume.store, &mut tx, ino, false));
        })
}

/// Gives it the value.
fn fill<S: Store>(volume: &Volume<S>, inode: &mut Inode, attrs: &Attrs, value: &[u8]) -> Result {
    let size = volume.layout.block_size();
    let slot = volume.layout.inode_slot(inode.ino);
    let slot = slot.ok_or_else(|| volume.store.bug(inode.ino, "an inode has no group"))?;
    let blocks = size.blocks_for(value.len() as u64) as u32;
    let mut at = LogicalBlock::ZERO;
    let mut handle = None;
    inode.disk_size = value.len() as u64;
    while at.get() < blocks {
        let credits = reservation::fill_value(volume, inode.map.depth());
        let tx = volume.store.ready(&mut handle, credits)?;
        let len = blocks.saturating_sub(at.get()).min(reservation::VALUE_STEP);
        let run = volume.with_reserves(|share| {
            let goal = Goal::in_group(slot.group);
            inode.map.allocate(volume, tx, at, len, goal, share)
        })?;
        for n in 0..run.len {
            let from = at.saturating_add(n).first_byte(size) as usize;
            let piece = value.get(from..).unwrap_or_default();
            let nr = PhysBlock::new(run.start.get().saturating_add(n.into()));
            tx.create(nr, ValueFormat, |bytes| {
                copy(bytes, piece);
            })?;
        }
        inode.write(volume, tx, attrs)?;
        at = at.saturating_add(run.len);
    }
    Ok(())
}

/// Frees inodes that no attribute of `live` nor of another inode leads to. `now` as in
/// [`free`](fn@super::free::free).
pub(super) fn free_all<S: Store, L: Live<S>>(live: &L, unused: Unused, now: u32) {
    for ino in unused.iter() {
        free_one(live, ino, now);
    }
}

/// Frees one; if that fails it is an orphan until the next mount.
fn free_one<S: Store, L: Live<S>>(live: &L, ino: Ino, now: u32) {
    let volume = live.volume();
    let store = &volume.store;
    let done = store.insist(|| free(volume, live.orphans(), ino, now));
    if let Err(error) = done {
        if store.check_writable().is_ok() {
            store.fail(
                error,
                ino,
                fmt!(
                    "inode {}: the value of an attribute is deleted, but not freed",
                    ino.get()
                ),
            );
        }
    }
}

/// May be called again after an error: what is done stays done.
fn free<S: Store>(volume: &Volume<S>, orphans: &Orphans<S>, ino: Ino, now: u32) -> Result {
    let (mut inode, attrs) = Inode::read_orphan(volume, ino)?;
    let mut before = LogicalBlock::LIMIT;
    let mut handle = None;
    while !inode.map.is_empty() {
        let (granted, credits) = reservation::cut_metadata(volume, inode.map.depth());
        let tx = volume.store.ready(&mut handle, credits)?;
        let progress = resize::cut_metadata(volume, tx, &mut inode, before, granted);
        inode.write(volume, tx, &attrs)?;
        match progress? {
            Some(next) => before = next,
            None => break,
        }
    }
    let tx = volume.store.ready(&mut handle, reservation::free(volume))?;
    orphans.remove(volume, tx, ino)?;
    set_dtime(volume, tx, ino, now)?;
    volume.space.free_inode(&volume.store, tx, ino, false)
}
