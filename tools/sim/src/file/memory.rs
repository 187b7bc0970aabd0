// SPDX-License-Identifier: GPL-2.0

//! Files whose blocks are memory: writes, stores to mappings, truncate and `fallocate` without a page cache.
//!
//! A file is of both kinds here, one after the other, as if it left memory in between. What a store has left in the
//! caches of the processor is what a device has in its cache: whole blocks are lost or not, and the kernel's writeback
//! of them is a flush. What others do to mappings while blocks are freed is not there.

use super::fallocate::What;
use crate::model;
use crate::mount::Shared;
use crate::sim::Sim;
use iomapfs_core::change::dax::{extend, place, Place};
use iomapfs_core::change::sync::{self, Committed};
use iomapfs_core::change::Live;
use iomapfs_core::disk::LogicalBlock;
use iomapfs_core::map::State;
use kernel::error::{code::*, Result};
use std::ops::Range;

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// A write, which leaves nothing in the caches of the processor.
    Write,
    /// A store to a mapping, within the file.
    Store,
    /// The same to one with `MAP_SYNC`, which is durable when it has left the caches.
    Sync,
    /// The file ends where the write would.
    SetSize,
    /// `fallocate`
    Fallocate(What),
}

impl Sim {
    /// Does something to bytes `pos..pos + len` of a file.
    ///
    /// # Errors
    ///
    /// `ENOSPC`
    pub fn use_memory(&mut self, node: &Shared, pos: u64, len: u64, what: Memory) -> Result {
        self.leave_cache(node);
        match what {
            Memory::Write | Memory::Store | Memory::Sync => {
                self.with_space(|sim| sim.write_memory(node, pos..pos + len, what))
            }
            Memory::SetSize => {
                self.set_size_of(node, pos + len, true);
                Ok(())
            }
            Memory::Fallocate(what) => {
                self.with_space(|sim| sim.fallocate_once(node, what, (pos, len), true))
            }
        }
    }

    /// The file leaves memory, and comes back as one without a page cache.
    fn leave_cache(&mut self, node: &Shared) {
        let ino = node.ino().get();
        self.finish_flights(|flight| flight.ino == ino);
        self.write_and_wait(node, 0, u32::MAX);
        self.drop_all_pages(ino);
        let map = &mut node.map_lock().map;
        map.cancel(&self.mount.vol, LogicalBlock::ZERO, LogicalBlock::LIMIT);
    }

    fn write_memory(&mut self, node: &Shared, mut write: Range<u64>, what: Memory) -> Result {
        let ino = node.ino().get();
        if what == Memory::Write {
            self.prepare(node, write.clone(), (false, false), true);
        } else {
            write.end = write.end.min(node.size());
        }
        let size = node.size();
        let version = self.next_version();
        let mut pos = write.start;
        let mut done = Ok(());
        while pos < write.end {
            let found = self.place(node, &(pos..write.end));
            self.world.catch_up(&self.mount);
            let place = match found {
                Ok(place) => place,
                Err(error) => {
                    done = Err(error);
                    break;
                }
            };
            let stop = write.end.min(self.byte_of(place.mapping.end().get()));
            if what == Memory::Sync && !self.is_found(node, stop.min(size)) {
                self.make_durable(node, true);
            }
            self.store(node, &place, &(pos..stop), (version, what != Memory::Store));
            pos = stop;
            if what == Memory::Sync {
                let now = self.world.trace.now();
                let needed = self.world.needed(ino, |a, b| a.finds_same(b));
                self.world.history.promise(now, needed);
            }
        }
        if what == Memory::Write {
            let written = write.start..pos;
            extend(&**node, size, &written).expect("the journal is alive");
            self.world.catch_up(&self.mount);
        }
        match pos > write.start {
            // A short write.
            true => Ok(()),
            false => done,
        }
    }

    fn is_found(&self, node: &Shared, end: u64) -> bool {
        sync::is_found(&**node, end, || Committed::UpTo(self.world.committed()))
    }

    fn place(&mut self, node: &Shared, write: &Range<u64>) -> Result<Place> {
        let ino = node.ino().get();
        let (first, to) = (self.split(write.start).0, self.blocks_for(write.end));
        let (size, bytes) = (node.size(), self.block_size);
        let (world, mount) = (&mut self.world, &self.mount);
        let zero = |from: LogicalBlock, run: iomapfs_core::space::Run| {
            for i in 0..run.len {
                let at = from.get() + i;
                let begin = u64::from(at) * u64::from(bytes);
                let nr = run.start.checked_add(i.into()).expect("it exists");
                let zeros = vec![0; bytes as usize].into();
                let end = size.clamp(begin, begin + u64::from(bytes));
                world.write_data(mount, (ino, at), nr, (zeros, end), true);
            }
            Ok(())
        };
        let place = place(&**node, (LogicalBlock::new(first), to - first), write, zero)?;
        let behind = first >= self.blocks_for(size);
        let state = match behind {
            true => State::Pending,
            false => State::Written,
        };
        assert!(
            behind && place.mapping.state == State::Written || place.mapping.state == state,
            "inode {ino}: block {first} is {:?}",
            place.mapping.state
        );
        Ok(place)
    }

    /// Stores to blocks; `through` is whether that leaves the caches of the processor at once.
    fn store(
        &mut self,
        node: &Shared,
        place: &Place,
        bytes: &Range<u64>,
        (version, through): (u32, bool),
    ) {
        let ino = node.ino().get();
        let mapping = place.mapping;
        let phys = mapping.phys.expect("it was chosen");
        for at in mapping.start.get()..mapping.end().get() {
            let begin = self.byte_of(at);
            let block = u64::from(self.block_size);
            let from = bytes.start.max(begin);
            let to = bytes.end.min(begin + block);
            if from >= to {
                continue;
            }
            let nr = phys.checked_add(u64::from(at - mapping.start.get()));
            let nr = nr.expect("it exists");
            let mut content = self.mount.vol.store.read_data(nr).to_vec();
            let part = (from - begin) as usize..(to - begin) as usize;
            model::pattern(ino, version, from, &mut content[part.clone()]);
            model::pattern(ino, version, from, &mut self.shadow_of(ino, at)[part]);
            let end = to.max(node.size().min(begin + block));
            let data = (content.into(), end);
            let id = self
                .world
                .write_data(&self.mount, (ino, at), nr, data, through);
            if !through {
                self.world.data_done(ino, at, id);
            }
        }
    }

    /// Makes bytes zero where there is data, on the device at once. Gives whether there was any.
    pub(super) fn zero_memory(&mut self, node: &Shared, range: Range<u64>) -> bool {
        let ino = node.ino().get();
        let mut zeroed = false;
        for at in self.split(range.start).0..self.blocks_for(range.end) {
            let found = self.lookup(node, at, 1);
            let Some(nr) = found.phys.filter(|_| found.state == State::Written) else {
                continue;
            };
            let begin = self.byte_of(at);
            let block = u64::from(self.block_size);
            let mut content = self.mount.vol.store.read_data(nr).to_vec();
            let from = range.start.saturating_sub(begin) as usize;
            let to = (range.end - begin).min(block) as usize;
            content[from..to].fill(0);
            let end = node.size().clamp(begin, begin + block);
            let data = (content.into(), end);
            self.world
                .write_data(&self.mount, (ino, at), nr, data, true);
            zeroed = true;
        }
        zeroed
    }

    /// No space for what cannot be: an error that is none.
    pub(crate) fn try_use_memory(&mut self, node: &Shared, pos: u64, len: u64, what: Memory) {
        match self.use_memory(node, pos, len, what) {
            Err(error) if error == ENOSPC => {
                self.no_space(error, self.blocks_for(len).into(), false);
            }
            done => done.expect("the journal is alive"),
        }
    }
}
