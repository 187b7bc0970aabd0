// SPDX-License-Identifier: GPL-2.0

//! Names and links.

use super::{Check, Tree};
use crate::model::Kind;
use iomapfs_core::disk::Ino;
use std::collections::BTreeMap;

impl Check<'_> {
    /// That every inode has the names that it counts, and every name an inode.
    pub(super) fn check_links(&mut self, tree: &Tree) {
        let mut names: BTreeMap<u32, u32> = BTreeMap::new();
        let mut ways: BTreeMap<u32, u32> = BTreeMap::new();
        for (dir, found) in tree.iter().filter(|(_, found)| found.kind == Kind::Dir) {
            *names.entry(*dir).or_default() += 1;
            *names.entry(found.parent).or_default() += 1;
            for (ino, is) in &found.types {
                let kind = tree.get(ino).map(|child| child.kind);
                let should = match kind.filter(|_| self.layout.has_filetype()) {
                    None => 0,
                    Some(Kind::File) => 1,
                    Some(Kind::Dir) => 2,
                    Some(Kind::Link) => 7,
                    Some(Kind::Device) => 3,
                };
                self.expect(kind.is_none() || *is == should, || {
                    format!("directory {dir}: type of inode {ino} is {is}, should be {should}")
                });
            }
            for (name, ino) in &found.names {
                let name = String::from_utf8_lossy(name);
                match tree.get(ino) {
                    None => self.flaw(format!(
                        "directory {dir}: {name}: inode {ino} is not in use"
                    )),
                    Some(child) if child.kind == Kind::Dir => {
                        *ways.entry(*ino).or_default() += 1;
                        *names.entry(*ino).or_default() += 1;
                        self.expect(child.parent == *dir, || {
                            format!("directory {ino}: '..' leads to {}, not {dir}", child.parent)
                        });
                    }
                    Some(_) => *names.entry(*ino).or_default() += 1,
                }
            }
        }
        for (ino, found) in tree {
            let links = names.get(ino).copied().unwrap_or(0);
            self.expect(links == found.links, || {
                format!("inode {ino}: has {links} names, and counts {}", found.links)
            });
            if found.kind == Kind::Dir && *ino != Ino::ROOT.get() {
                let ways = ways.get(ino).copied().unwrap_or(0);
                self.expect(ways == 1, || format!("directory {ino}: has {ways} names"));
            }
        }
    }
}
