// SPDX-License-Identifier: GPL-2.0

//! The store on the host: a block cache and a journal in memory, over a [`Device`].
//!
//! It keeps the promises of jbd2 and checks that its callers keep theirs. What would be a warning, an aborted
//! journal or silent damage in the kernel is a panic here:
//!
//! * a handle that changes more blocks than it asked credits for, or revokes more;
//! * a second handle in the same task; sleeping under a byte lock or a spinning lock; a byte lock inside another;
//! * a commit while this task has a handle.
//!
//! Credits are counted more strictly than by jbd2: every block that a handle changes costs one, even if
//! another handle of the same transaction has paid for it.
//!
//! # The journal
//!
//! A [`Commit`] holds the blocks of one transaction and what it revoked. Blocks come to their place on the
//! device by [`HostStore::checkpoint`], or as in a recovery by [`HostStore::recovered`], which writes the blocks of the
//! commits in order and leaves out those that the same or a later commit revoked. Data goes to the device at once.

mod tx;

pub use tx::Tx;

use super::Device;
use crate::disk::layout::ReserveOwner;
use crate::disk::superblock::RawSuper;
use crate::disk::{BlockSize, Flaw, Format, PhysBlock};
use crate::store::{About, Block, Credits, RawBlock, Rule, Store, Tid};
use kernel::error::{code::*, Error, Result};
use kernel::host::{might_sleep, Spinning};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

thread_local! {
    /// Whether this task has a handle.
    static IN_HANDLE: Cell<bool> = const { Cell::new(false) };
    /// Whether this task holds a byte lock.
    static IN_BUFFER: Cell<bool> = const { Cell::new(false) };
}

/// First transaction: close to where the number wraps, so that every test crosses it.
const FIRST_TID: Tid = Tid::MAX - 1;

/// How many credits a handle can have, unless it is set ([`HostStore::set_max_credits`]).
pub const MAX_CREDITS: u32 = 4096;

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct Buffer {
    nr: u64,
    bytes: Mutex<Vec<u8>>,
    /// [`crate::disk::BlockKind`] that the contents were checked as; zero for none.
    checked: AtomicU8,
}

impl Buffer {
    fn locked<R>(&self, f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        struct Leave;
        impl Drop for Leave {
            fn drop(&mut self) {
                IN_BUFFER.with(|b| b.set(false));
            }
        }
        assert!(
            !IN_BUFFER.with(|b| b.replace(true)),
            "block {} taken inside the lock of another block",
            self.nr
        );
        let _leave = Leave;
        let _spinning = Spinning::enter();
        f(&mut lock(&self.bytes))
    }

    fn copy(&self) -> Arc<[u8]> {
        lock(&self.bytes).as_slice().into()
    }
}

/// A cached block.
#[derive(Clone, Debug)]
pub struct Raw(Arc<Buffer>);

impl RawBlock for Raw {
    fn nr(&self) -> PhysBlock {
        PhysBlock::new(self.0.nr)
    }

    fn with<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        self.0.locked(|b| f(b))
    }
}

/// A committed transaction.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Its number.
    pub tid: Tid,
    /// The blocks that it changed, as they are at its end.
    pub blocks: BTreeMap<u64, Arc<[u8]>>,
    /// The blocks that it revoked.
    pub revoked: BTreeSet<u64>,
}

/// What happens to a new block that is written past the journal ([`Store::write_new`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewWrite {
    /// It is on its way, with these contents.
    Submitted(u64, Arc<[u8]>),
    /// It was waited for.
    Done(u64),
}

/// When [`Transaction::ensure`](crate::store::Transaction::ensure) commits, rather than extending the handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Never.
    Never,
    /// Whenever the handle must be extended.
    Always,
    /// At every n-th time that the handle must be extended.
    Every(u32),
}

#[derive(Debug)]
struct State {
    device: Device,
    cache: HashMap<u64, Arc<Buffer>>,
    tid: Tid,
    dirty: BTreeMap<u64, Arc<Buffer>>,
    revoked: BTreeSet<u64>,
    handles: u32,
    committing: bool,
    log: Vec<Commit>,
    restart: Restart,
    extensions: u32,
    fails_to_extend: bool,
    fails_to_zero: bool,
    max_credits: u32,
    bad_blocks: BTreeSet<u64>,
    /// How many reads succeed before one fails.
    good_reads: Option<u32>,
    /// How many writes past the journal fail next.
    bad_writes: u32,
    /// What happened to new blocks that were written past the journal.
    new_writes: Vec<NewWrite>,
    /// How many of them get to the device before one does not.
    good_new_writes: Option<u32>,
    /// What was written past the journal: blocks, with their contents.
    written_through: Vec<(u64, Arc<[u8]>)>,
    reports: Vec<String>,
    flaws: Vec<Flaw>,
    warnings: Vec<String>,
}

/// See the top of the file.
#[derive(Debug)]
pub struct HostStore {
    block_size: BlockSize,
    blocks: u64,
    state: Mutex<State>,
    /// A handle ended, or a commit.
    changed: Condvar,
    aborted: AtomicBool,
    /// The rule that is broken, as its number and one; zero for none.
    broken: AtomicU8,
    /// Whether blocks may have two owners.
    lenient: AtomicBool,
}

impl HostStore {
    /// A store over `device`.
    ///
    /// # Panics
    ///
    /// Where the device's block size is none that a file system can have.
    pub fn new(device: Device) -> Self {
        let block_size = BlockSize::from_bits(device.block_size().trailing_zeros())
            .expect("the device's blocks have no size of a file system's");
        Self {
            block_size,
            blocks: device.blocks(),
            state: Mutex::new(State {
                device,
                cache: HashMap::new(),
                tid: FIRST_TID,
                dirty: BTreeMap::new(),
                revoked: BTreeSet::new(),
                handles: 0,
                committing: false,
                log: Vec::new(),
                restart: Restart::Never,
                fails_to_extend: false,
                fails_to_zero: false,
                extensions: 0,
                max_credits: MAX_CREDITS,
                bad_blocks: BTreeSet::new(),
                good_reads: None,
                bad_writes: 0,
                new_writes: Vec::new(),
                good_new_writes: None,
                written_through: Vec::new(),
                reports: Vec::new(),
                flaws: Vec::new(),
                warnings: Vec::new(),
            }),
            changed: Condvar::new(),
            aborted: AtomicBool::new(false),
            broken: AtomicU8::new(0),
            lenient: AtomicBool::new(false),
        }
    }

    /// A store over an image file.
    pub fn open(path: &Path, block_size: u32) -> std::io::Result<Self> {
        Ok(Self::new(Device::open(path, block_size)?))
    }

    /// The block size.
    pub fn block_size(&self) -> BlockSize {
        self.block_size
    }

    /// How many blocks the device has.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The super block that the device has, if there is room for one.
    pub fn super_block(&self) -> Option<RawSuper> {
        let (nr, offset) = self.block_size.super_location();
        (nr.get() < self.blocks).then_some(())?;
        let state = lock(&self.state);
        RawSuper::from_block(&state.device.read(nr.get()), offset).cloned()
    }

    /// What was written past the journal since this was asked last, in order: blocks, with their contents.
    pub fn take_written_through(&self) -> Vec<(u64, Arc<[u8]>)> {
        std::mem::take(&mut lock(&self.state).written_through)
    }

    /// What happened to new blocks past the journal since this was asked last, in order.
    pub fn take_new_writes(&self) -> Vec<NewWrite> {
        std::mem::take(&mut lock(&self.state).new_writes)
    }

    /// Makes one write of a new block past the journal fail after `nr` that do not; `None`: none does.
    pub fn fail_new_write(&self, nr: Option<u32>) {
        lock(&self.state).good_new_writes = nr;
    }

    /// Sets when handles restart.
    pub fn set_restart(&self, restart: Restart) {
        lock(&self.state).restart = restart;
    }

    /// Whether the device cannot make blocks zero.
    pub fn fail_to_zero(&self, fails: bool) {
        lock(&self.state).fails_to_zero = fails;
    }

    /// Whether the next handle that is to go on with other credits finds no memory for that.
    pub fn fail_to_extend(&self, fails: bool) {
        lock(&self.state).fails_to_extend = fails;
    }

    /// Breaks a rule from now on.
    pub fn set_broken(&self, rule: Option<Rule>) {
        let number = rule.map_or(0, |rule| rule as u8 + 1);
        self.broken.store(number, Ordering::SeqCst);
    }

    /// Sets how many credits a handle can have.
    pub fn set_max_credits(&self, credits: u32) {
        lock(&self.state).max_credits = credits;
    }

    /// For a damaged image, on which a block may have two owners: one may free a block, or make a new one of it, that
    /// the other still holds. As in the kernel both have the same buffer then, and it is no mistake of the caller's.
    pub fn set_lenient(&self) {
        self.lenient.store(true, Ordering::SeqCst);
    }

    /// Makes reads of a block from the device fail, or work again.
    pub fn set_bad_block(&self, nr: PhysBlock, bad: bool) {
        let mut state = lock(&self.state);
        if bad {
            state.bad_blocks.insert(nr.get());
        } else {
            state.bad_blocks.remove(&nr.get());
        }
    }

    /// Makes one read fail after `nr` that do not, whether the block is in memory or not; `None`: none does.
    pub fn fail_read(&self, nr: Option<u32>) {
        lock(&self.state).good_reads = nr;
    }

    /// Makes the next so many writes past the journal fail.
    pub fn fail_write_through(&self, writes: u32) {
        lock(&self.state).bad_writes = writes;
    }

    /// Aborts the journal: no more handles, no more commits.
    pub fn abort(&self) {
        self.aborted.store(true, Ordering::SeqCst);
    }

    /// The errors reported so far, which are then forgotten.
    pub fn take_reports(&self) -> Vec<String> {
        let mut state = lock(&self.state);
        state.flaws.clear();
        std::mem::take(&mut state.reports)
    }

    /// What [`Self::take_reports`] would give.
    pub fn reports(&self) -> Vec<String> {
        lock(&self.state).reports.clone()
    }

    /// Of the errors that [`Self::take_reports`] would give, those that are flaws of the disk.
    pub fn take_flaws(&self) -> Vec<Flaw> {
        let mut state = lock(&self.state);
        state.reports.clear();
        std::mem::take(&mut state.flaws)
    }

    /// The warnings logged so far, which are then forgotten.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.state).warnings)
    }

    /// The transaction that the next handle joins.
    pub fn running(&self) -> Tid {
        lock(&self.state).tid
    }

    /// The commits that are not yet in place on the device.
    pub fn log(&self) -> Vec<Commit> {
        lock(&self.state).log.clone()
    }

    /// The blocks that the running transaction revokes.
    pub fn revoked(&self) -> Vec<PhysBlock> {
        lock(&self.state)
            .revoked
            .iter()
            .copied()
            .map(PhysBlock::new)
            .collect()
    }

    /// The blocks that the running transaction has changed.
    pub fn changed_blocks(&self) -> Vec<PhysBlock> {
        lock(&self.state)
            .dirty
            .keys()
            .copied()
            .map(PhysBlock::new)
            .collect()
    }

    /// Commits the running transaction when its handles have ended. Gives its number, which is what
    /// `Space::committed` wants; an aborted journal commits nothing.
    ///
    /// # Panics
    ///
    /// Where this task has a handle.
    pub fn commit(&self) -> Result<Tid> {
        might_sleep();
        assert!(!IN_HANDLE.with(Cell::get), "commit inside a handle");
        let mut state = lock(&self.state);
        while state.committing {
            state = self.wait(state);
        }
        state.committing = true;
        while state.handles > 0 {
            state = self.wait(state);
        }
        state.committing = false;
        self.changed.notify_all();
        if self.aborted.load(Ordering::SeqCst) {
            return Err(EROFS);
        }
        let tid = state.tid;
        let blocks = std::mem::take(&mut state.dirty);
        let revoked = std::mem::take(&mut state.revoked);
        if !blocks.is_empty() || !revoked.is_empty() {
            state.log.push(Commit {
                tid,
                blocks: blocks.iter().map(|(nr, b)| (*nr, b.copy())).collect(),
                revoked,
            });
        }
        state.tid = tid.wrapping_add(1);
        Ok(tid)
    }

    fn wait<'a>(&self, guard: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(guard)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes all committed blocks to their place and empties the log.
    pub fn checkpoint(&self) {
        let mut state = lock(&self.state);
        let log = std::mem::take(&mut state.log);
        replay(&mut state.device, &log);
    }

    /// Takes the oldest commit from the log, and writes its blocks to their place.
    pub fn take_commit(&self) -> Option<Commit> {
        let mut state = lock(&self.state);
        let State { log, device, .. } = &mut *state;
        let commit = log.first()?.clone();
        for (nr, bytes) in &commit.blocks {
            if !log.iter().any(|later| later.revoked.contains(nr)) {
                device.write(*nr, bytes.clone());
            }
        }
        log.remove(0);
        Some(commit)
    }

    /// The device as recovery leaves it after a power cut now: what was not committed is lost.
    pub fn recovered(&self) -> Device {
        self.recovered_to(usize::MAX)
    }

    /// Like [`Self::recovered`], where the power was cut when only the first `commits` commits of the log were
    /// written.
    pub fn recovered_to(&self, commits: usize) -> Device {
        let state = lock(&self.state);
        let mut device = state.device.clone();
        replay(&mut device, &state.log[..commits.min(state.log.len())]);
        device
    }

    /// Commits, checkpoints, and writes all changes to the image file.
    pub fn save(&self, path: &Path) -> Result {
        self.commit()?;
        self.checkpoint();
        lock(&self.state).device.save(path).map_err(|_| EIO)
    }

    /// Drops all cached blocks that are not changed and that nobody holds. All are checked again when they are
    /// asked for.
    pub fn drop_cache(&self) {
        let mut state = lock(&self.state);
        let State {
            cache, dirty, log, ..
        } = &mut *state;
        cache.retain(|nr, buffer| {
            Arc::strong_count(buffer) > 1
                || dirty.contains_key(nr)
                || log.iter().any(|c| c.blocks.contains_key(nr))
        });
        for buffer in cache.values() {
            buffer.checked.store(0, Ordering::SeqCst);
        }
    }

    /// Reads a block of data.
    pub fn read_data(&self, nr: PhysBlock) -> Arc<[u8]> {
        lock(&self.state).device.read(nr.get())
    }

    /// Writes a block of data, past the cache and the journal.
    pub fn write_data(&self, nr: PhysBlock, bytes: &[u8]) {
        lock(&self.state).device.write(nr.get(), bytes.into());
    }

    fn load(&self, nr: PhysBlock) -> Result<Arc<Buffer>> {
        let mut state = lock(&self.state);
        if state.good_reads == Some(0) {
            state.good_reads = None;
            return Err(EIO);
        }
        state.good_reads = state.good_reads.map(|left| left - 1);
        if let Some(buffer) = state.cache.get(&nr.get()) {
            return Ok(buffer.clone());
        }
        if state.bad_blocks.contains(&nr.get()) {
            return Err(EIO);
        }
        let bytes = state.device.read(nr.get()).to_vec();
        let buffer = Arc::new(Buffer {
            nr: nr.get(),
            bytes: Mutex::new(bytes),
            checked: AtomicU8::new(0),
        });
        state.cache.insert(nr.get(), buffer.clone());
        Ok(buffer)
    }
}

fn replay(device: &mut Device, log: &[Commit]) {
    for (i, commit) in log.iter().enumerate() {
        for (nr, bytes) in &commit.blocks {
            if !log[i..].iter().any(|later| later.revoked.contains(nr)) {
                device.write(*nr, bytes.clone());
            }
        }
    }
}

impl Store for HostStore {
    type Raw = Raw;
    type Tx<'a> = Tx<'a>;

    fn read<F: Format>(&self, nr: PhysBlock, format: F) -> Result<Block<Self, F>> {
        might_sleep();
        if nr.get() >= self.blocks {
            return Err(self.flawed(About::block(nr, &format), Flaw::BlockNotOnDevice));
        }
        let buffer = self.load(nr)?;
        if buffer.checked.load(Ordering::SeqCst) != F::KIND as u8 {
            if let Err(flaw) = buffer.locked(|b| format.verify(nr, b)) {
                return Err(self.flawed(About::block(nr, &format), flaw));
            }
            buffer.checked.store(F::KIND as u8, Ordering::SeqCst);
        }
        Ok(Block::from_parts(Raw(buffer), format))
    }

    fn read_cached<F: Format>(&self, nr: PhysBlock, format: F) -> Option<Block<Self, F>> {
        let mut state = lock(&self.state);
        let buffer = state.cache.get(&nr.get()).cloned()?;
        // Then it has left memory, and the read that follows fails.
        state.good_reads = match state.good_reads {
            Some(0) => return None,
            left => left.map(|left| left - 1),
        };
        (buffer.checked.load(Ordering::SeqCst) == F::KIND as u8)
            .then(|| Block::from_parts(Raw(buffer), format))
    }

    fn readahead(&self, _nr: PhysBlock, _count: u32) {}

    /// # Panics
    ///
    /// Where a transaction holds a change of the block that is not in its place.
    fn write_through<F: Format>(
        &self,
        block: &Block<Self, F>,
        f: impl FnOnce(&mut [u8]),
    ) -> Result {
        might_sleep();
        assert!(
            !IN_HANDLE.with(Cell::get),
            "past the journal inside a handle"
        );
        let nr = block.nr();
        let mut bytes = block.with(<[u8]>::to_vec);
        f(&mut bytes);
        block.format().seal(nr, &mut bytes);
        block.raw().0.locked(|to| to.copy_from_slice(&bytes));
        let mut state = lock(&self.state);
        let changed = state.dirty.contains_key(&nr.get())
            || state
                .log
                .iter()
                .any(|commit| commit.blocks.contains_key(&nr.get()));
        assert!(
            !changed || self.breaks(Rule::CleanLast),
            "block {} is changed by a transaction",
            nr.get()
        );
        if state.bad_writes > 0 {
            state.bad_writes -= 1;
            return Err(EIO);
        }
        let bytes: Arc<[u8]> = bytes.into();
        state.device.write(nr.get(), bytes.clone());
        state.written_through.push((nr.get(), bytes));
        Ok(())
    }

    /// # Panics
    ///
    /// Where a transaction holds a change of the block that a replay would write.
    fn write_new<F: Format, R>(
        &self,
        nr: PhysBlock,
        format: F,
        f: impl FnOnce(&mut [u8]) -> R,
    ) -> Result<(Block<Self, F>, R)> {
        might_sleep();
        assert!(
            !IN_HANDLE.with(Cell::get),
            "past the journal inside a handle"
        );
        if nr.get() >= self.blocks {
            return Err(EIO);
        }
        let mut bytes = vec![0; self.block_size.bytes() as usize];
        let spinning = Spinning::enter();
        let result = f(&mut bytes);
        format.seal(nr, &mut bytes);
        drop(spinning);
        let mut state = lock(&self.state);
        let is_dead = |i: usize| {
            state.log[i..]
                .iter()
                .any(|later| later.revoked.contains(&nr.get()))
        };
        let in_log = |i: usize| state.log[i].blocks.contains_key(&nr.get()) && !is_dead(i);
        let changed = state.dirty.contains_key(&nr.get()) || (0..state.log.len()).any(in_log);
        assert!(
            !changed || self.lenient.load(Ordering::SeqCst),
            "block {} is changed by a transaction",
            nr.get()
        );
        let copy: Arc<[u8]> = bytes.as_slice().into();
        let buffer = Arc::new(Buffer {
            nr: nr.get(),
            bytes: Mutex::new(bytes),
            checked: AtomicU8::new(0),
        });
        state.cache.insert(nr.get(), buffer.clone());
        state.device.write(nr.get(), copy.clone());
        let event = NewWrite::Submitted(nr.get(), copy);
        state.new_writes.push(event);
        Ok((Block::from_parts(Raw(buffer), format), result))
    }

    fn wait_new<F: Format>(&self, block: &Block<Self, F>) -> Result {
        might_sleep();
        let mut state = lock(&self.state);
        if state.good_new_writes == Some(0) {
            state.good_new_writes = None;
            return Err(EIO);
        }
        state.good_new_writes = state.good_new_writes.map(|left| left - 1);
        state.new_writes.push(NewWrite::Done(block.nr().get()));
        Ok(())
    }

    fn zero(&self, start: PhysBlock, len: u32, _unmap: bool) -> Result {
        might_sleep();
        assert!(
            !IN_HANDLE.with(Cell::get),
            "data is waited for inside a handle"
        );
        let mut state = lock(&self.state);
        if state.fails_to_zero {
            return Err(EIO);
        }
        let zeros: Arc<[u8]> = vec![0; self.block_size.bytes() as usize].into();
        for nr in start.get()..start.get() + u64::from(len) {
            state.device.write(nr, zeros.clone());
        }
        Ok(())
    }

    fn begin(&self, credits: Credits) -> Result<Tx<'_>> {
        let Credits {
            blocks: credits,
            revokes,
        } = credits;
        might_sleep();
        assert!(!IN_HANDLE.with(Cell::get), "this task has a handle already");
        if self.aborted.load(Ordering::SeqCst) {
            return Err(EROFS);
        }
        let mut state = lock(&self.state);
        if credits > state.max_credits {
            return Err(ENOSPC);
        }
        while state.committing {
            state = self.wait(state);
        }
        state.handles += 1;
        IN_HANDLE.with(|h| h.set(true));
        Ok(Tx {
            store: self,
            tid: state.tid,
            credits,
            revokes,
            paid: BTreeSet::new(),
        })
    }

    /// An allocation that is made to fail does so once: there is nothing to wait for.
    fn wait_for_memory(&self) {
        might_sleep();
    }

    fn breaks(&self, rule: Rule) -> bool {
        self.broken.load(Ordering::Relaxed) == rule as u8 + 1
    }

    fn may_use_reserve(&self, _owner: ReserveOwner) -> bool {
        false
    }

    fn check_writable(&self) -> Result {
        match self.aborted.load(Ordering::SeqCst) {
            true => Err(EROFS),
            false => Ok(()),
        }
    }

    fn warn(&self, what: kernel::fmt::Arguments<'_>) {
        lock(&self.state).warnings.push(what.to_string());
    }

    fn flawed(&self, about: impl Into<About>, flaw: Flaw) -> Error {
        let about = about.into();
        lock(&self.state).flaws.push(flaw);
        self.fail(flaw.error(), about, format_args!("{about}{flaw}"));
        self.reported()
    }

    fn fail(
        &self,
        error: Error,
        _about: impl Into<About>,
        what: kernel::fmt::Arguments<'_>,
    ) -> Error {
        lock(&self.state).reports.push(what.to_string());
        error
    }

    fn fail_once(
        &self,
        error: Error,
        about: impl Into<About>,
        what: kernel::fmt::Arguments<'_>,
    ) -> Error {
        // Who looks at the reports wants all of them.
        self.fail(error, about, what)
    }
}
