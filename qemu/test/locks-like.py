#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# locks-like.py FOLDER: locks files in FOLDER in all ways that there are, by several processes and openings, and prints what each call
# comes to: a line for each, to be compared with what another file system prints.

import fcntl
import os
import signal
import struct
import sys
import time

from calls import USER, Child, in_child, said, say

FLOCK = struct.Struct("hh4xqqi4x")
READ, WRITE, NONE = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK
OFD_GETLK, OFD_SETLK, OFD_SETLKW = 36, 37, 38
SETLEASE, GETLEASE, SETDELEG, GETDELEG = 1024, 1025, 1040, 1039
NAMES = {READ: "read", WRITE: "write", NONE: "none"}


def lock(fd, kind, start, length, cmd=fcntl.F_SETLK, whence=0):
    fcntl.fcntl(fd, cmd, FLOCK.pack(kind, whence, start, length, 0))


def who(fd, kind, start, length, cmd=fcntl.F_GETLK):
    """What is in the way."""
    kind, whence, start, length, pid = FLOCK.unpack(fcntl.fcntl(fd, cmd, FLOCK.pack(kind, 0, start, length, 0)))
    owner = {main_pid: "the parent", -1: "an opening", 0: "nobody"}.get(pid, "a child")
    return "nobody" if kind == NONE else f"{NAMES[kind]} {start}+{length} of {owner}"


def listed(path):
    """The locks of a file in /proc/locks."""
    want = f":{os.stat(path).st_ino}"
    lines = [line.split() for line in open("/proc/locks")]
    return sorted(" ".join([*line[1:4], *line[6:]]) for line in lines if line[1] != "->" and line[5].endswith(want))


def waits(path):
    """Until somebody waits for a lock of the file."""
    want = f":{os.stat(path).st_ino}"
    for _ in range(500):
        for line in open("/proc/locks"):
            line = line.split()
            if line[1] == "->" and line[6].endswith(want):
                return
        time.sleep(0.02)
    print(f"nobody waits for {os.path.basename(path)}")


main_pid = os.getpid()


def posix(path):
    fd = os.open(path, os.O_RDWR)
    other = lambda *args: in_child(lambda: lock(os.open(path, os.O_RDWR), *args))
    asked = lambda *args: in_child(lambda: who(os.open(path, os.O_RDWR), *args))
    say("posix: write lock", lambda: lock(fd, WRITE, 10, 10))
    print("posix: of another process:", other(WRITE, 15, 1), other(READ, 0, 11), other(WRITE, 0, 10), other(WRITE, 20, 0))
    print("posix: who:", asked(WRITE, 0, 0), asked(READ, 5, 5), asked(READ, 19, 1))
    say("posix: who, asked by the owner", lambda: who(fd, WRITE, 0, 0))
    lock(fd, NONE, 13, 2)
    print("posix: split:", listed(path), other(WRITE, 13, 2), other(WRITE, 12, 2), other(WRITE, 14, 2))
    lock(fd, WRITE, 13, 2)
    print("posix: merged:", listed(path), asked(READ, 0, 0))
    lock(fd, READ, 12, 4)
    print("posix: in part for reading:", listed(path), other(READ, 12, 4), other(WRITE, 12, 4), other(READ, 11, 2))
    lock(fd, READ, 0, 0)
    print("posix: to the end:", listed(path), other(READ, 1 << 40, 0), other(WRITE, (1 << 62), 1))
    lock(fd, NONE, 0, 0)
    print("posix: unlocked:", listed(path), asked(WRITE, 0, 0))
    lock(fd, WRITE, 100, -50)
    print("posix: backwards:", asked(WRITE, 0, 0))
    lock(fd, NONE, 0, 0)
    lock(fd, WRITE, -10, 5, fcntl.F_SETLK, os.SEEK_END)
    print("posix: from the end:", asked(WRITE, 0, 0))
    say("posix: before the start", lambda: lock(fd, WRITE, -1, 1))
    say("posix: too long", lambda: lock(fd, WRITE, (1 << 63) - 1, 2))
    reader, writer = os.open(path, os.O_RDONLY), os.open(path, os.O_WRONLY)
    say("posix: to write by a reader", lambda: lock(reader, WRITE, 0, 1))
    say("posix: to read by a writer", lambda: lock(writer, READ, 0, 1))
    os.close(reader)
    print("posix: after another opening was closed:", asked(WRITE, 0, 0))
    lock(fd, WRITE, 0, 1)
    child = Child(lambda: lock(fd, WRITE, 0, 1, fcntl.F_SETLKW))
    waits(path)
    print("posix: nobody who waits has it:", listed(path))
    lock(fd, NONE, 0, 0)
    print("posix: waited for:", child.ends(), "and gone:", listed(path))

    def interrupted():
        def ring(*_):
            raise InterruptedError(4, "")

        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        lock(os.open(path, os.O_RDWR), WRITE, 0, 1, fcntl.F_SETLKW)

    lock(fd, WRITE, 0, 1)
    print("posix: interrupted:", in_child(interrupted))

    # Each has one and wants the other's.
    def crossed():
        lock(fd, WRITE, 50, 1)
        os.write(ready[1], b"x")
        lock(fd, WRITE, 0, 1, fcntl.F_SETLKW)

    ready = os.pipe()
    child = Child(crossed)
    os.read(ready[0], 1)
    waits(path)
    say("posix: deadlock", lambda: lock(fd, WRITE, 50, 1, fcntl.F_SETLKW))
    lock(fd, NONE, 0, 0)
    print("posix: the other goes on:", child.ends())
    os.close(fd)
    os.close(writer)


def ofd(path):
    one, two = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    say("ofd: lock", lambda: lock(one, WRITE, 10, 10, OFD_SETLK))
    say("ofd: another opening", lambda: lock(two, WRITE, 19, 1, OFD_SETLK))
    say("ofd: beside it", lambda: lock(two, WRITE, 20, 1, OFD_SETLK))
    say("ofd: who", lambda: who(two, READ, 0, 0, OFD_GETLK))
    say("ofd: who, by the old way", lambda: who(two, READ, 0, 0))
    say("ofd: a lock of the process", lambda: lock(one, READ, 15, 1))
    print("ofd: listed:", listed(path))
    print("ofd: inherited:", in_child(lambda: lock(one, READ, 10, 10, OFD_SETLK)), listed(path))
    copy = os.dup(one)
    os.close(copy)
    print("ofd: after a copy was closed:", listed(path))
    child = Child(lambda: lock(two, WRITE, 10, 10, OFD_SETLKW))
    waits(path)
    lock(one, NONE, 0, 0, OFD_SETLK)
    print("ofd: waited for:", child.ends(), listed(path))
    os.close(two)
    print("ofd: after the close:", listed(path))
    os.close(one)


def flock(path):
    how = os.O_RDONLY
    one, two = os.open(path, how), os.open(path, how)
    tried = lambda fd, op: said(lambda: fcntl.flock(fd, op | fcntl.LOCK_NB))
    name = "folder" if os.path.isdir(path) else "file"
    print(f"flock of a {name}:", tried(one, fcntl.LOCK_SH), tried(two, fcntl.LOCK_SH), tried(one, fcntl.LOCK_EX), listed(path))
    print(f"flock of a {name}:", tried(one, fcntl.LOCK_UN), tried(two, fcntl.LOCK_EX), tried(one, fcntl.LOCK_SH), listed(path))
    if name == "file":
        writer = os.open(path, os.O_RDWR)
        say("flock and a posix lock", lambda: lock(writer, WRITE, 0, 0))
        os.close(writer)

    def by_another():
        os.close(two)
        fcntl.flock(os.open(path, how), fcntl.LOCK_EX)

    child = Child(by_another)
    waits(path)
    os.close(two)
    print(f"flock of a {name} waited for:", child.ends(), listed(path))
    os.close(one)


def break_time(seconds):
    with open("/proc/sys/fs/lease-break-time", "w") as file:
        file.write(str(seconds))


def leases(path):
    break_time(30)
    told = []
    signal.signal(signal.SIGIO, lambda *_: told.append("told"))
    fd = os.open(path, os.O_RDONLY)
    lease = lambda fd, kind: said(lambda: fcntl.fcntl(fd, SETLEASE, kind))
    state = lambda fd: NAMES[fcntl.fcntl(fd, GETLEASE)]
    opened = lambda how: in_child(lambda: os.close(os.open(path, how | os.O_NONBLOCK)))

    def after(call):
        result = call()
        time.sleep(0.05)
        return f"{result}, {told.pop() if told else 'not told'}, {state(fd)}"

    print("lease to read:", lease(fd, READ), state(fd), listed(path))
    print("lease: others read:", after(lambda: opened(os.O_RDONLY)))
    print("lease: others write:", after(lambda: opened(os.O_RDWR)))
    print("lease: given up:", lease(fd, NONE), state(fd), opened(os.O_RDWR))
    writer = os.open(path, os.O_RDWR)
    print("lease to read what is being written:", lease(fd, READ), lease(writer, READ), lease(writer, WRITE))
    os.close(fd)
    print("lease to write:", lease(writer, WRITE), listed(path))
    fd = writer
    print("lease: others read what is written:", after(lambda: opened(os.O_RDONLY)))
    child = Child(lambda: os.close(os.open(path, os.O_RDONLY)))
    time.sleep(0.1)
    print("lease: others wait:", os.waitpid(child.pid, os.WNOHANG)[0] == 0)
    print("lease: made smaller:", lease(fd, READ), "given up:", lease(fd, NONE), child.ends(), state(fd))
    os.close(fd)
    # From here on who is told does nothing.
    break_time(1)
    fd = os.open(path, os.O_RDONLY)
    lease(fd, READ)
    print("lease: cut off:", after(lambda: in_child(lambda: os.truncate(path, 10))))
    print("lease: is taken away in the end:", listed(path))
    lease(fd, READ)
    print("lease: closed:", os.close(fd), listed(path))
    fd = os.open(path, os.O_RDONLY)

    def other_user():
        os.seteuid(USER)
        return fcntl.fcntl(fd, SETLEASE, READ)

    print("lease: of somebody else's:", in_child(other_user))
    say("lease: of no kind", lambda: fcntl.fcntl(fd, SETLEASE, 77))
    os.close(fd)
    folder = os.path.dirname(path)
    fd = os.open(folder, os.O_RDONLY)
    say("lease: of a folder", lambda: fcntl.fcntl(fd, SETLEASE, READ))
    # What a server hands on.
    delegation = struct.Struct("IHH")
    for kind in [READ, WRITE]:
        say(f"delegation of a folder {kind}", lambda: fcntl.fcntl(fd, SETDELEG, delegation.pack(0, kind, 0))[4:6])
    held = lambda: NAMES.get(delegation.unpack(fcntl.fcntl(fd, GETDELEG, delegation.pack(0, 0, 0)))[1])
    for what, call in [("a name is looked at", lambda: os.stat(path)[0] & 0), ("a name is made", lambda: os.mkdir(path + "-dir"))]:
        del told[:]
        fcntl.fcntl(fd, SETDELEG, delegation.pack(0, READ, 0))
        print(f"delegation: {what}:", in_child(call), "told" if told else "not told", said(held))
    os.close(fd)


def main():
    top = sys.argv[1]
    signal.alarm(120)
    path = f"{top}/file"
    with open(path, "w") as file:
        file.write("x" * 1000)
    posix(path)
    ofd(path)
    flock(path)
    flock(top)
    leases(path)
    # What is locked when the process ends, and what has no name any more.
    held = os.open(path, os.O_RDWR)
    lock(held, WRITE, 0, 1000)
    fcntl.flock(held, fcntl.LOCK_EX)
    lock(os.open(path, os.O_RDWR), READ, 2000, 1, OFD_SETLK)
    os.unlink(path)


main()
