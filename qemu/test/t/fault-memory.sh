# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: an allocation that fails and leaves a lock held, something half done, a leak, a deleted inode, or damage on disk
# seconds: 200
# blocks: 4096
# guest: alone --allow at.remove_proc_entry
#
# For kernels with fault injection (make debug). jbd2 does not look whether it could make its folder in /proc/fs/jbd2, and
# removes it all the same: that is the warning that is allowed.

only_iomapfs
faults=/sys/kernel/debug
[ -e /proc/self/fail-nth ] && [ -d $faults/failslab ] || skip "this kernel cannot let allocations fail"
expect_errors
expect_trouble 'at remove_proc_entry'
for what in failslab fail_page_alloc; do
	echo 0 >$faults/$what/verbose
	echo N >$faults/$what/ignore-gfp-wait
done
echo N >$faults/fail_page_alloc/ignore-gfp-highmem
echo 0 >$faults/fail_page_alloc/min-order

# Nothing of this is an error of the file system, which would stop it.
mkimg -s 32M -N 2048 -J size=4 img
mount_fs img errors=remount-ro
fill "$MNT/kept" 300K
sync "$MNT/kept"
mkdir "$MNT/d"
"$TOP/qemu/test/fail-nth.py" files "$MNT/d"
same "$MNT/kept" 300K
! grep -q " $MNT .*emergency_ro" /proc/self/mounts || fail "the lack of memory has stopped all changes"
crosscheck img

# Mounts: an image that is clean, and one with a journal to replay and an inode that was deleted while it was open.
mkimg -s 10M -N 128 -J size=4 img
mount_fs img
exec 9<>"$MNT/deleted"
dd if=/dev/zero of="$MNT/deleted" bs=64K count=4 status=none
rm "$MNT/deleted"
mkdir "$MNT/replayed"
sync
snapshot img dirty
exec 9>&-
unmount
dev=$(losetup -f --show img)
"$TOP/qemu/test/fail-nth.py" mounts "$dev" "$MNT"
losetup -d "$dev"
cp --sparse=always dirty saved
dev=$(losetup -f --show dirty)
"$TOP/qemu/test/fail-nth.py" mounts "$dev" "$MNT" "cat saved >dirty"
losetup -d "$dev"
mount_fs dirty
[ -d "$MNT/replayed" ] || fail "what was in the journal is lost"
crosscheck dirty
