// SPDX-License-Identifier: GPL-2.0

//! The names of one thread: as they must be after a number of operations, and as they are found.
//!
//! A volume has one journal, and each operation on names is one transaction. So what a power cut leaves of a thread's
//! names is what there was after some operation of the thread, neither earlier than what was promised nor later than
//! what it had done.

use crate::history::{Kind, Name, NodeId, Op, Seq};
use anyhow::{bail, Context, Result};
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is known of a node.
#[derive(Clone, Debug)]
pub struct Info {
    pub kind: Kind,
    pub ino: u64,
    pub mode: u32,
}

/// All names at one time.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Of each directory, what its names lead to.
    pub dirs: BTreeMap<NodeId, BTreeMap<String, NodeId>>,
    /// Every node that there ever was.
    pub info: BTreeMap<NodeId, Info>,
}

impl Tree {
    /// What a name leads to.
    pub fn get(&self, at: &Name) -> Option<NodeId> {
        self.dirs.get(&at.0)?.get(&at.1).copied()
    }

    fn set(&mut self, at: &Name, node: NodeId) {
        self.dirs
            .entry(at.0)
            .or_default()
            .insert(at.1.clone(), node);
    }

    fn take(&mut self, at: &Name) -> Option<NodeId> {
        self.dirs.get_mut(&at.0)?.remove(&at.1)
    }

    /// Does what `op` did.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Make {
                at,
                node,
                kind,
                ino,
                mode,
            } => {
                self.info.insert(
                    *node,
                    Info {
                        kind: kind.clone(),
                        ino: *ino,
                        mode: *mode,
                    },
                );
                if *kind == Kind::Dir {
                    self.dirs.entry(*node).or_default();
                }
                self.set(at, *node);
            }
            Op::Link { node, at } => self.set(at, *node),
            Op::Remove { at } => {
                self.take(at);
            }
            Op::Rename { from, to } => {
                if let Some(node) = self.take(from) {
                    self.set(to, node);
                }
            }
            Op::Swap { a, b } => {
                if let (Some(x), Some(y)) = (self.take(a), self.take(b)) {
                    self.set(a, y);
                    self.set(b, x);
                }
            }
            Op::Write { .. } | Op::Truncate { .. } => {}
        }
    }

    /// Is what was found below the directory `dir` what should be there? The error says what is not.
    fn compare(
        &self,
        dir: NodeId,
        found: &Found,
        files: &mut BTreeMap<NodeId, PathBuf>,
    ) -> Result<()> {
        let want = self
            .dirs
            .get(&dir)
            .context("a directory that nobody made")?;
        for name in found.children.keys() {
            if !want.contains_key(name) {
                bail!("{} should not be there", found.path.join(name).display());
            }
        }
        for (name, node) in want {
            let path = found.path.join(name);
            let Some(child) = found.children.get(name) else {
                bail!("{} is missing", path.display());
            };
            let info = self.info.get(node).context("a node that nobody made")?;
            if child.ino != info.ino {
                bail!(
                    "{} is inode {}, not {}",
                    path.display(),
                    child.ino,
                    info.ino
                );
            }
            if child.kind != info.kind || child.mode != info.mode {
                bail!(
                    "{} is {:?} with mode {:o}, not {:?} with {:o}",
                    path.display(),
                    child.kind,
                    child.mode,
                    info.kind,
                    info.mode
                );
            }
            match info.kind {
                Kind::Dir => self.compare(*node, child, files)?,
                Kind::File => {
                    files.insert(*node, path);
                }
                Kind::Symlink(_) => {}
            }
        }
        Ok(())
    }
}

/// What is found in a mounted volume.
#[derive(Debug)]
pub struct Found {
    pub path: PathBuf,
    pub ino: u64,
    pub kind: Kind,
    pub mode: u32,
    pub children: BTreeMap<String, Found>,
}

impl Found {
    /// Walks the tree below `path`.
    pub fn walk(path: &Path) -> Result<Self> {
        let meta = fs::symlink_metadata(path)
            .with_context(|| format!("cannot look at {}", path.display()))?;
        let mut children = BTreeMap::new();
        let kind = if meta.is_dir() {
            for entry in fs::read_dir(path)
                .with_context(|| format!("cannot read the directory {}", path.display()))?
            {
                let entry = entry
                    .with_context(|| format!("cannot read the directory {}", path.display()))?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if children
                    .insert(name.clone(), Found::walk(&entry.path())?)
                    .is_some()
                {
                    bail!("{} has the name {name} twice", path.display());
                }
            }
            Kind::Dir
        } else if meta.is_symlink() {
            let target = fs::read_link(path)
                .with_context(|| format!("cannot read the link {}", path.display()))?;
            Kind::Symlink(target.to_string_lossy().into_owned())
        } else if meta.is_file() {
            Kind::File
        } else {
            bail!("{} is neither file, directory nor link", path.display());
        };
        Ok(Found {
            path: path.to_owned(),
            ino: meta.ino(),
            kind,
            mode: meta.mode() & 0o7777,
            children,
        })
    }

    /// Only those names that begin with `prefix`.
    pub fn split_off(&mut self, prefix: &str) -> Self {
        let (own, rest) = std::mem::take(&mut self.children)
            .into_iter()
            .partition(|(name, _)| name.starts_with(prefix));
        self.children = rest;
        Found {
            path: self.path.clone(),
            ino: self.ino,
            kind: self.kind.clone(),
            mode: self.mode,
            children: own,
        }
    }
}

/// The names of a thread that a power cut may leave.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// As promised.
    base: Tree,
    /// What the thread did since.
    pending: VecDeque<(Seq, Op)>,
}

impl Names {
    /// The directories that are there from the beginning.
    pub fn new(roots: &[NodeId]) -> Self {
        let mut names = Names::default();
        for root in roots {
            names.base.dirs.insert(*root, BTreeMap::new());
        }
        names
    }

    /// The thread did this.
    pub fn feed(&mut self, seq: Seq, op: &Op) {
        self.pending.push_back((seq, op.clone()));
    }

    /// Everything up to operation `seq` is durable.
    pub fn settle(&mut self, seq: Seq) {
        while self.pending.front().is_some_and(|(s, _)| *s <= seq) {
            if let Some((_, op)) = self.pending.pop_front() {
                self.base.apply(&op);
            }
        }
    }

    /// Is what was found below the roots possible? Returns where each file is.
    pub fn check(&self, roots: &[(NodeId, Found)]) -> Result<BTreeMap<NodeId, PathBuf>> {
        let mut tree = self.base.clone();
        let mut first = None;
        for op in std::iter::once(None).chain(self.pending.iter().map(Some)) {
            if let Some((_, op)) = op {
                tree.apply(op);
            }
            let mut files = BTreeMap::new();
            match roots
                .iter()
                .try_for_each(|(dir, found)| tree.compare(*dir, found, &mut files))
            {
                Ok(()) => return Ok(files),
                Err(why) => {
                    first.get_or_insert(why);
                }
            }
        }
        let why = first.map_or_else(String::new, |e| e.to_string());
        match (self.pending.front(), self.pending.back()) {
            (Some((from, _)), Some((to, _))) => bail!(
                "the names are those of no time between what was promised and what was done (operations {from} to \
                 {to}); by the promise: {why}"
            ),
            _ => bail!("names that were promised: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(node: NodeId, name: &str) -> Op {
        Op::Make {
            at: (1, name.into()),
            node,
            kind: Kind::File,
            ino: node.into(),
            mode: 0o600,
        }
    }

    fn found(names: &[(&str, u64)]) -> Vec<(NodeId, Found)> {
        let dir = |children, ino, kind| Found {
            path: "/r".into(),
            ino,
            kind,
            mode: 0o600,
            children,
        };
        let children = names
            .iter()
            .map(|(name, ino)| (name.to_string(), dir(BTreeMap::new(), *ino, Kind::File)))
            .collect();
        vec![(1, dir(children, 1, Kind::Dir))]
    }

    #[test]
    fn names_are_those_of_one_time() {
        let mut names = Names::new(&[1]);
        let rename = Op::Rename {
            from: (1, "a".into()),
            to: (1, "b".into()),
        };
        for (i, op) in [make(10, "a"), make(11, "b"), rename, make(12, "c")]
            .iter()
            .enumerate()
        {
            names.feed(i as Seq + 1, op);
        }
        for good in [
            vec![],
            vec![("a", 10)],
            vec![("a", 10), ("b", 11)],
            vec![("b", 10)],
            vec![("b", 10), ("c", 12)],
        ] {
            names.check(&found(&good)).unwrap();
        }
        for bad in [
            vec![("b", 11)],
            vec![("a", 10), ("b", 10)],
            vec![("c", 12)],
            vec![("a", 10), ("c", 12)],
        ] {
            assert!(names.check(&found(&bad)).is_err(), "{bad:?}");
        }
        names.settle(2);
        assert!(names.check(&found(&[("a", 10)])).is_err());
        names.check(&found(&[("b", 10)])).unwrap();
        names.settle(4);
        assert!(names.check(&found(&[("b", 10)])).is_err());
        names.check(&found(&[("b", 10), ("c", 12)])).unwrap();
    }
}
