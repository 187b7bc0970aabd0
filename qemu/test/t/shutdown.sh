# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a shutdown after which a call says something else than on ext4, something is written, a page stays dirty for ever, what
# was synced is lost, or a check finds something
# blocks: 4096
# seconds: 400
# parallel: writers of all sorts, while the volume is shut down

only_iomapfs
expect_trouble 'Aborting journal|EXT4-fs warning'
like=$(dirname "${BASH_SOURCE[0]}")/../shutdown-like.py

# dirty_kb: how much is dirty or under writeback, in all.
dirty_kb() { awk '/^(Dirty|Writeback):/ { sum += $2 } END { print sum }' /proc/meminfo; }

# shut_down TYPE IMAGE MODE: does it all. The lines are left in TYPE.said, what is there after a mount again in TYPE.tree.
shut_down() {
	mount_as "$1" "$2"
	log_mark
	"$like" "$MNT" "$3" "$1.digest" >"$1.said" || fail "mode $3 on $1: $(tail -n 3 "$1.said")"
	unmount
	if [ "$1" = iomapfs ]; then
		[ "$(sha256sum <"$2")" = "$(cat "$1.digest")  -" ] || fail "mode $3: something was written after the shutdown"
		log_since 'iomapfs \(loop[0-9]+\): .*: the file system is shut down'
		log_lines | grep -v -e 'the file system is shut down' >.lines || :
		! has_line 'iomapfs|iomap' <.lines || fail "mode $3: more in the log than the notice: $(cat .lines)"
	fi
	mount_as "$1" "$2"
	# What was synced, and in mode 0 all that was written.
	for name in kept cold cached old other victim; do
		cmp -n 262144 "$MNT/$name" "$MNT/kept" || fail "mode $3: $name is not what was synced"
	done
	[ "$(sha256sum <"$MNT/kept")" = "$kept  -" ] || fail "mode $3: what was synced is not there"
	[ -s "$MNT/dirty" ] || [ "$3" != 0 ] || fail "mode $3: what was written before is not there"
	[ "$3" = 2 ] || [ -d "$MNT/named" ] || fail "mode $3: a change that was in the journal is not there"
	[ "$3" = 2 ] || { [ ! -e "$MNT/held" ] && [ ! -e "$MNT/deleted" ]; } ||
		fail "mode $3: a deletion that was in the journal is not there"
	(
		cd "$MNT"
		for name in kept cold cached old other victim sparse rewritten mapped dirty; do
			case $3 in
			# Whether writeback was there first is a matter of luck.
			[12]) [[ " rewritten mapped dirty sparse " == *" $name "* ]] || sha256sum "$name" ;;
			0) sha256sum "$name" ;;
			esac
		done
		ls -d symlink long-symlink dir empty
		for name in new new-dir new-node new-symlink older linked; do
			[ ! -e "$name" ] && [ ! -L "$name" ] || exit 1
		done
	) >"$1.tree" || fail "mode $3 on $1: something that was refused is there"
	unmount
	fsck_clean "$2" "mode $3 on $1"
	! dumpe2fs -h "$2" 2>/dev/null | has_line 'with errors|FS Error count' || fail "mode $3 on $1: an error is on record"
}

# What shutdown-like.py has in each file.
kept=$(python3 -c '
import hashlib
print(hashlib.sha256(b"".join(b"%015d\n" % n for n in range(64 * 1024))[: 64 * 4096]).hexdigest())')

for mode in 0 1 2; do
	for type in iomapfs ext4; do
		rm -f "$type.img"
		mkimg -s 96M "$type.img"
		shut_down "$type" "$type.img" "$mode"
	done
	diff -u ext4.said iomapfs.said >.diff || { cat .diff >&2; fail "mode $mode: not as on ext4"; }
	diff -u ext4.tree iomapfs.tree >.diff || { cat .diff >&2; fail "mode $mode: not the same as on ext4 after a mount"; }
done

# A mount that is read-only, a frozen one, and one that nobody has changed.
for how in ro frozen unchanged; do
	rm -f img
	mkimg -s 32M img
	mount_fs img "$([ "$how" != ro ] || echo ro)"
	[ "$how" != frozen ] || fsfreeze -f "$MNT"
	python3 -c 'import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack("I", int(sys.argv[2])))' "$MNT" "$([ "$how" = frozen ] && echo 0 || echo 2)"
	[ "$how" != frozen ] || fsfreeze -u "$MNT"
	! touch "$MNT/new" 2>/dev/null || fail "$how: a file was made"
	unmount
	mount_fs img
	unmount
	fsck_clean img "$how"
done

# Pages that are dirty when it is shut down do not stay so.
rm -f img
mkimg -s 64M img
mount_fs img
fill "$MNT/kept" 100K
sync "$MNT/kept"
before=$(dirty_kb)
fill "$MNT/lost" 16M 2
exec 7<"$MNT"
python3 -c 'import fcntl, struct
fcntl.ioctl(7, 0x8004587D, struct.pack("I", 2))'
exec 7<&-
sync
[ "$(dirty_kb)" -lt $((before + 2048)) ] || fail "$(dirty_kb) KiB are dirty after a sync, $before were before"
unmount
mount_fs img
same "$MNT/kept" 100K
crosscheck img
