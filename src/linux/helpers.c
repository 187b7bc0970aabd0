// SPDX-License-Identifier: GPL-2.0
/*
 * Inline functions and macros that Rust cannot call, one wrapper each and
 * nothing else. Rust sees them without the prefix.
 *
 * Sections by header, sorted alphabetically.
 */

#include <linux/bit_spinlock.h>
#include <linux/blkdev.h>
#include <linux/buffer_head.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/iomap.h>
#include <linux/iversion.h>
#include <linux/jbd2.h>
#include <linux/pagemap.h>
#include <linux/part_stat.h>
#include <linux/sched/mm.h>
#include <linux/writeback.h>

/* linux/bit_spinlock.h */

void iomapfs_helper_bit_spin_lock(int nr, unsigned long *addr)
{
	bit_spin_lock(nr, addr);
}

void iomapfs_helper_bit_spin_unlock(int nr, unsigned long *addr)
{
	bit_spin_unlock(nr, addr);
}

/* linux/blkdev.h, linux/part_stat.h */

bool iomapfs_helper_bdev_read_only(struct block_device *bdev)
{
	return bdev_read_only(bdev);
}

loff_t iomapfs_helper_bdev_nr_bytes(struct block_device *bdev)
{
	return bdev_nr_bytes(bdev);
}

unsigned int iomapfs_helper_bdev_logical_block_size(struct block_device *bdev)
{
	return bdev_logical_block_size(bdev);
}

unsigned int iomapfs_helper_bdev_max_discard_sectors(struct block_device *bdev)
{
	return bdev_max_discard_sectors(bdev);
}

unsigned int iomapfs_helper_block_size(struct block_device *bdev)
{
	return block_size(bdev);
}

u64 iomapfs_helper_part_stat_sectors_written(struct block_device *bdev)
{
	return part_stat_read(bdev, sectors[STAT_WRITE]);
}

/* linux/buffer_head.h */

int iomapfs_helper_bh_read(struct buffer_head *bh, blk_opf_t op_flags)
{
	return bh_read(bh, op_flags);
}

void iomapfs_helper_bh_readahead(struct buffer_head *bh, blk_opf_t op_flags)
{
	bh_readahead(bh, op_flags);
}

void iomapfs_helper_clear_buffer_dirty(struct buffer_head *bh)
{
	clear_buffer_dirty(bh);
}

void iomapfs_helper_get_bh(struct buffer_head *bh)
{
	get_bh(bh);
}

struct buffer_head *iomapfs_helper___getblk(struct block_device *bdev,
					    sector_t block, unsigned int size)
{
	return __getblk(bdev, block, size);
}

void iomapfs_helper_lock_buffer(struct buffer_head *bh)
{
	lock_buffer(bh);
}

void iomapfs_helper_set_buffer_uptodate(struct buffer_head *bh)
{
	set_buffer_uptodate(bh);
}

void iomapfs_helper_wait_on_buffer(struct buffer_head *bh)
{
	wait_on_buffer(bh);
}

/* linux/fs.h */

void iomapfs_helper_inode_lock(struct inode *inode)
{
	inode_lock(inode);
}

void iomapfs_helper_inode_lock_shared(struct inode *inode)
{
	inode_lock_shared(inode);
}

int iomapfs_helper_inode_trylock(struct inode *inode)
{
	return inode_trylock(inode);
}

int iomapfs_helper_inode_trylock_shared(struct inode *inode)
{
	return inode_trylock_shared(inode);
}

void iomapfs_helper_inode_unlock(struct inode *inode)
{
	inode_unlock(inode);
}

void iomapfs_helper_inode_unlock_shared(struct inode *inode)
{
	inode_unlock_shared(inode);
}

/* linux/jbd2.h */

int iomapfs_helper_is_handle_aborted(handle_t *handle)
{
	return is_handle_aborted(handle);
}

int iomapfs_helper_jbd2_handle_buffer_credits(handle_t *handle)
{
	return jbd2_handle_buffer_credits(handle);
}

tid_t iomapfs_helper_jbd2_get_latest_transaction(journal_t *journal)
{
	return jbd2_get_latest_transaction(journal);
}

handle_t *iomapfs_helper_journal_current_handle(void)
{
	return journal_current_handle();
}

void iomapfs_helper_journal_state_write_lock(journal_t *journal)
{
	write_lock(&journal->j_state_lock);
}

void iomapfs_helper_journal_state_write_unlock(journal_t *journal)
{
	write_unlock(&journal->j_state_lock);
}

/* linux/sched/mm.h */

unsigned int iomapfs_helper_memalloc_nofs_save(void)
{
	return memalloc_nofs_save();
}

void iomapfs_helper_memalloc_nofs_restore(unsigned int flags)
{
	memalloc_nofs_restore(flags);
}
