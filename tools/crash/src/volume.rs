// SPDX-License-Identifier: GPL-2.0

//! The devices of a round: an image in memory, behind a loop device, behind dm-log-writes; and what mkfs.ext4 makes
//! on it.
//!
//! # One flush at a time
//!
//! dm-log-writes decides what a flush covers when it is issued, and logs that when it has completed: of two flushes
//! under way together the later one may be logged first, and then what it made durable is behind it in the log. So
//! where flushes may overlap there is another loop device on top ([`Stack::OneFlush`]), whose queue, as every queue
//! of requests, issues a flush only when the last one has completed (`block/blk-flush.c`). It has no FUA.

use crate::disk;
use anyhow::{ensure, Context, Result};
use fastrand::Rng;
use rustix::io::Errno;
use rustix::mount::{mount, unmount, MountFlags, UnmountFlags};
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// Runs a program that must succeed; returns what it prints.
pub fn run(program: &str, args: &[&str]) -> Result<String> {
    let out = output(program, args)?;
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    ensure!(
        out.status.success(),
        "{program} {}: {}\n{said}{}",
        args.join(" "),
        out.status,
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(said)
}

/// Runs a program.
pub fn output(program: &str, args: &[&str]) -> Result<Output> {
    Command::new(program)
        .args(args)
        .output()
        .with_context(|| format!("cannot run {program}"))
}

/// What a round's volume is like.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    /// Bytes a block.
    pub block: u64,
    /// Mebibytes.
    pub size: u64,
    /// Options of mkfs.ext4.
    pub mkfs: Vec<String>,
    /// Options of the mount.
    pub options: String,
}

impl Config {
    /// Anything that mkfs.ext4 may make and that is small; the journal wraps soon.
    pub fn random(rng: &mut Rng, block: Option<u64>, stack: Stack) -> Self {
        let block = block.unwrap_or_else(|| [1024, 2048, 4096, 4096][rng.usize(..4)]);
        let journal = match stack {
            // No transaction is so large that it is committed while the thread goes on.
            Stack::Plain => block / 1024 * 2,
            Stack::OneFlush => block / 1024 * rng.u64(1..=2),
        };
        // So small that what was freed is used again soon.
        let size = if block == 4096 { 16 } else { 14 } + journal;
        let mut features = Vec::new();
        let mut pick = |name: &str, out_of: u8| {
            let on = rng.u8(..out_of) != 0;
            features.push(format!("{}{name}", if on { "" } else { "^" }));
        };
        pick("orphan_file", 2);
        pick("64bit", 2);
        pick("metadata_csum", 4);
        pick("dir_index", 4);
        pick("flex_bg", 4);
        let values = rng.bool();
        features.push(if values { "ea_inode" } else { "^ea_inode" }.to_owned());
        let inode = ["128", "256", "256"][rng.usize(..3)];
        // What the owners have must be counted right after any cut: e2fsck sees to that.
        let counts = rng.bool();
        features.push(if counts { "quota" } else { "^quota" }.to_owned());
        if counts && inode != "128" {
            features.push("project".to_owned());
        }
        let group = [block * 8, block, block / 2][rng.usize(..3)].max(1024);
        let mut options = Vec::new();
        match stack {
            // No commit that nobody has asked for: it would flush while another does.
            Stack::Plain => options.push("commit=300"),
            Stack::OneFlush if rng.u8(..3) == 0 => options.push("commit=1"),
            Stack::OneFlush => {}
        }
        // The upper loop device has no discard.
        if stack == Stack::Plain && rng.bool() {
            options.push("discard");
        }
        if rng.u8(..4) == 0 {
            options.push("noauto_da_alloc");
        }
        let mkfs = [
            "-b",
            &block.to_string(),
            "-O",
            &features.join(","),
            "-J",
            &format!("size={journal}"),
            "-N",
            "1024",
            "-g",
            &group.to_string(),
            "-I",
            inode,
        ];
        Config {
            block,
            size,
            mkfs: mkfs.map(str::to_owned).into(),
            options: options.join(","),
        }
    }

    /// Whether e2fsck (1.47) makes nothing wrong where it frees orphans. It leaves what their attributes lead to
    /// counted, be it a value in an inode or a block that counts for an owner.
    pub fn e2fsck_can_recover(&self) -> bool {
        !self.has("ea_inode") && !self.has("quota")
    }

    /// Whether ext4 (7.3) can. An inode with the value of an attribute is an orphan until an attribute leads to it, and
    /// when none does any more, as ext4 itself has it; but ext4's recovery does not read such an orphan, reports an
    /// error (`unexpected EA_INODE flag`), and leaves all that come behind it.
    pub fn ext4_can_recover(&self) -> bool {
        !self.has("ea_inode")
    }

    fn has(&self, feature: &str) -> bool {
        let has = |list: &String| list.split(',').any(|name| name == feature);
        self.mkfs.iter().any(has)
    }

    /// Makes the image.
    pub fn make(&self, image: &Path) -> Result<()> {
        // What mkfs does not write either, none of which may ever be seen in a file.
        disk::unused(image, self.size << 20)?;
        let image = image.to_string_lossy();
        let mut args = vec![
            "-q",
            "-F",
            "-E",
            "lazy_itable_init=0,lazy_journal_init=0,nodiscard",
        ];
        args.extend(self.mkfs.iter().map(String::as_str));
        args.push(&image);
        run("mkfs.ext4", &args)?;
        Ok(())
    }
}

/// A loop device.
pub struct Loop(pub PathBuf);

impl Loop {
    pub fn new(image: &Path) -> Result<Self> {
        let name = run("losetup", &["-f", "--show", &image.to_string_lossy()])?;
        Ok(Loop(name.trim().into()))
    }

    /// On a block device, whose page cache is not used.
    fn direct(device: &Path) -> Result<Self> {
        let path = device.to_string_lossy();
        let name = run("losetup", &["-f", "--show", "--direct-io=on", &path])?;
        let new = Loop(name.trim().into());
        let dio = format!("/sys/block/{}/loop/dio", new.name());
        ensure!(
            std::fs::read_to_string(&dio)?.trim() == "1",
            "{} does not do direct I/O",
            new.0.display()
        );
        Ok(new)
    }

    /// `loop0`
    pub fn name(&self) -> String {
        self.0
            .file_name()
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // Where it is still in use, something else has failed and was reported.
        let _ = output("losetup", &["-d", &self.0.to_string_lossy()]);
    }
}

/// What a file system is mounted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// The device that logs; it has FUA. Only for a workload that never has two flushes under way.
    Plain,
    /// A loop device on top of it.
    OneFlush,
}

/// A device-mapper device that logs what is written, and what is on top of it.
pub struct Logged {
    name: String,
    top: Option<Loop>,
}

impl Logged {
    pub fn new(name: &str, device: &Loop, log: &Loop, stack: Stack) -> Result<Self> {
        let sectors = run("blockdev", &["--getsz", &device.0.to_string_lossy()])?;
        let table = format!(
            "0 {} log-writes {} {}",
            sectors.trim(),
            device.0.display(),
            log.0.display()
        );
        run("dmsetup", &["create", name, "--table", &table])?;
        let mut new = Logged {
            name: name.to_owned(),
            top: None,
        };
        if stack == Stack::OneFlush {
            new.top = Some(Loop::direct(&new.logging())?);
        }
        Ok(new)
    }

    fn logging(&self) -> PathBuf {
        Path::new("/dev/mapper").join(&self.name)
    }

    /// What is to be mounted.
    pub fn path(&self) -> PathBuf {
        self.top
            .as_ref()
            .map_or_else(|| self.logging(), |top| top.0.clone())
    }

    /// Completes the log.
    pub fn close(mut self) -> Result<()> {
        drop(self.top.take());
        // A loop device lets go of what it is on when its last user has gone, which may be a moment later.
        run("dmsetup", &["remove", "--retry", &self.name]).map(drop)
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        drop(self.top.take());
        let _ = output("dmsetup", &["remove", "--force", &self.name]);
    }
}

/// A mounted file system; unmounted when dropped.
pub struct Mounted {
    dir: PathBuf,
    is_mounted: bool,
}

impl Mounted {
    pub fn new(kind: &str, device: &Path, dir: &Path, options: &str) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let options = CString::new(options)?;
        mount(device, dir, kind, MountFlags::empty(), options.as_c_str())
            .with_context(|| format!("mount -t {kind} {}", device.display()))?;
        Ok(Mounted {
            dir: dir.to_owned(),
            is_mounted: true,
        })
    }

    pub fn unmount(mut self) -> Result<()> {
        self.is_mounted = false;
        // A process that another thread of ours has just started has all our open files, until it runs its program.
        let mut result = unmount(&self.dir, UnmountFlags::empty());
        for _ in 0..200 {
            if result != Err(Errno::BUSY) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
            result = unmount(&self.dir, UnmountFlags::empty());
        }
        result.with_context(|| format!("umount {}", self.dir.display()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.is_mounted {
            let _ = unmount(&self.dir, UnmountFlags::DETACH);
        }
    }
}
