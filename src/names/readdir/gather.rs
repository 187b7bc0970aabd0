// SPDX-License-Identifier: GPL-2.0

//! Names that were read, in the order of their hashes, until they are listed.

use super::{Listed, Listing, Position, DOT, DOTDOT};
use crate::disk::dirent::DirLeafFormat;
use crate::disk::hash::{NameHash, NameHasher};
use crate::disk::{FileType, Ino};
use crate::names::access::{bad_leaf, Directory};
use crate::sort::sort_spread;
use crate::store::{Block, Store};
use kernel::alloc::flags::GFP_KERNEL;
use kernel::alloc::KVec;
use kernel::error::Result;

/// Bytes of leaves beyond which only the first in order are kept before another leaf is taken in: any number of
/// leaves may share a hash.
const GATHER_MAX: usize = 16 * 1024;

/// A name among those gathered.
#[derive(Clone, Copy)]
struct GatheredName {
    hash: NameHash,
    ino: Ino,
    file_type: Option<FileType>,
    /// Where the name is among those gathered.
    at: u32,
    len: u8,
}

impl GatheredName {
    fn name<'a>(&self, names: &'a [u8]) -> &'a [u8] {
        let name = names.get(self.at as usize..);
        name.and_then(|name| name.get(..self.len as usize))
            .unwrap_or(&[])
    }
}

/// Names that were read and not listed yet.
pub(super) struct Unlisted {
    /// What the names are in: whole blocks, for the most part.
    bytes: KVec<u8>,
    /// In order.
    items: KVec<GatheredName>,
    /// How many of them were listed.
    listed: usize,
    /// Where to go on behind them: a position, or behind the last of them.
    next: Option<u64>,
    /// [`Directory::version`] when they were read.
    pub(super) version: u64,
}

impl Unlisted {
    /// Gives the names to `emit` and moves `place`: behind them, or to the first that was not taken.
    pub(super) fn emit(
        &mut self,
        place: &mut Position,
        emit: &mut impl FnMut(Listed<'_>) -> bool,
    ) -> Listing {
        let mut last: Option<&GatheredName> = None;
        for item in self.items.iter().skip(self.listed) {
            let pos = place.pos_of(item.hash);
            let listed = Listed {
                name: item.name(&self.bytes),
                ino: item.ino,
                file_type: item.file_type,
                pos,
            };
            if !emit(listed) {
                match last {
                    Some(last) if place.pos_of(last.hash) == pos => {
                        place.pass(last.hash, last.name(&self.bytes));
                    }
                    // Without one it stays, perhaps behind a name of the same position.
                    None if place.pos == pos => {}
                    _ => place.set(pos),
                }
                return Listing::Stopped;
            }
            last = Some(item);
            self.listed = self.listed.saturating_add(1);
        }
        match (self.next, last) {
            (Some(next), _) => place.set(next),
            (None, Some(last)) => place.pass(last.hash, last.name(&self.bytes)),
            // There was nothing.
            (None, None) => {}
        }
        Listing::More
    }
}

/// Which names are listed next.
struct Chosen<'a> {
    /// They come behind this.
    bound: (NameHash, &'a [u8]),
    items: KVec<GatheredName>,
    /// Whether names that come late in the order were left out: all but those of `items` when that was
    /// decided, and those that sort before the last of them.
    cut: bool,
}

impl Chosen<'_> {
    /// Takes a name in if it is in the range. `bytes` is what the names are in.
    fn add(&mut self, bytes: &[u8], item: GatheredName) -> Result {
        let key = (item.hash, item.name(bytes));
        let behind = match self.items.last() {
            Some(last) if self.cut => key > (last.hash, last.name(bytes)),
            _ => false,
        };
        if behind || key <= self.bound {
            return Ok(());
        }
        self.items.push(item, GFP_KERNEL)?;
        if self.cut {
            // The one that bounds the others stays the last.
            if let [.., last, new] = self.items.as_mut_slice() {
                core::mem::swap(last, new);
            }
        }
        Ok(())
    }

    fn sort(&mut self, bytes: &[u8]) -> Result {
        let less = |a: &GatheredName, b: &GatheredName| {
            let (x, y) = (a.hash.order(), b.hash.order());
            x < y || x == y && a.name(bytes) < b.name(bytes)
        };
        sort_spread(&mut self.items, |item| item.hash.major, less)
    }
}

/// Names of one or more blocks, for an [`Unlisted`].
pub(super) struct Gathered<'a> {
    hasher: NameHasher,
    /// The blocks.
    bytes: KVec<u8>,
    chosen: Chosen<'a>,
}

impl<'a> Gathered<'a> {
    pub(super) fn new(hasher: NameHasher, bound: (NameHash, &'a [u8])) -> Self {
        Self {
            hasher,
            bytes: KVec::new(),
            chosen: Chosen {
                bound,
                items: KVec::new(),
                cut: false,
            },
        }
    }

    /// Takes `.` or `..` in.
    pub(super) fn add_dots(
        &mut self,
        hash: NameHash,
        name: &[u8],
        ino: Ino,
        file_type: Option<FileType>,
    ) -> Result {
        let item = GatheredName {
            hash,
            ino,
            file_type,
            at: self.bytes.len() as u32,
            len: name.len() as u8,
        };
        self.bytes.extend_from_slice(name, GFP_KERNEL)?;
        self.chosen.add(&self.bytes, item)
    }

    /// Takes the names of a block in.
    pub(super) fn add_block<S: Store>(
        &mut self,
        dir: &impl Directory<S>,
        block: &Block<S, DirLeafFormat>,
    ) -> Result {
        let start = self.bytes.len();
        let len = block.with(|bytes| bytes.len());
        self.bytes.reserve(len, GFP_KERNEL)?;
        // Does not allocate.
        block.with(|bytes| self.bytes.extend_from_slice(bytes, GFP_KERNEL))?;
        let copy = self.bytes.get(start..).unwrap_or(&[]);
        for entry in block.format().entries(copy) {
            let entry = entry.map_err(|flaw| bad_leaf(dir, block, flaw))?;
            let Some(ino) = entry.ino else { continue };
            let hash = match entry.name {
                b"." => DOT,
                b".." => DOTDOT,
                name => self.hasher.hash(name),
            };
            let item = GatheredName {
                hash,
                ino,
                file_type: entry.file_type,
                at: start.saturating_add(entry.name_at()) as u32,
                len: entry.name.len() as u8,
            };
            self.chosen.add(&self.bytes, item)?;
        }
        Ok(())
    }

    /// Drops the later half, if there is too much.
    pub(super) fn limit(&mut self) -> Result {
        if self.bytes.len() <= GATHER_MAX {
            return Ok(());
        }
        self.chosen.sort(&self.bytes)?;
        let Chosen { items, cut, .. } = &mut self.chosen;
        let half = items.len().div_ceil(2);
        items.truncate(half);
        let mut bytes = KVec::new();
        for item in items.iter_mut() {
            let name = item.name(&self.bytes);
            item.at = bytes.len() as u32;
            bytes.extend_from_slice(name, GFP_KERNEL)?;
        }
        self.bytes = bytes;
        *cut = true;
        Ok(())
    }

    /// All of them in order. Behind them it goes on at `next`, if none was left out.
    pub(super) fn finish(mut self, next: u64, version: u64) -> Result<Unlisted> {
        self.chosen.sort(&self.bytes)?;
        Ok(Unlisted {
            bytes: self.bytes,
            items: self.chosen.items,
            listed: 0,
            next: Some(next).filter(|_| !self.chosen.cut),
            version,
        })
    }
}
