// SPDX-License-Identifier: GPL-2.0

//! The device is told of free blocks: of those that were just freed (`-o discard`), and when somebody wants it
//! (`FITRIM`).
//!
//! # Locks
//!
//! Protection against a freeze is only tried, inside the trim lock: a trim ends where a freeze begins.

use super::store::JournalStore;
use crate::change::trim::{self, Wanted};
use crate::linux::task;
use crate::ops::SuperBlock;
use crate::space::{Run, Trimmer};
use crate::volume::Volume;
use kernel::error::{code::*, Result};

/// Tells the device that blocks hold nothing any more, and waits for that.
///
/// # Errors
///
/// `EOPNOTSUPP` where it cannot; its own.
pub(super) fn discard(volume: &Volume<JournalStore>, run: Run) -> Result {
    let size = u64::from(volume.layout.block_size().bytes());
    let start = run.start.get().saturating_mul(size);
    let len = u64::from(run.len).saturating_mul(size);

    volume.store.cache().device().discard(start, len)
}

/// A task that trims.
struct Task<'a> {
    sb: &'a SuperBlock,
    volume: &'a Volume<JournalStore>,
}

impl Trimmer for Task<'_> {
    fn is_stopped(&mut self) -> bool {
        task::reschedule();
        task::is_dying() || task::is_to_freeze()
    }

    fn discard(&mut self, run: Run) -> Result<bool> {
        // While it is frozen the device stays as it is.
        let Some(_unfrozen) = self.sb.try_internal_write() else {
            return Ok(false);
        };
        discard(self.volume, run).map(|()| true)
    }
}

/// Whether something can be trimmed. A mount may be read-only, as what is free is not changed by that.
///
/// # Errors
///
/// `EOPNOTSUPP` where the device cannot discard; `EROFS` where it is read-only, where the journal was not loaded, so
/// that the bitmaps are not known to be right, or since an error; `EIO` where the device is gone.
pub(crate) fn check(volume: &Volume<JournalStore>) -> Result {
    let store = &volume.store;
    let device = store.cache().device();

    if !device.can_discard() {
        return Err(EOPNOTSUPP);
    }
    if device.is_read_only() || (volume.layout.has_journal() && store.journal().is_none()) {
        return Err(EROFS);
    }
    store.errors().check()
}

/// Trims what is `wanted`. Gives the bytes that were trimmed.
///
/// # Errors
///
/// Those of [`trim::trim`].
pub(crate) fn trim(sb: &SuperBlock, wanted: Wanted) -> Result<u64> {
    let volume = &sb.data().mounted.volume;
    let granularity = volume.store.cache().device().discard_granularity();
    trim::trim(volume, wanted, granularity, &mut Task { sb, volume })
}
