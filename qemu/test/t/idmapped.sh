# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a mount that maps users (mount_setattr) and that is refused, or where a file is somebody else's than on ext4
# blocks: 4096

only_iomapfs
like_ext4 16M "$TOP/qemu/test/idmapped-like.py"
for line in 'map: 0' 'five: 10005:10005 100644, 5:5 100644 below' 'outside: 65534:65534' 'file by 10007: ok 10007:10007 100644, 7:7' \
	'dir by 0: EOVERFLOW' 'chmod by 10005: ok' 'chmod by 5: EPERM'; do
	has_line "^$line" <iomapfs.said || fail "no '$line': $(cat iomapfs.said)"
done
