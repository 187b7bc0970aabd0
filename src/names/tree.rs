// SPDX-License-Identifier: GPL-2.0

//! The tree of a hashed directory: the way to a leaf, and its growth.
//!
//! # Invariants
//!
//! Each step that changes the tree (a leaf divided, a node divided, the root moved down a level) leaves a
//! valid tree behind, all names in it. Where one of them fails for lack of space, those before it stay.

use super::access::{
    bad_dir, bad_leaf, dx_format, leaf_format, need_leaf, read_index, Directory, Fault,
};
use super::leaf::{self, FoundName, NewEntry, RoomSearch, SortError, Sorted};
use super::READAHEAD;
use crate::disk::bytes::copy;
use crate::disk::dirent::{DirLeafFormat, Dots};
use crate::disk::dx::{DxFormat, IndexEntry, IndexPart, LEVELS};
use crate::disk::hash::{HashVersion, NameHasher};
use crate::disk::{FileType, Flaw, LogicalBlock};
use crate::store::{Block, Store, Transaction};
use kernel::alloc::flags::GFP_KERNEL;
use kernel::alloc::KVec;
use kernel::error::{code::*, Result};

/// An index block on the way to a leaf.
struct Frame<S: Store> {
    block: Block<S, DxFormat>,
    step: IndexEntry,
}

impl<S: Store> Frame<S> {
    /// Reads index block `at` and follows the entry for `hash`.
    fn read(dir: &impl Directory<S>, at: LogicalBlock, hash: u32) -> Result<Self> {
        let block = read_index(dir, at)?;
        Self::enter(dir, block, hash)
    }

    fn enter(dir: &impl Directory<S>, block: Block<S, DxFormat>, hash: u32) -> Result<Self> {
        let format = *block.format();
        let step = block
            .with(|bytes| format.search(bytes, hash))
            .ok_or_else(|| bad_dir(dir, Flaw::IndexChanged))?;
        Ok(Self { block, step })
    }

    /// The entry behind the one followed, and its hash.
    fn peek(&self) -> Option<(u32, IndexEntry)> {
        let format = self.block.format();
        let at = self.step.at.checked_add(1)?;
        self.block
            .with(|bytes| Some((format.hash(bytes, at)?, format.step(bytes, at)?)))
    }

    fn is_full(&self) -> bool {
        let format = self.block.format();
        self.block.with(|bytes| format.is_full(bytes))
    }
}

/// Most levels of nodes below the root.
const NODES: usize = LEVELS - 1;

/// The way from the root to a leaf.
pub(super) struct IndexPath<S: Store> {
    root: Frame<S>,
    /// The nodes below the root, from there on: those that there are come first.
    nodes: [Option<Frame<S>>; NODES],
    /// Leaves that may still be visited: a tree has no more than the directory has blocks.
    left: u32,
    /// The next leaf does not begin with a hash below this.
    low: u32,
    pub(super) hasher: NameHasher,
}

/// Where [`IndexPath::next`] came to.
pub(super) enum Next {
    /// The leaf was the last.
    End,
    /// At the leaf that begins with this hash; not moved there, as it was not wanted.
    Unwanted(u32),
    /// Now at the next leaf.
    Moved,
}

impl<S: Store> IndexPath<S> {
    /// The way to the leaf for the hash that `hash` gives.
    pub(super) fn find(
        dir: &impl Directory<S>,
        hash: impl FnOnce(&NameHasher) -> u32,
    ) -> Result<Self> {
        let block = read_index(dir, LogicalBlock::ZERO)?;
        let format = *block.format();
        let info = block
            .with(|bytes| format.info(bytes))
            .map_err(|flaw| bad_dir(dir, flaw))?;
        let hasher = dir.params().hasher(info.version);
        let hash = hash(&hasher);
        let root = Frame::enter(dir, block, hash)?;
        let mut path = Self {
            root,
            nodes: [const { None }; NODES],
            left: dir.blocks(),
            low: hash,
            hasher,
        };
        path.descend(dir, 0, info.indirect_levels.into(), hash)?;
        Ok(path)
    }

    /// Reads the nodes from level `from` on, up to `levels` of them, on the way to `hash`. Level 0 is below the root.
    fn descend(
        &mut self,
        dir: &impl Directory<S>,
        from: usize,
        levels: usize,
        hash: u32,
    ) -> Result {
        for level in from..levels {
            let step = self.frame(level).map(|above| above.step);
            let step = step.ok_or_else(|| bad_dir(dir, Flaw::IndexChanged))?;
            let node = Frame::read(dir, child(dir, step)?, hash)?;
            if let Some(slot) = self.nodes.get_mut(level) {
                *slot = Some(node);
            }
        }
        Ok(())
    }

    /// How many index blocks there are on the way.
    fn levels(&self) -> usize {
        self.nodes.iter().flatten().count().saturating_add(1)
    }

    /// Index block number `n` on the way, of which the root is number 0.
    fn frame(&self, n: usize) -> Option<&Frame<S>> {
        match n.checked_sub(1) {
            None => Some(&self.root),
            Some(n) => self.nodes.get(n)?.as_ref(),
        }
    }

    fn frame_mut(&mut self, n: usize) -> Option<&mut Frame<S>> {
        match n.checked_sub(1) {
            None => Some(&mut self.root),
            Some(n) => self.nodes.get_mut(n)?.as_mut(),
        }
    }

    /// The index block above the leaf.
    fn parent(&self) -> &Frame<S> {
        let last = self.nodes.iter().flatten().last();
        last.unwrap_or(&self.root)
    }

    /// The leaf.
    pub(super) fn leaf(&self, dir: &impl Directory<S>) -> Result<LogicalBlock> {
        child(dir, self.parent().step)
    }

    /// Asks for the leaf and those behind it under the same index block, if the leaf is not in memory.
    pub(super) fn read_ahead(&self, dir: &impl Directory<S>) {
        let parent = self.parent();
        let index = parent.block.format();
        for n in 0..READAHEAD {
            let at = parent.step.at.saturating_add(n as usize);
            let step = parent.block.with(|bytes| index.step(bytes, at));
            let Some(step) = step.filter(|step| step.block.get() < dir.blocks()) else {
                return;
            };
            let Ok((Some(nr), _)) = dir.run(step.block) else {
                return;
            };
            let format = leaf_format(dir, false);
            if n == 0 && dir.store().read_cached(nr, format).is_some() {
                return;
            }
            dir.store().readahead(nr, 1);
        }
    }

    /// Goes on to the next leaf if it is wanted: `want` gets the hash that it begins with, bit 0 of which says
    /// that the leaf before has names of that hash too.
    pub(super) fn next(
        &mut self,
        dir: &impl Directory<S>,
        want: impl FnOnce(u32) -> bool,
    ) -> Result<Next> {
        // Each block is in order by itself. That they are so together is seen here: one that leads back would never
        // let a listing end.
        let low = self.low;
        let wanted = |hash| match hash < low {
            true => Err(bad_dir(dir, Flaw::IndexLeafOrder { hash })),
            false => Ok(want(hash)),
        };
        // The lowest index block that has one more entry.
        let levels = self.levels();
        let further = (0..levels)
            .rev()
            .find_map(|n| Some((n, self.frame(n)?.peek()?)));
        let Some((n, (hash, step))) = further else {
            return Ok(Next::End);
        };
        if !wanted(hash)? {
            return Ok(Next::Unwanted(hash));
        }
        self.low = hash;
        if let Some(frame) = self.frame_mut(n) {
            frame.step = step;
        }
        // No hash is below 0: this follows the first entries.
        self.descend(dir, n, levels.saturating_sub(1), 0)?;
        self.left = match self.left.checked_sub(1) {
            Some(left) => left,
            None => return Err(bad_dir(dir, Flaw::IndexLeaves)),
        };
        Ok(Next::Moved)
    }
}

/// The block below an entry, which is not the root.
fn child<S: Store>(dir: &impl Directory<S>, step: IndexEntry) -> Result<LogicalBlock> {
    match step.block {
        LogicalBlock::ZERO => Err(bad_dir(dir, Flaw::IndexLoop)),
        block => Ok(block),
    }
}

/// A leaf, and where in it a name was found.
pub(super) type Located<S> = (Block<S, DirLeafFormat>, FoundName);

/// Looks for `name`.
pub(super) fn find<S: Store>(
    dir: &impl Directory<S>,
    name: &[u8],
) -> Result<Option<Located<S>>, Fault> {
    let mut hash = 0;
    let path = IndexPath::find(dir, |hasher| {
        hash = hasher.hash(name).major;
        hash
    });
    let mut path = path.map_err(Fault::in_index)?;
    loop {
        let at = path.leaf(dir).map_err(Fault::in_index)?;
        let block = need_leaf(dir, at, false)?;
        let format = *block.format();
        match block.with(|bytes| leaf::find(&format, bytes, name)) {
            Ok(Some(found)) => return Ok(Some((block, found))),
            Ok(None) => {}
            Err(flaw) => return Err(bad_leaf(dir, &block, flaw).into()),
        }
        match path.next(dir, |start| start & !1 == hash) {
            Ok(Next::Moved) => {}
            Ok(_) => return Ok(None),
            Err(error) => return Err(Fault::in_index(error)),
        }
    }
}

/// Inserts a name that is not there.
pub(super) fn insert<S: Store, D: Directory<S>>(
    dir: &mut D,
    tx: &mut S::Tx<'_>,
    new: NewEntry<'_>,
) -> Result<(), Fault> {
    // Each round but the last makes room for an entry in one index block more.
    for _ in 0..=LEVELS {
        let path = IndexPath::find(dir, |hasher| hasher.hash(new.name).major);
        let path = path.map_err(Fault::in_index)?;
        let at = path.leaf(dir).map_err(Fault::in_index)?;
        let block = need_leaf(dir, at, false)?;
        let format = *block.format();
        match block.with(|bytes| leaf::room(&format, bytes, new.name)) {
            Ok(RoomSearch::At(slot)) => {
                let put = tx.edit(&block, |bytes| leaf::insert_at(bytes, slot, &new))?;
                return put.ok_or_else(|| super::changed(dir).into());
            }
            Ok(RoomSearch::Exists) => return Err(EEXIST.into()),
            Ok(RoomSearch::Full) => {}
            Err(flaw) => return Err(bad_leaf(dir, &block, flaw).into()),
        }
        if !path.parent().is_full() {
            return Ok(divide_leaf(dir, tx, &path, &block, new)?);
        }
        make_room(dir, tx, &path)?;
    }
    Err(bad_dir(dir, Flaw::IndexChanged).into())
}

/// A copy of a block, for what takes longer than a buffer may be locked.
pub(super) fn copy_of<S: Store, F: crate::disk::Format>(block: &Block<S, F>) -> Result<KVec<u8>> {
    let len = block.with(|bytes| bytes.len());
    let mut copy = KVec::with_capacity(len, GFP_KERNEL)?;
    // Does not allocate.
    block.with(|bytes| copy.extend_from_slice(bytes, GFP_KERNEL))?;
    Ok(copy)
}

/// Inserts a name into a full leaf by dividing it.
///
/// Also where the leaf is only full of gaps: packing such leaves instead was tried, and a directory whose names
/// come and go grows as much (300 names replaced 40 times: 71 to 74 blocks of 1 KiB).
fn divide_leaf<S: Store, D: Directory<S>>(
    dir: &mut D,
    tx: &mut S::Tx<'_>,
    path: &IndexPath<S>,
    block: &Block<S, DirLeafFormat>,
    new: NewEntry<'_>,
) -> Result {
    let format = *block.format();
    let old = copy_of(block)?;
    let sorted = match Sorted::new(format, &old, new, &path.hasher) {
        Ok(sorted) => sorted,
        Err(SortError::Memory(error)) => return Err(error),
        Err(SortError::Bad(flaw)) => return Err(bad_leaf(dir, block, flaw)),
    };
    let mut lower = KVec::from_elem(0, old.len(), GFP_KERNEL)?;
    let mut upper = KVec::from_elem(0, old.len(), GFP_KERNEL)?;
    let Some(division) = sorted.divide() else {
        return Err(bad_dir(dir, Flaw::IndexLeafFull));
    };
    sorted
        .write_divided(&division, &mut lower, &mut upper)
        .ok_or_else(|| {
            dir.store()
                .bug(dir.ino(), "records that were read cannot be written")
        })?;
    let (at, nr) = dir.append(tx)?;
    tx.create(nr, format, |bytes| copy(bytes, &upper))?;
    tx.edit(block, |bytes| copy(bytes, &lower))?;
    add_child(dir, tx, path.parent(), division.hash, at)
}

/// Adds an entry to an index block that is not full, behind the one that was followed.
fn add_child<S: Store, D: Directory<S>>(
    dir: &D,
    tx: &mut S::Tx<'_>,
    frame: &Frame<S>,
    hash: u32,
    at: LogicalBlock,
) -> Result {
    let format = *frame.block.format();
    let behind = frame.step.at;
    tx.edit(&frame.block, |bytes| {
        format.insert_after(bytes, behind, hash, at)
    })?
    .ok_or_else(|| bad_dir(dir, Flaw::IndexChanged))
}

/// Makes room for an entry above the leaf: divides a full node below one that is not, or moves the root's entries to a
/// new one.
///
/// # Errors
///
/// `ENOSPC` where the tree is as large as it gets, or no block is free.
fn make_room<S: Store, D: Directory<S>>(
    dir: &mut D,
    tx: &mut S::Tx<'_>,
    path: &IndexPath<S>,
) -> Result {
    let levels = path.levels();
    let with_room = (0..levels)
        .rev()
        .find_map(|n| Some((n, path.frame(n).filter(|frame| !frame.is_full())?)));
    match with_room {
        Some((n, above)) => {
            let node = path.frame(n.saturating_add(1));
            let node = node.ok_or_else(|| bad_dir(dir, Flaw::IndexChanged))?;
            divide_node(dir, tx, above, node)
        }
        None if levels >= dir.params().levels => Err(ENOSPC),
        None => deepen(dir, tx, &path.root, levels),
    }
}

/// What a new node gets of another index block: its entries from `from` on.
fn entries_of<S: Store>(
    dir: &impl Directory<S>,
    frame: &Frame<S>,
    from: usize,
) -> Result<KVec<u8>> {
    let mut entries = KVec::with_capacity(dir.params().block_size.bytes() as usize, GFP_KERNEL)?;
    let format = frame.block.format();
    // Within the capacity: does not allocate.
    let taken = frame.block.with(|bytes| {
        let moved = format.entries(bytes, from)?;
        entries.extend_from_slice(moved, GFP_KERNEL).ok()
    });
    taken.ok_or_else(|| bad_dir(dir, Flaw::IndexChanged))?;
    Ok(entries)
}

/// Makes a node of these entries.
fn make_node<S: Store, D: Directory<S>>(
    dir: &mut D,
    tx: &mut S::Tx<'_>,
    entries: &[u8],
) -> Result<LogicalBlock> {
    let format = dx_format(dir, IndexPart::Node);
    let (at, nr) = dir.append(tx)?;
    tx.create(nr, format, |bytes| format.make_node(bytes, entries))?
        .1
        .ok_or_else(|| bad_dir(dir, Flaw::IndexChanged))?;
    Ok(at)
}

/// Moves the root's entries to a new node below it, of `levels` levels that there are.
fn deepen<S: Store, D: Directory<S>>(
    dir: &mut D,
    tx: &mut S::Tx<'_>,
    root: &Frame<S>,
    levels: usize,
) -> Result {
    let format = *root.block.format();
    let entries = entries_of(dir, root, 0)?;
    let at = make_node(dir, tx, &entries)?;
    tx.edit(&root.block, |bytes| {
        format.become_parent_of(bytes, at)?;
        format.set_indirect_levels(bytes, u8::try_from(levels).ok()?)
    })?
    .ok_or_else(|| bad_dir(dir, Flaw::IndexChanged))
}

/// Moves the upper half of a node to a new one behind it, below `above`, which is not full.
fn divide_node<S: Store, D: Directory<S>>(
    dir: &mut D,
    tx: &mut S::Tx<'_>,
    above: &Frame<S>,
    node: &Frame<S>,
) -> Result {
    let format = *node.block.format();
    let half = node.step.count / 2;
    let hash = node.block.with(|bytes| format.hash(bytes, half));
    let hash = hash.ok_or_else(|| bad_dir(dir, Flaw::IndexChanged))?;
    let entries = entries_of(dir, node, half)?;
    let at = make_node(dir, tx, &entries)?;
    tx.edit(&node.block, |bytes| format.set_count(bytes, half))?
        .ok_or_else(|| bad_dir(dir, Flaw::IndexChanged))?;
    add_child(dir, tx, above, hash, at)
}

/// Makes a linear directory of one block a hashed one with one leaf, which gets the names.
pub(super) fn convert<S: Store, D: Directory<S>>(
    dir: &mut D,
    tx: &mut S::Tx<'_>,
    block: &Block<S, DirLeafFormat>,
    version: HashVersion,
) -> Result {
    let old = copy_of(block)?;
    let mut names = KVec::from_elem(0, old.len(), GFP_KERNEL)?;
    let params = dir.params();
    let format = leaf_format(dir, false);
    let moved = |names: &mut [u8]| -> Result<Dots, Flaw> {
        let dots = Dots::find(&old, dir.ino(), params.inodes_count)?;
        leaf::move_behind_dots(&format, &old, dots.end, names)?;
        Ok(dots)
    };
    let dots = moved(&mut names).map_err(|flaw| bad_leaf(dir, block, flaw))?;

    let (at, nr) = dir.append(tx)?;
    tx.create(nr, format, |bytes| copy(bytes, &names))?;
    let root_format = dx_format(dir, IndexPart::Root);
    let file_type = params.file_type(Some(FileType::Directory));
    let ino = dir.ino();
    tx.edit(&block.retyped(root_format), |bytes| {
        root_format.make_root(bytes, ino, dots.parent, file_type, version, at)
    })?
    .ok_or_else(|| {
        dir.store().bug(
            dir.ino(),
            "the root of a directory index does not fit into a block",
        )
    })?;
    dir.set_indexed(true);
    Ok(())
}
