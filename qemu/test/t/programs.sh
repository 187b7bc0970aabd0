# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: rsync, git, a database, a loop device, an overlay or make that does something else here than on ext4
# blocks: one

only_iomapfs
for type in ext4 iomapfs; do
	mkimg -s 160M "$type.img"
	mount_as "$type" "$type.img"
	log_mark
	python3 "$TOP/qemu/test/programs-like.py" "$MNT" work >"$type.said"
	log_lines >.lines
	! has_line 'overlayfs: ' <.lines || fail "overlayfs has to do without something: $(grep -m 3 overlayfs: .lines)"
	unmount
	mount_as "$type" "$type.img"
	python3 "$TOP/qemu/test/programs-like.py" "$MNT" again >>"$type.said"
	[ "$type" = ext4 ] || crosscheck "$type.img"
done
diff -u ext4.said iomapfs.said >.diff || { head -n 60 .diff >&2; fail "not as on ext4"; }
has_line '^clone fsck:' <iomapfs.said || fail 'nothing was tried'

# A tree with all that rsync can carry, there and back again.
mount_fs iomapfs.img
mkimg -s 64M other.img
other=$MNT-other
mount_as ext4 other.img '' "$other"
mkdir "$MNT/tree"
python3 - "$MNT/tree" <<'P'
import os, struct, sys
os.chdir(sys.argv[1])
nobody = 0xFFFFFFFF
acl = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *e) for e in [(1, 7, nobody), (2, 6, 1234), (4, 5, nobody), (0x10, 7, nobody), (0x20, 1, nobody)])
for i in range(10):
    os.mkdir(f"folder{i}", 0o755)
    if i % 2:
        os.setxattr(f"folder{i}", "system.posix_acl_default", acl)
for i in range(10):
    for j in range(5):
        path = f"folder{i}/file{j}"
        with open(path, "w") as file:
            file.seek(j * 30000)
            file.write(f"{i} {j}\n" * 500)
        if j < 2:
            os.link(path, f"folder{(i + 7) % 10}/link-{i}-{j}")
        # As a Samba server keeps them.
        os.setxattr(path, "user.DOSATTRIB", b"\0\0\5\0\5\0\0\0" + struct.pack("<QQII", i, j, 0x20, 0))
        os.setxattr(path, "user.DosStream.Zone.Identifier:$DATA", b"[ZoneTransfer]\r\nZoneId=3\r\n\0")
        os.setxattr(path, "security.NTACL", b"\4\0\4\0\0\0\2\0" + bytes(range(150)) + b"%d" % j)
        if j == 1:
            os.setxattr(path, "system.posix_acl_access", acl)
        os.chown(path, i, j)
    os.symlink("nowhere", f"folder{i}/symlink")
    os.mkfifo(f"folder{i}/fifo")
os.setxattr("folder0/symlink", "trusted.of-link", b"t", follow_symlinks=False)
# Long ago: of the second that it is rsync takes the rest for equal.
for where, folders, files in os.walk(".", topdown=False):
    for name in files + ["."]:
        os.utime(f"{where}/{name}", ns=(5, len(name) * 10**9 + 123456789), follow_symlinks=False)
P
rsync -aAXHS "$MNT/tree/" "$other/tree"
rsync -aAXHS "$other/tree/" "$MNT/back"
attributes() {
	(
		cd "$1" || exit 1
		find . -print0 | LC_ALL=C sort -z | xargs -0 getfattr -h -d -m - -e hex
		find . ! -type l -print0 | LC_ALL=C sort -z | xargs -0 getfacl -n
		# Which names are one file.
		find . -links +1 -type f -printf '%i %p\n' | LC_ALL=C sort -k 2 | awk '!($1 in first) { first[$1] = $2 } { print first[$1], $2 }'
	)
}
same_tree() {
	diff -u <(tree "$MNT/tree") <(tree "$1") >.diff || { head -n 40 .diff >&2; fail "$2 differs"; }
	diff -u <(attributes "$MNT/tree") <(attributes "$1") >.diff || { head -n 40 .diff >&2; fail "$2 has other attributes"; }
}
same_tree "$other/tree" 'what rsync has copied to ext4'
same_tree "$MNT/back" 'what rsync has copied back'
[ "$(attributes "$MNT/back" | grep -c NTACL)" -ge 50 ] || fail 'no attributes'
[ -z "$(rsync -aAXHSic "$MNT/back/" "$other/tree")" ] || fail 'rsync finds something to do'
unmount "$other"
crosscheck iomapfs.img
