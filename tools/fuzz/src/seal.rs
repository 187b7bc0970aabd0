// SPDX-License-Identifier: GPL-2.0

//! Checksums put right after a change, so that what was changed is looked at.

use crate::image::Edit;
use crate::survey::{Kind, Place, Survey};
use iomapfs_core::crc32c;
use iomapfs_core::disk::bitmap::count_clear;
use iomapfs_core::disk::bitmap_sum::Sum;
use iomapfs_core::disk::dirent::DirLeafFormat;
use iomapfs_core::disk::dx::{self, DxFormat, IndexPart};
use iomapfs_core::disk::extent::ExtentNodeFormat;
use iomapfs_core::disk::group_desc::{DescCsum, GroupDesc, GroupFlags};
use iomapfs_core::disk::orphan::OrphanFormat;
use iomapfs_core::disk::superblock::{RawSuper, SUPER_SIZE};
use iomapfs_core::disk::xattr::XattrFormat;
use iomapfs_core::disk::{inode, CsumSeed, Format, Group, Ino};
use zerocopy::{FromBytes, IntoBytes};

/// Offset of `i_generation` in an inode.
const GENERATION: u64 = 0x64;

/// Sets the checksum of `place`. With `counts` also what else has to agree with it: the free counts that belong to a
/// bitmap.
pub fn seal(survey: &Survey<'_>, edit: &mut Edit<'_>, place: &Place, counts: bool) {
    let layout = &survey.layout;
    let nr = survey.block_of(place);
    let mut bytes = edit.read(place.at, place.len);
    let seed = owner_seed(survey, edit, place.ino);
    let inodes_count = layout.inodes_count();
    match place.kind {
        Kind::Super => {
            if let Ok(mut raw) = RawSuper::read_from_bytes(&bytes[..SUPER_SIZE]) {
                raw.seal();
                bytes.copy_from_slice(raw.as_bytes());
            }
        }
        Kind::GroupDesc => {
            if let Some(desc) = GroupDesc::parse(&bytes) {
                desc.store(&desc_csum(survey), Group::new(place.group), &mut bytes);
            }
        }
        Kind::BlockBitmap | Kind::InodeBitmap => return seal_bitmap(survey, edit, place, counts),
        Kind::Inode => {
            if let Some(ino) = Ino::new(place.ino) {
                inode::seal(layout, ino, &mut bytes);
            }
        }
        Kind::ExtentNode => {
            if let Some(ino) = Ino::new(place.ino) {
                ExtentNodeFormat::new(layout, ino, seed).seal(nr, &mut bytes);
            }
        }
        Kind::DirLeaf => {
            if let Some(ino) = Ino::new(place.ino) {
                let format = DirLeafFormat {
                    ino,
                    seed,
                    inodes_count,
                    allow_index: false,
                };
                format.seal(nr, &mut bytes);
            }
        }
        Kind::DirRoot | Kind::DirNode => {
            let part = match place.kind {
                Kind::DirRoot => IndexPart::Root,
                _ => IndexPart::Node,
            };
            if let Some(ino) = Ino::new(place.ino) {
                let levels = dx::LEVELS;
                DxFormat {
                    ino,
                    seed,
                    part,
                    levels,
                }
                .seal(nr, &mut bytes);
            }
        }
        Kind::Xattr => {
            // Sealing sets the magic number and the count of blocks, which may be what was changed.
            let head = [bytes[..4].to_vec(), bytes[8..12].to_vec()];
            XattrFormat::new(layout).seal(nr, &mut bytes);
            bytes[..4].copy_from_slice(&head[0]);
            bytes[8..12].copy_from_slice(&head[1]);
        }
        Kind::Orphan => {
            let end = bytes.len() - 8;
            let magic = bytes[end..end + 4].to_vec();
            OrphanFormat { seed }.seal(nr, &mut bytes);
            bytes[end..end + 4].copy_from_slice(&magic);
        }
        Kind::Symlink | Kind::Quota => {}
        Kind::JournalSuper
        | Kind::JournalDescriptor
        | Kind::JournalRevoke
        | Kind::JournalCommit => seal_journal(survey, edit, place, &mut bytes),
    }
    edit.write(place.at, &bytes);
}

/// What the checksums of an inode's structures begin with, by its generation as it is now.
fn owner_seed(survey: &Survey<'_>, edit: &Edit<'_>, ino: u32) -> Option<CsumSeed> {
    let place = survey.inode(ino)?;
    let generation = edit.get(place.at + GENERATION, 4) as u32;
    let seed = survey.layout.csum_seed()?;
    Some(seed.for_inode(Ino::new(ino)?, generation))
}

fn desc_csum(survey: &Survey<'_>) -> DescCsum {
    match survey.layout.csum_seed() {
        Some(seed) => DescCsum::Crc32c(seed),
        None if survey.layout.has_gdt_csum() => DescCsum::Crc16(*survey.layout.uuid()),
        None => DescCsum::None,
    }
}

/// The checksum of a bitmap is in the group's descriptor, as is how many bits are clear.
fn seal_bitmap(survey: &Survey<'_>, edit: &mut Edit<'_>, place: &Place, counts: bool) {
    let Some(at) = survey.desc(place.group).copied() else {
        return;
    };
    let layout = &survey.layout;
    let group = Group::new(place.group);
    let mut bytes = edit.read(at.at, at.len);
    let Some(mut desc) = GroupDesc::parse(&bytes) else {
        return;
    };
    // Where it was never written, what is there is not read.
    let unused = match place.kind {
        Kind::BlockBitmap => GroupFlags::BLOCK_UNINIT,
        _ => GroupFlags::INODE_UNINIT,
    };
    if desc.flags.has(unused) {
        return;
    }
    let bitmap = edit.read(place.at, place.len);
    let wide = layout.desc_size() >= 64;
    let clear = count_clear(&bitmap);
    let sum = |bits| {
        layout
            .csum_seed()
            .map(|seed| Sum::new(seed, bits, wide).of(&bitmap))
    };
    if place.kind == Kind::BlockBitmap {
        desc.block_bitmap_csum = sum(layout.blocks_per_group()).unwrap_or(desc.block_bitmap_csum);
        if counts {
            desc.free_blocks = clear;
        }
    } else {
        desc.inode_bitmap_csum = sum(layout.inodes_per_group()).unwrap_or(desc.inode_bitmap_csum);
        if counts {
            desc.free_inodes = clear;
        }
    }
    desc.store(&desc_csum(survey), group, &mut bytes);
    edit.write(at.at, &bytes);
}

/// Blocks of the journal have a checksum where its super block says so (jbd2: checksum version 2 and 3).
fn seal_journal(survey: &Survey<'_>, edit: &Edit<'_>, place: &Place, bytes: &mut [u8]) {
    const CSUM_V2_V3: u64 = 0x8 | 0x10;
    let Some(head) = survey
        .by_kind
        .get(&Kind::JournalSuper)
        .and_then(|supers| survey.places.get(*supers.first()?))
    else {
        return;
    };
    if edit.get_be(head.at + 0x28, 4) & CSUM_V2_V3 == 0 {
        return;
    }
    let (at, seed, len) = match place.kind {
        Kind::JournalSuper => (0xfc, !0, 1024),
        kind => {
            let seed = crc32c(!0, &edit.read(head.at + 0x30, 16));
            let at = match kind {
                Kind::JournalCommit => 16,
                _ => bytes.len() - 4,
            };
            (at, seed, bytes.len())
        }
    };
    bytes[at..at + 4].fill(0);
    let sum = crc32c(seed, &bytes[..len]);
    bytes[at..at + 4].copy_from_slice(&sum.to_be_bytes());
}
