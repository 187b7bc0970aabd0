#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# fallocate-like.py FOLDER OTHER BLOCKSIZE SEED ROUNDS: all modes of fallocate do to a file in FOLDER what they should do to
# its bytes, and the same as to one in OTHER: errno, size, which blocks are there and which of them are unwritten. Ends with
# an error at the first difference. Where data was written beside them, unwritten blocks in FOLDER may have become written
# zeros.
#
# The bytes in OTHER are not looked at: ext4 of Linux 7.3 brings old ones back when it makes the block zero in which the
# file ends, and the file longer (the page with the old end is read again, for its rest to become zero, before the block is).

import ctypes
import errno
import fcntl
import os
import random
import struct
import sys

KEEP_SIZE, PUNCH, COLLAPSE, ZERO, INSERT, UNSHARE, WRITE_ZEROES = 1, 2, 8, 16, 32, 64, 128
MODES = {
    'allocate': 0,
    'allocate, keep size': KEEP_SIZE,
    'punch': PUNCH | KEEP_SIZE,
    'zero': ZERO,
    'zero, keep size': ZERO | KEEP_SIZE,
    'collapse': COLLAPSE,
    'insert': INSERT,
    'unshare': UNSHARE,
    'write zeroes': WRITE_ZEROES,
}
FS_IOC_FIEMAP = 0xC020660B
SYNC, LAST, UNWRITTEN = 1, 1, 0x800

libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def fallocate(fd, mode, at, length):
    """Gives the errno."""
    return 0 if libc.fallocate(fd, mode, at, length) == 0 else ctypes.get_errno()


def blocks(fd):
    """Runs of blocks that are there, with or without data."""
    found, start = [], 0
    while True:
        count = 200
        buffer = bytearray(struct.pack('=QQLLLL', start, 2**63 - 1 - start, SYNC, 0, count, 0) + bytes(56 * count))
        fcntl.ioctl(fd, FS_IOC_FIEMAP, buffer)
        mapped = struct.unpack_from('=L', buffer, 20)[0]
        last = mapped == 0
        for i in range(mapped):
            logical, _, length, _, _, flags = struct.unpack_from('=QQQQQL', buffer, 32 + 56 * i)
            unwritten = bool(flags & UNWRITTEN)
            if found and found[-1][1] == logical and found[-1][2] == unwritten:
                found[-1][1] = logical + length
            else:
                found.append([logical, logical + length, unwritten])
            start, last = logical + length, bool(flags & LAST)
        if last:
            return found


def runs(found, kinds):
    """Those that are unwritten, or not, as `kinds` says; what follows each other joined."""
    joined = []
    for start, end, unwritten in found:
        if unwritten not in kinds:
            continue
        if joined and joined[-1][1] == start:
            joined[-1][1] = end
        else:
            joined.append([start, end])
    return joined


class Pair:
    """A file in each folder, to which the same is done."""

    def __init__(self, folders, name, flags=0):
        flags |= os.O_RDWR | os.O_CREAT
        self.name, self.done, self.bytes = name, [], bytearray()
        self.fds = [os.open(f'{folder}/{name}', flags, 0o644) for folder in folders]

    def both(self, what, do):
        self.done.append(what)

        def tried(fd):
            try:
                return do(fd)
            except OSError as error:
                return errno.errorcode[error.errno]

        is_, should = [tried(fd) for fd in self.fds]
        if is_ != should:
            self.fail(f'{is_} and not {should}')
        return is_

    def fail(self, why):
        sys.exit(f'{self.name}: {why}, after ' + '; '.join(self.done))

    def write(self, at, length, byte):
        self.bytes.extend(bytes(max(at + length - len(self.bytes), 0)))
        self.bytes[at:at + length] = bytes([byte]) * length
        self.both(f'write {at} {length}', lambda fd: os.pwrite(fd, bytes([byte]) * length, at))

    def truncate(self, size):
        del self.bytes[size:]
        self.bytes.extend(bytes(size - len(self.bytes)))
        self.both(f'truncate {size}', lambda fd: os.ftruncate(fd, size))

    def fsync(self):
        self.both('fsync', os.fsync)

    def fallocate(self, mode, at, length):
        if self.both(f'{mode} {at} {length}', lambda fd: fallocate(fd, MODES[mode], at, length)):
            return
        end, data = at + length, self.bytes
        if mode in ('allocate', 'zero', 'write zeroes') and end > len(data):
            data.extend(bytes(end - len(data)))
        if mode in ('punch', 'zero', 'zero, keep size', 'write zeroes'):
            length = max(min(end, len(data)) - at, 0)
            data[at:at + length] = bytes(length)
        elif mode == 'collapse':
            del data[at:end]
        elif mode == 'insert':
            data[at:at] = bytes(length)

    def compare(self, with_blocks=False, all_same=False):
        sizes = [os.fstat(fd).st_size for fd in self.fds]
        if sizes[0] != sizes[1]:
            self.fail(f'size {sizes[0]} and not {sizes[1]}')
        data = os.pread(self.fds[0], sizes[0] + 1, 0)
        if data != self.bytes:
            at = next((i for i, (a, b) in enumerate(zip(data, self.bytes)) if a != b), None)
            self.fail(f'{len(data)} bytes and not {len(self.bytes)}' if at is None
                      else f'byte {at} is {data[at]} and not {self.bytes[at]}')
        if with_blocks:
            maps = [blocks(fd) for fd in self.fds]
            there = [runs(found, [False, True]) for found in maps]
            unwritten = [runs(found, [True]) for found in maps]
            more = [run for run in unwritten[0] if not any(a <= run[0] and run[1] <= b for a, b in unwritten[1])]
            if there[0] != there[1] or more or (all_same and maps[0] != maps[1]):
                self.fail(f'blocks {maps[0]} and not {maps[1]}')

    def close(self):
        for fd in self.fds:
            os.close(fd)


def edges(folders, b):
    """Each mode at and between edges of blocks: within the file, over its end and behind it."""
    size = 40 * b + 77
    n = 0
    for at in 0, 1, b, 3 * b + 100, 40 * b, 40 * b + 70, 50 * b, 60 * b + 5:
        for length in 1, b, b + 1, 7 * b, 9 * b - 3, 30 * b:
            for mode in MODES:
                for synced in False, True:
                    n += 1
                    pair = Pair(folders, 'edges')
                    pair.truncate(0)
                    pair.write(0, size, 1 + n % 255)
                    if synced:
                        pair.fsync()
                    pair.fallocate(mode, at, length)
                    pair.compare(True, synced)
                    pair.close()
    print(n, 'calls at edges')


def refused(folders, b):
    pair = Pair(folders, 'refused')
    pair.write(0, 40 * b, 9)
    for mode in MODES:
        for at, length in (0, 0), (-1, 5), (5, -1), (2**63 - 16, 100), (2**50, b), (2**44 - b, b), (0, 2**44 - b):
            if at == 0 and mode in ('allocate', 'allocate, keep size', 'zero', 'zero, keep size', 'write zeroes'):
                continue
            pair.fallocate(mode, at, length)
    # All ways to combine modes that are more than one, and bits that are none.
    known = list(MODES.values()) + [PUNCH]
    for mode in range(512):
        if mode not in known:
            pair.both(f'mode {mode}', lambda fd: fallocate(fd, mode, 0, b))
    pair.compare(True)
    pair.close()


def pieces(folders, b):
    """A file with more extents than one node holds."""
    pair = Pair(folders, 'pieces')
    for i in range(1500):
        pair.write(2 * i * b, b, i % 251 + 1)
    pair.fsync()
    pair.done = ['a file in pieces']
    for mode, at, length in (
        ('collapse', 100, 700), ('insert', 11, 1000), ('punch', 1500, 801), ('zero', 20, 90), ('collapse', 1, 1),
        ('insert', 0, 3), ('collapse', 2, 2500), ('allocate', 5, 2000), ('insert', 7, 1), ('zero, keep size', 0, 4000),
    ):
        pair.fallocate(mode, at * b, length * b)
        pair.compare(True)
    pair.close()


def sequences(folders, b, seed, rounds):
    """Anything after anything."""
    choose = random.Random(seed)
    for nr in range(rounds):
        pair = Pair(folders, f'random {nr % 20}')
        pair.truncate(0)
        for _ in range(choose.randrange(3, 25)):
            place = choose.randrange(80)
            at = place * b + choose.choice([0, 0, 0, 1, b // 2, choose.randrange(b)])
            length = choose.randrange(1, 20) * b + choose.choice([0, 0, 0, -1, choose.randrange(b)])
            what = choose.randrange(12)
            if what < 4:
                pair.write(at, length, choose.randrange(1, 256))
            elif what == 4:
                pair.truncate(at)
            elif what == 5:
                pair.fsync()
            else:
                mode = choose.choice(list(MODES))
                if mode in ('collapse', 'insert') and choose.randrange(4):
                    at, length = at // b * b, max(length // b, 1) * b
                pair.fallocate(mode, at, length)
            if choose.randrange(3) == 0:
                pair.compare()
        pair.compare(True)
        pair.close()
    print(rounds, 'random sequences')


def main():
    folders, b, seed, rounds = sys.argv[1:3], *map(int, sys.argv[3:6])
    edges(folders, b)
    refused(folders, b)
    pieces(folders, b)
    sequences(folders, b, seed, rounds)


main()
