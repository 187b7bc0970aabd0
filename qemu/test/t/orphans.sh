# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: space that an unlinked open file keeps after a crash, orphans of ext4 that are not looked after, list or file

check() { # mke2fs options
	mkimg "$@" img
	mount_fs img
	free=$(stat -f -c %f "$MNT")
	for i in 1 2 3 4 5; do fill "$MNT/f$i" 300000 "$i"; done
	exec 5<"$MNT/f2" 6<"$MNT/f3" 7<"$MNT/f4"
	rm "$MNT/f2" "$MNT/f3" "$MNT/f4"
	# From the middle, the end and the beginning of the list.
	exec 6<&-
	sync "$MNT" "$MNT/f1"
	sync
	snapshot img cut
	snapshot img cut.ext4
	exec 5<&- 7<&-
	rm "$MNT/f1" "$MNT/f5"
	sync
	sync
	[ "$(stat -f -c %f "$MNT")" = "$free" ] || fail "blocks are missing after everything was removed"
	unmount
	fsck_clean img

	mount_fs cut
	[ "$(ls "$MNT")" = "$(printf 'f1\nf5\nlost+found')" ] || fail "wrong files after recovery"
	rm "$MNT/f1" "$MNT/f5"
	sync
	sync
	[ "$(stat -f -c %f "$MNT")" = "$free" ] || fail "orphans kept their blocks"
	unmount
	fsck_clean cut
	mount_ext4 cut.ext4
	unmount
	fsck_clean cut.ext4

	# The other way: ext4 leaves them, we look after them; first read-only, where they must stay.
	mkimg "$@" other
	mount_ext4 other
	free=$(stat -f -c %f "$MNT")
	for i in 1 2 3; do fill "$MNT/f$i" 300000 "$i"; done
	exec 5<"$MNT/f1" 6<"$MNT/f3"
	rm "$MNT/f1" "$MNT/f2" "$MNT/f3"
	sync
	snapshot other left
	exec 5<&- 6<&-
	unmount
	dev=$(losetup -f --show left)
	mount_fs "$dev" ro
	unmount
	mount_fs "$dev"
	[ "$(stat -f -c %f "$MNT")" = "$free" ] || fail "orphans of ext4 kept their blocks"
	unmount
	losetup -d "$dev"
	fsck_clean left
}

check -O ^orphan_file
check -O orphan_file
