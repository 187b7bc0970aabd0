// SPDX-License-Identifier: GPL-2.0

//! `make sim`: power cuts until there were enough of them, or one was not survived.

use anyhow::Result;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use iomapfs_sim::base::Base;
use iomapfs_sim::broken::{Broken, Rule};
use iomapfs_sim::case::{Case, Failure};
use iomapfs_sim::judge::E2fsck;
use iomapfs_sim::shrink::shrink;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Random work on the core of iomapfs with the power cut anywhere; each time the file system is recovered, checked, and
/// compared with what must be there.
#[derive(Parser)]
struct Options {
    /// How many power cuts
    #[arg(short = 'n', long, default_value_t = 300_000)]
    cuts: u64,
    /// Where random choices begin
    #[arg(short, long, default_value_t = 1)]
    seed: u64,
    /// Only this case of the seed
    #[arg(long)]
    case: Option<u64>,
    /// In how many ways each power cut is made
    #[arg(long, default_value_t = 2)]
    ways: usize,
    /// The real e2fsck looks at one power cut in so many; 0 for none [default: 1000, with a case 1]
    #[arg(long)]
    sample: Option<u64>,
    /// Breaks a rule on purpose: this must be found
    #[arg(long)]
    broken: Option<Rule>,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sim: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether every power cut was survived.
fn run() -> Result<bool> {
    let options = Options::parse();
    // A panic is a finding like others, and is reported with its case.
    std::panic::set_hook(Box::new(|_| ()));
    let bases = Base::all()?;
    let sizes: Vec<u32> = bases
        .iter()
        .map(|base| base.fixed.layout.block_size().bytes())
        .collect();
    let broken = Broken(options.broken);
    // What only e2fsck finds is to be found again.
    let sample = options
        .sample
        .unwrap_or(if options.case.is_some() { 1 } else { 1000 });
    let mut judge = E2fsck::new(options.cuts, sample);
    let bar = ProgressBar::new(options.cuts);
    bar.set_style(ProgressStyle::with_template(
        "{wide_bar} {pos}/{len} power cuts, {per_sec}, {eta} left",
    )?);
    let begin = Instant::now();
    let mut n = options.case.unwrap_or(0);
    while judge.left > 0 {
        let case = Case::random(bases.len(), options.seed, n, broken, &sizes);
        let base = &bases[case.base];
        if let Err(failure) = case.run(base, options.ways, &mut judge) {
            bar.finish_and_clear();
            report(&options, n, &case, base, &failure);
            return Ok(false);
        }
        bar.set_position(options.cuts - judge.left);
        n += 1;
        if options.case.is_some() {
            break;
        }
    }
    bar.finish_and_clear();
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "sim: {} power cuts survived in {} cases, {:.0} a second; e2fsck agreed on {}, failed itself at {}; seed {}",
        judge.seen,
        n - options.case.unwrap_or(0),
        judge.seen as f64 / seconds,
        judge.judged,
        judge.failed,
        options.seed
    );
    Ok(true)
}

fn report(options: &Options, n: u64, case: &Case, base: &Base, failure: &Failure) {
    println!("seed {}, case {n} ({}):", options.seed, base.name);
    describe(failure);
    eprintln!("looking for a shorter list of operations");
    match shrink(case, base, options.ways, Duration::from_secs(60)) {
        Some((shorter, failure)) => {
            println!("shortest list of operations:");
            for (life, ops) in shorter.lives.iter().enumerate() {
                if life > 0 {
                    println!("  power cut");
                }
                for (i, op) in ops.iter().enumerate() {
                    println!("  {i:3} {op:?}");
                }
            }
            describe(&failure);
        }
        None => println!("it is not found again: no shorter list was looked for"),
    }
    println!("to repeat it: make sim SEED={} CASE={n}", options.seed);
}

fn describe(failure: &Failure) {
    match failure.op {
        Some(op) => println!("  after {} power cuts, operation {op}:", failure.life),
        None => println!(
            "  after {} power cuts, another one after event {} on the device:",
            failure.life, failure.event
        ),
    }
    println!("  {}", failure.what);
}
