/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The headers that iomapfs needs and that the kernel's rust/bindings does not
 * cover. What is taken from them is listed in bindings_parameters.
 *
 * Sorted alphabetically.
 */

#include <linux/backing-dev.h>
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/buffer_head.h>
#include <linux/crc32c.h>
#include <linux/dcache.h>
#include <linux/exportfs.h>
#include <linux/fadvise.h>
#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <linux/file.h>
#include <linux/fileattr.h>
#include <linux/filelock.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/fserror.h>
#include <linux/fsmap.h>
#include <linux/iomap.h>
#include <linux/iversion.h>
#include <linux/jbd2.h>
#include <linux/mm.h>
#include <linux/mount.h>
#include <linux/mpage.h>
#include <linux/namei.h>
#include <linux/pagemap.h>
#include <linux/posix_acl.h>
#include <linux/quotaops.h>
#include <linux/sched/mm.h>
#include <linux/security.h>
#include <linux/seq_file.h>
#include <linux/shrinker.h>
#include <linux/sort.h>
#include <linux/splice.h>
#include <linux/statfs.h>
#include <linux/uio.h>
#include <linux/writeback.h>
#include <linux/xattr.h>
#include <uapi/linux/ext4.h>

/* `bindgen` gets confused at certain things. */
const gfp_t RUST_CONST_HELPER_GFP_NOFS = GFP_NOFS;
const vm_fault_t RUST_CONST_HELPER_VM_FAULT_SIGBUS = VM_FAULT_SIGBUS;
const vm_fault_t RUST_CONST_HELPER_VM_FAULT_ERROR = VM_FAULT_ERROR;
const vm_fault_t RUST_CONST_HELPER_VM_FAULT_NEEDDSYNC = VM_FAULT_NEEDDSYNC;
const unsigned long RUST_CONST_HELPER_PMD_SIZE = PMD_SIZE;
const unsigned int RUST_CONST_HELPER_MAX_RW_COUNT = MAX_RW_COUNT;
const loff_t RUST_CONST_HELPER_MAX_LFS_FILESIZE = MAX_LFS_FILESIZE;
const slab_flags_t RUST_CONST_HELPER_SLAB_RECLAIM_ACCOUNT = SLAB_RECLAIM_ACCOUNT;
const slab_flags_t RUST_CONST_HELPER_SLAB_ACCOUNT = SLAB_ACCOUNT;
const unsigned long RUST_CONST_HELPER_SB_ACTIVE = SB_ACTIVE;
const unsigned long RUST_CONST_HELPER_SB_POSIXACL = SB_POSIXACL;
const unsigned long RUST_CONST_HELPER_SB_RDONLY = SB_RDONLY;
const unsigned long RUST_CONST_HELPER_SB_SILENT = SB_SILENT;
const unsigned long RUST_CONST_HELPER_SB_I_VERSION = SB_I_VERSION;
const int RUST_CONST_HELPER_I_DIRTY_SYNC = I_DIRTY_SYNC;
const int RUST_CONST_HELPER_I_DIRTY_DATASYNC = I_DIRTY_DATASYNC;
const int RUST_CONST_HELPER_I_DIRTY_TIME = I_DIRTY_TIME;
const fmode_t RUST_CONST_HELPER_FMODE_READ = FMODE_READ;
const fmode_t RUST_CONST_HELPER_FMODE_WRITE = FMODE_WRITE;
const fmode_t RUST_CONST_HELPER_FMODE_NOWAIT = FMODE_NOWAIT;
const fmode_t RUST_CONST_HELPER_FMODE_CAN_ODIRECT = FMODE_CAN_ODIRECT;
const fmode_t RUST_CONST_HELPER_FMODE_CAN_ATOMIC_WRITE = FMODE_CAN_ATOMIC_WRITE;
const fop_flags_t RUST_CONST_HELPER_FOP_BUFFER_RASYNC = FOP_BUFFER_RASYNC;
const fop_flags_t RUST_CONST_HELPER_FOP_BUFFER_WASYNC = FOP_BUFFER_WASYNC;
const fop_flags_t RUST_CONST_HELPER_FOP_DIO_PARALLEL_WRITE = FOP_DIO_PARALLEL_WRITE;
const fop_flags_t RUST_CONST_HELPER_FOP_DONTCACHE = FOP_DONTCACHE;
const fop_flags_t RUST_CONST_HELPER_FOP_MMAP_SYNC = FOP_MMAP_SYNC;
const unsigned int RUST_CONST_HELPER_FS_IOC_GETVERSION = FS_IOC_GETVERSION;
const unsigned int RUST_CONST_HELPER_FS_IOC_SETVERSION = FS_IOC_SETVERSION;
const unsigned int RUST_CONST_HELPER_FS_IOC32_GETVERSION = FS_IOC32_GETVERSION;
const unsigned int RUST_CONST_HELPER_FS_IOC32_SETVERSION = FS_IOC32_SETVERSION;
const unsigned int RUST_CONST_HELPER_EXT4_IOC_GETVERSION = EXT4_IOC_GETVERSION;
const unsigned int RUST_CONST_HELPER_EXT4_IOC_SETVERSION = EXT4_IOC_SETVERSION;
const unsigned int RUST_CONST_HELPER_EXT4_IOC32_GETVERSION = EXT4_IOC32_GETVERSION;
const unsigned int RUST_CONST_HELPER_EXT4_IOC32_SETVERSION = EXT4_IOC32_SETVERSION;
const unsigned int RUST_CONST_HELPER_FS_IOC_GETFSLABEL = FS_IOC_GETFSLABEL;
const unsigned int RUST_CONST_HELPER_FS_IOC_SETFSLABEL = FS_IOC_SETFSLABEL;
const unsigned int RUST_CONST_HELPER_FS_IOC_SHUTDOWN = FS_IOC_SHUTDOWN;
const unsigned int RUST_CONST_HELPER_FITRIM = FITRIM;
const unsigned int RUST_CONST_HELPER_EXT4_IOC_MOVE_EXT = EXT4_IOC_MOVE_EXT;
const unsigned int RUST_CONST_HELPER_FS_IOC_GETFSMAP = FS_IOC_GETFSMAP;
const unsigned int RUST_CONST_HELPER_EXT4_IOC_PRECACHE_EXTENTS = EXT4_IOC_PRECACHE_EXTENTS;
const unsigned int RUST_CONST_HELPER_EXT4_IOC_CHECKPOINT = EXT4_IOC_CHECKPOINT;
const unsigned int RUST_CONST_HELPER_EXT4_IOC_GETFSUUID = EXT4_IOC_GETFSUUID;
const unsigned int RUST_CONST_HELPER_EXT4_IOC_SETFSUUID = EXT4_IOC_SETFSUUID;
const unsigned int RUST_CONST_HELPER_DQUOT_USAGE_ENABLED = DQUOT_USAGE_ENABLED;
const unsigned int RUST_CONST_HELPER_DQUOT_LIMITS_ENABLED = DQUOT_LIMITS_ENABLED;
const unsigned int RUST_CONST_HELPER_DQUOT_SUSPENDED = DQUOT_SUSPENDED;
const unsigned int RUST_CONST_HELPER_DQUOT_QUOTA_SYS_FILE = DQUOT_QUOTA_SYS_FILE;
const unsigned int RUST_CONST_HELPER_DQUOT_NOLIST_DIRTY = DQUOT_NOLIST_DIRTY;
const int RUST_CONST_HELPER_IOCB_APPEND = IOCB_APPEND;
const int RUST_CONST_HELPER_IOCB_ATOMIC = IOCB_ATOMIC;
const int RUST_CONST_HELPER_IOCB_DIRECT = IOCB_DIRECT;
const int RUST_CONST_HELPER_IOCB_NOWAIT = IOCB_NOWAIT;
