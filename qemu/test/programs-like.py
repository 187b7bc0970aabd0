#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# programs-like.py FOLDER work|again: uses programs that people use on a file system, in FOLDER, where one is mounted, and prints what
# they say and leave: a line for each, to be compared with what they do on another. "again" looks at what "work" has left.

import hashlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys

from calls import syscall

RENAMEAT2, LINKAT, AT_FDCWD, RENAME_WHITEOUT, AT_SYMLINK_FOLLOW = 316, 265, -100, 4, 0x400
O_TMPFILE = os.O_TMPFILE | os.O_RDWR
top, step = sys.argv[1:]
beside = top + "-beside"
os.makedirs(beside, exist_ok=True)
os.chdir(top)
os.environ.update(
    HOME=beside, LC_ALL="C", GIT_CONFIG_NOSYSTEM="1", GIT_AUTHOR_NAME="a", GIT_AUTHOR_EMAIL="a@b", GIT_COMMITTER_NAME="a",
    GIT_COMMITTER_EMAIL="a@b", GIT_AUTHOR_DATE="2026-01-01T00:00:00Z", GIT_COMMITTER_DATE="2026-01-01T00:00:00Z",
)


def run(*command, **more):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    assert done.returncode == 0, f"{command}: {done.stdout}"
    return done.stdout


def write(path, text, mode="w"):
    with open(path, mode) as file:
        file.write(text)


def read(path):
    with open(path) as file:
        return file.read()


def git():
    """A repository, its packs, and a clone with hard links to them."""
    if step == "work":
        os.mkdir("project")
        run("git", "init", "-q", "-b", "main", "project")
        for n in range(3):
            for i in range(20):
                write(f"project/file-{i}", f"{i} {n}\n" * (100 + i))
            os.symlink("file-0", f"project/link-{n}")
            run("git", "add", "-A", cwd="project")
            run("git", "commit", "-q", "-m", f"commit {n}", cwd="project")
        run("git", "mv", "file-1", "moved", cwd="project")
        run("git", "commit", "-q", "-m", "moved", cwd="project")
        run("git", "-c", "pack.threads=1", "gc", "-q", "--prune=now", cwd="project")
        run("git", "clone", "-q", "project", "clone")
        run("git", "-c", "pack.threads=1", "clone", "-q", "--no-local", "project", "fetched")
    for name in ["project", "clone", "fetched"]:
        print(name, run("git", "rev-parse", "HEAD", cwd=name).strip())
        print(name, "status:", run("git", "status", "--porcelain", cwd=name))
        print(name, "fsck:", run("git", "fsck", "--strict", "--no-progress", cwd=name))
    packs = [os.stat(f"project/.git/objects/pack/{name}").st_nlink for name in sorted(os.listdir("project/.git/objects/pack"))]
    print("links of packs:", packs)


def database():
    """A database with a log (WAL), which several use by a shared mapping, and one of them dies."""
    if step == "work":
        ours = sqlite3.connect("data.db", isolation_level=None)
        print("mode:", ours.execute("pragma journal_mode=wal").fetchone())
        ours.execute("create table t (n integer primary key, value blob)")
        for n in range(200):
            ours.execute("insert into t values (?, ?)", (n, b"%04d" % n * (n % 50)))
        child = os.fork()
        if child == 0:
            theirs = sqlite3.connect("data.db", isolation_level=None)
            theirs.execute("begin immediate")
            theirs.execute("pragma cache_size=1")
            theirs.execute("update t set value = zeroblob(5000)")
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        print("log:", os.path.getsize("data.db-wal") > 0, os.path.getsize("data.db-shm"))
        other = sqlite3.connect("data.db")
        print("seen by another:", other.execute("select count(*), sum(length(value)) from t").fetchone())
        print("checkpoint:", ours.execute("pragma wal_checkpoint(truncate)").fetchone()[0])
        ours.execute("update t set value = 'later' where n < 5")
        # Nobody closes it: the log stays.
        sys.stdout.flush()
        return
    other = sqlite3.connect("data.db")
    print("check:", other.execute("pragma integrity_check").fetchone())
    print("after all:", other.execute("select count(*), sum(length(value)) from t").fetchone())
    other.close()
    print("files:", sorted(name for name in os.listdir(".") if name.startswith("data.db")))


def inner():
    """An image on the file system, with a file system of its own, also without the page cache."""
    if step == "work":
        with open("inner.img", "w") as file:
            file.truncate(16 << 20)
        run("mke2fs", "-q", "-F", "-t", "ext4", "-U", "11111111-2222-3333-4444-555555555555", "inner.img")
    for direct in ["off", "on"]:
        device = run("losetup", "-f", "--show", f"--direct-io={direct}", "inner.img").strip()
        run("mount", "-t", "ext4", device, beside)
        path = f"{beside}/file-{direct}"
        if step == "work":
            write(path, f"inside {direct}\n" * 100000)
            print("inner free:", os.statvfs(beside).f_bfree)
        print("inner:", hashlib.sha256(read(path).encode()).hexdigest())
        run("umount", beside)
        run("losetup", "-d", device)
    run("e2fsck", "-fn", "inner.img")


def project():
    """A program of three files; what is newer than what is told by their times."""
    if step == "work":
        os.mkdir("c")
        write("c/one.c", '#include "all.h"\nint one(void) { return 1; }\n')
        write("c/main.c", '#include <stdio.h>\n#include "all.h"\nint main(void) { printf("%d\\n", one() + NUMBER); return 0; }\n')
        write("c/all.h", "int one(void);\n#define NUMBER 41\n")
        write("c/Makefile", "all: main\nmain: one.o main.o\n\tgcc -o $@ one.o main.o\none.o main.o: all.h\n%.o: %.c\n\tgcc -O1 -c -o $@ $<\n")
        print("make:", run("make", "-s", "-j2", cwd="c"))
        write("c/main.c", "/* changed */\n", "a")
        print("made again:", run("make", cwd="c"))
    print("runs:", run("./c/main"))
    print("nothing to do:", run("make", cwd="c"))


def shown(folder, overlay=False):
    """All below it; of the layer of an overlay what its attributes say, but no handles."""
    for where, folders, files in sorted(os.walk(folder)):
        folders.sort()
        for name in sorted(folders + files):
            path = f"{where}/{name}"
            s = os.lstat(path)
            line = [path, stat.filemode(s.st_mode), s.st_nlink if stat.S_ISREG(s.st_mode) else "", s.st_uid]
            if stat.S_ISREG(s.st_mode):
                line.append(hashlib.md5(open(path, "rb").read()).hexdigest()[:8])
            elif stat.S_ISCHR(s.st_mode):
                line.append(s.st_rdev)
            for attribute in os.listxattr(path, follow_symlinks=False):
                value = os.getxattr(path, attribute, follow_symlinks=False)
                handle = any(attribute.endswith(end) for end in [".origin", ".upper", ".uuid"])
                line.append(f"{attribute}={'...' if handle else value}")
            print(*line)


def overlay():
    """A layer above another: white-outs, opaque and moved folders, copies of hard links."""
    if not any("overlay" in line for line in open("/proc/filesystems")):
        return
    options = "lowerdir=lower,upperdir=upper,workdir=work,index=on,redirect_dir=on,xino=off"
    if step == "work":
        for name in ["lower", "lower/kept", "lower/moved", "lower/moved/deep", "lower/emptied", "upper", "work"]:
            os.mkdir(name)
        for name in ["gone", "changed", "kept/a", "moved/deep/b", "emptied/c", "hard", "owned", "renamed"]:
            write(f"lower/{name}", f"lower {name}\n" * 1000)
        os.link("lower/hard", "lower/hard-2")
        os.setxattr("lower/owned", "user.kept", b"k" * 300)
    run("mount", "-t", "overlay", "-o", options, "overlay", beside)
    if step == "work":
        os.chdir(beside)
        os.unlink("gone")
        os.rename("moved", "has-moved")
        os.unlink("emptied/c")
        os.rmdir("emptied")
        os.mkdir("emptied")
        write("emptied/new", "new\n")
        write("changed", "more\n", "a")
        write("hard", "more\n", "a")
        print("one file:", os.stat("hard").st_ino == os.stat("hard-2").st_ino, len(read("hard-2")))
        os.chown("owned", 7, 8)
        os.rename("renamed", "kept/renamed")
        fd = os.open(".", O_TMPFILE, 0o640)
        os.write(fd, b"had no name\n")
        syscall(LINKAT, AT_FDCWD, f"/proc/self/fd/{fd}".encode(), AT_FDCWD, b"kept/named", AT_SYMLINK_FOLLOW)
        os.close(fd)
        os.chdir(top)
    shown(beside)
    run("umount", beside)
    shown("upper")
    print("index:", len(os.listdir("work/index")), "left in work:", os.listdir("work/work"))
    if step == "work":
        write("whiteout", "w")
        syscall(RENAMEAT2, AT_FDCWD, b"whiteout", AT_FDCWD, b"moved-away", RENAME_WHITEOUT)
        print("left behind:", stat.filemode(os.lstat("whiteout").st_mode), os.lstat("whiteout").st_rdev)


for part in [git, database, inner, project, overlay]:
    part()
