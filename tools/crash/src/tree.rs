// SPDX-License-Identifier: GPL-2.0

//! The names of one thread and the attributes of what they lead to: as they must be after a number of operations, and
//! as they are found. The name of the volume is one of those of the first thread.
//!
//! A volume has one journal, and each operation on names or attributes is one transaction. So what a power cut leaves
//! of them is what there was after some operation of the thread, neither earlier than what was promised nor later than
//! what it had done.

use crate::history::{Attrs, Kind, Name, NodeId, Op, Seq};
use anyhow::{anyhow, bail, Context, Result};
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is known of a node.
#[derive(Clone, Debug)]
pub struct Info {
    pub kind: Kind,
    pub ino: u64,
    pub attrs: Attrs,
}

/// All names at one time.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Of each directory, what its names lead to.
    pub dirs: BTreeMap<NodeId, BTreeMap<String, NodeId>>,
    /// Every node that there ever was.
    pub info: BTreeMap<NodeId, Info>,
    /// The name of the volume, as far as this thread has named it.
    label: String,
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

    /// The clock says when this was written last.
    fn written(&mut self, node: NodeId) -> bool {
        let info = self.info.get_mut(&node);
        info.and_then(|info| info.attrs.mtime.take()).is_some()
    }

    /// Does what `op` did; returns whether other things may be found then.
    pub fn apply(&mut self, op: &Op) -> bool {
        for (dir, _) in op.names() {
            self.written(*dir);
        }
        match op {
            Op::Make {
                at,
                node,
                kind,
                ino,
                attrs,
            } => {
                self.info.insert(
                    *node,
                    Info {
                        kind: kind.clone(),
                        ino: *ino,
                        attrs: attrs.clone(),
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
            Op::Set { node, attrs } => {
                if let Some(info) = self.info.get_mut(node) {
                    info.attrs = attrs.clone();
                }
            }
            Op::Label { name } => self.label.clone_from(name),
            Op::Write { node, .. } | Op::Truncate { node, .. } | Op::Fallocate { node, .. } => {
                return self.written(*node)
            }
            Op::Exchange { .. } | Op::Whole { .. } => return false,
        }
        true
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
            if child.kind != info.kind || !info.attrs.are(&child.attrs) {
                bail!(
                    "{} is {:?} with {:?}, not {:?} with {:?}",
                    path.display(),
                    child.kind,
                    child.attrs,
                    info.kind,
                    info.attrs
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
    pub attrs: Attrs,
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
            attrs: Attrs::of(path).with_context(|| path.display().to_string())?,
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
            attrs: self.attrs.clone(),
            children: own,
        }
    }
}

/// The names and attributes of a thread that a power cut may leave.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// As promised.
    base: Tree,
    /// What the thread did since.
    pending: VecDeque<(Seq, Op)>,
    /// The last operation that is promised.
    settled: Seq,
}

/// Names and attributes that are possible.
#[derive(Debug)]
pub struct Possible {
    /// Where each file is.
    pub files: BTreeMap<NodeId, PathBuf>,
    /// The operation after which it is so, the earliest that it can be.
    pub after: Seq,
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
        self.settled = self.settled.max(seq);
        while self.pending.front().is_some_and(|(s, _)| *s <= seq) {
            if let Some((_, op)) = self.pending.pop_front() {
                self.base.apply(&op);
            }
        }
    }

    /// Is what was found below the roots possible, together with the name of the volume if this thread gives it?
    pub fn check(&self, roots: &[(NodeId, Found)], label: Option<&str>) -> Result<Possible> {
        let mut tree = self.base.clone();
        let mut first = None;
        for op in std::iter::once(None).chain(self.pending.iter().map(Some)) {
            // Writes are most of what a thread does.
            if op.is_some_and(|(_, op)| !tree.apply(op)) {
                continue;
            }
            let mut files = BTreeMap::new();
            let same_label = match label {
                Some(label) if label != tree.label => Err(anyhow!(
                    "the volume is called '{label}', not '{}'",
                    tree.label
                )),
                _ => Ok(()),
            };
            match same_label.and_then(|()| {
                roots
                    .iter()
                    .try_for_each(|(dir, found)| tree.compare(*dir, found, &mut files))
            }) {
                Ok(()) => {
                    let after = op.map_or(self.settled, |(seq, _)| *seq);
                    return Ok(Possible { files, after });
                }
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
    use crate::history::{Extended, How, Value};

    fn make(node: NodeId, name: &str) -> Op {
        Op::Make {
            at: (1, name.into()),
            node,
            kind: Kind::File,
            ino: node.into(),
            attrs: attrs(0o600),
        }
    }

    fn attrs(mode: u32) -> Attrs {
        Attrs {
            mode,
            uid: 0,
            gid: 0,
            mtime: None,
            extended: Extended::new(),
        }
    }

    fn found(names: &[(&str, u64)]) -> Vec<(NodeId, Found)> {
        let dir = |children, ino, kind| Found {
            path: "/r".into(),
            ino,
            kind,
            attrs: attrs(0o600),
            children,
        };
        let children = names
            .iter()
            .map(|(name, ino)| (name.to_string(), dir(BTreeMap::new(), *ino, Kind::File)))
            .collect();
        vec![(1, dir(children, 1, Kind::Dir))]
    }

    #[test]
    fn the_volume_has_the_name_of_the_same_time() {
        let mut names = Names::new(&[1]);
        let label = Op::Label { name: "new".into() };
        for (i, op) in [make(10, "a"), label, make(11, "b")].iter().enumerate() {
            names.feed(i as Seq + 1, op);
        }
        let (before, after) = (found(&[("a", 10)]), found(&[("a", 10), ("b", 11)]));
        for (found, label, is_good) in [
            (&before, "", true),
            (&before, "new", true),
            (&before, "newer", false),
            (&after, "new", true),
            (&after, "", false),
        ] {
            assert_eq!(names.check(found, Some(label)).is_ok(), is_good, "{label}");
        }
        names.settle(2);
        assert!(names.check(&before, Some("")).is_err());
        names.check(&before, Some("new")).unwrap();
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
            names.check(&found(&good), None).unwrap();
        }
        for bad in [
            vec![("b", 11)],
            vec![("a", 10), ("b", 10)],
            vec![("c", 12)],
            vec![("a", 10), ("c", 12)],
        ] {
            assert!(names.check(&found(&bad), None).is_err(), "{bad:?}");
        }
        names.settle(2);
        assert!(names.check(&found(&[("a", 10)]), None).is_err());
        names.check(&found(&[("b", 10)]), None).unwrap();
        names.settle(4);
        assert!(names.check(&found(&[("b", 10)]), None).is_err());
        names.check(&found(&[("b", 10), ("c", 12)]), None).unwrap();
    }

    /// The file "a" with these attributes.
    fn with(attrs: &Attrs) -> Vec<(NodeId, Found)> {
        let mut found = found(&[("a", 10)]);
        let file = found[0].1.children.get_mut("a").unwrap();
        file.attrs = attrs.clone();
        file.attrs.mtime.get_or_insert((1_700_000_000, 5));
        found
    }

    #[test]
    fn attributes_that_are_promised_are_there() {
        let old = attrs(0o600);
        for new in [
            Attrs {
                mode: 0o4755,
                ..old.clone()
            },
            Attrs {
                uid: 70_000,
                ..old.clone()
            },
            Attrs {
                gid: 70_000,
                ..old.clone()
            },
            Attrs {
                mtime: Some((-5, 77)),
                ..old.clone()
            },
            Attrs {
                extended: [("user.a".into(), Value(vec![1]))].into(),
                ..old.clone()
            },
        ] {
            let set = Op::Set {
                node: 10,
                attrs: new.clone(),
            };
            let mut names = Names::new(&[1]);
            for (seq, op) in [(1, make(10, "a")), (2, set), (3, make(11, "b"))] {
                names.feed(seq, &op);
            }
            names.settle(1);
            names.check(&with(&old), None).unwrap();
            names.check(&with(&new), None).unwrap();
            let other = Attrs {
                mode: 0o640,
                ..old.clone()
            };
            assert!(names.check(&with(&other), None).is_err());
            // In the order of the operations: not the name that came later without them.
            let mut late = found(&[("a", 10), ("b", 11)]);
            assert!(names.check(&late, None).is_err());
            late[0].1.children.extend(with(&new).remove(0).1.children);
            names.check(&late, None).unwrap();
            names.settle(2);
            assert!(names.check(&with(&old), None).is_err(), "{new:?} is lost");
            names.check(&with(&new), None).unwrap();
        }
    }

    #[test]
    fn a_chosen_time_is_there_until_something_is_written() {
        let chosen = Attrs {
            mtime: Some((3, 4)),
            ..attrs(0o600)
        };
        let clock = attrs(0o600);
        let set = Op::Set {
            node: 10,
            attrs: chosen.clone(),
        };
        let write = Op::Write {
            node: 10,
            offset: 0,
            len: 1,
            how: How::Plain,
        };
        let mut names = Names::new(&[1]);
        for (seq, op) in [(1, make(10, "a")), (2, set.clone())] {
            names.feed(seq, &op);
        }
        names.settle(2);
        names.check(&with(&chosen), None).unwrap();
        assert!(names.check(&with(&clock), None).is_err());
        names.feed(3, &write);
        names.check(&with(&chosen), None).unwrap();
        names.check(&with(&clock), None).unwrap();
        names.feed(4, &set);
        names.settle(4);
        assert!(names.check(&with(&clock), None).is_err());
        // A directory is written when a name in it changes.
        let mut dir = Tree::default();
        let made = Op::Make {
            at: (1, "d".into()),
            node: 20,
            kind: Kind::Dir,
            ino: 20,
            attrs: attrs(0o700),
        };
        dir.apply(&made);
        dir.apply(&Op::Set {
            node: 20,
            attrs: chosen,
        });
        assert!(dir.info[&20].attrs.mtime.is_some());
        dir.apply(&Op::Make {
            at: (20, "e".into()),
            node: 21,
            kind: Kind::File,
            ino: 21,
            attrs: attrs(0o600),
        });
        assert!(dir.info[&20].attrs.mtime.is_none());
    }
}
