# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a field of statfs that df shows and that is another than ext4's: the journal counted as used, blocks kept back
# blocks: 4096

# All that statfs tells but the name of the type.
all() { stat -f -c 'id %i namelen %l magic %t block %s %S blocks %b free %f available %a inodes %c free %d' "$MNT"; }

# same_as_ext4 NAME OPTIONS: of the image NAME, mounted with OPTIONS by both.
same_as_ext4() {
	local theirs
	mount_ext4 "$1" "$2"
	theirs=$(all)
	unmount
	mount_fs "$1" "$2"
	[ "$(all)" = "$theirs" ] || fail "$1 ${2:+($2)}: $(all), ext4: $theirs"
	unmount
}
while read -r how name options; do
	# shellcheck disable=SC2086 # several words
	mkimg -s 48M $options "$name"
	mount_ext4 "$name" "$([ "$how" = rw ] || echo ro)"
	[ "$how" != rw ] || fill "$MNT/file" 3M
	unmount
	same_as_ext4 "$name" ro
	case $how in
	rw)
		same_as_ext4 "$name" ''
		same_as_ext4 "$name" ro,noload
		;;
	esac
	rm "$name"
done <<-'END'
	rw default
	rw small-blocks -b 1024
	rw small-blocks-more-reserved -b 1024 -m 20
	rw none-reserved -m 0
	rw half-reserved -m 50
	rw large-journal -b 1024 -J size=16
	rw small-journal -b 1024 -J size=1
	rw fast-commit -O fast_commit -J size=8
	rw 64bit-off -O ^64bit,^resize_inode
	rw old -O ^metadata_csum,^64bit,^extra_isize -I 128
	rw sparse_super-off -O ^sparse_super,^resize_inode -g 1024 -b 1024
	rw sparse_super2 -O ^sparse_super,sparse_super2,^resize_inode
	rw flex_bg-off -O ^flex_bg,^resize_inode
	rw orphan_file -O orphan_file
	rw many-inodes -N 8000
	ro no-journal -O ^has_journal
	ro bigalloc -O bigalloc -C 16384
	ro bigalloc-small-blocks -O bigalloc -b 1024 -C 8192
END

# With a journal on another device: that is not part of this one.
mke2fs -q -F -b "$BS" -O journal_dev journal 8M >/dev/null
device=$(losetup -f --show journal)
mke2fs -q -F -t ext4 -b "$BS" -J device="$device" external 32M >/dev/null
losetup -d "$device"
mount_fs external ro
theirs=$(dumpe2fs -h external 2>/dev/null | sed -n 's/^Overhead clusters: *//p')
[ "$(stat -f -c %b "$MNT")" = $((32 * 1024 * 1024 / BS - theirs)) ] || fail "an external journal: $(all)"
unmount

# tune2fs changes the reserve of a mounted file system: df shows it at once, and who finds no space has what was freed.
for type in "$FS" ext4; do
	rm -f img
	mkimg -s 48M -m 10 img
	mount_as "$type" img
	dev=$(losetup -j img | cut -d : -f 1 | head -n 1)
	tune2fs -m 20 "$dev" >/dev/null 2>&1
	stat -f -c %a "$MNT"
	tune2fs -m 0 "$dev" >/dev/null 2>&1
	stat -f -c %a "$MNT"
	unmount
done >.live
[ "$(head -n 2 .live)" = "$(tail -n 2 .live)" ] && [ "$(sort -u .live | wc -l)" = 2 ] || { cat .live >&2; fail "a reserve that is changed"; }

# A journal that says of itself that it has more blocks than are in use: what is in use is what there is of it.
if [ "$FS" = iomapfs ]; then
	for size in 9999999999999 32000000; do
		mkimg -s 32M -O ^metadata_csum large
		no_fsck large
		debugfs -w -R "sif <8> size $size" large 2>/dev/null
		mount_fs large ro,noload
		[ "$(stat -f -c %b "$MNT")" = "$(free_blocks)" ] || fail "a journal of $size bytes: $(all)"
		unmount
	done
fi
