# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: an error that is not logged, not recorded in the super block, or not followed by what errors= says

only_iomapfs
expect_errors

mkimg good
mount_fs good
mkdir "$MNT/dir"
fill "$MNT/keep" 5000
unmount
# One block that is certainly read: the directory's.
block=$(debugfs -R 'bmap /dir 0' good 2>/dev/null)

ino=$(debugfs -R 'stat /dir' good 2>/dev/null | sed -n 's/^Inode: \([0-9]*\).*/\1/p')

# recorded WHICH: the first or last error in the super block of img is that of the damaged block.
recorded() {
	dumpe2fs -h img >.head 2>/dev/null
	for line in "$1 error err: *EFSCORRUPTED" "$1 error inode #: *$ino" "$1 error block #: *$block" \
		"$1 error function: *[a-z_/]+\.rs" "$1 error line #: *[1-9]"; do
		grep -q -E "^$line" .head || fail "the super block says: $(grep "^$1 error" .head), expected: $line"
	done
}

damaged() {
	cp good img
	no_fsck img
	dd if=/dev/urandom of=img bs="$BS" seek="$block" count=1 conv=notrunc status=none
}

damaged
log_mark
mount_fs img errors=continue
expect_errno EUCLEAN ls "$MNT/dir"
log_since "iomapfs \(loop[0-9]+\): error: inode [0-9]+: block $block \(directory leaf\)"
! grep -q " $MNT .*emergency_ro" /proc/self/mounts || fail "emergency_ro in spite of errors=continue"
fill "$MNT/new" 5000 2
unmount
recorded First
recorded Last
dumpe2fs -h img 2>/dev/null | has_line '^FS Error count: *[1-9]' || fail "the error is not in the super block"
dumpe2fs -h img 2>/dev/null | has_line '^Filesystem state:.*with errors' || fail "the state does not tell of the error"
mount_fs img
same "$MNT/new" 5000 2
unmount

damaged
log_mark
mount_fs img errors=remount-ro
expect_errno EUCLEAN ls "$MNT/dir"
log_since 'read-only from now on'
grep -q " $MNT .*[ ,]rw,.*errors=remount-ro.*,emergency_ro" /proc/self/mounts || fail "/proc/mounts does not show emergency_ro"
expect_errno EROFS touch "$MNT/new"
same "$MNT/keep" 5000
mount -o remount,ro "$MNT"
! mount -o remount,rw "$MNT" 2>/dev/null || fail "can be written after an error with errors=remount-ro"
unmount
recorded Last
dumpe2fs -h img 2>/dev/null | has_line '^Filesystem state:.*with errors' || fail "the state does not tell of the error"
# What the policy is comes from the super block where the options do not say.
damaged
tune2fs -e remount-ro img >/dev/null
mount_fs img
expect_errno EUCLEAN ls "$MNT/dir"
expect_errno EROFS touch "$MNT/new"
unmount

# Found while the volume is frozen: recorded all the same, when it is not any more.
for policy in continue remount-ro; do
	damaged
	mount_fs img "errors=$policy"
	fsfreeze -f "$MNT"
	snapshot img frozen
	no_fsck frozen
	expect_errno EUCLEAN ls "$MNT/dir"
	sleep 1
	# The end of a journal, of which remount-ro makes one, is told to the device at once.
	[ "$policy" = remount-ro ] || cmp img frozen || fail "the device changed while frozen"
	fsfreeze -u "$MNT"
	unmount
	recorded First
done
