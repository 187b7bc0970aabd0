// SPDX-License-Identifier: GPL-2.0

//! What the tests of file maps share.

#![allow(dead_code)]

use iomapfs_core::disk::extent::ExtentNodeFormat;
use iomapfs_core::disk::{Group, Ino, LogicalBlock, PhysBlock};
pub use iomapfs_core::host::mount;
use iomapfs_core::host::{HostStore, Image};
use iomapfs_core::inode::{Attrs, Inode};
use iomapfs_core::map::{FileMap, Mapping, Progress, State};
use iomapfs_core::space::{Goal, Share};
use iomapfs_core::store::{Credits, Store, Transaction};
use iomapfs_core::volume::Volume;
use kernel::error::Result;

pub type Vol = Volume<HostStore>;

pub fn block(nr: u32) -> LogicalBlock {
    LogicalBlock::new(nr)
}

pub fn goal() -> Goal {
    Goal::in_group(Group::new(0))
}

/// Makes empty files with debugfs; gives their inode numbers.
#[track_caller]
pub fn make_files(image: &Image, names: &[&str]) -> Vec<Ino> {
    let empty = std::env::temp_dir().join(format!("iomapfs-empty-{}", std::process::id()));
    std::fs::write(&empty, b"").unwrap();
    let commands: Vec<String> = names
        .iter()
        .map(|name| format!("write {} {name}", empty.display()))
        .collect();
    image.debugfs(&commands);
    names
        .iter()
        .map(|name| {
            let out = image.debugfs(&[format!("stat {name}")]);
            let nr = out
                .split("Inode: ")
                .nth(1)
                .unwrap()
                .split_whitespace()
                .next();
            Ino::new(nr.unwrap().parse().unwrap()).unwrap()
        })
        .collect()
}

/// What is called when a handle was restarted.
pub type Restarted = Box<dyn FnMut(&Vol)>;

/// A file in use, open for writing.
pub struct File {
    pub inode: Inode,
    pub attrs: Attrs,
    /// Called whenever a handle was restarted: the transaction before may be the last one before a crash.
    pub restarted: Option<Restarted>,
}

impl File {
    #[track_caller]
    pub fn open(vol: &Vol, ino: Ino) -> Self {
        let (mut inode, attrs) = Inode::read(vol, ino)
            .unwrap_or_else(|e| panic!("{e:?}: {:?}", vol.store.take_reports()));
        inode.map.add_writer();
        Self {
            inode,
            attrs,
            restarted: None,
        }
    }

    pub fn map(&mut self) -> &mut FileMap {
        &mut self.inode.map
    }

    pub fn lookup(&mut self, vol: &Vol, at: u32, len: u32) -> Mapping {
        self.inode.map.lookup(vol, block(at), len).unwrap()
    }

    /// Runs steps in a handle with just what `credits` says, and the inode, until all is done.
    fn steps(
        &mut self,
        vol: &Vol,
        credits: impl Fn(u16) -> Credits,
        mut step: impl FnMut(
            &mut FileMap,
            &mut <HostStore as Store>::Tx<'_>,
            Credits,
        ) -> Result<Progress>,
    ) -> Result {
        let mut granted = credits(self.inode.map.snapshot().depth());
        let mut tx = vol.store.begin(granted + Inode::WRITE_CREDITS)?;
        for _ in 0..1_000_000 {
            match step(&mut self.inode.map, &mut tx, granted) {
                Ok(Progress::Done) => return self.inode.write(vol, &mut tx, &self.attrs),
                Ok(Progress::Again(_)) => {
                    self.inode.write(vol, &mut tx, &self.attrs)?;
                    granted = credits(self.inode.map.snapshot().depth());
                    let credits = granted.blocks + Inode::WRITE_CREDITS.blocks;
                    if tx.ensure(Credits::new(credits, granted.revokes))? {
                        if let Some(restarted) = &mut self.restarted {
                            restarted(vol);
                        }
                    }
                }
                Err(error) => {
                    self.inode.write(vol, &mut tx, &self.attrs)?;
                    return Err(error);
                }
            }
        }
        panic!("no progress");
    }

    /// Commits a range, and raises the size to its end.
    pub fn commit(&mut self, vol: &Vol, at: u32, len: u32) -> Result {
        self.commit_with(vol, at, len, 1)
    }

    /// Like [`Self::commit`], with credits for `many` runs at once.
    pub fn commit_with(&mut self, vol: &Vol, at: u32, len: u32, many: u32) -> Result {
        let end = (u64::from(at) + u64::from(len)) << vol.layout.block_size().bits();
        self.inode.disk_size = self.inode.disk_size.max(end);
        let mut next = block(at);
        let to = block(at).saturating_add(len);
        let credits = |depth| {
            let one = FileMap::publish_credits(vol, depth);
            Credits {
                blocks: one.blocks * many,
                ..one
            }
        };
        self.steps(vol, credits, |map, tx, granted| {
            let progress =
                map.publish(vol, tx, next, to.saturating_distance_from(next), granted)?;
            if let Progress::Again(at) = progress {
                next = at;
            }
            Ok(progress)
        })
    }

    /// Removes a range.
    pub fn remove(&mut self, vol: &Vol, from: u32, to: u32) -> Result {
        self.remove_with(vol, from, to, 0)
    }

    /// Like [`Self::remove`], with `more` credits than the least.
    pub fn remove_with(&mut self, vol: &Vol, from: u32, to: u32, more: u32) -> Result {
        let mut end = block(to);
        let credits = |depth| {
            let least = FileMap::remove_credits(vol, depth);
            Credits {
                blocks: least.blocks + more,
                revokes: least.revokes + more,
            }
        };
        self.steps(vol, credits, |map, tx, granted| {
            let progress = map.remove(vol, tx, block(from), end, granted)?;
            if let Progress::Again(at) = progress {
                end = at;
            }
            Ok(progress)
        })
    }

    /// Allocates up to `len` blocks, written at once. Gives what was got.
    pub fn allocate(&mut self, vol: &Vol, at: u32, len: u32) -> Result<Mapping> {
        let credits = FileMap::publish_credits(vol, self.inode.map.depth());
        let mut tx = vol.store.begin(credits + Inode::WRITE_CREDITS)?;
        let run = self
            .inode
            .map
            .allocate(vol, &mut tx, block(at), len, goal(), Share::All)?;
        let end = (u64::from(at) + u64::from(run.len)) << vol.layout.block_size().bits();
        self.inode.disk_size = self.inode.disk_size.max(end);
        self.inode.write(vol, &mut tx, &self.attrs)?;
        Ok(Mapping {
            start: block(at),
            len: run.len,
            state: State::Written,
            phys: Some(run.start),
            seq: self.inode.map.snapshot().seq(),
        })
    }

    /// Preallocates up to `len` blocks. Gives what is there then.
    pub fn preallocate(&mut self, vol: &Vol, at: u32, len: u32) -> Result<Mapping> {
        self.preallocate_near(vol, at, len, None)
    }

    /// As [`Self::preallocate`], near a device block.
    pub fn preallocate_near(
        &mut self,
        vol: &Vol,
        at: u32,
        len: u32,
        near: Option<u64>,
    ) -> Result<Mapping> {
        let goal = Goal {
            near: near.map(PhysBlock::new),
            ..goal()
        };
        let credits = FileMap::publish_credits(vol, self.inode.map.depth());
        let mut tx = vol.store.begin(credits + Inode::WRITE_CREDITS)?;
        let map = &mut self.inode.map;
        let from = (&mut 0, Share::All);
        let got = map.preallocate(vol, &mut tx, (block(at), len), goal, from, credits)?;
        self.inode.write(vol, &mut tx, &self.attrs)?;
        Ok(got.expect("credits were enough"))
    }

    /// Makes a range unwritten where it is written.
    pub fn unwrite(&mut self, vol: &Vol, from: u32, to: u32) -> Result {
        let mut at = block(from);
        let credits = |depth| FileMap::publish_credits(vol, depth);
        self.steps(vol, credits, |map, tx, granted| {
            let len = block(to).saturating_distance_from(at);
            match map.unwrite(vol, tx, at, len, granted)? {
                Some(found) if found.end() >= block(to) => return Ok(Progress::Done),
                Some(found) => at = found.end(),
                None => (),
            }
            Ok(Progress::Again(at))
        })
    }

    /// Moves a range to the end of the map, to `least` or behind. Gives where it is then.
    pub fn collapse(&mut self, vol: &Vol, from: u32, to: u32, least: u32) -> Result<(u32, u32)> {
        let credits = self.inode.map.shift_credits(vol, block(from))?;
        let mut tx = vol.store.begin(credits + Inode::WRITE_CREDITS)?;
        let range = block(from)..block(to);
        let moved = self
            .inode
            .map
            .collapse(vol, &mut tx, range, block(least), credits);
        self.inode.write(vol, &mut tx, &self.attrs)?;
        let moved = moved?.expect("credits were enough");
        Ok((moved.start.get(), moved.end.get()))
    }

    /// Makes a hole of `len` blocks, before which nothing moves.
    pub fn insert(&mut self, vol: &Vol, from: u32, len: u32) -> Result {
        let credits = self.inode.map.shift_credits(vol, block(from))?;
        let mut tx = vol.store.begin(credits + Inode::WRITE_CREDITS)?;
        let map = &mut self.inode.map;
        let done = map.insert(vol, &mut tx, block(from), len, credits);
        self.inode.write(vol, &mut tx, &self.attrs)?;
        assert!(done?, "credits were enough");
        Ok(())
    }

    /// Checks the extent tree as it is now, past the cache and without the code that is tested: depths, counts, order;
    /// keys that are exactly those of the children, which end before the next key; and that `i_blocks` is what the tree
    /// holds.
    #[track_caller]
    pub fn check_tree(&self, vol: &Vol) {
        let root = *self.inode.map.root();
        let depth = u16_at(&root, 6);
        let mut blocks = 0;
        self.check_node(vol, &root, depth, None, 1 << 32, &mut blocks);
        let spb = vol.layout.block_size().sectors();
        assert_eq!(self.inode.map.sectors(), blocks * spb, "i_blocks");
    }

    /// Checks a node whose first key is `from`, if it has a parent, and whose range ends at `to`.
    #[track_caller]
    fn check_node(
        &self,
        vol: &Vol,
        bytes: &[u8],
        depth: u16,
        from: Option<u64>,
        to: u64,
        blocks: &mut u64,
    ) {
        let (entries, max) = (u16_at(bytes, 2), u16_at(bytes, 4));
        assert_eq!((u16_at(bytes, 0), u16_at(bytes, 6)), (0xf30a, depth));
        assert_eq!(usize::from(max), (bytes.len() - 12) / 12);
        assert!(entries <= max);
        assert!(entries > 0 || (from.is_none() && depth == 0), "empty node");
        let slot = |i: u16| (i < entries).then(|| &bytes[12 * (usize::from(i) + 1)..][..12]);
        let key = |i| slot(i).map(|slot| u64::from(u32_at(slot, 0)));
        if from.is_some() {
            assert_eq!(key(0), from, "key of a child");
        }
        for i in 0..entries {
            let (here, slot) = (key(i).unwrap(), slot(i).unwrap());
            let end = key(i + 1).unwrap_or(to);
            assert!(here < end, "{here} is not before {end}");
            if depth > 0 {
                let child = u64::from(u32_at(slot, 4)) | u64::from(u16_at(slot, 8)) << 32;
                let ino = self.inode.ino;
                let format = ExtentNodeFormat::new(&vol.layout, ino, self.inode.map.seed());
                let child = vol.store.read(PhysBlock::new(child), format).unwrap();
                let child = child.with(|bytes| bytes.to_vec());
                *blocks += 1;
                self.check_node(vol, &child, depth - 1, Some(here), end, blocks);
            } else {
                let len = match u16_at(slot, 4) {
                    len @ 1..=32768 => u64::from(len),
                    len => u64::from(len) - 32768,
                };
                assert!(len > 0 && here + len <= end, "{here}+{len} beyond {end}");
                *blocks += len;
            }
        }
    }

    /// All runs that are no holes.
    pub fn runs(&mut self, vol: &Vol) -> Vec<(u32, u32, State, Option<u64>)> {
        let mut runs: Vec<(u32, u32, State, Option<u64>)> = Vec::new();
        let mut at = LogicalBlock::ZERO;
        while at < LogicalBlock::LIMIT {
            let mapping = self.inode.map.lookup(vol, at, u32::MAX).unwrap();
            assert_eq!(mapping.start, at);
            assert!(mapping.len > 0);
            if mapping.state != State::Hole {
                let phys = mapping.phys.map(|phys| phys.get());
                match runs.last_mut() {
                    Some(last)
                        if last.0 + last.1 == at.get()
                            && last.2 == mapping.state
                            && last.3.map(|phys| phys + u64::from(last.1)) == phys =>
                    {
                        last.1 += mapping.len;
                    }
                    _ => runs.push((at.get(), mapping.len, mapping.state, phys)),
                }
            }
            at = mapping.end();
        }
        runs
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Commits the running transaction; its freed blocks can be used again.
pub fn commit_journal(vol: &Vol) {
    let tid = vol.store.commit().unwrap();
    vol.space.committed(tid, |_| ());
}

/// Saves the image. The free counts in the super block are those of the bitmaps, as after an unmount.
pub fn save(vol: &Vol, image: &Image) {
    commit_journal(vol);
    vol.store.save(image.path()).unwrap();
    let counts = vol.space.counts();
    image.debugfs(&[
        format!("ssv free_blocks_count {}", counts.free_blocks_on_disk),
        format!("ssv free_inodes_count {}", counts.free_inodes),
    ]);
}

/// The image as recovery leaves it after a crash now.
pub fn crashed(vol: &Vol, image: &Image) -> Image {
    let copy = image.copy();
    vol.store.recovered().save(copy.path()).unwrap();
    // The free counts of the super block are written at an unmount; recovery adds them up.
    let counts = mount(&copy).space.counts();
    copy.debugfs(&[
        format!("ssv free_blocks_count {}", counts.free_blocks_on_disk),
        format!("ssv free_inodes_count {}", counts.free_inodes),
    ]);
    copy
}

/// What debugfs says of the extents of a file: joined runs (start, length, unwritten, device block).
pub fn dump_extents(image: &Image, name: &str) -> Vec<(u32, u32, State, Option<u64>)> {
    let out = image.debugfs(&[format!("dump_extents -n {name}"), format!("ex -l {name}")]);
    let mut runs: Vec<(u32, u32, State, Option<u64>)> = Vec::new();
    let mut seen = 0;
    for line in out.lines() {
        seen += usize::from(line.starts_with("Level"));
        // The second list has the leaves: "level/ depth  n/ max  from - to  phys - phys  len  flags".
        if seen != 2 || line.starts_with("Level") {
            continue;
        }
        let line = line.replace(['-', '/'], " ");
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.len() < 8 || words[0].parse::<u32>().is_err() {
            continue;
        }
        let number = |i: usize| words[i].parse::<u64>().unwrap();
        let (start, len, phys) = (number(4) as u32, number(8) as u32, number(6));
        let state = match words.get(9) {
            Some(&"Uninit") => State::Unwritten,
            _ => State::Written,
        };
        match runs.last_mut() {
            Some(last)
                if last.0 + last.1 == start
                    && last.2 == state
                    && last.3 == phys.checked_sub(u64::from(last.1)) =>
            {
                last.1 += len;
            }
            _ => runs.push((start, len, state, Some(phys))),
        }
    }
    runs
}
