# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a store to a mapping that is lost because the end of the file moved within the page, by whatever way of writing

# ext4 loses the store after a direct write, with blocks that are smaller than pages.
only_iomapfs
mkimg img
mount_fs img
for how in direct direct-append buffered truncate; do
	for first in 1000 1024 3000; do
		python3 - "$MNT/$how.$first" "$how" "$first" <<'P' || fail "$how, $first"
import ctypes, mmap, os, sys
path, how, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
f = os.open(path, os.O_RDWR | os.O_CREAT)
os.write(f, b"A" * first)
os.fsync(f)
m = mmap.mmap(f, first)
at = ctypes.addressof(ctypes.c_char.from_buffer(m))
m[0] = ord("B")
# Behind the end: nobody may ever see it.
ctypes.memset(at + 3500, ord("X"), 1)
page = mmap.mmap(-1, 4096)
page[:] = b"D" * 4096
if how == "buffered":
    os.pwrite(f, b"D" * 4096, 4096)
elif how == "truncate":
    os.ftruncate(f, 8192)
else:
    # Appending needs an end that the device can write to.
    append = how == "direct-append" and first % 512 == 0
    d = os.open(path, os.O_RDWR | os.O_DIRECT | (os.O_APPEND if append else 0))
    os.pwritev(d, [page], 4096)
# No fault, unless the page was mapped anew.
ctypes.memset(at + 3900, ord("C"), 1)
os.fsync(f)
os._exit(0)
P
	done
done
check() {
	local how first end
	for how in direct direct-append buffered truncate; do
		for first in 1000 1024 3000; do
			python3 - "$MNT/$how.$first" "$how" "$first" <<'P' || fail "$how, $first, $1"
import sys
path, how, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
got = open(path, "rb").read()
want = bytearray(8192)
want[:first] = b"B" + b"A" * (first - 1)
new = b"\0" if how == "truncate" else b"D"
if how == "direct-append" and first % 512 == 0:
    del want[first + 4096 :]
    want[first:] = new * 4096
else:
    want[4096:] = new * 4096
want[3900] = ord("C")
for i, (a, b) in enumerate(zip(got, want)):
    if a != b:
        sys.exit(f"byte {i} is {a}, expected {b}")
if len(got) != len(want):
    sys.exit(f"{len(got)} bytes, expected {len(want)}")
P
		done
	done
}
check cached
drop_caches
check read
remount_fs img
check "after a remount"
crosscheck img
