// SPDX-License-Identifier: GPL-2.0

//! What memory the kernel takes for an open file and for an extent that it knows.
//!
//! Counted is what the kernel's allocators handed out (objects of slabs, vmalloc; pieces over 8 KiB are not told), not
//! the cached blocks of the device, which are the same for each. Objects, and not slabs: others may have left some that
//! are half empty.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::data::{open_direct, Aligned};
use super::files::names;

/// What is allocated in the kernel, in bytes.
fn allocated() -> Result<i64> {
    let vmalloc = meminfo(&fs::read_to_string("/proc/meminfo")?, "VmallocUsed")?;
    let slabs = objects(&fs::read_to_string("/proc/slabinfo").context("/proc/slabinfo")?)?;
    Ok(slabs + vmalloc)
}

fn meminfo(text: &str, field: &str) -> Result<i64> {
    let line = text.lines().find(|l| l.split(':').next() == Some(field));
    let value = line
        .and_then(|l| l.split_whitespace().nth(1))
        .with_context(|| format!("no {field} in meminfo"))?;
    Ok(value.parse::<i64>()? * 1024)
}

/// `/proc/slabinfo`: lines `NAME ACTIVE OBJECTS SIZE ...` after two lines of headings.
fn objects(text: &str) -> Result<i64> {
    text.lines().skip(2).try_fold(0, |sum, line| {
        let mut words = line.split_whitespace().skip(1);
        let mut next = || {
            words
                .next()
                .and_then(|w| w.parse::<i64>().ok())
                .with_context(|| format!("slabinfo: {line}"))
        };
        let (active, _, size) = (next()?, next()?, next()?);
        Ok(sum + active * size)
    })
}

pub(super) fn open_files(at: &Path, count: u32, dirs: u32) -> Result<()> {
    let names = names(at, count, dirs);
    let mut open = Vec::with_capacity(names.len());
    let before = allocated()?;
    for name in &names {
        open.push(File::open(name).with_context(|| name.display().to_string())?);
    }
    println!("bytes {}", (allocated()? - before) / i64::from(count));
    Ok(())
}

/// Direct reads: nothing but the map is kept of them.
pub(super) fn extents(at: &Path, count: u32) -> Result<()> {
    let mut block = Aligned::new(4096, 0);
    let file = open_direct(at, false)?;
    let before = allocated()?;
    for i in 0..u64::from(count) {
        file.read_exact_at(block.bytes_mut(), 2 * i * 4096)?;
    }
    println!("bytes {}", (allocated()? - before) / i64::from(count));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_objects_are_summed_up() {
        let text = "slabinfo - version: 2.1\n# name <active_objs> <num_objs> <objsize>\n\
                    inode 10 12 100 1 1 : tunables\nother 3 3 8 1 1 : tunables\n";
        assert_eq!(objects(text).unwrap(), 1024);
        assert!(objects("a\nb\nc d e f\n").is_err());
        assert_eq!(
            meminfo("MemFree: 5 kB\nVmallocUsed:  3 kB\n", "VmallocUsed").unwrap(),
            3072
        );
        assert!(meminfo("MemFree: 5 kB\n", "Mem").is_err());
    }
}
