// SPDX-License-Identifier: GPL-2.0

//! One target for each structure's parser: any bytes go in, and what is accepted must keep what the parser promises.
//!
//! Bytes that come from nowhere have no good checksum. So each target tries them without checksums, and, where the
//! structure has one, sealed.

mod extent;
mod inode;
mod names;
mod volume;

use arbitrary::{Result, Unstructured};
use iomapfs_core::disk::dx::IndexPart;
use iomapfs_core::disk::superblock::RawSuper;
use iomapfs_core::disk::{CsumSeed, Ino, Layout, PhysBlock};
use iomapfs_core::host::Mkfs;
use std::sync::OnceLock;

/// A target: it panics where it finds something.
pub type Target = fn(&[u8]);

/// Name and function of each target, `walk` included.
pub const TARGETS: [(&str, Target); 13] = [
    ("super_block", |data| over(volume::super_block(data))),
    ("group_desc", |data| over(volume::group_desc(data))),
    ("bitmap", |data| over(volume::bitmap(data))),
    ("inode", |data| over(inode::inode(data))),
    ("extent_node", |data| over(extent::extent_node(data))),
    ("extent_change", |data| over(extent::extent_change(data))),
    ("dir_leaf", |data| over(names::dir_leaf(data))),
    ("dir_root", |data| {
        over(names::dir_index(data, IndexPart::Root))
    }),
    ("dir_node", |data| {
        over(names::dir_index(data, IndexPart::Node))
    }),
    ("hash", |data| over(names::hash(data))),
    ("orphan", |data| over(inode::orphan(data))),
    ("xattr", |data| over(inode::xattr(data))),
    ("walk", crate::walk::run),
];

/// Runs a target by its name.
///
/// # Panics
///
/// Where there is no such target, and where it finds something.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(n, _)| *n == name);
    let (_, target) = target.unwrap_or_else(|| panic!("there is no target {name}"));
    target(data);
}

/// Too few bytes are no finding.
fn over(_: Result<()>) {}

const SEED: CsumSeed = CsumSeed::new(0x1234_5678);
const NR: PhysBlock = PhysBlock::new(77);

/// Geometries that structures are read with.
fn layouts() -> &'static [(Layout, RawSuper)] {
    static LAYOUTS: OnceLock<Vec<(Layout, RawSuper)>> = OnceLock::new();
    LAYOUTS.get_or_init(|| {
        [
            Mkfs::new(8 << 20, 1024),
            Mkfs::new(16 << 20, 4096),
            Mkfs::new(8 << 20, 1024).features("^metadata_csum,^64bit,uninit_bg"),
            Mkfs::new(8 << 20, 1024).features("^metadata_csum,^64bit,^huge_file"),
        ]
        .iter()
        .map(|mkfs| {
            let image = mkfs.make();
            let layout = image.layout(false).expect("a good image");
            (layout, image.read_super())
        })
        .collect()
    })
}

fn layout(u: &mut Unstructured<'_>) -> Result<&'static (Layout, RawSuper)> {
    u.choose(layouts())
}

fn ino(u: &mut Unstructured<'_>) -> Result<Ino> {
    Ok(Ino::new(u.arbitrary()?).unwrap_or(Ino::ROOT))
}

/// A block: the bytes that are given, the rest of another kind of nothing.
fn block(u: &mut Unstructured<'_>, len: usize) -> Result<Vec<u8>> {
    let mut block = vec![*u.choose(&[0, 0, 0xff])?; len];
    let given = u.len().min(len);
    block[..given].copy_from_slice(u.bytes(given)?);
    Ok(block)
}

fn seed(u: &mut Unstructured<'_>) -> Result<Option<CsumSeed>> {
    Ok(u.ratio(1, 2)?.then_some(SEED))
}
