#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# move-like.py FOLDER BLOCK: has files in FOLDER, on a file system with blocks of so many bytes, exchange blocks (EXT4_IOC_MOVE_EXT),
# with right and wrong arguments, and prints what each comes to: a line for each, to be compared with what another file system prints.
# What the first file has must stay as it is.

import ctypes
import errno
import fcntl
import mmap
import os
import struct
import sys

MOVE = 0xC028660F
top, block = sys.argv[1], int(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
per_page = max(1, 4096 // block)
N = 16 * per_page


def at(name):
    return os.path.join(top, name)


def move(fd, donor, start, donor_start, length):
    buffer = bytearray(struct.pack("=IIQQQQ", 0, donor, start, donor_start, length, 99))
    try:
        fcntl.ioctl(fd, MOVE, buffer)
    except OSError as e:
        return errno.errorcode[e.errno], struct.unpack("=IIQQQQ", buffer)[5]
    return struct.unpack("=IIQQQQ", buffer)[5]


def extents(fd):
    """Which blocks have data, and which are unwritten."""
    buffer = bytearray(struct.pack("=QQIIII", 0, 2**64 - 1, 1, 0, 200, 0) + bytes(56 * 200))
    fcntl.ioctl(fd, 0xC020660B, buffer)
    kinds = {}
    for n in range(struct.unpack_from("=I", buffer, 20)[0]):
        logical, _, length, _, _, flags = struct.unpack_from("=QQQQQI", buffer, 32 + 56 * n)
        for nr in range(logical // block, (logical + length) // block):
            kinds[nr] = "u" if flags & 0x800 else "w"
    return "".join(kinds.get(nr, ".") for nr in range(N))


def fresh(kinds, donor_kinds, size=None):
    """A file and a donor, of data, unwritten blocks and holes."""
    fds = []
    for name, wanted, byte in [("file", kinds, b"f"), ("donor", donor_kinds, b"d")]:
        if os.path.exists(at(name)):
            os.unlink(at(name))
        fd = os.open(at(name), os.O_RDWR | os.O_CREAT, 0o644)
        os.ftruncate(fd, len(wanted) * block if size is None else size)
        for nr, kind in enumerate(wanted):
            if kind == "w":
                os.pwrite(fd, bytes([byte[0], nr]) * (block // 2), nr * block)
            elif kind == "u":
                libc.fallocate(fd, 1, nr * block, block)
        os.fsync(fd)
        fds.append(fd)
    return fds


def compare(what, kinds, donor_kinds, *args, size=None):
    fd, donor = fresh(kinds, donor_kinds, size)
    before = os.pread(fd, N * block, 0)
    told = move(fd, donor, *args)
    assert os.pread(fd, N * block, 0) == before, what
    for one in (fd, donor):
        os.fsync(one)
    assert os.pread(fd, N * block, 0) == before, what
    reader = os.open(at("file"), os.O_RDONLY | os.O_DIRECT)
    page = mmap.mmap(-1, N * block)
    count = os.preadv(reader, [page], 0)
    assert page[:count] == before, what
    print(f"{what}: {told} {extents(fd)} {extents(donor)}")
    for one in (fd, donor, reader):
        os.close(one)


W, U, H = "w" * N, "u" * N, "." * N
half = N // 2
for name, kinds in [("data", W), ("unwritten", U), ("a hole", H), ("mixed", ("w" * per_page + "u" * per_page + "." * per_page) * (N // per_page // 4))]:
    for donor_name, donor_kinds in [("unwritten", U), ("data", W), ("a hole", H), ("mixed", ("u" * per_page + "w" * per_page) * (half // per_page))]:
        for args in [(0, 0, N), (per_page, per_page, half), (0, half, half), (half, 0, per_page)]:
            compare(f"{name} to {donor_name} {args}", kinds, donor_kinds, *args)
# No blocks from the start of a file on are all of it, and where the other one says so, too, there may be nothing to move.
for args in [(0, 0, 0), (0, half, 0), (half, 0, 0), (half, half, 0), (N, 0, 0), (0, N, 0), (N, 0, 1)]:
    compare(f"no blocks: {args}", W, U, *args)
for args in [(N, N, 1), (0, N, 1), (N - per_page, 0, 2 * N), (2**32 - 1, 0, 1), (2**32, 2**32, 1), (0, 0, 2**32), (0, 0, 2**64 - 1),
             (0, 2**64 - 1, 2), (2**32 - 2, 0, 1)]:
    compare(f"wrong: {args}", W, U, *args)
if per_page > 1:
    for args in [(1, 0, 1), (0, 1, 1), (1, 1, 1), (1, 1 + per_page, 3)]:
        compare(f"within a page: {args}", W, U, *args)
compare("an empty file", W, U, 0, 0, N, size=0)
fd, donor = fresh(W, U)
reader, writer = os.open(at("donor"), os.O_RDONLY), os.open(at("file"), os.O_WRONLY)
other = os.open("/tmp", os.O_RDWR | os.O_TMPFILE)
folder = os.open(top, os.O_RDONLY)
print("the same file:", move(fd, fd, 0, 0, 1))
print("by another opening:", move(fd, os.open(at("file"), os.O_RDWR), 0, 0, 1))
print("a donor that is open for reading:", move(fd, reader, 0, 0, 1))
print("a file that is open for writing only:", move(writer, donor, 0, 0, 1))
print("a file that is open for reading only:", move(reader, donor, 0, 0, 1))
print("a donor elsewhere:", move(fd, other, 0, 0, 1))
print("no donor:", move(fd, 999, 0, 0, 1), move(fd, 2**32 - 1, 0, 0, 1))
print("a folder:", move(folder, donor, 0, 0, 1), move(fd, folder, 0, 0, 1))
os.mkfifo(at("pipe"))
print("a pipe:", move(fd, os.open(at("pipe"), os.O_RDWR), 0, 0, 1))
for mode in [0o4644, 0o2644, 0o1644]:
    os.chmod(at("donor"), mode)
    print(f"a donor with mode {mode:o}:", move(fd, donor, 0, 0, 1))
os.chmod(at("donor"), 0o644)
for flag in [0x10, 0x20]:
    fcntl.ioctl(donor, 0x40086602, struct.pack("Q", 0x80000 | flag))
    print(f"a donor with flag {flag:x}:", move(fd, donor, 0, 0, 1))
    fcntl.ioctl(donor, 0x40086602, struct.pack("Q", 0x80000))
os.seteuid(12345)
print("as a user:", move(fd, donor, 0, 0, per_page))
