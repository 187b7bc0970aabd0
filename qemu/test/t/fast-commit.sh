# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a volume with the feature fast_commit that does not mount after a power cut; fast commits that are passed over
# blocks: 4096

mkimg -O fast_commit -J size=4 img
mount_fs img
echo synced >"$MNT/file"
sync
snapshot img cut
unmount
fsck_clean img
for type in "$FS" ext4; do
	cp --sparse=always cut again
	remember again
	mount_as "$type" again
	[ "$(cat "$MNT/file")" = synced ] || fail "$type does not replay it"
	unmount
	fsck_clean again
done
cp --sparse=always cut again
e2fsck -fy again >.fsck 2>&1 || [ $? = 1 ] || { cat .fsck >&2; fail "e2fsck does not replay it"; }
mount_fs again
[ "$(cat "$MNT/file")" = synced ] || fail "e2fsck has not replayed it"
unmount
# Many transactions, so that the log goes round: it has all blocks of the journal, those for fast commits too.
mount_fs img
for n in $(seq 100); do
	mkdir "$MNT/$n"
	seq -f "$MNT/$n/%.0f" 20 | xargs touch
	[ $((n % 5)) != 0 ] || sync -f "$MNT"
done
sync
rm -f cut
snapshot img cut
unmount
rm img
for type in "$FS" ext4; do
	cp --sparse=always cut again
	mount_as "$type" again
	[ "$(find "$MNT" -type f | wc -l)" = 2001 ] || fail "$type: $(find "$MNT" -type f | wc -l) files after a replay"
	unmount
	fsck_clean again
done
rm again

# Those of ext4 are not replayed, so they are not passed over. Where it has made none since the last commit, there are
# none.
only_iomapfs
mkimg -O fast_commit img
mount_ext4 img
mkdir "$MNT/dir"
sync -f "$MNT"
rm -f cut before after
snapshot img before
echo 1 >"$MNT/file"
sync -f "$MNT"
echo 2 >>"$MNT/file"
sync "$MNT/file"
snapshot img cut
no_fsck cut
echo 3 >"$MNT/other"
sync -f "$MNT"
snapshot img after
unmount
mount_fs before
[ -d "$MNT/dir" ] || fail "what ext4 has committed is not replayed"
unmount
mount_fs after
[ "$(cat "$MNT/file" "$MNT/other")" = "$(printf '%s\n' 1 2 3)" ] || fail "what ext4 has committed after a fast commit"
unmount
fsck_clean before
fsck_clean after
sum=$(sha256sum ./cut)
log_mark
expect_mount_errno EOPNOTSUPP cut
log_since 'holds fast commits'
! log_lines | grep 'was replayed' >&2 || fail "a replay is told that was none"
[ "$(sha256sum ./cut)" = "$sum" ] || fail "a refused mount has changed the image"
expect_mount_errno OK cut noload ro
# After ext4 itself has unmounted it, there are none.
mount_fs img
[ "$(tail -n 1 "$MNT/file")" = 2 ] || fail "the file is another one"
unmount
