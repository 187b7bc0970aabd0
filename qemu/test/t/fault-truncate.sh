# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: blocks that a truncate could not free, behind the end of the file, and whose old bytes show when it grows again
# blocks: one

only_iomapfs
. "$TOP/qemu/test/faults.sh"
expect_errors

# Nine files: an end between pages, between blocks, in a block; three ways to grow, far behind the end.
cat >files.py <<'P'
import errno, mmap, os, sys
top, what = sys.argv[1:]
old, new = b"what was cut off".ljust(63) * 65, b"what is new".ljust(4096)
page = mmap.mmap(-1, 4096)
page[:] = new
for how in ("truncate", "buffered", "direct"):
    for size in (8192, 9216, 5000):
        # Behind all that was, and on the way.
        at = 65536 if size == 9216 else 122880
        flags = os.O_RDWR | os.O_CREAT if what in ("make", "cut", "grow") else os.O_RDONLY
        fd = os.open(f"{top}/{how}.{size}", flags | (os.O_DIRECT if (what, how) == ("grow", "direct") else 0))
        if what == "make":
            # Ten extents, more than an inode has room for: the tree has a block, that of the leaf.
            for i in range(10):
                os.pwrite(fd, old[:4096], i * 12288)
        elif what == "read":
            os.pread(fd, 122880, 0)
        elif what == "cut":
            try:
                os.ftruncate(fd, size)
                sys.exit(f"{how}.{size}: the leaf cannot be read, and the truncate succeeds")
            except OSError as e:
                if e.errno != errno.EIO:
                    sys.exit(f"{how}.{size}: {e}")
            if os.fstat(fd).st_size != size:
                sys.exit(f"{how}.{size}: the size after a truncate that failed")
        elif what == "grow":
            if how == "truncate":
                os.ftruncate(fd, at + 4096)
            elif os.pwrite(fd, page, at) != 4096:
                sys.exit(f"{how}.{size}: written in part")
        else:
            want = (old[:4096] + bytes(8192))[:size].ljust(at, b"\0") + (bytes(4096) if how == "truncate" else new)
            if os.pread(fd, 1 << 20, 0) != want:
                sys.exit(f"{how}, an end at {size}: what was cut off is there again, {what}")
        os.close(fd)
P
files() { python3 files.py "$MNT" "$1" || fail "$1"; }

mkimg -s 16M -N 64 -J size=4 img
mount_ext4 img
files make
unmount
for f in {truncate,buffered,direct}.{8192,9216,5000}; do echo "stat /$f"; done >asked
debugfs -f asked img 2>/dev/null | grep -o -E '\(ETB0\):[0-9]+' | cut -d: -f2 | sort -n >leaves
[ "$(wc -l <leaves)" = 9 ] || fail "where are the leaves? $(cat leaves)"
first=$(head -n 1 leaves) last=$(tail -n 1 leaves)
no_fsck img
mv img fresh

for cold in '' cold; do
	cp --sparse=always fresh img
	faulty_make img
	mount_fs "$FAULTY" errors=continue
	# What the files have is known, but the blocks that must be changed are not in memory.
	files read
	blockdev --flushbufs "$FAULTY"
	faulty error_reads "$first" $((last - first + 1))
	files cut
	faulty_well
	[ -z "$cold" ] || remount_fs "$FAULTY" errors=continue
	files grow
	files "${cold:-warm}"
	remount_fs "$FAULTY" ro
	files "${cold:-warm}, after a mount"
	unmount
	faulty_end
	e2fsck -fy img >.fsck 2>&1 || [ $? -le 2 ] || { cat .fsck; fail "e2fsck -fy"; }
	mount_fs img ro
	files "${cold:-warm}, after e2fsck"
	unmount
	fsck_clean img
done
