// SPDX-License-Identifier: GPL-2.0

//! The map of a file: which device block holds which file block.
//!
//! Tests: `tools/core/tests/map*.rs`, `qemu/test/t/{write-read,unwritten,truncate-sizes}.sh`.
//!
//! | file          | what                                                                                |
//! |---------------|-------------------------------------------------------------------------------------|
//! | `mod.rs`      | [`FileMap`]: looking up                                                              |
//! | `reserve.rs`  | before the data is written: reserve space, choose blocks, take both back            |
//! | `publish.rs`  | after the data is written: one transaction maps it                                  |
//! | `remove.rs`   | truncate, punch                                                                     |
//! | `unwritten.rs`| blocks that are there and read as zeros                                             |
//! | `exchange.rs` | two files exchange blocks                                                           |
//! | `rest.rs`     | blocks that become zeros on the device, and written, with the data beside them      |
//! | `shift.rs`    | the end of the file moves to other places in it                                     |
//! | `anew.rs`     | the same, by a tree that is built anew                                              |
//! | `aside.rs`    | blocks that take the place of others, all at once                                   |
//! | `need.rs`     | how many tree blocks outstanding writes may need                                    |
//! | `window.rs`   | blocks chosen ahead for a file that is written in order                             |
//! | `tree.rs`     | the extent tree: finding                                                            |
//! | `plan.rs`     | the extent tree: what a change does to a leaf                                       |
//! | `change.rs`   | the extent tree: changing                                                           |
//! | `piece.rs`    | a run of blocks in one state                                                        |
//! | `cache.rs`    | what is known in memory: pieces                                                     |
//! | `snapshot.rs` | the last mapping, for lookups without a lock                                        |
//!
//! # Write, then map
//!
//! A block of new data goes through these states:
//!
//! ```text
//!            reserve             choose              publish (data is on the device)
//!     Hole ----------> Delayed ----------> Pending ---------------------------> Written
//!       \____________________choose______/                                  /
//!                              Unwritten (fallocate) ---- choose, publish -/
//! ```
//!
//! Up to then the tree on disk has a hole, or an unwritten extent. A crash before it loses and shows nothing.
//!
//! # Invariants
//!
//! * What is on disk is in [`Tree`]; the cache repeats parts of it, and alone has what is delayed or pending, and which
//!   unwritten blocks are about to be converted (claimed) or known to be zero on the device (zeroed).
//! * Blocks that are chosen aside belong to no piece of the cache: until they take the place of others, the file has
//!   those.
//! * `pool` blocks are reserved for tree blocks. They are at least as many as publishing everything that is
//!   outstanding can add to the tree (`need.rs`). Sum of `pool`, delayed blocks and nothing else over all maps is
//!   what [`Space`](crate::space::Space) has as reserved.
//! * Every change of what [`FileMap::lookup`] would say raises the sequence number, in the same step in which the
//!   snapshot forgets the old mapping.
//!
//! # Locks
//!
//! The inode's map lock, exclusively for `&mut self`. Nothing here restarts a transaction: a restart can wait for the
//! handle of a task that waits for the map lock. What does not fit into a handle returns [`Progress::Again`].

mod anew;
mod aside;
mod cache;
mod change;
mod exchange;
mod need;
mod piece;
mod plan;
mod publish;
mod remove;
mod reserve;
mod rest;
mod shift;
mod snapshot;
mod tree;
mod unwritten;
mod window;

pub use anew::NewTree;
pub use cache::evictable_total;
pub use exchange::Place;
pub use rest::Rests;
pub use shift::Shift;
pub use snapshot::Snapshot;

use crate::disk::extent::{self, ExtentNodeFormat, ROOT_BYTES};
use crate::disk::{CsumSeed, Ino, LogicalBlock, PhysBlock};
use crate::store::Store;
use crate::volume::Volume;
use aside::Aside;
use cache::{Cache, CacheHit};
use kernel::alloc::KBox;
use kernel::error::{code::*, Result};
use kernel::sync::Arc;
use piece::{Piece, PieceKind};
use tree::{AtBlock, Tree};
use window::Window;

/// What a file block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing: reads as zeros.
    Hole,
    /// Space is reserved for it; the data is in the page cache.
    Delayed,
    /// Blocks are chosen for it, and perhaps being written; on disk it is a hole.
    Pending,
    /// Allocated, reads as zeros.
    Unwritten,
    /// Allocated, with data.
    Written,
}

/// A run of file blocks in one state, contiguous on the device if there are blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First file block: the one that was asked for.
    pub start: LogicalBlock,
    /// Length in blocks, at least 1 and at most what was asked for.
    pub len: u32,
    /// The state.
    pub state: State,
    /// First device block: of pending, unwritten and written blocks.
    pub phys: Option<PhysBlock>,
    /// The map's sequence number at which this is true.
    pub seq: u32,
}

impl Mapping {
    /// The file block after the last one.
    pub fn end(&self) -> LogicalBlock {
        self.start.saturating_add(self.len)
    }

    /// What `piece`, which covers `at`, says about at most `max_len` blocks from `at` on.
    fn from_piece(piece: &Piece, at: LogicalBlock, max_len: u32, seq: u32) -> Self {
        let piece = piece.clip(at, at.saturating_add(max_len.max(1)));
        Self {
            start: piece.start,
            len: piece.len,
            state: piece.kind().state(),
            phys: piece.phys(),
            seq,
        }
    }
}

/// What [`FileMap::reserve`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// What is there now.
    pub mapping: Mapping,
    /// Whether all of it was reserved by this call.
    pub new: bool,
}

/// How far a bounded step came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All is done.
    Done,
    /// The handle's credits are used up. The structures are consistent: the caller writes the inode, gives up the map
    /// lock, makes sure of new credits (`Transaction::ensure`) and calls again, from here on to publish, up to
    /// here for a removal.
    Again(LogicalBlock),
}

/// The map of one file. See the top of the file.
pub struct FileMap {
    tree: Tree,
    cache: Cache,
    snapshot: Arc<Snapshot>,
    seq: u32,
    /// Blocks that are reserved for nodes of the tree.
    pool: u32,
    window: Window,
    /// Blocks that are chosen to take the place of others.
    aside: Option<KBox<Aside>>,
    /// Whether blocks were lost that were chosen, with a tree that turned out to be bad: see [`Self::publish`].
    lost: bool,
}

impl FileMap {
    /// Checks the root of an extent tree, for [`Self::of_checked`].
    ///
    /// # Errors
    ///
    /// `EUCLEAN`, reported.
    pub fn check_root<S: Store>(
        vol: &Volume<S>,
        ino: Ino,
        seed: Option<CsumSeed>,
        i_block: &[u8; ROOT_BYTES],
    ) -> Result {
        let format = ExtentNodeFormat::new(&vol.layout, ino, seed);
        let checked = format.verify_root(i_block);
        checked.map_err(|flaw| vol.store.flawed(ino, flaw))
    }

    /// The map of an inode whose `i_block` was found to be good by [`Self::check_root`], or is [`Self::EMPTY_ROOT`].
    /// `sectors` is its `i_blocks`, in units of 512 bytes whatever the flag `EXT4_HUGE_FILE_FL` says; `seed` is the
    /// inode's, for the checksums of the nodes; `snapshot` is of no other map.
    #[inline]
    pub fn of_checked(
        ino: Ino,
        seed: Option<CsumSeed>,
        i_block: [u8; ROOT_BYTES],
        sectors: u64,
        snapshot: Arc<Snapshot>,
    ) -> Self {
        let tree = Tree {
            ino,
            seed,
            root: i_block,
            sectors,
            root_checked: false,
            may_collapse: true,
        };
        snapshot.set_depth(tree.depth());
        Self {
            tree,
            cache: Cache::new(),
            snapshot,
            seq: 0,
            pool: 0,
            window: Window::new(),
            aside: None,
            lost: false,
        }
    }

    /// The root of an extent tree without extents.
    pub const EMPTY_ROOT: [u8; ROOT_BYTES] = extent::EMPTY_ROOT;

    /// What belongs into `i_block`.
    pub fn root(&self) -> &[u8; ROOT_BYTES] {
        &self.tree.root
    }

    /// What belongs into `i_blocks`: data and nodes, in units of 512 bytes.
    pub fn sectors(&self) -> u64 {
        self.tree.sectors
    }

    /// Changes `i_blocks` for a block that is not in the map, the one with extended attributes.
    pub fn add_sectors(&mut self, sectors: i64) {
        self.tree.sectors = self.tree.sectors.saturating_add_signed(sectors);
    }

    /// Blocks for which space is reserved or chosen and that `sectors` does not count yet.
    pub fn outstanding(&self) -> u32 {
        let totals = self.cache.totals();
        totals.delayed.saturating_add(totals.pending)
    }

    /// For lookups without the map lock.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// What the checksums of the inode's own structures begin with; `None` where metadata has none.
    pub fn seed(&self) -> Option<CsumSeed> {
        self.tree.seed
    }

    /// Levels of the extent tree below the root.
    pub fn depth(&self) -> u16 {
        self.tree.depth()
    }

    /// Whether the tree has nothing in it.
    pub fn is_empty(&self) -> bool {
        self.tree.depth() == 0 && self.tree.root().is_ok_and(|root| root.len() == 0)
    }

    /// Where the last extent ends that begins before `to`, if there is one; `to` at most.
    ///
    /// # Errors
    ///
    /// `EIO`; `EUCLEAN`, reported.
    pub fn end_before<S: Store>(
        &self,
        vol: &Volume<S>,
        to: LogicalBlock,
    ) -> Result<Option<LogicalBlock>> {
        let last = self
            .tree
            .last_before(vol, to, true, &mut tree::TreePath::new())?;
        Ok(last.map(|(_, extent)| extent.end().min(to)))
    }

    /// What is at `at`, as far as `max_len` blocks; as long a run as is known.
    ///
    /// # Errors
    ///
    /// `EFBIG` where no file has such a block; `EIO`; `EUCLEAN`, reported.
    pub fn lookup<S: Store>(
        &mut self,
        vol: &Volume<S>,
        at: LogicalBlock,
        max_len: u32,
    ) -> Result<Mapping> {
        let piece = self.piece(vol, at)?;
        self.snapshot.set(Some(&piece), self.seq);
        Ok(Mapping::from_piece(&piece, at, max_len, self.seq))
    }

    /// As [`Self::lookup`], but what is known without reading is not remembered as the last mapping.
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn find<S: Store>(
        &mut self,
        vol: &Volume<S>,
        at: LogicalBlock,
        max_len: u32,
    ) -> Result<Mapping> {
        match self.lookup_cached(at, max_len) {
            Some(found) => Ok(found),
            None => self.lookup(vol, at, max_len),
        }
    }

    /// What is at `at`, if that is known without reading. Never sleeps.
    pub fn lookup_cached(&self, at: LogicalBlock, max_len: u32) -> Option<Mapping> {
        if at >= LogicalBlock::LIMIT {
            return None;
        }
        let piece = match self.cache.get(at) {
            CacheHit::Piece(piece) => piece,
            CacheHit::Unknown(from, to) => {
                let found = self.tree.in_root(at)?;
                piece_of(&found).clip(from, to)
            }
        };
        Some(Mapping::from_piece(&piece, at, max_len, self.seq))
    }

    /// Whether block `at` was [chosen](Self::choose) to be written to, and is not published yet.
    pub fn is_chosen(&self, at: LogicalBlock) -> bool {
        match self.cache.get(at) {
            CacheHit::Piece(piece) => {
                matches!(piece.kind(), PieceKind::Pending | PieceKind::Claimed)
            }
            CacheHit::Unknown(..) => false,
        }
    }

    /// The piece that covers `at`, from the cache or else from the tree.
    fn piece<S: Store>(&mut self, vol: &Volume<S>, at: LogicalBlock) -> Result<Piece> {
        if at >= LogicalBlock::LIMIT {
            return Err(EFBIG);
        }
        match self.cache.get(at) {
            CacheHit::Piece(piece) => Ok(piece),
            CacheHit::Unknown(from, to) => {
                let found = self.tree.at(vol, at)?;
                let piece = piece_of(&found).clip(from, to);
                if self.tree.depth() > 0 {
                    // Without memory it is not cached.
                    return Ok(self.cache.set(piece).unwrap_or(piece));
                }
                // Nor is what the root itself says.
                Ok(piece)
            }
        }
    }

    /// What was known about a range is no longer true: `piece`, if any, is what is there now.
    fn changed(&mut self, piece: Option<&Piece>) {
        self.seq = self.seq.wrapping_add(1);
        self.snapshot.set_depth(self.tree.depth());
        self.snapshot.set(piece, self.seq);
    }

    /// Puts a piece into the cache, where [`Cache::prepare`] has made a place for it. Returns the piece that is there
    /// now.
    fn keep<S: Store>(&mut self, vol: &Volume<S>, piece: Piece) -> Result<Piece> {
        self.cache.insert(piece).ok_or_else(|| {
            vol.store
                .bug(self.tree.ino, "there is no place in the cache of extents")
        })
    }

    /// Puts down what a change of the tree has made of a range, for which there is room in the cache.
    #[inline(always)]
    fn now_on_disk<S: Store>(&mut self, vol: &Volume<S>, piece: Piece) {
        let done = if self.tree.depth() == 0 {
            let done = self.cache.forget(piece.start, piece.end());
            done.map(|()| piece)
        } else {
            self.keep(vol, piece)
        };
        self.changed(Some(&done.unwrap_or(piece)));
    }

    /// Forgets about `nr` pieces that could be read again. Returns how many.
    pub fn shrink(&mut self, nr: usize) -> usize {
        self.cache.shrink(nr)
    }

    /// Takes back all that is reserved or chosen, and forgets what is cached: for an inode that leaves memory. There is
    /// no I/O in flight.
    pub fn evict<S: Store>(&mut self, vol: &Volume<S>) {
        self.cancel(vol, LogicalBlock::ZERO, LogicalBlock::LIMIT);
        self.drop_aside(vol);
        self.release_window(vol);
        self.cache.shrink(usize::MAX);
    }
}

/// What the tree says, as a piece.
fn piece_of(found: &AtBlock) -> Piece {
    match found {
        AtBlock::Extent(extent) => {
            let kind = if extent.written {
                PieceKind::Written
            } else {
                PieceKind::Unwritten
            };
            Piece::new(extent.start, extent.len, kind, Some(extent.phys))
        }
        AtBlock::Hole(from, to) => Piece::new(
            *from,
            to.saturating_distance_from(*from),
            PieceKind::Hole,
            None,
        ),
    }
}
