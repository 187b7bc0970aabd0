// SPDX-License-Identifier: GPL-2.0

//! The RAM disk that images are put on. Nothing is left of an image when the next one comes.
//!
//! All goes past the page cache of the device, which is empty while nothing is mounted.

use crate::image::{Edit, PAGE};
use anyhow::{Context, Result};
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes that are read or written at once.
const PIECE: usize = 256 * 1024;
/// What the memory of a direct transfer is aligned to.
const ALIGN: usize = 4096;

/// See the top of the file.
pub(super) struct Disk {
    path: PathBuf,
    size: u64,
    memory: Vec<u8>,
}

impl Disk {
    pub(super) fn new(path: &Path) -> Result<Self> {
        let mut this = Self {
            path: path.to_path_buf(),
            size: 0,
            memory: vec![0; 2 * PIECE],
        };
        this.size = this
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
            .custom_flags(rustix::fs::OFlags::DIRECT.bits() as i32)
            .open(&self.path)
            .with_context(|| format!("disk {}", self.path.display()))
    }

    /// Makes the disk hold an image, and zeros behind it. Only what is different is written.
    pub(super) fn put(&mut self, edit: &Edit<'_>) -> Result<()> {
        let about = || "the disk";
        let file = self.open()?;
        let skip = self.memory.as_ptr().align_offset(ALIGN);
        let there = &mut self.memory[skip..skip + PIECE];
        for at in (0..self.size).step_by(PIECE) {
            let len = (self.size - at).min(PIECE as u64) as usize;
            let piece = &mut there[..len];
            file.read_exact_at(piece, at).with_context(about)?;
            // In the units in which memory is aligned.
            for (i, part) in piece.chunks_mut(ALIGN).enumerate() {
                let at = at + (i * ALIGN) as u64;
                let mut same = true;
                for (j, page) in part.chunks_mut(PAGE).enumerate() {
                    let wanted = edit.page(at / PAGE as u64 + j as u64);
                    if page != wanted {
                        page.copy_from_slice(wanted);
                        same = false;
                    }
                }
                if !same {
                    file.write_all_at(part, at).with_context(about)?;
                }
            }
        }
        Ok(())
    }
}
