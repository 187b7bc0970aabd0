# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a feature that the README says to be readable or writable and that is not, or the other way; a refusal told twice
# blocks: 4096

only_iomapfs

# row FEATURE: what the README's table says of it: "yes yes", "yes no" or "no no".
row() {
	awk -F'|' -v name="$1" '$2 ~ "(^|[ ,])" name "([ ,:]|$)" && ($3 ~ /yes|no/) { gsub(/ /, "", $3); gsub(/ /, "", $4); print $3, $4 }' "$TOP/README.md"
}
for feature in 64bit flex_bg metadata_csum_seed sparse_super sparse_super2 resize_inode large_file huge_file dir_nlink \
	extra_isize metadata_csum uninit_bg dir_index orphan_file ext_attr fast_commit has_journal \
	bigalloc quota project verity inline_data encrypt casefold meta_bg mmp ea_inode large_dir; do
	case $feature in
	sparse_super2) with=^sparse_super,sparse_super2,^resize_inode ;;
	metadata_csum_seed) with=metadata_csum,metadata_csum_seed ;;
	uninit_bg) with=^metadata_csum,uninit_bg ;;
	project) with=quota,project ;;
	meta_bg) with=meta_bg,^resize_inode ;;
	*) with=$feature ;;
	esac
	rm -f img
	mkimg -s 16M -O "$with" img
	no_fsck img
	[[ $(dumpe2fs -h img 2>/dev/null) == *"$feature"* ]] || fail "the image has not $feature"
	case $(row "$feature") in
	'yes yes') want='OK OK' ;;
	'yes no') want='OK EROFS' ;;
	'no no') want='EINVAL EINVAL' ;;
	*) fail "the README says of $feature: '$(row "$feature")'" ;;
	esac
	log_mark
	# shellcheck disable=SC2086 # two words
	set -- $want
	expect_mount_errno "$1" img '' ro
	expect_mount_errno "$2" img
	case $want in
	'OK OK') ;;
	'OK EROFS') lines=1 ;;&
	'EINVAL EINVAL') lines=2 ;;&
	*)
		said=$(log_lines | grep -c "iomapfs" || :)
		[ "$(log_lines | grep -c "iomapfs (loop[0-9]*): .*$feature" || :)" = "$lines" ] && [ "$said" = "$lines" ] ||
			fail "$feature: $said lines in the log for $lines refusals"
		;;
	esac
done
# The other refusals: told once, with the name of who says it.
mkimg -O ^extent,^64bit img
log_mark
expect_mount_errno EINVAL img
[ "$(log_lines | grep -c 'iomapfs (loop[0-9]*): needs the feature extent')" = 1 ] || fail "the feature extent is not asked for once"
head -c 1M /dev/zero >zeros
log_mark
expect_mount_errno EINVAL zeros
[ "$(log_lines | grep -c 'no ext4 file system found')" = 1 ] || fail "a device without a file system is not told of once"
log_since 'iomapfs \(loop[0-9]*\): no ext4 file system found'
log_mark
expect_mount_errno EINVAL img commit=99999
[ "$(log_lines | grep -c 'commit=99999')" = 1 ] || fail "an option is not refused once"
log_since 'iomapfs: .*commit=99999'
