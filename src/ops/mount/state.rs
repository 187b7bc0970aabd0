// SPDX-License-Identifier: GPL-2.0

//! A mounted file system below the VFS: how it comes up from a device, turns read-only and back, is
//! frozen, made durable, and goes down.
//!
//! # States
//!
//! *Read-only*: handles cannot be had; the super block says that the journal is empty (unless it was not
//! replayed, `noload`). *Writable*: the super block says that the journal must be replayed. *Stopped*, by an error:
//! as read-only, but the journal was aborted and the super block keeps saying that it must be replayed.
//!
//! # Locks
//!
//! The VFS holds `s_umount` exclusively for mount, remount, freeze and unmount; nothing else changes the state,
//! except that an error may stop it at any time.

use super::background::Background;
use super::errors::Errors;
use super::journal::load;
use super::options::{Number, Options, Switch, PRIMARY};
use super::store::{Client, JournalStore};
use super::superblock::{self, Written};
use crate::change::mount::{self, plan, Plan, Wish};
use crate::change::sync::{self, Committed};
use crate::disk::superblock::{RawSuper, STATE_ERROR, STATE_VALID, SUPER_MAGIC};
use crate::disk::{Flaw, Layout};
use crate::inode::JournalMap;
use crate::linux::buffer::BufferCache;
use crate::linux::fserror::Reporter;
use crate::linux::jbd2::{Erase, Journal};
use crate::linux::printk::{self, Level};
use crate::ops::Orphans;
use crate::store::{About, Store, Tid};
use crate::volume::settings::Settings;
use crate::volume::shared::{SharedBlocks, SharedValues};
use crate::volume::super_block::SuperBlock;
use crate::volume::Volume;
use kernel::alloc::KBox;
use kernel::error::{code::*, Result};

use kernel::fmt;
use kernel::prelude::*;
use kernel::str::CStr;
use kernel::sync::Arc;

/// See the top of the file.
pub(crate) struct Mounted {
    /// What the core works on.
    pub(crate) volume: Arc<Volume<JournalStore>>,
    /// The inodes that a recovery has to look after.
    pub(crate) orphans: Orphans,
    written: Written,
    overhead: u64,
}

/// Where a copy of the super block begins, by the option `sb=`, in bytes.
fn copy_offset(options: &Options) -> u64 {
    u64::from(options.number(Number::Copy)).saturating_mul(1024)
}

/// Reads the super block of a device, or the copy that the options name, with whatever block size it is set to. Only
/// the magic number was checked; `None` where it is another one.
///
/// # Errors
///
/// `EIO`, `ENOMEM`.
pub(crate) fn probe(cache: &BufferCache, options: &Options) -> Result<Option<KBox<RawSuper>>> {
    let size = u64::from(cache.block_size().max(1));
    let at = copy_offset(options);
    let raw = cache.read(at / size)?.with(|bytes| {
        let offset = (at % size) as usize;
        RawSuper::from_block(bytes, offset).cloned()
    });

    raw.filter(|raw| raw.magic.get() == SUPER_MAGIC)
        .map(|raw| Ok(KBox::new(raw, GFP_KERNEL)?))
        .transpose()
}

impl Mounted {
    /// Brings up the file system of the device of `cache`, whose super block is `raw`; it is set to its block size.
    /// `reporter` tells of its errors.
    ///
    /// Orphans are not yet processed: for that the VFS must have a root. See [`recover`](mod@crate::change::recover).
    ///
    /// # Errors
    ///
    /// All reported. `EINVAL` and `EROFS` where it must not be mounted so; `EUCLEAN`, `EFSBADCRC`, `EIO`, `ENOMEM`.
    pub(crate) fn open(
        cache: BufferCache,
        name: &CStr,
        reporter: Arc<Reporter>,
        raw: &RawSuper,
        options: &Options,
    ) -> Result<Self> {
        let errors = Errors::new(name, options.error_policy(), reporter)?;

        // Blocks that an earlier mount has checked may have been changed through the device's file since.
        cache.device().write_back().inspect_err(|error| {
            let error = error.to_errno();
            errors.log(
                Level::Error,
                fmt!("what was written to the device before could not be written back: error {error}"),
            );
        })?;
        cache.device().invalidate();

        if options.number(Number::Copy) != PRIMARY && !options.read_only {
            errors.log(
                Level::Error,
                fmt!("with a copy of the super block (sb=) it can only be read: mount with -o ro, or use e2fsck -b"),
            );
            return Err(EROFS);
        }
        let layout = check(&errors, &cache, raw, options)?;
        let store = JournalStore::bare(cache, errors, Background::new(name)?);
        let wish = Wish {
            read_only: options.read_only,
            noload: options.is_without_journal(),
            device_read_only: store.cache().device().is_read_only(),
        };
        let plan = plan(&layout, raw, wish).map_err(|(error, why)| {
            store.log(Level::Error, fmt!("{why}"));
            error
        })?;
        let store = match plan {
            Plan::Without => store.settle(),
            Plan::Load { journal, replay } => load(store, &layout, journal, options, replay)?,
        };
        let replayed = matches!(plan, Plan::Load { replay: true, .. });

        // Replay may have changed the super block.
        let super_block = SuperBlock::read(&store, &layout)?;
        let now = super_block.copy(&store)?;
        let block_size = layout.block_size();
        let layout = check(store.errors(), store.cache(), &now, options)?;
        if layout.block_size() != block_size {
            let (size, expected) = (layout.block_size().bytes(), block_size.bytes());
            return Err(store.flawed(About::NONE, Flaw::SuperBlockSize { size, expected }));
        }
        note_errors(&store, &super_block, raw)?;

        let this = Self::assemble(store, layout, super_block, &now, options)?;

        if options.read_only {
            if replayed {
                mount::note_replay(&this.volume)?;
            }
            if this.volume.store.errors().any() {
                this.volume.store.record_errors();
            }
        } else {
            this.start_writing(&now)?;
        }
        Ok(this)
    }

    fn assemble(
        store: JournalStore,
        layout: Layout,
        super_block: SuperBlock<JournalStore>,
        raw: &RawSuper,
        options: &Options,
    ) -> Result<Self> {
        let written = Written::new(&store, raw);
        let journal = store.journal().map(|journal| journal.client().map());
        let space = mount::load_space(&store, &layout, journal)?;
        let settings = Settings::new(&layout);
        let share = !options.has(Switch::NoSharing);
        let volume = Arc::new(
            Volume {
                super_block,
                store,
                shared: SharedBlocks::new(share)?,
                values: SharedValues::new(share && layout.value_seed().is_some())?,
                layout,
                space,
                settings,
            },
            GFP_KERNEL,
        )?;

        let orphans = Orphans::load(&volume)?;
        let overhead = mount::overhead(&volume, journal_blocks(&volume));

        volume.store.background().link(&volume);
        // From here on dropping the value takes the link away.
        let this = Self {
            volume,
            orphans,
            written,
            overhead,
        };
        this.set_options(options);
        Ok(this)
    }

    /// Blocks of the file system's own, the journal's included: `statfs` does not count them.
    pub(crate) fn overhead(&self) -> u64 {
        self.overhead
    }

    /// What the device was written since the mount, in KiB.
    pub(crate) fn written_since_mount(&self) -> u64 {
        self.written.since_mount(&self.volume.store)
    }

    /// What it was written since the file system was made, in KiB.
    pub(crate) fn written_ever(&self) -> u64 {
        self.written.now(&self.volume.store)
    }

    /// Lets `write` begin or end writing, with what the kernel has to tell the super block: times, errors.
    fn with_news(&self, write: impl FnOnce(&mut dyn FnMut(&mut RawSuper)) -> Result) -> Result {
        let store = &self.volume.store;

        superblock::with_errors(store, |errors| {
            write(&mut |raw| {
                superblock::bring_up_to_date(store, &self.written, raw);
                errors(raw);
            })
        })
    }

    /// Begins to write, at mount or remount. `raw` is the super block as it is.
    fn start_writing(&self, raw: &RawSuper) -> Result {
        let store = &self.volume.store;

        if raw.state.get() & STATE_VALID == 0 {
            store.log(
                Level::Warning,
                fmt!("the file system was not checked after it was made or mounted: run e2fsck"),
            );
        } else if raw.state.get() & STATE_ERROR != 0 {
            store.log(
                Level::Warning,
                fmt!("the file system has errors: run e2fsck"),
            );
        } else if raw.was_mounted_often() {
            store.log(
                Level::Warning,
                fmt!(
                    "the file system was mounted as often as it may be without a check: run e2fsck"
                ),
            );
        } else if raw.is_check_due(printk::unix_time()) {
            store.log(
                Level::Warning,
                fmt!("the file system was not checked for as long as it may be: run e2fsck"),
            );
        }
        // An error that was found before is written past the journal, too.
        store.background().flush();
        self.with_news(|news| {
            mount::begin_writing(&self.volume, |raw| {
                news(raw);
                superblock::note_mount(raw, self.overhead);
            })
        })?;
        store.set_writable(true);
        Ok(())
    }

    /// Empties the journal and marks the file system clean. No handle may be open in this task.
    fn write_all(&self) -> Result {
        let volume = &self.volume;
        let Some(journal) = volume.store.journal() else {
            return Err(volume
                .store
                .bug(About::NONE, "a volume is written to without a journal"));
        };

        journal.with_updates_locked(|locked| {
            self.with_news(|news| {
                mount::end_writing(volume, &self.orphans, || locked.flush(Erase::Not), news)
            })
        })
    }

    /// Turns a writable mount into a read-only one. The VFS has written out all inodes and lets nobody write.
    pub(crate) fn make_read_only(&self) -> Result {
        let store = &self.volume.store;

        if !store.was_writable() {
            return Ok(());
        }
        store.background().flush();
        if store.check_writable().is_ok() {
            self.write_all()?;
        }
        store.set_writable(false);
        Ok(())
    }

    /// Turns a read-only mount into a writable one. The caller processes the orphans afterwards.
    ///
    /// # Errors
    ///
    /// `EROFS`, reported, where that cannot be: the device or a feature forbids it, the journal was not loaded or was
    /// aborted, an error stopped the mount.
    pub(crate) fn make_writable(&self) -> Result {
        let store = &self.volume.store;
        let refuse = |why: fmt::Arguments<'_>| {
            store.log(Level::Error, fmt!("cannot be mounted for writing: {why}"));
            Err(EROFS)
        };

        if store.was_writable() && !store.errors().is_stopped() {
            return Ok(());
        }
        if let Some(features) = self.volume.layout.features().unsupported_for_writing() {
            return refuse(fmt!("unsupported features {features}"));
        }
        if store.cache().device().is_read_only() {
            return refuse(fmt!("the device is read-only"));
        }
        match store.journal() {
            None => return refuse(fmt!("the file system was mounted without its journal")),
            Some(journal) if journal.is_aborted() => {
                return refuse(fmt!("the journal was aborted; unmount and run e2fsck"));
            }
            Some(_) if store.errors().is_stopped() => {
                return refuse(fmt!("an error was found; unmount and run e2fsck"));
            }
            Some(_) => {}
        }
        let raw = self.volume.super_block.copy(store)?;

        self.start_writing(&raw)
    }

    /// Takes over the options that a remount may change, apart from `ro` and `rw`.
    pub(crate) fn set_options(&self, options: &Options) {
        let store = &self.volume.store;
        let settings = &self.volume.settings;

        store.errors().set_policy(options.error_policy());
        settings.set_reserve_owner(options.reserve_owner());
        settings.set_max_dir_kib(options.number(Number::MaxDirSize));
        if let Some(journal) = store.journal() {
            journal.set_parameters(&options.journal());
        }
        store.background().set_discard(options.has(Switch::Discard));
    }

    /// The journal, if there is anything that it could make durable.
    ///
    /// # Errors
    ///
    /// `EROFS` or `EIO` where nothing can be made durable any more.
    fn journal_in_use(&self) -> Result<Option<&Journal<Client>>> {
        let store = &self.volume.store;
        let journal = store.journal().filter(|_| store.was_writable());

        store.check_alive()?;
        if journal.is_some() {
            store.errors().check()?;
        }
        Ok(journal)
    }

    /// Starts a commit of all changes, and waits for it if `wait`; then what was written before is durable, too.
    pub(crate) fn sync(&self, wait: bool) -> Result {
        let Some(journal) = self.journal_in_use()? else {
            return Ok(());
        };

        if !wait {
            journal.start_commit();
            return Ok(());
        }
        self.commit(Some(journal.latest_tid()))
    }

    /// Makes transaction `tid` durable, and the data that was written to the device before: the part of `fsync()`
    /// that comes after writing out the file. `tid` is one that this mount gave out.
    pub(crate) fn commit(&self, tid: Option<Tid>) -> Result {
        let Some(journal) = self.journal_in_use()? else {
            return Ok(());
        };
        let will_flush = |tid| journal.will_flush(tid);
        let plan = sync::plan(&self.volume.store, tid, journal.has_barrier(), will_flush);
        let mut result = plan.commit.map_or(Ok(()), |tid| journal.complete(tid));
        // jbd2 counts a transaction as done that an abort has ended.
        if journal.is_aborted() {
            result = result.and(Err(EIO));
        }
        // The commit did not do that.
        if plan.flush {
            result = result.and(self.volume.store.cache().device().flush());
        }
        result
    }

    /// Commits, so that the blocks freed until now can be used again when it returns.
    ///
    /// # Errors
    ///
    /// `EROFS` after an abort: then what was freed may be in use on the device.
    pub(crate) fn reclaim_freed(&self) -> Result {
        let store = &self.volume.store;
        let journal = store.journal().ok_or(EROFS)?;

        journal.force_commit()?;
        // jbd2 has nothing to say where nothing is left to commit.
        match store.committed() {
            Committed::UpTo(tid) => {
                // The thread of the journal, or the queue, may still be about to do so.
                store.background().give_back(tid);
                Ok(())
            }
            Committed::All | Committed::Unknown => Err(EROFS),
        }
    }

    /// Makes the device consistent as it is. The VFS keeps everybody from changing anything.
    pub(crate) fn freeze(&self) -> Result {
        let store = &self.volume.store;

        if !store.was_writable() {
            return Ok(());
        }
        store.check_writable()?;
        // From now on errors wait. Those that do not are written before the journal is emptied.
        store.set_frozen(true);
        store.background().flush();
        self.write_all().inspect_err(|_| self.end_freeze())
    }

    /// Ends [`Self::freeze`].
    pub(crate) fn thaw(&self) -> Result {
        let store = &self.volume.store;

        if store.was_writable() && !store.errors().is_stopped() {
            self.with_news(|news| mount::begin_writing(&self.volume, news))?;
        }
        self.end_freeze();
        Ok(())
    }

    /// Errors wait no more to be written.
    fn end_freeze(&self) {
        let store = &self.volume.store;

        store.set_frozen(false);
        if store.errors().are_pending() {
            store.record_errors();
        }
    }

    /// Unmounts: all inodes are gone. What fails is reported and left for a replay.
    pub(crate) fn finish(&self) {
        let store = &self.volume.store;
        let writable = store.was_writable();

        if self.make_read_only().is_err() {
            store.log(
                Level::Error,
                fmt!(
                    "the file system could not be unmounted cleanly: the journal must be replayed"
                ),
            );
        }
        // The super block of a read-only mount may have errors to come.
        store.background().flush();
        store.background().unlink();
        let counts = self.volume.space.counts();

        // All that was reserved or chosen for a file must have gone back with it; what was freed stays with a
        // transaction that a shutdown has ended.
        let undisturbed = writable && !store.errors().any() && !store.errors().is_stopped();
        if undisturbed && counts.free_blocks != counts.free_blocks_on_disk {
            store.log(
                Level::Error,
                fmt!(
                    "BUG: the bitmaps have {} free blocks, memory has {}",
                    counts.free_blocks_on_disk,
                    counts.free_blocks
                ),
            );
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // `finish` has done so, unless the mount failed.
        self.volume.store.background().unlink();
    }
}

/// Takes over the errors that were recorded past the journal, whose replay may have brought back what was before, and
/// in the journal. `before` is the super block as it was before the replay.
fn note_errors(
    store: &JournalStore,
    super_block: &SuperBlock<JournalStore>,
    before: &RawSuper,
) -> Result {
    let recorded = store.journal().and_then(|journal| {
        let error = journal.recorded_error()?;
        store.log(
            Level::Warning,
            fmt!("an error was found at the last mount: error {error}"),
        );
        Some(journal)
    });

    mount::note_errors(store, super_block, before, recorded.is_some())?;
    if let Some(journal) = recorded {
        journal.clear_recorded_error();
    }
    Ok(())
}

/// Blocks of the journal, if it is on this device, whether it is used or not.
fn journal_blocks(volume: &Volume<JournalStore>) -> u64 {
    let (store, layout) = (&volume.store, &volume.layout);
    match (store.journal(), layout.journal_ino()) {
        (Some(journal), _) => journal.blocks().into(),
        (None, Some(ino)) => {
            let unknown = |why: fmt::Arguments<'_>| {
                let what = fmt!("the size of the journal is not known: {why}");
                store.log(Level::Warning, what);
                0
            };
            match JournalMap::size_in_blocks(store, layout, ino) {
                Ok(Ok(blocks)) => blocks,
                Ok(Err(flaw)) => unknown(fmt!("inode {}: {flaw}", ino.get())),
                Err(error) => unknown(fmt!("error {}", error.to_errno())),
            }
        }
        (None, None) => 0,
    }
}

/// Checks the super block against the device. Reports why it will not do.
fn check(
    errors: &Errors,
    cache: &BufferCache,
    raw: &RawSuper,
    options: &Options,
) -> Result<Layout> {
    let layout = Layout::new(raw, cache.blocks(), options.read_only).map_err(|refusal| {
        errors.log(Level::Error, fmt!("{refusal}"));
        refusal.error()
    })?;
    Ok(layout.with_copy_at(copy_offset(options)))
}
