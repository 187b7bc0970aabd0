// SPDX-License-Identifier: GPL-2.0

//! The benchmark's program (`make bench`, `make bench-profile`; the scripts are in `qemu/bench`).
//!
//! | module | where it runs | what it is for |
//! |---|---|---|
//! | [`load`] | guest | work that fio has no job for: files, directories, mounting, memory |
//! | [`samples`] | host | reads what the guest measured |
//! | [`stats`] | host | median, spread, geometric mean |
//! | [`report`] | host | table, JSON, comparison with an earlier JSON |
//! | [`plot`] | host | the same as a picture |
//! | [`profile`] | host | instructions by function, two file systems side by side |

mod load;
mod plot;
mod profile;
mod report;
mod samples;
mod stats;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "iomapfs-bench", about = "The benchmark's load and its reports")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Does work on a file system and says how long it took (in the guest).
    Load(load::Arguments),
    /// Makes the table, the JSON and the picture of what a guest measured.
    Report(report::Arguments),
    /// Says which functions' instructions a job was made of.
    Profile(profile::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().what {
        What::Load(arguments) => load::main(arguments),
        What::Report(arguments) => report::main(&arguments),
        What::Profile(arguments) => profile::main(&arguments),
    }
}
