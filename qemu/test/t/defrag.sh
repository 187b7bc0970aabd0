# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: blocks that two files exchange by which data is lost, or which comes to something else than on ext4; e4defrag that fails
# blocks: one
# parallel: others read, store and write meanwhile

only_iomapfs

for type in iomapfs ext4; do
	mkimg -s 32M "$type"
	mount_as "$type" "$type"
	"$TOP/qemu/test/move-like.py" "$MNT" "$BS" >"$type.said"
	unmount
done
diff -u ext4.said iomapfs.said >.diff || { cat .diff >&2; fail "not as on ext4"; }

# A file of many small pieces: each second block came later.
mkimg -s 48M img
mount_fs img
python3 - "$MNT" "$BS" <<'P'
import os, sys
top, block = sys.argv[1], int(sys.argv[2])
fd = os.open(f"{top}/one", os.O_RDWR | os.O_CREAT)
for first in (0, 1):
    for n in range(first, 120, 2):
        os.pwrite(fd, os.urandom(block), n * block)
    os.fsync(fd)
P
fill "$MNT/busy" 3M
sum=$(sha256sum <"$MNT/one")
pieces() { filefrag "$1" | sed 's/.*: \([0-9]*\) extent.*/\1/'; }
before=$(pieces "$MNT/one")
[ "$before" -gt 20 ] || fail "only $before pieces to begin with"
# It works on nothing but what /etc/mtab says is ext4.
cat >defrag.sh <<-'S'
	mount -t tmpfs none /etc
	sed 's/ iomapfs / ext4 /' /proc/mounts >/etc/mtab
	exec e4defrag -v "$1"
S
unshare -m sh defrag.sh "$MNT/one" >defrag.said 2>&1 || { cat defrag.said >&2; fail "e4defrag"; }
grep -q 'Success:.*\[1/1\]' defrag.said || fail "$(cat defrag.said)"
after=$(pieces "$MNT/one")
[ "$after" -lt 5 ] || fail "$before pieces before, $after after: $(cat defrag.said)"
[ "$(sha256sum <"$MNT/one")" = "$sum" ] || fail "the data has changed in memory"
sync -f "$MNT"
snapshot img cut
drop_caches
[ "$(sha256sum <"$MNT/one")" = "$sum" ] || fail "the data has changed on the device"
mount_fs cut '' "$PWD/.cut"
[ "$(sha256sum <.cut/one)" = "$sum" ] || fail "the data has changed after a power cut"
unmount "$PWD/.cut"

# What others do meanwhile is not lost: each writes to its own part again and again, and reads what it wrote.
python3 - "$MNT" "$BS" <<'P'
import fcntl, mmap, os, struct, sys, time
top, block = sys.argv[1], int(sys.argv[2])
pages, page = 24, 4096
path = f"{top}/shared"
fd = os.open(path, os.O_RDWR | os.O_CREAT)
os.write(fd, bytes(pages * page))
os.fsync(fd)
end = time.monotonic() + 3
def child(part, how):
    mine = os.open(path, os.O_RDWR | (os.O_DIRECT if how == "direct" else 0))
    view = mmap.mmap(mine, pages * page)
    buffer = mmap.mmap(-1, page)
    n = 0
    while time.monotonic() < end:
        for nr in range(part, pages, 3):
            n = n % 250 + 1
            bytes_ = bytes([n]) * page
            if how == "mapped":
                view[nr * page : (nr + 1) * page] = bytes_
            elif how == "direct":
                buffer[:] = bytes_
                os.pwritev(mine, [buffer], nr * page)
            else:
                os.pwrite(mine, bytes_, nr * page)
            if how == "direct":
                os.preadv(mine, [buffer], nr * page)
                found = bytes(buffer)
            else:
                found = os.pread(mine, page, nr * page)
            if found != bytes_:
                os._exit(1)
    os._exit(0)
children = []
for part, how in enumerate(["cached", "mapped", "direct"]):
    pid = os.fork()
    if pid == 0:
        child(part, how)
    children.append(pid)
moved = 0
while time.monotonic() < end:
    donor = os.open(top, os.O_RDWR | os.O_TMPFILE)
    os.posix_fallocate(donor, 0, pages * page)
    buffer = bytearray(struct.pack("=IIQQQQ", 0, donor, 0, 0, pages * page // block, 0))
    fcntl.ioctl(fd, 0xC028660F, buffer)
    moved += struct.unpack("=IIQQQQ", buffer)[5]
    os.close(donor)
if moved == 0 or any(os.waitpid(pid, 0)[1] for pid in children):
    sys.exit(f"{moved} blocks were moved, and somebody has not read what it wrote")
P
crosscheck img
