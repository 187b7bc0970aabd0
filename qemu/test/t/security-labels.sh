# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a new file without the label that a security module gives it, or with it only after a power cut has come too early
# blocks: 4096
# guest: alone --append lsm=smack

[ -d /sys/fs/smackfs ] || skip 'the kernel has no Smack'
label() { getfattr --only-values -n security.SMACK64 "$1" 2>/dev/null; }

for type in ext4 iomapfs; do
	mkimg -s 48M "$type"
	mount_as "$type" "$type"
	# A label of the folder that what is made in it gets, beside that of the task.
	mkdir "$MNT/folder"
	setfattr -n security.SMACK64 -v Inner "$MNT/folder"
	setfattr -n security.SMACK64TRANSMUTE -v TRUE "$MNT/folder"
	echo Outer >/proc/self/attr/current 2>/dev/null || true
	{
		touch "$MNT/file" "$MNT/folder/file"
		mkdir "$MNT/folder/folder"
		ln -s nowhere "$MNT/folder/link"
		mkfifo "$MNT/folder/pipe"
		setfacl -d -m u:12345:rwx "$MNT/folder"
		touch "$MNT/folder/with-list"
		for path in file folder folder/file folder/folder folder/link folder/pipe folder/with-list; do
			echo "$path: $(getfattr -h -d -m - -e text "$MNT/$path" 2>/dev/null | tail -n +2 | sort | tr '\n' ' ')"
		done
	} >"$type.labels"
	# As a power cut now would leave it, the names are there with their labels or not at all.
	sync -f "$MNT"
	touch "$MNT/folder/late"
	cp --sparse=always "$type" "$type.cut"
	unmount
done
diff -u ext4.labels iomapfs.labels || fail 'labels are not as on ext4'
grep -q 'folder/file: .*SMACK64=' iomapfs.labels || fail "there are no labels: $(cat iomapfs.labels)"
mount_fs iomapfs.cut
[ -n "$(label "$MNT/folder/file")" ] || fail 'after a power cut a file has no label'
[ ! -e "$MNT/folder/late" ] || [ -n "$(label "$MNT/folder/late")" ] || fail 'a late file has no label'
unmount
