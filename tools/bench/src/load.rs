// SPDX-License-Identifier: GPL-2.0

//! What the guest does where fio has no job for it, and what it does unmeasured before and after jobs.
//!
//! What is measured prints one line: `rate OPERATIONS NANOSECONDS`, or `bytes EACH`. Nothing is executed or loaded
//! while the clock runs: an idle guest whose clock counts instructions has it jump ahead.

mod data;
mod files;
mod memory;
mod tree;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

#[derive(Args)]
pub struct Arguments {
    /// Tells QEMU's plugin where the measurement begins and ends.
    #[arg(long, global = true)]
    mark: bool,
    /// Where: a folder or a file, as the work needs it.
    #[arg(long, global = true, default_value = ".")]
    at: PathBuf,
    /// How many files, pieces or mounts.
    #[arg(long, global = true, default_value_t = 10_000)]
    count: u32,
    /// Directories that the files are in.
    #[arg(long, global = true, default_value_t = 1)]
    dirs: u32,
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// Makes empty files.
    Create {
        /// In directories with a default ACL.
        #[arg(long)]
        acl: bool,
    },
    /// Looks each file up and reads its attributes.
    Stat,
    /// Reads the directories, 20 times.
    Readdir,
    /// Removes the files.
    Unlink,
    /// Gives each file an attribute of 40 bytes, and another value of it twice.
    SetAttribute,
    /// Reads that attribute of each file, 20 times, from memory.
    GetAttribute,
    /// One folder with very many files (`qemu/bench/directory`).
    Large {
        /// What is done.
        step: files::LargeStep,
        /// Bytes of each name.
        #[arg(long)]
        length: usize,
    },
    /// Makes a tree of small files as tar does: write, times, owner, mode.
    Untar,
    /// Reads the tree, and checks every byte.
    ReadTree,
    /// Removes the tree.
    RemoveTree,
    /// Mounts and unmounts.
    Mount {
        /// The file system's type.
        #[arg(long)]
        fs: String,
        /// The device.
        #[arg(long)]
        device: PathBuf,
    },
    /// Opens the files, and says what memory each takes.
    OpenMemory,
    /// Reads a file of many extents, and says what memory each takes.
    ExtentMemory,
    /// Writes a file of SIZE bytes, straight to the device.
    Fill { size: u64 },
    /// Writes a file of `count` pieces of 4 KiB with holes between.
    Pieces,
    /// Reads a file into memory.
    Read,
    /// Checks that a file is SIZE bytes of what fio was told to write.
    Verify { size: u64 },
}

/// The clock, and the marks for QEMU's plugin.
struct Clock {
    mark: bool,
}

impl Clock {
    /// Measures `work`, which returns how many operations it did, and prints the result.
    fn measure(&self, work: impl FnOnce() -> Result<u64>) -> Result<()> {
        self.mark()?;
        let start = Instant::now();
        let operations = work()?;
        let took = start.elapsed();
        self.mark()?;
        println!("rate {operations} {}", took.as_nanos());
        Ok(())
    }

    fn mark(&self) -> Result<()> {
        if self.mark {
            std::fs::read("/proc/version").context("/proc/version")?;
        }
        Ok(())
    }
}

pub fn main(arguments: Arguments) -> Result<()> {
    let Arguments {
        mark,
        at,
        count,
        dirs,
        work,
    } = arguments;
    let clock = Clock { mark };
    match work {
        Work::Create { acl } => files::create(&clock, &at, count, dirs, acl),
        Work::Stat => files::stat(&clock, &at, count, dirs),
        Work::Readdir => files::readdir(&clock, &at, count, dirs),
        Work::Unlink => files::unlink(&clock, &at, count, dirs),
        Work::SetAttribute => files::set_attribute(&clock, &at, count, dirs),
        Work::GetAttribute => files::get_attribute(&clock, &at, count, dirs),
        Work::Large { step, length } => files::large(&at, count, length, step),
        Work::Untar => tree::untar(&clock, &at),
        Work::ReadTree => tree::read(&clock, &at),
        Work::RemoveTree => tree::remove(&clock, &at),
        Work::Mount { fs, device } => files::mount(&clock, &at, count, &fs, &device),
        Work::OpenMemory => memory::open_files(&at, count, dirs),
        Work::ExtentMemory => memory::extents(&at, count),
        Work::Fill { size } => data::fill(&at, size),
        Work::Pieces => data::pieces(&at, count),
        Work::Read => data::read(&at),
        Work::Verify { size } => data::verify(&at, size),
    }
}
