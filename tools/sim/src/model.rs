// SPDX-License-Identifier: GPL-2.0

//! What must be there.
//!
//! All changes of metadata go through the journal in order. So a power cut takes the file system back to the end of
//! some transaction, exactly, and [`History`] has the state at the end of each. Data is not journalled: a block
//! that is mapped at the end of a transaction has what was written to it before that, or something newer.

use crate::device::Bytes;
use iomapfs_core::change::label::LABEL_MAX;
use iomapfs_core::disk::superblock::RawSuper;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::rc::Rc;

/// Something that was written to a block of a file.
#[derive(Clone, Debug)]
pub struct Version {
    /// What.
    pub bytes: Bytes,
    /// The byte of the file up to which there is data.
    pub end: u64,
    /// The event at which it was submitted.
    pub submitted: usize,
    /// The event at which it was done, if it is.
    pub done: Option<usize>,
    /// Whether no power cut can lose it when it is done.
    pub durable: bool,
}

/// All that was written to a block of a file since it was chosen.
pub type Content = Rc<RefCell<Vec<Version>>>;

/// An atomic write.
#[derive(Clone, Debug)]
pub struct Whole {
    /// The blocks.
    pub blocks: Range<u32>,
    /// The number of the write.
    pub version: u32,
}

/// The type of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Link,
    /// A device.
    Device,
}

/// Extended attributes: the number of what the name begins with, the rest of it, and the value.
pub type Attributes = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

/// An inode as it is on disk, as soon as the running transaction has committed.
#[derive(Clone, Debug)]
pub struct Inode {
    /// Its type.
    pub kind: Kind,
    /// Its generation.
    pub generation: u32,
    /// Its extended attributes.
    pub attributes: Attributes,
    /// Links: without any it is an orphan, and free after a recovery.
    pub links: u32,
    /// Size of a file or link in bytes.
    pub size: u64,
    /// The blocks of a file that are mapped and written.
    pub blocks: BTreeMap<u32, Content>,
    /// Where a file ended within a block, and from which event on: what was submitted before is zero from that byte of
    /// the block on, once the file goes on behind it.
    pub ends: BTreeMap<u32, Vec<(usize, usize)>>,
    /// The blocks of a file that are allocated and not written.
    pub unwritten: BTreeSet<u32>,
    /// Whether a recovery cuts the file off at its size: then nothing is behind it.
    pub may_be_cut: bool,
    /// The names in a directory.
    pub names: BTreeMap<Vec<u8>, u32>,
    /// The directory that a directory is in.
    pub parent: u32,
    /// The target of a link.
    pub target: Vec<u8>,
    /// The events after which `fsync` of it had returned.
    pub synced: Rc<RefCell<Vec<usize>>>,
    /// What was written that must be there whole or not at all, unless something else is done to its blocks.
    pub whole: Rc<RefCell<Vec<Whole>>>,
    /// From which event on its change counter is at least how great on disk. The times are written with it.
    pub versions: Rc<RefCell<Vec<(usize, u64)>>>,
}

impl Inode {
    /// Whether all data of a file is found as it would be with `other`.
    pub fn finds_same(&self, other: &Self) -> bool {
        self.size == other.size && self.blocks.keys().eq(other.blocks.keys())
    }

    /// Blocks of a file become something else than what is written there.
    pub fn forget_whole(&mut self, blocks: Range<u32>) {
        let mut kept = self.whole.borrow().clone();
        kept.retain(|one| one.blocks.end <= blocks.start || one.blocks.start >= blocks.end);
        self.whole = Rc::new(RefCell::new(kept));
    }

    /// Blocks of a file are a hole.
    pub fn empty(&mut self, blocks: Range<u32>) {
        self.forget_whole(blocks.clone());
        for at in blocks {
            self.blocks.remove(&at);
            self.unwritten.remove(&at);
            self.ends.remove(&at);
        }
    }

    /// Blocks of a file from `from` on move by `by`.
    pub fn shift(&mut self, from: u32, by: i64) {
        self.forget_whole(from..u32::MAX);
        let moved = |at: u32| (i64::from(at) + by) as u32;
        let blocks = self.blocks.split_off(&from).into_iter();
        self.blocks
            .extend(blocks.map(|(at, block)| (moved(at), block)));
        let unwritten = self.unwritten.split_off(&from).into_iter();
        self.unwritten.extend(unwritten.map(moved));
        let ends = self.ends.split_off(&from).into_iter();
        self.ends.extend(ends.map(|(at, end)| (moved(at), end)));
    }

    /// How great the change counter must be on disk at event `now`.
    pub fn version(&self, now: usize) -> u64 {
        let versions = self.versions.borrow();
        let upto = versions.partition_point(|(at, _)| *at <= now);
        upto.checked_sub(1).map_or(0, |i| versions[i].1)
    }

    /// Of block `at`, how many bytes of what was submitted at event `submitted` are not cut off.
    pub fn kept(&self, at: u32, submitted: usize) -> usize {
        let ends = self.ends.get(&at).into_iter().flatten();
        let later = ends.filter(|(_, event)| submitted < *event);
        later.map(|(byte, _)| *byte).min().unwrap_or(usize::MAX)
    }

    /// Whether it is the same as `other` to a user, but for what is in the blocks.
    pub fn is_same(&self, other: &Self) -> bool {
        self.finds_same(other)
            && self.unwritten == other.unwritten
            && (self.generation, &self.attributes) == (other.generation, &other.attributes)
            && (self.links, &self.names, self.parent) == (other.links, &other.names, other.parent)
    }
}

/// What is known of blocks of inode `ino` from `from` on moves by `by` blocks, in a map by inode and block. What was
/// where it moves to is gone.
pub fn shift<T>(map: &mut BTreeMap<(u32, u32), T>, ino: u32, from: u32, by: i64) {
    let moved = |at: u32| (i64::from(at) + by) as u32;
    let first = from.min(moved(from));
    let (behind, others) = std::mem::take(map)
        .into_iter()
        .partition(|((is, at), _)| *is == ino && *at >= first);
    *map = others;
    let behind = behind.into_iter().filter(|((_, at), _)| *at >= from);
    map.extend(behind.map(|((_, at), what)| ((ino, moved(at)), what)));
}

/// The name of a volume, and its UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// With zeros behind it.
    pub name: [u8; LABEL_MAX],
    /// A name that nobody else has.
    pub uuid: [u8; 16],
}

impl Label {
    /// What the super block has.
    pub fn of(raw: &RawSuper) -> Self {
        Self {
            name: raw.volume_name,
            uuid: raw.uuid,
        }
    }
}

/// All inodes of users by number. Cheap to clone.
pub type State = BTreeMap<u32, Rc<Inode>>;

/// All that a recovery may lead to.
#[derive(Default)]
pub struct History {
    /// The state at the end of each transaction.
    pub states: HashMap<u32, State>,
    /// The name and UUID of the volume at the end of each.
    pub labels: HashMap<u32, Label>,
    /// From event `.0` on transaction `.1` must not be lost.
    promises: Vec<(usize, u32)>,
    /// The events after which everything was durable.
    syncs: Vec<usize>,
}

impl History {
    /// From event `now` on transaction `sequence` must not be lost.
    pub fn promise(&mut self, now: usize, sequence: u32) {
        self.promises.push((now, sequence));
    }

    /// Everything is durable from event `now` on.
    pub fn synced(&mut self, now: usize) {
        self.syncs.push(now);
    }

    /// The last transaction that must not be lost at event `now`.
    pub fn promised(&self, now: usize) -> Option<u32> {
        let upto = self.promises.partition_point(|(at, _)| *at <= now);
        Some(self.promises.get(upto.checked_sub(1)?)?.1)
    }

    /// The last event up to `now` before which all data of `inode` that was done must not be lost.
    pub fn data_promised(&self, inode: &Inode, now: usize) -> usize {
        let last = |events: &[usize]| {
            let upto = events.partition_point(|at| *at <= now);
            upto.checked_sub(1).map_or(0, |i| events[i])
        };
        last(&self.syncs).max(last(&inode.synced.borrow()))
    }
}

/// Which of the versions of a block may be there, when the power is cut at event `now` and what was done before event
/// `durable` is: from the first of these on.
pub fn oldest_possible(versions: &[Version], now: usize, durable: usize) -> usize {
    versions
        .iter()
        .rposition(|version| {
            let safe = |done| done < durable || version.durable && done < now;
            version.done.is_some_and(safe)
        })
        .unwrap_or(0)
}

/// Bytes `pos..` of what write number `version` writes to file `owner`: each sixteen bytes tell where they are from.
pub fn pattern(owner: u32, version: u32, pos: u64, to: &mut [u8]) {
    for (i, byte) in to.iter_mut().enumerate() {
        let at = pos + i as u64;
        let unit = (at / 16) as u32;
        let word = match at % 16 / 4 {
            0 => 0xfeed_0000 | (owner & 0xffff),
            1 => version,
            2 => unit,
            _ => (unit ^ version).wrapping_mul(0x9e37_79b9) | 1,
        };
        *byte = word.to_le_bytes()[(at % 4) as usize];
    }
}

/// The numbers of the writes of which a block of file `owner` has something.
pub fn versions(owner: u32, bytes: &[u8]) -> Vec<u32> {
    let word = |unit: &[u8], at: usize| u32::from_le_bytes(unit[at..at + 4].try_into().unwrap());
    let units = bytes.chunks_exact(16);
    let ours = units.filter(|unit| word(unit, 0) == 0xfeed_0000 | (owner & 0xffff));
    ours.map(|unit| word(unit, 4)).collect()
}

/// What a block seems to be, for a message.
pub fn describe(bytes: &[u8]) -> String {
    if bytes.iter().all(|byte| *byte == 0) {
        return "zeros".to_string();
    }
    let word = |at: usize| {
        let bytes = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
        u32::from_le_bytes(bytes.unwrap_or_default())
    };
    if word(0) >> 16 == 0xfeed {
        return format!(
            "byte {} of inode {} by write {}",
            u64::from(word(8)) * 16,
            word(0) & 0xffff,
            word(4)
        );
    }
    format!("{:02x?}...", &bytes[..bytes.len().min(16)])
}
