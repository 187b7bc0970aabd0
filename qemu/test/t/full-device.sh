# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a full device that is noticed only when data is written back, space that is lost or not found again

mkimg -s 24M img
mount_fs img
sync
empty=$(free_blocks)
full() { # command that must end with ENOSPC
	local said
	! said=$(LC_ALL=C "$@" 2>&1) || fail "'$*' found space"
	case $said in
	*'No space left'*) ;;
	*) fail "'$*' said '$said'" ;;
	esac
}
for round in 1 2 3; do
	full dd if=/dev/zero of="$MNT/buffered" bs=64K count=1024 status=none
	sync "$MNT/buffered" || fail "what was accepted could not be written, round $round"
	size=$(stat -c %s "$MNT/buffered")
	[ "$size" -gt 4000000 ] || fail "only $size bytes fit, round $round"
	full dd if=/dev/zero of="$MNT/direct" bs=64K count=1024 oflag=direct status=none
	rm "$MNT/buffered" "$MNT/direct"
	full dd if=/dev/zero of="$MNT/direct" bs=256K count=1024 oflag=direct status=none
	size=$(stat -c %s "$MNT/direct")
	[ "$size" -gt 4000000 ] || fail "only $size bytes fit directly, round $round"
	: >"$MNT/direct"
	truncate -s 20M "$MNT/sparse"
	printf x | dd of="$MNT/sparse" bs=1 seek=19000000 conv=notrunc status=none || fail "no space after a truncate"
	sync
	rm "$MNT/direct" "$MNT/sparse"
done
is_free "$empty"
crosscheck img
