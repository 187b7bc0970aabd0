// SPDX-License-Identifier: GPL-2.0

//! A file that fio writes beside the threads of the workload, with a header and checksum in each block: when fio has
//! made it durable, fio has to find all of it after any power cut.

use crate::history::{Mark, Promise};
use crate::volume::run;
use crate::workload::Shared;
use anyhow::Result;
use fastrand::Rng;
use iomapfs_helper::Helper;
use std::path::Path;

/// The name of the file, in the root.
pub const FILE: &str = "fio";

fn fio(mount: &Path, seed: u32, more: &[&str]) -> Result<()> {
    let (file, seed) = (
        format!("--filename={}", mount.join(FILE).display()),
        format!("--randseed={seed}"),
    );
    let mut args = vec![
        "--name=crash",
        &file,
        &seed,
        "--rw=randwrite",
        "--size=1m",
        "--bs=4k",
        "--fallocate=none",
        "--verify=crc32c",
        "--verify_state_save=0",
        "--output=/dev/null",
    ];
    args.extend(more);
    run("fio", &args).map(drop)
}

/// Writes each block of the file once, in any order and with some fsyncs, and makes the promise. `thread` is one of
/// the workload that does nothing else.
pub fn write(shared: &Shared, thread: usize, seed: u32, helper: &mut Helper) -> Result<()> {
    let mut rng = Rng::with_seed(seed.into());
    let direct = format!("--direct={}", u8::from(rng.bool()));
    let engine = ["--ioengine=psync", "--ioengine=libaio"][rng.usize(..2)];
    let fsync = format!("--fsync={}", rng.u8(4..32));
    let how = [&direct, engine, "--iodepth=4", &fsync, "--end_fsync=1"];
    fio(
        &shared.mount,
        seed,
        &[&how[..], &["--do_verify=0"]].concat(),
    )?;
    let promise = Promise::Fio { seed };
    shared.promise(
        helper,
        Mark {
            thread,
            done: 0,
            promise,
        },
    )
}

/// Is all of the file there?
pub fn verify(mount: &Path, seed: u32) -> Result<()> {
    fio(
        mount,
        seed,
        &["--ioengine=psync", "--verify_only", "--verify_fatal=1"],
    )
}
