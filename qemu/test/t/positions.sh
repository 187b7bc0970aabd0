# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a name that stays and is listed twice or not at all where a listing is resumed while names come and go
# blocks: one
# seconds: 120

# More by hand: N=
mkimg img
mount_fs img
python3 "$TOP/qemu/test/positions.py" "$MNT" "${N:-1500}" "$SEED"
mkdir "$MNT/few"
# ext4 leaves names out there, with small blocks, once the folder has grown from one block.
[ "$FS" = ext4 ] || python3 "$TOP/qemu/test/positions.py" "$MNT/few" 12 "$SEED"
crosscheck img
