# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: an image that is not clean after remount,ro; changes through a read-only mount; none after remount,rw
# blocks: 4096

mkimg img
mount_fs img
fill "$MNT/one" 300000
mount -o remount,ro "$MNT"
snapshot img ro
fsck_clean ro
expect_errno EROFS touch "$MNT/two"
same "$MNT/one" 300000
mount -o remount,rw "$MNT"
fill "$MNT/two" 70000 2
sync
dumpe2fs -h img 2>/dev/null | has_line needs_recovery || fail "writable, and yet no recovery flag"
# Options of the journal and of errors can change, too.
mount -o remount,commit=30,errors=remount-ro,nobarrier "$MNT"
fill "$MNT/three" 70000 3
! mount -o remount,no-such-option "$MNT" 2>/dev/null || fail "an unknown option was taken"
mount -o remount,ro "$MNT"
mount -o remount,rw "$MNT"
crosscheck img
# Mounted read-only from the beginning, then written.
dev=$(losetup -f --show img)
mount_fs "$dev" ro
mount -o remount,rw "$MNT"
fill "$MNT/four" 70000 4
unmount
losetup -d "$dev"
fsck_clean img
