// SPDX-License-Identifier: GPL-2.0

//! The use of one image: what of it is held, what was seen, and which change is next.

use super::names::New;
use arbitrary::Unstructured;
use iomapfs_core::change::generation::set_generation;
use iomapfs_core::change::xattr::set;
use iomapfs_core::change::{label, Live};
use iomapfs_core::disk::xattr::{Name, Prefix};
use iomapfs_core::disk::{FileType, Ino};
use iomapfs_core::host::{Mounted, Node};
use iomapfs_core::inode::How;
use kernel::error::{code::*, Result};
use std::collections::BTreeMap;
use std::rc::Rc;

/// When inodes are deleted, in seconds of Unix time.
pub(super) const NOW: u32 = 1_700_000_000;

/// A name that was seen.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) dir: u32,
    pub(super) name: Vec<u8>,
    pub(super) ino: u32,
}

/// The use of one image.
pub(super) struct Visit<'d> {
    pub(super) fs: Rc<Mounted>,
    pub(super) u: Unstructured<'d>,
    pub(super) nodes: BTreeMap<u32, Rc<Node>>,
    pub(super) seen: Vec<Seen>,
    /// Whether an error came or something was reported.
    pub(super) flawed: bool,
    reported: bool,
    made: u32,
}

impl<'d> Visit<'d> {
    pub(super) fn new(fs: &Rc<Mounted>, u: Unstructured<'d>) -> Self {
        Self {
            fs: fs.clone(),
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
        let reports = self.fs.vol.store.take_reports();
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

    /// The inode, which stays in memory.
    pub(super) fn get(&mut self, ino: u32) -> Option<Rc<Node>> {
        if let Some(node) = self.nodes.get(&ino) {
            return Some(node.clone());
        }
        match Node::get(&self.fs, Ino::new(ino)?) {
            Ok(node) => {
                self.note(Ok(()));
                self.nodes.insert(ino, node.clone());
                Some(node)
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
        match self.number(24) {
            0 => self.create(New::File),
            1 => {
                let target = self.number(120) as usize + 1;
                let kinds = [New::Link(target), New::Device, New::Nameless];
                let kind = self.number(2) as usize;
                self.create(kinds[kind])
            }
            2 => self.create(New::Directory),
            3..=4 => self.unlink(),
            5 => self.rename(),
            6 => self.replace(),
            7 => self.link(),
            8..=9 => self.write(),
            10..=11 => self.truncate(),
            12 => self.commit(),
            13..=14 => self.fallocate(),
            15 => self.trim(),
            16 => self.write_memory(),
            17 => self.write_aside(),
            18 => self.exchange(),
            19 => self.set_label(),
            20 => self.set_generation(),
            21..=22 => self.set_attribute(),
            _ => {
                // Everything is read and checked again.
                self.forget_all();
                self.fs.vol.store.drop_cache();
                self.fs.vol.space.shrink(u32::MAX);
                Ok(())
            }
        }
    }

    /// The volume gets a name or a UUID.
    fn set_label(&mut self) -> Result {
        let byte = self.number(255) as u8;
        let done = match self.number(1) {
            0 => label::set_label(&self.fs.vol, &[byte; label::LABEL_MAX]),
            _ => label::set_uuid(&self.fs.vol, &[byte | 1; 16]),
        };
        match done {
            Err(error) if error == EOPNOTSUPP => Ok(()),
            done => done,
        }
    }

    /// An inode gets another generation.
    fn set_generation(&mut self) -> Result {
        let Some(node) = self.some(|_| true) else {
            return Ok(());
        };
        match set_generation(&*node, self.number(u32::MAX)) {
            Err(error) if error == ENOTTY => Ok(()),
            done => done,
        }
    }

    /// An inode gets or loses an extended attribute.
    fn set_attribute(&mut self) -> Result {
        let Some(node) = self.some(|_| true) else {
            return Ok(());
        };
        let prefixes = [Prefix::USER, Prefix::SECURITY, Prefix::ACL_ACCESS];
        let name = Name {
            prefix: prefixes[self.number(2) as usize],
            rest: [&b"a"[..], b"b", b"long-name", b""][self.number(3) as usize],
        };
        let len = match self.number(3) {
            0 => 4000 + self.number(5000),
            _ => self.number(700),
        };
        let value = vec![self.number(2) as u8; len as usize];
        let value = (self.number(3) != 0).then_some(&*value);
        let how = [How::Any, How::Create, How::Replace][self.number(2) as usize];
        match set(&*node, name, value, how, None) {
            Err(error) if [EEXIST, ENODATA, ENOSPC].contains(&error) => Ok(()),
            done => done,
        }
    }

    /// All inodes leave memory.
    fn forget_all(&mut self) {
        for node in std::mem::take(&mut self.nodes).into_values() {
            node.evict();
        }
    }

    /// A directory among the inodes that are held.
    pub(super) fn some_dir(&mut self) -> Option<Rc<Node>> {
        self.some(|kind| kind == FileType::Directory)
    }

    pub(super) fn some(&mut self, wanted: impl Fn(FileType) -> bool) -> Option<Rc<Node>> {
        let nodes = self.nodes.values();
        // What has no links could not be freed, and is nothing that a user can reach.
        let all: Vec<Rc<Node>> = nodes
            .filter(|node| wanted(node.file_type()) && node.links() > 0)
            .cloned()
            .collect();
        let nr = self.number(all.len().checked_sub(1)? as u32);
        Some(all[nr as usize].clone())
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
        self.forget_all();
        let done = self.commit();
        self.note(done);
        !self.flawed
    }
}
