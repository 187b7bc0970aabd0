// SPDX-License-Identifier: GPL-2.0

//! The picture: for each job a group of bars, how many times ext4's rate each file system reached, on a logarithmic
//! axis: to the right of the line at 1 it is faster than ext4, to the left slower, and twice as fast is as far from the
//! line as half as fast. The whiskers are the range of the rounds.

use std::path::Path;

use anyhow::{Context, Result};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::systems;
use crate::samples::{Job, Run, Unit};
use crate::stats::geometric_mean;

/// What is 1.
const THEIRS: &str = "ext4";
/// The axis ends here; what is beyond is cut off, and its number says so.
const LEAST: f64 = 0.35;
const MOST: f64 = 4.0;
/// Heights and widths, in pixels.
const BAR: i32 = 9;
const GAP: i32 = 8;
const TOP: i32 = 70;
const LEFT: i32 = 210;
/// Width of a ratio, and of what is free beside it.
const NUMBER: i32 = 24;
const AXIS: i32 = 520;
const RIGHT: i32 = 170;

fn colour(fs: &str) -> RGBColor {
    match fs {
        "iomapfs" => RGBColor(194, 65, 12),
        "xfs" => RGBColor(15, 118, 110),
        _ => RGBColor(161, 161, 170),
    }
}

/// Where a ratio is on the axis.
fn x(ratio: f64) -> i32 {
    let part = (ratio.clamp(LEAST, MOST) / LEAST).ln() / (MOST / LEAST).ln();
    LEFT + (part * f64::from(AXIS)).round() as i32
}

/// Whether a number that ends left of here would be written over the job's name.
fn hits_names(end: i32) -> bool {
    end - NUMBER < LEFT
}

/// `12.9k`, so that a large rate and a small one can be read alike.
fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.2}M", v / 1e6),
        v if v >= 1e4 => format!("{:.1}k", v / 1e3),
        v if v >= 1e3 => format!("{:.2}k", v / 1e3),
        v => format!("{v:.0}"),
    }
}

fn absolute(job: &Job, device: &str) -> String {
    let of = |fs: &str| job.summary(device, fs).map(|s| short(s.median));
    let unit = if job.unit == Unit::Rate { "/s" } else { " B" };
    match (of("iomapfs"), of(THEIRS)) {
        (Some(ours), Some(theirs)) => format!("{ours} : {theirs}{unit}"),
        _ => String::new(),
    }
}

/// Draws the jobs of one device; false when there is nothing to compare.
pub fn draw(run: &Run, device: &str, path: &Path) -> Result<bool> {
    let shown: Vec<&str> = systems(run, device)
        .into_iter()
        .filter(|fs| !matches!(*fs, THEIRS | "raw"))
        .collect();
    let jobs: Vec<&Job> = run
        .jobs
        .iter()
        .filter(|j| shown.iter().any(|fs| j.ratio(device, fs, THEIRS).is_some()))
        .collect();
    if jobs.is_empty() {
        return Ok(false);
    }
    let group = BAR * shown.len() as i32 + GAP;
    let bottom = TOP + group * jobs.len() as i32;
    let size = ((LEFT + AXIS + RIGHT) as u32, (bottom + 30) as u32);
    let area = SVGBackend::new(path, size).into_drawing_area();
    paint(&area, run, device, &jobs, &shown)
        .map_err(|e| anyhow::anyhow!("{e}"))
        .context("drawing")?;
    area.present()
        .map_err(|e| anyhow::anyhow!("{e}"))
        .with_context(|| path.display().to_string())?;
    Ok(true)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn paint(
    area: &Area<'_>,
    run: &Run,
    device: &str,
    jobs: &[&Job],
    shown: &[&str],
) -> Result<(), Box<dyn std::error::Error>> {
    let text = |size: i32, h: HPos| {
        ("sans-serif", size)
            .into_font()
            .color(&BLACK)
            .pos(Pos::new(h, VPos::Center))
    };
    let (left, right, centre) = (
        text(12, HPos::Left),
        text(12, HPos::Right),
        text(11, HPos::Center),
    );
    area.fill(&WHITE)?;
    let how = if run.mode == "counted" {
        "counted instructions"
    } else {
        "time; whiskers: range of the rounds"
    };
    let device_name = if device == "ram" {
        "RAM disk"
    } else {
        "loop device"
    };
    let title = format!("times ext4's rate ({how}, {device_name}) - right of 1 is faster");
    area.draw_text(&title, &text(15, HPos::Left), (12, 16))?;
    for (i, fs) in shown.iter().enumerate() {
        let at = 12 + 190 * i as i32;
        area.draw(&Rectangle::new(
            [(at, 32), (at + 12, 44)],
            colour(fs).filled(),
        ))?;
        let ratios: Vec<f64> = jobs
            .iter()
            .filter_map(|j| Some(j.ratio(device, fs, THEIRS)?.median))
            .collect();
        let mean =
            geometric_mean(&ratios).map_or(String::new(), |m| format!(" (geometric mean {m:.2})"));
        area.draw_text(&format!("{fs}{mean}"), &left, (at + 18, 38))?;
    }
    area.draw_text(
        "iomapfs : ext4",
        &right,
        (LEFT + AXIS + RIGHT - 12, TOP - 12),
    )?;

    let group = BAR * shown.len() as i32 + GAP;
    let bottom = TOP + group * jobs.len() as i32;
    for tick in [0.5, 0.7, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0, 4.0] {
        let shade = if tick == 1.0 {
            RGBColor(60, 60, 60)
        } else {
            RGBColor(215, 215, 215)
        };
        let line = vec![(x(tick), TOP - 4), (x(tick), bottom)];
        area.draw(&PathElement::new(
            line,
            shade.stroke_width(if tick == 1.0 { 2 } else { 1 }),
        ))?;
        for y in [TOP - 12, bottom + 12] {
            area.draw_text(&format!("{tick}"), &centre, (x(tick), y))?;
        }
    }
    for (row, job) in jobs.iter().enumerate() {
        let top = TOP + row as i32 * group + GAP / 2;
        let middle = top + (group - GAP) / 2;
        if row % 2 == 0 {
            let band = [
                (0, top - GAP / 2),
                (LEFT + AXIS + RIGHT, top + group - GAP / 2),
            ];
            area.draw(&Rectangle::new(
                band,
                RGBColor(120, 120, 140).mix(0.07).filled(),
            ))?;
        }
        area.draw_text(&job.name, &right, (LEFT - 10, middle))?;
        area.draw_text(
            &absolute(job, device),
            &right,
            (LEFT + AXIS + RIGHT - 12, middle),
        )?;
        for (i, fs) in shown.iter().enumerate() {
            let Some(ratio) = job.ratio(device, fs, THEIRS) else {
                continue;
            };
            let y = top + i as i32 * BAR;
            let (from, to) = (x(1.0).min(x(ratio.median)), x(1.0).max(x(ratio.median)));
            area.draw(&Rectangle::new(
                [(from, y), (to, y + BAR - 1)],
                colour(fs).filled(),
            ))?;
            if ratio.least < ratio.most {
                let whisker = vec![(x(ratio.least), y + BAR / 2), (x(ratio.most), y + BAR / 2)];
                area.draw(&PathElement::new(whisker, BLACK.stroke_width(1)))?;
            }
            let number = format!("{:.2}", ratio.median);
            let style = ("sans-serif", 9).into_font().color(&colour(fs));
            let left_full = hits_names(x(ratio.least));
            if left_full && x(ratio.median) + NUMBER < x(1.0) {
                // To the left of it is the job's name; the bar reaches to the line at 1, and there is room in it.
                let style = style.color(&WHITE);
                let style = style.pos(Pos::new(HPos::Left, VPos::Center));
                area.draw_text(&number, &style, (x(ratio.median) + 3, y + BAR / 2))?;
            } else if ratio.median < 1.0 && !left_full {
                let style = style.pos(Pos::new(HPos::Right, VPos::Center));
                area.draw_text(&number, &style, (x(ratio.least) - 3, y + BAR / 2))?;
            } else {
                let style = style.pos(Pos::new(HPos::Left, VPos::Center));
                area.draw_text(&number, &style, (x(ratio.most) + 3, y + BAR / 2))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_is_logarithmic_and_ends() {
        assert!((x(2.0) - x(1.0) - (x(1.0) - x(0.5))).abs() <= 1);
        assert_eq!(x(100.0), x(MOST));
        assert_eq!(x(0.01), LEFT);
    }

    #[test]
    fn the_names_stay_free() {
        assert!(hits_names(x(0.2)) && hits_names(x(LEAST)));
        assert!(!hits_names(x(0.5)) && !hits_names(x(0.9)));
        // Where it is written inside the bar, there is room for it.
        let widest = (LEFT..LEFT + AXIS).filter(|at| hits_names(*at)).max();
        assert!(widest.unwrap() + NUMBER < x(1.0));
    }

    #[test]
    fn rates_are_short() {
        assert_eq!(short(133.4), "133");
        assert_eq!(short(7190.0), "7.19k");
        assert_eq!(short(42_890.0), "42.9k");
        assert_eq!(short(2_345_000.0), "2.35M");
    }
}
