// SPDX-License-Identifier: GPL-2.0

//! What a file's map costs: nanoseconds per operation on the host, without I/O.
//!
//! `cargo bench -p iomapfs-core --bench map`

#[path = "../tests/map_common/mod.rs"]
mod map_common;

use iomapfs_core::host::{HostStore, Mkfs};
use iomapfs_core::inode::Inode;
use iomapfs_core::map::FileMap;
use iomapfs_core::space::Share;
use iomapfs_core::store::{Credits, Store};
use map_common::*;
use std::hint::black_box;
use std::time::Instant;

/// Best of `rounds` rounds of `n` operations.
fn time(what: &str, rounds: u32, n: u32, mut f: impl FnMut(u32)) {
    let mut i = 0;
    let best = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..n {
                f(i);
                i += 1;
            }
            start.elapsed()
        })
        .min()
        .unwrap_or_default();
    let ns = best.as_nanos() as f64 / f64::from(n);
    println!("{what:<62} {ns:>9.1} ns");
}

/// Commits a range in a handle that is never short of credits.
fn commit(vol: &Vol, tx: &mut <HostStore as Store>::Tx<'_>, file: &mut File, at: u32, len: u32) {
    let granted = Credits {
        blocks: 1000,
        revokes: 1000,
    };
    let done = file.map().publish(vol, tx, block(at), len, granted);
    done.unwrap();
}

fn main() {
    const N: u32 = 100_000;
    let image = Mkfs::new(1 << 30, 4096).make();
    let inos = make_files(&image, &["one", "many", "append", "small"]);
    let vol = mount(&image);
    vol.store.set_max_credits(u32::MAX);

    let mut one = File::open(&vol, inos[0]);
    one.map()
        .choose(&vol, block(0), 10_000, goal(), Share::All)
        .unwrap();
    one.commit(&vol, 0, 10_000).unwrap();
    one.lookup(&vol, 0, 1);
    let snapshot = one.map().snapshot().clone();
    time("lookup, snapshot", 50, 10_000, |i| {
        black_box(snapshot.get(block(i % 10_000), 1));
    });
    time("lookup, one extent in the inode", 50, 10_000, |i| {
        black_box(one.lookup(&vol, i % 10_000, 1));
    });

    let mut many = File::open(&vol, inos[1]);
    let mut tx = vol.store.begin(Credits::new(u32::MAX, u32::MAX)).unwrap();
    time(
        "choose and commit, random, to 100000 extents",
        N / 500,
        500,
        |i| {
            let at = 2 * (i * 7919 % N);
            many.map()
                .choose(&vol, block(at), 1, goal(), Share::All)
                .unwrap();
            commit(&vol, &mut tx, &mut many, at, 1);
        },
    );
    println!(
        "  depth {}, {} sectors",
        many.map().depth(),
        many.map().sectors()
    );
    time("lookup, cached, 100000 extents", 20, 10_000, |i| {
        black_box(many.lookup(&vol, i.wrapping_mul(7919) % N * 2, 1));
    });
    time("lookup, by the tree, 100000 extents", 20, 5_000, |i| {
        if i % 64 == 0 {
            many.map().shrink(usize::MAX);
        }
        black_box(many.lookup(&vol, i.wrapping_mul(7919) % N * 2, 1));
    });
    many.map().evict(&vol);

    let mut append = File::open(&vol, inos[2]);
    time("append 1 block: choose, commit (no inode)", 50, 1000, |i| {
        append
            .map()
            .choose(&vol, block(i), 1, goal(), Share::All)
            .unwrap();
        commit(&vol, &mut tx, &mut append, i, 1);
    });
    println!("  depth {}", append.map().depth());
    append.map().release_window(&vol);
    time("reserve 1 block in order", 20, 1000, |i| {
        append
            .map()
            .reserve(&vol, block(100_000 + i), 1, Share::All)
            .unwrap();
    });
    append.map().evict(&vol);
    drop(tx);

    let mut small = File::open(&vol, inos[3]);
    time(
        "4 KiB file: choose, commit, inode, remove, inode",
        20,
        200,
        |_| {
            small
                .map()
                .choose(&vol, block(0), 1, goal(), Share::All)
                .unwrap();
            small.commit(&vol, 0, 1).unwrap();
            small.inode.disk_size = 0;
            small.remove(&vol, 0, u32::MAX).unwrap();
            commit_journal(&vol);
        },
    );

    let start = Instant::now();
    let mut steps = 0;
    let mut end = u32::MAX;
    loop {
        let granted = FileMap::remove_credits(&vol, many.map().depth());
        let mut tx = vol.store.begin(granted + Inode::WRITE_CREDITS).unwrap();
        steps += 1;
        match many
            .map()
            .remove(&vol, &mut tx, block(0), block(end), granted)
            .unwrap()
        {
            iomapfs_core::map::Progress::Done => break,
            iomapfs_core::map::Progress::Again(at) => end = at.get(),
        }
    }
    let per = start.elapsed().as_nanos() as f64 / f64::from(N);
    println!("{:<62} {per:>9.1} ns", "remove, per extent of 100000");
    println!("  {steps} handles");
}
