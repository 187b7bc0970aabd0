// SPDX-License-Identifier: GPL-2.0

//! The operations on content, and those that make something durable.

use super::Worker;
use crate::content;
use crate::history::{striped, Fallocate, How, NodeId, Op, Promise, Seq, STRIPE};
use crate::model::{own_name, STRIPED};
use anyhow::{ensure, Context, Result};
use rustix::fs::{
    fallocate, futimens, syncfs, FallocateFlags, OFlags, Timespec, Timestamps, UTIME_NOW,
};
use rustix::io::{pwritev2, Errno, ReadWriteFlags};
use std::fs::{self, File, OpenOptions};
use std::io::IoSlice;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;

/// Both times are the present.
const NOW: Timestamps = Timestamps {
    last_access: UTIME_NOW_SPEC,
    last_modification: UTIME_NOW_SPEC,
};
const UTIME_NOW_SPEC: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: UTIME_NOW,
};

const PAGE: u64 = 4096;
/// `RWF_ATOMIC`
const ATOMIC: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x40);
/// The longest atomic write, in bytes.
const MOST_ATOMIC: u64 = 64 << 10;

/// Writes to a file that is opened with `flags`; if they ask for direct I/O, from where that can take the bytes.
/// Returns whether it was done: an atomic write may be refused.
fn write(path: &Path, flags: OFlags, how: How, bytes: &[u8], offset: u64) -> Result<bool> {
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(flags.bits() as i32)
        .open(path)?;
    if !flags.contains(OFlags::DIRECT) {
        file.write_all_at(bytes, offset)?;
        return Ok(true);
    }
    let mut room = vec![0; bytes.len() + 4096];
    let start = room.as_ptr().align_offset(4096).min(4096);
    let aligned = &mut room[start..start + bytes.len()];
    aligned.copy_from_slice(bytes);
    if how != How::Atomic {
        file.write_all_at(aligned, offset)?;
        return Ok(true);
    }
    match pwritev2(&file, &[IoSlice::new(aligned)], offset, ATOMIC) {
        // No place for all of it in one piece, or somebody stores to the same pages.
        Err(Errno::NOSPC | Errno::AGAIN) => Ok(false),
        done => {
            let done = done.context("an atomic write")?;
            ensure!(done == bytes.len(), "{done} bytes of an atomic write");
            Ok(true)
        }
    }
}

fn flags(how: Fallocate) -> FallocateFlags {
    let size = |keep| match keep {
        true => FallocateFlags::KEEP_SIZE,
        false => FallocateFlags::empty(),
    };
    match how {
        Fallocate::Allocate { keep_size } => size(keep_size),
        Fallocate::Zero { keep_size } => FallocateFlags::ZERO_RANGE | size(keep_size),
        Fallocate::Punch => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        Fallocate::Collapse => FallocateFlags::COLLAPSE_RANGE,
        Fallocate::Insert => FallocateFlags::INSERT_RANGE,
    }
}

impl Worker<'_> {
    pub(super) fn write_own(&mut self) -> Result<()> {
        let Some((path, node)) = self.any_file() else {
            return self.make();
        };
        let (size, block) = (self.live[&node].size, self.shared.block);
        let len = match self.rng.u8(..8) {
            0 => self.rng.u64(1..600),
            1 => self.rng.u64(1..100_000),
            2 => 65_536,
            _ => self.rng.u64(1..=6) * block,
        };
        let offset = match self.rng.u8(..8) {
            0..=3 => size,
            4 => size + self.rng.u64(..100_000),
            _ => self.rng.u64(..=size),
        };
        self.write(&path, node, offset.min(4 << 20), len)
    }

    pub(super) fn write_striped(&mut self) -> Result<()> {
        let count = self.shared.done.len() as u64;
        let chunk = self.rng.u64(..96) * count + self.thread as u64;
        let (within, len) = if self.rng.bool() {
            (0, STRIPE)
        } else {
            let within = self.rng.u64(..STRIPE);
            (within, self.rng.u64(1..=STRIPE - within))
        };
        let path = self.shared.mount.join(STRIPED);
        self.write(&path, striped(self.thread), chunk * STRIPE + within, len)
    }

    fn write(&mut self, path: &Path, node: NodeId, mut offset: u64, mut len: u64) -> Result<()> {
        let (p, block) = (self.profile, self.shared.block);
        let roll = self.rng.u8(..16);
        let mut durable = self.rng.u8(..16) < p.durable;
        let direct = roll < p.direct;
        let is_striped = node == striped(self.thread);
        let atomic = direct && self.shared.atomic && self.rng.u8(..4) == 0;
        let live = self.live.get_mut(&node).context("a file")?;
        let mapped = !direct && roll < p.direct + p.mapped && live.size > 0;
        if direct {
            offset = offset / block * block;
            len = len.div_ceil(block) * block;
            if atomic {
                len = (block << (len / block).ilog2()).min(MOST_ATOMIC);
                offset = offset / len * len;
            }
            // In the shared file, others zero what is between the end and their blocks.
            durable &= !self.shared.fua || !live.unflushed && !is_striped;
        } else if mapped {
            // The mapping must not reach behind the end.
            if is_striped && offset + len > live.size {
                return Ok(());
            }
            offset = offset.min(live.size - 1);
            len = len.min(live.size - offset).min(16_384);
        }
        let how = match (mapped, atomic) {
            (true, _) => How::Mapped,
            (_, true) => How::Atomic,
            _ => How::Plain,
        };
        let seq = self.ops.len() as Seq + 1;
        let bytes = content::bytes(node, seq, offset, len as usize);
        let done = if mapped {
            self.helper.store(path, offset, &bytes, durable)?;
            true
        } else {
            let mut flags = OFlags::empty();
            flags.set(OFlags::DIRECT, direct);
            flags.set(OFlags::DSYNC, durable);
            write(path, flags, how, &bytes, offset)?
        };
        if !done {
            (offset, len) = (0, 0);
        }
        live.size = live.size.max(offset + len);
        live.unflushed |= !(direct && durable);
        self.did(Op::Write {
            node,
            offset,
            len,
            how,
        });
        if durable && done {
            let names = self.made.get(&node).copied().unwrap_or(0);
            self.promise(Promise::Range {
                node,
                seq,
                offset,
                len,
                names,
            })?;
        }
        Ok(())
    }

    /// Writes to a file that is open, through the page cache.
    pub(super) fn write_open(
        &mut self,
        file: &File,
        node: NodeId,
        offset: u64,
        len: u64,
    ) -> Result<()> {
        let seq = self.ops.len() as Seq + 1;
        file.write_all_at(&content::bytes(node, seq, offset, len as usize), offset)?;
        self.did(Op::Write {
            node,
            offset,
            len,
            how: How::Plain,
        });
        Ok(())
    }

    pub(super) fn truncate(&mut self) -> Result<()> {
        let Some((path, node)) = self.any_file() else {
            return self.make();
        };
        let live = self.live.get_mut(&node).context("a file")?;
        let size = match self.rng.u8(..4) {
            0 => 0,
            1 => live.size + self.rng.u64(..50_000),
            _ => self.rng.u64(..=live.size),
        };
        live.size = size;
        // The rest of the block is zeroed.
        live.unflushed = true;
        OpenOptions::new().write(true).open(path)?.set_len(size)?;
        self.did(Op::Truncate { node, size });
        Ok(())
    }

    /// Cuts a file to nothing and writes it anew, without a sync.
    pub(super) fn rewrite(&mut self) -> Result<()> {
        let Some((path, node)) = self.any_file() else {
            return self.make();
        };
        if self.live[&node].size == 0 {
            return self.write_own();
        }
        // Of a file that had nothing on the device nothing is lost.
        self.sync_file(&File::open(&path)?, node)?;
        let file = OpenOptions::new().write(true).truncate(true).open(&path)?;
        self.did(Op::Truncate { node, size: 0 });
        let mut offset = 0;
        for _ in 0..self.rng.u8(1..4) {
            let len = self.rng.u64(1..40_000);
            self.write_open(&file, node, offset, len)?;
            offset += len;
        }
        drop(file);
        let live = self.live.get_mut(&node).context("a file")?;
        (live.size, live.unflushed) = (offset, true);
        if self.shared.whole {
            self.did(Op::Whole { node });
        }
        Ok(())
    }

    pub(super) fn fallocate(&mut self) -> Result<()> {
        let Some((path, node)) = self.any_file() else {
            return self.make();
        };
        let (size, block) = (self.live[&node].size, self.shared.block);
        let keep_size = self.rng.bool();
        let how = match self.rng.u8(..8) {
            0 => Fallocate::Allocate { keep_size },
            1 | 2 => Fallocate::Zero { keep_size },
            3 | 4 => Fallocate::Punch,
            5 | 6 => Fallocate::Collapse,
            _ => Fallocate::Insert,
        };
        let (mut offset, mut len) = (self.rng.u64(..=size), self.rng.u64(1..50_000));
        if matches!(how, Fallocate::Collapse | Fallocate::Insert) {
            return self.shift(&path, node, how, offset / block * block);
        }
        if self.rng.bool() {
            offset = offset / block * block;
            len = len.div_ceil(block) * block;
        }
        let file = OpenOptions::new().write(true).open(path)?;
        fallocate(&file, flags(how), offset, len)?;
        let live = self.live.get_mut(&node).context("a file")?;
        live.size = how.size(size, offset, len);
        // Parts of blocks are zeroed.
        live.unflushed = true;
        self.did(Op::Fallocate {
            node,
            how,
            offset,
            len,
        });
        Ok(())
    }

    /// Moves what is behind byte `offset`, between two syncs of the file.
    fn shift(&mut self, path: &Path, node: NodeId, how: Fallocate, offset: u64) -> Result<()> {
        let (size, block) = (self.live[&node].size, self.shared.block);
        let most = match how {
            Fallocate::Collapse => size.saturating_sub(offset + 1) / block,
            _ if offset < size => 8,
            _ => 0,
        };
        if most == 0 {
            return Ok(());
        }
        let len = self.rng.u64(1..=most.min(40)) * block;
        let file = OpenOptions::new().write(true).open(path)?;
        self.sync_file(&file, node)?;
        match fallocate(&file, flags(how), offset, len) {
            // The journal cannot hold all that moves: nothing has.
            Err(Errno::NOSPC) => return Ok(()),
            done => done?,
        }
        self.live.get_mut(&node).context("a file")?.size = how.size(size, offset, len);
        self.did(Op::Fallocate {
            node,
            how,
            offset,
            len,
        });
        self.sync_file(&file, node)
    }

    /// Has a file get the blocks of another one, where that has none with data, and writes to both.
    pub(super) fn exchange(&mut self) -> Result<()> {
        let (Some(mut first), Some((donor_path, donor))) = (self.any_file(), self.any_file())
        else {
            return self.make();
        };
        let is_striped = self.rng.u8(..4) == 0;
        if is_striped {
            // Others write to it meanwhile.
            first = (self.shared.mount.join(STRIPED), striped(self.thread));
        }
        let ((path, node), block) = (first, self.shared.block);
        let (size, donor_size) = (self.live[&node].size, self.live[&donor].size);
        // Nobody gets blocks of a program that runs as somebody else.
        let is_program = fs::metadata(&donor_path)?.mode() & 0o6000 != 0;
        if node == donor || size == 0 || is_program {
            return Ok(());
        }
        // Blocks keep their place in a page.
        let offset = self.rng.u64(..size) / block * block;
        let donor_offset = self.rng.u64(..8) * PAGE + offset % PAGE;
        let len = (self.rng.u64(1..=40) * block).min((size - offset).div_ceil(block) * block);
        let zero = Fallocate::Zero { keep_size: false };
        let file = OpenOptions::new().write(true).open(&donor_path)?;
        fallocate(&file, flags(zero), donor_offset, len)?;
        let live = self.live.get_mut(&donor).context("a file")?;
        live.size = zero.size(donor_size, donor_offset, len);
        live.unflushed = true;
        self.did(Op::Fallocate {
            node: donor,
            how: zero,
            offset: donor_offset,
            len,
        });
        if self.rng.bool() {
            self.sync_file(&File::open(&path)?, node)?;
        }
        let starts = [offset / block, donor_offset / block];
        let exchanged = self
            .helper
            .exchange([&path, &donor_path], starts, len / block)?;
        match exchanged {
            // For a node of a tree of extents. Each block is exchanged or not.
            Ok(()) | Err(Errno::NOSPC) => (),
            failed => failed.context("an exchange of blocks")?,
        }
        self.did(Op::Exchange {
            node,
            donor,
            offset,
            donor_offset,
            len,
        });
        for _ in 0..2 {
            match self.rng.u8(..3) {
                0 if is_striped => self.write_striped()?,
                0 => self.write(&path, node, offset, len)?,
                _ => self.write(&donor_path, donor, donor_offset, len)?,
            }
        }
        Ok(())
    }

    /// `fdatasync`, and what it promises: of the names only that there is the file.
    fn sync_file(&mut self, file: &File, node: NodeId) -> Result<()> {
        let seq = self.ops.len() as Seq;
        file.sync_data()?;
        self.live.get_mut(&node).context("a file")?.unflushed = false;
        let names = self.made.get(&node).copied().unwrap_or(0);
        self.promise(Promise::File { node, seq, names })
    }

    pub(super) fn sync(&mut self) -> Result<()> {
        let seq = self.ops.len() as Seq;
        match self.rng.u8(..20) {
            0 => self.sync_all(),
            // The upper loop device has no discard.
            16 if self.shared.fua => self.trim(),
            17 if self.thread == 0 => self.label(),
            1..=3 => {
                let dir = self.any_dir();
                let names = self.named.get(&dir).copied().unwrap_or(0);
                File::open(self.dir_path(dir))?.sync_all()?;
                self.promise(Promise::Names { names })
            }
            4 | 5 => self.overwrite(),
            kind => {
                let (path, node) =
                    if self.rng.u32(..self.profile.striped + 20) < self.profile.striped {
                        (self.shared.mount.join(STRIPED), striped(self.thread))
                    } else {
                        let Some(file) = self.any_file() else {
                            return self.make();
                        };
                        file
                    };
                // fdatasync: what is needed to find the data; of the names only that there is the file.
                let (names, file) = (
                    if kind < 10 { &self.made } else { &self.named },
                    File::open(path)?,
                );
                let names = names.get(&node).copied().unwrap_or(0);
                if kind < 10 {
                    file.sync_data()?;
                } else {
                    file.sync_all()?;
                }
                self.live.get_mut(&node).context("a file")?.unflushed = false;
                self.promise(Promise::File { node, seq, names })
            }
        }
    }

    /// Trims a part of the volume: what was freed must not be needed by anybody, whenever the power is cut.
    fn trim(&mut self) -> Result<()> {
        let start = self.rng.u64(..8 << 20);
        let (len, least) = (self.rng.u64(1 << 20..32 << 20), self.rng.u64(..32 << 10));
        self.helper.trim(&self.shared.mount, start, len, least)
    }

    /// Gives the volume another name, which `sync` makes durable.
    fn label(&mut self) -> Result<()> {
        let name = format!("volume-{}", self.ops.len() + 1);
        self.helper.label(&self.shared.mount, &name)?;
        self.did(Op::Label { name });
        Ok(())
    }

    /// Writes where there are blocks, and makes all metadata durable in another way: the device's cache is all that is
    /// left to flush.
    fn overwrite(&mut self) -> Result<()> {
        let block = self.shared.block;
        let Some((path, node)) = self.any_file() else {
            return self.make();
        };
        let live = self.live.get_mut(&node).context("a file")?;
        if live.size < block {
            return self.write_own();
        }
        let file = OpenOptions::new().write(true).open(&path)?;
        file.sync_data()?;
        let offset = self.rng.u64(..live.size / block) * block;
        let seq = self.ops.len() as Seq + 1;
        let bytes = content::bytes(node, seq, offset, block as usize);
        let mut flags = OFlags::empty();
        flags.set(OFlags::DIRECT, self.rng.bool());
        write(&path, flags, How::Plain, &bytes, offset)?;
        self.did(Op::Write {
            node,
            offset,
            len: block,
            how: How::Plain,
        });
        if self.rng.bool() {
            // The file's new times go with those of the directory.
            let dir = File::open(self.shared.mount.join(own_name(self.thread)))?;
            futimens(&dir, &NOW)?;
            dir.sync_all()?;
            return self.sync_all();
        }
        self.sync_file(&file, node)
    }

    fn sync_all(&mut self) -> Result<()> {
        let done = self.shared.done.iter().map(|d| d.load(SeqCst)).collect();
        if self.rng.bool() {
            syncfs(File::open(&self.shared.mount)?)?;
        } else {
            rustix::fs::sync();
        }
        self.live.values_mut().for_each(|l| l.unflushed = false);
        self.promise(Promise::All { done })
    }
}
