// SPDX-License-Identifier: GPL-2.0

//! A shorter list of operations that fails, too: parts are left out, ever smaller ones, as long as it does.

use crate::base::Base;
use crate::case::{Case, Failure, Judge};
use crate::verify::Recovered;
use iomapfs_core::host::Device;
use std::time::{Duration, Instant};

struct Nobody;

impl Judge for Nobody {
    fn judge(&mut self, _base: &Base, _cut: &Device, _to: &Recovered) -> Result<(), String> {
        Ok(())
    }

    fn goes_on(&self) -> bool {
        true
    }
}

/// Shortens `case`, which failed with each power cut made in so many `ways`, for at most `time`; `None` where that is
/// not found again without e2fsck.
pub fn shrink(case: &Case, base: &Base, ways: usize, time: Duration) -> Option<(Case, Failure)> {
    let end = Instant::now() + time;
    // The one way in which it failed may be rare, so each list is tried in several.
    let fails = |case: &Case| {
        [ways, 1, 4, 16]
            .into_iter()
            .find_map(|ways| case.run(base, ways, &mut Nobody).err())
    };
    let mut failure = fails(case)?;
    let mut best = case.clone();
    best.lives.truncate(failure.life + 1);
    // First whole lives, then parts of each.
    for life in 0..best.lives.len() {
        let mut part = best.lives[life].len();
        while part > 0 && Instant::now() < end {
            let (mut at, mut shorter) = (0, false);
            while at < best.lives[life].len() && Instant::now() < end {
                let mut less = best.clone();
                let to = (at + part).min(less.lives[life].len());
                less.lives[life].drain(at..to);
                match fails(&less) {
                    Some(found) => (best, failure, shorter) = (less, found, true),
                    None => at += part,
                }
            }
            if !shorter {
                part /= 2;
            }
        }
    }
    Some((best, failure))
}
