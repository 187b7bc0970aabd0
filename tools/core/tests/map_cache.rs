// SPDX-License-Identifier: GPL-2.0

//! What a map knows in memory only, when there is much of it: thousands of pieces that come, are joined, cut and taken
//! back.
//!
//! Would catch: a piece that finds no room where it belongs and is lost, as when the chunk that was prepared for it
//! went away with the piece that it replaces; chunks out of order; pieces that overlap or are joined wrongly.

mod map_common;

use iomapfs_core::host::Mkfs;
use iomapfs_core::map::State;
use iomapfs_core::space::Share;
use map_common::*;

/// File blocks that are used; few enough that pieces meet all the time.
const BLOCKS: u32 = 6000;

/// A generator of numbers that a seed repeats (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as u32 % n
    }
}

type Model = Vec<(State, Option<u64>)>;

fn check(vol: &Vol, file: &mut File, model: &Model) {
    let mut at = 0;
    while at < BLOCKS {
        let found = file.lookup(vol, at, BLOCKS - at);
        for i in 0..found.len {
            let phys = found.phys.map(|phys| phys.get() + u64::from(i));
            assert_eq!(
                (found.state, phys),
                model[(at + i) as usize],
                "block {}",
                at + i
            );
        }
        at += found.len;
    }
    let count = |state| model.iter().filter(|entry| entry.0 == state).count() as u32;
    let (delayed, pending) = (count(State::Delayed), count(State::Pending));
    assert_eq!(file.inode.map.reserved().0, delayed);
    assert_eq!(file.inode.map.outstanding(), delayed + pending);
}

#[test]
fn many_pieces() {
    let image = Mkfs::new(64 << 20, 1024).make();
    let ino = make_files(&image, &["a"])[0];
    let vol = mount(&image);
    for seed in 1..=6 {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ seed);
        let mut file = File::open(&vol, ino);
        let mut model: Model = vec![(State::Hole, None); BLOCKS as usize];
        for n in 0..12_000 {
            let at = random.below(BLOCKS);
            // Blocks in the middle of long runs, which cut these into three; whole runs, which take their place; and
            // wide gaps, which leave few pieces in a chunk.
            let op = random.below(16);
            let len = match op {
                0 | 1 => random.below(400) + 1,
                2..=9 => 1,
                10..=13 => BLOCKS,
                14 => random.below(200) + 1,
                _ => random.below(8) + 1,
            };
            let len = len.min(BLOCKS - at);
            match op {
                0 | 1 => {
                    let got = file
                        .map()
                        .reserve(&vol, block(at), len, Share::All)
                        .unwrap();
                    assert_eq!(got.new, model[at as usize].0 == State::Hole);
                    let got = got.mapping;
                    if model[at as usize].0 == State::Hole {
                        assert_eq!(got.state, State::Delayed);
                        for i in at..at + got.len {
                            assert_eq!(model[i as usize].0, State::Hole);
                            model[i as usize] = (State::Delayed, None);
                        }
                    }
                }
                2..=13 => {
                    // From the start of the run, if it is delayed.
                    let at = match op {
                        10.. if model[at as usize].0 == State::Delayed => (0..at)
                            .rev()
                            .take_while(|i| model[*i as usize].0 == State::Delayed)
                            .last()
                            .unwrap_or(at),
                        _ => at,
                    };
                    if model[at as usize].0 == State::Hole {
                        continue;
                    }
                    let len = len.min(BLOCKS - at);
                    let before = model[at as usize].0;
                    let got = file
                        .map()
                        .choose(&vol, block(at), len, goal(), Share::All)
                        .unwrap();
                    assert_eq!(got.state, State::Pending);
                    for i in 0..got.len {
                        let phys = got.phys.map(|phys| phys.get() + u64::from(i));
                        let entry = &mut model[(at + i) as usize];
                        assert_eq!(entry.0, before);
                        if before == State::Pending {
                            assert_eq!(entry.1, phys);
                        }
                        *entry = (State::Pending, phys);
                    }
                }
                _ => {
                    file.map().cancel(&vol, block(at), block(at + len));
                    model[at as usize..(at + len) as usize].fill((State::Hole, None));
                }
            }
            if n % 200 == 0 {
                check(&vol, &mut file, &model);
            }
        }
        check(&vol, &mut file, &model);
        file.map().evict(&vol);
        assert_eq!(file.inode.map.reserved(), (0, 0));
        assert_eq!(
            vol.space.counts().free_blocks,
            vol.space.counts().free_blocks_on_disk
        );
    }
}

/// The only piece of a chunk is replaced, and the chunk before it is full: the new piece must not end up there.
///
/// Follows how chunks of 64 pieces are filled and split, so it tests less if that changes.
#[test]
fn replaced_behind_a_full_chunk() {
    let image = Mkfs::new(64 << 20, 1024).make();
    let ino = make_files(&image, &["a"])[0];
    let vol = mount(&image);
    let mut file = File::open(&vol, ino);
    let choose = |file: &mut File, at: u32, len: u32| {
        let got = file
            .map()
            .choose(&vol, block(at), len, goal(), Share::All)
            .unwrap();
        assert_eq!((got.state, got.len), (State::Pending, len));
    };
    assert_eq!(
        file.map()
            .reserve(&vol, block(0), 6000, Share::All)
            .unwrap()
            .mapping
            .len,
        6000
    );
    // Two pieces, then two more with each block in the middle of the last one: 64 with the 31st, split by the 32nd.
    for i in 0..=32 {
        choose(&mut file, 10 * i, 1);
    }
    // All of the second chunk but one delayed run.
    file.map().cancel(&vol, block(160), block(161));
    file.map().cancel(&vol, block(170), block(6000));
    // The first chunk gets its other 32 pieces.
    for i in 0..16 {
        choose(&mut file, 10 * i + 5, 1);
    }
    choose(&mut file, 161, 9);
    let found = file.lookup(&vol, 161, 9);
    assert_eq!((found.state, found.len), (State::Pending, 9));
    file.map().evict(&vol);
    let counts = vol.space.counts();
    assert_eq!(counts.free_blocks, counts.free_blocks_on_disk);
}
