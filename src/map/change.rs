// SPDX-License-Identifier: GPL-2.0

//! Changes of the extent tree.
//!
//! All changes of leaves are one operation: some entries next to each other are replaced by others
//! (`plan.rs`). Where the leaf has no room, nodes are split before, from the top down, so that the tree is valid
//! between any two edits. The blocks of new nodes are marked used before the first edit: what can fail for
//! lack of space or a bad bitmap fails while nothing has changed.
//!
//! An edit of a block that the journal refuses is the end of the journal (`Transaction::edit`), so there is
//! nothing to undo on disk after the first edit.

use super::plan::{LeafPlan, TreeChange};
use super::tree::{Tree, TreePath};
use crate::disk::extent::{
    Extent, ExtentNode, ExtentNodeMut, Index, RawEntry, MAX_DEPTH, ROOT_BYTES, ROOT_ENTRIES,
};
use crate::disk::{Flaw, LogicalBlock, PhysBlock};
use crate::space::{Claim, Goal, Run};
use crate::store::{Store, Transaction};
use crate::volume::Volume;
use kernel::error::{code::*, Result};
use kernel::prelude::*;

/// Most nodes that one change can add: one a level, and one when the tree grows.
const MAX_NEW: usize = MAX_DEPTH as usize + 1;

/// What a change costs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// New nodes.
    pub(super) nodes: u32,
    /// Blocks of nodes that are changed or made.
    pub(super) edits: u32,
    /// Whether the tree gets a node, or its root an entry: outstanding writes may need more nodes then.
    pub(super) reshapes: bool,
}

/// Where a change takes place and what it does there: [`Tree::seek`] finds the one, [`Tree::cost`] both, and
/// [`Tree::apply`] uses them. Nothing else may change the tree meanwhile. It is large, and made in place.
pub(super) struct Way<S: Store> {
    path: TreePath<S>,
    /// To which file block `path` leads, if to any.
    at: Option<LogicalBlock>,
    plan: LeafPlan,
}

impl<S: Store> Way<S> {
    /// To be filled.
    pub(super) fn new() -> Self {
        Self {
            path: TreePath::new(),
            at: None,
            plan: LeafPlan::new(),
        }
    }

    /// Whether the leaf has an entry before the last one that starts where [`Tree::seek`] has looked, or before.
    pub(super) fn has_before(&self) -> bool {
        self.path.leaf().pos.is_some_and(|pos| pos > 0)
    }
}

/// Blocks for new nodes, marked used, not in the tree yet.
pub(super) struct NewNodes {
    blocks: [Option<PhysBlock>; MAX_NEW],
    /// How many blocks the pool had before.
    pool: u32,
    /// For what moves from one node to another.
    moved: KVec<RawEntry>,
}

impl NewNodes {
    pub(super) fn none() -> Self {
        Self {
            blocks: [None; MAX_NEW],
            pool: 0,
            moved: KVec::new(),
        }
    }

    fn next_block(&mut self) -> Option<PhysBlock> {
        self.blocks.iter_mut().find_map(Option::take)
    }
}

/// Gives back a block that was chosen for a node; the pool keeps it where it has less than `before`.
fn unchoose<S: Store>(vol: &Volume<S>, run: Run, pool: &mut u32, before: u32) {
    if *pool < before {
        *pool = pool.saturating_add(vol.space.unchoose_reserved(run));
    } else {
        vol.space.unchoose(run);
    }
}

impl Tree {
    /// What `change` would cost now.
    ///
    /// # Errors
    ///
    /// As [`Tree::find`]; `EFBIG` where the tree cannot get higher.
    pub(super) fn cost<S: Store>(
        &self,
        vol: &Volume<S>,
        change: &TreeChange,
        way: &mut Way<S>,
    ) -> Result<Cost> {
        self.plan(vol, change, way)?;
        let depth = way.path.depth() as u32;
        let growth = way.plan.growth();
        let nodes = self.new_nodes(&way.path, growth)?;
        // The nodes on the way are changed by a split below them, or by a new first key.
        let edits = depth.saturating_add(nodes);
        let reshapes = nodes > 0 || (depth == 0 && growth > 0);
        Ok(Cost {
            nodes,
            edits,
            reshapes,
        })
    }

    /// Finds the way to `at`, for a change that starts there. Returns the last extent that starts there or before.
    ///
    /// # Errors
    ///
    /// As [`Tree::find`].
    #[inline(always)]
    pub(super) fn seek<S: Store>(
        &self,
        vol: &Volume<S>,
        at: LogicalBlock,
        way: &mut Way<S>,
    ) -> Result<Option<Extent>> {
        way.at = None;
        self.find(vol, at, true, &mut way.path)?;
        way.at = Some(at);
        let path = &way.path;
        match path.leaf().pos {
            Some(pos) => self.with_node(vol, path, path.depth(), |node| node.extent(pos)),
            None => Ok(None),
        }
    }

    /// What `change` does to the leaf, to which `way` leads then.
    fn plan<S: Store>(&self, vol: &Volume<S>, change: &TreeChange, way: &mut Way<S>) -> Result {
        if way.at != Some(change.start()) {
            self.find(vol, change.start(), true, &mut way.path)?;
            way.at = Some(change.start());
        }
        let (path, plan) = (&way.path, &mut way.plan);
        let at = path.leaf().pos;
        self.with_node(vol, path, path.depth(), |node| plan.make(node, at, change))?
            .map_err(|flaw| self.flawed(vol, flaw))
    }

    /// How many nodes must be added before the leaf of `path` takes `growth` more entries.
    fn new_nodes<S: Store>(&self, path: &TreePath<S>, growth: usize) -> Result<u32> {
        let mut need = growth;
        let mut nodes: u32 = 0;
        for i in (0..=path.depth()).rev() {
            if path.step(i).is_some_and(|step| step.room >= need) {
                return Ok(nodes);
            }
            nodes = nodes.saturating_add(1);
            need = 1;
        }
        // The root is full too: the last one counted is the node that takes its entries.
        if path.depth() >= usize::from(MAX_DEPTH) {
            return Err(EFBIG);
        }
        Ok(nodes)
    }

    /// Chooses and marks used the blocks of `count` new nodes, of the `pool` reserved ones first and then as `beyond`
    /// says.
    ///
    /// # Errors
    ///
    /// `ENOSPC`, `EIO`, `EUCLEAN`, `ENOMEM`: nothing is taken then, and the pool is as it was.
    pub(super) fn alloc_nodes<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        count: u32,
        goal: Goal,
        pool: &mut u32,
        beyond: Claim,
    ) -> Result<NewNodes> {
        let mut nodes = NewNodes::none();
        // The larger half of a node. Allocated now: later it is too late to fail.
        let half = usize::from(self.format.entries_per_block() / 2).saturating_add(1);
        nodes.moved.reserve(half, GFP_KERNEL)?;
        nodes.pool = *pool;
        let mut goal = goal;
        let mut failed = None;
        for slot in nodes.blocks.iter_mut().take(count as usize) {
            let rest = pool.checked_sub(1);
            let claim = rest.map_or(beyond, |_| Claim::Reserved);
            match vol.space.choose(&vol.store, goal, 1, claim) {
                Ok(run) => {
                    *pool = rest.unwrap_or(0);
                    *slot = Some(run.start);
                    goal.near = run.start.checked_add(1);
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        for slot in &mut nodes.blocks {
            let Some(start) = *slot else { continue };
            let run = Run { start, len: 1 };
            if failed.is_none() {
                match vol.space.mark_used(&vol.store, tx, run) {
                    Ok(()) => {
                        self.sectors = self
                            .sectors
                            .saturating_add(vol.layout.block_size().sectors());
                        continue;
                    }
                    Err(error) => failed = Some(error),
                }
            }
            *slot = None;
            unchoose(vol, run, pool, nodes.pool);
        }
        let Some(error) = failed else {
            return Ok(nodes);
        };
        self.free_nodes(vol, tx, nodes, pool);
        Err(error)
    }

    /// Gives back nodes that were taken and not used, to the pool first.
    pub(super) fn free_nodes<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        mut nodes: NewNodes,
        pool: &mut u32,
    ) {
        while let Some(start) = nodes.next_block() {
            self.sectors = self
                .sectors
                .saturating_sub(vol.layout.block_size().sectors());
            let run = Run { start, len: 1 };
            // With a bitmap that is bad it is lost until the next check, and that was reported.
            if vol.space.unmark(&vol.store, tx, run).is_ok() {
                unchoose(vol, run, pool, nodes.pool);
            }
        }
    }

    /// Makes a change. `nodes` are at least as many as [`Tree::cost`] said, and `way` is what it found; the tree has
    /// not changed since. `dense` says that nodes may be left full where the file grows at its end, see
    /// [`Tree::split`].
    ///
    /// # Errors
    ///
    /// `EUCLEAN` for a tree that does not allow this change; nothing is changed then. `EIO`, and any error of
    /// the journal.
    pub(super) fn apply<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        change: &TreeChange,
        way: &mut Way<S>,
        nodes: &mut NewNodes,
        dense: bool,
    ) -> Result {
        // Each turn splits one node or grows the tree, so that fewer are in the way.
        for _ in 0..=MAX_NEW {
            if way.at.is_none() {
                self.plan(vol, change, way)?;
            }
            // It is used once, whatever comes of it.
            way.at = None;
            let path = &way.path;
            if self.new_nodes(path, way.plan.growth())? == 0 {
                return self.replace(vol, tx, path, &way.plan);
            }
            // The lowest full node below one that has room.
            let mut i = path.depth();
            while i > 0
                && path
                    .step(i.saturating_sub(1))
                    .is_some_and(|step| step.room == 0)
            {
                i = i.saturating_sub(1);
            }
            let Some(block) = nodes.next_block() else {
                return Err(vol
                    .store
                    .bug(self.ino, "more nodes are split than were counted"));
            };
            if i == 0 {
                self.grow(vol, tx, block)?;
            } else {
                let moved = &mut nodes.moved;
                self.split(vol, tx, path, i, block, moved, change.start(), dense)?;
            }
        }
        Err(vol
            .store
            .bug(self.ino, "splitting nodes of an extent tree makes no room"))
    }

    /// Replaces entries of the leaf, which has the room. The leaf does not become empty, unless it is the root.
    fn replace<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        path: &TreePath<S>,
        plan: &LeafPlan,
    ) -> Result {
        let new = plan.new.get();
        let Some(first) = new.first() else {
            return self.cut(vol, tx, path, plan.slot, plan.count);
        };
        self.may_collapse |= new.len() < plan.count;
        self.edit(vol, tx, path, path.depth(), |node| {
            node.splice(plan.slot, plan.count, new)
        })?;
        if plan.slot == 0 {
            self.set_first_key(vol, tx, path, path.depth(), first.start)?;
        }
        Ok(())
    }

    /// Takes `count` entries from `slot` on out of the leaf; if that empties it, out goes the leaf, and so on up.
    pub(super) fn cut<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        path: &TreePath<S>,
        slot: usize,
        count: usize,
    ) -> Result {
        let (mut slot, mut count) = (slot, count);
        let mut i = path.depth();
        self.may_collapse = true;
        while let Some(block) = path.block(i) {
            if path.step(i).is_none_or(|step| step.len > count) {
                break;
            }
            self.release(vol, tx, block.nr())?;
            i = i.saturating_sub(1);
            (slot, count) = (path.step(i).map_or(0, |step| step.slot()), 1);
        }
        self.edit(vol, tx, path, i, |node| {
            node.splice::<RawEntry>(slot, count, &[])
        })?;
        if i == 0 {
            let root = ExtentNodeMut::parse(&mut self.root);
            let mut root = root.ok_or_else(|| {
                vol.store
                    .bug(self.ino, "the root of an extent tree is not a node")
            })?;
            if path.step(0).is_some_and(|step| step.len == count) {
                root.set_depth(0);
                return Ok(());
            }
        }
        if slot == 0 {
            let key = self.with_node(vol, path, i, |node| node.first_key())?;
            if let Some(key) = key {
                self.set_first_key(vol, tx, path, i, key)?;
            }
        }
        Ok(())
    }

    /// Frees the block of a node.
    fn release<S: Store>(&mut self, vol: &Volume<S>, tx: &mut S::Tx<'_>, nr: PhysBlock) -> Result {
        self.sectors = self
            .sectors
            .saturating_sub(vol.layout.block_size().sectors());
        tx.forget(nr)?;
        vol.space.free(&vol.store, tx, Run { start: nr, len: 1 })
    }

    /// Node `i` of the path starts at `key` now: says so in the nodes above.
    pub(super) fn set_first_key<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        path: &TreePath<S>,
        i: usize,
        key: LogicalBlock,
    ) -> Result {
        for above in (0..i).rev() {
            let slot = path.step(above).map_or(0, |step| step.slot());
            let same = self.with_node(vol, path, above, |node| node.key(slot) == Some(key))?;
            if same {
                break;
            }
            self.edit(vol, tx, path, above, |node| {
                node.set_key(slot, key);
                Some(())
            })?;
            if slot != 0 {
                break;
            }
        }
        Ok(())
    }

    /// Changes node `i` of a path. `f` gives `None` where it does not find what it needs.
    pub(super) fn edit<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        path: &TreePath<S>,
        i: usize,
        f: impl FnOnce(&mut ExtentNodeMut<'_>) -> Option<()>,
    ) -> Result {
        let done = match path.block(i) {
            None => ExtentNodeMut::parse(&mut self.root).as_mut().and_then(f),
            Some(block) => tx.edit(block, |bytes| {
                ExtentNodeMut::parse(bytes).as_mut().and_then(f)
            })?,
        };
        done.ok_or_else(|| self.flawed(vol, Flaw::ExtentChanged))
    }

    /// Makes the tree one level higher: the entries of the root go to a node in `block`.
    fn grow<S: Store>(&mut self, vol: &Volume<S>, tx: &mut S::Tx<'_>, block: PhysBlock) -> Result {
        let old = self.root;
        let root = ExtentNode::parse(&old).map_err(|flaw| self.flawed(vol, flaw))?;
        let Some(first) = root.first_key() else {
            return Err(vol
                .store
                .bug(self.ino, "the root of an extent tree is empty and full"));
        };
        let (_, made) = tx.create(block, self.format, |bytes| {
            ExtentNodeMut::init(bytes, root.depth())?.splice(0, 0, root.slots())
        })?;
        let index = Index {
            start: first,
            child: block,
        };
        let mut new = [0; ROOT_BYTES];
        let depth = root.depth().saturating_add(1);
        let linked =
            ExtentNodeMut::init(&mut new, depth).and_then(|mut new| new.splice(0, 0, &[index]));
        match (made, linked) {
            (Some(()), Some(())) => (self.root, self.may_collapse) = (new, true),
            _ => {
                return Err(vol.store.bug(
                    self.ino,
                    "the root of an extent tree does not fit into a node",
                ))
            }
        }
        Ok(())
    }

    /// Splits node `i` of the path, whose parent has room: its upper part goes to a new node in `block`.
    ///
    /// The upper part is one half. With `dense`, it is one entry where `at` is behind all entries of the last
    /// node of its level: a file that is written from its start to its end then has full nodes.
    #[expect(clippy::too_many_arguments)]
    fn split<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        path: &TreePath<S>,
        i: usize,
        block: PhysBlock,
        moved: &mut KVec<RawEntry>,
        at: LogicalBlock,
        dense: bool,
    ) -> Result {
        let (Some(old), Some(above)) = (path.block(i), i.checked_sub(1)) else {
            return Err(vol
                .store
                .bug(self.ino, "the root of an extent tree is split"));
        };
        moved.clear();
        let half = self.with_node(vol, path, i, |node| {
            let last = node.len().saturating_sub(1);
            let at_end = path.is_rightmost(i) && node.key(last).is_some_and(|key| key < at);
            let keep = if dense && at_end {
                last
            } else {
                node.len() / 2
            };
            for slot in node.slots().iter().skip(keep) {
                moved.push_within_capacity(*slot).ok()?;
            }
            Some((keep, node.depth()))
        })?;
        let (keep, depth) = half.ok_or_else(|| self.flawed(vol, Flaw::ExtentChanged))?;
        let (_, first) = tx.create(block, self.format, |bytes| {
            ExtentNodeMut::init(bytes, depth)?.splice(0, 0, moved)?;
            ExtentNode::parse(bytes).ok()?.first_key()
        })?;
        let Some(start) = first else {
            return Err(self.flawed(vol, Flaw::ExtentChanged));
        };
        let slot = path.step(above).map_or(0, |step| step.slot());
        let index = Index {
            start,
            child: block,
        };
        self.edit(vol, tx, path, above, |node| {
            node.splice(slot.saturating_add(1), 0, &[index])
        })?;
        let count = moved.len();
        let done = tx.edit(old, |bytes| {
            ExtentNodeMut::parse(bytes)?.splice::<RawEntry>(keep, count, &[])
        })?;
        done.ok_or_else(|| self.flawed(vol, Flaw::ExtentChanged))
    }

    /// Whether the root's only child would fit into it, at the price of one freed block.
    pub(super) fn can_collapse<S: Store>(&mut self, vol: &Volume<S>) -> Result<bool> {
        if self.may_collapse {
            self.may_collapse = self.only_child(vol)?.is_some();
        }
        Ok(self.may_collapse)
    }

    /// The only child of the root, if it is small enough to be the root.
    fn only_child<S: Store>(
        &self,
        vol: &Volume<S>,
    ) -> Result<Option<(PhysBlock, [u8; ROOT_BYTES])>> {
        let root = self.root().map_err(|flaw| self.flawed(vol, flaw))?;
        let Some(below) = root.depth().checked_sub(1).filter(|_| root.len() == 1) else {
            return Ok(None);
        };
        let Some(index) = root.index(0) else {
            return Ok(None);
        };
        let child = self.node(vol, index.child, true)?;
        let copied = child.with(|bytes| {
            let node = ExtentNode::parse(bytes)?;
            node.fits(below, index.start, LogicalBlock::LIMIT)?;
            let mut root = [0; ROOT_BYTES];
            let fits = node.len() <= usize::from(ROOT_ENTRIES)
                && ExtentNodeMut::init(&mut root, below)
                    .and_then(|mut root| root.splice(0, 0, node.slots()))
                    .is_some();
            Ok(fits.then_some((index.child, root)))
        });
        copied.map_err(|flaw| self.flawed(vol, flaw))
    }

    /// Makes the tree one level lower, if the root's only child fits into the root. Returns whether it did.
    pub(super) fn collapse<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
    ) -> Result<bool> {
        let Some((child, root)) = self.only_child(vol)? else {
            return Ok(false);
        };
        (self.root, self.may_collapse) = (root, true);
        self.root_checked = false;
        self.release(vol, tx, child)?;
        Ok(true)
    }
}
