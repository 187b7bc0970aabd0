# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: fiemap that tells of a file, a folder or attributes something else than ext4 does of the same image

only_iomapfs

mkimg -s 32M img
mount_ext4 img
"$TOP/qemu/test/fiemap-like.py" make "$MNT" "$BS"
unmount
for type in ext4 iomapfs; do
	snapshot img "$type"
	mount_as "$type" "$type"
	"$TOP/qemu/test/fiemap-like.py" ask "$MNT" "$BS" >"$type.said"
	[ "$type" = ext4 ] || inside=$(filefrag -xv "$MNT/in-inode" | awk '$1 == "0:" { print $4 + 0 }')
	unmount
done
diff -u ext4.said iomapfs.said >.diff || { cat .diff >&2; fail "not as on ext4"; }
# The attributes in an inode are in that inode, behind its fields. filefrag tells the byte.
at=$(debugfs -R "imap /in-inode" img 2>/dev/null | sed -n 's/.*located at block \([0-9]*\), offset \(0x[0-9a-f]*\).*/\1 \2/p')
at=$((${at% *} * BS + ${at#* } + 160))
[ "$inside" = "$at" ] || fail "attributes are at byte $inside, and in the inode at byte $at"
