# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a file that swap cannot be on, or not where it has blocks that were never written; memory that comes back wrong from it; a
# change of a file that swap is on
# blocks: 1024

only_iomapfs
like=$(dirname "${BASH_SOURCE[0]}")/../swap-like.py
for type in ext4 iomapfs; do
	mkimg -s 48M "$type.img"
	mount_as "$type" "$type.img"
	"$like" "$MNT" >"$type.said" || fail "$type: $(tail -n 3 "$type.said")"
	crosscheck "$type.img"
done
diff -u ext4.said iomapfs.said >.diff || { cat .diff >&2; fail "not as on ext4"; }
for line in 'written: swapon: ok' 'allocated: swapon: ok' 'allocated: swapped out and back: True True' 'holes: swapon: EINVAL' \
	'written: write: ETXTBSY' 'written: truncate: ETXTBSY' 'written: fallocate 0: ETXTBSY' 'written: other bytes: True'; do
	has_line "^$line" <iomapfs.said || fail "no '$line': $(cat iomapfs.said)"
done
