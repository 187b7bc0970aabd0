#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# copies-like.py FOLDER TYPE: writes whose bytes cannot all be read from the writer's memory, that are killed, or that must wait; prints what
# comes of each.

import ctypes
import mmap
import os
import signal
import sys
import time

from calls import PAGE, libc, said

libc.pwrite.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64]
libc.pwrite.restype = ctypes.c_ssize_t
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
LENGTH = 64 << 10


def pwrite(fd, place, length, pos):
    done = libc.pwrite(fd, place, length, pos)
    if done < 0:
        raise OSError(ctypes.get_errno(), "pwrite")
    return done


def no_access(top):
    """Memory that begins to be nobody's in the middle. Gives where that is."""
    memory = libc.mmap(None, 2 * LENGTH, 3, 0x22, -1, 0)
    ctypes.memset(memory, ord("n"), LENGTH)
    libc.mprotect(memory + LENGTH, LENGTH, 0)
    return memory + LENGTH


def behind_end(top):
    """The same, of a mapping of a file that ends there. Its pages are not in memory."""
    fd = os.open(f"{top}/source", os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b"n" * LENGTH, 0)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    memory = libc.mmap(None, 2 * LENGTH, 1, 1, fd, 0)
    os.close(fd)
    return memory + LENGTH


def data(fd):
    os.pwrite(fd, b"o" * 2 * LENGTH, 0)


def hole(fd):
    os.ftruncate(fd, 2 * LENGTH)


def unwritten(fd):
    os.posix_fallocate(fd, 0, 2 * LENGTH)


def end(fd):
    os.pwrite(fd, b"o" * PAGE, 0)


def free(top):
    return os.statvfs(top).f_bfree


def short(top, faults, positions):
    """A write of which the first bytes alone can be read."""
    block = os.statvfs(top).f_bsize
    for prepare in (data, hole, unwritten, end):
        for way, flags in (("buffered", 0), ("direct", os.O_DIRECT), ("O_DSYNC", os.O_DSYNC)):
            for good in (0, 1, 512, 3 * 512, PAGE, PAGE + 512, LENGTH - PAGE // 2):
                for pos in positions:
                    if good == 0 and prepare is end and pos > PAGE:
                        # ext4 may have grown the file to there.
                        continue
                    path = f"{top}/file"
                    fd = os.open(path, os.O_RDWR | os.O_CREAT)
                    prepare(fd)
                    os.fsync(fd)
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                    mine = os.open(path, os.O_RDWR | flags)
                    before = free(top)
                    result = said(lambda: pwrite(mine, faults - good, LENGTH, pos))
                    # Space is kept for what was written, and for the tree; for more on ext4, and where blocks were chosen already.
                    taken = before - free(top)
                    assert sys.argv[2] == "ext4" or way != "buffered" or taken <= -(-good // block) + 8, f"{prepare.__name__}, {way}, {good} bytes: {taken} blocks are taken"
                    size = os.fstat(fd).st_size
                    found = os.pread(fd, 2 * LENGTH, 0)
                    os.close(mine)
                    os.fsync(fd)
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                    again = os.pread(fd, 2 * LENGTH, 0)
                    assert found == again, "from the device comes something else"
                    # What is behind the end now must be zeros when the file grows.
                    os.ftruncate(fd, 2 * LENGTH)
                    found = os.pread(fd, 2 * LENGTH, 0)
                    runs, at = [], 0
                    while at < len(found):
                        run = len(found) - at - len(found[at:].lstrip(found[at : at + 1]))
                        runs.append(f"{run} {chr(found[at]) if found[at] else 0}")
                        at += run
                    print(f"{prepare.__name__}, {way}, {good} bytes at {pos}: {result}, size {size}: {', '.join(runs)}")
                    os.close(fd)
                    os.unlink(path)


def own_bytes(top):
    """A file is written with what is mapped of itself, which is not in memory: it has to be read in before its page is locked."""
    fd = os.open(f"{top}/own", os.O_RDWR | os.O_CREAT)
    bytes_ = bytes(n // 7 % 256 for n in range(LENGTH))
    # What moves over itself may come out in any way.
    for to in (0, 100, PAGE, LENGTH // 2):
        os.pwrite(fd, bytes_, 0)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        memory = libc.mmap(None, LENGTH, 1, 1, fd, 0)
        done = said(lambda: pwrite(fd, memory, PAGE // 2, to))
        os.fsync(fd)
        found = os.pread(fd, PAGE // 2, to)
        print(f"with what it has itself, to {to}: {done}, {to == 100 or found == bytes_[: PAGE // 2]}")
        libc.munmap(memory, LENGTH)
    os.close(fd)
    os.unlink(f"{top}/own")


def killed(top):
    """Who is killed while it writes does not write to the end."""
    length = 200 << 20
    memory = mmap.mmap(-1, length)
    fd = os.open(f"{top}/killed", os.O_RDWR | os.O_CREAT)
    pid = os.fork()
    if pid == 0:
        os.pwrite(fd, memory, 0)
        os._exit(0)
    while os.fstat(fd).st_size < 1 << 20:
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    size = os.fstat(fd).st_size
    print(f"who is killed stops: {size < length}")
    os.close(fd)
    os.unlink(f"{top}/killed")


def waits(top):
    """Who writes more than may be dirty waits until some of it was written back."""
    names = ["dirty_ratio", "dirty_background_ratio"]
    before = {name: open(f"/proc/sys/vm/{name}").read() for name in names}
    for name, bytes_ in (("dirty_background_bytes", 4 << 20), ("dirty_bytes", 8 << 20)):
        with open(f"/proc/sys/vm/{name}", "w") as file:
            file.write(str(bytes_))
    os.sync()
    fd = os.open(f"{top}/much", os.O_RDWR | os.O_CREAT)
    most = 0
    for n in range(96):
        os.pwrite(fd, b"m" * (1 << 20), n << 20)
        with open("/proc/vmstat") as file:
            most = max(most, *(int(line.split()[1]) for line in file if line.startswith("nr_dirty ")))
    for name in names:
        with open(f"/proc/sys/vm/{name}", "w") as file:
            file.write(before[name])
    print(f"at most 32 MiB are dirty: {most * PAGE <= 32 << 20}")
    os.close(fd)
    os.unlink(f"{top}/much")


def counted(top):
    """What a task writes is counted as its own."""

    def so_far():
        with open("/proc/self/io") as file:
            return dict(line.split() for line in file)["write_bytes:"]

    for way, flags in (("buffered", 0), ("direct", os.O_DIRECT)):
        fd = os.open(f"{top}/counted", os.O_RDWR | os.O_CREAT | flags)
        memory = mmap.mmap(-1, 1 << 20)
        before = int(so_far())
        os.pwrite(fd, memory, 0)
        print(f"counted of what is {way}: {int(so_far()) - before}")
        os.close(fd)
        os.unlink(f"{top}/counted")


def main():
    top = sys.argv[1]
    # What new blocks hold is not zeros.
    with open(f"{top}/stale", "wb") as file:
        try:
            while True:
                file.write(b"S" * (1 << 20))
                file.flush()
        except OSError:
            pass
    os.sync()
    os.unlink(f"{top}/stale")
    os.sync()
    short(top, no_access(top), (0, PAGE + 512))
    short(top, behind_end(top), [PAGE])
    own_bytes(top)
    killed(top)
    waits(top)
    counted(top)


main()
