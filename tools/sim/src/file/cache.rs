// SPDX-License-Identifier: GPL-2.0

//! The page cache.

use super::flight::{Flight, Way};
use crate::device::Bytes;
use crate::model;
use crate::mount::Shared;
use crate::sim::Sim;
use iomapfs_core::change::access::{Seen, View};
use iomapfs_core::change::publish::is_due;
use iomapfs_core::change::{target, Live};
use iomapfs_core::disk::LogicalBlock;
use iomapfs_core::map::{Mapping, State};
use kernel::error::{code::*, Result};

/// A cached block of a file.
pub struct Page {
    bytes: Vec<u8>,
    dirty: bool,
}

impl Sim {
    /// What a block has that is not in memory.
    fn read_device(&self, node: &Shared, at: u32, view: View) -> Vec<u8> {
        let found = self.lookup(node, at, 1);
        match found.phys {
            Some(phys) if self.seen(&found, view) == Seen::Mapped => {
                self.mount.vol.store.read_data(phys).to_vec()
            }
            _ => vec![0; self.block_size as usize],
        }
    }

    /// What a user reads.
    pub(super) fn read_block(&self, node: &Shared, at: u32) -> Vec<u8> {
        let key = (node.ino().get(), at);
        match self.pages.get(&key) {
            Some(page) => page.bytes.clone(),
            None => self.read_device(node, at, View::Read),
        }
    }

    /// Brings a block of a file into memory, of which a part is to be written.
    fn load(&mut self, node: &Shared, at: u32) -> &mut Page {
        let key = (node.ino().get(), at);
        if !self.pages.contains_key(&key) {
            // iomap does not read behind the end.
            let bytes = match self.byte_of(at) < node.size() {
                true => self.read_device(node, at, View::Write),
                false => vec![0; self.block_size as usize],
            };
            let dirty = false;
            self.pages.insert(key, Page { bytes, dirty });
        }
        self.pages.get_mut(&key).expect("it is there")
    }

    /// Where a write of bytes `pos..end` through the page cache goes: reserved where it is not on disk yet.
    fn begin_buffered(&mut self, node: &Shared, pos: u64, end: u64) -> Result<Mapping> {
        let (first, to) = (self.split(pos).0, self.blocks_for(end));
        let blocks = (LogicalBlock::new(first), to - first);
        let reserved = target::reserve(&**node, &mut node.map_lock(), blocks, true)?;
        Ok(reserved.mapping)
    }

    /// A buffered write.
    pub fn write(&mut self, node: &Shared, pos: u64, len: u64) -> Result {
        self.with_space(|sim| sim.write_once(node, pos, len))
    }

    fn write_once(&mut self, node: &Shared, pos: u64, len: u64) -> Result {
        let ino = node.ino().get();
        let (start, end) = (pos, pos + len);
        let blocks = (self.split(pos).0, self.blocks_for(end));
        self.finish_flights(|flight| {
            flight.ino == ino && flight.is_direct() && flight.touches(blocks)
        });
        loop {
            self.prepare(node, pos..end, (false, false), false);
            let direct = |flight: &Flight| flight.ino == ino && flight.is_direct();
            if end <= node.size() || !self.flights.iter().any(direct) {
                break;
            }
            self.finish_flights(direct);
        }
        let version = self.next_version();
        let mut pos = pos;
        while pos < end {
            let mapping = match self.begin_buffered(node, pos, end) {
                Ok(mapping) => mapping,
                Err(error) if pos == start => return Err(error),
                // A short write.
                Err(error) if error == ENOSPC => break,
                Err(error) => return Err(error),
            };
            let stop = end.min(self.byte_of(mapping.end().get()));
            while pos < stop {
                let (at, from) = self.split(pos);
                let count = (self.block_size as usize - from).min((stop - pos) as usize);
                let page = self.load(node, at);
                model::pattern(ino, version, pos, &mut page.bytes[from..from + count]);
                page.dirty = true;
                self.world.dirty.insert((ino, at));
                let shadow = self.shadow_of(ino, at);
                model::pattern(ino, version, pos, &mut shadow[from..from + count]);
                pos += count as u64;
                node.set_size(node.size().max(pos));
            }
        }
        Ok(())
    }

    /// Does something with data. Where there is no space, makes some and does it again.
    pub(super) fn with_space<R>(&mut self, mut f: impl FnMut(&mut Self) -> Result<R>) -> Result<R> {
        match f(self) {
            Err(error) if error == ENOSPC => {
                self.reclaim_space();
                f(self)
            }
            other => other,
        }
    }

    /// Makes space: all is written back, and what can be had becomes free.
    fn reclaim_space(&mut self) {
        for node in self.nodes.values().cloned().collect::<Vec<_>>() {
            self.write_back(&node, 0, u32::MAX, usize::MAX);
        }
        self.release_windows();
        self.reclaim_freed();
    }

    /// Makes bytes `from..to` zero where there is anything. Gives whether there was.
    pub(super) fn zero_range(&mut self, node: &Shared, from: u64, to: u64) -> bool {
        let ino = node.ino().get();
        let (mut pos, last) = (from, self.blocks_for(to));
        let first = self.split(from).0;
        let dirty = self
            .pages
            .range((ino, first)..(ino, last))
            .any(|(_, page)| page.dirty);
        let mut flights = self.flights.iter();
        let mut unsettled = dirty
            || flights.any(|flight| {
                flight.ino == ino && !flight.is_direct() && flight.touches((first, last))
            });
        let mut zeroed = false;
        while pos < to {
            let at = self.split(pos).0;
            let found = self.lookup(node, at, last - at);
            let stop = to.min(self.byte_of(found.end().get()));
            match self.seen(&found, View::Write) {
                Seen::Unwritten if unsettled => {
                    // It may be about to become written.
                    unsettled = false;
                    self.write_and_wait(node, at, last);
                }
                Seen::Hole | Seen::Unwritten => pos = stop,
                Seen::Delayed | Seen::Mapped => {
                    while pos < stop {
                        let (at, from) = self.split(pos);
                        let count = (self.block_size as usize - from).min((stop - pos) as usize);
                        let page = self.load(node, at);
                        page.bytes[from..from + count].fill(0);
                        page.dirty = true;
                        self.world.dirty.insert((ino, at));
                        pos += count as u64;
                    }
                    zeroed = true;
                }
            }
        }
        zeroed
    }

    /// Where writeback finds block `at`, and what lies behind it.
    fn map_for_writeback(&self, node: &Shared, at: u32) -> Mapping {
        let at = LogicalBlock::new(at);
        let found = target::write_back(&**node, &mut node.map_lock(), at).expect("was reserved");
        assert!(
            found.state != State::Hole,
            "block {} is dirty and a hole",
            at.get()
        );
        found
    }

    /// Begins to write back dirty blocks of `from..to`, at most `count`.
    pub fn write_back(&mut self, node: &Shared, from: u32, to: u32, count: usize) {
        let ino = node.ino().get();
        let is_settled = |at: u32| {
            let mut flights = self.flights.iter();
            !flights.any(|flight| flight.ino == ino && flight.touches((at, at + 1)))
        };
        let dirty: Vec<u32> = self
            .pages
            .range((ino, from)..(ino, to))
            .filter(|((_, at), page)| page.dirty && is_settled(*at))
            .map(|((_, at), _)| *at)
            .take(count)
            .collect();
        let mut map: Option<Mapping> = None;
        let mut going: Option<(Flight, u64)> = None;
        for at in dirty {
            let block = LogicalBlock::new(at);
            let seq = node.snapshot().seq();
            let known = map.filter(|m| (m.start..m.end()).contains(&block) && m.seq == seq);
            let mapping = known.unwrap_or_else(|| self.map_for_writeback(node, at));
            map = Some(mapping);
            let phys = mapping.phys.expect("it was chosen");
            let phys = phys.checked_add(u64::from(at - mapping.start.get()));
            let phys = phys.expect("it exists");
            let unwritten = self.seen(&mapping, View::Write) != Seen::Mapped;
            let bytes = self.take_dirty(node, at);
            let end = self.byte_of(at + 1).min(node.size());
            let id = self
                .world
                .write_data(&self.mount, (ino, at), phys, (bytes, end), false);
            if let Some((flight, next)) = &mut going {
                if flight.to == at && flight.unwritten == unwritten && *next == phys.get() {
                    (flight.to, flight.end, *next) = (at + 1, end, *next + 1);
                    flight.ids.push((at, id));
                    continue;
                }
            }
            let flight = Flight {
                ino,
                from: at,
                to: at + 1,
                pos: self.byte_of(at),
                end,
                ids: vec![(at, id)],
                unwritten,
                way: Way::Cache { told: false },
            };
            if let Some((flight, _)) = going.replace((flight, phys.get() + 1)) {
                self.submit_cached(node, flight);
            }
        }
        if let Some((flight, _)) = going {
            self.submit_cached(node, flight);
        }
    }

    /// What is to be written of a dirty block: it is not dirty any more.
    fn take_dirty(&mut self, node: &Shared, at: u32) -> Bytes {
        let ino = node.ino().get();
        // What is behind the end is never written.
        let end = node.size().saturating_sub(self.byte_of(at));
        let page = self.pages.get_mut(&(ino, at)).expect("it is dirty");
        page.dirty = false;
        self.world.dirty.remove(&(ino, at));
        if let Some(beyond) = page.bytes.get_mut(end as usize..) {
            beyond.fill(0);
        }
        let bytes = Bytes::from(page.bytes.as_slice());
        assert!(
            *bytes == **self.shadow_of(ino, at),
            "inode {ino}: block {at} in memory"
        );
        bytes
    }

    /// Writeback is told of what it has to do at the end, if there is anything.
    fn submit_cached(&mut self, node: &Shared, mut flight: Flight) {
        let told = is_due(&**node, &flight.written());
        self.world.catch_up(&self.mount);
        flight.way = Way::Cache { told };
        self.flights.push(flight);
    }

    /// Writes blocks back, and waits for that.
    pub fn write_and_wait(&mut self, node: &Shared, from: u32, to: u32) {
        let ino = node.ino().get();
        let there = move |flight: &Flight| {
            flight.ino == ino && !flight.is_direct() && flight.touches((from, to))
        };
        self.finish_flights(there);
        self.write_back(node, from, to, usize::MAX);
        self.finish_flights(there);
    }

    /// Blocks leave the page cache; what is being written back there is waited for.
    pub(super) fn drop_pages(&mut self, ino: u32, from: u32, to: u32) {
        self.finish_flights(|flight| {
            flight.ino == ino && !flight.is_direct() && flight.touches((from, to))
        });
        let range = self.pages.range((ino, from)..(ino, to));
        for key in range.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.pages.remove(&key);
            self.world.dirty.remove(&key);
        }
    }

    /// Nothing of the file is in memory or on its way any more.
    pub fn drop_all_pages(&mut self, ino: u32) {
        self.finish_flights(|flight| flight.ino == ino);
        self.drop_pages(ino, 0, u32::MAX);
    }

    /// Whether something of a file is in memory and not written back.
    pub fn is_dirty(&self, ino: u32) -> bool {
        let mut range = self.pages.range((ino, 0)..(ino, u32::MAX));
        range.any(|(_, page)| page.dirty)
    }

    /// Of all of a file that is in memory: block and contents.
    pub(super) fn pages_of(&self, ino: u32) -> impl Iterator<Item = (u32, &[u8])> {
        let range = self.pages.range((ino, 0)..(ino, u32::MAX));
        range.map(|((_, at), page)| (*at, page.bytes.as_slice()))
    }
}
