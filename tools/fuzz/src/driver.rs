// SPDX-License-Identifier: GPL-2.0

//! The plain driver: targets with random bytes of a seed, without libFuzzer and its knowledge of what was reached.

use crate::fsck::{fsck, Verdict};
use crate::mild;
use crate::parsers;
use crate::walk::{self, Case, Corpus};
use anyhow::{bail, ensure, Result};
use arbitrary::Unstructured;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes that a case gets.
const BYTES: usize = 1024;
/// Of so many images one at least is judged after use.
const ENOUGH: u64 = 50;
/// Seconds that one may take.
const LIMIT: u64 = 60;

/// The bytes of a case. Other numbers, other bytes; the same, the same.
pub fn bytes(seed: u64, nr: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ nr);
    let mut bytes = vec![0; BYTES];
    rng.fill(&mut bytes);
    bytes
}

/// Runs a target with `count` cases of `seed` from number `first` on. `said` is called now and then with how many are
/// done.
///
/// # Errors
///
/// At the first case that panics, with how to repeat it. One that does not end ends the process.
pub fn run(
    target: &str,
    seed: u64,
    first: u64,
    count: u64,
    mut said: impl FnMut(u64),
) -> Result<()> {
    static NOW: AtomicU64 = AtomicU64::new(0);
    let repeat = |nr| format!("iomapfs-fuzz host --target {target} --seed {seed} --only {nr}");
    let watch = target.to_string();
    // A case that hangs cannot be ended, but it can be told.
    std::thread::spawn(move || {
        let mut last = (u64::MAX, Instant::now());
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let now = NOW.load(Ordering::Relaxed);
            if now == u64::MAX {
                return;
            }
            if now != last.0 {
                last = (now, Instant::now());
            } else if last.1.elapsed().as_secs() > LIMIT {
                eprintln!("{watch}: case {now} of seed {seed} does not end");
                std::process::exit(3);
            }
        }
    });
    for nr in first..first + count {
        NOW.store(nr, Ordering::Relaxed);
        let data = bytes(seed, nr);
        if catch_unwind(AssertUnwindSafe(|| parsers::run(target, &data))).is_err() {
            let mut what = String::new();
            if target == "walk" {
                let case = Case::new(Corpus::get(), &mut Unstructured::new(&data));
                what = case.map_or_else(|_| String::new(), |case| case.describe());
            }
            bail!(
                "{target}: a panic in case {nr} of seed {seed}\n{what}\nto repeat it: {}",
                repeat(nr)
            );
        }
        if nr % 256 == 0 {
            said(nr - first);
        }
    }
    NOW.store(u64::MAX, Ordering::Relaxed);
    Ok(())
}

/// How many of a sample of images went how.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Images that `e2fsck` called clean in spite of the damage.
    pub clean: u64,
    /// Of those, the ones that were then changed without an error, and are clean afterwards.
    pub stayed: u64,
    /// Images with which `e2fsck` could do nothing.
    pub gave_up: u64,
}

/// Damages `count` images and uses those that `e2fsck` calls clean nevertheless; what was written must leave them so.
///
/// # Errors
///
/// At the first that is not clean afterwards, and where of many none was judged.
pub fn judge(seed: u64, first: u64, count: u64, scratch: &Path) -> Result<Sample> {
    let corpus = Corpus::get();
    let mut sample = Sample::default();
    let before = scratch.join("before.img");
    let after = scratch.join("after.img");
    for nr in first..first + count {
        let data = bytes(seed, nr);
        let mut u = Unstructured::new(&data);
        let made = match mild::is(nr) {
            true => Case::mild(corpus, &mut u),
            false => Case::new(corpus, &mut u),
        };
        let Ok(case) = made else {
            continue;
        };
        // The records of what owners have are written by the kernel's quota code, which is not here.
        if corpus.surveys()[case.nr].layout.has_quota() {
            continue;
        }
        case.edit.save(&before)?;
        let (verdict, words) = fsck(&before)?;
        ensure!(
            verdict == Verdict::Clean || !mild::is(nr),
            "case {nr} of seed {seed}: e2fsck does not call it clean: {}\n{words}",
            case.describe()
        );
        sample.gave_up += u64::from(verdict == Verdict::GaveUp);
        if verdict != Verdict::Clean {
            continue;
        }
        sample.clean += 1;
        let Ok(used) = walk::use_image(corpus, &case, u) else {
            continue;
        };
        if !used.flawless {
            continue;
        }
        walk::save(&case, &used, &after)?;
        let (verdict, words) = fsck(&after)?;
        if verdict != Verdict::Clean {
            bail!(
                "case {nr} of seed {seed}: {}\n{words}\nto repeat it: iomapfs-fuzz judge --seed {seed} --only {nr}",
                case.describe()
            );
        }
        sample.stayed += 1;
    }
    // Some that are clean are then used in a way that is not judged, so a few alone may all be such.
    ensure!(
        sample.stayed > 0 || count < ENOUGH,
        "of {count} cases e2fsck has judged none: {sample:?}"
    );
    Ok(sample)
}
