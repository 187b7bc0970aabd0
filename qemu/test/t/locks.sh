# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a lock (POSIX, of an opening, flock), lease or delegation that comes to something else than on ext4, or stays for ever
# blocks: 4096

only_iomapfs
like_ext4 16M "$TOP/qemu/test/locks-like.py"
# It is not that both know nothing of them.
for line in 'posix: deadlock: EDEADLK' 'posix: waited for: ok and gone: \[\]' 'ofd: another opening: EAGAIN' \
	'flock of a file: ok ok EAGAIN' 'flock of a folder: ok ok EAGAIN' 'lease to read: 0 read' 'lease: others write: EAGAIN, told, none' \
	'lease: others wait: True' 'lease: made smaller: EAGAIN given up: 0 ok none' 'delegation: a name is made: ok told'; do
	has_line "^$line" <iomapfs.said || fail "no '$line': $(cat iomapfs.said)"
done
