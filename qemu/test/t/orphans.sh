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

# ext4 makes the size of what it frees 0 first. A crash right after that leaves an orphan without a size, and with all blocks.
half_freed() { # mke2fs options
	local what ino last=0
	mkimg "$@" half
	no_fsck half
	mount_fs half
	fill "$MNT/file" 300000
	mkdir "$MNT/dir"
	(cd "$MNT/dir" && seq -f "a-name-long-enough-to-need-some-room-%05.0f" 500 | xargs touch)
	ln -s "$(printf 'x%.0s' {1..200})" "$MNT/link"
	unmount
	for what in file dir link; do
		ino=$(debugfs -R "stat /$what" half 2>/dev/null | sed -n 's/^Inode: \([0-9]*\).*/\1/p')
		printf '%s\n' "unlink /$what" "sif <$ino> links_count 0" "sif <$ino> size 0" "sif <$ino> dtime @$last"
		last=$ino
	done >.commands
	echo "ssv last_orphan $last" >>.commands
	debugfs -w -f .commands half >.debugfs 2>&1
	cp --sparse=always half half.ext4
	log_mark
	mount_fs half
	unmount
	log_since 'iomapfs.*: 3 deleted inodes were freed'
	mount_ext4 half.ext4
	unmount
	# The names in the directory are lost in both.
	e2fsck -fn half 2>&1 | grep -v '^half' >.ours || :
	e2fsck -fn half.ext4 2>&1 | grep -v '^half' >.ext4 || :
	diff .ours .ext4 >&2 || fail "e2fsck finds something else than after ext4 has freed them"
	! has_line 'Block bitmap' <.ours || fail "blocks are lost"
}

half_freed -O ^orphan_file
half_freed -O ^orphan_file,^metadata_csum
check -O ^orphan_file
check -O orphan_file

# A file without extents, as ext3 made them: what we cannot free is left as it is to who can, and is no error.
mkimg -O ^orphan_file old
mount_ext4 old
fill "$MNT/mapped" 5000
sync
chattr -e "$MNT/mapped"
exec 5<"$MNT/mapped"
rm "$MNT/mapped"
sync
snapshot old left
exec 5>&-
unmount
mount_fs left
mount -o remount,ro "$MNT"
log_mark
mount -o remount,rw "$MNT"
log_since 'iomapfs.*: orphan inode [0-9]+: the inode has a form that is not supported'
exec 5>"$MNT/ours"
text 300000 >&5
rm "$MNT/ours"
sync
exec 5>&-
unmount
log_mark
mount_ext4 left
log_since 'EXT4-fs.*: 1 orphan inode deleted'
unmount
fsck_clean left
