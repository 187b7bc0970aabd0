// SPDX-License-Identifier: GPL-2.0

//! Mounts.
//!
//! | file | what is in it |
//! |---|---|
//! | [`table`] | the filesystem type: mount, remount, unmount, `statfs` |
//! | [`options`] | the mount options |
//! | [`state`] | a mounted file system: up, read-only and back, freeze, sync, down |
//! | [`store`] | the core's blocks and transactions, as buffers and jbd2 handles |
//! | [`journal`], [`client`] | the journal at mount; what jbd2 asks and tells |
//! | [`superblock`] | what is written to the super block, and when |
//! | [`mount_point`] | where it is mounted, for the super block |
//! | [`errors`] | what happens when an error is found |
//! | [`attributes`] | what sysfs has of a mount |
//! | [`figures`] | what debugfs has of a mount |
//! | [`fsmap`] | what the blocks of the device are for |
//! | [`quota`] | what users, groups and projects have is counted |
//! | [`trim`] | the device is told of free blocks |
//! | [`background`] | what runs beside the callers |

mod attributes;
pub(crate) mod background;
pub(crate) mod client;
pub(crate) mod errors;
mod figures;
pub(crate) mod fsmap;
pub(crate) mod journal;
pub(crate) mod mount_point;
pub(crate) mod options;
mod quota;
pub(crate) mod state;
pub(crate) mod store;
pub(crate) mod superblock;
pub(crate) mod table;
pub(crate) mod trim;

pub(crate) use options::Dax;
pub(crate) use store::{JournalStore, Orphans, Tx, Volume};
