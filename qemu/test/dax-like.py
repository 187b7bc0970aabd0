#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# dax-like.py [--fill] FOLDER: what users do to files whose blocks are memory (a mount with dax), with what they see of it, a
# line each, so that two file systems can be compared. With --fill, also what needs the device to be full, at the end.
# dax-like.py --statx FILE...: whether they are.
# dax-like.py --durable|--shutdown|--after-shutdown FOLDER: makes things durable, without saying so to the kernel; shuts the
# file system down when they are; looks for them. --bad FOLDER: writes from memory that is not there. --pinned FOLDER DEVICE: frees
# blocks that a slow device reads into.

import ctypes
import errno
import fcntl
import hashlib
import mmap
import os
import signal
import struct
import sys
import threading
import time

PAGE = 4096
MAP_SYNC, MAP_SHARED_VALIDATE = 0x80000, 3
KEEP_SIZE, PUNCH, COLLAPSE, ZERO, INSERT = 1, 2, 8, 16, 32
STATX_ATTR_DAX = 0x200000

libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64]
libc.mmap.restype = ctypes.c_void_p


def name(number):
    return errno.errorcode.get(number, number) if number else 'OK'


def tried(what, *args):
    """The errno of a call, or what it gives."""
    try:
        return what(*args)
    except OSError as error:
        return name(error.errno)


def fallocate(fd, mode, at, length):
    return name(0 if libc.fallocate(fd, mode, at, length) == 0 else ctypes.get_errno())


def is_dax(path):
    """Whether the file is used as memory, as statx tells."""
    buffer = bytearray(256)
    place = (ctypes.c_char * 256).from_buffer(buffer)
    assert libc.syscall(332, -100, path.encode(), 0, 0x7ff, place) == 0
    attributes, mask = struct.unpack_from('=Q', buffer, 8)[0], struct.unpack_from('=Q', buffer, 56)[0]
    return bool(attributes & STATX_ATTR_DAX), bool(mask & STATX_ATTR_DAX)


def in_child(what):
    """How a process ends that does this."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        what()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def pattern(length, seed):
    return (hashlib.sha256(str(seed).encode()).digest() * (length // 32 + 1))[:length]


def runs(fd):
    """What is no hole, in pages."""
    found, at = [], 0
    while True:
        start = tried(os.lseek, fd, at, os.SEEK_DATA)
        if isinstance(start, str):
            return ','.join(found) or '-'
        at = os.lseek(fd, start, os.SEEK_HOLE)
        found.append(f'{start // PAGE}-{-(-at // PAGE)}')


def sum_of(fd):
    size = os.fstat(fd).st_size
    return size, runs(fd), hashlib.sha256(os.pread(fd, size, 0)).hexdigest()[:12]


def map_sync(fd, length):
    """The address of a mapping, what is stored to which needs no sync to be found."""
    address = libc.mmap(None, length, 3, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0)
    assert address not in (None, 2**64 - 1), name(ctypes.get_errno())
    return address


def durable(folder):
    fd = os.open(f'{folder}/fsync', os.O_RDWR)
    m = mmap.mmap(fd, 1 << 20)
    m[3 * PAGE : 6 * PAGE + 1] = pattern(3 * PAGE + 1, 1)
    m.flush()
    fd = os.open(f'{folder}/written', os.O_RDWR | os.O_CREAT | os.O_DSYNC)
    os.pwrite(fd, pattern(10000, 2), 100)
    # Last: nothing that comes after has the journal commit.
    fd = os.open(f'{folder}/sync', os.O_RDWR)
    m = map_sync(fd, 1 << 20)
    for at in (0, 5 * PAGE, 100 * PAGE + 7, (1 << 20) - 9):
        ctypes.memmove(m + at, pattern(9, at), 9)


def shut_down(folder):
    fd = os.open(f'{folder}/kept', os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, 40 * PAGE)
    os.fsync(fd)
    m = map_sync(fd, 40 * PAGE)
    for at in (7, 20 * PAGE + 1):
        ctypes.memmove(m + at, b'kept', 4)
    fcntl.ioctl(fd, 0x8004587D, struct.pack('=I', 2))
    # What is mapped can be used; there are no more blocks.
    ctypes.memmove(m + 9, b'pt', 2)
    for call in (lambda: os.pread(fd, 4, 7), lambda: os.pwrite(fd, b'no', 7)):
        assert tried(call) == 'EIO'
    assert in_child(lambda: ctypes.memmove(m + 30 * PAGE, b'lost', 4)) == 'SIGBUS'
    assert in_child(lambda: ctypes.string_at(m + 31 * PAGE, 4)) == 0


def after_shutdown(folder):
    fd = os.open(f'{folder}/kept', os.O_RDONLY)
    seen = os.pread(fd, 4, 7), os.pread(fd, 4, 20 * PAGE + 1), os.fstat(fd).st_size
    assert seen == (b'kept'[:2] + b'pt', b'kept', 40 * PAGE), seen


def bad_memory(folder):
    """Memory that ends within a write: what was copied is there. (ext4 of Linux 7.3 takes the errno for a length.)"""
    fd = os.open(f'{folder}/bad', os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.pwrite(fd, b'x' * 10, 0)
    libc.pwrite.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64]
    libc.pwrite.restype = ctypes.c_ssize_t
    for at in (3, 5 * PAGE, 5 * PAGE + 3):
        assert libc.pwrite(fd, 8, 3 * PAGE, at) == -1 and ctypes.get_errno() == errno.EFAULT
        assert os.fstat(fd).st_size == 10
    # The second page is gone.
    memory = libc.mmap(None, 2 * PAGE, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    libc.munmap(ctypes.c_void_p(memory + PAGE), PAGE)
    ctypes.memmove(memory, pattern(PAGE, 9), PAGE)
    copied = libc.pwrite(fd, memory, 2 * PAGE, 7 * PAGE + 5)
    assert PAGE - 64 < copied <= PAGE, copied
    assert os.pread(fd, 9 * PAGE, 7 * PAGE) == bytes(5) + pattern(PAGE, 9)[:copied]
    os.ftruncate(fd, 20 * PAGE)
    assert os.pread(fd, 9 * PAGE, 7 * PAGE + 5 + copied) == bytes(9 * PAGE)


def pinned(folder, device):
    slow = os.open(device, os.O_RDONLY | os.O_DIRECT)
    for mode in ('truncate', 'punch', 'zero', 'collapse', 'insert'):
        fd = os.open(f'{folder}/pinned', os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.pwrite(fd, pattern(16 * PAGE, 1), 0)
        m = mmap.mmap(fd, 16 * PAGE)
        ended = []

        def read():
            with memoryview(m) as all, all[4 * PAGE : 8 * PAGE] as part:
                os.preadv(slow, [part], 0)
                ended.append(time.monotonic())

        reader = threading.Thread(target=read)
        reader.start()
        time.sleep(0.2)
        assert not ended
        if mode == 'truncate':
            os.ftruncate(fd, PAGE)
        else:
            modes = {'punch': PUNCH | KEEP_SIZE, 'zero': ZERO, 'collapse': COLLAPSE, 'insert': INSERT}
            assert fallocate(fd, modes[mode], 2 * PAGE, 4 * PAGE) == 'OK'
        freed = time.monotonic()
        reader.join()
        assert freed >= ended[0] - 0.05, f'{mode}: a device was reading into blocks that were freed'
        m.close()
        os.close(fd)


def main():
    folder = sys.argv[-1]

    def say(what, *seen):
        print(f'{what}: {" ".join(str(one) for one in seen)}')

    def new(base, size=0):
        path = f'{folder}/{base}'
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        if size:
            os.ftruncate(fd, size)
        return fd, path

    # Writes and reads.
    fd, path = new('plain')
    say('statx', *is_dax(path), *is_dax(folder))
    say('write', os.pwrite(fd, pattern(10000, 1), 0), *sum_of(fd))
    say('over', os.pwrite(fd, pattern(5000, 2), 3000), *sum_of(fd))
    say('append in a page', os.pwrite(fd, pattern(77, 3), 10000), *sum_of(fd))
    say('behind a gap', os.pwrite(fd, pattern(50, 4), 30001), *sum_of(fd))
    say('into a hole', os.pwrite(fd, pattern(9, 5), 20000), *sum_of(fd))
    say('long', os.pwrite(fd, pattern(3 << 20, 6), 40000), *sum_of(fd))
    say('read behind', len(os.pread(fd, 100, 4 << 20)), len(os.pread(fd, 100000, 3 << 20)))
    direct = os.open(path, os.O_RDWR | os.O_DIRECT)
    say('direct, of any size', tried(os.pwrite, direct, b'odd', 12345), tried(os.pread, direct, 3, 12345))
    append = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_DSYNC)
    say('append', os.write(append, b'more'), *sum_of(fd))
    say('data and holes', *[tried(os.lseek, fd, at, whence) for at in (0, 50000, 4 << 20) for whence in (3, 4)])
    os.fsync(fd)

    # Mappings.
    fd, path = new('mapped', 20 * PAGE)
    m = mmap.mmap(fd, 20 * PAGE)
    say('a hole read', m[0], m[5 * PAGE], *sum_of(fd)[:2])
    m[5 * PAGE + 7 : 5 * PAGE + 10] = b'abc'
    say('stored', *sum_of(fd))
    os.pwrite(fd, b'from write', 7 * PAGE + 5)
    say('written and mapped', m[7 * PAGE + 5 : 7 * PAGE + 15])
    m[7 * PAGE + 5] = ord('F')
    say('stored and read', os.pread(fd, 12, 7 * PAGE + 4))
    # A page that was read as a hole, then written to the file.
    zero = m[9 * PAGE]
    os.pwrite(fd, b'now', 9 * PAGE)
    say('a hole that is none any more', zero, m[9 * PAGE : 9 * PAGE + 3])
    # From a mapping of the same file, into a hole, over the end.
    view = memoryview(m)
    say('from itself', os.pwrite(fd, view[5 * PAGE : 12 * PAGE], 15 * PAGE + 100), *sum_of(fd))
    say('over itself', os.pwrite(fd, view[0 : 6 * PAGE], 2 * PAGE), *sum_of(fd))
    view.release()
    private = mmap.mmap(fd, PAGE, mmap.MAP_PRIVATE, offset=7 * PAGE)
    private[5] = ord('p')
    say('private', private[4:12], os.pread(fd, 8, 7 * PAGE + 4))
    m.flush()
    os.fsync(fd)
    say('sync', *sum_of(fd))
    sync = map_sync(fd, 4 * PAGE)
    ctypes.memmove(sync + 3 * PAGE + 5, b'durable', 7)
    say('stored', os.pread(fd, 9, 3 * PAGE + 4))
    pipe = os.pipe()
    fcntl.fcntl(pipe[1], 1031, 1 << 20)
    say('splice', os.splice(fd, pipe[1], 9 * PAGE, offset_src=PAGE), hashlib.sha256(os.read(pipe[0], 9 * PAGE)).hexdigest()[:12])

    # The end and blocks go while it is mapped.
    fd, path = new('cut')
    os.pwrite(fd, pattern(16 * PAGE, 7), 0)
    m = mmap.mmap(fd, 16 * PAGE)
    for at in range(0, 16 * PAGE, PAGE):
        m[at] = 1
    os.ftruncate(fd, 10 * PAGE + 100)
    say('truncate', m[10 * PAGE + 99] == pattern(16 * PAGE, 7)[10 * PAGE + 99], m[10 * PAGE + 100], *sum_of(fd))
    say('behind the end', in_child(lambda: m[11 * PAGE]), in_child(lambda: m.__setitem__(11 * PAGE, 5)))
    m[10 * PAGE + 200] = 9
    os.ftruncate(fd, 16 * PAGE)
    say('longer again', m[10 * PAGE + 200], m[11 * PAGE], *sum_of(fd))
    m[12 * PAGE] = 7
    say('punch', fallocate(fd, PUNCH | KEEP_SIZE, PAGE + 50, 3 * PAGE), m[PAGE + 49] != 0, m[PAGE + 50], m[2 * PAGE], *sum_of(fd))
    m[2 * PAGE] = 6
    say('stored again', *sum_of(fd))
    say('zero', fallocate(fd, ZERO, 5 * PAGE, 2 * PAGE + 9), m[5 * PAGE], m[7 * PAGE], m[7 * PAGE + 9] != 0, *sum_of(fd))
    m[5 * PAGE] = 3
    say('stored again', *sum_of(fd))
    say('collapse', fallocate(fd, COLLAPSE, PAGE, PAGE), m[PAGE], *sum_of(fd))
    say('insert', fallocate(fd, INSERT, 4 * PAGE, 2 * PAGE), m[4 * PAGE], m[5 * PAGE], *sum_of(fd))
    say('allocate', fallocate(fd, 0, 12 * PAGE, 10 * PAGE), m[13 * PAGE], *sum_of(fd))
    m[13 * PAGE + 1] = 8
    say('stored', *sum_of(fd))
    say('keep size', fallocate(fd, KEEP_SIZE, 22 * PAGE, 4 * PAGE), *sum_of(fd))
    os.pwrite(fd, b'behind', 24 * PAGE + 3)
    say('into it', *sum_of(fd))
    os.fsync(fd)

    # Two megabytes at once.
    fd, path = new('huge')
    say('allocate', fallocate(fd, 0, 0, 6 << 20))
    m = mmap.mmap(fd, 6 << 20)
    for at in range(0, 6 << 20, 65536):
        m[at + 1] = 1
    say('huge', *sum_of(fd)[::2])
    say('punch in the middle', fallocate(fd, PUNCH | KEEP_SIZE, (3 << 20) - 65536, 65536), *sum_of(fd)[::2])
    for at in range(0, 6 << 20, 65536):
        m[at + 2] = 2
    m.flush()
    say('huge again', *sum_of(fd)[::2])

    # Gone while it is mapped.
    fd, path = new('gone')
    os.pwrite(fd, pattern(8 * PAGE, 8), 0)
    m = mmap.mmap(fd, 8 * PAGE)
    m[5] = 1
    os.unlink(path)
    m[6] = 2
    say('without a name', m[5], m[6], *sum_of(fd)[::2])
    m.close()
    os.close(fd)

    if '--fill' not in sys.argv:
        return
    # No space for a store.
    fd, path = new('sparse', 64 << 20)
    m = mmap.mmap(fd, 64 << 20)
    fill, _ = new('fill')
    left = 1 << 20
    while left >= PAGE:
        try:
            os.write(fill, bytes(left))
        except OSError as error:
            assert error.errno == errno.ENOSPC
            left //= 2

    def store():
        for at in range(0, 64 << 20, PAGE):
            m[at] = 1

    say('full', in_child(store), m[63 << 20])
    os.ftruncate(fill, 0)
    m[63 << 20] = 5
    say('space again', m[63 << 20])


do = {'--durable': durable, '--shutdown': shut_down, '--after-shutdown': after_shutdown, '--pinned': pinned, '--bad': bad_memory}
if sys.argv[1] == '--statx':
    for file in sys.argv[2:]:
        print(file, *is_dax(file))
elif sys.argv[1] in do:
    do[sys.argv[1]](*sys.argv[2:])
else:
    main()
