#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Does the same random operations on names in two folders and compares what they come to.

usage: names-like.py FOLDER FOLDER SEED COUNT

The first difference ends it with status 1: another result of a system call, or another tree at the end.
"""

import ctypes
import errno
import os
import random
import stat
import sys

libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
AT_SYMLINK_FOLLOW = 0x400
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
O_TMPFILE = 0o20200000


def rename2(old, new, flags):
    if libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags):
        raise OSError(ctypes.get_errno(), "renameat2")


def tmpfile(folder, name):
    fd = os.open(folder, O_TMPFILE | os.O_RDWR, 0o640)
    try:
        source = os.fsencode("/proc/self/fd/%d" % fd)
        if libc.linkat(AT_FDCWD, source, AT_FDCWD, os.fsencode(name), AT_SYMLINK_FOLLOW):
            raise OSError(ctypes.get_errno(), "linkat")
    finally:
        os.close(fd)


def attempt(call):
    try:
        return call()
    except OSError as e:
        return errno.errorcode.get(e.errno, e.errno)


def describe(path, top):
    s = os.lstat(path)
    what = [oct(s.st_mode), s.st_uid, s.st_gid, s.st_rdev]
    if stat.S_ISLNK(s.st_mode):
        what += [s.st_size, os.readlink(path)]
    elif not stat.S_ISDIR(s.st_mode):
        what += [s.st_size, int(s.st_mtime) if s.st_mtime < 1.6e9 else 0]
    what.append(s.st_nlink)
    return what


def tree(top):
    found = {".": describe(top, top)}
    for folder, dirs, files in os.walk(top):
        for name in dirs + files:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, top)] = describe(path, top)
    return found


def main():
    tops, seed, count = sys.argv[1:3], int(sys.argv[3]), int(sys.argv[4])
    rnd = random.Random(seed)
    folders = [""]
    names = ["name%d" % i for i in range(40)] + ["a" * 255, "x" * 256, "\xff\xfe", "long-" * 20]

    def pick():
        folder = rnd.choice(folders[-12:] + folders[:2])
        name = rnd.choice(names) if rnd.random() < 0.7 else "f%05d" % rnd.randrange(3000)
        return os.path.join(folder, name)

    ops = {
        "file": 30, "mkdir": 8, "unlink": 12, "rmdir": 6, "rename": 20, "link": 8, "symlink": 6, "node": 4,
        "chmod": 4, "utime": 2, "tmpfile": 4, "list": 2, "stat": 10, "truncate": 2, "many": 1,
    }
    for step in range(count):
        op = rnd.choices(list(ops), ops.values())[0]
        p, q = pick(), pick()
        r = rnd.randrange(1 << 30)
        flags = rnd.choice([0, 0, 0, NOREPLACE, EXCHANGE, WHITEOUT, WHITEOUT | NOREPLACE])
        results = []
        for top in tops:
            a, b = os.path.join(top, p), os.path.join(top, q)
            if op == "file":
                def call(): return os.mknod(a, stat.S_IFREG | 0o600 | r % 64)
            elif op == "mkdir":
                def call(): return os.mkdir(a, 0o700 | r % 64)
            elif op == "unlink":
                def call(): return os.unlink(a)
            elif op == "rmdir":
                def call(): return os.rmdir(a)
            elif op == "rename":
                def call(): return rename2(a, b, flags)
            elif op == "link":
                def call(): return os.link(a, b, follow_symlinks=False)
            elif op == "symlink":
                def call(): return os.symlink("t" * (1 + r % 90), a)
            elif op == "node":
                kind = [stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK][r % 4]
                def call(): return os.mknod(a, kind | 0o644, os.makedev(r % 4000, r % 1000000))
            elif op == "chmod":
                def call(): return (os.chmod(a, r % 0o10000), os.chown(a, r % 70000, r % 90000))
            elif op == "utime":
                def call(): return os.utime(a, (r, r), follow_symlinks=False)
            elif op == "tmpfile":
                def call(): return tmpfile(os.path.dirname(a), b)
            elif op == "list":
                def call(): return sorted(os.listdir(os.path.dirname(a)))
            elif op == "truncate":
                def call(): return os.truncate(a, 0)
            elif op == "many":
                def call(): return [attempt(lambda: os.mknod("%s-%d" % (a, i), stat.S_IFREG | 0o600)) for i in range(60)]
            else:
                def call(): return describe(a, top)
            results.append(attempt(call))
        if results[0] != results[1]:
            sys.exit("step %d of seed %d: %s %r %r flags %d: %r is not %r"
                     % (step, seed, op, p, q, flags, results[0], results[1]))
        if op == "mkdir" and results[0] is None:
            folders.append(p)
        if step % 500 == 499:
            folders = [f for f in folders if os.path.isdir(os.path.join(tops[0], f))]
    trees = [tree(top) for top in tops]
    for path in sorted(set(trees[0]) | set(trees[1])):
        if trees[0].get(path) != trees[1].get(path):
            sys.exit("seed %d: at the end %r is %r, not %r"
                     % (seed, path, trees[0].get(path), trees[1].get(path)))
    print("%d operations, %d names at the end" % (count, len(trees[0])))


main()
