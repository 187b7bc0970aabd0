// SPDX-License-Identifier: GPL-2.0

//! The options by name: what the VFS parses, what is shown, and what the log is told.

use crate::linux::fs_context::{Constant, Parameter};

/// An option that is on or off. Its number says that it was given, and by [`off`] that it is not to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Switch {
    /// `statfs` counts the blocks of the file system's own, too.
    MinixDf,
    /// What is made in a directory gets the group of the directory.
    GroupOfDirectory,
    BlockValidity,
    DioReadNoLock,
    /// Freed blocks are discarded on the device.
    Discard,
    DelayedAllocation,
    WarnOnError,
    JournalChecksum,
    JournalAsyncCommit,
    /// The journal is not looked at.
    NoRecovery,
    /// Commits flush the device's cache.
    Barrier,
    /// What replaces a file is not written back first.
    NoAutoDaAlloc,
    InitItable,
    /// Users may have extended attributes.
    UserAttributes,
    /// Access control lists decide who may do what.
    Acls,
    NoUid32,
    /// The log is told of the volume.
    Debug,
    /// Users are held to their limits: the older name.
    Quota,
    /// Users are held to their limits.
    UserQuota,
    /// Groups are.
    GroupQuota,
    /// Projects are.
    ProjectQuota,
    /// Inodes do not share blocks of attributes.
    NoSharing,
    NoPrefetch,
    /// A remount with this stops all changes.
    Abort,
    InlineCrypt,
    /// Data that cannot be written back stops all changes.
    DataErrorsStop,
    OptimizeScan,
}

use Switch::*;

pub(super) const fn on(switch: Switch) -> u8 {
    switch as u8
}

pub(super) const fn off(switch: Switch) -> u8 {
    switch as u8 + OFF
}

pub(super) const OFF: u8 = 32;

/// An option with a number that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Number {
    /// Which copy of the super block is used: where it begins, in KiB.
    Copy,
    /// Who may use the reserve.
    ReserveUser,
    /// Which group may use the reserve; 0 for none.
    ReserveGroup,
    /// How long a change may wait until it is durable, in seconds.
    Commit,
    MinBatchTime,
    MaxBatchTime,
    Stripe,
    InodeReadahead,
    InitItableWait,
    /// The size from which on a directory does not grow, in KiB; 0 for none.
    MaxDirSize,
}

pub(super) const fn number(number: Number) -> u8 {
    number as u8 + NUMBER
}

pub(super) const NUMBER: u8 = 64;

/// How many of [`Number`] there are.
pub(super) const COUNT: usize = 10;

pub(super) const ERRORS: u8 = 80;
pub(super) const BARRIER_IS: u8 = 81;
pub(super) const AUTO_DA_ALLOC_IS: u8 = 82;
pub(super) const OPTIMIZE_SCAN_IS: u8 = 83;
pub(super) const DAX: u8 = 84;
pub(super) const DAX_IS: u8 = 85;
pub(super) const DATA: u8 = 86;
pub(super) const DATA_ERR: u8 = 87;
pub(super) const USER_QUOTA: u8 = 88;
pub(super) const NO_QUOTA: u8 = 90;
pub(super) const QUOTA_FILE: u8 = 91;
pub(super) const QUOTA_FORMAT: u8 = 92;
pub(super) const JOURNAL_DEVICE: u8 = 93;
pub(super) const JOURNAL_IO_PRIORITY: u8 = 94;
pub(super) const EXTRA_ISIZE: u8 = 95;
pub(super) const DUMMY_ENCRYPTION: u8 = 96;
pub(super) const REMOVED: u8 = 97;
/// `data=`, where it says what is the case, and where it says less.
pub(super) const DATA_ORDERED: u8 = 98;
pub(super) const DATA_WRITEBACK: u8 = 99;
pub(super) const SHOWN_ONLY: u8 = 100;

pub(super) const ERRORS_CONTINUE: i32 = 1;
pub(super) const ERRORS_READ_ONLY: i32 = 2;
pub(super) const ERRORS_PANIC: i32 = 3;

static ERROR_POLICIES: [Constant; 4] = [
    Constant::new(c"continue", ERRORS_CONTINUE),
    Constant::new(c"remount-ro", ERRORS_READ_ONLY),
    Constant::new(c"panic", ERRORS_PANIC),
    Constant::END,
];

pub(super) const DAX_ALWAYS: i32 = 1;
pub(super) const DAX_INODE: i32 = 2;
pub(super) const DAX_NEVER: i32 = 3;

static DAX_MODES: [Constant; 4] = [
    Constant::new(c"always", DAX_ALWAYS),
    Constant::new(c"inode", DAX_INODE),
    Constant::new(c"never", DAX_NEVER),
    Constant::END,
];

pub(super) const DATA_IS_JOURNAL: i32 = 1;
pub(super) const DATA_IS_ORDERED: i32 = 2;
pub(super) const DATA_IS_WRITEBACK: i32 = 3;

static DATA_MODES: [Constant; 4] = [
    Constant::new(c"journal", DATA_IS_JOURNAL),
    Constant::new(c"ordered", DATA_IS_ORDERED),
    Constant::new(c"writeback", DATA_IS_WRITEBACK),
    Constant::END,
];

static DATA_ERRORS: [Constant; 3] = [
    Constant::new(c"abort", 1),
    Constant::new(c"ignore", 0),
    Constant::END,
];

pub(super) const QUOTA_OLD: u32 = 1;
pub(super) const QUOTA_V0: u32 = 2;
pub(super) const QUOTA_V1: u32 = 3;

static QUOTA_FORMATS: [Constant; 4] = [
    Constant::new(c"vfsold", QUOTA_OLD as i32),
    Constant::new(c"vfsv0", QUOTA_V0 as i32),
    Constant::new(c"vfsv1", QUOTA_V1 as i32),
    Constant::END,
];

/// The options, as the VFS parses them.
pub(crate) static PARAMETERS: [Parameter; 87] = [
    Parameter::flag(c"bsddf", off(MinixDf)),
    Parameter::flag(c"minixdf", on(MinixDf)),
    Parameter::flag(c"grpid", on(GroupOfDirectory)),
    Parameter::flag(c"bsdgroups", on(GroupOfDirectory)),
    Parameter::flag(c"nogrpid", off(GroupOfDirectory)),
    Parameter::flag(c"sysvgroups", off(GroupOfDirectory)),
    Parameter::gid(c"resgid", number(Number::ReserveGroup)),
    Parameter::uid(c"resuid", number(Number::ReserveUser)),
    Parameter::u32(c"sb", number(Number::Copy)),
    Parameter::one_of(c"errors", ERRORS, &ERROR_POLICIES),
    Parameter::flag(c"nouid32", on(NoUid32)),
    Parameter::flag(c"debug", on(Debug)),
    Parameter::flag(c"user_xattr", on(UserAttributes)),
    Parameter::flag(c"nouser_xattr", off(UserAttributes)),
    Parameter::flag(c"acl", on(Acls)),
    Parameter::flag(c"noacl", off(Acls)),
    Parameter::flag(c"norecovery", on(NoRecovery)),
    Parameter::flag(c"noload", on(NoRecovery)),
    Parameter::u32(c"commit", number(Number::Commit)),
    Parameter::u32(c"min_batch_time", number(Number::MinBatchTime)),
    Parameter::u32(c"max_batch_time", number(Number::MaxBatchTime)),
    Parameter::u32(c"journal_dev", JOURNAL_DEVICE),
    Parameter::string(c"journal_path", JOURNAL_DEVICE),
    Parameter::flag(c"journal_checksum", on(JournalChecksum)),
    Parameter::flag(c"nojournal_checksum", off(JournalChecksum)),
    Parameter::flag(c"journal_async_commit", on(JournalAsyncCommit)),
    Parameter::flag(c"abort", on(Abort)),
    Parameter::one_of(c"data", DATA, &DATA_MODES),
    Parameter::one_of(c"data_err", DATA_ERR, &DATA_ERRORS),
    Parameter::string_or_nothing(c"usrjquota", QUOTA_FILE),
    Parameter::string_or_nothing(c"grpjquota", QUOTA_FILE),
    Parameter::one_of(c"jqfmt", QUOTA_FORMAT, &QUOTA_FORMATS),
    Parameter::flag(c"quota", USER_QUOTA),
    Parameter::flag(c"usrquota", USER_QUOTA),
    Parameter::flag(c"grpquota", on(GroupQuota)),
    Parameter::flag(c"prjquota", on(ProjectQuota)),
    Parameter::flag(c"noquota", NO_QUOTA),
    Parameter::flag(c"barrier", on(Barrier)),
    Parameter::flag(c"nobarrier", off(Barrier)),
    Parameter::u32(c"barrier", BARRIER_IS),
    Parameter::flag(c"dax", DAX),
    Parameter::one_of(c"dax", DAX_IS, &DAX_MODES),
    Parameter::u32(c"stripe", number(Number::Stripe)),
    Parameter::flag(c"delalloc", on(DelayedAllocation)),
    Parameter::flag(c"nodelalloc", off(DelayedAllocation)),
    Parameter::flag(c"warn_on_error", on(WarnOnError)),
    Parameter::flag(c"nowarn_on_error", off(WarnOnError)),
    Parameter::u32(c"debug_want_extra_isize", EXTRA_ISIZE),
    Parameter::flag(c"block_validity", on(BlockValidity)),
    Parameter::flag(c"noblock_validity", off(BlockValidity)),
    Parameter::u32(c"inode_readahead_blks", number(Number::InodeReadahead)),
    Parameter::u32(c"journal_ioprio", JOURNAL_IO_PRIORITY),
    Parameter::flag(c"auto_da_alloc", off(NoAutoDaAlloc)),
    Parameter::flag(c"noauto_da_alloc", on(NoAutoDaAlloc)),
    Parameter::u32(c"auto_da_alloc", AUTO_DA_ALLOC_IS),
    Parameter::flag(c"dioread_nolock", on(DioReadNoLock)),
    Parameter::flag(c"nodioread_nolock", off(DioReadNoLock)),
    Parameter::flag(c"dioread_lock", off(DioReadNoLock)),
    Parameter::flag(c"discard", on(Discard)),
    Parameter::flag(c"nodiscard", off(Discard)),
    Parameter::flag(c"init_itable", on(InitItable)),
    Parameter::u32(c"init_itable", number(Number::InitItableWait)),
    Parameter::flag(c"noinit_itable", off(InitItable)),
    Parameter::u32(c"max_dir_size_kb", number(Number::MaxDirSize)),
    Parameter::flag(c"test_dummy_encryption", DUMMY_ENCRYPTION),
    Parameter::string(c"test_dummy_encryption", DUMMY_ENCRYPTION),
    Parameter::flag(c"inlinecrypt", on(InlineCrypt)),
    Parameter::flag(c"nombcache", on(NoSharing)),
    Parameter::flag(c"no_mbcache", on(NoSharing)),
    Parameter::flag(c"no_prefetch_block_bitmaps", on(NoPrefetch)),
    Parameter::u32(c"mb_optimize_scan", OPTIMIZE_SCAN_IS),
    Parameter::flag(c"oldalloc", REMOVED),
    Parameter::flag(c"orlov", REMOVED),
    Parameter::flag(c"bh", REMOVED),
    Parameter::flag(c"nobh", REMOVED),
    Parameter::flag(c"i_version", REMOVED),
    Parameter::flag(c"mblk_io_submit", REMOVED),
    Parameter::flag(c"nomblk_io_submit", REMOVED),
    Parameter::flag(c"prefetch_block_bitmaps", REMOVED),
    Parameter::string(c"check", REMOVED),
    Parameter::flag(c"nocheck", REMOVED),
    Parameter::flag(c"reservation", REMOVED),
    Parameter::flag(c"noreservation", REMOVED),
    Parameter::u32(c"journal", REMOVED),
    Parameter::flag(c"emergency_ro", SHOWN_ONLY),
    Parameter::flag(c"shutdown", SHOWN_ONLY),
    Parameter::END,
];

/// What there is to say of options that are taken and do nothing, or not what they do on ext4: the number, the name,
/// and why.
pub(super) const WORDS: &[(u8, &str, &str)] = &[
    (on(NoUid32), "nouid32", "owners have 32 bits all the same"),
    (
        on(JournalChecksum),
        "journal_checksum",
        "the journal has checksums if the other metadata has",
    ),
    (
        off(JournalChecksum),
        "nojournal_checksum",
        "the journal has checksums if the other metadata has",
    ),
    (
        on(JournalAsyncCommit),
        "journal_async_commit",
        "a commit waits for its blocks, else it could be replayed without them",
    ),
    (
        on(DelayedAllocation),
        "delalloc",
        "blocks are always chosen late",
    ),
    (
        off(DelayedAllocation),
        "nodelalloc",
        "blocks are always chosen late",
    ),
    (
        on(BlockValidity),
        "block_validity",
        "blocks are always checked against those of the file system's own",
    ),
    (
        off(BlockValidity),
        "noblock_validity",
        "blocks are always checked against those of the file system's own",
    ),
    (
        on(DioReadNoLock),
        "dioread_nolock",
        "direct reads take the lock of the inode shared, and never wait for blocks",
    ),
    (
        off(DioReadNoLock),
        "dioread_lock",
        "direct reads take the lock of the inode shared, and never wait for blocks",
    ),
    (
        on(WarnOnError),
        "warn_on_error",
        "errors are logged with the place in the source, without a trace of calls",
    ),
    (
        on(InitItable),
        "init_itable",
        "inode tables are not zeroed in the background",
    ),
    (
        number(Number::InitItableWait),
        "init_itable=",
        "inode tables are not zeroed in the background",
    ),
    (
        off(InitItable),
        "noinit_itable",
        "inode tables are not zeroed in the background",
    ),
    (
        on(NoPrefetch),
        "no_prefetch_block_bitmaps",
        "bitmaps are read when they are wanted",
    ),
    (
        on(OptimizeScan),
        "mb_optimize_scan=",
        "groups are always found by an index",
    ),
    (
        on(InlineCrypt),
        "inlinecrypt",
        "there are no encrypted files",
    ),
    (on(Abort), "abort", "only a remount does that"),
    (
        number(Number::MinBatchTime),
        "min_batch_time=",
        "nobody waits so that others may join a commit",
    ),
    (
        number(Number::MaxBatchTime),
        "max_batch_time=",
        "nobody waits so that others may join a commit",
    ),
    (
        number(Number::Stripe),
        "stripe=",
        "blocks are chosen without regard to stripes",
    ),
    (
        number(Number::InodeReadahead),
        "inode_readahead_blks=",
        "blocks of inodes are read one by one",
    ),
    (
        DATA_ORDERED,
        "data=ordered",
        "data is always written before the metadata that leads to it",
    ),
    (
        DATA_WRITEBACK,
        "data=writeback",
        "data is always written before the metadata that leads to it",
    ),
    (
        QUOTA_FORMAT,
        "jqfmt=",
        "quota files that users see are not supported, those of the feature quota have one format",
    ),
    (
        JOURNAL_IO_PRIORITY,
        "journal_ioprio=",
        "the journal is written with the priority of the kernel",
    ),
    (
        EXTRA_ISIZE,
        "debug_want_extra_isize=",
        "new inodes have the size that the super block says",
    ),
    (
        REMOVED,
        "options of ext2 and ext3",
        "ext4 ignores these as well",
    ),
];

/// Options that are on or off, and what `/proc/mounts` shows of them if they are not as the volume has them: nothing,
/// or a name. In the order of ext4.
pub(super) const SWITCHES: &[(Switch, &str, &str)] = &[
    (MinixDf, "minixdf", "bsddf"),
    (GroupOfDirectory, "grpid", "nogrpid"),
    (BlockValidity, "block_validity", "noblock_validity"),
    (DioReadNoLock, "dioread_nolock", "nodioread_nolock"),
    (Discard, "discard", "nodiscard"),
    (DelayedAllocation, "delalloc", "nodelalloc"),
    (WarnOnError, "warn_on_error", "nowarn_on_error"),
    (JournalChecksum, "journal_checksum", "nojournal_checksum"),
    (JournalAsyncCommit, "journal_async_commit", ""),
    (NoRecovery, "norecovery", ""),
    (Barrier, "barrier", "nobarrier"),
    (NoAutoDaAlloc, "noauto_da_alloc", "auto_da_alloc"),
    (InitItable, "", "noinit_itable"),
    (UserAttributes, "user_xattr", "nouser_xattr"),
    (Acls, "acl", "noacl"),
    (NoUid32, "nouid32", ""),
    (Debug, "debug", ""),
    (Quota, "quota", ""),
    (UserQuota, "usrquota", ""),
    (GroupQuota, "grpquota", ""),
    (ProjectQuota, "prjquota", ""),
    (NoSharing, "nombcache", ""),
    (NoPrefetch, "no_prefetch_block_bitmaps", ""),
    (Abort, "abort", ""),
];

/// Options with a number, in the order of [`Number`]: the name, and the number that everybody has and is not shown.
pub(super) const NUMBERS: [(&str, u32); COUNT] = [
    ("sb", PRIMARY),
    ("resuid", 0),
    ("resgid", 0),
    ("commit", 5),
    ("min_batch_time", 0),
    ("max_batch_time", 15000),
    ("stripe", 0),
    ("inode_readahead_blks", 32),
    ("init_itable", 10),
    ("max_dir_size_kb", 0),
];

/// `sb=` for the super block itself.
pub(crate) const PRIMARY: u32 = 1;

/// The longest time between commits, in seconds: what the kernel can count in ticks, however long these are.
pub(super) const COMMIT_MAX: u32 = i32::MAX as u32 / 1000;

/// From so many groups on `mb_optimize_scan=1` is what ext4 does by itself.
pub(super) const MANY_GROUPS: u32 = 16;
