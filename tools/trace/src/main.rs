// SPDX-License-Identifier: GPL-2.0

//! Shows one write (`make trace`).

use anyhow::{ensure, Context};
use clap::Parser;
use iomapfs_trace::{choose, picture, read, text, tree};
use std::path::PathBuf;

#[derive(Parser)]
#[command(
    name = "iomapfs-trace",
    about = "Shows a write that the function graph tracer has seen"
)]
struct Arguments {
    /// What the tracer has written, with the options funcgraph-abstime, -proc, -cpu, -duration and -tail.
    #[arg(long)]
    trace: PathBuf,
    /// What it is.
    #[arg(long)]
    title: String,
    /// Where the picture goes.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Shows every function.
    #[arg(long)]
    all: bool,
    /// Shows nothing deeper than that.
    #[arg(long)]
    depth: Option<usize>,
    /// Shows no events.
    #[arg(long)]
    no_events: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let path = arguments.trace.display();
    let trace = std::fs::read_to_string(&arguments.trace).with_context(|| path.to_string())?;
    let how = choose::How {
        all: arguments.all,
        depth: arguments.depth.unwrap_or(usize::MAX),
        events: !arguments.no_events,
    };
    let roots = choose::shown(tree::grow(read::lines(&trace)), &how);
    ensure!(!roots.is_empty(), "{path}: nothing was traced");
    print!("{}", text::draw(&arguments.title, &roots));
    if let Some(svg) = arguments.svg {
        let picture = picture::draw(&arguments.title, &roots);
        std::fs::write(&svg, picture).with_context(|| svg.display().to_string())?;
    }
    Ok(())
}
