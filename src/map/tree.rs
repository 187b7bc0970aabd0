// SPDX-License-Identifier: GPL-2.0

//! The extent tree of one file: the way from the root to a leaf, and what is found there.
//!
//! Changes are in [`super::change`].
//!
//! # Invariants
//!
//! * The root was verified when it came from the inode, and is changed only by valid entries in order.
//! * A node in a block was verified when it entered memory. On every visit it is compared with what its
//!   parent says (depth, first key, end): two inodes of a bad image may share a node, a node may be its own
//!   descendant, and a block that was a node may be one of another tree now.
//! * A key in an index node is the first key of its child, exactly; ext4 and e2fsck want it so. The end of the
//!   range of a child is the next key in its parent or in a parent above.
//!
//! # Locks
//!
//! The inode's map lock, exclusively for changes.

use crate::disk::extent::{
    depth_of, Extent, ExtentNode, ExtentNodeFormat, Index, MAX_DEPTH, ROOT_BYTES,
};
use crate::disk::{CsumSeed, Flaw, Ino, LogicalBlock, PhysBlock};
use crate::store::{Block, Store};
use crate::volume::Volume;
use kernel::error::{code::*, Error, Result};

/// Levels of nodes in blocks, at most.
const LEVELS: usize = MAX_DEPTH as usize;

/// The tree of one file.
pub(super) struct Tree {
    pub(super) ino: Ino,
    /// What the checksums of the nodes begin with.
    pub(super) seed: Option<CsumSeed>,
    pub(super) root: [u8; ROOT_BYTES],
    /// What the file occupies, data and nodes, in units of 512 bytes (`i_blocks`).
    pub(super) sectors: u64,
    /// Whether the extents in the root were compared with the system zone.
    pub(super) root_checked: bool,
    /// Whether the tree may be lower than it is: entries went away since that was last looked at.
    pub(super) may_collapse: bool,
}

/// A node on the way from the root to a leaf.
#[derive(Clone, Copy)]
pub(super) struct PathNode {
    /// The entry through which the way goes on; in a leaf the last one that starts at or before the place
    /// that is looked for. `None` where all of them start after it (the way goes on through the first).
    pub(super) pos: Option<usize>,
    /// Entries in the node.
    pub(super) len: usize,
    /// Entries that could be added.
    pub(super) room: usize,
    /// First file block behind the range of the node.
    pub(super) to: LogicalBlock,
}

impl PathNode {
    /// The entry through which the way goes on.
    pub(super) fn slot(&self) -> usize {
        self.pos.unwrap_or(0)
    }
}

struct PathLevel<S: Store> {
    step: PathNode,
    block: Block<S, ExtentNodeFormat>,
}

/// The way from the root to a leaf, by value: nothing is allocated to find a block. It is large, so whoever wants one
/// gives the place for it.
pub(super) struct TreePath<S: Store> {
    root: PathNode,
    depth: usize,
    levels: [Option<PathLevel<S>>; LEVELS],
}

impl<S: Store> TreePath<S> {
    /// No way yet, for [`Tree::find`].
    pub(super) fn new() -> Self {
        Self {
            root: PathNode {
                pos: None,
                len: 0,
                room: 0,
                to: LogicalBlock::ZERO,
            },
            depth: 0,
            levels: [const { None }; LEVELS],
        }
    }

    /// Number of nodes below the root; also the number of the leaf, where the root is node 0.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Node `i` of the way.
    pub(super) fn step(&self, i: usize) -> Option<&PathNode> {
        match i.checked_sub(1) {
            None => Some(&self.root),
            Some(i) => self.levels.get(i)?.as_ref().map(|level| &level.step),
        }
    }

    /// The block of node `i`, `None` for the root.
    pub(super) fn block(&self, i: usize) -> Option<&Block<S, ExtentNodeFormat>> {
        self.levels
            .get(i.checked_sub(1)?)?
            .as_ref()
            .map(|level| &level.block)
    }

    /// The leaf.
    pub(super) fn leaf(&self) -> PathNode {
        self.step(self.depth).copied().unwrap_or(self.root)
    }

    /// The way goes on through entry `pos` of the leaf.
    pub(super) fn set_leaf_pos(&mut self, pos: usize) {
        let leaf = match self.depth.checked_sub(1) {
            None => Some(&mut self.root),
            Some(i) => match self.levels.get_mut(i) {
                Some(Some(level)) => Some(&mut level.step),
                _ => None,
            },
        };
        if let Some(leaf) = leaf {
            leaf.pos = Some(pos);
        }
    }

    /// Whether node `i` is the last of its level.
    pub(super) fn is_rightmost(&self, i: usize) -> bool {
        self.step(i)
            .is_some_and(|step| step.to == LogicalBlock::LIMIT)
    }
}

/// What the tree has at a place.
#[derive(Debug)]
pub(super) enum AtBlock {
    /// An extent that covers it, joined with those that continue it in the same leaf.
    Extent(Extent),
    /// A hole: where it starts and where it ends.
    Hole(LogicalBlock, LogicalBlock),
}

impl AtBlock {
    /// What a leaf has at `at`, after `look`.
    fn in_leaf(node: &ExtentNode<'_>, leaf: &PathNode, at: LogicalBlock) -> Self {
        let mut next = leaf.pos.map_or(0, |pos| pos.saturating_add(1));
        let here = leaf.pos.and_then(|pos| node.extent(pos));
        match here.filter(|here| here.end() > at) {
            Some(mut extent) => {
                while let Some(more) = node.extent(next).filter(|more| extent.continued_by(more)) {
                    extent.len = extent.len.saturating_add(more.len);
                    next = next.saturating_add(1);
                }
                Self::Extent(extent)
            }
            None => Self::Hole(
                here.map_or(LogicalBlock::ZERO, |here| here.end()),
                node.key(next).unwrap_or(leaf.to),
            ),
        }
    }
}

impl Tree {
    /// Reports what is wrong with this tree. Returns the error to give up with.
    #[cold]
    #[track_caller]
    pub(super) fn flawed<S: Store>(&self, vol: &Volume<S>, flaw: Flaw) -> Error {
        vol.store.flawed(self.ino, flaw)
    }

    /// The root, to look at.
    pub(super) fn root(&self) -> Result<ExtentNode<'_>, Flaw> {
        ExtentNode::parse(&self.root)
    }

    /// Levels below the root.
    pub(super) fn depth(&self) -> u16 {
        depth_of(&self.root)
    }

    /// Goes from the root to the leaf that covers `at`, or would, and puts the way down in `path`.
    ///
    /// # Errors
    ///
    /// `EIO`; `EUCLEAN`, reported, where a node is not what its parent says; then `path` is of no use.
    /// `EAGAIN` where a node is not in memory and `wait` is unset.
    pub(super) fn find<S: Store>(
        &self,
        vol: &Volume<S>,
        at: LogicalBlock,
        wait: bool,
        path: &mut TreePath<S>,
    ) -> Result {
        let root = self.root().map_err(|flaw| self.flawed(vol, flaw))?;
        let (step, mut next) = look(&root, at, LogicalBlock::LIMIT);
        (path.root, path.depth) = (step, 0);
        let mut depth = root.depth();
        // `depth` falls with each turn, so no image can make this endless.
        for level in &mut path.levels {
            let Some(below) = depth.checked_sub(1) else {
                break;
            };
            depth = below;
            let Some((index, to)) = next else {
                return Err(self.flawed(vol, Flaw::ExtentEmpty));
            };
            let block = self.node(vol, index.child, wait)?;
            let found = block.with(|bytes| {
                let node = ExtentNode::parse(bytes)?;
                node.fits(depth, index.start, to)?;
                Ok(look(&node, at, to))
            });
            let (step, below) = found.map_err(|flaw| self.flawed(vol, flaw))?;
            next = below;
            *level = Some(PathLevel { step, block });
            path.depth = path.depth.saturating_add(1);
        }
        // Of a way that was longer.
        for level in path.levels.iter_mut().skip(path.depth) {
            *level = None;
        }
        Ok(())
    }

    /// How the nodes are checked and sealed. It is not kept: there are many trees, of which few are at work.
    #[inline(always)]
    pub(super) fn format<S: Store>(&self, vol: &Volume<S>) -> ExtentNodeFormat {
        ExtentNodeFormat::new(&vol.layout, self.ino, self.seed)
    }

    /// A node in a block, verified. `EAGAIN` where it is not in memory and `wait` is unset.
    pub(super) fn node<S: Store>(
        &self,
        vol: &Volume<S>,
        nr: PhysBlock,
        wait: bool,
    ) -> Result<Block<S, ExtentNodeFormat>> {
        if let Some(block) = vol.store.read_cached(nr, self.format(vol)) {
            return Ok(block);
        }
        if !wait {
            return Err(EAGAIN);
        }
        if vol.space.is_system(nr, 1) {
            let block = nr.get();
            return Err(self.flawed(vol, Flaw::ExtentNodeInSystem { block }));
        }
        vol.store.read(nr, self.format(vol))
    }

    /// Gives `f` node `i` of a path. Under the byte lock, so `f` must be short and may not sleep.
    pub(super) fn with_node<S: Store, R>(
        &self,
        vol: &Volume<S>,
        path: &TreePath<S>,
        i: usize,
        f: impl FnOnce(&ExtentNode<'_>) -> R,
    ) -> Result<R> {
        let seen = match path.block(i) {
            None => self.root().map(|node| f(&node)),
            Some(block) => block.with(|bytes| ExtentNode::parse(bytes).map(|node| f(&node))),
        };
        seen.map_err(|flaw| self.flawed(vol, flaw))
    }

    /// What the tree has at `at`.
    ///
    /// # Errors
    ///
    /// As [`Tree::find`]; `EUCLEAN` also for an extent over metadata of the file system.
    pub(super) fn at<S: Store>(&mut self, vol: &Volume<S>, at: LogicalBlock) -> Result<AtBlock> {
        if self.depth() == 0 {
            self.check_root(vol)?;
            let root = self.root().map_err(|flaw| self.flawed(vol, flaw))?;
            let (leaf, _) = look(&root, at, LogicalBlock::LIMIT);
            return Ok(AtBlock::in_leaf(&root, &leaf, at));
        }
        let mut path = TreePath::new();
        self.find(vol, at, true, &mut path)?;
        let leaf = path.leaf();
        let found = self.with_node(vol, &path, path.depth(), |node| {
            AtBlock::in_leaf(node, &leaf, at)
        })?;
        if let AtBlock::Extent(extent) = &found {
            if vol.space.is_system(extent.phys, extent.len) {
                let block = extent.phys.get();
                return Err(self.flawed(vol, Flaw::ExtentOverSystem { block }));
            }
        }
        Ok(found)
    }

    /// What the tree has at `at`, if the root tells and was checked.
    pub(super) fn in_root(&self, at: LogicalBlock) -> Option<AtBlock> {
        let root = self.root().ok()?;
        if root.depth() != 0 || !self.root_checked {
            return None;
        }
        let (leaf, _) = look(&root, at, LogicalBlock::LIMIT);
        Some(AtBlock::in_leaf(&root, &leaf, at))
    }

    /// Compares the extents of a root that is a leaf with the system zone, once: they are not in the cache.
    fn check_root<S: Store>(&mut self, vol: &Volume<S>) -> Result {
        if !self.root_checked {
            let root = self.root().map_err(|flaw| self.flawed(vol, flaw))?;
            let bad = (0..root.len())
                .filter_map(|i| root.extent(i))
                .find(|extent| vol.space.is_system(extent.phys, extent.len));
            if let Some(extent) = bad {
                let block = extent.phys.get();
                return Err(self.flawed(vol, Flaw::ExtentOverSystem { block }));
            }
            self.root_checked = true;
        }
        Ok(())
    }

    /// The last extent that starts before `to`, with its place: its slot in the leaf of `path`. `EAGAIN` where a node
    /// is not in memory and `wait` is unset.
    pub(super) fn last_before<S: Store>(
        &self,
        vol: &Volume<S>,
        to: LogicalBlock,
        wait: bool,
        path: &mut TreePath<S>,
    ) -> Result<Option<(usize, Extent)>> {
        let Some(last) = to.get().checked_sub(1) else {
            return Ok(None);
        };
        self.find(vol, LogicalBlock::new(last), wait, path)?;
        // As keys are exact, a leaf that covers a place starts at or before it, unless it is the first one.
        let Some(pos) = path.leaf().pos else {
            return Ok(None);
        };
        let extent = self.with_node(vol, path, path.depth(), |node| node.extent(pos))?;
        Ok(extent.map(|extent| (pos, extent)))
    }
}

/// Looks for `at` in a node whose range ends at `to`: the step, and for an index node the child with the end
/// of its range.
fn look(
    node: &ExtentNode<'_>,
    at: LogicalBlock,
    to: LogicalBlock,
) -> (PathNode, Option<(Index, LogicalBlock)>) {
    let pos = node.find(at);
    let slot = pos.unwrap_or(0);
    let step = PathNode {
        pos,
        len: node.len(),
        room: node.room(),
        to,
    };
    if node.depth() == 0 {
        return (step, None);
    }
    let end = node.key(slot.saturating_add(1)).unwrap_or(to);
    (step, node.index(slot).map(|index| (index, end)))
}
