# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: data that is lost, or a file system that is stopped, because writeback, a completion or a commit did not get memory at once
# seconds: 100
# blocks: 4096
# guest: alone
#
# For kernels with fault injection (make debug). N is the number of rounds, SEED the seed of the first one.

only_iomapfs
faults=/sys/kernel/debug
[ -d $faults/failslab ] || skip "this kernel cannot let allocations fail"
disk=/dev/memory times=1000000
. "$TOP/qemu/test/faults.sh"
expect_errors

# A disk that needs no memory of its own once all of it has been written.
null_disk memory size=32
dd if=/dev/zero of=$disk bs=1M count=32 oflag=direct status=none
for what in failslab fail_page_alloc; do
	echo 0 >$faults/$what/verbose
	echo N >$faults/$what/ignore-gfp-wait
	echo Y >$faults/$what/task-filter
	echo $times >$faults/$what/times
done
echo N >$faults/fail_page_alloc/ignore-gfp-highmem
echo 0 >$faults/fail_page_alloc/min-order
chance() {
	for what in failslab fail_page_alloc; do echo "$1" >$faults/$what/probability; done
}
trap 'chance 0; rm -f .marking' EXIT
# Workers come and go, and are known by what they did last. Those of others, who read the guest's root, are to be left alone.
mark() {
	while [ -e .marking ]; do
		for p in /proc/[0-9]*; do
			read -r name <"$p/comm" || continue
			case $name in
			kworker/*iomapfs* | kworker/*flush-* | jbd2/*) echo 1 >"$p/make-it-fail" ;;
			kworker/*) echo 0 >"$p/make-it-fail" ;;
			esac
		done 2>/dev/null
		sleep 0.3
	done
}
: >.marking
mark &
marker=$!
# Files in so many pieces that the map of each needs memory for the first block that is chosen; written by a worker.
cat >pieces.py <<'P'
import os, sys
page = bytes(range(256)) * 16
what, top = sys.argv[1:]
for f in range(20):
    fd = os.open(f"{top}/{f}", os.O_RDWR | os.O_CREAT)
    for i in range(31):
        if what == "write":
            os.pwrite(fd, page, i * 12288)
        elif os.pread(fd, 4096, i * 12288) != page:
            sys.exit(f"file {f}, piece {i}: other bytes than were written")
P
# Before anything fails, all that is to be run is in memory.
mkdir warm
python3 -SE pieces.py write warm
"$TOP/qemu/test/synced.py" work state warm 1 40
for n in $(seq "${N:-1}"); do
	seed=$((${SEED:-1} + n - 1))
	mke2fs -q -F -t ext4 -b "$BS" -J size=4 $disk
	mount_fs $disk errors=remount-ro
	fill "$MNT/kept" 200K
	sync "$MNT/kept"
	chance 40
	"$TOP/qemu/test/synced.py" work state "$MNT" "$seed" 120 >said || fail "SEED=$seed: the workload"
	mkdir "$MNT/pieces"
	python3 -SE pieces.py write "$MNT/pieces"
	sync
	sync -f "$MNT" || fail "SEED=$seed: what writeback could not write at once is lost"
	chance 0
	cat said
	grep -q ' no error$' said || fail "SEED=$seed: what must wait for memory has failed: $(cat said)"
	failed=$((2 * times - $(cat $faults/failslab/times) - $(cat $faults/fail_page_alloc/times)))
	[ "$failed" -gt "${before:-0}" ] || fail "no allocation has failed, so this tests nothing"
	echo "$((failed - ${before:-0})) allocations have failed"
	before=$failed
	! grep -q " $MNT .*emergency_ro" /proc/self/mounts || fail "SEED=$seed: the lack of memory has stopped all changes"
	fill "$MNT/late" 300K 2
	sync "$MNT/late"
	drop_caches
	same "$MNT/kept" 200K
	same "$MNT/late" 300K 2
	python3 -SE pieces.py check "$MNT/pieces" || fail "SEED=$seed: pieces"
	unmount
	e2fsck -fn $disk >.fsck 2>&1 || { cat .fsck; fail "SEED=$seed: e2fsck"; }
	dd if=$disk of=img bs=1M status=none
	recovers img state "SEED=$seed"
done
rm .marking
wait $marker
rmdir "$null_disks/memory"
