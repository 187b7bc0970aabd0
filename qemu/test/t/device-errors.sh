# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: bad sectors under data or metadata that give wrong bytes, success, another errno than EIO, or a lost neighbour
# blocks: one

only_iomapfs
expect_errors

mkimg img
mount_fs img
mkdir "$MNT/dir"
touch "$MNT/dir/name"
fill "$MNT/bad" 256K
fill "$MNT/good" 256K 2
unmount
dev=$(losetup -f --show img)
sectors=$(blockdev --getsz "$dev")
per=$((BS / 512))
block_of() { debugfs -R "bmap $1 $2" img 2>/dev/null | grep -o -E '^[0-9]+'; }
# bad_at BLOCK COUNT: from now on these blocks of the device cannot be read or written.
bad_at() {
	local first=$(($1 * per)) len=$(($2 * per))
	printf '%s\n' "0 $first linear $dev 0" "$first $len error" "$((first + len)) $((sectors - first - len)) linear $dev $((first + len))" >.table
	table
}
all_well() { echo "0 $sectors linear $dev 0" >.table; table; }
table() {
	if [ -e /dev/mapper/bad ]; then
		dmsetup suspend --noflush --nolockfs bad
		dmsetup load bad .table
		dmsetup resume bad
	else
		dmsetup create bad .table
	fi
}

# One asynchronous write whose second half fails, behind the end of the file: nothing of it may be there.
mount_ext4 img
touch "$MNT/append"
fallocate -n -l 4M "$MNT/append"
unmount
bad_at "$(block_of /append $((2097152 / BS)))" $((2097152 / BS))
mount_fs /dev/mapper/bad
text 4M >.append
[ "$("$TOP/qemu/test/aio-write.py" "$MNT/append" 0 4194304 <.append)" = EIO ] || fail "an asynchronous write to bad sectors"
[ "$(stat -c %s "$MNT/append")" = 0 ] || fail "the size after a failed write"
unmount
all_well
fsck_clean img
mount_fs /dev/mapper/bad
truncate -s 4M "$MNT/append"
cmp "$MNT/append" <(head -c 4M /dev/zero) || fail "bytes of a failed write"
rm "$MNT/append"
unmount

# Data that cannot be read: EIO there and nowhere else, buffered, direct and through a mapping.
at=$(block_of /bad $((65536 / BS)))
bad_at "$at" $((4096 / BS))
mount_fs /dev/mapper/bad
same "$MNT/good" 256K 2
expect_errno EIO cat "$MNT/bad"
expect_errno EIO dd if="$MNT/bad" of=/dev/null bs=4096 skip=16 count=1 iflag=direct
text 256K >.want
dd if="$MNT/bad" bs=4096 count=16 iflag=direct status=none | cmp -n 65536 - .want || fail "the good part before"
dd if="$MNT/bad" bs=4096 skip=17 iflag=direct status=none | cmp - <(tail -c +69633 .want) || fail "the good part behind"
# Data that cannot be written: fsync says so once, a direct write at once; the rest of the file system goes on.
expect_errno EIO dd if=.want of="$MNT/bad" bs=4096 count=1 seek=16 conv=notrunc,fsync
expect_errno EIO dd if=.want of="$MNT/bad" bs=4096 count=1 seek=16 oflag=direct conv=notrunc
fill "$MNT/new" 100000 3
sync "$MNT/new"
mkdir "$MNT/more"
all_well
drop_caches
same "$MNT/new" 100000 3
same "$MNT/good" 256K 2
dd if=.want of="$MNT/bad" bs=4096 count=1 seek=16 skip=16 conv=notrunc,fsync status=none
same "$MNT/bad" 256K
unmount

# A directory that cannot be read: EIO and a line that names the block.
at=$(block_of /dir 0)
bad_at "$at" 1
log_mark
mount_fs /dev/mapper/bad errors=continue
expect_errno EIO ls "$MNT/dir"
same "$MNT/good" 256K 2
unmount
log_since "iomapfs \(dm-[0-9]+\).*$at"
all_well

# A journal that cannot be written: no fsync succeeds any more, nothing more is written; what was synced stays.
at=$(block_of '<8>' $((16384 / BS)))
mount_fs /dev/mapper/bad
fill "$MNT/synced" 200000 4
sync "$MNT/synced" "$MNT"
bad_at "$at" 1000
log_mark
failed=''
for i in $(seq 1 300); do
	fill "$MNT/j$i" 100 2>/dev/null && sync "$MNT/j$i" 2>/dev/null || { failed=$i; break; }
done
[ -n "$failed" ] || fail "300 files were synced to a journal that cannot be written"
expect_errno EROFS mkdir "$MNT/refused"
log_since 'iomapfs \(dm-[0-9]+\): .*read-only from now on'
same "$MNT/synced" 200000 4
unmount
all_well
mount_fs /dev/mapper/bad
same "$MNT/synced" 200000 4
same "$MNT/good" 256K 2
for i in $(seq 1 $((failed - 1))); do same "$MNT/j$i" 100; done
unmount
dmsetup remove bad
losetup -d "$dev"
# The abort is in the super block's error record: that is to be mended, and nothing else.
e2fsck -fp img >.fsck || [ $? -eq 1 ] || fail "e2fsck: $(cat .fsck)"
