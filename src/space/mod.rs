// SPDX-License-Identifier: GPL-2.0

//! Which blocks and inodes are free, and who gets them.
//!
//! Tests: `tools/core/tests/space*.rs`, `qemu/test/t/{full-,reserve-,statfs-,discard,fstrim}*.sh`.
//!
//! | file | what is in it |
//! |---|---|
//! | `groups` | what memory knows of each group; the locks |
//! | `index` | the free blocks of one group, in memory |
//! | `zone` | the blocks that hold the file system's own metadata |
//! | `counters` | free blocks of all groups, reservations |
//! | `choose` | the choice of blocks, in memory only |
//! | `mark` | bitmaps and descriptors on the device |
//! | `deferred` | freed blocks that wait for a commit |
//! | `trim` | the device is told of free blocks |
//! | `state` | what there is in each group |
//! | `usage` | what the blocks of the device are for |
//! | `inodes`, `spread` | allocation of inodes, and the choice of a group for them |
//!
//! # The life of a block
//!
//! *free* -> [`Space::choose`] -> *chosen*: used in memory, free on the device, lost by a crash without trace
//! -> [`Space::mark_used`], in the transaction that maps it -> *used* -> [`Space::free`], in the transaction
//! that unmaps it -> *pending*: free on the device, used in memory -> [`Space::committed`] -> *free*.
//!
//! A block can be promised before it is chosen: [`Space::reserve`].
//!
//! # Locks
//!
//! See `groups` and `deferred`. Disk lock of a group (mutex) -> its index lock (spinning) or a byte lock (spinning).
//! The list of deferred blocks (mutex) is taken alone. The trim lock (mutex) -> an index lock, see `trim`. No function
//! keeps a lock when it returns.

mod choose;
mod counters;
mod deferred;
mod groups;
mod index;
mod inodes;
mod mark;
mod spread;
mod state;
mod trim;
mod usage;
mod zone;

use crate::disk::bitmap_sum::{Powers, Sum};
use crate::disk::group_desc::{DescCsum, GroupDesc, GroupDescFormat, GroupFlags};
use crate::disk::{Flaw, Group, Layout, PhysBlock};
use crate::store::{About, Block, Credits, Store, Transaction};
use counters::Counters;
use deferred::Deferred;
use groups::{GroupInfo, Groups};
use index::Span;
use kernel::alloc::{flags::GFP_KERNEL, KVVec};
use kernel::error::Result;
use kernel::sync::atomic::{Atomic, Relaxed};
use kernel::sync::MutexGuard;
use trim::Trimming;
use zone::{BlockRange, Zone};

pub use state::{GroupState, RUN_CLASSES};
pub use trim::Trimmer;
pub use usage::{Purpose, Usage};

/// Contiguous blocks of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first one.
    pub start: PhysBlock,
    /// How many.
    pub len: u32,
}

impl Run {
    /// The block behind the last one.
    pub fn end(&self) -> PhysBlock {
        PhysBlock::new(self.start.get().saturating_add(u64::from(self.len)))
    }

    /// This run and `next` as one, if `next` begins where this one ends.
    fn join(self, next: Self) -> Option<Self> {
        let len = self.len.checked_add(next.len)?;
        (self.end() == next.start).then_some(Self {
            start: self.start,
            len,
        })
    }
}

/// Where blocks are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// The best block, as a rule the one behind the blocks that come before in the file.
    pub near: Option<PhysBlock>,
    /// The group to begin in without such a block: that of the inode.
    pub group: Group,
    /// The file is being appended to and will want more.
    pub stream: bool,
}

impl Goal {
    /// Anywhere, as near to the beginning of `group` as may be. What else there is to wish for is named besides.
    #[inline]
    pub fn in_group(group: Group) -> Self {
        Self {
            near: None,
            group,
            stream: false,
        }
    }
}

/// How much of the free space may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// What anybody may take.
    Common,
    /// Also the blocks that the super block reserves ([`Layout::reserved_blocks`]), for the users that it names.
    Reserve,
    /// Also the blocks that are kept back ([`Layout::kept_blocks`]), for what must not fail any more: data that was
    /// accepted, and the nodes that a removal needs.
    All,
}

/// What a choice is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Blocks that the caller has reserved.
    Reserved,
    /// Free blocks, as many as this share allows.
    Free(Share),
}

/// Numbers of the whole file system, not exact while it is being changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Blocks that nobody uses, has chosen or reserved, with those that become free by the next commit. As the other
    /// counts of blocks it counts clusters where there are such ([`Layout::cluster_bits`]).
    pub free_blocks: u64,
    /// Free blocks as the bitmaps on the device have it: for the super block.
    pub free_blocks_on_disk: u64,
    /// Free inodes.
    pub free_inodes: u64,
    /// Directories.
    pub dirs: u64,
}

/// Where the blocks are that are not in use on the device, in blocks as [`Counts`] has them. Not exact while they
/// change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FreeBlocks {
    /// Nobody uses, has chosen or reserved them.
    pub free: u64,
    /// Reserved, and not chosen.
    pub reserved: u64,
    /// Chosen, and not marked as used on the device.
    pub chosen: u64,
    /// Freed by a transaction that has not committed.
    pub pending: u64,
}

/// Free space of a volume.
pub struct Space<S: Store> {
    layout: Layout,
    /// The group descriptor table, which stays in memory.
    gdt: KVVec<Block<S, GroupDescFormat>>,
    groups: Groups,
    zone: Zone,
    counters: Counters,
    deferred: Deferred,
    trimming: Trimming,
    desc_csum: DescCsum,
    block_sum: Option<Sum>,
    inode_sum: Option<Sum>,
    powers: Powers,
    /// Streams that were begun so far.
    streams: Atomic<u32>,
    /// Directories that were spread so far.
    spread: Atomic<u32>,
}

impl<S: Store> Space<S> {
    /// Reads and checks the group descriptors.
    ///
    /// # Errors
    ///
    /// `EUCLEAN`, reported, where a checksum is wrong, a count is more than the group has, or a piece of
    /// metadata lies outside its bounds or overlaps another; `EIO`, `ENOMEM`.
    pub fn load(store: &S, layout: &Layout) -> Result<Self> {
        let desc_csum = match layout.csum_seed() {
            Some(seed) => DescCsum::Crc32c(seed),
            None if layout.has_gdt_csum() => DescCsum::Crc16(*layout.uuid()),
            None => DescCsum::None,
        };
        let wide = layout.desc_size() >= 64;
        let sum = |bits| layout.csum_seed().map(|seed| Sum::new(seed, bits, wide));

        let mut gdt = KVVec::with_capacity(layout.gdt_blocks() as usize, GFP_KERNEL)?;
        let mut info = KVVec::with_capacity(layout.groups() as usize, GFP_KERNEL)?;
        let pieces = (layout.groups() as usize).saturating_mul(4);
        let mut zone = zone::Builder::new(pieces)?;
        let (mut free_blocks, mut free_inodes, mut dirs) = (0_u64, 0_u64, 0_u64);

        store.readahead(layout.gdt_block(0), layout.gdt_blocks());
        let per_block = layout.descs_per_block();
        for nr in 0..layout.gdt_blocks() {
            let first = nr.saturating_mul(per_block);
            let format = GroupDescFormat {
                csum: desc_csum,
                size: layout.desc_size().into(),
                first: Group::new(first),
                count: layout.groups().saturating_sub(first).min(per_block),
            };
            let block = store.read(layout.gdt_block(nr), format)?;
            for n in 0..format.count {
                let group = Group::new(first.saturating_add(n));
                let desc = block.with(|bytes| format.slot(n, bytes).and_then(GroupDesc::parse));
                let desc =
                    desc.ok_or_else(|| store.bug(group, "a group descriptor is not in its block"))?;
                if let Some(flaw) = check_desc(layout, group, &desc) {
                    let about = About {
                        group: Some(group),
                        ..About::block(block.nr(), &format)
                    };
                    return Err(store.flawed(about, flaw));
                }
                let base = layout
                    .base_meta_blocks(group)
                    .min(layout.blocks_in_group(group));
                zone.add(BlockRange::new(layout.group_first_block(group), base))?;
                zone.add(BlockRange::new(desc.block_bitmap, 1))?;
                zone.add(BlockRange::new(desc.inode_bitmap, 1))?;
                zone.add(BlockRange::new(
                    desc.inode_table,
                    layout.inode_table_blocks(),
                ))?;
                free_blocks = free_blocks.saturating_add(desc.free_blocks.into());
                free_inodes = free_inodes.saturating_add(desc.free_inodes.into());
                dirs = dirs.saturating_add(desc.used_dirs.into());
                info.push_within_capacity(GroupInfo::new(&desc))?;
            }
            gdt.push_within_capacity(block)?;
        }
        let zone = zone.build()?.map_err(|block| {
            let shared = Flaw::GroupShared { block: block.get() };
            store.flawed(About::NONE, shared)
        })?;
        let bits = match layout.csum_seed() {
            Some(_) => layout.clusters_per_group().max(layout.inodes_per_group()),
            None => 0,
        };
        Ok(Self {
            layout: layout.clone(),
            gdt,
            groups: Groups::new(info)?,
            zone,
            counters: Counters::new(layout, free_blocks, free_inodes, dirs),
            deferred: Deferred::new()?,
            trimming: Trimming::new()?,
            desc_csum,
            block_sum: sum(layout.clusters_per_group()),
            inode_sum: sum(layout.inodes_per_group()),
            powers: Powers::new(bits)?,
            streams: Atomic::new(0),
            spread: Atomic::new(0),
        })
    }

    /// Whether one of the blocks holds metadata of the file system itself (super block, group descriptors,
    /// bitmaps, inode tables, what was added by [`Space::add_system`]), so that no inode may map it. Takes no
    /// lock.
    pub fn is_system(&self, start: PhysBlock, len: u32) -> bool {
        self.zone.overlaps(BlockRange::new(start, len))
    }

    /// Adds blocks to those that no inode may map: the journal's, at mount.
    ///
    /// # Errors
    ///
    /// `EUCLEAN`, reported, where one of them is there already; `ENOMEM`.
    pub fn add_system(&mut self, store: &S, start: PhysBlock, len: u32) -> Result {
        if self.zone.insert(BlockRange::new(start, len))? {
            return Ok(());
        }
        let block = start.get();
        Err(store.flawed(About::NONE, Flaw::JournalOverSystem { block, len }))
    }

    /// Where the inode table of a group begins. Takes no lock.
    pub fn inode_table(&self, group: Group) -> Option<PhysBlock> {
        self.groups.get(group).map(|info| info.inode_table)
    }

    /// Numbers for `statfs` and for the super block.
    pub fn counts(&self) -> Counts {
        let number = |n: i64| u64::try_from(n).unwrap_or(0);
        Counts {
            free_blocks: self
                .counters
                .available()
                .saturating_add(self.counters.pending()),
            free_blocks_on_disk: self.counters.on_disk(),
            free_inodes: number(self.counters.free_inodes.load(Relaxed)),
            dirs: number(self.counters.dirs.load(Relaxed)),
        }
    }

    /// Where the blocks are that are not in use. Looks at every group.
    pub fn free_blocks(&self) -> FreeBlocks {
        let free = self.counters.available();
        let mut unused = 0_u64;
        let mut chosen = 0_u64;
        for group in (0..self.groups.count()).map(Group::new) {
            let found = self.groups.with_index(group, |info, slot| {
                (info.free(), slot.as_ref().map_or(0, |index| index.chosen))
            });
            if let Some((free, taken)) = found {
                unused = unused.saturating_add(free.into());
                chosen = chosen.saturating_add(taken.into());
            }
        }
        FreeBlocks {
            free,
            reserved: unused.saturating_sub(free),
            chosen,
            pending: self.counters.pending(),
        }
    }

    /// Groups whose free blocks are known in memory, for the shrinker: each has a bit for each of its blocks.
    pub fn cached(&self) -> u32 {
        self.groups.loaded()
    }

    /// Forgets the free blocks of up to `nr` groups, which are read again when they are needed. Gives how
    /// many these were. Never sleeps.
    pub fn shrink(&self, nr: u32) -> u32 {
        self.groups.shrink(nr)
    }

    /// Blocks that become free when the running transaction commits: after `ENOSPC`, whether it is worth to
    /// wait for that.
    pub fn pending_free(&self) -> u64 {
        self.counters.pending()
    }

    /// Promises `data` and `meta` blocks to the caller, who later chooses them with [`Claim::Reserved`] or
    /// gives them back. Never sleeps.
    ///
    /// # Errors
    ///
    /// `ENOSPC` where `share` does not have so many.
    pub fn reserve(&self, data: u32, meta: u32, share: Share) -> Result {
        self.counters
            .reserve(u64::from(data).saturating_add(meta.into()), share)
    }

    /// Free blocks that not everybody may take: those that the super block reserves, and those that are kept back.
    pub fn set_aside(&self) -> u64 {
        self.counters.set_aside()
    }

    /// The super block reserves so many blocks now, at most as many as there are: `tune2fs` may have changed that.
    pub fn set_reserved(&self, blocks: u64) {
        self.counters
            .set_reserved(blocks.min(self.layout.blocks_count()));
    }

    /// Gives back what was reserved and not chosen. Never fails or sleeps.
    pub fn unreserve(&self, data: u32, meta: u32) {
        self.counters
            .unreserve(u64::from(data).saturating_add(meta.into()));
    }

    /// Blocks that change when `run` is marked as used or freed.
    pub fn credits_run(&self, run: Run) -> Credits {
        let per_block = self.layout.descs_per_block().max(1);
        let table_block = |group: Group| group.get().checked_div(per_block);
        let (mut credits, mut last) = (0_u32, None);
        for (group, _) in self.parts(run) {
            let table = table_block(group);
            credits = credits.saturating_add(if table == last { 1 } else { 2 });
            last = table;
        }
        Credits::blocks(credits)
    }

    /// Blocks that change when `runs`, which are in the order of their places, are marked as used or freed.
    pub fn credits_runs(&self, runs: &[Run]) -> Credits {
        let per_block = self.layout.descs_per_block().max(1);
        let (mut groups, mut tables) = (0_u32, 0_u32);
        let (mut last, mut last_table) = (None, None);
        for (group, _) in runs.iter().flat_map(|run| self.parts(*run)) {
            let table = group.get().checked_div(per_block);
            groups = groups.saturating_add(u32::from(last != Some(group)));
            tables = tables.saturating_add(u32::from(last_table != Some(table)));
            (last, last_table) = (Some(group), Some(table));
        }
        Credits::blocks(groups.saturating_add(tables))
    }

    /// How many blocks of `run` are in the group that it begins in.
    pub fn in_one_group(&self, run: Run) -> u32 {
        self.parts(run).next().map_or(0, |(_, span)| span.len)
    }

    /// Blocks that change at most when `runs` runs that [`Space::choose`] gave are marked as used.
    pub fn credits_mark_used(&self, runs: u32) -> Credits {
        let bitmaps = runs.min(self.layout.groups());
        Credits::blocks(bitmaps.saturating_add(runs.min(self.layout.gdt_blocks())))
    }

    /// Blocks that change at most when `blocks` contiguous blocks are freed.
    pub fn credits_free(&self, blocks: u32) -> Credits {
        // Of n things in a row that begin anywhere, how many pieces of a size are touched.
        let pieces = |n: u32, size: u32| match n.checked_sub(2) {
            Some(rest) => rest.checked_div(size).unwrap_or(rest).saturating_add(2),
            None => n,
        };
        let groups = pieces(blocks, self.layout.blocks_per_group()).min(self.layout.groups());
        let tables = pieces(groups, self.layout.descs_per_block()).min(self.layout.gdt_blocks());
        Credits::blocks(groups.saturating_add(tables))
    }

    /// Blocks that change at most when an inode is allocated: its bitmap, the descriptor, the block of the
    /// table if that is new, and the block bitmap if that is.
    pub fn credits_alloc_inode(&self) -> Credits {
        Credits::blocks(4)
    }

    /// Blocks that change when an inode is freed: its bitmap and the descriptor.
    pub fn credits_free_inode(&self) -> Credits {
        Credits::blocks(2)
    }

    /// Groups of a flex group; one where there are none.
    fn flex_groups(&self) -> u32 {
        1_u32.checked_shl(self.layout.flex_bits()).unwrap_or(1)
    }

    /// The parts of a run in the groups that it touches, as far as the file system has it.
    fn parts(&self, run: Run) -> impl Iterator<Item = (Group, Span)> + '_ {
        let (mut at, mut left) = (run.start, run.len);
        core::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let (group, start) = self.layout.group_of(at)?;
            let len = self
                .layout
                .blocks_in_group(group)
                .checked_sub(start)?
                .min(left);
            left = left.checked_sub(len)?;
            at = at.checked_add(len.into())?;
            Some((group, Span { start, len }))
        })
    }

    /// `EUCLEAN`, reported, for a run that the file system does not have.
    #[track_caller]
    fn check_run(&self, store: &S, run: Run) -> Result {
        if run.len > 0 && self.layout.contains(run.start, run.len) {
            return Ok(());
        }
        let (block, len) = (run.start.get(), run.len);
        Err(store.flawed(About::NONE, Flaw::BlockOutside { block, len }))
    }

    /// The metadata in a group.
    fn zone_of(&self, group: Group) -> impl Iterator<Item = Span> + '_ {
        let first = self.layout.group_first_block(group);
        let range = BlockRange::new(first, self.layout.blocks_in_group(group));
        self.zone.parts(range).filter_map(move |part| {
            Some(Span {
                start: u32::try_from(part.start.checked_sub(first.get())?).ok()?,
                len: u32::try_from(part.end.checked_sub(part.start)?).ok()?,
            })
        })
    }

    /// Whether the descriptor has a flag for something that was never written; without checksums there are no
    /// such flags.
    fn uninit(&self, desc: &GroupDesc, flag: GroupFlags) -> bool {
        self.desc_csum.is_some() && desc.flags.has(flag)
    }

    /// The block of the descriptor table with a group's descriptor, and the index of that.
    fn desc_slot(&self, group: Group) -> Option<(&Block<S, GroupDescFormat>, u32)> {
        let per_block = self.layout.descs_per_block();
        let nr = group.get().checked_div(per_block)?;
        let n = group.get().checked_rem(per_block)?;
        Some((self.gdt.get(nr as usize)?, n))
    }

    /// Takes a group's disk lock.
    fn lock_disk(&self, store: &S, group: Group) -> Result<MutexGuard<'_, ()>> {
        match self.groups.disk_lock(group) {
            Some(lock) => Ok(lock.lock()),
            None => Err(store.bug(group, "a group has no disk lock")),
        }
    }

    /// A group's descriptor as it is now; it changes under the group's disk lock.
    fn desc(&self, store: &S, group: Group) -> Result<GroupDesc> {
        self.desc_slot(group)
            .and_then(|(block, n)| {
                block.with(|bytes| block.format().slot(n, bytes).and_then(GroupDesc::parse))
            })
            .ok_or_else(|| store.bug(group, "a group has no descriptor"))
    }

    /// Writes a group's descriptor. Under the group's disk lock.
    fn write_desc(&self, store: &S, tx: &mut S::Tx<'_>, group: Group, desc: &GroupDesc) -> Result {
        let (block, n) = self
            .desc_slot(group)
            .ok_or_else(|| store.bug(group, "a group has no descriptor"))?;
        tx.edit(block, |bytes| {
            if let Some(slot) = block.format().slot_mut(n, bytes) {
                desc.store(&self.desc_csum, group, slot);
            }
        })
    }

    /// Nothing more is allocated from the group.
    fn spoil(&self, group: Group) {
        self.counters.lost(self.groups.spoil(group));
    }
}

/// What is wrong with a descriptor whose checksum is right.
fn check_desc(layout: &Layout, group: Group, desc: &GroupDesc) -> Option<Flaw> {
    let table = layout.inode_table_blocks();
    // Without flex groups all lies in the group itself.
    let within = |start: PhysBlock, len: u32| {
        layout.contains(start, len)
            && (layout.flex_bits() > 0
                || layout.group_of(start).is_some_and(|(at, bit)| {
                    at == group && bit.saturating_add(len) <= layout.blocks_in_group(group)
                }))
    };
    let inodes = layout.inodes_per_group();
    if !within(desc.block_bitmap, 1) {
        let block = desc.block_bitmap.get();
        Some(Flaw::GroupBlockBitmap { block })
    } else if !within(desc.inode_bitmap, 1) {
        let block = desc.inode_bitmap.get();
        Some(Flaw::GroupInodeBitmap { block })
    } else if !within(desc.inode_table, table) {
        let block = desc.inode_table.get();
        Some(Flaw::GroupInodeTable { block })
    } else if desc.free_blocks > layout.blocks_in_group(group) {
        let count = desc.free_blocks;
        Some(Flaw::GroupFreeBlocks { count })
    } else if desc.free_inodes > inodes {
        let count = desc.free_inodes;
        Some(Flaw::GroupFreeInodes { count })
    } else if desc.itable_unused > inodes {
        let count = desc.itable_unused;
        Some(Flaw::GroupUnusedInodes { count })
    } else if desc.used_dirs > inodes.saturating_sub(desc.free_inodes) {
        let count = desc.used_dirs;
        Some(Flaw::GroupDirs { count })
    } else {
        None
    }
}
