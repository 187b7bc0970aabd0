# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a bad block bitmap of one group that stops all writing, or is used all the same

only_iomapfs
expect_errors
# Several groups, whatever the block size, and few inodes: their tables would fill the first group.
mkimg -s $((BS * 75))K -N 512 img
at=$(dumpe2fs img 2>/dev/null | sed -n 's/.*Block bitmap at \([0-9]*\).*/\1/p' | head -n 1)
printf '\125' | dd of=img bs=1 seek=$((at * BS + BS / 16)) conv=notrunc status=none
no_fsck img
log_mark
mount_fs img errors=continue
# Small ones would go to the first group, where the root directory is.
for i in 1 2 3 4; do fill "$MNT/f$i" $((i * i * 50000)) "$i"; done
sync
for i in 1 2 3 4; do same "$MNT/f$i" $((i * i * 50000)) "$i"; done
drop_caches
for i in 1 2 3 4; do same "$MNT/f$i" $((i * i * 50000)) "$i"; done
log_since 'iomapfs.*wrong checksum'
[ "$(dmesg | grep -c 'block bitmap.*wrong checksum')" = 1 ] || fail 'not one line in the log'
unmount
# No block of these files may be in the group with the bad bitmap: e2fsck would find it used twice or free.
e2fsck -fy img >fsck.out 2>&1 || [ $? -le 2 ] || fail 'e2fsck cannot repair it'
! grep -i 'multiply' fsck.out || fail 'blocks with two owners'
mount_ext4 img ro
for i in 1 2 3 4; do same "$MNT/f$i" $((i * i * 50000)) "$i"; done
