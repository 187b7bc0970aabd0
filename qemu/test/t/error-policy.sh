# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: an error that is not logged, not recorded in the super block, or not followed by what errors= says; a call that comes to
# blocks: one
# something else than on ext4 after it

only_iomapfs
expect_errors

mkimg good
mount_fs good
mkdir "$MNT/dir"
fill "$MNT/keep" 5000
unmount
# One block that is certainly read: the directory's.
block=$(debugfs -R 'bmap /dir 0' good 2>/dev/null)

ino=$(debugfs -R 'stat /dir' good 2>/dev/null | sed -n 's/^Inode: \([0-9]*\).*/\1/p')

# recorded WHICH: the first or last error in the super block of img is that of the damaged block.
recorded() {
	dumpe2fs -h img >.head 2>/dev/null
	for line in "$1 error err: *EFSCORRUPTED" "$1 error inode #: *$ino" "$1 error block #: *$block" \
		"$1 error function: *[a-z_/]+\.rs" "$1 error line #: *[1-9]"; do
		grep -q -E "^$line" .head || fail "the super block says: $(grep "^$1 error" .head), expected: $line"
	done
}

damaged() {
	cp good img
	no_fsck img
	dd if=/dev/urandom of=img bs="$BS" seek="$block" count=1 conv=notrunc status=none
}

damaged
log_mark
mount_fs img errors=continue
expect_errno EUCLEAN ls "$MNT/dir"
log_since "iomapfs \(loop[0-9]+\): error: inode [0-9]+: block $block \(directory leaf\)"
! grep -q " $MNT .*emergency_ro" /proc/self/mounts || fail "emergency_ro in spite of errors=continue"
fill "$MNT/new" 5000 2
unmount
recorded First
recorded Last
dumpe2fs -h img 2>/dev/null | has_line '^FS Error count: *[1-9]' || fail "the error is not in the super block"
dumpe2fs -h img 2>/dev/null | has_line '^Filesystem state:.*with errors' || fail "the state does not tell of the error"
mount_fs img
same "$MNT/new" 5000 2
unmount

damaged
log_mark
mount_fs img errors=remount-ro
expect_errno EUCLEAN ls "$MNT/dir"
log_since 'read-only from now on'
grep -q " $MNT .*[ ,]rw,.*errors=remount-ro.*,emergency_ro" /proc/self/mounts || fail "/proc/mounts does not show emergency_ro"
expect_errno EROFS touch "$MNT/new"
same "$MNT/keep" 5000
mount -o remount,ro "$MNT"
! mount -o remount,rw "$MNT" 2>/dev/null || fail "can be written after an error with errors=remount-ro"
unmount
recorded Last
dumpe2fs -h img 2>/dev/null | has_line '^Filesystem state:.*with errors' || fail "the state does not tell of the error"

# What calls come to then, on files that were opened before, too. ext4 gives another errno for the block itself.
for type in ext4 iomapfs; do
	damaged
	mount_as "$type" img errors=remount-ro
	python3 - "$MNT" >"$type.said" <<-'P' || fail "$type: $(tail -n 3 "$type.said")"
		import ctypes, errno, mmap, os, sys
		libc = ctypes.CDLL(None, use_errno=True)
		libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
		def say(what, call):
		    try:
		        result = call()
		    except OSError as e:
		        result = errno.errorcode[e.errno]
		    print(f"{what}:", result if isinstance(result, str) else "ok", flush=True)
		def fallocate(mode):
		    if libc.fallocate(both, mode, 0, 4096):
		        raise OSError(ctypes.get_errno(), "")
		keep = sys.argv[1] + "/keep"
		both, reader = os.open(keep, os.O_RDWR), os.open(keep, os.O_RDONLY)
		try:
		    sys.exit(f"nothing is wrong with {os.listdir(sys.argv[1] + '/dir')}")
		except OSError:
		    pass
		for how in "O_RDONLY O_WRONLY O_RDWR O_PATH".split():
		    say(f"open {how}", lambda: os.open(keep, getattr(os, how)))
		say("open to cut off", lambda: os.open(keep, os.O_WRONLY | os.O_TRUNC))
		say("open a new one", lambda: os.open(keep + "-not", os.O_RDWR | os.O_CREAT))
		for name, fd in ("both", both), ("reader", reader):
		    say(f"{name}: map shared", lambda: mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ))
		    say(f"{name}: map private", lambda: mmap.mmap(fd, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE))
		    say(f"{name}: read", lambda: os.pread(fd, 4096, 0))
		say("map to store", lambda: mmap.mmap(both, 4096))
		say("write", lambda: os.pwrite(both, b"x", 0))
		say("write nothing", lambda: os.pwrite(both, b"", 0))
		say("cut off", lambda: os.ftruncate(both, 10))
		say("mode", lambda: os.fchmod(both, 0o600))
		say("times", lambda: os.utime(both, (1, 1)))
		for mode in 0, 3, 0x10, 8, 0x20:
		    say(f"fallocate {mode}", lambda: fallocate(mode))
	P
	unmount
done
diff -u ext4.said iomapfs.said >.diff || { cat .diff >&2; fail "not as on ext4"; }

# What the policy is comes from the super block where the options do not say.
damaged
tune2fs -e remount-ro img >/dev/null
mount_fs img
expect_errno EUCLEAN ls "$MNT/dir"
expect_errno EROFS touch "$MNT/new"
unmount

# Found while the volume is frozen: recorded all the same, when it is not any more.
for policy in continue remount-ro; do
	damaged
	mount_fs img "errors=$policy"
	fsfreeze -f "$MNT"
	snapshot img frozen
	no_fsck frozen
	expect_errno EUCLEAN ls "$MNT/dir"
	sleep 1
	# The end of a journal, of which remount-ro makes one, is told to the device at once.
	[ "$policy" = remount-ro ] || cmp img frozen || fail "the device changed while frozen"
	fsfreeze -u "$MNT"
	unmount
	recorded First
done
