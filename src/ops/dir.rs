// SPDX-License-Identifier: GPL-2.0

//! Directories: how the core gets at their blocks, and the operations of open ones.
//!
//! # Locks
//!
//! `i_rwsem` of the directory, by the VFS, shared to look and exclusively to change; with it size and map do not
//! change. The map lock is taken for each block only where the lock-free copy of the last extent does not answer.

use super::extents::with_reserves;
use super::{inode, Data, Fs, JournalStore, Node, Tx};
use crate::disk::inode::InodeFlags;
use crate::disk::{CsumSeed, Ino, LogicalBlock, PhysBlock};
use crate::linux::dir::{self, Emitter, EntryKind};
use crate::linux::inode::FileTable;
use crate::linux::memalloc::NofsScope;
use crate::linux::task;
use crate::map::{Mapping, State};
use crate::names::{self, Cursor, FileType, Known, Listed, Params, Progress};
use crate::store::Store;
use core::pin::Pin;
use kernel::prelude::*;
use kernel::sync::{new_mutex, Mutex};

/// A directory as the core sees it.
pub(super) struct Dir<'a> {
    node: &'a Node,
    data: &'a Data,
    params: &'a Params,
}

impl<'a> Dir<'a> {
    /// The directory `node`, whose `i_rwsem` the caller holds.
    pub(super) fn new(node: &'a Node) -> Self {
        Self {
            node,
            data: node.data(),
            params: &node.super_block().data().params,
        }
    }

    fn mapping(&self, at: LogicalBlock) -> Result<Mapping> {
        if let Some(mapping) = self.data.snapshot().get(at, u32::MAX) {
            return Ok(mapping);
        }
        let _nofs = NofsScope::enter();
        let mut core = self.data.core().lock();
        core.map.lookup(self.data.volume(), at, u32::MAX)
    }
}

impl names::Directory<JournalStore> for Dir<'_> {
    fn store(&self) -> &JournalStore {
        &self.data.volume().store
    }

    fn params(&self) -> Params {
        *self.params
    }

    fn ino(&self) -> Ino {
        inode::number(self.node)
    }

    fn seed(&self) -> Option<CsumSeed> {
        self.data.seed()
    }

    fn blocks(&self) -> u32 {
        let blocks = self.node.size() >> self.params.block_size.bits();
        u32::try_from(blocks).unwrap_or(u32::MAX)
    }

    fn version(&self) -> u64 {
        self.node.version()
    }

    fn is_indexed(&self) -> bool {
        self.data.flags().has(InodeFlags::INDEX)
    }

    fn set_indexed(&mut self, indexed: bool) {
        let mut core = self.data.core().lock();
        core.flags = match indexed {
            true => core.flags.with(InodeFlags::INDEX),
            false => core.flags.without(InodeFlags::INDEX),
        };
        self.data.note_flags(&core);
    }

    fn known(&self) -> Known {
        self.data.known()
    }

    fn note(&self, what: Known) {
        self.data.note(what);
    }

    fn run(&self, at: LogicalBlock) -> Result<(Option<PhysBlock>, u32)> {
        let mapping = self.mapping(at)?;
        let phys = mapping.phys.filter(|_| mapping.state == State::Written);
        Ok((phys, mapping.len))
    }

    fn append(&mut self, tx: &mut Tx<'_>) -> Result<(LogicalBlock, PhysBlock)> {
        let at = LogicalBlock::new(self.blocks());
        let size = self
            .node
            .size()
            .checked_add(self.params.block_size.bytes().into());
        let size = size.ok_or(EFBIG)?;
        let volume = self.data.volume();
        let mut core = self.data.core().lock();
        let goal = self.data.goal(false);
        let run = with_reserves(volume, |share| {
            core.map.allocate(volume, tx, at, 1, goal, share)
        });
        let run = match run {
            Err(error) if error == EEXIST => {
                drop(core);
                let ino = inode::number(self.node);
                return Err(volume.store.corrupt(
                    ino,
                    fmt!("directory inode {}: has a block behind its end", ino.get()),
                ));
            }
            other => other?,
        };
        core.disk_size = size;
        self.node.set_size(size);
        Ok((at, run.start))
    }
}

/// The operations of open directories.
pub(super) const fn file_table() -> FileTable<Fs> {
    FileTable::of_directories::<Open>()
}

/// An open directory: how far its listing is.
pub(super) struct Open;

impl dir::Operations for Open {
    type FileSystem = Fs;
    type Open = Pin<KBox<Mutex<Cursor>>>;

    const END: i64 = Cursor::END as i64;

    fn open(_dir: &Node) -> Result<KBox<Self::Open>> {
        let cursor = new_mutex!(Cursor::new(false), "iomapfs_cursor");
        Ok(KBox::new(KBox::pin_init(cursor, GFP_KERNEL)?, GFP_KERNEL)?)
    }

    fn list(node: &Node, open: &Self::Open, to: &mut Emitter<'_>) -> Result {
        let dir = Dir::new(node);
        let mut cursor = open.lock();
        cursor.seek(to.pos(), to.is_narrow());
        loop {
            // The user's buffer may be large, and blocks may have no names at all.
            if task::is_dying() {
                return Err(ERESTARTSYS);
            }
            task::reschedule();
            let progress = names::readdir(&dir, &mut cursor, |listed: Listed<'_>| {
                to.set_pos(listed.pos);
                to.emit(
                    listed.name,
                    listed.ino.get().into(),
                    entry_kind(listed.file_type),
                )
            })
            // The names before a bad block were given: the next call must not begin with the last of them again.
            .inspect_err(|_| to.set_pos(cursor.pos()))?;
            match progress {
                Progress::More => {}
                // The position is that of the name which was not taken.
                Progress::Stopped => return Ok(()),
                Progress::End => {
                    to.set_pos(cursor.pos());
                    return Ok(());
                }
            }
        }
    }

    fn sync(dir: &Node, _data_only: bool) -> Result {
        // Names are data, and in the same transaction as everything else.
        inode::commit(dir)
    }
}

/// What `readdir(3)` calls a type.
fn entry_kind(file_type: FileType) -> EntryKind {
    match file_type {
        FileType::Unknown => EntryKind::Unknown,
        FileType::Regular => EntryKind::Regular,
        FileType::Directory => EntryKind::Directory,
        FileType::CharDevice => EntryKind::CharDevice,
        FileType::BlockDevice => EntryKind::BlockDevice,
        FileType::Fifo => EntryKind::Fifo,
        FileType::Socket => EntryKind::Socket,
        FileType::Symlink => EntryKind::Symlink,
    }
}
