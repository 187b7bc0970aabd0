#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# shutdown-like.py FOLDER MODE STATE: fills FOLDER, which a file system is mounted on, with files that are synced and others that
# are not, shuts the file system down in MODE while writers of all sorts are at work, and prints what every kind of call comes to
# then: a line for each, to be compared with what another file system prints. The sha256 of the loop device's image, when the
# writers have ended, is left in the file STATE.

import ctypes
import errno
import fcntl
import hashlib
import mmap
import os
import signal
import struct
import sys
import time

SHUTDOWN = 0x8004587D
PAGE = 4096
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64]
libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


def checked(result):
    """Of a call of C."""
    if result in (-1, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "")
    return "ok"


def say(what, call):
    try:
        result = call()
    except OSError as e:
        result = errno.errorcode[e.errno]
    print(f"{what}: {'ok' if result is None else result}")
    sys.stdout.flush()


def in_child(call):
    """Runs it in a child, as a fault may end that. Gives how it ends."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGBUS, signal.SIG_DFL)
        try:
            call()
        except OSError as e:
            os._exit(e.errno)
        except BaseException:
            os._exit(255)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    status = os.WEXITSTATUS(status)
    return errno.errorcode.get(status, status) if status else "ok"


def ioctl(fd, cmd, size=256, fill=b""):
    buffer = bytearray(fill.ljust(size, b"\0"))
    fcntl.ioctl(fd, cmd, buffer)


def device_of(top):
    for line in open("/proc/self/mounts"):
        device, folder = line.split()[:2]
        if folder == top:
            return device
    raise SystemExit(f"{top} is not mounted")


def digest(path):
    """Of the image below a device, when the cache of the device has no metadata that committed before. (BLKFLSBUF would ask the file
    system first.)"""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    image = open(f"/sys/block/{os.path.basename(path)}/loop/backing_file").read().rstrip("\n")
    return hashlib.sha256(open(image, "rb").read()).hexdigest()


def writer(top, how):
    """Writes until it is told that nothing can be written any more. Ends with that errno."""
    signal.alarm(60)
    piece = mmap.mmap(-1, 65536)
    piece.write(b"w" * 65536)
    fd = os.open(f"{top}/writer-{how}", os.O_RDWR | os.O_CREAT | (os.O_DIRECT if how == "direct" else 0), 0o644)
    n = 0
    while True:
        n += 1
        try:
            os.pwrite(fd, piece, n % 64 * 65536)
            if how == "mapped":
                with mmap.mmap(fd, 65536) as view:
                    view[:5] = b"store"
                    view.flush()
            if how == "names":
                os.mkdir(f"{top}/of-{how}{n}")
        except OSError as e:
            os._exit(e.errno)


def main():
    top, mode, state = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    at = lambda name: os.path.join(top, name)
    signal.alarm(240)
    data = b"".join(b"%015d\n" % n for n in range(64 * 1024))
    for name in ["kept", "cold", "cached", "held", "old", "other", "rewritten", "victim", "mapped", "deleted"]:
        with open(at(name), "wb") as file:
            file.write(data[: 64 * PAGE])
            os.fsync(file.fileno())
    os.mkdir(at("dir"))
    os.mkdir(at("empty"))
    os.symlink("kept", at("symlink"))
    os.symlink("kept/" * 30, at("long-symlink"))
    os.sync()
    # What is not in memory, and what is.
    fds = {name: os.open(at(name), os.O_RDWR) for name in ["cold", "cached", "held", "rewritten", "mapped"]}
    for fd in fds.values():
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    cached, cold, direct = fds["cached"], fds["cold"], os.open(at("cached"), os.O_RDWR | os.O_DIRECT)
    reader = os.open(at("cached"), os.O_RDONLY)
    dirfd, emptyfd = os.open(at("dir"), os.O_RDONLY), os.open(at("empty"), os.O_RDONLY)
    os.pread(cached, 4 * PAGE, 0)
    aligned = mmap.mmap(-1, PAGE)
    shared = mmap.mmap(fds["mapped"], 64 * PAGE)
    os.posix_fadvise(fds["mapped"], 0, 0, os.POSIX_FADV_RANDOM)
    _ = shared[0]
    shared[PAGE] = 1
    # Not synced: its name is, its data is not.
    dirty = os.open(at("dirty"), os.O_RDWR | os.O_CREAT, 0o644)
    os.fsync(dirty)
    os.pwrite(dirty, data[: 32 * PAGE], 0)
    os.pwrite(fds["rewritten"], b"new" * 1000, 5 * PAGE)
    sparse = os.open(at("sparse"), os.O_RDWR | os.O_CREAT, 0o644)
    os.ftruncate(sparse, 16 * PAGE)
    holes = mmap.mmap(sparse, 16 * PAGE)
    # Its deletion cannot be finished.
    os.unlink(at("held"))
    os.mkdir(at("named"))

    pids = {}
    for how in ["buffered", "direct", "mapped", "names"]:
        pids[how] = os.fork()
        if pids[how] == 0:
            writer(top, how)
    while not all(os.path.exists(at(f"writer-{how}")) for how in pids) or not os.path.exists(at("of-names20")):
        time.sleep(0.05)

    # Its blocks are free in a transaction that mode 2 ends.
    os.unlink(at("deleted"))
    say("a mode that there is not", lambda: fcntl.ioctl(dirfd, SHUTDOWN, struct.pack("I", 3)))
    say("shutdown", lambda: fcntl.ioctl(dirfd, SHUTDOWN, struct.pack("I", mode)))
    for how, pid in pids.items():
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        # Who has a handle already hears of the aborted journal.
        print(f"writer {how}:", "told" if status in (errno.EIO, errno.EROFS) else status)
    time.sleep(0.3)
    with open(state, "w") as file:
        file.write(digest(device_of(top)))

    for again in range(3):
        say(f"shutdown again {again}", lambda: fcntl.ioctl(dirfd, SHUTDOWN, struct.pack("I", again)))
    say("shutdown again 3", lambda: fcntl.ioctl(dirfd, SHUTDOWN, struct.pack("I", 3)))

    say("read cached", lambda: len(os.pread(cached, PAGE, 0)))
    say("read cold", lambda: len(os.pread(cold, PAGE, 0)))
    say("read nothing", lambda: len(os.pread(cold, 0, 0)))
    say("read at the end", lambda: len(os.pread(cold, PAGE, 64 * PAGE)))
    say("read only", lambda: len(os.pread(reader, PAGE, 0)))
    say("read direct", lambda: os.preadv(direct, [aligned], 0))
    pipe = os.pipe()
    say("splice from", lambda: os.splice(reader, pipe[1], PAGE, offset_src=0))
    os.write(pipe[1], b"x" * 100)
    say("splice to", lambda: os.splice(pipe[0], cached, 100, offset_dst=0))
    null = os.open("/dev/null", os.O_WRONLY)
    say("sendfile", lambda: os.sendfile(null, reader, 0, PAGE))
    say("copy_file_range", lambda: os.copy_file_range(reader, cold, PAGE, 0, 0))
    say("readahead", lambda: checked(libc.readahead(cold, ctypes.c_int64(0), PAGE)))
    say("write cached", lambda: os.pwrite(cached, b"x", 0))
    say("write cold", lambda: os.pwrite(cold, b"x" * PAGE, 0))
    say("write nothing", lambda: os.pwrite(cold, b"", 0))
    say("write behind the end", lambda: os.pwrite(cold, b"x", 200 * PAGE))
    say("write direct", lambda: os.pwritev(direct, [aligned], 0))
    say("write what is dirty", lambda: os.pwrite(dirty, b"x", 0))
    say("write to a read-only opening", lambda: os.pwrite(reader, b"x", 0))
    say("mmap for reading", lambda: checked(libc.mmap(None, PAGE, 1, 1, reader, 0)))
    say("mmap for writing", lambda: checked(libc.mmap(None, PAGE, 3, 1, cached, 0)))
    say("mmap private", lambda: checked(libc.mmap(None, PAGE, 3, 2, reader, 0)))
    print("load of what is mapped:", in_child(lambda: shared[0]))
    print("store to what is dirty:", in_child(lambda: shared.__setitem__(PAGE, 2)))
    print("load of a hole:", in_child(lambda: holes[0]))
    print("msync:", in_child(shared.flush))
    for name in ["cold", "cached", "mapped"]:
        say(f"fsync {name}", lambda: os.fsync(fds[name]))
        say(f"fdatasync {name}", lambda: os.fdatasync(fds[name]))
    say("fsync dirty", lambda: os.fsync(dirty))
    say("fsync of a folder", lambda: os.fsync(dirfd))
    say("syncfs", lambda: checked(libc.syncfs(dirfd)))
    say("sync", os.sync)

    for name, how in [("kept", os.O_RDONLY), ("kept", os.O_RDWR), ("kept", os.O_WRONLY | os.O_TRUNC), ("kept", os.O_PATH),
                      ("new", os.O_RDWR | os.O_CREAT), ("kept", os.O_RDWR | os.O_CREAT | os.O_EXCL), ("missing", os.O_RDONLY),
                      ("kept", os.O_RDONLY | os.O_DIRECT), ("dir", os.O_RDONLY), ("dir", os.O_RDWR | os.O_TMPFILE)]:
        say(f"open {name} {how:o}", lambda: os.close(os.open(at(name), how, 0o644)))
    say("list", lambda: len([name for name in os.listdir(top) if not name.startswith("of-")]))
    say("list what is empty", lambda: os.listdir(emptyfd))
    say("stat", lambda: os.stat(at("kept")).st_size)
    say("stat what is missing", lambda: os.stat(at("missing")))
    say("statvfs", lambda: os.statvfs(top).f_bsize)
    say("access", lambda: os.access(at("kept"), os.W_OK))
    say("readlink", lambda: os.readlink(at("symlink")))
    say("readlink of a long one", lambda: os.readlink(at("long-symlink")))
    say("mkdir", lambda: os.mkdir(at("new-dir")))
    say("mkdir that is there", lambda: os.mkdir(at("dir")))
    say("rmdir", lambda: os.rmdir(at("empty")))
    say("rmdir of what is not empty", lambda: os.rmdir(top + "/."))
    say("unlink", lambda: os.unlink(at("old")))
    say("unlink of what is missing", lambda: os.unlink(at("missing")))
    say("rename", lambda: os.rename(at("old"), at("older")))
    say("rename over", lambda: os.rename(at("old"), at("victim")))
    for flags in [1, 2, 4, 8]:
        say(f"rename with flags {flags}", lambda: checked(
            libc.renameat2(-100, os.fsencode(at("old")), -100, os.fsencode(at("other" if flags == 2 else "older")), flags)))
    say("link", lambda: os.link(at("old"), at("linked")))
    say("symlink", lambda: os.symlink("x", at("new-symlink")))
    say("long symlink", lambda: os.symlink("x" * 200, at("new-symlink")))
    say("too long symlink", lambda: os.symlink("x" * 4094, at("new-symlink")))
    say("mknod", lambda: os.mknod(at("new-node"), 0o010644))
    say("chmod", lambda: os.chmod(at("kept"), 0o600))
    say("chown", lambda: os.chown(at("kept"), 1, 1))
    say("utime", lambda: os.utime(at("kept"), (1, 1)))
    say("utime of a folder", lambda: os.utime(at("dir"), (1, 1)))
    say("mode after", lambda: oct(os.stat(at("kept")).st_mode))
    say("truncate", lambda: os.truncate(at("kept"), 10))
    say("ftruncate to the same", lambda: os.ftruncate(cold, 64 * PAGE))
    say("ftruncate longer", lambda: os.ftruncate(cold, 100 * PAGE))
    say("size after", lambda: os.stat(at("kept")).st_size)
    for how in [0, 1, 3, 8, 16, 17, 32, 64, 2, 128, 8 | 1]:
        say(f"fallocate {how}", lambda: checked(libc.fallocate(cold, how, 4 * PAGE, 4 * PAGE)))
    say("fallocate of nothing", lambda: checked(libc.fallocate(cold, 0, 0, 0)))
    say("seek data", lambda: os.lseek(cold, 0, os.SEEK_DATA))
    say("seek hole", lambda: os.lseek(cold, 0, os.SEEK_HOLE))
    say("seek end", lambda: os.lseek(cold, 0, os.SEEK_END))
    say("fadvise", lambda: os.posix_fadvise(cold, 0, 0, os.POSIX_FADV_WILLNEED))
    say("flock", lambda: fcntl.flock(cold, fcntl.LOCK_EX))
    say("fiemap", lambda: ioctl(cold, 0xC020660B, fill=struct.pack("=QQLLLL", 0, 2**63, 0, 0, 1, 0)))
    say("FIBMAP", lambda: ioctl(cold, 1, 4))
    for name, fd in [("a file", cold), ("a folder", dirfd)]:
        say(f"get flags of {name}", lambda: ioctl(fd, 0x80086601))
        say(f"set flags of {name}", lambda: ioctl(fd, 0x40086602, fill=struct.pack("I", 0x80040)))
        say(f"get fsx of {name}", lambda: ioctl(fd, 0x801C581F))
        say(f"get version of {name}", lambda: ioctl(fd, 0x80087601))
        say(f"set version of {name}", lambda: ioctl(fd, 0x40087602))
        say(f"get label of {name}", lambda: ioctl(fd, 0x81009431))
        say(f"set label of {name}", lambda: ioctl(fd, 0x41009432, fill=b"label"))
        say(f"no request of {name}", lambda: ioctl(fd, 0x80087699))
    for flags in [1, 0]:
        say(f"remount {flags}", lambda: checked(libc.mount(None, os.fsencode(top), None, 32 | flags, None)))
    for line in open("/proc/self/mounts"):
        if line.split()[1] == top:
            print("shown:", [word for word in line.split()[3].split(",") if word in ("rw", "ro", "shutdown", "emergency_ro")])


main()
