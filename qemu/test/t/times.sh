# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: times that a write or a read changes and that are lost by fsync, sync, unmount or when they wait for long; a
# transaction for each tick of the clock; EAGAIN for a write that must not wait because a time is old

# ext4 begins a transaction for each change of times.
only_iomapfs
mkimg img
mount_fs img commit=1
fill "$MNT/f" 64K
fill "$MNT/g" 64K
sync

# old FILE: with times that no write can have, and all of it on disk.
old() {
	touch -d @1000000000 "$1"
	sync "$1"
}
# write FILE: into what is there, past the page cache.
write() { dd if=/dev/zero of="$1" bs=4096 count=1 seek=1 oflag=direct conv=notrunc status=none; }
# on_disk FILE: the time of the last change, as a power cut now would leave it.
on_disk() {
	snapshot img cut
	e2fsck -fy cut >cut.fsck 2>&1 || [ $? -le 1 ] || fail "$(cat cut.fsck)"
	debugfs -R "stat $1" cut 2>/dev/null | sed -n 's/^ *mtime: 0x\([0-9a-f]*\).*/\1/p'
}
is_old() { [ "$(on_disk "$1")" = 3b9aca00 ]; }

# A tick of the clock is no transaction: the journal commits each second, and what is in it.
old "$MNT/f"
old "$MNT/g"
for _ in $(seq 30); do
	write "$MNT/f"
	sleep 0.1
done
is_old f || fail "a write that changes times only begins a transaction"
# fdatasync leaves them, fsync does not.
dd if=/dev/zero of="$MNT/f" bs=4096 count=1 oflag=direct conv=notrunc,fdatasync status=none
is_old f || fail "fdatasync writes times"
sync "$MNT/f"
! is_old f || fail "fsync has left the time in memory"
is_old g || fail "the time of another file"
# So do sync and unmount.
write "$MNT/g"
sync
! is_old g || fail "sync has left the time in memory"
old "$MNT/g"
write "$MNT/g"
remount_fs img commit=1
[ "$(stat -c %Y "$MNT/g")" != 1000000000 ] || fail "unmount has left the time in memory"
# Nobody asks for it: it waits as long as dirty pages do.
# waits EXPIRE WRITEBACK: how long, in hundredths of a second, what is dirty waits.
waits() {
	echo "$1" >/proc/sys/vm/dirty_expire_centisecs
	echo "$2" >/proc/sys/vm/dirty_writeback_centisecs
}
waits 50 50
old "$MNT/g"
write "$MNT/g"
for _ in $(seq 40); do
	is_old g || break
	sleep 0.5
done
! is_old g || fail "the time stays in memory for ever"
waits 3000 500

# A change of times is no reason to wait.
python3 - "$MNT" <<'P'
import mmap, os, sys, time
path = sys.argv[1] + "/f"
page = mmap.mmap(-1, 4096)
for flags in (0, os.O_DIRECT):
    f = os.open(path, os.O_RDWR | flags)
    os.pwritev(f, [page], 8192)
    refused = 0
    for i in range(200):
        os.utime(path, (1000, 1000))
        try:
            os.pwritev(f, [page], 8192, os.RWF_NOWAIT)
        except BlockingIOError:
            # Somebody else had a lock just then.
            refused += 1
            continue
        if os.fstat(f).st_mtime < time.time() - 1000:
            sys.exit("a write that did not wait has left the time as it was")
    if refused > 100:
        sys.exit(f"{refused} of 200 writes to a file with old times are refused")
P

# With lazytime, a sync brings them to the disk, and nothing else.
mount -o remount,lazytime "$MNT"
old "$MNT/f"
write "$MNT/f"
sleep 3
is_old f || fail "lazytime: the time was written"
sync
! is_old f || fail "lazytime: sync has left the time in memory"
old "$MNT/f"
write "$MNT/f"
sync "$MNT/f"
! is_old f || fail "lazytime: fsync has left the time in memory"
crosscheck img
