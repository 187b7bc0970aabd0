// SPDX-License-Identifier: GPL-2.0

//! The device is told of free blocks, and forgets what they have.

use crate::file::How;
use crate::model::Kind;
use crate::sim::Sim;
use iomapfs_core::change::trim::{trim, Wanted};
use iomapfs_core::change::Live;
use iomapfs_core::space::{Run, Trimmer};
use kernel::error::Result;

/// Blocks that are left to others while a run is away, so that nobody has to wait for it: there is only one task.
const LEFT: u64 = 200;

/// What is trimmed, and what happens meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    /// First block, more or less.
    pub start: u16,
    /// How many from there on; zero for all.
    pub blocks: u16,
    /// The shortest piece.
    pub least: u8,
    /// The number of the run that somebody writes beside.
    pub beside: u8,
    /// Who does, and whether before the device has forgotten the run.
    pub which: u16,
    /// After so many questions it is stopped.
    pub patience: u16,
}

/// A trim under way.
struct Task<'a> {
    sim: &'a mut Sim,
    how: Trim,
    runs: u8,
    blocks: u64,
    patience: u16,
}

impl Task<'_> {
    fn forget(&mut self, run: Run) {
        let mount = self.sim.mount.clone();
        for nr in run.start.get()..run.end().get() {
            self.sim.world.lose(&mount, nr);
        }
    }

    /// Somebody makes a file longer while the blocks are away.
    fn write_beside(&mut self, run: Run) {
        let space = &self.sim.mount.vol.space;
        let free = space.counts().free_blocks - space.pending_free();
        let files = self.sim.of_kind(Kind::File);
        let which = usize::from(self.how.which).checked_rem(files.len());
        if let (Some(which), true) = (which, free > u64::from(run.len) + LEFT) {
            let node = self.sim.node(files[which]);
            let size = u64::from(self.sim.block_size);
            let end = node.size().next_multiple_of(size);
            if end < 8 << 20 {
                self.sim.try_write_direct(&node, end, 3 * size, How::Waits);
            }
        }
    }
}

impl Trimmer for Task<'_> {
    fn is_stopped(&mut self) -> bool {
        self.patience = self.patience.saturating_sub(1);
        self.patience == 0
    }

    fn discard(&mut self, run: Run) -> Result<bool> {
        let early = self.how.which & 1 == 0;
        if early {
            self.forget(run);
        }
        if self.runs == self.how.beside {
            self.write_beside(run);
        }
        if !early {
            self.forget(run);
        }
        self.runs = self.runs.saturating_add(1);
        self.blocks += u64::from(run.len);
        Ok(true)
    }
}

impl Sim {
    /// `FITRIM`
    ///
    /// # Errors
    ///
    /// Where less or more was trimmed than is said.
    pub fn trim(&mut self, how: Trim) -> Result<(), String> {
        let mount = self.mount.clone();
        let size = u64::from(self.block_size);
        let start = u64::from(how.start) % mount.vol.layout.blocks_count();
        let wanted = Wanted {
            start: start * size,
            len: match how.blocks {
                0 => u64::MAX,
                blocks => u64::from(blocks) * size,
            },
            min_len: u64::from(how.least) * size,
        };
        let mut task = Task {
            sim: self,
            patience: how.patience,
            how,
            runs: 0,
            blocks: 0,
        };
        let trimmed = trim(&mount.vol, wanted, 0, &mut task);
        match trimmed == Ok(task.blocks * size) {
            true => Ok(()),
            false => Err(format!("trim: {trimmed:?} of {} blocks", task.blocks)),
        }
    }
}
