// SPDX-License-Identifier: GPL-2.0

//! Data of files, in the place of the page cache and iomap: what is written, when it gets to the device, and in
//! which order the file shows it.

use crate::broken::Rule;
use crate::device::Bytes;
use crate::model;
use crate::mount::Shared;
use crate::sim::{Flight, Sim};
use iomapfs_core::disk::LogicalBlock;
use iomapfs_core::map::{Mapping, State};
use kernel::error::{code::*, Result};

/// A cached block of a file.
pub struct Page {
    bytes: Vec<u8>,
    dirty: bool,
}

impl Sim {
    /// What a user must see in a block of a file.
    fn shadow_of(&mut self, ino: u32, at: u32) -> &mut Vec<u8> {
        let size = self.block_size as usize;
        self.shadow
            .entry((ino, at))
            .or_insert_with(|| vec![0; size])
    }

    /// The user sees nothing of a file behind its end.
    pub fn cut_shadow(&mut self, ino: u32, size: u64) {
        let (at, from) = self.split(size);
        let first = if from > 0 { at + 1 } else { at };
        self.shadow.retain(|(is, at), _| *is != ino || *at < first);
        if from > 0 {
            self.shadow_of(ino, at)[from..].fill(0);
        }
    }

    fn lookup(&self, node: &Shared, at: u32, len: u32) -> Mapping {
        let map = &mut node.borrow_mut().core.map;
        let found = map.lookup(&self.mount.vol, LogicalBlock::new(at), len);
        found.expect("the map can be read")
    }

    /// Brings a block of a file into memory.
    fn load(&mut self, node: &Shared, at: u32) -> &mut Page {
        let found = self.lookup(node, at, 1);
        let ino = node.borrow().ino().get();
        let store = &self.mount.vol.store;
        let size = self.block_size as usize;
        self.pages.entry((ino, at)).or_insert_with(|| {
            let bytes = match found.phys.filter(|_| found.state == State::Written) {
                Some(phys) => store.read_data(phys).to_vec(),
                None => vec![0; size],
            };
            let dirty = false;
            Page { bytes, dirty }
        })
    }

    /// Zeroes what a block of a file has from byte `pos` on, unless it is a hole. Gives whether there was anything.
    fn zero_rest(&mut self, node: &Shared, pos: u64) -> bool {
        let (at, from) = self.split(pos);
        let ino = node.borrow().ino().get();
        if from == 0 || self.broken.is(Rule::NoZeroTail) {
            return false;
        }
        let written = self.lookup(node, at, 1).state == State::Written;
        if !written && !self.pages.contains_key(&(ino, at)) {
            return false;
        }
        self.finish_flights(|flight| flight.ino == ino && flight.covers(at));
        let page = self.load(node, at);
        page.bytes[from..].fill(0);
        page.dirty = true;
        true
    }

    fn split(&self, pos: u64) -> (u32, usize) {
        let size = u64::from(self.block_size);
        ((pos / size) as u32, (pos % size) as usize)
    }

    fn blocks_for(&self, size: u64) -> u32 {
        size.div_ceil(u64::from(self.block_size)) as u32
    }

    /// The gap between the end of the file and `pos`, where something is about to be written.
    fn fill_gap(&mut self, node: &Shared, pos: u64) {
        let ino = node.borrow().ino().get();
        if pos <= node.borrow().size {
            return;
        }
        self.finish_flights(|flight| flight.ino == ino && flight.direct);
        // What was in flight may have moved the end.
        let size = node.borrow().size;
        if pos <= size {
            return;
        }
        let (at, _) = self.split(size);
        if self.zero_rest(node, size) && self.lookup(node, at, 1).state == State::Written {
            self.write_and_wait(node, at, at + 1);
        }
    }

    /// A buffered write.
    pub fn write(&mut self, node: &Shared, pos: u64, len: u64) -> Result {
        let ino = node.borrow().ino().get();
        if pos + len > node.borrow().size {
            self.finish_flights(|flight| flight.ino == ino && flight.direct);
        }
        self.fill_gap(node, pos);
        let version = self.next_version();
        let (mut pos, end) = (pos, pos + len);
        while pos < end {
            let (at, from) = self.split(pos);
            let count = (self.block_size as usize - from).min((end - pos) as usize);
            self.finish_flights(|flight| flight.ino == ino && flight.covers(at));
            self.reserve(node, at)?;
            let page = self.load(node, at);
            model::pattern(ino, version, pos, &mut page.bytes[from..from + count]);
            page.dirty = true;
            let shadow = self.shadow_of(ino, at);
            model::pattern(ino, version, pos, &mut shadow[from..from + count]);
            pos += count as u64;
            let node = &mut *node.borrow_mut();
            node.size = node.size.max(pos);
        }
        Ok(())
    }

    /// Reserves what block `at` will need when it is written back.
    fn reserve(&mut self, node: &Shared, at: u32) -> Result {
        let again = |sim: &mut Self| {
            let vol = &sim.mount.vol;
            let node = &mut *node.borrow_mut();
            let at = LogicalBlock::new(at);
            let goal = node.goal(&sim.mount, false);
            let map = &mut node.core.map;
            match map.lookup(vol, at, 1)?.state {
                State::Hole => map.reserve(vol, at, 1, false).map(|_| ()),
                State::Unwritten => map.choose(vol, at, 1, goal, false).map(|_| ()),
                _ => Ok(()),
            }
        };
        self.with_retry(again)
    }

    /// Begins to write back dirty blocks of `from..to`, at most `count`.
    pub fn write_back(&mut self, node: &Shared, from: u32, to: u32, count: usize) {
        let ino = node.borrow().ino().get();
        let in_flight = |at: u32, sim: &Self| {
            let mut flights = sim.flights.iter();
            flights.any(|flight| flight.ino == ino && flight.covers(at))
        };
        let dirty: Vec<u32> = self
            .pages
            .range((ino, from)..(ino, to))
            .filter(|((_, at), page)| page.dirty && !in_flight(*at, self))
            .map(|((_, at), _)| *at)
            .take(count)
            .collect();
        let mut rest = dirty.as_slice();
        while let Some(first) = rest.first() {
            let run = rest.iter().zip(*first..).take_while(|(a, b)| **a == *b);
            let len = run.count() as u32;
            let size = node.borrow().size;
            // What is cut off is never written.
            let chosen = self.choose(node, *first, len, size).expect("was reserved");
            self.submit(node, &chosen, false, |sim, at| {
                let end = size.saturating_sub(u64::from(at) * u64::from(sim.block_size));
                let page = sim.pages.get_mut(&(ino, at)).expect("it is dirty");
                page.dirty = false;
                if let Some(beyond) = page.bytes.get_mut(end as usize..) {
                    beyond.fill(0);
                }
                let bytes = Bytes::from(page.bytes.as_slice());
                assert!(
                    *bytes == **sim.shadow_of(ino, at),
                    "inode {ino}: block {at} in memory"
                );
                bytes
            });
            rest = &rest[chosen.len as usize..];
        }
    }

    /// Where blocks `at..at + len` are to be written, or as many as lie together.
    fn choose(&mut self, node: &Shared, at: u32, len: u32, size: u64) -> Result<Mapping> {
        let again = |sim: &mut Self| {
            let node = &mut *node.borrow_mut();
            let end = u64::from(at + len) * u64::from(sim.block_size);
            let goal = node.goal(&sim.mount, end >= size);
            let at = LogicalBlock::new(at);
            node.core.map.choose(&sim.mount.vol, at, len, goal, true)
        };
        self.with_retry(again)
    }

    /// Submits the data of chosen blocks.
    fn submit(
        &mut self,
        node: &Shared,
        chosen: &Mapping,
        direct: bool,
        mut bytes: impl FnMut(&mut Self, u32) -> Bytes,
    ) {
        let (ino, size) = (node.borrow().ino().get(), node.borrow().size);
        let (from, to) = (chosen.start.get(), chosen.end().get());
        let mut ids = Vec::new();
        for at in from..to {
            let bytes = bytes(self, at);
            let phys = chosen.phys.expect("it was chosen");
            let nr = phys.checked_add(u64::from(at - from)).expect("it exists");
            let id = self.world.write_data(&self.mount, (ino, at), nr, bytes);
            ids.push((at, id));
        }
        let end = u64::from(to) * u64::from(self.block_size);
        let end = if direct { end } else { end.min(size) };
        if self.broken.is(Rule::SizeBeforeData) && end > node.borrow().core.disk_size {
            self.mount.grow(node, end).expect("the journal is alive");
        }
        let unwritten = chosen.state != State::Written;
        let mut flight = Flight {
            ino,
            from,
            to,
            end,
            ids,
            unwritten,
            direct,
        };
        if self.broken.is(Rule::MapBeforeData) {
            self.show(&flight);
            flight.unwritten = false;
        }
        self.flights.push(flight);
    }

    /// A direct write of whole blocks.
    pub fn write_direct(&mut self, node: &Shared, from: u32, len: u32) -> Result {
        let ino = node.borrow().ino().get();
        self.fill_gap(node, u64::from(from) * u64::from(self.block_size));
        self.write_and_wait(node, from, from + len);
        self.drop_pages(ino, from, from + len);
        let version = self.next_version();
        let mut at = from;
        while at < from + len {
            self.finish_flights(|flight| flight.ino == ino && flight.covers(at));
            let size = node.borrow().size;
            let chosen = self.choose(node, at, from + len - at, size)?;
            let block_size = self.block_size;
            self.finish_flights(|flight| {
                flight.ino == ino && flight.from < chosen.end().get() && flight.to > at
            });
            // What was in flight there is written now.
            let chosen = match self.lookup(node, at, chosen.len) {
                found if found.phys.is_some() => found,
                _ => chosen,
            };
            self.submit(node, &chosen, true, |sim, at| {
                let bytes = sim.shadow_of(ino, at);
                model::pattern(ino, version, u64::from(at) * u64::from(block_size), bytes);
                bytes.as_slice().into()
            });
            at = chosen.end().get();
        }
        Ok(())
    }

    /// The data of a flight is on the device: the file shows it.
    pub fn land(&mut self, flight: Flight) {
        for (at, id) in &flight.ids {
            self.world.data_done(flight.ino, *at, *id);
        }
        self.show(&flight);
    }

    fn show(&mut self, flight: &Flight) {
        let node = self.nodes[&flight.ino].clone();
        if flight.unwritten || flight.end > node.borrow().core.disk_size {
            let range = match flight.unwritten {
                true => (flight.from, flight.to),
                false => (flight.to, flight.to),
            };
            let mount = self.mount.clone();
            mount
                .complete(&mut self.world, &node, range, flight.end)
                .expect("a completion does not fail");
        }
        if flight.direct {
            let node = &mut *node.borrow_mut();
            node.size = node.size.max(flight.end);
        }
    }

    /// Waits for some of what is in flight.
    pub fn finish_flights(&mut self, which: impl Fn(&Flight) -> bool) {
        while let Some(i) = self.flights.iter().position(&which) {
            let flight = self.flights.remove(i);
            self.land(flight);
        }
    }

    /// Writes blocks back, and waits for that.
    pub fn write_and_wait(&mut self, node: &Shared, from: u32, to: u32) {
        let ino = node.borrow().ino().get();
        let there =
            move |flight: &Flight| flight.ino == ino && flight.from < to && flight.to > from;
        self.finish_flights(there);
        self.write_back(node, from, to, usize::MAX);
        self.finish_flights(there);
    }

    fn drop_pages(&mut self, ino: u32, from: u32, to: u32) {
        self.finish_flights(|flight| flight.ino == ino && flight.from < to && flight.to > from);
        let gone: Vec<_> = self
            .pages
            .range((ino, from)..(ino, to))
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            self.pages.remove(&key);
        }
    }

    /// Nothing of the file is in memory any more.
    pub fn drop_all_pages(&mut self, ino: u32) {
        self.drop_pages(ino, 0, u32::MAX);
    }

    /// `truncate`
    pub fn set_size(&mut self, node: &Shared, new: u64) {
        let ino = node.borrow().ino().get();
        self.finish_flights(|flight| flight.ino == ino && flight.direct);
        let old = node.borrow().size;
        self.cut_shadow(ino, new.min(old));
        let zeroed = self.zero_rest(node, old.min(new));
        let disk_size = node.borrow().core.disk_size;
        if new > disk_size && (zeroed || old != disk_size) {
            let (from, to) = (self.split(disk_size).0, self.blocks_for(new));
            self.write_and_wait(node, from, to);
        }
        node.borrow_mut().size = new;
        let mount = self.mount.clone();
        if new > old {
            self.world.inode(ino).size = new;
            return mount.grow(node, new).expect("the journal is alive");
        }
        let from = self.blocks_for(new);
        self.drop_pages(ino, from, u32::MAX);
        node.borrow_mut().core.map.release_window(&mount.vol);
        let inode = self.world.inode(ino);
        inode.size = new;
        inode.blocks.split_off(&from);
        mount
            .shrink(&mut self.world, node, from, new)
            .or_else(|error| if error == ENOSPC { Ok(()) } else { Err(error) })
            .expect("the journal is alive");
        let at = self.split(new).0;
        if zeroed && self.lookup(node, at, 1).state == State::Written {
            self.write_and_wait(node, at, at + 1);
        }
    }

    /// `fsync`
    pub fn fsync(&mut self, node: &Shared) {
        let ino = node.borrow().ino().get();
        self.write_and_wait(node, 0, u32::MAX);
        self.check_synced(node);
        let tid = node.borrow().sync_tid;
        let mount = self.mount.clone();
        let committed = self.broken.is(Rule::NoCommitOnSync) || self.world.commit(&mount, tid);
        if !committed && !self.broken.is(Rule::NoFlushOnSync) {
            self.world.trace.flush();
        }
        let now = self.world.trace.now();
        if let Some(inode) = self.world.model.get(&ino) {
            inode.synced.borrow_mut().push(now);
        }
        let sequence = self.world.sequence_of(&mount, tid);
        self.world.history.promise(now, sequence);
    }

    /// Reads a block of a file as a user would, and compares it with what he must see.
    pub fn check_shadow(&mut self) -> Result<(), String> {
        let all: Vec<(u32, u32)> = self.shadow.keys().copied().collect();
        for (ino, at) in all {
            let node = self.node(ino);
            let page = self.load(&node, at);
            let is = std::mem::take(&mut page.bytes);
            let size = node.borrow().size;
            let pos = u64::from(at) * u64::from(self.block_size);
            let len = size.saturating_sub(pos).min(is.len() as u64) as usize;
            if is[..len] != self.shadow_of(ino, at)[..len] {
                let what = model::describe(&is);
                return Err(format!("inode {ino}: block {at} reads as {what}"));
            }
            self.load(&node, at).bytes = is;
        }
        Ok(())
    }

    /// All of a file is on its way to disk: what the model has must be all that was written.
    fn check_synced(&self, node: &Shared) {
        let (ino, size) = (node.borrow().ino().get(), node.borrow().size);
        let Some(inode) = self.world.model.get(&ino) else {
            return;
        };
        assert_eq!(inode.size, size, "inode {ino}: size on disk after fsync");
        for ((_, at), page) in self.pages.range((ino, 0)..(ino, u32::MAX)) {
            let Some(content) = inode.blocks.get(at) else {
                let empty = page.bytes.iter().all(|byte| *byte == 0);
                assert!(empty, "inode {ino}: block {at} is not mapped after fsync");
                continue;
            };
            let versions = content.borrow();
            let last = versions.last().expect("it was written");
            assert!(
                *last.bytes == *page.bytes,
                "inode {ino}: block {at} after fsync"
            );
        }
    }
}
