// SPDX-License-Identifier: GPL-2.0

//! Directories: entries, `.` and `..`, and the tree of a hashed one.

use super::{get16, get32, Check, Found};
use iomapfs_core::crc32c;
use iomapfs_core::disk::hash::{HashVersion, NameHasher};

/// Bytes of the entry with the checksum at the end of a leaf.
const TAIL: usize = 12;

/// The hashes that the names in a block may have.
#[derive(Clone, Copy)]
struct Range {
    from: u32,
    /// `None` for no end. The last bit says that names with this hash go on behind it.
    to: Option<u32>,
}

/// What is checked in one directory.
struct Dir<'a> {
    ino: u32,
    seed: Option<u32>,
    blocks: &'a [u64],
    hasher: Option<NameHasher>,
    seen: Vec<bool>,
    found: &'a mut Found,
}

impl Check<'_> {
    /// Checks a directory, and adds what is in it.
    pub(super) fn check_dir(
        &mut self,
        ino: u32,
        seed: Option<u32>,
        hashed: bool,
        blocks: &[u64],
        found: &mut Found,
    ) {
        let mut dir = Dir {
            ino,
            seed,
            blocks,
            hasher: None,
            seen: vec![false; blocks.len()],
            found,
        };
        if hashed {
            self.check_root(&mut dir);
            let all = dir.seen.iter().all(|seen| *seen);
            self.expect(all, || {
                format!("directory {ino}: a block that no hash leads to")
            });
        } else {
            for at in 0..blocks.len() {
                self.check_leaf(&mut dir, at, None);
            }
        }
    }

    /// `.` and `..` at the begin of the first block.
    fn check_dots(&mut self, dir: &mut Dir<'_>, bytes: &[u8]) {
        let good = get32(bytes, 0) == dir.ino
            && bytes[6] == 1
            && bytes[8] == b'.'
            && get16(bytes, 4) == 12
            && bytes[12 + 6] == 2
            && &bytes[20..22] == b"..";
        dir.found.parent = get32(bytes, 12);
        self.expect(good, || format!("directory {}: '.' and '..'", dir.ino));
    }

    fn check_leaf(&mut self, dir: &mut Dir<'_>, at: usize, range: Option<Range>) {
        let ino = dir.ino;
        let bytes = self.device.read(dir.blocks[at]);
        let mut end = bytes.len();
        if let Some(seed) = dir.seed {
            end -= TAIL;
            let tail = &bytes[end..];
            let good = get32(tail, 0) == 0
                && get16(tail, 4) == TAIL as u32
                && get16(tail, 6) == 0xde00
                && get32(tail, 8) == crc32c(seed, &bytes[..end]);
            self.expect(good, || format!("directory {ino}: checksum of block {at}"));
        }
        if at == 0 {
            self.check_dots(dir, &bytes);
        }
        let mut pos = 0;
        while pos < end {
            let (len, name_len) = (get16(&bytes, pos + 4) as usize, usize::from(bytes[pos + 6]));
            let fits = len >= 12 && len % 4 == 0 && pos + len <= end && name_len + 8 <= len;
            if !fits {
                return self.flaw(format!("directory {ino}: block {at}: entry at {pos}"));
            }
            let (to, dots) = (get32(&bytes, pos), at == 0 && pos <= 12);
            if to != 0 && !dots {
                let name = bytes[pos + 8..pos + 8 + name_len].to_vec();
                if let (Some(range), Some(hasher)) = (range, &dir.hasher) {
                    let hash = hasher.hash(&name).major;
                    let low = hash >= range.from & !1;
                    let high = range.to.is_none_or(|to| match to & 1 {
                        0 => hash < to,
                        _ => hash <= to & !1,
                    });
                    self.expect(low && high, || {
                        format!(
                            "directory {ino}: block {at}: a name that its hash does not lead to"
                        )
                    });
                }
                let good = name_len > 0 && !name.contains(&b'/') && !name.contains(&0);
                self.expect(good, || {
                    format!("directory {ino}: block {at}: name at {pos}")
                });
                dir.found.types.push((to, bytes[pos + 7]));
                if dir.found.names.insert(name, to).is_some() {
                    self.flaw(format!("directory {ino}: a name that is there twice"));
                }
            }
            pos += len;
        }
    }

    fn check_root(&mut self, dir: &mut Dir<'_>) {
        let bytes = self.device.read(dir.blocks[0]);
        self.check_dots(dir, &bytes);
        dir.seen[0] = true;
        let hash = self.layout.hash();
        let good = get32(&bytes, 24) == 0
            && bytes[29] == 8
            && bytes[30] <= 1
            && get16(&bytes, 16) as usize == bytes.len() - 12;
        let Some(version) = HashVersion::from_disk(bytes[28]).filter(|_| good) else {
            return self.flaw(format!("directory {}: head of the tree", dir.ino));
        };
        dir.hasher = Some(NameHasher::new(version, hash.unsigned, &hash.seed));
        let all = Range { from: 0, to: None };
        self.check_index(dir, &bytes, 32, bytes[30], all);
    }

    /// An index block, whose array is at `array`, with so many levels below.
    fn check_index(
        &mut self,
        dir: &mut Dir<'_>,
        bytes: &[u8],
        array: usize,
        levels: u8,
        range: Range,
    ) {
        let ino = dir.ino;
        let tail = if dir.seed.is_some() { 8 } else { 0 };
        let limit = (bytes.len() - array - tail) / 8;
        let count = get16(bytes, array + 2) as usize;
        if get16(bytes, array) as usize != limit || count == 0 || count > limit {
            return self.flaw(format!("directory {ino}: counts of an index block"));
        }
        if let Some(seed) = dir.seed {
            let tail = &bytes[array + limit * 8..];
            let sum = crc32c(seed, &bytes[..array + count * 8]);
            let sum = crc32c(crc32c(sum, &tail[..4]), &[0; 4]);
            self.expect(sum == get32(tail, 4), || {
                format!("directory {ino}: checksum of an index block")
            });
        }
        let key = |i: usize| get32(bytes, array + i * 8);
        for i in 0..count {
            let from = if i == 0 { range.from } else { key(i) };
            let to = if i + 1 < count {
                Some(key(i + 1))
            } else {
                range.to
            };
            let ordered = i == 0 || from >= range.from;
            let ordered = ordered && to.is_none_or(|to| from <= to);
            self.expect(ordered, || {
                format!("directory {ino}: order of an index block")
            });
            let at = get32(bytes, array + i * 8 + 4) as usize;
            match dir.seen.get_mut(at) {
                Some(seen) if !*seen => *seen = true,
                _ => {
                    self.flaw(format!("directory {ino}: index leads to block {at}"));
                    continue;
                }
            }
            let below = Range { from, to };
            if levels == 0 {
                self.check_leaf(dir, at, Some(below));
                continue;
            }
            let node = self.device.read(dir.blocks[at]);
            let good = get32(&node, 0) == 0 && get16(&node, 4) as usize == node.len();
            self.expect(good, || {
                format!("directory {ino}: head of index block {at}")
            });
            self.check_index(dir, &node, 8, levels - 1, below);
        }
    }
}
