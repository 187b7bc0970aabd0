// SPDX-License-Identifier: GPL-2.0

//! The super block as it is on disk (Documentation/filesystems/ext4/super.rst): its fields, its checksum, and
//! the changes that a mounted file system makes to it.
//!
//! The geometry that it describes is checked by [`super::Layout`]; here the fields are raw.

use super::features::{compat, incompat, ro_compat, Features};
use super::layout::ReserveOwner;
use super::{CsumSeed, Flaw, PhysBlock};
use crate::crc32c;
use crate::disk::{BlockKind, Format};
use core::mem::{offset_of, size_of};
use kernel::error::Error;
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, IntoBytes};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Where the super block begins on the device, in bytes; it is [`SUPER_SIZE`] bytes long.
pub const SUPER_OFFSET: u64 = 1024;
/// Size of the super block in bytes.
pub const SUPER_SIZE: usize = 1024;
/// `s_magic`.
pub const SUPER_MAGIC: u16 = 0xef53;

/// `s_state`: cleanly unmounted.
pub const STATE_VALID: u16 = 1;
/// `s_state`: errors were found since the last check.
pub const STATE_ERROR: u16 = 2;

/// `s_rev_level` of the first revision, which has fixed inode sizes.
pub const GOOD_OLD_REV: u32 = 0;
/// `s_flags`: directory hashes take characters as signed.
pub const FLAG_SIGNED_HASH: u32 = 1;
/// `s_flags`: as unsigned. So they do where neither flag is set, as `char` is unsigned in the kernel.
const FLAG_UNSIGNED_HASH: u32 = 2;

/// `s_max_mnt_count` where mke2fs left it open (`EXT4_DFL_MAX_MNT_COUNT`).
pub const DEFAULT_MAX_MOUNTS: u16 = 20;

/// Bits of `s_default_mount_opts`: the mount options that the volume has by itself. (That of attributes and of access
/// control lists, 4 and 8, mean nothing any more: everybody has these.)
#[allow(missing_docs)]
pub mod default_option {
    pub const DEBUG: u32 = 1;
    pub const BSD_GROUPS: u32 = 2;
    pub const UID16: u32 = 0x10;
    /// Two bits, which say one of three, or nothing.
    pub const DATA_MODE: u32 = 0x60;
    pub const DATA_JOURNAL: u32 = 0x20;
    pub const DATA_ORDERED: u32 = 0x40;
    pub const DATA_WRITEBACK: u32 = 0x60;
    pub const NO_BARRIER: u32 = 0x100;
    pub const DISCARD: u32 = 0x400;
    pub const NO_DELALLOC: u32 = 0x800;
}

/// What to do after an error was found (`s_errors`, mount option `errors=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorPolicy {
    /// Go on.
    Continue,
    /// Make the file system read-only.
    ReadOnly,
    /// Stop the machine.
    Panic,
}

/// The super block. Field names are those of the format, without the `s_`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone)]
#[repr(C)]
#[allow(missing_docs)]
pub struct RawSuper {
    pub inodes_count: U32,
    pub blocks_count_lo: U32,
    pub r_blocks_count_lo: U32,
    pub free_blocks_count_lo: U32,
    pub free_inodes_count: U32,
    pub first_data_block: U32,
    pub log_block_size: U32,
    pub log_cluster_size: U32,
    pub blocks_per_group: U32,
    pub clusters_per_group: U32,
    pub inodes_per_group: U32,
    pub mtime: U32,
    pub wtime: U32,
    pub mnt_count: U16,
    pub max_mnt_count: U16,
    pub magic: U16,
    pub state: U16,
    pub errors: U16,
    pub minor_rev_level: U16,
    pub lastcheck: U32,
    pub checkinterval: U32,
    pub creator_os: U32,
    pub rev_level: U32,
    pub def_resuid: U16,
    pub def_resgid: U16,
    pub first_ino: U32,
    pub inode_size: U16,
    pub block_group_nr: U16,
    pub feature_compat: U32,
    pub feature_incompat: U32,
    pub feature_ro_compat: U32,
    pub uuid: [u8; 16],
    pub volume_name: [u8; 16],
    pub last_mounted: [u8; 64],
    pub algorithm_usage_bitmap: U32,
    pub prealloc_blocks: u8,
    pub prealloc_dir_blocks: u8,
    pub reserved_gdt_blocks: U16,
    pub journal_uuid: [u8; 16],
    pub journal_inum: U32,
    pub journal_dev: U32,
    pub last_orphan: U32,
    pub hash_seed: [U32; 4],
    pub def_hash_version: u8,
    pub jnl_backup_type: u8,
    pub desc_size: U16,
    pub default_mount_opts: U32,
    pub first_meta_bg: U32,
    pub mkfs_time: U32,
    pub jnl_blocks: [U32; 17],
    pub blocks_count_hi: U32,
    pub r_blocks_count_hi: U32,
    pub free_blocks_count_hi: U32,
    pub min_extra_isize: U16,
    pub want_extra_isize: U16,
    pub flags: U32,
    pub raid_stride: U16,
    pub mmp_update_interval: U16,
    pub mmp_block: U64,
    pub raid_stripe_width: U32,
    pub log_groups_per_flex: u8,
    pub checksum_type: u8,
    pub encryption_level: u8,
    pub reserved_pad: u8,
    pub kbytes_written: U64,
    pub snapshot_inum: U32,
    pub snapshot_id: U32,
    pub snapshot_r_blocks_count: U64,
    pub snapshot_list: U32,
    pub error_count: U32,
    pub first_error_time: U32,
    pub first_error_ino: U32,
    pub first_error_block: U64,
    pub first_error_func: [u8; 32],
    pub first_error_line: U32,
    pub last_error_time: U32,
    pub last_error_ino: U32,
    pub last_error_line: U32,
    pub last_error_block: U64,
    pub last_error_func: [u8; 32],
    pub mount_opts: [u8; 64],
    pub usr_quota_inum: U32,
    pub grp_quota_inum: U32,
    pub overhead_clusters: U32,
    pub backup_bgs: [U32; 2],
    pub encrypt_algos: [u8; 4],
    pub encrypt_pw_salt: [u8; 16],
    pub lpf_ino: U32,
    pub prj_quota_inum: U32,
    pub checksum_seed: U32,
    pub wtime_hi: u8,
    pub mtime_hi: u8,
    pub mkfs_time_hi: u8,
    pub lastcheck_hi: u8,
    pub first_error_time_hi: u8,
    pub last_error_time_hi: u8,
    pub first_error_errcode: u8,
    pub last_error_errcode: u8,
    pub encoding: U16,
    pub encoding_flags: U16,
    pub orphan_file_inum: U32,
    pub def_resuid_hi: U16,
    pub def_resgid_hi: U16,
    pub reserved: [U32; 93],
    pub checksum: U32,
}

const _: () = assert!(size_of::<RawSuper>() == SUPER_SIZE);
const _: () = assert!(offset_of!(RawSuper, feature_compat) == 0x5c);
const _: () = assert!(offset_of!(RawSuper, default_mount_opts) == 0x100);
const _: () = assert!(offset_of!(RawSuper, blocks_count_hi) == 0x150);
const _: () = assert!(offset_of!(RawSuper, error_count) == 0x194);
const _: () = assert!(offset_of!(RawSuper, checksum_seed) == 0x270);
const _: () = assert!(offset_of!(RawSuper, checksum) == 0x3fc);

/// An error that was found, for the error fields of the super block.
#[derive(Clone, Copy, Debug)]
pub struct ErrorRecord<'a> {
    /// When, in seconds of Unix time.
    pub time: i64,
    /// Inode that it concerns, zero for none.
    pub ino: u32,
    /// Block that it concerns, zero for none.
    pub block: u64,
    /// Function that found it; what does not fit into 32 bytes is cut.
    pub func: &'a str,
    /// Line where it was found.
    pub line: u32,
    /// The error.
    pub error: Error,
}

/// Codes for `s_first_error_errcode`, which do not depend on the architecture's errno values.
fn error_code(error: Error) -> u8 {
    use kernel::error::code::*;
    const UNKNOWN: u8 = 1;
    const CODES: [(Error, u8); 16] = [
        (EIO, 2),
        (ENOMEM, 3),
        (EFSBADCRC, 4),
        (EUCLEAN, 5),
        (ENOSPC, 6),
        (ENOKEY, 7),
        (EROFS, 8),
        (EFBIG, 9),
        (EEXIST, 10),
        (ERANGE, 11),
        (EOVERFLOW, 12),
        (EBUSY, 13),
        (ENOTDIR, 14),
        (ENOTEMPTY, 15),
        (ESHUTDOWN, 16),
        (EFAULT, 17),
    ];
    CODES
        .iter()
        .find(|(e, _)| *e == error)
        .map_or(UNKNOWN, |(_, code)| *code)
}

/// Times in the super block are 40 bits of seconds.
fn set_time(lo: &mut U32, hi: &mut u8, time: i64) {
    let time = time.clamp(0, (1 << 40) - 1);
    lo.set(time as u32);
    *hi = (time >> 32) as u8;
}

impl RawSuper {
    /// The super block in a block that begins `offset` bytes before it. `None` where the block is too short.
    pub fn from_block(bytes: &[u8], offset: usize) -> Option<&Self> {
        let (raw, _) = Self::ref_from_prefix(bytes.get(offset..)?).ok()?;
        Some(raw)
    }

    /// Like [`Self::from_block`], to change it.
    pub fn from_block_mut(bytes: &mut [u8], offset: usize) -> Option<&mut Self> {
        let (raw, _) = Self::mut_from_prefix(bytes.get_mut(offset..)?).ok()?;
        Some(raw)
    }

    /// The feature words.
    pub fn features(&self) -> Features {
        Features {
            compat: self.feature_compat.get(),
            incompat: self.feature_incompat.get(),
            ro_compat: self.feature_ro_compat.get(),
        }
    }

    fn has_64bit(&self) -> bool {
        self.features().has_incompat(incompat::SIXTY_FOUR_BIT)
    }

    fn wide(&self, lo: U32, hi: U32) -> u64 {
        let hi = if self.has_64bit() { hi.get() } else { 0 };
        u64::from(lo.get()) | u64::from(hi) << 32
    }

    /// Size of the file system in blocks.
    pub fn blocks_count(&self) -> u64 {
        self.wide(self.blocks_count_lo, self.blocks_count_hi)
    }

    /// Blocks that only [`Self::reserve_owner`] and the privileged may use.
    pub fn reserved_blocks_count(&self) -> u64 {
        self.wide(self.r_blocks_count_lo, self.r_blocks_count_hi)
    }

    /// Who may use them.
    pub fn reserve_owner(&self) -> ReserveOwner {
        let wide = |lo: U16, hi: U16| u32::from(lo.get()) | u32::from(hi.get()) << 16;
        ReserveOwner {
            uid: wide(self.def_resuid, self.def_resuid_hi),
            gid: wide(self.def_resgid, self.def_resgid_hi),
        }
    }

    /// What to do after an error, where no mount option says. What is none counts as the careful one, as with ext4.
    pub fn error_policy(&self) -> ErrorPolicy {
        match self.errors.get() {
            1 => ErrorPolicy::Continue,
            3 => ErrorPolicy::Panic,
            _ => ErrorPolicy::ReadOnly,
        }
    }

    /// The mount options that the volume has by itself: bits of [`default_option`].
    pub fn default_options(&self) -> u32 {
        self.default_mount_opts.get()
    }

    /// Further ones as a text; `None` where it does not end.
    pub fn option_text(&self) -> Option<&[u8]> {
        let end = self.mount_opts.iter().position(|byte| *byte == 0)?;
        self.mount_opts.get(..end)
    }

    /// The seed of the checksums; `None` where metadata has none.
    pub fn csum_seed(&self) -> Option<CsumSeed> {
        let has_sums = self.features().has_ro_compat(ro_compat::METADATA_CSUM);
        has_sums.then(|| self.seed())
    }

    /// The seed of the hashes of values that are in inodes of their own; `None` where there are none.
    pub fn value_seed(&self) -> Option<CsumSeed> {
        let has_values = self.features().has_incompat(incompat::EA_INODE);
        has_values.then(|| self.seed())
    }

    fn seed(&self) -> CsumSeed {
        match self.features().has_incompat(incompat::CSUM_SEED) {
            true => CsumSeed::new(self.checksum_seed.get()),
            false => CsumSeed::from_uuid(&self.uuid),
        }
    }

    fn computed_checksum(&self) -> u32 {
        let end = offset_of!(RawSuper, checksum);
        crc32c(!0, self.as_bytes().get(..end).unwrap_or_default())
    }

    /// Whether the checksum is right; true where there is none.
    pub fn checksum_ok(&self) -> bool {
        !self.features().has_ro_compat(ro_compat::METADATA_CSUM)
            || self.checksum.get() == self.computed_checksum()
    }

    /// Sets the checksum after changes, where there is one.
    pub fn seal(&mut self) {
        if self.features().has_ro_compat(ro_compat::METADATA_CSUM) {
            self.checksum.set(self.computed_checksum());
        }
    }

    /// When the first error was found, in seconds of Unix time; 0 for never.
    pub fn first_error_seconds(&self) -> u64 {
        u64::from(self.first_error_time.get()) | u64::from(self.first_error_time_hi) << 32
    }

    /// When the last one was.
    pub fn last_error_seconds(&self) -> u64 {
        u64::from(self.last_error_time.get()) | u64::from(self.last_error_time_hi) << 32
    }

    /// Sets the time of the last mount, in seconds of Unix time.
    pub fn set_mtime(&mut self, time: i64) {
        set_time(&mut self.mtime, &mut self.mtime_hi, time);
    }

    /// Sets the time of the last change, in seconds of Unix time.
    pub fn set_wtime(&mut self, time: i64) {
        set_time(&mut self.wtime, &mut self.wtime_hi, time);
    }

    /// Counts a mount; the count begins again at 0 after 65535, as with ext4. Where it says nothing of how many there
    /// may be between two checks, it says [`DEFAULT_MAX_MOUNTS`] from then on, as ext4 does.
    pub fn count_mount(&mut self) {
        self.mnt_count.set(self.mnt_count.get().wrapping_add(1));
        if self.max_mnt_count.get() == 0 {
            self.max_mnt_count.set(DEFAULT_MAX_MOUNTS);
        }
    }

    /// Whether it was mounted as often as it may be between two checks.
    pub fn was_mounted_often(&self) -> bool {
        // More than an `i16` can hold, all others too, stand for any number.
        matches!(self.max_mnt_count.get(), max @ 1..=0x7fff if self.mnt_count.get() >= max)
    }

    /// Whether the time has come for another check, at `now`, in seconds of Unix time.
    pub fn is_check_due(&self, now: i64) -> bool {
        let last = i64::from(self.lastcheck.get()) | i64::from(self.lastcheck_hi) << 32;
        match self.checkinterval.get() {
            0 => false,
            interval => last.saturating_add(interval.into()) <= now,
        }
    }

    /// Notes where it is mounted; what does not fit into 64 bytes is cut.
    pub fn set_last_mounted(&mut self, path: &[u8]) {
        self.last_mounted = [0; 64];
        for (to, from) in self.last_mounted.iter_mut().zip(path) {
            *to = *from;
        }
    }

    /// Sets the counts of free blocks and inodes.
    pub fn set_free(&mut self, blocks: u64, inodes: u32) {
        self.free_blocks_count_lo.set(blocks as u32);
        if self.has_64bit() {
            self.free_blocks_count_hi.set((blocks >> 32) as u32);
        }
        self.free_inodes_count.set(inodes);
    }

    fn set_bit(word: &mut U32, bit: u32, on: bool) {
        let rest = word.get() & !bit;
        word.set(if on { rest | bit } else { rest });
    }

    /// Notes how directory hashes take characters, where nothing says it: another program could take them otherwise.
    pub fn note_hash_sign(&mut self) {
        let flags = self.flags.get();
        let known = flags & (FLAG_SIGNED_HASH | FLAG_UNSIGNED_HASH) != 0;
        if !known && self.features().has_compat(compat::DIR_INDEX) {
            self.flags.set(flags | FLAG_UNSIGNED_HASH);
        }
    }

    /// Marks that the journal must be replayed, or that it need not be.
    pub fn set_needs_recovery(&mut self, on: bool) {
        Self::set_bit(&mut self.feature_incompat, incompat::RECOVER, on);
    }

    /// Marks that the orphan file may have entries, or that it has none.
    pub fn set_orphan_present(&mut self, on: bool) {
        Self::set_bit(&mut self.feature_ro_compat, ro_compat::ORPHAN_PRESENT, on);
    }

    /// Marks that there is a file larger than 2 GiB - 1.
    pub fn set_large_file(&mut self) {
        Self::set_bit(&mut self.feature_ro_compat, ro_compat::LARGE_FILE, true);
    }

    /// Whether some inode may have extended attributes.
    pub fn has_attributes(&self) -> bool {
        self.features().has_compat(compat::EXT_ATTR)
    }

    /// Marks that some inode may have extended attributes.
    pub fn set_attributes(&mut self) {
        Self::set_bit(&mut self.feature_compat, compat::EXT_ATTR, true);
    }

    /// Takes over the records of errors from another copy.
    pub fn copy_errors(&mut self, from: &Self) {
        self.error_count = from.error_count;
        self.first_error_time = from.first_error_time;
        self.first_error_time_hi = from.first_error_time_hi;
        self.first_error_ino = from.first_error_ino;
        self.first_error_block = from.first_error_block;
        self.first_error_func = from.first_error_func;
        self.first_error_line = from.first_error_line;
        self.first_error_errcode = from.first_error_errcode;
        self.last_error_time = from.last_error_time;
        self.last_error_time_hi = from.last_error_time_hi;
        self.last_error_ino = from.last_error_ino;
        self.last_error_block = from.last_error_block;
        self.last_error_func = from.last_error_func;
        self.last_error_line = from.last_error_line;
        self.last_error_errcode = from.last_error_errcode;
    }

    /// Marks that an error was found, and records it as the last one and, if it is, as the first.
    pub fn record_error(&mut self, record: &ErrorRecord<'_>) {
        self.state.set(self.state.get() | STATE_ERROR);
        let mut func = [0; 32];
        for (to, from) in func.iter_mut().zip(record.func.as_bytes()) {
            *to = *from;
        }
        let code = error_code(record.error);
        if self.first_error_time.get() == 0 && self.first_error_time_hi == 0 {
            set_time(
                &mut self.first_error_time,
                &mut self.first_error_time_hi,
                record.time,
            );
            self.first_error_ino.set(record.ino);
            self.first_error_block.set(record.block);
            self.first_error_func = func;
            self.first_error_line.set(record.line);
            self.first_error_errcode = code;
        }
        set_time(
            &mut self.last_error_time,
            &mut self.last_error_time_hi,
            record.time,
        );
        self.last_error_ino.set(record.ino);
        self.last_error_block.set(record.block);
        self.last_error_func = func;
        self.last_error_line.set(record.line);
        self.last_error_errcode = code;
        self.error_count
            .set(self.error_count.get().saturating_add(1));
    }
}

/// The block with the super block.
#[derive(Clone, Copy, Debug)]
pub struct SuperFormat {
    offset: usize,
}

impl SuperFormat {
    /// For a super block that begins `offset` bytes after the beginning of its block.
    pub const fn new(offset: usize) -> Self {
        Self { offset }
    }
}

/// The format of a copy of the super block at the beginning of a group. As nothing is read from it, it is not checked
/// where it enters memory: who changes it asks [`Self::is_good`].
#[derive(Clone, Copy)]
pub struct BackupFormat;

impl BackupFormat {
    /// Whether the block is a super block that somebody could use.
    pub fn is_good(bytes: &[u8]) -> bool {
        RawSuper::from_block(bytes, 0)
            .is_some_and(|raw| raw.magic.get() == SUPER_MAGIC && raw.checksum_ok())
    }
}

impl Format for BackupFormat {
    const KIND: BlockKind = BlockKind::Super;

    fn verify(&self, _nr: PhysBlock, _bytes: &[u8]) -> Result<(), Flaw> {
        Ok(())
    }

    fn seal(&self, nr: PhysBlock, bytes: &mut [u8]) {
        SuperFormat::new(0).seal(nr, bytes);
    }
}

impl Format for SuperFormat {
    const KIND: BlockKind = BlockKind::Super;

    fn verify(&self, _nr: PhysBlock, bytes: &[u8]) -> Result<(), Flaw> {
        let raw = RawSuper::from_block(bytes, self.offset).ok_or(Flaw::TooShort)?;
        let magic = raw.magic.get();
        if magic != SUPER_MAGIC {
            return Err(Flaw::SuperMagic { magic });
        }
        if !raw.checksum_ok() {
            return Err(Flaw::Checksum);
        }
        Ok(())
    }

    fn seal(&self, _nr: PhysBlock, bytes: &mut [u8]) {
        if let Some(raw) = RawSuper::from_block_mut(bytes, self.offset) {
            raw.seal();
        }
    }
}
