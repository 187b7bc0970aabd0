#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# many-attributes.py FOLDER make COUNT    makes so many files below FOLDER, with attributes and access control lists of several kinds
# many-attributes.py FOLDER list COUNT    prints a line for each folder of them: a hash of all that can be read of its files
#
# Two processes share the folders.

import hashlib
import os
import struct
import sys

EACH = 1000
top, what, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.chdir(top)
folders = [(f"folder-{at}", range(at, min(at + EACH, count))) for at in range(0, count, EACH)]


def acl(user):
    """A list as system calls have it: with a named user, a named group and a mask."""
    nobody = 0xFFFFFFFF
    entries = [(1, 7, nobody), (2, 6, user), (4, 5, nobody), (8, 4, user + 1), (0x10, 7, nobody), (0x20, 1, nobody)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def make(folder, files):
    os.mkdir(folder)
    number = files.start // EACH
    if number % 3 == 1:
        # Files get it from the folder.
        os.setxattr(folder, "system.posix_acl_default", acl(number))
    if number % 3 == 2:
        os.setxattr(folder, "user.of-folder", b"%08d" % number * 60)
    for i in files:
        path = f"{folder}/name-of-file-{i}"
        os.mknod(path)
        kind = i % 10
        if kind < 5:
            # In the inode.
            os.setxattr(path, "user.small", b"%040d" % i)
        elif kind == 5:
            # In a block that several share.
            os.setxattr(path, "user.shared", b"%03d" % (i // 10 % 16) * 100)
        elif kind == 6:
            # In a block of its own, and in the inode.
            os.setxattr(path, "user.own", b"%08d" % i * 60)
            os.setxattr(path, "trusted.small", b"%d" % i)
        elif kind == 7:
            os.setxattr(path, "system.posix_acl_access", acl(i % 50000))
            os.setxattr(path, "user.beside", b"b" * (i % 90))
        elif kind == 8:
            # Empty, replaced, removed.
            os.setxattr(path, "user.empty", b"")
            os.setxattr(path, "user.replaced", b"before %d" % i)
            os.setxattr(path, "user.replaced", b"%d" % i * 30)
            os.setxattr(path, "user.removed", b"%d" % i)
            os.removexattr(path, "user.removed")
            os.chown(path, i % 60000, i % 1000)


def listing(folder, files):
    names = sorted(os.listdir(folder))
    assert len(names) == len(files), f"{folder}: {len(names)} names"
    found = hashlib.blake2b(digest_size=16)
    lists = 0
    for path in [folder] + [f"{folder}/{name}" for name in names]:
        s = os.lstat(path)
        own = (s.st_ino, s.st_mode, s.st_uid, s.st_gid, s.st_nlink, s.st_size, s.st_blocks, s.st_mtime_ns, s.st_ctime_ns)
        attributes = [(name, os.getxattr(path, name)) for name in os.listxattr(path)]
        lists += len(attributes)
        found.update(repr((path, own, attributes)).encode())
    return f"{folder} {lists} {found.hexdigest()}"


def half(turn):
    said = []
    for folder, files in folders[turn::2]:
        if what == "make":
            make(folder, files)
        else:
            said.append(listing(folder, files))
    return "".join(line + "\n" for line in said)


ours, theirs = os.pipe()
child = os.fork()
said = half(0 if child else 1)
if child == 0:
    os.close(ours)
    with os.fdopen(theirs, "w") as pipe:
        pipe.write(said)
    os._exit(0)
os.close(theirs)
with os.fdopen(ours) as pipe:
    said += pipe.read()
assert os.waitpid(child, 0)[1] == 0, "a process has failed"
print("".join(sorted(said.splitlines(True))), end="")
