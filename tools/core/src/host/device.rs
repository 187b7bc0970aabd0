// SPDX-License-Identifier: GPL-2.0

//! A device: an image, in a file that is only read or in memory, and what was written over it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// What is under the blocks that were written.
#[derive(Clone, Debug)]
enum Base {
    File(Arc<File>),
    Memory(Arc<Vec<Arc<[u8]>>>),
}

/// A device in units of blocks. A clone is a snapshot: it costs the pointers to what was written.
#[derive(Clone, Debug)]
pub struct Device {
    base: Base,
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
            base: Base::File(Arc::new(file)),
            block_size: block_size as usize,
            blocks,
            written: BTreeMap::new(),
        })
    }

    /// A device that begins with these blocks, of which there is at least one.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub fn of_blocks(blocks: Arc<Vec<Arc<[u8]>>>) -> Self {
        Self {
            block_size: blocks.first().expect("a device has blocks").len(),
            blocks: blocks.len() as u64,
            base: Base::Memory(blocks),
            written: BTreeMap::new(),
        }
    }

    /// What was written, the last of each block.
    pub fn written(&self) -> impl Iterator<Item = (u64, &Arc<[u8]>)> {
        self.written.iter().map(|(nr, bytes)| (*nr, bytes))
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
        match &self.base {
            Base::Memory(blocks) => blocks[nr as usize].clone(),
            Base::File(file) => {
                let mut bytes = vec![0; self.block_size];
                file.read_exact_at(&mut bytes, nr * self.block_size as u64)
                    .expect("image file cannot be read");
                bytes.into()
            }
        }
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
