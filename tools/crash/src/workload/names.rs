// SPDX-License-Identifier: GPL-2.0

//! The operations on names and attributes.

use super::{Live, Worker};
use crate::content;
use crate::history::{Attrs, How, Kind, Name, NodeId, Op, Promise, Seq};
use anyhow::{ensure, Context, Result};
use rustix::fs::{renameat_with, utimensat, AtFlags, RenameFlags, Timespec, Timestamps, CWD};
use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{chown, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};

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
        let meta = fs::symlink_metadata(&path)?;
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
            ino: meta.ino(),
            attrs: Attrs {
                mtime: None,
                ..Attrs::of(&meta)
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
            let (node, len, offset) = (*node, 10_000, self.rng.u64(..60_000));
            let seq = self.ops.len() as Seq + 1;
            file.write_all_at(&content::bytes(node, seq, offset, len as usize), offset)?;
            self.did(Op::Write {
                node,
                offset,
                len,
                how: How::Plain,
            });
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
        let now = Attrs::of(&fs::symlink_metadata(&path)?);
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
        self.did(Op::Set { node, attrs });
        if self.rng.u8(..3) != 0 {
            return Ok(());
        }
        let seq = self.ops.len() as Seq;
        File::open(&path)?.sync_all()?;
        if is_dir {
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
