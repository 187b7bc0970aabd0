// SPDX-License-Identifier: GPL-2.0

//! What the VFS calls, and what carries the core in the kernel.
//!
//! | file | what is in it |
//! |---|---|
//! | [`mount`] | the filesystem type: options, mount, remount, unmount, `statfs` |
//! | [`inode`] | inodes: how they come into memory, are written and leave it; attributes |
//! | [`dir`] | open directories |
//! | [`regular`] | regular files: which of the following serves what |
//! | [`write`](mod@write) | writing: checks, the page cache |
//! | [`dio`] | direct reads and writes |
//! | [`begin`] | how iomap finds, reserves and chooses blocks |
//! | [`extents`] | between iomap's bytes and the core's blocks |
//! | [`complete`] | after the data is on the device: the file shows it |
//! | [`truncate`] | changing the size, freeing blocks |
//! | [`fsync`] | making a file durable |
//! | [`names`] | lookup, and all that changes a directory |
//! | [`symlink`] | symbolic links |
//! | [`store`] | the core's blocks and transactions, as buffers and jbd2 handles |
//! | [`journal`] | finding and opening the journal |
//! | [`mounted`] | a mounted file system: up, read-only and back, freeze, sync, down |
//! | [`superblock`] | what is written to the super block, and when |
//! | [`errors`] | what happens when an error is found |
//! | [`background`] | what runs beside the callers |

pub(crate) mod background;
mod begin;
mod complete;
mod dio;
mod dir;
pub(crate) mod errors;
mod extents;
mod fsync;
mod inode;
pub(crate) mod journal;
mod mount;
pub(crate) mod mounted;
mod names;
mod regular;
pub(crate) mod store;
pub(crate) mod superblock;
mod symlink;
mod truncate;
mod write;

use crate::linux::{inode::INode, super_block};

pub(crate) use inode::Data;
pub(crate) use mount::Fs;
pub(crate) use store::JournalStore;

/// A super block of ours.
pub(crate) type SuperBlock = super_block::SuperBlock<Fs>;
/// An inode of ours.
pub(crate) type Node = INode<Fs>;
/// What the core needs of a mounted file system.
pub(crate) type Volume = crate::volume::Volume<JournalStore>;
/// The inodes that a recovery has to look after.
pub(crate) type Orphans = crate::inode::Orphans<JournalStore>;
/// An inode as the core has it; the map lock guards it.
pub(crate) type Core = crate::inode::Inode;
