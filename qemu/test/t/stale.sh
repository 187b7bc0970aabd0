# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a write that goes by what was at its place when it began, where that was written back and dropped meanwhile; a direct write that
# is refused, or left in the cache, where pages cannot be dropped because somebody stores to them; reading ahead while somebody may
# be about to free blocks
# blocks: 4096
# parallel: stores to pages that are written past the cache

# Who stores to what is written directly is told that this is no good idea.
expect_trouble 'Page cache invalidation failure on direct I/O|^.*File: /run/mnt/test/stored'
mkimg img
# Each write takes 200 ms.
disk=$(losetup -f --show img)
dmsetup create slow --table "0 $(blockdev --getsz "$disk") delay $disk 0 0 $disk 0 200"
mount_fs /dev/mapper/slow
head -c 8M /dev/zero | tr '\0' S >source
loop=$(losetup -f --show source)
dmsetup create source --table "0 16384 linear $loop 0"
"$(dirname "${BASH_SOURCE[0]}")/../stale.py" "$MNT" /dev/mapper/source source >.said 2>&1 || fail "$(tail -n 3 .said)"
unmount
dmsetup remove slow
dmsetup remove source
losetup -d "$disk" "$loop"
mount_fs img
crosscheck img
