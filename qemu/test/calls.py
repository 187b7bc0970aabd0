# SPDX-License-Identifier: GPL-2.0
"""System calls that Python does not have, and how what they come to is told, for the tests beside this file."""

import ctypes
import errno
import mmap
import os
import signal
import struct
import sys

# Another user than root.
USER = 12345

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]

PAGE = 4096
# Bits of kernel-page-flags.h.
DIRTY, WRITEBACK, COMPOUND_HEAD, COMPOUND_TAIL = 4, 8, 15, 16


def syscall(number, *args):
    """What it gives. Numbers, bytes and what ctypes knows are handed on; an OSError if it fails."""
    ret = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in args))
    if ret < 0:
        raise OSError(ctypes.get_errno(), f"syscall {number}")
    return ret


def said(call):
    """What a call gives, "ok" for nothing, or the name of the errno."""
    try:
        result = call()
    except OSError as e:
        # Of two names for one number the usual one.
        name = errno.errorcode[e.errno]
        return {"EDEADLOCK": "EDEADLK", "ENOTSUP": "EOPNOTSUPP"}.get(name, name)
    return "ok" if result is None else result


def say(what, call):
    """Prints that."""
    print(f"{what}: {said(call)}", flush=True)


def in_child(call):
    """What a call in a child gives, or the signal that has ended it."""
    sys.stdout.flush()
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGBUS, signal.SIG_DFL)
        os.close(ours)
        try:
            os.write(theirs, str(said(call)).encode())
        except BaseException as e:
            os.write(theirs, repr(e).encode())
            os._exit(1)
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        result = pipe.read()
    status = os.waitpid(pid, 0)[1]
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else result


class Child:
    """A child that makes a call, and tells what came of it when it has come to an end."""

    def __init__(self, call):
        sys.stdout.flush()
        self.ours, theirs = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            signal.alarm(60)
            try:
                os.write(theirs, str(said(call)).encode())
            except BaseException as e:
                os.write(theirs, repr(e).encode())
            os._exit(0)
        os.close(theirs)

    def ends(self):
        result = os.read(self.ours, 1000).decode()
        os.close(self.ours)
        os.waitpid(self.pid, 0)
        return result


def as_user(call):
    """What a call gives to a child that is not root."""

    def dropped():
        os.setgroups([])
        os.setegid(USER)
        os.seteuid(USER)
        return call()

    return in_child(dropped)


def aligned(length, fill=b"\0"):
    """Memory for direct I/O."""
    memory = mmap.mmap(-1, length)
    memory[:] = (fill * (length // len(fill) + 1))[:length]
    return memory


def address(memory):
    """Where it is."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def flags(memory, length):
    """The flags of each page of memory that is mapped at that address (KPF_* in kernel-page-flags.h). Of a folio of several pages all
    have those of the first."""
    with open("/proc/self/pagemap", "rb", 0) as table:
        entries = os.pread(table.fileno(), length // PAGE * 8, memory // PAGE * 8)
    found, head = [], 0
    with open("/proc/kpageflags", "rb", 0) as table:
        for (entry,) in struct.iter_unpack("Q", entries):
            if not entry >> 63:
                found.append(0)
                continue
            (page,) = struct.unpack("Q", os.pread(table.fileno(), 8, (entry & (1 << 55) - 1) * 8))
            head = head if page >> COMPOUND_TAIL & 1 else page
            found.append(page | head)
    return found


def cached(fd, offset=0, length=0):
    """How many pages of the file are in the page cache. The range begins with a page."""
    return len(_cached(fd, offset, length, False))


def dirty(fd, offset=0, length=0):
    """How many of them are dirty or under writeback. They are mapped into memory for this."""
    return sum(1 for page in _cached(fd, offset, length, True) if page & (1 << DIRTY | 1 << WRITEBACK))


def _cached(fd, offset, length, look):
    """The flags of those that are there, or zeros."""
    length = length or os.fstat(fd).st_size - offset
    length = (length + PAGE - 1) // PAGE * PAGE
    if length <= 0:
        return []
    memory = libc.mmap(None, length, 1, 1, fd, offset)
    present = ctypes.create_string_buffer(length // PAGE)
    # What is not there must not be read for this.
    libc.madvise(memory, length, mmap.MADV_RANDOM)
    libc.mincore(memory, length, present)
    present = [n for n, is_there in enumerate(present.raw) if is_there & 1]
    found = [0] * len(present)
    if look:
        for n in present:
            ctypes.string_at(memory + n * PAGE, 1)
        known = flags(memory, length)
        found = [known[n] for n in present]
    libc.munmap(memory, length)
    return found


def statx(path, mask=0x7FFFFFFF, flags=0x100):
    """The 256 bytes of the answer. By default a symbolic link is not followed."""
    out = ctypes.create_string_buffer(256)
    syscall(332, -100, os.fsencode(path), flags, mask, out)
    return out.raw


class Ring:
    """A small io_uring. Buffers must live until what uses them has completed."""

    IOPOLL = 1
    READ, WRITE = 22, 23
    ASYNC = 1 << 4

    def __init__(self, entries=8, flags=0):
        parameters = ctypes.create_string_buffer(struct.pack("II", entries, 0) + struct.pack("I", flags), 120)
        self.fd = syscall(425, entries, parameters)
        sq_entries, cq_entries = struct.unpack_from("II", parameters)
        # head, tail, ring_mask, ring_entries, flags, dropped, array; head, tail, ring_mask, ring_entries, overflow, cqes
        self.sq = struct.unpack_from("7I", parameters, 40)
        self.cq = struct.unpack_from("6I", parameters, 80)
        self.rings = mmap.mmap(self.fd, max(self.sq[6] + sq_entries * 4, self.cq[5] + cq_entries * 16), offset=0)
        self.sqes = mmap.mmap(self.fd, sq_entries * 64, offset=0x10000000)
        self.seen = 0

    def _word(self, at):
        return struct.unpack_from("I", self.rings, at)[0]

    def submit(self, op, fd, memory, offset, tag=0, sqe_flags=0, rw_flags=0, length=None):
        """Submits one request."""
        length = len(memory) if length is None else length
        tail = self._word(self.sq[1])
        slot = tail & self._word(self.sq[2])
        place = memory if isinstance(memory, int) else address(memory)
        struct.pack_into("<BBHiQQIIQ24x", self.sqes, slot * 64, op, sqe_flags, 0, fd, offset, place, length, rw_flags, tag)
        struct.pack_into("I", self.rings, self.sq[6] + slot * 4, slot)
        struct.pack_into("I", self.rings, self.sq[1], tail + 1 & 0xFFFFFFFF)
        return syscall(426, self.fd, 1, 0, 0, None, 0)

    def take(self):
        """The tag and the result of one that has completed, or None."""
        head = self._word(self.cq[0])
        if head == self._word(self.cq[1]):
            return None
        tag, result = struct.unpack_from("<Qi", self.rings, self.cq[5] + (head & self._word(self.cq[2])) * 16)
        struct.pack_into("I", self.rings, self.cq[0], head + 1 & 0xFFFFFFFF)
        return tag, result

    def wait(self):
        """The same, of the next one that completes."""
        while (done := self.take()) is None:
            syscall(426, self.fd, 0, 1, 1, None, 0)
        return done


class Calls:
    """How often functions of the kernel are called from here on (kprobes)."""

    TRACING = "/sys/kernel/tracing"

    def __init__(self, *functions):
        self.functions = functions
        for name in functions:
            self._write("kprobe_events", f"p:{name} {name}")
            self._write(f"events/kprobes/{name}/enable", "1")

    def _write(self, name, text):
        # Not by open, which looks for the end of what has none.
        fd = os.open(f"{self.TRACING}/{name}", os.O_WRONLY | os.O_APPEND)
        os.write(fd, text.encode() + b"\n")
        os.close(fd)

    def so_far(self):
        """How often each was called."""
        counts = {}
        for line in open(f"{self.TRACING}/kprobe_profile"):
            name, hits = line.split()[:2]
            counts[name] = int(hits)
        return [counts[name] for name in self.functions]

    def ends(self):
        """The same, and nothing is counted any more."""
        counts = self.so_far()
        for name in self.functions:
            self._write(f"events/kprobes/{name}/enable", "0")
            self._write("kprobe_events", f"-:{name}")
        return counts


class Requests:
    """What block devices are asked for from here on: the letters of block_rq_issue, as in blktrace."""

    EVENT = f"{Calls.TRACING}/events/block/block_rq_issue"

    def __init__(self, path):
        device = os.stat(path).st_rdev
        with open(f"{self.EVENT}/filter", "w") as file:
            file.write(f"dev == {os.major(device) << 20 | os.minor(device)}")
        open(f"{Calls.TRACING}/trace", "w").close()
        self._enable("1")

    def _enable(self, how):
        with open(f"{self.EVENT}/enable", "w") as file:
            file.write(how)

    def ends(self):
        """The letters of each request."""
        self._enable("0")
        lines = [line for line in open(f"{Calls.TRACING}/trace") if "block_rq_issue: " in line]
        return [line.split("block_rq_issue: ")[1].split()[1] for line in lines]
