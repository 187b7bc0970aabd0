// SPDX-License-Identifier: GPL-2.0

//! Direct writes.

use super::flight::{Flight, Way};
use super::size::Pages;
use super::PAGE;
use crate::broken::Rule;
use crate::model::{self, Whole};
use crate::mount::Shared;
use crate::sim::Sim;
use iomapfs_core::change::access::{direct_way, DirectWay, Seen, View};
use iomapfs_core::change::publish::{is_complete, WrittenData};
use iomapfs_core::change::resize::PageCache;
use iomapfs_core::change::sync::{self, Committed};
use iomapfs_core::change::{atomic, target, Live};
use iomapfs_core::disk::LogicalBlock;
use iomapfs_core::map::{Mapping, State};
use kernel::error::{code::*, Result};

/// How a direct write is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It is waited for.
    Waits,
    /// It is not, and first tries not to wait for anything.
    Queued,
    /// `O_DSYNC`: it is waited for, and durable then.
    Durable,
}

/// A direct write under way.
struct Request {
    ino: u32,
    pos: u64,
    end: u64,
    version: u32,
    /// Whether what it goes to may be durable without a commit or a flush.
    through: bool,
    unwritten: bool,
    ids: Vec<(u32, usize)>,
    /// Blocks that were not written before.
    fresh: Vec<u32>,
    pieces: usize,
}

/// What the device can write whole or not at all, in bytes: at least and at most.
const DEVICE: (u32, u32) = (512, 8192);

impl Sim {
    /// A direct write; `pos` and `len` are multiples of 512.
    ///
    /// # Errors
    ///
    /// `ENOSPC`
    pub fn write_direct(&mut self, node: &Shared, pos: u64, len: u64, how: How) -> Result {
        let ino = node.ino().get();
        let end = pos + len;
        let blocks = (self.split(pos).0, self.blocks_for(end));
        self.finish_flights(|flight| {
            flight.ino == ino && flight.is_direct() && flight.pos < end && pos < flight.end
        });
        let mut exclusive = false;
        loop {
            self.prepare(node, pos..end, (!exclusive, exclusive), false);
            let size = node.size();
            let way = direct_way(&**node, (pos, end), size, PAGE);
            if !exclusive && way == DirectWay::Alone {
                exclusive = true;
                continue;
            }
            self.write_and_wait(node, blocks.0, blocks.1);
            self.drop_pages(ino, blocks.0, blocks.1);
            if !exclusive && way == DirectWay::OverData {
                // Only if there is nothing to change.
                let found = self.lookup(node, blocks.0, blocks.1 - blocks.0);
                if found.state != State::Written || found.end().get() < blocks.1 {
                    exclusive = true;
                    continue;
                }
            }
            let queued = how == How::Queued && !exclusive;
            return self.write_pieces(node, (pos, end), queued, how == How::Durable);
        }
    }

    /// Writes to the blocks that were found for a request, and returns the first behind them; or gives the request up.
    fn write_found(
        &mut self,
        node: &Shared,
        found: Result<Mapping>,
        request: &mut Request,
    ) -> Result<u32> {
        let mapping = found.inspect_err(|_| self.give_up(node, request))?;
        self.write_piece(node, &mapping, request);
        Ok(mapping.end().get())
    }

    fn write_pieces(
        &mut self,
        node: &Shared,
        (pos, end): (u64, u64),
        queued: bool,
        durable: bool,
    ) -> Result {
        let first = self.split(pos).0;
        let size = node.size();
        let seems_written = node.snapshot();
        let seems_written = seems_written.get(LogicalBlock::new(first), 1);
        let seems_written = seems_written.is_some_and(|found| found.state == State::Written);
        let batch = queued && (end > size || !seems_written);
        let mut request = self.request(node, (pos, end), durable);
        let to = self.blocks_for(end);
        let mut at = first;
        while at < to {
            let mapping = self.begin_direct(node, (at, to), end, batch);
            at = self.write_found(node, mapping, &mut request)?;
        }
        // What has gone to new blocks is seen with them.
        for at in std::mem::take(&mut request.fresh) {
            self.show_pattern(&request, at);
        }
        let told = request.pieces == 1 && (request.unwritten || end > size);
        let flight = Flight {
            ino: request.ino,
            from: first,
            to,
            pos,
            end,
            ids: request.ids,
            unwritten: request.unwritten,
            way: match batch && told {
                true => Way::Batched,
                false => Way::Direct {
                    batch,
                    plain: queued && !request.unwritten && end <= size,
                },
            },
        };
        self.flights.push(flight);
        if !queued {
            let last = self.flights.len() - 1;
            self.land(last, 0);
        }
        if durable {
            self.is_durable(node, (first, to), (end, request.through));
        }
        Ok(())
    }

    /// A write to blocks `from..to`, up to byte `end`, becomes durable, or is so `through` the way that it was made.
    fn is_durable(&mut self, node: &Shared, (from, to): (u32, u32), (end, through): (u64, bool)) {
        let ino = node.ino().get();
        if through {
            let now = self.world.trace.now();
            let needed = self.world.needed(ino, |a, b| a.finds_same(b));
            self.world.history.promise(now, needed);
        } else {
            self.write_and_wait(node, from, to);
            self.make_durable(node, true);
        }
        let size = self.world.model[&ino].size;
        assert!(
            size >= end,
            "inode {ino}: durable to {end}, on disk it ends at {size}"
        );
    }

    fn request(&mut self, node: &Shared, (pos, end): (u64, u64), through: bool) -> Request {
        Request {
            ino: node.ino().get(),
            pos,
            end,
            version: self.next_version(),
            through,
            unwritten: false,
            ids: Vec::new(),
            fresh: Vec::new(),
            pieces: 0,
        }
    }

    /// An atomic write; `len` is a power of two, at least a block and at most [`atomic::LONGEST`], and `pos` a multiple
    /// of it.
    ///
    /// # Errors
    ///
    /// `ENOSPC`
    pub fn write_atomic(&mut self, node: &Shared, pos: u64, len: u64, how: How) -> Result {
        let ino = node.ino().get();
        let end = pos + len;
        let (from, to) = (self.split(pos).0, self.blocks_for(end));
        self.finish_flights(|flight| {
            flight.ino == ino && flight.is_direct() && flight.pos < end && pos < flight.end
        });
        let in_place = atomic::longest_in_place(&self.mount.vol, DEVICE);
        let mut exclusive = len > in_place.into();
        loop {
            self.prepare(node, pos..end, (!exclusive, exclusive), false);
            let size = node.size();
            let way = direct_way(&**node, (pos, end), size, PAGE);
            if !exclusive && (end > size || way == DirectWay::Alone) {
                exclusive = true;
                continue;
            }
            self.write_and_wait(node, from, to);
            self.drop_pages(ino, from, to);
            if exclusive {
                return self.write_aside(node, (pos, end), how == How::Durable);
            }
            let found = self.lookup(node, from, to - from);
            let committed = || Committed::UpTo(self.world.committed());
            if atomic::goes_over(&**node, &found, (to - from, end), committed) {
                self.write_over(node, (pos, end), &found, how);
                return Ok(());
            }
            exclusive = true;
        }
    }

    /// The device writes all of it or nothing.
    fn write_over(&mut self, node: &Shared, (pos, end): (u64, u64), found: &Mapping, how: How) {
        let (from, to) = (found.start.get(), found.end().get());
        let mut request = self.request(node, (pos, end), false);
        self.note_whole(&request, (from, to));
        if !self.broken.is(Rule::DeviceTears) {
            self.world.trace.together(found.len as usize);
        }
        self.write_piece(node, found, &mut request);
        self.flights.push(Flight {
            ino: request.ino,
            from,
            to,
            pos,
            end,
            ids: request.ids,
            unwritten: false,
            way: Way::Direct {
                batch: false,
                plain: true,
            },
        });
        if how != How::Queued {
            let last = self.flights.len() - 1;
            self.land(last, 0);
        }
        if how == How::Durable {
            self.is_durable(node, (from, to), (end, false));
        }
    }

    /// New blocks take the place of what is there.
    fn write_aside(&mut self, node: &Shared, (pos, end): (u64, u64), durable: bool) -> Result {
        let (from, to) = (self.split(pos).0, self.blocks_for(end));
        let mut request = self.request(node, (pos, end), false);
        self.note_whole(&request, (from, to));
        let mut at = from;
        while at < to {
            let start = LogicalBlock::new(at);
            let choose = |sim: &mut Self| {
                let inode = &mut node.map_lock();
                let chosen = atomic::aside(&**node, inode, (start, to - at), end);
                if inode.map.aside().is_some() {
                    let blocks = (from..to).map(|at| (node.ino().get(), at));
                    sim.world.aside.extend(blocks);
                }
                chosen
            };
            let mapping = match choose(self) {
                Err(error) if error == ENOSPC => {
                    self.release_windows();
                    self.reclaim_freed();
                    choose(self)
                }
                chosen => chosen,
            };
            at = self.write_found(node, mapping, &mut request)?;
        }
        for at in std::mem::take(&mut request.fresh) {
            self.show_pattern(&request, at);
        }
        for (at, id) in &request.ids {
            self.world.data_done(request.ino, *at, *id);
        }
        let written = WrittenData {
            pos,
            end,
            unwritten: request.unwritten,
            direct: true,
        };
        if !is_complete(&**node, &written, false) {
            let shown = atomic::show(&**node, &written, |range| {
                Pages::new(self, node).write_back(range)
            });
            shown.expect("the journal is alive");
        }
        self.world.catch_up(&self.mount);
        if durable {
            self.is_durable(node, (from, to), (end, false));
        }
        Ok(())
    }

    /// What is written must be there whole or not at all.
    fn note_whole(&mut self, request: &Request, (from, to): (u32, u32)) {
        self.world.model[&request.ino]
            .whole
            .borrow_mut()
            .push(Whole {
                blocks: from..to,
                version: request.version,
            });
    }

    /// Where blocks `at..to` of a write that ends at byte `end` go, or as many as lie together.
    fn begin_direct(
        &mut self,
        node: &Shared,
        (at, to): (u32, u32),
        end: u64,
        batch: bool,
    ) -> Result<Mapping> {
        let (start, len) = (LogicalBlock::new(at), to - at);
        if batch && u64::from(len) * u64::from(self.block_size) <= target::MOST_NOWAIT {
            let chosen = target::direct_now(&**node, &mut node.map_lock(), (start, len), end);
            // What was chosen stays, for the one who waits.
            if chosen.is_ok() {
                return chosen;
            }
        }
        let choose = || target::direct(&**node, &mut node.map_lock(), (start, len), end);
        match choose() {
            Err(error) if error == ENOSPC => {
                self.release_windows();
                self.reclaim_freed();
                choose()
            }
            chosen => chosen,
        }
    }

    /// Sends what lies together on its way.
    fn write_piece(&mut self, node: &Shared, mapping: &Mapping, request: &mut Request) {
        let phys = mapping.phys.expect("it was chosen");
        let new = self.seen(mapping, View::DirectWrite) != Seen::Mapped;
        let size = node.size();
        let found = sync::is_found(&**node, request.end, || {
            Committed::UpTo(self.world.committed())
        });
        request.through &= !new && found;
        request.unwritten |= new;
        request.pieces += 1;
        for at in mapping.start.get()..mapping.end().get() {
            let nr = phys.checked_add(u64::from(at - mapping.start.get()));
            let nr = nr.expect("it exists");
            let mut bytes = match new {
                true => vec![0; self.block_size as usize],
                false => self.mount.vol.store.read_data(nr).to_vec(),
            };
            let (from, to) = self.part_of(request, at);
            let pos = self.byte_of(at) + from as u64;
            model::pattern(request.ino, request.version, pos, &mut bytes[from..to]);
            if request.end >= size {
                bytes[to..].fill(0);
            }
            let id = self.world.write_data(
                &self.mount,
                (request.ino, at),
                nr,
                (bytes.into(), self.byte_of(at) + to as u64),
                request.through,
            );
            request.ids.push((at, id));
            match new {
                true => request.fresh.push(at),
                false => self.show_pattern(request, at),
            }
        }
    }

    /// Which bytes of block `at` are written.
    fn part_of(&self, request: &Request, at: u32) -> (usize, usize) {
        let begin = self.byte_of(at);
        let from = request.pos.saturating_sub(begin) as usize;
        let to = (request.end - begin).min(u64::from(self.block_size)) as usize;
        (from, to)
    }

    /// The user will see what is written to block `at`.
    fn show_pattern(&mut self, request: &Request, at: u32) {
        let (from, to) = self.part_of(request, at);
        let pos = self.byte_of(at) + from as u64;
        let shadow = self.shadow_of(request.ino, at);
        model::pattern(request.ino, request.version, pos, &mut shadow[from..to]);
    }

    /// A write has failed when a part of it was on its way: nothing is done when that is there.
    fn give_up(&mut self, node: &Shared, request: &Request) {
        for (at, id) in &request.ids {
            self.world.data_done(request.ino, *at, *id);
        }
        for at in &request.fresh {
            self.world.forget_data(request.ino, *at);
        }
        // What it has left behind the end is made zero before anybody can see it; what is in flight may move the end.
        self.finish_flights(|flight| flight.ino == request.ino && flight.is_direct());
        let size = node.size();
        self.cut_shadow(request.ino, size);
        let behind = LogicalBlock::new(self.blocks_for(size));
        let map = &mut node.map_lock().map;
        map.cancel(&self.mount.vol, behind, LogicalBlock::LIMIT);
    }
}
