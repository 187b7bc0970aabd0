// SPDX-License-Identifier: GPL-2.0

//! Good images with as many forms of everything as fit: what is damaged afterwards.
//!
//! `mke2fs`, `debugfs` and `e2fsck -D` make them, small, so that they can be put back in the guest's memory for each
//! case. Those that a crash might have left have a journal to replay or orphans to look after; all others are
//! clean to `e2fsck`.

use anyhow::{bail, ensure, Context, Result};
use iomapfs_core::host::{Image as FsImage, Mkfs};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The largest image.
pub const MOST_BYTES: u64 = 12 << 20;

/// Size of an image: twice the least journal has to fit.
fn size(block_size: u32) -> u64 {
    match block_size {
        4096 => MOST_BYTES,
        _ => 6 << 20,
    }
}

/// What is added to an image after its tree was made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Nothing: it was unmounted.
    Clean,
    /// A journal to replay, with or without checksums.
    Journal { checksums: bool },
    /// Orphans in the list.
    OrphanList,
    /// Orphans in the orphan file.
    OrphanFile,
}

struct Kind {
    name: &'static str,
    mkfs: Mkfs,
    left: Left,
    /// Names in the large directory, and how long they are.
    names: (u32, usize),
}

fn kinds() -> Vec<Kind> {
    let mkfs = |block_size: u32| {
        Mkfs::new(size(block_size), block_size)
            .arg("-N")
            .arg("256")
            .arg("-J")
            .arg(format!("size={}", block_size / 1024))
    };
    let kind = |name, mkfs| Kind {
        name,
        mkfs,
        left: Left::Clean,
        names: (120, 40),
    };
    let groups = |mkfs: Mkfs| mkfs.arg("-g").arg("2048").arg("-G").arg("2");
    let recover = |checksums| Left::Journal { checksums };
    let two_levels = (560, 220);
    vec![
        Kind {
            names: two_levels,
            ..kind("1k", groups(mkfs(1024)))
        },
        kind("2k", mkfs(2048)),
        kind("4k", mkfs(4096)),
        Kind {
            names: two_levels,
            ..kind("1k-no-sums", mkfs(1024).features("^metadata_csum,^64bit"))
        },
        kind("4k-no-sums", mkfs(4096).features("^metadata_csum")),
        kind(
            "1k-uninit",
            groups(mkfs(1024)).features("^metadata_csum,uninit_bg,^64bit"),
        ),
        kind(
            "1k-no-flex",
            mkfs(1024)
                .features("^flex_bg,sparse_super2,^resize_inode,metadata_csum_seed")
                .arg("-g")
                .arg("1024"),
        ),
        kind(
            "1k-small-inodes",
            mkfs(1024)
                .features("^extra_isize,^metadata_csum")
                .inode_size(128),
        ),
        kind("1k-quota", groups(mkfs(1024)).features("quota,project")),
        kind(
            "1k-values",
            groups(mkfs(1024)).features("ea_inode,quota,project"),
        ),
        kind(
            "4k-values-no-sums",
            mkfs(4096).features("ea_inode,orphan_file,^metadata_csum"),
        ),
        kind("2k-large-inodes", mkfs(2048).inode_size(1024)),
        kind(
            "1k-no-htree",
            mkfs(1024).features("^dir_index,^dir_nlink,^huge_file,^large_file,^resize_inode"),
        ),
        Kind {
            left: Left::OrphanFile,
            ..kind("1k-orphan-file", groups(mkfs(1024)).features("orphan_file"))
        },
        Kind {
            left: Left::OrphanFile,
            ..kind(
                "4k-orphan-file",
                mkfs(4096).features("orphan_file,^metadata_csum"),
            )
        },
        Kind {
            left: Left::OrphanList,
            ..kind("1k-orphan-list", mkfs(1024))
        },
        Kind {
            left: Left::OrphanList,
            ..kind("4k-orphan-list", mkfs(4096))
        },
        Kind {
            left: recover(true),
            ..kind("1k-recover", groups(mkfs(1024)))
        },
        Kind {
            left: recover(true),
            ..kind("4k-recover", mkfs(4096))
        },
        Kind {
            left: recover(false),
            ..kind(
                "1k-recover-no-sums",
                mkfs(1024).features("^metadata_csum,^64bit"),
            )
        },
        kind(
            "1k-no-journal",
            Mkfs::new(size(1024), 1024)
                .arg("-N")
                .arg("256")
                .features("^has_journal"),
        ),
    ]
}

/// Makes all images in `folder`, or only those whose names `wanted` takes.
pub fn make(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("folder {}", folder.display()))?;
    for kind in kinds().iter().filter(|kind| wanted(kind.name)) {
        let path = folder.join(format!("{}.img", kind.name));
        if path.exists() {
            continue;
        }
        let image = build(kind).with_context(|| format!("image {}", kind.name))?;
        // All at once, so that a run that is interrupted leaves no half image.
        let part = path.with_extension("part");
        let status = Command::new("cp")
            .arg("--sparse=always")
            .args([image.path(), &part])
            .status()
            .context("cp")?;
        ensure!(status.success(), "cp fails");
        fs::rename(&part, &path).context("rename")?;
    }
    Ok(())
}

fn build(kind: &Kind) -> Result<FsImage> {
    let image = kind.mkfs.make();
    let files = Files::new(image.path())?;
    let block_size = 1024 << image.read_super().log_block_size.get();
    image.debugfs(&tree(&files, kind.names, block_size));
    if image.dumpe2fs().contains(" ea_inode") {
        image.debugfs(&values());
    }
    // Makes trees of hashes of the directories that are large.
    let out = Command::new("e2fsck")
        .args(["-f", "-y", "-D"])
        .arg(image.path())
        .env("PATH", path_with_sbin())
        .output()
        .context("e2fsck")?;
    // 1: changed, and nothing is left to do.
    ensure!(
        matches!(out.status.code(), Some(0 | 1)),
        "e2fsck -D: {}",
        String::from_utf8_lossy(&out.stdout)
    );
    if let Err(words) = image.fsck() {
        bail!("{words}");
    }
    let listed = image.debugfs(&["ls large"]);
    ensure!(
        listed.contains(&format!("{:05}n", kind.names.0 - 1)),
        "the large directory has not all its names: {listed}"
    );
    match kind.left {
        Left::Clean => {}
        Left::Journal { checksums } => leave_journal(&image, &files, checksums)?,
        Left::OrphanList => leave_list(&image)?,
        Left::OrphanFile => leave_file(&image)?,
    }
    Ok(image)
}

/// Where the tools of e2fsprogs are found.
pub(crate) fn path_with_sbin() -> String {
    format!(
        "{}:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    )
}

/// Files of the host that are copied into the image.
struct Files {
    folder: std::path::PathBuf,
}

impl Files {
    fn new(image: &Path) -> Result<Self> {
        let folder = image.with_extension("files");
        fs::create_dir_all(&folder).context("scratch folder")?;
        let files = Self { folder };
        let text: String = (0..10000).map(|n| format!("{n:07}\n")).collect();
        // Every second block is a hole, whatever the size of blocks: many extents.
        let mut holes = Vec::new();
        for n in 0..180 {
            holes.extend_from_slice(&text.as_bytes()[n * 16..][..1024]);
            holes.resize(holes.len() + if n < 150 { 1024 } else { 7 * 1024 }, 0);
        }
        for (name, bytes) in [
            ("empty", &b""[..]),
            ("short", b"short\n"),
            ("text", &text.as_bytes()[..30000]),
            ("holes", &holes),
        ] {
            fs::write(files.path(name), bytes).context("scratch file")?;
        }
        Ok(files)
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Commands for `debugfs` that make the tree.
fn tree(files: &Files, (names, length): (u32, usize), block_size: usize) -> Vec<String> {
    let write = |host: &str, name: &str| format!("write {} {name}", files.path(host));
    let long = "x".repeat(90);
    let mut commands = vec![
        "mkdir a".to_string(),
        "mkdir a/b".to_string(),
        "mkdir a/b/c".to_string(),
        "mkdir empty-dir".to_string(),
        "mkdir large".to_string(),
        write("empty", "empty"),
        write("short", "short"),
        write("text", "text"),
        write("text", "a/text"),
        write("short", "a/b/short"),
        write("short", "a/b/c/short"),
        write("holes", "deep"),
        write("text", "unwritten"),
        "fallocate unwritten 40 60".to_string(),
        "fallocate unwritten 4 9".to_string(),
        write("empty", "preallocated"),
        "fallocate preallocated 0 30".to_string(),
        "symlink fast text".to_string(),
        format!("symlink slow {long}/{long}"),
        "symlink a/b/up ../../text".to_string(),
        "mknod pipe p".to_string(),
        "mknod char c 1 3".to_string(),
        "mknod block b 7 300".to_string(),
        "ea_set text user.small value".to_string(),
        format!("ea_set short user.large {}", "v".repeat(400)),
        format!("ea_set a user.large {}", "w".repeat(300)),
        format!("ea_set fast trusted.large {}", "z".repeat(300)),
    ];
    // debugfs does not make a directory longer by itself.
    let blocks = names as usize / ((block_size - 12) / (length + 11)) + 1;
    commands.extend(vec!["expand_dir large".to_string(); blocks]);
    // All lead to one file, so that inodes are left for other things.
    commands.push("cd large".to_string());
    commands.push(write("short", "target"));
    for n in 0..names {
        let name = format!("{n:05}{}", "n".repeat(length - 5));
        commands.push(format!("ln target {name}"));
    }
    commands.push("cd /".to_string());
    commands.push(format!("sif large/target links_count {}", names + 1));
    commands
}

/// Commands for `debugfs` that give files values in inodes of their own.
fn values() -> Vec<String> {
    let value = |byte: &str, len| byte.repeat(len);
    vec![
        format!("ea_set short user.elsewhere {}", value("e", 5000)),
        format!("ea_set a/text user.elsewhere {}", value("f", 7000)),
        format!("ea_set a/text user.second {}", value("g", 4500)),
        format!("ea_set a/b trusted.elsewhere {}", value("h", 4200)),
        format!("ea_set fast trusted.elsewhere {}", value("i", 4200)),
    ]
}

fn inode_of(image: &FsImage, path: &str) -> Result<u32> {
    let text = image.debugfs(&[format!("stat {path}")]);
    text.split("Inode: ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|nr| nr.parse().ok())
        .with_context(|| format!("no inode of {path}: {text}"))
}

/// Transactions that are to be replayed: blocks written, some of them revoked later, and at last metadata.
fn leave_journal(image: &FsImage, files: &Files, checksums: bool) -> Result<()> {
    // Blocks of a file, so that what is replayed does no harm.
    let blocks: Vec<String> = (0..6)
        .map(|n| image.debugfs(&[format!("bmap text {n}")]))
        .map(|text| {
            let number = |line: &str| line.trim().parse::<u64>().ok();
            text.lines().find_map(number).unwrap_or(0).to_string()
        })
        .filter(|nr| nr != "0")
        .collect();
    let all = blocks.join(",");
    let text = files.path("text");
    let (metadata, bytes) = logged_metadata(image)?;
    let copies = files.path("metadata");
    fs::write(&copies, bytes).context("scratch file")?;
    image.debugfs(&[
        if checksums { "jo -c" } else { "jo" }.to_string(),
        format!("jw -b {all} {text}"),
        format!("jw -r {all}"),
        format!("jw -b {} {text}", blocks[0]),
        format!("jw -b {metadata} {copies}"),
        "jc".to_string(),
    ]);
    Ok(())
}

/// The blocks of the super block, of the descriptors and of an inode, and what the journal is to have of them: the
/// same, with the mark that there is something to replay, as a mounted file system logs them.
fn logged_metadata(image: &FsImage) -> Result<(String, Vec<u8>)> {
    use crate::image::{Edit, Image};
    use crate::seal::seal;
    use crate::survey::{Kind, Survey};
    const INCOMPAT: u64 = 1024 + 0x60;
    const RECOVER: u64 = 0x4;

    let before = Image::load(image.path())?;
    let survey = Survey::new(&before)?;
    let first = |kind| {
        let list = survey.by_kind.get(&kind).context("no such structure")?;
        Ok::<_, anyhow::Error>(survey.places[list[0]])
    };
    let head = first(Kind::Super)?;
    let text = inode_of(image, "text")?;
    let inode = *survey.inode(text).context("no such inode")?;
    let mut edit = Edit::new(&before);
    let bits = edit.get(INCOMPAT, 4) | RECOVER;
    edit.set(INCOMPAT, 4, bits);
    seal(&survey, &mut edit, &head, false);
    let size = survey.layout.block_size().bytes() as usize;
    let (mut numbers, mut bytes) = (Vec::new(), Vec::new());
    for place in [head, first(Kind::GroupDesc)?, inode] {
        let nr = survey.block_of(&place).get();
        numbers.push(nr.to_string());
        bytes.extend(edit.read(nr * size as u64, size));
    }
    Ok((numbers.join(","), bytes))
}

/// One file without a name, and one that was being cut off.
fn leave_list(image: &FsImage) -> Result<()> {
    let gone = inode_of(image, "deep")?;
    let cut = inode_of(image, "text")?;
    image.debugfs(&[
        "unlink deep".to_string(),
        format!("sif <{gone}> links_count 0"),
        format!("sif <{gone}> dtime {cut}"),
        format!("sif <{cut}> size 3000"),
        format!("sif <{cut}> dtime 0"),
        format!("ssv last_orphan {gone}"),
    ]);
    Ok(())
}

/// The same in the orphan file.
fn leave_file(image: &FsImage) -> Result<()> {
    use crate::image::{Edit, Image};
    use crate::seal::seal;
    use crate::survey::{Kind, Survey};
    const RO_COMPAT: u64 = 1024 + 0x64;
    const ORPHAN_PRESENT: u64 = 0x10000;

    let gone = inode_of(image, "deep")?;
    let cut = inode_of(image, "text")?;
    image.debugfs(&[
        "unlink deep".to_string(),
        format!("sif <{gone}> links_count 0"),
        format!("sif <{cut}> size 3000"),
    ]);
    let before = Image::load(image.path())?;
    let survey = Survey::new(&before)?;
    let find = |kind| {
        let list = survey.by_kind.get(&kind).context("no orphan file")?;
        Ok::<_, anyhow::Error>(survey.places[list[0]])
    };
    let (head, block) = (find(Kind::Super)?, find(Kind::Orphan)?);
    let mut edit = Edit::new(&before);
    edit.set(block.at, 4, gone.into());
    edit.set(block.at + 12, 4, cut.into());
    seal(&survey, &mut edit, &block, false);
    let bits = edit.get(RO_COMPAT, 4) | ORPHAN_PRESENT;
    edit.set(RO_COMPAT, 4, bits);
    seal(&survey, &mut edit, &head, false);
    edit.save(image.path())
}
