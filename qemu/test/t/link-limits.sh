# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a link too many or too few where the count ends, of files and directories, also where two names change places
# blocks: one

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
# expect_exchange OK|ERRNO OLD NEW LINKS MANY: two names change places, or not; then /side has LINKS and the other one MANY.
expect_exchange() {
	local got dir=$2
	[[ $dir != side/* ]] || dir=$3
	dir=${dir%/*}
	got=$(exchange "$MNT/$2" "$MNT/$3")
	[ "$got $(links side) $(links "$dir")" = "$1 $4 $5" ] ||
		fail "$features: $2 and $3 changed places: $got, then $(links side) and $(links "$dir") links, expected $1, $4 and $5"
}

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

	# A directory for something else: one more on one side, one less on the other.
	mkdir -p "$MNT/side/dir" "$MNT/side/dir2"
	touch "$MNT/side/file"
	expect_exchange EMLINK side/dir plain/file 4 65000
	expect_exchange EMLINK plain/file side/dir 4 65000
	[ -f "$MNT/plain/file" ] && [ -d "$MNT/side/dir" ] || fail "what could not change places has changed them"
	expect_exchange OK side/dir plain/1 4 65000
	expect_exchange OK side/file plain/file 4 65000
	expect_exchange OK plain/1 side/file 5 64999
	expect_exchange OK side/dir plain/file 4 65000
	expect_exchange EMLINK side/dir2 plain/1 4 65000

	mkdir "$MNT/hashed/1" "$MNT/hashed/2"
	[ "$(links hashed)" = 65000 ] || fail "a hashed directory has $(links hashed) links"
	touch "$MNT/hashed/file"
	if [ "$features" = dir_nlink ]; then
		mkdir "$MNT/hashed/3"
		[ "$(links hashed)" = 1 ] || fail "a hashed directory has $(links hashed) links with one too many"
		mkdir "$MNT/hashed/4"
		rmdir "$MNT/hashed/3"
		mv "$MNT/hashed/4" "$MNT/moved"
		mv "$MNT/moved" "$MNT/hashed"
		[ "$(links hashed)" = 1 ] || fail "a hashed directory whose links are not counted has $(links hashed)"
		unmount
		debugfs -w -R 'sif /hashed links_count 65000' img 2>/dev/null
		mount_fs img
		expect_exchange OK side/dir2 hashed/file 3 1
		expect_exchange OK side/dir2 hashed/file 4 1
		rm -r "$MNT/hashed"
	else
		expect_errno EMLINK mkdir "$MNT/hashed/3"
		expect_exchange EMLINK side/dir2 hashed/file 4 65000
	fi
	unmount
done
