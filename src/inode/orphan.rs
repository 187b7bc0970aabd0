// SPDX-License-Identifier: GPL-2.0

//! Orphans: inodes that a recovery has to look after, because their last link is gone while they are open,
//! or because they are being cut off in more than one transaction.
//!
//! On the device they are in the *orphan file*, if there is one and it has room (feature `orphan_file`), or else in
//! the *orphan list*: the super block has the number of the newest, and `i_dtime` of each that of the next older one.
//! See "Orphan file" in `Documentation/filesystems/ext4/orphan.rst`.
//!
//! # Invariants
//!
//! * `known` has every orphan, and where it is. The on-disk place changes in the transaction of the change that
//!   makes an inode an orphan, or that ends it.
//! * The links in `known` are the list as it is on the device.
//!
//! # Locks
//!
//! `known` has a mutex, taken within a handle; the byte lock is taken inside of it.

use super::{dtime, set_dtime, Inode};
use crate::disk::orphan::{self as format, OrphanFormat};
use crate::disk::superblock::RawSuper;
use crate::disk::{Flaw, Ino, LogicalBlock};
use crate::map::State;
use crate::store::{About, Block, Credits, Store, Transaction};
use crate::volume::Volume;
use core::pin::Pin;
use kernel::alloc::{flags::GFP_KERNEL, KBox, KVec};
use kernel::error::{code::*, Result};
use kernel::prelude::*;
use kernel::rbtree::RBTree;
use kernel::sync::atomic::{Atomic, Relaxed};
use kernel::sync::{new_mutex, Mutex};

/// Blocks of the orphan file that are used, at most; mke2fs makes far fewer.
const MAX_FILE_BLOCKS: u64 = 512;

/// Credits of [`Orphans::add`] and of [`Orphans::remove`]: the inode, and the super block or another inode.
pub const ORPHAN_CREDITS: Credits = Credits::blocks(2);

/// Credits of [`Orphans::cut_off`]: the super block or an inode.
const CUT_OFF_CREDITS: Credits = Credits::blocks(1);

/// Where an orphan is.
#[derive(Clone, Copy)]
enum OrphanPlace {
    /// In the orphan file: block and slot.
    File(usize, usize),
    /// In the list: the next newer and the next older one, zero for none.
    List { newer: u32, older: u32 },
}

#[derive(Default)]
struct KnownOrphans {
    places: RBTree<u32, OrphanPlace>,
    /// Newest of the list (`s_last_orphan`), zero for none.
    newest: u32,
}

/// A block of the orphan file.
struct FileBlock<S: Store> {
    block: Block<S, OrphanFormat>,
    /// Slots that are free, and not about to be used.
    free: Atomic<i32>,
}

/// The orphans of a mounted file system.
pub struct Orphans<S: Store> {
    file: KVec<FileBlock<S>>,
    slots: usize,
    known: Pin<KBox<Mutex<KnownOrphans>>>,
}

impl<S: Store> Orphans<S> {
    /// Reads the orphan file, if there is one.
    pub fn load(vol: &Volume<S>) -> Result<Self> {
        let slots = format::slots_per_block(vol.layout.block_size().bytes()) as usize;
        let mut file = KVec::new();

        if let Some(ino) = vol.layout.orphan_file_ino() {
            let (mut inode, _) = Inode::read_system(vol, ino)?;
            let blocks = vol.layout.block_size().blocks_for(inode.disk_size);
            let bad = |flaw| vol.store.flawed(ino, flaw);

            if blocks > MAX_FILE_BLOCKS {
                return Err(bad(Flaw::OrphanFileSize { blocks }));
            }
            let format = OrphanFormat {
                seed: inode.map.seed(),
            };

            for nr in 0..blocks {
                let at = LogicalBlock::new(nr as u32);
                let mapping = inode.map.lookup(vol, at, 1)?;
                let phys = mapping
                    .phys
                    .filter(|_| mapping.state == State::Written)
                    .ok_or_else(|| bad(Flaw::OrphanFileHole { block: at.get() }))?;
                let block = vol.store.read(phys, format)?;
                let used = block.with(format::used_slots);
                let free = slots.saturating_sub(used);

                file.push(
                    FileBlock {
                        block,
                        free: Atomic::new(i32::try_from(free).unwrap_or(0)),
                    },
                    GFP_KERNEL,
                )?;
            }
        }
        Ok(Self {
            file,
            slots,
            known: KBox::pin_init(
                new_mutex!(KnownOrphans::default(), "iomapfs_orphans"),
                GFP_KERNEL,
            )?,
        })
    }

    /// Whether the orphan file, if there is one, has no entries.
    pub fn file_is_empty(&self) -> bool {
        let slots = i32::try_from(self.slots).unwrap_or(i32::MAX);

        self.file
            .iter()
            .all(|block| block.free.load(Relaxed) == slots)
    }

    /// Whether `ino` is an orphan.
    pub fn contains(&self, ino: Ino) -> bool {
        self.known.lock().places.get(&ino.get()).is_some()
    }

    /// Makes `ino` an orphan. `false` where it is one already, and somebody else will end that.
    pub fn add(&self, vol: &Volume<S>, tx: &mut S::Tx<'_>, ino: Ino) -> Result<bool> {
        if self.contains(ino) {
            return Ok(false);
        }
        self.add_new(vol, tx, ino)?;
        vol.store.orphan(ino, true, tx.tid());
        Ok(true)
    }

    fn add_new(&self, vol: &Volume<S>, tx: &mut S::Tx<'_>, ino: Ino) -> Result {
        if let Some((block, slot)) = self.add_to_file(tx, ino)? {
            let place = OrphanPlace::File(block, slot);
            let result =
                self.known
                    .lock()
                    .places
                    .try_create_and_insert(ino.get(), place, GFP_KERNEL);

            if let Err(error) = result {
                self.remove_from_file(vol, tx, ino, block, slot)?;
                return Err(error);
            }
            return Ok(());
        }

        let mut known = self.known.lock();
        let older = known.newest;
        let place = OrphanPlace::List { newer: 0, older };

        // First what may fail without a trace.
        known
            .places
            .try_create_and_insert(ino.get(), place, GFP_KERNEL)?;
        let result = set_dtime(vol, tx, ino, older)
            .and_then(|()| vol.change_super(tx, |raw| raw.last_orphan.set(ino.get())));

        if let Err(error) = result {
            known.places.remove(&ino.get());
            return Err(error);
        }
        known.newest = ino.get();
        known.set_newer(older, ino.get());
        Ok(())
    }

    /// `ino` is no orphan any more. Does nothing where it was none.
    pub fn remove(&self, vol: &Volume<S>, tx: &mut S::Tx<'_>, ino: Ino) -> Result {
        let mut known = self.known.lock();

        match known.places.get(&ino.get()).copied() {
            None => return Ok(()),
            Some(OrphanPlace::File(block, slot)) => {
                drop(known);
                self.remove_from_file(vol, tx, ino, block, slot)?;
                self.known.lock().places.remove(&ino.get());
            }
            Some(OrphanPlace::List { newer, older }) => {
                match Ino::new(newer) {
                    Some(newer) => set_dtime(vol, tx, newer, older)?,
                    None => vol.change_super(tx, |raw| raw.last_orphan.set(older))?,
                }
                set_dtime(vol, tx, ino, 0)?;
                if newer == 0 {
                    known.newest = older;
                }
                known.set_older(newer, older);
                known.set_newer(older, newer);
                known.places.remove(&ino.get());
            }
        }
        vol.store.orphan(ino, false, tx.tid());
        Ok(())
    }

    /// `ino`, a left-over, is no inode that could be looked after: it is left to e2fsck.
    pub fn disown(&self, vol: &Volume<S>, ino: Ino) -> Result {
        let mut tx = vol.store.begin(ORPHAN_CREDITS)?;

        self.remove(vol, &mut tx, ino)
    }

    /// Takes a slot of the orphan file; `None` where there is none.
    fn add_to_file(&self, tx: &mut S::Tx<'_>, ino: Ino) -> Result<Option<(usize, usize)>> {
        let count = self.file.len();
        // Neighbours are likely to be removed at the same time: spread them.
        let start = (ino.get() as usize)
            .wrapping_mul(13)
            .checked_rem(count)
            .unwrap_or(0);

        for step in 0..count {
            let nr = start.wrapping_add(step).checked_rem(count).unwrap_or(0);
            let Some(block) = self.file.get(nr) else {
                break;
            };

            if !block.claim_slot() {
                continue;
            }
            let slot = tx
                .edit(&block.block, |bytes| format::insert(bytes, ino))
                .inspect_err(|_| block.release_slot())?;

            match slot {
                Some(slot) => return Ok(Some((nr, slot))),
                None => block.release_slot(),
            }
        }
        Ok(None)
    }

    fn remove_from_file(
        &self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        ino: Ino,
        block: usize,
        slot: usize,
    ) -> Result {
        let block = self.file.get(block);
        let block =
            block.ok_or_else(|| vol.store.bug(ino, "an orphan is beyond the orphan file"))?;

        if !tx.edit(&block.block, |bytes| format::remove(bytes, slot, ino))? {
            return Err(vol.store.flawed(ino, Flaw::OrphanGone));
        }
        block.release_slot();
        Ok(())
    }

    /// The orphans that a crash has left, which the caller then truncates or frees, and removes. For a mount that has
    /// just become writable; `raw` is the super block.
    pub fn left_over(&self, vol: &Volume<S>, raw: &RawSuper) -> Result<KVec<Ino>> {
        let mut found = KVec::new();

        // Nothing has become one since it was last writable; what could not be looked after then is found again.
        *self.known.lock() = KnownOrphans::default();
        for (nr, block) in self.file.iter().enumerate() {
            let mut from = 0;

            while let Some((slot, ino)) = block.block.with(|bytes| {
                let mut orphans = format::orphans(bytes);
                orphans.find(|(slot, _)| *slot >= from)
            }) {
                let place = OrphanPlace::File(nr, slot);

                from = slot.saturating_add(1);
                if self.is_new_orphan(vol, ino)? {
                    found.push(ino, GFP_KERNEL)?;
                    self.known
                        .lock()
                        .places
                        .try_create_and_insert(ino.get(), place, GFP_KERNEL)?;
                } else {
                    vol.store.flawed(ino, Flaw::OrphanFileEntry);
                }
            }
        }
        self.read_list(vol, raw.last_orphan.get(), &mut found)?;
        Ok(found)
    }

    /// Whether `ino` is an inode that may be an orphan, and is not known as one. One that is free may have blocks
    /// that are others' by now.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn is_new_orphan(&self, vol: &Volume<S>, ino: Ino) -> Result<bool> {
        if self.contains(ino) || ino == Ino::ROOT || !vol.layout.is_user_ino(ino) {
            return Ok(false);
        }
        match vol.space.inode_in_use(&vol.store, ino) {
            Err(error) if error == ENOMEM => Err(error),
            // It could not be freed.
            Err(_) => Ok(false),
            in_use => in_use,
        }
    }

    /// Reads the list from the device. Where it goes wrong, it is cut off.
    fn read_list(&self, vol: &Volume<S>, newest: u32, found: &mut KVec<Ino>) -> Result {
        let mut newer: Option<Ino> = None;
        let mut next = newest;

        self.known.lock().newest = newest;
        // Every turn adds an inode that was not known before, so this ends.
        while next != 0 {
            let possible = match Ino::new(next) {
                Some(ino) if self.is_new_orphan(vol, ino)? => Some(ino),
                _ => None,
            };
            let Some(ino) = possible else {
                vol.store
                    .flawed(About::NONE, Flaw::OrphanListEntry { ino: next });
                return self.cut_off(vol, newer);
            };
            let older = dtime(vol, ino)?;
            let mut known = self.known.lock();

            found.push(ino, GFP_KERNEL)?;
            known.places.try_create_and_insert(
                next,
                OrphanPlace::List {
                    newer: newer.map_or(0, Ino::get),
                    older,
                },
                GFP_KERNEL,
            )?;
            newer = Some(ino);
            next = older;
        }
        Ok(())
    }

    /// The list goes wrong after `last`, or at its beginning: ends it there, in memory and on the device.
    fn cut_off(&self, vol: &Volume<S>, last: Option<Ino>) -> Result {
        let mut tx = vol.store.begin(CUT_OFF_CREDITS)?;
        let mut known = self.known.lock();

        match last {
            Some(last) => {
                set_dtime(vol, &mut tx, last, 0)?;
                known.set_older(last.get(), 0);
            }
            None => {
                vol.change_super(&mut tx, |raw| raw.last_orphan.set(0))?;
                known.newest = 0;
            }
        }
        Ok(())
    }
}

impl<S: Store> FileBlock<S> {
    /// Takes one of the free slots.
    fn claim_slot(&self) -> bool {
        if self.free.fetch_sub(1, Relaxed) > 0 {
            return true;
        }
        self.release_slot();
        false
    }

    fn release_slot(&self) {
        self.free.add(1, Relaxed);
    }
}

impl KnownOrphans {
    fn set_newer(&mut self, ino: u32, to: u32) {
        if let Some(OrphanPlace::List { newer, .. }) = self.places.get_mut(&ino) {
            *newer = to;
        }
    }

    fn set_older(&mut self, ino: u32, to: u32) {
        if let Some(OrphanPlace::List { older, .. }) = self.places.get_mut(&ino) {
            *older = to;
        }
    }
}
