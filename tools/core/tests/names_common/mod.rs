// SPDX-License-Identifier: GPL-2.0

//! A directory with given blocks, for tests of `names` that need no allocator and no extent tree: its blocks
//! are those of a directory that `debugfs` made as large as the test needs it.

#![allow(dead_code)]

use iomapfs_core::disk::dx::LEVELS;
use iomapfs_core::disk::{CsumSeed, FileType, Ino, LogicalBlock, PhysBlock};
use iomapfs_core::host::{HostStore, Image, Mkfs, Tx};
use iomapfs_core::names::{self, Cursor, Directory, Known, Listed, Listing, Params};
use iomapfs_core::store::{Credits, Store};
use kernel::error::{code::*, Result};
use std::cell::Cell;
use std::collections::BTreeMap;

/// Names in the order in which they are listed.
pub type Names = Vec<(Vec<u8>, Ino)>;

/// Credits for any one change: [`FlatDir::append`] needs none.
pub const CREDITS: Credits = names::insert_credits(Credits::NONE, LEVELS);

/// A store over an image.
pub fn open(image: &Image) -> HostStore {
    HostStore::open(
        image.path(),
        image.layout(false).unwrap().block_size().bytes(),
    )
    .unwrap()
}

/// What `debugfs` says about a directory.
#[derive(Clone, Debug)]
pub struct Stat {
    pub ino: Ino,
    pub generation: u32,
    pub flags: u32,
    pub size: u64,
}

pub const INDEX_FL: u32 = 0x1000;

pub fn stat(image: &Image, path: &str) -> Stat {
    let text = image.debugfs(&[format!("stat {path}")]);
    let value = |name: &str| -> &str {
        let at = text
            .find(name)
            .unwrap_or_else(|| panic!("{name} of {path}: {text}"));
        text[at + name.len()..].split_whitespace().next().unwrap()
    };
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).unwrap(),
        None => text.parse().unwrap(),
    };
    Stat {
        ino: Ino::new(number(value("Inode: "))).unwrap(),
        generation: number(value("Generation: ")),
        flags: number(value("Flags: ")),
        size: value("Size: ").parse().unwrap(),
    }
}

/// The device blocks of a file.
pub fn blocks(image: &Image, path: &str, count: u64) -> Vec<PhysBlock> {
    let ask: Vec<_> = (0..count).map(|n| format!("bmap {path} {n}")).collect();
    let text = image.debugfs(&ask);
    let blocks: Vec<_> = text
        .lines()
        .filter_map(|line| line.trim().parse().ok())
        .map(PhysBlock::new)
        .collect();
    assert_eq!(blocks.len() as u64, count, "{text}");
    blocks
}

/// See the top of the file.
#[derive(Debug)]
pub struct FlatDir<'s> {
    store: &'s HostStore,
    params: Params,
    ino: Ino,
    seed: Option<CsumSeed>,
    /// The blocks that it has and may get.
    pool: Vec<PhysBlock>,
    /// How many it has.
    len: usize,
    indexed: bool,
    known: Cell<Known>,
    /// Blocks that are missing.
    pub holes: Vec<u32>,
    /// How many changes there were.
    version: u64,
}

impl<'s> FlatDir<'s> {
    /// A directory that exists, with its blocks.
    pub fn open(store: &'s HostStore, image: &Image, path: &str) -> Self {
        let layout = image.layout(false).unwrap();
        let stat = stat(image, path);
        let len = layout.block_size().blocks_for(stat.size);
        let indexed = stat.flags & INDEX_FL != 0 && layout.has_dir_index();
        Self {
            store,
            params: Params::new(&layout),
            ino: stat.ino,
            seed: layout
                .csum_seed()
                .map(|seed| seed.for_inode(stat.ino, stat.generation)),
            pool: blocks(image, path, len),
            len: len as usize,
            indexed,
            known: Cell::new(Known::default()),
            holes: Vec::new(),
            version: 0,
        }
    }

    /// A directory without blocks that may get these.
    pub fn with_pool(mut self, pool: Vec<PhysBlock>) -> Self {
        self.pool = pool;
        self.len = 0;
        self.indexed = false;
        self
    }

    /// Gives back how far it has come.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The blocks that it has.
    pub fn used(&self) -> &[PhysBlock] {
        &self.pool[..self.len]
    }

    /// Blocks that it may get.
    pub fn set_pool_len(&mut self, len: usize) {
        self.pool.truncate(len);
    }

    /// Makes it have the first `len` blocks of `pool`.
    pub fn set_len(&mut self, len: usize, pool: Vec<PhysBlock>) {
        self.pool = pool;
        self.len = len;
        self.indexed = true;
    }

    /// Adds blocks that it may get.
    pub fn extend_pool(&mut self, more: &[PhysBlock]) {
        self.pool.extend_from_slice(more);
    }

    /// Whether the index was given up.
    pub fn has_failed(&self) -> bool {
        self.known.get().has(Known::INDEX_FAILED)
    }

    pub fn forget_failure(&self) {
        self.known.set(Known::default());
    }

    pub fn change<R>(&mut self, f: impl FnOnce(&mut Self, &mut Tx<'_>) -> R) -> R {
        self.version += 1;
        let mut tx = self.store.begin(CREDITS).unwrap();
        f(self, &mut tx)
    }

    pub fn insert(&mut self, name: &[u8], ino: Ino) -> Result {
        self.change(|dir, tx| names::insert(dir, tx, name, ino, FileType::Regular))
    }

    pub fn remove(&mut self, name: &[u8], ino: Ino) -> Result {
        self.change(|dir, tx| names::remove(dir, tx, name, ino))
    }

    pub fn replace(&mut self, name: &[u8], ino: Ino) -> Result {
        self.change(|dir, tx| names::replace(dir, tx, name, ino, FileType::Regular))
    }

    pub fn lookup(&self, name: &[u8]) -> Result<Option<Ino>> {
        Ok(names::lookup(self, name)?.map(|entry| entry.ino))
    }

    /// All names but `.` and `..`, in parts of `room` names, each name and the order of positions checked.
    pub fn list(&self, room: usize) -> Result<BTreeMap<Vec<u8>, Ino>> {
        let (mut names, done) = self.list_what_is_there(room);
        done?;
        assert_eq!(names.remove(b".".as_slice()), Some(self.ino));
        assert!(names.remove(b"..".as_slice()).is_some());
        Ok(names)
    }

    /// As a user does: until nothing comes any more, or an error.
    pub fn list_what_is_there(&self, room: usize) -> (BTreeMap<Vec<u8>, Ino>, Result<()>) {
        let mut names = BTreeMap::new();
        let mut cursor = Cursor::new(false);
        loop {
            cursor.seek(cursor.pos(), false);
            let (progress, part) = match self.list_part(&mut cursor, room) {
                Ok(done) => done,
                Err(error) => return (names, Err(error)),
            };
            if progress == Listing::End && part.is_empty() {
                return (names, Ok(()));
            }
            for (name, ino) in part {
                let twice = names.insert(name.clone(), ino);
                assert_eq!(twice, None, "{name:?} is listed twice");
            }
        }
    }

    /// The next names, at most `room`.
    pub fn list_part(&self, cursor: &mut Cursor, room: usize) -> Result<(Listing, Names)> {
        let mut part = Names::new();
        loop {
            let mut last = cursor.pos();
            let progress = names::readdir(self, cursor, |listed: Listed<'_>| {
                assert!(listed.pos >= last, "positions go back");
                last = listed.pos;
                if part.len() == room {
                    return false;
                }
                part.push((listed.name.to_vec(), listed.ino));
                true
            })?;
            match progress {
                Listing::More => {}
                Listing::Stopped => {
                    assert_eq!(cursor.pos(), last, "stopped elsewhere");
                    return Ok((progress, part));
                }
                Listing::End => return Ok((progress, part)),
            }
        }
    }
}

impl Directory<HostStore> for FlatDir<'_> {
    fn store(&self) -> &HostStore {
        self.store
    }

    fn params(&self) -> Params {
        self.params
    }

    fn ino(&self) -> Ino {
        self.ino
    }

    fn seed(&self) -> Option<CsumSeed> {
        self.seed
    }

    fn blocks(&self) -> u32 {
        self.len as u32
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn is_indexed(&self) -> bool {
        self.indexed
    }

    fn set_indexed(&mut self, indexed: bool) {
        self.indexed = indexed;
    }

    fn known(&self) -> Known {
        self.known.get()
    }

    fn note(&self, what: Known) {
        self.known.set(self.known.get().with(what));
    }

    fn run(&self, at: LogicalBlock) -> Result<(Option<PhysBlock>, u32)> {
        let nr = self.used()[at.get() as usize];
        Ok((Some(nr).filter(|_| !self.holes.contains(&at.get())), 1))
    }

    fn append(&mut self, _tx: &mut Tx<'_>) -> Result<(LogicalBlock, PhysBlock)> {
        let nr = *self.pool.get(self.len).ok_or(ENOSPC)?;
        let at = LogicalBlock::new(self.len as u32);
        self.len += 1;
        Ok((at, nr))
    }
}

/// An image with a directory `/d` and a file `/f` that names in it lead to.
pub struct World {
    pub image: Image,
    pub file: Ino,
}

impl World {
    pub fn new(mkfs: &Mkfs) -> Self {
        let image = mkfs.make();
        let host = image.path().with_extension("f");
        std::fs::write(&host, b"x").unwrap();
        image.debugfs(&["mkdir d".to_string(), format!("write {} f", host.display())]);
        std::fs::remove_file(&host).unwrap();
        let file = stat(&image, "f").ino;
        Self { image, file }
    }

    /// Runs `build` on the empty directory `/d`, then once more with as many blocks as that took, from `debugfs`;
    /// checks the image with `e2fsck`. Gives the image.
    pub fn build(&self, build: impl Fn(&mut FlatDir<'_>)) -> Image {
        // Blocks that are free in the image, which is thrown away.
        let store = open(&self.image);
        let free = store.blocks() / 2..store.blocks();
        let mut dir =
            FlatDir::open(&store, &self.image, "d").with_pool(free.map(PhysBlock::new).collect());
        make_empty(&mut dir);
        build(&mut dir);
        let wanted = dir.len();

        let image = self.image.copy();
        let expand = vec!["expand_dir d"; wanted - 1];
        image.debugfs(&expand);
        let store = open(&image);
        let mut dir = FlatDir::open(&store, &image, "d");
        assert_eq!(dir.len(), wanted);
        let pool = dir.used().to_vec();
        dir = dir.with_pool(pool);
        make_empty(&mut dir);
        build(&mut dir);
        assert_eq!(dir.len(), wanted, "the same changes need the same blocks");
        let names = dir.list(usize::MAX).unwrap().len();
        let indexed = dir.is_indexed();
        store.save(image.path()).unwrap();
        finish(&image, names, indexed);
        image.fsck().unwrap();
        image
    }
}

/// Sets what in the inodes depends on the names in `/d`, all of which lead to `/f`.
pub fn finish(image: &Image, names: usize, indexed: bool) {
    let flags = stat(image, "d").flags & !INDEX_FL | if indexed { INDEX_FL } else { 0 };
    image.debugfs(&[
        format!("sif d flags {flags:#x}"),
        format!("sif f links_count {}", names + 1),
    ]);
}

pub fn make_empty(dir: &mut FlatDir<'_>) {
    dir.change(|dir, tx| names::make_empty(dir, tx, Ino::ROOT))
        .unwrap();
}
