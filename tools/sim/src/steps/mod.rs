// SPDX-License-Identifier: GPL-2.0

//! Operations in the transactions that the module makes of them (`src/ops`): the same calls of the core in the
//! same handles, in the same order, with the same credits.
//!
//! | file | what | in the module |
//! |---|---|---|
//! | `create.rs` | inodes are made and get a name | `ops/create.rs`, `ops/names.rs` |
//! | `links.rs` | names are added and removed | `ops/names.rs` |
//! | `rename.rs` | `rename` in all its forms | `ops/rename.rs` |
//! | `data.rs` | data is shown, sizes change | `ops/complete.rs`, `ops/truncate.rs` |
//! | `free.rs` | inodes without links go away, orphans | `ops/inode/evict.rs`, `ops/truncate.rs` |

mod create;
mod data;
mod free;
mod links;
mod rename;

pub use create::{Created, What};
pub use data::Range;
pub use rename::Side;

use crate::broken::Rule;
use crate::mount::{Mount, Node, Shared, Watch};
use iomapfs_core::disk::inode::FileKind;
use iomapfs_core::host::{HostStore, Tx};
use iomapfs_core::inode::{self, Inode, Orphans};
use iomapfs_core::map::FileMap;
use iomapfs_core::names::{self, FileType};
use iomapfs_core::store::{Store, Transaction};
use kernel::error::Result;

const ORPHAN_CREDITS: u32 = Orphans::<HostStore>::CREDITS;
const WRITE_CREDITS: u32 = Inode::WRITE_CREDITS;

/// Revokes for a name that is inserted.
const INSERT_REVOKES: u32 = 2;

fn file_type(node: &Node) -> FileType {
    match node.attrs.kind() {
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::CharDevice => FileType::CharDevice,
        _ => FileType::Regular,
    }
}

fn is_dir(node: &Shared) -> bool {
    node.borrow().attrs.kind() == FileKind::Directory
}

/// There is one more directory in `dir`.
fn add_dir_link(dir: &Shared) {
    let dir = &mut *dir.borrow_mut();
    if dir.attrs.nlink > 1 {
        dir.attrs.nlink += 1;
    }
}

/// There is one directory less in `dir`.
fn drop_dir_link(dir: &Shared) {
    let dir = &mut *dir.borrow_mut();
    if dir.attrs.nlink > 2 {
        dir.attrs.nlink -= 1;
    }
}

impl Mount {
    fn insert_credits(&self, dir: &Shared) -> u32 {
        let depth = dir.borrow().core.map.depth() + 1;
        names::insert_credits(FileMap::commit_credits(&self.vol, depth).blocks) + WRITE_CREDITS
    }

    /// Keeps in memory what an inode is written to.
    fn hold(&self, node: &Shared) -> Result<impl Sized> {
        inode::hold(&self.vol, node.borrow().ino())
    }

    /// Makes an inode an orphan; `false` where it is one.
    fn mark_orphan(&self, tx: &mut Tx<'_>, node: &Shared) -> Result<bool> {
        if self.broken.is(Rule::NoOrphan) {
            return Ok(false);
        }
        self.orphans.add(&self.vol, tx, node.borrow().ino())
    }

    fn unmark_orphan(&self, tx: &mut Tx<'_>, node: &Shared) -> Result {
        self.orphans.remove(&self.vol, tx, node.borrow().ino())
    }

    /// A handle with at least these credits: a new one, or the one that there is, which may go on in another
    /// transaction.
    fn ready<'h, 'm>(
        &'m self,
        handle: &'h mut Option<Tx<'m>>,
        credits: u32,
        revokes: u32,
        watch: &mut dyn Watch,
    ) -> Result<&'h mut Tx<'m>> {
        match handle {
            Some(tx) => {
                if tx.ensure(credits, revokes)? {
                    watch.closed(self);
                }
                Ok(tx)
            }
            none => Ok(none.insert(self.vol.store.begin(credits, revokes)?)),
        }
    }
}
