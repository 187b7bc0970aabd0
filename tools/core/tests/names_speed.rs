// SPDX-License-Identifier: GPL-2.0

//! How long names take: run by hand, `cargo test --release --test names_speed -- --ignored --nocapture`.

mod names_common;

use iomapfs_core::disk::{FileType, PhysBlock};
use iomapfs_core::host::Mkfs;
use iomapfs_core::names::{self, Cursor, Listing};
use iomapfs_core::store::{Credits, Store};
use names_common::*;
use std::hint::black_box;
use std::time::Instant;

#[test]
#[ignore = "a measurement"]
fn names_per_second() {
    let count = 10_000_u32;
    for block_size in [1024, 4096] {
        let world = World::new(&Mkfs::new(64 << 20, block_size));
        let store = open(&world.image);
        let free = store.blocks() / 4..store.blocks();
        let mut dir =
            FlatDir::open(&store, &world.image, "d").with_pool(free.map(PhysBlock::new).collect());
        make_empty(&mut dir);
        let names: Vec<_> = (0..count).map(|n| format!("file-{n:06}.dat")).collect();
        let per_name = |start: Instant| start.elapsed().as_nanos() / u128::from(count);
        // Others use the machine as well: the best of some rounds.
        let best = |f: &dyn Fn()| {
            let round = |_| {
                let start = Instant::now();
                f();
                per_name(start)
            };
            (0..20).map(round).min().unwrap()
        };

        let mut tx = store.begin(Credits::new(4096, 0)).unwrap();
        let start = Instant::now();
        for name in &names {
            names::insert(
                &mut dir,
                &mut tx,
                name.as_bytes(),
                world.file,
                FileType::Regular,
            )
            .unwrap();
        }
        let insert = per_name(start);

        let lookup = best(&|| {
            for name in &names {
                black_box(dir.lookup(name.as_bytes()).unwrap().unwrap());
            }
        });
        let miss = best(&|| {
            for name in &names {
                black_box(dir.lookup(&name.as_bytes()[1..]).unwrap());
            }
        });
        let list = best(&|| {
            let mut cursor = Cursor::new(false);
            while names::readdir(&dir, &mut cursor, |listed| {
                black_box(listed);
                true
            }) != Ok(Listing::End)
            {}
        });

        let start = Instant::now();
        for name in &names {
            names::remove(&mut dir, &mut tx, name.as_bytes(), world.file).unwrap();
        }
        let remove = per_name(start);
        println!(
            "blocks of {block_size}, ns a name: insert {insert}, lookup {lookup}, miss {miss}, \
             readdir {list}, remove {remove}"
        );
    }
}
