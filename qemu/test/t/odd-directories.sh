# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: names that are lost, or an operation that is half done, in a directory that is damaged or of another maker
# blocks: one

only_iomapfs
. "$TOP/qemu/test/faults.sh"
expect_errors

# names WHAT FROM TO: makes (or finds) many names with characters that are not ASCII.
names() {
	python3 - "$MNT/dir" "$@" <<'P'
import os, sys
top, what, first, last = sys.argv[1:]
for i in range(int(first), int(last)):
    name = f"{top}/{'ß' * (i % 90)}{i}é"
    if what == "make":
        os.close(os.open(name, os.O_CREAT | os.O_EXCL, 0o644))
    else:
        os.stat(name)
P
}

# Where nothing says how directory hashes take characters, everybody takes them as the kernel does.
mkimg signless
debugfs -w -R 'ssv flags 0' signless 2>/dev/null
! dumpe2fs -h signless 2>/dev/null | has_line 'directory_hash' || fail "the image says how hashes take characters"
mount_fs signless
mkdir "$MNT/dir"
names make 0 700
unmount
dumpe2fs -h signless 2>/dev/null | has_line 'unsigned_directory_hash' || fail "it is not noted how hashes take characters"
mount_ext4 signless
names find 0 700
names make 700 1400
unmount
mount_fs signless
names find 0 1400
unmount

# A tree whose feature was taken off: what is inserted then is in no tree, not even when the feature comes back.
mkimg -O ^metadata_csum treeless
mount_fs treeless
mkdir "$MNT/dir"
names make 0 700
unmount
tune2fs -O ^dir_index treeless >/dev/null
mount_fs treeless
names make 700 710
unmount
fsck_clean treeless
tune2fs -O dir_index treeless >/dev/null
mount_fs treeless
names find 0 710
unmount
mount_ext4 treeless
names find 0 710
unmount

# Two directories change places, one of which has a first block that cannot be read: then none of it is done.
mkimg img
mount_fs img
mkdir -p "$MNT/left/dir" "$MNT/right/dir"
touch "$MNT/left/file" "$MNT/right/file"
unmount
block=$(debugfs -R 'blocks /left/dir' img 2>/dev/null | tr -d ' ')
faulty_make img
mount_fs "$FAULTY" errors=continue
ls -lR "$MNT/right" >/dev/null
ls -l "$MNT/left" >/dev/null
faulty error "$block"
for with in file dir; do
	[ "$(exchange "$MNT/left/dir" "$MNT/right/$with")" = EIO ] || fail "left/dir and right/$with changed places"
	[ "$(exchange "$MNT/right/$with" "$MNT/left/dir")" = EIO ] || fail "right/$with and left/dir changed places"
done
faulty_well
unmount
faulty_end
recovered img
mount_fs img
[ -d "$MNT/left/dir" ] && [ -d "$MNT/right/dir" ] && [ -f "$MNT/right/file" ] || fail "something has another place"
[ "$(exchange "$MNT/left/dir" "$MNT/right/file")" = OK ] || fail "left/dir and right/file do not change places"
[ -d "$MNT/right/file" ] && [ -f "$MNT/left/dir" ] || fail "left/dir and right/file have not changed places"
unmount

# A block behind the end, as no directory has one: no new name, and not because it were there.
mkimg -O ^dir_index behind
mount_fs behind
mkdir "$MNT/dir"
names make 0 60
[ "$(stat -c %s "$MNT/dir")" -gt "$BS" ] || names make 60 200
unmount
debugfs -w -R "sif /dir size $BS" behind >/dev/null 2>&1
no_fsck behind
mount_fs behind errors=continue
log_mark
said=$(names make 1000 1400 2>&1) && fail "a block was added where one is"
case $said in
*'Structure needs cleaning'*) ;;
*) fail "a name could not be made: $said" ;;
esac
log_since 'iomapfs .*has a block behind its end'
unmount
