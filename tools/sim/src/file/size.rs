// SPDX-License-Identifier: GPL-2.0

//! Truncate, and what is between the end of a file and a write behind it.

use super::PAGE;
use crate::mount::Shared;
use crate::sim::Sim;
use iomapfs_core::change::access::{next_step, Preparing, Step};
use iomapfs_core::change::resize::{self, PageCache};
use iomapfs_core::change::{self, Live};
use iomapfs_core::disk::LogicalBlock;
use kernel::error::{code::*, Result};
use std::ops::Range;

impl Sim {
    /// The time of a file is changed by most writes, and not by those that come soon after another: in memory.
    fn update_time(&mut self, node: &Shared) {
        if self.version() % 4 != 0 {
            node.contents_changed();
            node.note_new_times(true);
        }
    }

    /// The VFS has an inode written of which times have changed.
    pub fn write_inode(&mut self, node: &Shared) {
        change::write_times(&**node).expect("the journal is alive");
        self.world.catch_up(&self.mount);
    }

    pub(super) fn set_time(&mut self, node: &Shared) {
        node.contents_changed();
        change::write_attributes(&**node).expect("the journal is alive");
        self.world.catch_up(&self.mount);
    }

    /// What any write of bytes `write` does first: `shared` is whether others may write too, `alone` whether nothing
    /// may be in flight, `device` whether there is no page cache.
    pub(super) fn prepare(
        &mut self,
        node: &Shared,
        write: Range<u64>,
        (shared, alone): (bool, bool),
        device: bool,
    ) {
        let mut state = Preparing {
            shared,
            alone,
            exclusive: !shared,
            drained: false,
        };
        loop {
            let look = |at: LogicalBlock, len| Ok(self.lookup(node, at.get(), len));
            let step = next_step(&**node, node.size(), write.clone(), state, PAGE, look);
            match step.expect("the map can be read") {
                Step::Exclude => state.exclusive = true,
                Step::Drain => {
                    self.drain(node);
                    state.drained = true;
                }
                Step::Zero(gap) => {
                    let zeroed = resize::zero_gap(&**node, &mut Pages::of(self, node, device), gap);
                    zeroed.expect("the journal is alive");
                    self.world.catch_up(&self.mount);
                    break;
                }
                Step::Write => break,
            }
        }
        self.update_time(node);
    }

    /// Waits for direct I/O.
    pub(super) fn drain(&mut self, node: &Shared) {
        let ino = node.ino().get();
        self.finish_flights(|flight| flight.ino == ino && flight.is_direct());
    }

    /// `truncate`
    pub fn set_size(&mut self, node: &Shared, new: u64) {
        self.set_size_of(node, new, false);
    }

    pub(super) fn set_size_of(&mut self, node: &Shared, new: u64, device: bool) {
        self.drain(node);
        let done = resize::set_size(&**node, &mut Pages::of(self, node, device), new);
        done.expect("the journal is alive");
        self.world.catch_up(&self.mount);
        self.set_time(node);
    }

    /// A truncate that fails when it has cut off a part, if it takes more than one.
    pub fn fail_set_size(&mut self, node: &Shared, new: u64) {
        self.drain(node);
        let mut pages = Pages::new(self, node);
        pages.fails = true;
        let done = resize::set_size(&**node, &mut pages, new);
        self.mount.vol.store.fail_to_extend(false);
        self.world.catch_up(&self.mount);
        match done {
            Ok(()) => self.set_time(node),
            Err(error) => assert_eq!(error, ENOMEM, "a truncate has failed"),
        }
    }
}

/// The page cache of a file, when its size changes.
pub(super) struct Pages<'a> {
    sim: &'a mut Sim,
    node: &'a Shared,
    /// Whether the file is cut off in part only.
    fails: bool,
    /// Whether there is no page cache, as the device is memory.
    device: bool,
}

impl<'a> Pages<'a> {
    pub(super) fn new(sim: &'a mut Sim, node: &'a Shared) -> Self {
        Self::of(sim, node, false)
    }

    pub(super) fn of(sim: &'a mut Sim, node: &'a Shared, device: bool) -> Self {
        Self {
            sim,
            node,
            fails: false,
            device,
        }
    }
}

impl PageCache for Pages<'_> {
    fn zero(&mut self, range: Range<u64>) -> Result<bool> {
        let Self {
            sim, node, device, ..
        } = self;
        sim.world.catch_up(&sim.mount);
        let blocks = sim.split(range.start).0..sim.blocks_for(range.end);
        sim.world.inode(node.ino().get()).forget_whole(blocks);
        let zeroed = match device {
            true => sim.zero_memory(node, range.clone()),
            false => sim.zero_range(node, range.start, range.end),
        };
        sim.zero_shadow(node.ino().get(), range);
        Ok(zeroed)
    }

    fn is_device(&self) -> bool {
        self.device
    }

    fn write_back(&mut self, range: Range<u64>) -> Result {
        let Self { sim, node, .. } = self;
        sim.mount.vol.store.fail_to_extend(false);
        sim.world.catch_up(&sim.mount);
        let (from, to) = (sim.split(range.start).0, sim.blocks_for(range.end));
        sim.write_and_wait(node, from, to);
        Ok(())
    }

    fn grown(&mut self, _old: u64, _new: u64) {}

    fn drop_behind(&mut self, size: u64) {
        let Self {
            sim, node, fails, ..
        } = self;
        let ino = node.ino().get();
        // The page with the end is waited for too.
        let at = sim.split(size).0;
        sim.finish_flights(|flight| flight.ino == ino && flight.touches((at, at + 1)));
        sim.drop_pages(ino, sim.blocks_for(size), u32::MAX);
        if size == node.size() {
            sim.cut_shadow(ino, size);
        }
        sim.mount.vol.store.fail_to_extend(*fails);
    }

    fn drop_range(&mut self, range: Range<u64>) {
        let Self { sim, node, .. } = self;
        sim.world.catch_up(&sim.mount);
        let (from, to) = (sim.split(range.start).0, sim.blocks_for(range.end));
        sim.drop_pages(node.ino().get(), from, to);
        sim.zero_shadow(node.ino().get(), range);
    }
}
