// SPDX-License-Identifier: GPL-2.0

//! The operations on names and attributes.

use super::{Live, Worker};
use crate::content;
use crate::history::{Attrs, Extended, Kind, Name, NodeId, Op, Promise, Seq, Value};
use anyhow::{ensure, Context, Result};
use rustix::fs::{
    lremovexattr, lsetxattr, renameat_with, utimensat, AtFlags, RenameFlags, Timespec, Timestamps,
    XattrFlags, CWD,
};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{chown, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// What the names of access control lists begin with.
const LISTS: &str = "system.posix_acl_";

impl Worker<'_> {
    pub(super) fn make(&mut self) -> Result<()> {
        let at = self.new_name();
        let path = self.path(&at);
        let node = self.next_node;
        self.next_node += 1;
        let mode = 0o600 | node & 0o77;
        let kind = match self.rng.u8(..10) {
            0 | 1 if self.dirs.len() < 8 => Kind::Dir,
            2 => Kind::Symlink("target/".repeat(self.rng.usize(1..30))),
            _ => Kind::File,
        };
        match &kind {
            Kind::File => drop(
                OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(mode)
                    .open(&path)?,
            ),
            Kind::Dir => rustix::fs::mkdir(&path, mode.into())?,
            Kind::Symlink(target) => std::os::unix::fs::symlink(target, &path)?,
        }
        match kind {
            Kind::File => drop(self.live.insert(
                node,
                Live {
                    size: 0,
                    links: 1,
                    unflushed: false,
                },
            )),
            Kind::Dir => drop(self.dirs.insert(node, Some(at.clone()))),
            Kind::Symlink(_) => {}
        }
        self.did(Op::Make {
            at,
            node,
            kind,
            ino: fs::symlink_metadata(&path)?.ino(),
            attrs: Attrs {
                mtime: None,
                ..Attrs::of(&path)?
            },
        });
        self.made.insert(node, self.ops.len() as Seq);
        Ok(())
    }

    pub(super) fn link(&mut self) -> Result<()> {
        let Some((path, node)) = self.any_file() else {
            return self.make();
        };
        let at = self.new_name();
        fs::hard_link(path, self.path(&at))?;
        self.live.get_mut(&node).context("a file")?.links += 1;
        self.did(Op::Link { node, at });
        Ok(())
    }

    fn is_below(&self, mut dir: NodeId, above: NodeId) -> bool {
        loop {
            if dir == above {
                return true;
            }
            match self.dirs.get(&dir) {
                Some(Some((parent, _))) => dir = *parent,
                _ => return false,
            }
        }
    }

    pub(super) fn rename(&mut self) -> Result<()> {
        let Some((from, node)) = self.any_name(|_| true) else {
            return self.make();
        };
        let is_dir = self.dirs.contains_key(&node);
        let replaced = if is_dir {
            None
        } else {
            self.any_name(|kind| *kind != Kind::Dir)
        };
        let to = match replaced {
            Some((to, other)) if other != node && self.rng.bool() => {
                self.keep_open(&to)?;
                self.lose(other);
                if self.shared.whole && self.live.contains_key(&node) {
                    self.did(Op::Whole { node });
                }
                to
            }
            _ => self.new_name(),
        };
        if is_dir && self.is_below(to.0, node) {
            return Ok(());
        }
        fs::rename(self.path(&from), self.path(&to))?;
        if is_dir {
            self.dirs.insert(node, Some(to.clone()));
        }
        self.did(Op::Rename { from, to });
        Ok(())
    }

    pub(super) fn swap(&mut self) -> Result<()> {
        let (Some((a, x)), Some((b, y))) = (self.any_name(|_| true), self.any_name(|_| true))
        else {
            return self.make();
        };
        // A directory must not come below itself.
        if a == b || self.is_below(a.0, y) || self.is_below(b.0, x) {
            return Ok(());
        }
        renameat_with(
            CWD,
            self.path(&a),
            CWD,
            self.path(&b),
            RenameFlags::EXCHANGE,
        )?;
        for (node, at) in [(x, &b), (y, &a)] {
            if let Some(name) = self.dirs.get_mut(&node) {
                *name = Some(at.clone());
            }
        }
        self.did(Op::Swap { a, b });
        Ok(())
    }

    /// One name less for a node that is not a directory.
    fn lose(&mut self, node: NodeId) {
        if let Some(live) = self.live.get_mut(&node) {
            live.links -= 1;
            if live.links == 0 {
                self.live.remove(&node);
            }
        }
    }

    /// Opens a file that will lose its last name, so that it is an orphan for a while.
    fn keep_open(&mut self, at: &Name) -> Result<()> {
        let last_name = |node: &NodeId| self.live.get(node).is_some_and(|l| l.links == 1);
        if let Some(node) = self.tree.get(at).filter(last_name) {
            if self.rng.u8(..3) == 0 {
                let file = OpenOptions::new().write(true).open(self.path(at))?;
                self.held.push((file, node));
            }
        }
        if self.held.len() > 2 {
            self.held.remove(0);
        }
        // The removal of its name may not be durable yet when this is.
        if let Some((file, node)) = self.held.last() {
            let (file, node) = (file.try_clone()?, *node);
            let offset = self.rng.u64(..60_000);
            self.write_open(&file, node, offset, 10_000)?;
        }
        Ok(())
    }

    pub(super) fn remove(&mut self) -> Result<()> {
        let Some((at, node)) = self.any_name(|_| true) else {
            return self.make();
        };
        if self.dirs.contains_key(&node) {
            if self.tree.dirs.get(&node).is_some_and(|d| !d.is_empty()) {
                return Ok(());
            }
            fs::remove_dir(self.path(&at))?;
            self.dirs.remove(&node);
        } else {
            self.keep_open(&at)?;
            fs::remove_file(self.path(&at))?;
            self.lose(node);
        }
        self.did(Op::Remove { at });
        Ok(())
    }

    /// `chmod`, `chown` or `utimensat`, and sometimes the promise of it.
    pub(super) fn set_attributes(&mut self) -> Result<()> {
        let Some((at, node)) = self.any_name(|kind| !matches!(kind, Kind::Symlink(_))) else {
            return self.make();
        };
        let path = self.path(&at);
        let is_dir = self.dirs.contains_key(&node);
        let before = self.tree.info.get(&node).context("a node")?.attrs.clone();
        let mut want = before.clone();
        match self.rng.u8(..3) {
            0 => {
                want.mode = self.rng.u32(..=0o7777);
                fs::set_permissions(&path, Permissions::from_mode(want.mode)).context("chmod")?;
            }
            1 => {
                // The upper 16 bits are elsewhere in the inode.
                let mut id = || [0, 1000, 0x1_0000, 0xffff_0001][self.rng.usize(..4)];
                (want.uid, want.gid) = (id(), id());
                chown(&path, Some(want.uid), Some(want.gid))
                    .with_context(|| format!("chown {want:?}"))?;
            }
            _ => {
                // What an inode of 128 bytes can have; it has no room for nanoseconds.
                let time = (
                    self.rng.i64(-0x8000_0000..0x8000_0000),
                    self.rng.i64(0..1_000_000_000),
                );
                let spec = Timespec {
                    tv_sec: time.0,
                    tv_nsec: time.1 as _,
                };
                let times = Timestamps {
                    last_access: spec,
                    last_modification: spec,
                };
                utimensat(CWD, &path, &times, AtFlags::empty())
                    .with_context(|| format!("utimensat {times:?}"))?;
                want.mtime = Some(time);
            }
        }
        let now = Attrs::of(&path)?;
        // A change of owner takes the bits away that let others act as the owner.
        let kept = if want.mode == before.mode && !is_dir {
            0o1777
        } else {
            0o7777
        };
        ensure!(
            (now.uid, now.gid) == (want.uid, want.gid)
                && now.mode & kept == want.mode & kept
                && want
                    .mtime
                    .is_none_or(|want| now.mtime.is_some_and(|now| now.0 == want.0)),
            "{} has {now:?}, and not {want:?}",
            path.display()
        );
        let attrs = Attrs {
            mtime: want.mtime.and(now.mtime),
            ..now
        };
        if attrs.extended != before.extended {
            let first = Attrs {
                extended: before.extended,
                ..attrs.clone()
            };
            self.did(Op::Set { node, attrs: first });
        }
        self.did(Op::Set { node, attrs });
        self.sync_attributes(&path, node)
    }

    /// `setxattr` or `removexattr`, and sometimes the promise of it.
    pub(super) fn set_extended(&mut self) -> Result<()> {
        let Some((at, node)) = self.any_name(|_| true) else {
            return self.make();
        };
        let path = self.path(&at);
        let info = self.tree.info.get(&node).context("a node")?;
        let (before, kind) = (info.attrs.clone(), info.kind.clone());
        let (name, value) = self.any_extended(node, &kind);
        let done = if before.extended.contains_key(name) && self.rng.u8(..3) == 0 {
            lremovexattr(&path, name).map(|()| None)
        } else {
            lsetxattr(&path, name, &value, XattrFlags::empty()).map(|()| Some(value))
        };
        let now = Attrs::of(&path)?;
        let mut want = before.extended.clone();
        match done {
            // Neither a block nor what one can hold is enough for all of them: nothing has changed.
            Err(Errno::NOSPC) => {
                let same = before.are(&now);
                ensure!(
                    same,
                    "{} has {now:?} without room for {name}",
                    path.display()
                );
                return Ok(());
            }
            done => match done.with_context(|| format!("{name} of {}", path.display()))? {
                Some(value) => drop(want.insert(name.to_owned(), Value(value))),
                None => drop(want.remove(name)),
            },
        }
        // A list that says no more than the mode is none.
        let is_list = |name: &str| name.starts_with(LISTS);
        let rest = |all: &Extended| -> Extended {
            let all = all.iter().filter(|(n, _)| !is_list(name) || *n != name);
            all.map(|(n, v)| (n.clone(), v.clone())).collect()
        };
        ensure!(
            rest(&now.extended) == rest(&want) && (is_list(name) || now.mode == before.mode),
            "{} has {now:?} after a change of {name}, and not {want:?}",
            path.display()
        );
        let attrs = Attrs {
            mtime: before.mtime,
            ..now
        };
        self.did(Op::Set { node, attrs });
        match kind {
            Kind::Symlink(_) => Ok(()),
            _ => self.sync_attributes(&path, node),
        }
    }

    /// An attribute that a node may have: some are small enough for the inode, some are the same for several nodes,
    /// which share a block then, or an inode with the value where the volume has such, some are lists.
    fn any_extended(&mut self, node: NodeId, kind: &Kind) -> (&'static str, Vec<u8>) {
        let seq = self.ops.len() as Seq + 1;
        let is_link = matches!(kind, Kind::Symlink(_));
        let own = |len| content::bytes(node, seq, 0, len);
        match self.rng.u8(..10) {
            8 => ("trusted.long", own(self.rng.usize(900..12000))),
            9 => {
                let which = self.rng.u32(1..3);
                ("trusted.long", content::bytes(which, 1, 0, 9000))
            }
            0 if *kind == Kind::Dir => ("system.posix_acl_default", self.any_list()),
            0 | 1 if !is_link => ("system.posix_acl_access", self.any_list()),
            2 | 3 if !is_link => ("user.small", own(self.rng.usize(..30))),
            4 => ("trusted.own", own(self.rng.usize(1..500))),
            _ => {
                let which = self.rng.u32(1..4);
                ("trusted.shared", content::bytes(which, 1, 0, 400))
            }
        }
    }

    /// An access control list, with an entry for a user or without.
    fn any_list(&mut self) -> Vec<u8> {
        const NO_ID: u32 = u32::MAX;
        let long = [
            (1, NO_ID),
            (2, 1000),
            (4, NO_ID),
            (0x10, NO_ID),
            (0x20, NO_ID),
        ];
        let short = [(1, NO_ID), (4, NO_ID), (0x20, NO_ID)];
        let tags: &[(u16, u32)] = if self.rng.u8(..4) == 0 { &short } else { &long };
        let mut list = 2u32.to_le_bytes().to_vec();
        for (tag, id) in tags {
            list.extend(tag.to_le_bytes());
            list.extend(self.rng.u16(..8).to_le_bytes());
            list.extend(id.to_le_bytes());
        }
        list
    }

    /// Sometimes syncs what has got attributes.
    fn sync_attributes(&mut self, path: &Path, node: NodeId) -> Result<()> {
        if self.rng.u8(..3) != 0 {
            return Ok(());
        }
        let seq = self.ops.len() as Seq;
        File::open(path)?.sync_all()?;
        if self.dirs.contains_key(&node) {
            return self.promise(Promise::Names { names: seq });
        }
        self.live.get_mut(&node).context("a file")?.unflushed = false;
        self.promise(Promise::File {
            node,
            seq,
            names: seq,
        })
    }
}
