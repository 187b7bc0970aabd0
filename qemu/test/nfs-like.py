#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# nfs-like.py before|after|durable SERVER CLIENT STATE [IMAGE]: SERVER is a folder that a file system is mounted on, and CLIENT one where the
# same is mounted by NFS. Uses both and prints what each step comes to, a line for each, to be compared with what another file system
# prints. What has to be found when the server was started again is in the file STATE. "durable" copies IMAGE after each change that
# the server has to have made durable before it answers.

import ctypes
import fcntl
import json
import mmap
import os
import random
import stat
import struct
import subprocess
import sys
import time

import calls
import nfs
from calls import in_child
from nfs import FILE_SYNC, UNSTABLE, Client

libc = ctypes.CDLL(None, use_errno=True)
what, server, client, state = sys.argv[1:5]
IO = "/sys/kernel/debug/nfsd/io_cache_"
DEEP = "a/b/c/d/e/f/g/h"
# Flags of an export: the number 0 for it (0x2000), any port of the client (2), and, but for the second, that files need not be below it
# (0x400), without which the handle of a file names the folder that it is in.
PLAIN, WITH_PARENT = 0x2402, 0x2002


def said(call):
    try:
        return calls.said(call)
    except nfs.Refused as e:
        return f"NFS4ERR_{e}"


def say(name, call):
    print(f"{name}: {said(call)}", flush=True)


def put(path, data, how=os.O_CREAT | os.O_TRUNC):
    fd = os.open(path, os.O_WRONLY | how, 0o644)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.fsync(fd)
    os.close(fd)


def get(path):
    with open(path, "rb", buffering=0) as file:
        # What the client has read before is read again.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return file.readall()


def fallocate(fd, mode, at, length):
    if libc.fallocate(fd, mode, ctypes.c_int64(at), ctypes.c_int64(length)) < 0:
        raise OSError(ctypes.get_errno(), "fallocate")


def export(flags):
    with open("/proc/net/rpc/nfsd.export/channel", "w") as channel:
        channel.write(f"all {server} {int(time.time()) + 3600} {flags} 65534 65534 0\n")


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("2")


def contents():
    chance = random.Random(1)
    # By way of the page cache, of the page cache without leaving anything there, and past it.
    for way in [1, 2, 0]:
        for direction in ["read", "write"]:
            with open(IO + direction, "w") as file:
                file.write(str(way))
        for size in [0, 1, 4095, 40000, 300001]:
            data = chance.randbytes(size)
            put(f"{client}/file", data)
            say(f"{way}, {size} bytes: client to server", lambda: get(f"{server}/file") == data)
            at, part = chance.randrange(size + 1), chance.randbytes(5000)
            raw.write_at(raw.handle("file"), at, part, UNSTABLE)
            data = data[:at] + part + data[at + len(part) :]
            raw.commit(raw.handle("file"))
            say("a part: client to server", lambda: get(f"{server}/file") == data)
            data = chance.randbytes(size)
            put(f"{server}/file", data)
            say("server to client", lambda: get(f"{client}/file") == data)
    for path in [client, server]:
        os.truncate(f"{path}/file", 12345)
        say("cut", lambda: [get(f"{path}/file") == data[:12345] for path in [server, client]])
        os.truncate(f"{path}/file", 54321)
        say("longer", lambda: [get(f"{path}/file") == data[:12345] + bytes(54321 - 12345) for path in [server, client]])


def names():
    put(f"{client}/n1", b"one")
    say("exclusive, there is one", lambda: os.close(os.open(f"{client}/n1", os.O_CREAT | os.O_EXCL)))
    say("exclusive, there is none", lambda: os.close(os.open(f"{client}/n2", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640)))
    say("it is", lambda: (oct(os.stat(f"{server}/n2").st_mode), os.stat(f"{server}/n2").st_mtime > 1e9))
    os.link(f"{client}/n1", f"{client}/n3")
    say("links", lambda: [os.stat(f"{path}/{name}").st_nlink for path in [client, server] for name in ["n1", "n3"]])
    os.symlink("n1", f"{client}/n4")
    os.symlink("x" * 200, f"{server}/n5")
    say("symbolic links", lambda: (os.readlink(f"{server}/n4"), len(os.readlink(f"{client}/n5")), get(f"{client}/n4")))
    os.mkfifo(f"{client}/n6")
    os.mknod(f"{client}/n7", stat.S_IFBLK | 0o600, os.makedev(7, 300))
    say("special files", lambda: [(oct(s.st_mode), s.st_rdev) for s in [os.stat(f"{server}/n6"), os.stat(f"{server}/n7")]])
    os.mkdir(f"{client}/n8")
    os.rename(f"{client}/n3", f"{client}/n8/moved")
    os.rename(f"{client}/n2", f"{client}/n1")
    say("renamed", lambda: [get(f"{server}/n8/moved"), get(f"{server}/n1"), sorted(os.listdir(f"{server}/n8"))])
    os.rename(f"{server}/n8", f"{server}/n9")
    say("renamed by the server", lambda: (os.path.exists(f"{client}/n8"), get(f"{client}/n9/moved")))
    say("not empty", lambda: os.rmdir(f"{client}/n9"))
    say("rename of a folder over a file", lambda: os.rename(f"{client}/n9", f"{client}/n1"))
    say("rename into itself", lambda: os.rename(f"{client}/n9", f"{client}/n9/x"))
    say("too long", lambda: os.mkdir(f"{client}/{'x' * 256}"))
    os.mkdir(f"{client}/silly")
    put(f"{client}/silly/open", b"still there")
    fd = os.open(f"{client}/silly/open", os.O_RDWR)
    os.unlink(f"{client}/silly/open")
    say("removed while open", lambda: (os.pread(fd, 99, 0), [name[:4] for name in os.listdir(f"{server}/silly")]))
    os.pwrite(fd, b"written", 3)
    os.close(fd)
    for _ in range(100):
        # The client closes it after a while.
        if os.listdir(f"{server}/silly"):
            time.sleep(0.02)
    say("and closed", lambda: os.listdir(f"{server}/silly"))
    put(f"{client}/silly/other", b"still here")
    fd = os.open(f"{client}/silly/other", os.O_RDWR)
    os.unlink(f"{server}/silly/other")
    say("removed by the server while open", lambda: (os.pread(fd, 99, 0), os.listdir(f"{client}/silly")))
    os.close(fd)
    # A file that is made once more by who has made it, as the answer was lost.
    one, two = bytes(range(8)), bytes(range(248, 256))
    first = raw.create(raw.root, "once", 3, two)
    say("made by the same", lambda: raw.create(raw.root, "once", 3, two) == first)
    say("made by another", lambda: raw.create(raw.root, "once", 3, one))
    say("made if there is none", lambda: raw.create(raw.root, "once", 1))


def all_listed(folder, cookie, most, seen=None):
    """All names behind a cookie; seen is called for each that comes."""
    names, at_end = [], 0
    while not at_end:
        some, at_end = raw.listing(folder, cookie, most)
        for cookie, name, number in some:
            names.append(name)
            if seen:
                seen(name)
    return names


def listings():
    chance = random.Random(2)
    for folder, count in [("few", 30), ("many", 2000)]:
        os.mkdir(f"{server}/{folder}")
        there = [f"name-{i:x}-{'x' * (i % 50)}" for i in range(count)]
        for name in there:
            os.close(os.open(f"{server}/{folder}/{name}", os.O_CREAT))
        handle = raw.handle(folder)
        say(f"{folder}: all names", lambda: sorted(all_listed(handle, 0, 800)) == sorted(there))
        some = raw.listing(handle, 0, 5000)[0]
        say("their numbers", lambda: all(os.stat(f"{server}/{folder}/{name}").st_ino == number for _, name, number in some))
        say("from each cookie", lambda: [raw.listing(handle, cookie, 800)[0][0] == after
                                         for (cookie, _, _), after in list(zip(some, some[1:]))[:10]])
        say("the client's", lambda: sorted(os.listdir(f"{client}/{folder}")) == sorted(there))
        say("too little room", lambda: raw.listing(handle, 0, 30))
        # Some go while it is listed, those that were listed as well as those that were not.
        left = set(there)

        def seen(name):
            for gone in [name, chance.choice(there)]:
                if gone in left and chance.random() < 0.3:
                    os.unlink(f"{server}/{folder}/{gone}")
                    left.remove(gone)

        listed = all_listed(handle, 0, 2000, seen)
        say("while they go: none is missing, none comes twice", lambda: (left <= set(listed), len(listed) == len(set(listed))))
        say("those that are left", lambda: sorted(os.listdir(f"{client}/{folder}")) == sorted(left))
        some = raw.listing(handle, 0, 600)[0]
        listings_left[folder] = [raw.handle(folder).hex(), some[-1][0], sorted(left - {name for _, name, _ in some})]
    os.mkdir(f"{client}/emptied")
    for i in range(150):
        os.close(os.open(f"{server}/emptied/{i:050}", os.O_CREAT))
    with os.scandir(f"{client}/emptied") as entries:
        for entry in entries:
            os.unlink(entry.path)
    say("emptied while it is listed", lambda: os.rmdir(f"{client}/emptied"))


def space():
    size = 1 << 20
    raw.create(raw.root, "space", 1)
    handle = raw.handle("space")

    def look():
        drop_caches()
        found, at, kind = [], 0, 0
        while at < size:
            try:
                at, at_end = raw.seek(handle, at, kind)
            except nfs.Refused as e:
                found.append(str(e))
                break
            found.append((["data", "hole"][kind], at, at_end))
            kind ^= 1
        status = os.stat(f"{server}/space")
        # What leads to the data may take a block more.
        return found, status.st_size, status.st_blocks // 100

    say("allocate", lambda: (raw.allocate(handle, 0, size), look()))
    say("write", lambda: ([raw.write_at(handle, at, b"d" * 100000, UNSTABLE) for at in [0, 300000, 900000]], raw.commit(handle), look()))
    say("punch", lambda: (raw.deallocate(handle, 20000, 300000), look()))
    say("punch at the end", lambda: (raw.deallocate(handle, 950000, size), look()))
    say("the server sees", lambda: [(piece[:1], len(piece)) for piece in
                                    [get(f"{server}/space")[at:to] for at, to in [(0, 20000), (20000, 320000), (320000, 400000)]]
                                    if len(set(piece)) == 1])
    say("allocate more", lambda: (raw.allocate(handle, size, 4096), os.stat(f"{client}/space").st_size))
    say("too much", lambda: raw.allocate(handle, 1 << 50, 4096))
    say("beyond all ends", lambda: raw.seek(handle, 1 << 50, 0))
    copied = raw.create(raw.root, "copied", 1)
    say("copy", lambda: (raw.copy(handle, copied, 0, 5000, 400000), get(f"{server}/copied")[5000:] == get(f"{server}/space")[:400000]))
    say("clone", lambda: raw.clone(handle, copied, 0, 0, 4096))


def attributes():
    handle = raw.create(raw.root, "attributes", 1)
    say("xattr", lambda: raw.set_xattr(handle, "one", b"value"))
    say("the server's", lambda: os.getxattr(f"{server}/attributes", "user.one"))
    say("there is one", lambda: raw.set_xattr(handle, "one", b"value", 1))
    say("there is none", lambda: raw.set_xattr(handle, "two", b"value", 2))
    os.setxattr(f"{server}/attributes", "user.two", b"x" * 2000)
    say("list", lambda: sorted(raw.list_xattrs(handle)))
    say("get", lambda: (raw.get_xattr(handle, "one"), len(raw.get_xattr(handle, "two"))))
    say("too long", lambda: raw.set_xattr(handle, "three", b"x" * 60000))
    say("remove", lambda: (raw.remove_xattr(handle, "one"), os.listxattr(f"{server}/attributes")))
    say("gone", lambda: raw.get_xattr(handle, "one"))
    entry = struct.Struct("<HHi")
    acl = struct.pack("<I", 2) + b"".join(entry.pack(*e) for e in [(1, 6, -1), (2, 5, 1234), (4, 4, -1), (8, 2, 4321), (16, 7, -1), (32, 0, -1)])
    os.setxattr(f"{server}/attributes", "system.posix_acl_access", acl)
    listed = os.getxattr(f"{client}/attributes", "system.nfs4_acl")
    say("ACL", lambda: listed.hex())
    raw.create(raw.root, "listed", 1)
    os.setxattr(f"{client}/listed", "system.nfs4_acl", listed)
    say("the server's ACL", lambda: os.getxattr(f"{server}/listed", "system.posix_acl_access").hex())
    os.chmod(f"{client}/listed", 0o604)
    os.chown(f"{client}/listed", 7, 8)
    os.utime(f"{client}/listed", ns=(1234567890123456789, 4000000000123456789))
    status = [os.stat(f"{path}/listed") for path in [server, client]]
    say("attributes", lambda: [(oct(s.st_mode), s.st_uid, s.st_gid, s.st_atime_ns, s.st_mtime_ns) for s in status])


def handles():
    os.makedirs(f"{server}/{DEEP}")
    put(f"{server}/{DEEP}/file", b"deep")
    os.symlink("file", f"{server}/{DEEP}/link")
    os.mkfifo(f"{server}/a/b/pipe")
    for flags in [PLAIN, WITH_PARENT]:
        export(flags)
        for path in ["a", "a/b", "a/b/pipe", "a/b/c/d", DEEP, f"{DEEP}/file", f"{DEEP}/link"]:
            kept.append((flags, path, raw.handle(path).hex()))
    look_at_handles()
    # A number that is used again is another file.
    for folder in [False, True]:
        path = f"{server}/stale"
        os.mkdir(path) if folder else put(path, b"old")
        handle, number = raw.handle("stale"), os.stat(path).st_ino
        os.rmdir(path) if folder else os.unlink(path)
        say("removed", lambda: raw.attributes(handle, nfs.FILEID))
        for i in range(60):
            os.sync()
            path = f"{server}/stale-{folder}-{i}"
            os.mkdir(path) if folder else put(path, b"new")
            if os.stat(path).st_ino == number:
                break
        new = raw.handle(os.path.basename(path))
        say("its number is used again", lambda: (os.stat(path).st_ino == number, new != handle, raw.attributes(new, nfs.FILEID) == [number]))
        say("the handle of the old one", lambda: raw.attributes(handle, nfs.FILEID))
        drop_caches()
        say("after a while", lambda: (said(lambda: raw.attributes(handle, nfs.FILEID)), raw.attributes(new, nfs.FILEID) == [number]))
        kept_stale.append(handle.hex())


def look_at_handles():
    for flags, path, handle in kept:
        export(flags)
        handle = bytes.fromhex(handle)
        drop_caches()
        say(f"{path}, {len(handle)} bytes", lambda: raw.attributes(handle, nfs.TYPE, nfs.LINKS))
        if os.path.basename(path) in "abdh":
            # The server has looked for none of these names yet.
            numbers, up = [], handle
            while up != raw.root:
                numbers.insert(0, raw.attributes(up, nfs.FILEID)[0])
                up = raw.parent(up)
            say("up to the root", lambda: numbers == [os.stat(f"{server}/{DEEP[: 2 * i + 1]}").st_ino for i in range((len(path) + 1) // 2)])
            say("and down", lambda: raw.attributes(raw.handle(f"{DEEP}/file"[len(path) + 1 :], handle), nfs.SIZE))
        say("it is", lambda: raw.attributes(handle, nfs.FILEID) == [os.lstat(f"{server}/{path}").st_ino])
        if path.endswith("file"):
            say("read", lambda: raw.read_at(handle, 0, 99))
            say("written", lambda: (raw.write_at(handle, 0, b"deep", FILE_SYNC), get(f"{server}/{path}")))
    export(PLAIN)


def changes():
    """Whether a change makes another file of it for a client."""
    path, folder = f"{server}/changes/file", f"{server}/changes"
    os.mkdir(folder)
    put(path, b"x" * 5000)
    file, above = raw.handle("changes/file"), raw.handle("changes")
    fd = os.open(path, os.O_RDWR)
    memory = mmap.mmap(fd, 4096)
    say("kind", lambda: raw.attributes(file, nfs.CHANGE_IS))

    def store():
        memory[0] = ord("y")
        memory.flush()

    def read():
        drop_caches()
        os.pread(fd, 10, 0)

    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", tag, 6, -1) for tag in [1, 4, 32])
    steps = [("nothing", lambda: None), ("read", read), ("write", lambda: os.pwrite(fd, b"z", 0)), ("the same write", lambda: os.pwrite(fd, b"z", 0)),
             ("append", lambda: os.pwrite(fd, b"z", 6000)), ("store", store), ("truncate", lambda: os.ftruncate(fd, 4999)),
             ("truncate to the same", lambda: os.ftruncate(fd, 4999)), ("chmod", lambda: os.fchmod(fd, 0o600)),
             ("utime", lambda: os.utime(fd, (1, 1))), ("link", lambda: os.link(path, f"{folder}/link")),
             ("rename of the link", lambda: os.rename(f"{folder}/link", f"{folder}/renamed")),
             ("unlink", lambda: os.unlink(f"{folder}/renamed")), ("xattr", lambda: os.setxattr(fd, "user.x", b"1")),
             ("no xattr", lambda: os.removexattr(fd, "user.x")), ("ACL", lambda: os.setxattr(path, "system.posix_acl_access", acl)),
             ("allocate", lambda: fallocate(fd, 0, 0, 9000)), ("punch", lambda: fallocate(fd, 3, 0, 4096)),
             ("zero", lambda: fallocate(fd, 0x10, 0, 4096)), ("sync", lambda: os.fsync(fd)),
             ("write by NFS", lambda: raw.write_at(file, 0, b"x", UNSTABLE)), ("mode by NFS", lambda: raw.set_mode(file, 0o644)),
             ("xattr by NFS", lambda: raw.set_xattr(file, "x", b"2")),
             ("create", lambda: put(f"{folder}/new", b"new")), ("mkdir", lambda: os.mkdir(f"{folder}/folder")),
             ("rmdir", lambda: os.rmdir(f"{folder}/folder")), ("listing", lambda: (drop_caches(), os.listdir(folder))[2:]),
             ("moved out", lambda: os.rename(f"{folder}/new", f"{server}/new")), ("moved in", lambda: os.rename(f"{server}/new", f"{folder}/new")),
             ("create by NFS", lambda: raw.create(above, "by-nfs", 1) and None), ("remove by NFS", lambda: raw.remove(above, "by-nfs"))]
    for name, step in steps:
        before = raw.change(file), raw.change(above)
        done = said(step)
        after = raw.change(file), raw.change(above)
        print(f"{name}: {done}:", *("raised" if b < a else "the same" if b == a else "lower" for b, a in zip(before, after)), flush=True)
    memory.close()
    os.close(fd)
    # What a client has cached, it keeps only as long as the file has not changed, whatever its size and times say.
    put(f"{server}/cached", b"a" * 5000)
    times = os.stat(f"{server}/cached")
    for letter in b"bcd":
        with open(f"{client}/cached", "rb") as file:
            file.read()
        with open(f"{server}/cached", "r+b") as file:
            file.write(bytes([letter]) * 5000)
        os.utime(f"{server}/cached", ns=(times.st_atime_ns, times.st_mtime_ns))
        with open(f"{client}/cached", "rb") as file:
            say("the client sees", lambda: set(file.read()) == {letter})
    for i in range(3):
        os.path.exists(f"{client}/changes/seen")
        put(f"{server}/changes/seen", b"")
        say("the client finds", lambda: (os.path.exists(f"{client}/changes/seen"), "seen" in os.listdir(f"{client}/changes")))
        os.unlink(f"{server}/changes/seen")
        say("and no more", lambda: (os.path.exists(f"{client}/changes/seen"), "seen" in os.listdir(f"{client}/changes")))


def locks():
    for path in [client, server]:
        put(f"{path}/locked-{os.path.basename(path)}", b"x" * 100)
    try_lock = lambda path, kind, length, start: fcntl.lockf(os.open(path, os.O_RDWR), kind | fcntl.LOCK_NB, length, start)
    for one, other in [(client, server), (server, client)]:
        fd = os.open(f"{one}/locked-{os.path.basename(one)}", os.O_RDWR)
        path = f"{other}/locked-{os.path.basename(one)}"
        fcntl.lockf(fd, fcntl.LOCK_EX, 10, 0)
        fcntl.lockf(fd, fcntl.LOCK_SH, 10, 20)
        for name, kind in [("exclusive", fcntl.LOCK_EX), ("shared", fcntl.LOCK_SH)]:
            for start in [0, 10, 20]:
                say(f"{name} at {start}", lambda: in_child(lambda: try_lock(path, kind, 5, start)))
        fcntl.lockf(fd, fcntl.LOCK_UN)
        say("unlocked", lambda: in_child(lambda: try_lock(path, fcntl.LOCK_EX, 0, 0)))
        os.close(fd)


def held():
    fcntl.flock(7, fcntl.LOCK_EX)
    os.pwrite(7, b"before", 0)
    say("a lock that is kept", lambda: in_child(lambda: fcntl.lockf(os.open(f"{server}/held", os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)))


def durable():
    """After each of these the file system may lose power."""
    raw.make_folder(raw.root, "durable")
    folder = raw.handle("durable")
    for name in ["linked", "renamed", "removed", "mode", "written", "committed", "space"]:
        raw.create(folder, name, 1)
    raw.write_at(raw.handle("space", folder), 0, b"x" * 10000, FILE_SYNC)
    get_handle = lambda name: raw.handle(name, folder)
    steps = [("mkdir", lambda: raw.make_folder(folder, "folder")), ("create", lambda: raw.create(folder, "created", 1) and None),
             ("exclusive", lambda: raw.create(folder, "exclusive", 3, b"verifier") and None), ("symlink", lambda: raw.make_link(folder, "symlink", "to")),
             ("link", lambda: raw.link(get_handle("linked"), folder, "link")), ("rename", lambda: raw.rename(folder, "renamed", raw.root, "new-name")),
             ("remove", lambda: raw.remove(folder, "removed")), ("mode", lambda: raw.set_mode(get_handle("mode"), 0o741)),
             ("write", lambda: raw.write_at(get_handle("written"), 0, b"w" * 10000, FILE_SYNC)),
             ("commit", lambda: (raw.write_at(get_handle("committed"), 0, b"c" * 10000, UNSTABLE), raw.commit(get_handle("committed")))),
             ("punch", lambda: raw.deallocate(get_handle("space"), 0, 8192))]
    for name, step in steps:
        say(name, step)
        subprocess.run(["cp", "--sparse=always", sys.argv[5], f"cut-{name}"], check=True)


# The server waits a while for all clients to claim again what they had. This one does so when it has something to do, and first.
if what == "after":
    os.stat(f"{client}/held")
try:
    with open("/proc/fs/nfsd/v4_end_grace", "w") as file:
        file.write("Y")
except OSError:
    # There was no client to wait for.
    pass
raw = Client("test")
if what == "before":
    kept, kept_stale, listings_left = [], [], {}
    for step in [contents, names, listings, space, attributes, handles, changes, locks, held]:
        print(f"-- {step.__name__}", flush=True)
        step()
    with open(state, "w") as file:
        json.dump([kept, kept_stale, listings_left], file)
elif what == "durable":
    durable()
else:
    with open(state) as file:
        kept, kept_stale, listings_left = json.load(file)
    look_at_handles()
    say("stale", lambda: [said(lambda: raw.attributes(bytes.fromhex(handle), nfs.FILEID)) for handle in kept_stale])
    for folder, (handle, cookie, names) in listings_left.items():
        say(f"{folder}: the rest of the names", lambda: sorted(all_listed(bytes.fromhex(handle), cookie, 2000)) == names)
    say("made by the same", lambda: raw.create(raw.root, "once", 3, bytes(range(248, 256))) == raw.handle("once"))
    say("the lock that was kept", lambda: in_child(lambda: fcntl.lockf(os.open(f"{server}/held", os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)))
    say("the file that was open", lambda: (os.pread(7, 99, 0), os.pwrite(7, b"after", 6), os.fsync(7), get(f"{server}/held")))
