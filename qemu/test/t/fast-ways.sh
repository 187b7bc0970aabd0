# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a way that is only faster and is not taken any more: polled I/O, FUA, the short way of a small read, batches of completions,
# large folios and where they are mapped, direct writes side by side, reads that wait without a worker
# blocks: 4096

only_iomapfs
disk=/dev/fast
null_disk fast size=128 poll_queues=1 submit_queues=1 cache_size=1 fua=1
mke2fs -q -F -t ext4 -b "$BS" "$disk"
# Memory that is mapped to this cannot be read while it is suspended.
head -c 8M /dev/zero | tr '\0' S >source
loop=$(losetup -f --show source)
dmsetup create source --table "0 16384 linear $loop 0"
# Each read takes 200 ms.
mkimg -s 16M slow.img
mount_fs slow.img
head -c 64K /dev/zero | tr '\0' z >"$MNT/slow"
unmount
slow=$(losetup -f --show slow.img)
mount_fs "$disk"
dmsetup create slow --table "0 $(blockdev --getsz "$slow") delay $slow 0 200 $slow 0 0"
mount_fs /dev/mapper/slow '' /run/mnt/slow
"$(dirname "${BASH_SOURCE[0]}")/../fast-ways.py" "$MNT" "$disk" /dev/mapper/source source /run/mnt/slow >.said || fail "$(grep FAIL .said || tail -n 3 .said)"
unmount /run/mnt/slow
dmsetup remove slow
dmsetup remove source
losetup -d "$loop" "$slow"
unmount
fsck_clean "$disk"
