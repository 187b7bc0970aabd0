// SPDX-License-Identifier: GPL-2.0

//! What the blocks of the device are for (`FS_IOC_GETFSMAP`), as ext4 tells it: fixed metadata by its kind, free space,
//! and the rest, whose owner is not known.

use super::store::JournalStore;
use crate::disk::PhysBlock;
use crate::linux::ioctl::{MapBuffer, MapHead, MapRecord};
use crate::linux::task;
use crate::ops::Node;
use crate::space::{Purpose, Usage};
use crate::volume::Volume;
use core::ops::Range;
use kernel::error::{code::*, Result};

/// Answers a question.
///
/// # Errors
///
/// `EINVAL` where the keys are out of order, or of another device or of a file; `EINTR`; `EFAULT`; those of
/// [`Space::usage`](crate::space::Space::usage).
pub(crate) fn tell(node: &Node, to: &MapBuffer) -> Result {
    let mut head = to.read()?;
    let volume = node.data().volume();
    let device = node.super_block().block_device()?.user_number();
    let wanted = range(volume, &head, device)?;
    head.entries = 0;
    head.set_device_numbers();

    let bits = volume.layout.block_size().bits();
    let mut last: Option<MapRecord> = None;
    let mut is_full = false;
    if let Some(wanted) = wanted {
        volume.space.usage(&volume.store, wanted, |usage| {
            if task::is_dying() {
                return Err(EINTR);
            }
            if head.room == 0 {
                head.entries = head.entries.saturating_add(1);
                return Ok(head.entries < u32::MAX);
            }
            is_full = head.entries >= head.room;
            if !is_full {
                let record = record(&usage, device, bits);
                to.write_record(head.entries, &record)?;
                last = Some(record);
                head.entries = head.entries.saturating_add(1);
            }
            Ok(!is_full)
        })?;
    }
    if let Some(mut record) = last.filter(|_| !is_full) {
        record.flags |= MapRecord::LAST;
        to.write_record(head.entries.saturating_sub(1), &record)?;
    }
    to.write(&head)
}

/// The blocks that are asked for; `None` where there are none.
fn range(
    volume: &Volume<JournalStore>,
    head: &MapHead,
    device: u32,
) -> Result<Option<Range<PhysBlock>>> {
    let [low, high] = &head.keys;
    let is_known = |key: &MapRecord| [0, u32::MAX, device].contains(&key.device);
    // No record is of a file, so there are only the least and the greatest offset.
    let offsets_fit = low.offset == 0 && [0, u64::MAX].contains(&high.offset);
    if head.flags != 0 || !offsets_fit || !is_known(low) || !is_known(high) {
        return Err(EINVAL);
    }
    let bits = volume.layout.block_size().bits();
    let in_blocks = |bytes: u64| bytes.wrapping_shr(bits);
    // The last record that was told can be the low key: what follows on it is asked for.
    let start = in_blocks(low.physical).saturating_add(in_blocks(low.length));
    let end = in_blocks(high.physical);
    if (low.device, start, 0) >= (high.device, end, high.owner) {
        return Err(EINVAL);
    }
    if low.device > device || high.device < device {
        return Ok(None);
    }
    let start = if low.device < device { 0 } else { start };
    let count = volume.layout.blocks_count();
    let end = match high.device > device {
        true => count,
        false => end.saturating_add(1).min(count),
    };
    // What comes before the first group is told with the first block of that, if at all.
    let first = u64::from(volume.layout.first_data_block());
    Ok((start.max(first) < end).then(|| PhysBlock::new(start)..PhysBlock::new(end)))
}

/// A piece as a record.
fn record(usage: &Usage, device: u32, bits: u32) -> MapRecord {
    // 'X' is for what other file systems have, too, 'f' for what only ext4 has.
    let owner = match usage.purpose {
        Purpose::Free => MapRecord::owner(0, 1),
        Purpose::Unknown => MapRecord::owner(0, 2),
        Purpose::SuperBlock => MapRecord::owner(b'X', 1),
        Purpose::Inodes => MapRecord::owner(b'X', 5),
        Purpose::Descriptors => MapRecord::owner(b'f', 1),
        Purpose::MoreDescriptors => MapRecord::owner(b'f', 2),
        Purpose::BlockBitmap => MapRecord::owner(b'f', 3),
        Purpose::InodeBitmap => MapRecord::owner(b'f', 4),
    };
    let in_bytes = |blocks: u64| blocks.wrapping_shl(bits);
    MapRecord::special(
        device,
        in_bytes(usage.start.get()),
        in_bytes(usage.len),
        owner,
    )
}
