# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a handle of a file that finds another file than on ext4, or one that nobody may reach, or that is told in the log

only_iomapfs
expect_trouble 'EXT4-fs (error|warning)'

for type in iomapfs ext4; do
	mkimg -s 32M -U 6b6b6b6b-1111-2222-3333-444444444444 -E lazy_itable_init=1 "$type"
	mount_as "$type" "$type"
	"$TOP/qemu/test/handles-like.py" make "$MNT" handles >"$type.said"
	"$TOP/qemu/test/handles-like.py" use "$MNT" handles >>"$type.said"
	unmount
	mount_as "$type" "$type"
	"$TOP/qemu/test/handles-like.py" use "$MNT" handles >>"$type.said"
	unmount
done
diff -u ext4.said iomapfs.said >.diff || { cat .diff >&2; fail "not as on ext4"; }
grep -q "a/b/c: .*'$MNT/a/b/c'" iomapfs.said || fail "$(cat iomapfs.said)"
