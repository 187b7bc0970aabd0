// SPDX-License-Identifier: GPL-2.0

//! What a run does to its device, in order, and what is left of that when the power is cut.
//!
//! # The device
//!
//! It has a cache that it may lose. A write is *submitted*, later it is *done*; a flush makes durable what was done
//! before it, a write with FUA is durable by itself. Of all other writes a power cut leaves any that it likes, whole
//! blocks, but of two writes to the same block that were done one after the other the later one wins.

use crate::random::Random;
use iomapfs_core::host::Device;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The contents of a block.
pub type Bytes = Arc<[u8]>;

/// What the device is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// A write is submitted. Its number is that of the event.
    Write {
        /// The block.
        nr: u64,
        /// Its new contents.
        bytes: Bytes,
    },
    /// So many writes, which come next, are kept or lost together: the device does all of them or none.
    Together(usize),
    /// The write of event `.0` is done.
    Done(usize),
    /// All that was done before is durable.
    Flush,
    /// A write that is durable when it is done, which is at once.
    Fua {
        /// The block.
        nr: u64,
        /// Its new contents.
        bytes: Bytes,
    },
}

/// All that a run did to its device.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// In order.
    pub events: Vec<Event>,
}

impl Trace {
    /// The number that the next event gets: a point in time.
    pub fn now(&self) -> usize {
        self.events.len()
    }

    /// Submits a write; gives its number.
    pub fn submit(&mut self, nr: u64, bytes: Bytes) -> usize {
        let id = self.now();
        self.events.push(Event::Write { nr, bytes });
        id
    }

    /// The next `count` writes are one request that is done whole or not at all.
    pub fn together(&mut self, count: usize) {
        self.events.push(Event::Together(count));
    }

    /// A write is done.
    pub fn done(&mut self, id: usize) {
        self.events.push(Event::Done(id));
    }

    /// A flush.
    pub fn flush(&mut self) {
        self.events.push(Event::Flush);
    }

    /// A durable write.
    pub fn fua(&mut self, nr: u64, bytes: Bytes) {
        self.events.push(Event::Fua { nr, bytes });
    }
}

/// A write that a power cut may lose.
struct Loose {
    id: usize,
    nr: u64,
    bytes: Bytes,
    done: bool,
    /// The last write of those that it is kept or lost with: its number.
    last: usize,
}

/// Follows a [`Trace`] from event to event: what is durable, and what is not yet.
pub struct Follower {
    durable: Arc<Vec<Bytes>>,
    loose: Vec<Loose>,
    /// The number of the last write that is kept or lost with others.
    together_to: usize,
}

impl Follower {
    /// Begins with a device that has these blocks.
    pub fn new(blocks: Arc<Vec<Bytes>>) -> Self {
        Self {
            durable: blocks,
            loose: Vec::new(),
            together_to: 0,
        }
    }

    /// One event further.
    pub fn follow(&mut self, id: usize, event: &Event) {
        match event {
            Event::Write { nr, bytes } => self.loose.push(Loose {
                id,
                nr: *nr,
                bytes: bytes.clone(),
                done: false,
                last: self.together_to.max(id),
            }),
            Event::Together(count) => self.together_to = id + count,
            Event::Done(id) => {
                if let Some(loose) = self.loose.iter_mut().find(|loose| loose.id == *id) {
                    loose.done = true;
                }
            }
            Event::Flush => {
                let durable = Arc::make_mut(&mut self.durable);
                self.loose.retain(|loose| {
                    if loose.done {
                        durable[loose.nr as usize] = loose.bytes.clone();
                    }
                    !loose.done
                });
            }
            Event::Fua { nr, bytes } => {
                self.loose.retain(|loose| loose.nr != *nr);
                Arc::make_mut(&mut self.durable)[*nr as usize] = bytes.clone();
            }
        }
    }

    /// How many writes a power cut may lose now.
    pub fn loose(&self) -> usize {
        self.loose.len()
    }

    /// The device after a power cut now.
    pub fn cut(&self, random: &mut Random) -> Device {
        let mut kept: BTreeMap<u64, &Bytes> = BTreeMap::new();
        let count = self.loose.len();
        // One way in which devices fail is as likely as another.
        let way = random.below(6);
        let one = random.below(count.max(1) as u64) as usize;
        let mut together = (0, false);
        for (i, loose) in self.loose.iter().enumerate() {
            if loose.last == together.0 {
                if together.1 {
                    kept.insert(loose.nr, &loose.bytes);
                }
                continue;
            }
            // Of one that was not submitted whole there is nothing.
            let is_whole = self.loose.iter().any(|other| other.id == loose.last);
            let keep = is_whole
                && match way {
                    0 => false,
                    1 => true,
                    2 => random.chance(1, 2),
                    3 => random.chance(1, 8),
                    4 => i != one,
                    _ => i == one,
                };
            together = (loose.last, keep);
            if keep {
                kept.insert(loose.nr, &loose.bytes);
            }
        }
        let mut device = Device::of_blocks(self.durable.clone());
        for (nr, bytes) in kept {
            device.write(nr, bytes.clone());
        }
        device
    }
}
