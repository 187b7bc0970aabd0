# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: what users, groups and projects have or may have comes to something else than on ext4, or e2fsck counts something else
# blocks: one
# seconds: 600

only_iomapfs
beside=$(dirname "${BASH_SOURCE[0]}")/..
# Names go to the same blocks.
SEEDS=0123abcd-0123-0123-0123-0123456789ab
limits=usrquota,grpquota,prjquota

# What a program says that takes any type of file system. (repquota and its like know some by name.)
report() {
	for kind in -u -g -p; do
		xfs_quota -x -f -c "state $kind" -c "report -bin $kind" "$MNT" | sed 's/loop[0-9]*/loop/'
	done
}

while read -r features of; do
	for type in iomapfs ext4; do
		rm -f "$type"
		mkimg -s 48M -O "$features" -E "quotatype=usrquota:grpquota:prjquota,hash_seed=$SEEDS" "$type"
		mount_as "$type" "$type" "$limits"
		# shellcheck disable=SC2086 # nothing, or a word
		"$beside/quota-like.py" "$MNT" "$(findmnt -n -o SOURCE "$MNT")" "$PWD/$type" $of >"$type.calls"
		findmnt -n -o OPTIONS "$MNT" >"$type.options"
		mount -o remount,ro "$MNT"
		mount -o remount,rw "$MNT"
		report >"$type.report"
		fill "$MNT/after" 100000
		sync
		report >>"$type.report"
		unmount
		case $type$of in
		ext4values)
			# Where two inodes come to share a block, ext4 counts a value of it once too often.
			no_fsck ext4
			e2fsck -fn ext4 2>&1 | grep -v '^Extended attribute inode .* ref count is' | grep -E 'QUOTA|[?] no$' &&
				fail "e2fsck finds more than that in the image of ext4"
			;;
		*) fsck_clean "$type" ;;
		esac
	done
	for what in calls options report; do
		diff -u "ext4.$what" "iomapfs.$what" >.diff || { head -80 .diff >&2; fail "$features: $what: not as on ext4"; }
	done
	# What the one has written the other goes on with.
	for type in iomapfs ext4; do
		cp --sparse=always iomapfs other
		remember other
		mount_as "$type" other "$limits"
		report >"$type.report"
		# What is left has another owner then.
		chown -h 7:9 "$MNT"/*/f*
		report >>"$type.report"
		rm -r "$MNT"/[dpv]
		fill "$MNT/more" 300000
		chown 7:9 "$MNT/more"
		sync
		report >>"$type.report"
		unmount
		fsck_clean other
	done
	diff -u ext4.report iomapfs.report >&2 || fail "$features: the reports of what iomapfs has written differ"
done <<-END
	quota,project
	quota,project,ea_inode values
END
