// SPDX-License-Identifier: GPL-2.0

//! Operations on names, with the allocator, the extent tree and the inodes that they have in the module: what they cost
//! a handle, and what of them reaches the disk.

use iomapfs_core::change::create::{create, What};
use iomapfs_core::change::link::link;
use iomapfs_core::change::rename::{rename, Side};
use iomapfs_core::change::{Dir, Live};
use iomapfs_core::disk::Ino;
use iomapfs_core::host::{new_attrs, HostStore, Image, Mkfs, Mounted, NewNode, Node};
use iomapfs_core::names::{self, Cursor, Directory, Listing};
use kernel::error::{code::*, Result};
use std::collections::BTreeMap;
use std::rc::Rc;

fn mount(image: &Image) -> Rc<Mounted> {
    let layout = image.layout(false).unwrap();
    let store = HostStore::open(image.path(), layout.block_size().bytes()).unwrap();
    Mounted::open(store, false).unwrap()
}

fn open(mounted: &Rc<Mounted>, ino: Ino) -> Rc<Node> {
    Node::get(mounted, ino).unwrap()
}

/// A new file, or a new directory with `.` and `..`, under `name`.
fn make(dir: &Node, name: &[u8], directory: bool) -> Result<Rc<Node>> {
    let (mode, links) = match directory {
        true => (0o040_755, 2),
        false => (0o100_644, 1),
    };
    let newborn = NewNode::new(dir.mounted(), new_attrs(mode, links), 77);
    create(dir, name, newborn, What::Plain).map(|ready| ready.unlock())
}

fn list(node: &Node) -> BTreeMap<Vec<u8>, Ino> {
    let mut all = BTreeMap::new();
    let dir = Dir::new(node);
    let mut cursor = Cursor::new(false);
    while names::readdir(&dir, &mut cursor, |listed| {
        if !matches!(listed.name, b"." | b"..") {
            assert_eq!(all.insert(listed.name.to_vec(), listed.ino), None);
        }
        true
    })
    .unwrap()
        != Listing::End
    {}
    all
}

fn save(mounted: &Mounted, image: &Image) {
    mounted.unmount().unwrap();
    mounted.vol.store.save(image.path()).unwrap();
}

/// Credits that do not cover an insertion, a size or a flag that does not reach the inode, a `..` that stays behind.
#[test]
fn directories_of_a_volume() {
    for block_size in [1024, 4096] {
        let image = Mkfs::new(64 << 20, block_size).arg("-N").arg("8000").make();
        let mounted = mount(&image);
        let root = open(&mounted, Ino::ROOT);
        let dir = make(&root, b"a", true).unwrap();
        let new_parent = make(&root, b"b", true).unwrap();
        let mut model = BTreeMap::new();
        for n in 0..3000 {
            let name = format!("a file with the number {n}").into_bytes();
            let node = make(&dir, &name, n % 100 == 0).unwrap();
            model.insert(name, node.ino());
        }
        assert!(Dir::new(&*dir).is_indexed());
        assert_eq!(list(&dir), model);

        // A directory moves from `a` to `b`.
        let moved = b"a file with the number 700".as_slice();
        let child = open(&mounted, model[moved]);
        let old = Side {
            dir: &*dir,
            name: moved,
            inode: Some(&*child),
        };
        let new = Side {
            dir: &*new_parent,
            name: b"moved",
            inode: None,
        };
        assert!(rename(old, new, None::<NewNode>).unwrap().is_none());
        assert_eq!((dir.links(), new_parent.links()), (31, 3));
        let up = names::lookup(&Dir::new(&*child), b"..").unwrap().unwrap();
        assert_eq!(up.ino, new_parent.ino());
        assert_eq!(names::is_empty(&Dir::new(&*child)), Ok(true));
        assert_eq!(names::is_empty(&Dir::new(&*dir)), Ok(false));

        save(&mounted, &image);
        image.fsck().unwrap();

        // As another mount sees it.
        let a = dir.ino();
        let mounted = mount(&image);
        let dir = open(&mounted, a);
        model.remove(moved);
        assert_eq!(list(&dir), model);
        assert_eq!(mounted.vol.store.take_reports(), Vec::<String>::new());
    }
}

/// A full file system: the failed insertion leaves a directory that e2fsck takes, its inode written.
#[test]
fn a_full_volume() {
    let image = Mkfs::new(4 << 20, 1024)
        .features("^resize_inode")
        .arg("-J")
        .arg("size=1")
        .arg("-N")
        .arg("64")
        .arg("-m")
        .arg("0")
        .make();
    let mounted = mount(&image);
    let root = open(&mounted, Ino::ROOT);
    let file = make(&root, b"f", false).unwrap();
    let dir = make(&root, b"d", true).unwrap();
    let mut count = 0;
    loop {
        let name = format!("{count:0200}");
        match link(&*file, &*dir, name.as_bytes()) {
            Ok(()) => count += 1,
            Err(error) => {
                assert_eq!(error, ENOSPC);
                break;
            }
        }
    }
    assert!(count > 1000, "{count}");
    assert_eq!(list(&dir).len(), count);
    assert_eq!(file.links() as usize, count + 1);
    save(&mounted, &image);
    image.fsck().unwrap();
}
