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
#include <linux/compat.h>
#include <linux/cred.h>
#include <linux/dax.h>
#include <linux/debugfs.h>
#include <linux/fileattr.h>
#include <linux/freezer.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/iomap.h>
#include <linux/iversion.h>
#include <linux/jbd2.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/part_stat.h>
#include <linux/posix_acl.h>
#include <linux/quotaops.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/security.h>
#include <linux/statfs.h>
#include <linux/wait_bit.h>
#include <linux/workqueue.h>
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

/* linux/bio.h */

void iomapfs_helper_bio_clear_flag(struct bio *bio, unsigned int bit)
{
	bio_clear_flag(bio, bit);
}

/* linux/blkdev.h, linux/part_stat.h */

unsigned int
iomapfs_helper_bdev_atomic_write_unit_min_bytes(struct block_device *bdev)
{
	return bdev_atomic_write_unit_min_bytes(bdev);
}

unsigned int
iomapfs_helper_bdev_atomic_write_unit_max_bytes(struct block_device *bdev)
{
	return bdev_atomic_write_unit_max_bytes(bdev);
}

bool iomapfs_helper_bdev_read_only(struct block_device *bdev)
{
	return bdev_read_only(bdev);
}

unsigned int iomapfs_helper_bdev_dma_alignment(struct block_device *bdev)
{
	return bdev_dma_alignment(bdev);
}

loff_t iomapfs_helper_bdev_nr_bytes(struct block_device *bdev)
{
	return bdev_nr_bytes(bdev);
}

unsigned int iomapfs_helper_bdev_discard_granularity(struct block_device *bdev)
{
	return bdev_discard_granularity(bdev);
}

unsigned int iomapfs_helper_bdev_logical_block_size(struct block_device *bdev)
{
	return bdev_logical_block_size(bdev);
}

unsigned int iomapfs_helper_bdev_max_discard_sectors(struct block_device *bdev)
{
	return bdev_max_discard_sectors(bdev);
}

unsigned int iomapfs_helper_bdev_write_zeroes_unmap_sectors(struct block_device *bdev)
{
	return bdev_write_zeroes_unmap_sectors(bdev);
}

unsigned int iomapfs_helper_block_size(struct block_device *bdev)
{
	return block_size(bdev);
}

u32 iomapfs_helper_new_encode_dev(dev_t dev)
{
	return new_encode_dev(dev);
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

void iomapfs_helper_wait_on_buffer_shadow(struct buffer_head *bh)
{
	wait_on_bit_io(&bh->b_state, BH_Shadow, TASK_UNINTERRUPTIBLE);
}

void iomapfs_helper_wait_on_buffer(struct buffer_head *bh)
{
	wait_on_buffer(bh);
}

/* linux/compat.h */

void __user *iomapfs_helper_compat_ptr(u32 uptr)
{
	return compat_ptr(uptr);
}

/* linux/cred.h */

bool iomapfs_helper_current_has_fsuid(unsigned int uid)
{
	return uid_eq(current_fsuid(), make_kuid(&init_user_ns, uid));
}

bool iomapfs_helper_current_is_in_group(unsigned int gid)
{
	return in_group_p(make_kgid(&init_user_ns, gid));
}

/* linux/dax.h */

#ifdef CONFIG_FS_DAX

struct dax_device *iomapfs_helper_fs_dax_get_by_bdev(struct block_device *bdev,
						     u64 *start)
{
	return fs_dax_get_by_bdev(bdev, start, NULL, NULL);
}

void iomapfs_helper_fs_put_dax(struct dax_device *dax_dev, void *holder)
{
	fs_put_dax(dax_dev, holder);
}

bool iomapfs_helper_dax_synchronous(struct dax_device *dax_dev)
{
	return dax_synchronous(dax_dev);
}

int iomapfs_helper_dax_zero_page(struct dax_device *dax_dev, pgoff_t page)
{
	int id = dax_read_lock();
	int ret = dax_zero_page_range(dax_dev, page, 1);

	dax_read_unlock(id);
	return ret;
}

ssize_t iomapfs_helper_dax_iomap_rw(struct kiocb *iocb, struct iov_iter *iter,
				    const struct iomap_ops *ops)
{
	return dax_iomap_rw(iocb, iter, ops);
}

int iomapfs_helper_dax_zero_range(struct inode *inode, loff_t pos, loff_t len,
				  bool *did_zero, const struct iomap_ops *ops)
{
	return dax_zero_range(inode, pos, len, did_zero, ops);
}

vm_fault_t iomapfs_helper_dax_iomap_fault(struct vm_fault *vmf,
					  unsigned int order,
					  unsigned long *pfn, int *error,
					  const struct iomap_ops *ops)
{
	return dax_iomap_fault(vmf, order, pfn, error, ops);
}

vm_fault_t iomapfs_helper_dax_finish_sync_fault(struct vm_fault *vmf,
						unsigned int order,
						unsigned long pfn)
{
	return dax_finish_sync_fault(vmf, order, pfn);
}

int iomapfs_helper_dax_writeback_mapping_range(struct address_space *mapping,
					       struct dax_device *dax_dev,
					       struct writeback_control *wbc)
{
	return dax_writeback_mapping_range(mapping, dax_dev, wbc);
}

struct page *iomapfs_helper_dax_layout_busy_page_range(
		struct address_space *mapping, loff_t start, loff_t last)
{
	return dax_layout_busy_page_range(mapping, start, last);
}

void iomapfs_helper_dax_delete_mapping_range(struct address_space *mapping,
					     loff_t start, loff_t last)
{
	dax_delete_mapping_range(mapping, start, last);
}

void iomapfs_helper_dax_break_layout_final(struct inode *inode)
{
	dax_break_layout_final(inode);
}

int iomapfs_helper_dax_wait_page_idle_interruptible(struct page *page)
{
	return wait_var_event_interruptible(page, dax_page_is_idle(page));
}

void iomapfs_helper_dax_wait_page_idle(struct page *page)
{
	wait_var_event(page, dax_page_is_idle(page));
}

#else /* No inode is S_DAX, and no device is found: the others are not called. */

struct dax_device *iomapfs_helper_fs_dax_get_by_bdev(struct block_device *bdev,
						     u64 *start)
{
	return NULL;
}

void iomapfs_helper_fs_put_dax(struct dax_device *dax_dev, void *holder)
{
}

bool iomapfs_helper_dax_synchronous(struct dax_device *dax_dev)
{
	return false;
}

int iomapfs_helper_dax_zero_page(struct dax_device *dax_dev, pgoff_t page)
{
	return -EOPNOTSUPP;
}

ssize_t iomapfs_helper_dax_iomap_rw(struct kiocb *iocb, struct iov_iter *iter,
				    const struct iomap_ops *ops)
{
	return -EOPNOTSUPP;
}

int iomapfs_helper_dax_zero_range(struct inode *inode, loff_t pos, loff_t len,
				  bool *did_zero, const struct iomap_ops *ops)
{
	return -EOPNOTSUPP;
}

vm_fault_t iomapfs_helper_dax_iomap_fault(struct vm_fault *vmf,
					  unsigned int order,
					  unsigned long *pfn, int *error,
					  const struct iomap_ops *ops)
{
	return VM_FAULT_SIGBUS;
}

vm_fault_t iomapfs_helper_dax_finish_sync_fault(struct vm_fault *vmf,
						unsigned int order,
						unsigned long pfn)
{
	return VM_FAULT_SIGBUS;
}

int iomapfs_helper_dax_writeback_mapping_range(struct address_space *mapping,
					       struct dax_device *dax_dev,
					       struct writeback_control *wbc)
{
	return -EOPNOTSUPP;
}

struct page *iomapfs_helper_dax_layout_busy_page_range(
		struct address_space *mapping, loff_t start, loff_t last)
{
	return NULL;
}

void iomapfs_helper_dax_delete_mapping_range(struct address_space *mapping,
					     loff_t start, loff_t last)
{
}

void iomapfs_helper_dax_break_layout_final(struct inode *inode)
{
}

int iomapfs_helper_dax_wait_page_idle_interruptible(struct page *page)
{
	return -EOPNOTSUPP;
}

void iomapfs_helper_dax_wait_page_idle(struct page *page)
{
}

#endif

/* linux/debugfs.h */

struct dentry *iomapfs_helper_debugfs_create_dir(const char *name,
						 struct dentry *parent)
{
	return debugfs_create_dir(name, parent);
}

struct dentry *
iomapfs_helper_debugfs_create_file_aux(const char *name, umode_t mode,
				       struct dentry *parent, void *data,
				       const void *aux,
				       const struct file_operations *fops)
{
	return debugfs_create_file_aux(name, mode, parent, data, (void *)aux,
				       fops);
}

void *iomapfs_helper_debugfs_get_aux(const struct file *file)
{
#ifdef CONFIG_DEBUG_FS
	return debugfs_get_aux(file);
#else
	return NULL;
#endif
}

void iomapfs_helper_debugfs_remove(struct dentry *dentry)
{
	debugfs_remove(dentry);
}

/* linux/fileattr.h */

bool iomapfs_helper_fileattr_has_fsx(const struct file_kattr *fa)
{
	return fileattr_has_fsx(fa);
}

/* linux/freezer.h */

bool iomapfs_helper_current_is_freezing(void)
{
	return freezing(current);
}

/* linux/fs.h */

bool iomapfs_helper_i_gid_needs_update(struct mnt_idmap *idmap, const struct iattr *attr,
				       const struct inode *inode)
{
	return i_gid_needs_update(idmap, attr, inode);
}

bool iomapfs_helper_i_uid_needs_update(struct mnt_idmap *idmap, const struct iattr *attr,
				       const struct inode *inode)
{
	return i_uid_needs_update(idmap, attr, inode);
}

kgid_t iomapfs_helper_iattr_gid(struct mnt_idmap *idmap, const struct iattr *attr,
				const struct inode *inode)
{
	return from_vfsgid(idmap, i_user_ns(inode), attr->ia_vfsgid);
}

kuid_t iomapfs_helper_iattr_uid(struct mnt_idmap *idmap, const struct iattr *attr,
				const struct inode *inode)
{
	return from_vfsuid(idmap, i_user_ns(inode), attr->ia_vfsuid);
}

struct inode *iomapfs_helper_alloc_inode_sb(struct super_block *sb,
					    struct kmem_cache *cache)
{
	return alloc_inode_sb(sb, cache, GFP_KERNEL);
}

/* Positions of 32 bits: knfsd asks for them, else a task of 32 bits wants them. */
bool iomapfs_helper_file_wants_narrow_positions(struct file *file)
{
	if (file->f_mode & FMODE_32BITHASH)
		return true;
	if (file->f_mode & FMODE_64BITHASH)
		return false;
	return sizeof(long) == 4 || in_compat_syscall();
}

bool iomapfs_helper_file_owner_or_capable(struct file *file)
{
	return inode_owner_or_capable(file_mnt_idmap(file), file_inode(file));
}

unsigned long iomapfs_helper_file_count(struct file *file)
{
	return file_count(file);
}

void iomapfs_helper_file_accessed(struct file *file)
{
	file_accessed(file);
}

void iomapfs_helper_filemap_invalidate_lock(struct address_space *mapping)
{
	filemap_invalidate_lock(mapping);
}

void iomapfs_helper_filemap_invalidate_lock_shared(struct address_space *mapping)
{
	filemap_invalidate_lock_shared(mapping);
}

void iomapfs_helper_filemap_invalidate_unlock(struct address_space *mapping)
{
	filemap_invalidate_unlock(mapping);
}

void iomapfs_helper_filemap_invalidate_unlock_shared(struct address_space *mapping)
{
	filemap_invalidate_unlock_shared(mapping);
}

int iomapfs_helper_finish_open_simple(struct file *file, int error)
{
	return finish_open_simple(file, error);
}

ssize_t iomapfs_helper_generic_write_sync(struct kiocb *iocb, ssize_t count)
{
	return generic_write_sync(iocb, count);
}

gid_t iomapfs_helper_i_gid_read(struct inode *inode)
{
	return i_gid_read(inode);
}

void iomapfs_helper_i_gid_write(struct inode *inode, gid_t gid)
{
	i_gid_write(inode, gid);
}

loff_t iomapfs_helper_i_size_read(struct inode *inode)
{
	return i_size_read(inode);
}

void iomapfs_helper_i_size_write(struct inode *inode, loff_t size)
{
	i_size_write(inode, size);
}

bool iomapfs_helper_iocb_is_dsync(const struct kiocb *iocb)
{
	return iocb_is_dsync(iocb);
}

uid_t iomapfs_helper_i_uid_read(struct inode *inode)
{
	return i_uid_read(inode);
}

void iomapfs_helper_i_uid_write(struct inode *inode, uid_t uid)
{
	i_uid_write(inode, uid);
}

void iomapfs_helper_inode_dio_begin(struct inode *inode)
{
	inode_dio_begin(inode);
}

void iomapfs_helper_inode_dio_end(struct inode *inode)
{
	inode_dio_end(inode);
}

struct timespec64 iomapfs_helper_inode_get_atime(struct inode *inode)
{
	return inode_get_atime(inode);
}

struct timespec64 iomapfs_helper_inode_get_ctime(struct inode *inode)
{
	return inode_get_ctime(inode);
}

struct timespec64 iomapfs_helper_inode_get_mtime(struct inode *inode)
{
	return inode_get_mtime(inode);
}

void iomapfs_helper_lock_inode_list(struct super_block *sb)
{
	spin_lock(&sb->s_inode_list_lock);
}

void iomapfs_helper_unlock_inode_list(struct super_block *sb)
{
	spin_unlock(&sb->s_inode_list_lock);
}

bool iomapfs_helper_inode_is_new(struct inode *inode)
{
	return inode_state_read_once(inode) & I_NEW;
}

bool iomapfs_helper_inode_is_dirsync(struct inode *inode)
{
	return IS_DIRSYNC(inode);
}

bool iomapfs_helper_inode_is_sync(struct inode *inode)
{
	return IS_SYNC(inode);
}

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

void iomapfs_helper_inode_set_atime_to_ts(struct inode *inode,
					  struct timespec64 ts)
{
	inode_set_atime_to_ts(inode, ts);
}

void iomapfs_helper_inode_set_change_time(struct inode *inode,
					  struct timespec64 ts)
{
	inode_set_ctime_to_ts(inode, ts);
}

void iomapfs_helper_inode_set_mtime_to_ts(struct inode *inode,
					  struct timespec64 ts)
{
	inode_set_mtime_to_ts(inode, ts);
}

void iomapfs_helper_inode_set_sectors(struct inode *inode, blkcnt_t sectors)
{
	WRITE_ONCE(inode->i_blocks, sectors);
}

void iomapfs_helper_inode_unlock(struct inode *inode)
{
	inode_unlock(inode);
}

void iomapfs_helper_inode_unlock_shared(struct inode *inode)
{
	inode_unlock_shared(inode);
}

void iomapfs_helper_sb_end_intwrite(struct super_block *sb)
{
	sb_end_intwrite(sb);
}

void iomapfs_helper_sb_end_pagefault(struct super_block *sb)
{
	sb_end_pagefault(sb);
}

void iomapfs_helper_sb_start_intwrite(struct super_block *sb)
{
	sb_start_intwrite(sb);
}

bool iomapfs_helper_sb_start_intwrite_trylock(struct super_block *sb)
{
	return sb_start_intwrite_trylock(sb);
}

void iomapfs_helper_sb_start_pagefault(struct super_block *sb)
{
	sb_start_pagefault(sb);
}

void iomapfs_helper_set_delayed_kfree(struct delayed_call *call, void *arg)
{
	set_delayed_call(call, kfree_link, arg);
}

/* linux/iversion.h */

void iomapfs_helper_inode_inc_iversion(struct inode *inode)
{
	inode_inc_iversion(inode);
}

u64 iomapfs_helper_inode_peek_iversion(struct inode *inode)
{
	return inode_peek_iversion(inode);
}

void iomapfs_helper_inode_set_iversion_queried(struct inode *inode, u64 val)
{
	inode_set_iversion_queried(inode, val);
}

/* linux/jbd2.h */

bool iomapfs_helper_jbd2_has_feature_fast_commit(journal_t *journal)
{
	return jbd2_has_feature_fast_commit(journal);
}

int iomapfs_helper_is_handle_aborted(handle_t *handle)
{
	/* jbd2 changes other flags of the journal under j_state_lock; it asks for this one without, too. */
	return data_race(is_handle_aborted(handle));
}

int iomapfs_helper_jbd2_handle_buffer_credits(handle_t *handle)
{
	return jbd2_handle_buffer_credits(handle);
}

tid_t iomapfs_helper_jbd2_get_latest_transaction(journal_t *journal)
{
	return jbd2_get_latest_transaction(journal);
}

void iomapfs_helper_journal_state_write_lock(journal_t *journal)
{
	write_lock(&journal->j_state_lock);
}

void iomapfs_helper_journal_state_write_unlock(journal_t *journal)
{
	write_unlock(&journal->j_state_lock);
}

/* linux/mm.h */

bool iomapfs_helper_fault_is_shared_store(struct vm_fault *vmf)
{
	return (vmf->flags & FAULT_FLAG_WRITE) && (vmf->vma->vm_flags & VM_SHARED);
}

bool iomapfs_helper_vma_desc_is_sync(const struct vm_area_desc *desc)
{
	return vma_desc_test(desc, VMA_SYNC_BIT);
}

void iomapfs_helper_vma_desc_set_hugepage(struct vm_area_desc *desc)
{
	vma_desc_set_flags(desc, VMA_HUGEPAGE_BIT);
}

/* linux/module.h */

/*
 * Whether a module is used, other than by itself while it is being loaded. What is built in, or can never be unloaded,
 * does not count who uses it.
 */
bool iomapfs_helper_module_is_used(struct module *module)
{
#ifdef CONFIG_MODULE_UNLOAD
	if (module)
		return module_refcount(module) > (module->state == MODULE_STATE_COMING);
#endif
	return true;
}

/* linux/pagemap.h */

loff_t iomapfs_helper_folio_next_pos(struct folio *folio)
{
	return folio_next_pos(folio);
}

void iomapfs_helper_mapping_set_large_folios(struct address_space *mapping)
{
	mapping_set_large_folios(mapping);
}

bool iomapfs_helper_mapping_stable_writes(const struct address_space *mapping)
{
	return mapping_stable_writes(mapping);
}

/* linux/posix_acl.h */

void iomapfs_helper_cache_no_acl(struct inode *inode)
{
	cache_no_acl(inode);
}

void iomapfs_helper_posix_acl_release(struct posix_acl *acl)
{
	posix_acl_release(acl);
}

/* linux/quotaops.h */

unsigned int iomapfs_helper_sb_any_quota_loaded(struct super_block *sb)
{
	return sb_any_quota_loaded(sb);
}

unsigned int iomapfs_helper_sb_any_quota_suspended(struct super_block *sb)
{
	return sb_any_quota_suspended(sb);
}

bool iomapfs_helper_sb_has_quota_limits_enabled(struct super_block *sb, int type)
{
	return sb_has_quota_limits_enabled(sb, type);
}

/* linux/sched.h, linux/sched/signal.h */

int iomapfs_helper_cond_resched(void)
{
	return cond_resched();
}

bool iomapfs_helper_current_fatal_signal_pending(void)
{
	return fatal_signal_pending(current);
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

void iomapfs_helper_memalloc_retry_wait(gfp_t flags)
{
	memalloc_retry_wait(flags);
}

/* linux/security.h */

int iomapfs_helper_security_inode_init_security(struct inode *inode,
						struct inode *dir,
						const struct qstr *qstr,
						initxattrs initxattrs,
						void *fs_data)
{
	return security_inode_init_security(inode, dir, qstr, initxattrs,
					    fs_data);
}

/* linux/statfs.h */

__kernel_fsid_t iomapfs_helper_fsid_from_uuid(const u8 *uuid)
{
	return uuid_to_fsid((u8 *)uuid);
}

/* linux/workqueue.h */

void iomapfs_helper_init_work(struct work_struct *work, work_func_t func)
{
	INIT_WORK(work, func);
}
