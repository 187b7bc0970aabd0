// SPDX-License-Identifier: GPL-2.0

//! `e2fsck` as the judge of what was written.

use crate::corpus::path_with_sbin;
use anyhow::{bail, Context, Result};
use std::path::Path;
use std::process::Command;

/// What `e2fsck` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Clean,
    /// Errors, whether or not it came to its end.
    Errors,
    /// It gave up before it found one, as it does for a super block that it cannot use. So does a program that does
    /// not work at all: see [`crate::mild`].
    GaveUp,
}

/// What `e2fsck` finds in an image or on a device, and what it says. It is asked to change nothing.
///
/// # Errors
///
/// Where it cannot be run, is killed, or says that it was started in a wrong way.
pub fn fsck(image: &Path) -> Result<(Verdict, String)> {
    let out = Command::new("e2fsck")
        .args(["-f", "-n"])
        .arg(image)
        .env("PATH", path_with_sbin())
        .output()
        .context("e2fsck")?;
    let mut words = String::from_utf8_lossy(&out.stdout).into_owned();
    words += &String::from_utf8_lossy(&out.stderr);
    match verdict(out.status.code()) {
        Some(verdict) => Ok((verdict, words)),
        None => bail!("e2fsck ends with {}:\n{words}", out.status),
    }
}

/// The status is a sum: 1 and 4 are errors that it found, 8 is one of its own.
fn verdict(status: Option<i32>) -> Option<Verdict> {
    match status? {
        0 => Some(Verdict::Clean),
        8 => Some(Verdict::GaveUp),
        status if status & 5 != 0 && status & !13 == 0 => Some(Verdict::Errors),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_judgement_is_none() {
        assert_eq!(verdict(Some(0)), Some(Verdict::Clean));
        for status in [1, 4, 9, 12] {
            assert_eq!(verdict(Some(status)), Some(Verdict::Errors));
        }
        assert_eq!(verdict(Some(8)), Some(Verdict::GaveUp));
        // Of its options, of a user who stopped it, of a shell that did not find it; a signal.
        for status in [Some(16), Some(32), Some(36), Some(127), None] {
            assert_eq!(verdict(status), None);
        }
    }
}
