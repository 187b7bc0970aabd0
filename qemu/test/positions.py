#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# positions.py FOLDER COUNT SEED: a folder of COUNT names is listed, and positions are kept (telldir). Then names come and go, and at each
# position the listing is resumed (seekdir), by the one who has listed and by one who has just opened it. What stays is there once,
# if it was behind that position, and else not at all.

import ctypes
import os
import random
import struct
import sys

from calls import syscall

GETDENTS64 = 217
top, count, chance = sys.argv[1], int(sys.argv[2]), random.Random(int(sys.argv[3]))
folder = f"{top}/folder"
os.mkdir(folder)


def entries(fd, room=4096):
    """Names, each with the position behind it."""
    memory = ctypes.create_string_buffer(room)
    given = 0
    while length := syscall(GETDENTS64, fd, memory, room):
        at = 0
        while at < length:
            _, position, size = struct.unpack_from("<QqH", memory.raw, at)
            yield memory.raw[at + 19 : at + size].split(b"\0")[0].decode(), position
            at += size
            given += 1
        assert given < 10 * count, "the listing does not end"


def name(n):
    return f"{n}-" + "n" * (n * 7 % 120)


names = [name(n) for n in range(count)]
for n in names:
    os.mknod(f"{folder}/{n}")
ours = os.open(folder, os.O_RDONLY)
listed = list(entries(ours))
order = [n for n, _ in listed]
assert sorted(order) == sorted(names + [".", ".."]), "the first listing"
kept = [(0, 0)] + [(i + 1, listed[i][1]) for i in range(0, len(listed), max(1, len(listed) // 15))]
stays = set(order)
for turn in range(3):
    for n in chance.sample(sorted(stays - {".", ".."}), len(stays) // 5):
        os.unlink(f"{folder}/{n}")
        stays.remove(n)
    for n in range(count // 3):
        os.mknod(f"{folder}/{name(count * (turn + 1) + n)}")
    for behind, position in kept:
        for fd in [ours, os.open(folder, os.O_RDONLY)]:
            os.lseek(fd, position, os.SEEK_SET)
            # Little room, and much.
            found = [n for n, _ in entries(fd, chance.choice([400, 4096, 65536])) if n in stays]
            wanted = [n for n in order[behind:] if n in stays]
            assert len(found) == len(set(found)), f"turn {turn}, {behind} on: {len(found) - len(set(found))} twice"
            assert set(found) == set(wanted), f"turn {turn}, {behind} on: {len(found)} and not {len(wanted)}"
            if fd != ours:
                os.close(fd)
os.close(ours)
