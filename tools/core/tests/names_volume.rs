// SPDX-License-Identifier: GPL-2.0

//! Directories with the allocator, the extent tree and the inode that they have in the module: what a directory
//! costs a handle, and what of it reaches the inode.

use iomapfs_core::disk::inode::InodeFlags;
use iomapfs_core::disk::Ino;
use iomapfs_core::host::{mount, new_attrs, Dir, HostStore, Image, InodeAndKnown, Mkfs, Tx};
use iomapfs_core::inode::{Attrs, Content, Inode};
use iomapfs_core::map::FileMap;
use iomapfs_core::names::{self, Cursor, Directory, FileType, Known, Progress};
use iomapfs_core::store::Store;
use iomapfs_core::volume::Volume;
use kernel::error::{code::*, Result};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

type Vol = Volume<HostStore>;

/// An inode as the VFS would hold it.
struct Node {
    inode: RefCell<Inode>,
    attrs: Attrs,
    known: Cell<Known>,
}

impl Node {
    fn new((inode, attrs): (Inode, Attrs)) -> Self {
        Self {
            inode: RefCell::new(inode),
            attrs,
            known: Cell::new(Known::default()),
        }
    }

    fn open(vol: &Vol, ino: Ino) -> Self {
        Self::new(Inode::read(vol, ino).unwrap())
    }

    fn ino(&self) -> Ino {
        self.inode.borrow().ino
    }

    fn dir<'d>(&'d self, vol: &'d Vol) -> Dir<'d, InodeAndKnown<'d>> {
        Dir::new(vol, (&self.inode, &self.known))
    }

    fn write(&self, vol: &Vol, tx: &mut Tx<'_>) {
        let inode = self.inode.borrow();
        inode.write(vol, tx, &self.attrs).unwrap();
    }

    fn credits(&self, vol: &Vol) -> u32 {
        let depth = self.inode.borrow().map.depth() + 1;
        let append = FileMap::commit_credits(vol, depth).blocks;
        names::insert_credits(append) + Inode::WRITE_CREDITS
    }

    /// A new file, or a new directory with `.` and `..`, under `name`.
    fn create(&mut self, vol: &Vol, name: &[u8], directory: bool) -> Result<Ino> {
        let append = FileMap::commit_credits(vol, 1).blocks;
        let credits = vol.space.credits_alloc_inode()
            + Inode::WRITE_CREDITS
            + names::make_empty_credits(append)
            + self.credits(vol);
        let mut tx = vol.store.begin(credits, 2).unwrap();
        let ino = vol.space.alloc_inode(vol, &mut tx, self.ino(), directory)?;
        let (mode, nlink, file_type) = match directory {
            true => (0o040_755, 2, FileType::Directory),
            false => (0o100_644, 1, FileType::Regular),
        };
        let attrs = new_attrs(mode, nlink);
        let content = Content::Mapped;
        let inode = Inode::create(vol, &mut tx, ino, &attrs, InodeFlags::NONE, 77, content)?;
        if directory {
            let new = Node::new((inode, attrs));
            names::make_empty(&mut new.dir(vol), &mut tx, self.ino())?;
            new.write(vol, &mut tx);
            self.attrs.nlink += 1;
        }
        let done = names::insert(&mut self.dir(vol), &mut tx, name, ino, file_type);
        self.write(vol, &mut tx);
        done.map(|()| ino)
    }
}

fn list(vol: &Vol, node: &Node) -> BTreeMap<Vec<u8>, Ino> {
    let mut all = BTreeMap::new();
    let dir = node.dir(vol);
    let mut cursor = Cursor::new(false);
    while names::readdir(&dir, &mut cursor, |listed| {
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
        let mut root = Node::open(&vol, Ino::ROOT);
        let a = root.create(&vol, b"a", true).unwrap();
        let b = root.create(&vol, b"b", true).unwrap();
        let mut dir = Node::open(&vol, a);
        let mut model = BTreeMap::new();
        for n in 0..3000 {
            let name = format!("a file with the number {n}").into_bytes();
            let ino = dir.create(&vol, &name, n % 100 == 0).unwrap();
            model.insert(name, ino);
        }
        assert!(dir.dir(&vol).is_indexed());
        assert_eq!(list(&vol, &dir), model);

        // A directory moves from `a` to `b`.
        let moved = b"a file with the number 700".as_slice();
        let mut new_parent = Node::open(&vol, b);
        let child = Node::open(&vol, model[moved]);
        let credits =
            new_parent.credits(&vol) + 2 * names::CHANGE_CREDITS + 2 * Inode::WRITE_CREDITS;
        let mut tx = vol.store.begin(credits, 2).unwrap();
        let file_type = FileType::Directory;
        let mut to = new_parent.dir(&vol);
        names::insert(&mut to, &mut tx, b"moved", child.ino(), file_type).unwrap();
        names::remove(&mut dir.dir(&vol), &mut tx, moved, child.ino()).unwrap();
        names::set_dotdot(&mut child.dir(&vol), &mut tx, b).unwrap();
        new_parent.attrs.nlink += 1;
        dir.attrs.nlink -= 1;
        new_parent.write(&vol, &mut tx);
        dir.write(&vol, &mut tx);
        drop(tx);
        let up = names::lookup(&child.dir(&vol), b"..").unwrap().unwrap();
        assert_eq!(up.ino, b);
        assert_eq!(names::is_empty(&child.dir(&vol)), Ok(true));
        assert_eq!(names::is_empty(&dir.dir(&vol)), Ok(false));

        save(&vol, &image);
        image.fsck().unwrap();

        // As another mount sees it.
        let vol = mount(&image);
        let dir = Node::open(&vol, a);
        model.remove(moved);
        assert_eq!(list(&vol, &dir), model);
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
    let mut root = Node::open(&vol, Ino::ROOT);
    let file = root.create(&vol, b"f", false).unwrap();
    let d = root.create(&vol, b"d", true).unwrap();
    let dir = Node::open(&vol, d);
    let mut count = 0;
    loop {
        let mut tx = vol.store.begin(dir.credits(&vol), 2).unwrap();
        let name = format!("{count:0200}");
        let done = names::insert(
            &mut dir.dir(&vol),
            &mut tx,
            name.as_bytes(),
            file,
            FileType::Regular,
        );
        dir.write(&vol, &mut tx);
        match done {
            Ok(()) => count += 1,
            Err(error) => {
                assert_eq!(error, ENOSPC);
                break;
            }
        }
    }
    assert!(count > 1000, "{count}");
    assert_eq!(list(&vol, &dir).len(), count);
    save(&vol, &image);
    image.debugfs(&[format!("sif f links_count {}", count + 1)]);
    image.fsck().unwrap();
}
