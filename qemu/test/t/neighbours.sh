# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a hole, zeros or blocks ahead that take bytes of a neighbour with them, or that bring old ones back, while others
# blocks: one
# write, map, read ahead and write back the same pages and extents
# parallel: four workers and one that disturbs them

# N operations of each worker; 20,000 by hand.
mkimg -s 64M img
mount_fs img
for unit in 1024 4096 20480; do
	[ "$unit" -ge "$BS" ] || continue
	"$(dirname "${BASH_SOURCE[0]}")/../neighbours.py" "$MNT/file$unit" "${N:-1500}" "$SEED" 4 "$unit" 64 || fail "unit of $unit bytes (SEED=$SEED)"
	cmp "file$unit.want" "$MNT/file$unit" || fail "unit of $unit bytes, at the end"
done
remount_fs img
for want in file*.want; do
	cmp "$want" "$MNT/${want%.want}" || fail "$want after a remount"
done
crosscheck img
