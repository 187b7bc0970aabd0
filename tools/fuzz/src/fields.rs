// SPDX-License-Identifier: GPL-2.0

//! The fields of each structure: where in it, and how wide.

use crate::image::Edit;
use crate::survey::{Kind, Place};

/// A field: its place in the image, and its name.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Where it begins, in bytes.
    pub at: u64,
    /// Bytes.
    pub width: usize,
    /// What the format calls it.
    pub name: &'static str,
    /// The greatest byte first, as in the journal.
    pub big_endian: bool,
}

impl Field {
    /// The value.
    pub fn get(&self, edit: &Edit<'_>) -> u64 {
        match self.big_endian {
            true => edit.get_be(self.at, self.width),
            false => edit.get(self.at, self.width),
        }
    }

    /// Sets the value, cut to the width.
    pub fn set(&self, edit: &mut Edit<'_>, value: u64) {
        match self.big_endian {
            true => edit.set_be(self.at, self.width, value),
            false => edit.set(self.at, self.width, value),
        }
    }

    /// The largest value.
    pub fn max(&self) -> u64 {
        u64::MAX >> (64 - 8 * self.width)
    }
}

/// Offset, width, name.
type Table = &'static [(u64, usize, &'static str)];

const SUPER: Table = &[
    (0x0, 4, "s_inodes_count"),
    (0x4, 4, "s_blocks_count_lo"),
    (0x8, 4, "s_r_blocks_count_lo"),
    (0xc, 4, "s_free_blocks_count_lo"),
    (0x10, 4, "s_free_inodes_count"),
    (0x14, 4, "s_first_data_block"),
    (0x18, 4, "s_log_block_size"),
    (0x1c, 4, "s_log_cluster_size"),
    (0x20, 4, "s_blocks_per_group"),
    (0x24, 4, "s_clusters_per_group"),
    (0x28, 4, "s_inodes_per_group"),
    (0x38, 2, "s_magic"),
    (0x3a, 2, "s_state"),
    (0x3c, 2, "s_errors"),
    (0x48, 4, "s_creator_os"),
    (0x4c, 4, "s_rev_level"),
    (0x54, 4, "s_first_ino"),
    (0x58, 2, "s_inode_size"),
    (0x5a, 2, "s_block_group_nr"),
    (0x5c, 4, "s_feature_compat"),
    (0x60, 4, "s_feature_incompat"),
    (0x64, 4, "s_feature_ro_compat"),
    (0x68, 8, "s_uuid"),
    (0xce, 2, "s_reserved_gdt_blocks"),
    (0xe0, 4, "s_journal_inum"),
    (0xe4, 4, "s_journal_dev"),
    (0xe8, 4, "s_last_orphan"),
    (0xec, 4, "s_hash_seed"),
    (0xfc, 1, "s_def_hash_version"),
    (0xfd, 1, "s_jnl_backup_type"),
    (0xfe, 2, "s_desc_size"),
    (0x100, 4, "s_default_mount_opts"),
    (0x104, 4, "s_first_meta_bg"),
    (0x150, 4, "s_blocks_count_hi"),
    (0x154, 4, "s_r_blocks_count_hi"),
    (0x158, 4, "s_free_blocks_count_hi"),
    (0x15c, 2, "s_min_extra_isize"),
    (0x15e, 2, "s_want_extra_isize"),
    (0x160, 4, "s_flags"),
    (0x164, 2, "s_raid_stride"),
    (0x170, 4, "s_raid_stripe_width"),
    (0x174, 1, "s_log_groups_per_flex"),
    (0x175, 1, "s_checksum_type"),
    (0x194, 4, "s_error_count"),
    (0x198, 4, "s_first_error_time"),
    (0x1cc, 4, "s_last_error_time"),
    (0x248, 4, "s_overhead_clusters"),
    (0x24c, 4, "s_backup_bgs[0]"),
    (0x250, 4, "s_backup_bgs[1]"),
    (0x270, 4, "s_checksum_seed"),
    (0x27c, 2, "s_encoding"),
    (0x280, 4, "s_orphan_file_inum"),
];

const GROUP_DESC: Table = &[
    (0x0, 4, "bg_block_bitmap_lo"),
    (0x4, 4, "bg_inode_bitmap_lo"),
    (0x8, 4, "bg_inode_table_lo"),
    (0xc, 2, "bg_free_blocks_count_lo"),
    (0xe, 2, "bg_free_inodes_count_lo"),
    (0x10, 2, "bg_used_dirs_count_lo"),
    (0x12, 2, "bg_flags"),
    (0x18, 2, "bg_block_bitmap_csum_lo"),
    (0x1a, 2, "bg_inode_bitmap_csum_lo"),
    (0x1c, 2, "bg_itable_unused_lo"),
    (0x20, 4, "bg_block_bitmap_hi"),
    (0x24, 4, "bg_inode_bitmap_hi"),
    (0x28, 4, "bg_inode_table_hi"),
    (0x2c, 2, "bg_free_blocks_count_hi"),
    (0x2e, 2, "bg_free_inodes_count_hi"),
    (0x30, 2, "bg_used_dirs_count_hi"),
    (0x32, 2, "bg_itable_unused_hi"),
];

const INODE: Table = &[
    (0x0, 2, "i_mode"),
    (0x2, 2, "i_uid"),
    (0x4, 4, "i_size_lo"),
    (0x8, 4, "i_atime"),
    (0xc, 4, "i_ctime"),
    (0x10, 4, "i_mtime"),
    (0x14, 4, "i_dtime"),
    (0x18, 2, "i_gid"),
    (0x1a, 2, "i_links_count"),
    (0x1c, 4, "i_blocks_lo"),
    (0x20, 4, "i_flags"),
    (0x24, 4, "i_version"),
    (0x64, 4, "i_generation"),
    (0x68, 4, "i_file_acl_lo"),
    (0x6c, 4, "i_size_high"),
    (0x74, 2, "i_blocks_hi"),
    (0x76, 2, "i_file_acl_hi"),
    (0x78, 2, "i_uid_hi"),
    (0x7a, 2, "i_gid_hi"),
    (0x80, 2, "i_extra_isize"),
    (0x84, 4, "i_ctime_extra"),
    (0x88, 4, "i_mtime_extra"),
    (0x8c, 4, "i_atime_extra"),
    (0x90, 4, "i_crtime"),
    (0x94, 4, "i_crtime_extra"),
    (0x98, 4, "i_version_hi"),
    // Attributes in the inode, where they usually begin.
    (0xa0, 4, "h_magic"),
    (0xa4, 1, "e_name_len"),
    (0xa5, 1, "e_name_index"),
    (0xa6, 2, "e_value_offs"),
    (0xa8, 4, "e_value_inum"),
    (0xac, 4, "e_value_size"),
];

/// `i_block` of an inode, as the root of an extent tree, or words.
const I_BLOCK: u64 = 0x28;

const EXTENT_HEADER: Table = &[
    (0, 2, "eh_magic"),
    (2, 2, "eh_entries"),
    (4, 2, "eh_max"),
    (6, 2, "eh_depth"),
    (8, 4, "eh_generation"),
];

const EXTENT: Table = &[
    (0, 4, "ee_block"),
    (4, 2, "ee_len"),
    (6, 2, "ee_start_hi"),
    (8, 4, "ee_start_lo"),
];

const EXTENT_INDEX: Table = &[
    (0, 4, "ei_block"),
    (4, 4, "ei_leaf_lo"),
    (8, 2, "ei_leaf_hi"),
];

const DIRENT: Table = &[
    (0, 4, "inode"),
    (4, 2, "rec_len"),
    (6, 1, "name_len"),
    (7, 1, "file_type"),
    (8, 1, "name[0]"),
    (9, 1, "name[1]"),
];

const DIR_ROOT: Table = &[
    (0x0, 4, "dot.inode"),
    (0x4, 2, "dot.rec_len"),
    (0x6, 1, "dot.name_len"),
    (0x7, 1, "dot.file_type"),
    (0xc, 4, "dotdot.inode"),
    (0x10, 2, "dotdot.rec_len"),
    (0x12, 1, "dotdot.name_len"),
    (0x18, 4, "dx_root_info.reserved"),
    (0x1c, 1, "hash_version"),
    (0x1d, 1, "info_length"),
    (0x1e, 1, "indirect_levels"),
    (0x1f, 1, "unused_flags"),
    (0x20, 2, "limit"),
    (0x22, 2, "count"),
    (0x24, 4, "block"),
];

const DIR_NODE: Table = &[
    (0x0, 4, "fake.inode"),
    (0x4, 2, "fake.rec_len"),
    (0x6, 1, "fake.name_len"),
    (0x8, 2, "limit"),
    (0xa, 2, "count"),
    (0xc, 4, "block"),
];

const DIR_ENTRY: Table = &[(0, 4, "dx_entry.hash"), (4, 4, "dx_entry.block")];

// The first block: what is said of all records. In the others, references of the tree, or the head of a block of
// records and the first of them.
const QUOTA: Table = &[
    (0x0, 4, "word[0]"),
    (0x4, 4, "word[1]"),
    (0x8, 4, "dqi_bgrace"),
    (0xc, 4, "dqi_igrace"),
    (0x10, 4, "dqi_flags"),
    (0x14, 4, "dqi_blocks"),
    (0x18, 4, "dqi_free_blk"),
    (0x1c, 4, "dqi_free_entry"),
    (0x10, 4, "dqb_id"),
    (0x18, 8, "dqb_ihardlimit"),
    (0x28, 8, "dqb_curinodes"),
    (0x30, 8, "dqb_bhardlimit"),
    (0x40, 8, "dqb_curspace"),
];

const XATTR: Table = &[
    (0x0, 4, "h_magic"),
    (0x4, 4, "h_refcount"),
    (0x8, 4, "h_blocks"),
    (0xc, 4, "h_hash"),
    (0x20, 1, "e_name_len"),
    (0x21, 1, "e_name_index"),
    (0x22, 2, "e_value_offs"),
    (0x24, 4, "e_value_inum"),
    (0x28, 4, "e_value_size"),
    (0x2c, 4, "e_hash"),
];

const JOURNAL_SUPER: Table = &[
    (0x0, 4, "h_magic"),
    (0x4, 4, "h_blocktype"),
    (0x8, 4, "h_sequence"),
    (0xc, 4, "s_blocksize"),
    (0x10, 4, "s_maxlen"),
    (0x14, 4, "s_first"),
    (0x18, 4, "s_sequence"),
    (0x1c, 4, "s_start"),
    (0x20, 4, "s_errno"),
    (0x24, 4, "s_feature_compat"),
    (0x28, 4, "s_feature_incompat"),
    (0x2c, 4, "s_feature_ro_compat"),
    (0x30, 8, "s_uuid"),
    (0x40, 4, "s_nr_users"),
    (0x50, 1, "s_checksum_type"),
    (0x54, 4, "s_num_fc_blks"),
    (0x58, 4, "s_head"),
    (0xfc, 4, "s_checksum"),
];

const JOURNAL_HEADER: Table = &[
    (0x0, 4, "h_magic"),
    (0x4, 4, "h_blocktype"),
    (0x8, 4, "h_sequence"),
    // The first tag of a descriptor; the count of a revoke block; the checksum type of a commit block.
    (0xc, 4, "word[3]"),
    (0x10, 4, "word[4]"),
    (0x14, 4, "word[5]"),
    (0x18, 4, "word[6]"),
    (0x1c, 4, "word[7]"),
    (0x20, 4, "word[8]"),
    (0x30, 8, "h_commit_sec"),
];

/// The fields of a structure, those of its entries included, as it is now.
pub fn fields(edit: &Edit<'_>, place: &Place) -> Vec<Field> {
    let mut fields = Fields {
        place,
        found: Vec::new(),
    };
    match place.kind {
        Kind::Super => fields.add(SUPER, 0),
        Kind::GroupDesc => fields.add(GROUP_DESC, 0),
        Kind::BlockBitmap | Kind::InodeBitmap => {
            for at in [0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 255] {
                fields.add(&[(0, 1, "bits")], at);
            }
        }
        Kind::Inode => {
            fields.add(INODE, 0);
            fields.node(edit, I_BLOCK, 60);
        }
        Kind::ExtentNode => fields.node(edit, 0, place.len as u64),
        Kind::DirLeaf => fields.records(edit),
        Kind::DirRoot => {
            fields.add(DIR_ROOT, 0);
            fields.entries(DIR_ENTRY, 0x28, edit.get(place.at + 0x22, 2), 8);
        }
        Kind::DirNode => {
            fields.add(DIR_NODE, 0);
            fields.entries(DIR_ENTRY, 0x10, edit.get(place.at + 0xa, 2), 8);
        }
        Kind::Xattr => fields.add(XATTR, 0),
        Kind::Symlink => fields.entries(&[(0, 1, "target")], 0, 16, 1),
        Kind::Quota => fields.add(QUOTA, 0),
        Kind::Orphan => {
            fields.entries(&[(0, 4, "slot")], 0, 8, 4);
            fields.add(
                &[(0, 4, "ob_magic"), (4, 4, "ob_checksum")],
                place.len as u64 - 8,
            );
        }
        Kind::JournalSuper => fields.add(JOURNAL_SUPER, 0),
        Kind::JournalDescriptor => {
            fields.add(JOURNAL_HEADER, 0);
            fields.entries(&[(0, 4, "tag word")], 0x24, 8, 4);
        }
        Kind::JournalRevoke | Kind::JournalCommit => fields.add(JOURNAL_HEADER, 0),
    }
    fields.found
}

struct Fields<'p> {
    place: &'p Place,
    found: Vec<Field>,
}

impl Fields<'_> {
    fn add(&mut self, table: Table, base: u64) {
        let big_endian = matches!(
            self.place.kind,
            Kind::JournalSuper
                | Kind::JournalDescriptor
                | Kind::JournalRevoke
                | Kind::JournalCommit
        );
        let len = self.place.len as u64;
        let inside = table
            .iter()
            .filter(|(at, width, _)| base + at + *width as u64 <= len);
        self.found.extend(inside.map(|(at, width, name)| Field {
            at: self.place.at + base + at,
            width: *width,
            name,
            big_endian,
        }));
    }

    /// A few of `count` entries: the first ones, one in the middle, the last, and the one behind it.
    fn entries(&mut self, table: Table, base: u64, count: u64, size: u64) {
        let mut chosen = vec![0, 1, 2, count / 2, count.saturating_sub(1), count];
        chosen.sort_unstable();
        chosen.dedup();
        for i in chosen {
            self.add(table, base + i * size);
        }
    }

    fn node(&mut self, edit: &Edit<'_>, base: u64, len: u64) {
        let at = self.place.at + base;
        self.add(EXTENT_HEADER, base);
        let count = edit.get(at + 2, 2).min(len / 12 - 1);
        let table = match edit.get(at + 6, 2) {
            0 => EXTENT,
            _ => EXTENT_INDEX,
        };
        self.entries(table, base + 12, count, 12);
    }

    /// The records of a block of a directory, as far as they lead from one to the next.
    fn records(&mut self, edit: &Edit<'_>) {
        let mut at = 0;
        for _ in 0..24 {
            self.add(DIRENT, at);
            let len = edit.get(self.place.at + at + 4, 2);
            if len == 0 || at + len >= self.place.len as u64 {
                break;
            }
            at += len;
        }
        if self.place.len > 12 {
            self.add(DIRENT, self.place.len as u64 - 12);
        }
    }
}
