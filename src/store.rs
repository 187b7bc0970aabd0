// SPDX-License-Identifier: GPL-2.0

//! The store: metadata blocks and the transactions that change them.
//!
//! Tests: `tools/core/tests/store.rs` for the host's; `qemu/test/t/{journal-,fault-}*.sh` for the module's.
//!
//! All that `disk`, `space`, `map` and `names` know of the world below. In the module the store is
//! buffer heads and jbd2 (`ops/mount/store.rs`); on the host it is an image file with a simulated journal.
//!
//! # Invariants
//!
//! * A block is checked with [`Format::verify`] once, where it enters memory, before anybody sees its
//!   bytes under that format. A block that was checked as one kind is checked again when it is asked
//!   for as another.
//! * The bytes of a block change only through a live [`Transaction`]; [`Format::seal`] runs after each
//!   change, under the same byte lock, and the buffer is given to the journal.
//!   Past the journal goes what no transaction has: [`Store::write_through`], [`Store::write_new`].
//!
//! # Locks
//!
//! [`Block::with`] and the closures of [`Transaction`] hold the byte lock, a spinning lock: inside them no
//! other block is touched, no lock is taken but that of the error records, nothing sleeps or allocates with
//! a flag that may sleep, and nothing panics.

use crate::disk::layout::ReserveOwner;
use crate::disk::{BlockKind, Flaw, Format, Group, Ino, LogicalBlock, PhysBlock};
use core::ops::{Add, Mul};
use core::panic::Location;
use kernel::error::{code::*, Error, Result};
use kernel::fmt;
use kernel::prelude::fmt;

/// Number of a transaction (`tid_t`), compared with [`tid_geq`] as it wraps.
pub type Tid = u32;

/// Whether transaction `a` is `b` or a later one.
pub fn tid_geq(a: Tid, b: Tid) -> bool {
    (a.wrapping_sub(b) as i32) >= 0
}

/// How much a handle may change, at most. Sums and products stop at the largest number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credits {
    /// Blocks that are changed.
    pub blocks: u32,
    /// Blocks that are revoked.
    pub revokes: u32,
}

impl Credits {
    /// Nothing.
    pub const NONE: Self = Self::new(0, 0);

    /// For `blocks` that are changed and `revokes` that are revoked.
    pub const fn new(blocks: u32, revokes: u32) -> Self {
        Self { blocks, revokes }
    }

    /// For `blocks` that are changed.
    pub const fn blocks(blocks: u32) -> Self {
        Self::new(blocks, 0)
    }

    /// For both: `+`, in constants.
    pub const fn plus(self, other: Self) -> Self {
        Self {
            blocks: self.blocks.saturating_add(other.blocks),
            revokes: self.revokes.saturating_add(other.revokes),
        }
    }

    /// What is left of it without `other`; `None` where it is too little.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        Some(Self {
            blocks: self.blocks.checked_sub(other.blocks)?,
            revokes: self.revokes.checked_sub(other.revokes)?,
        })
    }

    /// For so many of it: `*`, in constants.
    pub const fn times(self, count: u32) -> Self {
        Self {
            blocks: self.blocks.saturating_mul(count),
            revokes: self.revokes.saturating_mul(count),
        }
    }
}

impl Add for Credits {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.plus(other)
    }
}

impl Mul<u32> for Credits {
    type Output = Self;

    fn mul(self, count: u32) -> Self {
        self.times(count)
    }
}

/// Rules that the simulation breaks on purpose, each where it is kept: whatever depends on one must be found out
/// ([`Store::breaks`]). The module keeps them all, and has no code to do otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Rule {
    /// An inode that loses its last name becomes an orphan, before it does.
    Orphan,
    /// So does a file that is cut off in more than one transaction.
    OrphanOnTruncate,
    /// An orphan that gets a name is none any more.
    OrphanEnds,
    /// The blocks of a directory or a long symbolic link that are freed are revoked.
    Forget,
    /// An inode that goes away gives up its block of extended attributes.
    Attributes,
    /// An inode is written when its attributes have changed: it says where their block is.
    AttributesWritten,
    /// A block of attributes that several inodes share counts each of them.
    AttributesCounted,
    /// A block of attributes that others have, too, is left to them by the one whose attributes change.
    AttributesApart,
    /// An inode with the value of an attribute is an orphan until an attribute leads to it.
    ValueOrphan,
    /// An inode with a value counts each entry that leads to it.
    ValuesCounted,
    /// Blocks that data was written to become written.
    Conversion,
    /// When data is written to a part of an unwritten extent, only that becomes written.
    ConversionOfPart,
    /// The size on disk goes up with what is shown.
    SizeWithData,
    /// A file is written in each of several transactions that cut it off.
    InodeInStep,
    /// A directory is written when an inode was made in it.
    DirectoryWritten,
    /// A directory that is moved gets another `..`.
    DotDot,
    /// A directory that is moved counts as a link of its new parent.
    ParentLink,
    /// What loses its name to another inode loses a link.
    VictimLink,
    /// An exchange of two names changes both.
    BothNames,
    /// A new inode that can have no name loses its links and becomes an orphan.
    GiveUp,
    /// The super block says that there may be something in the journal, before there is.
    InUseFirst,
    /// The super block says that there is nothing in the journal, when there is nothing any more.
    CleanLast,
    /// A file that is synchronised waits for the commit of what was changed last.
    CommitOnSync,
    /// So does a directory.
    CommitOnDirSync,
    /// Times that have changed in memory only are written where a file is synchronised.
    TimesOnSync,
    /// The device writes out its cache where no commit that is waited for makes it do so.
    FlushOnSync,
    /// Data is taken for durable once it is on the device only if what leads to it has committed.
    CommitOnDsync,
    /// The size on disk goes up when the data is on the device, and not before.
    SizeAfterData,
    /// A file shows blocks when their data is on the device, and not before.
    MapAfterData,
    /// What a file may have behind its end becomes zero before its size is set.
    TailZeroed,
    /// So does what is between its end and a write behind it.
    GapZeroed,
    /// Those zeros are on the device before the size can go up, where the block has data there.
    TailWritten,
    /// What is in memory only is on the device before somebody sets a greater size.
    WritesFirst,
    /// Blocks that something has left behind the end are looked for before the file goes on there.
    CleanEnd,
    /// When data is shown in several transactions, the size on disk goes up with each part.
    SizeInStep,
    /// A direct write waits for others that could be undone by what it makes zero.
    DirectAlone,
    /// Who writes a part of a block past the page cache is told that it is new, so that the rest of it becomes zero.
    RestZeroed,
    /// Where blocks leave the page cache that were never written, the size on disk goes up to the end in memory.
    SizeOfDropped,
    /// Parts of blocks at the ends of a hole become zero.
    EdgesZeroed,
    /// A file shows all that it holds before it gets the name of another one.
    ReplacementFirst,
    /// Data that moves in a file is on the device before.
    MovedWritten,
    /// The nodes of a tree that is built anew are on the device before the file gets it.
    NodesWritten,
    /// Blocks that become written without data are zero on the device before.
    ZeroedFirst,
    /// Data is copied to where it is to be before two files exchange blocks.
    CopiedFirst,
    /// Before data is copied to blocks of a donor, what it has there is what it has on disk.
    DonorCommitted,
    /// Nobody writes to blocks that a file has got from another before the exchange has committed.
    ExchangeCommitted,
    /// Who reads blocks is told which of them were not written yet, and are zeros.
    UnwrittenHidden,
    /// Blocks that somebody gets to store to as memory become zero before.
    MemoryZeroed,
    /// The file shows them before.
    MemoryShown,
    /// An atomic write goes over data only where all that leads to it is durable.
    AtomicFound,
    /// An atomic write that does not go over data goes to new blocks.
    AtomicAside,
    /// Blocks that were freed are trimmed when the transaction that freed them has committed, and not before.
    TrimCommitted,
    /// Nobody gets a block while it is trimmed.
    TrimTaken,
}

/// What an error is about, as far as that is known: for its line in the log, and its record in the super block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The inode.
    pub ino: Option<Ino>,
    /// The group.
    pub group: Option<Group>,
    /// The block.
    pub block: Option<PhysBlock>,
    /// What the block holds.
    pub kind: Option<BlockKind>,
}

impl About {
    /// No inode, group or block above others.
    pub const NONE: Self = Self {
        ino: None,
        group: None,
        block: None,
        kind: None,
    };

    /// Block `nr` that is read as `format`.
    pub fn block<F: Format>(nr: PhysBlock, format: &F) -> Self {
        Self {
            ino: format.owner(),
            group: None,
            block: Some(nr),
            kind: Some(F::KIND),
        }
    }
}

/// What a line in the log begins with, a colon and a space behind each part.
impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ino) = self.ino {
            write!(f, "inode {}: ", ino.get())?;
        }
        if let Some(group) = self.group {
            write!(f, "group {}: ", group.get())?;
        }
        match (self.block, self.kind) {
            (Some(nr), Some(kind)) => write!(f, "block {} ({}): ", nr.get(), kind.name()),
            (Some(nr), None) => write!(f, "block {}: ", nr.get()),
            (None, _) => Ok(()),
        }
    }
}

impl From<Ino> for About {
    fn from(ino: Ino) -> Self {
        Self {
            ino: Some(ino),
            ..Self::NONE
        }
    }
}

impl From<Group> for About {
    fn from(group: Group) -> Self {
        Self {
            group: Some(group),
            ..Self::NONE
        }
    }
}

impl From<PhysBlock> for About {
    fn from(block: PhysBlock) -> Self {
        Self {
            block: Some(block),
            ..Self::NONE
        }
    }
}

/// A reference to a cached block, as the store has it. Cheap to clone.
pub trait RawBlock: Clone {
    /// The block's number.
    fn nr(&self) -> PhysBlock;

    /// Gives `f` the bytes, a whole block, under the byte lock (see the rules at the top).
    fn with<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R;
}

/// A cached block that was checked as `F`.
#[derive(Clone)]
pub struct Block<S: Store, F: Format> {
    raw: S::Raw,
    format: F,
}

impl<S: Store, F: Format> Block<S, F> {
    /// For stores only: joins a block with the format that it was checked as.
    pub fn from_parts(raw: S::Raw, format: F) -> Self {
        Self { raw, format }
    }

    /// The same block as another kind: for a [`Transaction::edit`] that makes it one of that kind.
    pub fn retyped<G: Format>(&self, format: G) -> Block<S, G> {
        Block::from_parts(self.raw.clone(), format)
    }

    /// The block's number.
    pub fn nr(&self) -> PhysBlock {
        self.raw.nr()
    }

    /// The format.
    pub fn format(&self) -> &F {
        &self.format
    }

    /// The store's own reference.
    pub fn raw(&self) -> &S::Raw {
        &self.raw
    }

    /// Gives `f` the bytes, a whole block, under the byte lock (see the rules at the top).
    pub fn with<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        self.raw.with(f)
    }
}

/// What blocks are chosen for; for those who watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The file.
    pub ino: Ino,
    /// The place in the file that they are chosen for.
    pub at: LogicalBlock,
    /// How many are wanted there.
    pub want: u32,
    /// The best block.
    pub near: Option<PhysBlock>,
    /// Whether they were reserved before.
    pub reserved: bool,
    /// Whether the file is written in order.
    pub stream: bool,
}

/// Metadata blocks of one file system, and its journal.
pub trait Store: Sized + 'static {
    /// A reference to a cached block.
    type Raw: RawBlock;
    /// A live transaction handle. Belongs to one task; dropping it ends it.
    type Tx<'a>: Transaction<Self>
    where
        Self: 'a;

    /// Reads a block from the cache or else the device, checked as `format` says.
    ///
    /// # Errors
    ///
    /// `EIO` from the device; `EUCLEAN`, already reported, where the check fails or the device has no such
    /// block.
    fn read<F: Format>(&self, nr: PhysBlock, format: F) -> Result<Block<Self, F>>;

    /// Like [`Store::read`] but never waits: `None` where the block is not in memory, checked as this kind.
    fn read_cached<F: Format>(&self, nr: PhysBlock, format: F) -> Option<Block<Self, F>>;

    /// Starts reading `count` blocks from `nr` on, as far as the device has them. Never waits for them.
    fn readahead(&self, nr: PhysBlock, count: u32);

    /// Changes a block past the journal: `f` gets a copy of its bytes, which is sealed, and durable on the device when
    /// this returns. No transaction may hold a change of the block that is still to be written anywhere: the caller
    /// knows that none was begun, that the journal was emptied, or that it was aborted. Waits.
    ///
    /// # Errors
    ///
    /// `EIO` from the device, logged: the block in memory is changed then. `EBUSY` where a transaction holds the block,
    /// and `ENOMEM`: it is not.
    fn write_through<F: Format>(&self, block: &Block<Self, F>, f: impl FnOnce(&mut [u8]))
        -> Result;

    /// Makes a new block of metadata at `nr` past the journal: zeros, filled by `f`, and sealed. It is in memory then,
    /// to be checked when it is read, and on its way to the device: [`Store::wait_new`] waits for that. The caller has
    /// chosen the block, which is free on the device, and gives it back only when it has waited. No transaction may be
    /// open.
    ///
    /// # Errors
    ///
    /// `EIO`; `ENOMEM`; `EBUSY` where a transaction holds the block. Then nothing is on its way.
    fn write_new<F: Format, R>(
        &self,
        nr: PhysBlock,
        format: F,
        f: impl FnOnce(&mut [u8]) -> R,
    ) -> Result<(Block<Self, F>, R)>;

    /// Waits until a block of [`Store::write_new`] is on the device. A commit that begins then makes it durable.
    ///
    /// # Errors
    ///
    /// `EIO`, logged.
    fn wait_new<F: Format>(&self, block: &Block<Self, F>) -> Result;

    /// Makes `len` blocks of data from `start` on zero on the device, past the cache and the journal, and waits for
    /// that. `unmap`: the device may give up what it has for them. No transaction may be open, as data is waited for.
    ///
    /// # Errors
    ///
    /// Those of the device: then a part may be zero. `ENOMEM`.
    fn zero(&self, start: PhysBlock, len: u32, unmap: bool) -> Result;

    /// Starts a handle that may change so much.
    ///
    /// May wait for a commit: no byte lock, no spinning lock. Folio locks are allowed.
    ///
    /// # Errors
    ///
    /// `EROFS` after the journal was aborted or where the mount is read-only; `ENOSPC` where `credits` is
    /// more than the journal can ever hold; `ENOMEM`.
    fn begin(&self, credits: Credits) -> Result<Self::Tx<'_>>;

    /// A handle with at least these credits: the one that is there, which may go on in another transaction as
    /// [`Transaction::ensure`] says, or a new one.
    ///
    /// # Errors
    ///
    /// Those of [`Store::begin`] and [`Transaction::ensure`].
    fn ready<'s, 'h>(
        &'s self,
        handle: &'h mut Option<Self::Tx<'s>>,
        credits: Credits,
    ) -> Result<&'h mut Self::Tx<'s>> {
        match handle {
            Some(tx) => {
                tx.ensure(credits)?;
                Ok(tx)
            }
            none => Ok(none.insert(self.begin(credits)?)),
        }
    }

    /// There was no memory for a step that must not be given up, because what belongs to it is done: waits a little
    /// before the next attempt, as the journal itself does within a transaction. May sleep; a handle and the locks
    /// inside of which blocks are read may be held.
    fn wait_for_memory(&self);

    /// Runs `step`, which changes nothing where there is no memory for it, again until there is.
    fn insist<R>(&self, mut step: impl FnMut() -> Result<R>) -> Result<R> {
        loop {
            match step() {
                Err(error) if error == ENOMEM => self.wait_for_memory(),
                result => return result,
            }
        }
    }

    /// Whether the task may use the blocks that the file system reserves for `owner`: it is that user, in that group,
    /// or privileged.
    fn may_use_reserve(&self, owner: ReserveOwner) -> bool;

    /// Whether handles can be had.
    ///
    /// # Errors
    ///
    /// `EROFS` where nothing may be changed, by the mount or since an error; `EIO` where the device is gone.
    fn check_writable(&self) -> Result;

    /// Whether `rule` is broken on purpose.
    #[inline(always)]
    fn breaks(&self, _rule: Rule) -> bool {
        false
    }

    /// This task is about to choose blocks, and calls [`Self::chosen`] next: for those who watch.
    #[inline(always)]
    fn choosing(&self, _wish: impl FnOnce() -> Wish) {}

    /// What came of it, the first block and how many: for those who watch.
    #[inline(always)]
    fn chosen(&self, _run: Result<(PhysBlock, u32)>) {}

    /// By transaction `tid` an inode becomes an orphan, or is none any more: for those who watch.
    #[inline(always)]
    fn orphan(&self, _ino: Ino, _is: bool, _tid: Tid) {}

    /// Writes a line to the log that warns of something.
    fn warn(&self, what: fmt::Arguments<'_>);

    /// Reports an error of the file system or its device: one line in the log, a record with the place of the call in
    /// the super block, the `errors=` policy. Returns `error`. May sleep.
    #[track_caller]
    fn fail(&self, error: Error, about: impl Into<About>, what: fmt::Arguments<'_>) -> Error;

    /// Reports what is wrong with a structure on the disk: [`Store::fail`], with the place in the log. Returns
    /// `EUCLEAN`, which nobody else makes: no user gets it without a line in the log.
    #[cold]
    #[track_caller]
    fn flawed(&self, about: impl Into<About>, flaw: Flaw) -> Error {
        let about = about.into();
        self.fail(flaw.error(), about, fmt!("{about}{flaw}"));
        EUCLEAN
    }

    /// The error for a flaw that [`Store::flawed`] has reported before: `EUCLEAN`.
    #[cold]
    fn reported(&self) -> Error {
        EUCLEAN
    }

    /// [`Store::fail`], but the log gets only the first line of each place of a call.
    #[track_caller]
    fn fail_once(&self, error: Error, about: impl Into<About>, what: fmt::Arguments<'_>) -> Error;

    /// Reports a state that cannot be, by what this code says of itself: [`Store::fail_once`], with the place of the
    /// call in the log. Returns `EUCLEAN`.
    #[cold]
    #[track_caller]
    fn bug(&self, about: impl Into<About>, what: &str) -> Error {
        let about = about.into();
        let place = Location::caller();
        let (file, line) = (place.file(), place.line());
        self.fail_once(EUCLEAN, about, fmt!("BUG: {about}{what} ({file}:{line})"))
    }
}

/// A live handle on the running transaction. Dropping it stops the handle; an error found then aborts
/// the journal and is seen by the next [`Store::begin`].
pub trait Transaction<S: Store> {
    /// The number of the transaction that the changes belong to. Changes when [`Self::ensure`] restarts.
    fn tid(&self) -> Tid;

    /// Changes a block: `f` gets the bytes under the byte lock, then the block is sealed and journalled.
    ///
    /// `f` should decide first and change then: what it changed before giving up stays changed.
    fn edit<F: Format, R>(
        &mut self,
        block: &Block<S, F>,
        f: impl FnOnce(&mut [u8]) -> R,
    ) -> Result<R>;

    /// Makes a new block of metadata at `nr`, which this transaction allocated: zeros, filled by `f`, sealed,
    /// journalled. What the device holds there is not read.
    fn create<F: Format, R>(
        &mut self,
        nr: PhysBlock,
        format: F,
        f: impl FnOnce(&mut [u8]) -> R,
    ) -> Result<(Block<S, F>, R)>;

    /// Metadata block `nr` is being freed in this transaction: its changes are dropped and it is revoked, so
    /// that replay never writes over what is there next. Costs one revoke credit.
    fn forget(&mut self, nr: PhysBlock) -> Result;

    /// Makes sure that so much more can be changed and revoked. Extends the handle, else commits to a new transaction;
    /// then `true`: what was changed so far may become durable without what follows, so the structures must be
    /// consistent at this point (or the inode be an orphan).
    ///
    /// May wait until the old transaction's other handles have stopped: no lock may be held that is taken
    /// inside of a handle, the map lock above all.
    fn ensure(&mut self, credits: Credits) -> Result<bool>;
}
