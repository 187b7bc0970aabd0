# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For tests of a device that fails: a device whose faults are chosen, and what must be so afterwards. Sourced by a test.

# An image's device is behind a table of device-mapper, $FAULTY.
FAULTY=/dev/mapper/faulty

# faulty_make IMAGE
faulty_make() {
	faulty_loop=$(losetup -f --show "$1")
	faulty_sectors=$(blockdev --getsz "$faulty_loop")
	# For a workload that changes the table in the middle.
	cat >.reload <<'R'
dmsetup suspend --noflush --nolockfs faulty && dmsetup load faulty "$1" && dmsetup resume faulty
R
	faulty_row 0 "$faulty_sectors" '' >.well
	dmsetup create faulty .well
}

# faulty_row FIRST COUNT FAULT: a row of a table, in sectors. FAULT is empty (none), "error" (nothing works) or a
# feature of dm-flakey: error_writes, error_reads, drop_writes, "corrupt_bio_byte N r VALUE 0", ...
faulty_row() {
	case $3 in
	'') echo "$1 $2 linear $faulty_loop $1" ;;
	error) echo "$1 $2 error" ;;
	*) echo "$1 $2 flakey $faulty_loop $1 0 1 $(wc -w <<<"$3") $3" ;;
	esac
}

# faulty_table FAULT [BLOCK [COUNT]]: prints a table where these blocks, or all, are at fault.
faulty_table() {
	local first=0 count=$faulty_sectors
	if [ $# -gt 1 ]; then
		first=$(($2 * BS / 512)) count=$((${3:-1} * BS / 512))
		[ "$first" = 0 ] || faulty_row 0 "$first" ''
	fi
	faulty_row "$first" "$count" "$1"
	[ $((first + count)) = "$faulty_sectors" ] || faulty_row $((first + count)) $((faulty_sectors - first - count)) ''
}

# faulty FAULT [BLOCK [COUNT]]: from now on it is so.
faulty() {
	faulty_table "$@" >.table
	sh .reload .table
}

faulty_well() { sh .reload .well; }

# faulty_end: the image is only an image again.
faulty_end() {
	dmsetup remove faulty
	losetup -d "$faulty_loop"
}

# recovered IMAGE [WHAT]: IMAGE is what a fault has left. A mount recovers it, and then e2fsck finds nothing. Only where an error is on
# record the mount says that it leaves deleted inodes which were not freed yet to e2fsck, as ext4 does. Then e2fsck passes
# the orphan list over, too, and finds them one by one: -p frees one that is alone in the list; the links of several
# it takes for a list gone wrong, which is for -y to mend.
recovered() {
	local status=0
	log_mark
	mount_fs "$1" errors=continue
	unmount
	if log_lines | has_line 'iomapfs.*: orphans are left to e2fsck'; then
		e2fsck -fp "$1" >.fsck 2>&1 || status=$?
		if [ "$status" = 4 ] && grep -q 'Inodes that were part of a corrupted orphan linked list found' .fsck; then
			status=0
			e2fsck -fy "$1" >.fsck 2>&1 || status=$?
		fi
		[ "$status" -le 1 ] || { cat .fsck; fail "${2:+$2: }e2fsck cannot free the deleted inodes of $1"; }
	fi
	fsck_clean "$@"
}

# recovers IMAGE STATE WHAT: IMAGE is what a fault has left and no longer mounted. A copy is recovered by a mount, is then sound,
# and has what synced.py has written down in STATE; IMAGE itself is brought back by e2fsck -fy, with the same. WHAT
# it was, for a message.
recovers() {
	local status=0
	cp --sparse=always "$1" .copy
	echo "$3"
	recovered .copy "$3"
	e2fsck -fy "$1" >.fsck 2>&1 || status=$?
	[ "$status" -le 2 ] || { cat .fsck; fail "$3: e2fsck -fy cannot mend it: status $status"; }
	fsck_clean "$1" "$3"
	mount_fs .copy ro
	mount_as ext4 "$1" ro "$MNT.ext4"
	"$TOP/qemu/test/synced.py" check "$2" "$MNT" "$MNT.ext4" || fail "$3: what was synced is not there after recovery"
	unmount
	unmount "$MNT.ext4"
}
