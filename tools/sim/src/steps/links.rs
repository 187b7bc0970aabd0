// SPDX-License-Identifier: GPL-2.0

//! Names that are added and removed.

use super::{drop_dir_link, is_dir, INSERT_REVOKES, ORPHAN_CREDITS, WRITE_CREDITS};
use crate::mount::{Mount, Shared};
use iomapfs_core::host::Tx;
use iomapfs_core::names;
use iomapfs_core::store::Store;
use kernel::error::{code::*, Result};

impl Mount {
    /// `link`
    pub fn link(&self, node: &Shared, dir: &Shared, name: &[u8]) -> Result {
        let _held = (self.hold(dir)?, self.hold(node)?);
        let credits = self.insert_credits(dir) + WRITE_CREDITS + ORPHAN_CREDITS;
        let mut tx = self.vol.store.begin(credits, INSERT_REVOKES)?;
        let inserted = self.insert(&mut tx, dir, name, node);
        dir.borrow_mut().write_core(self, &mut tx)?;
        inserted?;
        let was_orphan = node.borrow().attrs.nlink == 0;
        node.borrow_mut().attrs.nlink += 1;
        if was_orphan {
            self.unmark_orphan(&mut tx, node)?;
        }
        node.borrow_mut().touch();
        node.borrow_mut().write(self, &mut tx)
    }

    /// `unlink`, and `rmdir` of an empty directory.
    pub fn unlink(&self, dir: &Shared, name: &[u8], node: &Shared) -> Result {
        let directory = is_dir(node);
        if directory && !names::is_empty(&self.dir(node))? {
            return Err(ENOTEMPTY);
        }
        let _held = (self.hold(dir)?, self.hold(node)?);
        let credits = names::CHANGE_CREDITS + WRITE_CREDITS * 2 + ORPHAN_CREDITS;
        let mut tx = self.vol.store.begin(credits, 0)?;
        let dies = directory || node.borrow().attrs.nlink == 1;
        let marked = dies && self.mark_orphan(&mut tx, node)?;
        let ino = node.borrow().ino();
        if let Err(error) = names::remove(&mut self.dir(dir), &mut tx, name, ino) {
            if marked {
                self.unmark_orphan(&mut tx, node)?;
            }
            return Err(error);
        }
        if directory {
            drop_dir_link(dir);
        }
        dir.borrow_mut().touch();
        dir.borrow_mut().write(self, &mut tx)?;
        self.lost_name(&mut tx, node)
    }

    /// An inode has lost a name; a directory has no other.
    pub(super) fn lost_name(&self, tx: &mut Tx<'_>, node: &Shared) -> Result {
        let directory = is_dir(node);
        {
            let node = &mut *node.borrow_mut();
            node.attrs.nlink = if directory { 0 } else { node.attrs.nlink - 1 };
            node.touch();
        }
        if node.borrow().attrs.nlink == 0 {
            self.mark_orphan(tx, node)?;
        }
        node.borrow_mut().write(self, tx)
    }
}
