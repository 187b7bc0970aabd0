// SPDX-License-Identifier: GPL-2.0

//! What the tests of free space share.

#![allow(dead_code)]

use iomapfs_core::disk::{Group, Layout, PhysBlock};
pub use iomapfs_core::host::mount;
use iomapfs_core::host::{HostStore, Image, Mkfs};
use iomapfs_core::space::{Claim, Goal, Run, Share, Space};
use iomapfs_core::store::Store;
use iomapfs_core::volume::Volume;
use kernel::error::Result;
use std::collections::BTreeMap;

pub type Vol = Volume<HostStore>;

/// A volume over an image, as after a mount.
pub fn try_mount(image: &Image) -> (HostStore, Layout, Result<Space<HostStore>>) {
    let layout = image.layout(false).unwrap();
    let store = HostStore::open(image.path(), layout.block_size().bytes()).unwrap();
    let space = Space::load(&store, &layout);
    (store, layout, space)
}

/// The kinds of file system that differ for the allocator.
pub fn kinds() -> Vec<(&'static str, Mkfs)> {
    let small = || Mkfs::new(40 << 20, 1024);
    vec![
        ("1 KiB blocks", small()),
        ("4 KiB blocks", Mkfs::new(600 << 20, 4096)),
        ("uninit_bg", small().features("^metadata_csum,uninit_bg")),
        (
            "uninit_bg, 64bit",
            Mkfs::new(40 << 20, 1024).features("^metadata_csum,uninit_bg,64bit"),
        ),
        ("no checksums", small().features("^metadata_csum")),
        ("32-byte descriptors", small().features("^64bit")),
        ("no flex_bg", small().features("^flex_bg")),
        (
            "sparse_super2",
            small().features("^resize_inode,sparse_super2"),
        ),
        (
            "no sparse_super",
            small().features("^sparse_super,^resize_inode"),
        ),
        (
            "short last group",
            Mkfs::new((40 << 20) - (3 << 20) - 5 * 1024, 1024),
        ),
        (
            "inode tables that fill flex groups",
            small().arg("-i").arg("1024"),
        ),
        (
            "small groups",
            small().arg("-g").arg("1024").arg("-N").arg("5120"),
        ),
    ]
}

pub fn anywhere() -> Goal {
    Goal::in_group(Group::new(0))
}

pub fn near(block: u64) -> Goal {
    Goal {
        near: Some(PhysBlock::new(block)),
        ..anywhere()
    }
}

/// Marks a run as used in a handle of its own, with the credits that it must do with.
#[track_caller]
pub fn mark(vol: &Vol, run: Run) -> Result {
    let mut tx = vol.store.begin(vol.space.credits_run(run))?;
    vol.space.mark_used(&vol.store, &mut tx, run)
}

/// Frees a run in a handle of its own, with the credits that it must do with.
#[track_caller]
pub fn free(vol: &Vol, run: Run) -> Result {
    let mut tx = vol.store.begin(vol.space.credits_run(run))?;
    vol.space.free(&vol.store, &mut tx, run)
}

/// Commits, and tells the allocator.
#[track_caller]
pub fn commit(vol: &Vol) {
    let tid = vol.store.commit().unwrap();
    vol.space.committed(tid, |_| ());
}

/// Chooses all that is left.
#[track_caller]
pub fn choose_all(vol: &Vol) -> Vec<Run> {
    let mut runs = Vec::new();
    while let Ok(run) = vol
        .space
        .choose(&vol.store, anywhere(), 100_000, Claim::Free(Share::All))
    {
        runs.push(run);
    }
    runs
}

/// What `dumpe2fs` says of a group.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct GroupDump {
    pub free_blocks: u32,
    pub free_inodes: u32,
    pub dirs: u32,
    pub free_list: String,
    pub free_inode_list: String,
}

/// What `dumpe2fs` says of each group.
pub fn dump_groups(image: &Image) -> BTreeMap<u32, GroupDump> {
    let mut groups = BTreeMap::new();
    let mut at = 0;
    for line in image.dumpe2fs().lines() {
        if let Some(rest) = line.strip_prefix("Group ") {
            let nr = rest.split(':').next().unwrap();
            at = nr.parse().unwrap_or(at);
        }
        let line = line.trim();
        let numbers: Vec<u32> = line
            .split(", ")
            .filter_map(|part| part.split_once(' ')?.0.parse().ok())
            .collect();
        if let (true, [free_blocks, free_inodes, dirs, ..]) =
            (line.contains(" free blocks, "), numbers.as_slice())
        {
            let (free_blocks, free_inodes, dirs) = (*free_blocks, *free_inodes, *dirs);
            let dump = GroupDump {
                free_blocks,
                free_inodes,
                dirs,
                ..GroupDump::default()
            };
            groups.insert(at, dump);
        }
        if let Some(group) = groups.get_mut(&at) {
            if let Some(list) = line.strip_prefix("Free blocks:") {
                group.free_list = list.trim().to_string();
            }
            if let Some(list) = line.strip_prefix("Free inodes:") {
                group.free_inode_list = list.trim().to_string();
            }
        }
    }
    groups
}
