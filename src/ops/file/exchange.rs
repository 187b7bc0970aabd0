// SPDX-License-Identifier: GPL-2.0

//! Blocks that two files exchange (`EXT4_IOC_MOVE_EXT`), for defragmenting: who may, and what is kept off meanwhile.
//! What is done, in which order, is in [`exchange`](mod@crate::change::exchange).
//!
//! # Locks
//!
//! Protection against a freeze, then `i_rwsem` of both files exclusively, direct I/O is waited for, then both
//! invalidate locks. Both files are written back with these held, which makes all pages read-only: a store asks for
//! blocks again, and waits. Reads into the page cache that are in flight are waited for.

use crate::change::exchange::{exchange, Copier, Wanted};
use crate::change::Live;
use crate::disk::{LogicalBlock, PhysBlock};
use crate::linux::ioctl::{Move, MoveBuffer, Opened};
use crate::linux::lock::Two;
use crate::linux::memalloc::NofsScope;
use crate::linux::task;
use crate::ops::mount::state::Mounted;
use crate::ops::{Fs, Node};
use crate::store::{Store, Tid};
use kernel::error::{code::*, Result};
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;

/// Answers the request.
///
/// # Errors
///
/// As ext4: `EBADF` where the files are not open for that; `EXDEV`; `EINVAL` where it is one file, one is empty or ends
/// before these blocks, the donor has a user's or a group's rights, or blocks lie differently in their pages; `EPERM`
/// where the donor may not be changed; `ETXTBSY` for swap; `EOPNOTSUPP` for DAX; those of [`exchange`].
pub(crate) fn move_extents(file: &Opened<'_, Fs>, to: &MoveBuffer) -> Result {
    if !file.is_read_write() {
        return Err(EBADF);
    }
    let mut what = to.read()?;
    what.moved = 0;
    let donor = file.other(what.donor)?;
    let _writing = file.want_write()?;
    let done = run(file.inode(), donor.inode(), &mut what);
    // What was done is told, too, where it was not all.
    to.write(&what)?;
    done
}

fn run(node: &Node, donor: &Node, what: &mut Move) -> Result {
    let volume = node.data().volume();
    volume.store.check_writable()?;
    let locks = Two::lock(node, donor)?;
    let _nofs = NofsScope::enter();
    check(node, donor)?;
    let wanted = wanted(node, donor, what)?;
    node.write_and_wait(0, u64::MAX)?;
    donor.write_and_wait(0, u64::MAX)?;
    let bits = volume.layout.block_size().bits();
    let below = (PAGE_SIZE as u64).wrapping_sub(1);
    let bytes = |from: LogicalBlock| {
        let start = u64::from(from.get()).wrapping_shl(bits);
        let end = start.saturating_add(u64::from(wanted.len).wrapping_shl(bits));
        start & !below..end.saturating_add(below) & !below
    };
    // A read that is still on its way would find what the donor's owner writes to the blocks.
    locks.wait_for_reads_of_first(&bytes(wanted.start));
    // Whole pages: what else is in them was written back.
    locks.drop_of_second(bytes(wanted.donor_start));
    let mut copier = Blocks {
        mounted: &node.super_block().data().mounted,
        buffer: KVec::new(),
    };
    let (moved, done) = exchange(node, donor, wanted, &mut copier);
    what.moved = moved.into();
    done
}

/// Whether these files may exchange blocks at all.
fn check(node: &Node, donor: &Node) -> Result {
    const SET_ID: u16 = 0o6000;

    if node.data().volume().layout.cluster_bits() != 0 {
        return Err(EOPNOTSUPP);
    }
    if donor.mode() & SET_ID != 0 {
        return Err(EINVAL);
    }
    if donor.is_immutable() || donor.is_append_only() {
        return Err(EPERM);
    }
    if node.is_swap_file() || donor.is_swap_file() {
        return Err(ETXTBSY);
    }
    if node.size() == 0 || donor.size() == 0 {
        return Err(EINVAL);
    }
    Ok(())
}

/// The blocks that are meant, as far as both files reach.
fn wanted(node: &Node, donor: &Node, what: &Move) -> Result<Wanted> {
    let size = node.data().volume().layout.block_size();
    let in_page = (PAGE_SIZE as u64).wrapping_shr(size.bits()).max(1);
    let place = |start: u64| start & in_page.wrapping_sub(1);
    let limit = u64::from(LogicalBlock::LIMIT.get());
    let fits = |start: u64| start.saturating_add(what.len) < limit;
    if place(what.start) != place(what.donor_start) || !fits(what.start) || !fits(what.donor_start)
    {
        return Err(EINVAL);
    }
    let mut len = what.len;
    for (node, start) in [(node, what.start), (donor, what.donor_start)] {
        let left = size.blocks_for(node.size()).saturating_sub(start);
        // As ext4 has it, nothing from the start of a file is all of it, also where the other one leaves nothing.
        len = match (len, start) {
            (0, 0) => left,
            _ => len.min(left),
        };
    }
    len = len.min(limit.saturating_sub(what.start));
    if len == 0 {
        return Err(EINVAL);
    }
    let block = |nr: u64| u32::try_from(nr).map(LogicalBlock::new).map_err(|_| EINVAL);
    Ok(Wanted {
        start: block(what.start)?,
        donor_start: block(what.donor_start)?,
        len: u32::try_from(len).map_err(|_| EINVAL)?,
    })
}

/// Copies blocks past the page cache: of both files what was dirty is on the device.
struct Blocks<'a> {
    mounted: &'a Mounted,
    buffer: KVec<u8>,
}

impl Copier for Blocks<'_> {
    fn copy(&mut self, from: PhysBlock, to: PhysBlock, len: u32) -> Result {
        /// So many bytes at once.
        const PIECE: u64 = 64 << 10;

        let volume = &self.mounted.volume;
        let device = volume.store.cache().device();
        let bits = volume.layout.block_size().bits();
        let bytes = |nr: u64| nr.wrapping_shl(bits);
        let (mut from, mut to, mut left) = (bytes(from.get()), bytes(to.get()), bytes(len.into()));
        while left != 0 {
            if task::is_dying() {
                return Err(EINTR);
            }
            let count = left.min(PIECE);
            self.buffer.resize(count as usize, 0, GFP_KERNEL)?;
            device.read_direct(from, &mut self.buffer)?;
            device.write_direct(to, &mut self.buffer)?;
            from = from.saturating_add(count);
            to = to.saturating_add(count);
            left = left.saturating_sub(count);
            task::reschedule();
        }
        Ok(())
    }

    fn commit(&mut self, tid: Tid) -> Result {
        self.mounted.commit(Some(tid))
    }
}
