// SPDX-License-Identifier: GPL-2.0

//! A process beside the worker, for what needs `unsafe` in Rust: see `helper.py`.

use anyhow::{Context, Result};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::io::Errno;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The process; it ends when this is dropped.
pub(super) struct Helper {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Helper {
    pub(super) fn new() -> Result<Self> {
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

    /// Has a file and a donor exchange `count` blocks, from the blocks `starts` on.
    pub(super) fn exchange(
        &mut self,
        [fd, donor]: [&OwnedFd; 2],
        [start, donor_start]: [u64; 2],
        count: u64,
    ) -> Result<rustix::io::Result<()>> {
        let (fd, donor) = (fd.as_raw_fd(), donor.as_raw_fd());
        let requests = self.requests.as_mut().context("the helper's input")?;
        writeln!(requests, "{fd} {donor} {start} {donor_start} {count}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        let errno = answer.trim_end().parse().context("the helper's answer")?;
        Ok(match errno {
            0 => Ok(()),
            errno => Err(Errno::from_raw_os_error(errno)),
        })
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        drop(self.requests.take());
        // It has nothing more to say.
        let _ = self.child.wait();
    }
}
