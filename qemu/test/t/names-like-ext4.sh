# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a system call on names that comes to something else than on ext4, or leaves another tree

only_iomapfs
compare=$(dirname "${BASH_SOURCE[0]}")/../names-like.py
mkimg -s 128M img
cp img like
mount_fs img
mount_ext4 like "" /run/mnt/like
"$compare" "$MNT" /run/mnt/like "$SEED" "${N:-3000}"
unmount /run/mnt/like
unmount
# What is on the device is what was seen.
mount_ext4 img
mount_ext4 like "" /run/mnt/like
"$compare" "$MNT" /run/mnt/like "$SEED" 0
unmount /run/mnt/like
unmount
