# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a damaged structure that is believed, gives no errno or no line in the log, or takes the guest with it
# blocks: one
# seconds: 420

only_iomapfs
expect_errors

# Two images of the same tree: with checksums, and without, so that what is wrong is not first a wrong checksum.
mkimg -s 32M sums
mkimg -s 32M -O ^metadata_csum,^dir_index plain
for i in sums plain; do
	mount_ext4 "$i"
	mkdir -p "$MNT/dir" "$MNT/a/b"
	touch "$MNT/dir/one" "$MNT/dir/two"
	fill "$MNT/file" 64K
	for n in 1 3 5 7 9 11; do dd if="$MNT/file" of="$MNT/deep" bs="$BS" count=1 seek="$n" conv=notrunc status=none; done
	fill "$MNT/keep" 5000
	mkdir "$MNT/many"
	for n in {100..180}; do : >"$MNT/many/$(printf "$n%0200d" 0)"; done
	unmount
done

# take sums|plain: the image img anew.
take() {
	cp --sparse=always "$1" img
	log_mark
}
dbg() {
	printf '%s\n' "$@" | debugfs -w -f - img >.dbg 2>&1
	! grep -q -i -E 'not found|unknown|usage|invalid' .dbg || fail "debugfs: $(cat .dbg)"
}
# poke OFFSET HEX: bytes into img.
poke() { perl -e 'print pack "H*", shift' "$2" | dd of=img bs=1 seek="$1" conv=notrunc status=none; }
block_of() { debugfs -R "bmap $1 ${2:-0}" img 2>/dev/null | grep -o -E '^[0-9]+'; }
inode_at() { # path: the byte offset of its inode
	debugfs -R "imap $1" img 2>/dev/null |
		perl -ne 'print $1 * $ENV{BS} + hex $2 if /located at block (\d+), offset 0x([0-9a-f]+)/'
}
bitmap_at() { dumpe2fs img 2>/dev/null | sed -n "s/.*$1 bitmap at \([0-9]*\).*/\1/p" | head -n 1; }
export BS
# refused ERRNO RE [ro]: it cannot be mounted, and the log says why, once.
refused() {
	expect_mount_errno "$1" img '' "${3:-}"
	said "$2"
}
# direct FILE: read past the page cache, which makes an EIO of every error.
direct() { dd if="$1" of=/dev/null bs=64K iflag=direct; }
said() {
	local lines
	log_since "iomapfs.*$1"
	lines=$(log_lines | grep -c -E -- "iomapfs.*($1)")
	[ "$lines" -le 3 ] || fail "$lines lines in the log like: $1"
}
# broken ERRNO RE COMMAND...: mounted, COMMAND gives that errno, the log says RE, the rest works or fails in good order.
broken() {
	local errno=$1 re=$2
	shift 2
	mount_fs img errors=continue
	expect_errno "$errno" "$@"
	said "$re"
	same "$MNT/keep" 5000
	find "$MNT" -type f -exec cat {} + >/dev/null 2>&1 || :
	touch "$MNT/new" "$MNT/dir/new" 2>/dev/null || :
	fill "$MNT/new" 20000 2>/dev/null || :
	rm -rf "$MNT/dir" "$MNT/file" "$MNT/deep" 2>/dev/null || :
	sync
	unmount
}

# What is no ext4 file system, or less than one.
log_mark
truncate -s 4M img
refused EINVAL 'no ext4 file system'
truncate -s 2K img
refused EINVAL '.'
take sums
truncate -s 16M img
refused EINVAL '.'
take sums
poke $((1024 + 0x100)) 5a
refused EBADMSG 'wrong checksum'
take sums
dbg 'ssv blocks_per_group 7'
refused EINVAL '.'
# Features.
take sums
dbg 'feature FEATURE_I28'
refused EINVAL '.'
take sums
dbg 'feature encrypt'
refused EINVAL 'encrypt'
take sums
dbg 'feature FEATURE_R30'
refused EROFS '.'
mount_fs img ro
same "$MNT/keep" 5000
unmount
# Group descriptors, bitmaps and inodes with wrong checksums.
take sums
poke $(((BS == 1024 ? 2 : 1) * BS + 0x10)) ff
refused EUCLEAN 'descriptor'
take sums
poke $(($(bitmap_at Inode) * BS + 3)) 0f
mount_fs img errors=continue
touch "$MNT/new" || :
same "$MNT/keep" 5000
unmount
said 'inode bitmap'
take sums
poke $(($(inode_at /file) + 0x10)) 55
broken EUCLEAN 'checksum' cat "$MNT/file"
# Extents, in the inode: debugfs sets the checksum.
take sums
dbg 'sif /file block[0] 0x00011234'
broken EUCLEAN 'magic' cat "$MNT/file"
take sums
dbg 'sif /file block[1] 0x00070004'
broken EUCLEAN 'eh_depth' cat "$MNT/file"
take sums
dbg 'sif /file block[0] 0x0009f30a'
broken EUCLEAN 'eh_entries' cat "$MNT/file"
take sums
dbg 'sif /file block[5] 0x7fffff00'
broken EUCLEAN 'outside' cat "$MNT/file"
take sums
dbg "sif /file block[5] $(bitmap_at Block)"
broken EUCLEAN 'metadata' direct "$MNT/file"
take sums
dbg 'sif /file block[4] 0'
broken EUCLEAN 'ee_len' cat "$MNT/file"
# Blocks behind the end of the file, which nobody knows what they hold, are gone when the end moves over them.
for how in truncate dd; do
	take sums
	dbg 'sif /file size 5000'
	mount_fs img
	case $how in
	truncate) truncate -s 60000 "$MNT/file" ;;
	dd) printf '\0' | dd of="$MNT/file" bs=1 seek=59999 conv=notrunc status=none ;;
	esac
	drop_caches
	[ "$(stat -c %s "$MNT/file")" = 60000 ] || fail "the size after $how"
	[ "$(tail -c +5001 "$MNT/file" | tr -d '\0' | wc -c)" = 0 ] || fail "$how shows what was behind the end"
	unmount
	fsck_clean img
done
# After an error nothing changes, not the size in memory either.
take sums
poke $(($(inode_at /dir/one) + 0x10)) 55
mount_fs img errors=remount-ro
expect_errno EUCLEAN cat "$MNT/dir/one"
expect_errno EROFS truncate -s 100 "$MNT/file"
[ "$(stat -c %s "$MNT/file")" = 65536 ] || fail 'a file is cut off that cannot be changed'
unmount
# A tree whose node leads to itself, to data, outside.
leaf_of() { # image: the block of the only leaf of /deep's tree
	debugfs -R 'ex /deep' "$1" 2>/dev/null | awk '$1 == "0/" && !n++ { print $8 }' | grep . ||
		fail "the file has no tree: $(debugfs -R 'ex /deep' "$1" 2>&1)"
}
take plain
leaf=$(leaf_of img)
poke $((leaf * BS)) "$(perl -e 'print unpack "H*", pack "v4V4", 0xf30a, 1, ($ARGV[1] - 12) / 12, 1, 0, 0, $ARGV[0], 0' "$leaf" "$BS")"
broken EUCLEAN 'depth' direct "$MNT/deep"
take plain
dbg "sif /deep block[4] $(block_of /keep)"
broken EUCLEAN 'magic' direct "$MNT/deep"
take sums
leaf=$(leaf_of img)
poke $((leaf * BS + 20)) ee
broken EUCLEAN '.' direct "$MNT/deep"
take plain
dbg 'sif /deep block[4] 0x7fffff00'
broken EUCLEAN 'outside' direct "$MNT/deep"
# Directories.
take sums
poke $(($(block_of /dir) * BS + 30)) 41
broken EUCLEAN 'checksum' ls "$MNT/dir"
take plain
poke $(($(block_of /dir) * BS + 16)) 0500
broken EUCLEAN 'dir' ls "$MNT/dir"
take plain
poke $(($(block_of /dir) * BS + 16)) 0000
broken EUCLEAN 'dir' ls "$MNT/dir"
take plain
poke $(($(block_of /dir) * BS + 24)) ffffff7f
broken EUCLEAN 'leads to inode' ls "$MNT/dir"
# Names before a bad block are listed, and then comes the error, and not the last of them again and again.
for i in sums plain; do
	take "$i"
	poke $(($(block_of /many 2) * BS + 4)) 0300
	mount_fs img errors=continue
	status=0
	timeout 60 ls -U "$MNT/many" >listed 2>/dev/null || status=$?
	[ "$status" = 2 ] || fail "ls of a directory with a bad block ends with status $status"
	[ -z "$(sort listed | uniq -d)" ] || fail 'names are listed twice'
	unmount
done
# A directory that is found again below itself, a name of an inode that is not in use, and a size that cannot be.
take sums
dbg 'ln /a /a/b/loop'
mount_fs img
expect_errno ELOOP ls "$MNT/a/b/loop/"
! find "$MNT" >/dev/null 2>&1 || fail "find walks round a loop"
unmount
take sums
dbg 'sif /dir/one links_count 0' 'sif /dir/one mode 0'
broken EUCLEAN '.' cat "$MNT/dir/one"
take sums
dbg 'sif <2> links_count 0'
refused EUCLEAN 'root inode is not in use'
take sums
dbg 'sif /many size 0x7ffff000' 'sif /many blocks 0x7fffffff'
broken EUCLEAN 'missing, and the names in them' mkdir "$MNT/many/new"
take sums
dbg 'sif /file size 0xffffffffffff0000'
broken EUCLEAN '.' cat "$MNT/file"
take plain
dbg 'sif /dir size 0xffffffff000'
broken EUCLEAN '.' ls "$MNT/dir"
rm img
