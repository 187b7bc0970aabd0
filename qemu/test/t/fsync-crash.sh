# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a file lost or short after a power cut although fsync had returned, or an image that recovery cannot mend

mkimg img
mount_fs img
fill "$MNT/synced" 2M
sync "$MNT/synced"
mkdir "$MNT/dir"
fill "$MNT/dir/second" 100001 7
sync "$MNT/dir/second" "$MNT/dir"
fill "$MNT/unsynced" 1M 3
snapshot img cut
snapshot img cut.ext4
unmount

# Our own recovery, then ext4's.
mount_fs cut
same "$MNT/synced" 2M
same "$MNT/dir/second" 100001 7
crosscheck cut
mount_ext4 cut.ext4
same "$MNT/synced" 2M
same "$MNT/dir/second" 100001 7
unmount
fsck_clean cut.ext4
