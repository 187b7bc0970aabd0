// SPDX-License-Identifier: GPL-2.0

//! The feature words of the super block (Documentation/filesystems/ext4/super.rst).
//!
//! A bit that is not known here means, by the word that it is in: nothing (`compat`), that the file system may
//! only be read (`ro_compat`), or that it must not be touched (`incompat`).

use kernel::fmt;

/// Features that may be ignored.
pub mod compat {
    /// There is a journal.
    pub const HAS_JOURNAL: u32 = 0x4;
    /// Inodes may have extended attributes.
    pub const EXT_ATTR: u32 = 0x8;
    /// Directories may have a hash tree.
    pub const DIR_INDEX: u32 = 0x20;
    /// At most two backups of the super block, in groups that it names.
    pub const SPARSE_SUPER2: u32 = 0x200;
    /// Inodes keep their numbers, and the volume its UUID: what users encrypt goes by them.
    pub const STABLE_INODES: u32 = 0x800;
    /// Orphans are kept in a file.
    pub const ORPHAN_FILE: u32 = 0x1000;
}

/// Features without which the file system may only be read.
pub mod ro_compat {
    /// Backups of the super block only in some groups.
    pub const SPARSE_SUPER: u32 = 0x1;
    /// Files larger than 2 GiB - 1.
    pub const LARGE_FILE: u32 = 0x2;
    /// Files larger than 2^32 - 1 sectors.
    pub const HUGE_FILE: u32 = 0x8;
    /// Group descriptors have a CRC-16 and the marks "not initialised".
    pub const GDT_CSUM: u32 = 0x10;
    /// A directory may have more than 65000 subdirectories; its link count is then 1.
    pub const DIR_NLINK: u32 = 0x20;
    /// Inodes have a larger body.
    pub const EXTRA_ISIZE: u32 = 0x40;
    /// What users and groups have is counted, in files of the file system's own.
    pub const QUOTA: u32 = 0x100;
    /// Blocks are allocated in clusters.
    pub const BIGALLOC: u32 = 0x200;
    /// All metadata has checksums.
    pub const METADATA_CSUM: u32 = 0x400;
    /// The file system is never written.
    pub const READONLY: u32 = 0x1000;
    /// Inodes say which project they count for.
    pub const PROJECT: u32 = 0x2000;
    /// The orphan file may have entries.
    pub const ORPHAN_PRESENT: u32 = 0x10000;

    /// What can be written.
    pub const SUPPORTED: u32 = SPARSE_SUPER
        | LARGE_FILE
        | HUGE_FILE
        | GDT_CSUM
        | DIR_NLINK
        | EXTRA_ISIZE
        | QUOTA
        | METADATA_CSUM
        | PROJECT
        | ORPHAN_PRESENT;
}

/// Features without which the file system must not be touched.
pub mod incompat {
    /// Directory entries have the file's type.
    pub const FILETYPE: u32 = 0x2;
    /// The journal must be replayed.
    pub const RECOVER: u32 = 0x4;
    /// Files may be mapped by extents.
    pub const EXTENTS: u32 = 0x40;
    /// 64-bit block numbers, larger group descriptors.
    pub const SIXTY_FOUR_BIT: u32 = 0x80;
    /// The metadata of several groups lies together.
    pub const FLEX_BG: u32 = 0x200;
    /// Values of extended attributes may be in inodes of their own.
    pub const EA_INODE: u32 = 0x400;
    /// The checksum seed is in the super block.
    pub const CSUM_SEED: u32 = 0x2000;
    /// Directories may be larger than 4 GiB, and their hash trees have a level more.
    pub const LARGE_DIR: u32 = 0x4000;

    /// What can be read.
    pub const SUPPORTED: u32 =
        FILETYPE | RECOVER | EXTENTS | SIXTY_FOUR_BIT | FLEX_BG | EA_INODE | CSUM_SEED | LARGE_DIR;
}

/// Names as `mke2fs -O` and `dumpe2fs` have them.
const INCOMPAT_NAMES: &[(u32, &str)] = &[
    (0x1, "compression"),
    (incompat::FILETYPE, "filetype"),
    (incompat::RECOVER, "needs_recovery"),
    (0x8, "journal_dev"),
    (0x10, "meta_bg"),
    (incompat::EXTENTS, "extent"),
    (incompat::SIXTY_FOUR_BIT, "64bit"),
    (0x100, "mmp"),
    (incompat::FLEX_BG, "flex_bg"),
    (incompat::EA_INODE, "ea_inode"),
    (0x1000, "dirdata"),
    (incompat::CSUM_SEED, "metadata_csum_seed"),
    (incompat::LARGE_DIR, "large_dir"),
    (0x8000, "inline_data"),
    (0x10000, "encrypt"),
    (0x20000, "casefold"),
];

const RO_COMPAT_NAMES: &[(u32, &str)] = &[
    (ro_compat::SPARSE_SUPER, "sparse_super"),
    (ro_compat::LARGE_FILE, "large_file"),
    (0x4, "btree_dir"),
    (ro_compat::HUGE_FILE, "huge_file"),
    (ro_compat::GDT_CSUM, "uninit_bg"),
    (ro_compat::DIR_NLINK, "dir_nlink"),
    (ro_compat::EXTRA_ISIZE, "extra_isize"),
    (0x80, "snapshot"),
    (ro_compat::QUOTA, "quota"),
    (ro_compat::BIGALLOC, "bigalloc"),
    (ro_compat::METADATA_CSUM, "metadata_csum"),
    (0x800, "replica"),
    (ro_compat::READONLY, "read-only"),
    (ro_compat::PROJECT, "project"),
    (0x4000, "shared_blocks"),
    (0x8000, "verity"),
    (ro_compat::ORPHAN_PRESENT, "orphan_present"),
];

/// A set of features of one word, printed by name. Bits without a name are printed as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureSet {
    bits: u32,
    names: &'static [(u32, &'static str)],
}

impl FeatureSet {
    fn incompat(bits: u32) -> Self {
        Self {
            bits,
            names: INCOMPAT_NAMES,
        }
    }

    fn ro_compat(bits: u32) -> Self {
        Self {
            bits,
            names: RO_COMPAT_NAMES,
        }
    }
}

impl fmt::Display for FeatureSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.bits;
        let mut separator = "";
        for (bit, name) in self.names {
            if rest & bit != 0 {
                f.write_str(separator)?;
                f.write_str(name)?;
                separator = ", ";
                rest &= !bit;
            }
        }
        if rest != 0 {
            write!(f, "{separator}{rest:#x}")?;
        }
        Ok(())
    }
}

/// The three feature words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// See [`compat`].
    pub compat: u32,
    /// See [`incompat`].
    pub incompat: u32,
    /// See [`ro_compat`].
    pub ro_compat: u32,
}

impl Features {
    /// Whether all these bits of the word `compat` are set.
    pub const fn has_compat(&self, bits: u32) -> bool {
        self.compat & bits == bits
    }

    /// Whether all these bits of the word `incompat` are set.
    pub const fn has_incompat(&self, bits: u32) -> bool {
        self.incompat & bits == bits
    }

    /// Whether all these bits of the word `ro_compat` are set.
    pub const fn has_ro_compat(&self, bits: u32) -> bool {
        self.ro_compat & bits == bits
    }

    /// The features for which the file system cannot be mounted at all.
    pub fn unsupported(&self) -> Option<FeatureSet> {
        let bits = self.incompat & !incompat::SUPPORTED;
        (bits != 0).then(|| FeatureSet::incompat(bits))
    }

    /// The features for which the file system cannot be mounted for writing.
    pub fn unsupported_for_writing(&self) -> Option<FeatureSet> {
        let bits = self.ro_compat & !ro_compat::SUPPORTED;
        (bits != 0).then(|| FeatureSet::ro_compat(bits))
    }
}
