# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a mount option that is taken and does nothing
# blocks: 4096
# seconds: 600

only_iomapfs

# both OPTIONS FUNCTION: the function says the same with both types, on images that are alike.
both() {
	local type
	for type in ext4 iomapfs; do
		cp --sparse=always img "img.$type"
		remember "img.$type"
		mount_as "$type" "img.$type" "$1"
		"$2" >"$2.$type"
		unmount
	done
	diff "$2.ext4" "$2.iomapfs" >&2 || fail "$1: $2: other than on ext4 (<)"
}

mkimg -m 10 img
# grpid: the group of a new file, directory, link and unnamed file, with and without the bit, as a user, too.
groups() {
	mkdir "$MNT/d" "$MNT/s"
	chown 7:8 "$MNT/d" "$MNT/s"
	chmod 777 "$MNT/d"
	chmod 2777 "$MNT/s"
	for d in d s; do
		touch "$MNT/$d/file"
		mkdir "$MNT/$d/dir"
		ln -s x "$MNT/$d/link"
		mkfifo "$MNT/$d/fifo"
		setpriv --reuid 1000 --regid 1001 --clear-groups mkdir -m 2755 "$MNT/$d/of-user"
		(cd "$MNT/$d" && find . -printf '%p %m %U:%G\n' | sort)
	done
}
both grpid groups
grep -q '^./file 644 0:8$' groups.iomapfs || fail "grpid: $(cat groups.iomapfs)"
both nogrpid groups

# minixdf: blocks of the file system's own are counted.
space() { stat -f -c '%b %f %a %s' "$MNT"; }
both minixdf space
minix=$(cut -d ' ' -f 1 space.iomapfs)
both bsddf space
[ "$minix" -gt "$(cut -d ' ' -f 1 space.iomapfs)" ] || fail "minixdf does not count more blocks"

# max_dir_size_kb: how many names there can be.
names() {
	local i=0
	mkdir "$MNT/many"
	while [ "$i" -lt 1000 ] && ln -s x "$MNT/many/a-name-that-is-long-$i" 2>says; do i=$((i + 1)); done
	sed 's/.*: //' says
	[ "$i" -lt 1000 ] || fail "no limit"
	stat -c %s "$MNT/many"
	mkdir "$MNT/other"
}
both max_dir_size_kb=12 names
has_line 'No space left' <names.iomapfs || fail "max_dir_size_kb: $(cat names.iomapfs)"

# nombcache: inodes with equal attributes have a block each.
shared() {
	local i before
	before=$(free_blocks)
	for i in 1 2 3 4; do
		touch "$MNT/f$i"
		setfattr -n user.long -v "$(printf 'x%.0s' {1..1000})" "$MNT/f$i"
	done
	sync
	echo $((before - $(free_blocks)))
}
both nombcache shared
each=$(cat shared.iomapfs)
both noatime shared
[ "$each" -gt "$(cat shared.iomapfs)" ] || fail "nombcache: blocks are shared all the same ($each)"

# resuid, resgid: who may use the reserve, by the mount and by a remount.
fill_as() { # user group: how many blocks are left when such a user has no more space
	setpriv --reuid "$1" --regid "$2" --clear-groups dd if=/dev/zero of="$MNT/all" bs=64k 2>says || :
	has_line 'No space left' <says || fail "fill_as: $(cat says)"
	sync
	free_blocks
	rm "$MNT/all"
	sync
}
mount_fs img resuid=4242,resgid=4343
chmod 777 "$MNT"
kept=$(fill_as 1000 1000)
[ "$kept" -gt 1400 ] || fail "$kept blocks are left by a user without the reserve"
[ "$(fill_as 4242 1000)" -lt $((kept / 2)) ] || fail "resuid= has no effect"
[ "$(fill_as 1000 4343)" -lt $((kept / 2)) ] || fail "resgid= has no effect"
mount -o remount,resuid=0,resgid=0 "$MNT"
[ "$(fill_as 4242 4343)" -ge $((kept - 50)) ] || fail "a remount does not take the reserve away"
unmount

# sb=: the first blocks are lost; a copy of the super block leads to everything.
mkimg -s 256M large
mount_fs large
fill "$MNT/file" 3000000 7
mkdir -p "$MNT/some/where"
cp "$MNT/file" "$MNT/some/where/copy"
tree "$MNT" >before
unmount
cp --sparse=always large lost
no_fsck lost
dd if=/dev/zero of=lost bs=4096 count=1 conv=notrunc status=none
expect_mount_errno EINVAL lost "" ro
cp --sparse=always lost untouched
mount_fs lost ro,sb=131072
tree "$MNT" | diff before - >&2 || fail "sb=: other files"
unmount
cmp lost untouched || fail "ro,sb= wrote to the image"
e2fsck -fy -b 32768 lost >fsck 2>&1 || [ $? = 1 ] || fail "e2fsck -b: $(cat fsck)"
mount_fs lost
tree "$MNT" | diff before - >&2 || fail "after e2fsck -b: other files"
unmount

# debug, and what does nothing: the log says so, once a mount.
log_mark
mount_fs img debug,nodelalloc
mount -o remount,commit=7 "$MNT"
unmount
log_since 'blocks of 4096 bytes, 1 groups'
[ "$(log_lines | grep -c 'option nodelalloc changes nothing')" = 1 ] || fail "nodelalloc: $(log_lines)"

# abort: a remount stops all changes, and a check is wanted.
expect_errors
cp --sparse=always img stopped
mount_fs stopped errors=continue
touch "$MNT/before"
mount -o remount,abort "$MNT"
expect_errno EROFS touch "$MNT/after"
[ -e "$MNT/before" ] || fail "abort hides a file"
unmount
dumpe2fs -h stopped 2>/dev/null | has_line 'clean with errors|not clean' || fail "abort is not recorded: $(dumpe2fs -h stopped)"
e2fsck -fy stopped >fsck 2>&1 || [ $? = 1 ] || fail "e2fsck after abort: $(cat fsck)"

# data_err=abort: data that cannot be written stops all changes; without it, only the data is lost.
truncate -s 64M disk
back=$(losetup -f --show disk)
dm() { dmsetup "$1" bad --table "$2"; }
failing() { # option: what touching a file comes to after a write of data over data has failed
	mkfs.ext4 -q -F "$back"
	dm create "0 131072 linear $back 0"
	mount_fs /dev/mapper/bad "$1"
	fill "$MNT/f" 65536 1
	sync
	start=$(filefrag -b512 -v "$MNT/f" | awk '$1 == "0:" { sub(/\.\..*/, "", $4); print $4 }')
	dmsetup suspend --noflush --nolockfs bad
	dm load "0 $start linear $back 0
$start 8 error
$((start + 8)) $((131072 - start - 8)) linear $back $((start + 8))"
	dmsetup resume bad
	dd if=/dev/zero of="$MNT/f" bs=4096 count=1 conv=notrunc,fsync 2>/dev/null && fail "no error of data"
	touch "$MNT/other" 2>/dev/null && echo goes on || echo stopped
	umount "$MNT"
	dmsetup remove bad
}
if command -v dmsetup >/dev/null && dmsetup version >/dev/null 2>&1; then
	expect_trouble 'I/O error'
	[ "$(failing data_err=ignore)" = "goes on" ] || fail "data_err=ignore stops"
	[ "$(failing data_err=abort)" = stopped ] || fail "data_err=abort does not stop"
fi
losetup -d "$back"
