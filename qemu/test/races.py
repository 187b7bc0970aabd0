#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Several processes do random operations on the same few files and directories, so that each meets the others half-way:

    races.py DIR OPERATIONS SEED WORKERS

What an operation says does not matter, as long as it is an answer that the operation may give when others are at the
same names; what is left is for e2fsck, and for the kernel's own watchers, to judge.
"""

import errno
import mmap
import os
import random
import signal
import sys

FILES, DIRS, SIZE = 6, 3, 256 * 1024
EXPECTED = {errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ENOSPC, errno.ENOTDIR, errno.EISDIR, errno.ENXIO,
            errno.EINVAL, errno.EPERM, errno.ELOOP, errno.EMLINK}
# A direct write that meets a store to a mapping leaves the page behind, and the kernel has the next sync of the file tell of
# that (dio_warn_stale_pagecache()). What fails on the way to the device is in the kernel's log.
MAY_SYNC = {"mapped", "sync", "write", "write_odd"}


class Worker:
    def __init__(self, top, seed):
        self.top = top
        self.random = random.Random(seed)
        self.direct = mmap.mmap(-1, 64 * 1024)
        self.direct.write(bytes([seed % 251]) * len(self.direct))
        self.buffer = bytes([seed % 251]) * (64 * 1024)
        self.open = []

    def name(self):
        r = self.random
        return os.path.join(self.top, f"d{r.randrange(DIRS)}", f"f{r.randrange(FILES)}")

    def file(self):
        """One of the files that this worker has open, or one more; unlinked ones stay in use."""
        r = self.random
        if self.open and r.random() < 0.8:
            return r.choice(self.open)
        flags = os.O_RDWR | os.O_CREAT | r.choice([0, 0, os.O_DIRECT, os.O_APPEND, os.O_DSYNC])
        fd = os.open(self.name(), flags, 0o644)
        self.open.append(fd)
        if len(self.open) > 5:
            os.close(self.open.pop(0))
        return fd

    def place(self):
        return self.random.randrange(SIZE // 4096) * 4096, self.random.choice([1, 2, 3, 16]) * 4096

    def write(self):
        at, length = self.place()
        os.pwritev(self.file(), [memoryview(self.direct)[:length]], at)

    def write_odd(self):
        os.pwrite(self.file(), self.buffer[:self.random.randrange(1, 9000)], self.random.randrange(SIZE))

    def read(self):
        at, length = self.place()
        os.preadv(self.file(), [memoryview(self.direct)[:length]], at)

    def truncate(self):
        os.ftruncate(self.file(), self.random.randrange(SIZE) & self.random.choice([~0, ~4095]))

    def mapped(self):
        fd = self.file()
        size = os.fstat(fd).st_size & ~4095
        if size:
            with mmap.mmap(fd, size) as m:
                at = self.random.randrange(size)
                m[at] = m[(at * 7) % size] ^ 1
                if self.random.random() < 0.3:
                    m.flush()

    def seek(self):
        fd = self.file()
        os.lseek(fd, self.random.randrange(SIZE), self.random.choice([os.SEEK_DATA, os.SEEK_HOLE]))

    def sync(self):
        self.random.choice([os.fsync, os.fsync, os.fdatasync])(self.file())

    def sync_all(self):
        if self.random.random() < 0.1:
            os.sync()

    def unlink(self):
        os.unlink(self.name())

    def rename(self):
        os.rename(self.name(), self.name())

    def link(self):
        os.link(self.name(), self.name())

    def symlink(self):
        os.symlink("x" * self.random.choice([5, 59, 60, 200]), self.name())

    def mkdir(self):
        name = self.name()
        os.mkdir(name)
        os.rename(name, self.name())

    def rmdir(self):
        os.rmdir(self.name())

    def look(self):
        with os.scandir(os.path.join(self.top, f"d{self.random.randrange(DIRS)}")) as entries:
            for e in entries:
                e.stat(follow_symlinks=False)

    def touch(self):
        name = self.name()
        os.chmod(name, 0o600 | self.random.randrange(8))
        os.utime(name, (self.random.randrange(1 << 33), 5))

    def statfs(self):
        os.statvfs(self.top)

    OPERATIONS = [write] * 5 + [write_odd] * 4 + [read] * 3 + [truncate] * 2 + [mapped] * 2 + [sync] * 2 + [
        seek, sync_all, unlink, unlink, rename, rename, link, symlink, mkdir, rmdir, look, touch, statfs]

    def run(self, progress, at, operations):
        while progress[at] < operations:
            progress[at] += 1
            what = self.random.choice(self.OPERATIONS)
            try:
                what(self)
            except ValueError:
                pass  # The file became shorter before it was mapped.
            except OSError as e:
                if e.errno not in EXPECTED and not (e.errno == errno.EIO and what.__name__ in MAY_SYNC):
                    raise RuntimeError(f"{what.__name__}: {e}") from e


def main():
    top, operations, seed, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    for d in range(DIRS):
        os.makedirs(os.path.join(top, f"d{d}"), exist_ok=True)
    # How many each has begun, seen by all.
    progress = memoryview(mmap.mmap(-1, 8 * workers)).cast("Q")
    numbers = {}

    def start(number):
        pid = os.fork()
        if pid:
            numbers[pid] = number
            return
        try:
            Worker(top, (seed * 1000 + number) * 100000 + progress[number]).run(progress, number, operations)
            os._exit(0)
        except BaseException as e:
            print(f"worker {number}: {e!r}", file=sys.stderr, flush=True)
            os._exit(1)

    for number in range(workers):
        start(number)
    failed = False
    while numbers:
        pid, status = os.wait()
        number = numbers.pop(pid)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGBUS:
            # It had mapped a file that another one made shorter. Another goes on in its place.
            start(number)
        else:
            failed |= status != 0
    sys.exit(failed)


main()
