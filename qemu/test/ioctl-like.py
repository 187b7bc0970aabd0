#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# ioctl-like.py FOLDER: makes requests of a file system in FOLDER, on files and folders, as root and as another user, and prints what
# each comes to: a line for each, to be compared with what another file system prints. The name of the volume is "last" then.

import ctypes
import errno
import mmap
import os
import struct
import sys

GETVERSION, SETVERSION = 0x80087601, 0x40087602
GETVERSION_F, SETVERSION_F = 0x80086603, 0x40086604
GETVERSION32, SETVERSION32 = 0x80047601, 0x40047602
GETLABEL, SETLABEL = 0x81009431, 0x41009432
SHUTDOWN, GETUUID = 0x8004587D, 0x80111500
USER = 12345

libc = ctypes.CDLL(None, use_errno=True)
libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]

# A page that ends where nothing is.
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64]
edge = libc.mmap(None, 8192, 3, 0x22, -1, 0) + 4096
libc.munmap(ctypes.c_void_p(edge), ctypes.c_size_t(4096))


def request(fd, cmd, data=b"", size=None, at_edge=False, address=None):
    """Gives what is in memory then, or the errno."""
    size = len(data) if size is None else size
    if address is not None:
        place = address
    elif at_edge:
        place = edge - size
        ctypes.memmove(place, data, len(data))
    else:
        buffer = ctypes.create_string_buffer(data, max(size, 512))
        place = ctypes.addressof(buffer)
    if libc.ioctl(fd, cmd, place) < 0:
        return errno.errorcode[ctypes.get_errno()]
    return ctypes.string_at(place, size) if address is None else "ok"


def main():
    top = sys.argv[1]
    writable = os.access(top, os.W_OK)
    if writable:
        with open(f"{top}/file", "w") as file:
            file.write("x")
        os.mkdir(f"{top}/dir")
        os.chmod(top, 0o777)
        os.mkfifo(f"{top}/pipe")
        with open(f"{top}/own", "w") as file:
            os.fchown(file.fileno(), USER, USER)
    number = struct.Struct("I")
    for name in ["file", "dir", "own"]:
        fd = os.open(f"{top}/{name}", os.O_RDONLY)
        writer = os.open(f"{top}/{name}", os.O_RDWR) if writable and name != "dir" else fd

        def say(what, result):
            print(f"{name}: {what}: {result}")

        for user in [0, USER]:
            os.seteuid(user)
            for get, set_ in [(GETVERSION, SETVERSION), (GETVERSION_F, SETVERSION_F)]:
                say(f"as {user}: set version {set_:x}", request(fd, set_, number.pack(0xCAFE0000 + user)))
                before = os.fstat(fd).st_ctime_ns
                again = request(writer, set_, number.pack(0xBEEF0000 + user))
                say(f"as {user}: set version {set_:x} by a writer", again)
                if again == number.pack(0xBEEF0000 + user):
                    say("the version", request(fd, get, size=4))
                    say("ctime", os.fstat(fd).st_ctime_ns >= before)
                # Only an int is told, although the number says long.
                say("what is told", [c for c in request(fd, get, b"\xA5" * 8)[4:]])
                say("at the edge", len(request(fd, get, size=4, at_edge=True)))
                for cmd in [get, set_]:
                    say(f"{cmd:x} nowhere", request(fd, cmd, address=8))
                    say(f"{cmd:x} over the edge", request(fd, cmd, size=3, at_edge=True))
            for cmd in [GETVERSION32, SETVERSION32]:
                say(f"as {user}: {cmd:x}, of tasks of 32 bits", request(fd, cmd, number.pack(1)))
            say(f"as {user}: label", request(fd, GETLABEL, size=17))
            labels = [b"", b"a", b"x" * 15, b"y" * 16, b"z" * 17, b"w" * 255, b"new\0rest of it, which is none", b"\xff\xfe"]
            for label in labels:
                say(f"as {user}: set label {label}", request(fd, SETLABEL, label))
                say(f"as {user}: label", request(fd, GETLABEL, b"\xA5" * 20))
            for size in [4, 16, 17]:
                say(f"as {user}: set label of {size} at the edge", request(fd, SETLABEL, b"edge".ljust(size, b"\0"), at_edge=True))
                say(f"as {user}: label of {size} at the edge", request(fd, GETLABEL, size=size, at_edge=True))
            for cmd in [GETLABEL, SETLABEL, SHUTDOWN]:
                say(f"as {user}: {cmd:x} nowhere", request(fd, cmd, address=8))
            for mode in [3, 99, 0xFFFFFFFF]:
                say(f"as {user}: shutdown {mode}", request(fd, SHUTDOWN, number.pack(mode)))
            if user:
                for mode in [0, 1, 2]:
                    say(f"as {user}: shutdown {mode}", request(fd, SHUTDOWN, number.pack(mode)))
            say(f"as {user}: UUID", request(fd, GETUUID, size=17))
            for cmd in [0x80087699, 0x5877, 0x0, 0x12345678]:
                say(f"as {user}: {cmd:x}, which is none", request(fd, cmd, b"x" * 8))
        os.seteuid(0)
        path = os.open(f"{top}/{name}", os.O_PATH)
        say("by O_PATH", request(path, GETVERSION, size=4))
        print(name, request(fd, SETLABEL, b"last"), request(fd, GETLABEL, size=17))
    fd = os.open(f"{top}/pipe", os.O_RDWR | os.O_NONBLOCK)
    print("of a pipe:", request(fd, GETVERSION, size=4), request(fd, SHUTDOWN, struct.pack("I", 0)))


main()
