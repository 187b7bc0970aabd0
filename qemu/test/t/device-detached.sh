# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a loop device that is detached while mounted, or whose file shrinks, and what was synced is lost, or nobody can unmount

only_iomapfs
expect_errors

# It goes when its last user goes.
mkimg -s 16M img
dev=$(losetup -f --show img)
mount_fs "$dev"
fill "$MNT/before" 100K
losetup -d "$dev"
fill "$MNT/after" 300K 2
sync "$MNT/after"
losetup "$dev" >/dev/null || fail "the device is gone while it is mounted"
unmount
for _ in 1 2 3 4 5; do
	losetup "$dev" >/dev/null 2>&1 || break
	sleep 0.2
done
! losetup "$dev" >/dev/null 2>&1 || fail "the device stays when nobody uses it"
fsck_clean img
mount_fs img
same "$MNT/before" 100K
same "$MNT/after" 300K 2
unmount

# It becomes smaller below its file system, and what is in memory cannot be written.
dev=$(losetup -f --show img)
mount_fs "$dev" errors=continue
mkdir "$MNT/new"
dd if=/dev/zero of="$MNT/large" bs=1M count=8 status=none
truncate -s 8M img
losetup -c "$dev"
! sync -f "$MNT" || fail "what is behind the end of the device is told to be durable"
! dd if=/dev/zero of="$MNT/more" bs=1M count=8 oflag=direct status=none 2>.said ||
	fail "a write behind the end of the device succeeds"
grep -q -E 'Input/output error|Read-only file system' .said || fail "a write behind the end of the device: $(cat .said)"
unmount
losetup -d "$dev"
no_fsck img
expect_mount_errno EINVAL img
