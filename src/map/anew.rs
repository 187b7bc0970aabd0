// SPDX-License-Identifier: GPL-2.0

//! A tree that is built anew, for what moves in the file where the journal cannot hold all nodes that would change.
//!
//! The nodes go to blocks that are chosen for them, past the journal: they are free on the device, so nobody sees them
//! there, and a crash leaves no trace of them. When all are there, one transaction marks them as used, gives the inode
//! the new root, and frees the nodes of the old tree ([`FileMap::take`]). What that transaction changes does not depend
//! on the number of extents, but on how many groups of the device have nodes in them: so the new ones are chosen side
//! by side. A tree is packed as it is built, so the new one has fewer nodes than the old one, as a rule.
//!
//! # Crash safety
//!
//! Nobody else writes to the blocks of new nodes. A freed block can be chosen when the transaction that freed it has
//! committed (`space`). If it was metadata, that transaction has revoked it, so no replay writes it again, and the
//! journal has forgotten it, so no checkpoint does. The commit of the transaction that has the new root makes the
//! device write out its cache first, with all nodes that were waited for, as it does for data.
//!
//! # Locks
//!
//! The inode's map lock, exclusively. While the tree is built the device is waited for with it, and no handle is held:
//! it is given up between that and [`FileMap::take`], which finds out whether the tree has changed.

use super::need::{self, Shape};
use super::shift::Shift;
use super::tree::{Tree, TreePath};
use super::FileMap;
use crate::disk::extent::{
    Extent, ExtentNode, ExtentNodeFormat, ExtentNodeMut, Index, RawEntry, MAX_DEPTH, ROOT_BYTES,
    ROOT_ENTRIES,
};
use crate::disk::{Format, LogicalBlock, PhysBlock};
use crate::sort;
use crate::space::{Claim, Goal, Run, Share};
use crate::store::{About, Block, Credits, Rule, Store, Transaction};
use crate::volume::Volume;
use core::ops::Range;
use kernel::alloc::{KVVec, KVec};
use kernel::error::{code::*, Error, Result};
use kernel::prelude::*;

/// Nodes that are on their way to the device at once.
const UNDER_WAY: usize = 32;

/// Blocks that are chosen and in no map, given back when this is dropped.
struct Chosen<'a, S: Store> {
    vol: &'a Volume<S>,
    runs: KVVec<Run>,
}

impl<'a, S: Store> Chosen<'a, S> {
    /// Chooses `count` blocks, in as few runs as there are.
    fn new(vol: &'a Volume<S>, count: u32, goal: Goal, share: Share) -> Result<Self> {
        let mut this = Self {
            vol,
            runs: KVVec::new(),
        };
        let mut left = count;
        while left > 0 {
            this.runs.reserve(1, GFP_KERNEL)?;
            let run = vol
                .space
                .choose(&vol.store, goal, left, Claim::Free(share))?;
            left = left.saturating_sub(run.len);
            this.runs.push_within_capacity(run)?;
        }
        Ok(this)
    }

    /// Marks all of them as used. Where that fails, none is.
    fn mark_used(&mut self, tx: &mut S::Tx<'_>) -> Result {
        let Self { vol, runs } = self;
        for (i, run) in runs.iter().enumerate() {
            let Err(error) = vol.space.mark_used(&vol.store, tx, *run) else {
                continue;
            };
            // With a bitmap that is bad they are lost until the next check, and that was reported.
            let mut nr = 0;
            runs.retain(|run| {
                let marked = nr < i;
                nr = nr.saturating_add(1);
                !marked || vol.space.unmark(&vol.store, tx, *run).is_ok()
            });
            return Err(error);
        }
        // They are the file's from now on.
        runs.clear();
        Ok(())
    }
}

impl<S: Store> Drop for Chosen<'_, S> {
    fn drop(&mut self) {
        for run in self.runs.iter() {
            self.vol.space.unchoose(*run);
        }
    }
}

/// A tree that was built, and is nobody's yet. Its blocks are given back when it is dropped.
pub struct NewTree<'a, S: Store> {
    chosen: Chosen<'a, S>,
    root: [u8; ROOT_BYTES],
    shape: Shape,
    /// How many nodes it has.
    nodes: u32,
    /// The nodes of the tree that it is to take the place of, in the order of their places.
    old: KVVec<Run>,
    /// The map's sequence number then.
    seq: u32,
    credits: Credits,
    /// From where on the file has other blocks.
    from: LogicalBlock,
    /// Where the blocks are that are to be freed.
    gone: Range<LogicalBlock>,
}

impl<S: Store> NewTree<'_, S> {
    /// What [`FileMap::take`] costs, without the inode.
    pub fn credits(&self) -> Credits {
        self.credits
    }
}

/// Joins extents that come one after the other, as far as they can be one.
struct Joiner {
    last: Option<Extent>,
}

impl Joiner {
    /// Takes an extent, and gives the one before if that is whole.
    fn push(&mut self, extent: Extent) -> Option<Extent> {
        if let Some(last) = &mut self.last {
            let len = last.len.saturating_add(extent.len);
            if last.continued_by(&extent) && len <= last.max_len() {
                last.len = len;
                return None;
            }
        }
        self.last.replace(extent)
    }
}

/// Puts the nodes of a new tree down, from the left to the right, and of each level only one at a time.
struct Writer<'a, S: Store> {
    vol: &'a Volume<S>,
    format: ExtentNodeFormat,
    /// Entries of the node that is not full yet, for each level; the last is the root.
    levels: KVec<KVec<RawEntry>>,
    /// The blocks that are left.
    blocks: &'a mut dyn Iterator<Item = PhysBlock>,
    under_way: KVec<Block<S, ExtentNodeFormat>>,
}

impl<'a, S: Store> Writer<'a, S> {
    fn new(
        vol: &'a Volume<S>,
        tree: &Tree,
        shape: Shape,
        blocks: &'a mut dyn Iterator<Item = PhysBlock>,
    ) -> Result<Self> {
        let mut levels = KVec::new();
        for level in 0..=shape.depth {
            let room = match level == shape.depth {
                true => ROOT_ENTRIES,
                false => shape.per_node,
            };
            levels.push(KVec::with_capacity(room.into(), GFP_KERNEL)?, GFP_KERNEL)?;
        }
        Ok(Self {
            vol,
            format: tree.format(vol),
            levels,
            blocks,
            under_way: KVec::with_capacity(UNDER_WAY, GFP_KERNEL)?,
        })
    }

    /// Reports that the tree is not as it was counted.
    #[cold]
    fn miscounted(&self) -> Error {
        let ino = self.format.owner();
        let about = ino.map_or(About::NONE, About::from);
        self.vol
            .store
            .bug(about, "an extent tree that is built anew was miscounted")
    }

    /// Adds an entry to level `from`; nodes that are full by then go to the device, and are entries of those above.
    fn push(&mut self, from: usize, entry: RawEntry) -> Result {
        let mut entry = entry;
        let top = self.levels.len().saturating_sub(1);
        for level in from..=top {
            let is_full = level < top
                && self
                    .levels
                    .get(level)
                    .is_some_and(|node| node.len() == usize::from(self.format.entries_per_block()));
            let above = match is_full {
                true => Some(self.write(level)?),
                false => None,
            };
            let node = self.levels.get_mut(level);
            let put = node.is_some_and(|node| node.push_within_capacity(entry).is_ok());
            if !put {
                return Err(self.miscounted());
            }
            match above {
                Some(index) => entry = index.into(),
                None => return Ok(()),
            }
        }
        Err(self.miscounted())
    }

    /// Starts writing the node of a level. Returns what leads to it.
    fn write(&mut self, level: usize) -> Result<Index> {
        if self.under_way.len() == UNDER_WAY {
            self.wait()?;
        }
        let entries = self.levels.get_mut(level);
        let (Some(entries), Some(child)) = (entries, self.blocks.next()) else {
            return Err(self.miscounted());
        };
        let depth = level as u16;
        let (block, start) = self.vol.store.write_new(child, self.format, |bytes| {
            ExtentNodeMut::init(bytes, depth)?.splice(0, 0, entries)?;
            ExtentNode::parse(bytes).ok()?.first_key()
        })?;
        entries.clear();
        self.under_way.push_within_capacity(block)?;
        match start {
            Some(start) => Ok(Index { start, child }),
            None => Err(self.miscounted()),
        }
    }

    /// Ends all nodes. Returns the root.
    fn finish(&mut self) -> Result<[u8; ROOT_BYTES]> {
        let top = self.levels.len().saturating_sub(1);
        for level in 0..top {
            if self.levels.get(level).is_some_and(|node| !node.is_empty()) {
                let index = self.write(level)?;
                self.push(level.saturating_add(1), index.into())?;
            }
        }
        let mut root = [0; ROOT_BYTES];
        let node = ExtentNodeMut::init(&mut root, top as u16);
        let done = node
            .zip(self.levels.get(top))
            .and_then(|(mut node, entries)| node.splice(0, 0, entries));
        match done {
            Some(()) if self.blocks.next().is_none() => Ok(root),
            _ => Err(self.miscounted()),
        }
    }

    /// Waits for all nodes that are under way.
    fn wait(&mut self) -> Result {
        if self.vol.store.breaks(Rule::NodesWritten) {
            self.under_way.clear();
            return Ok(());
        }
        let mut done = Ok(());
        while let Some(block) = self.under_way.pop() {
            done = done.and(self.vol.store.wait_new(&block));
        }
        done
    }
}

/// The shape of a tree of `extents` extents whose nodes are all full but for the last of each level, and how many nodes
/// those are. `EFBIG` where there can be no such tree.
fn shape_of(extents: u64, per_node: u16) -> Result<(Shape, u32)> {
    let mut shape = Shape {
        depth: 0,
        root: 0,
        per_node,
    };
    let (mut level, mut nodes) = (extents, 0_u64);
    while level > u64::from(ROOT_ENTRIES) {
        if shape.depth >= MAX_DEPTH {
            return Err(EFBIG);
        }
        level = level.div_ceil(u64::from(per_node).max(2));
        nodes = nodes.saturating_add(level);
        shape.depth = shape.depth.saturating_add(1);
    }
    shape.root = u16::try_from(level).unwrap_or(ROOT_ENTRIES);
    Ok((shape, u32::try_from(nodes).map_err(|_| EFBIG)?))
}

impl Tree {
    /// Gives `f` the ways to all leaves from `from` on, in order.
    pub(super) fn each_leaf<S: Store>(
        &self,
        vol: &Volume<S>,
        from: LogicalBlock,
        mut f: impl FnMut(&TreePath<S>) -> Result<bool>,
    ) -> Result {
        let mut path = TreePath::new();
        let mut at = from;
        while at < LogicalBlock::LIMIT {
            self.find(vol, at, true, &mut path)?;
            if !f(&path)? {
                break;
            }
            at = path.leaf().to;
        }
        Ok(())
    }

    /// Gives `f` all extents in `range`, in order and cut to it.
    fn each_extent<S: Store>(
        &self,
        vol: &Volume<S>,
        range: &Range<LogicalBlock>,
        mut f: impl FnMut(Extent) -> Result,
    ) -> Result {
        self.each_leaf(vol, range.start, |path| {
            let leaf = path.leaf();
            for slot in leaf.slot()..leaf.len {
                let extent = self.with_node(vol, path, path.depth(), |node| node.extent(slot))?;
                match extent {
                    Some(extent) if extent.start >= range.end => return Ok(false),
                    Some(extent) if extent.end() > range.start => {
                        f(extent.clip(range.start, range.end))?
                    }
                    _ => {}
                }
            }
            Ok(leaf.to < range.end)
        })
    }

    /// The blocks of all nodes, in the order of their places.
    fn nodes<S: Store>(&self, vol: &Volume<S>) -> Result<KVVec<Run>> {
        let mut nodes = KVVec::new();
        let mut way = NodesOnWay::new();
        self.each_leaf(vol, LogicalBlock::ZERO, |path| {
            way.each_new(path, |start| {
                Ok(nodes.push(Run { start, len: 1 }, GFP_KERNEL)?)
            })?;
            Ok(true)
        })?;
        in_order(&mut nodes)?;
        Ok(nodes)
    }
}

/// The nodes on the way to a leaf, of ways that are looked at in their order: nodes that are on several come once.
pub(super) struct NodesOnWay {
    levels: [Option<PhysBlock>; MAX_DEPTH as usize],
}

impl NodesOnWay {
    pub(super) fn new() -> Self {
        Self {
            levels: [None; MAX_DEPTH as usize],
        }
    }

    /// Gives `f` the nodes that were not on the way before.
    pub(super) fn each_new<S: Store>(
        &mut self,
        path: &TreePath<S>,
        mut f: impl FnMut(PhysBlock) -> Result,
    ) -> Result {
        for (i, last) in self.levels.iter_mut().enumerate() {
            let nr = path.block(i.saturating_add(1)).map(|block| block.nr());
            if let Some(nr) = nr.filter(|nr| *last != Some(*nr)) {
                f(nr)?;
                *last = Some(nr);
            }
        }
        Ok(())
    }
}

/// Puts runs in the order of their places.
pub(super) fn in_order(runs: &mut KVVec<Run>) -> Result {
    let mut other = KVVec::with_capacity(runs.len(), GFP_KERNEL)?;
    other.extend_from_slice(runs, GFP_KERNEL)?;
    if sort::merge_sort(runs, &mut other, |a, b| a.start < b.start) {
        core::mem::swap(runs, &mut other);
    }
    Ok(())
}

impl FileMap {
    /// Builds the tree that the file is to have when `shift` has been done, on the device, in blocks that are chosen
    /// beginning with `goal`, which names no block.
    ///
    /// The caller has done what it has to do for [`FileMap::shift`], and holds no handle.
    ///
    /// # Errors
    ///
    /// Nothing has changed then: `ENOSPC` where there are no blocks for the nodes; `EFBIG` where the tree would be too
    /// high; `EINVAL` as for [`FileMap::shift`]; `EIO`, `ENOMEM`, those of [`Store::check_writable`] and
    /// [`Store::write_new`]; `EUCLEAN`, reported.
    pub fn build<'a, S: Store>(
        &mut self,
        vol: &'a Volume<S>,
        shift: &Shift,
        goal: Goal,
    ) -> Result<NewTree<'a, S>> {
        let from = shift.from();
        self.check_shift(vol, shift)?;
        self.cancel(vol, from, LogicalBlock::LIMIT);
        self.release_window(vol);
        let gone = self.gone(vol, shift)?;
        let parts = shift.parts(&gone);
        // What it is to have, each time anew: a tree may be larger than memory.
        let tree = &self.tree;
        let each = |f: &mut dyn FnMut(Extent) -> Result| {
            let mut joiner = Joiner { last: None };
            for (part, to) in &parts {
                tree.each_extent(vol, part, |extent| {
                    let start =
                        to.saturating_add(extent.start.saturating_distance_from(part.start));
                    joiner
                        .push(Extent { start, ..extent })
                        .map_or(Ok(()), &mut *f)
                })?;
            }
            joiner.last.map_or(Ok(()), f)
        };
        let mut extents = 0_u64;
        each(&mut |_| {
            extents = extents.saturating_add(1);
            Ok(())
        })?;
        let (shape, nodes) = shape_of(extents, tree.format(vol).entries_per_block())?;
        let old = tree.nodes(vol)?;
        let chosen = vol.with_reserves(|share| Chosen::new(vol, nodes, goal, share))?;
        // After an error nothing may get to the device.
        vol.store.check_writable()?;
        let mut blocks = chosen
            .runs
            .iter()
            .flat_map(|run| (0..run.len).filter_map(|n| run.start.checked_add(n.into())));
        let mut writer = Writer::new(vol, tree, shape, &mut blocks)?;
        let written = each(&mut |extent| writer.push(0, extent.into()));
        let root = written.and_then(|()| writer.finish());
        // After an error, too: the blocks may be others' when they are given back.
        let waited = writer.wait();
        let (root, ()) = (root?, waited?);
        let mut all = KVVec::with_capacity(old.len(), GFP_KERNEL)?;
        all.extend_from_slice(&old, GFP_KERNEL)?;
        all.extend_from_slice(&chosen.runs, GFP_KERNEL)?;
        in_order(&mut all)?;
        let revokes = u32::try_from(old.len()).unwrap_or(u32::MAX);
        Ok(NewTree {
            chosen,
            root,
            shape,
            nodes,
            credits: vol.space.credits_runs(&all) + Credits::new(0, revokes),
            old,
            seq: self.seq,
            from,
            gone,
        })
    }

    /// Gives the file a tree that was built for it, and frees the nodes that it has. Returns what [`FileMap::shift`]
    /// does. `None`, and nothing has changed, where the tree was built for a file that was another.
    ///
    /// The caller has credits for it in `tx`, and writes the inode in the same handle, after an error too.
    ///
    /// # Errors
    ///
    /// Nothing has changed then: `ENOSPC` where writes that are outstanding need nodes, and there are none; `ENOMEM`;
    /// errors of the journal and of bitmaps. That old nodes cannot be freed is reported, and is no error: they are lost
    /// until the next check.
    pub fn take<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        mut new: NewTree<'_, S>,
    ) -> Result<Option<Range<LogicalBlock>>> {
        if self.seq != new.seq {
            return Ok(None);
        }
        let done = self.take_unchanged(vol, tx, &mut new);
        self.release_spare_nodes(vol);
        done.map(|()| Some(new.gone.clone()))
    }

    fn take_unchanged<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        new: &mut NewTree<'_, S>,
    ) -> Result {
        // What is before the place and outstanding may need more of a tree whose nodes are full.
        self.raise(vol, need::nodes(new.shape, self.load()), Share::All)?;
        self.cache.forget(new.from, LogicalBlock::LIMIT)?;
        new.chosen.mark_used(tx)?;
        let per_block = vol.layout.block_size().sectors();
        let sectors = |blocks: u64| blocks.saturating_mul(per_block);
        let tree = &mut self.tree;
        tree.root = new.root;
        tree.root_checked = false;
        tree.may_collapse = true;
        tree.sectors = tree.sectors.saturating_add(sectors(new.nodes.into()));
        tree.sectors = tree.sectors.saturating_sub(sectors(new.old.len() as u64));
        self.changed(None);
        for run in new.old.iter() {
            // Without a journal it does not matter.
            if tx.forget(run.start).is_ok() {
                let _ = vol.space.free(&vol.store, tx, *run);
            }
        }
        Ok(())
    }
}
