// SPDX-License-Identifier: GPL-2.0

//! Orphans that a crash has left, and a mount for writing looks after.

use super::blocks::set_size;
use super::visit::{Visit, NOW};
use crate::corpus::MOST_BYTES;
use iomapfs_core::change::recover::{self, recover};
use iomapfs_core::change::{free, Live};
use iomapfs_core::disk::{FileType, Ino};
use iomapfs_core::host::{HostStore, Mounted, Node};
use iomapfs_core::store::Store;
use kernel::error::Result;
use std::rc::Rc;

/// A slot of the orphan file that says nonsense is a report, and they all may: a word each of the image is more.
const MOST_REPORTS: usize = MOST_BYTES as usize / 4;

/// How orphans come into memory.
struct Keeper<'a>(&'a Rc<Mounted>);

impl recover::Keeper<HostStore> for Keeper<'_> {
    type Live = Node;
    type Held = Rc<Node>;

    fn get(&mut self, ino: Ino) -> Result<Rc<Node>> {
        Node::get_orphan(self.0, ino)
    }

    fn cut_off(&mut self, node: &Node) -> Result {
        match node.file_type() {
            FileType::Regular => set_size(node, node.size()),
            _ => Ok(()),
        }
    }

    fn put(&mut self, node: Rc<Node>) {
        if node.links() == 0 {
            if let Err(error) = free::free(&*node, NOW) {
                let what = format_args!("an orphan is not freed");
                self.0.vol.store.fail(error, node.ino(), what);
            }
        }
        node.evict();
    }
}

impl Visit<'_> {
    /// Frees those without links, and cuts the others off at their size.
    pub(super) fn finish_orphans(&mut self) {
        let fs = self.fs.clone();
        let done = fs
            .vol
            .super_block
            .copy(&fs.vol.store)
            .and_then(|raw| recover(&fs.vol, &fs.orphans, &raw, &mut Keeper(&fs)).map(drop));
        self.note_many(done, MOST_REPORTS);
    }
}
