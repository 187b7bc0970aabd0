// SPDX-License-Identifier: GPL-2.0

//! What the allocator costs: nanoseconds per operation on the host, without a journal's I/O.
//!
//! `cargo bench -p iomapfs-core --bench space`

use iomapfs_core::disk::{Group, PhysBlock};
use iomapfs_core::host::{mount, HostStore, Mkfs};
use iomapfs_core::space::{Claim, Goal, Run, Share};
use iomapfs_core::store::{Credits, Store};
use iomapfs_core::volume::Volume;
use std::time::Instant;

type Vol = Volume<HostStore>;

/// Best of many rounds of `n` operations, each short enough that other programs seldom get in between.
fn time(what: &str, n: u32, mut f: impl FnMut()) {
    let best = (0..100)
        .map(|_| {
            let start = Instant::now();
            (0..n).for_each(|_| f());
            start.elapsed()
        })
        .min()
        .unwrap_or_default();
    println!(
        "{what:<58} {:>9.1} ns",
        best.as_nanos() as f64 / f64::from(n)
    );
}

fn volume(gib: u64) -> Vol {
    mount(&Mkfs::new(gib << 30, 4096).features("^has_journal").make())
}

fn goal(near: Option<u64>) -> Goal {
    Goal {
        near: near.map(PhysBlock::new),
        ..Goal::in_group(Group::new(1))
    }
}

fn choose(vol: &Vol, goal: Goal, want: u32) -> Run {
    vol.space
        .choose(&vol.store, goal, want, Claim::Free(Share::Common))
        .unwrap()
}

fn main() {
    for gib in [1, 256] {
        println!("{gib} GiB, blocks of 4 KiB, {} groups", gib * 8);
        let start = Instant::now();
        let vol = volume(gib);
        println!("  mkfs and load: {:?}", start.elapsed());
        let base = choose(&vol, goal(None), 1);
        let at = base.start.get() + 100;
        for want in [1, 256, 2048] {
            time(
                &format!("  choose {want} at the goal, unchoose"),
                2000,
                || {
                    vol.space.unchoose(choose(&vol, goal(Some(at)), want));
                },
            );
        }
        time("  choose 1 in the group, unchoose", 2000, || {
            vol.space.unchoose(choose(&vol, goal(None), 1));
        });
        time("  reserve 1, unreserve", 2000, || {
            vol.space.reserve(1, 0, Share::Common).unwrap();
            vol.space.unreserve(1, 0);
        });
        let mut next = at;
        time("  append 1 after 1", 200, || {
            next = choose(&vol, goal(Some(next)), 1).end().get();
        });

        // All of it in pieces of 63 blocks.
        let mut vol = vol;
        let fresh = volume(gib);
        vol.space = fresh.space;
        while let Ok(run) = vol
            .space
            .choose(&vol.store, goal(None), 32768, Claim::Free(Share::All))
        {
            for nr in (run.start.get()..run.end().get().saturating_sub(64)).step_by(64) {
                vol.space.unchoose(Run {
                    start: PhysBlock::new(nr),
                    len: 63,
                });
            }
            if vol.space.counts().free_blocks > 60_000 * gib {
                break;
            }
        }
        time("  fragmented: choose 63, unchoose", 400, || {
            vol.space.unchoose(choose(&vol, goal(None), 63));
        });
        time("  fragmented: choose 4096, get 63, unchoose", 2_000, || {
            let run = vol
                .space
                .choose(&vol.store, goal(None), 4096, Claim::Free(Share::All))
                .unwrap();
            vol.space.unchoose(run);
        });

        let vol = volume(gib);
        let run = choose(&vol, goal(None), 8);
        time("  mark 8 used, free them", 400, || {
            let mut tx = vol.store.begin(Credits::new(4, 0)).unwrap();
            vol.space.mark_used(&vol.store, &mut tx, run).unwrap();
            vol.space.free(&vol.store, &mut tx, run).unwrap();
        });
        let bits = vec![0x5a_u8; 4096];
        time("  (checksum of a bitmap)", 400, || {
            std::hint::black_box(iomapfs_core::crc32c(!0, std::hint::black_box(&bits)));
        });
    }
}
