# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: errors=panic that goes on when the device fails under a commit
# guest: alone --expect-panic
# blocks: 4096

only_iomapfs
. "$TOP/qemu/test/faults.sh"
expect_errors

mkimg -s 16M img
faulty_make img
mount_fs "$FAULTY" errors=panic
fill "$MNT/kept" 100K
sync "$MNT/kept"
# What is lost of the data is no error of the file system.
faulty error "$(filefrag -b"$BS" -v "$MNT/kept" | awk '$1 == "0:" { print $4 + 0 }')" 4
text 16K 2 | dd of="$MNT/kept" conv=notrunc status=none
! sync "$MNT/kept" || fail "the data cannot be written"
faulty_well
mkdir "$MNT/new"
echo 'iomapfs-test: now' >/dev/kmsg
faulty error
sync -f "$MNT" || :
mkdir "$MNT/refused" || :
echo 'iomapfs-test: survived' >/dev/kmsg
fail 'the kernel goes on after a failed commit with errors=panic'
