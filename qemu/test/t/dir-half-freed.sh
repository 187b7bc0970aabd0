# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: replay of the journal that writes a directory's blocks over data, where freeing the directory ended with an error
# blocks: 1024

only_iomapfs
expect_errors
# Small groups, each with its own bitmaps in front, so that the directory has extents in several.
mkimg -g 512 -N 1024 -O ^flex_bg img
no_fsck img
mount_fs img
mkdir "$MNT/dir"
: >"$MNT/file"
perl -e 'for (1 .. $ARGV[1]) { my $n = sprintf "%s/%0200d", $ARGV[0], $_; link "$ARGV[0]/../file", $n or die "$n: $!" }' \
	"$MNT/dir" 3000
unmount
# Somewhere in it, where it goes on in another group, a block is free, so the bitmap says. (Blocks are freed from the
# end on, 64 at most in a transaction. The space of a group is no multiple of that, so one of two ends of groups is within
# such a piece.)
read -r block group < <(debugfs -R "blocks /dir" img 2>/dev/null | python3 -c '
import sys
blocks = [int(block) for block in sys.stdin.read().split()]
groups = [(block - 1) // 512 for block in blocks]
found = [i for i in range(1, len(blocks)) if groups[i] != groups[i - 1] and (len(blocks) - i) % 64 != 0]
print(blocks[found[-1] - 1], groups[found[-1] - 1])') || fail "the directory goes on in no other group"
free=$(dumpe2fs img 2>/dev/null | awk -v group="Group $group:" 'index($0, group) { here = 1 } here && /free blocks/ { print $1; here = 0 }')
printf '%s\n' "freeb $block" "set_bg $group free_blocks_count $((free + 1))" "set_bg $group checksum calc" >commands
debugfs -w -f commands img >debugfs.out 2>&1
log_mark
mount_fs img errors=continue
# Every block of the directory gets into the journal, and then most of them are free.
before=$(free_blocks)
rm -r "$MNT/dir"
log_since 'iomapfs.*is deleted, but not freed'
# Commits, and leaves in the journal what is there.
touch "$MNT/file"
sync "$MNT/file"
[ "$(free_blocks)" -gt "$before" ] || fail "nothing was freed"
# They are used again, as data, while the journal still has what was in them.
text 64M >.data
expect_errno ENOSPC dd if=.data of="$MNT/data" bs=64K oflag=direct
sync "$MNT/data"
truncate -s "$(stat -c %s "$MNT/data")" .data
snapshot img cut
no_fsck cut
cp --sparse=always cut cut.ext4
cmp .data "$MNT/data" || fail "data"
unmount
mount_fs cut
cmp .data "$MNT/data" || fail "our replay wrote over data"
unmount
mount_ext4 cut.ext4
cmp .data "$MNT/data" || fail "the replay of ext4 wrote over data"
unmount
