# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a request of ioctl that comes to something else than on ext4, is not durable, or that not all copies of the super block have
# blocks: one
# parallel: some change the name of the volume at the same time

only_iomapfs
expect_trouble 'EXT4-fs warning'
like=$(dirname "${BASH_SOURCE[0]}")/../ioctl-like.py

# labels IMAGE: the name and the UUID in the super block and in each copy of it, wherever there is one.
labels() {
	python3 - "$1" <<'P'
import struct, sys
image = open(sys.argv[1], "rb").read()
first, log_size, per_group = (struct.unpack_from("<I", image, 1024 + at)[0] for at in (20, 24, 32))
size = 1024 << log_size
print(0, image[1024 + 120:][:16], image[1024 + 104:][:16])
for at in range((first + per_group) * size, len(image), per_group * size):
    if struct.unpack_from("<H", image, at + 56)[0] == 0xEF53:
        print(at // size, image[at + 120:][:16], image[at + 104:][:16])
P
}

while read -r name options; do
	for type in iomapfs ext4; do
		rm -f "$type"
		# shellcheck disable=SC2086 # several words
		mkimg -s 48M -U 6b6b6b6b-1111-2222-3333-444444444444 $options "$type"
		mount_as "$type" "$type"
		"$like" "$MNT" >"$type.said"
		sync -f "$MNT"
		cp --sparse=always "$type" "$type.cut"
		unmount
		mount_as "$type" "$type" ro
		"$like" "$MNT" >"$type.ro"
		unmount
		labels "$type" >"$type.labels"
	done
	for what in said ro labels; do
		diff -u "ext4.$what" "iomapfs.$what" >.diff || { cat .diff >&2; fail "$name: $what: not as on ext4"; }
	done
	[ "$(awk '{ print $2 }' iomapfs.labels | sort -u | wc -l)" = 1 ] || fail "$name: $(cat iomapfs.labels)"
	# What was synced is there after a power cut.
	remember iomapfs.cut
	mount_fs iomapfs.cut
	unmount
	[ "$(e2label iomapfs.cut)" = last ] || fail "$name: after a power cut the name is $(e2label iomapfs.cut)"
	diff -u iomapfs.labels <(labels iomapfs.cut) >.diff || { cat .diff >&2; fail "$name: the copies after a power cut"; }
	# ext4 sees the same generation.
	if [ "$name" = no-sums ]; then
		mount_fs iomapfs
		chattr -v 123456 "$MNT/file"
		[ "$(lsattr -v "$MNT/file" | awk '{ print $1 }')" = 123456 ] || fail "$name: the version of a file"
		unmount
		mount_ext4 iomapfs
		[ "$(lsattr -v "$MNT/file" | awk '{ print $1 }')" = 123456 ] || fail "$name: the version of a file by ext4"
		unmount
	fi
done <<-'END'
	default
	no-sums -O ^metadata_csum,^64bit
	no-seed -O ^metadata_csum_seed
	many-copies -b 1024 -g 256 -O ^resize_inode,^sparse_super -L before
	two-copies -O ^sparse_super,sparse_super2,^resize_inode -b 1024 -g 1024
	no-copies -O ^sparse_super,sparse_super2,^resize_inode -E num_backup_sb=0 -b 1024
END

# Projects: a volume whose inodes may count for some can be read. One inode has no room for its project.
mkimg -s 48M -O quota,project projects
no_fsck projects
mount_ext4 projects
mkdir "$MNT/dir"
touch "$MNT/file" "$MNT/short" "$MNT/none"
chattr -p 77 "$MNT/file"
chattr +P -p 4294967294 "$MNT/dir"
touch "$MNT/dir/child"
chattr -p 88 "$MNT/short"
unmount
debugfs -w -R 'sif short extra_isize 28' projects 2>/dev/null
for type in iomapfs ext4; do
	mount_as "$type" projects ro
	python3 - "$MNT" <<-'P' >"$type.projects"
		import errno, fcntl, os, struct, sys
		for name in ["", "file", "dir", "dir/child", "short", "none"]:
		    fd = os.open(f"{sys.argv[1]}/{name}", os.O_RDONLY)
		    told = fcntl.ioctl(fd, 0x801C581F, bytes(28))
		    print(name, [f"{number:x}" for number in struct.unpack("7I", told)])
		    for project in [0, 5]:
		        try:
		            fcntl.ioctl(fd, 0x401C5820, struct.pack("7I", *struct.unpack("3I", told[:12]), project, 0, 0, 0))
		            print("is set")
		        except OSError as e:
		            print(errno.errorcode[e.errno])
	P
	unmount
done
diff -u ext4.projects iomapfs.projects >.diff || { cat .diff >&2; fail "projects: not as on ext4"; }
[ "$(grep -c -E "file .* '4d',|dir.* 'fffffffe'" iomapfs.projects)" = 3 ] || fail "projects: $(cat iomapfs.projects)"

# What tells of ext4's own memory is not there (EXT4_IOC_GETSTATE, EXT4_IOC_CLEAR_ES_CACHE, EXT4_IOC_GET_ES_CACHE).
mount_fs projects ro
for request in 0x40046629 0x6628 0xC020662A; do
	python3 -c 'import errno, fcntl, os, sys
try:
    fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), int(sys.argv[2], 0), bytes(32))
except OSError as e:
    sys.exit(e.errno != errno.ENOTTY)
sys.exit(1)' "$MNT/file" $request || fail "request $request is answered"
done
unmount

# A copy that is bad stays so, and all others get the name.
mkimg -s 48M -b 1024 -g 1024 -O ^resize_inode bad
no_fsck bad
dd if=/dev/zero of=bad bs=1024 seek=$((3 * 1024 + 1)) count=1 conv=notrunc status=none
mount_fs bad
log_mark
e2label "$(losetup -j bad | cut -d : -f 1)" >/dev/null
python3 -c 'import fcntl, os, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x41009432, b"all".ljust(256, b"\0"))' "$MNT"
log_since "block 3073 is no good copy of the super block"
unmount
labels bad >.labels
[ "$(grep -c "b'all" .labels)" -ge 5 ] && ! grep -v -q "b'all" .labels || fail "$(cat .labels)"

# Several at the same time: all copies come to have one name.
rm -f img
mkimg -s 48M -b 1024 -g 256 -O ^resize_inode,^sparse_super img
mount_fs img
pids=()
for who in a b c d; do
	python3 -c 'import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
for n in range(20):
    fcntl.ioctl(fd, 0x41009432, f"{sys.argv[2]}{n}".encode().ljust(256, b"\0"))' "$MNT" "$who" &
	pids+=($!)
done
all_end "${pids[@]}"
unmount
labels img >.labels
[ "$(sed 's/^[0-9]* //' .labels | sort -u | wc -l)" = 1 ] || fail "different names: $(sort -u -k 2 .labels)"

# A journal that is emptied has nothing to replay, whatever comes of its blocks.
rm -f img
mkimg -s 48M img
for flags in 0 1 2; do
	mount_fs img
	fill "$MNT/file$flags" 100000
	sync -f "$MNT"
	python3 -c 'import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x4004662B, struct.pack("I", int(sys.argv[2])))' "$MNT" "$flags"
	cp --sparse=always img cut
	dumpe2fs -h cut 2>/dev/null | grep -q 'Journal start: *0$' || fail "flags $flags: $(dumpe2fs -h cut | grep Journal)"
	fill "$MNT/more$flags" 100000
	sync -f "$MNT"
	rm -f cut
	snapshot img cut
	unmount
	mount_fs cut
	same "$MNT/file$flags" 100000
	same "$MNT/more$flags" 100000
	unmount
done
