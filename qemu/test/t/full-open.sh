# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: ENOSPC while blocks are free that were chosen ahead for a file, or such blocks kept where nobody writes
# blocks: one

mkimg -s 24M -N 2048 -m 0 img
mount_fs img
sync
empty=$(free_blocks)
all=$(available_blocks)
# Somebody appends, and keeps the file open; somebody else wants all that is left.
for how in '' oflag=direct names mapped; do
	if [ "$how" = names ] || [ "$how" = mapped ]; then
		dd if=/dev/zero of="$MNT/other" bs="$BS" count=$((all - 6291456 / BS - 100)) oflag=direct status=none
	fi
	exec 9<>"$MNT/open"
	dd if=/dev/zero of="$MNT/open" bs=4K count=1536 oflag=direct conv=notrunc status=none
	if [ "$how" = names ]; then
		mkdir "$MNT/many"
		n=0
		while mkdir "$MNT/many/$n" 2>.err; do n=$((n + 1)); done
		grep -q 'No space left' .err || fail "mkdir: $(cat .err)"
	elif [ "$how" = mapped ]; then
		# A file of holes, longer than there is space for: a store that finds none ends the process.
		truncate -s $((200 * BS)) "$MNT/mapped"
		status=0
		python3 - "$MNT/mapped" "$BS" <<'P' || status=$?
import mmap, sys
with open(sys.argv[1], "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
    for at in range(0, len(m), int(sys.argv[2])):
        m[at] = 77
P
		[ "$status" = 135 ] || fail "stores into more than there is ended with status $status"
	else
		expect_errno ENOSPC dd if=/dev/zero of="$MNT/other" bs=64K status=none ${how:+"$how"}
	fi
	sync
	left=$(free_blocks)
	# A direct write for which there is not enough gives back all that it had.
	most=8
	[ "$how" != oflag=direct ] || most=$((65536 / BS))
	[ "$(available_blocks)" -le "$most" ] || fail "'$how': ENOSPC with $(available_blocks) blocks free"
	exec 9>&-
	is_free "$left" "'$how': the file that is closed now had blocks chosen ahead"
	rm -rf "$MNT/open" "$MNT/other" "$MNT/mapped" "$MNT/many"
	is_free "$empty" "'$how': all was removed"
done
# Writeback after the last close chooses what it wants, and no more.
for n in 1 2 3; do
	dd if=/dev/zero of="$MNT/closed" bs=64K count=1 oflag=append conv=notrunc status=none
	is_free $((empty - n * 65536 / BS)) "after append $n"
done
rm "$MNT/closed"
is_free "$empty" "the file was removed"
# Nor does a directory that grows.
mkdir "$MNT/dir"
perl -e 'for (1 .. 400) { my $n = sprintf "%s/%0100d", $ARGV[0], $_; open my $f, ">", $n or die "$n: $!" }' "$MNT/dir"
blocks=$(($(stat -c '%b * %B' "$MNT/dir") / BS))
[ "$blocks" -ge 8 ] || fail "the directory has only $blocks blocks"
is_free $((empty - blocks)) "a directory of $blocks blocks"
rm -r "$MNT/dir"
is_free "$empty" "the directory was removed"
crosscheck img
