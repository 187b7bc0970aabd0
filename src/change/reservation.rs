// SPDX-License-Identifier: GPL-2.0

//! The credits of each operation: how many blocks its transaction changes and revokes at most.
//!
//! | operation | what its transaction changes |
//! |---|---|
//! | [`create`](fn@create) | a new inode and its first block; a name; its way out as an orphan if it gets no name |
//! | [`tmpfile`] | a new inode; an orphan |
//! | [`link`](fn@link) | a name; an inode, which is no orphan any more |
//! | [`UNLINK`] | a name; two inodes, one of them an orphan |
//! | [`rename`](fn@rename) | a name inserted, one removed or changed, `..`; four inodes, one of them an orphan |
//! | the same, with a whiteout | and what [`tmpfile`] changes |
//! | [`EXCHANGE`] | two names, two `..`, four inodes |
//! | [`ATTRIBUTES`] | an inode |
//! | [`attribute`](fn@attribute) | an inode; its block of attributes is made, shared or given up; counts of values |
//! | [`value`](fn@value), [`fill_value`] | a new inode, which becomes an orphan; blocks of it |
//! | [`publish`](fn@publish) | a run of data in the extent tree; an inode |
//! | [`cut`] | an extent of data less in the extent tree; an inode, which becomes an orphan or is none any more |
//! | [`fallocate`](fn@fallocate) | an extent in the extent tree; an inode; an orphan less |
//! | [`exchange`] | an extent in each of two extent trees, one of them twice; two inodes |
//! | [`shift`] | nodes behind a place in the extent tree, or the bitmaps of all; an inode, which becomes an orphan |
//! | [`cut_metadata`] | as [`cut`], and the blocks are revoked |
//! | [`free`](fn@free) | an inode twice, the block of its attributes, the inode bitmap; an orphan less |
//! | [`ORPHAN`] | an orphan less |
//! | [`SUPER`] | the super block, or a copy of it |
//!
//! The functions of `space`, `map`, `names` and `inode` that change something say themselves what they cost; a row adds
//! up what an operation calls. [`publish`](fn@publish) and [`cut`] are for one step: what does not fit goes on with new
//! credits ([`Transaction::ensure`](crate::store::Transaction::ensure)).

use super::live::Live;
use crate::inode::{Draft, Inode, ValueCounts, ORPHAN_CREDITS};
use crate::map::FileMap;
use crate::names;
use crate::store::{Credits, Store};
use crate::volume::Volume;

/// An inode is written.
pub const ATTRIBUTES: Credits = Inode::WRITE_CREDITS;

/// An extended attribute is set or removed, and so many inodes with values count entries more or less.
pub fn attribute<S: Store>(volume: &Volume<S>, values: u32) -> Credits {
    Draft::credits(volume) + ValueCounts::<S>::CREDITS * values
}

/// A new inode for the value of an attribute.
pub fn value<S: Store>(volume: &Volume<S>) -> Credits {
    volume.space.credits_alloc_inode() + Inode::WRITE_CREDITS + ORPHAN_CREDITS
}

/// One step of giving it the value.
pub fn fill_value<S: Store>(volume: &Volume<S>, depth: u16) -> Credits {
    append(volume, depth) + Credits::blocks(VALUE_STEP) + Inode::WRITE_CREDITS
}

/// An orphan less.
pub const ORPHAN: Credits = ORPHAN_CREDITS;

/// The super block is written.
pub const SUPER: Credits = Credits::blocks(1);

/// The most blocks of a directory that are freed, and revoked, in one transaction.
pub(super) const METADATA_STEP: u32 = 64;

/// The most blocks of a value that are written in one transaction.
pub(super) const VALUE_STEP: u32 = 16;

/// A block that is added to a file whose tree has `depth` levels.
fn append<S: Store>(volume: &Volume<S>, depth: u16) -> Credits {
    FileMap::publish_credits(volume, depth)
}

/// A new inode without a name; a long symbolic link has a block, and so have the attributes that it is born with.
fn make<S: Store>(volume: &Volume<S>) -> Credits {
    let values = match volume.layout.value_seed() {
        // Two lists.
        Some(_) => ValueCounts::<S>::CREDITS * 2,
        None => Credits::NONE,
    };
    volume.space.credits_alloc_inode() + Draft::credits(volume) + values + append(volume, 0)
}

/// A name that is inserted in `dir`, with the inode of `dir`.
fn insert<S: Store>(dir: &impl Live<S>) -> Credits {
    // The tree may become deeper by one before the second block is added.
    let depth = dir.map_lock().map.depth().saturating_add(1);
    names::insert_credits(append(dir.volume(), depth), dir.params().levels) + Inode::WRITE_CREDITS
}

/// `create`, `mknod`, `mkdir`, `symlink` in `dir`.
pub fn create<S: Store>(dir: &impl Live<S>) -> Credits {
    let volume = dir.volume();
    make(volume) + names::make_empty_credits(append(volume, 0)) + insert(dir) + ORPHAN_CREDITS
}

/// `O_TMPFILE`.
pub fn tmpfile<S: Store>(volume: &Volume<S>) -> Credits {
    make(volume) + ORPHAN_CREDITS
}

/// `link` in `dir`.
pub fn link<S: Store>(dir: &impl Live<S>) -> Credits {
    insert(dir) + Inode::WRITE_CREDITS + ORPHAN_CREDITS
}

/// `unlink`, `rmdir`.
pub const UNLINK: Credits = names::CHANGE_CREDITS
    .plus(Inode::WRITE_CREDITS.times(2))
    .plus(ORPHAN_CREDITS);

/// `rename` to `new_dir`, with or without a whiteout.
pub fn rename<S: Store>(new_dir: &impl Live<S>, whiteout: bool) -> Credits {
    let plain =
        insert(new_dir) + names::CHANGE_CREDITS * 2 + Inode::WRITE_CREDITS * 3 + ORPHAN_CREDITS;
    match whiteout {
        true => plain + tmpfile(new_dir.volume()),
        false => plain,
    }
}

/// `rename` with `RENAME_EXCHANGE`.
pub const EXCHANGE: Credits = names::CHANGE_CREDITS
    .times(4)
    .plus(Inode::WRITE_CREDITS.times(4));

/// One step of showing data: for the map, and with the inode.
pub fn publish<S: Store>(volume: &Volume<S>, depth: u16) -> (Credits, Credits) {
    let map = FileMap::publish_credits(volume, depth);
    (map, map + Inode::WRITE_CREDITS)
}

/// One step of cutting a file off: for the map, and with the inode.
pub fn cut<S: Store>(volume: &Volume<S>, depth: u16) -> (Credits, Credits) {
    let map = FileMap::remove_credits(volume, depth);
    (map, map + Inode::WRITE_CREDITS + ORPHAN_CREDITS)
}

/// One step of `fallocate`: for the map, and with the inode.
pub fn fallocate<S: Store>(volume: &Volume<S>, depth: u16) -> (Credits, Credits) {
    let map = FileMap::remove_credits(volume, depth);
    (map, map + Inode::WRITE_CREDITS + ORPHAN_CREDITS)
}

/// One step of an exchange of blocks between two files: for the map of each, whose tree has so many levels, and in all.
/// What was done to the first map may have to be undone.
pub fn exchange<S: Store>(volume: &Volume<S>, depths: (u16, u16)) -> (Credits, Credits, Credits) {
    let (first, second) = (
        FileMap::publish_credits(volume, depths.0),
        FileMap::publish_credits(volume, depths.1),
    );
    let all = first * 2 + second + Inode::WRITE_CREDITS * 2;
    (first, second, all)
}

/// Blocks that take the place of others, where the map needs `map` for it.
pub fn replace(map: Credits) -> Credits {
    map + Inode::WRITE_CREDITS
}

/// What moves in a file, where the map needs `map` for it. The inode may have to cease to be an orphan again.
pub fn shift(map: Credits) -> Credits {
    map + Inode::WRITE_CREDITS + ORPHAN_CREDITS * 2
}

/// One step of freeing the blocks of a directory or a long symbolic link: for the map, and with the inode and the
/// revokes.
pub fn cut_metadata<S: Store>(volume: &Volume<S>, depth: u16) -> (Credits, Credits) {
    let map = FileMap::remove_credits(volume, depth);
    let more = Inode::WRITE_CREDITS + Credits::new(0, METADATA_STEP);
    (map, map + more)
}

/// The last step of freeing an inode, which has no blocks any more.
pub fn free<S: Store>(volume: &Volume<S>) -> Credits {
    // The deletion time is a change of the inode's own.
    Inode::WRITE_CREDITS
        + Credits::blocks(1)
        + Inode::RELEASE_CREDITS
        + volume.space.credits_free(1)
        + ORPHAN_CREDITS
        + volume.space.credits_free_inode()
}
