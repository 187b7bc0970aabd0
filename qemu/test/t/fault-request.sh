# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: one request to the device, of any kind, that fails when all others work, and costs what was synced, an errno, or a clean recovery
# seconds: 200
# blocks: 4096
#
# For kernels with fault injection (make debug). N is the number of cases, SEED the seed of the first one.

only_iomapfs
faults=/sys/kernel/debug/fail_make_request
[ -d $faults ] || skip "this kernel cannot let requests fail"
. "$TOP/qemu/test/faults.sh"
expect_errors

{ yes 'stale: nobody has written this to a file' || :; } 2>/dev/null | head -c 24M >fresh
mke2fs -q -F -t ext4 -b "$BS" -J size=4 -E nodiscard,lazy_itable_init=0 fresh 2>.err || fail "$(cat .err)"
echo 0 >$faults/verbose
echo 0 >$faults/probability
# arm EVERY TIMES: the next request fails, or each one of EVERY, TIMES in all.
cat >.arm <<A
echo "\$1" >$faults/interval
echo "\$2" >$faults/times
echo 100 >$faults/probability
A
trap 'echo 0 >$faults/probability' EXIT
failed=0
for n in $(seq "${N:-3}"); do
	seed=$((${SEED:-1} + n - 1))
	RANDOM=$seed
	at=$((RANDOM % 50 + 3)) every=$((RANDOM % 20 + 1)) times=$((RANDOM % 3 + 1)) even=$((RANDOM % 2))
	# Drawn outside of $(), where random numbers are other ones each time.
	policy=$([ $even = 0 ] && echo continue || echo remount-ro)
	told="case $n (SEED=$seed): from operation $at on $times of $every requests, errors=$policy"
	echo "$told"
	cp --sparse=always fresh img
	dev=$(losetup -f --show img)
	mount_fs "$dev" "errors=$policy"
	echo 1 >"/sys/block/${dev#/dev/}/make-it-fail"
	"$TOP/qemu/test/synced.py" work state "$MNT" "$seed" 60 "$at" "sh .arm $every $times" || fail "$told: the workload"
	[ "$(cat $faults/times)" = "$times" ] || failed=$((failed + 1))
	echo 0 >$faults/probability
	echo 0 >"/sys/block/${dev#/dev/}/make-it-fail"
	unmount
	losetup -d "$dev"
	recovers img state "$told"
done
[ "$failed" -gt 0 ] || fail "no request has failed, so this tests nothing"
