# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a syncfs that says all is durable after a commit that nobody waited for has failed
# blocks: 4096

only_iomapfs

mkimg img
dev=$(losetup -f --show img)
sectors=$(blockdev --getsz "$dev")
dmsetup create failing --table "0 $sectors linear $dev 0"
table() {
	dmsetup suspend --noflush --nolockfs failing
	dmsetup load failing --table "0 $sectors $1"
	dmsetup resume failing
}
mount_fs /dev/mapper/failing commit=1
sync -f "$MNT"
expect_trouble 'Buffer I/O error|I/O error, dev|lost async page write'

# No write arrives while the timer's commit is done; then all is well again.
log_mark
table "flakey $dev 0 0 1 1 error_writes"
touch "$MNT/lost"
for _ in $(seq 100); do
	! log_lines | grep -q 'Aborting journal' || break
	sleep 0.1
done
log_since 'Aborting journal'
table "linear $dev 0"
! sync -f "$MNT" 2>/dev/null || fail "syncfs says that a failed commit is durable"
! sync -f "$MNT" 2>/dev/null || fail "the second syncfs says that a failed commit is durable"
expect_errno EROFS mkdir "$MNT/refused"
unmount
dmsetup remove failing
mount_fs "$dev"
[ ! -e "$MNT/lost" ] || fail "the file is there: the test shows nothing"
unmount
losetup -d "$dev"
fsck_clean img
