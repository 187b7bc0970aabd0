#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# ioctl-like.py [-32] FOLDER: makes requests of a file system in FOLDER, on files and folders, as root and as another user, and prints
# what each comes to: a line for each, to be compared with what another file system prints. The name of the volume is "last" then.
# With -32 the requests are those of a task of 32 bits, and the last one shuts the file system down.

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
SHUTDOWN, GETUUID, GETPATH = 0x8004587D, 0x80111500, 0x80811501
GETFSUUID, SETFSUUID, CHECKPOINT, PRECACHE = 0x8008662C, 0x4008662C, 0x4004662B, 0x6612
GETFSX, SETFSX, GETFLAGS = 0x801C581F, 0x401C5820, 0x80086601
USER = 12345

libc = ctypes.CDLL(None, use_errno=True)
libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]

# A page that ends where nothing is.
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64]
BELOW_4G = 0x40
narrow = sys.argv[1] == "-32"
# int call(int fd, unsigned cmd, unsigned at): ioctl as a task of 32 bits calls it, by interrupt 128.
code = bytes.fromhex("53 89fb 89f1 b836000000 cd80 5b c3")
page = libc.mmap(None, 8192, 7, 0x22 | BELOW_4G, -1, 0)
ctypes.memmove(page, code, len(code))
call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_uint, ctypes.c_uint)(page)
low_memory = page + 4096
# The last that is below 4 GiB: nothing else comes behind the edge.
edge = libc.mmap(None, 8192, 3, 0x22 | BELOW_4G, -1, 0) + 4096
libc.munmap(ctypes.c_void_p(edge), ctypes.c_size_t(4096))


def ioctl(fd, cmd, at):
    """Gives the errno, or 0."""
    if narrow:
        return max(0, -call(fd, cmd, at))
    return ctypes.get_errno() if libc.ioctl(fd, cmd, at) < 0 else 0


def request(fd, cmd, data=b"", size=None, at_edge=False, address=None):
    """Gives what is in memory then, or the errno."""
    size = len(data) if size is None else size
    if address is not None:
        place = address
    elif at_edge:
        place = edge - size
        ctypes.memmove(place, data, len(data))
    else:
        place = low_memory
        ctypes.memmove(place, data.ljust(4096, b"\0"), 4096)
    failed = ioctl(fd, cmd, place)
    if failed:
        return errno.errorcode[failed]
    return ctypes.string_at(place, size) if address is None else "ok"


def of_the_volume(fd, writer, user, writable, say):
    """Requests that come to the same on whatever file, and those of its flags."""
    number = struct.Struct("I")
    path = request(fd, GETPATH, size=129)
    say("the path below /sys/fs", path[1 + path.index(b"/") : 1 + path[0]])
    for length, flags in [(0, 0), (0, 1), (15, 0), (16, 0), (16, 1), (17, 0), (99, 0)]:
        head = struct.pack("II", length, flags)
        say(f"as {user}: UUID, {length} bytes, {flags}", request(fd, GETFSUUID, head, 24))
        say(f"as {user}: set UUID, {length} bytes, {flags}", request(fd, SETFSUUID, head + bytes(range(user % 7, 16 + user % 7))))
        # As the last one is set, whoever sets it.
        say(f"as {user}: UUID", request(fd, GETFSUUID, struct.pack("II", 16, 0), 24))
        say("statfs", os.statvfs(fd).f_fsid)
    for cmd in [GETFSUUID, SETFSUUID, CHECKPOINT]:
        say(f"as {user}: {cmd:x} nowhere", request(fd, cmd, address=8))
        for size in [4, 8, 20, 24]:
            say(f"as {user}: {cmd:x} of {size} at the edge",
                request(fd, cmd, struct.pack("II16x", 16, 0)[:size], at_edge=True))
    for flags in [0, 1, 2, 3, 4, 5, 6, 7, 8, 0x80000000, 0xFFFFFFFF]:
        # ext4 would write to the journal of a read-only mount.
        if writable or flags > 3:
            say(f"as {user}: checkpoint {flags:x}", request(fd, CHECKPOINT, number.pack(flags)))
    say(f"as {user}: precache", request(fd, PRECACHE, address=0))
    say(f"as {user}: fsx", request(fd, GETFSX, size=28))
    # There are no projects. ext4 sets the flags that come with one, and passes over what it does not have.
    for values in [(0,), (0x8,), (0x20,), (0x40,), (0x60,), (0x80,), (0x10,), (0x60, 0, 9), (0, 0, 0, 5), (0x40, 0, 0, 5),
                   (1 << 25,), (1 << 31,)]:
        values += (0,) * (5 - len(values))
        say(f"as {user}: set fsx {values}", request(writer, SETFSX, struct.pack("5I8x", *values)))
        if not values[3]:
            say("fsx", request(fd, GETFSX, size=28))
            say("flags", request(fd, GETFLAGS, size=4))
        request(writer, SETFSX, bytes(28))
    for cmd in [GETFSX, SETFSX]:
        say(f"as {user}: {cmd:x} nowhere", request(fd, cmd, address=8))


def by_narrow_numbers(fd, folder):
    """Requests that have other numbers for a task of 32 bits, or more in memory than one number. The last is a shutdown."""
    print("set version:", request(fd, SETVERSION32, struct.pack("I", 0xBEEF)), request(fd, GETVERSION32, size=4))
    for flags in [0x80, 0x48, 0x10, 0x80, 0]:
        print("set flags", flags, request(fd, 0x40046602, struct.pack("I", 0x80000 | flags)), request(fd, 0x80046601, size=4))
        print("with the other numbers", request(fd, 0x40086602, struct.pack("I", 0x80000)), request(fd, 0x80086601, size=4))
        request(fd, 0x40046602, struct.pack("I", 0x80000))
    told = request(fd, 0xC0C0583B, struct.pack("=IIII6Q", 0, 0, 20, 0, *[0] * 6) + bytes(64) + b"\xff" * 40 + bytes(24), 192 + 20 * 64)
    # Behind that are the blocks of files, which may be anywhere.
    print("fsmap:", told[4:8], [told[at + 8 : at + 40] for at in range(192, 192 + 5 * 64, 64)])
    told = request(fd, 0xC020660B, struct.pack("=QQIIII", 0, 2**64 - 1, 1, 0, 3, 0), 32 + 3 * 56)
    print("fiemap:", told[:40], told[48:96])
    told = request(folder, 0xC0185879, struct.pack("=QQQ", 0, 2**64 - 1, 0), 24)
    print("trim:", told[:8], told[16:])
    print("the name as the other number has it:", request(fd, 0x80087601, size=4), request(fd, GETLABEL, size=17))
    print("shutdown:", request(folder, SHUTDOWN, struct.pack("I", 1)), request(fd, 0x80046601, size=4))


def main():
    top = sys.argv[-1]
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
                # The first is drawn by lot.
                told = request(fd, cmd, number.pack(1))
                say(f"as {user}: {cmd:x}, of tasks of 32 bits", told if isinstance(told, str) else len(told))
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
            if name == "file":
                of_the_volume(fd, writer, user, writable, say)
            for cmd in [0x80087699, 0x5877, 0x0, 0x12345678]:
                say(f"as {user}: {cmd:x}, which is none", request(fd, cmd, b"x" * 8))
        os.seteuid(0)
        path = os.open(f"{top}/{name}", os.O_PATH)
        say("by O_PATH", request(path, GETVERSION, size=4))
        print(name, request(fd, SETLABEL, b"last"), request(fd, GETLABEL, size=17))
    if narrow and writable:
        by_narrow_numbers(os.open(f"{top}/file", os.O_RDWR), os.open(top, os.O_RDONLY))
    fd = os.open(f"{top}/pipe", os.O_RDWR | os.O_NONBLOCK)
    print("UUID of a pipe:", request(fd, GETFSUUID, size=24))
    print("of a pipe:", request(fd, GETVERSION, size=4), request(fd, SHUTDOWN, struct.pack("I", 0)))


main()
