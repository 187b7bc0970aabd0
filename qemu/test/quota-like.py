#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# quota-like.py FOLDER DEVICE IMAGE [values]: what users, groups and projects have and may have on the mount FOLDER of DEVICE, as
# quotactl(2) tells it after each kind of change, what e2fsck says of that, and what comes of going beyond a limit: a line for each, to
# be compared with what another file system prints. "values": of attributes whose values are in inodes of their own, on a volume that has such.

import ctypes
import fcntl
import mmap
import os
import struct
import subprocess
import sys
import time

from calls import USER, as_user, said, say, syscall

top, device = sys.argv[1], sys.argv[2].encode()
image, values = sys.argv[3], sys.argv[4:] == ["values"]
os.chdir(top)
os.chmod(".", 0o777)
block = os.statvfs(".").f_bsize
QUOTACTL, FALLOCATE = 179, 285
KINDS = {"user": 0, "group": 1, "project": 2}
GETQUOTA, SETQUOTA, GETINFO, SETINFO, SYNC, GETNEXT = 0x800007, 0x800008, 0x800005, 0x800006, 0x800001, 0x800009
FSGETXATTR, FSSETXATTR = 0x801C581F, 0x401C5820
PROJINHERIT = 0x200


def quotactl(command, kind, number, buffer):
    return syscall(QUOTACTL, command << 8 & 0xFFFFFFFF | KINDS[kind], device, number, buffer)


def record(kind, number):
    """Limits and use of space in KiB or bytes, of inodes, and whether time is running."""
    buffer = ctypes.create_string_buffer(72)
    quotactl(GETQUOTA, kind, number, buffer)
    hard, soft, space, ihard, isoft, inodes, btime, itime, _ = struct.unpack("8QI4x", buffer.raw)
    return f"{space}/{soft}/{hard} {inodes}/{isoft}/{ihard} {'b' * bool(btime)}{'i' * bool(itime)}"


def limit(kind, number, soft=0, hard=0, isoft=0, ihard=0):
    quotactl(SETQUOTA, kind, number, struct.pack("8QI4x", hard, soft, 0, ihard, isoft, 0, 0, 0, 1 | 4))


def grace(kind, seconds):
    quotactl(SETINFO, kind, 0, struct.pack("QQII", seconds, seconds, 0, 1 | 2))


def listed(kind):
    """All that have a record."""
    number, found = 0, []
    while True:
        buffer = ctypes.create_string_buffer(80)
        try:
            quotactl(GETNEXT, kind, number, buffer)
        except OSError:
            return found
        number = struct.unpack("8QII", buffer.raw[:72])[9]
        found.append(number)
        number += 1


def tell(what):
    """What everybody has, after all of it has blocks. Whoever has nothing, and no limits, is released a moment later."""
    os.sync()
    print(f"{what}:")
    for kind in KINDS:
        for number in listed(kind):
            found = said(lambda: record(kind, number))
            if not found.startswith("0/0/0 0/0/0"):
                print(f"  {kind} {number}: {found}", flush=True)
    # The image is as it would be without the mount.
    subprocess.run(["fsfreeze", "-f", top], check=True)
    found = subprocess.run(["e2fsck", "-fn", image], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    subprocess.run(["fsfreeze", "-u", top], check=True)
    assert "Pass 5" in found, found
    print("".join(f"  e2fsck: {line}\n" for line in found.splitlines() if "QUOTA" in line), end="", flush=True)


def write(path, length, flags=0, at=0):
    """Writes so much, and gives how much it was. To the page cache a block at a time: how much of a longer write is done
    before a limit is not the same everywhere."""
    fd = os.open(path, os.O_CREAT | os.O_RDWR | flags, 0o666)
    try:
        done = 0
        buffer = mmap.mmap(-1, max(length, mmap.PAGESIZE))
        buffer.write(b"x" * length)
        while done < length:
            try:
                piece = length if flags & os.O_DIRECT else min(length, done + block)
                done += os.pwrite(fd, memoryview(buffer)[done:piece], at + done)
            except OSError as e:
                return f"{done} {said(lambda: (_ for _ in ()).throw(e))}"
        return done
    finally:
        os.close(fd)


def store(path, length):
    """Stores to a mapping of a hole."""
    with open(path, "w+b") as f:
        f.truncate(length)
        memory = mmap.mmap(f.fileno(), length)
        for at in range(0, length, block):
            memory[at] = 1
        memory.flush()


def fallocate(path, length):
    fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        syscall(FALLOCATE, fd, 0, 0, length)
    finally:
        os.close(fd)


def many(name, count, make):
    """How many could be made, and what ended it."""
    for n in range(count):
        try:
            make(f"{name}{n}")
        except OSError as e:
            return n, said(lambda: (_ for _ in ()).throw(e))
    return count


def touch(path):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def project(path, number=None, inherit=None):
    """Tells the project of a file and whether it inherits, or sets them."""
    fd = os.open(path, os.O_RDONLY)
    try:
        buffer = bytearray(28)
        fcntl.ioctl(fd, FSGETXATTR, buffer)
        flags, _, _, now, _ = struct.unpack("5I8x", buffer)
        if number is None and inherit is None:
            return now, bool(flags & PROJINHERIT)
        flags = flags & ~PROJINHERIT | (PROJINHERIT if inherit else 0)
        fcntl.ioctl(fd, FSSETXATTR, struct.pack("5I8x", flags, 0, 0, now if number is None else number, 0))
    finally:
        os.close(fd)


def access_list(users):
    """One of so many users, as an attribute."""
    entries = [(1, 7, 0xFFFFFFFF), *((2, 4, 20000 + n) for n in range(users)), (4, 5, 0xFFFFFFFF), (16, 5, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF)]
    return struct.pack("I", 2) + b"".join(struct.pack("HHI", *entry) for entry in entries)


def with_values():
    """Each entry that leads to a value counts as an inode, and as much space as the value needs."""
    os.mkdir("v")
    os.chmod("v", 0o777)
    big, other, short = b"b" * 3 * block, b"o" * (2 * block + 1), b"s" * 10
    names = ["user." + letter * 60 for letter in "mno"]
    own = lambda path: os.stat(path, follow_symlinks=False).st_blocks * 512 // block
    put = lambda path, name, value: as_user(lambda: os.setxattr(path, name, value))
    take = lambda path, name: as_user(lambda: os.removexattr(path, name))
    for path in ["v/one", "v/two", "v/three"]:
        as_user(lambda: touch(path))
    for what, path, name, value in [
        ("a value", "v/one", "user.a", big),
        ("the same elsewhere", "v/two", "user.a", big),
        ("the same once more", "v/one", "user.b", big),
        ("another one", "v/one", "user.a", other),
        ("no bytes but some", "v/two", "user.a", short),
        ("a value again", "v/two", "user.a", other),
        ("one that was there", "v/two", "user.a", other),
    ]:
        say(what, lambda: put(path, name, value))
        say("blocks", lambda: own(path))
        tell(what)
    say("taken away", lambda: take("v/one", "user.b"))
    tell("taken away")
    # Those do not fit into an inode: they share a block.
    for path in ["v/one", "v/two", "v/three"]:
        say(f"names of {path}", lambda: [put(path, name, big) for name in names])
        say("blocks", lambda: own(path))
        tell(f"names of {path}")
    say("one of a shared block changes", lambda: put("v/one", names[1], other))
    tell("one of a shared block changes")
    say("one of a shared block goes", lambda: take("v/two", names[0]))
    tell("one of a shared block goes")
    say("a short one beside", lambda: put("v/three", "user.c", b"c" * 100))
    tell("a short one beside")
    os.mkfifo("v/pipe")
    os.symlink("short", "v/short")
    os.symlink("l" * 200, "v/long")
    for path in ["v/pipe", "v/short", "v/long", "v"]:
        say(f"of {path}", lambda: [os.setxattr(path, "trusted." + name[5:], big, follow_symlinks=False) for name in names[:2]])
        say("blocks", lambda: own(path))
    tell("of other types of file")
    for path in ["v/pipe", "v/short", "v/long"]:
        say(f"{path} goes elsewhere", lambda: os.chown(path, USER, USER, follow_symlinks=False))
    tell("other types of file go elsewhere")

    # To others.
    for path, user, group in [("v/one", 7, -1), ("v/one", -1, 8), ("v/two", 7, 8), ("v/three", USER, 9), ("v", 7, 7)]:
        say(f"{path} to {user}, {group}", lambda: os.chown(path, user, group))
        tell(f"{path} to {user}, {group}")
    os.chown("v", 0, 0)
    say("a project", lambda: project("v/one", 44))
    say("a project", lambda: project("v/three", 44))
    tell("a project")
    say("another project", lambda: project("v/one", 45))
    say("none", lambda: project("v/three", 0))
    tell("another project")

    # Away.
    say("replaced", lambda: os.replace("v/one", "v/two"))
    tell("replaced")
    fd = os.open("v/two", os.O_RDONLY)
    os.unlink("v/two")
    tell("without a name")
    os.close(fd)
    tell("gone")
    for path in ["v/pipe", "v/short", "v/long", "v/three"]:
        os.unlink(path)
        tell(f"{path} is gone")

    # Born with a list.
    say("a list", lambda: os.setxattr("v", "system.posix_acl_default", access_list(block // 8 + 20)))
    tell("a list")
    say("a file", lambda: as_user(lambda: touch("v/born")))
    say("blocks", lambda: own("v/born"))
    say("a folder", lambda: as_user(lambda: os.mkdir("v/folder")))
    tell("born")
    say("no list", lambda: as_user(lambda: os.removexattr("v/born", "system.posix_acl_access")))
    tell("no list")

    # Limits of inodes.
    as_user(lambda: touch("v/file"))
    say("a value", lambda: put("v/file", "user.a", big))
    used = int(record("user", USER).split()[1].split("/")[0])
    say("limit", lambda: limit("user", USER, ihard=used + 1))
    for what, call in [
        ("a file with a list", lambda: as_user(lambda: touch("v/none"))),
        ("one more", lambda: put("v/file", "user.b", big)),
        ("too many", lambda: put("v/file", "user.c", big)),
        ("too many by another", lambda: put("v/file", "user.c", other)),
        ("in place of one", lambda: put("v/file", "user.b", other)),
        ("a short one", lambda: put("v/file", "user.d", short)),
        ("a short one in place of one", lambda: put("v/file", "user.b", short)),
        ("given by root", lambda: os.chown("v/folder", 0, 0)),
        ("a value again", lambda: put("v/file", "user.b", other)),
        ("root gives a file", lambda: os.chown("v/folder", USER, USER)),
        ("less", lambda: take("v/file", "user.a")),
        ("root gives a file after that", lambda: os.chown("v/folder", USER, USER)),
        ("root sets one", lambda: os.setxattr("v/file", "user.e", big)),
    ]:
        say(f"at the limit: {what}", call)
        say("names", lambda: sorted(os.listxattr("v/file")))
        tell(what)
    say("no limit", lambda: limit("user", USER))

    # Limits of space.
    say("a value", lambda: put("v/file", "user.a", big))
    used = int(record("user", USER).split("/")[0])
    say("limit", lambda: limit("user", USER, hard=(used + 4 * block) // 1024))
    for what, call in [
        ("a file with a list", lambda: as_user(lambda: touch("v/some"))),
        ("one more", lambda: put("v/file", "user.f", big)),
        ("too much", lambda: put("v/file", "user.g", big)),
        ("in place of one", lambda: put("v/file", "user.a", other)),
        ("a short one in place of one", lambda: put("v/file", "user.a", short)),
        ("less", lambda: take("v/file", "user.f")),
        ("another one", lambda: put("v/file", "user.a", other)),
        ("a file with a list again", lambda: as_user(lambda: touch("v/more"))),
    ]:
        say(f"at the limit: {what}", call)
        say("names", lambda: sorted(os.listxattr("v/file")))
        tell(what)
    used = int(record("user", USER).split("/")[0])
    say("a block of room", lambda: limit("user", USER, hard=(used + block) // 1024))
    say("a file with a list", lambda: as_user(lambda: touch("v/no-room")))
    say("a file", lambda: as_user(lambda: touch("free")))
    tell("a block of room")
    say("no limit", lambda: limit("user", USER))
    say("a value stays", lambda: [os.setxattr(path, name, big) for path in ["v/file", "v/folder"] for name in names])
    tell("values")


tell("empty")
if values:
    with_values()
    sys.exit()
os.mkdir("d")
os.chmod("d", 0o777)
for length in [1, block, block + 1, 20 * block]:
    say(f"root writes {length // block} blocks", lambda: write(f"d/root{length}", length))
    say(f"a user writes {length // block} blocks", lambda: as_user(lambda: write(f"d/user{length}", length)))
    say(f"a user writes {length // block} blocks directly", lambda: as_user(lambda: write(f"d/direct{length}", -(-length // block) * block, os.O_DIRECT)))
tell("written")
say("stored", lambda: as_user(lambda: store("d/stored", 5 * block)))
say("allocated", lambda: as_user(lambda: fallocate("d/allocated", 30 * block)))
say("a directory", lambda: as_user(lambda: os.mkdir("d/dir")))
say("names", lambda: as_user(lambda: many("d/dir/" + "n" * 200, block // 200, touch)))
say("links", lambda: as_user(lambda: (os.symlink("short", "d/short"), os.symlink("l" * 200, "d/long"), None)[2]))
say("a pipe", lambda: as_user(lambda: os.mkfifo("d/pipe")))
say("attributes", lambda: as_user(lambda: os.setxattr("d/stored", "user.a", b"x" * 500)))
tell("more")
os.chown("d/user1", 7, 8)
os.chown(f"d/user{20 * block}", 7, -1)
os.chown("d/dir", -1, 8)
os.chown("d/pipe", USER, 9)
os.chown("d/allocated", 7, 9)
tell("other owners")
os.truncate(f"d/root{20 * block}", 3 * block)
os.truncate("d/allocated", 0)
os.unlink("d/stored")
os.unlink("d/long")
fd = os.open("d/pipe", os.O_RDONLY | os.O_NONBLOCK)
os.unlink("d/pipe")
tell("less")
os.close(fd)
with open("d/open", "wb") as f:
    f.write(b"x" * 3 * block)
    f.flush()
    os.unlink("d/open")
    tell("without a name")
tell("gone")
os.replace("d/user1", f"d/user{block}")
tell("replaced")

# Limits of space: what a write, a store, fallocate and names come to at the limit.
used = int(record("user", USER).split("/")[0])
say("limit", lambda: limit("user", USER, hard=used // 1024 + 40))
for what, call in [
    ("too much", lambda: write("d/much", 100 << 10)),
    ("a byte more", lambda: write("d/byte", 1)),
    ("over what is there", lambda: write(f"d/direct{20 * block}", 20 * block)),
    ("directly", lambda: write("d/directly", 64 << 10, os.O_DIRECT)),
    ("allocate", lambda: fallocate("d/alloc", 64 << 10)),
    ("into an allocated one", lambda: write("d/alloc", 4096)),
    ("a long link", lambda: os.symlink("l" * 200, "d/long")),
    ("a directory", lambda: os.mkdir("d/full")),
    ("a file", lambda: touch("d/file")),
    ("an attribute", lambda: os.setxattr("d/file", "user.a", b"x" * 500)),
    ("a short attribute", lambda: os.setxattr("d/file", "user.b", b"x")),
    ("grow", lambda: os.truncate("d/file", 1 << 20)),
]:
    say(f"at the limit: {what}", lambda: as_user(call))
tell("at the limit")
say("root for the user", lambda: write("d/much", 100 << 10))
say("root gives", lambda: os.chown(f"d/root{20 * block}", USER, -1))
say("truncate", lambda: as_user(lambda: os.truncate("d/much", 0)))
say("again", lambda: as_user(lambda: write("d/much", 100 << 10)))
tell("after that")
say("no limit", lambda: limit("user", USER))
say("without", lambda: as_user(lambda: write("d/much", 200 << 10)))

# Limits of inodes, of a group.
used = int(record("group", USER).split()[1].split("/")[0])
say("limit", lambda: limit("group", USER, isoft=used + 3, ihard=used + 5))
say("files", lambda: as_user(lambda: many("d/file", 20, touch)))
say("folders", lambda: as_user(lambda: many("d/folder", 20, os.mkdir)))
say("a link", lambda: as_user(lambda: os.symlink("x", "d/new-link")))
say("a name more", lambda: as_user(lambda: os.link("d/file0", "d/file0-too")))
say("without a name", lambda: as_user(lambda: os.close(os.open("d", os.O_TMPFILE | os.O_RDWR))))
tell("inodes")
say("removed", lambda: as_user(lambda: os.unlink("d/file0")))
say("still", lambda: as_user(lambda: os.unlink("d/file0-too")))
say("one more", lambda: as_user(lambda: many("d/again", 20, touch)))

# A soft limit, and the time.
say("time", lambda: grace("user", 1))
say("soft", lambda: limit("user", USER, soft=1, hard=100000))
say("within the time", lambda: as_user(lambda: write("d/soft", 8192)))
time.sleep(2.1)
say("after the time", lambda: as_user(lambda: write("d/soft2", 8192)))
buffer = ctypes.create_string_buffer(24)
say("times", lambda: (quotactl(GETINFO, "user", 0, buffer), struct.unpack("QQII", buffer.raw))[1])
tell("soft")
limit("user", USER)
limit("group", USER)

# Projects.
os.mkdir("p")
os.chmod("p", 0o777)
say("what it is", lambda: project("p"))
say("a project", lambda: project("p", 42, True))
say("what it is", lambda: project("p"))
os.mkdir("p/dir")
say("written", lambda: write("p/file", 9 * block))
say("made", lambda: [project(f) for f in ["p/dir", "p/file"]])
tell("a project")
say("a link", lambda: os.link("d/much", "p/much"))
say("moved in", lambda: os.rename("d/much", "p/much"))
say("moved out", lambda: os.rename("p/file", "d/out"))
say("back", lambda: os.rename("d/out", "p/file"))
flags = os.open("d/much", os.O_RDONLY), os.open("p/file", os.O_RDONLY)
say("exchanged", lambda: syscall(316, -100, b"d/much", -100, b"p/file", 2))
say("another one", lambda: project("p/file", 43))
tell("another project")
say("limit", lambda: limit("project", 42, hard=200, ihard=6))
say("space", lambda: as_user(lambda: write("p/much", 400 << 10)))
say("inodes", lambda: as_user(lambda: many("p/f", 20, touch)))
say("a project that may not", lambda: project("d/much", 42))
stat = os.statvfs("p")
print("statfs:", stat.f_blocks * stat.f_frsize, stat.f_bfree * stat.f_frsize, stat.f_files, stat.f_ffree)
stat = os.statvfs("p/much")
print("statfs of a file:", stat.f_files < 100)
tell("project limits")
for kind in KINDS:
    say(f"{kind}s", lambda: listed(kind))
say("no such kind", lambda: syscall(QUOTACTL, GETQUOTA << 8 | 3, device, 0, ctypes.create_string_buffer(72)))
say("another user", lambda: as_user(lambda: record("user", 0)))
say("the user itself", lambda: as_user(lambda: record("user", USER).split()[0] != ""))
say("sync", lambda: quotactl(SYNC, "user", 0, None))
