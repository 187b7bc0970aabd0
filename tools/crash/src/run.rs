// SPDX-License-Identifier: GPL-2.0

//! Rounds of a sweep: a volume, a workload, and then the power cuts, two at a time; and again while a volume is
//! recovered. And a single cut that has failed before.

use crate::check::{Bench, Recovery};
use crate::disk::{compress, expand, Disk};
use crate::fio;
use crate::history::{History, Seq};
use crate::log::{Kind, Log};
use crate::model::{own_name, Model, SHARED, STRIPED};
use crate::replay::{all_points, Point, Replay};
use crate::volume::{Config, Logged, Loop, Mounted, Stack};
use crate::workload::{Profile, Shared, Worker, PROFILES};
use anyhow::{anyhow, ensure, Context, Result};
use fastrand::Rng;
use iomapfs_helper::Helper;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::Mutex;
use std::thread::ScopedJoinHandle;
use std::time::Instant;

const DEVICE: &str = "crash";
const THREADS: usize = 4;
/// The log may grow to this; it is in memory, and has holes where nothing was logged.
const LOG_SIZE: u64 = 640 << 20;
/// The power is cut at every point of one workload in so many; of the others, which are more various, at some.
const WHOLE_EVERY: usize = 5;
/// After one workload of so many the power is cut while what is left of it is recovered, too.
const RECOVER_EVERY: usize = 2;
/// Of so many recoveries the one that had most to do.
const RECOVERIES: usize = 4;
/// Power cuts of a recovery.
const RECOVERY_CUTS: usize = 20;
/// A round ends early when so many of its points have failed.
const FAILURES: usize = 3;

/// What a sweep is asked to do.
pub struct Sweep {
    pub fs: String,
    pub points: usize,
    pub seed: u64,
    pub block: Option<u64>,
    /// What the workloads are like; each another if `None`.
    pub profile: Option<Profile>,
    /// Power cuts a round; 0: every one there is. In one round of [`WHOLE_EVERY`] every one in any case.
    pub round: usize,
    pub ops: usize,
    pub out: PathBuf,
    pub dir: PathBuf,
}

/// Counts of a sweep.
#[derive(Default)]
pub struct Total {
    pub points: BTreeMap<Recovery, usize>,
    pub partly: usize,
    pub in_recovery: usize,
    pub failed: usize,
    pub rounds: usize,
    pub entries: usize,
    pub promises: usize,
}

/// What is kept of a power cut that failed: beside the image as it was before the recovery, and the history.
#[derive(Serialize, Deserialize)]
struct Kept {
    seed: u64,
    round: usize,
    point: String,
    config: Config,
    recovery: Recovery,
    /// Marks in front of the point, and what each thread had done at most.
    marks: Vec<u32>,
    fed: Vec<Seq>,
    why: String,
}

/// Who works in a round, and on what.
#[derive(Clone, Copy)]
struct Workload {
    stack: Stack,
    /// Threads, without fio.
    count: usize,
    profile: Profile,
}

/// What a workload has left, or a recovery after it.
struct Recorded {
    log: Log,
    history: History,
    /// The device when the log began.
    base: Disk,
    /// Where the power had been cut before the recovery.
    place: Option<Place>,
}

/// A place in the log of a workload: the marks in front of it, and what each thread had done at most.
struct Place {
    marks: Vec<u32>,
    fed: Vec<Seq>,
}

/// Waits for threads. Gives what each has come to, or the first error.
fn join_all<T>(running: Vec<ScopedJoinHandle<'_, Result<T>>>) -> Result<Vec<T>> {
    let join =
        |thread: ScopedJoinHandle<'_, _>| thread.join().map_err(|_| anyhow!("a thread died"))?;
    running.into_iter().map(join).collect()
}

/// Who recovers.
fn any_recovery(rng: &mut Rng, config: &Config) -> Recovery {
    match rng.u8(..16) {
        0 | 1 if config.ext4_can_recover() => Recovery::Ext4,
        2 if config.e2fsck_can_recover() => Recovery::Fsck,
        _ => Recovery::Own,
    }
}

impl Sweep {
    /// Rounds until there were enough points.
    pub fn run(&self) -> Result<Total> {
        let began = Instant::now();
        let mut total = Total::default();
        let mut helpers = (0..=THREADS)
            .map(|_| Helper::new())
            .collect::<Result<Vec<_>>>()?;
        let mut left = self.points;
        while left > 0 {
            let checked = self
                .round(&mut total, &mut helpers, left, began)
                .with_context(|| format!("round {} of seed {}", total.rounds, self.seed))?;
            left = left.saturating_sub(checked.max(1));
            total.rounds += 1;
        }
        Ok(total)
    }

    fn round(
        &self,
        total: &mut Total,
        helpers: &mut [Helper],
        left: usize,
        began: Instant,
    ) -> Result<usize> {
        let round = total.rounds;
        let mut rng = Rng::with_seed(self.seed << 20 | round as u64);
        // With fewer of them, fewer flushes of one are done by another.
        let count = [1, 2, THREADS, THREADS][rng.usize(..4)];
        let workload = Workload {
            stack: match count {
                1 if rng.bool() => Stack::Plain,
                _ => Stack::OneFlush,
            },
            count,
            profile: self
                .profile
                .unwrap_or(PROFILES[rng.usize(..PROFILES.len())]),
        };
        let config = Config::random(&mut rng, self.block, workload.stack);
        let device = self.dir.join("device");
        config.make(&device)?;
        let recorded = self.record(&config, workload, &mut rng, helpers, &device)?;
        let entries = &recorded.log.entries;
        let mut all = all_points(entries, 2, &mut rng);
        let count = all.len();
        if self.round > 0 && (round + 1) % WHOLE_EVERY != 0 {
            all = choose(all, self.round.min(left), &mut rng);
        }
        let how: Vec<_> = all
            .iter()
            .map(|_| any_recovery(&mut rng, &config))
            .collect();
        let before = began.elapsed();
        let (checked, failed) = self.cut(&config, &recorded, &all, &how, round, &device)?;
        for i in &checked {
            *total.points.entry(how[*i]).or_default() += 1;
            total.partly += usize::from(all[*i].partly.is_some());
        }
        total.failed += failed;
        total.entries += entries.len();
        total.promises += recorded.history.marks.len();
        let flushes = entries
            .iter()
            .filter(|e| matches!(e.kind, Kind::Flush | Kind::Fua))
            .count();
        println!(
            "round {round:3}: {:6} x{} {} KiB blocks{}, {:5} entries, {flushes:4} flushes and FUA, {:4} promises; \
             {:4} of {count} cuts, {:.2} s each{}",
            workload.profile.name,
            workload.count,
            config.block / 1024,
            if workload.stack == Stack::Plain { ", FUA" } else { "" },
            entries.len(),
            recorded.history.marks.len(),
            checked.len(),
            (began.elapsed() - before).as_secs_f64() / checked.len().max(1) as f64,
            if failed > 0 { format!("; {failed} FAILED") } else { String::new() }
        );
        if failed > 0 || round % RECOVER_EVERY != 0 {
            return Ok(checked.len());
        }
        let (recorded, image) = self.recover(&config, recorded, all, &mut rng)?;
        let entries = recorded.log.entries.len();
        let all = all_points(&recorded.log.entries, 2, &mut rng);
        let count = all.len();
        let all = choose(all, RECOVERY_CUTS, &mut rng);
        let how: Vec<_> = all
            .iter()
            .map(|_| any_recovery(&mut rng, &config))
            .collect();
        let (again, failed) = self.cut(&config, &recorded, &all, &how, round, &image)?;
        for i in &again {
            *total.points.entry(how[*i]).or_default() += 1;
            total.partly += usize::from(all[*i].partly.is_some());
        }
        total.in_recovery += again.len();
        total.failed += failed;
        total.entries += entries;
        println!(
            "round {round:3}: recovery by {}, {entries:5} entries; {:4} of {count} cuts{}",
            self.fs,
            again.len(),
            if failed > 0 {
                format!("; {failed} FAILED")
            } else {
                String::new()
            }
        );
        Ok(checked.len() + again.len())
    }

    /// Cuts the power at some of these points, has each volume recovered by the file system under test, and returns the
    /// log of the recovery that has written most, and its image.
    fn recover(
        &self,
        config: &Config,
        workload: Recorded,
        mut points: Vec<Point>,
        rng: &mut Rng,
    ) -> Result<(Recorded, PathBuf)> {
        let (candidate, image) = (self.dir.join("recovering"), self.dir.join("recovered"));
        let mount = PathBuf::from("/run/mnt/crash");
        rng.shuffle(&mut points);
        points.truncate(RECOVERIES);
        points.sort();
        let Recorded {
            log, history, base, ..
        } = workload;
        let mut replay = Replay::new(&log, &history, base, config.block)?;
        let mut best: Option<(Log, Disk, Place)> = None;
        for point in &points {
            replay.advance(point)?;
            replay.put(point, config.block, &File::create(&candidate)?)?;
            let before = Disk::read(&candidate)?;
            let device = Loop::new(&candidate)?;
            let (log, ()) = self.logged(&device, Stack::OneFlush, |device| {
                Mounted::new(&self.fs, device, &mount, "")?.unmount()
            })?;
            drop(device);
            let is_best = best
                .as_ref()
                .is_none_or(|(best, ..)| best.entries.len() < log.entries.len());
            if is_best {
                fs::rename(&candidate, &image)?;
                let place = Place {
                    marks: replay.marks.clone(),
                    fed: replay.model.fed(),
                };
                best = Some((log, before, place));
            }
        }
        let (log, base, place) = best.context("no place to cut the power at")?;
        let recorded = Recorded {
            log,
            history,
            base,
            place: Some(place),
        };
        Ok((recorded, image))
    }

    /// Logs what `work` writes, which is given what to mount.
    fn logged<T>(
        &self,
        device: &Loop,
        stack: Stack,
        work: impl FnOnce(&Path) -> Result<T>,
    ) -> Result<(Log, T)> {
        let log_file = self.dir.join("log");
        File::create(&log_file)?.set_len(LOG_SIZE)?;
        let log_device = Loop::new(&log_file)?;
        let logged = Logged::new(DEVICE, device, &log_device, stack)?;
        let done = work(&logged.path())?;
        logged.close()?;
        let log = Log::open(&log_file)?;
        drop(log_device);
        // The log is open; nobody else needs it.
        fs::remove_file(&log_file)?;
        Ok((log, done))
    }

    /// Runs the workload on the image and returns what was logged.
    fn record(
        &self,
        config: &Config,
        workload: Workload,
        rng: &mut Rng,
        helpers: &mut [Helper],
        image: &Path,
    ) -> Result<Recorded> {
        let Workload {
            stack,
            count,
            profile,
        } = workload;
        let ops = self.ops * THREADS / count;
        // One more is fio.
        let all = count + usize::from(stack == Stack::OneFlush);
        let mount = PathBuf::from("/run/mnt/crash");
        let device = Loop::new(image)?;
        // What is there from the beginning.
        let mounted = Mounted::new(&self.fs, &device.0, &mount, "")?;
        fs::create_dir(mount.join(SHARED))?;
        File::create(mount.join(STRIPED))?;
        (0..all).try_for_each(|t| fs::create_dir(mount.join(own_name(t))))?;
        mounted.unmount()?;
        let base = Disk::read(image)?;

        let shared = Shared {
            mount: mount.clone(),
            device: DEVICE.to_owned(),
            block: config.block,
            done: (0..all).map(|_| AtomicU32::new(0)).collect(),
            marks: Mutex::default(),
            next_mark: AtomicU32::new(1),
            budget: (config.size << 20) * 3 / 10 / count as u64,
            fua: stack == Stack::Plain,
            atomic: self.fs == "iomapfs",
            whole: self.fs == "iomapfs" && !config.options.contains("noauto_da_alloc"),
        };
        let (log, threads) = self.logged(&device, stack, |device| {
            let mounted = Mounted::new(&self.fs, device, &mount, &config.options)?;
            let threads = std::thread::scope(|scope| {
                let shared = &shared;
                let running: Vec<_> = helpers
                    .iter_mut()
                    .take(all)
                    .enumerate()
                    .map(|(t, helper)| {
                        let seed = rng.u64(..);
                        scope.spawn(move || {
                            if t == count {
                                return fio::write(shared, t, seed as u32 >> 1, helper)
                                    .map(|()| Vec::new());
                            }
                            Worker::new(shared, t, profile, seed, helper).run(ops)
                        })
                    })
                    .collect();
                join_all(running)
            })?;
            mounted.unmount()?;
            Ok(threads)
        })?;
        let marks = shared
            .marks
            .into_inner()
            .map_err(|_| anyhow!("a thread died"))?;
        Ok(Recorded {
            log,
            history: History { threads, marks },
            base,
            place: None,
        })
    }

    /// Cuts the power at these points; returns the indices of those that were tried, and how many failed.
    fn cut(
        &self,
        config: &Config,
        recorded: &Recorded,
        points: &[Point],
        how: &[Recovery],
        round: usize,
        image: &Path,
    ) -> Result<(Vec<usize>, usize)> {
        let benches = std::thread::available_parallelism()
            .map_or(1, |n| n.get())
            .min(2);
        let failed = AtomicUsize::new(0);
        let one = |number: usize| -> Result<Vec<usize>> {
            let mut checked = Vec::new();
            let mut bench = Bench::new(&self.fs, &self.dir, number, image)?;
            let target = OpenOptions::new().write(true).open(&bench.image)?;
            let Recorded { log, history, .. } = recorded;
            let (disk, block) = (recorded.base.copy(), config.block);
            let mut replay = match &recorded.place {
                None => Replay::new(log, history, disk, block)?,
                Some(place) => {
                    let model = Model::at(history, block, &place.fed, &place.marks)?;
                    Replay::of_recovery(log, disk, model, place.marks.clone())
                }
            };
            for i in (number..points.len()).step_by(benches) {
                let (point, how) = (&points[i], how[i]);
                checked.push(i);
                replay.advance(point)?;
                replay.put(point, config.block, &target)?;
                if let Err(why) = bench.check(how, &replay.model) {
                    let why = format!("{why:#}");
                    replay.put(point, config.block, &target)?;
                    let name = match point.partly {
                        None => format!("after entry {}", point.base),
                        Some((flush, seed)) => {
                            format!("entries {} to {flush} in part ({seed:#x})", point.base)
                        }
                    };
                    let name = match recorded.place {
                        None => name,
                        Some(_) => format!("in a recovery, {name}"),
                    };
                    let kept = Kept {
                        seed: self.seed,
                        round,
                        point: name,
                        config: config.clone(),
                        recovery: how,
                        marks: replay.marks.clone(),
                        fed: replay.model.fed(),
                        why,
                    };
                    self.keep(&kept, &recorded.history, &bench.image)?;
                    if failed.fetch_add(1, SeqCst) + 1 >= FAILURES {
                        break;
                    }
                }
            }
            // The log says what was written: at its end there is what the device has.
            let end = Point {
                base: recorded.log.entries.len(),
                partly: None,
            };
            replay.advance(&end)?;
            match replay.disk().differs(image)? {
                Some(at) => Err(anyhow!(
                    "the replayed log and the device differ at byte {at}, which was written by {}",
                    recorded.log.writers(at)
                )),
                None => Ok(checked),
            }
        };
        let checked = std::thread::scope(|scope| {
            let one = &one;
            let running: Vec<_> = (0..benches)
                .map(|number| scope.spawn(move || one(number)))
                .collect();
            join_all(running)
        })?;
        Ok((checked.concat(), failed.into_inner()))
    }

    /// Reports a failure and keeps what is needed to look at it again.
    fn keep(&self, kept: &Kept, history: &History, image: &Path) -> Result<()> {
        let number = (1..)
            .find(|n| !self.out.join(format!("failed-{n}")).exists())
            .context("a name")?;
        let dir = self.out.join(format!("failed-{number}"));
        fs::create_dir_all(&dir)?;
        println!(
            "FAILED: seed {}, round {}, {:?} recovery, {}: {}\n  kept in failed-{number}",
            kept.seed, kept.round, kept.recovery, kept.point, kept.why
        );
        compress(image, &dir.join("image.gz"))?;
        fs::write(dir.join("history.json"), serde_json::to_vec(history)?)?;
        fs::write(dir.join("point.json"), serde_json::to_vec_pretty(kept)?)?;
        Ok(())
    }
}

/// Some of the points: a stretch without gaps, and others from anywhere.
fn choose(all: Vec<Point>, count: usize, rng: &mut Rng) -> Vec<Point> {
    let count = count.min(all.len());
    let stretch = count * 3 / 5;
    let from = rng.usize(..=all.len() - stretch);
    let mut rest: Vec<_> = all[..from]
        .iter()
        .chain(&all[from + stretch..])
        .copied()
        .collect();
    rng.shuffle(&mut rest);
    let mut chosen = all[from..from + stretch].to_vec();
    chosen.extend(rest.into_iter().take(count - stretch));
    chosen.sort();
    chosen
}

/// Does one power cut again, from what was kept of it.
pub fn again(fs: &str, kept: &Path, recovery: Option<Recovery>, dir: &Path) -> Result<()> {
    let read = |name: &str| {
        fs::read(kept.join(name)).with_context(|| format!("{} in {}", name, kept.display()))
    };
    let history: History = serde_json::from_slice(&read("history.json")?)?;
    let point: Kept = serde_json::from_slice(&read("point.json")?)?;
    println!(
        "seed {}, round {}, {}: it was: {}",
        point.seed, point.round, point.point, point.why
    );
    let image = dir.join("image");
    expand(&kept.join("image.gz"), &image)?;
    let model = Model::at(&history, point.config.block, &point.fed, &point.marks)?;
    let mut bench = Bench::new(fs, dir, 0, &image)?;
    Disk::read(&image)?.put(&OpenOptions::new().write(true).open(&bench.image)?)?;
    bench.check(recovery.unwrap_or(point.recovery), &model)?;
    println!("this time it is as it should be");
    ensure!(model.fed() == point.fed, "what was fed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_chosen_once_and_in_order() {
        let all: Vec<_> = (0..500).map(|base| Point { base, partly: None }).collect();
        let mut rng = Rng::with_seed(1);
        for count in [0, 1, 99, 500, 900] {
            let chosen = choose(all.clone(), count, &mut rng);
            assert_eq!(chosen.len(), count.min(500));
            assert!(chosen.windows(2).all(|w| w[0] < w[1]));
        }
    }
}
