// SPDX-License-Identifier: GPL-2.0

//! A live directory as [`names`](crate::names) sees it; how the directories in a directory are counted in its link
//! count.
//!
//! # Links
//!
//! An inode has at most [`LINK_MAX`] links. A directory has two and one for each directory in it; a hashed one that
//! would get more has 1 from then on, which stands for "not counted" (feature `dir_nlink`), and keeps it.
//!
//! # Locks
//!
//! `i_rwsem` of the directory, shared to look and exclusively to change; with it size and map do not change. The map
//! lock is taken for a block only where the lock-free copy of the last extent does not answer.

use super::live::Live;
use crate::disk::inode::InodeFlags;
use crate::disk::{CsumSeed, Flaw, Ino, LogicalBlock, PhysBlock};
use crate::map::{Mapping, State};
use crate::names::{Directory, Known, Params};
use crate::store::Store;
use core::marker::PhantomData;
use kernel::error::{code::*, Result};

/// The most links of an inode (`EXT4_LINK_MAX`).
pub(super) const LINK_MAX: u32 = 65000;

/// A directory whose `i_rwsem` is held.
pub struct Dir<'a, S, L> {
    live: &'a L,
    params: &'a Params,
    store: PhantomData<S>,
}

impl<'a, S: Store, L: Live<S>> Dir<'a, S, L> {
    /// The directory `live`, whose `i_rwsem` the caller holds.
    pub fn new(live: &'a L) -> Self {
        Self {
            live,
            params: live.params(),
            store: PhantomData,
        }
    }

    fn mapping(&self, at: LogicalBlock) -> Result<Mapping> {
        if let Some(mapping) = self.live.snapshot().get(at, u32::MAX) {
            return Ok(mapping);
        }
        let mut inode = self.live.map_lock();
        inode.map.lookup(self.live.volume(), at, u32::MAX)
    }
}

impl<S: Store, L: Live<S>> Directory<S> for Dir<'_, S, L> {
    fn store(&self) -> &S {
        &self.live.volume().store
    }

    fn params(&self) -> Params {
        *self.params
    }

    fn ino(&self) -> Ino {
        self.live.ino()
    }

    fn seed(&self) -> Option<CsumSeed> {
        self.live.seed()
    }

    fn blocks(&self) -> u32 {
        let blocks = self.live.size() >> self.params.block_size.bits();
        u32::try_from(blocks).unwrap_or(u32::MAX)
    }

    fn version(&self) -> u64 {
        self.live.version()
    }

    fn is_indexed(&self) -> bool {
        self.live.flags().has(InodeFlags::INDEX)
    }

    fn set_indexed(&mut self, indexed: bool) {
        let mut inode = self.live.map_lock();
        inode.flags = match indexed {
            true => inode.flags.with(InodeFlags::INDEX),
            false => inode.flags.without(InodeFlags::INDEX),
        };
    }

    fn known(&self) -> Known {
        self.live.known()
    }

    fn note(&self, what: Known) {
        self.live.note(what);
    }

    fn run(&self, at: LogicalBlock) -> Result<(Option<PhysBlock>, u32)> {
        let mapping = self.mapping(at)?;
        let phys = mapping.phys.filter(|_| mapping.state == State::Written);
        Ok((phys, mapping.len))
    }

    fn append(&mut self, tx: &mut S::Tx<'_>) -> Result<(LogicalBlock, PhysBlock)> {
        let live = self.live;
        let at = LogicalBlock::new(self.blocks());
        let block = u64::from(self.params.block_size.bytes());
        let size = live.size().checked_add(block).ok_or(EFBIG)?;
        let volume = live.volume();
        if volume.settings.is_full_directory(live.size()) {
            return Err(ENOSPC);
        }
        let mut inode = live.map_lock();
        live.promise(1)?;
        let run = volume.with_reserves(|share| {
            let goal = live.goal(false);
            inode.map.allocate(volume, tx, at, 1, goal, share)
        });
        let run = match run {
            Err(error) if error == EEXIST => {
                drop(inode);
                return Err(volume.store.flawed(live.ino(), Flaw::DirBehindEnd));
            }
            other => other?,
        };
        inode.disk_size = size;
        live.set_size(size);
        Ok((at, run.start))
    }
}

/// Whether `dir` may have more directories than can be counted.
fn may_stop_counting<S: Store>(dir: &impl Live<S>) -> bool {
    dir.volume().layout.has_dir_nlink() && dir.flags().has(InodeFlags::INDEX)
}

/// Whether one more directory can be made in `dir`.
///
/// # Errors
///
/// `EMLINK`
pub(super) fn check_dir_links<S: Store>(dir: &impl Live<S>) -> Result {
    match dir.links() {
        LINK_MAX.. if !may_stop_counting(dir) => Err(EMLINK),
        _ => Ok(()),
    }
}

/// There is one more directory in `dir`.
pub(super) fn add_dir_link<S: Store>(dir: &impl Live<S>) {
    let links = dir.links();
    let more = links.saturating_add(1);
    // 1 stands for not counted.
    if links == 1 || (more > LINK_MAX && may_stop_counting(dir)) {
        dir.set_links(1);
    } else {
        dir.set_links(more);
    }
}

/// There is one directory less in `dir`.
pub(super) fn drop_dir_link<S: Store>(dir: &impl Live<S>) {
    // Two are its own; 1 stands for not counted.
    if dir.links() > 2 {
        dir.set_links(dir.links().saturating_sub(1));
    }
}
