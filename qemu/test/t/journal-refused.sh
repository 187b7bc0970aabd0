# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: writing to an image whose journal cannot be used (none, external, fast commits), or refusing to read it

only_iomapfs

mkimg -O ^has_journal none
mount_ext4 none
fill "$MNT/file" 5000
unmount
log_mark
expect_mount_errno EROFS none
log_since 'iomapfs \(loop[0-9]+\): there is no journal'
dev=$(losetup -f --show none)
mount_fs "$dev" ro
same "$MNT/file" 5000
expect_errno EROFS touch "$MNT/new"
log_mark
! mount -o remount,rw "$MNT" 2>/dev/null || fail "remounted for writing without a journal"
log_since 'iomapfs \(loop[0-9]+\): cannot be mounted for writing'
unmount
losetup -d "$dev"

truncate -s 8M jdev
mke2fs -q -F -O journal_dev -b "$BS" jdev
jloop=$(losetup -f --show jdev)
truncate -s 64M external
eloop=$(losetup -f --show external)
mke2fs -q -F -t ext4 -b "$BS" -J device="$jloop" "$eloop"
log_mark
[ "$(mount_errno "$FS" "$eloop" "$MNT")" = EROFS ] || fail "an external journal is not refused"
log_since 'the journal is on another device'
[ "$(mount_errno "$FS" "$eloop" "$MNT" '' ro)" = OK ] || fail "ro does not work with an external journal"
umount "$MNT"
losetup -d "$eloop" "$jloop"

mkimg -O fast_commit fast
mount_ext4 fast
fill "$MNT/file" 5000
# ext4 makes no fast commit before the first commit of a mount.
sync -f "$MNT"
echo more >"$MNT/more"
sync "$MNT/more"
snapshot fast cut
unmount
log_mark
expect_mount_errno EOPNOTSUPP cut
log_since 'fast commits'
mount_fs cut ro,noload
unmount
mount_fs fast
same "$MNT/file" 5000
unmount
# Left as the crash left it.
e2fsck -fp cut >/dev/null || [ $? -eq 1 ]
