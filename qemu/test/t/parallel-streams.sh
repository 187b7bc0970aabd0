# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: files that are appended to at the same time and get each other's blocks in between
# blocks: one
# parallel: four writers

only_iomapfs
mkimg -s 192M img
mount_fs img
jobs=4
pids=()
for i in $(seq $jobs); do
	dd if=/dev/zero of="$MNT/direct$i" bs=4k count=1500 oflag=direct status=none &
	pids+=($!)
done
all_end "${pids[@]}"
pids=()
for i in $(seq $jobs); do
	(for _ in $(seq 60); do head -c 100000 /dev/zero >>"$MNT/buffered$i"; done; sync "$MNT/buffered$i") &
	pids+=($!)
done
all_end "${pids[@]}"
unmount
for i in $(seq $jobs); do
	for f in direct buffered; do
		# The lines of leaf extents have the length in the last column.
		n=$(debugfs -R "dump_extents -l $f$i" img 2>/dev/null | grep -c '^ *[0-9]')
		echo "$f$i: $n extents"
		[ "$n" -gt 0 ] || fail "$f$i has no extents"
		[ "$n" -le 24 ] || fail "$f$i has $n extents"
	done
done
