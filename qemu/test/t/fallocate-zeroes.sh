# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: FALLOC_FL_WRITE_ZEROES after which a file has other bytes, another size or other blocks than on ext4, on a device that
# can unmap to zeros; blocks that are written and show what the device had there
# guest: alone --append scsi_debug.add_host=1 --append scsi_debug.delay=0 --append scsi_debug.lbpws=1 --append scsi_debug.dev_size_mb=130

# N random sequences; 20,000 by hand.
: "${N:=20}"
for limit in /sys/block/*/queue/write_zeroes_unmap_max_bytes; do
	[ -e "$limit" ] && read -r bytes <"$limit" && [ "$bytes" -gt 0 ] || continue
	disk=${limit%/queue/*}
	break
done
[ -n "${disk:-}" ] || skip "the guest has no disk that can unmap to zeros"
half=65536
for nr in 0 1; do
	dmsetup create "half$nr" --table "0 $((2 * half)) linear /dev/${disk##*/} $((2 * half * nr))"
	# What blocks have that nobody has made zero.
	head -c 64M /dev/zero | tr '\0' '\245' | dd of="/dev/mapper/half$nr" bs=1M iflag=fullblock status=none
	mke2fs -q -F -t ext4 -b "$BS" "/dev/mapper/half$nr"
done
mount_fs /dev/mapper/half0
mount_ext4 /dev/mapper/half1 '' /run/mnt/other
python3 "$TOP/qemu/test/fallocate-like.py" "$MNT" /run/mnt/other "$BS" "$SEED" "$N"

# What was shown is what the device has, and stays.
file=$MNT/file
python3 - "$file" "$BS" <<'END'
import ctypes, os, sys
block = int(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.pwrite(fd, b"x" * (5 * block), 0)
assert libc.fallocate(fd, 128, 3 * block + 5, 1000 * block) == 0, os.strerror(ctypes.get_errno())
os.fsync(fd)
END
size=$((1003 * BS + 5))
filefrag -v "$file" >words
! grep -q unwritten words || fail "blocks stay unwritten: $(cat words)"
mount -o remount,ro "$MNT"
remount_fs /dev/mapper/half0
{
	head -c $((3 * BS + 5)) /dev/zero | tr '\0' x
	head -c $((1000 * BS)) /dev/zero
} >want
cmp want "$file" || fail "not what was written, and $((size)) bytes"
unmount
unmount /run/mnt/other
# Not ext4's: of the file in pieces, inserts and collapses may leave it with nodes that lead to less than they say.
fsck_clean /dev/mapper/half0
dmsetup remove half0 half1
