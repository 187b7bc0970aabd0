// SPDX-License-Identifier: GPL-2.0

//! A small process beside each thread of the workload, for what needs `unsafe` in Rust: see `helper.py`.

use anyhow::{ensure, Context, Result};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The process; it ends when this is dropped.
pub struct Helper {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Helper {
    pub fn new() -> Result<Self> {
        let mut child = Command::new("python3")
            .args(["-c", include_str!("helper.py")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run python3")?;
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("the helper's output")?);
        Ok(Helper {
            child,
            requests,
            answers,
        })
    }

    fn ask(&mut self, line: &str, data: &[u8]) -> Result<()> {
        let requests = self.requests.as_mut().context("the helper's input")?;
        let mut message = format!("{line}\n").into_bytes();
        message.extend_from_slice(data);
        requests
            .write_all(&message)
            .context("the helper does not listen")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        ensure!(answer == "ok\n", "the helper says: {}", answer.trim_end());
        Ok(())
    }

    /// Puts a mark into the log of the device-mapper device of this name.
    pub fn mark(&mut self, device: &str, number: u32) -> Result<()> {
        self.ask(&format!("mark {device} {number}"), &[])
    }

    /// Stores bytes through a shared mapping of the file, which is long enough; with `sync` they are durable then.
    pub fn store(&mut self, path: &Path, offset: u64, bytes: &[u8], sync: bool) -> Result<()> {
        let line = format!(
            "map {} {offset} {} {}",
            path.display(),
            bytes.len(),
            u8::from(sync)
        );
        self.ask(&line, bytes)
    }

    /// Gives a mounted volume a name.
    pub fn label(&mut self, mount: &Path, name: &str) -> Result<()> {
        self.ask(&format!("label {} {name}", mount.display()), &[])
    }

    /// Trims the `len` bytes of a mounted volume that begin at `start`, in runs of at least `least` bytes.
    pub fn trim(&mut self, mount: &Path, start: u64, len: u64, least: u64) -> Result<()> {
        self.ask(
            &format!("trim {} {start} {len} {least}", mount.display()),
            &[],
        )
    }

    /// Has a file and a donor exchange `count` blocks, from the blocks `starts` on.
    pub fn exchange(&mut self, files: [&Path; 2], starts: [u64; 2], count: u64) -> Result<()> {
        let ([path, donor], [start, donor_start]) = (files.map(Path::display), starts);
        let line = format!("exchange {path} {donor} {start} {donor_start} {count}");
        self.ask(&line, &[])
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        drop(self.requests.take());
        // It has nothing more to say; that it is gone is all that matters.
        let _ = self.child.wait();
    }
}
