# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a file that swap cannot be on, or not where it has blocks that were never written; memory that comes back wrong from it; a
# change of a file that swap is on
# blocks: 1024

only_iomapfs
like_ext4 48M "$TOP/qemu/test/swap-like.py"
for line in 'written: swapon: ok' 'allocated: swapon: ok' 'allocated: swapped out and back: True True' 'holes: swapon: EINVAL' \
	'written: write: ETXTBSY' 'written: truncate: ETXTBSY' 'written: fallocate 0: ETXTBSY' 'written: other bytes: True'; do
	has_line "^$line" <iomapfs.said || fail "no '$line': $(cat iomapfs.said)"
done
