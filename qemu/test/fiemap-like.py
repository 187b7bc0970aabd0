#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# fiemap-like.py make|ask FOLDER BLOCK: makes files of all sorts in FOLDER, which ext4 is mounted on with blocks of so many bytes; or
# asks where they and their attributes are (FS_IOC_FIEMAP), and prints what each question comes to: a line for each, to be compared
# with what another file system prints.

import ctypes
import errno
import fcntl
import os
import struct
import sys

what, top, block = sys.argv[1], sys.argv[2], int(sys.argv[3])
SYNC, XATTR, CACHE = 1, 2, 4
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def fiemap(fd, start=0, length=2**64 - 1, flags=0, count=300):
    """What is told, and of each extent: logical, physical, length, flags."""
    buffer = bytearray(struct.pack("=QQIIII", start, length, flags, 77, count, 0) + bytes(56 * min(count, 300)))
    try:
        fcntl.ioctl(fd, 0xC020660B, buffer)
    except OSError as e:
        return errno.errorcode[e.errno], struct.unpack_from("=I", buffer, 16)[0]
    flags, mapped = struct.unpack_from("=II", buffer, 16)
    extents = []
    for n in range(min(mapped, count)):
        logical, physical, length, _, _, flag = struct.unpack_from("=QQQQQI", buffer, 32 + 56 * n)
        if flag & 0x200:
            # ext4 does not say which of the inodes of a block it is.
            physical = physical // block * block
        extents.append((logical, physical, length, hex(flag)))
    return flags, mapped, extents


def make():
    for name in ["plain", "holes", "unwritten", "empty", "in-inode", "in-block", "in-both", "many"]:
        fd = os.open(f"{top}/{name}", os.O_RDWR | os.O_CREAT, 0o644)
        if name in ("plain", "in-both"):
            os.write(fd, b"p" * (block * 20 + 5))
        if name == "holes":
            for n in range(0, 40, 3):
                os.pwrite(fd, b"h" * block, n * block)
                os.fsync(fd)
        if name == "unwritten":
            libc.fallocate(fd, 1, 5 * block, 20 * block)
            os.pwrite(fd, b"u" * block, 7 * block)
        if name == "many":
            for n in range(250):
                os.pwrite(fd, b"m", 2 * n * block)
        os.close(fd)
    os.setxattr(f"{top}/in-inode", "user.a", b"short")
    os.setxattr(f"{top}/in-block", "user.a", b"l" * 500)
    os.setxattr(f"{top}/in-both", "user.a", b"short")
    os.setxattr(f"{top}/in-both", "user.b", b"l" * 500)
    for name in ["small", "large"]:
        os.mkdir(f"{top}/{name}")
    os.setxattr(f"{top}/small", "user.a", b"short")
    for n in range(300):
        open(f"{top}/large/{n:0100}", "w").close()


def ask():
    for name in ["plain", "holes", "unwritten", "empty", "in-inode", "in-block", "in-both", "many", "small", "large", "."]:
        fd = os.open(f"{top}/{name}", os.O_RDONLY)
        for flags in [0, SYNC, XATTR, CACHE, SYNC | CACHE, XATTR | SYNC | CACHE, 8, 0x80000000, 8 | XATTR, 8 | CACHE]:
            print(f"{name}: flags {flags:x}:", fiemap(fd, flags=flags))
        for flags in [0, XATTR]:
            for count in [0, 1, 2, 2**32 // 56, 2**32 - 1]:
                print(f"{name}: flags {flags:x}, {count} extents:", fiemap(fd, flags=flags, count=count))
            for start, length in [(0, 0), (1, 1), (0, 1), (block - 1, 2), (7 * block + 3, block), (19, 2**63), (60, 1), (5000, 1),
                                  (2**44, 1), (2**62, 1), (2**63 - 1, 1), (2**64 - 1, 1), (2**64 - 1, 2**64 - 1)]:
                print(f"{name}: flags {flags:x}, {start} {length}:", fiemap(fd, start, length, flags))
    # What is only in memory is told so, and where it is once it is synchronised. Where that is may differ.
    fd = os.open(f"{top}/new", os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, b"n" * block * 10)
    for flags in [0, XATTR, SYNC]:
        told = fiemap(fd, flags=flags)
        print(f"new: flags {flags:x}:", *told[:2], [(at, length, flag) for at, _, length, flag in told[2]])


make() if what == "make" else ask()
