# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: freed blocks that discard does not tell the device, data in use that it does, a discard before the commit
# blocks: one

only_iomapfs

mkimg img
held() { # KiB of memory that the image takes: the loop device makes holes of what is discarded
	stat -c %b img | awk '{ print int($1 / 2) }'
}
freed() { # option: how many KiB a file of 20 MiB gives back
	local full
	mount_fs img "$1"
	fill "$MNT/keep" 3M 1
	fill "$MNT/old" 20M 2
	sync
	full=$(held)
	rm "$MNT/old"
	snapshot img cut
	sync
	# Discards run beside the commit.
	for _ in $(seq 50); do
		[ "$(held)" -lt $((full - 19 * 1024)) ] && break
		[ "$1" = discard ] || break
		sleep 0.1
	done
	echo $((full - $(held)))
	drop_caches
	same "$MNT/keep" 3M 1
	unmount
}
with=$(freed discard)
[ "$with" -ge $((19 * 1024)) ] || fail "20 MiB were removed, the device was told of $with KiB"
# Before the commit nothing was: the file is there after a power cut.
mount_fs cut
same "$MNT/old" 20M 2
unmount
rm -f cut
[ "$(freed nodiscard)" -lt 1024 ] || fail "blocks were discarded without the option"
# A device that cannot is used all the same, with one line in the log.
null_disk cannot size=32
mke2fs -q -F -t ext4 -b "$BS" /dev/cannot
log_mark
mount_fs /dev/cannot discard
fill "$MNT/keep" 3M 1
fill "$MNT/old" 1M 3
sync
rm "$MNT/old"
sync
log_since 'iomapfs.*the device cannot discard'
same "$MNT/keep" 3M 1
unmount
rmdir "$null_disks/cannot"
mount_fs img
crosscheck img
