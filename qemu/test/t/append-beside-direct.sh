# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a write that makes the file longer and never gets its turn, as somebody always has direct I/O in flight; an
# asynchronous append (O_APPEND) that is waited for, or of which not to wait is refused always
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
# What is appended is not waited for, unless something is in flight.
only_iomapfs
text 64K >.text
: >"$MNT/log"
append() { "$TOP/qemu/test/aio-write.py" "$MNT/log" 0 "$@" <.text; }
not_waited_for() {
	# Whoever may not wait reads no bitmap.
	append 4096 append >/dev/null
	got=$(append 8192 append nowait)
	[ "$got" != 'later 8192' ] || return 0
	[ "$got" = EAGAIN ] || [ "$got" = 8192 ] || fail "append: $got"
	return 1
}
within 60 not_waited_for
[ "$(append 4096 append)" = 'later 4096' ] || [ "$(append 4096 append)" = 'later 4096' ] || fail "an append is waited for"
# Each goes behind the one before, though all are submitted at the same time.
size=$(stat -c %s "$MNT/log")
appends=()
for n in 1 2 3 4; do
	append 16384 append >".append$n" &
	appends+=($!)
done
all_end "${appends[@]}"
[ "$(stat -c %s "$MNT/log")" = $((size + 65536)) ] || fail "$(stat -c %s "$MNT/log") bytes"
for n in 0 1 2 3; do
	cmp -n 16384 .text <(tail -c +$((size + n * 16384 + 1)) "$MNT/log") || fail "append $n"
done
# A part of a block is waited for: the rest of it is zeroed.
[ "$(append 512 append)" = 512 ] || fail "append of a sector"
[ "$(append 4096 append nowait)" = EAGAIN ] || fail "an append at a part of a block does not wait"
unmount
rmdir "$null_disks/slow"
