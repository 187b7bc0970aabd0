# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: an atomic write (RWF_ATOMIC) of which a power cut leaves a part, that is refused although statx promises it, or done
# although it is not promised; that goes elsewhere although the device could do it in place
# guest: alone --nvme 64M,logical_block_size=1024,physical_block_size=1024 --nvme 64M,logical_block_size=4096,physical_block_size=4096 --append scsi_debug.add_host=1 --append scsi_debug.atomic_wr=1 --append scsi_debug.atomic_wr_max_length=32 --append scsi_debug.dev_size_mb=64

only_iomapfs
tool=$TOP/qemu/test/atomic.py
# Of a device that has no such limits, and of one with the limit of a block. Linux takes the limit of a controller (AWUPF) for
# none, and QEMU has no other; the SCSI test driver can do more than a block at once, 16 KiB here.
for disk in /sys/block/nvme*; do
	[ "$(cat "$disk/queue/logical_block_size")" != "$BS" ] || nvme=/dev/${disk##*/}
done
[ "$(cat "/sys/block/${nvme#/dev/}/queue/atomic_write_unit_max_bytes")" = "$BS" ] || fail "the device has other limits"
mke2fs -q -F -t ext4 -b "$BS" "$nvme"
mkimg img

# What is refused, as ext4 refuses it; more is done here.
mount_ext4 "$nvme"
python3 "$tool" refused "$MNT/e" "$BS" >ext4
unmount
mount_fs "$nvme"
python3 "$tool" refused "$MNT/f" "$BS" >ours
cmp ext4 ours || fail "refused: $(diff ext4 ours)"
[ "$(python3 "$tool" statx "$MNT/f")" = "$BS 65536 $BS 1" ] || fail "statx: $(python3 "$tool" statx "$MNT/f")"
python3 "$tool" promised "$MNT/p" "$BS"
# One block is written in place, where that is durable.
python3 "$tool" place "$MNT/place" "$BS" in-place
crosscheck "$nvme"
scsi=$(grep -l scsi_debug /sys/block/sd*/device/model)
scsi=${scsi#/sys/block/} scsi=/dev/${scsi%%/*}
mke2fs -q -F -t ext4 -b "$BS" "$scsi"
mount_fs "$scsi"
[ "$(python3 "$tool" statx "$MNT/p" new)" = "$BS 65536 16384 1" ] || fail "statx: $(python3 "$tool" statx "$MNT/p")"
python3 "$tool" pieces "$MNT/pieces" "$BS" "$scsi" 16384
python3 "$tool" promised "$MNT/p" "$BS"
crosscheck "$scsi"
mount_fs img
[ "$(python3 "$tool" statx "$MNT")" = none ] || fail "statx of a directory"
[ "$(python3 "$tool" statx "$MNT/p" new)" = "$BS 65536 0 1" ] || fail "statx: $(python3 "$tool" statx "$MNT/p")"
python3 "$tool" promised "$MNT/p" "$BS"
python3 "$tool" place "$MNT/place" "$BS" elsewhere

# Over all that a file can have in one place: data, holes, blocks without data, and what is in memory only.
python3 "$tool" mixed "$MNT/mixed" "$BS" .want
cmp .want "$MNT/mixed"
sync
cmp .want "$MNT/mixed"
remount_fs img
cmp .want "$MNT/mixed"

# The power is cut: all is there, or what was there before. Nothing commits by itself while the device is copied.
crosscheck img
mount_fs img commit=1000
python3 "$tool" prepare "$MNT/cut" "$BS" .old
sync
python3 "$tool" write "$MNT/cut" "$BS" .new
snapshot img written
python3 "$tool" write "$MNT/cut" "$BS" .new durable
snapshot img durable
crosscheck img
for cut in written durable; do
	mount_fs "$cut"
	for n in 1 2 3 4 5 6 7; do
		cmp -s ".old$n" "$MNT/cut$n" || cmp -s ".new$n" "$MNT/cut$n" ||
			fail "$cut: write $n: $(od -A d -c "$MNT/cut$n" | head)"
	done
	[ "$cut" != durable ] || cmp .new1 "$MNT/cut1"
	unmount
done
