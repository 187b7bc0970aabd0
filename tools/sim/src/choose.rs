// SPDX-License-Identifier: GPL-2.0

//! How operations are chosen.

use crate::file::{How, Memory, What};
use crate::ops::{Before, Op, SECTOR};
use crate::random::Random;
use crate::trim::Trim;

/// What a run does most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taste {
    /// Everything.
    Mixed,
    /// Data.
    Data,
    /// Names.
    Names,
    /// Everything, on a device that is nearly full.
    Full,
}

/// How large files become, in blocks.
const BLOCKS: u64 = 40;
/// How far out some blocks of files are.
const FAR: u64 = 2000;
/// Different short names.
const NAMES: u64 = 24;

/// Whether the tree of a file in which so many bytes move, or about as many, is to be built anew.
fn anew(len: u64) -> bool {
    len % 2 == 1
}

impl Op {
    fn direct(random: &mut Random, file: u16, large: u64, bytes: u64) -> Self {
        let unit = if random.chance(1, 4) { SECTOR } else { bytes };
        let pos = random.below(large * bytes / unit) * unit;
        let len = (1 + random.below(5 * bytes / unit)) * unit;
        let how = match random.below(8) {
            0..=4 => How::Queued,
            5..=6 => How::Waits,
            _ => How::Durable,
        };
        let (pos, len) = (pos as u32, len as u32);
        Self::Direct {
            file,
            pos,
            len,
            how,
        }
    }

    fn atomic(random: &mut Random, file: u16, large: u64) -> Self {
        let blocks = 1 << random.below(5);
        Self::Atomic {
            file,
            which: random.chance(1, 2).then(|| random.next() as u16),
            at: random.below(large) as u16,
            blocks,
            how: match random.below(4) {
                0..=1 => How::Queued,
                2 => How::Waits,
                _ => How::Durable,
            },
            before: match random.below(4) {
                0 => Before::Same,
                1 => Before::Halves,
                _ => Before::Nothing,
            },
        }
    }

    fn fallocate(random: &mut Random, file: u16, (pos, len): (u64, u64)) -> Self {
        let keep_size = random.chance(1, 2);
        let what = match random.below(9) {
            0..=1 => What::Allocate { keep_size },
            2..=3 => What::Punch,
            4..=5 => What::Zero { keep_size },
            6 => What::WriteZeroes,
            7 => What::Collapse { anew: anew(len) },
            _ => What::Insert { anew: anew(len) },
        };
        let (pos, len) = (pos as u32, len as u32);
        Self::Fallocate {
            file,
            what,
            pos,
            len,
        }
    }

    fn memory(random: &mut Random, file: u16, (pos, len): (u64, u64)) -> Self {
        let keep_size = random.chance(1, 2);
        let what = match random.below(12) {
            0..=3 => Memory::Write,
            4..=5 => Memory::Store,
            6..=7 => Memory::Sync,
            8 => Memory::SetSize,
            9 => Memory::Fallocate(What::Punch),
            10 => Memory::Fallocate(What::Zero { keep_size }),
            _ => Memory::Fallocate(match random.below(3) {
                0 => What::Allocate { keep_size },
                1 => What::Collapse { anew: anew(len) },
                _ => What::Insert { anew: anew(len) },
            }),
        };
        let (pos, len) = (pos as u32, len as u32);
        Self::Memory {
            file,
            pos,
            len,
            what,
        }
    }

    fn trim(random: &mut Random) -> Self {
        let whole = random.chance(1, 2);
        Self::Trim(Trim {
            start: if whole { 0 } else { random.next() as u16 },
            blocks: if whole { 0 } else { random.below(1000) as u16 },
            least: random.below(4) as u8,
            beside: random.below(6) as u8,
            which: random.next() as u16,
            patience: match random.chance(1, 4) {
                true => random.below(10) as u16,
                false => u16::MAX,
            },
        })
    }

    /// Any operation.
    pub fn random(random: &mut Random, taste: Taste, block_size: u32) -> Self {
        let bytes = u64::from(block_size);
        let mut any = || random.next() as u16;
        let (dir, file, which) = (any(), any(), any());
        let name = random.below(NAMES) as u16;
        // Positions are often at the edge of a block.
        let spot = |random: &mut Random, max: u64| {
            let at = random.below(max * bytes);
            match random.below(3) {
                0 => at / bytes * bytes,
                1 => at,
                _ => (at / bytes * bytes + random.below(3)).saturating_sub(1),
            }
        };
        let data = match taste {
            Taste::Mixed => 40,
            Taste::Data => 70,
            Taste::Names => 12,
            Taste::Full => 50,
        };
        let machine = 30;
        let way = random.below(data + machine + 36);
        if way < data {
            let large = match (taste, random.below(5)) {
                (_, 0) => FAR,
                (Taste::Full, _) => 3 * BLOCKS,
                _ => BLOCKS,
            };
            return match random.below(49) / 2 {
                23.. => {
                    let range = (spot(random, large), 1 + spot(random, 5));
                    Self::memory(random, file, range)
                }
                22 => Self::MoveExtents {
                    file,
                    donor: which,
                    pos: spot(random, large) as u32,
                    donor_pos: spot(random, large) as u32,
                    len: 1 + spot(random, 40) as u32,
                    zeroed: random.chance(1, 2),
                    written: random.chance(1, 2),
                },
                18 if random.chance(1, 4) => Self::DropEnd {
                    file,
                    len: 1 + spot(random, 9) as u32,
                    what: match random.chance(1, 2) {
                        true => What::Punch,
                        false => What::Zero { keep_size: true },
                    },
                },
                18.. => {
                    let range = (spot(random, large), 1 + spot(random, 9));
                    Self::fallocate(random, file, range)
                }
                17 => match random.chance(1, 2) {
                    true => Self::Sectors {
                        file,
                        which,
                        order: random.next() as u16,
                    },
                    false => Self::Regrow {
                        file,
                        which,
                        fails: random.chance(2, 3),
                        way: random.below(6) as u16,
                    },
                },
                16 => {
                    let from = random.below(large) as u16;
                    let count = 2 + random.below(100) as u16;
                    let order = which;
                    Self::Comb {
                        file,
                        from,
                        count,
                        order,
                    }
                }
                0..=3 => {
                    let pos = spot(random, large) as u32;
                    let len = 1 + spot(random, 5) as u32;
                    Self::Write { file, pos, len }
                }
                4..=5 => {
                    let len = 1 + spot(random, 4) as u32;
                    Self::Append { file, len }
                }
                8 => Self::Rewrite {
                    file,
                    which,
                    durable: random.chance(1, 2),
                },
                6 | 7 if random.chance(1, 3) => Self::atomic(random, file, large),
                6..=7 => Self::direct(random, file, large, bytes),
                9..=12 => {
                    let from = random.below(4 * BLOCKS) as u16;
                    let from = if random.chance(1, 2) { 0 } else { from };
                    let count = 1 + random.below(8) as u16;
                    Self::WriteBack { file, from, count }
                }
                13 => {
                    let size = spot(random, large) as u32;
                    Self::Truncate { file, size }
                }
                14 => {
                    let size = if random.chance(1, 2) {
                        0
                    } else {
                        spot(random, 4) as u32
                    };
                    Self::Truncate { file, size }
                }
                _ => {
                    let by = 1 + spot(random, 4) as u32;
                    Self::Extend { file, by }
                }
            };
        }
        if way < data + machine {
            return match random.below(32) {
                0..=6 => {
                    let others = match random.chance(1, 2) {
                        true => 0,
                        false => random.next() as u32,
                    };
                    Self::Land { which, others }
                }
                7..=10 => {
                    let data_only = random.chance(1, 3);
                    Self::Fsync { file, data_only }
                }
                11 => Self::FsyncDir { dir },
                12 => Self::Sync,
                13..=16 => Self::Commit,
                17..=21 => {
                    let writes = 1 + random.below(6) as u16;
                    Self::Step { writes }
                }
                22..=24 => {
                    let count = 1 + random.below(6) as u16;
                    let somewhere = which;
                    Self::Place { count, somewhere }
                }
                25 => Self::Tail,
                26..=27 => Self::Forget { which },
                28 => Self::Shrink,
                29..=30 => Self::trim(random),
                _ if random.chance(1, 3) => Self::Remount,
                _ if random.chance(1, 2) => Self::Freeze,
                _ => Self::Commit,
            };
        }
        match random.below(46) {
            36.. => Self::SetAttribute {
                which,
                name: random.below(3) as u16,
                len: random.chance(3, 4).then(|| match random.below(4) {
                    0 => random.below(30) as u16,
                    // A value that is not written in one step.
                    1 => 640,
                    _ => 60 + 40 * random.below(3) as u16,
                }),
            },
            0..=6 => Self::Create { dir, name },
            7 => Self::Mknod { dir, name },
            8..=10 => Self::Mkdir { dir, name },
            11..=12 => {
                let len = match random.below(3) {
                    0 => 1 + random.below(59) as u16,
                    1 => 59 + random.below(3) as u16,
                    _ => 60 + random.below(bytes - 61) as u16,
                };
                Self::Symlink { dir, name, len }
            }
            13..=14 => Self::Link { file, dir, name },
            15 => {
                let count = 1 + random.below(40) as u16;
                Self::LinkMany { file, dir, count }
            }
            16..=18 => Self::Unlink { which },
            19..=20 => Self::UnlinkOpen { which },
            21 => {
                let count = 1 + random.below(60) as u16;
                Self::UnlinkMany { dir, count }
            }
            22..=24 => Self::Rename { which, dir, name },
            25 => Self::Whiteout { which, dir, name },
            26..=27 => Self::RenameOver { which, over: file },
            28..=29 => Self::Exchange { which, with: file },
            30 => Self::Open { file },
            31 => Self::UnlinkOpen { which },
            32 => Self::Close { which },
            33 => Self::SetGeneration { file },
            34 => match random.chance(1, 2) {
                true => Self::SetLabel { number: which },
                false => Self::SetUuid { number: which },
            },
            _ if random.chance(1, 2) => Self::Tmpfile { dir },
            _ => Self::Open { file },
        }
    }
}
