/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The trace points: events/iomapfs/ of tracefs. What each tells, and when, is at the functions of mod.rs.
 *
 * Fields have the names that ext4's trace points have for the same: dev, ino, pos and len in bytes of the file, lblk, pblk and
 * len in blocks, flags, mflags, ret. A duration is in nanoseconds. No two events have the same
 * fields, so none is of a class.
 */

#undef TRACE_SYSTEM
#define TRACE_SYSTEM iomapfs

#if !defined(_IOMAPFS_EVENTS_H) || defined(TRACE_HEADER_MULTI_READ)
#define _IOMAPFS_EVENTS_H

#include <linux/tracepoint.h>
#include "../../linux/tracepoint.h"

/* What is asked for, and for whom. The first ones are iomap's own (IOMAP_WRITE and so on). */
#define IOMAPFS_WRITE		0x0001
#define IOMAPFS_ZERO		0x0002
#define IOMAPFS_FAULT		0x0008
#define IOMAPFS_DIRECT		0x0010
#define IOMAPFS_NOWAIT		0x0020
#define IOMAPFS_OVERWRITE	0x0040
#define IOMAPFS_APPEND		0x00010000
#define IOMAPFS_SYNC		0x00020000
#define IOMAPFS_FALLOCATE	0x00040000
#define IOMAPFS_WRITEBACK	0x00080000
#define IOMAPFS_UNWRITTEN	0x00100000

/* What is at a place of a file. */
#define IOMAPFS_MAP_NEW		0x01
#define IOMAPFS_MAP_MAPPED	0x02
#define IOMAPFS_MAP_UNWRITTEN	0x04
#define IOMAPFS_MAP_DELAYED	0x08

/* How blocks are chosen. */
#define IOMAPFS_CHOOSE_RESERVED	0x1
#define IOMAPFS_CHOOSE_STREAM	0x2

/* What is done where there is no space. */
#define IOMAPFS_RETRY_BLOCKS	0
#define IOMAPFS_RETRY_ALL	1

#define iomapfs_show_flags(flags) __print_flags(flags, "|",	\
	{ IOMAPFS_WRITE,	"WRITE" },		\
	{ IOMAPFS_ZERO,		"ZERO" },		\
	{ IOMAPFS_FAULT,	"FAULT" },		\
	{ IOMAPFS_DIRECT,	"DIRECT" },		\
	{ IOMAPFS_NOWAIT,	"NOWAIT" },		\
	{ IOMAPFS_OVERWRITE,	"OVERWRITE" },		\
	{ IOMAPFS_APPEND,	"APPEND" },		\
	{ IOMAPFS_SYNC,		"SYNC" },		\
	{ IOMAPFS_FALLOCATE,	"FALLOCATE" },		\
	{ IOMAPFS_WRITEBACK,	"WRITEBACK" },		\
	{ IOMAPFS_UNWRITTEN,	"UNWRITTEN" })

#define iomapfs_show_mflags(flags) __print_flags(flags, "",	\
	{ IOMAPFS_MAP_NEW,	"N" },			\
	{ IOMAPFS_MAP_MAPPED,	"M" },			\
	{ IOMAPFS_MAP_UNWRITTEN, "U" },			\
	{ IOMAPFS_MAP_DELAYED,	"D" })

#define iomapfs_show_choice(flags) __print_flags(flags, "|",	\
	{ IOMAPFS_CHOOSE_RESERVED, "RESERVED" },	\
	{ IOMAPFS_CHOOSE_STREAM, "STREAM" })

#define iomapfs_show_effort(effort) __print_symbolic(effort,	\
	{ IOMAPFS_RETRY_BLOCKS,	"blocks" },		\
	{ IOMAPFS_RETRY_ALL,	"all" })

TRACE_EVENT(iomapfs_begin,
	TP_PROTO(u32 dev, u64 ino, u64 pos, u64 len, u32 flags),

	TP_ARGS(dev, ino, pos, len, flags),

	TP_STRUCT__entry(
		__field(	u64,	ino			)
		__field(	loff_t,	pos			)
		__field(	u64,	len			)
		__field(	dev_t,	dev			)
		__field(	u32,	flags			)
	),

	TP_fast_assign(
		__entry->dev	= dev;
		__entry->ino	= ino;
		__entry->pos	= pos;
		__entry->len	= len;
		__entry->flags	= flags;
	),

	TP_printk("dev %d,%d ino %llu pos %lld len %llu flags %s",
		  MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->ino, __entry->pos, __entry->len,
		  iomapfs_show_flags(__entry->flags))
);

TRACE_EVENT(iomapfs_map,
	TP_PROTO(u32 dev, u64 ino, u32 flags, u32 lblk, u64 pblk, u32 len,
		 u32 mflags, int ret, u64 duration),

	TP_ARGS(dev, ino, flags, lblk, pblk, len, mflags, ret, duration),

	TP_STRUCT__entry(
		__field(	u64,	ino			)
		__field(	u64,	pblk			)
		__field(	u64,	duration		)
		__field(	dev_t,	dev			)
		__field(	u32,	flags			)
		__field(	u32,	lblk			)
		__field(	u32,	len			)
		__field(	u32,	mflags			)
		__field(	int,	ret			)
	),

	TP_fast_assign(
		__entry->dev	= dev;
		__entry->ino	= ino;
		__entry->flags	= flags;
		__entry->lblk	= lblk;
		__entry->pblk	= pblk;
		__entry->len	= len;
		__entry->mflags	= mflags;
		__entry->ret	= ret;
		__entry->duration = duration;
	),

	TP_printk("dev %d,%d ino %llu flags %s lblk %u pblk %llu len %u mflags %s ret %d duration %llu",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino,
		  iomapfs_show_flags(__entry->flags), __entry->lblk,
		  __entry->pblk, __entry->len,
		  iomapfs_show_mflags(__entry->mflags), __entry->ret,
		  __entry->duration)
);

TRACE_EVENT(iomapfs_choose,
	TP_PROTO(u32 dev, u64 ino, u32 flags, u32 len, u64 block, u32 lblk,
		 u64 goal, u32 want, int ret, u64 duration),

	TP_ARGS(dev, ino, flags, len, block, lblk, goal, want, ret, duration),

	TP_STRUCT__entry(
		__field(	u64,	ino			)
		__field(	u64,	block			)
		__field(	u64,	goal			)
		__field(	u64,	duration		)
		__field(	dev_t,	dev			)
		__field(	u32,	flags			)
		__field(	u32,	len			)
		__field(	u32,	lblk			)
		__field(	u32,	want			)
		__field(	int,	ret			)
	),

	TP_fast_assign(
		__entry->dev	= dev;
		__entry->ino	= ino;
		__entry->flags	= flags;
		__entry->len	= len;
		__entry->block	= block;
		__entry->lblk	= lblk;
		__entry->goal	= goal;
		__entry->want	= want;
		__entry->ret	= ret;
		__entry->duration = duration;
	),

	TP_printk("dev %d,%d ino %llu flags %s len %u block %llu lblk %u goal %llu want %u ret %d duration %llu",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino,
		  iomapfs_show_choice(__entry->flags), __entry->len,
		  __entry->block, __entry->lblk, __entry->goal, __entry->want,
		  __entry->ret, __entry->duration)
);

TRACE_EVENT(iomapfs_submit,
	TP_PROTO(u32 dev, u64 ino, u64 pos, u64 len, u64 pblk, u32 flags),

	TP_ARGS(dev, ino, pos, len, pblk, flags),

	TP_STRUCT__entry(
		__field(	u64,	ino			)
		__field(	loff_t,	pos			)
		__field(	u64,	len			)
		__field(	u64,	pblk			)
		__field(	dev_t,	dev			)
		__field(	u32,	flags			)
	),

	TP_fast_assign(
		__entry->dev	= dev;
		__entry->ino	= ino;
		__entry->pos	= pos;
		__entry->len	= len;
		__entry->pblk	= pblk;
		__entry->flags	= flags;
	),

	TP_printk("dev %d,%d ino %llu pos %lld len %llu pblk %llu flags %s",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino,
		  __entry->pos, __entry->len, __entry->pblk,
		  iomapfs_show_flags(__entry->flags))
);

TRACE_EVENT(iomapfs_complete,
	TP_PROTO(u32 dev, u64 ino, u64 pos, u64 len, u32 flags, int ret,
		 u64 duration),

	TP_ARGS(dev, ino, pos, len, flags, ret, duration),

	TP_STRUCT__entry(
		__field(	u64,	ino			)
		__field(	loff_t,	pos			)
		__field(	u64,	len			)
		__field(	u64,	duration		)
		__field(	dev_t,	dev			)
		__field(	u32,	flags			)
		__field(	int,	ret			)
	),

	TP_fast_assign(
		__entry->dev	= dev;
		__entry->ino	= ino;
		__entry->pos	= pos;
		__entry->len	= len;
		__entry->flags	= flags;
		__entry->ret	= ret;
		__entry->duration = duration;
	),

	TP_printk("dev %d,%d ino %llu pos %lld len %llu flags %s ret %d duration %llu",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino,
		  __entry->pos, __entry->len,
		  iomapfs_show_flags(__entry->flags), __entry->ret,
		  __entry->duration)
);

TRACE_EVENT(iomapfs_publish,
	TP_PROTO(u32 dev, u64 ino, u64 pos, u64 len, u32 flags, u32 tid,
		 int ret, u64 duration),

	TP_ARGS(dev, ino, pos, len, flags, tid, ret, duration),

	TP_STRUCT__entry(
		__field(	u64,	ino			)
		__field(	loff_t,	pos			)
		__field(	u64,	len			)
		__field(	u64,	duration		)
		__field(	dev_t,	dev			)
		__field(	u32,	flags			)
		__field(	u32,	tid			)
		__field(	int,	ret			)
	),

	TP_fast_assign(
		__entry->dev	= dev;
		__entry->ino	= ino;
		__entry->pos	= pos;
		__entry->len	= len;
		__entry->flags	= flags;
		__entry->tid	= tid;
		__entry->ret	= ret;
		__entry->duration = duration;
	),

	TP_printk("dev %d,%d ino %llu pos %lld len %llu flags %s tid %u ret %d duration %llu",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino,
		  __entry->pos, __entry->len,
		  iomapfs_show_flags(__entry->flags), __entry->tid,
		  __entry->ret, __entry->duration)
);

TRACE_EVENT(iomapfs_extend,
	TP_PROTO(u32 dev, u64 ino, u64 old, u64 size, u32 tid),

	TP_ARGS(dev, ino, old, size, tid),

	TP_STRUCT__entry(
		__field(	u64,	ino			)
		__field(	loff_t,	old			)
		__field(	loff_t,	size			)
		__field(	dev_t,	dev			)
		__field(	u32,	tid			)
	),

	TP_fast_assign(
		__entry->dev	= dev;
		__entry->ino	= ino;
		__entry->old	= old;
		__entry->size	= size;
		__entry->tid	= tid;
	),

	TP_printk("dev %d,%d ino %llu old %lld size %lld tid %u",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino,
		  __entry->old, __entry->size, __entry->tid)
);

TRACE_EVENT(iomapfs_orphan,
	TP_PROTO(u32 dev, u64 ino, u32 add, u32 tid),

	TP_ARGS(dev, ino, add, tid),

	TP_STRUCT__entry(
		__field(	u64,	ino			)
		__field(	dev_t,	dev			)
		__field(	u32,	add			)
		__field(	u32,	tid			)
	),

	TP_fast_assign(
		__entry->dev	= dev;
		__entry->ino	= ino;
		__entry->add	= add;
		__entry->tid	= tid;
	),

	TP_printk("dev %d,%d ino %llu add %u tid %u",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino,
		  __entry->add, __entry->tid)
);

TRACE_EVENT(iomapfs_retry,
	TP_PROTO(u32 dev, u64 ino, u32 effort, u64 free, int ret, u64 duration),

	TP_ARGS(dev, ino, effort, free, ret, duration),

	TP_STRUCT__entry(
		__field(	u64,	ino			)
		__field(	u64,	free			)
		__field(	u64,	duration		)
		__field(	dev_t,	dev			)
		__field(	u32,	effort			)
		__field(	int,	ret			)
	),

	TP_fast_assign(
		__entry->dev	= dev;
		__entry->ino	= ino;
		__entry->effort	= effort;
		__entry->free	= free;
		__entry->ret	= ret;
		__entry->duration = duration;
	),

	TP_printk("dev %d,%d ino %llu effort %s free %llu ret %d duration %llu",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino,
		  iomapfs_show_effort(__entry->effort), __entry->free,
		  __entry->ret, __entry->duration)
);

TRACE_EVENT(iomapfs_error,
	TP_PROTO(u32 dev, u64 ino, u64 block, int error,
		 const struct rust_text *function, u32 line),

	TP_ARGS(dev, ino, block, error, function, line),

	TP_STRUCT__entry(
		__field(	u64,	ino			)
		__field(	u64,	block			)
		__field(	dev_t,	dev			)
		__field(	int,	error			)
		__field(	u32,	line			)
		__string_len(	function, function->start, function->len)
	),

	TP_fast_assign(
		__entry->dev	= dev;
		__entry->ino	= ino;
		__entry->block	= block;
		__entry->error	= error;
		__entry->line	= line;
		__assign_str(function);
	),

	TP_printk("dev %d,%d ino %llu block %llu error %d function %s line %u",
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino,
		  __entry->block, __entry->error, __get_str(function),
		  __entry->line)
);

#endif /* _IOMAPFS_EVENTS_H */

/* This part must be outside protection */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE events
#include <trace/define_trace.h>
