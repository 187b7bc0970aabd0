// SPDX-License-Identifier: GPL-2.0

//! The use of one image: what of it is held, what was seen, and which change is next.

use super::node::{Node, Vol};
use arbitrary::Unstructured;
use iomapfs_core::disk::inode::FileKind;
use iomapfs_core::disk::Ino;
use iomapfs_core::inode::Inode;
use kernel::error::{code::*, Result};
use std::collections::BTreeMap;

/// A name that was seen.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) dir: u32,
    pub(super) name: Vec<u8>,
    pub(super) ino: u32,
}

/// The use of one image.
pub(super) struct Visit<'w, 'd> {
    pub(super) vol: &'w Vol,
    pub(super) u: &'w mut Unstructured<'d>,
    pub(super) nodes: BTreeMap<u32, Node>,
    pub(super) seen: Vec<Seen>,
    /// Whether an error came or something was reported.
    pub(super) flawed: bool,
    reported: bool,
    made: u32,
}

impl<'w, 'd> Visit<'w, 'd> {
    pub(super) fn new(vol: &'w Vol, u: &'w mut Unstructured<'d>) -> Self {
        Self {
            vol,
            u,
            nodes: BTreeMap::new(),
            seen: Vec::new(),
            flawed: false,
            reported: false,
            made: 0,
        }
    }

    /// Takes note of how something ended.
    pub(super) fn note(&mut self, result: Result) {
        self.note_many(result, 300);
    }

    /// [`Self::note`], with up to so many reports.
    pub(super) fn note_many(&mut self, result: Result, most: usize) {
        let reports = self.vol.store.take_reports();
        assert!(reports.len() < most, "{} reports at once", reports.len());
        assert!(reports.iter().all(|line| !line.trim().is_empty()));
        self.reported |= !reports.is_empty();
        self.flawed |= !reports.is_empty();
        if let Err(error) = result {
            assert!(
                error != EUCLEAN || self.reported,
                "EUCLEAN, and nothing was said"
            );
            self.flawed |= ![ENOSPC, EEXIST, ENOENT, EMLINK].contains(&error);
        }
    }

    /// The inode, to be put back.
    pub(super) fn take(&mut self, ino: u32) -> Option<Node> {
        if let Some(node) = self.nodes.remove(&ino) {
            return Some(node);
        }
        match Inode::read(self.vol, Ino::new(ino)?) {
            Ok(read) => {
                self.note(Ok(()));
                Some(Node::new(read))
            }
            Err(error) => {
                self.note(Err(error));
                self.flawed = true;
                None
            }
        }
    }

    /// Changes this and that.
    pub(super) fn change(&mut self) {
        for _ in 0..self.u.int_in_range(2..=24).unwrap_or(2) {
            if self.u.is_empty() {
                break;
            }
            let result = self.one_change();
            self.note(result);
        }
    }

    pub(super) fn number(&mut self, most: u32) -> u32 {
        self.u.int_in_range(0..=most).unwrap_or(0)
    }

    fn one_change(&mut self) -> Result {
        match self.number(13) {
            0..=1 => self.create(false),
            2 => self.create(true),
            3..=4 => self.unlink(),
            5 => self.rename(),
            6 => self.link(),
            7..=8 => self.write(),
            9 => self.preallocate(),
            10..=11 => self.truncate(),
            12 => self.commit(),
            _ => {
                // Everything is read and checked again.
                for (_, node) in std::mem::take(&mut self.nodes) {
                    node.inode.into_inner().map.evict(self.vol);
                }
                self.vol.store.drop_cache();
                self.vol.space.shrink(u32::MAX);
                Ok(())
            }
        }
    }

    /// A directory among the inodes that are held.
    pub(super) fn some_dir(&mut self) -> Option<(u32, Node)> {
        self.some(|kind| kind == FileKind::Directory)
    }

    pub(super) fn some(&mut self, wanted: impl Fn(FileKind) -> bool) -> Option<(u32, Node)> {
        let all: Vec<u32> = self
            .nodes
            .iter()
            .filter(|(_, node)| wanted(node.attrs.kind()))
            .map(|(ino, _)| *ino)
            .collect();
        let nr = self.number(all.len().checked_sub(1)? as u32);
        let ino = all[nr as usize];
        Some((ino, self.nodes.remove(&ino)?))
    }

    pub(super) fn new_name(&mut self) -> Vec<u8> {
        self.made += 1;
        let len = 8 + self.number(60) as usize;
        format!("{:0len$}", self.made).into_bytes()
    }

    /// A name that was seen, whose directory is held.
    pub(super) fn some_name(&mut self) -> Option<Seen> {
        let nr = self.number(self.seen.len().checked_sub(1)? as u32);
        let seen = self.seen.swap_remove(nr as usize);
        self.nodes.contains_key(&seen.dir).then_some(seen)
    }

    /// Gives everything up, and says whether all went as on a good image.
    pub(super) fn end(mut self) -> bool {
        for (_, node) in std::mem::take(&mut self.nodes) {
            node.inode.into_inner().map.evict(self.vol);
        }
        let done = self.commit();
        self.note(done);
        !self.flawed
    }
}
