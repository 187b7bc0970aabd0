// SPDX-License-Identifier: GPL-2.0

//! A small process beside a program in the guest, or beside each of its threads, for what needs `unsafe` in Rust: see
//! `helper.py`.

use anyhow::{Context, Result};
use rustix::io::Errno;
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
    /// Starts it.
    ///
    /// # Errors
    ///
    /// There is no Python.
    pub fn new() -> Result<Self> {
        let mut child = Command::new("python3")
            .args(["-c", include_str!("helper.py")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run python3")?;
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("the helper's output")?);
        Ok(Self {
            child,
            requests,
            answers,
        })
    }

    /// What a request comes to, which `data` belongs to.
    fn ask(&mut self, line: &str, data: &[u8]) -> Result<rustix::io::Result<()>> {
        let requests = self.requests.as_mut().context("the helper's input")?;
        let mut message = format!("{line}\n").into_bytes();
        message.extend_from_slice(data);
        requests
            .write_all(&message)
            .context("the helper does not listen")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        let errno = answer.trim_end().parse().context("the helper's answer")?;
        Ok(match errno {
            0 => Ok(()),
            errno => Err(Errno::from_raw_os_error(errno)),
        })
    }

    /// The same, of one that must not fail.
    fn must(&mut self, line: &str, data: &[u8]) -> Result<()> {
        self.ask(line, data)?
            .with_context(|| format!("the helper says of {line}"))
    }

    /// Puts a mark into the log of the device-mapper device of this name.
    ///
    /// # Errors
    ///
    /// It cannot be done, or the helper is gone; as with all that follow.
    pub fn mark(&mut self, device: &str, number: u32) -> Result<()> {
        self.must(&format!("mark {device} {number}"), &[])
    }

    /// Stores bytes through a shared mapping of the file, which is long enough; with `sync` they are durable then.
    ///
    /// # Errors
    ///
    /// As [`Self::mark`].
    pub fn store(&mut self, path: &Path, offset: u64, bytes: &[u8], sync: bool) -> Result<()> {
        let line = format!(
            "map {} {offset} {} {}",
            path.display(),
            bytes.len(),
            u8::from(sync)
        );
        self.must(&line, bytes)
    }

    /// Gives a mounted volume a name.
    ///
    /// # Errors
    ///
    /// As [`Self::mark`].
    pub fn label(&mut self, mount: &Path, name: &str) -> Result<()> {
        self.must(&format!("label {} {name}", mount.display()), &[])
    }

    /// Trims the `len` bytes of a mounted volume that begin at `start`, in runs of at least `least` bytes.
    ///
    /// # Errors
    ///
    /// As [`Self::mark`].
    pub fn trim(&mut self, mount: &Path, start: u64, len: u64, least: u64) -> Result<()> {
        let line = format!("trim {} {start} {len} {least}", mount.display());
        self.must(&line, &[])
    }

    /// Has a file and a donor exchange `count` blocks, from the blocks `starts` on. Returns what the file system says.
    ///
    /// # Errors
    ///
    /// The helper is gone.
    pub fn exchange(
        &mut self,
        files: [&Path; 2],
        starts: [u64; 2],
        count: u64,
    ) -> Result<rustix::io::Result<()>> {
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
