# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a field of the super block that ext4 writes at mount, remount, unmount or after an error, and this one does not
# blocks: 4096

# fields IMAGE: the super block in words. What differs by nature is left out: checksums and times to the second, what was
# written to the device, who found an error.
fields() {
	python3 - "$1" <<'P'
import struct, sys
with open(sys.argv[1], 'rb') as f:
    f.seek(1024)
    s = bytearray(f.read(1024))
for start, length in ((0x3fc, 4), (0x178, 8)):
    s[start:start + length] = bytes(length)
# Times: whether there is one, and what it is where nothing has written it.
for at in (0x2c, 0x30, 0x40, 0x108):
    s[at:at + 4] = b'time' if struct.unpack_from('<I', s, at)[0] > 1500000000 else b'none'
for at in (0x198, 0x1cc):
    s[at:at + 4] = b'time' if any(s[at:at + 4]) else b'none'
# Function, line and block of an error.
for start, length in ((0x1a8, 32), (0x1c8, 4), (0x1e0, 32), (0x1d4, 4), (0x1a0, 8), (0x1d8, 8)):
    s[start:start + length] = bytes(length)
for at in range(0, 1024, 4):
    print(f'{at:#05x} {s[at:at + 4].hex()}')
P
}
# after TYPE STEPS: what the super block is after STEPS on a new image, in all their places.
after() {
	local type=$1 step
	rm -f img
	# shellcheck disable=SC2086 # several words
	mkimg -s 32M -U 01234567-89ab-cdef-0123-456789abcdef -E hash_seed=01234567-89ab-cdef-0123-456789abcdef $options img
	$prepare
	for step in $2; do
		case $step in
		mount) mount_as "$type" img errors=continue ;;
		mount-ro) mount_as "$type" img ro ;;
		unmount) unmount ;;
		file)
			echo text >"$MNT/file"
			mkdir -p "$MNT/dir"
			sync
			;;
		look) ls "$MNT" >/dev/null ;;
		ro) mount -o remount,ro "$MNT" ;;
		rw) mount -o remount,rw "$MNT" ;;
		error)
			ls -l "$MNT/bad" >/dev/null 2>&1 || :
			sync
			sleep 1
			sync
			;;
		esac
		echo "== $step"
		fields img
	done
}
same_as_ext4() { # what steps
	after ext4 "$2" >.theirs
	after "$FS" "$2" >.ours
	diff .theirs .ours >.diff || { cat .diff >&2; fail "$1: < ext4, > $FS"; }
}
prepare=:
for options in '' '-O orphan_file' '-O ^metadata_csum' '-O ^huge_file,^64bit'; do
	same_as_ext4 "${options:-default}" 'mount file unmount mount unmount'
done
options=''
same_as_ext4 remount 'mount file ro rw file ro unmount mount-ro look unmount mount unmount'
no_count() { tune2fs -c 0 img >/dev/null; debugfs -w -R 'ssv max_mnt_count 0' img 2>/dev/null; debugfs -w -R 'ssv overhead_blocks 0' img 2>/dev/null; }
prepare=no_count
same_as_ext4 'nothing said' 'mount file unmount'
often() { debugfs -w -R 'ssv mnt_count 65535' img 2>/dev/null; }
prepare=often
same_as_ext4 'as many mounts as can be counted' 'mount file unmount'
# An inode that cannot be read.
bad() {
	mount_ext4 img
	touch "$MNT/bad"
	unmount
	debugfs -w -R 'sif /bad mode 0' img 2>/dev/null
}
prepare=bad
expect_errors
same_as_ext4 'an error' 'mount error unmount mount unmount'
same_as_ext4 'an error, read-only' 'mount-ro error unmount mount-ro unmount mount unmount'
# A block whose checksum is wrong.
wrong_sum() {
	mount_ext4 img
	mkdir "$MNT/bad"
	touch "$MNT/bad/"{1..9}
	unmount
	local block
	block=$(debugfs -R 'bmap /bad 0' img 2>/dev/null)
	printf 'x' | dd of=img bs=1 seek=$((block * 4096 + 2000)) conv=notrunc 2>/dev/null
}
prepare=wrong_sum
options=''
same_as_ext4 'a wrong checksum' 'mount error unmount'
no_fsck img

# Where it is mounted is noted when a file is opened, with what is known by then, and it is never too long.
prepare=:
mkimg again
long=/run/mnt/$(printf 'y%.0s' {1..80})
for where in /run/mnt/one /run/mnt/two "$long"; do
	mount_fs again '' "$where"
	touch "$where/file"
	unmount "$where"
	echo "$where $(dumpe2fs -h again 2>/dev/null | sed -n 's/^Last mounted on: *//p')"
done >.seen
printf '%s\n' '/run/mnt/one /run/mnt/one' '/run/mnt/two /run/mnt/two' "$long /run/mnt/two" | diff - .seen >&2 ||
	fail "last mounted on"
# Too many mounts, and too long without a check.
tune2fs -c 5 -C 9 again >/dev/null
log_mark
mount_fs again
unmount
log_since 'iomapfs .*as often as it may'
tune2fs -c 0 -i 1d -T 20200101 again >/dev/null
log_mark
mount_fs again
unmount
log_since 'iomapfs .*for as long as it may'
