#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# errors-told.py FOLDER: listens for the errors of the file system in FOLDER (FAN_FS_ERROR), whose image test errors-told has damaged,
# uses what is damaged, and prints what is told: a line for each, to be compared with what another file system prints.

import collections
import ctypes
import errno
import fcntl
import os
import select
import struct
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
FS_ERROR, FID, ERROR = 0x8000, 1, 5


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


top = sys.argv[1]
listener = checked(libc.syscall(300, 0x200 | 2, os.O_RDONLY))
checked(libc.syscall(301, listener, 0x101, ctypes.c_uint64(FS_ERROR), -100, os.fsencode(top)))


def told():
    """What was told since the last time: the error, whose, and how often, which may come in several pieces."""
    # A work queue tells.
    time.sleep(0.3)
    found = collections.Counter()
    while select.select([listener], [], [], 0)[0]:
        data = os.read(listener, 65536)
        while data:
            size, _, _, header, mask, _, _ = struct.unpack_from("=IBBHQii", data)
            assert mask == FS_ERROR, mask
            at, whose = header, None
            while at < size:
                kind, _, length = struct.unpack_from("=BBH", data, at)
                if kind == ERROR:
                    error, count = struct.unpack_from("=iI", data, at + 4)
                    # Whether it is the checksum that is wrong or something else.
                    name = {errno.EUCLEAN: "corrupt", errno.EBADMSG: "corrupt"}.get(error) or errno.errorcode[error]
                if kind == FID:
                    fsid = data[at + 4 : at + 12].hex()
                    size_of_handle, handle_type = struct.unpack_from("=Ii", data, at + 12)
                    whose = fsid, handle_type, data[at + 20 : at + 20 + size_of_handle].hex()
                at += length
            found[name, whose] += count
            data = data[size:]
    return found


def say(what, call, times=1):
    for _ in range(times):
        try:
            call()
        except OSError:
            pass
    for words, count in told().items():
        print(f"{what}: {words}, {count} times")


say("before", lambda: os.listdir(top))
say("a bad inode", lambda: os.stat(f"{top}/bad"))
say("a bad inode, three times", lambda: os.stat(f"{top}/bad"), 3)
say("a bad map", lambda: open(f"{top}/mapped", "rb").read())
say("a bad directory", lambda: os.listdir(f"{top}/dir"))
fd = os.open(top, os.O_RDONLY)
if len(sys.argv) > 2:
    # The first error stops all changes, and what may come of that is not told.
    say("after that", lambda: os.stat(f"{top}/bad"))
say("shutdown", lambda: fcntl.ioctl(fd, 0x8004587D, struct.pack("I", 2)))
say("after a shutdown", lambda: os.stat(f"{top}/bad"))
