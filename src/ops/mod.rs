// SPDX-License-Identifier: GPL-2.0

//! What the VFS calls, and what carries the core in the kernel.
//!
//! Tests: `qemu/test/t`, in a guest (`qemu/test/run --list` says what each would catch).
//!
//! | file | what is in it |
//! |---|---|
//! | [`kinds`] | which operations an inode has, by its type |
//! | [`file`](mod@file) | regular files: the page cache, direct I/O, iomap, sizes |
//! | [`dir`] | directories: names, listing |
//! | [`symlink`] | symbolic links whose target has a block |
//! | [`inode`] | what all inodes have: data in memory, reading, attributes, the end |
//! | [`mount`] | mounts: options, states, super block, journal, errors, what runs beside the callers |
//! | [`reclaim`] | what is done where there is no space |
//! | [`durable`] | what is done to make a change durable |
//!
//! What a system call changes on disk is in [`change`](crate::change); here are the locks of the VFS, the page cache,
//! and waiting.

pub(crate) mod dir;
pub(crate) mod durable;
pub(crate) mod file;
pub(crate) mod inode;
mod kinds;
pub(crate) mod mount;
pub(crate) mod reclaim;
mod symlink;

use crate::linux::{inode::INode, super_block};

pub(crate) use inode::Data;
pub(crate) use mount::{Fs, JournalStore};

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
