// SPDX-License-Identifier: GPL-2.0

//! What mount options change in the core, and a remount may change again.
//!
//! # Locks
//!
//! None: each is one word.

use crate::disk::layout::ReserveOwner;
use crate::disk::Layout;
use kernel::sync::atomic::{Atomic, Relaxed};

/// See the top of the file.
pub struct Settings {
    /// Who may use the reserved blocks: the user, and above it the group.
    reserve_owner: Atomic<u64>,
    /// The size in KiB from which on a directory does not grow; 0 for none.
    max_dir_kib: Atomic<u32>,
}

impl Settings {
    /// Those of a volume that nobody has said anything about.
    pub fn new(layout: &Layout) -> Self {
        let this = Self {
            reserve_owner: Atomic::new(0),
            max_dir_kib: Atomic::new(0),
        };
        this.set_reserve_owner(layout.reserve_owner());
        this
    }

    /// Who may use the reserved blocks.
    pub fn reserve_owner(&self) -> ReserveOwner {
        let both = self.reserve_owner.load(Relaxed);
        ReserveOwner {
            uid: both as u32,
            gid: (both >> 32) as u32,
        }
    }

    /// Sets who may use them from now on.
    pub fn set_reserve_owner(&self, owner: ReserveOwner) {
        let both = u64::from(owner.uid) | u64::from(owner.gid) << 32;
        self.reserve_owner.store(both, Relaxed);
    }

    /// Whether a directory of so many bytes must not grow.
    pub fn is_full_directory(&self, size: u64) -> bool {
        match self.max_dir_kib.load(Relaxed) {
            0 => false,
            kib => size >> 10 >= kib.into(),
        }
    }

    /// Sets from which size on directories do not grow, in KiB; 0 for none.
    pub fn set_max_dir_kib(&self, kib: u32) {
        self.max_dir_kib.store(kib, Relaxed);
    }
}
