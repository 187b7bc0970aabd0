// SPDX-License-Identifier: GPL-2.0
/*
 * Inline functions and macros that Rust cannot call, one wrapper each and
 * nothing else. Rust sees them without the prefix.
 *
 * Sections by header, sorted alphabetically.
 */

#include <linux/buffer_head.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/iomap.h>
#include <linux/iversion.h>
#include <linux/jbd2.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/writeback.h>

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

/* linux/sched/mm.h */

unsigned int iomapfs_helper_memalloc_nofs_save(void)
{
	return memalloc_nofs_save();
}

void iomapfs_helper_memalloc_nofs_restore(unsigned int flags)
{
	memalloc_nofs_restore(flags);
}
