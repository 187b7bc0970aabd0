# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: space that is lost or given out twice when the file system is full, or freed and not to be had at once

mkimg -s 32M -m 0 img
mount_fs img
free() { stat -f -c %f "$MNT"; }
empty=$(free)
# What nobody gets, so that data that was accepted finds its way: 2 %.
kept=$((32 * 1024 * 1024 / BS / 50))

for round in 1 2; do
	# Direct and buffered, until nothing is left.
	expect_errno ENOSPC dd if=/dev/zero of="$MNT/direct" bs=64k oflag=direct
	expect_errno ENOSPC dd if=/dev/zero of="$MNT/rest" bs=1k conv=fsync
	sync
	left=$(free)
	[ "$left" -ge $kept ] && [ "$left" -le $((kept + 16)) ] || fail "round $round: $left blocks are left of $empty"
	# What was just freed is there for the next write, without waiting for a commit that nobody asks for.
	rm "$MNT/direct"
	fill "$MNT/direct" 12M
	same "$MNT/direct" 12M
	rm "$MNT/direct" "$MNT/rest"
	sync
	now=$(free)
	[ "$now" = "$empty" ] || fail "round $round: $now blocks are free of $empty"
done

# Many small files until blocks or inodes run out, and all gone again.
mkdir "$MNT/d"
expect_errno ENOSPC split -a 5 -b 5000 /dev/zero "$MNT/d/"
sync
n=$(find "$MNT/d" -type f | wc -l)
[ "$n" -gt 1000 ] || fail "only $n small files fit"
rm -r "$MNT/d"
sync
now=$(free)
[ "$now" = "$empty" ] || fail "after $n small files $now blocks are free of $empty"

# One direct write of more than there is: it fails, and keeps nothing, though the file stays open.
exec 8>"$MNT/large"
sync
before=$(free)
expect_errno ENOSPC dd if=/dev/zero of="$MNT/large" bs=48M count=1 oflag=direct conv=notrunc
now=$(free)
[ "$now" = "$before" ] || fail "a direct write that failed keeps $((before - now)) blocks"
fill "$MNT/other" 16M
sync "$MNT/other"
rm "$MNT/other"
exec 8>&-
said=$("$TOP/qemu/test/aio-write.py" "$MNT/large" 0 $((48 << 20)) </dev/zero)
[ "$said" = ENOSPC ] || fail "an asynchronous write of more than there is: $said"
sync
now=$(free)
[ "$now" = "$before" ] || fail "an asynchronous direct write that failed keeps $((before - now)) blocks"
unmount
fsck_clean img

# What is kept for root it can use for everything.
mkimg -s 32M -m 5 img
mount_fs img
chmod 777 "$MNT"
expect_errno ENOSPC setpriv --reuid 1000 --clear-groups dd if=/dev/zero of="$MNT/user" bs=1k conv=fsync
n=0
while setpriv --reuid 1000 --clear-groups mkdir "$MNT/theirs$n" 2>/dev/null; do n=$((n + 1)); done
expect_errno ENOSPC setpriv --reuid 1000 --clear-groups mkdir "$MNT/theirs$n"
mkdir "$MNT/roots"
for i in $(seq 100); do : >"$MNT/roots/$(printf "%0100d" "$i")"; done
ln -s "$(printf "%0900d" 1)" "$MNT/roots/link"
fill "$MNT/roots/file" 100K
sync
crosscheck img
