# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: an extended attribute, access list or capability that comes to something else than on ext4, or that ext4 reads as another

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

while read -r nr name count options; do
	# The first with each block size, the others with one of them.
	[ "$nr" = 0 ] || sampled "$nr" || continue
	for type in iomapfs ext4; do
		rm -f "$type"
		# shellcheck disable=SC2086 # several words
		mkimg -s 48M $options "$type"
		mount_as "$type" "$type"
		mkdir "$MNT/xattr" "$MNT/acl"
		"$beside/xattr-like.py" "$MNT/xattr" "$SEED" "$count" >"$type.xattr"
		case $name in
		default | small-inodes) "$beside/acl-like.py" "$MNT/acl" >"$type.acl" ;;
		esac
		drop_caches
		attributes >"$type.all"
		unmount
	done
	# What the one has written the other reads.
	mount_as ext4 iomapfs
	attributes >ext4.reads
	unmount
	mount_as iomapfs ext4
	attributes >iomapfs.reads
	unmount
	for what in xattr acl all reads; do
		diff -u "ext4.$what" "iomapfs.$what" >.diff || { head -50 .diff >&2; fail "$name: $what: not as on ext4"; }
	done
done <<-END
	0 default 400
	1 small-inodes 150 -I 128
	2 large-inodes 100 -I 1024
	3 no-sums 100 -O ^metadata_csum
END
