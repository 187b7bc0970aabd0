# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a device that begins to fail and takes the guest with it, is not reported, or costs what was synced before
# blocks: 4096

only_iomapfs
. "$TOP/qemu/test/faults.sh"

mkimg img
faulty_make img
mount_fs "$FAULTY"
mkdir "$MNT/dir"
fill "$MNT/dir/synced" 300000
sync "$MNT/dir/synced" "$MNT/dir"
sync

log_mark
faulty error
expect_errors
mkdir "$MNT/lost" 2>/dev/null || :
! sync "$MNT" 2>/dev/null || fail "fsync says that a failed commit is durable"
! sync "$MNT" 2>/dev/null || fail "the second fsync says that a failed commit is durable"
log_since 'Aborting journal'
expect_errno EROFS mkdir "$MNT/refused"
log_since 'iomapfs \(dm-[0-9]+\): the journal was aborted: read-only from now on'
same "$MNT/dir/synced" 300000
unmount
faulty_well

# The journal brings back what had been synced.
mount_fs "$FAULTY"
same "$MNT/dir/synced" 300000
fill "$MNT/new" 70000 2
unmount
faulty_end
fsck_clean img
