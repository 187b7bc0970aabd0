// SPDX-License-Identifier: GPL-2.0

//! All that can be reached is looked at, as far as it goes.

use super::visit::{Seen, Visit};
use iomapfs_core::change::{Dir, Live};
use iomapfs_core::disk::acl;
use iomapfs_core::disk::symlink::{self, TargetFormat};
use iomapfs_core::disk::xattr::{Name, VALUE_MAX};
use iomapfs_core::disk::{FileType, Ino, LogicalBlock, PhysBlock};
use iomapfs_core::host::Node;
use iomapfs_core::inode::{dtime, Inode};
use iomapfs_core::map::State;
use iomapfs_core::names::{self, Cursor};
use iomapfs_core::store::Store;
use kernel::error::{code::*, Result};

/// Inodes that are held at most.
const MOST_NODES: usize = 48;
/// Names that are listed of one directory at most.
const MOST_NAMES: usize = 1500;

impl Visit<'_> {
    /// Looks at all that can be reached, as far as it goes.
    pub(super) fn look(&mut self) {
        let looked = self.look_at_usage();
        self.note(looked);
        let mut todo = vec![Ino::ROOT.get()];
        let mut done = Vec::new();
        self.seen.clear();
        while let Some(ino) = todo.pop() {
            if done.contains(&ino) || done.len() >= MOST_NODES {
                continue;
            }
            done.push(ino);
            let Some(node) = self.get(ino) else {
                continue;
            };
            let looked = self.check_map(&node);
            self.note(looked);
            let looked = self.look_at_attributes(&node);
            self.note(looked);
            if node.file_type() == FileType::Directory {
                let first = self.seen.len();
                let listed = self.list(ino, &node);
                self.note(listed);
                let new = self.seen[first..].iter().map(|seen| seen.ino);
                todo.extend(new.filter(|ino| !done.contains(ino)));
                todo.sort_unstable();
                todo.dedup();
            }
        }
    }

    /// Looks at what the blocks of the device are for.
    fn look_at_usage(&self) -> Result {
        let vol = &self.fs.vol;
        let all = PhysBlock::new(0)..PhysBlock::new(u64::MAX);
        vol.space.usage(&vol.store, all, |piece| {
            let end = piece.end().get();
            assert!(
                piece.len != 0 && end <= vol.layout.blocks_count(),
                "{piece:?} is told"
            );
            Ok(true)
        })
    }

    fn look_at_attributes(&self, node: &Node) -> Result {
        let mut inode = node.map_lock();
        let mut names = Vec::new();
        inode.list_attributes(&self.fs.vol, |name| {
            names.push((name.prefix, name.rest.to_vec()));
            Ok(())
        })?;
        for (prefix, rest) in &names {
            let (prefix, rest) = (*prefix, &rest[..]);
            let mut value = [0; VALUE_MAX];
            let len = inode.attribute(&self.fs.vol, Name { prefix, rest }, &mut value)?;
            if prefix.is_acl() {
                match acl::decode(&value[..len]) {
                    Ok(entries) => assert!(entries.len() <= len / 4),
                    Err(error) => assert!(error == EINVAL),
                }
            }
        }
        dtime(&self.fs.vol, inode.ino)?;
        if let Some(found) = inode.attributes(&self.fs.vol)? {
            let end = found.start.saturating_add(found.len.into());
            let bits = self.fs.vol.layout.block_size().bits();
            assert!(end.wrapping_shr(bits) <= self.fs.vol.layout.blocks_count());
        }
        if let Some(target) = inode.fast_target() {
            assert!(target.len() <= Inode::MAX_FAST_TARGET);
        } else if node.file_type() == FileType::Symlink {
            let found = inode.map.lookup(&self.fs.vol, LogicalBlock::ZERO, 1)?;
            if let (Some(nr), State::Written) = (found.phys, found.state) {
                let size = inode.disk_size;
                self.fs.vol.store.read(nr, TargetFormat)?.with(|bytes| {
                    if let Ok(target) = symlink::target(bytes, size) {
                        assert!(target.len() as u64 == size && !target.contains(&0));
                    }
                });
            }
        }
        Ok(())
    }

    /// Looks at the whole map, as reading the file would.
    fn check_map(&self, node: &Node) -> Result {
        let vol = &self.fs.vol;
        let mut at = LogicalBlock::ZERO;
        let mut inode = node.map_lock();
        // As many as can be in an image, and more.
        for _ in 0..20_000 {
            if at >= LogicalBlock::LIMIT {
                return Ok(());
            }
            let found = inode.map.lookup(vol, at, u32::MAX)?;
            assert!(
                found.start == at && found.end() > at,
                "{found:?} for {at:?}"
            );
            if let Some(phys) = found.phys {
                assert!(
                    vol.layout.contains(phys, found.len),
                    "inode {} has blocks {found:?} that there are not",
                    inode.ino.get()
                );
                assert!(
                    !vol.space.is_system(phys, found.len),
                    "inode {} has blocks {found:?} of the file system's own",
                    inode.ino.get()
                );
            }
            at = found.end();
        }
        panic!("a map without end");
    }

    /// Lists a directory in pieces, and looks its names up.
    fn list(&mut self, ino: u32, node: &Node) -> Result {
        let dir = Dir::new(node);
        let narrow = self.u.ratio(1, 8).unwrap_or(false);
        let piece = self.u.int_in_range(1..=200).unwrap_or(50);
        let mut cursor = Cursor::new(narrow);
        let mut found: Vec<Seen> = Vec::new();
        let mut calls = 0;
        loop {
            let mut room = piece;
            let progress = names::readdir(&dir, &mut cursor, |listed| {
                assert!(!listed.name.is_empty() && listed.name.len() <= 255);
                assert!(listed.ino.get() <= self.fs.vol.layout.inodes_count());
                if room == 0 {
                    return false;
                }
                room -= 1;
                if !matches!(listed.name, b"." | b"..") {
                    found.push(Seen {
                        dir: ino,
                        name: listed.name.to_vec(),
                        ino: listed.ino.get(),
                    });
                }
                true
            });
            calls += 1;
            assert!(calls < 100_000, "a directory without end");
            match progress {
                Ok(names::Listing::End) => break,
                Ok(_) if found.len() < MOST_NAMES => {}
                Ok(_) => break,
                Err(error) => {
                    self.seen.append(&mut found);
                    return Err(error);
                }
            }
        }
        let step = found.len() / 12 + 1;
        for seen in found.iter().step_by(step) {
            names::lookup(&dir, &seen.name)?;
        }
        names::lookup(&dir, b"not there")?;
        names::lookup(&dir, b"..")?;
        names::is_empty(&dir)?;
        self.seen.append(&mut found);
        Ok(())
    }
}
