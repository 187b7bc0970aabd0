// SPDX-License-Identifier: GPL-2.0

//! The file systems that runs begin with: small ones of every form, made once by `mke2fs`.

use crate::check::{check, meaningless, Fixed, Tree};
use crate::device::Bytes;
use crate::mount::Mount;
use anyhow::{anyhow, ensure, Context, Result};
use iomapfs_core::disk::xattr::{XattrFormat, XattrHeader};
use iomapfs_core::disk::{Format, LogicalBlock, PhysBlock};
use iomapfs_core::host::{Device, HostStore, Image, Mkfs};
use iomapfs_core::inode::Inode;
use kernel::error::Error;
use std::path::Path;
use std::sync::Arc;

/// Blocks of each, enough for the smallest journal and some data.
const BLOCKS: u64 = 2560;
/// Free blocks of those that are full.
const LEFT: u64 = 30;

/// A file system to begin with.
pub struct Base {
    /// What is special about it.
    pub name: &'static str,
    /// Its blocks.
    pub blocks: Arc<Vec<Bytes>>,
    /// What does not change.
    pub fixed: Fixed,
    /// What is there.
    pub tree: Tree,
    /// The image that it was made from.
    image: Image,
}

/// What a block has that nobody has written.
pub(crate) fn garbage(nr: u64, size: usize) -> Bytes {
    let words = (0..size as u64 / 8).map(|i| 0xbad0_0000_0000_0000 | nr << 16 | i);
    words.flat_map(u64::to_le_bytes).collect()
}

/// The inode of `other` gets the block of attributes that the one of `file` has, too.
fn share_attributes(image: &Image, size: usize, file: &str, other: &str) -> Result<String> {
    let stat = |file: &str| image.debugfs(&[format!("stat {file}")]);
    let number = |text: &str, before: &str| -> Result<u64> {
        let rest = text.split(before).nth(1).context("debugfs says less")?;
        let digits = rest.trim_start().split(|c: char| !c.is_ascii_digit());
        Ok(digits.into_iter().next().context("no number")?.parse()?)
    };
    let block = number(&stat(file), "File ACL:")?;
    let sectors = number(&stat(other), "Blockcount:")? + size as u64 / 512;
    let said = image.debugfs(&[
        format!("set_inode_field {other} file_acl {block}"),
        format!("set_inode_field {other} blocks {sectors}"),
    ]);
    let failed = |error: Error| anyhow!("attributes in block {block}: {error:?}");
    let layout = image.layout(false).map_err(|what| anyhow!("{what:?}"))?;
    let store = HostStore::open(image.path(), size as u32)?;
    let nr = PhysBlock::new(block);
    let mut bytes = store.read_data(nr).to_vec();
    let (header, _) = XattrHeader::split_mut(&mut bytes).context("no header")?;
    header.refcount.set(2);
    XattrFormat::new(&layout).seal(nr, &mut bytes);
    store.write_data(nr, &bytes);
    store.save(image.path()).map_err(failed)?;
    Ok(said)
}

/// Puts files on an image as other systems leave them: with blocks that are allocated and not written, before, in the
/// middle of, and behind what is written, and behind the end. If there is `left`, only about so many blocks are free
/// then for all users.
fn preallocate(image: &Image, size: usize, left: Option<u64>) -> Result<()> {
    let mut mixed = vec![0; 24 * size + 100];
    for byte in mixed[8 * size..16 * size].iter_mut() {
        *byte = b'm';
    }
    mixed[24 * size..].fill(b'e');
    let path = image.path().with_extension("mixed");
    std::fs::write(&path, mixed)?;
    let mut commands = vec![
        "set_current_time 20240101000000".to_string(),
        "write /dev/null kept".to_string(),
        "fallocate kept 0 47".to_string(),
        "write /dev/null filled".to_string(),
        "fallocate filled 0 39".to_string(),
        // It ends within a block.
        format!("set_inode_field filled size {}", 39 * size + size / 2),
        format!("write {} mixed", path.display()),
        "fallocate mixed 4 30".to_string(),
        "write /dev/null comb".to_string(),
    ];
    // More extents than an inode holds.
    commands.extend((0..20).map(|n| format!("fallocate comb {} {}", 2 * n, 2 * n)));
    // Attributes that are longer than any inode's room for them.
    for file in ["kept", "comb"] {
        commands.push(format!("ea_set {file} user.long {}", "v".repeat(300)));
    }
    let mut said = image.debugfs(&commands);
    std::fs::remove_file(&path)?;
    said += &share_attributes(image, size, "comb", "filled")?;
    if let Some(left) = left {
        let free = image.dumpe2fs_value("Free blocks");
        let free: u64 = free.context("free blocks")?.parse()?;
        let layout = image.layout(false).map_err(|why| anyhow!("{why}"))?;
        said += &image.debugfs(&[
            "write /dev/null ballast".to_string(),
            format!(
                "fallocate ballast 0 {}",
                free - layout.set_aside_blocks() - left
            ),
        ]);
    }
    image
        .fsck()
        .map_err(|what| anyhow!("files with unwritten blocks: {what}\n{said}"))
}

impl Base {
    /// Makes one of each form.
    ///
    /// # Errors
    ///
    /// Where the core, or the check of this program, does not take what `mke2fs` makes.
    pub fn all() -> Result<Vec<Self>> {
        let small = |block_size: u32| {
            Mkfs::new(BLOCKS * u64::from(block_size), block_size)
                .arg("-N")
                .arg("128")
        };
        // Two groups and a piece.
        let groups = || small(1024).arg("-g").arg("1024").arg("-G").arg("2");
        let forms = [
            ("1 KiB", small(1024)),
            ("2 KiB", small(2048)),
            ("4 KiB", small(4096)),
            ("groups", groups()),
            (
                "many groups",
                small(1024)
                    .arg("-g")
                    .arg("256")
                    .features("^resize_inode,^flex_bg"),
            ),
            ("orphan file", small(1024).features("orphan_file")),
            ("orphan file, 4 KiB", small(4096).features("orphan_file")),
            ("no checksums", small(1024).features("^metadata_csum")),
            ("32-bit", small(1024).features("^64bit,^metadata_csum")),
            ("32-bit, checksums", groups().features("^64bit")),
            ("checksum seed", small(2048).features("metadata_csum_seed")),
            ("uninit_bg", groups().features("^metadata_csum,uninit_bg")),
            (
                "no flex_bg",
                small(1024).arg("-g").arg("1280").features("^flex_bg"),
            ),
            ("small inodes", small(1024).inode_size(128)),
            ("values", small(1024).features("ea_inode")),
            (
                "values, small inodes",
                groups().inode_size(128).features("ea_inode,orphan_file"),
            ),
            ("no htree", small(1024).features("^dir_index")),
            ("full", small(1024).arg("-m").arg("0")),
            ("full, groups", groups().arg("-m").arg("0")),
            ("full but for root", small(1024)),
        ];
        forms
            .into_iter()
            .map(|(name, mkfs)| Self::new(name, &mkfs).with_context(|| name.to_string()))
            .collect()
    }

    fn new(name: &'static str, mkfs: &Mkfs) -> Result<Self> {
        let image = mkfs.make();
        let layout = image
            .layout(false)
            .map_err(|refusal| anyhow!("{refusal}"))?;
        let size = layout.block_size().bytes() as usize;
        let left = name.starts_with("full").then_some(LEFT);
        preallocate(&image, size, left)?;
        let bytes = std::fs::read(image.path())?;
        let zeros = Bytes::from(vec![0; size]);
        let blocks =
            bytes
                .chunks_exact(size)
                .map(|block| match block.iter().all(|byte| *byte == 0) {
                    true => zeros.clone(),
                    false => Bytes::from(block),
                });
        let mut device = Device::of_blocks(Arc::new(blocks.collect()));
        let mount = Mount::open(device.clone(), Default::default()).map_err(|e| anyhow!(e))?;
        let mut orphan_file = Vec::new();
        if let Some(ino) = layout.orphan_file_ino() {
            let (mut inode, _) = Inode::read_system(&mount.vol, ino)
                .map_err(|error| anyhow!("orphan file: {error:?}"))?;
            for at in 0..layout.block_size().blocks_for(inode.disk_size) as u32 {
                let found = inode.map.lookup(&mount.vol, LogicalBlock::new(at), 1);
                let phys = found.ok().and_then(|found| found.phys);
                orphan_file.push(phys.context("orphan file: hole")?.get());
            }
        }
        let fixed = Fixed::learn(&device, layout, orphan_file).map_err(|e| anyhow!(e))?;
        // Nothing may ever show what is there.
        for nr in meaningless(&device, &fixed) {
            device.write(nr, garbage(nr, size));
        }
        let tree = check(&device, &fixed).map_err(|flaws| anyhow!(flaws.join("; ")))?;
        let unwritten: usize = tree.values().map(|found| found.unwritten.len()).sum();
        ensure!(
            left.is_some() || unwritten == 48 + 40 + 18 + 20,
            "{unwritten} unwritten blocks"
        );
        let blocks = (0..device.blocks()).map(|nr| device.read(nr)).collect();
        Ok(Self {
            name,
            blocks: Arc::new(blocks),
            fixed,
            tree,
            image,
        })
    }

    /// A file with what is on `device`, which began with the blocks of this.
    ///
    /// # Errors
    ///
    /// From the file system of this machine.
    pub fn save(&self, device: &Device) -> Result<Image> {
        let copy = self.image.copy();
        self.write(device, copy.path())?;
        Ok(copy)
    }

    /// Writes what is on `device` to a file.
    ///
    /// # Errors
    ///
    /// From the file system of this machine.
    pub fn write(&self, device: &Device, path: &Path) -> Result<()> {
        let mut bytes = Vec::new();
        for nr in 0..device.blocks() {
            bytes.extend_from_slice(&device.read(nr));
        }
        std::fs::write(path, bytes).with_context(|| path.display().to_string())
    }
}
