// SPDX-License-Identifier: GPL-2.0

//! File data: what is laid out before a job, and looked at after it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};

/// What is there before a job; `qemu/bench/in-guest` tells fio to write [`WRITTEN`].
const LAID: u8 = 0x3c;
/// What a job writes (fio's `buffer_pattern`).
const WRITTEN: u8 = 0xa5;
const MIB: usize = 1 << 20;
const PIECE: usize = 4096;

/// Memory for direct I/O: a part of `LENGTH` bytes that begins at a page.
pub(super) struct Aligned {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    pub(super) fn new(length: usize, byte: u8) -> Self {
        let memory = vec![byte; length + PIECE];
        let start = memory.as_ptr().align_offset(PIECE);
        Self {
            memory,
            start,
            length,
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

pub(super) fn open_direct(at: &Path, write: bool) -> Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags(rustix::fs::OFlags::DIRECT.bits() as i32);
    if write {
        // A device is there already.
        options.write(true).create(true);
    }
    options.open(at).with_context(|| at.display().to_string())
}

pub(super) fn fill(at: &Path, size: u64) -> Result<()> {
    let block = Aligned::new(MIB, LAID);
    ensure!(size % MIB as u64 == 0, "a size in whole MiB is needed");
    let mut file = open_direct(at, true)?;
    for _ in 0..size / MIB as u64 {
        file.write_all(block.bytes())?;
    }
    Ok(file.sync_all()?)
}

/// The holes are as large as the pieces.
pub(super) fn pieces(at: &Path, count: u32) -> Result<()> {
    let block = Aligned::new(PIECE, LAID);
    let file = open_direct(at, true)?;
    for i in 0..u64::from(count) {
        file.write_all_at(block.bytes(), 2 * i * PIECE as u64)?;
    }
    Ok(file.sync_all()?)
}

pub(super) fn read(at: &Path) -> Result<()> {
    let mut file = File::open(at).with_context(|| at.display().to_string())?;
    let mut block = vec![0; MIB];
    while file.read(&mut block)? > 0 {}
    Ok(())
}

pub(super) fn verify(at: &Path, size: u64) -> Result<()> {
    let mut file = File::open(at).with_context(|| at.display().to_string())?;
    let want = vec![WRITTEN; MIB];
    let mut have = vec![0; MIB];
    let mut seen = 0;
    loop {
        let n = match file.read(&mut have) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(e.into()),
        };
        if have[..n] != want[..n] {
            let wrong = have[..n].iter().position(|&b| b != WRITTEN).unwrap_or(0);
            bail!(
                "{}: byte {} is {:#x}, written was {WRITTEN:#x}",
                at.display(),
                seen + wrong as u64,
                have[wrong]
            );
        }
        seen += n as u64;
    }
    ensure!(
        seen == size,
        "{} is {seen} bytes long, {size} were written",
        at.display()
    );
    Ok(())
}
