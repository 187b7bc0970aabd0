# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a byte or a size that is wrong after some random sequence of writes and reads in every way, with all modes of
# blocks: one
# fallocate in between

# N operations in each way; 100,000 by hand.
mkimg img
mount_fs img
for way in buffered direct mapped mixed; do
	python3 "$TOP/qemu/test/fallocate-fsx.py" "$MNT/$way" "$BS" "${N:-700}" "$SEED" "$way" || fail "$way (SEED=$SEED)"
done
remount_fs img
for way in buffered direct mapped mixed; do
	cmp "$way.want" "$MNT/$way" || fail "$way, after a remount"
done
crosscheck img
