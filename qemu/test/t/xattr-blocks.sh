# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a block of extended attributes, alone or shared, that is lost, freed too early or counted wrong when its files go

mkimg img
mount_fs img
sync
empty=$(free_blocks)
unmount
mount_ext4 img
python3 - "$MNT" <<'P'
import os, sys
top = sys.argv[1]
def attributed(name, value, make=lambda path: open(path, "w").close()):
    path = f"{top}/{name}"
    make(path)
    os.setxattr(path, "user.big" if os.path.isdir(path) or os.path.isfile(path) else "trusted.big", value)
for i in range(1, 21):
    attributed(f"shared{i}", b"s" * 700)
    attributed(f"own{i}", b"%04d" % i * 175)
attributed("dir", b"d" * 700, os.mkdir)
attributed("node", b"n" * 700, os.mkfifo)
attributed("data", b"t" * 700, lambda path: open(path, "w").write("x" * 100000))
P
remount_fs img
blocks() { stat -c %b "$MNT/$1"; }
[ "$(blocks own1)" = $((BS / 512)) ] || fail "own1 has $(blocks own1) sectors"
# Some go, and what is left is still shared.
rm "$MNT"/shared{1..10} "$MNT"/own{1..10}
mv "$MNT/shared11" "$MNT/shared12"
rmdir "$MNT/dir"
printf more >>"$MNT/own11"
truncate -s 10 "$MNT/data"
unmount
fsck_clean img
mount_ext4 img
python3 - "$MNT" <<'P'
import os, sys
for i in range(12, 21):
    assert os.getxattr(f"{sys.argv[1]}/shared{i}", "user.big") == b"s" * 700
for i in range(11, 21):
    assert os.getxattr(f"{sys.argv[1]}/own{i}", "user.big") == b"%04d" % i * 175
P
remount_fs img
rm "$MNT"/shared* "$MNT"/own* "$MNT/node" "$MNT/data"
is_free "$empty"
crosscheck img
