// SPDX-License-Identifier: GPL-2.0

//! Files that exchange blocks.

use super::PAGE;
use crate::mount::Shared;
use crate::sim::Sim;
use iomapfs_core::change::exchange::{exchange, Copier, Wanted};
use iomapfs_core::change::Live;
use iomapfs_core::disk::{LogicalBlock, PhysBlock};
use iomapfs_core::map::State;
use iomapfs_core::store::Tid;
use kernel::error::Result;
use std::collections::HashMap;

/// Copies blocks of the device.
struct Device<'a> {
    sim: &'a mut Sim,
    donor: u32,
    /// Blocks of the donor that have data, by where they are, and the end of that.
    written: HashMap<u64, (u32, u64)>,
}

impl Copier for Device<'_> {
    fn copy(&mut self, from: PhysBlock, to: PhysBlock, len: u32) -> Result {
        let (mount, world) = (self.sim.mount.clone(), &mut self.sim.world);
        for n in 0..u64::from(len) {
            let bytes = mount.vol.store.read_data(PhysBlock::new(from.get() + n));
            let to = to.get() + n;
            match self.written.get(&to) {
                // To the donor it is as a write.
                Some((at, end)) => {
                    let place = (self.donor, *at);
                    let nr = PhysBlock::new(to);
                    let id = world.write_data(&mount, place, nr, (bytes, *end), false);
                    world.data_done(self.donor, *at, id);
                }
                None => world.write_nameless(&mount, to, bytes),
            }
        }
        Ok(())
    }

    fn commit(&mut self, tid: Tid) -> Result {
        let mount = self.sim.mount.clone();
        self.sim.world.catch_up(&mount);
        self.sim.commit(Some(tid));
        Ok(())
    }
}

impl Sim {
    /// `EXT4_IOC_MOVE_EXT`: blocks from byte `pos` of a file on, and from byte `donor_pos` of another.
    ///
    /// # Errors
    ///
    /// `ENOSPC`.
    pub fn move_extents(
        &mut self,
        node: &Shared,
        donor: &Shared,
        (pos, donor_pos, len): (u64, u64, u64),
    ) -> Result {
        let left = |node: &Shared, pos: u64| {
            let start = pos / PAGE * PAGE;
            let at = self.split(start).0;
            (at, self.blocks_for(node.size()).saturating_sub(at))
        };
        let ((start, left), (donor_start, donor_left)) = (left(node, pos), left(donor, donor_pos));
        let len = self.blocks_for(len).min(left).min(donor_left);
        if len == 0 || node.ino() == donor.ino() {
            return Ok(());
        }
        for node in [node, donor] {
            self.drain(node);
            self.write_and_wait(node, 0, self.blocks_for(node.size()));
        }
        let to = donor_start + len;
        self.drop_pages(donor.ino().get(), donor_start, to);
        let mut written = HashMap::new();
        for at in donor_start..to {
            let found = self.lookup(donor, at, 1);
            if let (State::Written, Some(phys)) = (found.state, found.phys) {
                let end = donor.size().min(self.byte_of(at + 1));
                written.insert(phys.get(), (at, end));
            }
        }
        let wanted = Wanted {
            start: LogicalBlock::new(start),
            donor_start: LogicalBlock::new(donor_start),
            len,
        };
        let mut device = Device {
            donor: donor.ino().get(),
            sim: self,
            written,
        };
        let (_, done) = exchange(&**node, &**donor, wanted, &mut device);
        self.world.catch_up(&self.mount);
        for at in donor_start..to {
            if self.lookup(donor, at, 1).state == State::Unwritten {
                self.zero_shadow(donor.ino().get(), self.byte_of(at)..self.byte_of(at + 1));
            }
        }
        done
    }
}
