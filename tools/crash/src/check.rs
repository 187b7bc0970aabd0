// SPDX-License-Identifier: GPL-2.0

//! What is done with the image that a power cut left: recovery, comparison, a little work, e2fsck.

use crate::content;
use crate::model::Model;
use crate::volume::{output, Loop, Mounted};
use anyhow::{bail, ensure, Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Who brings the volume back.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
pub enum Recovery {
    /// A mount of the file system under test.
    Own,
    /// A mount of the kernel's ext4.
    Ext4,
    /// `e2fsck -fy`; what it leaves is mounted by the file system under test.
    Fsck,
}

/// What e2fsck mends after any power cut, of ext4 too: the counts of the super block, which are not in the journal;
/// the orphan file, whose orphans it has just dealt with; trees that are well, but could be smaller.
const ORDINARY: [&str; 5] = [
    "Free blocks count wrong (",
    "Free inodes count wrong (",
    "Orphan file (inode ",
    "Feature orphan_present is set but orphan file is clean.",
    " Optimize? yes",
];

/// Is all that e2fsck said it mends [`ORDINARY`]?
fn is_ordinary(said: &str) -> bool {
    let lines: Vec<_> = said.lines().filter(|line| !line.is_empty()).collect();
    let asks = |line: &str| line.contains("? yes");
    lines.iter().enumerate().all(|(i, line)| {
        // The problem is in this line, or in the one before; but a line that asks has said all about another problem.
        let before = i.checked_sub(1).map(|i| lines[i]).filter(|l| !asks(l));
        !asks(line)
            || ORDINARY
                .iter()
                .any(|what| line.contains(what) || before.is_some_and(|b| b.contains(what)))
    })
}

/// The name of the volume, which a mount has brought up to date on the device if it was in the journal.
fn label(image: &File) -> Result<String> {
    let mut name = [0; 16];
    image.read_exact_at(&mut name, 1024 + 0x78)?;
    Ok(String::from_utf8_lossy(&name)
        .trim_end_matches('\0')
        .to_owned())
}

/// A file number that no thread has.
const AFTER: u32 = 0xf_ffff;

/// Where images are recovered: a loop device, and what the kernel says about it.
pub struct Bench {
    fs: String,
    pub image: PathBuf,
    device: Loop,
    mount: PathBuf,
    log: File,
    /// Images that were checked.
    count: usize,
}

/// fio reads its file after the first of so many power cuts.
const FIO_EVERY: usize = 8;

impl Bench {
    /// In the folder `dir`, for images as large as `like`. Benches differ by their number.
    pub fn new(fs: &str, dir: &Path, number: usize, like: &Path) -> Result<Self> {
        let image = dir.join(format!("cut{number}"));
        File::create(&image)?.set_len(fs::metadata(like)?.len())?;
        let device = Loop::new(&image)?;
        // O_NONBLOCK: no message is no reason to wait.
        let mut log = OpenOptions::new()
            .read(true)
            .custom_flags(0o4000)
            .open("/dev/kmsg")?;
        log.seek(SeekFrom::End(0))?;
        let mount = PathBuf::from(format!("/run/mnt/cut{number}"));
        Ok(Bench {
            fs: fs.to_owned(),
            image,
            device,
            mount,
            log,
            count: 0,
        })
    }

    /// Recovers the image, compares it with the model, works on it and has it checked.
    pub fn check(&mut self, how: Recovery, model: &Model<'_>) -> Result<()> {
        if how == Recovery::Fsck {
            self.repair()?;
        }
        let kind = if how == Recovery::Ext4 {
            "ext4"
        } else {
            &self.fs
        };
        let mounted = Mounted::new(kind, &self.device.0, &self.mount, "");
        let result = mounted.and_then(|mounted| {
            let label = label(&File::open(&self.image)?)?;
            model.check(&self.mount, &label, self.count % FIO_EVERY == 0)?;
            self.work().context("the recovered volume does not work")?;
            mounted.unmount()
        });
        self.count += 1;
        let said = self.kernel_said()?;
        let result = match result {
            Err(why) if !said.is_empty() => {
                Err(why.context(format!("kernel: {}", said.join("; "))))
            }
            Err(why) => Err(why),
            Ok(()) if !said.is_empty() => bail!("kernel: {}", said.join("; ")),
            Ok(()) => Ok(()),
        };
        result?;
        let out = output("e2fsck", &["-fn", &self.image.to_string_lossy()])?;
        ensure!(
            out.status.success(),
            "e2fsck -fn: {}",
            String::from_utf8_lossy(&out.stdout).trim_end()
        );
        let mut incompat = [0; 4];
        File::open(&self.image)?.read_exact_at(&mut incompat, 1024 + 0x60)?;
        ensure!(
            u32::from_le_bytes(incompat) & 4 == 0,
            "the journal needs replay after an unmount"
        );
        Ok(())
    }

    /// Journal replay and orphans are all that a power cut leaves to e2fsck.
    fn repair(&self) -> Result<()> {
        let out = output("e2fsck", &["-fy", &self.image.to_string_lossy()])?;
        let said = String::from_utf8_lossy(&out.stdout);
        let code = out.status.code().unwrap_or(-1);
        ensure!(code == 0 || code == 1, "e2fsck -fy: status {code}: {said}");
        ensure!(
            is_ordinary(&said),
            "e2fsck -fy has mended something: {said}"
        );
        Ok(())
    }

    /// Makes, writes, reads and removes: blocks and inodes are taken and freed.
    fn work(&self) -> Result<()> {
        let dir = self.mount.join("after");
        fs::create_dir(&dir)?;
        let (first, second) = (dir.join("first"), dir.join("second"));
        let want = content::bytes(AFTER, 1, 0, 70_000);
        fs::write(&first, &want)?;
        fs::rename(&first, &second)?;
        let file = OpenOptions::new().read(true).write(true).open(&second)?;
        let more = content::bytes(AFTER, 2, 70_000, 5_000);
        file.write_all_at(&more, 70_000)?;
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        ensure!(
            fs::read(&second)? == [want, more].concat(),
            "what was written after the recovery"
        );
        // One of the files that were there, when there is one.
        for entry in fs::read_dir(self.mount.join(crate::model::own_name(0)))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::remove_file(entry.path())?;
                break;
            }
        }
        Ok(())
    }

    /// Errors that the kernel has logged about this device.
    fn kernel_said(&mut self) -> Result<Vec<String>> {
        let mut said = Vec::new();
        let mut record = vec![0; 8192];
        // Ours, ext4's, and the journal's.
        let name = self.device.name();
        let about = [
            format!("({name})"),
            format!("(device {name})"),
            format!("{name}-"),
        ];
        loop {
            match self.log.read(&mut record) {
                Ok(len) => {
                    let text = String::from_utf8_lossy(&record[..len]);
                    let Some((head, text)) = text.split_once(';') else {
                        continue;
                    };
                    let level = head
                        .split(',')
                        .next()
                        .and_then(|l| l.parse::<u32>().ok())
                        .unwrap_or(7)
                        & 7;
                    if level <= 3 && about.iter().any(|about| text.contains(about)) {
                        said.push(text.lines().next().unwrap_or_default().to_owned());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(said),
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    bail!("messages of the kernel were lost: its buffer is a ring")
                }
                Err(error) => return Err(error).context("/dev/kmsg"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_ordinary_is_excused() {
        let start = "e2fsck 1.47.2 (1-Jan-2025)\nPass 1: Checking inodes, blocks, and sizes\n";
        let pass5 = "Pass 5: Checking group summary information\n";
        let free = "Free blocks count wrong (100, counted=90).\nFix? yes\n\n";
        let orphans = "Orphan file (inode 12) block 0 is not clean.\nClear? yes\n\n";
        let tree = "Inode 15 extent tree (at level 1) could be narrower.  Optimize? yes\n\n";
        let size = "Inode 16, i_size is 5, should be 8192.  Fix? yes\n\n";
        let bitmap = "Block bitmap differences:  -300\nFix? yes\n\n";
        let entry = "Entry 'a' in / (2) has deleted/unused inode 17.  Clear? yes\n\n";
        for good in [
            start.to_owned(),
            [start, tree, tree, pass5, free].concat(),
            [start, orphans, pass5, free].concat(),
        ] {
            assert!(is_ordinary(&good), "{good}");
        }
        for bad in [size, bitmap, entry] {
            for ordinary in ["", free, orphans, tree] {
                for said in [
                    [start, ordinary, bad].concat(),
                    [start, bad, ordinary].concat(),
                    [start, ordinary, pass5, bad, pass5].concat(),
                ] {
                    assert!(!is_ordinary(&said), "{said}");
                }
            }
        }
    }
}
