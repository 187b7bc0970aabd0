// SPDX-License-Identifier: GPL-2.0

//! Data that is on the device is shown; sizes change.

use super::{ORPHAN_CREDITS, WRITE_CREDITS};
use crate::broken::Rule;
use crate::mount::{Mount, Shared, Watch};
use iomapfs_core::disk::LogicalBlock;
use iomapfs_core::host::Tx;
use iomapfs_core::map::{FileMap, Progress, State};
use iomapfs_core::store::{Store, Transaction};
use kernel::error::Result;

/// A run of bytes that was written to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first byte.
    pub pos: u64,
    /// The byte behind the last.
    pub end: u64,
    /// Whether the blocks were unwritten, or only chosen.
    pub unwritten: bool,
    /// Whether it does not come from the page cache.
    pub direct: bool,
}

impl Mount {
    /// The data of `ranges` is on the device: the file shows them, in as few transactions as possible.
    pub fn complete(&self, watch: &mut dyn Watch, node: &Shared, ranges: &[Range]) -> Result {
        let mut handle: Option<Tx<'_>> = None;
        for range in ranges {
            self.commit(watch, node, &mut handle, range)?;
        }
        Ok(())
    }

    /// Makes the file show `range` in the transaction that is open or in new ones.
    fn commit<'m>(
        &'m self,
        watch: &mut dyn Watch,
        node: &Shared,
        handle: &mut Option<Tx<'m>>,
        range: &Range,
    ) -> Result {
        let vol = &self.vol;
        let bits = vol.layout.block_size().bits();
        let mut at = LogicalBlock::new((range.pos >> bits) as u32);
        let to = LogicalBlock::new(vol.layout.block_size().blocks_for(range.end) as u32);
        let to = self.show_more(node, range, to)?;
        loop {
            let depth = node.borrow().core.map.snapshot().depth();
            let granted = FileMap::commit_credits(vol, depth);
            let credits = granted.blocks + WRITE_CREDITS;
            let tx = self.ready(handle, credits, granted.revokes, watch)?;
            let node = &mut *node.borrow_mut();
            node.data_tid = tx.tid();
            let unwritten = range.unwritten && !self.broken.is(Rule::NoConversion);
            let progress = match unwritten {
                true => {
                    let len = to.saturating_distance_from(at);
                    node.core.map.commit(vol, tx, at, len, granted)?
                }
                false => Progress::Done,
            };
            let (done, end) = match progress {
                Progress::Done => (to, range.end),
                Progress::Again(next) => (next, (u64::from(next.get()) << bits).min(range.end)),
            };
            node.core.disk_size = node.core.disk_size.max(end);
            node.write_core(self, tx)?;
            if range.direct {
                node.size = node.size.max(end);
            }
            let shown = if range.unwritten { done } else { at };
            watch.mapped(node.ino().get(), at.get(), shown.get(), node.core.disk_size);
            match progress {
                Progress::Done => return Ok(()),
                Progress::Again(next) => at = next,
            }
        }
    }

    /// Where a completion ends: at the end of what was written, unless that is broken on purpose.
    fn show_more(&self, node: &Shared, range: &Range, to: LogicalBlock) -> Result<LogicalBlock> {
        if !self.broken.is(Rule::ConvertsMore) || !range.unwritten {
            return Ok(to);
        }
        let more = node.borrow_mut().core.map.lookup(&self.vol, to, 1)?;
        Ok(match more.state {
            State::Unwritten => more.end(),
            _ => to,
        })
    }

    /// Writes what the VFS knows of an inode, in a transaction of its own: a time has changed.
    pub fn update_time(&self, node: &Shared) -> Result {
        let mut tx = self.vol.store.begin(WRITE_CREDITS, 0)?;
        let node = &mut *node.borrow_mut();
        node.touch();
        node.write(self, &mut tx)
    }

    /// Raises the size on disk.
    pub fn grow(&self, node: &Shared, size: u64) -> Result {
        let mut tx = self.vol.store.begin(WRITE_CREDITS, 0)?;
        let node = &mut *node.borrow_mut();
        node.core.disk_size = size;
        node.write_core(self, &mut tx)
    }

    /// Makes everything from block `from` on a hole; the first transaction sets the size.
    pub fn shrink(&self, watch: &mut dyn Watch, node: &Shared, from: u32, size: u64) -> Result {
        let vol = &self.vol;
        let from = LogicalBlock::new(from);
        let mut to = LogicalBlock::LIMIT;
        let mut handle: Option<Tx<'_>> = None;
        let (mut asked, mut ours) = (false, false);
        loop {
            let depth = node.borrow().core.map.snapshot().depth();
            let granted = FileMap::remove_credits(vol, depth);
            let credits = granted.blocks + WRITE_CREDITS + ORPHAN_CREDITS;
            let tx = self.ready(&mut handle, credits, granted.revokes, watch)?;
            let node = &mut *node.borrow_mut();
            node.core.disk_size = size;
            let progress = node.core.map.remove(vol, tx, from, to, granted);
            node.write_core(self, tx)?;
            match progress? {
                Progress::Done => {
                    if ours {
                        self.orphans.remove(vol, tx, node.ino())?;
                    }
                    return Ok(());
                }
                Progress::Again(next) => {
                    to = next;
                    if !asked && !self.broken.is(Rule::NoOrphanOnTruncate) {
                        ours = self.orphans.add(vol, tx, node.ino())?;
                        asked = true;
                    }
                }
            }
        }
    }
}
