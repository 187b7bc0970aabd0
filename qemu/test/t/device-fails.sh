# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a device that begins to fail and takes the guest with it, is not reported, or costs what was synced before
# blocks: 4096

only_iomapfs

mkimg img
dev=$(losetup -f --show img)
sectors=$(blockdev --getsz "$dev")
dmsetup create failing --table "0 $sectors linear $dev 0"
table() {
	dmsetup suspend --noflush --nolockfs failing
	dmsetup load failing --table "0 $sectors $1"
	dmsetup resume failing
}
mount_fs /dev/mapper/failing
mkdir "$MNT/dir"
fill "$MNT/dir/synced" 300000
sync "$MNT/dir/synced" "$MNT/dir"
sync

log_mark
table error
expect_trouble 'Buffer I/O error|I/O error, dev|lost async page write'
mkdir "$MNT/lost" 2>/dev/null || :
! sync "$MNT" 2>/dev/null || fail "fsync says that a failed commit is durable"
! sync "$MNT" 2>/dev/null || fail "the second fsync says that a failed commit is durable"
log_since 'Aborting journal'
expect_errno EROFS mkdir "$MNT/refused"
log_since 'iomapfs \(dm-[0-9]+\): the journal was aborted: read-only from now on'
same "$MNT/dir/synced" 300000
unmount
table "linear $dev 0"

# The journal brings back what had been synced.
mount_fs /dev/mapper/failing
same "$MNT/dir/synced" 300000
fill "$MNT/new" 70000 2
unmount
dmsetup remove failing
losetup -d "$dev"
fsck_clean img
