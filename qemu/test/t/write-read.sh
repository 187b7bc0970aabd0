# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: bytes that differ after a remount, or that ext4 reads otherwise, for sizes around the edges of a block

mkimg img
mount_fs img
sizes="0 1 $((BS - 1)) $BS $((BS + 1)) 4095 4097 $((12 * BS)) $((13 * BS + 7)) 1M 5000001"
for s in $sizes; do fill "$MNT/f$s" "$s"; done
for s in $sizes; do same "$MNT/f$s" "$s"; done
remount_fs img
for s in $sizes; do same "$MNT/f$s" "$s"; done
crosscheck img
