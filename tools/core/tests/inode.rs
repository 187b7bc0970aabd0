// SPDX-License-Identifier: GPL-2.0

//! Inodes of a volume: read, made and written so that others agree, refused where ext4 refuses them.

use iomapfs_core::disk::inode::{DiskTime, InodeFlags, InodeTableFormat};
use iomapfs_core::disk::{FileType, Flaw, Ino, LogicalBlock, PhysBlock};
use iomapfs_core::host::{mount, new_attrs, HostStore, Image, Mkfs};
use iomapfs_core::inode::{dtime, set_dtime, wipe, Content, Inode, JournalMap};
use iomapfs_core::store::{Credits, Store, Transaction};
use iomapfs_core::volume::Volume;
use kernel::error::{code::*, Error};
use proptest::prelude::*;
use std::sync::LazyLock;

fn named(image: &Image, name: &str) -> Ino {
    let text = image.debugfs(&[format!("stat {name}")]);
    let (_, rest) = text
        .split_once("Inode: ")
        .unwrap_or_else(|| panic!("{name}: {text}"));
    Ino::new(rest.split_whitespace().next().unwrap().parse().unwrap()).unwrap()
}

/// Gives the inodes names in the root directory and has the file system checked.
fn link_and_check(vol: &Volume<HostStore>, image: &Image, name: &str, inodes: &[Ino]) {
    let mut raw = image.read_super();
    vol.store.save(image.path()).unwrap();
    let counts = vol.space.counts();
    raw.set_free(counts.free_blocks, counts.free_inodes as u32);
    raw.seal();
    image.write_super(&raw);
    let links: Vec<_> = inodes
        .iter()
        .map(|ino| format!("ln <{0}> new{0}", ino.get()))
        .collect();
    image.debugfs(&links);
    assert_eq!(image.fsck(), Ok(()), "{name}");
}

#[test]
fn new_inodes_are_read_by_others() {
    for (name, mkfs) in Mkfs::variety() {
        let image = mkfs.make();
        let vol = mount(&image);
        let kinds: [(u16, Content<'_>); 7] = [
            (0o100_644, Content::Mapped),
            (0o120_777, Content::Target(b"some/target")),
            (0o120_777, Content::Target(&[b'x'; Inode::MAX_FAST_TARGET])),
            (0o020_600, Content::Special),
            (0o060_600, Content::Special),
            (0o010_600, Content::Special),
            (0o140_600, Content::Special),
        ];
        let mut inodes = Vec::new();
        for (i, (mode, content)) in kinds.into_iter().enumerate() {
            let credits = vol.space.credits_alloc_inode().blocks + Inode::WRITE_CREDITS.blocks;
            let mut tx = vol.store.begin(Credits::new(credits, 0)).unwrap();
            let ino = vol.space.alloc_inode(&vol.store, &mut tx, Ino::ROOT, false);
            let ino = ino.unwrap();
            let mut attrs = new_attrs(mode, 1);
            if attrs.file_type().is_device() {
                attrs.rdev = 300 << 20 | 70000;
            }
            if vol.layout.inode_size() == 128 {
                attrs.crtime = DiskTime::default();
                for time in [&mut attrs.atime, &mut attrs.mtime, &mut attrs.ctime] {
                    time.nsec = 0;
                }
            }
            let flags = InodeFlags::NODUMP;
            let generation = 77 + i as u32;
            let made = Inode::create(&vol, &mut tx, ino, &attrs, flags, generation, content);
            let made = made.unwrap();
            drop(tx);
            let (read, read_attrs) = Inode::read(&vol, ino).unwrap();
            assert_eq!(read_attrs, attrs, "{name}");
            assert_eq!(read.generation, generation, "{name}");
            assert_eq!(read.flags, made.flags, "{name}");
            assert_eq!(read.disk_size, made.disk_size, "{name}");
            assert_eq!(read.plain.as_deref(), made.plain.as_deref(), "{name}");
            assert_eq!(read.map.root(), made.map.root(), "{name}");
            assert_eq!(read.map.seed(), made.map.seed(), "{name}");
            inodes.push(ino);
        }
        link_and_check(&vol, &image, name, &inodes);
        let target = image.debugfs(&[format!("stat <{}>", inodes[1].get())]);
        assert!(target.contains("Fast link dest: \"some/target\""), "{name}");
        let device = image.debugfs(&[format!("stat <{}>", inodes[3].get())]);
        assert!(device.contains("number: 300:70000"), "{name}: {device}");
        assert_eq!(vol.store.take_reports(), [""; 0], "{name}");
    }
}

/// Would catch: an inode that was given up half made and that e2fsck finds in use.
#[test]
fn wiped_inode_is_unused() {
    for (name, mkfs) in Mkfs::variety() {
        let image = mkfs.make();
        let vol = mount(&image);
        let credits = vol.space.credits_alloc_inode().blocks + Inode::WRITE_CREDITS.blocks + 1;
        let mut tx = vol.store.begin(Credits::new(credits, 0)).unwrap();
        let ino = vol.space.alloc_inode(&vol.store, &mut tx, Ino::ROOT, false);
        let ino = ino.unwrap();
        let attrs = new_attrs(0o100_644, 1);
        let flags = InodeFlags::NODUMP;
        Inode::create(&vol, &mut tx, ino, &attrs, flags, 7, Content::Mapped).unwrap();
        wipe(&vol, &mut tx, ino).unwrap();
        vol.space
            .free_inode(&vol.store, &mut tx, ino, false)
            .unwrap();
        drop(tx);
        link_and_check(&vol, &image, name, &[]);
    }
}

#[test]
fn rewritten_inode_keeps_what_is_not_known_here() {
    let image = Mkfs::new(24 << 20, 4096).make();
    image.debugfs(&[
        "write /etc/passwd file",
        "ea_set file user.name value",
        "sif file generation 9",
    ]);
    let file = named(&image, "file");
    let vol = mount(&image);
    let (mut inode, mut attrs) = Inode::read(&vol, file).unwrap();

    let mut tx = vol.store.begin(Credits::new(2, 0)).unwrap();
    set_dtime(&vol, &mut tx, file, 4711).unwrap();
    attrs.uid = 5;
    inode.flags = inode.flags.with(InodeFlags::NOATIME);
    inode.write(&vol, &mut tx, &attrs).unwrap();
    assert_eq!(
        dtime(&vol, file),
        Ok(4711),
        "a write undid the deletion time"
    );
    set_dtime(&vol, &mut tx, file, 0).unwrap();
    drop(tx);
    vol.store.save(image.path()).unwrap();

    let text = image.debugfs(&["ea_get file user.name", "stat file"]);
    assert!(text.contains("value"), "{text}");
    assert!(text.contains("User:     5"), "{text}");
    assert!(text.contains("Flags: 0x80080"), "{text}");
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    assert!(image.debugfs(&["cat file"]).contains(&passwd));
    assert_eq!(image.fsck(), Ok(()));
}

/// The first file that needs it marks the file system, and that is paid for by the credits.
#[test]
fn large_file_is_marked() {
    let image = Mkfs::new(24 << 20, 4096)
        .features("^large_file,^resize_inode")
        .make();
    image.debugfs(&["write /dev/null file"]);
    let file = named(&image, "file");
    let vol = mount(&image);
    assert!(!vol.layout.has_large_file());
    let (mut inode, attrs) = Inode::read(&vol, file).unwrap();
    for (size, marked) in [(0x7fff_ffff, false), (0x8000_0000, true)] {
        inode.disk_size = size;
        let mut tx = vol.store.begin(Inode::WRITE_CREDITS).unwrap();
        inode.write(&vol, &mut tx, &attrs).unwrap();
        drop(tx);
        vol.store.save(image.path()).unwrap();
        let layout = image.layout(false).unwrap();
        assert_eq!(layout.has_large_file(), marked);
        assert_eq!(image.fsck(), Ok(()));
    }
}

#[test]
fn limits_of_the_format() {
    let image = Mkfs::new(24 << 20, 4096).make();
    image.debugfs(&["write /dev/null file"]);
    let file = named(&image, "file");
    let vol = mount(&image);
    let (inode, mut attrs) = Inode::read(&vol, file).unwrap();
    let mut tx = vol.store.begin(Inode::WRITE_CREDITS).unwrap();
    attrs.nlink = 65536;
    assert_eq!(inode.write(&vol, &mut tx, &attrs), Err(EMLINK));
    let long = Content::Target(&[b'x'; Inode::MAX_FAST_TARGET + 1]);
    let flags = InodeFlags::NONE;
    let made = Inode::create(&vol, &mut tx, file, &attrs, flags, 0, long);
    assert_eq!(made.err(), Some(ENAMETOOLONG));
}

/// What reading gives after debugfs changed fields of a file, without checksums in the way.
struct Case {
    image: Image,
}

impl Case {
    fn new(features: &str) -> Self {
        let image = Mkfs::new(24 << 20, 4096).features(features).make();
        image.debugfs(&[
            "write /etc/passwd file",
            "write /dev/null empty",
            "symlink fast target",
            &format!("symlink slow {}", "x".repeat(100)),
            "mkdir dir",
            "mknod pipe p",
        ]);
        Self { image }
    }

    fn read_with<R>(
        &self,
        name: &str,
        changes: &[&str],
        read: impl FnOnce(&Volume<HostStore>, Ino) -> Result<R, Error>,
    ) -> (Result<R, Error>, Vec<Flaw>) {
        let image = self.image.copy();
        let ino = named(&image, name);
        let commands: Vec<_> = changes.iter().map(|c| format!("sif {name} {c}")).collect();
        image.debugfs(&commands);
        let vol = mount(&image);
        let result = read(&vol, ino);
        let reports = vol.store.reports();
        assert!(reports.iter().all(|line| line.starts_with("inode ")));
        (result, vol.store.take_flaws())
    }

    /// Corrupt, and reported once.
    #[track_caller]
    fn corrupt(&self, name: &str, changes: &[&str], flaw: Flaw) {
        let (result, flaws) = self.read_with(name, changes, Inode::read);
        assert_eq!(result.err(), Some(EUCLEAN), "{changes:?}");
        assert_eq!(flaws, [flaw], "{changes:?}");
    }

    #[track_caller]
    fn refused(&self, name: &str, changes: &[&str], error: Error) {
        let (result, flaws) = self.read_with(name, changes, Inode::read);
        assert_eq!(result.err(), Some(error), "{changes:?}");
        assert_eq!(flaws, []);
    }

    #[track_caller]
    fn accepted(&self, name: &str, changes: &[&str]) -> Inode {
        let (result, flaws) = self.read_with(name, changes, Inode::read);
        assert_eq!(flaws, []);
        result.unwrap_or_else(|e| panic!("{changes:?}: {e:?}")).0
    }
}

#[test]
fn corrupt_inodes_are_refused() {
    let case = Case::new("^metadata_csum");
    case.accepted("file", &[]);
    case.corrupt("file", &["mode 0"], Flaw::InodeMode { mode: 0 });
    case.corrupt(
        "file",
        &["mode 0170644"],
        Flaw::InodeMode { mode: 0o170644 },
    );
    case.corrupt(
        "file",
        &["flags 0x80800"],
        Flaw::InodeFlags { flags: 0x80800 },
    );
    case.corrupt(
        "file",
        &["flags 0x10000000"],
        Flaw::InodeFlags { flags: 0x10000000 },
    );
    case.corrupt(
        "file",
        &["flags 0x280000"],
        Flaw::InodeFlags { flags: 0x280000 },
    );
    case.corrupt(
        "dir",
        &["flags 0x40080000"],
        Flaw::InodeFlags { flags: 0x40080000 },
    );
    case.corrupt(
        "file",
        &["size 0x7fffffffffffffff"],
        Flaw::InodeSize {
            size: 0x7fffffffffffffff,
        },
    );
    case.corrupt(
        "file",
        &["size 0x100000000000"],
        Flaw::InodeSize {
            size: 0x100000000000,
        },
    );
    case.corrupt("file", &["file_acl 1"], Flaw::InodeXattrBlock { block: 1 });
    case.corrupt(
        "file",
        &["file_acl 6144"],
        Flaw::InodeXattrBlock { block: 6144 },
    );
    case.corrupt(
        "file",
        &["extra_isize 200"],
        Flaw::InodeExtraSize { size: 200 },
    );
    case.corrupt("dir", &["size 4095"], Flaw::DirSize { size: 4095 });
    case.corrupt("dir", &["size 0"], Flaw::DirSize { size: 0 });
    case.corrupt("fast", &["size 0"], Flaw::SymlinkTarget { size: 0 });
    case.corrupt("fast", &["size 5"], Flaw::SymlinkTarget { size: 5 });
    case.corrupt("fast", &["size 7"], Flaw::SymlinkTarget { size: 7 });
    case.corrupt("fast", &["size 60"], Flaw::SymlinkTarget { size: 60 });
    case.corrupt("fast", &["flags 0x10"], Flaw::SymlinkFlags);
    case.corrupt("fast", &["flags 0x20"], Flaw::SymlinkFlags);
    case.corrupt("slow", &["size 4096"], Flaw::SymlinkTarget { size: 4096 });
    case.corrupt("slow", &["size 0"], Flaw::SymlinkTarget { size: 0 });
    case.corrupt(
        "pipe",
        &["file_acl 0xffffffff"],
        Flaw::InodeXattrBlock { block: 0xffffffff },
    );

    case.refused("file", &["links_count 0"], ESTALE);
    case.refused("file", &["mode 0", "links_count 0"], ESTALE);
    // Its extent tree is one only for those who know that it is one.
    case.refused("file", &["flags 0"], EOPNOTSUPP);
    case.refused("dir", &["flags 0"], EOPNOTSUPP);
    case.refused("file", &["flags 0x180000"], EOPNOTSUPP);

    let inode = case.accepted("file", &["file_acl 6143"]);
    assert_eq!(inode.file_acl, Some(PhysBlock::new(6143)));
    case.accepted("file", &["flags 0x84080"]);
    case.accepted("slow", &["size 4095"]);
    case.accepted("file", &["size 0xffffffff000"]);
    let inode = case.accepted("pipe", &["flags 0"]);
    assert!(inode.plain.is_some());
}

/// A file of the older kind without blocks becomes one with extents.
#[test]
fn empty_block_map_becomes_an_extent_tree() {
    let case = Case::new("^metadata_csum");
    let changes: Vec<String> = (0..15).map(|i| format!("block[{i}] 0")).collect();
    let mut changes: Vec<&str> = changes.iter().map(String::as_str).collect();
    changes.push("flags 0");
    let inode = case.accepted("empty", &changes);
    assert!(inode.flags.has(InodeFlags::EXTENTS));
    assert_eq!(inode.map.root()[..2], [0x0a, 0xf3]);
    assert_eq!(inode.map.sectors(), 0);
}

#[test]
fn checksum_and_index_are_checked() {
    let case = Case::new("^dir_index");
    case.accepted("dir", &[]);
    case.corrupt("dir", &["flags 0x81000"], Flaw::InodeIndexFlag);
    let case = Case::new("^dir_index,^metadata_csum");
    case.accepted("dir", &["flags 0x81000"]);

    let case = Case::new("metadata_csum");
    let (result, flaws) = case.read_with("file", &[], |vol, ino| {
        let table = vol
            .space
            .inode_table(vol.layout.inode_slot(ino).unwrap().group);
        let slot = vol.layout.inode_slot(ino).unwrap();
        let nr = table.unwrap().checked_add(slot.block.into()).unwrap();
        let block = vol.store.read(nr, InodeTableFormat).unwrap();
        let mut tx = vol.store.begin(Credits::new(1, 0)).unwrap();
        tx.edit(&block, |b| b[slot.offset + 4] ^= 1).unwrap();
        Inode::read(vol, ino)
    });
    assert_eq!(result.err(), Some(EUCLEAN));
    assert_eq!(flaws, [Flaw::Checksum]);
}

#[test]
fn reserved_inodes() {
    let image = Mkfs::new(24 << 20, 4096).features("orphan_file").make();
    let vol = mount(&image);
    let journal = vol.layout.journal_ino().unwrap();
    let (inode, attrs) = Inode::read_system(&vol, journal).unwrap();
    assert_eq!(attrs.file_type(), FileType::Regular);
    assert_eq!(inode.map.sectors() * 512, inode.disk_size);
    let map = JournalMap::find(&vol.store, &vol.layout, journal).unwrap();
    assert_eq!(u64::from(map.blocks()) << 12, inode.disk_size);
    let mut inode = inode;
    let blocks = map
        .pieces()
        .iter()
        .flat_map(|piece| (0..u64::from(piece.len)).map(|offset| piece.start.get() + offset));
    for (at, block) in (0..).zip(blocks) {
        let found = inode.map.lookup(&vol, LogicalBlock::new(at), 1).unwrap();
        assert_eq!(Some(block), found.phys.map(PhysBlock::get));
    }
    let nowhere = JournalMap::find(&vol.store, &vol.layout, Ino::new(1).unwrap());
    assert_eq!(nowhere.err(), Some(EUCLEAN));
    assert_eq!(vol.store.take_reports().len(), 1);
    assert!(Inode::read_system(&vol, vol.layout.orphan_file_ino().unwrap()).is_ok());
    assert_eq!(vol.store.take_reports(), [""; 0]);
    // A directory entry must not lead there.
    for nr in [1, 3, 7, 8, 9, 10, vol.layout.inodes_count() + 1, u32::MAX] {
        let ino = Ino::new(nr).unwrap();
        assert_eq!(Inode::read(&vol, ino).err(), Some(EUCLEAN), "{nr}");
        assert_eq!(Inode::read_orphan(&vol, ino).err(), Some(EUCLEAN), "{nr}");
        assert_eq!(vol.store.take_reports().len(), 2, "{nr}");
    }
    // The journal has to be there.
    let unused = Ino::new(9).unwrap();
    assert_eq!(Inode::read_system(&vol, unused).err(), Some(EUCLEAN));
    assert!(Inode::read(&vol, Ino::ROOT).is_ok());
}

#[test]
fn orphans() {
    let case = Case::new("metadata_csum");
    for name in ["file", "empty", "fast", "slow", "dir", "pipe"] {
        let (result, _) = case.read_with(name, &["links_count 0"], Inode::read_orphan);
        assert_eq!(result.unwrap().1.nlink, 0, "{name}");
        let (result, _) = case.read_with(name, &[], Inode::read_orphan);
        assert!(result.is_ok(), "{name}");
    }
    // Emptied before the crash.
    for name in ["dir", "fast"] {
        let changes = ["links_count 0", "size 0"];
        let (result, _) = case.read_with(name, &changes, Inode::read_orphan);
        assert!(result.is_ok(), "{name}");
    }
    let changes = ["links_count 0", "mode 0"];
    let (result, _) = case.read_with("file", &changes, Inode::read_orphan);
    assert_eq!(result.err(), Some(ESTALE));
}

/// A volume without checksums, and one of its files, for bytes that nothing keeps out.
struct Open {
    vol: Volume<HostStore>,
    nr: PhysBlock,
    offset: usize,
    file: Ino,
    good: Vec<u8>,
}

static OPEN: LazyLock<std::sync::Mutex<Open>> = LazyLock::new(|| {
    let case = Case::new("^metadata_csum");
    let file = named(&case.image, "file");
    let vol = mount(&case.image);
    let slot = vol.layout.inode_slot(file).unwrap();
    let table = vol.space.inode_table(slot.group).unwrap();
    let nr = table.checked_add(slot.block.into()).unwrap();
    let block = vol.store.read(nr, InodeTableFormat).unwrap();
    let offset = slot.offset;
    let good = block.with(|b| b[offset..offset + 256].to_vec());
    std::sync::Mutex::new(Open {
        vol,
        nr,
        offset,
        file,
        good,
    })
});

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    /// Whatever an inode holds, reading it and looking into its map ends, with an error or without.
    #[test]
    fn no_inode_makes_it_panic(
        changes in proptest::collection::vec((0..160usize, any::<u8>()), 0..12),
        mode in proptest::option::of(0..16u8),
        at: u32,
    ) {
        let open = OPEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let vol = &open.vol;
        let mut bytes = open.good.clone();
        for (i, value) in changes {
            bytes[i] = value;
        }
        if let Some(mode) = mode {
            bytes[1] = bytes[1] & 0xf | mode << 4;
        }
        let block = vol.store.read(open.nr, InodeTableFormat).unwrap();
        {
            let mut tx = vol.store.begin(Credits::new(1, 0)).unwrap();
            tx.edit(&block, |b| b[open.offset..open.offset + 256].copy_from_slice(&bytes)).unwrap();
        }
        for read in [Inode::read, Inode::read_system, Inode::read_orphan] {
            let read = read(vol, open.file);
            let reported = !vol.store.take_reports().is_empty();
            match read {
                Ok((mut inode, attrs)) => {
                    prop_assert!(!reported);
                    let _ = inode.fast_target();
                    let _ = inode.map.lookup(vol, LogicalBlock::new(at), 1);
                    let _ = inode.map.lookup(vol, LogicalBlock::ZERO, u32::MAX);
                    let mut tx = vol.store.begin(Inode::WRITE_CREDITS).unwrap();
                    inode.write(vol, &mut tx, &attrs).unwrap();
                }
                Err(e) => prop_assert_eq!(e == EUCLEAN, reported, "{:?}", e),
            }
            vol.store.take_reports();
        }
    }
}
