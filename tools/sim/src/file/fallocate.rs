// SPDX-License-Identifier: GPL-2.0

//! `fallocate`.

use super::size::Pages;
use super::PAGE;
use crate::model;
use crate::mount::Shared;
use crate::sim::Sim;
use iomapfs_core::change::{fallocate, Live};
use iomapfs_core::disk::LogicalBlock;
use iomapfs_core::host::MAX_CREDITS;
use kernel::error::Result;

/// What it is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as the modes of the system call")]
pub enum What {
    Allocate {
        keep_size: bool,
    },
    Punch,
    Zero {
        keep_size: bool,
    },
    WriteZeroes,
    /// `anew`: the journal is too small for all nodes of the tree that would change.
    Collapse {
        anew: bool,
    },
    Insert {
        anew: bool,
    },
}

impl What {
    fn moves(self) -> Option<bool> {
        match self {
            Self::Collapse { anew } | Self::Insert { anew } => Some(anew),
            _ => None,
        }
    }
}

impl Sim {
    /// `fallocate` of bytes `pos..pos + len`. What moves is rounded to blocks.
    /// Where it makes no sense nothing is done.
    ///
    /// # Errors
    ///
    /// `ENOSPC`.
    pub fn fallocate(&mut self, node: &Shared, what: What, pos: u64, len: u64) -> Result {
        self.with_space(|sim| sim.fallocate_once(node, what, (pos, len), false))
    }

    pub(super) fn fallocate_once(
        &mut self,
        node: &Shared,
        what: What,
        (pos, len): (u64, u64),
        device: bool,
    ) -> Result {
        let block = u64::from(self.block_size);
        let (pos, len) = match what {
            What::Collapse { .. } | What::Insert { .. } => {
                (pos / block * block, len.div_ceil(block) * block)
            }
            _ => (pos, len),
        };
        let (range, size) = (pos..pos + len, node.size());
        match what {
            What::Collapse { .. } if range.end >= size => return Ok(()),
            What::Insert { .. } if pos >= size => return Ok(()),
            _ => {}
        }
        self.drain(node);
        self.set_time(node);
        let mount = self.mount.clone();
        if what.moves() == Some(true) {
            let from = LogicalBlock::new(self.split(pos).0);
            let most = node.map_lock().map.shift_credits(&mount.vol, from)?;
            mount.vol.store.set_max_credits(most.blocks);
        }
        let pages = &mut Pages::of(self, node, device);
        let done = match what {
            What::Allocate { keep_size } => fallocate::allocate(&**node, pages, range, keep_size),
            What::Punch => fallocate::punch(&**node, pages, range),
            What::Zero { keep_size } => fallocate::zero(&**node, pages, range, keep_size),
            What::WriteZeroes => fallocate::write_zeroes(&**node, pages, range),
            What::Collapse { .. } => fallocate::collapse(&**node, pages, range, PAGE),
            What::Insert { .. } => fallocate::insert(&**node, pages, (pos, len), PAGE),
        };
        mount.vol.store.set_max_credits(MAX_CREDITS);
        self.world.catch_up(&self.mount);
        done?;
        let (at, count) = (self.split(pos).0, i64::from(self.blocks_for(len)));
        match what {
            What::Collapse { .. } => self.shift_shadow(node, at, -count),
            What::Insert { .. } => self.shift_shadow(node, at, count),
            What::Punch | What::Zero { .. } | What::WriteZeroes => {
                self.zero_shadow(node.ino().get(), pos..pos + len)
            }
            What::Allocate { .. } => {}
        }
        Ok(())
    }

    /// What the user sees of a file from block `at` on moves by so many blocks.
    fn shift_shadow(&mut self, node: &Shared, at: u32, by: i64) {
        let ino = node.ino().get();
        let from = at + by.min(0).unsigned_abs() as u32;
        model::shift(&mut self.shadow, ino, from, by);
        self.cut_shadow(ino, node.size());
    }
}
