// SPDX-License-Identifier: GPL-2.0

//! What a guest measured: files `JOB.FS.DEVICE.ROUND.json` of fio, and `JOB.FS.DEVICE.ROUND.load` of our own load; and
//! the JSON that is kept of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::stats::Summary;

/// What a job's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// More is better.
    #[serde(rename = "operations/s")]
    Rate,
    /// Fewer is better.
    #[serde(rename = "bytes")]
    Bytes,
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub unit: Unit,
    pub value: f64,
    /// How many operations there were, 0 where that says nothing.
    pub operations: u64,
}

/// File system -> samples, in the order of the rounds.
pub type Systems = BTreeMap<String, Vec<f64>>;

/// All that was measured of one job.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    pub name: String,
    pub unit: Unit,
    /// What it does: its line of `qemu/bench/jobs`.
    pub what: String,
    /// Device -> file system -> samples.
    pub samples: BTreeMap<String, Systems>,
}

/// A whole run, as it is kept in `bench.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Run {
    pub format: u32,
    pub mode: String,
    pub kernel: String,
    pub commit: String,
    pub options: String,
    pub jobs: Vec<Job>,
}

/// The only format there is so far.
pub const FORMAT: u32 = 1;

impl Run {
    pub fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let run: Self = serde_json::from_str(&text)
            .with_context(|| format!("{}: no result of a run", path.display()))?;
        ensure!(
            run.format == FORMAT,
            "{}: format {}, expected {FORMAT}",
            path.display(),
            run.format
        );
        Ok(run)
    }

    pub fn job(&self, name: &str) -> Option<&Job> {
        self.jobs.iter().find(|j| j.name == name)
    }
}

impl Job {
    pub fn summary(&self, device: &str, fs: &str) -> Option<Summary> {
        Summary::of(self.samples.get(device)?.get(fs)?)
    }

    /// How much better `fs` is than `other`, round by round: above 1 is better, whatever the unit.
    pub fn ratio(&self, device: &str, fs: &str, other: &str) -> Option<Summary> {
        let systems = self.samples.get(device)?;
        let pairs = systems.get(fs)?.iter().zip(systems.get(other)?);
        let ratios: Vec<f64> = match self.unit {
            Unit::Rate => pairs.map(|(a, b)| a / b).collect(),
            Unit::Bytes => pairs.map(|(a, b)| b / a).collect(),
        };
        Summary::of(&ratios)
    }
}

/// What fio says of a job.
pub fn parse_fio(text: &str) -> Result<Sample> {
    // Warnings come before it.
    let start = text.find('{').context("no JSON in it")?;
    let json: Value = serde_json::from_str(&text[start..])?;
    let job = json.pointer("/jobs/0").context("no job in it")?;
    ensure!(job["error"] == 0, "fio says error {}", job["error"]);
    let side = |name: &str| {
        (
            job[name]["total_ios"].as_u64().unwrap_or(0),
            job[name]["runtime"].as_u64().unwrap_or(0),
        )
    };
    let (operations, milliseconds) = side("read").max(side("write"));
    ensure!(
        operations > 0 && milliseconds > 0,
        "fio did {operations} operations in {milliseconds} ms"
    );
    Ok(Sample {
        unit: Unit::Rate,
        value: operations as f64 * 1e3 / milliseconds as f64,
        operations,
    })
}

/// What `load` says.
pub fn parse_load(text: &str) -> Result<Sample> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        ["rate", operations, nanoseconds] => {
            let (operations, nanoseconds): (u64, u64) = (operations.parse()?, nanoseconds.parse()?);
            ensure!(
                operations > 0 && nanoseconds > 0,
                "{operations} operations in {nanoseconds} ns"
            );
            Ok(Sample {
                unit: Unit::Rate,
                value: operations as f64 * 1e9 / nanoseconds as f64,
                operations,
            })
        }
        ["bytes", each] => {
            let value: f64 = each.parse()?;
            ensure!(value >= 1.0, "{value} bytes");
            Ok(Sample {
                unit: Unit::Bytes,
                value,
                operations: 0,
            })
        }
        _ => bail!(
            "expected 'rate OPERATIONS NANOSECONDS' or 'bytes EACH', found '{}'",
            text.trim()
        ),
    }
}

/// Whose sample a file is.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub job: String,
    pub fs: String,
    pub device: String,
    pub round: u32,
}

/// Takes a file's name apart; the second part is what follows the round.
pub fn parse_name(name: &str) -> Option<(Name, &str)> {
    let mut words = name.split('.');
    let (job, fs, device) = (
        words.next()?.into(),
        words.next()?.into(),
        words.next()?.into(),
    );
    let (round, kind) = (words.next()?.parse().ok()?, words.next()?);
    words.next().is_none().then_some((
        Name {
            job,
            fs,
            device,
            round,
        },
        kind,
    ))
}

/// All samples of a folder, in order. One that cannot be read is an error: nothing is left out in silence.
pub fn collect(folder: &Path) -> Result<BTreeMap<Name, Sample>> {
    let mut samples = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let of = || path.display().to_string();
        let file = path.file_name().and_then(|n| n.to_str()).with_context(of)?;
        let (name, kind) = parse_name(file).with_context(|| format!("{}: a strange name", of()))?;
        let text = fs::read_to_string(&path).with_context(of)?;
        let sample = match kind {
            "json" => parse_fio(&text),
            "load" => parse_load(&text),
            _ => bail!("{}: neither fio's nor ours", of()),
        };
        samples.insert(name, sample.with_context(of)?);
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fio_is_read_past_its_warnings() {
        let text = r#"fio: a warning
            {"jobs": [{"error": 0, "read": {"total_ios": 0, "runtime": 0},
                       "write": {"total_ios": 3000, "runtime": 1500}}]}"#;
        let sample = parse_fio(text).unwrap();
        assert_eq!(
            sample,
            Sample {
                unit: Unit::Rate,
                value: 2000.0,
                operations: 3000
            }
        );
    }

    #[test]
    fn a_job_that_failed_or_did_nothing_is_no_sample() {
        assert!(parse_fio("").is_err());
        assert!(parse_fio(r#"{"jobs": []}"#).is_err());
        let failed = r#"{"jobs": [{"error": 5, "write": {"total_ios": 3000, "runtime": 1500}}]}"#;
        assert!(parse_fio(failed).is_err());
        let nothing = r#"{"jobs": [{"error": 0, "write": {"total_ios": 0, "runtime": 0}}]}"#;
        assert!(parse_fio(nothing).is_err());
    }

    #[test]
    fn our_load_says_rates_and_bytes() {
        assert_eq!(parse_load("rate 10 2000000000\n").unwrap().value, 5.0);
        assert_eq!(
            parse_load("bytes 1234").unwrap(),
            Sample {
                unit: Unit::Bytes,
                value: 1234.0,
                operations: 0
            }
        );
        for bad in [
            "",
            "rate 10",
            "rate 10 0",
            "bytes -5",
            "bytes 0",
            "rates 1 1",
        ] {
            assert!(parse_load(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_taken_apart() {
        let (name, kind) = parse_name("direct-hole-4k.xfs.loop.2.json").unwrap();
        assert_eq!(
            (name.job.as_str(), name.fs.as_str(), name.device.as_str()),
            ("direct-hole-4k", "xfs", "loop")
        );
        assert_eq!((name.round, kind), (2, "json"));
        for bad in ["", "a.b.c.json", "a.b.c.x.json", "a.b.c.1.json.more"] {
            assert!(parse_name(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn above_one_is_better_in_either_unit() {
        let mut job = Job {
            name: "j".into(),
            unit: Unit::Rate,
            what: String::new(),
            samples: BTreeMap::new(),
        };
        let systems = [("iomapfs", vec![30.0, 10.0]), ("ext4", vec![10.0, 10.0])];
        let systems = systems
            .into_iter()
            .map(|(fs, samples)| (fs.to_string(), samples))
            .collect();
        job.samples.insert("ram".into(), systems);
        assert_eq!(job.ratio("ram", "iomapfs", "ext4").unwrap().median, 2.0);
        assert_eq!(job.ratio("ram", "iomapfs", "raw"), None);
        job.unit = Unit::Bytes;
        assert!((job.ratio("ram", "iomapfs", "ext4").unwrap().least - 1.0 / 3.0).abs() < 1e-9);
    }
}
