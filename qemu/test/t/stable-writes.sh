# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a device that works out parity or a checksum of data which changes meanwhile, as it is in the memory of who writes it
# blocks: 4096

# ext4 hands the memory itself to such a device.
only_iomapfs
mkimg img
loop=$(losetup -f --show img)
sectors=$(blockdev --getsz "$loop")
# Each write takes 300 ms, after which the data is fetched.
dmsetup create stable --table "0 $sectors delay $loop 0 0 $loop 0 300"
disk=/dev/mapper/stable
echo 1 >"/sys/dev/block/$(stat -c %Hr:%Lr "$disk")/queue/stable_writes"
mount_fs "$disk"
fill "$MNT/written" 256K
truncate -s 256K "$MNT/hole"
sync
text 256K >.text
for name in written hole behind; do
	[ "$("$TOP/qemu/test/aio-write.py" "$MNT/$name" 0 262144 spoil <.text)" = 262144 ] || fail "$name: the write"
	drop_caches
	cmp .text "$MNT/$name" || fail "$name: what was put into the memory later is in the file"
done
unmount
dmsetup remove stable
losetup -d "$loop"
