// SPDX-License-Identifier: GPL-2.0

//! The store of the core in the kernel: blocks are buffers of the device's cache, transactions are
//! handles of its journal.
//!
//! # Invariants
//!
//! * The tag of a buffer is the kind that its contents were last checked or sealed as ([`BlockKind`], 0 for none), or
//!   [`BAD`] where a check has failed, which has been reported.
//!   Before the journal was replayed nothing is tagged, as replay changes blocks.
//! * A handle can be had only while the mount is writable and no error has stopped it.
//!
//! # Locks
//!
//! None of its own. See [`super::background`] for what runs when a transaction has committed.

use super::background::Background;
use super::client::JournalClient;
use super::errors::{source_file, Errors, Lines};
use crate::change::sync::Committed;
use crate::disk::layout::ReserveOwner;
use crate::disk::superblock::ErrorPolicy;
use crate::disk::{BlockKind, Flaw, Format, Ino, PhysBlock};
use crate::inode;
use crate::linux::buffer::{BufferCache, BufferHead};
use crate::linux::jbd2::{Handle, Journal};
use crate::linux::printk::{self, Level};
use crate::linux::tracepoint::Text;
use crate::linux::{memalloc, task};
use crate::ops::trace::{self, Choice, Choose, Failure, Orphan};
use crate::store::{About, Block, Credits, RawBlock, Store, Tid, Transaction, Wish};
use crate::volume;
use core::panic::Location;
use kernel::error::{code::*, Error, Result};
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};
use kernel::sync::Arc;

/// The tag of a block that was found to be bad.
const BAD: u8 = 15;

const _: () = assert!((BlockKind::Unchecked as u8) < BAD);

/// What the core needs of a mounted file system.
pub(crate) type Volume = volume::Volume<JournalStore>;
/// The inodes that a recovery has to look after.
pub(crate) type Orphans = inode::Orphans<JournalStore>;
/// What the journal asks and tells.
pub(crate) type Client = JournalClient<Volume>;

/// Blocks and journal of one mount.
///
/// Fields are dropped in this order: the journal ends before what its last commit calls.
pub(crate) struct JournalStore {
    blocks: Blocks,
    background: Arc<Background<Volume>>,
    errors: Errors,
    /// Whether handles may be had.
    writable: Atomic<bool>,
    /// Whether the device must stay as it is until the end of a freeze.
    frozen: Atomic<bool>,
    /// Whether checked blocks are tagged.
    tagging: bool,
    /// Blocks of quota files that each handle may change, beside its own.
    for_quota: Atomic<u32>,
}

/// A transaction changes what this many inodes have, at most: a directory grows, an inode is made, one loses its last
/// name; or one gets other owners.
const COUNTED_INODES: u32 = 4;
/// Each has an owner of each kind, whose record is in a block.
const QUOTA_BLOCKS: u32 = COUNTED_INODES * 3;

/// Where the blocks come from.
enum Blocks {
    /// From the device, and there is no way to change one.
    Plain(BufferCache),
    /// The same, and changes go through the journal.
    Journaled(Journal<Client>),
}

/// A buffer of the store.
#[derive(Clone)]
pub(crate) struct Buffer(BufferHead);

impl RawBlock for Buffer {
    fn nr(&self) -> PhysBlock {
        PhysBlock::new(self.0.nr())
    }

    fn with<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        self.0.with(f)
    }
}

/// A live handle.
pub(crate) struct Tx<'a> {
    handle: Handle<'a, Client>,
    /// [`JournalStore::for_quota`] as it was then.
    for_quota: u32,
}

impl Tx<'_> {
    /// Runs `f`, in which [`JournalStore::with_lent`] is this. While nothing is counted nobody asks for it.
    pub(crate) fn lend<R>(&mut self, f: impl FnOnce() -> R) -> R {
        match self.for_quota {
            0 => f(),
            _ => self.handle.lend(f),
        }
    }
}

impl JournalStore {
    /// A store to find the journal with: read-only, tags nothing.
    pub(crate) fn bare(
        cache: BufferCache,
        errors: Errors,
        background: Arc<Background<Volume>>,
    ) -> Self {
        Self {
            blocks: Blocks::Plain(cache),
            background,
            errors,
            writable: Atomic::new(false),
            frozen: Atomic::new(false),
            tagging: false,
            for_quota: Atomic::new(0),
        }
    }

    /// There is no journal to be replayed: blocks do not change by themselves any more.
    pub(crate) fn settle(mut self) -> Self {
        self.tagging = true;
        self
    }

    /// The same after `load`, which opens and replays the journal.
    ///
    /// # Errors
    ///
    /// Those of `load`.
    pub(crate) fn settle_with(
        self,
        load: impl FnOnce(BufferCache, &Errors, &Arc<Background<Volume>>) -> Result<Journal<Client>>,
    ) -> Result<Self> {
        let blocks = match self.blocks {
            Blocks::Plain(cache) => Blocks::Journaled(load(cache, &self.errors, &self.background)?),
            journaled => journaled,
        };
        Ok(Self { blocks, ..self }.settle())
    }

    /// The journal, if it is used.
    pub(crate) fn journal(&self) -> Option<&Journal<Client>> {
        match &self.blocks {
            Blocks::Plain(_) => None,
            Blocks::Journaled(journal) => Some(journal),
        }
    }

    /// What runs later.
    pub(crate) fn background(&self) -> &Arc<Background<Volume>> {
        &self.background
    }

    /// The block cache.
    pub(crate) fn cache(&self) -> &BufferCache {
        match &self.blocks {
            Blocks::Plain(cache) => cache,
            Blocks::Journaled(journal) => journal.cache(),
        }
    }

    /// The errors of this mount.
    pub(crate) fn errors(&self) -> &Errors {
        &self.errors
    }

    /// Logs a line.
    pub(crate) fn log(&self, level: Level, message: fmt::Arguments<'_>) {
        self.errors.log(level, message);
    }

    /// Allows or forbids handles. For mount, remount and unmount.
    pub(crate) fn set_writable(&self, writable: bool) {
        self.writable.store(writable, Relaxed);
    }

    /// A freeze begins or ends.
    pub(crate) fn set_frozen(&self, frozen: bool) {
        self.frozen.store(frozen, Relaxed);
    }

    /// What owners have is counted from now on.
    pub(crate) fn begin_counting(&self) {
        self.for_quota.store(QUOTA_BLOCKS, Relaxed);
    }

    /// Whether this task has lent a handle ([`Tx::lend`]).
    pub(crate) fn has_lent(&self) -> bool {
        self.journal().is_some_and(|journal| journal.has_lent())
    }

    /// Gives `f` the handle that this task has lent, if it has.
    pub(crate) fn with_lent<R>(&self, f: impl for<'a> FnOnce(Tx<'a>) -> R) -> Option<R> {
        let for_quota = self.for_quota.load(Relaxed);
        self.journal()?
            .with_lent(|handle| f(Tx { handle, for_quota }))
    }

    /// Whether the mount is frozen.
    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.load(Relaxed)
    }

    /// Whether the mount allows changes, even if an error has stopped them.
    pub(crate) fn was_writable(&self) -> bool {
        self.writable.load(Relaxed)
    }

    /// Shuts the file system down, for a reason that the log is told: nothing is changed or written any more, files are
    /// not read, and nobody waits for the device. What has not committed is lost. For good, and once.
    ///
    /// A crash would leave the same: what is on the device needs a replay of the journal and no check.
    pub(crate) fn shut_down(&self, why: fmt::Arguments<'_>) {
        if self.errors.shut_down() {
            return;
        }
        self.errors.report_shutdown();
        self.log(Level::Critical, fmt!("{why}: the file system is shut down"));
        self.background.set_discard(false);
        if let Some(journal) = self.journal() {
            // Which jbd2 does not record as an error.
            journal.abort(ESHUTDOWN);
        }
    }

    /// `EIO` after a shutdown. For what is possible after any other error.
    #[inline]
    pub(crate) fn check_alive(&self) -> Result {
        match self.errors.is_shut_down() {
            true => Err(EIO),
            false => Ok(()),
        }
    }

    /// The latest transaction that may hold a change of something that is in memory now: what an inode begins with.
    pub(crate) fn latest_tid(&self) -> Tid {
        self.journal().map_or(0, |journal| journal.latest_tid())
    }

    /// What has committed.
    #[inline]
    pub(crate) fn committed(&self) -> Committed {
        match self.journal() {
            None => Committed::All,
            Some(journal) => journal
                .last_committed()
                .map_or(Committed::Unknown, Committed::UpTo),
        }
    }

    /// The super block is to have the errors, on a device that can be written to.
    pub(crate) fn record_errors(&self) {
        if !self.cache().device().is_read_only() {
            self.background.record_errors();
        }
    }

    /// From now on nothing is changed and nothing gets to the device.
    fn stop(&self, error: Error, why: fmt::Arguments<'_>) {
        if self.errors.stop() {
            return;
        }
        if let Some(journal) = self.journal() {
            journal.abort(error);
        }
        if self.was_writable() {
            self.log(Level::Critical, fmt!("{why}: read-only from now on"));
            self.record_errors();
            if self.errors.policy() == ErrorPolicy::Panic {
                self.panic();
            }
        }
    }

    /// Stops all changes, as the administrator wants it, whatever is to be done when an error is found. It is
    /// recorded as an error.
    pub(crate) fn abort(&self) {
        if !self.errors.is_stopped() {
            self.stop(EIO, fmt!("abort: by a remount"));
            // After that, as what is recorded in the journal before would be lost with it.
            self.note(
                ESHUTDOWN,
                About::NONE,
                fmt!("abort: by a remount"),
                Lines::All,
            );
        }
    }

    /// Stops all changes, as data of a file could not be written back (`data_err=abort`).
    pub(crate) fn stop_for_data(&self, error: Error) {
        self.stop(error, fmt!("data could not be written"));
    }

    /// Logs that a block could not be written past the journal.
    fn log_unwritten<F: Format>(&self, nr: PhysBlock, error: Error) {
        let (block, kind, error) = (nr.get(), F::KIND.name(), error.to_errno());

        self.log(
            Level::Error,
            fmt!("block {block} ({kind}) could not be written: error {error}"),
        );
    }

    fn panic(&self) {
        if !printk::is_going_down() {
            printk::panic(c"iomapfs", c"panic wanted by the option errors=panic");
        }
    }

    /// Checks a buffer as `format`, unless that was done.
    fn check<F: Format>(&self, buffer: &BufferHead, format: &F) -> Result {
        if buffer.tag() == F::KIND as u8 {
            return Ok(());
        }
        let nr = PhysBlock::new(buffer.nr());
        // As long as the block is in memory, it is reported once, however often it is asked for.
        let told = buffer.tag() == BAD;
        let verified = buffer.with(|bytes| {
            let verified = format.verify(nr, bytes);

            if self.tagging {
                // Under the byte lock, so that no change comes between.
                buffer.set_tag(if verified.is_ok() { F::KIND as u8 } else { BAD });
            }
            verified
        });

        verified.map_err(|flaw| {
            if told {
                return self.reported();
            }
            self.flawed(About::block(nr, format), flaw)
        })
    }
}

impl Store for JournalStore {
    type Raw = Buffer;
    type Tx<'a> = Tx<'a>;

    fn read<F: Format>(&self, nr: PhysBlock, format: F) -> Result<Block<Self, F>> {
        let buffer = self.cache().read(nr.get()).map_err(|error| {
            let about = About::block(nr, &format);
            let blocks = self.cache().blocks();

            // A device that is gone has no blocks at all.
            if nr.get() >= blocks && blocks != 0 {
                self.flawed(about, Flaw::BlockNotOnDevice)
            } else if error == EIO {
                self.fail(EIO, about, fmt!("{about}the block could not be read"))
            } else {
                error
            }
        })?;

        self.check(&buffer, &format)?;
        Ok(Block::from_parts(Buffer(buffer), format))
    }

    fn read_cached<F: Format>(&self, nr: PhysBlock, format: F) -> Option<Block<Self, F>> {
        let buffer = self.cache().cached(nr.get())?;

        (buffer.tag() == F::KIND as u8).then(|| Block::from_parts(Buffer(buffer), format))
    }

    fn readahead(&self, nr: PhysBlock, count: u32) {
        self.cache().readahead(nr.get(), count);
    }

    fn write_through<F: Format>(
        &self,
        block: &Block<Self, F>,
        f: impl FnOnce(&mut [u8]),
    ) -> Result {
        let barrier = self.journal().is_none_or(|journal| journal.has_barrier());
        let (nr, format) = (block.nr(), block.format());
        let result = block.raw().0.write_through(barrier, |bytes| {
            f(bytes);
            format.seal(nr, bytes);
        });

        result.inspect_err(|error| self.log_unwritten::<F>(nr, *error))
    }

    fn write_new<F: Format, R>(
        &self,
        nr: PhysBlock,
        format: F,
        f: impl FnOnce(&mut [u8]) -> R,
    ) -> Result<(Block<Self, F>, R)> {
        let (buffer, result) = self.cache().write_new(nr.get(), |bytes| {
            let result = f(bytes);

            format.seal(nr, bytes);
            result
        })?;

        Ok((Block::from_parts(Buffer(buffer), format), result))
    }

    fn wait_new<F: Format>(&self, block: &Block<Self, F>) -> Result {
        let result = block.raw().0.wait_written();

        result.inspect_err(|error| self.log_unwritten::<F>(block.nr(), *error))
    }

    fn zero(&self, start: PhysBlock, len: u32, unmap: bool) -> Result {
        let size = u64::from(self.cache().block_size());
        let start = start.get().saturating_mul(size);
        let len = u64::from(len).saturating_mul(size);

        self.cache().device().zero(start, len, unmap)
    }

    fn begin(&self, credits: Credits) -> Result<Tx<'_>> {
        self.check_writable()?;
        let journal = self.journal().ok_or(EROFS)?;
        let for_quota = self.for_quota.load(Relaxed);
        let blocks = credits.blocks.saturating_add(for_quota);
        let handle = journal
            .start(blocks, credits.revokes)
            // It was aborted meanwhile.
            .map_err(|error| self.check_writable().err().unwrap_or(error))?;

        Ok(Tx { handle, for_quota })
    }

    fn wait_for_memory(&self) {
        memalloc::wait_for_memory();
    }

    fn may_use_reserve(&self, owner: ReserveOwner) -> bool {
        task::has_fs_uid(owner.uid)
            || owner.gid != 0 && task::is_in_group(owner.gid)
            || task::is_capable_of_resources()
    }

    fn check_writable(&self) -> Result {
        if !self.was_writable() {
            return Err(EROFS);
        }
        if self.journal().is_none_or(|journal| journal.is_aborted()) {
            self.errors.report(EIO, About::NONE);
            self.stop(EIO, fmt!("the journal was aborted"));
        }
        self.errors.check()
    }

    #[inline(always)]
    fn choosing(&self, wish: impl FnOnce() -> Wish) {
        if Choose::is_on() {
            let wish = wish();
            let reserved = match wish.reserved {
                true => trace::IOMAPFS_CHOOSE_RESERVED,
                false => 0,
            };
            let stream = match wish.stream {
                true => trace::IOMAPFS_CHOOSE_STREAM,
                false => 0,
            };
            trace::choosing(&Choice {
                device: self.cache().device().number(),
                ino: wish.ino.get().into(),
                flags: reserved | stream,
                at: wish.at.get(),
                goal: wish.near.map_or(0, PhysBlock::get),
                want: wish.want,
            });
        }
    }

    #[inline(always)]
    fn chosen(&self, run: Result<(PhysBlock, u32)>) {
        if Choose::is_on() {
            trace::chosen(run.map(|(start, len)| (start.get(), len)));
        }
    }

    #[inline(always)]
    fn orphan(&self, ino: Ino, is: bool, tid: Tid) {
        if Orphan::is_on() {
            let device = self.cache().device().number();
            Orphan::tell(device, ino.get().into(), is.into(), tid);
        }
    }

    fn warn(&self, what: fmt::Arguments<'_>) {
        self.log(Level::Warning, what);
    }

    #[track_caller]
    fn fail(&self, error: Error, about: impl Into<About>, what: fmt::Arguments<'_>) -> Error {
        self.note(error, about.into(), what, Lines::All)
    }

    #[track_caller]
    fn fail_once(&self, error: Error, about: impl Into<About>, what: fmt::Arguments<'_>) -> Error {
        self.note(error, about.into(), what, Lines::First)
    }
}

impl JournalStore {
    /// Records `error`, and does what the `errors=` policy says of it. Returns `error`.
    #[track_caller]
    fn note(&self, error: Error, about: About, what: fmt::Arguments<'_>, lines: Lines) -> Error {
        // What fails for a shutdown is no error of the file system, and nothing may be written.
        if self.errors.is_shut_down() {
            return error;
        }
        self.errors.record(error, about, what, lines);
        self.errors.report(error, about);
        if Failure::is_on() {
            let place = Location::caller();
            Failure::tell(
                self.cache().device().number(),
                about.ino.map_or(0, |ino| ino.get().into()),
                about.block.map_or(0, PhysBlock::get),
                error.to_errno(),
                &Text::from(source_file(place)),
                place.line(),
            );
        }
        match self.errors.policy() {
            ErrorPolicy::Continue => {}
            ErrorPolicy::ReadOnly => {
                self.stop(error, fmt!("an error of the file system was found"))
            }
            ErrorPolicy::Panic => {
                self.stop(error, fmt!("an error of the file system was found"));
                self.panic();
            }
        }
        self.record_errors();
        error
    }
}

impl Transaction<JournalStore> for Tx<'_> {
    fn tid(&self) -> Tid {
        self.handle.tid()
    }

    fn edit<F: Format, R>(
        &mut self,
        block: &Block<JournalStore, F>,
        f: impl FnOnce(&mut [u8]) -> R,
    ) -> Result<R> {
        let format = block.format();
        let nr = block.nr();
        let buffer = &block.raw().0;

        self.handle.edit(buffer, |bytes| {
            let result = f(bytes);

            format.seal(nr, bytes);
            // The block may have been another kind before.
            buffer.set_tag(F::KIND as u8);
            result
        })
    }

    fn create<F: Format, R>(
        &mut self,
        nr: PhysBlock,
        format: F,
        f: impl FnOnce(&mut [u8]) -> R,
    ) -> Result<(Block<JournalStore, F>, R)> {
        let (buffer, result) = self.handle.create(nr.get(), |buffer, bytes| {
            let result = f(bytes);

            format.seal(nr, bytes);
            buffer.set_tag(F::KIND as u8);
            result
        })?;

        Ok((Block::from_parts(Buffer(buffer), format), result))
    }

    fn forget(&mut self, nr: PhysBlock) -> Result {
        self.handle.revoke(nr.get())
    }

    fn ensure(&mut self, credits: Credits) -> Result<bool> {
        let Credits { blocks, revokes } = credits;
        let blocks = blocks.saturating_add(self.for_quota);
        let more = blocks.saturating_sub(self.handle.credits());
        let more_revokes = revokes.saturating_sub(self.handle.revoke_credits());

        if (more == 0 && more_revokes == 0) || self.handle.extend(more, more_revokes)? {
            return Ok(false);
        }
        self.handle.restart(blocks, revokes)?;
        Ok(true)
    }
}
