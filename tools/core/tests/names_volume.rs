// SPDX-License-Identifier: GPL-2.0

//! Directories with the allocator, the extent tree and the inode that they have in the module: what a directory
//! costs a handle, and what of it reaches the inode.

use iomapfs_core::disk::inode::{InodeFlags, Time};
use iomapfs_core::disk::{CsumSeed, Ino, LogicalBlock, PhysBlock};
use iomapfs_core::host::{mount, HostStore, Image, Mkfs, Tx};
use iomapfs_core::inode::{Attrs, Content, Inode};
use iomapfs_core::map::{FileMap, State};
use iomapfs_core::names::{self, Cursor, Directory, FileType, Params, Progress};
use iomapfs_core::space::Goal;
use iomapfs_core::store::Store;
use iomapfs_core::volume::Volume;
use kernel::error::{code::*, Result};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

type Vol = Volume<HostStore>;

/// A directory as the VFS would hold it.
struct Dir<'v> {
    vol: &'v Vol,
    inode: RefCell<Inode>,
    attrs: Attrs,
    failed: Cell<bool>,
}

impl Directory<HostStore> for Dir<'_> {
    fn store(&self) -> &HostStore {
        &self.vol.store
    }

    fn params(&self) -> Params {
        Params::new(&self.vol.layout)
    }

    fn ino(&self) -> Ino {
        self.inode.borrow().ino
    }

    fn seed(&self) -> Option<CsumSeed> {
        self.inode.borrow().seed
    }

    fn blocks(&self) -> u32 {
        let size = self.inode.borrow().disk_size;
        self.vol.layout.block_size().blocks_for(size) as u32
    }

    fn is_indexed(&self) -> bool {
        self.inode.borrow().flags.has(InodeFlags::INDEX)
    }

    fn set_indexed(&mut self, indexed: bool) {
        let flags = &mut self.inode.get_mut().flags;
        *flags = match indexed {
            true => flags.with(InodeFlags::INDEX),
            false => flags.without(InodeFlags::INDEX),
        };
    }

    fn index_failed(&self) -> bool {
        self.failed.get()
    }

    fn set_index_failed(&self) {
        self.failed.set(true);
    }

    fn map(&self, at: LogicalBlock) -> Result<Option<PhysBlock>> {
        let mapping = self.inode.borrow_mut().map.lookup(self.vol, at, 1)?;
        Ok(mapping.phys.filter(|_| mapping.state == State::Written))
    }

    fn append(&mut self, tx: &mut Tx<'_>) -> Result<(LogicalBlock, PhysBlock)> {
        let at = LogicalBlock::new(self.blocks());
        let (group, _) = {
            let slot = self.vol.layout.inode_slot(self.ino()).unwrap();
            (slot.group, slot.index)
        };
        let goal = Goal {
            near: None,
            group,
            stream: false,
        };
        let inode = self.inode.get_mut();
        let run = inode.map.allocate(self.vol, tx, at, 1, goal, false)?;
        inode.disk_size += u64::from(self.vol.layout.block_size().bytes());
        Ok((at, run.start))
    }
}

fn attrs(mode: u16, nlink: u32) -> Attrs {
    let now = Time {
        sec: 1_700_000_000,
        nsec: 0,
    };
    Attrs {
        mode,
        uid: 0,
        gid: 0,
        nlink,
        rdev: 0,
        atime: now,
        mtime: now,
        ctime: now,
        crtime: now,
        version: 1,
    }
}

impl<'v> Dir<'v> {
    fn open(vol: &'v Vol, ino: Ino) -> Self {
        let (inode, attrs) = Inode::read(vol, ino).unwrap();
        Self {
            vol,
            inode: RefCell::new(inode),
            attrs,
            failed: Cell::new(false),
        }
    }

    fn write(&self, tx: &mut Tx<'_>) {
        let inode = self.inode.borrow();
        inode.write(self.vol, tx, &self.attrs).unwrap();
    }

    fn credits(&self) -> u32 {
        let depth = self.inode.borrow().map.depth() + 1;
        let append = FileMap::commit_credits(self.vol, depth).blocks;
        names::insert_credits(append) + Inode::WRITE_CREDITS
    }

    /// A new file, or a new directory with `.` and `..`, under `name`.
    fn create(&mut self, name: &[u8], directory: bool) -> Result<Ino> {
        let vol = self.vol;
        let append = FileMap::commit_credits(vol, 1).blocks;
        let credits = vol.space.credits_alloc_inode()
            + Inode::WRITE_CREDITS
            + names::make_empty_credits(append)
            + self.credits();
        let mut tx = vol.store.begin(credits, 2).unwrap();
        let ino = vol.space.alloc_inode(vol, &mut tx, self.ino(), directory)?;
        let (mode, nlink, file_type) = match directory {
            true => (0o040_755, 2, FileType::Directory),
            false => (0o100_644, 1, FileType::Regular),
        };
        let attrs = attrs(mode, nlink);
        let content = Content::Mapped;
        let inode = Inode::create(vol, &mut tx, ino, &attrs, InodeFlags::NONE, 77, content)?;
        if directory {
            let mut new = Dir {
                vol,
                inode: RefCell::new(inode),
                attrs,
                failed: Cell::new(false),
            };
            names::make_empty(&mut new, &mut tx, self.ino())?;
            new.write(&mut tx);
            self.attrs.nlink += 1;
        }
        let done = names::insert(self, &mut tx, name, ino, file_type);
        self.write(&mut tx);
        done.map(|()| ino)
    }
}

fn list(dir: &Dir<'_>) -> BTreeMap<Vec<u8>, Ino> {
    let mut all = BTreeMap::new();
    let mut cursor = Cursor::new(false);
    while names::readdir(dir, &mut cursor, |listed| {
        if !matches!(listed.name, b"." | b"..") {
            assert_eq!(all.insert(listed.name.to_vec(), listed.ino), None);
        }
        true
    })
    .unwrap()
        != Progress::End
    {}
    all
}

fn save(vol: &Vol, image: &Image) {
    let mut raw = image.read_super();
    vol.store.save(image.path()).unwrap();
    let counts = vol.space.counts();
    raw.set_free(counts.free_blocks, counts.free_inodes as u32);
    raw.seal();
    image.write_super(&raw);
}

/// Credits that do not cover an insertion, a size or a flag that does not reach the inode, a `..` that stays behind.
#[test]
fn directories_of_a_volume() {
    for block_size in [1024, 4096] {
        let image = Mkfs::new(64 << 20, block_size).arg("-N").arg("8000").make();
        let vol = mount(&image);
        let mut root = Dir::open(&vol, Ino::ROOT);
        let a = root.create(b"a", true).unwrap();
        let b = root.create(b"b", true).unwrap();
        let mut dir = Dir::open(&vol, a);
        let mut model = BTreeMap::new();
        for n in 0..3000 {
            let name = format!("a file with the number {n}").into_bytes();
            let ino = dir.create(&name, n % 100 == 0).unwrap();
            model.insert(name, ino);
        }
        assert!(dir.is_indexed());
        assert_eq!(list(&dir), model);

        // A directory moves from `a` to `b`.
        let moved = b"a file with the number 700".as_slice();
        let mut new_parent = Dir::open(&vol, b);
        let mut child = Dir::open(&vol, model[moved]);
        let credits = new_parent.credits() + 2 * names::CHANGE_CREDITS + 2 * Inode::WRITE_CREDITS;
        let mut tx = vol.store.begin(credits, 2).unwrap();
        let file_type = FileType::Directory;
        names::insert(&mut new_parent, &mut tx, b"moved", child.ino(), file_type).unwrap();
        names::remove(&mut dir, &mut tx, moved, child.ino()).unwrap();
        names::set_dotdot(&mut child, &mut tx, b).unwrap();
        new_parent.attrs.nlink += 1;
        dir.attrs.nlink -= 1;
        new_parent.write(&mut tx);
        dir.write(&mut tx);
        drop(tx);
        let up = names::lookup(&child, b"..").unwrap().unwrap();
        assert_eq!(up.ino, b);
        assert_eq!(names::is_empty(&child), Ok(true));
        assert_eq!(names::is_empty(&dir), Ok(false));

        save(&vol, &image);
        image.fsck().unwrap();

        // As another mount sees it.
        let vol = mount(&image);
        let dir = Dir::open(&vol, a);
        model.remove(moved);
        assert_eq!(list(&dir), model);
        assert_eq!(vol.store.take_reports(), Vec::<String>::new());
    }
}

/// A full file system: the failed insertion leaves a directory that e2fsck takes, its inode written.
#[test]
fn a_full_volume() {
    let image = Mkfs::new(2 << 20, 1024)
        .features("^has_journal,^resize_inode")
        .arg("-N")
        .arg("64")
        .arg("-m")
        .arg("0")
        .make();
    let vol = mount(&image);
    let mut root = Dir::open(&vol, Ino::ROOT);
    let file = root.create(b"f", false).unwrap();
    let d = root.create(b"d", true).unwrap();
    let mut dir = Dir::open(&vol, d);
    let mut count = 0;
    loop {
        let mut tx = vol.store.begin(dir.credits(), 2).unwrap();
        let name = format!("{count:0200}");
        let done = names::insert(&mut dir, &mut tx, name.as_bytes(), file, FileType::Regular);
        dir.write(&mut tx);
        match done {
            Ok(()) => count += 1,
            Err(error) => {
                assert_eq!(error, ENOSPC);
                break;
            }
        }
    }
    assert!(count > 1000, "{count}");
    assert_eq!(list(&dir).len(), count);
    save(&vol, &image);
    image.debugfs(&[format!("sif f links_count {}", count + 1)]);
    image.fsck().unwrap();
}
