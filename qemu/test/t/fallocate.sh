# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a mode of fallocate after which a file has other bytes, another size, other blocks or another errno than on ext4
# blocks: one

# N random sequences; 20,000 by hand.
: "${N:=300}"
mkimg img
mkimg other
# e2fsck does not always agree with what ext4's own fallocate leaves ("end of extent exceeds allowed value"): that is not judged here.
no_fsck other
mount_fs img
mount_ext4 other '' /run/mnt/other
python3 "$TOP/qemu/test/fallocate-like.py" "$MNT" /run/mnt/other "$BS" "$SEED" "$N"
# For those that append only.
for folder in "$MNT" /run/mnt/other; do
	: >"$folder/append"
	chattr +a "$folder/append"
	xfs_io -a -c 'falloc -k 0 9000' "$folder/append" || fail "allocate for who appends only"
	xfs_io -a -c "fpunch 0 $BS" "$folder/append" >words 2>&1 || :
	grep -q 'not permitted' words || fail "a hole in a file that is for appending: $(cat words)"
	chattr -a "$folder/append"
done
unmount /run/mnt/other
crosscheck img
