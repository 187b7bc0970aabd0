#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# fsmap-like.py FOLDER BLOCK BLOCKS: asks the file system in FOLDER, with so many blocks of so many bytes, what they are for
# (FS_IOC_GETFSMAP), with all sorts of keys, and prints what each question comes to: a line for each, to be compared with what another
# file system prints.

import errno
import fcntl
import os
import struct
import sys

GETFSMAP = 0xC0C0583B
top, block, blocks = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
fd = os.open(top, os.O_RDONLY)
number = os.fstat(fd).st_dev
device = os.minor(number) & 0xFF | os.major(number) << 8 | (os.minor(number) & ~0xFF) << 12
ALL = 2**64 - 1
KEY = struct.Struct("=IIQQQQ3Q")
LOW, HIGH = (0, 0, 0, 0, 0, 0, 0, 0, 0), (2**32 - 1, 2**32 - 1, ALL, ALL, ALL, 0, 0, 0, 0)
NAMES = {1: "free", 2: "unknown", 0x5800000001: "super block", 0x5800000005: "inodes", 0x6600000001: "descriptors",
         0x6600000002: "more descriptors", 0x6600000003: "block bitmap", 0x6600000004: "inode bitmap"}


def ask(low=LOW, high=HIGH, room=5000, flags=0, reserved=0):
    """How many records there are, and those that there is room for."""
    buffer = bytearray(struct.pack("=IIII6Q", flags, 9, room, 77, 0, reserved, 0, 0, 0, 0))
    buffer += KEY.pack(*low) + KEY.pack(*high) + bytes(64 * room)
    try:
        fcntl.ioctl(fd, GETFSMAP, buffer, True)
    except OSError as e:
        return errno.errorcode[e.errno], []
    in_flags, out_flags, _, entries = struct.unpack_from("=IIII", buffer)
    records = [KEY.unpack_from(buffer, 192 + 64 * n) for n in range(min(entries, room))]
    if (in_flags, out_flags) != (flags, 1) or buffer[64:192] != KEY.pack(*low) + KEY.pack(*high):
        return "the head has changed", []
    return entries, records


def told(records):
    """As blocks and names, with LAST where that is said. What ext4 leaves out between two records is of an owner that is not known."""
    words = []
    for dev, flags, physical, owner, offset, length, *rest in records:
        if dev != device or flags & ~0x20 != 0x10 or offset or any(rest):
            words.append(["odd", dev, flags, offset, rest])
            continue
        start, end = physical // block, (physical + length) // block
        if words and words[-1][2] < start:
            words.append(["unknown", words[-1][2], start])
        if words and words[-1][0] == NAMES[owner] == "unknown":
            words[-1][2] = end
        else:
            words.append([NAMES[owner], start, end])
        if flags & 0x20:
            words[-1].append("LAST")
    return words


def say(what, *args, **named):
    entries, records = ask(*args, **named)
    if isinstance(entries, str):
        print(f"{what}: {entries}")
        return
    print(f"{what}:", *(f"\n    {piece}" for piece in told(records)))
    named["room"] = 0
    count, _ = ask(*args, **named)
    print("    counted: ", count == entries if named.get("all", True) else "")


def key(base, **changes):
    fields = ["device", "flags", "physical", "owner", "offset", "length", "r0", "r1", "r2"]
    return tuple(changes.get(name, value) for name, value in zip(fields, base))


say("all")
whole = ask()[1]
for room in [1, 2, 3, 7]:
    entries, records = ask(room=room)
    print(f"the first {room}: {entries}", told(records))
    walked, low = [], LOW
    while True:
        _, records = ask(low, room=room)
        walked += records
        if not records or records[-1][1] & 0x20 or len(walked) > 2 * blocks:
            break
        low = records[-1]
    print(f"by {room}:", told(walked) == told(whole))
here = dict(device=device)
free = max((record for record in whole if record[3] == 1), key=lambda record: record[5])
table = max((record for record in whole if record[3] == 0x5800000005), key=lambda record: record[5])
places = [0, 1, block - 1, block, block + 1, 2 * block, 5 * block, table[2], table[2] + block, table[2] + table[5] - block,
          table[2] + table[5], free[2], free[2] + 3 * block, free[2] + free[5], blocks * block - block, blocks * block - 1, blocks * block,
          blocks * block + block, 2**62, ALL]
for place in places:
    say(f"from {place}", key(LOW, physical=place, **here))
    say(f"to {place}", high=key(HIGH, physical=place, **here))
    say(f"only {place}", key(LOW, physical=place, **here), key(HIGH, physical=place, **here))
    say(f"behind {place} and a block", key(LOW, physical=place, length=block, **here))
    say(f"from {place} of any device", key(HIGH, physical=place, device=2**32 - 1, offset=0))
    say(f"to {place} of no device", high=key(HIGH, physical=place, device=0))
say("from the free to the table", key(LOW, physical=free[2], **here), key(HIGH, physical=table[2], **here))
say("a part of the free", key(LOW, physical=free[2] + block, **here), key(HIGH, physical=free[2] + 2 * block, **here))
say("a part of the table", key(LOW, physical=table[2] + block, **here), key(HIGH, physical=table[2] + 2 * block, **here))
for name, low, high in [("one key", key(LOW, **here), key(LOW, **here)), ("keys of owners", key(LOW, owner=9, **here), key(LOW, owner=1, **here)),
                        ("a low owner", key(LOW, owner=9, **here), key(HIGH, **here)), ("turned round", HIGH, LOW), ("nothing", LOW, LOW),
                        ("another device", key(LOW, device=7), HIGH), ("to another device", LOW, key(HIGH, device=7)),
                        ("an offset", key(LOW, offset=1), HIGH), ("to an offset", LOW, key(HIGH, offset=5)), ("to offset 0", LOW, key(HIGH, offset=0)),
                        ("reserved", key(LOW, r1=1), HIGH), ("reserved in the high key", LOW, key(HIGH, r2=1)), ("flags in keys", key(LOW, flags=3), HIGH),
                        ("more than the device", key(LOW, length=ALL, **here), HIGH)]:
    say(name, low, high)
say("flags", flags=1)
say("reserved", reserved=1)
os.seteuid(12345)
say("as a user")
