#!/usr/bin/python3 -SE
# SPDX-License-Identifier: GPL-2.0
"""synced.py work STATE DIR SEED OPS [AT COMMAND]...
synced.py check STATE DIR...

A workload that keeps an account of what has been promised to be durable, for tests of devices that fail.

`work` does OPS random operations below DIR: files are written (buffered, direct, through a mapping, asynchronously),
appended to, overwritten, cut, renamed, deleted, synced. Before operation AT the shell COMMAND runs, which makes the device fail
or well again. An operation may fail with one of the errnos that a failing device may cause; any other ends the
program with status 1. What fsync, O_DSYNC or sync have said to be durable goes to STATE. COMMAND "lost" says that the
device drops writes from now on and tells that all is well: nothing is promised any more, and what is read again may be
found to be damaged.

`check` compares: each file that was promised is there, under its name or one that it was given later without a sync,
and each byte is what was promised or what an operation has tried to write there since, or zero behind what was promised.
"""

# It starts several times in each case of a sweep, under emulation: what is slow to import is left out.
import errno
import marshal
import mmap
import os
import random
import signal
import sys
import zlib

SECTOR = 512
# What may come from a device that fails, or from an error policy that has stopped all changes; and from one that gives other
# bytes than were written.
FAILS, LIES = {errno.EIO, errno.EROFS}, {errno.EUCLEAN, errno.EBADMSG}


def pattern(tag, length):
    """Bytes that differ in every sector and with every tag: a sector says what it is."""
    out = bytearray()
    for n in range((length + SECTOR - 1) // SECTOR):
        head = b"%s sector %d\n" % (tag.encode(), n)
        out += (head + b"%08x" % zlib.crc32(head) * 64)[:SECTOR - 1] + b"\n"
    return bytes(out[:length])


def aio_write(fd, offset, data):
    """One direct write by libaio; returns what its completion says, as os.pwrite does."""
    import ctypes
    import struct
    libc = ctypes.CDLL(None, use_errno=True)

    def call(number, *args):
        result = libc.syscall(ctypes.c_long(number), *args)
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result
    buffer = mmap.mmap(-1, len(data))
    buffer.write(data)
    pin = ctypes.c_char.from_buffer(buffer)
    context = ctypes.c_ulong(0)
    call(206, ctypes.c_long(1), ctypes.byref(context))
    # struct iocb: data, key, flags, opcode (PWRITE), priority, file, buffer, bytes, offset, reserved, flags, eventfd
    request = ctypes.create_string_buffer(
        struct.pack("<QIiHhIQQqQII", 0, 0, 0, 1, 0, fd, ctypes.addressof(pin), len(data), offset, 0, 0, 0))
    try:
        call(209, context, ctypes.c_long(1), ctypes.byref(ctypes.c_void_p(ctypes.addressof(request))))
        event = ctypes.create_string_buffer(32)
        call(208, context, ctypes.c_long(1), ctypes.c_long(1), event, None)
    finally:
        call(207, context)
        del pin
    result = struct.unpack("<QQqq", event.raw)[2]
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


def syncfs(path):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(path, os.O_RDONLY)
    try:
        if libc.syncfs(fd) < 0:
            raise OSError(ctypes.get_errno(), "syncfs")
    finally:
        os.close(fd)


def store(fd, offset, data):
    """Stores through a mapping, and msync. In a process of its own: a store that finds no block ends it by SIGBUS."""
    child = os.fork()
    if child == 0:
        try:
            if os.fstat(fd).st_size < offset + len(data):
                os.ftruncate(fd, offset + len(data))
            view = mmap.mmap(fd, offset + len(data))
            view[offset:] = data
            view.flush()
            os._exit(0)
        except OSError as e:
            os._exit(e.errno)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGBUS:
        raise OSError(errno.EIO, "SIGBUS")
    if status != 0:
        raise OSError(os.waitstatus_to_exitcode(status), "a store")


class File:
    """A file as it is thought to be, and as it was promised to be."""

    def __init__(self, name):
        self.name = name
        self.data = b""            # as an undisturbed machine would have it
        self.certain = True        # whether every operation on it has succeeded
        self.doubted = False       # whether a sync of everything has failed, and no fsync said that it is not about this file
        self.promised = b""        # what a sync has said to be durable
        self.tried = []            # (offset, bytes) written since then, or that may have been
        self.shortest = 0          # the least size that it had since then
        self.cut = False           # whether it was cut since then
        self.names = {name}        # where it may be
        self.linked = False        # whether it was promised to be there, and was not deleted since

    def promise(self):
        """It was synced, and with it the name that it was created under or given since."""
        self.linked = True
        self.promised, self.tried = self.data, []
        self.shortest, self.cut, self.doubted = len(self.data), False, False


class Work:
    def __init__(self, top, seed):
        self.top, self.rng, self.keeps = top, random.Random(seed), True
        self.files, self.count, self.serial = [], 0, 0
        self.errors = {}

    def path(self, name):
        return os.path.join(self.top, name)

    def attempt(self, what):
        """Whether `what` succeeded. An errno that no failing device explains ends everything."""
        try:
            what()
            return True
        except OSError as e:
            if e.errno not in (FAILS if self.keeps else FAILS | LIES):
                raise SystemExit(f"operation {self.count}: {type(e).__name__} {e}")
            key = errno.errorcode[e.errno]
            self.errors[key] = self.errors.get(key, 0) + 1
            return False

    def sync(self, path, data_only=False):
        fd = os.open(path, os.O_RDONLY)
        try:
            (os.fdatasync if data_only else os.fsync)(fd)
        finally:
            os.close(fd)

    def promised_names(self):
        """The directory was synced: all names are what they are."""
        if not self.keeps:
            return
        for file in self.files:
            file.linked = True
            file.names = {file.name}

    def write(self, file, offset, data, how):
        def put():
            flags = os.O_RDWR | {"direct": os.O_DIRECT, "async": os.O_DIRECT, "dsync": os.O_DSYNC}.get(how, 0)
            fd = os.open(self.path(file.name), flags)
            try:
                if how == "mapped":
                    store(fd, offset, data)
                elif how == "direct":
                    with mmap.mmap(-1, len(data)) as buffer:
                        buffer.write(data)
                        done = os.pwrite(fd, buffer, offset)
                        if done != len(data):
                            raise OSError(errno.EIO, f"{done} of {len(data)} bytes")
                elif how == "async":
                    done = aio_write(fd, offset, data)
                    if done != len(data):
                        raise OSError(errno.EIO, f"{done} of {len(data)} bytes")
                else:
                    done = os.pwrite(fd, data, offset)
                    if done != len(data):
                        raise OSError(errno.EIO, f"{done} of {len(data)} bytes")
            finally:
                os.close(fd)
        file.tried.append((offset, data))
        before = file.data
        if offset > len(before):
            before += bytes(offset - len(before))
        file.data = before[:offset] + data + before[offset + len(data):]
        if not self.attempt(put):
            file.certain = False
        elif how == "dsync" and file.certain and self.keeps and len(file.tried) == 1 and not file.cut:
            # Nothing else was left to be made durable.
            file.promise()

    def create(self):
        self.serial += 1
        name = f"d{self.serial % 3}/" if self.rng.random() < 0.5 else ""
        file = File(f"{name}f{self.serial}" + "x" * self.rng.choice((0, 30, 120)))
        def make():
            os.close(os.open(self.path(file.name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        if self.attempt(make):
            self.files.append(file)
            self.fill(file)

    def fill(self, file):
        how = self.rng.choice(("buffered", "buffered", "direct", "async", "mapped", "dsync"))
        unit = SECTOR * 8
        length = self.rng.choice((1, 1, 2, 5, 16, 40)) * unit
        if how in ("buffered", "dsync"):
            length -= self.rng.randrange(unit)
        start = self.rng.choice((0, 0, len(file.data) // unit * unit, len(file.data) // unit * unit + unit * 3))
        self.serial += 1
        self.write(file, start, pattern(f"w{self.serial}", length), how)

    def one(self):
        self.count += 1
        if not self.files:
            return self.create()
        file = self.rng.choice(self.files)
        what = self.rng.choices(("create", "write", "fsync", "fdatasync", "syncdir", "sync", "rename", "unlink", "cut", "names"),
                                (25, 25, 15, 5, 10, 3, 6, 6, 5, 2))[0]
        if what == "create":
            self.create()
        elif what == "write":
            self.fill(file)
        elif what in ("fsync", "fdatasync"):
            # A file that had an error is not what we think it is, whatever the next fsync says.
            file.certain &= self.attempt(lambda: self.sync(self.path(file.name), what == "fdatasync"))
            if file.certain and self.keeps:
                file.promise()
        elif what == "syncdir":
            if all([self.attempt(lambda d=d: self.sync(self.path(d))) for d in ("", "d0", "d1", "d2")]):
                self.promised_names()
        elif what == "sync":
            if not self.attempt(lambda: syncfs(self.top)):
                # Of whose data it was, only fsync tells; the next sync does not tell again.
                for each in self.files:
                    each.doubted = True
            elif self.keeps:
                for each in self.files:
                    if each.certain and not each.doubted:
                        each.promise()
                self.promised_names()
        elif what == "rename":
            self.serial += 1
            new = f"d{self.serial % 3}/r{self.serial}"
            file.names.add(new)
            if self.attempt(lambda: os.rename(self.path(file.name), self.path(new))):
                file.name = new
        elif what == "unlink":
            def unlink():
                os.unlink(self.path(file.name))
            file.linked = False
            if self.attempt(unlink):
                self.files.remove(file)
        elif what == "cut":
            size = self.rng.randrange(len(file.data) + 1)
            file.shortest, file.cut = min(file.shortest, size), True
            if self.attempt(lambda: os.truncate(self.path(file.name), size)):
                file.data = file.data[:size]
            else:
                file.certain = False
        elif what == "names":
            # A directory that grows and shrinks.
            made = [f"d1/{'n' * 200}{i}" for i in range(12)]
            for name in made:
                self.attempt(lambda n=name: os.close(os.open(self.path(n), os.O_CREAT | os.O_WRONLY, 0o644)))
            for name in made:
                if os.path.lexists(self.path(name)):
                    self.attempt(lambda n=name: os.unlink(self.path(n)))

    def promises(self):
        return [(sorted(f.names), f.linked, f.promised, f.tried, f.shortest) for f in self.files]


def check(top, state):
    with open(state, "rb") as f:
        files = marshal.load(f)
    wrong = 0
    for names, linked, promised, tried, shortest in files:
        found = [n for n in names if os.path.lexists(os.path.join(top, n))]
        if not found:
            if linked:
                print(f"{names[0]}: was synced and is gone ({len(names)} names)")
                wrong += 1
            continue
        with open(os.path.join(top, found[0]), "rb") as f:
            data = f.read()
        kept = min(len(promised), shortest)
        if len(data) < kept:
            print(f"{found[0]}: {len(data)} bytes, {kept} were synced")
            wrong += 1
        for at in range(0, len(data), SECTOR):
            got = data[at:at + SECTOR]
            if got != promised[at:at + SECTOR] and not explained(got, at, promised, tried, kept):
                print(f"{found[0]}: sector at {at} is neither what was synced nor what was written since:"
                      f" {got[:32]!r}, synced: {promised[at:at + 32]!r}, {kept} bytes at least")
                wrong += 1
                break
    print(f"{sum(1 for f in files if f[1])} files were promised, {wrong} of {len(files)} are wrong")
    return wrong == 0


def explained(got, at, promised, tried, kept):
    """Whether each byte of a sector is what was promised, or was written since, or is zero where nothing was promised."""
    end = at + len(got)
    tried = [(o, d) for o, d in tried if o < end and o + len(d) > at]
    if any(o <= at and end <= o + len(d) and d[at - o:end - o] == got for o, d in tried) or at >= kept and not any(got):
        return True
    for i, byte in enumerate(got, at):
        if i < len(promised) and byte == promised[i] or i >= kept and byte == 0:
            continue
        if not any(offset <= i < offset + len(piece) and piece[i - offset] == byte for offset, piece in tried):
            return False
    return True


def main():
    mode, state = sys.argv[1:3]
    if mode == "check":
        sys.exit(0 if all([check(top, state) for top in sys.argv[3:]]) else 1)
    top, seed, ops = sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
    faults = list(zip(map(int, sys.argv[6::2]), sys.argv[7::2]))
    work = Work(top, seed)
    for name in ("d0", "d1", "d2"):
        work.attempt(lambda: os.makedirs(work.path(name), exist_ok=True))
    for number in range(1, ops + 1):
        for command in (command for at, command in faults if at == number):
            if command == "lost":
                work.keeps = False
            elif os.system(command) != 0:
                sys.exit(f"operation {number}: {command}")
        work.one()
    with open(state, "wb") as f:
        marshal.dump(work.promises(), f)
    told = " ".join(f"{k} {v}" for k, v in sorted(work.errors.items())) or "no error"
    print(f"{ops} operations, {len(work.files)} files, {sum(f.linked for f in work.files)} promised, {told}")


main()
