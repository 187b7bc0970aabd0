# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: errors=panic that goes on after an error, or an error that stops the kernel without being asked
# guest: alone --expect-panic
# blocks: 4096

only_iomapfs

expect_errors

mkimg img
mount_fs img
mkdir "$MNT/dir"
unmount
dd if=/dev/urandom of=img bs="$BS" seek="$(debugfs -R 'bmap /dir 0' img 2>/dev/null)" count=1 conv=notrunc status=none
mount_fs img errors=continue
expect_errno EUCLEAN ls "$MNT/dir"
unmount
mount_fs img errors=panic
echo 'iomapfs-test: now' >/dev/kmsg
ls "$MNT/dir" || :
echo 'iomapfs-test: survived' >/dev/kmsg
fail 'the kernel goes on after an error with errors=panic'
