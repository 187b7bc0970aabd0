// SPDX-License-Identifier: GPL-2.0

//! What is shown: by default what a document about the way of a write would draw. What is left out of the kernel, as
//! locks, memory and scheduling, is transparent: what is to be shown of what it calls belongs to its caller.

use crate::tree::{Call, Root, Step};

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Every function.
    pub all: bool,
    /// How deep.
    pub depth: usize,
    /// Events, too.
    pub events: bool,
}

/// What functions that are shown begin with.
const SHOWN: &[&str] = &[
    // The file systems and their journals.
    "ext4_",
    "__ext4_",
    "xfs_",
    "__xfs_",
    "xlog_",
    "jbd2_",
    "__jbd2_",
    "iomap_",
    "__iomap_",
    // The VFS and the page cache.
    "file_",
    "__filemap_fdatawrite",
    "filemap_fdatawrite",
    "filemap_dirty_folio",
    "filemap_write_and_wait",
    "__filemap_get_folio",
    "do_writepages",
    "writeback_iter",
    "balance_dirty_pages",
    "generic_write",
    "kiocb_",
    "vfs_",
    "fault_in_",
    "copy_folio_from_iter",
    "folio_end_writeback",
    "folio_start_writeback",
    "__folio_start_writeback",
    "block_page_mkwrite",
    "block_write_",
    "truncate_pagecache",
    // On the way to the device and back.
    "bio_alloc",
    "bio_iov_iter_get_pages",
    "bio_add_folio",
    "bio_endio",
    "submit_bio",
    "submit_bh",
    "blkdev_issue_flush",
    "blk_start_plug",
    "blk_finish_plug",
    "blk_io_schedule",
    "io_schedule",
    "wait_for_completion",
    "wait_on_bit",
    "folio_wait_writeback",
    "queue_work",
];

/// Of these it is not shown what they do: it is another story.
const CLOSED: &[&str] = &[
    "submit_bio",
    "submit_bh",
    "blk_start_plug",
    "blk_finish_plug",
    "blk_io_schedule",
    "io_schedule",
    "bio_alloc",
    "bio_add_folio",
    "bio_iov_iter_get_pages",
    "wait_for_completion",
    "wait_on_bit",
    "queue_work",
    "balance_dirty_pages",
    "__filemap_get_folio",
    "fault_in_",
    "copy_folio_from_iter",
    "filemap_dirty_folio",
    "vfs_",
];

/// Of these nothing is shown, and nothing that they do: they are everywhere.
const HIDDEN: &[&str] = &[
    // Who watches sees what is told, and not how.
    "ops::trace::",
    "linux::iomap::dio::DioTable<DirectWrite>::tell",
    // What looks at memory only.
    "iomapfs::disk::",
    "iomapfs::map::cache::",
    "iomapfs::map::need::",
    "iomapfs::map::snapshot::",
    "iomapfs::map::FileMap::lower",
    "iomapfs::map::FileMap::may_be_dense",
    "iomapfs::map::FileMap::piece",
    "iomapfs::map::FileMap::release_spare_nodes",
    "iomapfs::space::groups::",
    "linux::buffer::BufferCache::",
    "file_bdev",
    "file_remove_privs",
    "file_update_time",
    "jbd2_journal_cancel_revoke",
    "__jbd2_journal_file_buffer",
    "__jbd2_journal_refile_buffer",
    "__jbd2_journal_temp_unlink_buffer",
    "ext4_should_",
    "ext4_has_",
    "ext4_inode_journal_mode",
    "ext4_get_inode_loc",
    "ext4_get_group_desc",
    "__ext4_get_inode_loc",
    "ext4_block_bitmap",
    "ext4_inode_csum",
    "ext4_fc_",
    "ext4_es_",
    "__ext4_journal_get_write_access",
    "ext4_sb_",
    "xfs_ilock",
    "xfs_iunlock",
    "xfs_trans_log_",
    "xfs_buf_",
    "xfs_inode_item_",
    "xfs_log_",
    "xlog_cil_insert",
    "jbd2_journal_add_journal_head",
    "jbd2_journal_put_journal_head",
    "jbd2_journal_grab_journal_head",
    "jbd2_write_access_granted",
    "xfs_errortag",
    "xfs_verify_",
];

fn is_one_of(name: &str, list: &[&str]) -> bool {
    list.iter().any(|start| name.starts_with(start))
}

/// Whether it is Rust's.
fn is_rust(name: &str) -> bool {
    name.contains("::")
}

/// What is shown of the trees.
pub fn shown(roots: Vec<Root>, how: &How) -> Vec<Root> {
    roots
        .into_iter()
        .flat_map(|Root { task, step }| {
            let mut steps = Vec::new();
            put(step, how, 0, &mut steps);
            steps.into_iter().map(move |step| Root {
                task: task.clone(),
                step,
            })
        })
        .collect()
}

/// Adds to `to` what is shown of `step`, which is so deep in the tree.
fn put(step: Step, how: &How, depth: usize, to: &mut Vec<Step>) {
    match step {
        Step::Event { .. } if !how.events => {}
        Step::Event { .. } => to.push(step),
        Step::Call(call) => put_call(call, how, depth, to),
    }
}

fn put_call(mut call: Call, how: &How, depth: usize, to: &mut Vec<Step>) {
    let name = call.name.as_str();
    let visible = how.all || is_rust(name) || is_one_of(name, SHOWN);
    let hidden = !how.all && is_one_of(name, HIDDEN);
    let closed = !how.all && is_one_of(name, CLOSED);
    let deep = depth >= how.depth;
    let shown = visible && !hidden && !deep;
    let steps = std::mem::take(&mut call.steps);
    let mut inner = Vec::new();
    for step in steps {
        let is_event = matches!(step, Step::Event { .. });
        if (closed || hidden || deep) && !is_event {
            // Events are told all the same.
            let Step::Call(call) = step else { continue };
            events_of(call, how, &mut inner);
            continue;
        }
        put(step, how, depth + usize::from(shown), &mut inner);
    }
    if !shown {
        to.append(&mut inner);
        return;
    }
    call.steps = inner;
    if let Some(Step::Call(before)) = to.last_mut() {
        if before.name == call.name && before.steps.is_empty() && call.steps.is_empty() {
            before.times += 1;
            before.took = before.took.zip(call.took).map(|(a, b)| a + b);
            return;
        }
    }
    to.push(Step::Call(call));
}

fn events_of(call: Call, how: &How, to: &mut Vec<Step>) {
    for step in call.steps {
        match step {
            Step::Event { .. } if how.events => to.push(step),
            Step::Event { .. } => {}
            Step::Call(call) => events_of(call, how, to),
        }
    }
}
