// SPDX-License-Identifier: GPL-2.0

//! The table, the JSON, and the comparison with an earlier JSON.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use clap::Args;

use crate::plot;
use crate::samples::{self, Job, Run, Unit};
use crate::stats::{change, geometric_mean, Change, Summary, COUNTED_SPREAD};

/// Who is compared, and with whom.
const OURS: &str = "iomapfs";
const THEIRS: &str = "ext4";
/// The order of columns and bars; whoever else there is follows.
pub const SYSTEMS: [&str; 4] = ["iomapfs", "ext4", "xfs", "raw"];

#[derive(Args)]
pub struct Arguments {
    /// The folder that the guest's results are in; the reports go there, too.
    #[arg(long)]
    results: PathBuf,
    /// qemu/bench/jobs: the order of the jobs, and what they do.
    #[arg(long)]
    jobs: PathBuf,
    /// counted or timed.
    #[arg(long)]
    mode: String,
    /// What was measured.
    #[arg(long)]
    commit: String,
    /// How QEMU was started and the file systems were made.
    #[arg(long, default_value = "")]
    options: String,
    /// An earlier run's JSON to compare with.
    #[arg(long)]
    base: Option<PathBuf>,
}

pub fn main(arguments: &Arguments) -> Result<()> {
    let results = &arguments.results;
    let run = gather(arguments)?;
    let base = arguments.base.as_deref().map(Run::load).transpose()?;
    if let Some(base) = &base {
        ensure!(
            base.mode == run.mode,
            "one run is {}, the other {}: nothing can be compared",
            base.mode,
            run.mode
        );
        for (what, then, now) in [
            ("kernel", &base.kernel, &run.kernel),
            ("options", &base.options, &run.options),
        ] {
            if then != now {
                println!("compared with a run of other {what}: {then:?}, now {now:?}");
            }
        }
    }
    let json = results.join("bench.json");
    fs::write(&json, serde_json::to_string_pretty(&run)? + "\n")
        .with_context(|| json.display().to_string())?;
    let mut made = vec![json];
    for device in devices(&run) {
        println!("{}", table(&run, device, base.as_ref()));
        let name = if device == "ram" {
            "bench.svg".into()
        } else {
            format!("bench-{device}.svg")
        };
        if plot::draw(&run, device, &results.join(&name))? {
            made.push(results.join(name));
        }
    }
    for file in made {
        println!("{}", file.display());
    }
    Ok(())
}

/// The samples, in the order of the jobs' file.
fn gather(arguments: &Arguments) -> Result<Run> {
    let read = |path: &Path| fs::read_to_string(path).with_context(|| path.display().to_string());
    let listed = read(&arguments.jobs)?;
    let mut found: BTreeMap<String, Job> = BTreeMap::new();
    for (name, sample) in samples::collect(&arguments.results.join("samples"))? {
        let job = found.entry(name.job.clone()).or_insert_with(|| Job {
            name: name.job,
            unit: sample.unit,
            what: String::new(),
            samples: BTreeMap::new(),
        });
        ensure!(
            job.unit == sample.unit,
            "{}: both a rate and bytes",
            job.name
        );
        // Names are in order, and so are the rounds.
        job.samples
            .entry(name.device)
            .or_default()
            .entry(name.fs)
            .or_default()
            .push(sample.value);
    }
    let mut jobs = Vec::new();
    for line in listed.lines().filter(|l| !l.starts_with('#')) {
        let Some(name) = line.split_whitespace().next() else {
            continue;
        };
        if let Some(mut job) = found.remove(name) {
            job.what = line
                .split_whitespace()
                .skip(2)
                .collect::<Vec<_>>()
                .join(" ");
            jobs.push(job);
        }
    }
    ensure!(
        found.is_empty(),
        "results of jobs that {} does not know",
        arguments.jobs.display()
    );
    ensure!(!jobs.is_empty(), "nothing was measured");
    Ok(Run {
        format: samples::FORMAT,
        mode: arguments.mode.clone(),
        kernel: read(&arguments.results.join("release"))?.trim().into(),
        commit: arguments.commit.clone(),
        options: arguments.options.clone(),
        jobs,
    })
}

fn devices(run: &Run) -> Vec<&str> {
    let mut devices: Vec<&str> = run
        .jobs
        .iter()
        .flat_map(|j| j.samples.keys().map(String::as_str))
        .collect();
    // The RAM disk is the first.
    devices.sort_by_key(|d| (*d != "ram", *d));
    devices.dedup();
    devices
}

/// Who takes part, in the order of the columns.
pub fn systems<'a>(run: &'a Run, device: &str) -> Vec<&'a str> {
    let mut systems: Vec<&str> = run
        .jobs
        .iter()
        .filter_map(|j| j.samples.get(device))
        .flat_map(|s| s.keys().map(String::as_str))
        .collect();
    systems.sort_by_key(|fs| {
        (
            SYSTEMS
                .iter()
                .position(|s| s == fs)
                .unwrap_or(SYSTEMS.len()),
            *fs,
        )
    });
    systems.dedup();
    systems
}

fn table(run: &Run, device: &str, base: Option<&Run>) -> String {
    let systems = systems(run, device);
    let both = systems.contains(&OURS) && systems.contains(&THEIRS);
    let how = if run.mode == "counted" {
        "counted instructions"
    } else {
        "median of the rounds, and their range"
    };
    let mut text = format!(
        "\noperations per second (memory: bytes each) on {device}, {how}\n{:28}",
        ""
    );
    for fs in &systems {
        text += &format!("{fs:>13}");
    }
    if both {
        text += &format!("{:>17}", format!("{OURS}/{THEIRS}"));
    }
    if base.is_some() {
        text += "   before";
    }
    text += "\n";
    let mut ratios = Vec::new();
    for job in run.jobs.iter().filter(|j| j.samples.contains_key(device)) {
        text += &format!("{:28}", job.name);
        for fs in &systems {
            let cell = job
                .summary(device, fs)
                .map_or("-".into(), |s| cell(s, job.unit, run.mode == "timed"));
            text += &format!("{cell:>13}");
        }
        if let Some(ratio) = job.ratio(device, OURS, THEIRS) {
            ratios.push(ratio.median);
            let range = if run.mode == "timed" {
                format!(" ±{:.0}%", ratio.percent())
            } else {
                String::new()
            };
            text += &format!("{:>17}", format!("{:.2}{range}", ratio.median));
        } else if both {
            text += &format!("{:>17}", "-");
        }
        if let Some(base) = base {
            text += &compare(run, job, base, device);
        }
        text += "\n";
    }
    if let Some(mean) = geometric_mean(&ratios) {
        let width = 28 + 13 * systems.len();
        text += &format!(
            "{:width$}{mean:>17.2}\n",
            format!("geometric mean of {}", ratios.len())
        );
        let worst = run
            .jobs
            .iter()
            .filter_map(|j| Some((j.ratio(device, OURS, THEIRS)?.median, &j.name)));
        if let Some((ratio, name)) = worst.min_by(|a, b| a.0.total_cmp(&b.0)) {
            text += &format!(
                "the least is {ratio:.2}, {name}; above 1 {OURS} is better, in bytes, too\n"
            );
        }
    }
    text
}

fn cell(summary: Summary, unit: Unit, timed: bool) -> String {
    let value = match unit {
        Unit::Rate => format!("{:.0}", summary.median),
        Unit::Bytes => format!("{:.0} B", summary.median),
    };
    if timed {
        format!("{value} ±{:.0}%", summary.percent())
    } else {
        value
    }
}

/// What is compared with an earlier run: counted the rate itself, which is the same on every machine; timed the ratio.
fn compared(job: &Job, device: &str, mode: &str) -> Option<Summary> {
    if mode == "timed" {
        return job.ratio(device, OURS, THEIRS);
    }
    let summary = job.summary(device, OURS)?;
    let better = match job.unit {
        Unit::Rate => summary,
        Unit::Bytes => Summary {
            median: 1.0 / summary.median,
            least: 1.0 / summary.most,
            most: 1.0 / summary.least,
        },
    };
    // Half of it to both sides of either run: ranges that do not touch are further apart than the whole.
    Some(better.widened(COUNTED_SPREAD / 2.0))
}

fn compare(run: &Run, job: &Job, base: &Run, device: &str) -> String {
    let now = compared(job, device, &run.mode);
    if base.job(&job.name).is_some_and(|b| b.what != job.what) {
        return "   changed".into();
    }
    let before = base
        .job(&job.name)
        .filter(|b| b.unit == job.unit)
        .and_then(|b| compared(b, device, &run.mode));
    let (Some(now), Some(before)) = (now, before) else {
        return "        -".into();
    };
    let percent = 100.0 * (now.median / before.median - 1.0);
    match change(now, before) {
        Change::Within => format!("{percent:>+8.1}%"),
        Change::Better => format!("{percent:>+8.1}%  better"),
        Change::Worse => format!("{percent:>+8.1}%  WORSE"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(mode: &str, unit: Unit, ours: &[f64], theirs: &[f64]) -> Run {
        let systems = [("iomapfs", ours), ("ext4", theirs)];
        let systems = systems
            .into_iter()
            .map(|(fs, samples)| (fs.to_string(), samples.to_vec()))
            .collect();
        let job = Job {
            name: "j".into(),
            unit,
            what: String::new(),
            samples: [("ram".to_string(), systems)].into(),
        };
        let (kernel, commit, options) = ("7.3".into(), "c".into(), String::new());
        Run {
            format: samples::FORMAT,
            mode: mode.into(),
            kernel,
            commit,
            options,
            jobs: vec![job],
        }
    }

    fn said(now: &Run, before: &Run) -> String {
        compare(now, now.job("j").unwrap(), before, "ram")
    }

    #[test]
    fn counted_runs_are_compared_by_their_rates() {
        let before = run("counted", Unit::Rate, &[100.0], &[100.0]);
        assert!(said(&run("counted", Unit::Rate, &[110.0], &[110.0]), &before).contains("better"));
        assert!(said(&run("counted", Unit::Rate, &[90.0], &[100.0]), &before).contains("WORSE"));
        assert_eq!(
            said(&run("counted", Unit::Rate, &[101.0], &[100.0]), &before).trim(),
            "+1.0%"
        );
    }

    #[test]
    fn a_job_that_is_another_by_now_is_not_compared() {
        let before = run("counted", Unit::Rate, &[100.0], &[100.0]);
        let mut now = run("counted", Unit::Rate, &[50.0], &[100.0]);
        now.jobs[0].what = "4096 none 8m rw=write".into();
        assert_eq!(said(&now, &before).trim(), "changed");
    }

    #[test]
    fn fewer_bytes_are_better() {
        let before = run("counted", Unit::Bytes, &[1000.0], &[1000.0]);
        assert!(
            said(&run("counted", Unit::Bytes, &[800.0], &[1000.0]), &before).contains("better")
        );
        assert!(
            said(&run("counted", Unit::Bytes, &[1200.0], &[1000.0]), &before).contains("WORSE")
        );
    }

    #[test]
    fn timed_runs_are_compared_by_their_ratios() {
        let before = run("timed", Unit::Rate, &[100.0, 104.0], &[100.0, 100.0]);
        // Another machine, twice as fast.
        assert!(!said(
            &run("timed", Unit::Rate, &[200.0, 208.0], &[200.0, 200.0]),
            &before
        )
        .contains('e'));
        assert!(said(
            &run("timed", Unit::Rate, &[160.0, 170.0], &[200.0, 200.0]),
            &before
        )
        .contains("WORSE"));
    }

    #[test]
    fn the_table_has_ratio_and_mean() {
        let text = table(&run("counted", Unit::Rate, &[50.0], &[100.0]), "ram", None);
        assert!(text.contains("0.50"), "{text}");
        assert!(text.contains("geometric mean of 1"), "{text}");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let run = run("timed", Unit::Bytes, &[1.5, 2.0], &[3.0]);
        let again: Run = serde_json::from_str(&serde_json::to_string(&run).unwrap()).unwrap();
        assert_eq!(again.jobs[0].samples, run.jobs[0].samples);
        assert_eq!(again.jobs[0].unit, Unit::Bytes);
    }
}
