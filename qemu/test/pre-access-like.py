#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# pre-access-like.py FOLDER: asks to be asked before anybody uses what files in FOLDER hold (fanotify, FAN_PRE_ACCESS), which a file
# system is mounted on, has a child use them in all ways, allows, denies or fills in what is missing, and prints who was asked of what
# and what came of it: a line for each, to be compared with what another file system prints.

import ctypes
import errno
import mmap
import os
import select
import struct
import sys
import zlib

from calls import PAGE, Child, aligned, libc, said, say, syscall

PRE_CONTENT, CLOEXEC = 0x8, 0x1
PRE_ACCESS, ACCESS_PERM, OPEN_PERM, OPEN_EXEC_PERM, ON_CHILD = 0x100000, 0x20000, 0x10000, 0x40000, 0x8000000
ADD, FILE, MOUNT, FILE_SYSTEM = 0x1, 0x0, 0x10, 0x100
ALLOW, DENY = 1, 2
RANGE = 6
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
SIZE = 16 * PAGE
DATA = b"".join(b"%015d\n" % n for n in range(SIZE // 16))
top = sys.argv[1]


def at(name):
    return f"{top}/{name}"


def denial(number):
    """An answer that says why."""
    return DENY | number << 24


class Listener:
    """Who is asked. What it does itself to what it listens to would have to wait for it: a child does that."""

    def __init__(self, path, what, events=PRE_ACCESS):
        self.fd = syscall(300, PRE_CONTENT | CLOEXEC, os.O_RDWR)
        self.watch(path, what, events)

    def watch(self, path, what, events=PRE_ACCESS):
        syscall(301, self.fd, ADD | what, events, -100, os.fsencode(path))

    def asked(self):
        """What is asked now: the file, and in words."""
        questions, data = [], os.read(self.fd, 65536)
        while data:
            length, _, _, head, mask, fd, _ = struct.unpack_from("=IBBHQii", data)
            words, place = [f"{mask:x}", os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))], None
            while head < length:
                kind, _, size = struct.unpack_from("=BBH", data, head)
                if kind == RANGE:
                    place = struct.unpack_from("=QQ", data, head + 8)
                    words.append("%d+%d" % place)
                head += size
            questions.append((fd, place, " ".join(words)))
            data = data[length:]
        return questions

    def answers(self, call, answer=ALLOW, fill=None):
        """What a call of a child comes to, and what is asked meanwhile. It gets that answer, when `fill` has filled in the file."""
        child, told = Child(call), []
        while True:
            ready = select.select([self.fd, child.ours], [], [], 30)[0]
            if self.fd in ready:
                for fd, place, words in self.asked():
                    told.append(words)
                    if fill:
                        fill(fd, place)
                    os.write(self.fd, struct.pack("iI", fd, answer))
                    os.close(fd)
            elif ready:
                return child.ends(), told
            else:
                return "it is not answered", told

    def ends(self):
        os.close(self.fd)


def opened(use, name="file", flags=os.O_RDWR):
    """A call that opens a file and uses it."""

    def call():
        fd = os.open(at(name), flags)
        return use(fd)

    return call


def fallocate(mode, offset, length):
    def use(fd):
        if libc.fallocate(fd, mode, offset, length) < 0:
            raise OSError(ctypes.get_errno(), "")

    return opened(use)


def piped(use):
    """A use of a file and a pipe."""

    def call(fd):
        ours, theirs = os.pipe()
        os.write(theirs, b"p" * 100)
        return use(fd, ours, theirs)

    return opened(call)


def mapped(length, offset, use, how=mmap.MAP_SHARED):
    return opened(lambda fd: use(mmap.mmap(fd, length, how, offset=offset)))


def stored(memory):
    memory[5:10] = b"STORE"
    memory[PAGE + 5:PAGE + 10] = b"STORE"


def run():
    pid = os.posix_spawn(at("program"), [at("program")], {})
    return os.waitpid(pid, 0)[1]


direct = os.O_RDWR | os.O_DIRECT
CALLS = {
    "open": opened(lambda fd: None),
    "open and cut off": opened(lambda fd: None, flags=os.O_RDWR | os.O_TRUNC),
    "read": opened(lambda fd: os.pread(fd, 100, 5000)),
    "read by the position": opened(lambda fd: len(os.read(fd, 100) + os.read(fd, 50))),
    "read nothing": opened(lambda fd: os.pread(fd, 0, 5000)),
    "read at the end": opened(lambda fd: os.pread(fd, 100, SIZE)),
    "read in pieces": opened(lambda fd: os.preadv(fd, [bytearray(10), bytearray(3000)], PAGE - 5)),
    "read direct": opened(lambda fd: os.preadv(fd, [aligned(2 * PAGE)], PAGE), flags=direct),
    "write": opened(lambda fd: os.pwrite(fd, b"w" * 100, 3)),
    "write nothing": opened(lambda fd: os.pwrite(fd, b"", 3)),
    "write behind the end": opened(lambda fd: os.pwrite(fd, b"w" * 100, SIZE + 1000)),
    "append": opened(lambda fd: os.write(fd, b"a" * 100), flags=os.O_RDWR | os.O_APPEND),
    "write direct": opened(lambda fd: os.pwritev(fd, [aligned(PAGE, b"d")], 2 * PAGE), flags=direct),
    "splice from": piped(lambda fd, ours, theirs: os.splice(fd, theirs, 200, offset_src=7000)),
    "splice to": piped(lambda fd, ours, theirs: os.splice(ours, fd, 50, offset_dst=7000)),
    "copy to another": opened(lambda fd: os.copy_file_range(fd, os.open(at("other"), os.O_RDWR), 5000, 3, 10)),
    "map": mapped(3 * PAGE, PAGE, lambda memory: None),
    "map, and fault": mapped(3 * PAGE, PAGE, lambda memory: memory[PAGE:PAGE + 20]),
    "map, and store": mapped(2 * PAGE, PAGE, stored),
    "map privately, and store": mapped(2 * PAGE, 0, stored, mmap.MAP_PRIVATE),
    "truncate": opened(lambda fd: os.ftruncate(fd, 100)),
    "truncate by name": lambda: os.truncate(at("file"), 5000),
    "truncate to be longer": opened(lambda fd: os.ftruncate(fd, 2 * SIZE)),
    "allocate": fallocate(0, SIZE, PAGE),
    "punch": fallocate(3, PAGE, 2 * PAGE),
    "zero": fallocate(0x10, 3, 10000),
    "collapse": fallocate(8, PAGE, PAGE),
    "insert": fallocate(0x20, PAGE, PAGE),
    "seek to data": opened(lambda fd: os.lseek(fd, 5, os.SEEK_DATA)),
    "read ahead": opened(lambda fd: os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)),
    "sync": opened(os.fsync),
    "chmod": lambda: os.chmod(at("file"), 0o640),
    "list": lambda: sorted(os.listdir(top)),
    "run": run,
}
DENIED = ["read", "read direct", "write", "append", "write direct", "splice from", "splice to", "copy to another", "map", "map, and store",
          "truncate", "truncate by name", "punch", "run"]
ANSWERS = [(ALLOW, "allowed", CALLS), (DENY, "denied", DENIED), (denial(errno.EIO), "EIO", DENIED[:3]),
           (denial(errno.ENOSPC), "ENOSPC", ["write", "map", "truncate"])]


def main():
    for name in ["file", "other", "early"]:
        with open(at(name), "wb") as file:
            file.write(DATA)
    with open(at("program"), "w") as file:
        os.fchmod(file.fileno(), 0o755)
        file.write("#!/bin/true\n")
    os.mkdir(at("folder"))
    with open(at("folder/child"), "wb") as file:
        file.write(DATA)
    os.mkfifo(at("pipe"))
    # Nobody is asked for what was opened before.
    early = os.open(at("file"), os.O_RDWR)
    others = os.open(at("other"), os.O_RDWR)
    listener = Listener(top, MOUNT)

    def fresh():
        if os.fstat(early).st_size != SIZE:
            listener.answers(lambda: os.truncate(at("file"), SIZE))
        os.pwrite(early, DATA, 0)
        os.pwrite(others, DATA, 0)

    def told(what, result, questions):
        sums = [zlib.crc32(os.pread(fd, 4 * SIZE, 0)) for fd in [early, others]]
        print(f"{what}: {result}, asked {questions}, then {os.fstat(early).st_size} {sums}", flush=True)

    for answer, name, uses in ANSWERS:
        for what in uses:
            fresh()
            told(f"{name}: {what}", *listener.answers(CALLS[what], answer))
    fresh()
    told("opened before: read", *listener.answers(lambda: os.pread(early, 100, 0)))
    told("opened before: write", *listener.answers(lambda: os.pwrite(early, b"x", 0)))

    # What is missing is filled in when somebody wants it.
    def fill(fd, place):
        offset, length = place or (0, SIZE)
        for page in range(offset // PAGE, min(offset + length + PAGE - 1, SIZE) // PAGE):
            os.pwrite(fd, bytes([65 + page]) * PAGE, page * PAGE)

    for what in ["read", "read in pieces", "read direct", "write", "write direct", "splice from", "copy to another", "map, and fault",
                 "map, and store", "punch"]:
        fresh()
        listener.answers(lambda: (os.truncate(at("file"), 0), os.truncate(at("file"), SIZE)))
        told(f"filled in: {what}", *listener.answers(CALLS[what], fill=fill))
    listener.ends()
    print("nobody listens any more:", said(CALLS["read"]) == DATA[5000:5100], said(CALLS["write"]))

    # Other ways to say of what.
    for what, path, how, events in [("a file system", top, FILE_SYSTEM, PRE_ACCESS), ("a file", at("file"), FILE, PRE_ACCESS),
                                    ("what is in a folder", at("folder"), FILE, PRE_ACCESS | ON_CHILD),
                                    ("all that can be asked", top, MOUNT, PRE_ACCESS | ACCESS_PERM | OPEN_PERM | OPEN_EXEC_PERM)]:
        listener = Listener(path, how, events)
        for name in ["file", "other", "folder/child"]:
            call = opened(lambda fd: len(os.pread(fd, 10, 20)), name)
            print(f"{what}: {name}:", *listener.answers(call), *listener.answers(call, DENY))
        print(f"{what}: run:", *listener.answers(run), *listener.answers(run, DENY))
        listener.ends()
    listener = Listener(at("file"), FILE)
    say("of a pipe", lambda: listener.watch(at("pipe"), FILE))
    say("of what is not there", lambda: listener.watch(at("missing"), FILE))
    listener.ends()


main()
