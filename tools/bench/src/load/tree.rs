// SPDX-License-Identifier: GPL-2.0

//! A tree of small files, as a source archive has them. Sizes and contents follow from a file's number, so that
//! whoever reads the tree can check it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{fchown, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{ensure, Context, Result};

use super::files::sync;
use super::Clock;

const DIRS: u32 = 60;
const FILES: u32 = 2_000;
const LARGEST: usize = 32 << 10;

struct Member {
    path: PathBuf,
    length: usize,
    byte: u8,
}

/// Directories two deep, and the files in them.
fn members(at: &Path) -> (Vec<PathBuf>, Vec<Member>) {
    let root = at.join("tree");
    let top = |i: u32| root.join(format!("top-{}", i % 6));
    let dir = |i: u32| top(i).join(format!("part-{i}"));
    let mut dirs = vec![root.clone()];
    dirs.extend((0..6).map(top));
    dirs.extend((0..DIRS).map(dir));
    let member = |i: u32| {
        // Many small ones and few large: a spread over powers of two.
        let random = i
            .wrapping_mul(2_654_435_761)
            .rotate_left(13)
            .wrapping_mul(0x9e37_79b9);
        let length = (LARGEST >> (random >> 29)) * (1 + (random as usize >> 8 & 0xff)) / 256;
        let path = dir(i * DIRS / FILES).join(format!("source-{i}.c"));
        Member {
            path,
            length,
            byte: b'a' + (i % 26) as u8,
        }
    };
    (dirs, (0..FILES).map(member).collect())
}

pub(super) fn untar(clock: &Clock, at: &Path) -> Result<()> {
    let (dirs, files) = members(at);
    let contents: Vec<Vec<u8>> = (0..26).map(|i| vec![b'a' + i; LARGEST]).collect();
    let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    clock.measure(|| {
        for dir in &dirs {
            fs::create_dir(dir)?;
        }
        for file in &files {
            let mut open = OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&file.path)?;
            let content = contents
                .get(usize::from(file.byte - b'a'))
                .context("no such content")?;
            for part in content[..file.length].chunks(10_240) {
                open.write_all(part)?;
            }
            open.set_modified(time)?;
            fchown(&open, Some(0), Some(0))?;
            open.set_permissions(Permissions::from_mode(0o644))?;
        }
        sync(at)?;
        Ok(files.len() as u64)
    })
}

/// In the order of the archive.
pub(super) fn read(clock: &Clock, at: &Path) -> Result<()> {
    let (_, files) = members(at);
    let mut content = vec![0; LARGEST + 1];
    let expected: Vec<Vec<u8>> = (0..26).map(|i| vec![b'a' + i; LARGEST]).collect();
    clock.measure(|| {
        for file in &files {
            let mut open = File::open(&file.path)?;
            let length = open.read(&mut content)?;
            let want = expected
                .get(usize::from(file.byte - b'a'))
                .context("no such content")?;
            ensure!(
                content[..length] == want[..file.length],
                "{} is not what was written",
                file.path.display()
            );
        }
        Ok(files.len() as u64)
    })
}

pub(super) fn remove(clock: &Clock, at: &Path) -> Result<()> {
    let (dirs, files) = members(at);
    clock.measure(|| {
        fs::remove_dir_all(at.join("tree"))?;
        sync(at)?;
        Ok((dirs.len() + files.len()) as u64)
    })
}
