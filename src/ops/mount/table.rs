// SPDX-License-Identifier: GPL-2.0

//! The filesystem type: mount, remount, unmount, `statfs`.
//!
//! What a mounted file system is below the VFS is in [`super::state`]; here that meets the VFS.

use super::attributes::{ATTRIBUTES, FEATURES};
use super::errors;
use super::figures::FIGURES;
use super::options::{self, Dax, Options, Switch, PARAMETERS};
use super::quota;
use super::state::{self, Mounted};
use crate::change::{self, label, recover, Live};
use crate::disk::inode::{DiskTime, InodeFlags};
use crate::disk::superblock::SUPER_MAGIC;
use crate::disk::{Flaw, Ino, Layout};
use crate::linux::buffer::BufferCache;
use crate::linux::debugfs::Figure;
use crate::linux::fs::{FileSystem, Flags, Wait};
use crate::linux::fs_context::{FsContext, Parameter, Value};
use crate::linux::inode::{GroupOf, InodeRef};
use crate::linux::iomap::ioend::Batch;
use crate::linux::printk::{self, Level};
use crate::linux::quota::Change;
use crate::linux::statfs::{Blocks, StatFs};
use crate::linux::super_block::{self, Limits, Locked};
use crate::linux::sysfs::{Attribute, Feature};
use crate::linux::time::Timestamp;
use crate::map::evictable_total;
use crate::names::Params;
use crate::ops::file::{complete, resize};
use crate::ops::inode::{evict, read, write};
use crate::ops::{Fs, JournalStore, Node, SuperBlock};
use crate::store::Store;
use core::ops::ControlFlow;
use core::pin::Pin;
use kernel::fmt;
use kernel::prelude::*;
use kernel::seq_file::SeqFile;
use kernel::seq_print;
use kernel::sync::atomic::{Atomic, Relaxed};
use kernel::sync::{new_mutex, Mutex};

/// What a super block has of us.
pub(crate) struct Super {
    /// The file system below the VFS.
    pub(crate) mounted: Mounted,
    /// What the super block says about directories.
    pub(crate) params: Params,
    /// How it is mounted.
    options: Pin<KBox<Mutex<Options>>>,
    /// Those of them that are on or off and are on, for who does not wait: a bit for each.
    switches: Atomic<u32>,
    /// Which files have no page cache. That option does not change.
    dax: Dax,
    /// Whether the super block was told where it is mounted.
    pub(super) mount_point_noted: Atomic<bool>,
    /// How often space was made for somebody who found none.
    pub(crate) retries: Atomic<u64>,
}

impl Super {
    /// Which files have no page cache.
    pub(crate) fn dax(&self) -> Dax {
        self.dax
    }

    fn has(&self, switch: Switch) -> bool {
        Options::is_among(self.switches.load(Relaxed), switch)
    }

    /// `auto_da_alloc`
    pub(crate) fn writes_replacements_first(&self) -> bool {
        !self.has(Switch::NoAutoDaAlloc)
    }

    /// `user_xattr`
    pub(crate) fn has_user_attributes(&self) -> bool {
        self.has(Switch::UserAttributes)
    }

    /// `data_err=abort`
    pub(crate) fn stops_for_data(&self) -> bool {
        self.has(Switch::DataErrorsStop)
    }

    /// `grpid`
    pub(crate) fn group_of_new(&self) -> GroupOf {
        match self.has(Switch::GroupOfDirectory) {
            true => GroupOf::Directory,
            false => GroupOf::Task,
        }
    }
}

/// The longest name, in bytes.
const NAME_MAX: u32 = 255;

#[vtable]
impl FileSystem for Fs {
    const NAME: &'static CStr = c"iomapfs";
    const FLAGS: Flags = Flags::ALLOW_IDMAP.with(Flags::MGTIME);
    const PARAMETERS: &'static [Parameter] = &PARAMETERS;

    const FIGURES: &'static [Figure<Self>] = &FIGURES;
    const ATTRIBUTES: &'static [Attribute<Self>] = &ATTRIBUTES;
    const FEATURES: &'static [Feature] = &FEATURES;

    type Options = Options;
    type SuperData = Super;
    type INodeData = crate::ops::Data;

    fn options(remount: Option<&SuperBlock>) -> Result<Options> {
        Ok(match remount {
            Some(sb) => *sb.data().options.lock(),
            None => Options::default(),
        })
    }

    fn parse_parameter(
        context: &FsContext,
        options: &mut Options,
        number: u8,
        value: Value,
    ) -> Result {
        options::parse(context, options, number, value)
    }

    fn fill_super(
        sb: &super_block::New<'_, Self>,
        mut cache: BufferCache,
        context: &FsContext,
        mut options: Options,
    ) -> Result<Super> {
        options.read_only = context.read_only();
        let least = cache.device().logical_block_size().max(1024);
        sb.set_block_size(&mut cache, least)?;
        let refuse = |why: fmt::Arguments<'_>| {
            context.error_told(why);
            if let Ok(prefix) = errors::prefix(sb.id()) {
                printk::log(Level::Error, &prefix, fmt!("{why}\n"));
            }
        };
        let raw = state::probe(&cache, &options).inspect_err(|error| {
            let error = error.to_errno();
            refuse(fmt!("the super block could not be read: error {error}"));
        })?;
        let Some(raw) = raw else {
            // Somebody who tries every type of file system does not want to know.
            match context.is_silent() {
                true => context.error_told(fmt!("no ext4 file system found")),
                false => refuse(fmt!("no ext4 file system found")),
            }
            return Err(EINVAL);
        };
        let size = Layout::probe_block_size(&raw).map_err(|refusal| {
            refuse(fmt!("{refusal}"));
            refusal.error()
        })?;
        sb.set_block_size(&mut cache, size.bytes())
            .inspect_err(|_| {
                refuse(fmt!(
                    "blocks of {} bytes cannot be used with this device and kernel",
                    size.bytes()
                ));
            })?;
        options.complete(context, &raw)?;
        if options.dax == Dax::Always && !sb.can_dax() {
            refuse(fmt!(
                "dax: the device is no memory that files can use, or blocks are not as large as pages"
            ));
            return Err(EINVAL);
        }
        let mounted = Mounted::open(cache, sb.id(), sb.reporter().clone(), &raw, &options)?;
        let volume = &mounted.volume;
        let layout = &volume.layout;
        options.note_groups(layout.groups());
        tell_options(&mounted, None, &options);
        sb.set_uuid(layout.uuid());
        sb.set_name_by_device();
        sb.set_inode_versions();
        sb.set_cgroup_writeback();
        sb.set_hierarchical_storage();
        sb.set_handles();
        if layout.has_quota() {
            sb.set_quota();
        }
        sb.set_extended_attributes(options.has(Switch::Acls));
        sb.set_limits(&limits(layout));
        let params = Params::new(layout);
        let dax = options.dax;
        let switches = Atomic::new(options.switches());
        let options = KBox::pin_init(new_mutex!(options, "iomapfs_options"), GFP_KERNEL)?;
        Ok(Super {
            mounted,
            params,
            options,
            switches,
            dax,
            mount_point_noted: Atomic::new(false),
            retries: Atomic::new(0),
        })
    }

    fn root<'a>(locked: &Locked<'a, Self>, _context: &FsContext) -> Result<InodeRef<'a, Fs>> {
        let sb = locked.get();
        let data = sb.data();
        let store = &data.mounted.volume.store;
        let root = read::get(sb, Ino::ROOT).map_err(|error| match error {
            error if error == ESTALE => store.flawed(Ino::ROOT, Flaw::RootUnused),
            error if error == EOPNOTSUPP => {
                store.log(
                    Level::Error,
                    fmt!(
                        "the root directory has block lists or fs-verity, which are not supported"
                    ),
                );
                error
            }
            error => error,
        })?;
        if !root.is_directory() || root.size() == 0 {
            return Err(store.flawed(Ino::ROOT, Flaw::RootType));
        }
        let options = *data.options.lock();
        if !options.read_only {
            // What an orphan has is counted when it goes.
            quota::begin(locked, &options)?;
            finish_orphans(sb)?;
        }
        Ok(root)
    }

    fn reconfigure(sb: &Locked<'_, Self>, context: &FsContext, mut options: Options) -> Result {
        let data = sb.data();
        let old = *data.options.lock();
        options.read_only = match context.changes_read_only() {
            true => context.read_only(),
            false => sb.is_read_only(),
        };
        if options.read_only != sb.is_read_only()
            && data.mounted.volume.store.check_alive().is_err()
        {
            context.error(fmt!("the file system was shut down"));
            return Err(EROFS);
        }
        options.check_remount(context, &old)?;
        if options.read_only {
            let written = sb.write_out();
            // After an error has stopped writing, that is all that can be had.
            if !data.mounted.volume.store.errors().is_stopped() {
                written?;
            }
        }
        if options.read_only {
            sb.suspend_quota()?;
            data.mounted.make_read_only().inspect_err(|_| {
                // What fails here is reported.
                let _ = quota::begin(sb, &options);
            })?;
        } else if sb.is_read_only() {
            data.mounted.make_writable()?;
            quota::begin(sb, &options)
                .and_then(|()| finish_orphans(sb))
                .inspect_err(|_| {
                    // To the VFS it still is. What fails here is reported, and left for a replay.
                    let _ = sb.suspend_quota();
                    let _ = data.mounted.make_read_only();
                })?;
        } else {
            quota::begin(sb, &options)?;
        }
        sb.set_acls(options.has(Switch::Acls));
        data.mounted.set_options(&options);
        tell_options(&data.mounted, Some(&old), &options);
        data.switches.store(options.switches(), Relaxed);
        *data.options.lock() = options;
        if options.has(Switch::Abort) {
            data.mounted.volume.store.abort();
        }
        Ok(())
    }

    fn put_super(sb: &SuperBlock) {
        sb.data().mounted.finish();
    }

    fn sync_fs(sb: &SuperBlock, wait: Wait) -> Result {
        sb.data().mounted.sync(wait == Wait::Yes)
    }

    fn freeze_fs(sb: &SuperBlock) -> Result {
        sb.data().mounted.freeze()
    }

    fn unfreeze_fs(sb: &SuperBlock) -> Result {
        sb.data().mounted.thaw()
    }

    fn cached_objects(sb: &SuperBlock) -> usize {
        let groups = sb.data().mounted.volume.space.cached() as usize;
        // Pieces of all mounts; a mount that has fewer gives up fewer.
        evictable_total().saturating_add(groups)
    }

    fn free_cached_objects(sb: &SuperBlock, wanted: usize) -> usize {
        let mut freed = 0_usize;
        sb.for_each_inode_data(|data| {
            // Somebody who is at work on the map may be the one who needs the memory.
            if let Some(mut core) = data.try_map_lock() {
                freed = freed.saturating_add(core.map.shrink(wanted.saturating_sub(freed)));
            }
            if freed < wanted {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        let left = u32::try_from(wanted.saturating_sub(freed)).unwrap_or(u32::MAX);
        freed.saturating_add(sb.data().mounted.volume.space.shrink(left) as usize)
    }

    fn shutdown(sb: &SuperBlock) {
        let store = &sb.data().mounted.volume.store;
        store.shut_down(fmt!("the device is gone"));
    }

    #[inline]
    fn check_alive(inode: &Node) -> Result {
        inode.data().volume().store.check_alive()
    }

    fn check_going_on(inode: &Node) -> Result {
        inode.data().volume().store.errors().check()
    }

    fn statfs(sb: &SuperBlock, node: &Node, to: &mut StatFs) -> Result {
        let volume = &sb.data().mounted.volume;
        let layout = &volume.layout;
        volume.refresh_reserve();
        let counts = volume.space.counts();
        let free = counts.free_blocks.wrapping_shl(layout.cluster_bits());
        to.set_kind(SUPER_MAGIC.into(), NAME_MAX);
        to.set_blocks(&Blocks {
            size: layout.block_size().bytes(),
            total: layout
                .blocks_count()
                .saturating_sub(match sb.data().has(Switch::MinixDf) {
                    true => 0,
                    false => sb.data().mounted.overhead(),
                }),
            free,
            available: free.saturating_sub(volume.space.set_aside()),
        });
        to.set_inodes(layout.inodes_count().into(), counts.free_inodes);
        to.set_id(&label::uuid(volume)?);
        match node.flags().has(InodeFlags::PROJINHERIT) {
            true => sb.limit_to_project(node.project(), to),
            false => Ok(()),
        }
    }

    fn show_options(sb: &SuperBlock, to: &SeqFile) {
        let options = *sb.data().options.lock();
        options.show(to);
        // As ext4 shows it: an error has stopped all changes, while the mount is still read-write.
        let errors = sb.data().mounted.volume.store.errors();
        if errors.is_shut_down() {
            seq_print!(to, ",shutdown");
        } else if errors.is_stopped() {
            seq_print!(to, ",emergency_ro");
        }
        options.show_last(to);
    }

    fn times_changed(inode: &Node) {
        Live::note_new_times(inode, true);
    }

    fn dirty_inode(inode: &Node) {
        write::dirtied(inode);
    }

    fn write_inode(inode: &Node, wait: Wait) -> Result {
        write::write(inode, wait)
    }

    fn complete_writes(inode: &Node, batch: &mut Batch<'_>) {
        complete::complete_writes(inode, batch);
    }

    fn quota_change(sb: &SuperBlock, what: Change, f: &mut dyn FnMut() -> Result) -> Result {
        quota::change(sb, what, f)
    }

    fn quota_read(file: &Node, pos: u64, to: &mut [u8]) -> Result<usize> {
        change::quota::read(file, pos, to)
    }

    fn quota_write(file: &Node, pos: u64, from: &[u8]) -> Result {
        quota::write(file, pos, from)
    }

    fn evict_inode(inode: &Node) {
        evict::evict(inode);
    }
}

/// Tells the log which options change nothing, and with `debug` what kind of volume it is.
fn tell_options(mounted: &Mounted, before: Option<&Options>, options: &Options) {
    let (store, layout) = (&mounted.volume.store, &mounted.volume.layout);
    options.explain(before, |line| store.log(Level::Info, line));
    if options.has(Switch::Debug) && !before.is_some_and(|before| before.has(Switch::Debug)) {
        store.log(
            Level::Info,
            fmt!(
                "{} blocks of {} bytes, {} groups of {} blocks and {} inodes",
                layout.blocks_count(),
                layout.block_size().bytes(),
                layout.groups(),
                layout.blocks_per_group(),
                layout.inodes_per_group(),
            ),
        );
    }
}

/// What the VFS has to know.
fn limits(layout: &Layout) -> Limits {
    let (granularity, last) = match layout.inode_size() {
        // There is no room for the bits beyond.
        ..=128 => (1_000_000_000, DiskTime::MAX_SEC_SMALL),
        _ => (1, DiskTime::MAX_SEC),
    };
    Limits {
        magic: SUPER_MAGIC.into(),
        max_bytes: i64::try_from(layout.max_file_size()).unwrap_or(i64::MAX),
        max_links: 0,
        time_granularity: granularity,
        time_min: Timestamp::from_seconds(DiskTime::MIN_SEC),
        time_max: Timestamp::from_seconds(last),
    }
}

/// How orphans come into memory.
struct Keeper<'a>(&'a SuperBlock);

impl<'a> recover::Keeper<JournalStore> for Keeper<'a> {
    type Live = Node;
    type Held = InodeRef<'a, Fs>;

    fn get(&mut self, ino: Ino) -> Result<InodeRef<'a, Fs>> {
        read::get_orphan(self.0, ino)
    }

    fn cut_off(&mut self, node: &Node) -> Result {
        let lock = node.lock();
        match node.is_regular() {
            true => resize::set_size(lock.borrow(), node.size()),
            false => Ok(()),
        }
    }

    fn put(&mut self, held: InodeRef<'a, Fs>) {
        drop(held);
    }
}

/// Deals with the orphans that a crash has left: those without links are freed, the others cut off at their size.
fn finish_orphans(sb: &SuperBlock) -> Result {
    let mounted = &sb.data().mounted;
    let volume = &mounted.volume;
    let store = &volume.store;
    let raw = volume.super_block.copy(store)?;
    let done = recover::recover(volume, &mounted.orphans, &raw, &mut Keeper(sb))?;
    if done.freed != 0 {
        store.log(
            Level::Info,
            fmt!("{} deleted inodes were freed", done.freed),
        );
    }
    if done.cut != 0 {
        store.log(
            Level::Info,
            fmt!("{} inodes were cut off at their size", done.cut),
        );
    }
    Ok(())
}
