#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# xattr-like.py FOLDER SEED COUNT [SIZE...]: sets, replaces, removes, reads and lists extended attributes of files of all types in FOLDER, with and
# without room for them, as root and as another user, and prints what each comes to: a line for each, to be compared with what
# another file system prints. COUNT operations are chosen, with values of the SIZEs, too.

import ctypes
import hashlib
import os
import random
import socket
import sys

from calls import as_user, said, say, syscall

GETXATTR, LISTXATTR = 191, 194
top, chance = sys.argv[1], random.Random(int(sys.argv[2]))
os.chdir(top)
os.chmod(".", 0o777)


def brief(value):
    """A value, or what tells long ones apart."""
    return f"{len(value)}:{value[:8].hex()}:{hashlib.md5(value).hexdigest()[:8]}" if isinstance(value, bytes) else value


def listed(path):
    """All attributes with their values, in the order in which they are listed."""
    names = os.listxattr(path, follow_symlinks=False)
    return [(name, brief(os.getxattr(path, name, follow_symlinks=False))) for name in names]


open("file", "w").close()
open("other", "w").close()
os.mkdir("folder")
os.mkdir("sticky")
os.chmod("sticky", 0o1777)
os.symlink("file", "short")
os.symlink("x" * 200, "long")
os.mkfifo("pipe")
os.mknod("node", 0o020600, os.makedev(1, 3))
socket.socket(socket.AF_UNIX).bind("socket")
every = ["file", "other", "folder", "sticky", "short", "long", "pipe", "node", "socket"]
block = os.statvfs(".").f_bsize

# Which names there can be, on what.
names = ["user.a", "trusted.a", "security.a", "system.a", "gnu.a", "other.a", "user.", "trusted.", "security.", "user", "",
         "user." + "n" * 250, "user." + "n" * 251, "trusted." + "n" * 247, "security.capability", "system.posix_acl_access",
         "system.posix_acl_default", "system.data", "user.a/b", "user.\xe4\xf6"]
for path in every:
    for name in names:
        say(f"set {path} {name[:40]}", lambda: os.setxattr(path, name, b"value", follow_symlinks=False))
    print(path, said(lambda: listed(path)), os.lstat(path).st_blocks)

    def tried():
        return [(name[:9], said(lambda: os.getxattr(path, name, follow_symlinks=False)),
                 said(lambda: os.setxattr(path, name, b"u", follow_symlinks=False)),
                 said(lambda: os.removexattr(path, name, follow_symlinks=False))) for name in names]

    print(f"user tries {path}", as_user(tried))
    print(f"user lists {path}", as_user(lambda: os.listxattr(path, follow_symlinks=False)))

# How much fits, and how it is read. A name of 64 KiB and more the VFS refuses.
for size in [0, 1, 3, 4, 5, 40, 56, 57, 100, 200, 500, block // 2, block - 100, block - 64, block - 60, block - 56, block - 55, block, block + 1,
             2 * block, 9999, 65535, 65536, 65537, 4]:
    value = bytes([size % 251 + 1]) * size
    say(f"size {size}", lambda: os.setxattr("other", "user.v", value))
    print(said(lambda: listed("other")), os.stat("other").st_blocks)
for path, name in [("other", "user.v"), ("other", "user.none"), ("file", "user.a")]:
    for room in [0, 1, 4, 5, 10, 65536, 70000]:
        memory = ctypes.create_string_buffer(room or 1)
        say(f"get {path} {name} {room}", lambda: syscall(GETXATTR, path.encode(), name.encode(), memory if room else None, room))
        print(brief(memory.raw))
for path in ["file", "other", "folder"]:
    for room in [0, 1, 6, 7, 8, 20, 40, 65536]:
        memory = ctypes.create_string_buffer(room or 1)
        say(f"list {path} {room}", lambda: syscall(LISTXATTR, path.encode(), memory if room else None, room))
        print(brief(memory.raw.rstrip(b"\0")) if room in (0, 65536) else "")

# Any order of it, on few files, so that what they have is equal now and then.
prefixes = ["user.", "trusted.", "security."]
# A short link's values in inodes of their own are led to from its block on iomapfs, as e2fsck wants it, so that there is other room.
link = "long" if len(sys.argv) > 4 else "short"
for step in range(int(sys.argv[3])):
    path = chance.choice(["file", "other", "folder", link, "pipe"])
    prefix = chance.choice(prefixes if path in ("file", "other", "folder") else prefixes[1:])
    name = prefix + chance.choice("abc") * chance.choice([1, 1, 2, 7, 60])
    how = chance.choice([0, 0, 0, os.XATTR_CREATE, os.XATTR_REPLACE])
    size = chance.choice([0, 1, 4, 17, 30, 44, 80, 200, block // 3, block // 2, block - 90, block] + [int(size) for size in sys.argv[4:]])
    value = bytes([chance.choice([1, 2])]) * size
    if chance.randrange(4) == 0:
        call, what = (lambda: os.removexattr(path, name, follow_symlinks=False)), "remove"
    else:
        call, what = (lambda: os.setxattr(path, name, value, how, follow_symlinks=False)), f"set {how} {size}"
    before = os.lstat(path).st_ctime_ns
    result = said(call)
    # Times of small inodes are whole seconds.
    newer = os.lstat(path).st_ctime_ns != before and before % 10**9 != 0
    print(step, path, name[:20], what, result, newer, said(lambda: listed(path)), os.lstat(path).st_blocks)
