#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# swap-like.py FOLDER: swaps to files in FOLDER, and prints what each call comes to meanwhile and what memory has afterwards: a line
# for each, to be compared with what another file system prints.

import ctypes
import errno
import hashlib
import mmap
import os
import signal
import subprocess
import sys

from calls import PAGE, aligned, in_child, libc, said, say, syscall

SIZE = 12 << 20
SWAPON, SWAPOFF = 167, 168
PAGEOUT = 21
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def swapped():
    """How many bytes of this process are swapped out."""
    line = next(line for line in open("/proc/self/status") if line.startswith("VmSwap:"))
    return int(line.split()[1]) << 10


def fallocate(fd, mode, offset, length):
    if libc.fallocate(fd, mode, offset, length):
        raise OSError(ctypes.get_errno(), "fallocate")


def pattern(n):
    return hashlib.sha256(b"%d" % n).digest() * (PAGE // 32)


def swapon(path):
    syscall(SWAPON, path, 0)


def swapoff(path):
    syscall(SWAPOFF, path)


def out_and_back():
    """Whether memory goes to the swap file, and whether it is what it was when it comes back."""
    pages = SIZE * 3 // 4 // PAGE
    memory = mmap.mmap(-1, pages * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # Of small pages, so that each is on its own.
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    for n in range(pages):
        memory[n * PAGE:(n + 1) * PAGE] = pattern(n)
    memory.madvise(PAGEOUT)
    out = swapped()
    # From the disk, and not from what is kept of it.
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("1")
    good = all(memory[n * PAGE:(n + 1) * PAGE] == pattern(n) for n in range(pages))
    return f"{out >= pages * PAGE // 2} {good}"


def use(top, name):
    path = f"{top}/{name}"
    fd = os.open(path, os.O_RDWR)
    direct = os.open(path, os.O_RDWR | os.O_DIRECT)
    raw = os.fsencode(path)
    print(f"{name}: swapon:", on := said(lambda: swapon(raw)), flush=True)
    if on != "ok":
        return
    print(f"{name}: swapped out and back:", out_and_back(), flush=True)
    tell = lambda what, call: print(f"{name}: {what}:", said(call), flush=True)
    tell("swapon again", lambda: swapon(raw))
    tell("write", lambda: os.pwrite(fd, b"x", 0))
    tell("write behind the end", lambda: os.pwrite(fd, b"x", SIZE + PAGE))
    tell("write direct", lambda: os.pwritev(direct, [aligned(PAGE)], 0))
    tell("read", lambda: len(os.pread(fd, PAGE, 0)))
    tell("truncate", lambda: os.ftruncate(fd, 0))
    tell("truncate to be longer", lambda: os.ftruncate(fd, SIZE * 2))
    for mode in [0, 1, 3, 0x10, 0x11, 8, 0x20]:
        tell(f"fallocate {mode:x}", lambda: fallocate(fd, mode, 0, 65536))
    tell("open to cut it", lambda: os.close(os.open(path, os.O_RDWR | os.O_TRUNC)))
    tell("open to write", lambda: os.close(os.open(path, os.O_RDWR)))
    tell("map to write", lambda: mmap.mmap(fd, PAGE).close())
    tell("unlink", lambda: os.unlink(path))
    tell("link", lambda: os.link(path, path + "-link"))
    tell("rename", lambda: os.rename(path, path))
    tell("copy to it", lambda: os.copy_file_range(os.open(top + "/beside", os.O_RDONLY), fd, 100, 0, 0))
    tell("fsync", lambda: os.fsync(fd))
    tell("mode", lambda: os.chmod(path, 0o600))
    tell("swapoff", lambda: swapoff(raw))
    tell("write then", lambda: os.pwrite(fd, b"x", SIZE))
    tell("cut off then", lambda: os.ftruncate(fd, PAGE))
    tell("unlink then", lambda: os.unlink(path))
    tell("other bytes", lambda: open(top + "/beside", "rb").read() == pattern(0) * 700)
    os.close(fd)
    os.close(direct)


def main():
    top = sys.argv[1]
    signal.alarm(120)
    with open(f"{top}/beside", "wb") as file:
        file.write(pattern(0) * 700)
    for name in ["written", "allocated", "holes", "short"]:
        path = f"{top}/{name}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if name == "allocated":
            fallocate(fd, 0, 0, SIZE)
        elif name == "written":
            # Nothing of it need be on the disk when swap asks where it is.
            os.pwrite(fd, b"\0" * SIZE, 0)
        os.ftruncate(fd, PAGE if name == "short" else SIZE)
        os.close(fd)
        subprocess.run(["mkswap", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=name != "short")
        use(top, name)


main()
