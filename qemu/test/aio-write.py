#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""aio-write.py FILE OFFSET LENGTH [spoil]: one asynchronous direct write (Linux AIO) of LENGTH bytes at OFFSET.

The bytes are those of LENGTH from OFFSET of the standard input. Prints how many were written, or the name of the errno.
With "spoil" the memory gets other bytes while the write is under way. With "append" it goes to the end of the file
(O_APPEND), with "nowait" it must not wait (RWF_NOWAIT); the word "later" comes first if it is not done when it was
submitted."""

import ctypes
import errno
import mmap
import os
import struct
import sys

IO_SETUP, IO_GETEVENTS, IO_SUBMIT = 206, 208, 209
PWRITE = 1

path, offset, length = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
libc = ctypes.CDLL(None, use_errno=True)


def syscall(number, *args):
    ret = libc.syscall(ctypes.c_long(number), *args)
    if ret < 0:
        raise OSError(ctypes.get_errno(), "syscall %d" % number)
    return ret


buffer = mmap.mmap(-1, length)
sys.stdin.buffer.read(offset)
buffer.write(sys.stdin.buffer.read(length))
address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
how = sys.argv[4:]
flags = os.O_APPEND if "append" in how else 0
fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT | flags, 0o644)
context = ctypes.c_ulong(0)
syscall(IO_SETUP, ctypes.c_long(1), ctypes.byref(context))
# struct iocb: data, key, flags, opcode, priority, file, buffer, bytes, offset, reserved, flags, eventfd
request = ctypes.create_string_buffer(
    struct.pack("<QIiHhIQQqQII", 0, 0, os.RWF_NOWAIT if "nowait" in how else 0, PWRITE, 0, fd, address, length, offset, 0, 0, 0)
)
pointer = ctypes.c_void_p(ctypes.addressof(request))
syscall(IO_SUBMIT, context, ctypes.c_long(1), ctypes.byref(pointer))
if "spoil" in how:
    ctypes.memset(address, 0x21, length)
event = ctypes.create_string_buffer(32)
if "append" in how or "nowait" in how:
    if syscall(IO_GETEVENTS, context, ctypes.c_long(0), ctypes.c_long(1), event, None) == 0:
        print("later", end=" ")
        syscall(IO_GETEVENTS, context, ctypes.c_long(1), ctypes.c_long(1), event, None)
else:
    syscall(IO_GETEVENTS, context, ctypes.c_long(1), ctypes.c_long(1), event, None)
result = struct.unpack("<QQqq", event.raw)[2]
print(result if result >= 0 else errno.errorcode[-result])
