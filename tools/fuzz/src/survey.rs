// SPDX-License-Identifier: GPL-2.0

//! Where the structures of a good image are, so that each can be damaged by its own fields.
//!
//! What belongs to what is found with plain reads, not with the code under test, but for the geometry, descriptors
//! and inodes, which the format's own parsers read.

use crate::image::{Edit, Image};
use anyhow::{anyhow, Context, Result};
use iomapfs_core::disk::group_desc::GroupDesc;
use iomapfs_core::disk::inode::{DiskInode, InodeFlags};
use iomapfs_core::disk::superblock::{RawSuper, SUPER_OFFSET, SUPER_SIZE};
use iomapfs_core::disk::{FileType, Group, Ino, Layout, PhysBlock};
use std::collections::BTreeMap;
use zerocopy::FromBytes;

/// The kinds of structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Kind {
    Super,
    GroupDesc,
    BlockBitmap,
    InodeBitmap,
    Inode,
    ExtentNode,
    DirLeaf,
    DirRoot,
    DirNode,
    Xattr,
    Symlink,
    Orphan,
    Quota,
    JournalSuper,
    JournalDescriptor,
    JournalRevoke,
    JournalCommit,
}

/// One structure.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// What it is.
    pub kind: Kind,
    /// Where it begins, in bytes.
    pub at: u64,
    /// How long it is, in bytes.
    pub len: usize,
    /// The inode that it is or belongs to; zero for none.
    pub ino: u32,
    /// The group that it describes, or is described in.
    pub group: u32,
}

/// The structures of an image.
pub struct Survey<'i> {
    /// The image.
    pub image: &'i Image,
    /// Its geometry.
    pub layout: Layout,
    /// All structures.
    pub places: Vec<Place>,
    /// The structures of each kind, as places in `places`.
    pub by_kind: BTreeMap<Kind, Vec<usize>>,
    /// Inodes in use.
    pub inodes: Vec<u32>,
    /// Blocks that say something: metadata, and the first of each file's data.
    pub blocks: Vec<u64>,
}

const EXTENT_SLOT: usize = 12;

impl<'i> Survey<'i> {
    /// Looks for the structures of `image`.
    pub fn new(image: &'i Image) -> Result<Self> {
        let edit = Edit::new(image);
        let raw = edit.read(SUPER_OFFSET, SUPER_SIZE);
        let raw = RawSuper::read_from_bytes(&raw).map_err(|_| anyhow!("no super block"))?;
        let layout = Layout::probe_block_size(&raw)
            .and_then(|size| Layout::new(&raw, image.size() >> size.bits(), true))
            .map_err(|refusal| anyhow!("{}: {refusal}", image.name()))?;
        let mut survey = Self {
            image,
            layout,
            places: Vec::new(),
            by_kind: BTreeMap::new(),
            inodes: Vec::new(),
            blocks: Vec::new(),
        };
        survey.add(Kind::Super, SUPER_OFFSET, SUPER_SIZE, 0, 0);
        for group in 0..survey.layout.groups() {
            survey
                .group(&edit, group)
                .with_context(|| format!("{}: group {group}", image.name()))?;
        }
        survey.blocks.sort_unstable();
        survey.blocks.dedup();
        for (i, place) in survey.places.iter().enumerate() {
            survey.by_kind.entry(place.kind).or_default().push(i);
        }
        Ok(survey)
    }

    /// The structures that an inode is and has.
    pub fn of_inode(&self, ino: u32) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(move |p| p.ino == ino)
    }

    /// The inode's own structure.
    pub fn inode(&self, ino: u32) -> Option<&Place> {
        self.of_inode(ino).find(|p| p.kind == Kind::Inode)
    }

    /// The descriptor of a group.
    pub fn desc(&self, group: u32) -> Option<&Place> {
        let descs = self.by_kind.get(&Kind::GroupDesc)?;
        self.places.get(*descs.get(group as usize)?)
    }

    fn block_size(&self) -> usize {
        self.layout.block_size().bytes() as usize
    }

    fn add(&mut self, kind: Kind, at: u64, len: usize, ino: u32, group: u32) {
        self.places.push(Place {
            kind,
            at,
            len,
            ino,
            group,
        });
    }

    fn add_block(&mut self, kind: Kind, nr: u64, ino: u32, group: u32) {
        let size = self.block_size();
        self.add(kind, nr * size as u64, size, ino, group);
        self.blocks.push(nr);
    }

    fn group(&mut self, edit: &Edit<'_>, group: u32) -> Result<()> {
        let size = self.block_size() as u64;
        let (nr, offset) = self.layout.desc_location(Group::new(group));
        let at = nr.get() * size + offset as u64;
        let len = usize::from(self.layout.desc_size());
        let desc = GroupDesc::parse(&edit.read(at, len)).context("no descriptor")?;
        self.add(Kind::GroupDesc, at, len, 0, group);
        self.blocks.push(nr.get());
        self.add_block(Kind::BlockBitmap, desc.block_bitmap.get(), 0, group);
        self.add_block(Kind::InodeBitmap, desc.inode_bitmap.get(), 0, group);
        for index in 0..self.layout.inodes_per_group() {
            let Some(ino) = self.layout.ino_of(Group::new(group), index) else {
                break;
            };
            let slot = self.layout.inode_slot(ino).context("no such inode")?;
            let block = desc.inode_table.get() + u64::from(slot.block);
            let at = block * size + slot.offset as u64;
            let bytes = edit.read(at, self.layout.inode_size().into());
            // What is in use is told by the mode; the reserved ones without are of no interest.
            if bytes[..2] == [0; 2] {
                continue;
            }
            self.add(Kind::Inode, at, bytes.len(), ino.get(), group);
            self.blocks.push(block);
            self.inodes.push(ino.get());
            self.content(edit, ino, &bytes)
                .with_context(|| format!("inode {}", ino.get()))?;
        }
        Ok(())
    }

    /// What an inode has.
    fn content(&mut self, edit: &Edit<'_>, ino: Ino, bytes: &[u8]) -> Result<()> {
        let inode =
            DiskInode::decode(&self.layout, ino, bytes).map_err(|flaw| anyhow!("{flaw}"))?;
        if let Some(block) = inode.file_acl {
            self.add_block(Kind::Xattr, block.get(), ino.get(), 0);
        }
        let kind = FileType::from_mode(inode.mode);
        let mapped = matches!(kind, Some(FileType::Directory | FileType::Regular))
            || kind == Some(FileType::Symlink) && inode.size >= 60;
        if !mapped || !inode.flags.has(InodeFlags::EXTENTS) {
            return Ok(());
        }
        let mut data = Vec::new();
        self.extents(edit, ino.get(), &inode.block, &mut data);
        self.blocks.extend(data.first());
        if Some(ino) == self.layout.journal_ino() {
            self.journal(edit, &data);
            return Ok(());
        }
        for (i, block) in data.iter().enumerate() {
            let at = block * self.block_size() as u64;
            let kind = match kind {
                Some(FileType::Directory) if !inode.flags.has(InodeFlags::INDEX) => Kind::DirLeaf,
                Some(FileType::Directory) if i == 0 => Kind::DirRoot,
                // A node begins with one free record as long as the block.
                Some(FileType::Directory)
                    if edit.get(at, 4) == 0 && edit.get(at + 4, 2) == self.block_size() as u64 =>
                {
                    Kind::DirNode
                }
                Some(FileType::Directory) => Kind::DirLeaf,
                Some(FileType::Symlink) => Kind::Symlink,
                _ if Some(ino) == self.layout.orphan_file_ino() => Kind::Orphan,
                _ if self.layout.quota_inodes().contains(&ino.get()) => Kind::Quota,
                _ => continue,
            };
            self.add_block(kind, *block, ino.get(), 0);
        }
        Ok(())
    }

    /// The nodes below `node`, and the blocks that it maps, in their order.
    fn extents(&mut self, edit: &Edit<'_>, ino: u32, node: &[u8], data: &mut Vec<u64>) {
        let u16_at = |at: usize| u16::from_le_bytes([node[at], node[at + 1]]);
        let u32_at = |at| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        for slot in (1..=usize::from(u16_at(2))).map(|i| i * EXTENT_SLOT) {
            if u16_at(6) == 0 {
                let start = u64::from(u32_at(slot + 8)) | u64::from(u16_at(slot + 6)) << 32;
                let len = match u16_at(slot + 4) {
                    len @ ..=32768 => len,
                    len => len - 32768,
                };
                data.extend(start..start + u64::from(len));
            } else {
                let child = u64::from(u32_at(slot + 4)) | u64::from(u16_at(slot + 8)) << 32;
                self.add_block(Kind::ExtentNode, child, ino, 0);
                let size = self.block_size();
                let bytes = edit.read(child * size as u64, size);
                self.extents(edit, ino, &bytes, data);
            }
        }
    }

    /// The blocks of the journal that hold something.
    fn journal(&mut self, edit: &Edit<'_>, data: &[u64]) {
        const MAGIC: u64 = 0xc03b_3998;
        let ino = self.layout.journal_ino().map_or(0, Ino::get);
        for block in data {
            let at = block * self.block_size() as u64;
            if edit.get_be(at, 4) != MAGIC {
                continue;
            }
            let kind = match edit.get_be(at + 4, 4) {
                1 => Kind::JournalDescriptor,
                2 => Kind::JournalCommit,
                3 | 4 => Kind::JournalSuper,
                5 => Kind::JournalRevoke,
                _ => continue,
            };
            self.add_block(kind, *block, ino, 0);
        }
    }

    /// The block that a place begins in.
    pub fn block_of(&self, place: &Place) -> PhysBlock {
        PhysBlock::new(place.at >> self.layout.block_size().bits())
    }
}
