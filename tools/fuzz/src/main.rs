// SPDX-License-Identifier: GPL-2.0

//! Corrupted images: makes them, gives them to the core on the host, and to the module in a guest.

use anyhow::Result;
use clap::{Parser, Subcommand};
use iomapfs_fuzz::{corpus, driver, guest, parsers};
use std::path::PathBuf;

#[derive(Parser)]
#[command(about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the good images that are damaged later; those that are there already stay.
    Corpus {
        /// Where they are to be.
        folder: PathBuf,
    },
    /// Run a target on the host with random bytes of a seed.
    Host {
        /// The target.
        #[arg(long)]
        target: String,
        #[command(flatten)]
        which: Which,
        /// Only the bytes of this file.
        #[arg(long)]
        input: Option<PathBuf>,
    },
    /// In a guest: mount damaged images, and use them.
    Guest {
        #[command(flatten)]
        options: guest::Options,
        /// Only the image of this number.
        #[arg(long, env = "ONLY")]
        only: Option<u64>,
    },
    /// What `guest` starts.
    #[command(hide = true)]
    Work {
        #[command(flatten)]
        options: guest::Options,
    },
    /// Write a damaged image to a file.
    Image {
        /// The folder of good images.
        #[arg(long)]
        images: PathBuf,
        /// Where random choices begin.
        #[arg(long, env = "SEED", default_value_t = 1)]
        seed: u64,
        /// The number of the image.
        nr: u64,
        /// The file.
        file: PathBuf,
    },
    /// Damage images, use those that e2fsck calls clean nevertheless, and have it look again.
    Judge {
        #[command(flatten)]
        which: Which,
    },
}

/// Which cases.
#[derive(clap::Args)]
struct Which {
    /// Where random choices begin.
    #[arg(long, env = "SEED", default_value_t = 1)]
    seed: u64,
    /// How many cases.
    #[arg(long, default_value_t = 10000)]
    count: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Only this one.
    #[arg(long)]
    only: Option<u64>,
}

impl Which {
    fn range(&self) -> (u64, u64) {
        match self.only {
            Some(nr) => (nr, 1),
            None => (self.first, self.count),
        }
    }
}

fn main() -> Result<()> {
    match Args::parse().command {
        Command::Corpus { folder } => corpus::make(&folder, |_| true),
        Command::Host {
            target,
            which: _,
            input: Some(input),
        } => {
            parsers::run(&target, &std::fs::read(input)?);
            Ok(())
        }
        Command::Host { target, which, .. } => {
            let (first, count) = which.range();
            let began = std::time::Instant::now();
            driver::run(&target, which.seed, first, count, |_| ())?;
            let rate = count as f64 / began.elapsed().as_secs_f64();
            println!(
                "{target}: {count} cases of seed {}, {rate:.0} a second",
                which.seed
            );
            Ok(())
        }
        Command::Guest { mut options, only } => {
            if let Some(nr) = only {
                (options.first, options.count, options.verbose) = (nr, 1, true);
                // Perhaps it was e2fsck that found something.
                options.judge = 1;
            }
            guest::watch(&options)
        }
        Command::Work { options } => guest::work(&options),
        Command::Image {
            images,
            seed,
            nr,
            file,
        } => {
            let surveys = guest::load(&images)?;
            let damaged = guest::damage(&surveys, seed, nr);
            println!("{}", damaged.told);
            damaged.edit.save(&file)
        }
        Command::Judge { which } => {
            let (first, count) = which.range();
            let scratch =
                std::env::temp_dir().join(format!("iomapfs-judge-{}", std::process::id()));
            std::fs::create_dir_all(&scratch)?;
            let judged = driver::judge(which.seed, first, count, &scratch);
            std::fs::remove_dir_all(&scratch)?;
            let sample = judged?;
            println!(
                "{count} images: {} clean in spite of the damage; {} of these used without an error, and clean after; \
                 {} e2fsck gave up",
                sample.clean, sample.stayed, sample.gave_up
            );
            Ok(())
        }
    }
}
