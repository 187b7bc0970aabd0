# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a listing of a very long directory that cannot be killed before its end

mkimg img
# Blocks without names: one getdents(2) goes through all of them.
blocks=1000
{
	echo 'mkdir dir'
	yes 'expand_dir dir' | head -n "$blocks"
} | debugfs -w -f - img >/dev/null 2>&1 || :
dev=$(losetup -f --show img)
sectors=$(blockdev --getsz "$dev")
dmsetup create slow --table "0 $sectors linear $dev 0"
table() {
	dmsetup suspend --noflush --nolockfs slow
	dmsetup load slow --table "0 $sectors $1"
	dmsetup resume slow
}
mount_fs /dev/mapper/slow
[ "$(stat -c %s "$MNT/dir")" -ge $((blocks * BS)) ] || fail "the directory was not made longer"
dm=dm-$(dmsetup info -c --noheadings -o minor slow)
read_blocks() { awk -v bs="$BS" '{ print int($3 * 512 / bs) }' "/sys/block/$dm/stat"; }

# 50 ms for each read, which is as many blocks as are read ahead.
table "delay $dev 0 50"
before=$(read_blocks)
ls "$MNT/dir" >/dev/null &
pid=$!
until [ $(($(read_blocks) - before)) -ge 20 ]; do
	kill -0 "$pid" 2>/dev/null || fail "the listing has ended by itself"
	sleep 0.01
done
kill -9 "$pid"
status=0
wait "$pid" 2>/dev/null || status=$?
n=$(($(read_blocks) - before))
[ "$status" = 137 ] || fail "the listing ended with $status"
[ "$n" -lt $((blocks / 2)) ] || fail "$n of $blocks blocks were read for a task that was killed at the twentieth"

table "linear $dev 0"
[ -z "$(ls "$MNT/dir")" ] || fail "the directory has names"
unmount
dmsetup remove slow
losetup -d "$dev"
