# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a directory of three levels that is not what ext4 and e2fsck want, or that ext4 has made and is not found here
# blocks: 1024

only_iomapfs
mkimg -s 64M -O large_dir img
# fill FIRST LAST: long names of one file, so that few are in a leaf; then some go, and are looked for.
fill() {
	python3 - "$MNT" "$@" <<'P'
import os, sys
os.chdir(sys.argv[1])
first, last = map(int, sys.argv[2:])
open(f"target{first}", "w").close()
for n in range(first, last):
    os.link(f"target{first}", f"{n:0>250}")
for n in range(first, last, 11):
    os.unlink(f"{n:0>250}")
    assert not os.path.lexists(f"{n:0>250}")
P
}
names() { find "$MNT" -maxdepth 1 -type f -printf '%f\n' | LC_ALL=C sort | sha256sum; }
mount_fs img
fill 0 30000
names >ours
unmount
debugfs -R 'htree_dump /' img 2>/dev/null | grep -m 1 -q 'Indirect levels: 2' || fail 'it has not three levels'
fsck_clean img
mount_as ext4 img
names | cmp - ours || fail 'ext4 lists other names'
fill 30000 34000
names >theirs
unmount
mount_fs img
names | cmp - theirs || fail 'what ext4 has added is listed otherwise'
fill 34000 35000
unmount
