// SPDX-License-Identifier: GPL-2.0

//! In the guest: damaged images are put on a RAM disk, mounted with the module, used and unmounted.
//!
//! Two processes: the *worker* does it, and says which image it is at; the one that started it watches. A worker that
//! says nothing for too long hangs in the kernel: it is told, with where every task is in the kernel's log.
//!
//! | file | what is in it |
//! |---|---|
//! | `worker` | one image after the other |
//! | `disk` | the RAM disk |
//! | `errors` | what may be refused, and how |
//! | `log` | the kernel's log: trouble, floods |
//! | `visit` | what is done with a mounted image |

mod disk;
mod errors;
mod log;
mod visit;
mod worker;

use crate::driver;
use crate::image::{Edit, Image};
use crate::mild;
use crate::mutate::{mutate, Reader};
use crate::survey::Survey;
use anyhow::{bail, Context, Result};
use arbitrary::Unstructured;
use rustix::process::{kill_process, Pid, Signal};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

pub use worker::work;

/// What is to be done.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// The folder of good images.
    #[arg(long)]
    pub images: PathBuf,
    /// The RAM disk.
    #[arg(long, default_value = "/dev/ram0")]
    pub disk: PathBuf,
    /// Where a failed image is written.
    #[arg(long, env = "OUT", default_value = "/tmp")]
    pub out: PathBuf,
    /// The type of file system.
    #[arg(long, env = "FS", default_value = "iomapfs")]
    pub fs: String,
    /// Where random choices begin.
    #[arg(long, env = "SEED", default_value_t = 1)]
    pub seed: u64,
    /// The number of the first image.
    #[arg(long, default_value_t = 0)]
    pub first: u64,
    /// How many images.
    #[arg(long, default_value_t = 300)]
    pub count: u64,
    /// Every how many images e2fsck has a look before, and if it finds nothing, afterwards; 0 for never. At those that
    /// are changed only mildly it always looks, unless never.
    #[arg(long, default_value_t = 40)]
    pub judge: u64,
    /// Seconds that one image may take.
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// Tell each image, and all that is done with it.
    #[arg(long)]
    pub verbose: bool,
}

/// An image damaged by number, the damage in words, and the rest of the random bytes for what is done with it.
pub struct Damaged<'i> {
    /// The image.
    pub edit: Edit<'i>,
    /// The damage.
    pub told: String,
    /// Random bytes.
    pub rest: Vec<u8>,
    /// Whether it is a good image all the same.
    pub mild: bool,
}

/// Makes image number `nr` of a seed.
pub fn damage<'i>(surveys: &[Survey<'i>], seed: u64, nr: u64) -> Damaged<'i> {
    let data = driver::bytes(seed, nr);
    let mut u = Unstructured::new(&data);
    let suitable = match mild::is(nr) {
        true => mild::suitable(surveys),
        false => Vec::new(),
    };
    let mild = !suitable.is_empty();
    // With a choice to make there is always an image.
    let which = match mild {
        true => u.choose(&suitable).copied().unwrap_or(suitable[0]),
        false => u.int_in_range(0..=surveys.len() - 1).unwrap_or(0),
    };
    let survey = &surveys[which];
    let mut edit = Edit::new(survey.image);
    let told = match mild {
        true => mild::change(survey, &mut edit, &mut u),
        false => mutate(survey, &mut edit, &mut u, Reader::Module),
    }
    .unwrap_or_default();
    Damaged {
        edit,
        told: format!("image {}: {}", survey.image.name(), told.join("; ")),
        rest: u.take_rest().to_vec(),
        mild,
    }
}

/// The images of a folder, looked through. They stay in memory.
pub fn load(folder: &std::path::Path) -> Result<Vec<Survey<'static>>> {
    let images: &'static [Image] = Vec::leak(Image::load_all(folder)?);
    images.iter().map(Survey::new).collect()
}

/// Starts a worker and watches it.
///
/// # Errors
///
/// Where an image does what it should not; all has been told.
pub fn watch(options: &Options) -> Result<()> {
    let mut worker = start(options)?;
    let said = listen(&mut worker)?;
    let began = Instant::now();
    let mut told = Instant::now();
    let mut at = None;
    loop {
        match said.recv_timeout(Duration::from_secs(options.seconds)) {
            Ok(line) => match line.strip_prefix("at ").and_then(|nr| nr.parse().ok()) {
                Some(nr) => {
                    at = Some(nr);
                    if told.elapsed().as_secs() >= 15 {
                        told = Instant::now();
                        let done = nr - options.first;
                        let rate = done as f64 / began.elapsed().as_secs_f64();
                        println!("{done} of {} images, {rate:.1} a second", options.count);
                    }
                }
                None => println!("{line}"),
            },
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let killed = kill(&mut worker)?;
                let nr = at.unwrap_or(options.first);
                println!(
                    "image {nr} of seed {}: no end after {} s",
                    options.seed, options.seconds
                );
                println!(
                    "the program {}",
                    match killed {
                        true => "could be killed",
                        false => "cannot be killed",
                    }
                );
                report(options, nr)?;
                bail!("an image without end");
            }
        }
    }
    let status = worker.wait().context("worker")?;
    if !status.success() {
        report(options, at.unwrap_or(options.first))?;
        bail!("the worker ended with {status}");
    }
    Ok(())
}

fn start(options: &Options) -> Result<Child> {
    let program = std::env::current_exe().context("own program")?;
    let number = |n: u64| n.to_string();
    let mut command = Command::new(program);
    command
        .arg("work")
        .arg("--images")
        .arg(&options.images)
        .arg("--disk")
        .arg(&options.disk)
        .arg("--out")
        .arg(&options.out)
        .args(["--fs", &options.fs])
        .args(["--seed", &number(options.seed)])
        .args(["--first", &number(options.first)])
        .args(["--count", &number(options.count)])
        .args(["--judge", &number(options.judge)]);
    if options.verbose {
        command.arg("--verbose");
    }
    command.stdout(Stdio::piped()).spawn().context("worker")
}

/// The lines that the worker prints.
fn listen(worker: &mut Child) -> Result<Receiver<String>> {
    let stdout = worker.stdout.take().context("worker's output")?;
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let lines = BufReader::new(stdout).lines();
        for line in lines.map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    Ok(receive)
}

/// Has the kernel log where everybody is, and ends the worker, if that can be done.
fn kill(worker: &mut Child) -> Result<bool> {
    for what in ["l", "w"] {
        let _ = std::fs::write("/proc/sysrq-trigger", what);
    }
    let pid = Pid::from_child(worker);
    if let Ok(stack) = std::fs::read_to_string(format!("/proc/{}/stack", worker.id())) {
        println!("the worker is at\n{stack}");
    }
    let _ = kill_process(pid, Signal::KILL);
    for _ in 0..50 {
        if worker.try_wait().context("worker")?.is_some() {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(false)
}

/// What is needed to look at an image by itself.
fn report(options: &Options, nr: u64) -> Result<()> {
    let surveys = load(&options.images)?;
    let damaged = damage(&surveys, options.seed, nr);
    println!("image {nr} of seed {}: {}", options.seed, damaged.told);
    let name = format!("failed-{}-{nr}.img", options.seed);
    damaged.edit.save(&options.out.join(&name))?;
    println!("it is kept as {name}");
    println!("to repeat it: make fuzz SEED={} ONLY={nr}", options.seed);
    Ok(())
}
