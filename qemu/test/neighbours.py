#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Several processes change the same file at the same time, each its own pieces of it, which lie between those of the others:

    neighbours.py FILE OPERATIONS SEED WORKERS UNIT PIECES

Pieces are UNIT bytes long. A worker makes a piece a hole or zeros, reserves blocks, writes to it by each way of writing, reads it
by each way of reading: what it finds must be what it left there, whatever the others do to the rest of the page or of
the extent. One more process has pages read ahead, dropped and written back. What must be in the file at the end is
written to FILE.want, in the folder of work.
"""

import ctypes
import mmap
import os
import random
import sys

KEEP_SIZE, PUNCH, ZERO = 1, 2, 16
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def fallocate(fd, mode, at, length):
    if libc.fallocate(fd, mode, at, length):
        error = ctypes.get_errno()
        raise OSError(error, f"fallocate {mode} at {at}: {os.strerror(error)}")


class Worker:
    def __init__(self, path, seed, me, workers, unit, pieces):
        self.me, self.unit = me, unit
        self.random = random.Random(seed)
        self.own = [n * unit for n in range(pieces) if n % workers == me]
        self.there = {at: bytes(unit) for at in self.own}
        self.file = os.open(path, os.O_RDWR)
        self.map = mmap.mmap(self.file, pieces * unit)
        # A page that others use too is not read past the page cache while they write to it there.
        self.direct = os.open(path, os.O_RDWR | os.O_DIRECT) if unit % mmap.PAGESIZE == 0 else None
        self.buffer = mmap.mmap(-1, max(unit, mmap.PAGESIZE))
        self.count = 0

    def new(self):
        self.count += 1
        return (f"{self.me} {self.count} ".encode() * self.unit)[: self.unit]

    def change(self, at):
        how = self.random.randrange(8)
        if how == 0:
            fallocate(self.file, PUNCH | KEEP_SIZE, at, self.unit)
            self.there[at] = bytes(self.unit)
        elif how == 1:
            fallocate(self.file, ZERO | KEEP_SIZE, at, self.unit)
            self.there[at] = bytes(self.unit)
        elif how == 2:
            fallocate(self.file, KEEP_SIZE, at, self.unit)
        elif how == 3:
            # A part of a block.
            first = self.random.randrange(self.unit)
            length = self.random.randrange(self.unit - first + 1)
            fallocate(self.file, PUNCH | KEEP_SIZE, at + first, max(length, 1))
            old = self.there[at]
            self.there[at] = (old[:first] + bytes(max(length, 1)) + old[first + max(length, 1):])[: self.unit]
        else:
            self.there[at] = self.new()
            if how <= 5:
                self.map[at : at + self.unit] = self.there[at]
            elif how == 6 and self.direct is not None:
                self.buffer[: self.unit] = self.there[at]
                assert os.pwritev(self.direct, [memoryview(self.buffer)[: self.unit]], at) == self.unit
            else:
                assert os.pwrite(self.file, self.there[at], at) == self.unit

    def look(self, at):
        how = self.random.randrange(3)
        if how == 0:
            return "mapped", self.map[at : at + self.unit]
        if how == 1 and self.direct is not None:
            assert os.preadv(self.direct, [memoryview(self.buffer)[: self.unit]], at) == self.unit
            return "direct", self.buffer[: self.unit]
        return "read", os.pread(self.file, self.unit, at)

    def run(self, operations):
        for n in range(operations):
            self.change(self.random.choice(self.own))
            at = self.random.choice(self.own)
            how, found = self.look(at)
            if found != self.there[at]:
                first = next(i for i in range(self.unit) if found[i] != self.there[at][i])
                sys.exit(f"worker {self.me}, operation {n}, {how} at {at}: byte {first} is {found[first]}, should be "
                         f"{self.there[at][first]}")
        return self.there


def disturb(path, seed, length):
    rand = random.Random(seed)
    fd = os.open(path, os.O_RDWR)
    while True:
        at = rand.randrange(length)
        how = rand.randrange(5)
        if how == 0:
            os.posix_fadvise(fd, at, rand.randrange(length), os.POSIX_FADV_WILLNEED)
        elif how == 1:
            os.posix_fadvise(fd, at, rand.randrange(length), os.POSIX_FADV_DONTNEED)
        elif how == 2:
            os.fdatasync(fd)
        else:
            os.pread(fd, rand.randrange(length), at)


def main():
    path, operations, seed, workers, unit, pieces = sys.argv[1], *map(int, sys.argv[2:])
    with open(path, "wb") as file:
        file.truncate(unit * pieces)
    children = []
    for me in range(workers + 1):
        child = os.fork()
        if child:
            children.append(child)
            continue
        if me == workers:
            disturb(path, seed, unit * pieces)
        there = Worker(path, seed * 100 + me, me, workers, unit, pieces).run(operations)
        with open(f"want.{me}", "wb") as want:
            for at in sorted(there):
                want.write(there[at])
        os._exit(0)
    bad = [child for child in children[:-1] if os.waitpid(child, 0)[1]]
    os.kill(children[-1], 9)
    os.waitpid(children[-1], 0)
    if bad:
        sys.exit(1)
    parts = [open(f"want.{me}", "rb") for me in range(workers)]
    with open(os.path.basename(path) + ".want", "wb") as want:
        for n in range(pieces):
            want.write(parts[n % workers].read(unit))


main()
