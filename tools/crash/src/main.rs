// SPDX-License-Identifier: GPL-2.0

//! The crash sweep: a real workload on a device whose writes are logged (dm-log-writes), and then the power cut after
//! flushes and FUA writes and in between: at all of them in one workload of five, at some in the others. What is on the
//! device then is recovered, compared with what the workload was promised, worked with and checked by e2fsck. After
//! every second workload the power is cut while one of these volumes is recovered, too. Runs as root in the guest
//! (`qemu/crash/run`).
//!
//! | module | what |
//! |---|---|
//! | `run` | rounds and their points |
//! | `volume` | devices, mkfs, mounts |
//! | `workload`, `fio` | the threads that work |
//! | `history`, `content` | what they did and were promised; what bytes they write |
//! | `log`, `disk`, `replay` | the log, and the device at each point |
//! | `model`, `tree`, `file` | what may be there: all, the names, one file's bytes |
//! | `check` | recovery and comparison |

mod check;
mod content;
mod disk;
mod file;
mod fio;
mod history;
mod log;
mod model;
mod replay;
mod run;
mod tree;
mod volume;
mod workload;

use anyhow::{ensure, Result};
use check::Recovery;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Power cuts at the points of logged workloads, and what must be there after each.
#[derive(Parser)]
struct Args {
    /// The file system under test; it is registered already.
    #[arg(long, default_value = "iomapfs")]
    fs: String,
    /// A folder in memory, for images.
    #[arg(long, default_value = "/tmp")]
    dir: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Workloads and power cuts until there were enough.
    Sweep {
        /// Power cuts in all.
        #[arg(long, default_value_t = 500)]
        points: usize,
        /// Where random choices begin.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Block size; any if not given.
        #[arg(long)]
        block: Option<u64>,
        /// What the workloads are like; each another if not given.
        #[arg(long, value_parser = workload::PROFILES.map(|p| p.name))]
        workload: Option<String>,
        /// Power cuts of one workload; 0 for all that there are, as in every fifth.
        #[arg(long, default_value_t = 100)]
        round: usize,
        /// Operations of each thread of a workload.
        #[arg(long, default_value_t = 250)]
        ops: usize,
        /// Where what has failed is kept.
        #[arg(long)]
        out: PathBuf,
    },
    /// One power cut that failed, again.
    Again {
        /// What was kept of it.
        kept: PathBuf,
        /// Another recovery than it was.
        #[arg(long)]
        recovery: Option<Recovery>,
    },
    /// The entries of a log.
    Log {
        /// The log device or a copy of it.
        log: PathBuf,
    },
}

fn run(args: Args) -> Result<()> {
    match args.what {
        What::Sweep {
            points,
            seed,
            block,
            workload,
            round,
            ops,
            out,
        } => {
            let began = Instant::now();
            let profile = workload::PROFILES
                .into_iter()
                .find(|p| Some(p.name) == workload.as_deref());
            let sweep = run::Sweep {
                fs: args.fs,
                points,
                seed,
                block,
                profile,
                round,
                ops,
                out,
                dir: args.dir,
            };
            let total = sweep.run()?;
            let count = |how| total.points.get(&how).copied().unwrap_or(0);
            println!(
                "crash: {} power cuts, {} failed ({} between flushes, {} in a recovery; recovery by {} {}, ext4 {}, \
                 e2fsck {}); {} workloads, {} entries, {} promises; seed {seed}, {} s",
                total.points.values().sum::<usize>(),
                total.failed,
                total.partly,
                total.in_recovery,
                sweep.fs,
                count(Recovery::Own),
                count(Recovery::Ext4),
                count(Recovery::Fsck),
                total.rounds,
                total.entries,
                total.promises,
                began.elapsed().as_secs()
            );
            ensure!(
                total.failed == 0,
                "{} of the power cuts failed",
                total.failed
            );
            Ok(())
        }
        What::Again { kept, recovery } => run::again(&args.fs, &kept, recovery, &args.dir),
        What::Log { log } => {
            let log = log::Log::open(&log)?;
            for (i, entry) in log.entries.iter().enumerate() {
                println!("{i:6} {:?} {} {}", entry.kind, entry.offset, entry.len);
            }
            Ok(())
        }
    }
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("crash: {why:#}");
            ExitCode::FAILURE
        }
    }
}
