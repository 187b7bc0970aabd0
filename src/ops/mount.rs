// SPDX-License-Identifier: GPL-2.0

//! The filesystem type: options, mount, remount, unmount, `statfs`.
//!
//! What a mounted file system is below the VFS is in [`super::mounted`]; here that meets the VFS.

use super::mounted::{self, Mounted, Options};
use super::{complete, errors, inode, superblock, truncate, JournalStore, Node, SuperBlock};
use crate::change::recover;
use crate::disk::inode::Time as DiskTime;
use crate::disk::superblock::{ErrorPolicy, SUPER_MAGIC};
use crate::disk::{Ino, Layout};
use crate::linux::file::File;
use crate::linux::fs::{self, FileSystem, Wait};
use crate::linux::fs_context::{Constant, FsContext, Parameter, Value};
use crate::linux::inode::Kind;
use crate::linux::iomap::ioend::Batch;
use crate::linux::printk::{self, Level};
use crate::linux::statfs::{Blocks, StatFs};
use crate::linux::super_block::{self, Limits};
use crate::linux::time::Timestamp;
use crate::linux::workqueue::OwnedQueue;
use crate::map::evictable_total;
use crate::names::Params;
use crate::store::Store;
use core::ops::ControlFlow;
use core::pin::Pin;
use kernel::fmt;
use kernel::prelude::*;
use kernel::seq_file::SeqFile;
use kernel::seq_print;
use kernel::sync::aref::ARef;
use kernel::sync::atomic::{Atomic, Relaxed};
use kernel::sync::{new_mutex, Arc, Mutex};
use kernel::workqueue::Queue;

/// The filesystem type.
pub(crate) struct Fs;

/// What a super block has of us.
pub(crate) struct Super {
    /// The file system below the VFS.
    pub(crate) mounted: Mounted,
    /// What the super block says about directories.
    pub(crate) params: Params,
    /// How it is mounted.
    options: Pin<KBox<Mutex<Options>>>,
    /// Where the completions of writeback run.
    pub(super) completions: OwnedQueue,
    /// Whether the super block was told where it is mounted.
    mount_point_noted: Atomic<bool>,
}

impl Super {
    /// `auto_da_alloc`.
    pub(super) fn writes_replacements_early(&self) -> bool {
        self.options.lock().auto_da_alloc
    }
}

const ERRORS: u8 = 1;
const COMMIT: u8 = 2;
const BARRIER: u8 = 3;
const BARRIER_IS: u8 = 4;
const DISCARD: u8 = 5;
const NOLOAD: u8 = 6;
const EMERGENCY_RO: u8 = 7;
const AUTO_DA_ALLOC: u8 = 8;
const AUTO_DA_ALLOC_IS: u8 = 9;

const ERRORS_CONTINUE: i32 = 1;
const ERRORS_READ_ONLY: i32 = 2;
const ERRORS_PANIC: i32 = 3;

static ERROR_POLICIES: [Constant; 4] = [
    Constant::new(c"continue", ERRORS_CONTINUE),
    Constant::new(c"remount-ro", ERRORS_READ_ONLY),
    Constant::new(c"panic", ERRORS_PANIC),
    Constant::END,
];

static PARAMETERS: [Parameter; 10] = [
    Parameter::one_of(c"errors", ERRORS, &ERROR_POLICIES),
    Parameter::u32(c"commit", COMMIT),
    Parameter::flag_no(c"barrier", BARRIER),
    Parameter::u32(c"barrier", BARRIER_IS),
    Parameter::flag_no(c"discard", DISCARD),
    Parameter::flag_no(c"auto_da_alloc", AUTO_DA_ALLOC),
    Parameter::u32(c"auto_da_alloc", AUTO_DA_ALLOC_IS),
    Parameter::flag(c"noload", NOLOAD),
    Parameter::flag(c"emergency_ro", EMERGENCY_RO),
    Parameter::END,
];

/// The longest time between commits, in seconds; what is beyond it cannot be meant.
const COMMIT_MAX: u32 = 3600;

/// The longest name, in bytes.
const NAME_MAX: u32 = 255;

#[vtable]
impl FileSystem for Fs {
    const NAME: &'static CStr = c"iomapfs";
    const FLAGS: i32 = fs::flags::REQUIRES_DEV | fs::flags::ALLOW_IDMAP | fs::flags::MGTIME;
    const PARAMETERS: &'static [Parameter] = &PARAMETERS;

    type Options = Options;
    type SuperData = Super;
    type INodeData = super::Data;

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
        match number {
            ERRORS => {
                options.errors = Some(match value.number as i32 {
                    ERRORS_CONTINUE => ErrorPolicy::Continue,
                    ERRORS_READ_ONLY => ErrorPolicy::ReadOnly,
                    ERRORS_PANIC => ErrorPolicy::Panic,
                    _ => return Err(EINVAL),
                });
            }
            COMMIT => {
                options.commit_interval = match value.number {
                    // As everywhere: the default.
                    0 => Options::default().commit_interval,
                    seconds @ ..=COMMIT_MAX => seconds,
                    seconds => {
                        context.error(fmt!("commit={seconds} is more than {COMMIT_MAX}"));
                        return Err(EINVAL);
                    }
                };
            }
            BARRIER => options.barrier = !value.negated,
            BARRIER_IS => options.barrier = value.number != 0,
            DISCARD => options.discard = !value.negated,
            AUTO_DA_ALLOC => options.auto_da_alloc = !value.negated,
            AUTO_DA_ALLOC_IS => options.auto_da_alloc = value.number != 0,
            NOLOAD => options.noload = true,
            // Only says what is. But mount(8) gives all that /proc/mounts shows back to a remount.
            EMERGENCY_RO => {}
            _ => return Err(EINVAL),
        }
        Ok(())
    }

    fn fill_super(
        sb: &super_block::New<'_, Self>,
        context: &FsContext,
        mut options: Options,
    ) -> Result<Arc<Super>> {
        options.read_only = context.read_only();
        sb.set_min_block_size(1024)?;
        let raw = mounted::probe(sb.block_device()?, sb.id(), context.is_silent())
            .inspect_err(|_| context.error_told(fmt!("no ext4 file system found")))?;
        let refuse = |why: fmt::Arguments<'_>| {
            context.error_told(why);
            if let Ok(prefix) = errors::prefix(sb.id()) {
                printk::log(Level::Error, &prefix, fmt!("{why}\n"));
            }
        };
        let size = Layout::probe_block_size(&raw).map_err(|refusal| {
            refuse(fmt!("{refusal}"));
            refusal.error()
        })?;
        sb.set_block_size(size.bytes()).inspect_err(|_| {
            refuse(fmt!(
                "blocks of {} bytes cannot be used with this device and kernel",
                size.bytes()
            ));
        })?;
        let mounted = Mounted::open(sb.block_device()?, sb.id(), &raw, &options)?;
        let volume = &mounted.volume;
        let layout = &volume.layout;
        sb.set_uuid(layout.uuid());
        sb.set_inode_versions();
        sb.set_cgroup_writeback();
        sb.set_limits(&limits(layout));
        let params = Params::new(layout);
        let options = KBox::pin_init(new_mutex!(options, "iomapfs_options"), GFP_KERNEL)?;
        let data = Super {
            mounted,
            params,
            options,
            completions: OwnedQueue::new(c"iomapfs-io", sb.id())?,
            mount_point_noted: Atomic::new(false),
        };
        Ok(Arc::new(data, GFP_KERNEL)?)
    }

    fn root(sb: &SuperBlock, _context: &FsContext) -> Result<ARef<Node>> {
        let data = sb.data();
        let store = &data.mounted.volume.store;
        let root = inode::get(sb, Ino::ROOT).map_err(|error| match error {
            error if error == ESTALE => {
                store.corrupt(Ino::ROOT, fmt!("the root inode is not in use"))
            }
            error if error == EOPNOTSUPP => {
                store.log(
                    Level::Error,
                    fmt!("the root directory is of a form that is not supported, as is that of block lists"),
                );
                error
            }
            error => error,
        })?;
        if !root.is_directory() || root.size() == 0 {
            return Err(store.corrupt(Ino::ROOT, fmt!("the root inode is no directory")));
        }
        if !data.options.lock().read_only {
            finish_orphans(sb)?;
        }
        Ok(root)
    }

    fn reconfigure(sb: &SuperBlock, context: &FsContext, mut options: Options) -> Result {
        let data = sb.data();
        let old = *data.options.lock();
        options.read_only = match context.changes_read_only() {
            true => context.read_only(),
            false => sb.is_read_only(),
        };
        if options.noload != old.noload {
            context.error(fmt!("noload cannot be changed by a remount"));
            return Err(EINVAL);
        }
        if options.read_only {
            let written = sb.write_out();
            // After an error has stopped writing, that is all that can be had.
            if !data.mounted.volume.store.errors().is_stopped() {
                written?;
            }
        }
        if options.read_only {
            data.mounted.make_read_only()?;
        } else if sb.is_read_only() {
            data.mounted.make_writable()?;
            finish_orphans(sb).inspect_err(|_| {
                // To the VFS it still is. What fails here is reported, and left for a replay.
                let _ = data.mounted.make_read_only();
            })?;
        }
        data.mounted.set_options(&options);
        *data.options.lock() = options;
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
        sb.data().mounted.volume.store.shut_down();
    }

    fn statfs(sb: &SuperBlock, to: &mut StatFs) -> Result {
        let volume = &sb.data().mounted.volume;
        let layout = &volume.layout;
        volume.refresh_reserve(true);
        let counts = volume.space.counts();
        let free = counts.free_blocks.wrapping_shl(layout.cluster_bits());
        to.set_kind(SUPER_MAGIC.into(), NAME_MAX);
        to.set_blocks(&Blocks {
            size: layout.block_size().bytes(),
            total: layout
                .blocks_count()
                .saturating_sub(sb.data().mounted.overhead()),
            free,
            available: free.saturating_sub(volume.space.set_aside()),
        });
        to.set_inodes(layout.inodes_count().into(), counts.free_inodes);
        to.set_id(layout.uuid());
        Ok(())
    }

    fn show_options(sb: &SuperBlock, to: &SeqFile) {
        let options = *sb.data().options.lock();
        let default = Options::default();
        if let Some(policy) = options.errors {
            let name = match policy {
                ErrorPolicy::Continue => "continue",
                ErrorPolicy::ReadOnly => "remount-ro",
                ErrorPolicy::Panic => "panic",
            };
            seq_print!(to, ",errors={}", name);
        }
        if options.commit_interval != default.commit_interval {
            seq_print!(to, ",commit={}", options.commit_interval);
        }
        if !options.barrier {
            seq_print!(to, ",nobarrier");
        }
        if options.discard {
            seq_print!(to, ",discard");
        }
        if !options.auto_da_alloc {
            seq_print!(to, ",noauto_da_alloc");
        }
        if options.noload {
            seq_print!(to, ",noload");
        }
        // As ext4 shows it: an error has stopped all changes, while the mount is still read-write.
        if sb.data().mounted.volume.store.errors().is_stopped() {
            seq_print!(to, ",emergency_ro");
        }
    }

    fn dirty_inode(inode: &Node) {
        inode::dirtied(inode);
    }

    fn write_inode(inode: &Node, wait: Wait) -> Result {
        inode::write(inode, wait)
    }

    fn completion_queue(sb: &SuperBlock) -> &Queue {
        &sb.data().completions
    }

    fn complete_writes(inode: &Node, batch: &mut Batch<'_>) {
        complete::complete_writes(inode, batch);
    }

    fn evict_inode(inode: &Node) {
        inode::evict(inode);
    }
}

/// Notes in the super block where the file system is mounted (`s_last_mounted`), once a mount: a file is being opened,
/// as it is the files that know. ext4 does so, too.
pub(super) fn note_mount_point(file: &File<'_, Fs>) {
    let sb = file.inode().super_block();
    let data = sb.data();
    if data.mount_point_noted.load(Relaxed) || sb.is_read_only() {
        return;
    }
    // It can wait until a later file is opened.
    let Some(_writing) = sb.try_internal_write() else {
        return;
    };
    if data.mount_point_noted.xchg(true, Relaxed) {
        return;
    }
    let mut buffer = [0; 64];
    // A path that is too long is not noted. If the super block cannot be changed, that is reported elsewhere, and no
    // reason not to open a file.
    if let Ok(path) = file.mount_point(&mut buffer) {
        let _ = superblock::note_mount_point(&data.mounted.volume, path);
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

impl recover::Keeper<JournalStore> for Keeper<'_> {
    type Live = Node;
    type Held = ARef<Node>;

    fn get(&mut self, ino: Ino) -> Result<ARef<Node>> {
        inode::get_orphan(self.0, ino)
    }

    fn cut_off(&mut self, node: &Node) -> Result {
        let _lock = node.lock();
        match node.kind() {
            Kind::Regular => truncate::set_size(node, node.size()),
            _ => Ok(()),
        }
    }

    fn put(&mut self, held: ARef<Node>) {
        drop(held);
    }
}

/// Deals with the orphans that a crash has left: those without links are freed, the others cut off at their size.
fn finish_orphans(sb: &SuperBlock) -> Result {
    let mounted = &sb.data().mounted;
    let volume = &mounted.volume;
    let store = &volume.store;
    let raw = superblock::read(store, &volume.layout)?;
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
