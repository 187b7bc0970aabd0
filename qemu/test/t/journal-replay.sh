# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a journal that ext4 left is not replayed, or replayed where it must not be (noload, read-only device)

mkimg img
mount_ext4 img
mkdir "$MNT/dir"
fill "$MNT/dir/file" 300001
for i in $(seq 40); do mkdir "$MNT/dir/d$i"; done
sync "$MNT/dir/file" "$MNT/dir"
# Committed, and not yet where it belongs: only the journal has it.
snapshot img cut
cp cut again
tree "$MNT" >before
unmount
dumpe2fs -h cut 2>/dev/null | has_line needs_recovery || fail "the image needs no recovery, so this tests nothing"

# ro,noload: as it is, and not one byte is written.
cp cut untouched
mount_fs cut ro,noload
unmount
cmp cut untouched || fail "ro,noload wrote to the image"
expect_mount_errno EINVAL cut noload

# A device that cannot be written.
dev=$(losetup -r -f --show cut)
[ "$(mount_errno "$FS" "$dev" "$MNT" '' ro)" = EROFS ] || fail "mounted although replay cannot write"
[ "$(mount_errno "$FS" "$dev" "$MNT" noload ro)" = OK ] || fail "ro,noload does not mount a read-only device"
umount "$MNT"
losetup -d "$dev"
cmp cut untouched || fail "a read-only device was written"

# ro replays, and the image is clean at once. (With -o loop,ro the device would be read-only, too.)
dev=$(losetup -f --show cut)
mount_fs "$dev" ro
tree "$MNT" >after
diff -u before after || fail "replay (ro) lost something"
unmount
losetup -d "$dev"
fsck_clean cut

# rw, too.
mount_fs again
tree "$MNT" >after
diff -u before after || fail "replay (rw) lost something"
fill "$MNT/new" 70000 2
same "$MNT/new" 70000 2
crosscheck again
