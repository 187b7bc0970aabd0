# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: an extended attribute, access list or capability that comes to something else than on ext4, or that ext4 reads as another
# blocks: one

only_iomapfs
beside=$(dirname "${BASH_SOURCE[0]}")/..

# attributes: all of the mounted volume, by path, with types and modes.
attributes() {
	python3 - "$MNT" <<'P'
import os, sys
for folder, folders, files in os.walk(sys.argv[1]):
    folders.sort()
    for name in sorted(files + folders):
        path = os.path.join(folder, name)
        names = sorted(os.listxattr(path, follow_symlinks=False))
        print(path, oct(os.lstat(path).st_mode), [(name, os.getxattr(path, name, follow_symlinks=False)) for name in names])
P
}

# more: sets other attributes on the mounted volume, and takes away some and all of those of a file that it had.
more() {
	mkdir "$MNT/more"
	# shellcheck disable=SC2086 # several words
	"$beside/xattr-like.py" "$MNT/more" 5 60 $sizes >.more
	rm "$MNT/xattr/file" "$MNT/more/other"
	setfattr -x user.v "$MNT/xattr/other" || :
}

while read -r nr name count sizes options; do
	sizes=${sizes//,/ } sizes=${sizes/-/}
	# The first with each block size, the others with one of them.
	[ "$nr" = 0 ] || sampled "$nr" || continue
	for type in iomapfs ext4; do
		rm -f "$type"
		# shellcheck disable=SC2086 # several words
		mkimg -s 48M $options "$type"
		mount_as "$type" "$type"
		mkdir "$MNT/xattr" "$MNT/acl"
		# shellcheck disable=SC2086 # several words
		"$beside/xattr-like.py" "$MNT/xattr" "$SEED" "$count" $sizes >"$type.xattr"
		case $name in
		default | small-inodes) "$beside/acl-like.py" "$MNT/acl" >"$type.acl" ;;
		esac
		drop_caches
		attributes >"$type.all"
		unmount
		# Equal values are there once.
		dumpe2fs -h "$type" 2>/dev/null | grep '^Free inodes' >"$type.inodes"
	done
	# What the one has written the other reads.
	mount_as ext4 iomapfs
	attributes >ext4.reads
	more
	unmount
	mount_as iomapfs ext4
	attributes >iomapfs.reads
	more
	unmount
	for what in xattr acl all inodes reads; do
		diff -u "ext4.$what" "iomapfs.$what" >.diff || { head -50 .diff >&2; fail "$name: $what: not as on ext4"; }
	done
done <<-END
	0 default 400 -
	1 small-inodes 150 - -I 128
	2 large-inodes 100 - -I 1024
	3 no-sums 100 - -O ^metadata_csum
	0 values-elsewhere 80 950,5000,65536 -O ea_inode
	1 small-inodes-values-elsewhere 60 950,5000,65536 -I 128 -O ea_inode,^metadata_csum
END
