// SPDX-License-Identifier: GPL-2.0

//! The kernel's log, read as it grows.

use anyhow::{Context, Result};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;

/// What no image may cause. `qemu/guest/kernel-log.sh` has more, which is looked for at the end.
const TROUBLE: [&str; 20] = [
    "BUG:",
    "kernel BUG at",
    "WARNING:",
    "Oops",
    "general protection fault",
    "KASAN",
    "UBSAN",
    "panicked at",
    "blocked for more than",
    "circular locking",
    "recursive locking",
    "lock held when returning",
    "bad unlock balance",
    "sleeping function called",
    "refcount_t:",
    "corruption.",
    "JBD2: assertion",
    "page allocation failure",
    "Out of memory:",
    "VFS: Busy inodes",
];

/// Lines that one image may cause. More would fill the log of a machine to which somebody brings bad images.
const MOST_LINES: usize = 80;

/// See the top of the file.
pub(super) struct Log {
    file: File,
    write: File,
}

/// What was logged since the last look.
pub(super) struct Seen {
    /// Lines of the file system and the journal.
    pub(super) lines: Vec<String>,
    /// What is wrong with them.
    pub(super) wrong: Option<String>,
}

impl Log {
    /// Begins at the end of what is there. From now on the console gets only what is critical.
    pub(super) fn new() -> Result<Self> {
        let about = || "/dev/kmsg";
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
            .open("/dev/kmsg")
            .with_context(about)?;
        file.seek(SeekFrom::End(0)).with_context(about)?;
        let write = OpenOptions::new()
            .write(true)
            .open("/dev/kmsg")
            .with_context(about)?;
        std::fs::write("/proc/sys/kernel/printk", "3").context("log level")?;
        std::fs::write("/proc/sys/kernel/printk_devkmsg", "on\n").context("printk_devkmsg")?;
        Ok(Self { file, write })
    }

    /// Writes a line that gets to the console, and so survives a panic.
    pub(super) fn mark(&mut self, line: &str) -> Result<()> {
        let line = format!("<2>iomapfs-fuzz: {line}");
        self.write.write_all(line.as_bytes()).context("/dev/kmsg")
    }

    /// What has come.
    pub(super) fn look(&mut self) -> Result<Seen> {
        let mut seen = Seen {
            lines: Vec::new(),
            wrong: None,
        };
        let mut record = [0; 8192];
        loop {
            let len = match self.file.read(&mut record) {
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    seen.wrong = Some("the log was flooded".to_string());
                    continue;
                }
                Err(error) => return Err(error).context("/dev/kmsg"),
            };
            let text = String::from_utf8_lossy(&record[..len]);
            let line = text.split_once(';').map_or(&*text, |(_, line)| line);
            let line = line.lines().next().unwrap_or("").to_string();
            if line.starts_with("iomapfs-fuzz:") {
                continue;
            }
            if TROUBLE.iter().any(|word| line.contains(word)) && seen.wrong.is_none() {
                seen.wrong = Some(line.clone());
            }
            seen.lines.push(line);
        }
        if seen.lines.len() > MOST_LINES && seen.wrong.is_none() {
            seen.wrong = Some(format!("{} lines in the log", seen.lines.len()));
        }
        Ok(seen)
    }
}
