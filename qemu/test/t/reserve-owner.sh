# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: the reserve kept from those whom the super block names, or given to others; accepted data that finds no block
# blocks: 4096

# as UID GID COMMAND...: as a user without capabilities.
as() { setpriv --reuid "$1" --regid "$2" --clear-groups --inh-caps=-all --bounding-set=-all "${@:3}"; }
# What a user could write until the device was full, in KiB; all of it is on the device.
filled() { # uid gid file
	as "$1" "$2" dd if=/dev/zero of="$MNT/$3" bs=8k conv=fsync 2>/dev/null || :
	echo $(($(stat -c %s "$MNT/$3") / 1024))
}
image() { # resuid resgid
	mkimg -s 48M -m 10 -N 4000 img
	tune2fs -u "$1" -g "$2" img >/dev/null
	mount_fs img
	chmod 777 "$MNT"
}
reserve=$((48 * 1024 / 10))

# Users of no name: up to the reserve. The user and the group of the super block, and who has the capability: all of it
# but what is kept back for data that was accepted.
image 4242 4343
user=$(filled 1000 1000 user)
sync
left=$(($(free_blocks) * BS / 1024))
[ "$left" -ge $((reserve * 9 / 10)) ] || fail "a user left $left KiB of a reserve of $reserve"
for who in '4242 1000' '1000 4343' '0 0'; do
	# shellcheck disable=SC2086 # two words
	got=$(filled $who file)
	case $who in
	'0 0') [ "$got" -lt 64 ] || fail "uid 0, which the super block does not name, got $got KiB without a capability" ;;
	*) [ "$got" -gt $((reserve * 9 / 10)) ] || fail "user and group $who got $got KiB of $reserve" ;;
	esac
	rm "$MNT/file"
	sync
done
setpriv --reuid 1000 --regid 1000 --groups 4343 --inh-caps=-all --bounding-set=-all dd if=/dev/zero of="$MNT/file" bs=8k 2>/dev/null || :
[ "$(stat -c %s "$MNT/file")" -gt $((reserve * 900)) ] || fail "a supplementary group does not count"
rm "$MNT/file"
sync
got=$(($(dd if=/dev/zero of="$MNT/file" bs=8k conv=fsync 2>/dev/null || stat -c %s "$MNT/file") / 1024))
[ "$got" -gt $((reserve * 9 / 10)) ] || fail "root with all capabilities got $got KiB of $reserve"
# Everything else that takes blocks, with nothing left but what is kept back: refused, and nothing is harmed.
expect_errno ENOSPC mkdir "$MNT/dir"
expect_errno ENOSPC ln -s "$(printf 'y%.0s' {1..200})" "$MNT/link"
echo changed | dd of="$MNT/user" conv=notrunc,fsync status=none
rm "$MNT/file"
sync
# And with the reserve left: only for those.
expect_errno ENOSPC as 1000 1000 mkdir "$MNT/theirs"
expect_errno ENOSPC as 1000 1000 ln -s "$(printf 'y%.0s' {1..200})" "$MNT/theirs"
as 4242 1000 mkdir "$MNT/dir"
as 4242 1000 ln -s "$(printf 'y%.0s' {1..200})" "$MNT/link"
[ "$user" -gt 30000 ] || fail "a user got $user KiB"
crosscheck img

# By default it is uid 0, root in a container, who has no capability.
image 0 0
filled 1000 1000 user >/dev/null
got=$(filled 0 0 file)
[ "$got" -gt $((reserve * 9 / 10)) ] || fail "uid 0 without capabilities got $got KiB of $reserve"
rm "$MNT/file"
sync
# Its group is no one's: 0 stands for none.
got=$(filled 1000 0 file)
[ "$got" -lt 64 ] || fail "the group 0, which stands for none, got $got KiB"
crosscheck img

# Stores to a mapping of preallocated blocks, on a device that is full to the last common block: they may need nodes of
# the tree that nobody has reserved.
mkimg -s 32M -m 0 img
mount_ext4 img
fallocate -l 8M "$MNT/mapped"
unmount
mount_fs img
dd if=/dev/zero of="$MNT/rest" bs=64k conv=fsync 2>/dev/null || :
python3 - "$MNT/mapped" <<'P'
import mmap, sys
with open(sys.argv[1], 'r+b') as file:
    with mmap.mmap(file.fileno(), 0) as view:
        for page in range(0, len(view) // 4096, 2):
            view[page * 4096] = 1 + page % 250
P
sync -f "$MNT"
remount_fs img
python3 - "$MNT/mapped" <<'P'
import sys
data = open(sys.argv[1], 'rb').read()
bad = [p for p in range(len(data) // 4096) if data[p * 4096] != (0 if p % 2 else 1 + p % 250)]
assert not bad, f'pages {bad[:9]}'
P
crosscheck img

# The reserve of a mounted file system is made smaller: a user whom it had kept out gets on at once.
mkimg -s 48M -m 20 -N 4000 img
mount_fs img
chmod 777 "$MNT"
filled 1000 1000 user >/dev/null
[ "$(filled 1000 1000 more)" -lt 64 ] || fail "a user has more than the reserve leaves"
tune2fs -m 0 "$(losetup -j img | cut -d : -f 1 | head -n 1)" >/dev/null 2>&1
[ "$(filled 1000 1000 more)" -gt 5000 ] || fail "a user does not get what is no longer reserved"
unmount
