#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# idmapped-like.py FOLDER: mounts FOLDER, where a file system is mounted, once more in a way that maps users, works there as several
# users, and prints what each call comes to and whose the files are on either side: a line for each, to be compared with what another
# file system prints.

import ctypes
import os
import signal
import struct
import sys

from calls import in_child, said, say, syscall

OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 428, 429, 442
IDMAP = 0x100000
# On the mapped mount, user n of the file system is user n + SHIFT, for the first COUNT.
SHIFT, COUNT = 10000, 5000


def user_namespace():
    """A descriptor of a namespace with that mapping."""
    ready, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        # CLONE_NEWUSER
        syscall(272, 0x10000000)
        os.write(ready[1], b"x")
        os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    for which in ["uid_map", "gid_map"]:
        with open(f"/proc/{pid}/{which}", "w") as file:
            file.write(f"0 {SHIFT} {COUNT}\n")
    fd = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
    os.write(done[1], b"x")
    os.waitpid(pid, 0)
    return fd


def as_user(user, call):
    def dropped():
        os.setgroups([])
        os.setegid(user)
        os.seteuid(user)
        return call()

    return in_child(dropped)


def main():
    top = sys.argv[1]
    signal.alarm(60)
    os.chmod(top, 0o1777)
    mapped = top + "-mapped"
    os.makedirs(mapped, exist_ok=True)
    with open(f"{top}/root", "w") as file:
        file.write("x")
    for name, user in [("five", 5), ("most", COUNT - 1), ("outside", COUNT)]:
        with open(f"{top}/{name}", "w") as file:
            os.fchown(file.fileno(), user, user)
    tree = syscall(OPEN_TREE, -100, os.fsencode(top), 1)
    attr = struct.pack("QQQQ", IDMAP, 0, 0, user_namespace())
    result = said(lambda: syscall(MOUNT_SETATTR, tree, b"", 0x1000, attr, len(attr)))
    print("map:", result, flush=True)
    if result != 0:
        return
    syscall(MOVE_MOUNT, tree, b"", -100, os.fsencode(mapped), 4)

    def owners(name):
        on = lambda folder: "{0.st_uid}:{0.st_gid} {0.st_mode:o}".format(os.lstat(f"{folder}/{name}"))
        return f"{on(mapped)}, {on(top)} below"

    for name in ["root", "five", "most", "outside"]:
        print(f"{name}: {owners(name)}")
    make = {
        "file": lambda path: os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)),
        "dir": lambda path: os.mkdir(path),
        "symlink": lambda path: os.symlink("x", path),
        "long-symlink": lambda path: os.symlink("x" * 200, path),
        "node": lambda path: os.mknod(path, 0o010644),
        "nameless": lambda path: os.link(f"/proc/self/fd/{os.open(mapped, os.O_RDWR | os.O_TMPFILE)}", path, follow_symlinks=True),
    }
    for what, call in make.items():
        for user in [SHIFT, SHIFT + 7, SHIFT + COUNT, 0, 7]:
            name = f"{what}-{user}"
            result = as_user(user, lambda: call(f"{mapped}/{name}"))
            print(f"{what} by {user}: {result}", owners(name) if os.path.lexists(f"{mapped}/{name}") else "")
    five = f"{mapped}/five"
    for user in [SHIFT + 5, 5, SHIFT, 0]:
        print(f"chmod by {user}: {as_user(user, lambda: os.chmod(five, 0o640))}")
        print(f"times by {user}: {as_user(user, lambda: os.utime(five, (5, 5)))}")
        print(f"open by {user}: {as_user(user, lambda: os.close(os.open(five, os.O_RDWR)))}")
        print(f"unlink by {user}: {as_user(user, lambda: os.unlink(mapped + '/root'))}")
        print(f"truncate by {user}: {as_user(user, lambda: os.truncate(five, 0))}")
        print(f"chown to itself by {user}: {as_user(user, lambda: os.chown(five, -1, SHIFT + 5))}")
    for user in [SHIFT + 9, SHIFT + COUNT, 9]:
        say(f"chown to {user}", lambda: os.chown(five, user, user))
        print(owners("five"))
    os.chmod(f"{mapped}/dir-{SHIFT + 7}", 0o2777)
    print("in a folder with a group:", as_user(SHIFT + 9, lambda: os.mkdir(f"{mapped}/dir-{SHIFT + 7}/inside")))
    print(owners(f"dir-{SHIFT + 7}/inside"))
    print("exchange:", as_user(SHIFT + 7, lambda: os.rename(f"{mapped}/file-{SHIFT + 7}", f"{mapped}/renamed")), owners("renamed"))
    os.close(tree)
    syscall(166, os.fsencode(mapped), 0)


main()
