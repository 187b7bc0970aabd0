// SPDX-License-Identifier: GPL-2.0

//! Inodes as bytes: those of others are read as `debugfs` reads them, those written here are what `debugfs` and
//! `e2fsck` read, and no bytes make it panic.

use iomapfs_core::disk::inode::{
    decode_rdev, encode_rdev, DiskInode, DiskTime, InodeFlags, InodeTableFormat, I_BLOCK_SIZE,
};
use iomapfs_core::disk::{FileType, Flaw, Ino, Layout, PhysBlock};
use iomapfs_core::host::{HostStore, Image, Mkfs};
use iomapfs_core::store::{Credits, Store, Transaction};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The block with an inode and where in it that is, as debugfs says.
fn place(image: &Image, ino: Ino) -> (PhysBlock, usize) {
    let text = image.debugfs(&[format!("imap <{}>", ino.get())]);
    let (_, rest) = text.split_once("located at block ").unwrap();
    let (block, rest) = rest.split_once(", offset 0x").unwrap();
    let offset = usize::from_str_radix(rest.lines().next().unwrap(), 16).unwrap();
    (PhysBlock::new(block.parse().unwrap()), offset)
}

struct Mounted {
    image: Image,
    layout: Layout,
    store: HostStore,
}

impl Mounted {
    fn new(image: Image) -> Self {
        // Also of volumes that can only be read.
        let layout = image.layout(true).unwrap();
        let store = HostStore::open(image.path(), layout.block_size().bytes()).unwrap();
        Self {
            image,
            layout,
            store,
        }
    }

    fn bytes(&self, ino: Ino) -> Vec<u8> {
        let (nr, offset) = place(&self.image, ino);
        let slot = self.layout.inode_slot(ino).unwrap();
        assert_eq!(slot.offset, offset, "place of inode {ino:?}");
        let block = self.store.read(nr, InodeTableFormat).unwrap();
        block.with(|b| b[offset..offset + usize::from(self.layout.inode_size())].to_vec())
    }

    fn read(&self, ino: Ino) -> DiskInode {
        DiskInode::decode(&self.layout, ino, &self.bytes(ino))
            .unwrap_or_else(|e| panic!("inode {ino:?}: {e:?}"))
    }

    fn write(&self, ino: Ino, inode: &DiskInode) {
        let (nr, offset) = place(&self.image, ino);
        let len = usize::from(self.layout.inode_size());
        let mut tx = self.store.begin(Credits::new(1, 0)).unwrap();
        let block = self.store.read(nr, InodeTableFormat).unwrap();
        tx.edit(&block, |b| {
            inode.encode(&self.layout, ino, &mut b[offset..offset + len])
        })
        .unwrap()
        .unwrap();
    }
}

/// What `stat` of debugfs says: values by name.
fn stat(image: &Image, ino: Ino) -> BTreeMap<String, String> {
    values(&image.debugfs(&[format!("stat <{}>", ino.get())]))
}

fn values(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let words: Vec<&str> = text.split_whitespace().collect();
    for pair in words.windows(2) {
        if let Some(key) = pair[0].strip_suffix(':') {
            values.entry(key.to_string()).or_insert(pair[1].to_string());
        }
    }
    if let Some((_, dest)) = text.split_once("Fast link dest: \"") {
        values.insert("dest".into(), dest.split('"').next().unwrap().into());
    }
    if let Some((_, device)) = text.split_once("number: ") {
        values.insert("device".into(), device.split(' ').next().unwrap().into());
    }
    values
}

fn hex(s: &str) -> u32 {
    u32::from_str_radix(s.trim_start_matches("0x"), 16).unwrap()
}

/// A time from what debugfs prints: `seconds:extra`, both hexadecimal, or only the seconds.
fn time(s: &str) -> DiskTime {
    let (sec, extra) = s.split_once(':').map_or((s, None), |(a, b)| (a, Some(b)));
    let extra = extra.map_or(0, hex);
    DiskTime {
        sec: i64::from(hex(sec) as i32) + (i64::from(extra & 3) << 32),
        nsec: extra >> 2,
    }
}

#[track_caller]
fn same(name: &str, layout: &Layout, ours: &DiskInode, theirs: &BTreeMap<String, String>) {
    let get = |key: &str| {
        theirs
            .get(key)
            .unwrap_or_else(|| panic!("{name}: no {key}"))
    };
    let number = |key: &str| get(key).parse::<u64>().unwrap();
    // debugfs prints owners with a sign.
    let owner = |key: &str| get(key).parse::<i64>().unwrap() as u32;
    assert_eq!(ours.uid, owner("User"), "{name}");
    assert_eq!(ours.gid, owner("Group"), "{name}");
    assert_eq!(u64::from(ours.links), number("Links"), "{name}");
    assert_eq!(ours.size, number("Size"), "{name}");
    assert_eq!(ours.sectors, number("Blockcount"), "{name}");
    assert_eq!(ours.flags.bits(), hex(get("Flags")), "{name}");
    assert_eq!(u64::from(ours.generation), number("Generation"), "{name}");
    let mode = u16::from_str_radix(get("Mode"), 8).unwrap();
    assert_eq!(ours.mode & 0xfff, mode, "{name}");
    let acl = ours.file_acl.map_or(0, PhysBlock::get);
    assert_eq!(acl, number("ACL"), "{name}");
    let version = get("Version").replacen("0x", "", 1).replace(':', "");
    let version = u64::from_str_radix(&version, 16).unwrap();
    assert_eq!(ours.atime, time(get("atime")), "{name}: atime");
    assert_eq!(ours.mtime, time(get("mtime")), "{name}: mtime");
    assert_eq!(ours.ctime, time(get("ctime")), "{name}: ctime");
    if layout.inode_size() > 128 && theirs.contains_key("crtime") {
        assert_eq!(ours.version, version, "{name}: version");
        assert_eq!(ours.crtime, time(get("crtime")), "{name}: crtime");
        let extra: u16 = theirs["fields"].parse().unwrap();
        assert_eq!(ours.extra_isize, extra, "{name}");
    } else {
        // Inodes of 128 bytes, and reserved ones that are all zeros.
        assert_eq!(ours.extra_isize, 0, "{name}");
        assert_eq!(ours.version, version & 0xffff_ffff, "{name}");
    }
}

/// A file system with one file of each type, whose inodes have been given unusual values.
fn populate(mkfs: &Mkfs) -> Image {
    let image = mkfs.make();
    let mut commands: Vec<String> = [
        "write /dev/null file",
        "symlink fast target",
        "mkdir dir",
        "mknod pipe p",
        "mknod char c 12 34",
        "mknod block b 8 255",
        "sif file uid 74565",
        "sif file gid 3000000000",
        "sif file mode 0106755",
        "sif file generation 305419896",
        "sif file version 77",
        "sif file atime @-5",
        "sif file mtime @2147483647",
        "sif file ctime @0",
        "sif file flags 0x80090",
    ]
    .map(String::from)
    .into();
    if image.layout(true).unwrap().inode_size() > 128 {
        commands.extend(
            [
                "sif file mtime_extra 7",
                "sif file atime_extra 0xee6b27fc",
                "sif file crtime @-2147483648",
                "sif file crtime_extra 2",
                "sif file version_hi 3",
            ]
            .map(String::from),
        );
    }
    image.debugfs(&commands);
    image
}

fn named(image: &Image, name: &str) -> Ino {
    let text = image.debugfs(&[format!("stat {name}")]);
    let (_, rest) = text
        .split_once("Inode: ")
        .unwrap_or_else(|| panic!("{name}: {text}"));
    Ino::new(rest.split_whitespace().next().unwrap().parse().unwrap()).unwrap()
}

#[test]
fn inodes_are_those_of_debugfs() {
    for (name, mkfs) in Mkfs::variety() {
        let m = Mounted::new(populate(&mkfs));
        let file = named(&m.image, "file");
        let last = named(&m.image, "block").get();
        let commands: Vec<_> = (1..=last).map(|nr| format!("stat <{nr}>")).collect();
        let text = m.image.debugfs(&commands);
        let table = place(&m.image, Ino::new(1).unwrap()).0;
        for (nr, theirs) in (1..=last).zip(text.split("debugfs: ").skip(1)) {
            let ino = Ino::new(nr).unwrap();
            let slot = m.layout.inode_slot(ino).unwrap();
            let block = PhysBlock::new(table.get() + u64::from(slot.block));
            let block = m.store.read(block, InodeTableFormat).unwrap();
            let size = usize::from(m.layout.inode_size());
            let ours = block
                .with(|b| DiskInode::decode(&m.layout, ino, &b[slot.offset..slot.offset + size]));
            same(name, &m.layout, &ours.unwrap(), &values(theirs));
        }
        let raw = m.read(file);
        assert_eq!(FileType::from_mode(raw.mode), Some(FileType::Regular));
        assert_eq!((raw.uid, raw.gid), (74565, 3_000_000_000), "{name}");
        assert!(raw
            .flags
            .has(InodeFlags::IMMUTABLE.with(InodeFlags::NOATIME)));
        if m.layout.inode_size() > 128 {
            assert_eq!(raw.mtime.sec, (1 << 33) + (1 << 32) + 0x7fff_ffff, "{name}");
            assert_eq!(raw.mtime.nsec, 1, "{name}");
            assert_eq!(
                raw.atime,
                DiskTime {
                    sec: -5,
                    nsec: 999_999_999
                },
                "{name}"
            );
            assert_eq!(raw.crtime.sec, i64::from(i32::MIN) + (1 << 33), "{name}");
        }
        let fast = m.read(named(&m.image, "fast"));
        assert_eq!(&fast.block[..7], b"target\0", "{name}");
        let root = m.read(Ino::ROOT);
        assert_eq!(FileType::from_mode(root.mode), Some(FileType::Directory));
        for (file, rdev) in [("char", 12 << 20 | 34), ("block", 8 << 20 | 255)] {
            let raw = m.read(named(&m.image, file));
            assert!(FileType::from_mode(raw.mode).unwrap().is_device());
            assert_eq!(decode_rdev(&raw.block), rdev, "{name}");
        }
    }
}

#[test]
fn written_inodes_are_read_by_others() {
    for (name, mkfs) in Mkfs::variety() {
        let m = Mounted::new(populate(&mkfs));
        let large = m.layout.inode_size() > 128;
        let file = named(&m.image, "file");
        let pipe = named(&m.image, "pipe");
        let time = |sec, nsec| {
            if large {
                DiskTime { sec, nsec }
            } else {
                DiskTime { sec, nsec: 0 }
            }
        };
        let file_now = DiskInode {
            mode: 0o100_640,
            uid: 0x0102_0304,
            gid: 0xf1f2_f3f4,
            // A hole, to the last byte: e2fsck is content with that.
            size: if m.layout.has_large_file() {
                1 << 33
            } else {
                0
            },
            flags: InodeFlags::EXTENTS.with(InodeFlags::NODUMP),
            atime: time(-1, 123_456_789),
            mtime: time(if large { 0x1_2345_6789 } else { 5 }, 999_999_999),
            ctime: time(
                if large {
                    DiskTime::MAX_SEC
                } else {
                    DiskTime::MAX_SEC_SMALL
                },
                1,
            ),
            crtime: if large {
                time(i64::from(i32::MIN), 4)
            } else {
                DiskTime::default()
            },
            version: if large { 0x1234_5678_9abc_def0 } else { 9 },
            project: 0,
            generation: 0xdead_beef,
            ..m.read(file)
        };
        let pipe_now = DiskInode {
            uid: 65536,
            version: 1,
            project: 0,
            ..m.read(pipe)
        };
        m.write(file, &file_now);
        m.write(pipe, &pipe_now);
        assert_eq!(m.read(file), file_now, "{name}");
        m.store.save(m.image.path()).unwrap();

        assert_eq!(m.image.fsck(), Ok(()), "{name}");
        same(name, &m.layout, &file_now, &stat(&m.image, file));
        same(name, &m.layout, &pipe_now, &stat(&m.image, pipe));
    }
}

/// What is not known to the values stays: extended attributes in the inode, deletion time, project.
#[test]
fn encode_leaves_the_rest_alone() {
    let image = Mkfs::new(20 << 20, 4096).make();
    image.debugfs(&[
        "write /dev/null file",
        "ea_set file user.name value",
        "sif file projid 4711",
    ]);
    let m = Mounted::new(image);
    let file = named(&m.image, "file");
    let before = m.bytes(file);
    let raw = DiskInode {
        uid: 9,
        ..m.read(file)
    };
    m.write(file, &raw);
    let after = m.bytes(file);
    assert_eq!(before[156..], after[156..], "project and attributes");
    assert_ne!(before, after);
    m.store.save(m.image.path()).unwrap();
    let value = m.image.debugfs(&["ea_get file user.name"]);
    assert!(value.contains("value"), "{value}");
    assert_eq!(m.image.fsck(), Ok(()));
}

/// An inode that was made when inodes had fewer fields: times then have no nanoseconds, the checksum 16 bits.
#[test]
fn short_bodies() {
    let m = Mounted::new(populate(&Mkfs::new(20 << 20, 4096)));
    let file = named(&m.image, "file");
    for extra_isize in [0, 4, 12, 16, 24, 28] {
        let now = DiskTime {
            sec: 0x1_0000_0001,
            nsec: 77,
        };
        let raw = DiskInode {
            extra_isize,
            atime: now,
            mtime: now,
            ctime: now,
            crtime: now,
            version: u64::MAX,
            project: 0,
            ..m.read(file)
        };
        // Fields that are not there must not be written, and are left over from before here.
        let mut bytes = m.bytes(file);
        bytes[128..].fill(0);
        raw.encode(&m.layout, file, &mut bytes).unwrap();
        let end = 128 + usize::from(extra_isize).max(2);
        assert!(bytes[end..].iter().all(|b| *b == 0), "{extra_isize}");
        let read = DiskInode::decode(&m.layout, file, &bytes).unwrap();
        let cut = DiskTime {
            sec: i32::MAX.into(),
            nsec: 0,
        };
        assert_eq!(
            read.ctime,
            if extra_isize >= 8 { now } else { cut },
            "{extra_isize}"
        );
        assert_eq!(
            read.mtime,
            if extra_isize >= 12 { now } else { cut },
            "{extra_isize}"
        );
        assert_eq!(
            read.atime,
            if extra_isize >= 16 { now } else { cut },
            "{extra_isize}"
        );
        let version = if extra_isize >= 28 {
            u64::MAX
        } else {
            u32::MAX.into()
        };
        assert_eq!(read.version, version, "{extra_isize}");
        let place = place(&m.image, file);
        m.store
            .begin(Credits::new(1, 0))
            .unwrap()
            .edit(&m.store.read(place.0, InodeTableFormat).unwrap(), |b| {
                b[place.1..place.1 + 256].copy_from_slice(&bytes);
            })
            .unwrap();
        m.store.save(m.image.path()).unwrap();
        let theirs = stat(&m.image, file);
        assert_eq!(u64::from(read.uid).to_string(), theirs["User"]);
        // e2fsck wants more fields than these, but must not find a wrong checksum.
        let complaint = m.image.fsck().err().unwrap_or_default();
        assert!(
            !complaint.contains("checksum"),
            "{extra_isize}: {complaint}"
        );
    }
}

#[test]
fn bad_bodies_are_refused() {
    let m = Mounted::new(populate(
        &Mkfs::new(20 << 20, 4096).features("^metadata_csum"),
    ));
    let file = named(&m.image, "file");
    let good = m.bytes(file);
    for size in [129, 130, 132, u16::MAX, 30] {
        let mut bytes = good.clone();
        bytes[128..130].copy_from_slice(&u16::to_le_bytes(size));
        assert!(
            DiskInode::decode(&m.layout, file, &bytes).is_err(),
            "{size}"
        );
    }
    assert!(DiskInode::decode(&m.layout, file, &good[..100]).is_err());
    let raw = DiskInode {
        extra_isize: 132,
        ..m.read(file)
    };
    let mut bytes = good.clone();
    assert!(raw.encode(&m.layout, file, &mut bytes).is_err());
    assert_eq!(bytes, good, "changed although refused");
}

/// More blocks than 32, and than 48 bits of sectors count.
#[test]
fn huge_files() {
    let m = Mounted::new(populate(&Mkfs::new(20 << 20, 4096)));
    let file = named(&m.image, "file");
    let write = |m: &Mounted, sectors| {
        let raw = DiskInode {
            sectors,
            ..m.read(file)
        };
        let mut bytes = m.bytes(file);
        raw.encode(&m.layout, file, &mut bytes)?;
        assert_eq!(DiskInode::decode(&m.layout, file, &bytes), Ok(raw));
        // i_flags
        Ok::<bool, Flaw>(bytes[0x22] & 4 != 0)
    };
    assert_eq!(write(&m, u64::from(u32::MAX)), Ok(false));
    assert_eq!(write(&m, 1 << 32), Ok(false));
    assert_eq!(write(&m, (1 << 48) - 1), Ok(false));
    assert_eq!(write(&m, 1 << 48), Ok(true));
    assert!(write(&m, 1 << 51).is_err());
    let m = Mounted::new(populate(&Mkfs::new(20 << 20, 4096).features("^huge_file")));
    assert_eq!(write(&m, u64::from(u32::MAX)), Ok(false));
    assert!(write(&m, 1 << 32).is_err());
}

/// One good inode, its number and the geometry, for the properties.
static GOOD: LazyLock<(Layout, Ino, Vec<u8>)> = LazyLock::new(|| {
    let m = Mounted::new(populate(&Mkfs::new(20 << 20, 4096)));
    let file = named(&m.image, "file");
    (m.layout.clone(), file, m.bytes(file))
});

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    /// The checksum covers every bit, and whose inode it is.
    #[test]
    fn any_flipped_bit_is_found(bit in 0..256usize * 8) {
        let (layout, ino, good) = &*GOOD;
        prop_assert!(DiskInode::decode(layout, *ino, good).is_ok());
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(DiskInode::decode(layout, *ino, &bytes).is_err());
        let other = Ino::new(ino.get() + 1).unwrap();
        prop_assert!(DiskInode::decode(layout, other, good).is_err());
    }

    /// Any bytes, on a file system where no checksum keeps them out.
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0..16u16) {
        static LAYOUT: LazyLock<Layout> = LazyLock::new(|| {
            Mkfs::new(20 << 20, 4096).features("^metadata_csum").make().layout(false).unwrap()
        });
        let mut bytes = bytes;
        if bytes.len() >= 130 {
            bytes[1] = bytes[1] & 0xf | (kind as u8) << 4;
            bytes[128] = 32;
            bytes[129] = 0;
        }
        if let Ok(raw) = DiskInode::decode(&LAYOUT, Ino::ROOT, &bytes) {
            prop_assert!(raw.atime.nsec < 1_000_000_000);
            // What was read can be written, and is the same then.
            let mut copy = bytes.clone();
            if raw.encode(&LAYOUT, Ino::ROOT, &mut copy).is_ok() {
                prop_assert_eq!(DiskInode::decode(&LAYOUT, Ino::ROOT, &copy), Ok(raw));
            }
        }
    }

    /// Times come back as they were, as far as the format reaches.
    #[test]
    fn times_come_back(sec in DiskTime::MIN_SEC..=DiskTime::MAX_SEC, nsec in 0..1_000_000_000u32) {
        let (layout, ino, good) = &*GOOD;
        let now = DiskTime { sec, nsec };
        let raw = DiskInode { mtime: now, crtime: now, ..DiskInode::decode(layout, *ino, good).unwrap() };
        let mut bytes = good.clone();
        raw.encode(layout, *ino, &mut bytes).unwrap();
        prop_assert_eq!(DiskInode::decode(layout, *ino, &bytes), Ok(raw));
    }

    /// Times out of reach become the nearest ones.
    #[test]
    fn times_are_clamped(sec: i64) {
        let (layout, ino, good) = &*GOOD;
        let mtime = DiskTime { sec, nsec: 0 };
        let raw = DiskInode { mtime, ..DiskInode::decode(layout, *ino, good).unwrap() };
        let mut bytes = good.clone();
        raw.encode(layout, *ino, &mut bytes).unwrap();
        let read = DiskInode::decode(layout, *ino, &bytes).unwrap();
        prop_assert_eq!(read.mtime.sec, sec.clamp(DiskTime::MIN_SEC, DiskTime::MAX_SEC));
    }

    /// Device numbers come back as they were, in either form.
    #[test]
    fn device_numbers_come_back(major in 0..4096u32, minor in 0..1u32 << 20) {
        for (major, minor) in [(major, minor), (major & 0xff, minor & 0xff)] {
            let rdev = major << 20 | minor;
            let block = encode_rdev(rdev);
            prop_assert_eq!(decode_rdev(&block), rdev);
            // The old form is used where it will do, or old kernels could not read it.
            prop_assert_eq!(block[..4] == [0; 4], major > 255 || minor > 255 || rdev == 0);
            prop_assert_eq!(block[8..].to_vec(), vec![0; I_BLOCK_SIZE - 8]);
        }
    }
}

/// Catches: a project that is read where there is none, or not where debugfs has put it.
#[test]
fn projects() {
    let mkfs = Mkfs::new(20 << 20, 4096);
    let with = |mkfs: Mkfs, number: u32, extra_isize: u16| {
        let image = populate(&mkfs);
        image.debugfs(&[
            format!("sif file projid {number}"),
            format!("sif file extra_isize {extra_isize}"),
        ]);
        let m = Mounted::new(image);
        let ino = named(&m.image, "file");
        m.read(ino);
        let bytes = m.bytes(ino);
        DiskInode::decode(&m.layout, ino, &bytes).unwrap().project
    };
    for (extra_isize, told) in [(32, 0x1234_5678), (36, 0x1234_5678), (28, 0), (0, 0)] {
        let project = with(mkfs.clone().features("project"), 0x1234_5678, extra_isize);
        assert_eq!(project, told, "{extra_isize} bytes of fields");
        assert_eq!(with(mkfs.clone(), 77, extra_isize), 0, "no projects");
    }
}
