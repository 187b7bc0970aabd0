# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a device that begins to fail anywhere in a workload, and costs what was synced, an errno, or a clean recovery
# blocks: one
# seconds: 300
#
# N is the number of cases, SEED the seed of the first one, which a failure tells: with N=1 it is repeated.

only_iomapfs
. "$TOP/qemu/test/faults.sh"
expect_errors

cases=${N:-8}
# What is free holds text, so that a block that is shown without having been written is seen.
{ yes 'stale: nobody has written this to a file' || :; } 2>/dev/null | head -c 24M >fresh
mke2fs -q -F -t ext4 -b "$BS" -J size=4 -E nodiscard,lazy_itable_init=0 fresh 2>.err || fail "$(cat .err)"
cp fresh after
# The blocks that the workload writes: one of them is bad in some cases.
written() {
	mount_fs after
	"$TOP/qemu/test/synced.py" work state "$MNT" "$1" 60
	unmount
	python3 - "$BS" <<'P'
import sys
size = int(sys.argv[1])
with open("fresh", "rb") as a, open("after", "rb") as b:
    old, new = a.read(), b.read()
print(*(at // size for at in range(0, len(old), size) if old[at:at + size] != new[at:at + size]), sep="\n", file=open("blocks", "w"))
P
}
written 1
for n in $(seq "$cases"); do
	seed=$((${SEED:-1} + n - 1))
	RANDOM=$seed
	at=$((RANDOM % 50 + 3))
	until=$((at + RANDOM % 8 + 1))
	# Drawn outside of $(), where random numbers are other ones each time.
	nr=$((RANDOM % $(wc -l <blocks) + 1)) even=$((RANDOM % 2))
	block=$(sed -n "${nr}p" blocks)
	policy=$([ $even = 0 ] && echo continue || echo remount-ro)
	cp --sparse=always fresh img
	faulty_make img
	mount_fs "$FAULTY" "errors=$policy"
	args=()
	case $((seed % 8)) in
	0) what="no write works" && faulty_table error_writes >.bad ;;
	1) what="nothing works" && faulty_table error >.bad ;;
	2) what="block $block cannot be written, nor the cache be flushed" && faulty_table error_writes "$block" >.bad ;;
	3) what="no write works for $((until - at)) operations" && faulty_table error_writes >.bad && args=("$until" 'sh .reload .well') ;;
	4) what="block $block is lost" && faulty_table error "$block" >.bad ;;
	5) what="writes are dropped" && faulty_table drop_writes >.bad && args=("$at" lost) ;;
	6) what="the device has half its size" && faulty_row 0 $((faulty_sectors / 2)) '' >.bad ;;
	7) what="nothing works every other second" && echo "0 $faulty_sectors flakey $faulty_loop 0 1 1" >.bad ;;
	esac
	told="case $n (SEED=$seed): from operation $at on $what, errors=$policy"
	echo "$told"
	"$TOP/qemu/test/synced.py" work state "$MNT" "$seed" 60 "$at" 'sh .reload .bad' "${args[@]}" ||
		fail "$told: the workload"
	unmount
	faulty_well
	faulty_end
	recovers img state "$told"
done
