# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a file on persistent memory that is not used as such, or in which a read, a write, a mapping, a truncate or
# fallocate comes to something else than with ext4; a store that was to be durable and is not; an option or flag that ext4
# takes otherwise
# blocks: 4096
# guest: alone --pmem 256M

only_iomapfs
pmem_disk
disk=/dev/pmem0
tool=$TOP/qemu/test/dax-like.py
make_fs() { mke2fs -q -F -t ext4 -b "${1:-4096}" "$disk" 64M; }
remember "$disk"
same_as_ext4() { # what: saw.ext4 and saw.$FS
	diff -u saw.ext4 "saw.$FS" >differs || {
		cat differs >&2
		fail "$1: other than ext4"
	}
}

# What users do, and see.
for type in ext4 "$FS"; do
	make_fs
	mount_as "$type" "$disk" dax=always
	python3 "$tool" --fill "$MNT" >"saw.$type" || fail "dax-like.py on $type"
	[ "$type" != ext4 ] || unmount
done
same_as_ext4 'what users do'
# And ext4 finds what they left, with a page cache and without.
tree "$MNT" >tree.fs
crosscheck "$disk"
mount_ext4 "$disk" ro,dax
tree "$MNT" | diff -u tree.fs - || fail "ext4 with dax reads something else"
unmount

# Random operations, through mappings and without.
mount_fs "$disk" dax
find "$MNT" -type f -delete
cat >fsx.toml <<-E
	flen = 524288
	[opsize]
	max = 65536
	[weights]
	close_open = 1
	truncate = 4
	fsync = 1
	fdatasync = 1
	read = 5
	write = 10
	mapread = 5
	mapwrite = 10
	sendfile = 1
	copy_file_range = 1
	punch_hole = 3
	invalidate = 0
E
"$FSX" -f fsx.toml -N "${N:-2000}" -S "$SEED" -P "$PWD" "$MNT/fsx" >fsx.out 2>&1 || {
	tail -n 40 fsx.out >&2
	fail "fsx, seed $SEED"
}
rm "$MNT/fsx"
python3 "$tool" --bad "$MNT"

# What is durable: the device as it is at some moment. Nothing commits by itself.
unmount
mount_fs "$disk" dax,commit=300
copy() { dd if="$disk" of=cut bs=1M count=64 iflag=direct status=none; }
truncate -s 1M "$MNT/sync" "$MNT/fsync"
sync
python3 "$tool" --durable "$MNT"
copy
remember cut
mount_fs cut '' "$PWD/.cut"
for f in sync fsync written; do
	cmp "$MNT/$f" ".cut/$f" || fail "$f: what was durable is lost"
done
unmount "$PWD/.cut"
# Without a commit, and without a copy.
expect_trouble 'Aborting journal on device pmem0'
python3 "$tool" --shutdown "$MNT"
unmount
mount_fs "$disk" dax
python3 "$tool" --after-shutdown "$MNT"

# A device that reads into mapped blocks is waited for before they are freed.
truncate -s 1M slow.img
loop=$(losetup -f --show slow.img)
dmsetup create slow --table "0 2048 delay $loop 0 700"
python3 "$tool" --pinned "$MNT" /dev/mapper/slow
dmsetup remove slow
losetup -d "$loop"
crosscheck "$disk"

# Options.
mkimg plain
loop=$(losetup -f --show plain)
mounts() { # type device what [option...]
	local mode
	for mode in "${@:4}"; do
		echo "$3, $mode: $(mount_errno "$1" "$2" "$MNT" "$mode")"
		! mountpoint -q "$MNT" || unmount
	done
}
tries() { # type
	local from to shown file
	mounts "$1" "$loop" 'on a disk' dax dax=inode dax=never dax=maybe dax=1 nodax
	make_fs 1024
	mounts "$1" "$disk" 'small blocks' dax=always dax=inode
	# What is shown, what a remount may do, and the flag of files and directories.
	for from in '' dax dax=inode dax=never; do
		make_fs
		mount_as "$1" "$disk" "$from"
		shown=$(awk -v dir="$MNT" '$2 == dir { print $4 }' /proc/self/mounts)
		echo "with '$from': $(tr , '\n' <<<"$shown" | grep ^dax || :)"
		for to in ro dax=always dax=inode dax=never rw; do
			echo "remount from '$from' with $to: $(mount -o "remount,$to" "$MNT" 2>/dev/null && echo OK)"
		done
		mkdir "$MNT/d"
		: >"$MNT/before"
		chattr +x "$MNT/d"
		mkdir "$MNT/d/d"
		: >"$MNT/d/new"
		: >"$MNT/d/d/newer"
		mkfifo "$MNT/d/fifo"
		echo "some data" >"$MNT/f"
		exec 7<"$MNT/f"
		chattr +x "$MNT/f"
		python3 "$tool" --statx "$MNT/d/new" "$MNT/d/d/newer" "$MNT/before" "$MNT/f"
		exec 7<&-
		echo "more" >>"$MNT/f"
		chattr -x "$MNT/d/new"
		python3 "$tool" --statx "$MNT/f" "$MNT/d/new"
		cat "$MNT/f"
		lsattr -d "$MNT"/{d,d/d,d/new,d/d/newer,f,before}
		chattr +x "$MNT/d/fifo" 2>/dev/null && echo 'a flag of a pipe'
		[ "$from" = dax=never ] || unmount
	done
	# That the file has a page cache is what swap wants: not so without.
	for file in no-dax dax; do
		[ "$file" != dax ] || { unmount && mount_as "$1" "$disk" dax; }
		fallocate -l 1M "$MNT/swap.$file"
		chmod 600 "$MNT/swap.$file"
		mkswap "$MNT/swap.$file" >/dev/null
		swapon "$MNT/swap.$file" 2>/dev/null && echo "swap, $file" && swapoff "$MNT/swap.$file"
	done
	unmount
}
for type in ext4 "$FS"; do tries "$type" >"saw.$type"; done
has_line '^swap, no-dax' <saw.ext4 && ! has_line '^swap, dax' <saw.ext4 || fail "swap on ext4"
same_as_ext4 options
losetup -d "$loop"
