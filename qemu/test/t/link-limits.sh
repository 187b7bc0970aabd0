# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a link too many or too few where the count ends, of files and of directories, with and without dir_nlink

# at_edge IMAGE: /file, /plain (one block) and /hashed get a count just below the most.
at_edge() {
	mount_ext4 "$1"
	touch "$MNT/file"
	mkdir "$MNT/plain" "$MNT/hashed" "$MNT/other"
	(cd "$MNT/hashed" && seq -f "subdirectory-with-a-long-name-%030.0f" 90 | xargs mkdir)
	unmount
	for name in file plain hashed; do debugfs -w -R "sif /$name links_count 64998" "$1" 2>/dev/null; done
}
links() { stat -c %h "$MNT/$1"; }

for features in dir_nlink ^dir_nlink; do
	mkimg -O "$features" img
	no_fsck img
	at_edge img
	mount_fs img
	debugfs -R 'stat /hashed' img 2>/dev/null | has_line 'Flags: 0x81000' || fail "the directory is not hashed"
	ln "$MNT/file" "$MNT/f1"
	ln "$MNT/file" "$MNT/f2"
	[ "$(links file)" = 65000 ] || fail "a file has $(links file) links"
	expect_errno EMLINK ln "$MNT/file" "$MNT/f3"
	rm "$MNT/f1"
	ln "$MNT/file" "$MNT/f3"

	mkdir "$MNT/plain/1" "$MNT/plain/2"
	[ "$(links plain)" = 65000 ] || fail "a directory has $(links plain) links"
	expect_errno EMLINK mkdir "$MNT/plain/3"
	expect_errno EMLINK mv "$MNT/other" "$MNT/plain/other"
	touch "$MNT/plain/file"
	# One for another one.
	mv -T "$MNT/other" "$MNT/plain/1"
	[ "$(links plain)" = 65000 ] || fail "a directory has $(links plain) links after one took the place of another"

	mkdir "$MNT/hashed/1" "$MNT/hashed/2"
	[ "$(links hashed)" = 65000 ] || fail "a hashed directory has $(links hashed) links"
	if [ "$features" = dir_nlink ]; then
		mkdir "$MNT/hashed/3"
		[ "$(links hashed)" = 1 ] || fail "a hashed directory has $(links hashed) links with one too many"
		mkdir "$MNT/hashed/4"
		rmdir "$MNT/hashed/3"
		mv "$MNT/hashed/4" "$MNT/moved"
		mv "$MNT/moved" "$MNT/hashed"
		[ "$(links hashed)" = 1 ] || fail "a hashed directory whose links are not counted has $(links hashed)"
		remount_fs img
		rm -r "$MNT/hashed"
	else
		expect_errno EMLINK mkdir "$MNT/hashed/3"
	fi
	unmount
done
