// SPDX-License-Identifier: GPL-2.0

//! The operations of open directories.
//!
//! # Locks
//!
//! `i_rwsem` of the directory, by the VFS, shared to look and exclusively to change; with it size and map do not
//! change. The cursor of an open directory has a mutex, inside of that. The map lock is taken for each block only
//! where the lock-free copy of the last extent does not answer.

use super::Directory;
use crate::change::Dir;
use crate::disk::FileType;
use crate::linux::dir::{self, Emitter, EntryKind};
use crate::linux::task;
use crate::names::{self, Cursor, Listed, Listing};
use crate::ops::{durable, Fs, Node};
use core::pin::Pin;
use kernel::prelude::*;
use kernel::sync::{new_mutex, Mutex};

impl dir::Operations for Directory {
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
                Listing::More => {}
                // The position is that of the name which was not taken.
                Listing::Stopped => return Ok(()),
                Listing::End => {
                    to.set_pos(cursor.pos());
                    return Ok(());
                }
            }
        }
    }

    fn sync(dir: &Node, _data_only: bool) -> Result {
        // Names are data, and in the same transaction as everything else.
        durable::inode(dir)
    }
}

/// What `readdir(3)` calls a type.
fn entry_kind(file_type: Option<FileType>) -> EntryKind {
    match file_type {
        None => EntryKind::Unknown,
        Some(FileType::Regular) => EntryKind::Regular,
        Some(FileType::Directory) => EntryKind::Directory,
        Some(FileType::CharDevice) => EntryKind::CharDevice,
        Some(FileType::BlockDevice) => EntryKind::BlockDevice,
        Some(FileType::Fifo) => EntryKind::Fifo,
        Some(FileType::Socket) => EntryKind::Socket,
        Some(FileType::Symlink) => EntryKind::Symlink,
    }
}
