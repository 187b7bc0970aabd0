// SPDX-License-Identifier: GPL-2.0

//! Median, range and geometric mean.

/// Two counted runs of the same code agree within this much, as a part of the whole.
pub const COUNTED_SPREAD: f64 = 0.015;

/// What several rounds of one job gave. All are finite and above 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Summary {
    /// `None` when there is nothing to sum up, or a value that is no measurement.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        if sorted.iter().any(|s| !s.is_finite() || *s <= 0.0) {
            return None;
        }
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            *sorted.get(middle)?
        } else {
            (sorted.get(middle - 1)? + sorted.get(middle)?) / 2.0
        };
        Some(Self {
            median,
            least,
            most,
        })
    }

    /// The range made at least `part` of the median wide to both sides.
    pub fn widened(self, part: f64) -> Self {
        Self {
            median: self.median,
            least: self.least.min(self.median * (1.0 - part)),
            most: self.most.max(self.median * (1.0 + part)),
        }
    }

    /// How far the rounds are from the median, in percent: the larger side.
    pub fn percent(self) -> f64 {
        100.0 * (self.most - self.median).max(self.median - self.least) / self.median
    }
}

/// How a job compares with what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Better,
    Worse,
    Within,
}

/// `now` against `before`, larger being better: a change is one when the ranges do not touch.
pub fn change(now: Summary, before: Summary) -> Change {
    if now.least > before.most {
        Change::Better
    } else if now.most < before.least {
        Change::Worse
    } else {
        Change::Within
    }
}

/// The geometric mean of values above 0, `None` of nothing.
pub fn geometric_mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    Some((values.iter().map(|v| v.ln()).sum::<f64>() / values.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_of_any_order() {
        let three = Summary::of(&[9.0, 1.0, 2.0]).unwrap();
        assert_eq!(
            three,
            Summary {
                median: 2.0,
                least: 1.0,
                most: 9.0
            }
        );
        assert_eq!(Summary::of(&[4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[1.0, 0.0]), None);
        assert_eq!(Summary::of(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn the_percentage_is_that_of_the_farther_side() {
        assert_eq!(Summary::of(&[90.0, 100.0, 130.0]).unwrap().percent(), 30.0);
    }

    #[test]
    fn a_change_needs_ranges_that_do_not_touch() {
        let old = Summary::of(&[95.0, 100.0, 105.0]).unwrap();
        assert_eq!(
            change(Summary::of(&[104.0, 120.0]).unwrap(), old),
            Change::Within
        );
        assert_eq!(
            change(Summary::of(&[106.0, 120.0]).unwrap(), old),
            Change::Better
        );
        assert_eq!(
            change(Summary::of(&[80.0, 94.0]).unwrap(), old),
            Change::Worse
        );
        // Both agree with what is in the middle: together they may differ by the spread.
        let one = |v| Summary::of(&[v]).unwrap().widened(COUNTED_SPREAD / 2.0);
        assert_eq!(change(one(101.4), one(100.0)), Change::Within);
        assert_eq!(change(one(98.6), one(100.0)), Change::Within);
        assert_eq!(change(one(101.7), one(100.0)), Change::Better);
        assert_eq!(change(one(98.4), one(100.0)), Change::Worse);
    }

    #[test]
    fn halves_and_doubles_have_the_mean_one() {
        assert!((geometric_mean(&[0.5, 2.0]).unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(geometric_mean(&[]), None);
    }
}
