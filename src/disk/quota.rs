// SPDX-License-Identifier: GPL-2.0

//! Quota files: where the kernel's quota code keeps what users, groups and projects have and may have.
//!
//! What is in them is that code's business (`fs/quota/quota_v2.c`, `quota_tree.c`). Their blocks are metadata without a
//! checksum (Documentation/filesystems/ext4/super.rst: `s_usr_quota_inum`).

use crate::disk::{Bare, BlockKind};

/// A block of a quota file.
#[derive(Clone, Copy)]
pub struct QuotaFormat;

impl Bare for QuotaFormat {
    const KIND: BlockKind = BlockKind::Quota;
}
