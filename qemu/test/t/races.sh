# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: two operations on the same file or name at the same moment that leave the volume wrong, or lock each other out
# parallel: four workers on the same names

# N operations of each worker; 20,000 by hand.
mkimg -s 64M img
mount_fs img
for round in 1 2; do
	"$(dirname "${BASH_SOURCE[0]}")/../races.py" "$MNT" "${N:-600}" "$((SEED * 10 + round))" 4 || fail "an operation had an answer that it may not have (SEED=$SEED)"
	remount_fs img
	find "$MNT" -type f -exec cat {} + >/dev/null
	find "$MNT" -ls >/dev/null
done
