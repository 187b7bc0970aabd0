# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a frozen device that is not consistent as it is, or changes while frozen; writers that are not let go, or not counted
# parallel: writers while the volume freezes and thaws

mkimg img
mount_fs img
mkdir "$MNT/dir"
fill "$MNT/dir/one" 300000
fsfreeze -f "$MNT"
# Clean without any recovery: this is what a snapshot would be.
snapshot img frozen
fsck_clean frozen
touch "$MNT/dir/two" &
writer=$!
sleep 1
kill -0 "$writer" || fail "a frozen file system was changed"
cmp img frozen || fail "the device changed while frozen"
fsfreeze -u "$MNT"
wait "$writer"
[ -e "$MNT/dir/two" ] || fail "the writer was not let go"
fill "$MNT/dir/three" 70000 3
sync
dumpe2fs -h img 2>/dev/null | has_line needs_recovery || fail "thawed, and yet no recovery flag"
# A second time, without anything to do.
fsfreeze -f "$MNT"
fsfreeze -u "$MNT"
same "$MNT/dir/one" 300000
same "$MNT/dir/three" 70000 3
# The first file is opened while frozen: what is noted of that is not, and nobody is taken for a writer that has ended.
unmount
mount_fs img
fsfreeze -f "$MNT"
same "$MNT/dir/one" 300000
fsfreeze -u "$MNT"
fsfreeze -f "$MNT" &
freezer=$!
for _ in {1..50}; do
	kill -0 "$freezer" 2>/dev/null || break
	sleep 0.2
done
kill -0 "$freezer" 2>/dev/null && fail "a second freeze waits for a writer that there is not"
wait "$freezer"
fsfreeze -u "$MNT"
crosscheck img
mount_fs frozen
same "$MNT/dir/one" 300000
unmount
