// SPDX-License-Identifier: GPL-2.0

//! Images in memory, and changes to them that leave the original as it is.

use anyhow::{ensure, Context, Result};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

/// Unit of what is kept: no block of a file system is smaller.
pub const PAGE: usize = 1024;

/// Bytes of a page.
pub type Page = [u8; PAGE];

/// An image, without its pages of zeros.
pub struct Image {
    name: String,
    size: u64,
    pages: BTreeMap<u64, Box<Page>>,
}

impl Image {
    /// Reads an image file.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("image {}", path.display()))?;
        ensure!(
            bytes.len() % PAGE == 0,
            "{}: not whole KiB long",
            path.display()
        );
        let all = bytes.chunks_exact(PAGE).map(|page| {
            let page: Page = page.try_into().unwrap_or([0; PAGE]);
            page
        });
        let pages = (0..).zip(all).filter(|(_, page)| *page != [0; PAGE]);
        let pages = pages.map(|(nr, page)| (nr, Box::new(page))).collect();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Ok(Self {
            name: name.into_owned(),
            size: bytes.len() as u64,
            pages,
        })
    }

    /// Reads all images (`*.img`) of a folder, in the order of their names.
    pub fn load_all(folder: &Path) -> Result<Vec<Self>> {
        let about = || format!("folder of images {}", folder.display());
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).with_context(about)? {
            let path = entry.with_context(about)?.path();
            if path.extension().is_some_and(|e| e == "img") {
                paths.push(path);
            }
        }
        ensure!(!paths.is_empty(), "{}: no image", folder.display());
        paths.sort();
        paths.iter().map(|path| Self::load(path)).collect()
    }

    /// The file's name without its ending.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// A page; `None` where it is all zeros.
    pub fn page(&self, nr: u64) -> Option<&Page> {
        self.pages.get(&nr).map(|page| &**page)
    }

    /// Reads an image again that [`Edit::save`] has written, as changes to this one.
    pub fn differences(&self, path: &Path) -> Result<Edit<'_>> {
        let other = Self::load(path)?;
        let mut edit = Edit::new(self);
        for nr in 0..self.size / PAGE as u64 {
            let page = other.page(nr).unwrap_or(&[0; PAGE]);
            if page != self.page(nr).unwrap_or(&[0; PAGE]) {
                edit.write(nr * PAGE as u64, page);
            }
        }
        Ok(edit)
    }
}

/// An image with changes.
#[derive(Clone)]
pub struct Edit<'i> {
    image: &'i Image,
    changed: BTreeMap<u64, Box<Page>>,
}

impl<'i> Edit<'i> {
    /// No changes yet.
    pub fn new(image: &'i Image) -> Self {
        Self {
            image,
            changed: BTreeMap::new(),
        }
    }

    /// The image that is changed.
    pub fn image(&self) -> &'i Image {
        self.image
    }

    /// The pages that were written, by number.
    pub fn changed(&self) -> impl Iterator<Item = (u64, &Page)> {
        self.changed.iter().map(|(nr, page)| (*nr, &**page))
    }

    /// A page as it is now.
    pub fn page(&self, nr: u64) -> &Page {
        self.changed
            .get(&nr)
            .map(|page| &**page)
            .or_else(|| self.image.page(nr))
            .unwrap_or(&[0; PAGE])
    }

    /// Reads bytes; zeros behind the end.
    pub fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let at = at + bytes.len() as u64;
            let from = (at % PAGE as u64) as usize;
            let part = &self.page(at / PAGE as u64)[from..];
            let part = &part[..part.len().min(len - bytes.len())];
            bytes.extend_from_slice(part);
        }
        bytes
    }

    /// Writes bytes; what is behind the end is not written.
    pub fn write(&mut self, at: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let at = at + done as u64;
            if at >= self.image.size {
                return;
            }
            let nr = at / PAGE as u64;
            let from = (at % PAGE as u64) as usize;
            let len = (PAGE - from).min(bytes.len() - done);
            let old = *self.page(nr);
            let page = self.changed.entry(nr).or_insert_with(|| Box::new(old));
            page[from..from + len].copy_from_slice(&bytes[done..done + len]);
            done += len;
        }
    }

    /// A number of `width` bytes, the least first.
    pub fn get(&self, at: u64, width: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(&self.read(at, width));
        u64::from_le_bytes(bytes)
    }

    /// Sets a number of `width` bytes, the least first.
    pub fn set(&mut self, at: u64, width: usize, value: u64) {
        self.write(at, &value.to_le_bytes()[..width]);
    }

    /// Like [`Self::get`], the greatest byte first, as in the journal.
    pub fn get_be(&self, at: u64, width: usize) -> u64 {
        self.read(at, width)
            .iter()
            .fold(0, |n, byte| n << 8 | u64::from(*byte))
    }

    /// Like [`Self::set`], the greatest byte first.
    pub fn set_be(&mut self, at: u64, width: usize, value: u64) {
        self.write(at, &value.to_be_bytes()[8 - width..]);
    }

    /// Writes all of it to a new file, with holes for zeros.
    pub fn save(&self, path: &Path) -> Result<()> {
        use std::os::unix::fs::FileExt;
        let about = || format!("image {}", path.display());
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(about)
            }
            _ => {}
        }
        let file = File::create(path).with_context(about)?;
        file.set_len(self.image.size).with_context(about)?;
        for nr in 0..self.image.size / PAGE as u64 {
            let page = self.page(nr);
            if *page != [0; PAGE] {
                file.write_all_at(page, nr * PAGE as u64)
                    .with_context(about)?;
            }
        }
        Ok(())
    }
}
