#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# stale.py FOLDER DEVICE NAME: writes to files in FOLDER while what they go by changes. Ends with status 1 if bytes are lost.

import ctypes
import mmap
import os
import signal
import subprocess
import sys
import threading
import time

from calls import PAGE, Calls, aligned, cached, dirty, libc

libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
libc.pwrite.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64]
libc.pwrite.restype = ctypes.c_ssize_t


def stale(top, device, name):
    """A write stops just after it was told what is at its place, as the bytes to be written are mapped from a device that is suspended.
    Meanwhile what it was told becomes untrue: the folio is written back and leaves the page cache."""
    source = os.open(device, os.O_RDONLY)
    reached = set()
    for number, (what, prepare) in enumerate({
        "unwritten": lambda fd: libc.fallocate(fd, 0, 0, 4 * PAGE),
        "delayed": lambda fd: os.ftruncate(fd, 4 * PAGE),
        "behind the end": lambda fd: None,
    }.items()):
        fd = os.open(f"{top}/{what}", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        prepare(fd)
        os.fsync(fd)
        # Half a page is in the cache, and not on the device.
        os.pwrite(fd, b"A" * (PAGE // 2), 0)
        memory = libc.mmap(None, PAGE, 1, 1, source, number * 64 * PAGE)
        subprocess.run(["dmsetup", "suspend", "--noflush", "--nolockfs", name], check=True)
        result = []
        writer = threading.Thread(target=lambda: result.append(libc.pwrite(fd, memory, PAGE // 2, PAGE // 2)))
        writer.start()
        # It waits for a page of the device.
        time.sleep(0.3)
        libc.sync_file_range(fd, ctypes.c_int64(0), ctypes.c_int64(0), 7)
        # The first time the rest of it may have to wait for the completion.
        for _ in range(100):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            if cached(fd) == 0:
                reached.add(what)
                break
            time.sleep(0.02)
        waited = not result
        subprocess.run(["dmsetup", "resume", name], check=True)
        writer.join()
        if not waited:
            sys.exit(f"{what}: the write did not wait")
        for round in ["now", "from the disk"]:
            data = os.pread(fd, PAGE, 0)
            if data != b"A" * (PAGE // 2) + b"S" * (PAGE // 2):
                sys.exit(f"{what}: {round}: {result}, {data.count(b'A')} bytes of what was there, {data.count(b'S')} of what was written")
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
        libc.munmap(memory, PAGE)
    if len(reached) != 3:
        sys.exit(f"what was written stays in the cache but for {reached}")


def advice(top, device, name):
    """Who has a file for itself may be about to free blocks: reading ahead waits until it has done. What drops pages does not."""
    source = os.open(device, os.O_RDONLY)
    fd = os.open(f"{top}/advised", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    os.pwrite(fd, bytes(16 * PAGE), 0)
    os.fsync(fd)
    memory = libc.mmap(None, PAGE, 1, 1, source, 256 * PAGE)
    subprocess.run(["dmsetup", "suspend", "--noflush", "--nolockfs", name], check=True)
    # A write has the file for itself while it waits for a page of the device.
    writer = threading.Thread(target=lambda: libc.pwrite(fd, memory, PAGE, 0))
    writer.start()
    time.sleep(0.3)
    done = []

    def advise(which):
        os.posix_fadvise(fd, 8 * PAGE, 8 * PAGE, which)
        done.append(which)

    kinds = [os.POSIX_FADV_DONTNEED, os.POSIX_FADV_WILLNEED]
    advisers = [threading.Thread(target=advise, args=[kind]) for kind in kinds]
    for adviser in advisers:
        adviser.start()
    time.sleep(0.5)
    before = list(done)
    subprocess.run(["dmsetup", "resume", name], check=True)
    for thread in [writer, *advisers]:
        thread.join()
    if before != kinds[:1] or len(done) != 2:
        sys.exit(f"of {kinds} there were done {before} beside a write, and {done} in the end")


def fallback(top):
    """A direct write over pages that somebody stores to all the time: on a slow device a page is dirty again before it was written back.
    It cannot be dropped from the cache, so the write goes through there."""
    path = f"{top}/stored"
    pages = 256
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    direct = os.open(path, os.O_RDWR | os.O_DIRECT)
    # The last one is a folio of its own.
    os.pwrite(fd, b"o" * PAGE, (pages - 1) * PAGE)
    os.pwrite(fd, b"o" * (pages - 1) * PAGE, 0)
    os.fsync(fd)
    pid = os.fork()
    if pid == 0:
        view = mmap.mmap(fd, pages * PAGE)
        at = (pages - 1) * PAGE
        while True:
            for n in range(256):
                view[at] = n
    calls = Calls("direct_write_fallback")
    until = time.monotonic() + 100
    tries = hits = 0
    try:
        while hits < 2 and time.monotonic() < until:
            tries += 1
            data = aligned(pages * PAGE, b"%06d" % tries)
            before = calls.so_far()
            written = os.pwritev(direct, [data], 0)
            if written != pages * PAGE:
                sys.exit(f"a direct write beside stores wrote {written} bytes")
            if calls.so_far() == before:
                continue
            hits += 1
            length = (pages - 1) * PAGE
            if dirty(fd, 0, length):
                sys.exit("what could not be written past the cache is left there")
            if os.pread(fd, length, 0) != data[:length]:
                sys.exit("a direct write that went through the cache wrote something else")
            os.posix_fadvise(fd, 0, length, os.POSIX_FADV_DONTNEED)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        calls.ends()
    print(f"{hits} of {tries} direct writes went through the cache")
    if not hits:
        sys.exit("no direct write had to go through the cache")


def main():
    top, device, name = sys.argv[1:]
    stale(top, device, name)
    advice(top, device, name)
    fallback(top)


main()
