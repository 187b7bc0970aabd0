# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: blocks that ext4 has preallocated and that show old bytes, or lose what is written into them, whichever way
# parallel: conversion by many requests at once

only_iomapfs

# The device holds other bytes where the blocks are.
truncate -s 0 img
head -c 64M /dev/zero | tr '\0' X >img
mke2fs -q -F -t ext4 -b "$BS" -E nodiscard img
realpath img >>.images
mount_ext4 img nodiscard
for f in dio aio buffered mapped fio crowd; do
	fallocate -l 4M "$MNT/$f"
	truncate -s 4M ".$f"
done
# Behind the end, too.
touch "$MNT/behind"
fallocate -n -l 4M "$MNT/behind"
: >.behind
unmount
text 4M >.text
mount_fs img
for f in dio aio buffered mapped crowd behind; do cmp ".$f" "$MNT/$f" || fail "$f, not yet written"; done

# put FILE OFFSET LENGTH [dd option...]
put() {
	local f=$1 at=$2 len=$3
	shift 3
	dd if=.text of="$MNT/$f" bs="$len" count=1 skip="$at" seek="$at" iflag=skip_bytes oflag=seek_bytes${1:+,$1} conv=notrunc status=none
	dd if=.text of=".$f" bs="$len" count=1 skip="$at" seek="$at" iflag=skip_bytes oflag=seek_bytes conv=notrunc status=none
}
put dio 0 "$BS" direct
put dio $((BS * 7)) $((BS * 3)) direct
put dio $((BS * 20 + 512)) 512 direct
put dio $((BS * 30 + 512)) $((BS * 2)) direct
put dio 3145728 1048576 direct
for at in 0 1048576 2097152; do
	[ "$("$TOP/qemu/test/aio-write.py" "$MNT/aio" $at 786432 <.text)" = 786432 ] || fail "asynchronous write at $at"
	dd if=.text of=.aio bs=786432 count=1 skip=$at seek=$at iflag=skip_bytes oflag=seek_bytes conv=notrunc status=none
done
put buffered 0 1
put buffered $((BS * 5 - 1)) 2
put buffered 1000000 1000000
put buffered 4194303 1
python3 - "$MNT/mapped" .mapped <<'P'
import mmap, sys
for path in sys.argv[1:]:
    with open(path, "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
        for at in (0, 5000, 99999, 1 << 20, (4 << 20) - 1):
            m[at : at + 1] = b"m"
        m[2 << 20 : (2 << 20) + 70000] = b"n" * 70000
P
put behind 0 $((BS * 2)) direct
put behind $((BS * 9)) 1000
put behind $((BS * 40)) "$BS" direct
# One block in two, then the others: the tree grows and gets small again.
blocks=$((4194304 / BS))
fio_job --name=crowd --filename=crowd --rw=randwrite --bs="$BS" --size=4M --direct=1 --ioengine=libaio --iodepth=8 \
	--number_ios=$((blocks / 2)) --fallocate=none --overwrite=0 --verify=crc32c --do_verify=1
fio_job --name=fio --filename=fio --rw=randwrite --bs=4k --size=4M --direct=1 --ioengine=libaio --iodepth=8 --fallocate=none \
	--verify=crc32c --do_verify=1
all() {
	for f in dio aio buffered mapped behind; do cmp ".$f" "$MNT/$f" || fail "$f $1"; done
}
all 'from the cache'
drop_caches
all 'from the device'
# What was not written stays zeros when the end moves over it.
truncate -s 4M "$MNT/behind" .behind
all 'with the end moved'
remount_fs img
all 'after a remount'
crosscheck img
