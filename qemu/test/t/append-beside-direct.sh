# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a write that makes the file longer and never gets its turn, as somebody always has direct I/O in flight
# blocks: 4096
# parallel: asynchronous direct I/O and appends

disk=/dev/slow
# Each request takes 100 ms.
null_disk slow size=64 irqmode=2 completion_nsec=100000000
mke2fs -q -F -t ext4 -b "$BS" -J size=4 "$disk"
mount_fs "$disk"
requests() { awk '{ print $1 + $5 }' "/sys/block/${disk#/dev/}/stat"; }
busy() { [ "$(requests)" -gt $((before + 8)) ]; }
for rw in randwrite randread; do
	fill "$MNT/$rw" 4M
	sync
	fio --name=direct --filename="$MNT/$rw" --rw="$rw" --direct=1 --ioengine=libaio --iodepth=8 --numjobs=4 --bs=4k --size=4M \
		--fallocate=none \
		--aux-path=/tmp --time_based --runtime=600 >fio.out 2>&1 &
	fio=$!
	# Until there is something in flight.
	before=$(requests)
	within 60 busy
	for n in 1 2 3; do
		timeout 20 dd if=/dev/zero of="$MNT/$rw" bs=1000 count=1 oflag=append conv=notrunc status=none ||
			fail "$rw: append $n waits for ever"
	done
	kill -0 "$fio" || fail "$rw: fio ended before the appends did"
	kill "$fio"
	wait "$fio" || :
	[ "$(stat -c %s "$MNT/$rw")" = $(((4 << 20) + 3000)) ] || fail "$rw: $(stat -c %s "$MNT/$rw") bytes"
done
unmount
rmdir "$null_disks/slow"
