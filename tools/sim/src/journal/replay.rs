// SPDX-License-Identifier: GPL-2.0

//! Recovery, as jbd2 does it: finds the end of the log, gathers what was revoked, writes all else to its place.

use super::format::{self, Form, Super};
use super::Place;
use crate::broken::{Broken, Rule};
use iomapfs_core::host::Device;
use std::collections::BTreeMap;

/// What a recovery found.
#[derive(Clone, Copy, Debug)]
pub struct Replayed {
    /// The last transaction whose changes are in place.
    pub last: u32,
    /// How many transactions were replayed.
    pub count: u32,
}

/// A block of a transaction: where it belongs, where in the log it is, its tag.
struct Logged {
    at: u64,
    tag: format::Tag,
}

/// A committed transaction in the log.
struct Found {
    sequence: u32,
    blocks: Vec<Logged>,
}

fn newer(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

/// Replays the journal on `device`, and marks it as empty.
///
/// # Errors
///
/// What is wrong with the journal, which no power cut may cause.
pub fn replay(device: &mut Device, place: &Place, broken: Broken) -> Result<Replayed, String> {
    let sb = Super::new(&device.read(place.blocks[0]))?;
    if !sb.is_intact() {
        return Err("journal: checksum of the super block".to_string());
    }
    let form = sb.form();
    let mut revoked: BTreeMap<u64, u32> = BTreeMap::new();
    let mut log = Vec::new();
    let mut sequence = sb.sequence();
    if sb.start() != 0 {
        let mut at = sb.start();
        while let Some((next, found)) = transaction(device, place, &sb, &form, at, sequence)? {
            for nr in found.1 {
                revoked.insert(nr, sequence);
            }
            log.push(found.0);
            at = next;
            sequence = sequence.wrapping_add(1);
        }
    }
    for found in &log {
        for logged in &found.blocks {
            let later = revoked.get(&logged.tag.nr);
            let skip = later.is_some_and(|by| !newer(found.sequence, *by));
            if skip && !broken.is(Rule::RevokesIgnored) {
                continue;
            }
            let mut bytes = device.read(logged.at).to_vec();
            if form.data_sum(found.sequence, &bytes) != logged.tag.sum {
                return Err(format!(
                    "journal: transaction {} has committed, but its block at {} is not that of {}",
                    found.sequence, logged.at, logged.tag.nr
                ));
            }
            if logged.tag.escaped {
                Form::unescape(&mut bytes);
            }
            if logged.tag.nr >= device.blocks() {
                return Err(format!("journal: no such block, {}", logged.tag.nr));
            }
            device.write(logged.tag.nr, bytes.into());
        }
    }
    // A number is left out, so that what is left of an uncommitted transaction is never taken for a part of a new one.
    let next = sequence.wrapping_add(1);
    let emptied = sb.with(place.wide, place.sums, next, 0);
    device.write(place.blocks[0], emptied.bytes().into());
    Ok(Replayed {
        last: sequence.wrapping_sub(1),
        count: log.len() as u32,
    })
}

/// A transaction, and what it revokes.
type Parsed = (Found, Vec<u64>);

/// Reads the transaction `sequence` that begins at `at`; `None` where it is not there or has not committed. Gives
/// where the next one begins.
fn transaction(
    device: &Device,
    place: &Place,
    sb: &Super,
    form: &Form,
    at: u32,
    sequence: u32,
) -> Result<Option<(u32, Parsed)>, String> {
    let after = |at: u32| match at + 1 == sb.blocks() {
        true => sb.first(),
        false => at + 1,
    };
    let mut found = Found {
        sequence,
        blocks: Vec::new(),
    };
    let mut revoked = Vec::new();
    let mut at = at;
    for _ in sb.first()..sb.blocks() {
        let bytes = device.read(place.blocks[at as usize]);
        at = after(at);
        match format::header(&bytes) {
            Some((kind, its)) if its == sequence => match kind {
                format::DESCRIPTOR if form.is_intact(&bytes) => {
                    for tag in form.tags(&bytes) {
                        found.blocks.push(Logged {
                            at: place.blocks[at as usize],
                            tag,
                        });
                        at = after(at);
                    }
                }
                format::REVOKE if form.is_intact(&bytes) => revoked.extend(form.revoked(&bytes)),
                format::COMMIT if form.is_commit_intact(&bytes) => {
                    return Ok(Some((at, (found, revoked))));
                }
                _ => return Ok(None),
            },
            _ => return Ok(None),
        }
    }
    Err("journal: the log has no end".to_string())
}
