#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# fast-ways.py FOLDER DEVICE SOURCE NAME: does what there is a faster way for, and ends with status 1 if that is not taken. FOLDER is a
# file system on DEVICE. SOURCE is a device that the device mapper knows as NAME: what is written from memory that it is mapped to
# waits while it is suspended.

import ctypes
import mmap
import os
import subprocess
import sys
import threading
import time

from calls import COMPOUND_HEAD, PAGE, Calls, Requests, Ring, address, aligned, flags, libc

DSYNC = 2
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
libc.pwrite.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64]
libc.pwrite.restype = ctypes.c_ssize_t
failed = False


def check(what, is_so, *words):
    global failed
    print("ok  " if is_so else "FAIL", what, *words, flush=True)
    failed = failed or not is_so


def new(path, size):
    """A file of so many bytes, which are on the disk, and the same for direct I/O."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    os.pwrite(fd, b"o" * size, 0)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    return fd, os.open(path, os.O_RDWR | os.O_DIRECT)


def polled(top):
    fd, direct = new(f"{top}/polled", 16 * PAGE)
    libc.fallocate(fd, 0, 16 * PAGE, 16 * PAGE)
    os.ftruncate(fd, 40 * PAGE)
    os.fsync(fd)
    ring = Ring(flags=Ring.IOPOLL)
    calls = Calls("null_poll")

    def polls(use):
        """What a use comes to, and whether somebody has looked at the device for it."""
        before = calls.so_far()
        return use(), calls.so_far() > before

    pieces = [aligned(PAGE, b"%04d" % n) for n in range(8)]
    # Over data, over what was never written, into a hole, over the end and behind it; and several at the same time.
    places = [2, 17, 33, 39, 40, 41, 42, 50]
    results = []
    # What there is to do in the end takes somebody who may sleep, and nobody looks for the end then.
    for n, (what, wanted) in enumerate([("over data", True), ("over what was never written", False), ("into a hole", False),
                                        ("over the end", False)]):
        ring.submit(Ring.WRITE, direct, pieces[n], places[n] * PAGE, n)
        result, polled = polls(ring.wait)
        results.append(result)
        check(f"a polled write {what}", polled == wanted and result == (n, PAGE), polled, result)
    for n in range(4, 8):
        ring.submit(Ring.WRITE, direct, pieces[n], places[n] * PAGE, n)
    while len(results) < 8:
        results.append(ring.wait())
    check("polled writes", sorted(results) == [(n, PAGE) for n in range(8)], sorted(results))
    into = [aligned(PAGE) for _ in places]
    for n, at in enumerate(places):
        ring.submit(Ring.READ, direct, into[n], at * PAGE, n)
    results, polled = polls(lambda: sorted(ring.wait() for _ in places))
    check("polled reads", polled and results == [(n, PAGE) for n in range(8)], polled, results)
    check("what they read", all(a[:] == b[:] for a, b in zip(into, pieces)))
    check("the size after polled writes", os.fstat(fd).st_size == 51 * PAGE, os.fstat(fd).st_size)
    # More than one request can have: who waits for all of them looks at none.
    big = aligned(4 << 20, b"big")
    big.madvise(mmap.MADV_NOHUGEPAGE)
    ring.submit(Ring.WRITE, direct, big, 64 * PAGE)
    result, polled = polls(ring.wait)
    check("a polled write of many pieces", not polled and result[1] == len(big), polled, result)
    check("and its bytes", os.pread(fd, len(big), 64 * PAGE) == big[:])
    calls.ends()


def forced(top, device):
    """O_DSYNC over data that is there: the request itself is durable, and the device need not write out all else."""
    fd, direct = new(f"{top}/forced", 16 * PAGE)
    page = aligned(PAGE, b"f")

    def letters(offset):
        os.sync()
        requests = Requests(device)
        os.pwritev(direct, [page], offset, DSYNC)
        return requests.ends()

    found = letters(PAGE)
    check("O_DSYNC over data is one request that is durable", len(found) == 1 and "F" in found[0][1:], found)
    libc.fallocate(fd, 0, 16 * PAGE, PAGE)
    os.fsync(fd)
    for what, offset in [("over what was never written", 16 * PAGE), ("behind the end", 20 * PAGE)]:
        found = letters(offset)
        check(f"O_DSYNC {what} commits", len(found) > 1 and any(letter[0] == "F" for letter in found), found)
    # Its map is not on the disk yet.
    os.pwritev(direct, [page], 30 * PAGE, 0)
    requests = Requests(device)
    os.pwritev(direct, [page], 30 * PAGE, DSYNC)
    found = requests.ends()
    check("O_DSYNC over data that is not committed commits", len(found) > 1, found)


def short_ways(top):
    fd, direct = new(f"{top}/ways", 64 * PAGE)
    page = aligned(PAGE, b"w")
    functions = [line.split()[2] for line in open("/proc/kallsyms") if line.split()[2] == "__iomap_dio_read_simple"]
    if functions:
        calls = Calls(*functions)
        os.preadv(direct, [aligned(PAGE)], PAGE)
        check("a direct read of a block takes the short way", calls.ends() == [1])
    # Direct writes that complete together. (What waits does its own work.)
    libc.fallocate(fd, 0, 64 * PAGE, 16 * PAGE)
    os.fsync(fd)
    ring = Ring(16)
    for what, first in [("behind the end", 200), ("over what was never written", 64)]:
        calls = Calls("iomap_init_ioend")
        for n in range(8):
            ring.submit(Ring.WRITE, direct, page, (first + n) * PAGE)
        results = [ring.wait()[1] for _ in range(8)]
        check(f"asynchronous direct writes {what} are completed in batches", calls.ends()[0] == 8 and results == [PAGE] * 8, results)
        data = os.pread(fd, 8 * PAGE, first * PAGE)
        check("and are there", data == b"w" * 8 * PAGE, [data[n * PAGE:n * PAGE + 2] for n in range(8)])


def large(top):
    size = 1 << 21
    path = f"{top}/large"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    os.pwrite(fd, b"l" * size, 0)

    def folios():
        memory = libc.mmap(None, size, 1, 1, fd, 0)
        for n in range(0, size, PAGE):
            ctypes.string_at(memory + n, 1)
        found = flags(memory, size)
        libc.munmap(memory, size)
        return sum(1 for page in found if page >> COMPOUND_HEAD & 1)

    written = folios()
    check("folios of a large write are large", written > size // PAGE // 2, written)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.pread(fd, size, 0)
    read = folios()
    check("folios that are read ahead are large", read > size // PAGE // 2, read)
    if os.path.exists("/sys/kernel/mm/transparent_hugepage/enabled"):
        places = []
        for _ in range(2):
            # Something in between that is not aligned.
            libc.mmap(None, PAGE, 1, 0x22, -1, 0)
            places.append(libc.mmap(None, size, 1, 1, fd, 0))
        check("mappings are aligned as large folios are", all(place % size == 0 for place in places), *map(hex, places))


def side_by_side(top, source, name):
    """A write that waits for its bytes keeps no other from being made."""
    fd, direct = new(f"{top}/beside", 64 * PAGE)
    page = aligned(PAGE, b"b")
    stuck = os.open(source, os.O_RDONLY)
    number = 0

    def stalled():
        """Memory that cannot be read as long as the device is suspended."""
        nonlocal number
        number += 1
        return libc.mmap(None, PAGE, 1, 1, stuck, number * 64 * PAGE)

    def suspend():
        subprocess.run(["dmsetup", "suspend", "--noflush", "--nolockfs", name], check=True)

    def resume():
        subprocess.run(["dmsetup", "resume", name], check=True)

    for what, first, second in [("over data", 0, 8), ("behind the end", 64, 72)]:
        memory, results = stalled(), []
        suspend()
        slow = threading.Thread(target=lambda: results.append(("slow", libc.pwrite(direct, memory, PAGE, first * PAGE))))
        slow.start()
        time.sleep(0.2)
        quick = threading.Thread(target=lambda: results.append(("quick", libc.pwrite(direct, address(page), PAGE, second * PAGE))))
        quick.start()
        quick.join(5)
        before = list(results)
        resume()
        slow.join()
        quick.join()
        check(f"direct writes {what} run side by side", before == [("quick", PAGE)] and len(results) == 2, before, results)
    ring = Ring()
    memory = stalled()
    suspend()
    ring.submit(Ring.WRITE, direct, memory, 16 * PAGE, 1, Ring.ASYNC, length=PAGE)
    time.sleep(0.2)
    ring.submit(Ring.WRITE, direct, page, 24 * PAGE, 2, Ring.ASYNC)
    before = None
    for _ in range(100):
        if before := ring.take():
            break
        time.sleep(0.05)
    resume()
    after = [ring.wait() for _ in range(1 if before else 2)]
    check("workers of io_uring write side by side", before == (2, PAGE) and after == [(1, PAGE)], before, after)


def later(top):
    """A read through the page cache that has to wait for the device needs no worker to do so."""
    fd = os.open(f"{top}/slow", os.O_RDWR)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    ring = Ring()
    calls = Calls("io_wq_enqueue")
    into = aligned(PAGE)
    ring.submit(Ring.READ, fd, into, 0)
    early = ring.take()
    result = ring.wait()
    check("a read of io_uring waits without a worker", early is None and result == (0, PAGE) and calls.ends() == [0], early, result)
    check("and reads", into[:] == b"z" * PAGE)


def main():
    top, device, source, name, slow = sys.argv[1:]
    polled(top)
    forced(top, device)
    short_ways(top)
    large(top)
    side_by_side(top, source, name)
    later(slow)
    sys.exit(failed)


main()
