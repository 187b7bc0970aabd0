// SPDX-License-Identifier: GPL-2.0

//! How the blocks of a directory are had: the [`Directory`] behind a name, and checked reads of its blocks.

use crate::disk::dirent::DirLeafFormat;
use crate::disk::dx::{DxFormat, IndexPart, LEVELS, LEVELS_SMALL};
use crate::disk::hash::{HashVersion, NameHasher};
use crate::disk::layout::HashParams;
use crate::disk::{BlockSize, CsumSeed, FileType, Flaw, Ino, Layout, LogicalBlock, PhysBlock};
use crate::store::{About, Block, Store};
use kernel::error::{code::EUCLEAN, Error, Result};

/// What the super block says about directories.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// Size of a block.
    pub block_size: BlockSize,
    /// Inodes of the file system.
    pub inodes_count: u32,
    /// Blocks of the file system.
    pub blocks_count: u64,
    /// Feature `filetype`: entries say what they lead to.
    pub filetype: bool,
    /// Feature `dir_index`: directories that outgrow a block become hashed.
    pub dir_index: bool,
    /// Most levels that the index of a directory has, the root included.
    pub levels: usize,
    /// How names are hashed.
    pub hash: HashParams,
}

impl Params {
    /// From the super block.
    pub fn new(layout: &Layout) -> Self {
        Self {
            block_size: layout.block_size(),
            inodes_count: layout.inodes_count(),
            blocks_count: layout.blocks_count(),
            filetype: layout.has_filetype(),
            dir_index: layout.has_dir_index(),
            levels: match layout.has_large_dir() {
                true => LEVELS,
                false => LEVELS_SMALL,
            },
            hash: *layout.hash(),
        }
    }

    /// The hash of directories that become hashed; `None` where they stay linear: without the feature, and with
    /// a hash that is not supported.
    pub(super) fn new_tree(&self) -> Option<HashVersion> {
        HashVersion::from_disk(self.hash.version).filter(|_| self.dir_index)
    }

    pub(super) fn hasher(&self, version: HashVersion) -> NameHasher {
        NameHasher::new(version, self.hash.unsigned, &self.hash.seed)
    }

    /// What an entry says of the type: nothing without the feature.
    pub(super) fn file_type(&self, file_type: Option<FileType>) -> Option<FileType> {
        file_type.filter(|_| self.filetype)
    }
}

/// What is known of a directory, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known(u32);

impl Known {
    /// The index is bad, which has been reported: it is not used.
    pub const INDEX_FAILED: Self = Self(1);
    /// A block is missing or bad, which has been reported: some names cannot be had, and none is added.
    pub const INCOMPLETE: Self = Self(2);
    /// No block is missing.
    pub const WHOLE: Self = Self(4);

    /// From [`Self::bits`].
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// As a number.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Both.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in the set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A directory as a file of blocks. The caller holds its `i_rwsem`, shared to look, exclusive to change.
pub trait Directory<S: Store> {
    /// The store that has the blocks.
    fn store(&self) -> &S;

    /// What the super block says about directories.
    fn params(&self) -> Params;

    /// The inode's number.
    fn ino(&self) -> Ino;

    /// The inode's checksum seed; `None` without metadata checksums.
    fn seed(&self) -> Option<CsumSeed>;

    /// Size in blocks.
    fn blocks(&self) -> u32;

    /// A number that is another one after each change of the names.
    fn version(&self) -> u64;

    /// Whether the inode has the flag `INDEX`.
    fn is_indexed(&self) -> bool;

    /// Sets or clears the flag `INDEX`, in memory.
    fn set_indexed(&mut self, indexed: bool);

    /// What was found out since the inode came into memory.
    fn known(&self) -> Known;

    /// Adds to that.
    fn note(&self, what: Known);

    /// The device block behind a block of the directory, `None` for a hole, and of how many blocks from there on, at
    /// least one, the same is true: that they follow each other on the device, or that they are missing.
    fn run(&self, at: LogicalBlock) -> Result<(Option<PhysBlock>, u32)>;

    /// Adds a block behind the last one, mapped, and raises the size by a block, in this transaction. The
    /// caller of the function that led here writes the inode.
    fn append(&mut self, tx: &mut S::Tx<'_>) -> Result<(LogicalBlock, PhysBlock)>;
}

/// Whether the directory is hashed: the flag counts only with the feature, as in ext4.
pub(super) fn has_tree<S: Store>(dir: &impl Directory<S>) -> bool {
    dir.is_indexed() && dir.params().dir_index
}

pub(super) fn leaf_format<S: Store>(dir: &impl Directory<S>, allow_index: bool) -> DirLeafFormat {
    DirLeafFormat {
        ino: dir.ino(),
        seed: dir.seed(),
        inodes_count: dir.params().inodes_count,
        allow_index,
    }
}

pub(super) fn dx_format<S: Store>(dir: &impl Directory<S>, part: IndexPart) -> DxFormat {
    DxFormat {
        ino: dir.ino(),
        seed: dir.seed(),
        part,
        levels: dir.params().levels,
    }
}

/// Reads a block with entries; `None` for a hole.
///
/// # Errors
///
/// `EUCLEAN` for a block that is bad, or not in the directory; `EIO`.
pub(super) fn read_leaf<S: Store>(
    dir: &impl Directory<S>,
    at: LogicalBlock,
    allow_index: bool,
) -> Result<Option<Block<S, DirLeafFormat>>> {
    match map(dir, at)? {
        Some(nr) => dir
            .store()
            .read(nr, leaf_format(dir, allow_index))
            .map(Some),
        None => Ok(None),
    }
}

/// Reads a block with entries where there must be one.
pub(super) fn need_leaf<S: Store>(
    dir: &impl Directory<S>,
    at: LogicalBlock,
    allow_index: bool,
) -> Result<Block<S, DirLeafFormat>> {
    match read_leaf(dir, at, allow_index)? {
        Some(block) => Ok(block),
        None => Err(missing(dir, at, 1)),
    }
}

/// Reads an index block: the root at file block 0, else a node.
pub(super) fn read_index<S: Store>(
    dir: &impl Directory<S>,
    at: LogicalBlock,
) -> Result<Block<S, DxFormat>> {
    let part = match at {
        LogicalBlock::ZERO => IndexPart::Root,
        _ => IndexPart::Node,
    };
    match map(dir, at)? {
        Some(nr) => dir.store().read(nr, dx_format(dir, part)),
        None => Err(missing(dir, at, 1)),
    }
}

fn map<S: Store>(dir: &impl Directory<S>, at: LogicalBlock) -> Result<Option<PhysBlock>> {
    if at.get() >= dir.blocks() {
        return Err(bad_dir(dir, Flaw::DirPastEnd { block: at.get() }));
    }
    Ok(dir.run(at)?.0)
}

/// `len` blocks from `at` on are not there. Reports the first ones that are met of a directory. Returns `EUCLEAN`.
#[track_caller]
pub(super) fn missing<S: Store>(dir: &impl Directory<S>, at: LogicalBlock, len: u32) -> Error {
    if dir.known().has(Known::INCOMPLETE) {
        return dir.store().reported();
    }
    dir.note(Known::INCOMPLETE);
    let end = at.saturating_add(len).get().min(dir.blocks());
    let (from, to) = (at.get(), end.saturating_sub(1));
    bad_dir(dir, Flaw::DirMissing { from, to })
}

/// Whether the index is bad.
pub(super) fn index_failed<S: Store>(dir: &impl Directory<S>) -> bool {
    dir.known().has(Known::INDEX_FAILED)
}

/// Whether the directory has a tree that can be used.
pub(super) fn has_good_tree<S: Store>(dir: &impl Directory<S>) -> bool {
    has_tree(dir) && !index_failed(dir)
}

/// Passes over a block that cannot be read as one of names, which has been reported, so that the others are found:
/// remembers that names are missing.
///
/// # Errors
///
/// `error`, if it is another one than `EUCLEAN`.
pub(super) fn pass_over<S: Store>(dir: &impl Directory<S>, error: Error) -> Result {
    if error != EUCLEAN {
        return Err(error);
    }
    dir.note(Known::INCOMPLETE);
    Ok(())
}

/// `EUCLEAN`, reported, where a block is missing: then no name is added. Looked up once.
pub(super) fn check_whole<S: Store>(dir: &impl Directory<S>) -> Result {
    let known = dir.known();
    if known.has(Known::INCOMPLETE) {
        return Err(dir.store().reported());
    }
    if known.has(Known::WHOLE) {
        return Ok(());
    }
    let mut at = LogicalBlock::ZERO;
    while at.get() < dir.blocks() {
        let (phys, len) = dir.run(at)?;
        if phys.is_none() {
            return Err(missing(dir, at, len));
        }
        at = at.saturating_add(len.max(1));
    }
    dir.note(Known::WHOLE);
    Ok(())
}

/// A block with names.
pub(super) type Leaf<S> = Block<S, DirLeafFormat>;

/// The blocks of a directory in their order, for a scan that does not use the index. Those that are missing are passed
/// over.
pub(super) struct Scan {
    at: LogicalBlock,
    /// Blocks that may still be read: a directory has no more than the file system.
    left: u64,
}

impl Scan {
    /// From block `at` on.
    pub(super) fn new<S: Store>(dir: &impl Directory<S>, at: u32) -> Self {
        Self {
            at: LogicalBlock::new(at),
            left: dir.params().blocks_count,
        }
    }

    /// The next block that is there, and what it holds if that can be read.
    pub(super) fn next<S: Store>(
        &mut self,
        dir: &impl Directory<S>,
    ) -> Result<Option<(LogicalBlock, Result<Leaf<S>>)>> {
        while self.at.get() < dir.blocks() {
            super::read_ahead(dir, self.at.get());
            let at = self.at;
            let (phys, len) = dir.run(at)?;
            let Some(nr) = phys else {
                let _ = missing(dir, at, len);
                self.at = at.saturating_add(len.max(1));
                continue;
            };
            self.left = match self.left.checked_sub(1) {
                Some(left) => left,
                None => return Err(bad_dir(dir, Flaw::DirBlocks)),
            };
            self.at = at.saturating_add(1);
            return Ok(Some((
                at,
                dir.store().read(nr, leaf_format(dir, has_tree(dir))),
            )));
        }
        Ok(None)
    }
}

/// Reports what is wrong with a block of entries although it was checked: the device's cache was written to.
#[cold]
#[track_caller]
pub(super) fn bad_leaf<S: Store>(
    dir: &impl Directory<S>,
    block: &Block<S, DirLeafFormat>,
    flaw: Flaw,
) -> Error {
    let about = About::block(block.nr(), block.format());
    dir.store().flawed(about, flaw)
}

/// Reports what is wrong with a directory.
#[cold]
#[track_caller]
pub(super) fn bad_dir<S: Store>(dir: &impl Directory<S>, flaw: Flaw) -> Error {
    dir.store().flawed(dir.ino(), flaw)
}

/// What can go wrong on the way through an index.
pub(super) enum Fault {
    /// The index is bad, which has been reported; the leaves may be good.
    Index,
    /// Anything else.
    Other(Error),
}

impl Fault {
    /// For an error that came up in the index.
    pub(super) fn in_index(error: Error) -> Self {
        match error == EUCLEAN {
            true => Self::Index,
            false => Self::Other(error),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}
