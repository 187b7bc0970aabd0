// SPDX-License-Identifier: GPL-2.0

//! One damaged image after the other: put on the disk, mounted, used, unmounted, and the log looked at.

use super::disk::Disk;
use super::log::Log;
use super::visit::Visit;
use super::{damage, errors, load, Damaged, Options};
use crate::fsck::{fsck, Verdict};
use crate::mild;
use anyhow::{bail, ensure, Context, Result};
use arbitrary::Unstructured;
use iomapfs_helper::Helper;
use rustix::io::Errno;
use rustix::mount::{mount, unmount, MountFlags, UnmountFlags};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What a mount may say.
const MOUNT_ERRORS: [Errno; 9] = [
    Errno::UCLEAN,
    Errno::INVAL,
    Errno::IO,
    Errno::OPNOTSUPP,
    Errno::ROFS,
    Errno::BADMSG,
    // No journal fits into what the image says that it has.
    Errno::NOSPC,
    // jbd2 has no buffer for a block that the journal names and the device does not have.
    Errno::NOMEM,
    // The options that the super block keeps have no end.
    Errno::TOOBIG,
];

/// Where the super block has its incompatible features, in bytes from the beginning of the image.
const INCOMPAT: u64 = 1024 + 0x60;
/// The one that says that there is a journal to replay.
const RECOVER: u64 = 0x4;

/// Counts, for the end.
#[derive(Default)]
struct Counts {
    mounted: u64,
    refused: BTreeMap<String, u64>,
    calls: u64,
    errors: BTreeMap<String, u64>,
    lines: u64,
    most_lines: usize,
    clean: u64,
    stayed: u64,
    strict: u64,
    gave_up: u64,
    /// Where the time went.
    spent: BTreeMap<&'static str, Duration>,
}

impl Counts {
    /// Something took the time since it `began`.
    fn took(&mut self, what: &'static str, began: Instant) {
        *self.spent.entry(what).or_default() += began.elapsed();
    }
}

/// See the top of the file.
struct Worker<'o> {
    options: &'o Options,
    disk: Disk,
    log: Log,
    helper: Helper,
    place: PathBuf,
    counts: Counts,
}

/// Does what `options` say, and prints the number of each image.
///
/// # Errors
///
/// At the first image that does what it should not.
pub fn work(options: &Options) -> Result<()> {
    let surveys = load(&options.images)?;
    let place = PathBuf::from("/run/mnt/fuzz");
    std::fs::create_dir_all(&place).context("mount point")?;
    let mut worker = Worker {
        options,
        disk: Disk::new(&options.disk)?,
        log: Log::new()?,
        helper: Helper::new()?,
        place,
        counts: Counts::default(),
    };
    for nr in options.first..options.first + options.count {
        println!("at {nr}");
        std::io::stdout().flush().context("output")?;
        worker
            .log
            .mark(&format!("seed {} image {nr}", options.seed))?;
        let damaged = worker.timed("damage", |_| damage(&surveys, options.seed, nr));
        if options.verbose {
            println!("{}", damaged.told);
        }
        worker.one(nr, &damaged)?;
    }
    worker.summary();
    // If hardly any is used, the damage is too great to test much; at least two thirds are.
    let mounted = worker.counts.mounted;
    ensure!(
        options.count < 30 || mounted >= options.count / 3,
        "only {mounted} of {} could be mounted",
        options.count
    );
    ensure!(
        options.judge == 0
            || worker.counts.stayed > 0
            || !mild::among(options.first, options.count),
        "e2fsck has judged nothing that was written"
    );
    Ok(())
}

impl Worker<'_> {
    /// Does something, and counts the time that it takes.
    fn timed<T>(&mut self, what: &'static str, act: impl FnOnce(&mut Self) -> T) -> T {
        let began = Instant::now();
        let result = act(self);
        self.counts.took(what, began);
        result
    }

    fn one(&mut self, nr: u64, damaged: &Damaged<'_>) -> Result<()> {
        let mut u = Unstructured::new(&damaged.rest);
        self.timed("disk", |w| w.disk.put(&damaged.edit))?;
        let every = self.options.judge;
        // Not the first of so many, which is a mild one.
        let chosen = every != 0 && (damaged.mild || nr % every == every - 1);
        // What a journal writes when it is replayed, "e2fsck -n" does not look at, and it may go with what is there no
        // better than the damage.
        let judged = chosen && damaged.edit.get(INCOMPAT, 4) & RECOVER == 0;
        let mut clean = false;
        if judged {
            let (verdict, words) = self.timed("e2fsck", |w| fsck(w.disk.path()))?;
            clean = verdict == Verdict::Clean;
            ensure!(
                clean || !damaged.mild,
                "e2fsck does not call this image clean:\n{words}"
            );
            self.counts.gave_up += u64::from(verdict == Verdict::GaveUp);
        }
        self.counts.clean += u64::from(clean);
        let mut used = self.mount_and_visit(&mut u, damaged.mild)?;
        // Sometimes once more, as it was left.
        if used && u.ratio(1, 6)? {
            used = self.mount_and_visit(&mut u, damaged.mild)?;
        }
        let seen = self.timed("log", |w| w.log.look())?;
        self.counts.lines += seen.lines.len() as u64;
        self.counts.most_lines = self.counts.most_lines.max(seen.lines.len());
        if self.options.verbose {
            for line in &seen.lines {
                println!("  log: {line}");
            }
        }
        if let Some(wrong) = seen.wrong {
            for line in seen.lines.iter().take(100) {
                println!("  log: {line}");
            }
            bail!("the kernel's log: {wrong}");
        }
        if clean {
            let complaint = seen.lines.iter().find(|line| line.contains(": error: "));
            if !used || complaint.is_some() {
                self.counts.strict += 1;
                let first = complaint.or(seen.lines.first());
                println!(
                    "image {nr}: clean to e2fsck, and not taken: {}; {}",
                    first.map_or("nothing said", |line| line),
                    damaged.told
                );
                ensure!(!damaged.mild, "a good image is not taken");
            } else {
                let (verdict, words) = self.timed("e2fsck", |w| fsck(w.disk.path()))?;
                ensure!(
                    verdict == Verdict::Clean,
                    "e2fsck found nothing before, and now:\n{words}"
                );
                self.counts.stayed += 1;
            }
        }
        Ok(())
    }

    /// Whether it could be mounted. It is mounted for writing if it has to be, else as a rule.
    fn mount_and_visit(&mut self, u: &mut Unstructured<'_>, must_write: bool) -> Result<bool> {
        let read_only = u.ratio(1, 8)? && !must_write;
        // The image's own policy may be to panic.
        let mut data = match u.ratio(3, 4)? {
            true => "errors=continue",
            false => "errors=remount-ro",
        }
        .to_string();
        if read_only && u.ratio(1, 3)? {
            data += ",noload";
        }
        if u.ratio(1, 8)? {
            data += ",discard";
        }
        let mut flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
        if read_only {
            flags |= MountFlags::RDONLY;
        }
        let words = CString::new(data.clone()).context("options")?;
        let fs = self.options.fs.as_str();
        let mounted = self.timed("mount", |w| {
            mount(w.disk.path(), &w.place, fs, flags, Some(&*words))
        });
        if self.options.verbose {
            println!("  mount -o {data} {flags:?}: {mounted:?}");
        }
        if let Err(errno) = mounted {
            ensure!(
                MOUNT_ERRORS.contains(&errno),
                "the mount fails with {errno:?} ({errno})"
            );
            *self.counts.refused.entry(errors::name(errno)).or_default() += 1;
            return Ok(false);
        }
        self.counts.mounted += 1;
        let place = self.place.clone();
        let began = Instant::now();
        let mut visit = Visit::new(&place, u, &mut self.helper, self.options.verbose);
        let visited = visit.everything(read_only);
        self.counts.took("use", began);
        self.counts.calls += visit.calls;
        for (errno, count) in &visit.errors {
            *self.counts.errors.entry(errno.clone()).or_default() += count;
        }
        let wrong = visit.wrong.take();
        self.timed("unmount", |w| unmount(&w.place, UnmountFlags::empty()))
            .context("the image cannot be unmounted")?;
        visited?;
        match wrong {
            Some(wrong) => bail!("{wrong}"),
            None => Ok(true),
        }
    }

    fn summary(&self) {
        let c = &self.counts;
        let list = |map: &BTreeMap<String, u64>| {
            let words = map.iter().map(|(e, n)| format!("{e} {n}"));
            words.collect::<Vec<_>>().join(", ")
        };
        println!("mounted {} times; refused: {}", c.mounted, list(&c.refused));
        println!(
            "{} system calls on them; errors: {}",
            c.calls,
            list(&c.errors)
        );
        println!(
            "{} lines logged, at most {} for one image",
            c.lines, c.most_lines
        );
        println!(
            "e2fsck: {} looked at were clean in spite of the damage; {} of them clean after use, {} not taken by us; \
             {} it gave up",
            c.clean, c.stayed, c.strict, c.gave_up
        );
        let spent = |(what, time): (_, &Duration)| format!("{what} {:.1}", time.as_secs_f64());
        let spent: Vec<_> = c.spent.iter().map(spent).collect();
        println!("seconds: {}", spent.join(", "));
    }
}
