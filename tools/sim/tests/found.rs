// SPDX-License-Identifier: GPL-2.0

//! The simulation finds nothing in the core, and does find each rule that is broken on purpose.

use iomapfs_sim::base::Base;
use iomapfs_sim::broken::{Broken, Rule};
use iomapfs_sim::case::{Case, Failure};
use iomapfs_sim::judge::E2fsck;

fn seed() -> u64 {
    std::env::var("PROPTEST_RNG_SEED").map_or(1, |seed| seed.parse().unwrap_or(1))
}

/// Runs cases until there were so many power cuts, of which e2fsck sees one in `sample`. Gives what was found.
fn run(bases: &[Base], cuts: u64, sample: u64, broken: Broken) -> Option<(u64, Failure)> {
    let seed = seed();
    let sizes: Vec<u32> = bases
        .iter()
        .map(|base| base.fixed.layout.block_size().bytes())
        .collect();
    let mut judge = E2fsck::new(cuts, sample);
    let mut n = 0;
    while judge.left > 0 {
        let case = Case::random(bases.len(), seed, n, broken, &sizes);
        if let Err(failure) = case.run(&bases[case.base], 2, &mut judge) {
            return Some((n, failure));
        }
        n += 1;
    }
    None
}

#[test]
fn power_cuts() {
    let found = run(&Base::all().unwrap(), 6000, 400, Broken::default());
    if let Some((n, failure)) = found {
        panic!(
            "{failure:?}; to repeat it: make sim SEED={} CASE={n}",
            seed()
        );
    }
}

#[test]
fn broken_rules() {
    use clap::ValueEnum;
    let bases = Base::all().unwrap();
    std::panic::set_hook(Box::new(|_| ()));
    let missed: Vec<_> = Rule::value_variants()
        .iter()
        .filter(|rule| run(&bases, 200_000, 0, Broken(Some(**rule))).is_none())
        .collect();
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
