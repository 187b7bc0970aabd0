# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a lock (POSIX, of an opening, flock), lease or delegation that comes to something else than on ext4, or stays for ever
# blocks: 4096

only_iomapfs
like=$(dirname "${BASH_SOURCE[0]}")/../locks-like.py
for type in ext4 iomapfs; do
	mkimg -s 16M "$type.img"
	mount_as "$type" "$type.img"
	"$like" "$MNT" >"$type.said" || fail "$type: $(tail -n 3 "$type.said")"
	unmount
done
diff -u ext4.said iomapfs.said >.diff || { cat .diff >&2; fail "not as on ext4"; }
# It is not that both know nothing of them.
for line in 'posix: deadlock: EDEADLK' 'posix: waited for: ok and gone: \[\]' 'ofd: another opening: EAGAIN' \
	'flock of a file: ok ok EAGAIN' 'flock of a folder: ok ok EAGAIN' 'lease to read: 0 read' 'lease: others write: EAGAIN, told, none' \
	'lease: others wait: True' 'lease: made smaller: EAGAIN given up: 0 ok none' 'delegation: a name is made: ok told'; do
	has_line "^$line" <iomapfs.said || fail "no '$line': $(cat iomapfs.said)"
done
