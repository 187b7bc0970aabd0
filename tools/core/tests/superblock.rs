// SPDX-License-Identifier: GPL-2.0

//! The super block and the geometry: what `mke2fs` makes is understood as `dumpe2fs` understands it, what ext4
//! would refuse is refused, and no bytes make it panic.

use iomapfs_core::disk::features::{compat, incompat, ro_compat};
use iomapfs_core::disk::layout::check::Refusal;
use iomapfs_core::disk::superblock::{
    ErrorPolicy, ErrorRecord, RawSuper, SuperFormat, DEFAULT_MAX_MOUNTS, STATE_ERROR, SUPER_SIZE,
};
use iomapfs_core::disk::{checksum, CsumSeed, Group, Ino, Layout, PhysBlock};
use iomapfs_core::host::{HostStore, Image, Mkfs};
use iomapfs_core::store::{Credits, Store, Transaction};
use kernel::error::code::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use zerocopy::{FromBytes, IntoBytes};

/// What `dumpe2fs` says: the head by name, and the lines of each group.
struct Dump {
    head: BTreeMap<String, String>,
    groups: Vec<Vec<String>>,
}

impl Dump {
    fn of(image: &Image) -> Self {
        let text = image.dumpe2fs();
        let (head, groups) = text.split_once("\nGroup 0:").unwrap();
        let groups = format!("Group 0:{groups}");
        Self {
            head: head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .map(|(k, v)| (k.to_string(), v.trim().to_string()))
                .collect(),
            groups: groups
                .lines()
                .fold(Vec::new(), |mut groups: Vec<Vec<String>>, line| {
                    if line.starts_with("Group") {
                        groups.push(Vec::new());
                    }
                    groups.last_mut().unwrap().push(line.trim().to_string());
                    groups
                }),
        }
    }

    #[track_caller]
    fn number(&self, name: &str) -> u64 {
        self.get(name)
            .unwrap_or_else(|| panic!("no {name}"))
            .parse()
            .unwrap()
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.head.get(name).map(String::as_str)
    }

    fn features(&self) -> Vec<&str> {
        self.get("Filesystem features")
            .unwrap()
            .split(' ')
            .collect()
    }
}

/// `a-b` at the end of what follows `key` in one of the lines.
fn range(lines: &[String], key: &str) -> Option<(u64, u64)> {
    let rest = lines.iter().find_map(|l| Some(l.split_once(key)?.1))?;
    let text: String = rest
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == '-')
        .collect();
    let (a, b) = text.split_once('-').unwrap_or((&text, &text));
    Some((a.parse().unwrap(), b.parse().unwrap()))
}

#[test]
fn geometry_is_that_of_dumpe2fs() {
    for (name, mkfs) in Mkfs::variety() {
        let image = mkfs.make();
        let dump = Dump::of(&image);
        let layout = image
            .layout(false)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let raw = image.read_super();

        assert_eq!(layout.blocks_count(), dump.number("Block count"), "{name}");
        for (ours, theirs) in [
            (layout.inodes_count(), "Inode count"),
            (layout.first_data_block(), "First block"),
            (layout.block_size().bytes(), "Block size"),
            (layout.blocks_per_group(), "Blocks per group"),
            (layout.inodes_per_group(), "Inodes per group"),
            (layout.inode_table_blocks(), "Inode blocks per group"),
            (layout.inode_size().into(), "Inode size"),
            (layout.first_ino(), "First inode"),
            (layout.reserved_blocks() as u32, "Reserved block count"),
            (raw.free_blocks_count_lo.get(), "Free blocks"),
            (raw.free_inodes_count.get(), "Free inodes"),
        ] {
            assert_eq!(u64::from(ours), dump.number(theirs), "{name}: {theirs}");
        }
        assert_eq!(
            layout.desc_size().to_string(),
            dump.get("Group descriptor size").unwrap_or("32"),
            "{name}"
        );
        assert_eq!(
            (1 << layout.flex_bits()).to_string(),
            dump.get("Flex block group size").unwrap_or("1"),
            "{name}"
        );
        assert_eq!(
            raw.reserved_gdt_blocks.to_string(),
            dump.get("Reserved GDT blocks").unwrap_or("0"),
            "{name}"
        );
        assert_eq!(
            layout.want_extra_isize().to_string(),
            dump.get("Desired extra isize").unwrap_or("0"),
            "{name}"
        );
        let ino = |name| {
            dump.get(name)
                .map(|s| Ino::new(s.parse().unwrap()).unwrap())
        };
        assert_eq!(layout.journal_ino(), ino("Journal inode"), "{name}");
        assert_eq!(layout.orphan_file_ino(), ino("Orphan file inode"), "{name}");
        assert_eq!(raw.error_policy(), ErrorPolicy::Continue, "{name}");

        let features = dump.features();
        for (ours, theirs) in [
            (layout.csum_seed().is_some(), "metadata_csum"),
            (layout.has_gdt_csum(), "uninit_bg"),
            (layout.has_64bit(), "64bit"),
            (layout.has_filetype(), "filetype"),
            (layout.has_dir_index(), "dir_index"),
            (layout.has_dir_nlink(), "dir_nlink"),
            (layout.has_huge_file(), "huge_file"),
            (layout.has_large_file(), "large_file"),
            (layout.has_journal(), "has_journal"),
        ] {
            assert_eq!(ours, features.contains(&theirs), "{name}: {theirs}");
        }
        if let Some(seed) = dump.get("Checksum seed") {
            let seed = u32::from_str_radix(seed.trim_start_matches("0x"), 16).unwrap();
            assert_eq!(layout.csum_seed(), Some(CsumSeed::new(seed)), "{name}");
        }
        let seed: String = layout
            .hash()
            .seed
            .iter()
            .flat_map(|w| w.to_le_bytes())
            .map(|b| format!("{b:02x}"))
            .collect();
        if let Some(theirs) = dump.get("Directory Hash Seed") {
            assert_eq!(seed, theirs.replace('-', ""), "{name}");
        }
        assert!(!layout.hash().unsigned, "{name}");

        let journal = dump
            .get("Total journal blocks")
            .map_or(0, |n| n.parse::<u64>().unwrap());
        let used = layout.blocks_count() - dump.number("Free blocks");
        assert_eq!(
            layout.overhead(journal, used),
            dump.number("Overhead clusters"),
            "{name}"
        );
        // A journal that is said to be larger than what is in use.
        for journal in [used + 1, layout.blocks_count(), 1 << 48, u64::MAX] {
            assert_eq!(layout.overhead(journal, used), used, "{name}: {journal}");
        }
    }
}

/// Would catch: what the super block says of its clusters taken for blocks, or believed where more is free.
#[test]
fn overhead_of_clusters() {
    let image = Mkfs::new(64 << 20, 1024).features("bigalloc").make();
    let dump = Dump::of(&image);
    let layout = image.layout(true).unwrap();
    let cluster = 1 << layout.cluster_bits();
    let used = layout.blocks_count() - dump.number("Free blocks");
    let theirs = dump.number("Overhead clusters") * cluster;
    assert!(cluster > 1 && theirs > 0);
    assert_eq!(layout.overhead(u64::MAX, used), theirs);
    for clusters in [used / cluster + 1, layout.blocks_count() / cluster, 1 << 31] {
        let mut raw = image.read_super();
        raw.overhead_clusters.set(clusters as u32);
        raw.seal();
        image.write_super(&raw);
        let layout = image.layout(true).unwrap();
        assert_eq!(layout.overhead(u64::MAX, used), used, "{clusters}");
        assert!(layout.overhead(0, used) < used, "{clusters}");
    }
}

#[test]
fn groups_are_those_of_dumpe2fs() {
    for (name, mkfs) in Mkfs::variety() {
        let image = mkfs.make();
        let dump = Dump::of(&image);
        let layout = image.layout(false).unwrap();
        assert_eq!(layout.groups() as usize, dump.groups.len(), "{name}");
        for (group, lines) in layout.all_groups().zip(&dump.groups) {
            let first = layout.group_first_block(group).get();
            let len = layout.blocks_in_group(group);
            let theirs = range(lines, "(Blocks ").unwrap();
            assert_eq!((first, first + u64::from(len) - 1), theirs, "{name}");

            let has_super = range(lines, "superblock at ").is_some();
            assert_eq!(layout.has_super(group), has_super, "{name}: {group:?}");
            let gdt = range(lines, "Group descriptors at ").map_or(0, |(a, b)| b - a + 1);
            let reserved = range(lines, "Reserved GDT blocks at ").map_or(0, |(a, b)| b - a + 1);
            assert_eq!(
                u64::from(layout.base_meta_blocks(group)),
                u64::from(has_super) + gdt + reserved,
                "{name}: {group:?}"
            );
            if group.get() == 0 {
                let (at, _) = range(lines, "Group descriptors at ").unwrap();
                assert_eq!(layout.gdt_block(0).get(), at, "{name}");
                assert_eq!(u64::from(layout.gdt_blocks()), gdt, "{name}");
            }

            // Numbers and places are the inverse of each other, and end where the group ends.
            let last = PhysBlock::new(first + u64::from(len) - 1);
            assert_eq!(layout.group_of(PhysBlock::new(first)), Some((group, 0)));
            assert_eq!(layout.group_of(last), Some((group, len - 1)));
            for index in [0, layout.inodes_per_group() - 1] {
                let ino = layout.ino_of(group, index).unwrap();
                let slot = layout.inode_slot(ino).unwrap();
                assert_eq!((slot.group, slot.index), (group, index), "{name}");
            }
            assert_eq!(layout.ino_of(group, layout.inodes_per_group()), None);
        }
        let end = PhysBlock::new(layout.blocks_count());
        assert_eq!(layout.group_of(end), None, "{name}");
        assert!(!layout.contains(end, 1), "{name}");
        assert!(layout.contains(PhysBlock::new(end.get() - 1), 1), "{name}");
        assert!(!layout.contains(PhysBlock::new(end.get() - 1), 2), "{name}");
        assert_eq!(layout.blocks_in_group(Group::new(layout.groups())), 0);
        assert_eq!(layout.ino_of(Group::new(layout.groups()), 0), None);
        let past = Ino::new(layout.inodes_count() + 1).unwrap();
        assert!(layout.inode_slot(past).is_none(), "{name}");
    }
}

/// Backups of the super block in many groups: dumpe2fs shows only few of them in small images.
#[test]
fn sparse_backups() {
    let image = Mkfs::new(600 << 20, 1024)
        .features("^has_journal")
        .arg("-g")
        .arg("1024")
        .arg("-N")
        .arg("10000")
        .make();
    let layout = image.layout(false).unwrap();
    let with: Vec<u32> = layout
        .all_groups()
        .filter(|g| layout.has_super(*g))
        .map(Group::get)
        .collect();
    assert_eq!(with, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343]);
}

/// Would catch: more kept back than 4096 clusters or less than 2 %, and clusters that are taken for blocks.
#[test]
fn blocks_that_are_kept_back() {
    // The size in KiB, a multiple of four for mke2fs, blocks of a cluster, clusters kept back.
    for (size, cluster, kept) in [
        (20 << 10, 1, 20 * 1024 / 50),
        (4096 * 50 - 4, 1, 4095),
        (4096 * 50, 1, 4096),
        (206_000, 1, 4096),
        (1 << 20, 1, 4096),
        (20 << 10, 4, 20 * 1024 / 4 / 50),
        (1 << 20, 4, 4096),
    ] {
        let mkfs = Mkfs::new(size << 10, 1024).arg("-N").arg("4000");
        let mkfs = match cluster {
            1 => mkfs,
            _ => mkfs
                .features("bigalloc")
                .arg("-C")
                .arg((cluster * 1024).to_string()),
        };
        let layout = mkfs.make().layout(true).unwrap();
        assert_eq!(layout.blocks_count(), size, "{cluster}");
        assert_eq!(
            layout.kept_blocks(),
            kept * cluster,
            "{size} KiB, clusters of {cluster} blocks"
        );
        assert_eq!(
            layout.set_aside_blocks(),
            layout.reserved_blocks() + kept * cluster,
            "{size} KiB, clusters of {cluster} blocks"
        );
    }
}

/// A good super block, and the blocks of its device.
static GOOD: LazyLock<(RawSuper, u64)> = LazyLock::new(|| {
    let image = Mkfs::new(20 << 20, 1024).features("orphan_file").make();
    (image.read_super(), 20 << 10)
});

#[track_caller]
fn refused(change: impl FnOnce(&mut RawSuper)) -> Refusal {
    let (mut raw, blocks) = GOOD.clone();
    change(&mut raw);
    raw.seal();
    Layout::new(&raw, blocks, false).expect_err("was not refused")
}

#[track_caller]
fn refused_for(name: &str, change: impl FnOnce(&mut RawSuper)) {
    match refused(change) {
        Refusal::Field(field, ..) => assert_eq!(field, name),
        other => panic!("refused for another reason: {other}"),
    }
}

#[test]
fn bad_geometry_is_refused() {
    assert!(Layout::new(&GOOD.0, GOOD.1, false).is_ok());
    assert_eq!(refused(|s| s.magic.set(0)), Refusal::NoMagic);
    assert_eq!(refused(|s| s.checksum_type = 2), Refusal::ChecksumType(2));
    refused_for("s_log_block_size", |s| s.log_block_size.set(7));
    refused_for("s_log_block_size", |s| s.log_block_size.set(u32::MAX));
    refused_for("s_log_cluster_size", |s| s.log_cluster_size.set(4));
    refused_for("s_inode_size", |s| s.inode_size.set(64));
    refused_for("s_inode_size", |s| s.inode_size.set(192));
    refused_for("s_inode_size", |s| s.inode_size.set(2048));
    refused_for("s_first_ino", |s| s.first_ino.set(10));
    refused_for("s_first_ino", |s| s.first_ino.set(u32::MAX));
    refused_for("s_want_extra_isize", |s| s.want_extra_isize.set(132));
    refused_for("s_min_extra_isize", |s| s.min_extra_isize.set(30));
    refused_for("s_desc_size", |s| s.desc_size.set(32));
    refused_for("s_desc_size", |s| s.desc_size.set(96));
    refused_for("s_desc_size", |s| s.desc_size.set(2048));
    refused_for("s_blocks_per_group", |s| s.blocks_per_group.set(0));
    refused_for("s_blocks_per_group", |s| s.blocks_per_group.set(8193));
    refused_for("s_blocks_per_group", |s| s.blocks_per_group.set(16384));
    refused_for("s_clusters_per_group", |s| s.clusters_per_group.set(4096));
    refused_for("s_inodes_per_group", |s| s.inodes_per_group.set(0));
    refused_for("s_inodes_per_group", |s| s.inodes_per_group.set(1700));
    refused_for("s_inodes_per_group", |s| s.inodes_per_group.set(16384));
    refused_for("s_inodes_count", |s| s.inodes_count.set(5111));
    refused_for("s_blocks_count", |s| s.blocks_count_lo.set(20481));
    refused_for("s_blocks_count", |s| s.blocks_count_hi.set(1));
    refused_for("s_blocks_count", |s| s.blocks_count_hi.set(1 << 16));
    refused_for("s_blocks_count", |s| s.blocks_count_lo.set(1));
    refused_for("s_blocks_count", |s| s.blocks_count_lo.set(0));
    refused_for("s_first_data_block", |s| s.first_data_block.set(0));
    refused_for("s_first_data_block", |s| s.first_data_block.set(2));
    refused_for("s_reserved_gdt_blocks", |s| s.reserved_gdt_blocks.set(257));
    refused_for("s_journal_inum", |s| s.journal_inum.set(5113));
    refused_for("s_orphan_file_inum", |s| s.orphan_file_inum.set(0));
    refused_for("s_orphan_file_inum", |s| s.orphan_file_inum.set(5113));
    refused_for("s_creator_os", |s| s.creator_os.set(1));

    // The block count says that the device has to be larger.
    assert!(Layout::new(&GOOD.0, GOOD.1 - 1, false).is_err());
}

#[test]
fn wrong_checksum_is_refused() {
    let (mut raw, blocks) = GOOD.clone();
    raw.mnt_count.set(raw.mnt_count.get() + 1);
    let refusal = Layout::new(&raw, blocks, false).unwrap_err();
    assert_eq!(refusal, Refusal::Checksum);
    assert_eq!(refusal.error(), EFSBADCRC);
    raw.seal();
    assert!(Layout::new(&raw, blocks, false).is_ok());
}

#[test]
fn unsupported_features_are_refused_by_name() {
    let by_name = |bits: u32| {
        refused(|s| s.feature_incompat.set(s.feature_incompat.get() | bits)).to_string()
    };
    for (bit, name) in [
        (0x1, "compression"),
        (0x8, "journal_dev"),
        (0x10, "meta_bg"),
        (0x100, "mmp"),
        (0x1000, "dirdata"),
        (0x8000, "inline_data"),
        (0x10000, "encrypt"),
        (0x20000, "casefold"),
        (0x110, "meta_bg, mmp"),
        (0x8000_0100, "mmp, 0x80000000"),
    ] {
        assert_eq!(by_name(bit), format!("unsupported features: {name}"));
    }
    assert_eq!(
        refused(|s| s.feature_incompat.set(0x2)),
        Refusal::MissingFeature("extent")
    );

    // Features that only writing is not possible with.
    let (mut raw, blocks) = GOOD.clone();
    raw.feature_ro_compat
        .set(raw.feature_ro_compat.get() | 0x8200);
    raw.seal();
    let refusal = Layout::new(&raw, blocks, false).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "the file system can only be mounted read-only because of the features: bigalloc, verity"
    );
    assert_eq!(refusal.error(), EROFS);
    assert!(Layout::new(&raw, blocks, true).is_ok());

    // Features that can be ignored.
    let (mut raw, blocks) = GOOD.clone();
    raw.feature_compat
        .set(raw.feature_compat.get() | 0x8000_0000);
    raw.seal();
    assert!(Layout::new(&raw, blocks, false).is_ok());
    assert!(raw.features().has_compat(compat::ORPHAN_FILE));
}

/// The features that real images have and that must be refused, as made by mke2fs: a mount that takes them
/// for something else would damage them.
#[test]
fn real_unsupported_images() {
    for (features, name) in [
        ("meta_bg,^resize_inode", "meta_bg"),
        ("inline_data", "inline_data"),
        ("mmp", "mmp"),
        ("encrypt", "encrypt"),
    ] {
        let image = Mkfs::new(20 << 20, 1024).features(features).make();
        let refusal = image.layout(true).unwrap_err();
        assert_eq!(refusal.to_string(), format!("unsupported features: {name}"));
    }
    let image = Mkfs::new(20 << 20, 1024).features("^extent,^64bit").make();
    assert!(image.layout(true).is_err());
    for features in ["bigalloc", "verity"] {
        let image = Mkfs::new(20 << 20, 1024).features(features).make();
        assert!(image.layout(true).is_ok(), "{features}");
        assert!(image.layout(false).is_err(), "{features}");
    }
}

/// A super block changed through a transaction is one that e2fsck and dumpe2fs accept.
#[test]
fn edits_are_read_by_others() {
    for (name, mkfs) in Mkfs::variety() {
        let image = mkfs.make();
        let layout = image.layout(false).unwrap();
        let (nr, offset) = layout.super_location();
        let store = HostStore::open(image.path(), layout.block_size().bytes()).unwrap();
        let free = image.read_super().free_blocks_count_lo.get().into();
        {
            let mut tx = store.begin(Credits::new(1, 0)).unwrap();
            let block = store.read(nr, SuperFormat::new(offset)).unwrap();
            tx.edit(&block, |bytes| {
                let raw = RawSuper::from_block_mut(bytes, offset).unwrap();
                raw.set_mtime(1 << 32);
                raw.set_wtime(1_700_000_000);
                raw.count_mount();
                raw.set_free(free, raw.free_inodes_count.get());
            })
            .unwrap();
        }
        store.save(image.path()).unwrap();
        assert_eq!(image.fsck(), Ok(()), "{name}");
        assert_eq!(image.dumpe2fs_value("Mount count").unwrap(), "1", "{name}");
        let time = image.dumpe2fs_value("Last write time").unwrap();
        assert!(time.contains("2023"), "{name}: {time}");
    }
}

/// Would catch: a count of mounts that stays at its largest value, and a limit that is put in the place of another one.
#[test]
fn mounts_are_counted() {
    let mut raw = GOOD.0.clone();
    for (mounts, max, counted) in [
        (0, 0, (1, DEFAULT_MAX_MOUNTS)),
        (7, 5, (8, 5)),
        (0x7fff, 0xffff, (0x8000, 0xffff)),
        (0xffff, 0xffff, (0, 0xffff)),
    ] {
        raw.mnt_count.set(mounts);
        raw.max_mnt_count.set(max);
        raw.count_mount();
        assert_eq!((raw.mnt_count.get(), raw.max_mnt_count.get()), counted);
    }
}

/// Would catch: the upper bits of a time left out, an interval of 0 taken for one, and a check that is due a second
/// too late or too early.
#[test]
fn checks_become_due() {
    let mut raw = GOOD.0.clone();
    for (hi, lo, interval, due) in [
        (0, 1_600_000_000, 86_400, Some(1_600_086_400)),
        (1, 1_600_000_000, 86_400, Some((1 << 32) + 1_600_086_400)),
        (
            0xff,
            u32::MAX,
            u32::MAX,
            Some((1 << 40) - 1 + (1 << 32) - 1),
        ),
        (0, 1_600_000_000, 0, None),
        (0, 0, 0, None),
    ] {
        raw.lastcheck.set(lo);
        raw.lastcheck_hi = hi;
        raw.checkinterval.set(interval);
        match due {
            Some(due) => {
                assert!(!raw.is_check_due(due - 1), "{hi} {lo} {interval}");
                assert!(raw.is_check_due(due), "{hi} {lo} {interval}");
            }
            None => assert!(!raw.is_check_due(i64::MAX), "{hi} {lo} {interval}"),
        }
    }
}

#[test]
fn errors_are_recorded() {
    let image = Mkfs::new(1 << 20, 1024).features("^has_journal").make();
    let mut raw = image.read_super();
    let mut record = ErrorRecord {
        time: 1_700_000_000,
        ino: 12,
        block: 345,
        func: "a_function_with_a_name_of_more_than_32_bytes",
        line: 67,
        error: EUCLEAN,
    };
    raw.record_error(&record);
    record.ino = 13;
    record.func = "second";
    record.error = EIO;
    raw.record_error(&record);
    raw.seal();
    image.write_super(&raw);
    assert_eq!(raw.state.get() & STATE_ERROR, STATE_ERROR);
    for (name, value) in [
        ("FS Error count", "2"),
        ("First error function", "a_function_with_a_name_of_more_t"),
        ("First error line #", "67"),
        ("First error inode #", "12"),
        ("First error block #", "345"),
        ("First error err", "EFSCORRUPTED"),
        ("Last error function", "second"),
        ("Last error inode #", "13"),
        ("Last error err", "EIO"),
    ] {
        assert_eq!(image.dumpe2fs_value(name).as_deref(), Some(value), "{name}");
    }
}

#[test]
fn feature_bits_that_change_while_mounted() {
    let mut raw = GOOD.0.clone();
    raw.set_needs_recovery(true);
    raw.set_orphan_present(true);
    raw.set_large_file();
    assert!(raw.features().has_incompat(incompat::RECOVER));
    assert!(raw
        .features()
        .has_ro_compat(ro_compat::ORPHAN_PRESENT | ro_compat::LARGE_FILE));
    assert!(!raw.checksum_ok());
    raw.seal();
    assert!(raw.checksum_ok());
    raw.set_needs_recovery(false);
    raw.set_orphan_present(false);
    assert_eq!(
        (raw.features().incompat, raw.features().ro_compat),
        (GOOD.0.features().incompat, GOOD.0.features().ro_compat)
    );
}

/// Check values of the two algorithms, in the forms that the format uses.
#[test]
fn checksum_formulas() {
    assert_eq!(!iomapfs_core::crc32c(!0, b"123456789"), 0xe306_9283);
    assert_eq!(checksum::crc16(0, b"123456789"), 0xbb3d);
    let seed = CsumSeed::new(7);
    assert_eq!(
        seed.start().with(b"ab").with(b"c").finish(),
        seed.checksum(b"abc")
    );
    assert_eq!(
        seed.for_inode(Ino::ROOT, 5),
        CsumSeed::new(seed.checksum(&[2, 0, 0, 0, 5, 0, 0, 0]))
    );
}

/// All that a layout offers, on any argument.
fn walk(layout: &Layout, n: u64) {
    let group = Group::new(n as u32);
    let block = PhysBlock::new(n);
    let _ = layout.group_of(block);
    let _ = layout.contains(block, n as u32);
    let _ = (
        layout.group_first_block(group),
        layout.blocks_in_group(group),
    );
    let _ = (layout.has_super(group), layout.base_meta_blocks(group));
    let _ = (layout.desc_location(group), layout.gdt_block(n as u32));
    let _ = (layout.ino_of(group, n as u32), layout.flex_group_of(group));
    let _ = (layout.max_file_size(), layout.super_location());
    if let Some(ino) = Ino::new(n as u32) {
        let _ = layout.inode_slot(ino);
    }
    if layout.groups() < 1000 {
        let _ = layout.overhead(n, n);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    /// Any bytes.
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), SUPER_SIZE), n: u64) {
        let raw = RawSuper::read_from_bytes(&bytes).unwrap();
        if let Ok(layout) = Layout::new(&raw, u64::MAX, true) {
            walk(&layout, n);
        }
    }

    /// A good super block with some fields replaced, and a right checksum: most of these get far.
    #[test]
    fn no_mutation_makes_it_panic(
        changes in proptest::collection::vec((0..0x180usize, 0..4u32, any::<u32>()), 1..4),
        n: u64,
        device in prop_oneof![Just(GOOD.1), any::<u64>()],
    ) {
        let mut raw = GOOD.0.clone();
        for (at, kind, value) in changes {
            let at = at & !3;
            let field = &mut raw.as_mut_bytes()[at..at + 4];
            let old = u32::from_le_bytes(field.try_into().unwrap());
            let new = match kind {
                0 => value,
                1 => old ^ 1 << (value % 32),
                2 => old.wrapping_add(value % 17).wrapping_sub(8),
                _ => value % 64,
            };
            field.copy_from_slice(&new.to_le_bytes());
        }
        raw.seal();
        if let Ok(layout) = Layout::new(&raw, device, true) {
            prop_assert!(layout.blocks_count() <= device);
            prop_assert!(layout.inodes_per_group() <= layout.block_size().bytes() * 8);
            for n in [n, 0, layout.blocks_count() - 1, u64::from(layout.groups())] {
                walk(&layout, n);
            }
        }
    }
}
