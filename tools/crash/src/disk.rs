// SPDX-License-Identifier: GPL-2.0

//! A small device in memory, as the log leaves it: where it is all zeros, it takes no space.

use anyhow::{ensure, Context, Result};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

const CHUNK: usize = 65536;

/// What is in place of discarded bytes: no reader may rely on them, so they are not zeros.
pub const DISCARDED: u8 = 0xd1;

/// What is in blocks that nobody ever wrote. Not zeros: those are right in a hole, so a block that a file shows without
/// its data would not be seen. Not [`DISCARDED`] either, because that is not compared.
pub const UNUSED: u8 = 0xe5;

/// Makes an image file of `size` bytes for mkfs to work on.
pub fn unused(path: &Path, size: u64) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    let chunk = [UNUSED; CHUNK];
    let mut at = 0;
    while at < size {
        let len = CHUNK.min((size - at) as usize);
        file.write_all_at(&chunk[..len], at)?;
        at += len as u64;
    }
    Ok(())
}

/// The bytes of a device.
pub struct Disk {
    /// `None` is all zeros.
    chunks: Vec<Option<Box<[u8]>>>,
    size: u64,
}

impl Disk {
    /// The content of an image file.
    pub fn read(path: &Path) -> Result<Self> {
        let mut file =
            File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let size = file.metadata()?.len();
        let mut disk = Disk {
            chunks: Vec::new(),
            size,
        };
        let mut at = 0;
        while at < size {
            let mut chunk = vec![0; CHUNK.min((size - at) as usize)];
            file.read_exact(&mut chunk)?;
            at += chunk.len() as u64;
            disk.chunks.push(
                chunk
                    .iter()
                    .any(|b| *b != 0)
                    .then(|| chunk.into_boxed_slice()),
            );
        }
        Ok(disk)
    }

    /// Another device with the same content.
    pub fn copy(&self) -> Self {
        Disk {
            chunks: self.chunks.clone(),
            size: self.size,
        }
    }

    /// A write to the device.
    pub fn write(&mut self, mut offset: u64, mut bytes: &[u8]) -> Result<()> {
        ensure!(
            offset
                .checked_add(bytes.len() as u64)
                .is_some_and(|end| end <= self.size),
            "a write of {} bytes at {offset}, behind the end of the device",
            bytes.len()
        );
        while !bytes.is_empty() {
            let index = (offset / CHUNK as u64) as usize;
            let within = (offset % CHUNK as u64) as usize;
            let full = CHUNK.min((self.size - (index * CHUNK) as u64) as usize);
            let len = bytes.len().min(full - within);
            let chunk = self.chunks[index].get_or_insert_with(|| vec![0; full].into_boxed_slice());
            chunk[within..within + len].copy_from_slice(&bytes[..len]);
            bytes = &bytes[len..];
            offset += len as u64;
        }
        Ok(())
    }

    /// Makes an image file that has this content and nothing else.
    pub fn put(&self, file: &File) -> Result<()> {
        file.set_len(0)?;
        file.set_len(self.size)?;
        for (i, chunk) in self.chunks.iter().enumerate() {
            if let Some(chunk) = chunk {
                file.write_all_at(chunk, (i * CHUNK) as u64)?;
            }
        }
        Ok(())
    }

    /// The first place where an image file has other bytes; what was discarded may be anything.
    pub fn differs(&self, path: &Path) -> Result<Option<u64>> {
        let other = Disk::read(path)?;
        ensure!(
            other.size == self.size,
            "{} bytes and {}",
            self.size,
            other.size
        );
        let zeros = vec![0; CHUNK];
        for (i, (a, b)) in self.chunks.iter().zip(&other.chunks).enumerate() {
            let a = a.as_deref().unwrap_or(&zeros);
            let b = b.as_deref().unwrap_or(&zeros);
            if let Some(at) = a.iter().zip(b).position(|(a, b)| a != b && *a != DISCARDED) {
                return Ok(Some((i * CHUNK + at) as u64));
            }
        }
        Ok(None)
    }
}

/// Compresses an image file (`gzip`), so that it can be kept.
pub fn compress(from: &Path, to: &Path) -> Result<()> {
    let mut input = File::open(from)?;
    let mut output = flate2::write::GzEncoder::new(File::create(to)?, flate2::Compression::fast());
    std::io::copy(&mut input, &mut output)?;
    output.finish()?.flush()?;
    Ok(())
}

/// The opposite of [`compress`]; runs of zeros become holes.
pub fn expand(from: &Path, to: &Path) -> Result<()> {
    let input = File::open(from).with_context(|| format!("cannot open {}", from.display()))?;
    let mut input = flate2::read::GzDecoder::new(input);
    let output = File::create(to)?;
    let mut chunk = vec![0; CHUNK];
    let mut at = 0;
    loop {
        let len = input.read(&mut chunk)?;
        if len == 0 {
            break;
        }
        if chunk[..len].iter().any(|b| *b != 0) {
            output.write_all_at(&chunk[..len], at)?;
        }
        at += len as u64;
    }
    output.set_len(at)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_for_mkfs_has_no_zeros() {
        let path = std::env::temp_dir().join(format!("iomapfs-crash-new-{}", std::process::id()));
        unused(&path, 200_000).unwrap();
        let made = std::fs::read(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(made, vec![UNUSED; 200_000]);
    }

    #[test]
    fn an_image_is_what_was_written() {
        let path = std::env::temp_dir().join(format!("iomapfs-crash-disk-{}", std::process::id()));
        let packed = path.with_extension("gz");
        let mut want = vec![0u8; 200_000];
        std::fs::write(&path, &want).unwrap();
        let mut disk = Disk::read(&path).unwrap();
        for (offset, len, value) in [
            (0usize, 512usize, 1u8),
            (65_000, 70_000, 2),
            (199_000, 1000, 3),
            (130_000, 512, 4),
        ] {
            want[offset..offset + len].fill(value);
            disk.write(offset as u64, &vec![value; len]).unwrap();
        }
        assert!(disk.write(199_001, &[0; 1000]).is_err());
        assert_eq!(disk.differs(&path).unwrap(), Some(0));
        disk.put(&File::options().write(true).open(&path).unwrap())
            .unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), want);
        assert_eq!(disk.differs(&path).unwrap(), None);
        compress(&path, &packed).unwrap();
        expand(&packed, &path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), want);
        std::fs::remove_file(path).unwrap();
        std::fs::remove_file(packed).unwrap();
    }
}
