# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: an error of data that the wrong one is told of, or twice, or nobody; bytes of somebody else where a write failed
# blocks: one

only_iomapfs
. "$TOP/qemu/test/faults.sh"
expect_errors
{ yes 'stale: nobody has written this to a file' || :; } 2>/dev/null | head -c 24M >img
mke2fs -q -F -t ext4 -b "$BS" -J size=4 -E nodiscard,lazy_itable_init=0 img 2>.err || fail "$(cat .err)"
faulty_make img
mount_fs "$FAULTY" errors=continue
fill "$MNT/old" 1M
fill "$MNT/kept" 200K 2
sync
# From here on only data is at fault: what is free, and one file.
blocks=$((24 * 1048576 / BS))
at=$(filefrag -b"$BS" -v "$MNT/old" | awk '$1 == "0:" { print $4 + 0 }')
[ "$at" -gt 0 ] || fail "where is the data?"
# What lies behind the journal, the second half at most, and the old file.
half=$(($(debugfs -R 'bmap <8> 0' img 2>/dev/null | grep -o -E '^[0-9]+') + 4194304 / BS))
[ "$half" -ge $((blocks / 2)) ] || half=$((blocks / 2))
for what in "$at $((262144 / BS)) old" "$half $((blocks - half)) free"; do
	read -r first count name <<<"$what"
	# Not dm-flakey's error_writes: that lets flushes fail, too, and with them every commit.
	faulty_table error "$first" "$count" >".bad.$name"
done

python3 - "$MNT" <<'P'
import ctypes, errno, mmap, os, sys
top = sys.argv[1]
libc = ctypes.CDLL(None, use_errno=True)

def table(name):
    if os.system(f"sh .reload {name}") != 0:
        sys.exit("dmsetup")

def expect(what, call, want):
    try:
        call()
        got = None
    except OSError as e:
        got = e.errno
    if got != want:
        sys.exit(f"{what}: {got and errno.errorcode[got]}, expected {want and errno.errorcode[want]}")

def syncfs(fd):
    if libc.syncfs(fd) < 0:
        raise OSError(ctypes.get_errno(), "syncfs")

def sync_range(fd):
    if libc.sync_file_range(fd, ctypes.c_long(0), ctypes.c_long(0), 7) < 0:
        raise OSError(ctypes.get_errno(), "sync_file_range")

name = f"{top}/old"
with open(name, "rb") as f:
    old = f.read()
new = b"new".ljust(4096, b"\n")
a, b, root = os.open(name, os.O_RDWR), os.open(name, os.O_RDWR), os.open(top, os.O_RDONLY)

# Once for each open file, whoever wrote; and once for each that asks for the whole file system.
table(".bad.old")
os.pwrite(a, new, 8192)
expect("fsync of who wrote", lambda: os.fsync(a), errno.EIO)
expect("the second fsync", lambda: os.fsync(a), None)
expect("fsync of who did not write", lambda: os.fsync(b), errno.EIO)
expect("its second fsync", lambda: os.fsync(b), None)
expect("syncfs", lambda: syncfs(root), errno.EIO)
expect("the second syncfs", lambda: syncfs(root), None)
late = os.open(name, os.O_RDWR)
expect("fsync of who opened it when the error had been reported", lambda: os.fsync(late), None)
os.pwrite(a, new, 8192)
expect("fdatasync", lambda: os.fdatasync(a), errno.EIO)
expect("sync_file_range, of who was not told", lambda: sync_range(late), errno.EIO)
expect("fsync after that", lambda: os.fsync(late), None)
expect("fsync of the other one", lambda: os.fsync(b), errno.EIO)
# Writes that wait are told themselves.
dsync = os.open(name, os.O_RDWR | os.O_DSYNC)
expect("a write with O_DSYNC", lambda: os.pwrite(dsync, new, 16384), errno.EIO)
direct = os.open(name, os.O_RDWR | os.O_DIRECT)
page = mmap.mmap(-1, 4096)
page.write(new)
expect("a direct write", lambda: os.pwrite(direct, page, 20480), errno.EIO)
expect("fsync after a direct write", lambda: os.fsync(direct), None)
view = mmap.mmap(a, len(old))
view[40960:40963] = b"map"
expect("msync", view.flush, errno.EIO)
expect("the second msync", view.flush, None)
view.close()
# All is well again: what is in memory can be written, and is the truth.
table(".well")
for fd in (a, b, late, dsync, direct):
    try:
        os.fsync(fd)
    except OSError:
        pass
os.pwrite(a, new, 8192)
expect("fsync when all is well", lambda: os.fsync(a), None)
for fd in (a, b, late, dsync, direct, root):
    os.close(fd)

# New data that cannot be written: an error, and no bytes of somebody else.
for how in ("buffered", "direct", "dsync", "mapped"):
    # Where the tree of a file has got a block in the bad half, all changes have been stopped.
    if os.system(f"umount {top} && mount -t iomapfs -o errors=continue /dev/mapper/faulty {top}") != 0:
        sys.exit("mount")
    path = f"{top}/new-{how}"
    flags = {"direct": os.O_DIRECT, "dsync": os.O_DSYNC}.get(how, 0)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o644)
    piece = mmap.mmap(-1, 1 << 20)
    line = how[:7].ljust(7).encode() + b"\n"
    piece.write(line * (1 << 17))
    table(".bad.free")
    failed, done = None, 0
    try:
        # Over the part of the device that works, into the other one.
        for i in range(17):
            if how == "mapped":
                os.ftruncate(fd, (i + 1) << 20)
                with mmap.mmap(fd, 1 << 20, offset=i << 20) as m:
                    m[:] = piece[:]
                    m.flush()
            else:
                if os.pwrite(fd, piece, i << 20) != 1 << 20:
                    raise OSError(errno.EIO, "written in part")
            done += 1
        os.fsync(fd)
    except OSError as e:
        failed = e.errno
    if failed not in (errno.EIO, errno.EROFS):
        sys.exit(f"{how}: {failed and errno.errorcode[failed]}, expected EIO")
    table(".well")
    os.close(fd)
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3")
    with open(path, "rb") as f:
        got = f.read()
    if b"stale" in got:
        sys.exit(f"{how}: the file shows what nobody has written to it, at {got.index(b'stale')} of {len(got)}")
    for at in range(0, len(got), 1024):
        if got[at:at + 1024].strip(b"\0") not in (b"", line * 128):
            sys.exit(f"{how}: bytes at {at}")
    if how != "buffered" and got[:done << 20] != piece[:] * done:
        sys.exit(f"{how}: {done} MiB were written, and are not there")
    try:
        os.unlink(path)
    except OSError as e:
        if e.errno != errno.EROFS:
            raise
    os.sync()

# Reads: the part before, then EIO; through a mapping SIGBUS.
if os.system(f"umount {top} && mount -t iomapfs -o errors=continue /dev/mapper/faulty {top}") != 0:
    sys.exit("mount")
table(".bad.old")
fd = os.open(name, os.O_RDONLY)
expect("a read", lambda: os.pread(fd, 4096, 8192), errno.EIO)
got = os.pread(fd, 4096, 512 * 1024)
if got != old[512 * 1024:512 * 1024 + 4096]:
    sys.exit("what can be read is wrong")
child = os.fork()
if child == 0:
    view = mmap.mmap(fd, len(old), prot=mmap.PROT_READ)
    os._exit(view[8192] and 0)
status = os.waitpid(child, 0)[1]
if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != 7:
    sys.exit(f"a mapping of what cannot be read: status {status}")
table(".well")
if os.pread(fd, 4096, 8192) != new:
    sys.exit("the page that could not be read stays bad")
P
# The asynchronous ones are told by their completion, with many in flight.
fill "$MNT/async" 1M
sync
at=$(filefrag -b"$BS" -v "$MNT/async" | awk '$1 == "0:" { print $4 + 0 }')
faulty error "$((at + 65536 / BS))" "$((65536 / BS))"
for engine in libaio io_uring; do
	for rw in write read; do
		! fio --name=bad --filename="$MNT/async" --ioengine=$engine --iodepth=16 --direct=1 --rw=$rw --bs=4k --size=1M \
			--fallocate=none \
			--output=fio.out >/dev/null 2>&1 || fail "$engine: a $rw of bad blocks is told to have succeeded"
		grep -q -i 'error=Input/output error' fio.out || fail "$engine: $rw: $(cat fio.out)"
	done
done
faulty_well
! grep -q " $MNT .*emergency_ro" /proc/self/mounts || fail "errors of data have stopped all changes"
same "$MNT/kept" 200K 2
unmount
faulty_end
e2fsck -fn img >.fsck 2>&1 || fail "e2fsck: $(cat .fsck)"
