// SPDX-License-Identifier: GPL-2.0

//! The log of dm-log-writes: what was written to a device, and in which order it became durable.
//!
//! On the log device: one sector with the super block, then for each entry one sector that describes it, followed by
//! its data. Sectors are as large as the logged device's logical blocks. All numbers are little-endian.
//! (`drivers/md/dm-log-writes.c`.)
//!
//! # Order
//!
//! A write is logged when the next flush has completed that was issued after the write had completed: all of them
//! together, in the order in which they completed, and then the flush. A FUA write and a mark are logged at once. So
//! a log that is cut in front of a group of plain writes or behind its flush is what a device with a volatile cache
//! guarantees at that moment; of the group itself any part may be there just before the flush.
//!
//! This holds only where no two flushes are under way at the same time (see `volume.rs`), and where no FUA write goes
//! to blocks of a plain write that is still to be flushed.

use crate::disk::DISCARDED;
use anyhow::{bail, ensure, Context, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1 << 0;
const FUA: u64 = 1 << 1;
const DISCARD: u64 = 1 << 2;
const MARK: u64 = 1 << 3;
const HEADER: u64 = 32;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A write that was in the device's cache until the next flush.
    Write,
    /// A write that was durable when it completed.
    Fua,
    /// The range's content is of no use any more.
    Discard,
    /// The cache was written out.
    Flush,
    /// What the workload wants to be remembered here.
    Mark(String),
}

/// One entry. Offsets and lengths are in bytes.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Where on the logged device.
    pub offset: u64,
    /// How much of it.
    pub len: u64,
    /// Where the data is in the log.
    data: u64,
}

/// A log that was read: its index in memory, its data in the file.
pub struct Log {
    file: File,
    /// All entries, in their order.
    pub entries: Vec<Entry>,
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

impl Log {
    /// Reads the log that is in the file or device `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let file =
            File::open(path).with_context(|| format!("cannot open the log {}", path.display()))?;
        let mut sector = vec![0; 512];
        file.read_exact_at(&mut sector, 0)
            .context("the log's super block")?;
        ensure!(
            le64(&sector, 0) == MAGIC,
            "{} is not a log of dm-log-writes",
            path.display()
        );
        ensure!(
            le64(&sector, 8) == VERSION,
            "a log of version {}",
            le64(&sector, 8)
        );
        let count = le64(&sector, 16);
        let size = u64::from(u32::from_le_bytes([
            sector[24], sector[25], sector[26], sector[27],
        ]));
        ensure!(
            size.is_power_of_two() && (512..=65536).contains(&size),
            "sectors of {size} bytes"
        );
        let mut entries = Vec::new();
        let mut at = size;
        sector.resize(size as usize, 0);
        for number in 0..count {
            file.read_exact_at(&mut sector, at)
                .with_context(|| format!("entry {number} of {count}"))?;
            let (start, sectors, flags, text) = (
                le64(&sector, 0),
                le64(&sector, 8),
                le64(&sector, 16),
                le64(&sector, 24),
            );
            let data = at + size;
            let kind = if flags & MARK != 0 {
                ensure!(
                    text <= size - HEADER,
                    "entry {number}: a mark of {text} bytes"
                );
                let end = (HEADER + text) as usize;
                Kind::Mark(String::from_utf8_lossy(&sector[HEADER as usize..end]).into_owned())
            } else if flags & DISCARD != 0 {
                Kind::Discard
            } else if flags & FUA != 0 {
                Kind::Fua
            } else if flags & FLUSH != 0 {
                ensure!(sectors == 0, "entry {number}: a flush with data");
                Kind::Flush
            } else {
                Kind::Write
            };
            at = data;
            if kind != Kind::Discard {
                at += sectors.checked_mul(size).context("an entry's length")?;
            }
            let offset = start.checked_mul(size).context("an entry's place")?;
            entries.push(Entry {
                kind,
                offset,
                len: sectors * size,
                data,
            });
        }
        match entries.last() {
            Some(Entry {
                kind: Kind::Mark(text),
                ..
            }) if text == "dm-log-writes-end" => {}
            _ => bail!("the log ends early: its device was full, or the target is still there"),
        }
        Ok(Log { file, entries })
    }

    /// The last entries that wrote a byte, in words.
    pub fn writers(&self, at: u64) -> String {
        let of = |(number, e): (usize, &Entry)| {
            let covers = e.offset <= at && at - e.offset < e.len;
            covers.then(|| format!("entry {number} ({:?})", e.kind))
        };
        let all: Vec<_> = self.entries.iter().enumerate().filter_map(of).collect();
        all[all.len().saturating_sub(6)..].join(", ")
    }

    /// The bytes that an entry wrote; none for a flush or mark.
    pub fn data(&self, entry: &Entry) -> Result<Vec<u8>> {
        match entry.kind {
            Kind::Write | Kind::Fua => {
                let mut bytes = vec![0; entry.len as usize];
                self.file
                    .read_exact_at(&mut bytes, entry.data)
                    .context("an entry's data")?;
                Ok(bytes)
            }
            Kind::Discard => Ok(vec![DISCARDED; entry.len as usize]),
            Kind::Flush | Kind::Mark(_) => Ok(Vec::new()),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A log made by hand, of sectors of 512 bytes: `(flags, first sector, data or mark)`.
    pub fn make(name: &str, entries: &[(u64, u64, Vec<u8>)]) -> std::path::PathBuf {
        let mut out = vec![0; 512];
        out[0..8].copy_from_slice(&MAGIC.to_le_bytes());
        out[8..16].copy_from_slice(&VERSION.to_le_bytes());
        out[16..24].copy_from_slice(&(entries.len() as u64 + 1).to_le_bytes());
        out[24..28].copy_from_slice(&512u32.to_le_bytes());
        let end = (MARK, 0, b"dm-log-writes-end".to_vec());
        for (flags, sector, data) in entries.iter().chain([&end]) {
            let mut head = vec![0; 512];
            let mark = flags & MARK != 0;
            let sectors = if mark { 0 } else { data.len() as u64 / 512 };
            head[0..8].copy_from_slice(&sector.to_le_bytes());
            head[8..16].copy_from_slice(&sectors.to_le_bytes());
            head[16..24].copy_from_slice(&flags.to_le_bytes());
            if mark {
                head[24..32].copy_from_slice(&(data.len() as u64).to_le_bytes());
                head[32..32 + data.len()].copy_from_slice(data);
            }
            out.extend(head);
            if !mark && flags & DISCARD == 0 {
                out.extend(data);
            }
        }
        let path =
            std::env::temp_dir().join(format!("iomapfs-crash-{}-{name}", std::process::id()));
        std::fs::write(&path, out).unwrap();
        path
    }

    pub const W: u64 = 0;
    pub const F: u64 = FLUSH;
    pub const U: u64 = FUA;
    pub const D: u64 = DISCARD;
    pub const M: u64 = MARK;

    #[test]
    fn a_log_made_by_hand_is_read() {
        let path = make(
            "read",
            &[
                (W, 8, vec![1; 1024]),
                (F, 0, vec![]),
                (M, 0, b"7".to_vec()),
                (U | 16, 16, vec![2; 512]),
                (D, 0, vec![0; 2048]),
                (W, 1, vec![3; 512]),
            ],
        );
        let log = Log::open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        let seen: Vec<_> = log
            .entries
            .iter()
            .map(|e| (e.kind.clone(), e.offset, e.len))
            .collect();
        assert_eq!(
            seen,
            [
                (Kind::Write, 4096, 1024),
                (Kind::Flush, 0, 0),
                (Kind::Mark("7".into()), 0, 0),
                (Kind::Fua, 8192, 512),
                (Kind::Discard, 0, 2048),
                (Kind::Write, 512, 512),
                (Kind::Mark("dm-log-writes-end".into()), 0, 0),
            ]
        );
        assert_eq!(log.data(&log.entries[0]).unwrap(), vec![1; 1024]);
        assert_eq!(log.data(&log.entries[3]).unwrap(), vec![2; 512]);
        assert_eq!(log.data(&log.entries[5]).unwrap(), vec![3; 512]);
        assert_ne!(log.data(&log.entries[4]).unwrap(), vec![0; 2048]);
    }

    #[test]
    fn what_is_no_log_is_refused() {
        let path = make("bad", &[(W, 8, vec![1; 1024])]);
        let good = std::fs::read(&path).unwrap();
        for (at, value) in [(0, 0), (8, 9), (16, 200), (24, 3)] {
            let mut bad = good.clone();
            bad[at] = value;
            std::fs::write(&path, bad).unwrap();
            assert!(Log::open(&path).is_err(), "byte {at}");
        }
        std::fs::remove_file(path).unwrap();
    }
}
