# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: asynchronous, parallel or mixed I/O whose data is not what was written, at once or after a remount
# blocks: one
# parallel: asynchronous requests, several jobs

mkimg -s 256M img
mount_fs img
common=(--verify=crc32c --verify_fatal=1 --randseed="$SEED" --size=3M --verify_state_save=0)
run() {
	local name=$1
	shift
	fio_job "${common[@]}" --name="$name" "$@"
}
run dio-seq --rw=write --bs=64K --direct=1 --ioengine=libaio --iodepth=16
run dio-rand --rw=randwrite --bs=4K --direct=1 --ioengine=libaio --iodepth=32
run dio-sync --rw=randwrite --bs=8K --direct=1 --ioengine=psync
run dio-sector --rw=randwrite --bs=512-7K --bs_unaligned=0 --direct=1 --ioengine=libaio --iodepth=8 --size=2M
run dio-jobs --rw=randwrite --bs=4K --direct=1 --ioengine=libaio --iodepth=8 --numjobs=4 --size=2M
run uring-dio --rw=randwrite --bs=4K --direct=1 --ioengine=io_uring --iodepth=32 --registerfiles=1 --fixedbufs=1
run uring-append --rw=write --bs=16K --direct=1 --ioengine=io_uring --iodepth=16 --sqthread_poll=1
run uring-buf --rw=randwrite --bs=4K-64K --ioengine=io_uring --iodepth=16
run uring-mixed --rw=randrw --bs=8K --direct=1 --ioengine=io_uring --iodepth=16 --numjobs=2 --size=2M
run buf-seq --rw=write --bs=128K --ioengine=psync --end_fsync=1
run buf-rand --rw=randwrite --bs=1K-40K --bs_unaligned=1 --ioengine=psync
run buf-fsync --rw=randwrite --bs=4K --ioengine=psync --fsync=32 --size=2M
run mmap --rw=randwrite --bs=4K --ioengine=mmap
run prealloc --rw=randwrite --bs=4K --direct=1 --ioengine=libaio --iodepth=16 --fallocate=none
run osync --rw=write --bs=4K --direct=1 --sync=dsync --ioengine=psync --size=1M
remount_fs img
for job in dio-seq dio-rand dio-sync buf-seq mmap; do
	case $job in
	dio-seq) args=(--rw=write --bs=64K) ;;
	buf-seq) args=(--rw=write --bs=128K) ;;
	dio-sync) args=(--rw=randwrite --bs=8K) ;;
	*) args=(--rw=randwrite --bs=4K) ;;
	esac
	run "$job" "${args[@]}" --verify_only=1
done
crosscheck img
