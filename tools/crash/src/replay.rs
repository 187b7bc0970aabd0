// SPDX-License-Identifier: GPL-2.0

//! The places in a log where the power is cut, and the device and the promises at each of them.
//!
//! After each flush and each FUA write, the device holds what is logged up to there (marks that follow at once still
//! speak of the same content). Just before a flush it holds, besides, any part of the plain writes that the flush is
//! about; a write may be there by some of its blocks. A FUA write is never held back, and never there before its
//! time.

use crate::disk::Disk;
use crate::history::{History, Seq};
use crate::log::{Entry, Kind, Log};
use crate::model::Model;
use anyhow::{ensure, Context, Result};
use fastrand::Rng;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// A place where the power is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// The entries in front of this one are on the device.
    pub base: usize,
    /// Between two flushes: the flush that did not complete, and the seed of what is there of its writes.
    pub partly: Option<(usize, u64)>,
}

/// Every flush and FUA write, and `between` cuts in front of each flush that has something to write out.
pub fn all_points(entries: &[Entry], between: usize, rng: &mut Rng) -> Vec<Point> {
    let mut points = Vec::new();
    let mut group = 0;

    for (i, entry) in entries.iter().enumerate() {
        match entry.kind {
            Kind::Write | Kind::Discard => continue,
            Kind::Mark(_) => {}
            Kind::Flush | Kind::Fua => {
                let marks = entries[i + 1..]
                    .iter()
                    .take_while(|e| matches!(e.kind, Kind::Mark(_)))
                    .count();
                // A flush may come with a FUA write: that is there only when all in front of it is.
                if group < i {
                    let cuts = (0..between).map(|_| Point {
                        base: group,
                        partly: Some((i, rng.u64(..))),
                    });
                    points.extend(cuts);
                }
                points.push(Point {
                    base: i + 1 + marks,
                    partly: None,
                });
            }
        }
        group = i + 1;
    }
    points
}

/// A log on its way: the device and the promises at a place in it.
pub struct Replay<'a> {
    log: &'a Log,
    history: &'a History,
    disk: Disk,
    /// What is promised, for the point that was last gone to.
    pub model: Model<'a>,
    /// The marks in front of it, in their order.
    pub marks: Vec<u32>,
    next: usize,
    /// Of each thread: where its marks are in the log, and what it had done then.
    done: Vec<Vec<(usize, Seq)>>,
}

/// The number in a mark of ours.
fn number(entry: &Entry) -> Option<u32> {
    match &entry.kind {
        Kind::Mark(text) => text.parse().ok(),
        _ => None,
    }
}

impl<'a> Replay<'a> {
    /// The device when the log began, of a volume with blocks of `block` bytes.
    pub fn new(log: &'a Log, history: &'a History, disk: Disk, block: u64) -> Result<Self> {
        let mut done = vec![Vec::new(); history.threads.len()];
        for (i, entry) in log.entries.iter().enumerate() {
            if let Some(number) = number(entry) {
                let mark = history
                    .marks
                    .get(&number)
                    .context("a mark that nobody made")?;
                done[mark.thread].push((i, mark.done));
            }
        }
        Ok(Replay {
            log,
            history,
            disk,
            model: Model::new(history, block),
            marks: Vec::new(),
            next: 0,
            done,
        })
    }

    /// The same with the log of a recovery: while that was made nobody did anything, so nothing changes of what must be
    /// there. `marks` are those of the model.
    pub fn of_recovery(log: &'a Log, disk: Disk, model: Model<'a>, marks: Vec<u32>) -> Self {
        let fed = model.fed();
        Replay {
            log,
            history: model.history,
            disk,
            model,
            marks,
            next: 0,
            done: fed.into_iter().map(|seq| vec![(usize::MAX, seq)]).collect(),
        }
    }

    /// Goes on to a point, which is not in front of the last one.
    pub fn advance(&mut self, point: &Point) -> Result<()> {
        // A thread's first mark that comes later says what can be there at most.
        let horizon = point.partly.map_or(point.base, |(flush, _)| flush);
        for (thread, done) in self.done.iter().enumerate() {
            let later = done.partition_point(|(at, _)| *at < horizon);
            let all = self.history.threads[thread].len() as Seq;
            self.model
                .feed(thread, done.get(later).map_or(all, |(_, seq)| *seq))?;
        }
        ensure!(
            self.next <= point.base && point.base <= self.log.entries.len(),
            "points out of order"
        );
        for entry in &self.log.entries[self.next..point.base] {
            self.disk.write(entry.offset, &self.log.data(entry)?)?;
            if let Some(number) = number(entry) {
                self.model.promise(
                    self.history
                        .marks
                        .get(&number)
                        .context("a mark that nobody made")?,
                )?;
                self.marks.push(number);
            }
        }
        self.next = point.base;
        Ok(())
    }

    /// Makes an image of what the power cut leaves. Blocks of `block` bytes are written whole or not at all.
    pub fn put(&self, point: &Point, block: u64, image: &File) -> Result<()> {
        self.disk.put(image)?;
        let Some((flush, seed)) = point.partly else {
            return Ok(());
        };
        for (entry, from, to) in pieces(&self.log.entries[point.base..flush], block, seed) {
            let bytes = self.log.data(entry)?;
            image.write_all_at(&bytes[from as usize..to as usize], entry.offset + from)?;
        }
        Ok(())
    }

    /// The device as it is now.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }
}

/// What there is of some writes: `(write, from, to)`, in bytes of its data.
fn pieces(writes: &[Entry], block: u64, seed: u64) -> Vec<(&Entry, u64, u64)> {
    let mut rng = Rng::with_seed(seed);
    let mut out = Vec::new();
    // All but one, only one, the first ones, or each with the same chance: the ways in which order matters.
    let style = rng.u8(..4);
    let one = rng.usize(..writes.len().max(1));
    let chance = rng.f64();

    for (i, entry) in writes.iter().enumerate() {
        let (whole, torn) = match style {
            0 => (i != one, i == one),
            1 => (i == one, false),
            2 => (i < one, i == one),
            _ => (rng.f64() < chance, rng.u8(..4) == 0),
        };
        if torn && entry.len > block {
            let mut from = 0;
            while from < entry.len {
                // Where the device's own blocks end.
                let to =
                    ((entry.offset + from) / block * block + block - entry.offset).min(entry.len);
                if rng.bool() {
                    out.push((entry, from, to));
                }
                from = to;
            }
        } else if whole {
            out.push((entry, 0, entry.len));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{own_dir, Attrs, Kind as Node, Mark, Op, Promise};
    use crate::log::tests::{make, F, M, U, W};
    use std::path::PathBuf;

    struct Files(Vec<PathBuf>);

    impl Drop for Files {
        fn drop(&mut self) {
            self.0.iter().for_each(|f| drop(std::fs::remove_file(f)));
        }
    }

    /// Two writes that are flushed, a mark, a FUA write, two writes that are flushed in front of another.
    fn log(name: &str) -> (Log, PathBuf) {
        let path = make(
            name,
            &[
                // The second flush comes with a write.
                (W, 0, vec![1; 4096]),
                (W, 8, vec![2; 4096]),
                (F, 0, vec![]),
                (M, 0, b"1".to_vec()),
                (U, 16, vec![3; 512]),
                (W, 24, vec![4; 8192]),
                (W, 0, vec![5; 512]),
                (F | U, 40, vec![6; 512]),
            ],
        );
        (Log::open(&path).unwrap(), path)
    }

    fn history() -> History {
        let at = (own_dir(0), "a".to_owned());
        let ops = vec![
            Op::Make {
                at: at.clone(),
                node: 0x1_0003,
                kind: Node::File,
                ino: 12,
                attrs: Attrs {
                    mode: 0o600,
                    uid: 0,
                    gid: 0,
                    mtime: None,
                    extended: Default::default(),
                },
            },
            Op::Remove { at },
        ];
        let mark = Mark {
            thread: 0,
            done: 1,
            promise: Promise::Names { names: 1 },
        };
        History {
            threads: vec![ops],
            marks: [(1, mark)].into(),
        }
    }

    #[test]
    fn the_power_is_cut_where_the_device_promises_something() {
        let (log, path) = log("points");
        let _files = Files(vec![path]);
        let mut rng = Rng::with_seed(1);
        let points = all_points(&log.entries, 1, &mut rng);
        let seen: Vec<_> = points
            .iter()
            .map(|p| (p.base, p.partly.map(|(flush, _)| flush)))
            .collect();
        assert_eq!(
            seen,
            [(0, Some(2)), (4, None), (5, None), (5, Some(7)), (9, None)]
        );
        let mut sorted = points.clone();
        sorted.sort();
        assert_eq!(sorted, points);
    }

    #[test]
    fn the_device_is_replayed_and_what_was_not_flushed_is_there_in_part() {
        let (log, path) = log("replay");
        let image = path.with_extension("img");
        let _files = Files(vec![path, image.clone()]);
        std::fs::write(&image, vec![0; 65536]).unwrap();
        let history = history();
        let file = File::options().read(true).write(true).open(&image).unwrap();
        let byte = |sector: usize| std::fs::read(&image).unwrap()[sector * 512];
        let mut replay = Replay::new(&log, &history, Disk::read(&image).unwrap(), 4096).unwrap();

        replay
            .advance(&Point {
                base: 0,
                partly: Some((2, 0)),
            })
            .unwrap();
        assert_eq!((replay.model.fed(), &replay.marks[..]), (vec![1], &[][..]));
        replay
            .advance(&Point {
                base: 4,
                partly: None,
            })
            .unwrap();
        assert_eq!((replay.model.fed(), &replay.marks[..]), (vec![2], &[1][..]));
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let point = Point {
                base: 5,
                partly: Some((7, seed)),
            };
            replay.advance(&point).unwrap();
            replay.put(&point, 4096, &file).unwrap();
            assert_eq!((byte(7), byte(8), byte(16), byte(40)), (1, 2, 3, 0));
            seen.insert((byte(0), byte(24), byte(32)));
        }
        // The one write or the other, both, none; the large one whole or half.
        let (old, new) = (1, 5);
        for first in [old, new] {
            for large in [(0, 0), (4, 0), (0, 4), (4, 4)] {
                assert!(
                    seen.contains(&(first, large.0, large.1)),
                    "{first} {large:?} not in {seen:?}"
                );
            }
        }
        let end = Point {
            base: 9,
            partly: None,
        };
        replay.advance(&end).unwrap();
        replay.put(&end, 4096, &file).unwrap();
        assert_eq!(
            (byte(0), byte(1), byte(24), byte(32), byte(40)),
            (5, 1, 4, 4, 6)
        );
        assert_eq!(replay.disk().differs(&image).unwrap(), None);
        assert!(replay
            .advance(&Point {
                base: 4,
                partly: None
            })
            .is_err());
    }

    #[test]
    fn a_recovery_changes_nothing_of_what_must_be_there() {
        let (log, path) = log("recovery");
        let image = path.with_extension("img");
        let _files = Files(vec![path, image.clone()]);
        std::fs::write(&image, vec![0; 65536]).unwrap();
        let history = history();
        let model = Model::at(&history, 4096, &[1], &[1]).unwrap();
        let disk = Disk::read(&image).unwrap();
        let mut replay = Replay::of_recovery(&log, disk, model, vec![1]);
        for (base, partly) in [(0, Some((2, 0))), (5, None), (9, None)] {
            replay.advance(&Point { base, partly }).unwrap();
            assert_eq!(replay.model.fed(), [1]);
        }
        assert_eq!(replay.disk().differs(&image).unwrap(), Some(0));
    }
}
