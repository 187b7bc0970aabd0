// SPDX-License-Identifier: GPL-2.0

//! The RAM disk that images are put on. Nothing is left of an image when the next one comes.
//!
//! All goes past the page cache of the device, which is empty while nothing is mounted.

use crate::image::{Edit, PAGE};
use anyhow::{Context, Result};
use rustix::fs::{fallocate, FallocateFlags, OFlags};
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes that are written at once.
const PIECE: usize = 256 * 1024;
/// What memory and device are aligned to in a direct transfer.
const ALIGN: usize = 4096;

/// See the top of the file.
pub(super) struct Disk {
    path: PathBuf,
    /// Where the image that is there ends: behind it are zeros.
    end: u64,
    memory: Vec<u8>,
}

impl Disk {
    pub(super) fn new(path: &Path) -> Result<Self> {
        let mut this = Self {
            path: path.to_path_buf(),
            end: 0,
            memory: vec![0; PIECE + ALIGN],
        };
        // Whatever is there.
        this.end = this
            .open()?
            .seek(SeekFrom::End(0))
            .with_context(|| format!("size of {}", path.display()))?;
        Ok(this)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self) -> Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlags::DIRECT.bits() as i32)
            .open(&self.path)
            .with_context(|| format!("disk {}", self.path.display()))
    }

    /// Makes the disk hold an image, and zeros behind it. The kernel sets zeros faster than anybody could find out
    /// where there are others.
    pub(super) fn put(&mut self, edit: &Edit<'_>) -> Result<()> {
        let about = || "the disk";
        let file = self.open()?;
        let size = edit.image().size();
        let old = std::mem::replace(&mut self.end, size).max(size);
        fallocate(&file, FallocateFlags::ZERO_RANGE, 0, old).with_context(about)?;
        let skip = self.memory.as_ptr().align_offset(ALIGN);
        let piece = &mut self.memory[skip..skip + PIECE];
        // Runs of units that are not all zeros.
        let (mut start, mut len) = (0, 0);
        for at in (0..size).step_by(ALIGN) {
            let first = at / PAGE as u64;
            let pages = (first..first + (ALIGN / PAGE) as u64).map(|nr| edit.page(nr));
            let some = pages.clone().any(|page| *page != [0; PAGE]);
            if len > 0 && (!some || len == PIECE) {
                file.write_all_at(&piece[..len], start)
                    .with_context(about)?;
                len = 0;
            }
            if some {
                if len == 0 {
                    start = at;
                }
                for page in pages {
                    piece[len..len + PAGE].copy_from_slice(page);
                    len += PAGE;
                }
            }
        }
        file.write_all_at(&piece[..len], start).with_context(about)
    }
}
