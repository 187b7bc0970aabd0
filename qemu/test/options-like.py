# SPDX-License-Identifier: GPL-2.0
"""What a type of file system says to mount options: options-like.py TYPE DEVICE FOLDER, with a line for each try on the standard
input: OPTIONS, or OPTIONS ; OPTIONS of a remount.

A line for each: the try, what mount(2) comes to, what /proc/mounts shows (but for what the VFS shows of each mount), what a
remount with that comes to if it is not OK, and what is shown then if it is something else; then the same of the remount."""

import ctypes
import errno
import os
import sys

MS_RDONLY, MS_REMOUNT, MS_LAZYTIME, MS_RELATIME = 1, 32, 1 << 25, 1 << 21
libc = ctypes.CDLL(None, use_errno=True)
kind, device, folder = sys.argv[1:]
VFS = {"rw": 0, "ro": MS_RDONLY, "relatime": MS_RELATIME, "lazytime": MS_LAZYTIME}


def mount(options, flags=0):
    """What mount(2) comes to."""
    own = [option for option in options if option not in VFS]
    for option in options:
        flags |= VFS.get(option, 0)
    done = libc.mount(device.encode(), folder.encode(), kind.encode(), ctypes.c_ulong(flags), ",".join(own).encode())
    return "OK" if done == 0 else errno.errorcode[ctypes.get_errno()]


def shown():
    """What is shown, the options of the file system and of the VFS."""
    for line in open("/proc/self/mounts"):
        words = line.split()
        if words[1] == folder:
            return words[3].split(",")
    return []


def text(options):
    return ",".join(option for option in options if option not in ("rw", "relatime")) or "-"


def again():
    """A remount with what is shown."""
    before = shown()
    result = mount(before, MS_REMOUNT)
    words = "" if result == "OK" else f" again {result}"
    after = shown()
    return words if after == before else words + f" then {text(after)}"


for line in sys.stdin:
    first, _, second = line.strip().partition(";")
    result = mount(first.strip().split(",") if first.strip() else [])
    out = f"{line.strip() or 'nothing'}: {result}"
    if result == "OK":
        out += f" {text(shown())}{again()}"
        if second:
            options = second.strip().split(",")
            ro = ["ro"] if "ro" in shown() and "rw" not in options else []
            out += f" | {mount(ro + options, MS_REMOUNT)} {text(shown())}{again()}"
        assert libc.umount2(folder.encode(), 0) == 0, os.strerror(ctypes.get_errno())
    print(out, flush=True)
