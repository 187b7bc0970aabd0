// SPDX-License-Identifier: GPL-2.0

//! Directories that e2fsprogs made: read, and changed by us, under every hash.

mod names_common;

use iomapfs_core::disk::Ino;
use iomapfs_core::host::{Image, Mkfs};
use iomapfs_core::names::Directory;
use names_common::*;
use std::path::PathBuf;
use std::process::Command;

/// A folder of the host, gone when dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A folder with a folder `d` with `count` names of one file `f`, which is beside it.
fn folder(tag: &str, count: u32) -> Folder {
    let path = std::env::temp_dir().join(format!("iomapfs-tree-{}-{tag}", std::process::id()));
    let folder = Folder(path);
    std::fs::create_dir_all(folder.0.join("d")).unwrap();
    std::fs::write(folder.0.join("f"), b"x").unwrap();
    for n in 0..count {
        std::fs::hard_link(folder.0.join("f"), folder.0.join("d").join(name(n))).unwrap();
    }
    folder
}

fn name(n: u32) -> String {
    // Bytes above 127 in every second name: signed and unsigned hashes differ.
    match n % 2 {
        0 => format!("plain-{n}"),
        _ => format!("n\u{e4}m\u{e9}-{n}-\u{65e5}\u{672c}"),
    }
}

fn sbin(tool: &str) -> Command {
    let mut command = Command::new(tool);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

/// Has `e2fsck` build the trees anew.
fn optimise(image: &Image) {
    let out = sbin("e2fsck").args(["-fyD"]).arg(image.path()).output();
    let out = out.unwrap();
    // 1: changed.
    assert!(out.status.code().is_some_and(|code| code < 4), "{out:?}");
}

fn check_all(dir: &FlatDir<'_>, ino: Ino, there: u32) {
    for n in 0..there {
        let name = name(n);
        assert_eq!(dir.lookup(name.as_bytes()), Ok(Some(ino)), "{name}");
    }
    assert_eq!(dir.lookup(b"not there"), Ok(None));
    assert_eq!(dir.list(50).unwrap().len(), there as usize);
}

/// A hash, an order, a limit or a bit that e2fsprogs sees otherwise.
#[test]
fn trees_of_e2fsck_are_read_and_extended() {
    let count = 1500;
    let folder = folder("hashed", count);
    for csum in ["metadata_csum", "^metadata_csum"] {
        for (version, flags) in [
            ("legacy", 1),
            ("half_md4", 1),
            ("tea", 1),
            ("legacy", 2),
            ("half_md4", 2),
            ("tea", 2),
        ] {
            let image = Mkfs::new(24 << 20, 1024)
                .features(csum)
                .arg("-d")
                .arg(folder.0.to_str().unwrap())
                .make();
            let path = image.path().to_str().unwrap().to_string();
            image.debugfs(&[
                format!("ssv def_hash_version {version}"),
                format!("ssv flags {flags}"),
            ]);
            optimise(&image);
            assert!(stat(&image, "d").flags & INDEX_FL != 0);
            let ino = stat(&image, "f").ino;

            // Room for more: free blocks behind those in use, for a dry run.
            let store = open(&image);
            let mut dir = FlatDir::open(&store, &image, "d");
            check_all(&dir, ino, count);
            let old = dir.len();
            let free = store.blocks() / 2..store.blocks();
            dir.extend_pool(
                &free
                    .map(iomapfs_core::disk::PhysBlock::new)
                    .collect::<Vec<_>>(),
            );
            let extend = |dir: &mut FlatDir<'_>| {
                for n in count..2 * count {
                    dir.insert(name(n).as_bytes(), ino).unwrap();
                }
                check_all(dir, ino, 2 * count);
            };
            extend(&mut dir);
            let wanted = dir.len();
            drop(dir);
            drop(store);

            image.debugfs(&vec!["expand_dir d"; wanted - old]);
            let store = open(&image);
            let pool = blocks(&image, "d", wanted as u64);
            let mut dir = FlatDir::open(&store, &image, "d");
            dir.set_len(old, pool);
            extend(&mut dir);
            assert_eq!(dir.len(), wanted);
            store.save(image.path()).unwrap();
            finish(&image, 2 * count as usize, true);
            image
                .fsck()
                .unwrap_or_else(|error| panic!("{path} {csum} {version} {flags}: {error}"));
            let listed = image.debugfs(&["ls -p d"]);
            let listed = listed
                .lines()
                .filter(|line| line.contains("/plain-"))
                .count();
            assert_eq!(listed, count as usize);
        }
    }
}

/// Linear directories of many blocks, as mke2fs leaves them.
#[test]
fn linear_directories_are_read_and_changed() {
    let count = 1000;
    let folder = folder("linear", count);
    for features in ["metadata_csum", "^metadata_csum", "^filetype", "^dir_index"] {
        let image = Mkfs::new(24 << 20, 1024)
            .features(features)
            .arg("-d")
            .arg(folder.0.to_str().unwrap())
            .make();
        let ino = stat(&image, "f").ino;
        let store = open(&image);
        let mut dir = FlatDir::open(&store, &image, "d");
        assert!(dir.blocks() > 10 && !dir.is_indexed());
        check_all(&dir, ino, count);
        for n in (0..count).step_by(3) {
            dir.remove(name(n).as_bytes(), ino).unwrap();
        }
        for n in (0..count).step_by(6) {
            dir.insert(name(n).as_bytes(), ino).unwrap();
        }
        assert!(!dir.is_indexed(), "a directory of many blocks stays linear");
        let names = dir.list(9).unwrap().len();
        store.save(image.path()).unwrap();
        finish(&image, names, false);
        image.fsck().unwrap();
    }
}
