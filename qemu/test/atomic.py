#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Atomic writes, for the test of that name.

    statx FILE [new]            least, most, fast, segments; or "none"
    refused FILE BLOCK          what becomes of writes, a line each
    promised FILE BLOCK         all that statx promises is done, in a file with holes, and over itself
    place FILE BLOCK in-place|elsewhere
                                where a block goes that is written again, when it is durable or not; several blocks in pieces become one piece
    pieces FILE BLOCK DEVICE MOST
                                over an aligned piece the device is asked once, to do it atomically, for up to MOST bytes; what is
                                longer, or not over such a piece, goes elsewhere
    mixed FILE BLOCK COPY       atomic writes over whatever there can be; COPY has what must be in FILE then
    prepare FILE BLOCK COPY     FILE1 to FILE7 have four blocks, each in another of the ways in which they can be there
    write FILE BLOCK COPY [durable]
                                an atomic write to all of them; or another one to the first, with O_DSYNC
Of these two, COPY1 to COPY7 have what the files have then."""

import array
import ctypes
import errno
import fcntl
import os
import random
import struct
import sys

import calls
from calls import libc

RWF_ATOMIC = 0x40
STATX_WRITE_ATOMIC = 0x10000


def statx(path, new=False):
    if new:
        os.close(opened(path))
    answer = calls.statx(path, STATX_WRITE_ATOMIC)
    mask, _, attributes = struct.unpack_from("<IIQ", answer)
    least, most, segments = struct.unpack_from("<III", answer, 0xA8)
    (fast,) = struct.unpack_from("<I", answer, 0xB8)
    has = bool(attributes & 0x400000)
    if not mask & STATX_WRITE_ATOMIC:
        return None
    return (least, most, fast, segments) if has else None


def memory(length, byte):
    return calls.aligned(length, bytes([byte]))


def write(fd, pieces, pos, flags=RWF_ATOMIC):
    """OK or the name of the errno."""
    length = sum(len(piece) for piece in pieces)
    try:
        done = os.pwritev(fd, pieces, pos, flags)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "OK" if done == length else f"{done} of {length} bytes"


def must(what, *args):
    got = write(*args)
    if got != "OK":
        sys.exit(f"{what}: {got}")


def blocks(fd, block):
    """The device block of each block of a file."""
    found = []
    for at in range(os.fstat(fd).st_size // block):
        number = array.array("i", [at])
        fcntl.ioctl(fd, 1, number)
        found.append(number[0])
    return found


def opened(path, flags=os.O_DIRECT):
    return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o644)


def refused(path, block):
    direct, cached = opened(path), opened(path, 0)
    append = opened(path, os.O_DIRECT | os.O_APPEND)
    odd = memory(3 * block, 1)
    half = memory(block // 2, 2)
    one = memory(block, 3)
    for what, fd, pieces, pos in (
        ("three blocks", direct, [odd], 0),
        ("half a block", direct, [half], 0),
        ("at half a block", direct, [one], block // 2),
        ("at a sector", direct, [one], 512),
        ("two pieces", direct, [half, half], 0),
        ("the page cache", cached, [one], 0),
        ("too many", direct, [memory(1 << 20, 4)], 0),
        ("nothing", direct, [memoryview(one)[:0]], 0),
        ("a block", direct, [one], 0),
        ("a block again", direct, [one], 0),
        ("behind a hole", direct, [one], block * 9),
        ("at the end", append, [one], 0),
    ):
        print(what, write(fd, pieces, pos))
    print(os.fstat(direct).st_size // block, os.pread(cached, block * 20, 0).count(3))


def promised(path, block):
    fd = opened(path)
    least, most, _, _ = statx(path)
    for again in range(2):
        want, length = {}, least
        while length <= most:
            pos = length * 3
            must(f"{length} bytes, time {again}", fd, [memory(length, length.bit_length())], pos)
            want[pos] = length
            length *= 2
        with open(path, "rb") as file:
            for pos, length in want.items():
                file.seek(pos)
                # The next one is not over it: they are three lengths from the start.
                if file.read(length) != bytes([length.bit_length()]) * length:
                    sys.exit(f"other bytes at {pos}")
    end = os.fstat(fd).st_size
    # At an end that is no multiple of the length the position would not be, either.
    append = opened(path, os.O_DIRECT | os.O_APPEND)
    must("at the end", append, [memory(most, 9)], 0)
    os.truncate(path, end + most + block)
    if (got := write(append, [memory(2 * block, 9)], 0)) != "EINVAL":
        sys.exit(f"at an odd end: {got}")


def place(path, block, how):
    fd = opened(path)
    must("the first", fd, [memory(block, 1)], 0)
    # What leads to it is not durable yet, unless somebody commits just now.
    for _ in range(5):
        before = blocks(fd, block)
        must("at once over it", fd, [memory(block, 5)], 0)
        if blocks(fd, block) != before:
            break
    else:
        sys.exit("a write in place over what is not durable")
    os.fsync(fd)
    before = blocks(fd, block)
    must("over it", fd, [memory(block, 2)], 0)
    if (blocks(fd, block) == before) != (how == "in-place"):
        sys.exit(f"a block has gone from {before} to {blocks(fd, block)}")
    # Backwards, so that no block follows the other.
    for at in range(15, -1, -1):
        os.pwrite(fd, memory(block, 3), at * block)
    os.fsync(fd)
    must("over pieces", fd, [memory(16 * block, 4)], 0)
    after = blocks(fd, block)
    if after != list(range(after[0], after[0] + 16)) or after[0] % 16 != 0:
        sys.exit(f"sixteen blocks are at {after}")


def pieces(path, block, device, most):
    most, longest = int(most), statx(path, True)[1]
    fd = opened(path)
    want = bytearray(memory(longest, 1)[:])
    must("the first", fd, [memory(longest, 1)], 0)
    os.fsync(fd)

    def over(length, pos, byte):
        """The letters of what the device is asked for, and whether the write is in place."""
        before = blocks(fd, block)
        requests = calls.Requests(device)
        must(f"{length} bytes at {pos}", fd, [memory(length, byte)], pos)
        letters = [one for one in requests.ends() if "S" in one and "W" in one]
        want[pos : pos + length] = bytes([byte]) * length
        os.fsync(fd)
        return letters, blocks(fd, block) == before

    length = block
    while length <= longest:
        for pos in {0, length, longest - length}:
            letters, in_place = over(length, pos % longest, length.bit_length() + 1)
            asked = ["U" in one for one in letters]
            if (asked == [True]) != (length <= most) or in_place != (length <= most):
                sys.exit(f"{length} bytes at {pos}: {letters}, in place: {in_place}")
        length *= 2
    # The second half of a write is a hole, has no data, or is in another place.
    for way in range(3):
        if way == 0:
            libc.fallocate(fd, 3, ctypes.c_long(block), ctypes.c_long(block))
        elif way == 1:
            libc.fallocate(fd, 3, ctypes.c_long(block), ctypes.c_long(block))
            libc.fallocate(fd, 1, ctypes.c_long(block), ctypes.c_long(block))
        else:
            must("a longer one aside", fd, [memory(longest, 40)], 0)
            libc.fallocate(fd, 3, ctypes.c_long(block), ctypes.c_long(block))
            other = opened(f"{path}.other")
            os.pwrite(other, memory(8 * block, 1), 0)
            os.pwrite(fd, memory(block, 41), block)
            want[:] = bytes([40]) * longest
        os.fsync(fd)
        letters, in_place = over(2 * block, 0, 50 + way)
        if in_place or any("U" in one for one in letters):
            sys.exit(f"over no piece, {way}: {letters}, in place: {in_place}")
    with open(path, "rb") as file:
        if file.read() != want:
            sys.exit("other bytes")
    # One piece that does not begin at a multiple of its length on the device.
    fd, tried = opened(f"{path}.odd"), 0
    os.pwrite(fd, memory(9 * block, 60), 0)
    for taken_out in range(2):
        if taken_out:
            libc.fallocate(fd, 8, ctypes.c_long(0), ctypes.c_long(block))
        os.fsync(fd)
        for at, (start, second) in enumerate(zip(blocks(fd, block), blocks(fd, block)[1:])):
            if at % 2 == 0 and start % 2 == 1 and second == start + 1:
                letters, in_place = over(2 * block, at * block, 61)
                if in_place or any("U" in one for one in letters):
                    sys.exit(f"over a piece from block {start} on: {letters}, in place: {in_place}")
                tried += 1
    if tried == 0:
        sys.exit("no piece begins at an odd block")


def mixed(path, block, copy):
    random.seed(1)
    fd, cached = opened(path), opened(path, 0)
    want = bytearray(64 * block)
    os.truncate(path, len(want))
    for n in range(1, 250):
        at = random.randrange(64)
        way = random.randrange(7)
        if way == 0:
            libc.fallocate(fd, 3, ctypes.c_long(at * block), ctypes.c_long(3 * block))
            want[at * block : (at + 3) * block] = bytes(min(3, 64 - at) * block)
        elif way == 1:
            libc.fallocate(fd, 1, ctypes.c_long(at * block), ctypes.c_long(5 * block))
        elif way == 2:
            os.pwrite(cached, bytes([n]) * 700, at * block)
            want[at * block : at * block + 700] = bytes([n]) * 700
        elif way == 3:
            os.pwrite(fd, memory(block, n), at * block)
            want[at * block : (at + 1) * block] = bytes([n]) * block
        else:
            length = 1 << random.randrange(5)
            at = at // length * length
            must(f"{length} blocks at {at}", fd, [memory(length * block, n)], at * block)
            want[at * block : (at + length) * block] = bytes([n]) * (length * block)
    with open(copy, "wb") as file:
        file.write(want[: os.fstat(fd).st_size])


def prepare(path, block, copy):
    for n in range(1, 8):
        fd = opened(f"{path}{n}")
        if n & 1:
            os.pwrite(fd, memory(block, 0x41), 0)
        if n & 2:
            libc.fallocate(fd, 0, ctypes.c_long(block), ctypes.c_long(block))
        if n & 4:
            os.pwrite(fd, memory(block, 0x42), 3 * block)
        with open(f"{path}{n}", "rb") as file, open(f"{copy}{n}", "wb") as to:
            to.write(file.read())


def overwrite(path, block, copy, *durable):
    for n in range(1, 2 if durable else 8):
        fd = opened(f"{path}{n}", os.O_DIRECT | (os.O_DSYNC if durable else 0))
        byte = 0x62 if durable else 0x61
        must("write", fd, [memory(4 * block, byte)], 0)
        with open(f"{copy}{n}", "wb") as file:
            file.write(bytes([byte]) * (4 * block))


def main():
    what, path, *rest = sys.argv[1:]
    if what == "statx":
        answer = statx(path, bool(rest))
        print(*answer) if answer else print("none")
    else:
        ways = {
            "refused": refused,
            "promised": promised,
            "place": place,
            "pieces": pieces,
            "mixed": mixed,
            "prepare": prepare,
            "write": overwrite,
        }
        ways[what](path, int(rest[0]), *rest[1:])


main()
