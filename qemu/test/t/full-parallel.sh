# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: space that parallel writers lose, give out twice, or are refused while it is there, on a full disk; lost data
# parallel: writers of all sorts

mkimg -s 24M -N 512 -m 0 -J size=4 img
mount_fs img
sync
empty=$(free_blocks)
all=$(available_blocks)
for round in 1 2; do
	# Writers of all sorts until there is no space for any; what was taken must be there, byte for byte.
	mkdir "$MNT/d"
	python3 - "$MNT/d" "$SEED" <<'P'
import errno, mmap, os, random, signal, sys
top, seed = sys.argv[1], int(sys.argv[2])

def pattern(who, at, length):
    return b"".join(b"%s %014d\n" % (who.encode().ljust(17)[:17], at + i) for i in range(0, length, 33))[:length].ljust(length, b".")

def writer(who, how, rng):
    """Writes until ENOSPC, twice more, then syncs. Then everything is read and compared."""
    path = f"{top}/{who}"
    flags = os.O_RDWR | os.O_CREAT | (os.O_DIRECT if how == "direct" else 0) | (os.O_APPEND if how == "append" else 0)
    fd = os.open(path, flags, 0o644)
    taken, refused, at = [], 0, 0
    buffer = mmap.mmap(-1, 65536)
    files = 0
    while refused < 3:
        length = 4096 * rng.choice((1, 2, 8, 16))
        data = pattern(who, at, length)
        buffer[:length] = data
        try:
            if how == "create":
                files += 1
                small = os.open(f"{path}.{files}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
                try:
                    done = os.pwrite(small, data, 0)
                finally:
                    os.close(small)
            elif how == "mapped":
                # A store that finds no space would end the process: so the blocks are written before they are mapped.
                done = os.pwrite(fd, bytes(length), at)
                if done == length:
                    with mmap.mmap(fd, length, offset=at) as view:
                        view[:] = data
            else:
                done = os.pwrite(fd, memoryview(buffer)[:length], at)
        except OSError as e:
            if e.errno != errno.ENOSPC:
                return f"{who}: {e}"
            refused += 1
            continue
        if how == "mapped" and done != length:
            os.ftruncate(fd, at)
            continue
        taken.append((files, at, data[:done]))
        at = (at + done) // 4096 * 4096 if how == "direct" else at + done
        if how == "direct" and done % 4096:
            break
    os.fsync(fd)
    plain = os.open(path, os.O_RDONLY)
    for n, offset, data in taken:
        if how == "create":
            with open(f"{path}.{n}", "rb") as f:
                got = f.read()
        else:
            got = os.pread(plain, len(data), offset)
        if got != data:
            return f"{who}: {len(data)} bytes at {offset} of file {n} are not what was written"
    return None

children = []
for n, how in enumerate(("buffered", "direct", "append", "mapped", "create", "buffered")):
    child = os.fork()
    if child == 0:
        signal.alarm(200)
        try:
            wrong = writer(f"{how}{n}", how, random.Random(seed * 100 + n))
        except Exception as e:
            wrong = f"{how}: {type(e).__name__} {e}"
        if wrong:
            print(wrong, flush=True)
        os._exit(1 if wrong else 0)
    children.append(child)
if any([os.waitpid(child, 0)[1] for child in children]):
    sys.exit("a writer has failed")
P
	sync
	left=$(free_blocks)
	used=$((empty - left))
	# A large file and a small one, until there is not one block.
	expect_errno ENOSPC dd if=/dev/zero of="$MNT/rest" bs="$BS" status=none conv=fsync
	[ "$(available_blocks)" -le 4 ] || fail "round $round: ENOSPC with $(available_blocks) blocks free"
	if [ "$round" = 1 ]; then
		# What is there is there for the others, too, and after a mount.
		tree "$MNT" >before
		remount_fs img
		tree "$MNT" >after
		diff -u before after >&2 || fail "files of a full disk differ after a mount"
	fi
	rm -r "$MNT/d" "$MNT/rest"
	is_free "$empty" "round $round: all that was written is gone, $used blocks"
done
# The same amount can be had again, by one writer: what is used for the tree of extents is little.
for round in 1 2; do
	expect_errno ENOSPC dd if=/dev/zero of="$MNT/all" bs=1M oflag=direct status=none
	expect_errno ENOSPC dd if=/dev/zero of="$MNT/all" bs="$BS" oflag=append conv=notrunc status=none
	sync
	blocks=$(($(stat -c %s "$MNT/all") / BS))
	[ "$blocks" -ge $((all - 8)) ] || fail "$blocks blocks can be written of $all"
	[ "${first:=$blocks}" = "$blocks" ] || fail "first $first blocks could be written, now $blocks"
	rm "$MNT/all"
	is_free "$empty"
done
crosscheck img
