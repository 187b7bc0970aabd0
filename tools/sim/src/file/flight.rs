// SPDX-License-Identifier: GPL-2.0

//! Data on its way to the device, and what is done when it is there.

use crate::mount::Shared;
use crate::sim::Sim;
use iomapfs_core::change::publish::{is_complete, publish, WrittenData};

/// Who is told when data is on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The page cache, and if `told` the completion of the inode.
    Cache {
        /// Whether there is anything to be done.
        told: bool,
    },
    /// The completion of the inode: an asynchronous direct write in one piece that needs something to be done.
    Batched,
    /// The direct write itself; `batch` is whether it could have been the one before.
    Direct {
        /// See above.
        batch: bool,
        /// Whether it is complete where nothing can be waited for: it should have nothing to do.
        plain: bool,
    },
}

/// Data on its way to the device.
#[derive(Clone, Debug)]
pub struct Flight {
    /// The file.
    pub ino: u32,
    /// Its first block.
    pub from: u32,
    /// The block behind the last.
    pub to: u32,
    /// The first byte.
    pub pos: u64,
    /// The byte behind the last.
    pub end: u64,
    /// Block of the file and number of the write.
    pub ids: Vec<(u32, usize)>,
    /// Whether blocks must be mapped, or become written, when it is done.
    pub unwritten: bool,
    /// Who is told.
    pub(super) way: Way,
}

impl Flight {
    /// Whether any of the blocks `range.0..range.1` is a part of it.
    pub fn touches(&self, range: (u32, u32)) -> bool {
        self.from < range.1 && self.to > range.0
    }

    /// Whether it does not come from the page cache.
    pub fn is_direct(&self) -> bool {
        !matches!(self.way, Way::Cache { .. })
    }

    pub(super) fn written(&self) -> WrittenData {
        WrittenData {
            pos: self.pos,
            end: self.end,
            unwritten: self.unwritten,
            direct: self.is_direct(),
        }
    }
}

impl Sim {
    /// The file shows what is on the device, in as few transactions as possible.
    fn complete(&mut self, node: &Shared, written: &[WrittenData]) {
        let mut handle = None;
        for written in written {
            publish(&**node, &mut handle, written).expect("a completion does not fail");
        }
        drop(handle);
        self.world.catch_up(&self.mount);
    }

    /// The data of some flights of one file is on the device: the file shows it.
    fn land_together(&mut self, mut flights: Vec<Flight>) {
        // Sectors of the same block are written one after the other, as the device knows blocks only.
        let shares = |flights: &[Flight], one: &Flight| {
            let range = (one.from, one.to);
            let mut flights = flights.iter();
            flights.any(|flight| flight.ino == one.ino && flight.touches(range))
        };
        while let Some(i) = self.flights.iter().position(|one| shares(&flights, one)) {
            flights.push(self.flights.remove(i));
        }
        flights.sort_by_key(|flight| flight.ids.first().map(|(_, id)| *id));
        let Some(node) = flights.first().map(|flight| self.node(flight.ino)) else {
            return;
        };
        for flight in &flights {
            for (at, id) in &flight.ids {
                self.world.data_done(flight.ino, *at, *id);
            }
        }
        let mut batch: Vec<WrittenData> = Vec::new();
        let told =
            |flight: &&Flight| matches!(flight.way, Way::Cache { told: true } | Way::Batched);
        batch.extend(flights.iter().filter(told).map(Flight::written));
        batch.sort_by_key(|range| range.pos);
        // Adjacent ones are joined.
        batch.dedup_by(|next, run| {
            let joins =
                run.end == next.pos && (run.unwritten, run.direct) == (next.unwritten, next.direct);
            if joins {
                run.end = next.end;
            }
            joins
        });
        if !batch.is_empty() {
            self.complete(&node, &batch);
        }
        for flight in flights {
            if let Way::Direct { batch, plain } = flight.way {
                if !is_complete(&*node, &flight.written(), batch) {
                    assert!(
                        !plain,
                        "inode {}: to be shown by who must not wait",
                        flight.ino
                    );
                    self.complete(&node, &[flight.written()]);
                }
            }
        }
    }

    /// The data of flight number `i` is on the device, and of others of the file as `others` says, one bit for each.
    pub fn land(&mut self, i: usize, others: u32) {
        let first = self.flights.remove(i);
        let ino = first.ino;
        let mut together = vec![first];
        let (mut bits, mut rest) = (others, Vec::new());
        for flight in std::mem::take(&mut self.flights) {
            if flight.ino == ino && bits & 1 != 0 {
                together.push(flight);
            } else {
                rest.push(flight);
            }
            bits = bits.rotate_right(1);
        }
        self.flights = rest;
        self.land_together(together);
    }

    /// Waits for some of what is in flight: what there is of a file is completed together at some times, and one by
    /// one at others.
    pub fn finish_flights(&mut self, which: impl Fn(&Flight) -> bool) {
        let together = self.version() % 2 == 0;
        while let Some(i) = self.flights.iter().position(&which) {
            let first = self.flights.remove(i);
            let ino = first.ino;
            let mut all = vec![first];
            if together {
                let (more, rest) = std::mem::take(&mut self.flights)
                    .into_iter()
                    .partition(|flight| flight.ino == ino && which(flight));
                all.extend::<Vec<Flight>>(more);
                self.flights = rest;
            }
            self.land_together(all);
        }
    }
}
