# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a file, link, name or attribute lost when a tree of ordinary files is copied in
# blocks: one

# Two folders of the kernel's documentation; all of it when N= says anything.
[ -d "${DOCS:-}" ] || skip "there is no Documentation of the kernel"
parts="filesystems RCU"
size=64M
[ -z "${N:-}" ] || { parts=. size=512M; }
mkimg -s "$size" img
mount_fs img
for p in $parts; do cp -a "$DOCS/$p" "$MNT/"; done
compare() {
	for p in $parts; do
		diff -r --no-dereference -x lost+found "$DOCS/$p" "$MNT/$p" || fail "$1"
	done
}
compare "the copy differs"
remount_fs img
compare "the copy differs after a remount"
unmount
fsck_clean img
mount_ext4 img ro
compare "ext4 reads another copy"
unmount
mount_fs img
rm -r "${MNT:?}/${parts%% *}"/*
crosscheck img
