// SPDX-License-Identifier: GPL-2.0

//! What a workload did, and what it was promised: each thread's operations in their order, and the marks that bind the
//! promises to places in the log.
//!
//! # Invariants
//!
//! Each thread has files and directories of its own, and in what is shared its own names and its own blocks. So all
//! that is ever known of a file is in the order of one thread.

use anyhow::{ensure, Context, Result};
use rustix::fs::{lgetxattr, llistxattr};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The number of an operation of one thread, from 1. It is also the number of the write in the file's content.
pub type Seq = u32;

/// A file or directory. It is also the number of the file in its content. The thread is in the upper bits.
pub type NodeId = u32;

/// A name in a directory.
pub type Name = (NodeId, String);

/// The first node of a thread: the directory that all threads share, where the thread has the names that begin with
/// [`prefix`].
pub fn shared_dir(thread: usize) -> NodeId {
    (thread as NodeId + 1) << 16
}

/// The thread's own directory.
pub fn own_dir(thread: usize) -> NodeId {
    shared_dir(thread) + 1
}

/// The thread's blocks in the file that all threads write: every so manieth block of [`STRIPE`] bytes.
pub fn striped(thread: usize) -> NodeId {
    shared_dir(thread) + 2
}

/// The first node that a thread makes by itself.
pub fn first_node(thread: usize) -> NodeId {
    shared_dir(thread) + 3
}

/// Bytes of the shared file that belong to the same thread.
pub const STRIPE: u64 = 4096;

/// What the thread's names in the shared directory begin with.
pub fn prefix(thread: usize) -> String {
    format!("t{thread}-")
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link and its target.
    Symlink(String),
}

/// The value of an extended attribute.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value(pub Vec<u8>);

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes ", self.0.len())?;
        self.0.iter().take(8).try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// Extended attributes, by their names.
pub type Extended = BTreeMap<String, Value>;

/// More than all names of a node take, and more than any value of a workload.
const XATTR_ROOM: usize = 16384;

/// The extended attributes of a node, which may be a symbolic link.
fn extended(path: &Path) -> Result<Extended> {
    let mut room = [0; XATTR_ROOM];
    let len = llistxattr(path, &mut room[..]).context("a list of attributes")?;
    let names = std::str::from_utf8(&room[..len])?.to_owned();
    let mut all = Extended::new();
    for name in names.split_terminator('\0') {
        let len = lgetxattr(path, name, &mut room[..])
            .with_context(|| format!("the attribute {name}"))?;
        let twice = all.insert(name.to_owned(), Value(room[..len].to_vec()));
        ensure!(twice.is_none(), "the attribute {name} is listed twice");
    }
    Ok(all)
}

/// What `chmod`, `chown`, `utimensat` and `setxattr` set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attrs {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// When it was last written: seconds and nanoseconds. `None` where nobody has chosen it, or something was written
    /// since: then it is whatever the clock said.
    pub mtime: Option<(i64, i64)>,
    /// Access control lists among them.
    pub extended: Extended,
}

impl Attrs {
    /// As they are.
    pub fn of(path: &Path) -> Result<Self> {
        let meta = fs::symlink_metadata(path)?;
        Ok(Attrs {
            mode: meta.mode() & 0o7777,
            uid: meta.uid(),
            gid: meta.gid(),
            mtime: Some((meta.mtime(), meta.mtime_nsec())),
            extended: extended(path)?,
        })
    }

    /// May they be found where `self` must be?
    pub fn are(&self, found: &Attrs) -> bool {
        let same = (self.mode, self.uid, self.gid) == (found.mode, found.uid, found.gid);
        let same = same && self.extended == found.extended;
        same && (self.mtime.is_none() || self.mtime == found.mtime)
    }
}

/// How bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// As most are: by `pwrite`.
    Plain,
    /// Stored to a shared mapping.
    Mapped,
    /// `RWF_ATOMIC`.
    Atomic,
}

/// What `fallocate` does to bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fallocate {
    /// Blocks; with `keep_size` the file does not grow.
    Allocate { keep_size: bool },
    /// Zeros, as [`Fallocate::Allocate`].
    Zero { keep_size: bool },
    /// A hole.
    Punch,
    /// They go, and what is behind them takes their place.
    Collapse,
    /// A hole before what is there.
    Insert,
}

impl Fallocate {
    /// The size that a file of `now` bytes has then, if it is done to `len` bytes at `offset`.
    pub fn size(self, now: u64, offset: u64, len: u64) -> u64 {
        match self {
            Fallocate::Allocate { keep_size: false } | Fallocate::Zero { keep_size: false } => {
                now.max(offset + len)
            }
            Fallocate::Collapse => now - len,
            Fallocate::Insert => now + len,
            _ => now,
        }
    }
}

/// One thing that a thread did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Op {
    /// A new node, with its inode number and attributes.
    Make {
        at: Name,
        node: NodeId,
        kind: Kind,
        ino: u64,
        attrs: Attrs,
    },
    /// Another name of a file.
    Link { node: NodeId, at: Name },
    /// `unlink` or `rmdir`.
    Remove { at: Name },
    /// `rename`; what was at `to` loses that name.
    Rename { from: Name, to: Name },
    /// `renameat2` with `RENAME_EXCHANGE`.
    Swap { a: Name, b: Name },
    /// `chmod`, `chown`, `utimensat`, `setxattr` or `removexattr`; what the attributes are then. A `chmod` of what has
    /// an access control list is two: the mode, and then the list.
    Set { node: NodeId, attrs: Attrs },
    /// Bytes by [`crate::content::bytes`]. None are those of an atomic write that was refused: only the file's time is
    /// another one.
    Write {
        node: NodeId,
        offset: u64,
        len: u64,
        how: How,
    },
    /// `ftruncate`.
    Truncate { node: NodeId, size: u64 },
    /// `fallocate`. Where the file's bytes move, it was synced before.
    Fallocate {
        node: NodeId,
        how: Fallocate,
        offset: u64,
        len: u64,
    },
    /// `EXT4_IOC_MOVE_EXT` of these bytes, where the donor has blocks without data. Both files have in them what they
    /// had, and their times stay.
    Exchange {
        node: NodeId,
        donor: NodeId,
        offset: u64,
        donor_offset: u64,
        len: u64,
    },
    /// Nothing by itself: with any operation that comes later the file's content is there, as it is now or as it was
    /// made later. It is about to take the name of another file, or was cut off, written anew and closed.
    Whole { node: NodeId },
    /// `FS_IOC_SETFSLABEL`; the first thread alone does it.
    Label { name: String },
}

/// What must be there from a mark on, until it is changed by an operation that comes later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Promise {
    /// `fsync` or `fdatasync`: all of the file up to `seq`, and names and attributes up to `names`.
    File { node: NodeId, seq: Seq, names: Seq },
    /// `O_DSYNC` or `msync`: these bytes of the file as of `seq`, what is needed to find them, and the names up to
    /// `names`.
    Range {
        node: NodeId,
        seq: Seq,
        offset: u64,
        len: u64,
        names: Seq,
    },
    /// `fsync` of a directory: names and attributes up to `names`.
    Names { names: Seq },
    /// `sync` or `syncfs`: all that each thread had done.
    All { done: Vec<Seq> },
    /// fio has finished its file (`fio.rs`), with this seed.
    Fio { seed: u32 },
}

/// A promise in the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mark {
    /// Who made the mark.
    pub thread: usize,
    /// The thread's last operation before it. What comes later cannot be in the log in front of the mark.
    pub done: Seq,
    /// What the thread was told.
    pub promise: Promise,
}

/// A whole workload.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct History {
    /// The operations of each thread; operation 1 is the first.
    pub threads: Vec<Vec<Op>>,
    /// Marks by their number, which is what the log has.
    pub marks: BTreeMap<u32, Mark>,
}

impl Op {
    /// The names that the operation changes, with the directories that hold them; none for a change of content or of
    /// attributes.
    pub fn names(&self) -> Vec<&Name> {
        match self {
            Op::Make { at, .. } | Op::Link { at, .. } | Op::Remove { at } => vec![at],
            Op::Rename { from, to } => vec![from, to],
            Op::Swap { a, b } => vec![a, b],
            Op::Set { .. }
            | Op::Write { .. }
            | Op::Truncate { .. }
            | Op::Fallocate { .. }
            | Op::Exchange { .. }
            | Op::Whole { .. }
            | Op::Label { .. } => Vec::new(),
        }
    }
}
