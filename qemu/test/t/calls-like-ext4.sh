# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a call that is the VFS's own work for the most part (limits of size, set-user-id bits, flags of a write, events and counts,
# blocks: one
# FIBMAP, MAP_SYNC, statx, splice, advice) and that comes to something else than on ext4; a version (i_version) that does not rise

only_iomapfs
like=$(dirname "${BASH_SOURCE[0]}")/../calls-like.py
# versions IMAGE: of a file that is written to, one whose mode is changed, a directory that gets a name; on disk.
seen='moves mode folder'
versions() {
	local name
	for name in $seen; do debugfs -R "stat $name" "$1" 2>/dev/null | sed -n 's/.*Version: 0x\(.*\):\(.*\)/0x\1\2/p'; done
}
# With other blocks what has nothing to do with them need not be done again.
[ "$BS" = 4096 ] && parts=() || parts=(limits maps write_flags moves)
for type in ext4 iomapfs; do
	mkimg -s 48M "$type.img"
	mount_as "$type" "$type.img"
	"$like" "$MNT" "$BS" "${parts[@]}" >"$type.said" || fail "$type: $(tail -n 3 "$type.said")"
	find "$MNT" -name 'born*' -printf '%p %Bs\n' | sort >"$type.born"
	mkdir "$MNT/folder"
	: >"$MNT/mode"
	unmount
	before=$(versions "$type.img")
	mount_as "$type" "$type.img"
	find "$MNT" -name 'born*' -printf '%p %Bs\n' | sort | cmp - "$type.born" || fail "$type: born at another time after a mount"
	# Somebody may have seen them, before the mount.
	echo x >>"$MNT/moves"
	chmod 611 "$MNT/mode"
	: >"$MNT/folder/new"
	unmount
	after=$(versions "$type.img")
	paste -d ' ' <(echo "$before") <(echo "$after") | while read -r old new; do
		[ $((new)) -gt $((old)) ] || fail "$type: a version does not rise: of $seen, $before, then $after"
	done
	mount_as "$type" "$type.img"
	crosscheck "$type.img"
done
diff -u ext4.said iomapfs.said >.diff || { cat .diff >&2; fail "not as on ext4"; }
[ "$BS" = 4096 ] || return 0

# Sectors that are larger than what memory has to be aligned to.
for type in ext4 iomapfs; do
	rm "$type.img"
	mkimg -s 16M "$type.img"
	loop=$(losetup -f --show -b 4096 "$type.img")
	mount_as "$type" "$loop"
	"$like" "$MNT" "$BS" attributes >"$type.said" || fail "$type: $(tail -n 3 "$type.said")"
	unmount
	losetup -d "$loop"
done
diff -u ext4.said iomapfs.said >.diff || { cat .diff >&2; fail "sectors of 4096 bytes: not as on ext4"; }
has_line 'direct I/O \(512, 4096\)' <iomapfs.said || fail "sectors of 4096 bytes: $(cat iomapfs.said)"
