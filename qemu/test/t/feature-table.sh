# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a feature that the README says to be readable or writable and that is not, or the other way; a refusal told twice
# blocks: 4096

only_iomapfs

# rows: "READING WRITING NAME" for each name in the README's table of features. What the table says behind a colon or in
# parentheses is tested elsewhere. "and each other feature that ..." is a name of its own.
rows() {
	awk -F'|' '
		/^\| feature \| reading \| writing \|$/ { inside = 1; next }
		!/^\|/ { inside = 0 }
		!inside || /^\|---/ { next }
		{
			gsub(/ /, "", $3); gsub(/ /, "", $4)
			sub(/:.*/, "", $2); sub(/ \(a volume must have it\)/, "", $2); sub(/ and each other/, ", each other", $2)
			n = split($2, names, ",")
			for (i = 1; i <= n; i++) { gsub(/^ +| +$/, "", names[i]); print $3, $4, names[i] }
		}' "$TOP/README.md"
}
rows >.rows
# The names that this test has images for, those and no others.
cut -d ' ' -f 3- .rows | LC_ALL=C sort | diff - <(
	LC_ALL=C sort <<-'END'
		extent
		filetype
		64bit
		flex_bg
		metadata_csum_seed
		sparse_super
		sparse_super2
		resize_inode
		large_file
		huge_file
		dir_nlink
		extra_isize
		metadata_csum
		uninit_bg
		dir_index
		orphan_file
		ext_attr
		ea_inode
		stable_inodes
		has_journal
		fast_commit
		no journal
		or one on another device
		bigalloc
		quota
		project
		verity
		each other feature that ext4 may read without knowing it (ro_compat)
		inline_data
		encrypt
		casefold
		meta_bg
		mmp
		large_dir
		each other feature that forbids a mount (incompat)
	END
) >&2 || fail "the README's table (<) has other names than this test (>)"
# image NAME: img is an image of that kind, and named is what the log must call it.
image() {
	local name=$1 with=$1 device
	named=$name
	rm -f img journal
	case $name in
	metadata_csum_seed) with=metadata_csum,metadata_csum_seed ;;
	sparse_super2) with=^sparse_super,sparse_super2,^resize_inode ;;
	uninit_bg) with=^metadata_csum,uninit_bg ;;
	project) with=quota,project ;;
	meta_bg) with=meta_bg,^resize_inode ;;
	'no journal') with=^has_journal ;;
	'or one on another device')
		named='journal is on another device'
		mke2fs -q -F -b "$BS" -O journal_dev journal 8M >/dev/null
		device=$(losetup -f --show journal)
		mkimg -s 16M -J device="$device" img
		losetup -d "$device"
		no_fsck img
		return
		;;
	'each other feature that ext4 may read without knowing it (ro_compat)')
		named=0x40000000
		mkimg -s 16M img
		debugfs -w -R 'feature FEATURE_R30' img >/dev/null 2>&1
		;;
	'each other feature that forbids a mount (incompat)')
		named=0x40000000
		mkimg -s 16M img
		debugfs -w -R 'feature FEATURE_I30' img >/dev/null 2>&1
		;;
	esac
	[ -e img ] || mkimg -s 16M -O "$with" img
	no_fsck img
	[ "$named" != "$name" ] || [ "$name" = 'no journal' ] || dumpe2fs -h img 2>/dev/null | has_line "^Filesystem features:.* $name( |$)" ||
		fail "the image has not $name"
}
while read -r reading writing name; do
	image "$name"
	case "$reading $writing" in
	'yes yes') want='OK OK' lines=0 ;;
	'yes no') want='OK EROFS' lines=1 ;;
	'no no') want='EINVAL EINVAL' lines=2 ;;
	*) fail "the README says of $name: '$reading' and '$writing'" ;;
	esac
	log_mark
	expect_mount_errno "${want% *}" img '' ro
	expect_mount_errno "${want#* }" img
	[ "$lines" != 0 ] || continue
	said=$(log_lines | grep -c "iomapfs" || :)
	[ "$(log_lines | grep -c "iomapfs (loop[0-9]*): .*$named" || :)" = "$lines" ] && [ "$said" = "$lines" ] ||
		fail "$name: $said lines in the log for $lines refusals"
done <.rows

# Files that are mapped by block lists: each of them is refused, the rest of the volume is there.
tr '\n' ' ' <"$TOP/README.md" >.readme
has_line 'by block lists,[^:]*: .EOPNOTSUPP. for the one file\. Where the root directory is one,[^.]* cannot be mounted\.' <.readme ||
	fail "the README says something else of block lists than this test tries"
mkimg -s 16M img
fill old 3000
printf '%s\n' 'write old before' 'feature -extent' 'write old old' 'mkdir olddir' 'feature extent' 'write old after' |
	debugfs -w -f - img >.debugfs 2>&1
debugfs -R 'stat old' img 2>/dev/null | has_line 'Flags: 0x0$' || fail "the file is not mapped by a block list: $(cat .debugfs)"
mount_fs img
for command in cat "stat -c %s" rm; do
	# shellcheck disable=SC2086 # two words
	expect_errno EOPNOTSUPP $command "$MNT/old"
done
expect_errno EOPNOTSUPP ls "$MNT/olddir"
expect_errno EOPNOTSUPP touch "$MNT/olddir/file"
same "$MNT/before" 3000
same "$MNT/after" 3000
fill "$MNT/new" 5000
[ "$(cd "$MNT" && echo *)" = 'after before lost+found new old olddir' ] || fail "names: $(cd "$MNT" && echo *)"
unmount
mount_ext4 img ro
for name in before old after; do same "$MNT/$name" 3000; done
same "$MNT/new" 5000
[ -d "$MNT/olddir" ] || fail "olddir is gone"
unmount

# A root directory that is mapped so, as on a volume that began as ext3, whose journal is another reason; then without that.
mkimg -s 16M -O ^extent,^64bit img
tune2fs -O extent img >/dev/null
for reason in 'the journal, inode 8, is not mapped by extents' 'the root directory'; do
	log_mark
	expect_mount_errno EOPNOTSUPP img
	expect_mount_errno EOPNOTSUPP img '' ro
	[ "$(log_lines | grep -c "iomapfs (loop[0-9]*): $reason")" = 2 ] || fail "a refusal is not told, or twice: $(log_lines)"
	tune2fs -O ^has_journal img >/dev/null
	tune2fs -j img >/dev/null 2>&1
done

# The other refusals: told once, with the name of who says it.
mkimg -O ^extent,^64bit img
log_mark
expect_mount_errno EINVAL img
[ "$(log_lines | grep -c 'iomapfs (loop[0-9]*): the file system needs the feature extent')" = 1 ] || fail "the feature extent is not asked for once"
head -c 1M /dev/zero >zeros
log_mark
expect_mount_errno EINVAL zeros
[ "$(log_lines | grep -c 'no ext4 file system found')" = 1 ] || fail "a device without a file system is not told of once"
log_since 'iomapfs \(loop[0-9]*\): no ext4 file system found'
log_mark
expect_mount_errno EINVAL img commit=9000000
[ "$(log_lines | grep -c 'commit=9000000')" = 1 ] || fail "an option is not refused once"
log_since 'iomapfs: .*commit=9000000'
