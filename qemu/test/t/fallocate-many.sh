# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a file of more extents than the journal can hold in one transaction, of which collapse and insert change a part, or for which
# the kernel warns in its log
# blocks: 1024

only_iomapfs
mkimg -s 48M -J size=1 img
mount_fs img
# many EXTENTS: makes a file of so many, of one block each.
many() {
	python3 -c '
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
for n in range(int(sys.argv[2])):
    os.pwrite(fd, b"%1024d" % n, 2048 * n)
os.fsync(fd)' "$MNT/many" "$1"
}
many 24000
before=$(sha256sum <"$MNT/many")
expect_errno ENOSPC xfs_io -c "fcollapse 0 $BS" "$MNT/many"
expect_errno ENOSPC xfs_io -c "finsert 0 $BS" "$MNT/many"
[ "$(sha256sum <"$MNT/many")" = "$before" ] || fail "the file has changed"
# Those behind the place count.
xfs_io -c "fcollapse $((40001 * BS)) $BS" -c "finsert $((40001 * BS)) $BS" "$MNT/many"
[ "$(sha256sum <"$MNT/many")" = "$before" ] || fail "the file is not as it was"
crosscheck img
