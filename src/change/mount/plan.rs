// SPDX-License-Identifier: GPL-2.0

//! What a mount does with the journal.

use crate::disk::features::incompat;
use crate::disk::superblock::RawSuper;
use crate::disk::{Ino, Layout};
use kernel::error::{code::*, Error};

/// How the volume is to be mounted, and what the device allows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish {
    /// Nothing is to be changed.
    pub read_only: bool,
    /// The journal is to be left alone.
    pub noload: bool,
    /// The device cannot be written to.
    pub device_read_only: bool,
}

/// What to do with the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Do not touch it.
    Without,
    /// Use it, after a replay if need be.
    Load {
        /// Its inode.
        journal: Ino,
        /// It must be replayed.
        replay: bool,
    },
}

/// Where the journal of a volume is.
#[derive(Clone, Copy)]
enum Journal {
    None,
    /// In this inode.
    Inside(Ino),
    /// On a device of its own.
    Outside,
}

/// Decides what to do with the journal; `raw` is the super block.
///
/// # Errors
///
/// What cannot be done, with the line for the log.
pub fn plan(layout: &Layout, raw: &RawSuper, wish: Wish) -> Result<Plan, (Error, &'static str)> {
    let replay = layout.features().has_incompat(incompat::RECOVER);
    let journal = match (layout.has_journal(), layout.journal_ino()) {
        (false, _) => Journal::None,
        (true, Some(ino)) if raw.journal_dev.get() == 0 => Journal::Inside(ino),
        (true, _) => Journal::Outside,
    };
    let Wish {
        read_only,
        noload,
        device_read_only,
    } = wish;

    if read_only && noload {
        return Ok(Plan::Without);
    }
    if !read_only && device_read_only {
        return Err((EROFS, "the device is read-only: mount with -o ro"));
    }
    match (journal, read_only, replay) {
        (Journal::None, _, true) => Err((
            EUCLEAN,
            "a journal must be replayed, but there is none: run e2fsck",
        )),
        (Journal::None, false, false) => Err((
            EROFS,
            "there is no journal: mount with -o ro, or make one with tune2fs -j",
        )),
        (Journal::Outside, true, true) => Err((
            EROFS,
            "the journal, on another device, must be replayed: run e2fsck, or mount with -o ro,noload",
        )),
        (Journal::Outside, false, _) => Err((
            EROFS,
            "the journal is on another device, which is not supported: mount with -o ro",
        )),
        (Journal::None | Journal::Outside, true, false) => Ok(Plan::Without),
        (Journal::Inside(_), _, true) if noload => Err((
            EINVAL,
            "the journal must be replayed: noload only goes with -o ro",
        )),
        (Journal::Inside(_), _, true) if device_read_only => Err((
            EROFS,
            "the journal must be replayed, but the device is read-only: mount with -o ro,noload",
        )),
        (Journal::Inside(_), _, false) if device_read_only => Ok(Plan::Without),
        (Journal::Inside(journal), _, replay) => Ok(Plan::Load { journal, replay }),
    }
}
