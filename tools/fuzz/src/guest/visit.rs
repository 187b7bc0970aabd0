// SPDX-License-Identifier: GPL-2.0

//! What is done with a mounted image: everything is looked at, with bounds, and then changed here and there.
//!
//! System calls of this process alone, so that an image costs little. Whatever is opened is a regular file or a
//! directory, so that no device or pipe is waited for.

use super::errors;
use anyhow::Result;
use arbitrary::Unstructured;
use iomapfs_helper::Helper;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{
    self, AtFlags, Dir, FallocateFlags, FileType, Mode, OFlags, RenameFlags, SeekFrom,
};
use rustix::io::{pwritev2, Errno, ReadWriteFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Things that are looked at, at most.
const MOST_PATHS: usize = 40;
/// Names that are read of a directory, at most.
const MOST_NAMES: usize = 3000;
/// Names of a directory that are gone into.
const MOST_CHILDREN: usize = 14;
/// `RWF_ATOMIC`
const ATOMIC: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x40);

/// One use of a mounted image.
pub(super) struct Visit<'v, 'u, 'd> {
    root: &'v Path,
    u: &'u mut Unstructured<'d>,
    helper: &'u mut Helper,
    verbose: bool,
    dirs: Vec<PathBuf>,
    files: Vec<PathBuf>,
    others: Vec<PathBuf>,
    made: u32,
    pub(super) calls: u64,
    pub(super) errors: BTreeMap<String, u64>,
    /// What should not have happened.
    pub(super) wrong: Option<String>,
}

impl<'v, 'u, 'd> Visit<'v, 'u, 'd> {
    pub(super) fn new(
        root: &'v Path,
        u: &'u mut Unstructured<'d>,
        helper: &'u mut Helper,
        verbose: bool,
    ) -> Self {
        Self {
            root,
            u,
            helper,
            verbose,
            dirs: Vec::new(),
            files: Vec::new(),
            others: Vec::new(),
            made: 0,
            calls: 0,
            errors: BTreeMap::new(),
            wrong: None,
        }
    }

    /// Takes note of how a call went.
    fn did<T>(&mut self, what: &str, path: &Path, result: rustix::io::Result<T>) -> Option<T> {
        self.calls += 1;
        match result {
            Ok(value) => {
                if self.verbose {
                    println!("  {what} {}: ok", path.display());
                }
                Some(value)
            }
            Err(errno) => {
                if self.verbose {
                    println!("  {what} {}: {}", path.display(), errors::name(errno));
                }
                *self.errors.entry(errors::name(errno)).or_default() += 1;
                if !errors::expected(errno) && self.wrong.is_none() {
                    let path = path.display();
                    self.wrong = Some(format!("{what} {path} fails with {errno}"));
                }
                None
            }
        }
    }

    fn number(&mut self, most: u64) -> u64 {
        self.u.int_in_range(0..=most).unwrap_or(0)
    }

    /// Looks at all, changes this and that, and looks again.
    pub(super) fn everything(&mut self, read_only: bool) -> Result<()> {
        let root = self.root.to_path_buf();
        self.look();
        let stat = fs::statfs(&root);
        self.did("statfs", &root, stat);
        if read_only {
            let made = fs::mkdirat(fs::CWD, root.join("new"), Mode::RWXU);
            self.did("mkdir", &root, made);
            return Ok(());
        }
        for _ in 0..4 + self.number(14) {
            self.change()?;
        }
        if self.number(3) == 0 {
            if let Some(fd) = self.open(&root, OFlags::RDONLY | OFlags::DIRECTORY) {
                let synced = fs::syncfs(&fd);
                self.did("syncfs", &root, synced);
            }
            // Inodes and their maps are read again; 4: without a line in the log.
            if self.number(1) == 0 {
                let _ = std::fs::write("/proc/sys/vm/drop_caches", "6");
            }
            self.look();
        }
        Ok(())
    }

    fn look(&mut self) {
        self.dirs.clear();
        self.files.clear();
        self.others.clear();
        let mut todo = vec![self.root.to_path_buf()];
        let mut looked = 0;
        // What has many names is read once.
        let mut read = BTreeSet::new();
        while let Some(path) = todo.pop() {
            looked += 1;
            if looked > MOST_PATHS {
                break;
            }
            let stat = fs::statat(fs::CWD, &path, AtFlags::SYMLINK_NOFOLLOW);
            let Some(stat) = self.did("stat", &path, stat) else {
                // It has a name all the same, which can be removed.
                self.others.push(path);
                continue;
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    todo.extend(self.look_at_dir(&path));
                    self.dirs.push(path);
                }
                FileType::RegularFile => {
                    if read.insert(stat.st_ino) {
                        self.look_at_file(&path, stat.st_size as u64);
                    }
                    self.files.push(path);
                }
                FileType::Symlink => {
                    let target = fs::readlinkat(fs::CWD, &path, Vec::new());
                    self.did("readlink", &path, target);
                    self.others.push(path);
                }
                _ => self.others.push(path),
            }
        }
    }

    fn open(&mut self, path: &Path, flags: OFlags) -> Option<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = fs::open(path, flags, Mode::empty());
        let fd = self.did("open", path, opened)?;
        // A name may lead to something else by now, as a rename has it.
        let stat = fs::fstat(&fd).ok()?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        matches!(kind, FileType::RegularFile | FileType::Directory).then_some(fd)
    }

    /// Lists a directory; gives some of what is in it.
    fn look_at_dir(&mut self, path: &Path) -> Vec<PathBuf> {
        let mut children = Vec::new();
        let Some(fd) = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY) else {
            return children;
        };
        let opened = Dir::read_from(&fd);
        let Some(mut dir) = self.did("open", path, opened) else {
            return children;
        };
        let mut names = Vec::new();
        while names.len() < MOST_NAMES {
            match dir.read() {
                None => break,
                Some(Ok(entry)) => names.push(entry.file_name().to_owned()),
                Some(Err(errno)) => {
                    self.did::<()>("readdir", path, Err(errno));
                    break;
                }
            }
        }
        self.calls += 1;
        if names.len() >= MOST_NAMES {
            self.wrong = Some(format!("{}: more names than fit", path.display()));
        }
        if self.number(2) == 0 {
            let at = self.u.arbitrary::<u64>().unwrap_or(5) >> 1;
            let sought = fs::seek(&fd, SeekFrom::Start(at));
            self.did("seek", path, sought);
            if let Ok(mut dir) = Dir::read_from(&fd) {
                let next = dir.read().transpose();
                self.did("readdir", path, next);
            }
        }
        let missing = fs::statat(&fd, "not there", AtFlags::empty());
        self.did("stat", path, missing);
        names.retain(|name| !matches!(name.to_bytes(), b"." | b".."));
        let step = names.len() / MOST_CHILDREN + 1;
        for name in names.iter().step_by(step) {
            use std::os::unix::ffi::OsStrExt;
            children.push(path.join(std::ffi::OsStr::from_bytes(name.to_bytes())));
        }
        children
    }

    fn look_at_file(&mut self, path: &Path, size: u64) {
        let direct = self.number(3) == 0;
        let flags = match direct {
            true => OFlags::RDONLY | OFlags::DIRECT,
            false => OFlags::RDONLY,
        };
        let Some(fd) = self.open(path, flags) else {
            return;
        };
        let mut buffer = vec![0; 64 * 1024 + 4096];
        let skip = buffer.as_ptr().align_offset(4096);
        let buffer = &mut buffer[skip..skip + 64 * 1024];
        let somewhere = self.number(size) & !4095;
        for at in [0, 64 * 1024, somewhere, size.saturating_sub(4096) & !4095] {
            let len = if at == 0 { buffer.len() } else { 4096 };
            let read = rustix::io::pread(&fd, &mut buffer[..len], at);
            if let Some(len) = self.did("read", path, read) {
                // Nothing writes between the stat and this: the end of the file is where every read ends.
                if len > 0 && at + len as u64 > size {
                    self.wrong = Some(format!("{}: {len} bytes at {at} of {size}", path.display()));
                }
            }
        }
        let mut at = 0;
        for _ in 0..12 {
            let data = fs::seek(&fd, SeekFrom::Data(at));
            let Some(data) = self.did("seek to data", path, data) else {
                break;
            };
            let hole = fs::seek(&fd, SeekFrom::Hole(data));
            match self.did("seek to hole", path, hole) {
                Some(hole) if hole > data => at = hole,
                Some(hole) => {
                    self.wrong = Some(format!("{}: hole {hole} at data {data}", path.display()));
                    break;
                }
                None => break,
            }
        }
        let map = fiemap::Fiemap::new(&fd).take(100).last();
        match map {
            Some(Err(error)) => {
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                self.did::<()>("fiemap", path, Err(errno));
            }
            _ => self.calls += 1,
        }
        self.look_at_attributes(&fd, path);
    }

    fn look_at_attributes(&mut self, fd: &OwnedFd, path: &Path) {
        let mut list = vec![0_u8; 64 << 10];
        let listed = fs::flistxattr(fd, &mut list[..]);
        let Some(len) = self.did("listxattr", path, listed) else {
            return;
        };
        let mut value = vec![0_u8; 64 << 10];
        for name in list[..len].split_inclusive(|byte| *byte == 0).take(20) {
            let Ok(name) = CStr::from_bytes_with_nul(name) else {
                self.wrong = Some(format!("{}: a name without an end", path.display()));
                return;
            };
            let got = fs::fgetxattr(fd, name, &mut value[..]);
            self.did("getxattr", path, got);
        }
    }

    fn some(&mut self, from: impl Fn(&Self) -> &Vec<PathBuf>) -> Option<PathBuf> {
        let most = (from(self).len() as u64).checked_sub(1)?;
        let nr = self.number(most) as usize;
        from(self).get(nr).cloned()
    }

    fn new_path(&mut self) -> PathBuf {
        self.made += 1;
        let dir = self.some(|v| &v.dirs).unwrap_or(self.root.to_path_buf());
        let len = 6 + self.number(80) as usize;
        dir.join(format!("{:0len$}", self.made))
    }

    /// Something that has a name, which the root has not here.
    fn some_name(&mut self) -> Option<PathBuf> {
        let name = match self.number(4) {
            0..=2 => self.some(|v| &v.files),
            3 => self.some(|v| &v.others),
            _ => self.some(|v| &v.dirs),
        };
        name.filter(|path| path != self.root)
    }

    /// Changes something. What the file system refuses is no error.
    fn change(&mut self) -> Result<()> {
        match self.number(19) {
            0..=1 => self.create(),
            2 => {
                let path = self.new_path();
                let made = fs::mkdirat(fs::CWD, &path, Mode::RWXU);
                if self.did("mkdir", &path, made).is_some() {
                    self.dirs.push(path);
                }
            }
            3 => self.create_other(),
            4..=6 => self.unlink(),
            7 => self.rename(),
            8 => {
                let to = self.new_path();
                if let Some(from) = self.some(|v| &v.files) {
                    let linked = fs::linkat(fs::CWD, &from, fs::CWD, &to, AtFlags::empty());
                    if self.did("link", &to, linked).is_some() {
                        self.files.push(to);
                    }
                }
            }
            9..=12 => self.write(),
            13..=15 => self.truncate(),
            16 => self.attributes(),
            17 => self.volume(),
            18 => self.exchange()?,
            _ => {
                if let Some(path) = self.some(|v| &v.dirs) {
                    // Many names, so that leaves are divided.
                    for n in 0..self.number(16) {
                        let name = path.join(format!("{n:0120}"));
                        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
                        let made = fs::open(&name, flags, Mode::RUSR);
                        if self.did("create", &name, made).is_none() {
                            break;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn create(&mut self) {
        let path = self.new_path();
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        let made = fs::open(&path, flags, Mode::RUSR | Mode::WUSR);
        if let Some(fd) = self.did("create", &path, made) {
            self.write_to(&fd, &path, 0);
            self.files.push(path);
        }
    }

    fn create_other(&mut self) {
        let path = self.new_path();
        let made = match self.number(3) {
            0 => fs::mknodat(fs::CWD, &path, FileType::Fifo, Mode::RUSR, 0),
            1 => fs::mknodat(fs::CWD, &path, FileType::CharacterDevice, Mode::RUSR, 259),
            2 => fs::symlinkat("short", fs::CWD, &path),
            _ => fs::symlinkat("long/".repeat(40), fs::CWD, &path),
        };
        if self.did("mknod or symlink", &path, made).is_some() {
            self.others.push(path);
        }
    }

    fn unlink(&mut self) {
        let Some(path) = self.some_name() else { return };
        // Open while its name goes: an orphan for a while.
        let held = match self.number(2) {
            0 if self.files.contains(&path) => self.open(&path, OFlags::RDWR),
            _ => None,
        };
        let removed = fs::unlinkat(fs::CWD, &path, AtFlags::empty());
        if self.did("unlink", &path, removed).is_none() {
            let removed = fs::unlinkat(fs::CWD, &path, AtFlags::REMOVEDIR);
            self.did("rmdir", &path, removed);
        }
        if let Some(fd) = held {
            self.write_to(&fd, &path, 0);
        }
    }

    fn rename(&mut self) {
        let Some(from) = self.some_name() else { return };
        let (to, flags) = match self.number(3) {
            0 => (self.some_name(), RenameFlags::EXCHANGE),
            1 => (self.some_name(), RenameFlags::empty()),
            2 => (Some(self.new_path()), RenameFlags::WHITEOUT),
            _ => (Some(self.new_path()), RenameFlags::NOREPLACE),
        };
        let Some(to) = to else { return };
        let renamed = fs::renameat_with(fs::CWD, &from, fs::CWD, &to, flags);
        self.did("rename", &to, renamed);
    }

    fn write(&mut self) {
        let Some(path) = self.some(|v| &v.files) else {
            return;
        };
        let kind = self.number(5);
        let flags = match kind {
            0..=1 => OFlags::RDWR | OFlags::DIRECT,
            2 => OFlags::RDWR | OFlags::APPEND,
            3 => OFlags::RDWR | OFlags::DSYNC,
            _ => OFlags::RDWR,
        };
        if let Some(fd) = self.open(&path, flags) {
            let at = match self.number(4) {
                0 => 0,
                1..=2 => self.number(200_000),
                3 => self.number(1 << 43),
                _ => self.number(60) * 1024,
            };
            match kind {
                0 => self.write_atomic(&fd, &path, at),
                _ => self.write_to(&fd, &path, at),
            }
        }
    }

    /// Two files exchange blocks, and both are written to.
    fn exchange(&mut self) -> Result<()> {
        let (Some(path), Some(donor_path)) = (self.some(|v| &v.files), self.some(|v| &v.files))
        else {
            return Ok(());
        };
        let (Some(fd), Some(donor)) = (
            self.open(&path, OFlags::RDWR),
            self.open(&donor_path, OFlags::RDWR),
        ) else {
            return Ok(());
        };
        let (Ok(stat), Ok(volume)) = (fs::fstat(&fd), fs::fstatfs(&fd)) else {
            return Ok(());
        };
        let block = volume.f_bsize as u64;
        // Whole pages, as a rule: blocks must lie in them alike.
        let unit = match self.number(7) {
            0 => 1,
            _ => (4096 / block).max(1),
        };
        let blocks = (stat.st_size as u64).div_ceil(block).min(1000);
        let start = self.number(blocks) / unit * unit;
        let starts = [start, self.number(10) * unit];
        let count = 1 + self.number(100);
        if self.number(3) != 0 {
            let to = (starts[1] + count) * block;
            let done = fs::fallocate(&donor, FallocateFlags::empty(), 0, to);
            self.did("fallocate", &donor_path, done);
        }
        // Names may be of any bytes; these it can open.
        let ours = |fd: &OwnedFd| {
            let (pid, fd) = (std::process::id(), fd.as_raw_fd());
            PathBuf::from(format!("/proc/{pid}/fd/{fd}"))
        };
        let done = self
            .helper
            .exchange([&ours(&fd), &ours(&donor)], starts, count)?;
        self.did("exchange", &path, done);
        self.write_to(&donor, &donor_path, starts[1] * block);
        self.write_to(&fd, &path, starts[0] * block);
        Ok(())
    }

    fn write_to(&mut self, fd: &OwnedFd, path: &Path, at: u64) {
        let buffer = vec![0x5a; 80 * 1024];
        let skip = buffer.as_ptr().align_offset(4096);
        let len = match self.number(3) {
            0 => 1 + self.number(600) as usize,
            1 => 4096 * (1 + self.number(15) as usize),
            _ => 1024 * (1 + self.number(40) as usize),
        };
        let at = match self.number(1) {
            0 => at,
            _ => at & !4095,
        };
        let written = rustix::io::pwrite(fd, &buffer[skip..skip + len], at);
        self.did("write", path, written);
        self.after_write(fd, path, at);
    }

    /// Writes whole or not at all.
    fn write_atomic(&mut self, fd: &OwnedFd, path: &Path, at: u64) {
        let buffer = vec![0xa5; 68 * 1024];
        let skip = buffer.as_ptr().align_offset(4096);
        let len = 1024 << self.number(6);
        let at = at & !(len - 1);
        let buffer = &buffer[skip..skip + len as usize];
        let written = pwritev2(fd, &[IoSlice::new(buffer)], at, ATOMIC);
        let done = self.did("atomic write", path, written);
        if let Some(done) = done.filter(|done| *done as u64 != len) {
            let path = path.display();
            self.wrong = Some(format!(
                "{path}: an atomic write of {done} bytes, not {len}"
            ));
        }
        self.after_write(fd, path, at);
    }

    /// Makes it durable, or reads some of what was written at `at`.
    fn after_write(&mut self, fd: &OwnedFd, path: &Path, at: u64) {
        match self.number(3) {
            0 => {
                let synced = fs::fsync(fd);
                self.did("fsync", path, synced);
            }
            1 => {
                let mut back = [0; 512];
                let read = rustix::io::pread(fd, &mut back, at);
                self.did("read", path, read);
            }
            _ => {}
        }
    }

    fn truncate(&mut self) {
        let Some(path) = self.some(|v| &v.files) else {
            return;
        };
        let Some(fd) = self.open(&path, OFlags::RDWR) else {
            return;
        };
        let size = match self.number(4) {
            0..=1 => 0,
            2 => self.number(300_000),
            3 => self.number(1 << 44),
            _ => self.number(20_000),
        };
        let cut = fs::ftruncate(&fd, size);
        self.did("truncate", &path, cut);
        if self.number(3) == 0 {
            self.fallocate(&fd, &path);
        }
    }

    fn fallocate(&mut self, fd: &OwnedFd, path: &Path) {
        let flags = match self.number(6) {
            0 => FallocateFlags::empty(),
            1 => FallocateFlags::KEEP_SIZE | FallocateFlags::PUNCH_HOLE,
            2 => FallocateFlags::ZERO_RANGE,
            3 => FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
            4 => FallocateFlags::COLLAPSE_RANGE,
            5 => FallocateFlags::INSERT_RANGE,
            _ => FallocateFlags::KEEP_SIZE,
        };
        let (mut at, mut len) = (self.number(100_000), 1 + self.number(100_000));
        let moves = FallocateFlags::COLLAPSE_RANGE | FallocateFlags::INSERT_RANGE;
        if flags.intersects(moves) {
            // Whole blocks of any size, inside the file, or it would be refused.
            let Ok(stat) = fs::fstat(fd) else { return };
            let last = (stat.st_size as u64).saturating_sub(1) / 4096;
            if last == 0 {
                return;
            }
            at = self.number(last - 1) * 4096;
            len = (1 + self.number(last - at / 4096 - 1)) * 4096;
        }
        let done = fs::fallocate(fd, flags, at, len);
        self.did("fallocate", path, done);
    }

    /// What is done to the whole volume. It takes a program, and an emulated machine starts few in a second.
    fn volume(&mut self) {
        let mut program = match self.number(1) {
            0 => Command::new("fstrim"),
            _ => {
                let mut label = Command::new("xfs_io");
                label.args(["-c", "label -s name"]);
                label
            }
        };
        // What it cannot do it says; what must not be is in the kernel's log.
        let done = program
            .arg(self.root)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        self.calls += u64::from(done.is_ok());
    }

    fn attributes(&mut self) {
        let Some(path) = self.some_name() else { return };
        let mode = Mode::from_raw_mode(self.number(0o777) as u32);
        let done = fs::chmodat(fs::CWD, &path, mode, AtFlags::empty());
        self.did("chmod", &path, done);
        let owner = Some(fs::Uid::from_raw(self.number(1 << 31) as u32));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let done = fs::chownat(fs::CWD, &path, owner, None, flags);
        self.did("chown", &path, done);
        let name = ["user.fuzz", "user.large", "trusted.a", "security.b"][self.number(3) as usize];
        let len = match self.number(3) {
            0 => self.number(9000),
            _ => self.number(900),
        };
        let value = vec![self.number(2) as u8; len as usize];
        let set = fs::lsetxattr(&path, name, &value, fs::XattrFlags::empty());
        self.did("setxattr", &path, set);
        if self.number(2) == 0 {
            let removed = fs::lremovexattr(&path, "user.large");
            self.did("removexattr", &path, removed);
        }
        if self.number(4) == 0 {
            // What is made in a directory has it, too.
            let list = b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x02\0\x06\0\x05\0\0\0\x04\0\x05\0\xff\xff\xff\xff\
                         \x10\0\x07\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";
            let name =
                ["system.posix_acl_access", "system.posix_acl_default"][self.number(1) as usize];
            let set = fs::lsetxattr(&path, name, list, fs::XattrFlags::empty());
            self.did("set ACL", &path, set);
        }
    }
}
