# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a feature of the format that mke2fs can set or leave out, and that we or ext4 then read otherwise
# blocks: one
# seconds: 480
#
# Each kind of image is tried with one of the two block sizes, and the next SEED tries it with the other.

# work DIR SEED: files, names and links that reach inodes, extents, a hashed directory, attributes' place and the orphan list.
work() {
	mkdir -p "$1/sub/deep"
	fill "$1/sub/file" 700001 "$2"
	fill "$1/sub/deep/small" 100 "$2"
	(cd "$1/sub" && seq -f "a-name-long-enough-to-need-some-room-%05.0f" 150 | xargs touch)
	for i in 1 3 6 10; do dd if="$1/sub/file" of="$1/holes" bs="$BS" count=1 seek=$((i * i)) conv=notrunc status=none; done
	ln "$1/sub/file" "$1/hard"
	ln -s sub/file "$1/soft"
	ln -s "$(printf 'y%.0s' {1..100})" "$1/long"
	mkfifo "$1/fifo"
	touch -d '2031-05-04 03:02:01.123456789' "$1/holes"
	truncate -s 300001 "$1/sub/file"
	rm "$1"/sub/a-*7
}
row=0
while read -r name options; do
	row=$((row + 1))
	[ "$name" = default ] || sampled "$row" || continue
	# shellcheck disable=SC2086 # several words
	mkimg -s 24M $options "$name"
	# Ours first, ext4 reads it and adds its own.
	mount_fs "$name"
	work "$MNT/ours" 1
	tree "$MNT" >.ours
	unmount
	fsck_clean "$name"
	mount_ext4 "$name"
	tree "$MNT" >.seen
	diff -u .ours .seen >.diff || { head -n 20 .diff >&2; fail "$name: ext4 reads something else than $FS wrote"; }
	work "$MNT/theirs" 2
	rm -r "$MNT/ours/sub"
	tree "$MNT" >.theirs
	unmount
	# And back: read, remove, write once more.
	mount_fs "$name"
	tree "$MNT" >.seen
	diff -u .theirs .seen >.diff || { head -n 20 .diff >&2; fail "$name: $FS reads something else than ext4 wrote"; }
	rm -r "$MNT/theirs/sub"
	work "$MNT/again" 3
	unmount
	fsck_clean "$name"
	mount_ext4 "$name" ro
	same "$MNT/again/sub/deep/small" 100 3
	unmount
	rm "$name"
done <<-END
	default
	64bit-off -O ^64bit
	flex_bg-off -O ^flex_bg,^resize_inode
	metadata_csum-off -O ^metadata_csum
	uninit_bg -O ^metadata_csum,uninit_bg
	csum_seed -O metadata_csum,metadata_csum_seed
	orphan_file -O orphan_file
	sparse_super2 -O ^sparse_super,sparse_super2,^resize_inode
	huge_file-off -O ^huge_file
	inode-128 -I 128 -O ^extra_isize
	resize_inode-off -O ^resize_inode
	dir_index-off -O ^dir_index
	dir_nlink-off -O ^dir_nlink
	groups-small -g 1024
	2k-blocks -b 2048
	2k-blocks-old -b 2048 -O ^metadata_csum,^64bit,^extra_isize -I 128
END
