// SPDX-License-Identifier: GPL-2.0

//! Direct writes.

use super::flight::{Flight, Way};
use super::PAGE;
use crate::model;
use crate::mount::Shared;
use crate::sim::Sim;
use iomapfs_core::change::access::{direct_way, DirectWay, Seen, View};
use iomapfs_core::change::sync::{self, Committed};
use iomapfs_core::change::{target, Live};
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
            self.prepare(node, pos..end, !exclusive, exclusive);
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
        let mut request = Request {
            ino: node.ino().get(),
            pos,
            end,
            version: self.next_version(),
            through: durable,
            unwritten: false,
            ids: Vec::new(),
            fresh: Vec::new(),
            pieces: 0,
        };
        let to = self.blocks_for(end);
        let mut at = first;
        while at < to {
            let mapping = match self.begin_direct(node, (at, to), end, batch) {
                Ok(mapping) => mapping,
                Err(error) => {
                    self.give_up(node, &request);
                    return Err(error);
                }
            };
            self.write_piece(node, &mapping, &mut request);
            at = mapping.end().get();
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
            if request.through {
                let now = self.world.trace.now();
                let needed = self.world.needed(request.ino, |a, b| a.finds_same(b));
                self.world.history.promise(now, needed);
            } else {
                self.write_and_wait(node, first, to);
                self.make_durable(node, true);
            }
            let size = self.world.model[&request.ino].size;
            assert!(
                size >= end,
                "inode {}: durable to {end}, on disk it ends at {size}",
                request.ino
            );
        }
        Ok(())
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
