// SPDX-License-Identifier: GPL-2.0

//! A device: an image file that is only read, and what was written over it in memory.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// A device in units of blocks. A clone is a snapshot: it costs the pointers to what was written.
#[derive(Clone, Debug)]
pub struct Device {
    file: Arc<File>,
    block_size: usize,
    blocks: u64,
    written: BTreeMap<u64, Arc<[u8]>>,
}

impl Device {
    /// Opens an image. The file is not changed before [`Self::save`].
    pub fn open(path: &Path, block_size: u32) -> io::Result<Self> {
        let file = File::open(path)?;
        let blocks = file.metadata()?.len() / u64::from(block_size);
        Ok(Self {
            file: Arc::new(file),
            block_size: block_size as usize,
            blocks,
            written: BTreeMap::new(),
        })
    }

    /// Size of a block in bytes.
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// How many blocks the device has.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Reads a block.
    ///
    /// # Panics
    ///
    /// Where there is no such block, or the image file cannot be read.
    pub fn read(&self, nr: u64) -> Arc<[u8]> {
        assert!(nr < self.blocks, "read past the end of the device: {nr}");
        if let Some(bytes) = self.written.get(&nr) {
            return bytes.clone();
        }
        let mut bytes = vec![0; self.block_size];
        self.file
            .read_exact_at(&mut bytes, nr * self.block_size as u64)
            .expect("image file cannot be read");
        bytes.into()
    }

    /// Writes a block.
    ///
    /// # Panics
    ///
    /// Where there is no such block, or `bytes` is not a block long.
    pub fn write(&mut self, nr: u64, bytes: Arc<[u8]>) {
        assert!(nr < self.blocks, "write past the end of the device: {nr}");
        assert_eq!(bytes.len(), self.block_size);
        self.written.insert(nr, bytes);
    }

    /// Writes everything that was written to an image file that has the same contents as the one opened.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        for (nr, bytes) in &self.written {
            file.write_all_at(bytes, nr * self.block_size as u64)?;
        }
        Ok(())
    }
}
