# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a syncfs that says all is durable after a commit that nobody waited for has failed
# blocks: 4096

only_iomapfs
. "$TOP/qemu/test/faults.sh"

mkimg img
faulty_make img
mount_fs "$FAULTY" commit=1
sync -f "$MNT"
expect_errors

# No write arrives while the timer's commit is done; then all is well again.
log_mark
faulty error_writes
touch "$MNT/lost"
for _ in $(seq 100); do
	! log_lines | has_line 'Aborting journal' || break
	sleep 0.1
done
log_since 'Aborting journal'
faulty_well
! sync -f "$MNT" 2>/dev/null || fail "syncfs says that a failed commit is durable"
! sync -f "$MNT" 2>/dev/null || fail "the second syncfs says that a failed commit is durable"
expect_errno EROFS mkdir "$MNT/refused"
unmount
faulty_end
mount_fs img
[ ! -e "$MNT/lost" ] || fail "the file is there: the test shows nothing"
unmount
fsck_clean img
