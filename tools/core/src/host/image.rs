// SPDX-License-Identifier: GPL-2.0

//! Images made by `mke2fs`, and the tools of e2fsprogs that judge them.

use crate::disk::layout::check::Refusal;
use crate::disk::superblock::{RawSuper, SUPER_OFFSET, SUPER_SIZE};
use crate::disk::Layout;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use zerocopy::{FromBytes, IntoBytes};

/// The features of a default `mkfs.ext4`, upstream as of e2fsprogs 1.47 but for `orphan_file` and
/// `metadata_csum_seed`, which not all distributions switch on.
const DEFAULT_FEATURES: &str =
    "has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,\
     sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum";

/// How an image is made. The same values give the same image, byte for byte but for time stamps.
#[derive(Clone, Debug)]
pub struct Mkfs {
    size: u64,
    block_size: u32,
    inode_size: u32,
    features: String,
    args: Vec<String>,
}

impl Mkfs {
    /// A default file system of `size` bytes with blocks of `block_size` bytes.
    pub fn new(size: u64, block_size: u32) -> Self {
        Self {
            size,
            block_size,
            inode_size: 256,
            features: DEFAULT_FEATURES.to_string(),
            args: Vec::new(),
        }
    }

    /// One of each kind of file system that is supported, small ones, with names.
    pub fn variety() -> Vec<(&'static str, Self)> {
        const MIB: u64 = 1 << 20;
        let small = || Self::new(20 * MIB, 1024);
        let large = || Self::new(24 * MIB, 4096).arg("-g").arg("1024");
        vec![
            ("1 KiB blocks", small()),
            ("2 KiB blocks", Self::new(40 * MIB, 2048)),
            ("4 KiB blocks", Self::new(24 * MIB, 4096)),
            ("4 KiB blocks, small groups", large()),
            ("64 KiB blocks", Self::new(64 * MIB, 65536)),
            (
                "last group is short",
                Self::new(20 * MIB - 700 * 1024, 1024),
            ),
            (
                "many groups",
                Self::new(48 * MIB, 1024)
                    .arg("-g")
                    .arg("1024")
                    .arg("-G")
                    .arg("4"),
            ),
            ("32-bit", small().features("^64bit")),
            (
                "32-bit, no checksums",
                small().features("^64bit,^metadata_csum"),
            ),
            ("no checksums", large().features("^metadata_csum")),
            ("uninit_bg", small().features("^metadata_csum,uninit_bg")),
            (
                "uninit_bg, 32-bit",
                small().features("^metadata_csum,uninit_bg,^64bit"),
            ),
            ("checksum seed", small().features("metadata_csum_seed")),
            ("orphan file", large().features("orphan_file")),
            ("no flex_bg", small().features("^flex_bg")),
            (
                "all backups",
                small().features("^sparse_super,^resize_inode"),
            ),
            (
                "two backups",
                large().features("sparse_super2,^resize_inode"),
            ),
            (
                "no backups",
                large()
                    .features("sparse_super2,^resize_inode")
                    .arg("-E")
                    .arg("num_backup_sb=0"),
            ),
            ("no journal", small().features("^has_journal")),
            (
                "no htree, no xattr",
                small().features("^dir_index,^ext_attr,^dir_nlink"),
            ),
            (
                "no huge files",
                small().features("^huge_file,^large_file,^resize_inode"),
            ),
            ("small inodes", small().inode_size(128)),
            ("large inodes", large().inode_size(1024)),
            ("tiny", Self::new(MIB, 1024).features("^has_journal")),
        ]
    }

    /// Adds features (`name`) and takes them away (`^name`), as `mke2fs -O`.
    pub fn features(mut self, features: &str) -> Self {
        self.features = format!("{},{features}", self.features);
        self
    }

    /// Size of an inode in bytes.
    pub fn inode_size(mut self, size: u32) -> Self {
        self.inode_size = size;
        self
    }

    /// Another argument for `mke2fs`.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Makes the image.
    ///
    /// # Panics
    ///
    /// Where `mke2fs` is missing or refuses.
    #[track_caller]
    pub fn make(&self) -> Image {
        let path = scratch_path();
        File::create(&path)
            .and_then(|f| f.set_len(self.size))
            .expect("cannot make an image file");
        let image = Image { path };
        let mut cmd = Command::new(tool("mke2fs"));
        cmd.env("MKE2FS_CONFIG", "/dev/null")
            .args(["-q", "-F", "-t", "ext4", "-O"])
            .arg(format!("none,{}", self.features))
            .args(["-b", &self.block_size.to_string()])
            .args(["-I", &self.inode_size.to_string()])
            .args(["-U", "6b33f586-a183-4383-921d-30da3fef2e5c"])
            .args(["-E", "nodiscard,lazy_itable_init=0"])
            .args(["-E", "hash_seed=0f8a3e0c-5d7b-4f0a-9a55-3f1f0f7e6b11"])
            .args(&self.args)
            .arg(&image.path);
        run(&mut cmd);
        image
    }
}

/// An image file; gone when dropped.
#[derive(Debug)]
pub struct Image {
    path: PathBuf,
}

impl Image {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The super block.
    ///
    /// # Panics
    ///
    /// Where the file cannot be read.
    pub fn read_super(&self) -> RawSuper {
        let mut bytes = [0; SUPER_SIZE];
        File::open(&self.path)
            .and_then(|f| f.read_exact_at(&mut bytes, SUPER_OFFSET))
            .expect("image file cannot be read");
        RawSuper::read_from_bytes(&bytes).expect("a super block has a fixed size")
    }

    /// Overwrites the super block, as it is: the checksum is for the caller.
    ///
    /// # Panics
    ///
    /// Where the file cannot be written.
    pub fn write_super(&self, raw: &RawSuper) {
        OpenOptions::new()
            .write(true)
            .open(&self.path)
            .and_then(|f| f.write_all_at(raw.as_bytes(), SUPER_OFFSET))
            .expect("image file cannot be written");
    }

    /// The geometry, as a mount finds it.
    pub fn layout(&self, read_only: bool) -> Result<Layout, Refusal> {
        let raw = self.read_super();
        let size = std::fs::metadata(&self.path).map_or(0, |m| m.len());
        let block_size = Layout::probe_block_size(&raw)?;
        Layout::new(&raw, size >> block_size.bits(), read_only)
    }

    /// Another image with the same contents.
    pub fn copy(&self) -> Self {
        let path = scratch_path();
        run(Command::new("cp")
            .arg("--sparse=always")
            .arg(&self.path)
            .arg(&path));
        Self { path }
    }

    /// Runs commands of `debugfs`, writing; gives its output.
    ///
    /// # Panics
    ///
    /// Where `debugfs` cannot be run or fails. It does not tell when one of the commands failed.
    #[track_caller]
    pub fn debugfs<C: AsRef<str>>(&self, commands: &[C]) -> String {
        let script = scratch_path();
        let text: String = commands.iter().flat_map(|c| [c.as_ref(), "\n"]).collect();
        std::fs::write(&script, text).expect("cannot write a debugfs script");
        let out = run(Command::new(tool("debugfs"))
            .args(["-w", "-f"])
            .arg(&script)
            .arg(&self.path));
        let _ = std::fs::remove_file(&script);
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// What `dumpe2fs` says.
    #[track_caller]
    pub fn dumpe2fs(&self) -> String {
        let out = run(Command::new(tool("dumpe2fs")).arg(&self.path));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// The value of a line `name: value` in the head of what `dumpe2fs` says.
    #[track_caller]
    pub fn dumpe2fs_value(&self, name: &str) -> Option<String> {
        let out = run(Command::new(tool("dumpe2fs")).arg("-h").arg(&self.path));
        String::from_utf8_lossy(&out.stdout)
            .lines()
            .find_map(|line| {
                let (key, value) = line.split_once(':')?;
                (key == name).then(|| value.trim().to_string())
            })
    }

    /// Runs `e2fsck` on it; gives how it ended and what it said.
    ///
    /// # Panics
    ///
    /// Where `e2fsck` cannot be run.
    #[track_caller]
    pub fn e2fsck(&self, args: &[&str]) -> Output {
        Command::new(tool("e2fsck"))
            .args(args)
            .arg(&self.path)
            .output()
            .expect("cannot run e2fsck")
    }

    /// Checks the file system with `e2fsck -fn`. An error is what it complained about.
    #[track_caller]
    pub fn fsck(&self) -> Result<(), String> {
        let out = self.e2fsck(&["-f", "-n"]);
        if out.status.success() {
            return Ok(());
        }
        Err(describe("e2fsck -fn", &out))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn scratch_path() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("iomapfs-{}-{n}.img", std::process::id()))
}

/// The tools of e2fsprogs are often outside the search path of a plain user.
fn tool(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|p| p.is_file())
        .unwrap_or_else(|| panic!("{name} not found: install e2fsprogs"))
}

#[track_caller]
fn run(cmd: &mut Command) -> Output {
    let out = cmd.output().unwrap_or_else(|e| panic!("{cmd:?}: {e}"));
    assert!(
        out.status.success(),
        "{}",
        describe(&format!("{cmd:?}"), &out)
    );
    out
}

/// What a program, run for `what`, said, and how it ended.
pub fn describe(what: &str, out: &Output) -> String {
    format!(
        "{what}: {}\n{}{}",
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    )
}
