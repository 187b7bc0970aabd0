#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# handles-like.py make|use FOLDER FILE: makes files in FOLDER, which a file system is mounted on, and keeps their handles in FILE; or
# opens them by these, and by handles that name nothing, and prints what each comes to: a line for each, to be compared with what
# another file system prints.

import ctypes
import errno
import json
import os
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
what, top, state = sys.argv[1:]


def handle_of(path, flags=0):
    buffer = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0), 136)
    mount = ctypes.c_int()
    if libc.name_to_handle_at(-100, os.fsencode(path), buffer, ctypes.byref(mount), flags) < 0:
        return errno.errorcode[ctypes.get_errno()]
    size, kind = struct.unpack_from("=Ii", buffer.raw)
    return [kind, buffer.raw[8 : 8 + size].hex()]


def opened(at, kind, data):
    """What is found by a handle."""
    data = bytes.fromhex(data)
    buffer = ctypes.create_string_buffer(struct.pack("=Ii", len(data), kind) + data)
    fd = libc.open_by_handle_at(at, buffer, os.O_RDONLY | os.O_NONBLOCK | os.O_PATH)
    if fd < 0:
        return errno.errorcode[ctypes.get_errno()]
    stat = os.fstat(fd)
    path = os.readlink(f"/proc/self/fd/{fd}")
    os.close(fd)
    # Without a name that is known there is none to be told.
    name = path if os.path.isdir(path) else os.path.basename(path)
    return stat.st_ino, oct(stat.st_mode), stat.st_nlink, name


if what == "make":
    os.makedirs(f"{top}/a/b/c")
    for name in ["file", "a/b/deep", "gone", "again", "open"]:
        with open(f"{top}/{name}", "w") as file:
            file.write(name)
    os.symlink("file", f"{top}/link")
    os.mkfifo(f"{top}/a/pipe")
    handles = {name: handle_of(f"{top}/{name}") for name in
               [".", "file", "a", "a/b", "a/b/c", "a/b/deep", "gone", "again", "open", "link", "a/pipe", "missing"]}
    handles["file, with its parent"] = handle_of(f"{top}/a/b/deep", 2)
    held = os.open(f"{top}/open", os.O_RDONLY)
    os.unlink(f"{top}/open")
    print("while it is open:", opened(os.open(top, os.O_RDONLY), *handles["open"])[:3])
    os.unlink(f"{top}/gone")
    os.unlink(f"{top}/again")
    open(f"{top}/again", "w").close()
    os.sync()
    with open(state, "w") as file:
        json.dump(handles, file)
else:
    at = os.open(top, os.O_RDONLY)
    for name, handle in json.load(open(state)).items():
        # A number that is drawn by lot.
        told = handle if isinstance(handle, str) else (handle[0], len(handle[1]), handle[1][:8])
        print(f"{name}: {told}:", handle if isinstance(handle, str) else opened(at, *handle))
    for number in [0, 1, 2, 3, 5, 7, 8, 9, 10, 11, 12, 13, 500, 2000, 0x7FFFFFFF, 0xFFFFFFFF]:
        for generation in [0, 1]:
            print(f"{number}, {generation}:", opened(at, 1, struct.pack("=II", number, generation).hex()))
    for kind, data in [(1, b""), (1, b"\1\0\0\0"), (2, b"\2" + b"\0" * 15), (2, b"\2" + b"\0" * 11), (3, b"\2" + b"\0" * 7),
                       (0x81, b"\2" + b"\0" * 19), (99, b"\2" + b"\0" * 7), (0, b"\2" + b"\0" * 7)]:
        print(f"{kind} {data}:", opened(at, kind, data.hex()))
