// SPDX-License-Identifier: GPL-2.0

//! A mount and an unmount, as far as the device sees them.
//!
//! | moment | what happens |
//! |---|---|
//! | the super block was read | [`plan`](fn@plan) says what is done with the journal |
//! | the journal was replayed | [`note_errors`] puts back what was recorded past the journal |
//! | before anything is asked for space | [`load_space`] |
//! | writing begins: mount, remount, end of a freeze | [`begin_writing`] |
//! | orphans that a crash has left | [`recover`](super::recover) |
//! | writing ends: unmount, remount, freeze | [`end_writing`] |
//!
//! # Invariants
//!
//! * `RECOVER` is on the device before the first transaction commits, and is taken away after the journal was
//!   emptied: who finds it replays the journal, who does not finds everything in place.

mod plan;

pub use plan::{plan, Plan, Wish};

use crate::disk::superblock::{RawSuper, STATE_ERROR};
use crate::disk::Layout;
use crate::inode::{JournalMap, Orphans};
use crate::space::Space;
use crate::store::{Rule, Store};
use crate::volume::super_block::SuperBlock;
use crate::volume::Volume;
use kernel::error::Result;

/// Adds up what is free. The blocks of the journal are the file system's own, if it is used.
///
/// # Errors
///
/// Those of [`Space::load`] and [`Space::add_system`].
pub fn load_space<S: Store>(
    store: &S,
    layout: &Layout,
    journal: Option<&JournalMap>,
) -> Result<Space<S>> {
    let mut space = Space::load(store, layout)?;
    for piece in journal.into_iter().flat_map(JournalMap::pieces) {
        space.add_system(store, piece.start, piece.len)?;
    }
    Ok(space)
}

/// Blocks of the file system's own, which `statfs` does not count: with those of the journal, of which there are
/// `journal`, by what its inode says perhaps.
pub fn overhead<S: Store>(volume: &Volume<S>, journal: u64) -> u64 {
    let layout = &volume.layout;
    let free = volume.space.counts().free_blocks;
    let free = free.wrapping_shl(layout.cluster_bits());
    let used = layout.blocks_count().saturating_sub(free);
    layout.overhead(journal, used)
}

/// Errors are recorded past the journal, and its replay may bring back what was before. `before` is the super block as
/// it was before the replay; `in_journal`: the last user of the journal recorded an error in it, which the super block
/// may not have.
///
/// # Errors
///
/// Those of [`SuperBlock::change_past_journal`].
pub fn note_errors<S: Store>(
    store: &S,
    super_block: &SuperBlock<S>,
    before: &RawSuper,
    in_journal: bool,
) -> Result {
    let now = super_block.copy(store)?;
    let lost = before.error_count.get() > now.error_count.get();
    let mut state = before.state.get() & STATE_ERROR;
    if in_journal {
        state |= STATE_ERROR;
    }
    if !lost && now.state.get() | state == now.state.get() {
        return Ok(());
    }
    super_block.change_past_journal(store, |raw| {
        raw.state.set(raw.state.get() | state);
        if lost {
            raw.copy_errors(before);
        }
    })
}

/// From now on there may be something in the journal. `news` changes what only the caller knows of: times, errors.
///
/// # Errors
///
/// Those of [`SuperBlock::change_past_journal`].
pub fn begin_writing<S: Store>(volume: &Volume<S>, news: impl FnOnce(&mut RawSuper)) -> Result {
    let in_use = !volume.store.breaks(Rule::InUseFirst);
    change(volume, |raw| {
        news(raw);
        if in_use {
            mark_in_use(volume, raw);
        }
    })
}

/// The volume is as it is to stay. `empty_journal` brings all that was committed to its place and leaves nothing in the
/// journal; nobody can begin a transaction meanwhile. `news`: see [`begin_writing`].
///
/// # Errors
///
/// Those of `empty_journal` and of [`SuperBlock::change_past_journal`]. Then writing goes on, and the super block in
/// memory says so.
pub fn end_writing<S: Store>(
    volume: &Volume<S>,
    orphans: &Orphans<S>,
    empty_journal: impl FnOnce() -> Result,
    news: impl FnOnce(&mut RawSuper),
) -> Result {
    let mark_clean = || {
        let orphans_left = !orphans.file_is_empty();
        change(volume, |raw| {
            news(raw);
            raw.set_needs_recovery(false);
            if !orphans_left {
                raw.set_orphan_present(false);
            }
        })
    };
    if volume.store.breaks(Rule::CleanLast) {
        mark_clean()?;
        return empty_journal();
    }
    empty_journal()?;
    mark_clean().inspect_err(|_| {
        // In memory the super block says that it is clean, and the next transaction that changes it would say so, too.
        let again = || change(volume, |raw| mark_in_use(volume, raw));
        // Where the device fails again, it has no other super block.
        let _ = volume.store.insist(again);
    })
}

/// There may be something in the journal, and in the orphan file.
fn mark_in_use<S: Store>(volume: &Volume<S>, raw: &mut RawSuper) {
    raw.set_needs_recovery(true);
    if volume.layout.orphan_file_ino().is_some() {
        raw.set_orphan_present(true);
    }
}

/// The journal of a mount that is read-only was replayed. Nothing else is brought up to date: the clock may be wrong
/// yet.
///
/// # Errors
///
/// Those of [`SuperBlock::change_past_journal`].
pub fn note_replay<S: Store>(volume: &Volume<S>) -> Result {
    volume
        .super_block
        .change_past_journal(&volume.store, |raw| raw.set_needs_recovery(false))
}

/// Changes the super block past the journal, and brings its counts up to date.
fn change<S: Store>(volume: &Volume<S>, f: impl FnOnce(&mut RawSuper)) -> Result {
    let counts = volume.space.counts();
    let inodes = u32::try_from(counts.free_inodes).unwrap_or(u32::MAX);
    volume
        .super_block
        .change_past_journal(&volume.store, |raw| {
            raw.set_free(counts.free_blocks_on_disk, inodes);
            f(raw);
        })
}
