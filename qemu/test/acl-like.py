#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# acl-like.py FOLDER: gives files in FOLDER access control lists, changes modes and owners, makes files where a folder says what they
# have, tries as other users what that allows, sets and loses capabilities, and prints what each comes to: a line for each, to be
# compared with what another file system prints.

import os
import struct
import subprocess
import sys

from calls import in_child, said

os.chdir(sys.argv[1])
os.chmod(".", 0o755)
A, B, GROUP = 10001, 10002, 20001
# cap_net_raw+ep, version 2 without a root user.
CAP_NET_RAW = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    print("$", *words, "->", done.returncode, (done.stdout + done.stderr).strip().replace("\n", " | "), flush=True)


def show(*paths):
    for path in paths:
        print(path, oct(os.lstat(path).st_mode), [(name, os.getxattr(path, name)) for name in os.listxattr(path)], flush=True)


def user(uid, gid, groups, call):
    def dropped():
        os.setgroups(groups)
        os.setegid(gid)
        os.seteuid(uid)
        return call()

    return in_child(dropped)


def tries(path):
    """What each of some users may do."""

    def each():
        may = [os.access(path, flag, effective_ids=True) for flag in (os.R_OK, os.W_OK, os.X_OK)]
        return may, said(lambda: os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK)))

    for uid, gid, groups in [(0, 0, []), (A, 1, []), (B, GROUP, []), (30001, 3, [GROUP]), (30002, 4, [])]:
        print(path, uid, gid, groups, user(uid, gid, groups, each))


def make(path, text=""):
    with open(path, "w") as file:
        file.write(text)


os.umask(0o022)
make("file")
for words in [["-m", f"u:{A}:rw"], ["-m", f"g:{GROUP}:r"], ["-m", "m::r"], ["-x", f"u:{A}"], ["-m", f"u:{B}:-,o::-"], ["-b"], ["-m", f"u:{A}:rwx"],
              ["-k"], ["-d", "-m", f"u:{A}:rwx"], ["-m", "u::---"], ["--set", f"u::rw,u:{A}:r,u:{B}:w,g::x,g:{GROUP}:rx,m::rwx,o::-"]]:
    run("setfacl", *words, "file")
    show("file")
    tries("file")
for mode in [0o600, 0o640, 0o060, 0o777, 0o000, 0o4755, 0o2755]:
    os.chmod("file", mode)
    show("file")
    tries("file")
for owner, group in [(A, 1), (B, GROUP), (0, 0)]:
    os.chown("file", owner, group)
    show("file")
    tries("file")

os.mkdir("folder")
here = os.open(".", os.O_RDONLY)
run("setfacl", "-d", "-m", f"u::rwx,u:{A}:rwx,g:{GROUP}:rx,o::-", "folder")
show("folder")
for mask in [0o022, 0o077, 0]:
    os.umask(mask)
    name = f"folder/{mask:o}"
    make(name)
    os.mkdir(name + "-folder")
    os.mkdir(name + "-private", 0o700)
    os.mkfifo(name + "-pipe")
    os.symlink("nowhere", name + "-link")
    os.mknod(name + "-node", 0o020666, os.makedev(1, 3))
    os.mkdir(name + "-folder/below")
    fd = os.open("folder", os.O_TMPFILE | os.O_RDWR, 0o666)
    os.link(f"/proc/self/fd/{fd}", name + "-tmp", src_dir_fd=here, follow_symlinks=True)
    os.close(fd)
    for end in ["", "-folder", "-private", "-pipe", "-node", "-folder/below", "-tmp"]:
        show(name + end)
        if mask == 0o022:
            tries(name + end)
run("setfacl", "-R", "-b", "folder")
show("folder")
os.umask(0o022)
for name in ["plain", "other"]:
    make(f"folder/{name}")
    show(f"folder/{name}")

# Many entries: in a block, and more than fit.
for count in [3, 10, 30, 60, 120, 500, 1000]:
    make("many")
    run("setfacl", "-m", ",".join(f"u:{40000 + n}:r" for n in range(count)), "many")
    print(count, user(40000 + count - 1, 9, [], lambda: os.close(os.open("many", os.O_RDONLY))))
    print(user(40000 + count - 1, 9, [], lambda: os.close(os.open("many", os.O_RDWR))), os.stat("many").st_blocks)
    run("setfacl", "-b", "many")
    print(os.stat("many").st_blocks)
run("setfacl", "-m", "u:1:r", "folder/nothing")
os.symlink("file", "link")
run("setfacl", "-P", "-m", "u:1:r", "link")
print(user(A, 1, [], lambda: os.setxattr("file", "system.posix_acl_access", b"\2\0\0\0")))
for value in [b"", b"\1\0\0\0", b"\2\0\0\0", b"\2\0\0\0" + b"\1\0\7\0\xff\xff\xff\xff", b"x" * 30]:
    for name in ["system.posix_acl_access", "system.posix_acl_default"]:
        for path in ["file", "folder"]:
            print(name, path, value, in_child(lambda: os.setxattr(path, name, value)))

# Capabilities, and what takes them away.
for what, call in [("write", lambda: make("caps", "more")), ("truncate", lambda: os.truncate("caps", 1)), ("chown", lambda: os.chown("caps", A, 1)),
                   ("chmod", lambda: os.chmod("caps", 0o755)), ("read", lambda: open("caps").read()), ("utime", lambda: os.utime("caps")),
                   ("fallocate", lambda: os.posix_fallocate(os.open("caps", os.O_RDWR), 0, 10000)), ("rename", lambda: os.rename("caps", "caps"))]:
    for uid in [0, A]:
        make("caps", "text")
        os.chmod("caps", 0o6777)
        os.chown("caps", uid, 1)
        os.chmod("caps", 0o6777)
        os.setxattr("caps", "security.capability", CAP_NET_RAW)
        print(what, uid, user(uid, 1, [], call), oct(os.stat("caps").st_mode), os.listxattr("caps"))
run("getfacl", "-n", "-p", "file", "folder")
