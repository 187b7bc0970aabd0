#!/usr/bin/python3 -SE
# SPDX-License-Identifier: GPL-2.0
"""fail-nth.py files DIR
fail-nth.py mounts DEVICE DIR [COMMAND]

System calls whose n-th allocation of memory fails, by /proc/self/fail-nth, for n = 1, 2, ... until the call needs no more. Of
many, some are left out; N=2 in the environment leaves out half of that. Each time the call succeeds or fails with ENOMEM, and
afterwards the same can be done, with the right result.

`files` tries calls on files, in DIR, an empty directory. `mounts` mounts, remounts and unmounts DEVICE as iomapfs. COMMAND is run
by the shell before each: it makes an image with deleted inodes to be freed, and e2fsck must have nothing to say afterwards.
Prints a line for each call; ends with status 1 if one goes wrong.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
MS_RDONLY, MS_REMOUNT = 1, 32
FIFREEZE, FITHAW = 0xc0045877, 0xc0045878
DENSE = 8 * int(os.environ.get("N") or 1)
PAGE, PIECE = 4096, bytes(range(256)) * 64
# Of a file that is written in pieces: so many that the first block to be chosen for one needs memory.
PIECES = 31
# Opened once: this would be counted.
nth = os.open("/proc/self/fail-nth", os.O_RDWR)
caches = os.open("/proc/sys/vm/drop_caches", os.O_WRONLY)
wrong = []


class Wrong(Exception):
    """What must not be."""


def attempt(n, call):
    """Runs `call` with its n-th allocation failing. The errno it raised, or None; and whether that allocation was reached."""
    error, arm = None, b"%d" % n
    os.pwrite(nth, arm, 0)
    try:
        call()
    except OSError as e:
        error = e.errno
    except MemoryError:
        # The interpreter wanted some, too.
        error = errno.ENOMEM
    left = os.pread(nth, 16, 0)
    os.pwrite(nth, b"0", 0)
    return error, int(left) == 0


def sweep(name, call, before=lambda: None, after=lambda error: None, allowed=(errno.ENOMEM,)):
    """`before` makes what `call` needs. `after` gets the errno or None: it sees whether that is true, does the rest, and undoes
    it."""
    began, failed, tries, n, reached = time.monotonic(), 0, 0, 1, True
    try:
        while reached:
            before()
            error, reached = attempt(n, call)
            said = "that all is well" if error is None else errno.errorcode[error]
            tries += 1
            if error is not None and (error not in allowed or not reached):
                raise Wrong(f"the call says {said}, {'one' if reached else 'no'} allocation has failed")
            failed += error is not None
            try:
                after(error)
            except (OSError, Wrong) as e:
                raise Wrong(f"the call says {said}, and then: {e}")
            if reached:
                # Where there are hundreds, they are of one kind.
                n += 1 + n // DENSE
        if n == 1:
            raise Wrong("no allocation can fail, so this tests nothing")
        print(f"{name}: {n - 1} allocations, {failed} of {tries} calls failed, {time.monotonic() - began:.1f} s", flush=True)
    except (Wrong, OSError) as e:
        print(f"{name}, allocation {n}: {e}", flush=True)
        wrong.append(name)


def cold():
    """Nothing of the file system is in memory but what is in use."""
    os.sync()
    os.pwrite(caches, b"3", 0)


def there(path, want):
    if os.path.lexists(path) != want:
        raise Wrong(f"{path} is {'not ' if want else ''}there")


def content(path):
    with open(path, "rb") as f:
        return f.read()


def has(path, want):
    if content(path) != want:
        raise Wrong(f"{path} has other bytes than were written")


def make(path, pieces=1, gap=0):
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    for i in range(pieces):
        os.pwrite(fd, PIECE, i * (len(PIECE) + gap))
    os.fsync(fd)
    os.close(fd)


def create(path):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))


def gone(path):
    if os.path.lexists(path):
        (os.rmdir if os.path.isdir(path) else os.unlink)(path)


def names():
    """Calls that make and remove names."""
    make("linked")
    # In a directory that is a hash tree, of which nothing is in memory.
    os.mkdir("many")
    for i in range(300):
        create(f"many/{'n' * 60}{i}")
    for what, path, how, before in (
            ("create", "new", create, None), ("mkdir", "new", os.mkdir, None), ("symlink", "new", lambda p: os.symlink("x", p), None),
            ("long symlink", "new", lambda p: os.symlink("x" * 900, p), None), ("link", "new", lambda p: os.link("linked", p), None),
            ("create, cold", "many/new", create, cold)):
        def made(error):
            # What was created stays when it cannot be opened, as everywhere.
            if error is None or how is not create:
                there(path, error is None)
            if not os.path.lexists(path):
                how(path)
            gone(path)
        sweep(what, lambda: how(path), before or (lambda: None), made)

    def listed(error):
        if len(os.listdir("many")) != 300:
            raise Wrong("a directory is listed in part")
    sweep("readdir, cold", lambda: os.listdir("many"), cold, listed)
    sweep("lookup, cold", lambda: os.stat(f"many/{'n' * 60}77"), cold)

    def removed(error):
        if error is None:
            there("new", False)
        gone("new")
        # What was deleted is freed: if not, errors=remount-ro lets the next one fail.
        create("new")
        gone("new")
    sweep("unlink", lambda: os.unlink("new"), lambda: make("new", 4, 65536), removed)
    sweep("unlink, cold", lambda: os.unlink("new"), lambda: (make("new", 4, 65536), cold()), removed)
    sweep("rmdir", lambda: os.rmdir("new"), lambda: os.mkdir("new"), removed)

    def renamed(error):
        there("from", error is not None)
        there("many/to", error is None)
        gone("from")
        gone("many/to")
    sweep("rename", lambda: os.rename("from", "many/to"), lambda: create("from"), renamed)

    def replaced(error):
        there("from", error is not None)
        has("over", PIECE if error is None else PIECE * 2)
        gone("from")
    sweep("rename over a file", lambda: os.rename("from", "over"), lambda: (make("from"), make("over", 2)), replaced)
    sweep("chmod, cold", lambda: os.chmod("linked", 0o600), cold, lambda error: os.chmod("linked", 0o644))


def data():
    """Calls that read, write and cut."""
    make("data", 4, 65536)
    want = content("data")
    sweep("read, cold", lambda: content("data"), cold, lambda error: has("data", want))

    buffer = mmap.mmap(-1, len(PIECE))
    buffer.write(PIECE)

    def write(flags, offset):
        fd = os.open("data", os.O_RDWR | flags)
        try:
            if os.pwrite(fd, buffer, offset) != len(PIECE):
                raise OSError(errno.ENOMEM, "written in part")
        finally:
            os.close(fd)
    for what, flags in (("buffered", 0), ("direct", os.O_DIRECT), ("durable", os.O_DSYNC)):
        for where, offset, old in (("new file", 0, b""), ("append", len(PIECE), PIECE), ("behind a gap", len(PIECE) * 8, PIECE),
                                   ("over data", 0, PIECE)):
            def written(error):
                write(flags, offset)
                has("data", old.ljust(offset, b"\0")[:offset] + PIECE)
            sweep(f"{what} write, {where}", lambda: write(flags, offset), lambda: (gone("data"), make("data", len(old) // len(PIECE))),
                  written)

    fd = os.open("data", os.O_RDWR)

    def pieces(sync):
        os.ftruncate(fd, 0)
        for i in range(PIECES):
            os.pwrite(fd, PIECE[:PAGE], i * 3 * PAGE)
        if sync:
            os.fsync(fd)

    def synced(error):
        os.fsync(fd)
        cold()
        if any(os.pread(fd, PAGE, i * 3 * PAGE) != PIECE[:PAGE] for i in range(PIECES)):
            raise Wrong("other bytes than were written")
    # Writeback waits for memory: nobody would write again what it gives up.
    sweep("fsync", lambda: os.fsync(fd), lambda: pieces(False), synced, allowed=())
    sweep("sync", os.sync, lambda: pieces(False), synced)

    def cut(error):
        os.ftruncate(fd, 15 * 3 * PAGE)
        os.ftruncate(fd, PIECES * 3 * PAGE)
        for i in range(PIECES):
            if os.pread(fd, PAGE, i * 3 * PAGE) != (PIECE[:PAGE] if i < 15 else bytes(PAGE)):
                raise Wrong(f"block {i} is wrong")
    sweep("truncate", lambda: os.ftruncate(fd, 15 * 3 * PAGE), lambda: pieces(True), cut)
    sweep("truncate, cold", lambda: os.ftruncate(fd, 15 * 3 * PAGE), lambda: (pieces(True), cold()), cut)
    sweep("truncate to more", lambda: os.ftruncate(fd, 9 << 20), lambda: os.ftruncate(fd, 1000), lambda error: os.ftruncate(fd, 9 << 20))

    def store():
        with mmap.mmap(fd, 1 << 20) as view:
            view[5000], view[500000] = 1, 2
            view.flush()

    def stored(error):
        if error is None and (os.pread(fd, 1, 5000), os.pread(fd, 1, 500000)) != (b"\1", b"\2"):
            raise Wrong("stores are lost")
    sweep("stores and msync", store, lambda: (os.ftruncate(fd, 0), os.ftruncate(fd, 1 << 20)), stored)
    # With a tree of extents, no part of which is in memory.
    sweep("SEEK_HOLE, cold", lambda: os.lseek(fd, 0, os.SEEK_HOLE), lambda: (pieces(True), cold()))
    os.close(fd)


def freezes():
    fd = os.open(".", os.O_RDONLY)
    frozen = [False]

    def freeze():
        fcntl.ioctl(fd, FIFREEZE, 0)
        frozen[0] = True

    def thaw(error):
        if frozen[0]:
            fcntl.ioctl(fd, FITHAW, 0)
        frozen[0] = False
        create("new")
        gone("new")
    sweep("freeze", freeze, after=thaw, allowed=(errno.ENOMEM, errno.EIO))


def mounts(device, top, command=None):
    def mount(flags=0):
        if libc.mount(device.encode(), top.encode(), b"iomapfs", flags, b"errors=remount-ro") != 0:
            raise OSError(ctypes.get_errno(), "mount")

    def umount():
        if libc.umount2(top.encode(), 0) != 0:
            raise OSError(ctypes.get_errno(), "umount")

    def fresh():
        if command and os.system(command) != 0:
            sys.exit(command)

    def use():
        create(f"{top}/used")
        os.unlink(f"{top}/used")

    # How many inodes are free in the end: as many each time.
    free = set()

    def sound():
        os.sync()
        free.add(os.statvfs(top).f_ffree)
        umount()
        if len(free) > 1:
            raise Wrong(f"a deleted inode is not freed: {free}")
        if command and os.system(f"e2fsck -fn {device} >.fsck 2>&1") != 0:
            with open(".fsck") as f:
                raise Wrong(f.read())

    def mounted(error):
        if error is not None:
            mount()
        use()
        sound()
    sweep("mount", mount, fresh, mounted)

    def remount(flags):
        mount(MS_REMOUNT | flags)

    def writable(error):
        remount(0)
        use()
        sound()
    sweep("remount rw", lambda: remount(0), lambda: (fresh(), mount(MS_RDONLY)), writable)
    if command:
        return

    def unmounted(error):
        if error is None:
            mount()
        sound()
    sweep("umount", umount, lambda: (fresh(), mount(), use()), unmounted)

    sweep("remount ro", lambda: remount(MS_RDONLY), lambda: (fresh(), mount(), use()), writable)


if sys.argv[1] == "mounts":
    mounts(*sys.argv[2:])
else:
    os.chdir(sys.argv[2])
    names()
    data()
    freezes()
if wrong:
    sys.exit(f"{len(wrong)} are wrong: {', '.join(wrong)}")
