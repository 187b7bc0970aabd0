# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a device that is taken away under load, after which somebody waits for ever, cannot unmount, or is told of success
# blocks: 4096
# seconds: 120
# parallel: four writers

only_iomapfs
. "$TOP/qemu/test/faults.sh"
expect_errors
disk=/dev/gone

# A disk in memory can be unplugged.
plug() {
	null_disk gone size=32
	mke2fs -q -F -t ext4 -b "$BS" -J size=4 "$disk"
}
unplug() { echo 0 >"$null_disks/gone/power"; }
# back IMAGE: what the disk has is copied, then there is no such disk.
back() {
	echo 1 >"$null_disks/gone/power"
	dd if="$disk" of="$1" bs=1M status=none
	unmade
}
unmade() { rmdir "$null_disks/gone"; }

# load: writers of all sorts, each until it is told that the device is gone. They must be told.
load() {
	python3 - "$MNT" "$1" <<'P'
import errno, mmap, os, signal, sys, time
top, how = sys.argv[1:]
signal.alarm(60)
allowed = {errno.EIO, errno.EROFS, errno.ENODEV, errno.ENXIO}
deadline = time.monotonic() + 40
piece = mmap.mmap(-1, 16384)
piece.write(b"x" * 16384)
n = 0
while time.monotonic() < deadline:
    n += 1
    name = f"{top}/{how}{n % 40}"
    try:
        fd = os.open(name, os.O_RDWR | os.O_CREAT | (os.O_DIRECT if how == "direct" else 0), 0o644)
        try:
            os.pwrite(fd, piece, n % 8 * 16384)
            if how == "mapped":
                os.ftruncate(fd, 16384)
                with mmap.mmap(fd, 16384) as view:
                    view[:4096] = b"m" * 4096
                    view.flush()
            if how != "direct" or n % 8 == 0:
                os.fsync(fd)
        finally:
            os.close(fd)
        if how == "names":
            os.rename(name, name + "x")
            os.unlink(name + "x")
    except OSError as e:
        if e.errno == errno.ENOENT and how == "names":
            continue
        if e.errno not in allowed:
            raise SystemExit(f"{how} {n}: {e}")
        sys.exit(0)
raise SystemExit(f"{how}: nobody said that the device is gone")
P
}

for held in 1 2; do
	plug
	mount_fs "$disk"
	fill "$MNT/kept" 100K
	sync "$MNT/kept"
	# Their deletion is durable, and they cannot be freed any more.
	exec 8>"$MNT/held1" 9>"$MNT/held$held"
	echo x >&8
	rm "$MNT/held"*
	sync "$MNT"
	pids=()
	for how in buffered direct mapped names; do
		load "$how" &
		pids+=($!)
	done
	for how in buffered direct mapped; do within 60 [ -e "$MNT/${how}9" ]; done
	sleep 0."$((held * 4))"
	log_mark
	unplug
	for pid in "${pids[@]}"; do
		status=0
		wait "$pid" || status=$?
		# A store that finds no block ends in SIGBUS.
		[ "$status" = 0 ] || [ "$status" = 135 ] || fail "a writer ended with status $status"
	done
	log_since 'iomapfs \([a-z0-9]+\): the device is gone'
	! touch "$MNT/new" 2>/dev/null || fail "a file was made without a device"
	! sync "$MNT" 2>/dev/null || fail "fsync says that it is durable, without a device"
	grep -q " $MNT .*shutdown" /proc/self/mounts || fail "/proc/mounts does not show the shutdown"
	exec 8>&- 9>&-
	unmount
	back img
	rmmod iomapfs
	insmod "$MODULE"
	recovered img
	mount_fs img
	same "$MNT/kept" 100K
	crosscheck img
done

# All that was synced before it went is there when it comes back.
for seed in 1 2 3; do
	plug
	mount_fs "$disk"
	"$TOP/qemu/test/synced.py" work state "$MNT" "$seed" 90 80 "echo 0 >$null_disks/gone/power" || fail "SEED=$seed: the workload"
	unmount
	back img
	recovers img state "SEED=$seed"
done

# Nothing is under way, and nothing was ever written; then a mount that is read-only.
for options in '' ro; do
	plug
	mount_fs "$disk" "$options"
	unplug
	! sync -f "$MNT/lost+found" || [ -n "$options" ] || fail "syncfs says that it is durable, without a device"
	ls "$MNT" >/dev/null 2>&1 || :
	unmount
	unmade
done
