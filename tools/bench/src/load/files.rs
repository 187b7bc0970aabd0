// SPDX-License-Identifier: GPL-2.0

//! Many empty files, their attributes, and mounting.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use rustix::fs::{getxattr, setxattr, XattrFlags};
use rustix::mount::{mount as mount_call, unmount, MountFlags, UnmountFlags};

use super::Clock;

/// The folders, named before the clock runs.
fn folders(at: &Path, dirs: u32) -> Vec<PathBuf> {
    (0..dirs).map(|i| at.join(format!("dir-{i:03}"))).collect()
}

/// The files' names, one after another in one folder and then the next, each with zeros until it has `length` bytes.
fn long_names(at: &Path, count: u32, dirs: u32, length: usize) -> Vec<PathBuf> {
    let each = count.div_ceil(dirs.max(1));
    let width = length.saturating_sub("file-".len());
    let file = |i: u32| format!("file-{i:0>width$}");
    folders(at, dirs)
        .iter()
        .flat_map(|dir| (0..each).map(|i| dir.join(file(i))))
        .take(count as usize)
        .collect()
}

pub(super) fn names(at: &Path, count: u32, dirs: u32) -> Vec<PathBuf> {
    long_names(at, count, dirs, 0)
}

/// What is done in one very large folder, each with a time of its own: `LINE OPERATIONS NANOSECONDS`.
pub(super) fn large(at: &Path, count: u32, length: usize, step: LargeStep) -> Result<()> {
    let names = long_names(at, count, 1, length);
    let timed = |what: &str, work: &dyn Fn() -> Result<usize>| -> Result<()> {
        let start = Instant::now();
        let done = work()?;
        println!("{what} {done} {}", start.elapsed().as_nanos());
        Ok(())
    };
    match step {
        LargeStep::Make => timed("create", &|| {
            folders(at, 1).iter().try_for_each(fs::create_dir)?;
            for name in &names {
                OpenOptions::new().write(true).create_new(true).open(name)?;
            }
            sync(at)?;
            Ok(names.len())
        }),
        LargeStep::Use => {
            // Names that are far from each other, in no order that the file system could gain from.
            let some = names.iter().step_by(names.len().div_ceil(5000).max(1));
            timed("stat-cold", &|| {
                some.clone()
                    .try_for_each(|name| fs::symlink_metadata(name).map(drop))?;
                Ok(some.len())
            })?;
            timed("list", &|| {
                let mut found = 0;
                for dir in folders(at, 1) {
                    found += fs::read_dir(dir)?.count();
                }
                ensure!(found == names.len(), "{found} entries were read");
                Ok(found)
            })?;
            timed("unlink", &|| {
                names.iter().try_for_each(fs::remove_file)?;
                sync(at)?;
                Ok(names.len())
            })
        }
    }
}

/// A part of [`large`]; between the two the file system is mounted anew.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum LargeStep {
    /// Makes the files.
    Make,
    /// Looks some up, lists all, removes all.
    Use,
}

/// All that was changed, on the device: it is part of what a change costs.
pub(super) fn sync(at: &Path) -> Result<()> {
    Ok(rustix::fs::syncfs(File::open(at)?)?)
}

/// A default ACL as system calls have it: the version, and for each entry tag, rights and id. A named user and a mask
/// are in it, so that a file's mode does not say all of what it inherits.
fn default_acl() -> Vec<u8> {
    const NOBODY: u32 = u32::MAX;
    let entries: [(u16, u16, u32); 5] = [
        (0x01, 7, NOBODY),
        (0x02, 7, 1000),
        (0x04, 5, NOBODY),
        (0x10, 7, NOBODY),
        (0x20, 5, NOBODY),
    ];
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        acl.extend(tag.to_le_bytes());
        acl.extend(rights.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    acl
}

pub(super) fn create(clock: &Clock, at: &Path, count: u32, dirs: u32, acl: bool) -> Result<()> {
    let (folders, names) = (folders(at, dirs), names(at, count, dirs));
    let acl = acl.then(default_acl);
    clock.measure(|| {
        for dir in &folders {
            fs::create_dir(dir)?;
            if let Some(acl) = &acl {
                setxattr(dir, "system.posix_acl_default", acl, XattrFlags::empty())?;
            }
        }
        for name in &names {
            OpenOptions::new().write(true).create_new(true).open(name)?;
        }
        sync(at)?;
        Ok(names.len() as u64)
    })
}

pub(super) fn stat(clock: &Clock, at: &Path, count: u32, dirs: u32) -> Result<()> {
    let names = names(at, count, dirs);
    clock.measure(|| {
        for name in &names {
            ensure!(
                fs::symlink_metadata(name)?.len() == 0,
                "{} is not empty",
                name.display()
            );
        }
        Ok(names.len() as u64)
    })
}

/// The first time from the device, and 19 times from memory.
pub(super) fn readdir(clock: &Clock, at: &Path, count: u32, dirs: u32) -> Result<()> {
    let folders = folders(at, dirs);
    clock.measure(|| {
        let mut found = 0;
        for _ in 0..20 {
            for dir in &folders {
                for entry in fs::read_dir(dir)? {
                    entry?;
                    found += 1;
                }
            }
        }
        ensure!(
            found == 20 * u64::from(count),
            "{found} entries were read, {} are there",
            20 * count
        );
        Ok(found)
    })
}

pub(super) fn unlink(clock: &Clock, at: &Path, count: u32, dirs: u32) -> Result<()> {
    let (folders, names) = (folders(at, dirs), names(at, count, dirs));
    clock.measure(|| {
        for name in &names {
            fs::remove_file(name)?;
        }
        sync(at)?;
        Ok(names.len() as u64)
    })?;
    for dir in &folders {
        fs::remove_dir(dir).with_context(|| dir.display().to_string())?;
    }
    Ok(())
}

const ATTRIBUTE: &str = "user.attribute";

fn attribute(round: u8) -> [u8; 40] {
    [b'a' + round; 40]
}

/// The first round reads the inodes, and a second run begins with another value than the one it finds.
pub(super) fn set_attribute(clock: &Clock, at: &Path, count: u32, dirs: u32) -> Result<()> {
    let names = names(at, count, dirs);
    clock.measure(|| {
        for round in 0..3 {
            for name in &names {
                setxattr(name, ATTRIBUTE, &attribute(round), XattrFlags::empty())?;
            }
        }
        sync(at)?;
        Ok(3 * names.len() as u64)
    })
}

pub(super) fn get_attribute(clock: &Clock, at: &Path, count: u32, dirs: u32) -> Result<()> {
    let names = names(at, count, dirs);
    let mut value = [0; 64];
    let mut read = || -> Result<()> {
        for name in &names {
            let length = getxattr(name, ATTRIBUTE, &mut value)?;
            ensure!(
                value.get(..length) == Some(&attribute(2)[..]),
                "{} has another attribute",
                name.display()
            );
        }
        Ok(())
    };
    read()?;
    clock.measure(|| {
        (0..20).try_for_each(|_| read())?;
        Ok(20 * names.len() as u64)
    })
}

/// Only the mounting is timed, the first of all (a new image) is not. A profile has the unmounting in it, too.
///
/// ext4's thread that reads the block bitmaps ahead is no part of the mount: it begins at a random time of up to 5 s
/// afterwards. It is off here as it is for the other jobs, for else a profile would have it in one run and not in
/// the next.
pub(super) fn mount(clock: &Clock, at: &Path, count: u32, kind: &str, device: &Path) -> Result<()> {
    let options = (kind == "ext4").then_some(c"no_prefetch_block_bitmaps");
    let once = || -> Result<Duration> {
        let start = Instant::now();
        mount_call(device, at, kind, MountFlags::empty(), options)?;
        let took = start.elapsed();
        fs::read_dir(at)?.count();
        unmount(at, UnmountFlags::empty())?;
        Ok(took)
    };
    once()?;
    clock.mark()?;
    let took = (0..count).try_fold(Duration::ZERO, |sum, _| once().map(|one| sum + one))?;
    clock.mark()?;
    println!("rate {count} {}", took.as_nanos());
    Ok(())
}
