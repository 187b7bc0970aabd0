#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""direct-ops.py FILE SEED COUNT

Random operations on FILE, most of them with O_DIRECT, beside a model in memory: direct reads and writes of whole sectors,
buffered ones of any bytes, stores through a shared mapping, truncates, syncs. fsx has no direct mode. Every read is compared with the model,
the whole file now and then and at the end. Ends with status 1 at the first difference and says which operation it was.
"""

import mmap
import os
import random
import sys

SECTOR = 512
LIMIT = 1 << 20
MOST = 64 << 10


def differs(number, what, offset, got, want):
    if got == want:
        return
    at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
    sys.exit(f"operation {number}: {what} at {offset}: byte {offset + at} differs"
             f" ({got[at:at + 8].hex()}, expected {want[at:at + 8].hex()}; {len(got)} bytes, expected {len(want)})")


def main():
    path, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(seed)
    plain = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    direct = os.open(path, os.O_RDWR | os.O_DIRECT)
    buffer = mmap.mmap(-1, MOST)
    model = bytearray()

    def put(offset, data):
        if len(model) < offset:
            model.extend(bytes(offset - len(model)))
        model[offset:offset + len(data)] = data

    def span(unit):
        length = rng.randrange(1, MOST // unit + 1) * unit
        if rng.random() < 0.5:
            length = min(length, rng.randrange(1, 9) * unit)
        return rng.randrange(0, (LIMIT - length) // unit + 1) * unit, length

    def check(number, what):
        whole = b""
        while piece := os.pread(plain, LIMIT, len(whole)):
            whole += piece
        differs(number, what, 0, whole, bytes(model))

    for number in range(1, count + 1):
        unit = rng.choice((SECTOR, 1024, 4096))
        what = rng.choices(("dwrite", "dread", "dappend", "write", "read", "store", "truncate", "sync"),
                           (30, 20, 5, 10, 10, 8, 4, 3))[0]
        if what == "dwrite" or what == "dappend":
            offset, length = span(unit)
            if what == "dappend":
                offset = min(len(model) // SECTOR * SECTOR, LIMIT - length)
            data = rng.randbytes(length)
            buffer[:length] = data
            done = os.pwritev(direct, [memoryview(buffer)[:length]], offset)
            if done != length:
                sys.exit(f"operation {number}: a direct write of {length} at {offset} wrote {done}")
            put(offset, data)
        elif what == "dread":
            offset, length = span(unit)
            done = os.preadv(direct, [memoryview(buffer)[:length]], offset)
            differs(number, "direct read", offset, buffer[:done], bytes(model[offset:offset + length]))
        elif what == "write":
            offset, length = span(1)
            data = rng.randbytes(length)
            os.pwrite(plain, data, offset)
            put(offset, data)
        elif what == "read":
            offset, length = span(1)
            differs(number, "read", offset, os.pread(plain, length, offset), bytes(model[offset:offset + length]))
        elif what == "store":
            offset, length = span(1)
            length = min(length, len(model) - offset)
            if length > 0:
                data = rng.randbytes(length)
                with mmap.mmap(plain, len(model)) as view:
                    view[offset:offset + length] = data
                    if rng.random() < 0.3:
                        view.flush()
                put(offset, data)
        elif what == "truncate":
            size = rng.choice((rng.randrange(LIMIT), rng.randrange(LIMIT // SECTOR) * SECTOR))
            os.ftruncate(plain, size)
            del model[size:]
            put(size, b"")
        else:
            rng.choice((os.fsync, os.fdatasync))(plain)
        if os.fstat(plain).st_size != len(model):
            sys.exit(f"operation {number}: after {what} the size is {os.fstat(plain).st_size}, expected {len(model)}")
        if number % 500 == 0:
            check(number, "whole file")
            if rng.random() < 0.5:
                os.fsync(plain)
                os.posix_fadvise(plain, 0, 0, os.POSIX_FADV_DONTNEED)
                check(number, "whole file from the device")
    check(count, "whole file")


main()
