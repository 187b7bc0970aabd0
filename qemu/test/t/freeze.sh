# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a frozen device that is not consistent as it is, or changes while frozen; writers that are not let go, or not counted; a
# store to a mapping that goes on
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
# Who stores to a mapping waits, too; who reads does not.
python3 - "$MNT" <<'P'
import mmap, os, signal, subprocess, sys, time
top = sys.argv[1]
fd = os.open(top + "/dir/three", os.O_RDWR)
view = mmap.mmap(fd, 65536)
for begun, at in ("never", 0), ("before", 8192):
    if begun == "before":
        view[at] = ord("o")
    subprocess.run(["fsfreeze", "-f", top], check=True)
    loaded = view[4096 * 3]
    pid = os.fork()
    if pid == 0:
        view[at] = ord("s")
        os._exit(0)
    time.sleep(1)
    waits = os.waitpid(pid, os.WNOHANG)[0] == 0
    there = os.pread(fd, 1, at)
    subprocess.run(["fsfreeze", "-u", top], check=True)
    if not waits or there == b"s":
        sys.exit(f"a store to a page that was stored to {begun} went on while it was frozen")
    os.waitpid(pid, 0)
    if os.pread(fd, 1, at) != b"s":
        sys.exit("a store that waited for the thaw is lost")
P
fill "$MNT/dir/three" 70000 3
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
