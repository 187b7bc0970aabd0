#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""One file, changed at random in every way, with all modes of fallocate in between:

    fallocate-fsx.py FILE BLOCKSIZE OPERATIONS SEED WAY

WAY is how it is written and read: "buffered", "direct", "mapped" or "mixed". After each operation what it has touched must be
as in a copy in memory, and now and then all of the file; the size always. At the end what the file must have is in
FILE.want, in the folder of work.
"""

import ctypes
import mmap
import os
import random
import sys

KEEP_SIZE, PUNCH, COLLAPSE, ZERO, INSERT = 1, 2, 8, 16, 32
MOST = 512 * 1024
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


class File:
    def __init__(self, path, block, seed, way):
        self.block, self.way, self.random = block, way, random.Random(seed)
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self.direct = os.open(path, os.O_RDWR | os.O_DIRECT)
        self.buffer = mmap.mmap(-1, MOST)
        self.want = bytearray()
        self.last = []

    def fail(self, why):
        for line in self.last[-30:]:
            print(line)
        sys.exit(f"{self.way}, operation {len(self.last)}: {why}")

    def how(self):
        return self.random.choice(["buffered", "direct", "mapped"]) if self.way == "mixed" else self.way

    def place(self, unit, most):
        """Bytes of the file to do something to, and perhaps behind it."""
        at = self.random.randrange(most + 1)
        length = self.random.choice([self.random.randrange(1, 2000), self.random.randrange(1, 70000)])
        if unit > 1 or self.random.randrange(2):
            unit = max(unit, self.block)
            at, length = at // unit * unit, -(-length // unit) * unit
        return at, min(length, MOST - at)

    def write(self):
        how = self.how()
        at, length = self.place(512 if how == "direct" else 1, min(len(self.want) + 20000, MOST - 1))
        if how == "mapped":
            length = min(length, len(self.want) - at)
        if length <= 0:
            return "nothing", 0, 0
        data = self.random.randbytes(8) * (length // 8 + 1)
        data = data[:length]
        if how == "mapped":
            with mmap.mmap(self.fd, len(self.want)) as memory:
                memory[at:at + length] = data
        elif how == "direct":
            self.buffer[:length] = data
            assert os.pwritev(self.direct, [memoryview(self.buffer)[:length]], at) == length
        else:
            assert os.pwrite(self.fd, data, at) == length
        self.extend(at + length)
        self.want[at:at + length] = data
        return how, at, length

    def extend(self, size):
        self.want.extend(bytes(max(size - len(self.want), 0)))

    def fallocate(self):
        name, mode = self.random.choice([
            ("allocate", 0), ("allocate, keep size", KEEP_SIZE), ("punch", PUNCH | KEEP_SIZE), ("zero", ZERO),
            ("zero, keep size", ZERO | KEEP_SIZE), ("collapse", COLLAPSE), ("insert", INSERT)])
        size = len(self.want)
        at, length = self.place(self.block if mode in (COLLAPSE, INSERT) else 1, min(size + 20000, MOST - 1))
        end = at + length
        if length <= 0 or mode == COLLAPSE and end >= size or mode == INSERT and (at >= size or size + length > MOST):
            return "nothing", 0, 0
        if libc.fallocate(self.fd, mode, at, length):
            self.fail(f"{name} {at} {length}: {os.strerror(ctypes.get_errno())}")
        if mode in (0, ZERO):
            self.extend(end)
        if mode & (PUNCH | ZERO):
            to = max(min(end, len(self.want)), at)
            self.want[at:to] = bytes(to - at)
        if mode == COLLAPSE:
            del self.want[at:end]
        elif mode == INSERT:
            self.want[at:at] = bytes(length)
        # What has moved is behind.
        return name, at, MOST if mode in (COLLAPSE, INSERT) else length

    def other(self):
        which = self.random.randrange(4)
        if which == 0:
            size = self.place(1, MOST - 1)[0]
            os.ftruncate(self.fd, size)
            del self.want[size:]
            self.extend(size)
            return "truncate", size, 1
        if which == 1:
            os.fsync(self.fd)
            return "fsync", 0, 0
        if which == 2:
            os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)
            return "drop", 0, 0
        return "read", *self.place(1, len(self.want))

    def compare(self, at, length):
        size = len(self.want)
        if os.fstat(self.fd).st_size != size:
            self.fail(f"size {os.fstat(self.fd).st_size}, should be {size}")
        start, end = max(at - 100, 0), min(at + length + 100, size)
        if start >= end:
            return
        how = self.how()
        if how == "mapped":
            with mmap.mmap(self.fd, size, prot=mmap.PROT_READ) as memory:
                found = memory[start:end]
        elif how == "direct":
            first = start // 4096 * 4096
            room = -(-(end - first) // 4096) * 4096
            got = os.preadv(self.direct, [memoryview(self.buffer)[:room]], first)
            found = self.buffer[start - first:min(end - first, got)]
        else:
            found = os.pread(self.fd, end - start, start)
        if found != self.want[start:end]:
            bad = next((i for i, (a, b) in enumerate(zip(found, self.want[start:end])) if a != b), len(found))
            self.fail(f"{how}: byte {start + bad} of {start}..{end} is not what it should be")

    def run(self, operations):
        for nr in range(operations):
            what = self.random.randrange(10)
            did = self.write() if what < 5 else self.fallocate() if what < 8 else self.other()
            self.last.append(" ".join(map(str, did)))
            self.compare(did[1], did[2])
            if nr % 50 == 0:
                self.compare(0, MOST)
        self.compare(0, MOST)


def main():
    path, block, operations, seed, way = sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5]
    file = File(path, block, seed, way)
    file.run(operations)
    with open(os.path.basename(path) + ".want", "wb") as want:
        want.write(file.want)


main()
