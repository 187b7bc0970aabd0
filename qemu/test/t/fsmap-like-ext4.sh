# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: what the blocks of the device are for told otherwise than ext4 does of the same image, by whatever keys; or not of each block
# blocks: one

only_iomapfs

while read -r name options; do
	rm -f img ext4 iomapfs
	# shellcheck disable=SC2086 # several words
	mkimg -s 24M $options img
	mount_ext4 img
	mkdir "$MNT/dir"
	for n in {1..30}; do fill "$MNT/dir/$n" $((n * 3000)); done
	sync
	rm "$MNT"/dir/*[357]
	fill "$MNT/large" 3M
	unmount
	blocks=$(dumpe2fs -h img 2>/dev/null | awk -F: '$1 == "Block count" { print $2 + 0 }')
	size=$(dumpe2fs -h img 2>/dev/null | awk -F: '$1 == "Block size" { print $2 + 0 }')
	for type in ext4 iomapfs; do
		snapshot img "$type"
		mount_as "$type" "$type"
		"$TOP/qemu/test/fsmap-like.py" "$MNT" "$size" "$blocks" >"$type.said"
		[ "$type" = ext4 ] || xfs_io -r -c fsmap "$MNT" >xfs_io.said
		unmount
	done
	diff -u ext4.said iomapfs.said >.diff || { cat .diff >&2; fail "$name: not as on ext4"; }
	grep -q inodes xfs_io.said && grep -q 'free space' xfs_io.said || fail "$name: $(cat xfs_io.said)"
done <<-'END'
	default
	small-groups -g 1024
	no-flex -g 2048 -O ^flex_bg
	no-resize -O ^resize_inode,^sparse_super -g 1024
END
