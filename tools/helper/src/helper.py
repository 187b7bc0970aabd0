# SPDX-License-Identifier: GPL-2.0
#
# What cannot be done in safe Rust: the ioctl that puts a mark into dm-log-writes' log, those of a volume and of files,
# and stores to a shared mapping. Requests come on standard input, one a line; each is answered by the errno, or 0.
#
#     mark DEVICE TEXT
#     map PATH OFFSET LENGTH SYNC     followed by the bytes; SYNC is 1 for msync
#     label MOUNT NAME
#     trim MOUNT START LENGTH LEAST
#     exchange PATH DONOR START DONOR_START COUNT     in blocks

import fcntl
import mmap
import os
import struct
import sys

FS_IOC_SETFSLABEL = 1 << 30 | 256 << 16 | 0x94 << 8 | 50
FITRIM = 3 << 30 | 24 << 16 | ord("X") << 8 | 121
EXT4_IOC_MOVE_EXT = 3 << 30 | 40 << 16 | ord("f") << 8 | 15
DM_TARGET_MSG = 3 << 30 | 312 << 16 | 0xFD << 8 | 14
PAGE = mmap.PAGESIZE


def mark(device, text):
    message = struct.pack("=Q", 0) + b"mark " + text + b"\0"
    size = (312 + len(message) + 7) // 8 * 8
    head = struct.pack("=10IQ128s136s", 4, 0, 0, size, 312, 0, 0, 0, 0, 0, 0, device, b"")
    ask("/dev/mapper/control", DM_TARGET_MSG, bytearray((head + message).ljust(size, b"\0")))


def store(path, offset, length, sync, data):
    fd = os.open(path, os.O_RDWR)
    try:
        first = offset // PAGE * PAGE
        with mmap.mmap(fd, offset + length - first, offset=first) as m:
            m[offset - first:] = data
            if sync:
                m.flush()
    finally:
        os.close(fd)


def ask(path, request, argument):
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, request, argument)
    finally:
        os.close(fd)


def exchange(path, donor, *blocks):
    fds = []
    try:
        fds += [os.open(path, os.O_RDWR), os.open(donor, os.O_RDWR)]
        fcntl.ioctl(fds[0], EXT4_IOC_MOVE_EXT, struct.pack("=IIQQQQ", 0, fds[1], *blocks, 0))
    finally:
        for fd in fds:
            os.close(fd)


while True:
    words = sys.stdin.buffer.readline().rstrip(b"\n").split(b" ")
    if words == [b""]:
        break
    try:
        if words[0] == b"mark":
            mark(words[1], words[2])
        elif words[0] == b"label":
            ask(words[1], FS_IOC_SETFSLABEL, bytes(words[2].ljust(256, b"\0")))
        elif words[0] == b"trim":
            ask(words[1], FITRIM, struct.pack("=3Q", *map(int, words[2:])))
        elif words[0] == b"exchange":
            exchange(words[1], words[2], *map(int, words[3:]))
        else:
            path, offset, length, sync = words[1], int(words[2]), int(words[3]), int(words[4])
            store(path, offset, length, sync, sys.stdin.buffer.read(length))
        answer = 0
    except OSError as error:
        answer = error.errno
    print(answer, flush=True)
