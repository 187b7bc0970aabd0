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
disks=/sys/kernel/config/nullb disk=/dev/memory times=1000000
mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
. "$TOP/qemu/test/faults.sh"
faults_expected

# A disk that needs no memory of its own once all of it has been written.
mkdir "$disks/memory"
for set in size=32 blocksize=512 memory_backed=1 power=1; do
	echo "${set#*=}" >"$disks/memory/${set%=*}"
done
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
# Before anything fails, all that is to be run is in memory.
mkdir warm
"$TOP/qemu/test/synced.py" work state warm 1 40
for n in $(seq "${N:-1}"); do
	seed=$((${SEED:-1} + n - 1))
	mke2fs -q -F -t ext4 -b "$BS" -J size=4 $disk
	mount_fs $disk errors=remount-ro
	fill "$MNT/kept" 200K
	sync "$MNT/kept"
	chance 40
	"$TOP/qemu/test/synced.py" work state "$MNT" "$seed" 120 >said || fail "SEED=$seed: the workload"
	sync -f "$MNT"
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
	unmount
	e2fsck -fn $disk >.fsck 2>&1 || { cat .fsck; fail "SEED=$seed: e2fsck"; }
	dd if=$disk of=img bs=1M status=none
	recovers img state "SEED=$seed"
done
rm .marking
wait $marker
rmdir "$disks/memory"
