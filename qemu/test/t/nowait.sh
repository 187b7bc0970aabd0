# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: RWF_NOWAIT that waits for the device or an allocation, that is refused where nothing has to be waited for, or that
# leaves something behind when it gives up

# ext4 has no buffered writes that do not wait.
only_iomapfs
mkimg img
mount_fs img
fill "$MNT/f" 1M
fill "$MNT/d" 1M
text 1M >.want.f
text 1M >.want.d
sync
drop_caches
python3 - "$MNT" <<'P'
import errno, mmap, os, sys
f = os.open(sys.argv[1] + "/f", os.O_RDWR)
path = sys.argv[1] + "/d"
d = os.open(path, os.O_RDWR | os.O_DIRECT)
size = os.fstat(d).st_size
page = mmap.mmap(-1, 4096)
page[:] = b"n" * 4096
NOWAIT = os.RWF_NOWAIT
def tried(what, *args):
    """The result, or None for EAGAIN."""
    try:
        return what(*args)
    except BlockingIOError:
        return None
def soon(what, *args):
    """Something else may hold a lock just then; but not always."""
    for _ in range(1000):
        os.pwrite(f, b"w", 300000)
        os.pwrite(d, page, 4096)
        got = tried(what, *args)
        if got is not None:
            return got
    sys.exit(f"{what.__name__} at {args[-2]} always gives EAGAIN")
def never(what, *args):
    got = tried(what, *args)
    if got is not None:
        sys.exit(f"{what.__name__} at {args[-2]} had to wait, and gives {got}")

# Of the cache. (Whether a read from the device is over before anybody looks is a matter of luck.)
os.pread(f, 65536, 0)
assert soon(os.preadv, f, [bytearray(4096)], 0, NOWAIT) == 4096
assert soon(os.pwritev, f, [b"b" * 4096], 8192, NOWAIT) == 4096
os.fsync(f)

# Direct, over data that is mapped, of which somebody has read the map.
assert soon(os.pwritev, d, [page], 65536, NOWAIT) == 4096
assert soon(os.preadv, d, [page], 65536, NOWAIT) == 4096
# Where blocks have to be found.
never(os.pwritev, d, [page], size, NOWAIT)
never(os.pwritev, d, [page], size + (1 << 20), NOWAIT)
os.truncate(path, size + 65536)
never(os.pwritev, d, [page], size + 4096, NOWAIT)
os.truncate(path, size)
# At the end of the file, where the rest of the block is zeroed, and with O_APPEND.
os.truncate(path, 70000 // 512 * 512)
os.fsync(d)
end = os.fstat(d).st_size
never(os.pwritev, d, [memoryview(page)[:512]], end - 512, NOWAIT)
never(os.pwritev, d, [memoryview(page)[:512]], end, NOWAIT)
a = os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_APPEND)
never(os.pwritev, a, [memoryview(page)[:512]], 0, NOWAIT)
assert os.fstat(d).st_size == end
os.pwritev(a, [memoryview(page)[:512]], 0)
os.truncate(path, size)
# Where the cache has something that is not on the device.
os.pwrite(os.open(path, os.O_WRONLY), b"c" * 100, 200000)
never(os.preadv, d, [page], 196608, NOWAIT)
assert os.fstat(d).st_size == size
for name, pieces in (
    ("f", ((300000, b"w"), (8192, b"b" * 4096))),
    ("d", ((4096, b"n" * 4096), (65536, b"n" * 4096), (end, b"n" * 512 + bytes(size - end - 512)), (200000, b"c" * 100))),
):
    with open(f".want.{name}", "r+b") as want:
        for at, what in pieces:
            want.seek(at)
            want.write(what)
P
for round in now later; do
	for name in f d; do
		cmp ".want.$name" "$MNT/$name" || fail "bytes of $name, $round"
	done
	remount_fs img
done
crosscheck img

# A full device may have space that can be had by waiting: who must not wait is told to come back, and who may does.
mkimg -s 24M -m 0 -J size=4 small
mount_fs small
text 22M >.text
! cat .text >"$MNT/full" 2>/dev/null || fail "the device is not full"
sync "$MNT/full"
: >"$MNT/new"
python3 - "$MNT" <<'P'
import os, sys
f = os.open(sys.argv[1] + "/new", os.O_RDWR)
for _ in range(100):
    try:
        done = os.pwritev(f, [b"x" * 65536], 0, os.RWF_NOWAIT)
        if done == 65536:
            sys.exit("the device is not full")
    except BlockingIOError:
        pass
P
for round in 1 2 3; do
	rm "$MNT/full"
	fio --name=w --filename="$MNT/again" --ioengine=io_uring --rw=write --bs=64K --size=12M --iodepth=8 --fallocate=none \
		--output=.fio || fail "io_uring on a device that has space, round $round: $(cat .fio)"
	rm "$MNT/again"
	! cat .text >"$MNT/full" 2>/dev/null || fail "the device is not full, round $round"
done
crosscheck small
