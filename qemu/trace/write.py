#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""write.py HOW WHERE AFTER SIZE OFFSET FILE: one write, with the kernel's tracer on for that time. See qemu/trace/run."""

import ctypes
import mmap
import os
import struct
import subprocess
import sys
import time

how, where, after, size, offset, path = sys.argv[1:]
size, offset = int(size), int(offset)
libc = ctypes.CDLL(None, use_errno=True)
flags = os.O_RDWR
if how in ("direct", "aio", "uring"):
    flags |= os.O_DIRECT
if after == "dsync":
    flags |= os.O_DSYNC
if where == "append" and how in ("direct", "buffered"):
    flags |= os.O_APPEND
fd = os.open(path, flags)
memory = mmap.mmap(-1, (size + 4095) & ~4095)
memory.write(b"w" * len(memory))
view = memoryview(memory)[:size]
page = offset & ~4095
mapping = mmap.mmap(fd, offset + size - page, offset=page) if how == "mmap" else None
before = max(offset - size, 0)
if how == "fallocate":
    os.posix_fallocate(fd, before, size)
elif where == "append" and flags & os.O_APPEND:
    os.write(fd, view)
else:
    os.pwrite(fd, view, before)
os.fsync(fd)
if flags & os.O_DIRECT:
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
os.sync()
time.sleep(0.1)
tracer = os.open("/sys/kernel/tracing/current_tracer", os.O_WRONLY)
tracing = os.open("/sys/kernel/tracing/tracing_on", os.O_WRONLY)


def syscall(number, *args):
    ret = libc.syscall(ctypes.c_long(number), *args)
    if ret < 0:
        raise OSError(ctypes.get_errno(), f"syscall {number}")
    return ret


if how == "aio":
    context = ctypes.c_ulong(0)
    syscall(206, 1, ctypes.byref(context))
    buffer = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    block = ctypes.create_string_buffer(struct.pack("QIIHhIQQqQII", 0, 0, 0, 1, 0, fd, buffer, size, offset, 0, 0, 0))
    blocks = (ctypes.c_void_p * 1)(ctypes.addressof(block))
    events = ctypes.create_string_buffer(32)
if mapping:
    # The page is there; the store is what is watched.
    mapping[offset - page]

# From here on all is slow.
os.write(tracer, b"function_graph")
os.write(tracing, b"1")
if how in ("direct", "buffered"):
    done = os.write(fd, view) if where == "append" else os.pwrite(fd, view, offset)
elif how == "aio":
    syscall(209, context, 1, blocks)
    syscall(208, context, ctypes.c_long(1), ctypes.c_long(1), events, None)
    done = struct.unpack("QQqq", events.raw)[2]
elif how == "uring":
    subprocess.run(
        ["fio", "--name=trace", "--filename=" + path, "--ioengine=io_uring", "--rw=write", "--direct=1", f"--bs={size}",
         f"--offset={offset}", f"--size={size}", "--number_ios=1", "--file_append=0", "--overwrite=0", "--fallocate=none",
         "--allow_file_create=0", f"--sync={'dsync' if after == 'dsync' else 'none'}", "--output=/dev/null"],
        check=True)
    done = size
elif how == "mmap":
    mapping[offset - page:offset - page + size] = view
    done = size
else:
    os.posix_fallocate(fd, offset, size)
    done = size
if after == "fsync":
    os.fsync(fd)
# What is left to be done by others.
time.sleep(0.3)
os.write(tracing, b"0")
sys.exit(done != size and f"{done} bytes of {size} were written")
