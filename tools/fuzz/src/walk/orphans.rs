// SPDX-License-Identifier: GPL-2.0

//! Orphans that a crash has left, and a mount for writing looks after.

use super::node::Node;
use super::visit::Visit;
use crate::corpus::MOST_BYTES;
use iomapfs_core::disk::inode::FileKind;
use iomapfs_core::disk::superblock::{RawSuper, STATE_ERROR};
use iomapfs_core::disk::Ino;
use iomapfs_core::host::HostStore;
use iomapfs_core::inode::{Inode, Orphans};
use iomapfs_core::store::Store;
use kernel::alloc::KVec;
use kernel::error::{code::*, Result};

/// A slot of the orphan file that says nonsense is a report, and they all may: a word each of the image is more.
const MOST_REPORTS: usize = MOST_BYTES as usize / 4;

impl Visit<'_, '_> {
    /// Frees those without links, and cuts the others off at their size, as the module does; `raw` is the super block.
    pub(super) fn finish_orphans(&mut self, orphans: &Orphans<HostStore>, raw: &RawSuper) {
        if raw.state.get() & STATE_ERROR != 0 {
            // They are left to e2fsck.
            return;
        }
        let mut found = KVec::new();
        let looked = orphans
            .left_over(self.vol, raw)
            .map(|orphans| found = orphans);
        self.note_many(looked, MOST_REPORTS);
        for ino in found.iter() {
            let done = self.finish_orphan(orphans, *ino);
            self.note(done);
        }
    }

    fn finish_orphan(&mut self, orphans: &Orphans<HostStore>, ino: Ino) -> Result {
        let vol = self.vol;
        let node = match Inode::read_orphan(vol, ino) {
            Ok(read) => Node::new(read),
            // It stays what it is.
            Err(error) if error == EOPNOTSUPP => return Ok(()),
            Err(error) => {
                orphans.disown(vol, ino)?;
                return Err(error);
            }
        };
        if node.attrs.nlink == 0 {
            return self.free(node, Some(orphans));
        }
        let mut done = Ok(());
        if node.attrs.kind() == FileKind::Regular {
            let size = node.inode.borrow().disk_size;
            let from = vol.layout.block_size().blocks_for(size);
            // The core reads no inode with a size that its blocks cannot have.
            done = self.remove(&node, from as u32, u32::MAX, size);
        }
        node.inode.borrow_mut().map.evict(vol);
        done?;
        let mut tx = vol.store.begin(Orphans::<HostStore>::CREDITS, 0)?;
        orphans.remove(vol, &mut tx, ino)
    }
}
