#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# calls-like.py FOLDER BLOCK-SIZE [PART...]: makes calls on files in FOLDER that are the kernel's own work for the most part, and prints what each
# comes to: a line for each, to be compared with what another file system prints.

import ctypes
import fcntl
import glob
import mmap
import os
import resource
import signal
import struct
import sys
import time

from calls import PAGE, USER, address, aligned, as_user, cached, dirty, in_child, libc, said, say, statx, syscall

DSYNC, SYNC, NOWAIT, APPEND, NOAPPEND, DONTCACHE = 2, 4, 8, 0x10, 0x20, 0x80
FIBMAP, FIGETBSZ, FIEMAP = 1, 2, 0xC020660B
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
libc.readahead.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_size_t]
libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]


def checked(result):
    """Of a call of C."""
    if result in (-1, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "")


def fallocate(fd, mode, offset, length):
    checked(libc.fallocate(fd, mode, offset, length))


def limits(top, block):
    """Where a file ends for the user, and where it ends for all."""
    path = f"{top}/limits"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    direct = os.open(path, os.O_RDWR | os.O_DIRECT)
    appends = os.open(path, os.O_RDWR | os.O_APPEND)
    pipe = os.pipe()
    os.write(pipe[1], b"p" * 3000)
    limit = 3 * PAGE + 100
    calls = {
        "write up to it": lambda: os.pwrite(fd, b"x" * 100, limit - 100),
        "write over it": lambda: os.pwrite(fd, b"x" * 100, limit - 10),
        "write at it": lambda: os.pwrite(fd, b"x", limit),
        "write behind it": lambda: os.pwrite(fd, b"x", limit * 2),
        "write nothing behind it": lambda: os.pwrite(fd, b"", limit * 2),
        "append over it": lambda: os.write(appends, b"x" * limit),
        "append by flag": lambda: os.pwritev(fd, [b"x" * limit], 0, APPEND),
        "splice over it": lambda: os.splice(pipe[0], fd, 200, offset_dst=limit - 100),
        "write direct within it": lambda: os.pwritev(direct, [aligned(PAGE)], 2 * PAGE),
        "write direct over it": lambda: os.pwritev(direct, [aligned(PAGE)], 3 * PAGE),
        "write direct behind it": lambda: os.pwritev(direct, [aligned(PAGE)], 4 * PAGE),
        "truncate to it": lambda: os.ftruncate(fd, limit),
        "truncate over it": lambda: os.ftruncate(fd, limit + 1),
        "fallocate over it": lambda: fallocate(fd, 0, 0, limit + 1),
        "fallocate over it and keep the size": lambda: fallocate(fd, 1, 0, limit + 1),
        "zero over it": lambda: fallocate(fd, 0x10, limit - 10, 20),
        "insert over it": lambda: (os.pwrite(fd, b"x" * 3 * PAGE, 0), fallocate(fd, 0x20, 0, PAGE))[1],
    }
    for what, call in calls.items():

        def limited(ignored):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            # Python ignores it by itself.
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN if ignored else signal.SIG_DFL)
            return call()

        for ignored in [True, False]:
            os.ftruncate(fd, 0)
            result = in_child(lambda: limited(ignored))
            print(f"limit of a user: {what}: {result}, then {os.fstat(fd).st_size}")

    least, most = 0, (1 << 63) - 1
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if said(lambda: os.ftruncate(fd, middle)) == "ok" else (least, middle - 1)
    os.ftruncate(fd, 0)
    print("the longest file:", most)
    for what, call in {
        "write over it": lambda: os.pwrite(fd, b"xx", most - 1),
        "write at it": lambda: os.pwrite(fd, b"x", most),
        "write far behind it": lambda: os.pwrite(fd, b"x", (1 << 63) - 1),
        "append over it": lambda: (os.ftruncate(fd, most - 1), os.write(appends, b"xx"))[1],
        "append at it": lambda: (os.ftruncate(fd, most), os.write(appends, b"xx"))[1],
        "write direct at it": lambda: os.pwritev(direct, [aligned(PAGE)], most // PAGE * PAGE + PAGE),
        "fallocate over it": lambda: fallocate(fd, 0, most, 1),
        "insert up to it": lambda: (os.ftruncate(fd, most - 2 * PAGE), fallocate(fd, 0x20, PAGE, 2 * PAGE))[1],
        "insert over it": lambda: (os.ftruncate(fd, most - 2 * PAGE + 1), fallocate(fd, 0x20, PAGE, 2 * PAGE))[1],
        "read at it": lambda: len(os.pread(fd, 10, most)),
        "seek to it": lambda: os.lseek(fd, most, os.SEEK_SET),
        "seek behind it": lambda: os.lseek(fd, most + 1, os.SEEK_SET),
    }.items():
        say(f"the longest file: {what}", call)
        print("then", os.fstat(fd).st_size)
        os.ftruncate(fd, 0)
    for fd in [fd, direct, appends]:
        os.close(fd)
    os.unlink(path)


def ranges(top, block):
    """What the VFS checks before it asks."""
    path = f"{top}/ranges"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    os.pwrite(fd, b"x" * PAGE, 0)
    reader, writer = os.open(path, os.O_RDONLY), os.open(path, os.O_WRONLY)
    memory = aligned(PAGE)
    place = address(memory)
    for offset in [-1, -(1 << 63), (1 << 63) - 1, (1 << 63) - PAGE]:
        say(f"pread at {offset:#x}", lambda: syscall(17, fd, place, PAGE, offset))
        say(f"pwrite at {offset:#x}", lambda: syscall(18, fd, place, PAGE, offset))
    say("a length that is negative", lambda: syscall(18, fd, place, -1, 0))
    say("write by a reader", lambda: os.pwrite(reader, b"x", 0))
    say("read by a writer", lambda: os.pread(writer, 1, 0))
    say("read to nowhere", lambda: syscall(17, fd, 8, PAGE, 0))
    say("write from nowhere", lambda: syscall(18, fd, 8, PAGE, 0))
    # As much as one call can do is less than 2 GiB.
    edge = libc.mmap(None, 1 << 32, 1, 0x4022, -1, 0)
    say("read more than can be", lambda: syscall(17, fd, edge, 1 << 32, 0))
    for fd in [fd, reader, writer]:
        os.close(fd)


def events(top, block):
    """Who watches a file is told, and so is who counts."""
    path, other = f"{top}/events", f"{top}/events-from"
    for name in [path, other]:
        with open(name, "wb") as file:
            file.write(b"x" * 65536)
            os.fsync(file.fileno())
    watch = syscall(294, 0o4000)
    syscall(254, watch, os.fsencode(path), 0xFFF)
    fd = os.open(path, os.O_RDWR)
    direct = os.open(path, os.O_RDWR | os.O_DIRECT)
    source = os.open(other, os.O_RDONLY)
    pipe = os.pipe()
    page = aligned(PAGE)

    def masks():
        told = []
        try:
            data = os.read(watch, 65536)
        except BlockingIOError:
            return "nothing"
        while data:
            _, mask, _, length = struct.unpack_from("iIII", data)
            told.append(f"{mask:x}")
            data = data[16 + length:]
        return " ".join(told)

    def counts():
        lines = dict(line.split(": ") for line in open("/proc/self/io").read().splitlines())
        return [int(lines[name]) for name in ["rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes"]]

    print("events: open:", masks())
    # What it takes to look.
    first, second = counts(), counts()
    mine = [b - a for a, b in zip(first, second)]
    for what, call in {
        "read": lambda: os.pread(fd, 100, 0),
        "read direct": lambda: os.preadv(direct, [page], 0),
        "write": lambda: os.pwrite(fd, b"y" * 5000, 0),
        "write direct": lambda: os.pwritev(direct, [page], PAGE),
        "write behind the end": lambda: os.pwrite(fd, b"y" * 100, 70000),
        "splice to": lambda: (os.write(pipe[1], b"z" * 10), os.splice(pipe[0], fd, 10, offset_dst=5)),
        "splice from": lambda: (os.splice(fd, pipe[1], 10, offset_src=5), os.read(pipe[0], 10)),
        "copy to": lambda: os.copy_file_range(source, fd, 5000, 0, 0),
        "truncate": lambda: os.ftruncate(fd, 60000),
        "fallocate": lambda: fallocate(fd, 0, 0, 70000),
        "punch": lambda: fallocate(fd, 3, 0, 8192),
        "chmod": lambda: os.fchmod(fd, 0o640),
        "times": lambda: os.utime(path, (1, 1)),
        "nothing": lambda: os.pwrite(fd, b"", 0),
    }.items():
        os.fsync(fd)
        before = counts()
        result = said(call)
        after = counts()
        used = [b - a - c for a, b, c in zip(before, after, mine)]
        # What is read or written for metadata is the file system's own affair.
        used[4:] = used[4:] if what in ["read direct", "write direct"] else []
        print(f"events: {what}: {result}, {masks()}, counted {used}")
    os.close(fd)
    os.close(direct)
    print("events: close:", masks())
    for end in [*pipe, watch, source]:
        os.close(end)


def privileges(top, block):
    """Who writes to a program takes from it that it runs as somebody else."""
    path, other = f"{top}/suid", f"{top}/suid-from"
    with open(other, "wb") as file:
        file.write(b"x" * 65536)
    pipe = os.pipe()
    source = os.open(other, os.O_RDONLY)
    page = aligned(PAGE)
    calls = {
        "write": lambda fd, direct: os.pwrite(fd, b"x", 0),
        "write nothing": lambda fd, direct: os.pwrite(fd, b"", 0),
        "write behind the end": lambda fd, direct: os.pwrite(fd, b"x", 100000),
        "write direct": lambda fd, direct: os.pwritev(direct, [page], PAGE),
        "write direct behind the end": lambda fd, direct: os.pwritev(direct, [page], 65536 + PAGE),
        "splice": lambda fd, direct: (os.write(pipe[1], b"z"), os.splice(pipe[0], fd, 1, offset_dst=5))[1],
        "copy": lambda fd, direct: os.copy_file_range(source, fd, 100, 0, 0),
        "truncate": lambda fd, direct: os.ftruncate(fd, 5),
        "truncate to be longer": lambda fd, direct: os.ftruncate(fd, 100000),
        "fallocate": lambda fd, direct: fallocate(fd, 0, 0, 100000),
        "punch": lambda fd, direct: fallocate(fd, 3, 0, PAGE),
        "zero": lambda fd, direct: fallocate(fd, 0x10, 0, PAGE),
        "collapse": lambda fd, direct: fallocate(fd, 8, 0, PAGE),
        "insert": lambda fd, direct: fallocate(fd, 0x20, 0, PAGE),
        "store": lambda fd, direct: mmap.mmap(fd, PAGE).write(b"x"),
        "read": lambda fd, direct: len(os.pread(fd, 1, 0)),
        "fsync": lambda fd, direct: os.fsync(fd),
    }
    for what, call in calls.items():
        for mode in [0o6777, 0o2767, 0o4666, 0o777] if what in ["write", "write direct", "truncate"] else [0o6777]:
            for who, run in [("a user", as_user), ("root", in_child)][:2 if what.startswith("write") else 1]:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
                os.write(fd, b"x" * 65536)
                direct = os.open(path, os.O_RDWR | os.O_DIRECT)
                os.fchmod(fd, mode)
                os.fsync(fd)
                result = run(lambda: call(fd, direct))
                # Once more: that there is nothing left to take away is remembered.
                again = run(lambda: call(fd, direct))
                print(f"set-user-id {mode:o}: {what} by {who}: {result}, {again}, {os.fstat(fd).st_mode & 0o7777:o}")
                os.close(direct)
                os.close(fd)
    os.unlink(path)


def flushes():
    """How many flushes all loop devices have had."""
    return sum(int(open(stat).read().split()[15]) for stat in glob.glob("/sys/block/loop*/stat"))


def write_flags(top, block):
    path = f"{top}/flags"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    appends = os.open(path, os.O_RDWR | os.O_APPEND)
    direct = os.open(path, os.O_RDWR | os.O_DIRECT)
    both = os.open(path, os.O_RDWR | os.O_DIRECT | os.O_APPEND)
    page = aligned(PAGE, b"d")

    def tried(what, file, data, offset, flags):
        result = said(lambda: os.pwritev(file, [data], offset, flags))
        print(f"{what}: {result}, then {os.fstat(fd).st_size} bytes, at {os.lseek(file, 0, os.SEEK_CUR)}")

    os.pwrite(fd, b"0" * 2 * PAGE, 0)
    tried("RWF_APPEND", fd, b"a" * 100, 0, APPEND)
    tried("RWF_APPEND at the position", fd, b"b" * 100, -1, APPEND)
    tried("RWF_NOAPPEND", appends, b"c" * 100, 50, NOAPPEND)
    tried("RWF_NOAPPEND behind the end", appends, b"c" * 100, 3 * PAGE - 100, NOAPPEND)
    tried("RWF_APPEND and RWF_NOAPPEND", fd, b"d", 0, APPEND | NOAPPEND)
    tried("O_APPEND all the same", appends, b"e" * PAGE, 0, 0)
    tried("RWF_APPEND direct", direct, page, 0, APPEND)
    tried("RWF_NOAPPEND direct", both, page, PAGE, NOAPPEND)
    tried("a flag that there is not", fd, b"f", 0, 1 << 30)
    data = os.pread(fd, 1 << 20, 0)
    print("what is there:", [(run, data.count(run.encode())) for run in "0abcde"])
    for what, file, memory in [("buffered", fd, b"s" * 100), ("direct", direct, page)]:
        for flag, name in [(0, "nothing"), (DSYNC, "RWF_DSYNC"), (SYNC, "RWF_SYNC")]:
            for place, offset in [("within", 0), ("behind the end", os.fstat(fd).st_size // PAGE * PAGE + PAGE)]:
                os.sync()
                before = flushes()
                result = said(lambda: os.pwritev(file, [memory], offset, flag))
                print(f"{name} {what} {place}: {result}, flushed: {flushes() > before}, dirty: {dirty(fd) > 0}")
    # What is to leave no trace in the page cache.
    size = 1 << 20
    os.ftruncate(fd, 0)

    def is_gone():
        for _ in range(100):
            if cached(fd, 0, size) == 0:
                return True
            time.sleep(0.05)
        return False

    say("RWF_DONTCACHE write", lambda: os.pwritev(fd, [b"u" * size], 0, DONTCACHE))
    print("nothing is kept:", is_gone())
    say("RWF_DONTCACHE read", lambda: os.preadv(fd, [bytearray(size)], 0, DONTCACHE))
    print("nothing is kept:", is_gone())
    print("the bytes:", os.pread(fd, size + 1, 0) == b"u" * size, "kept:", cached(fd, 0, size) == size // PAGE)
    say("RWF_DONTCACHE read of what is cached", lambda: os.preadv(fd, [bytearray(size)], 0, DONTCACHE))
    print("kept:", cached(fd, 0, size) == size // PAGE)
    say("RWF_DONTCACHE and RWF_DSYNC", lambda: os.pwritev(fd, [b"v" * size], 0, DONTCACHE | DSYNC))
    say("RWF_DONTCACHE direct", lambda: os.pwritev(direct, [page], 0, DONTCACHE))
    for file in [fd, appends, direct, both]:
        os.close(file)
    os.unlink(path)


def maps(top, block):
    """FIBMAP, and mappings into memory that cannot be."""
    path = f"{top}/mapped"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    os.pwrite(fd, b"m" * 8 * PAGE, 0)
    os.pwrite(fd, b"m" * PAGE, 16 * PAGE)

    def bmap(file, at):
        return struct.unpack("i", fcntl.ioctl(file, FIBMAP, struct.pack("i", at)))[0]

    def extents():
        out = bytearray(struct.pack("QQIIII", 0, 1 << 62, 1, 0, 32, 0) + bytes(32 * 56))
        fcntl.ioctl(fd, FIEMAP, out)
        there = {}
        for n in range(struct.unpack_from("I", out, 20)[0]):
            logical, physical, length = struct.unpack_from("QQQ", out, 32 + n * 56)
            there.update({(logical + at) // block: (physical + at) // block for at in range(0, length, block)})
        return there

    # Nothing of it is on the disk yet.
    first = said(lambda: bmap(fd, 0))
    there = extents()
    print("FIBMAP of what was just written:", first == there[0] != 0)
    say("FIBMAP", lambda: all(bmap(fd, at) == there.get(at, 0) for at in range(20 * PAGE // block)))
    for what, at in [("a hole", 8), ("what is behind the end", 100)]:
        say(f"FIBMAP of {what}", lambda: bmap(fd, at * PAGE // block))
    fallocate(fd, 0, 32 * PAGE, PAGE)
    os.fsync(fd)
    say("FIBMAP of what was never written", lambda: bmap(fd, 32 * PAGE // block))
    say("FIBMAP of a negative block", lambda: bmap(fd, -1))
    say("FIBMAP of a folder", lambda: bmap(os.open(top, os.O_RDONLY), 0))
    print("FIBMAP by a user:", as_user(lambda: bmap(fd, 0)))
    print("FIGETBSZ:", struct.unpack("i", fcntl.ioctl(fd, FIGETBSZ, bytes(4)))[0] == block)
    # Only where a store is durable by itself.
    say("mmap with MAP_SYNC", lambda: checked(libc.mmap(None, PAGE, 3, 3 | 0x80000, fd, 0)))
    say("mmap", lambda: checked(libc.mmap(None, PAGE, 3, 3, fd, 0)))
    os.close(fd)
    os.unlink(path)


def attributes(top, block):
    begun = time.time()
    path = f"{top}/born"
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o644))
    os.mkdir(f"{top}/born-dir")
    os.symlink("x", f"{top}/born-link")
    os.mkfifo(f"{top}/born-pipe")
    born = lambda name: struct.unpack_from("qI", statx(f"{top}/{name}"), 80)
    for name in ["born", "born-dir", "born-link", "born-pipe"]:
        raw = statx(f"{top}/{name}")
        seconds, nanoseconds = born(name)
        mask, size = struct.unpack_from("II", raw)
        align = struct.unpack_from("II", raw, 152)
        # Atomic writes and the alignment of reads are told by some and not by others.
        print(f"statx of {name}: mask {mask & ~0x30000:x}, blksize {size}, direct I/O {align}, born now: {begun - 2 < seconds <= time.time() + 1}")
        before = born(name)
        os.utime(f"{top}/{name}", (1000, 1000), follow_symlinks=False)
        os.rename(f"{top}/{name}", f"{top}/{name}-new")
        print("born when it was:", before == born(name + "-new"))
        only = struct.unpack_from("I", statx(f"{top}/{name}-new", 0x200), 0)[0]
        print(f"statx of only the size: {only & ~0x30000:x}")
    fd = os.open(f"{top}/born-new", os.O_RDWR)
    os.pwrite(fd, b"b" * 100, 0)
    print("born before:", born("born-new") < struct.unpack_from("qI", statx(f"{top}/born-new"), 112))
    os.close(fd)
    # What is told is enough, and half of it is not.
    memory_align, offset_align = struct.unpack_from("II", statx(f"{top}/born-new"), 152)
    direct = os.open(f"{top}/born-new", os.O_RDWR | os.O_DIRECT)
    big = mmap.mmap(-1, 16 * PAGE)
    place = address(big)
    for what, memory, offset in [("aligned", memory_align, offset_align), ("half of it for memory", memory_align // 2, 0),
                                 ("half of it in the file", 0, offset_align // 2)]:
        say(f"direct write {what}", lambda: syscall(18, direct, place + memory, offset_align, offset))
        say(f"direct read {what}", lambda: syscall(17, direct, place + memory, offset_align, offset))
    os.close(direct)


def moves(top, block):
    """What moves bytes without a buffer, and what says how they will be used."""
    path = f"{top}/moves"
    size = 1 << 20
    data = b"".join(b"%015d\n" % n for n in range(size // 16))
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    appends = os.open(path, os.O_RDWR | os.O_APPEND)
    os.pwrite(fd, data, 0)
    pipe = os.pipe()
    say("splice from", lambda: os.splice(fd, pipe[1], 20000, offset_src=5))
    os.write(pipe[1], b"end")
    print(os.read(pipe[0], 65536) == data[5:20005] + b"end")
    os.write(pipe[1], b"s" * 5000)
    say("splice to", lambda: os.splice(pipe[0], fd, 5000, offset_dst=size - 1000))
    print(os.pread(fd, 6000, size - 2000) == data[size - 2000:size - 1000] + b"s" * 5000)
    os.write(pipe[1], b"t" * 10)
    say("splice to what is appended to", lambda: os.splice(pipe[0], appends, 10))
    say("splice by the position", lambda: (os.lseek(fd, 100, os.SEEK_SET), os.splice(pipe[0], fd, 10), os.lseek(fd, 0, os.SEEK_CUR)))
    say("splice at the end", lambda: os.splice(fd, pipe[1], 10, offset_src=size + 4000))
    os.ftruncate(fd, size)
    os.pwrite(fd, data, 0)
    say("copy within", lambda: os.copy_file_range(fd, fd, 100000, 7, 500000))
    print(os.pread(fd, 100000, 500000) == data[7:100007])
    say("copy within, onto itself", lambda: os.copy_file_range(fd, fd, 1000, 0, 999))
    say("copy from the end", lambda: os.copy_file_range(fd, fd, 1000, size, 0))
    say("copy over the end", lambda: os.copy_file_range(fd, fd, 5000, size - 100, 0))
    say("copy behind the end", lambda: os.copy_file_range(fd, fd, 1000, 0, size + 1000))
    say("copy to what is appended to", lambda: os.copy_file_range(fd, appends, 10, 0, 0))
    say("reflink", lambda: fcntl.ioctl(appends, 0x40049409, fd))
    print(os.fstat(fd).st_size, os.pread(fd, 3000, size - 1000)[1000:2000] == bytes(1000))
    os.ftruncate(fd, size)

    def cold():
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return cached(fd) == 0

    def arrives(pages):
        """Whether so many pages come to be there."""
        for _ in range(100):
            if cached(fd) >= pages:
                return True
            time.sleep(0.02)
        return False

    print("DONTNEED:", cold())
    say("WILLNEED", lambda: os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED))
    print("comes:", arrives(1))
    print("cold:", cold())
    say("readahead", lambda: checked(libc.readahead(fd, 0, 65536)))
    print("comes:", arrives(16))
    for offset in [-1, 1 << 50]:
        say(f"readahead at {offset}", lambda: checked(libc.readahead(fd, offset, PAGE)))
    for advice in range(7):
        say(f"fadvise {advice}", lambda: os.posix_fadvise(fd, 0, 0, advice))
    say("fadvise of a negative length", lambda: os.posix_fadvise(fd, 0, -1, 0))
    # It reads as little as it can.
    print("cold:", cold())
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    os.pread(fd, 100, 500000)
    print("random:", cached(fd))
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_NORMAL)
    for flags, what in [(2, "starts"), (7, "waits")]:
        os.pwrite(fd, b"r" * 100000, 0)
        say(f"sync_file_range {what}", lambda: checked(libc.sync_file_range(fd, 0, 0, flags)))
        if flags == 7:
            print("dirty:", dirty(fd))
    os.pwrite(fd, b"r" * PAGE, 0)
    os.pwrite(fd, b"r" * PAGE, 196 * PAGE)
    say("sync_file_range of a part", lambda: checked(libc.sync_file_range(fd, 0, PAGE, 7)))
    print("dirty there:", dirty(fd, 0, PAGE), "elsewhere:", dirty(fd, 196 * PAGE, PAGE) > 0)
    for offset, length, flags in [(-1, 0, 2), (0, -1, 2), (0, 0, 8), (0, 0, 0)]:
        say(f"sync_file_range {offset} {length} {flags}", lambda: checked(libc.sync_file_range(fd, offset, length, flags)))
    os.close(fd)
    os.close(appends)


def main():
    top, block = sys.argv[1], int(sys.argv[2])
    signal.alarm(120)
    os.chmod(top, 0o777)
    parts = [limits, maps, write_flags, moves, ranges, events, privileges, attributes]
    for part in parts:
        if not sys.argv[3:] or part.__name__ in sys.argv[3:]:
            part(top, block)


main()
