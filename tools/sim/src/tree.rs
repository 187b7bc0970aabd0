// SPDX-License-Identifier: GPL-2.0

//! What a user does to names.

use crate::model::{self, Attributes};
use crate::mount::Shared;
use crate::sim::Sim;
use iomapfs_core::change::create;
use iomapfs_core::change::rename::{self, Side};
use iomapfs_core::change::{generation, link, replace, xattr, InodePart, Live};
use iomapfs_core::disk::xattr::{Name, Prefix};
use iomapfs_core::host::{new_attrs, NewNode};
use iomapfs_core::inode::How;
use kernel::error::{code::*, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What is to be made.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Link(&'a [u8]),
    /// A character device with number 0: what `rename` leaves as a whiteout.
    Device,
}

/// The extended attributes that an inode of this generation is born with. Some are equal to those of others.
fn born_with(generation: u32, values: bool) -> Attributes {
    let mut all = Attributes::new();
    let value = |len: usize| vec![1 + (generation >> 8) as u8 % 2; len];
    if generation % 3 == 0 {
        all.insert((Prefix::SECURITY.0, b"label".into()), value(12));
    }
    if generation % 5 == 0 {
        all.insert(
            (Prefix::ACL_ACCESS.0, vec![]),
            value(if values { 3000 } else { 157 }),
        );
    }
    all
}

/// The names of attributes that are set.
const NAMES: [(Prefix, &[u8]); 3] = [
    (Prefix::USER, b"a"),
    (Prefix::USER, b"long-name"),
    (Prefix::SECURITY, b"label"),
];

impl Sim {
    /// Whether values of attributes can be in inodes of their own.
    fn has_values(&self) -> bool {
        self.mount.vol.layout.value_seed().is_some()
    }

    /// Blocks that a value may need.
    fn value_blocks(&self) -> u64 {
        match self.has_values() {
            true => 28,
            false => 0,
        }
    }

    /// `setxattr`, `removexattr`: attribute number `name`, with a value of so many bytes or none.
    pub fn set_attribute(&mut self, ino: u32, name: u16, len: Option<u16>) {
        let node = self.node(ino);
        let (prefix, rest) = NAMES[usize::from(name) % NAMES.len()];
        let name = Name { prefix, rest };
        let key = (prefix.0, rest.to_vec());
        // All of them fit into a block, or are in inodes of their own.
        let longest = self.block_size as usize / 5;
        let values = self.has_values();
        let bytes = |len: u16| match usize::from(len) {
            len if values && len >= 60 => 40 * len,
            len => len % longest,
        };
        let value = len.map(|len| vec![1 + len as u8 % 2; bytes(len)]);
        let done = self.with_retry(|sim| {
            let done = xattr::set(&*node, name, value.as_deref(), How::Any, None);
            if done.is_ok() {
                let tid = node.noted_transaction(InodePart::Attributes);
                let mut all = sim.world.inode(ino).attributes.clone();
                match value.clone() {
                    Some(value) => all.insert(key.clone(), value),
                    None => all.remove(&key),
                };
                sim.world.attributes_changed(tid, ino, all);
            }
            sim.world.catch_up(&sim.mount);
            done
        });
        if let Err(error) = done {
            self.no_space(error, 1 + self.value_blocks(), values);
        }
    }

    /// Does something with names, twice if there was no space. What was made and did not get a name is freed after each
    /// time.
    fn attempt<R>(&mut self, mut f: impl FnMut(&mut Self) -> Result<R>) -> Result<R> {
        self.with_retry(|sim| {
            let result = f(sim);
            sim.world.catch_up(&sim.mount);
            for node in sim.mount.take_dropped() {
                sim.free(&node);
            }
            result
        })
    }

    /// An inode that is to be made.
    fn newborn(&self, what: What<'_>, generation: u32) -> NewNode {
        let (mode, links) = match what {
            What::File => (0o100_644, 1),
            What::Dir => (0o040_755, 2),
            What::Link(_) => (0o120_777, 1),
            What::Device => (0o020_000, 1),
        };
        let newborn = NewNode::new(&self.mount, new_attrs(mode, links), generation);
        let add = |newborn: NewNode, ((prefix, rest), value): (&(u8, Vec<u8>), &Vec<u8>)| {
            newborn.with_attribute(Prefix(*prefix), rest, value)
        };
        born_with(generation, self.has_values())
            .iter()
            .fold(newborn, add)
    }

    /// Makes something with a name.
    pub fn create(&mut self, dir: u32, name: &[u8], what: What<'_>) {
        let parent = self.node(dir);
        let generation = self.next_generation();
        let made = self.attempt(|sim| {
            let newborn = sim.newborn(what, generation);
            let what = match what {
                What::File | What::Dir => create::What::Plain,
                What::Link(target) => create::What::Link { target },
                What::Device => create::What::Special,
            };
            create::create(&*parent, name, newborn, what)
        });
        if let Ok(node) =
            made.inspect_err(|error| self.no_space(*error, 2 + self.value_blocks(), true))
        {
            self.adopt_new(dir, Some(name), node.unlock(), what);
        }
    }

    /// Makes a file without a name, which is open.
    pub fn tmpfile(&mut self, dir: u32) {
        let parent = self.node(dir);
        let generation = self.next_generation();
        let made =
            self.attempt(|sim| create::tmpfile(&*parent, sim.newborn(What::File, generation)));
        if let Ok(node) =
            made.inspect_err(|error| self.no_space(*error, 1 + self.value_blocks(), true))
        {
            let node = node.unlock();
            let ino = node.ino().get();
            self.adopt_new(dir, None, node, What::File);
            self.open(ino);
        }
    }

    /// There is a new inode.
    fn adopt_new(&mut self, dir: u32, name: Option<&[u8]>, node: Shared, what: What<'_>) {
        let (ino, links) = (node.ino().get(), node.links());
        let (kind, target) = match what {
            What::File => (model::Kind::File, Vec::new()),
            What::Dir => (model::Kind::Dir, Vec::new()),
            What::Link(target) => (model::Kind::Link, target.to_vec()),
            What::Device => (model::Kind::Device, Vec::new()),
        };
        let generation = node.map_lock().generation;
        let inode = model::Inode {
            kind,
            generation,
            attributes: born_with(generation, self.has_values()),
            links,
            size: target.len() as u64,
            blocks: BTreeMap::new(),
            ends: BTreeMap::new(),
            unwritten: BTreeSet::new(),
            may_be_cut: false,
            names: BTreeMap::new(),
            parent: dir,
            target,
            synced: Rc::default(),
            whole: Rc::default(),
            versions: Rc::default(),
        };
        assert!(
            !self.nodes.contains_key(&ino) && !self.world.model.contains_key(&ino),
            "inode {ino} is in use and was taken again"
        );
        self.nodes.insert(ino, node);
        self.world.model.insert(ino, Rc::new(inode));
        if let Some(name) = name {
            self.world.inode(dir).names.insert(name.to_vec(), ino);
            self.note_links(dir);
        }
    }

    /// Gives an inode another generation, where it may have one.
    pub fn set_generation(&mut self, ino: u32) {
        let node = self.node(ino);
        let number = self.next_generation();
        let can = generation::can_change(&self.mount.vol.layout);
        match generation::set_generation(&*node, number) {
            Ok(()) => {
                assert!(can, "the generation is part of checksums");
                self.world.inode(ino).generation = number;
            }
            Err(error) => assert!(error == ENOTTY && !can, "set_generation: {error:?}"),
        }
        self.world.catch_up(&self.mount);
    }

    fn note_links(&mut self, ino: u32) {
        let links = self.node(ino).links();
        self.world.inode(ino).links = links;
    }

    /// `link`
    pub fn link(&mut self, ino: u32, dir: u32, name: &[u8]) {
        let (node, parent) = (self.node(ino), self.node(dir));
        let done = self.attempt(|_| link::link(&*node, &*parent, name));
        let done = done.inspect_err(|error| self.no_space(*error, 0, false));
        if done.is_ok() {
            self.world.inode(dir).names.insert(name.to_vec(), ino);
            let inode = self.world.inode(ino);
            // Who does not know what is behind its end leaves that to a recovery.
            inode.may_be_cut |= inode.links == 0 && !node.has_clean_end();
            inode.links += 1;
            assert_eq!(node.links(), inode.links);
        }
    }

    /// `unlink` and `rmdir`
    pub fn unlink(&mut self, dir: u32, name: &[u8]) {
        let ino = self.world.model[&dir].names[name];
        let (node, parent) = (self.node(ino), self.node(dir));
        let empty = self.world.model[&ino].names.is_empty();
        let done = link::unlink(&*parent, name, &*node);
        self.world.catch_up(&self.mount);
        match done {
            Ok(()) => assert!(empty, "directory {ino} was removed with names in it"),
            Err(error) => {
                assert!(error == ENOTEMPTY && !empty, "unlink: {error:?}");
                return;
            }
        }
        self.world.inode(dir).names.remove(name);
        // Before the inode is freed, which may take other transactions.
        self.note_links(dir);
        self.lost_name(ino);
    }

    fn lost_name(&mut self, ino: u32) {
        self.note_links(ino);
        if !self.open.contains(&ino) {
            self.put(ino);
        }
    }

    /// `rename`; whether it is allowed is for the caller. A `whiteout` may be left under the old name.
    pub fn rename(&mut self, from: (u32, &[u8]), to: (u32, &[u8]), whiteout: bool) {
        let ino = self.world.model[&from.0].names[from.1];
        let victim = self.world.model[&to.0].names.get(to.1).copied();
        let (old_dir, new_dir, node) = (self.node(from.0), self.node(to.0), self.node(ino));
        let gone = victim.map(|victim| self.node(victim));
        let old = Side {
            dir: &*old_dir,
            name: from.1,
            inode: Some(&*node),
        };
        let new = Side {
            dir: &*new_dir,
            name: to.1,
            inode: gone.as_deref(),
        };
        let is_file = |ino: u32| self.world.model[&ino].kind == model::Kind::File;
        let replaces = victim.is_some_and(is_file) && is_file(ino);
        if replaces {
            let written = replace::write_first(&*node, |range| {
                let end = self.blocks_for(range.end);
                self.write_and_wait(&node, 0, end);
                Ok(())
            });
            written.expect("all can be written");
        }
        let whiteout = whiteout.then(|| self.next_generation());
        let done = self.attempt(|sim| {
            let newborn = whiteout.map(|generation| sim.newborn(What::Device, generation));
            rename::rename(old, new, newborn)
        });
        let left = match done {
            Ok(left) => left,
            Err(error) if error == ENOTEMPTY => {
                let full = victim.is_some_and(|ino| !self.world.model[&ino].names.is_empty());
                return assert!(full, "rename: what it goes over is empty");
            }
            Err(error) => return self.no_space(error, 1 + self.value_blocks(), whiteout.is_some()),
        };
        let over = victim.map(|ino| &self.world.model[&ino]);
        assert!(
            over.is_none_or(|inode| inode.names.is_empty()),
            "rename went over a directory with names in it"
        );
        if replaces {
            let shown = self.world.model[&ino].size;
            assert_eq!(
                shown,
                node.size(),
                "rename replaced a file by a part of another"
            );
            assert!(
                !self.is_dirty(ino),
                "rename replaced a file by what is not written"
            );
        }
        self.world.inode(from.0).names.remove(from.1);
        self.world.inode(to.0).names.insert(to.1.to_vec(), ino);
        self.has_parent(ino, to.0);
        if let Some(left) = left {
            self.adopt_new(from.0, Some(from.1), left.unlock(), What::Device);
        }
        self.note_links(from.0);
        self.note_links(to.0);
        if let Some(victim) = victim {
            self.lost_name(victim);
        }
    }

    fn has_parent(&mut self, ino: u32, dir: u32) {
        if self.world.model[&ino].kind == model::Kind::Dir {
            self.world.inode(ino).parent = dir;
        }
    }

    /// `rename` with `RENAME_EXCHANGE`; whether it is allowed is for the caller.
    pub fn exchange(&mut self, one: (u32, &[u8]), other: (u32, &[u8])) {
        let ino = |name: (u32, &[u8])| self.world.model[&name.0].names[name.1];
        let (old, new) = (ino(one), ino(other));
        let dirs = (self.node(one.0), self.node(other.0));
        let nodes = (self.node(old), self.node(new));
        let first = Side {
            dir: &*dirs.0,
            name: one.1,
            inode: Some(&*nodes.0),
        };
        let second = Side {
            dir: &*dirs.1,
            name: other.1,
            inode: Some(&*nodes.1),
        };
        rename::exchange(first, second).expect("all that it needs is there");
        self.world.catch_up(&self.mount);
        self.world.inode(one.0).names.insert(one.1.to_vec(), new);
        self.world
            .inode(other.0)
            .names
            .insert(other.1.to_vec(), old);
        self.has_parent(old, other.0);
        self.has_parent(new, one.0);
        self.note_links(one.0);
        self.note_links(other.0);
    }
}
