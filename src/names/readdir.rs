// SPDX-License-Identifier: GPL-2.0

//! Listing a directory, with positions that survive changes of it.
//!
//! Hashed directories, and those of one block that may become hashed, are listed in the order of (major hash,
//! minor hash, name), and the position is the hash: `major / 2` in the upper and the minor hash in the lower 32
//! bits, as in ext4. Names that come and go, and leaves that are divided, do not move the others. Other
//! directories are listed in the order of their blocks, and the position is the offset of a record.
//!
//! A position cannot tell names of equal hash apart. Where a listing stops between two of them, the
//! [`Cursor`] remembers the name that it stopped at; `seekdir` forgets it and begins with the first of them.
//!
//! A receiver seldom has room for just the names of a leaf. The cursor keeps those that were read and put in order for
//! the next call, which uses them if the directory has not changed and the position is where they begin.

mod gather;

use self::gather::{Gathered, Unlisted};
use super::access::{
    bad_leaf, has_good_tree, has_tree, missing, pass_over, read_leaf, Directory, Fault, Known, Scan,
};
use super::dots;
use super::tree::{copy_of, IndexPath, Next};
use crate::disk::bytes::copy;
use crate::disk::dirent::{DirLeafFormat, NAME_LEN};
use crate::disk::hash::{NameHash, NameHasher};
use crate::disk::{FileType, Ino, LogicalBlock};
use crate::store::{Block, Store};
use kernel::error::Result;

/// Hash that `.` counts as.
const DOT: NameHash = NameHash { major: 0, minor: 0 };

/// Hash that `..` counts as.
const DOTDOT: NameHash = NameHash { major: 2, minor: 0 };

/// How far a listing is.
pub struct Cursor {
    place: Position,
    order: Order,
    rest: Option<Unlisted>,
    /// Whether it was said that names are missing, since the begin.
    told: bool,
    /// Whether a name was listed since the last [`Cursor::seek`].
    given: bool,
}

/// What positions are. A directory whose index is found to be bad, or goes, is listed by blocks from then on: a
/// position among hashes says nothing there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Nothing was listed since the begin.
    Unknown,
    /// By hash.
    Hashes,
    /// By block.
    Blocks,
}

/// Where a listing goes on.
#[derive(Clone)]
struct Position {
    /// The position, as in `f_pos`.
    pos: u64,
    /// Positions have 32 bits: those of hashed directories are the major hash only.
    narrow: bool,
    /// In a hashed directory, the rest of the hash of the last name that was listed, and that name, if the next
    /// one may have the same position.
    minor: u32,
    name: [u8; NAME_LEN],
    name_len: u8,
}

/// A name that is listed.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// The name.
    pub name: &'a [u8],
    /// What it leads to.
    pub ino: Ino,
    /// The type that the entry says.
    pub file_type: Option<FileType>,
    /// Its own position: where a listing begins with it.
    pub pos: u64,
}

/// What a call of [`readdir()`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// There may be more: call again.
    More,
    /// The receiver had no room for a name. It comes first the next time.
    Stopped,
    /// All was listed.
    End,
}

impl Cursor {
    /// The position where a hashed directory ends, for 64 bits (`EXT4_HTREE_EOF_64BIT`).
    pub const END: u64 = i64::MAX as u64;

    /// The same for 32 bits (`EXT4_HTREE_EOF_32BIT`).
    pub const END_NARROW: u64 = i32::MAX as u64;

    /// At the begin. `narrow` for users that take positions of 32 bits only.
    pub const fn new(narrow: bool) -> Self {
        let place = Position {
            pos: 0,
            narrow,
            minor: 0,
            name: [0; NAME_LEN],
            name_len: 0,
        };
        Self {
            place,
            order: Order::Unknown,
            rest: None,
            told: false,
            given: false,
        }
    }

    /// The position.
    pub const fn pos(&self) -> u64 {
        self.place.pos
    }

    /// Goes to a position, at the begin of each call of the user's. Where it is already there, nothing that was read is
    /// forgotten.
    pub fn seek(&mut self, pos: u64, narrow: bool) {
        self.given = false;
        if pos != self.place.pos || narrow != self.place.narrow {
            self.place.narrow = narrow;
            self.place.set(pos);
            self.rest = None;
            if pos == 0 {
                self.order = Order::Unknown;
                self.told = false;
            }
        }
    }

    /// Whether blocks can be listed from here on. `hashed` is whether the directory has an index, which is bad.
    fn can_list_blocks(&self, hashed: bool) -> bool {
        match self.order {
            _ if self.place.pos == 0 => true,
            Order::Unknown => !hashed,
            Order::Hashes => false,
            Order::Blocks => true,
        }
    }
}

impl Position {
    fn set(&mut self, pos: u64) {
        self.pos = pos;
        self.minor = match self.narrow {
            true => 0,
            false => pos as u32,
        };
        self.name_len = 0;
    }

    const fn end(&self) -> u64 {
        match self.narrow {
            true => Cursor::END_NARROW,
            false => Cursor::END,
        }
    }

    fn pos_of(&self, hash: NameHash) -> u64 {
        let major = u64::from(hash.major >> 1);
        match self.narrow {
            true => major,
            false => major << 32 | u64::from(hash.minor),
        }
    }

    /// What is listed next sorts behind this.
    fn bound(&self) -> (NameHash, &[u8]) {
        let major = match self.narrow {
            true => self.pos as u32,
            false => (self.pos >> 32) as u32,
        };
        let hash = NameHash {
            major: major << 1,
            minor: self.minor,
        };
        let name = self.name.get(..self.name_len as usize);
        (hash, name.unwrap_or(&[]))
    }

    /// Goes behind a name.
    fn pass(&mut self, hash: NameHash, name: &[u8]) {
        self.pos = self.pos_of(hash);
        self.minor = hash.minor;
        self.name_len = name.len() as u8;
        copy(&mut self.name, name);
    }
}

/// Lists what comes next: at most the names of one block, or of the leaves that share a hash. The caller goes on
/// while this gives [`Listing::More`].
///
/// `emit` gets each name, outside of all locks but the caller's, and says whether it took it.
///
/// # Errors
///
/// `EUCLEAN` once, at the end, where names are missing as a block is missing or bad; all others were listed. `EIO`,
/// `ENOMEM`; the cursor stays. `EUCLEAN`, too, where the position is no longer one: the listing must begin again.
pub fn readdir<S: Store>(
    dir: &impl Directory<S>,
    cursor: &mut Cursor,
    mut emit: impl FnMut(Listed<'_>) -> bool,
) -> Result<Listing> {
    let params = dir.params();
    let mut given = false;
    let progress = list(dir, cursor, &mut |listed: Listed<'_>| {
        let taken = emit(Listed {
            file_type: params.file_type(listed.file_type),
            ..listed
        });
        given |= taken;
        taken
    })?;
    cursor.given |= given;
    let incomplete = || dir.known().has(Known::INCOMPLETE);
    // The user sees no error of a call that gives him names: it waits for the next one.
    if progress == Listing::End && !cursor.given && !cursor.told && incomplete() {
        cursor.told = true;
        return Err(dir.store().reported());
    }
    Ok(progress)
}

/// [`readdir()`] of what can be read.
fn list<S: Store>(
    dir: &impl Directory<S>,
    cursor: &mut Cursor,
    emit: &mut impl FnMut(Listed<'_>) -> bool,
) -> Result<Listing> {
    let params = dir.params();
    if has_good_tree(dir) {
        match list_tree(dir, cursor, emit) {
            Ok(progress) => return Ok(progress),
            Err(Fault::Index) => dir.note(Known::INDEX_FAILED),
            Err(Fault::Other(error)) => return Err(error),
        }
    } else if let (Some(version), 1, false) = (params.new_tree(), dir.blocks(), has_tree(dir)) {
        return list_block(dir, cursor, params.hasher(version), emit);
    }
    if cursor.order == Order::Hashes && cursor.place.pos == cursor.place.end() {
        return Ok(Listing::End);
    }
    if !cursor.can_list_blocks(has_tree(dir)) {
        return Err(dir.store().reported());
    }
    cursor.order = Order::Blocks;
    list_linear(dir, &mut cursor.place, emit)
}

/// Lists what the cursor has, else what `gather` reads behind the place that it is given.
fn list_rest<S: Store, D: Directory<S>, E>(
    dir: &D,
    cursor: &mut Cursor,
    emit: &mut impl FnMut(Listed<'_>) -> bool,
    gather: impl FnOnce(&Position) -> Result<Unlisted, E>,
) -> Result<Listing, E> {
    let Cursor {
        place, order, rest, ..
    } = cursor;
    *order = Order::Hashes;
    if place.pos == place.end() {
        return Ok(Listing::End);
    }
    let kept = rest.take().filter(|rest| rest.version == dir.version());
    let mut names = match kept {
        Some(kept) => kept,
        None => gather(place)?,
    };
    let progress = names.emit(place, emit);
    if progress == Listing::Stopped {
        *rest = Some(names);
    }
    Ok(progress)
}

/// Lists the leaf at the cursor of a hashed directory, and those that go on with its last hash.
fn list_tree<S: Store>(
    dir: &impl Directory<S>,
    cursor: &mut Cursor,
    emit: &mut impl FnMut(Listed<'_>) -> bool,
) -> Result<Listing, Fault> {
    list_rest(dir, cursor, emit, |place| {
        let bound = place.bound();
        let path = IndexPath::find(dir, |_| bound.0.major);
        let mut path = path.map_err(Fault::in_index)?;
        path.read_ahead(dir);
        let mut gathered = Gathered::new(path.hasher, bound);
        if bound.0 <= DOTDOT {
            let (own, parent) = (dir.ino(), dots(dir)?.parent);
            let file_type = dir.params().file_type(Some(FileType::Directory));
            gathered.add_dots(DOT, b".", own, file_type)?;
            gathered.add_dots(DOTDOT, b"..", parent, file_type)?;
        }
        let next = loop {
            let at = path.leaf(dir).map_err(Fault::in_index)?;
            gather(dir, &mut gathered, at)?;
            // Bit 0: names of the last leaf's last hash are in the next one too.
            match path.next(dir, |start| start & 1 != 0) {
                Ok(Next::Moved) => gathered.limit()?,
                Ok(Next::Unwanted(start)) => {
                    break place.pos_of(NameHash {
                        major: start,
                        minor: 0,
                    });
                }
                Ok(Next::End) => break place.end(),
                Err(error) => return Err(Fault::in_index(error)),
            }
        };
        Ok(gathered.finish(next, dir.version())?)
    })
}

/// Takes the names of block `at` in, as far as it is there and good.
fn gather<S: Store>(
    dir: &impl Directory<S>,
    gathered: &mut Gathered<'_>,
    at: LogicalBlock,
) -> Result {
    let added = match read_leaf(dir, at, false) {
        Ok(Some(block)) => gathered.add_block(dir, &block),
        Ok(None) => Err(missing(dir, at, 1)),
        Err(error) => Err(error),
    };
    added.or_else(|error| pass_over(dir, error))
}

/// Lists a directory of one block that may become hashed as if it were.
fn list_block<S: Store>(
    dir: &impl Directory<S>,
    cursor: &mut Cursor,
    hasher: NameHasher,
    emit: &mut impl FnMut(Listed<'_>) -> bool,
) -> Result<Listing> {
    list_rest(dir, cursor, emit, |place| {
        let mut gathered = Gathered::new(hasher, place.bound());
        gather(dir, &mut gathered, LogicalBlock::ZERO)?;
        gathered.finish(place.end(), dir.version())
    })
}

/// Lists the block at the place of a directory that is not hashed, or whose index is bad.
fn list_linear<S: Store>(
    dir: &impl Directory<S>,
    place: &mut Position,
    emit: &mut impl FnMut(Listed<'_>) -> bool,
) -> Result<Listing> {
    let bits = dir.params().block_size.bits();
    let Ok(at) = u32::try_from(place.pos >> bits) else {
        return Ok(Listing::End);
    };
    let Some((at, block)) = Scan::new(dir, at).next(dir)? else {
        return Ok(Listing::End);
    };
    let start = u64::from(at.get()) << bits;
    match block.and_then(|block| list_entries(dir, place, &block, start, emit)) {
        Ok(true) => {}
        Ok(false) => return Ok(Listing::Stopped),
        Err(error) => pass_over(dir, error)?,
    }
    place.set(start.saturating_add(1 << bits));
    Ok(Listing::More)
}

/// Lists the names of a block that begins at position `start`, from the place on. Returns whether all of them were
/// taken; else the place is that of the first that was not.
fn list_entries<S: Store>(
    dir: &impl Directory<S>,
    place: &mut Position,
    block: &Block<S, DirLeafFormat>,
    start: u64,
    emit: &mut impl FnMut(Listed<'_>) -> bool,
) -> Result<bool> {
    let format = *block.format();
    let copy = copy_of(block)?;
    let wanted = place.pos;
    // A position inside of a record, which was there before, counts as that of the next.
    let mut give = |at: usize, name, ino, file_type| {
        let pos = start.saturating_add(at as u64);
        let listed = Listed {
            name,
            ino,
            file_type,
            pos,
        };
        if pos < wanted || emit(listed) {
            return true;
        }
        place.set(pos);
        false
    };
    if format.allow_index && format.is_index(&copy) {
        if start != 0 {
            return Ok(true);
        }
        let dots = dots(dir)?;
        let file_type = dir.params().file_type(Some(FileType::Directory));
        return Ok(give(0, b".".as_slice(), dir.ino(), file_type)
            && give(dots.parent_at, b"..".as_slice(), dots.parent, file_type));
    }
    for entry in format.entries(&copy) {
        let entry = entry.map_err(|flaw| bad_leaf(dir, block, flaw))?;
        let Some(ino) = entry.ino else { continue };
        if !give(entry.at, entry.name, ino, entry.file_type) {
            return Ok(false);
        }
    }
    Ok(true)
}
