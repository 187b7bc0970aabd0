# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: fstrim that leaves out what is free, discards what is in use or written, or does not answer as ext4
# blocks: one
# parallel: free blocks are trimmed while files are written, removed and moved

held() { # KiB of memory that an image takes: the loop device makes holes of what is discarded
	stat -c %b "$1" | awk '{ print int($1 / 2) }'
}
bytes() { # fstrim option...: how many bytes it says
	fstrim -v "$@" "$MNT" | sed -n 's/.*(\([0-9]*\) bytes) trimmed.*/\1/p'
}
nothing() { # fstrim option...
	local said
	said=$(bytes "$@")
	[ "$said" = 0 ] || fail "fstrim $*: again $said bytes"
}
# The same work, and a file system that is full of what was removed.
work() {
	mkdir "$MNT/dir"
	fill "$MNT/keep" 3M 1
	fill "$MNT/old" 30M 2
	fill "$MNT/dir/kept" 300000 3
	sync
	rm "$MNT/old"
	sync
}

# As much as ext4 gives back, or more, and the same is left.
mkimg theirs
mount_ext4 theirs
work
fstrim "$MNT"
unmount
mkimg ours
mount_fs ours
work
before=$(held ours)
first=$(bytes)
gone=$((before - $(held ours)))
[ "$gone" -ge $((29 * 1024)) ] || fail "30 MiB were removed, and fstrim gave back $gone KiB"
[ "$first" -gt $((30 << 20)) ] || fail "fstrim trimmed $first bytes"
[ "$first" -le $(($(free_blocks) * BS)) ] || fail "fstrim trimmed $first bytes, there are $(free_blocks) free blocks"
[ $(($(held ours) - $(held theirs))) -le 100 ] || fail "the image holds $(held ours) KiB, ext4's $(held theirs)"

# A second time there is nothing, also from a directory or a file, until something is removed.
nothing
fstrim -v "$MNT/dir" | has_line '\(0 bytes\) trimmed'
fill "$MNT/new" 5M 4
sync
rm "$MNT/new"
sync
again=$(bytes)
[ "$again" -ge $((5 << 20)) ] || fail "5 MiB were removed, fstrim trimmed $again bytes"
nothing

# Ranges and lengths.
size=$(stat -c %s ours)
group=$((8 * BS * BS))
refused() { # errno, fstrim option...
	local name=$1 said
	shift
	if said=$(LC_ALL=C fstrim "$@" "$MNT" 2>&1); then
		fail "fstrim $*: done"
	fi
	case $said in
	*"$name"*) ;;
	*) fail "fstrim $*: $said" ;;
	esac
}
refused 'Invalid argument' -o "$size"
refused 'Invalid argument' -l $((BS - 1))
refused 'Invalid argument' -m $((group + BS))
fill "$MNT/new" 5M 4
fill "$MNT/small" 10000 4
sync
rm "$MNT/new" "$MNT/small"
sync
nothing -m $((group - BS))
nothing -l "$BS"
some=$(bytes -o 0 -l $((size / 2)))
[ "$some" -le $((size / 2)) ] || fail "of half of the volume $some bytes were trimmed"
[ "$(bytes)" -gt 0 ] || fail "trimmed in part, and that is taken for all"
same "$MNT/keep" 3M 1
same "$MNT/dir/kept" 300000 3
if [ "$FS" = iomapfs ]; then
	# While it is frozen the device stays as it is.
	rm "$MNT/keep"
	fsfreeze -f "$MNT"
	snapshot ours frozen
	nothing
	cmp ours frozen || fail "a frozen file system was trimmed"
	fsfreeze -u "$MNT"
	rm -f frozen
	sync
	[ "$(bytes)" -ge $((3 << 20)) ] || fail "a trim that was stopped is taken for done"
fi
unmount

# Read-only: as ext4, unless the journal was not looked at.
dev=$(losetup -f --show ours)
mount_fs "$dev" ro
[ "$(bytes)" -gt 0 ] || fail "nothing is trimmed where the mount is read-only"
nothing
unmount
mount_fs "$dev" ro,noload
refused 'Read-only file system'
unmount
losetup -d "$dev"
if [ "$FS" = iomapfs ]; then
	# Then the loop device is read-only, too.
	mount_fs ours ro
	refused 'Read-only file system'
	unmount
fi

# Who may not; from a file, and what is no request; a device that cannot.
dev=$(losetup -f --show ours)
mount_fs "$dev"
ioctl() { # number: how that ends on a file, with a structure that says "all"
	perl -e 'open(my $f, "<", $ARGV[1]) or die; my $range = pack("QQQ", 0, ~0, 0);
		print(ioctl($f, hex($ARGV[0]), $range) ? unpack("x8Q", $range) : $!)' "$1" "$MNT/dir/kept"
}
[ "$(LC_ALL=C ioctl c0185878)" = 'Inappropriate ioctl for device' ] || fail "an unknown request: $(ioctl c0185878)"
[ "$(ioctl c0185879)" -gt 0 ] || fail "from a file: $(ioctl c0185879)"
nothing
chmod 755 "$MNT"
if setpriv --reuid 1000 --clear-groups --inh-caps=-all fstrim "$MNT" 2>.said; then
	fail "anybody may trim"
fi
has_line 'not permitted' <.said
unmount
losetup -d "$dev"
null_disk cannot size=32
mke2fs -q -F -t ext4 -b "$BS" /dev/cannot
mount_fs /dev/cannot
refused 'not supported'
unmount
rmdir "$null_disks/cannot"

# While files are written, removed and moved.
mkimg -s 48M busy
mount_fs busy
fill "$MNT/still" 2M 9
sync
writer() { # number
	local n
	for n in $(seq 12); do
		fill "$MNT/$1.$n" $((150000 * $1 + 7000 * n)) "$1$n"
		[ $((n % 3)) -ne 0 ] || sync "$MNT/$1.$n"
		[ $((n % 4)) -ne 0 ] || rm "$MNT/$1.$((n - 1))"
	done
}
writers=()
for w in 1 2 3; do
	writer "$w" &
	writers+=($!)
done
while kill -0 "${writers[@]}" 2>/dev/null; do
	fstrim "$MNT"
done
for w in "${writers[@]}"; do
	wait "$w"
done
fstrim "$MNT"
drop_caches
same "$MNT/still" 2M 9
for w in 1 2 3; do
	for n in 1 2 4 5 6 8 9 10 12; do
		same "$MNT/$w.$n" $((150000 * w + 7000 * n)) "$w$n"
	done
done
crosscheck busy
