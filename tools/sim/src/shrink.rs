// SPDX-License-Identifier: GPL-2.0

//! A shorter list of operations that fails, too: parts are left out, ever smaller ones, as long as it does.

use crate::base::Base;
use crate::case::{Case, Failure};
use crate::judge::E2fsck;
use std::time::{Duration, Instant};

/// Shortens `case`, which failed with each power cut made in so many `ways`, for at most `time`; `None` where that is
/// not found again. e2fsck is asked only where nobody else finds anything, as it is slow.
pub fn shrink(case: &Case, base: &Base, ways: usize, time: Duration) -> Option<(Case, Failure)> {
    let end = Instant::now() + time;
    // The one way in which it failed may be rare, so each list is tried in several.
    let fails_for = |case: &Case, every: u64| {
        [ways, 1, 4, 16].into_iter().find_map(|ways| {
            case.run(base, ways, &mut E2fsck::new(u64::MAX, every))
                .err()
        })
    };
    let (every, mut failure) = [0, 1]
        .into_iter()
        .find_map(|every| Some((every, fails_for(case, every)?)))?;
    let fails = |case: &Case| fails_for(case, every);
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
