// SPDX-License-Identifier: GPL-2.0

//! Hashes of names in hashed directories.
//!
//! The tree of a hashed directory is ordered by the *major* hash, 32 bits with the lowest one clear. The
//! *minor* hash orders names of equal major hash for `readdir` only; it is not stored anywhere.
//!
//! Three functions exist, each in a variant that extends a byte of the name with its sign and one that
//! does not: the first machines differed in the signedness of `char`, and the super block remembers
//! (`s_flags`). Documentation/filesystems/ext4/directory.rst, "Directory Hash"; the values are those of
//! `ext4fs_dirhash()`, which `debugfs -R 'dx_hash'` prints.

/// Which hash function a tree uses, without signedness (`dx_root.info.hash_version`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HashVersion {
    /// `DX_HASH_LEGACY`: unkeyed, no minor hash.
    Legacy = 0,
    /// `DX_HASH_HALF_MD4`: the default of mke2fs.
    HalfMd4 = 1,
    /// `DX_HASH_TEA`.
    Tea = 2,
}

impl HashVersion {
    /// From the byte on disk; `None` for one that a tree without encryption cannot have.
    pub fn from_disk(version: u8) -> Option<Self> {
        match version {
            0 => Some(Self::Legacy),
            1 => Some(Self::HalfMd4),
            2 => Some(Self::Tea),
            _ => None,
        }
    }

    /// The byte on disk.
    pub fn to_disk(self) -> u8 {
        self as u8
    }
}

/// The hash of one name. Ordered as `readdir` of a hashed directory lists names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameHash {
    /// Orders the tree; bit 0 is clear and it is never `0xffff_fffe`.
    pub major: u32,
    /// Orders names of equal major hash.
    pub minor: u32,
}

impl NameHash {
    /// The same order in one number.
    pub fn order(self) -> u64 {
        u64::from(self.major) << 32 | u64::from(self.minor)
    }
}

/// A hash function with its key.
#[derive(Clone, Copy, Debug)]
pub struct NameHasher {
    version: HashVersion,
    unsigned: bool,
    key: [u32; 4],
}

/// What `readdir` reports at the end, shifted as a major hash is; no name may have it.
const MAJOR_EOF: u32 = 0xffff_fffe;

/// Initial state of MD4, used where the super block has no key.
const DEFAULT_KEY: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

impl NameHasher {
    /// `seed` is `s_hash_seed`; all zeros stand for a default key. `unsigned` is whether the super block
    /// says that names are hashed as unsigned bytes.
    pub fn new(version: HashVersion, unsigned: bool, seed: &[u32; 4]) -> Self {
        let key = match seed {
            [0, 0, 0, 0] => DEFAULT_KEY,
            seed => *seed,
        };
        Self {
            version,
            unsigned,
            key,
        }
    }

    /// The hash of `name`.
    pub fn hash(&self, name: &[u8]) -> NameHash {
        let (major, minor) = if self.unsigned {
            self.hash_bytes(name, u32::from)
        } else {
            self.hash_bytes(name, |byte| byte as i8 as i32 as u32)
        };
        let major = match major & !1 {
            MAJOR_EOF => MAJOR_EOF.wrapping_sub(2),
            major => major,
        };
        NameHash { major, minor }
    }

    fn hash_bytes(&self, name: &[u8], widen: impl Fn(u8) -> u32 + Copy) -> (u32, u32) {
        let [mut a, mut b, mut c, mut d] = self.key;
        match self.version {
            HashVersion::Legacy => (legacy(name, widen), 0),
            HashVersion::HalfMd4 => {
                each_chunk(name, widen, |words: [u32; 8]| {
                    [a, b, c, d] = half_md4([a, b, c, d], words);
                });
                (b, c)
            }
            HashVersion::Tea => {
                each_chunk(name, widen, |words: [u32; 4]| {
                    [a, b] = tea([a, b], words);
                });
                (a, b)
            }
        }
    }
}

/// Packs `name`, `4 * N` bytes at a time, big-endian into words for `f`. What is missing in the last piece
/// is filled with the number of bytes that were left, in each byte.
fn each_chunk<const N: usize>(
    name: &[u8],
    widen: impl Fn(u8) -> u32 + Copy,
    mut f: impl FnMut([u32; N]),
) {
    let mut left = name.len() as u32;
    for piece in name.chunks(4 * N) {
        let pad = (left | left.wrapping_shl(8)).wrapping_mul(0x0001_0001);
        let mut parts = piece.chunks(4);
        let shift = |word: u32, &byte: &u8| (word << 8).wrapping_add(widen(byte));
        f(core::array::from_fn(|_| match parts.next() {
            None => pad,
            Some(&[a, b, c, d]) => match u32::from_be_bytes([a, b, c, d]) {
                // Bytes that are widened to themselves: ASCII.
                word if word & 0x8080_8080 == 0 => word,
                // The same as below, without a loop.
                _ => [b, c, d].iter().fold(widen(a), shift),
            },
            Some(part) => part.iter().fold(pad, shift),
        }));
        left = left.saturating_sub(4 * N as u32);
    }
}

fn legacy(name: &[u8], widen: impl Fn(u8) -> u32) -> u32 {
    let (mut last, mut before) = (0x12a3_fe2d_u32, 0x37ab_e8f9_u32);
    for &byte in name {
        let mut hash = before.wrapping_add(last ^ widen(byte).wrapping_mul(7_152_373));
        if hash & 0x8000_0000 != 0 {
            hash = hash.wrapping_sub(0x7fff_ffff);
        }
        before = last;
        last = hash;
    }
    last << 1
}

/// MD4 with eight words instead of sixteen.
fn half_md4(state: [u32; 4], words: [u32; 8]) -> [u32; 4] {
    let [w0, w1, w2, w3, w4, w5, w6, w7] = words;
    let choose = |x: u32, y: u32, z: u32| z ^ (x & (y ^ z));
    // With a sum where MD4 proper has an "or": the two bits are never both set.
    let majority = |x: u32, y: u32, z: u32| (x & y).wrapping_add((x ^ y) & z);
    let parity = |x: u32, y: u32, z: u32| x ^ y ^ z;

    let mut s = state;
    s = md4_round(s, choose, 0, [3, 7, 11, 19], [w0, w1, w2, w3]);
    s = md4_round(s, choose, 0, [3, 7, 11, 19], [w4, w5, w6, w7]);
    s = md4_round(s, majority, 0x5a82_7999, [3, 5, 9, 13], [w1, w3, w5, w7]);
    s = md4_round(s, majority, 0x5a82_7999, [3, 5, 9, 13], [w0, w2, w4, w6]);
    s = md4_round(s, parity, 0x6ed9_eba1, [3, 9, 11, 15], [w3, w7, w2, w6]);
    s = md4_round(s, parity, 0x6ed9_eba1, [3, 9, 11, 15], [w1, w5, w0, w4]);

    let [a, b, c, d] = state;
    let [e, f, g, h] = s;
    [
        a.wrapping_add(e),
        b.wrapping_add(f),
        c.wrapping_add(g),
        d.wrapping_add(h),
    ]
}

/// Four steps of one round; each changes the first of the state and turns it round by one.
fn md4_round(
    state: [u32; 4],
    mix: impl Fn(u32, u32, u32) -> u32,
    constant: u32,
    [s0, s1, s2, s3]: [u32; 4],
    [w0, w1, w2, w3]: [u32; 4],
) -> [u32; 4] {
    let [mut a, mut b, mut c, mut d] = state;
    for (shift, word) in [(s0, w0), (s1, w1), (s2, w2), (s3, w3)] {
        let sum = a
            .wrapping_add(mix(b, c, d))
            .wrapping_add(word)
            .wrapping_add(constant);
        (a, b, c, d) = (d, sum.rotate_left(shift), b, c);
    }
    [a, b, c, d]
}

/// The Tiny Encryption Algorithm with 16 rounds, the name being the key.
fn tea([start0, start1]: [u32; 2], [k0, k1, k2, k3]: [u32; 4]) -> [u32; 2] {
    const DELTA: u32 = 0x9e37_79b9;
    let half = |v: u32, sum: u32, k: u32, l: u32| {
        (v << 4).wrapping_add(k) ^ v.wrapping_add(sum) ^ (v >> 5).wrapping_add(l)
    };
    let (mut v0, mut v1, mut sum) = (start0, start1, 0_u32);
    for _ in 0..16 {
        sum = sum.wrapping_add(DELTA);
        v0 = v0.wrapping_add(half(v1, sum, k0, k1));
        v1 = v1.wrapping_add(half(v0, sum, k2, k3));
    }
    [start0.wrapping_add(v0), start1.wrapping_add(v1)]
}
