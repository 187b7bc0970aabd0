# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a trace point that is not reached, tells something else than was done, or has other fields than ext4's; a file of
#          debugfs with a wrong number, or that is still there, or read, when the mount is gone
# blocks: 1024 4096

only_iomapfs
T=/sys/kernel/tracing
D=/sys/kernel/debug/iomapfs
[ -e $T/events/ext4/enable ] || skip "no trace points in this kernel"
[ -e $T/events/iomapfs/enable ] || fail "no trace points of the module"
. "$TOP/qemu/test/faults.sh"

# watch COMMAND...: the events of COMMAND are in the file .trace.
watch() {
	: >$T/trace
	"$@"
	cat $T/trace >.trace
}
# seen EVENT RE: there was one, whose fields match RE from where they begin; that is in ${found[@]}.
seen() {
	local line re=" iomapfs_$1: dev $dev ino $2\$"
	line=$(grep -m 1 -E -- "$re" .trace) || {
		head -n 100 .trace >&2
		fail "no event $1 with: dev $dev ino $2"
	}
	[[ $line =~ $re ]]
	found=("${BASH_REMATCH[@]:1}")
}
# device: "MAJOR,MINOR", as the events have it, of what is mounted; its name.
device() {
	local numbers
	numbers=$(mountpoint -d "$MNT")
	dev=${numbers/:/,}
	read -r name < <(findmnt -n -o SOURCE "$MNT")
	name=${name##*/}
}
# put FILE OFFSET LENGTH [dd flag...]: one write.
put() {
	local file=$1 at=$2 len=$3
	shift 3
	dd if=/dev/zero of="$MNT/$file" bs="$len" count=1 oflag="seek_bytes${1:+,$1}" seek="$at" conv=notrunc"${2:+,$2}" status=none
}
# figure NAME, is_figure NAME NUMBER
figure() { cat "$D/$name/$1"; }
is_figure() { [ "$(figure "$1")" = "$2" ]; }
# fails COMMAND...
fails() { ! "$@" >/dev/null 2>&1; }
# full: a file that takes all that there is.
full() { dd if=/dev/zero of="$MNT/all" bs=1M 2>/dev/null || :; }

mkimg -s 24M img
mount_fs img
device
: >"$MNT/direct"
: >"$MNT/cached"
touch "$MNT/held"
sync
eight=$((8 * BS))
echo 1 >$T/events/iomapfs/enable

# A direct write, from what is asked for to what the file shows.
ino=$(stat -c %i "$MNT/direct")
watch put direct 0 $eight direct
seen begin "$ino pos 0 len $eight flags WRITE\|DIRECT"
seen choose "$ino flags  len 8 block ([0-9]+) lblk 0 goal 0 want 8 ret 0 duration ([0-9]+)"
block=${found[0]}
[ "${found[1]}" -gt 0 ] || fail "a choice that took no time"
seen map "$ino flags WRITE\|DIRECT lblk 0 pblk $block len 8 mflags [MU] ret 0 duration [1-9][0-9]*"
seen submit "$ino pos 0 len $eight pblk $block flags WRITE\|DIRECT(\|UNWRITTEN)?"
seen complete "$ino pos 0 len $eight flags WRITE\|DIRECT(\|UNWRITTEN)? ret 0 duration [1-9][0-9]*"
seen publish "$ino pos 0 len $eight flags DIRECT\|UNWRITTEN tid ([1-9][0-9]*) ret 0 duration [1-9][0-9]*"
seen extend "$ino old 0 size $eight tid ${found[0]}"
[ "$(filefrag -v "$MNT/direct" | awk '$1 == "0:" { print $4 + 0 }')" = "$block" ] || fail "the block is not the file's"
# Over it: nothing is chosen or shown.
watch put direct "$BS" "$BS" direct
seen map "$ino flags WRITE\|DIRECT.* lblk 1 pblk $((block + 1)) len 1 mflags M ret 0 duration [0-9]+"
seen complete "$ino pos $BS len $BS flags WRITE\|DIRECT ret 0 duration [1-9][0-9]*"
! has_line 'iomapfs_(choose|publish|extend)' <.trace || fail "an overwrite chooses or shows something"

# Through the page cache: reserved, then written back.
ino=$(stat -c %i "$MNT/cached")
watch put cached 0 $eight '' fsync
seen begin "$ino pos 0 len $eight flags WRITE"
seen map "$ino flags WRITE lblk 0 pblk 0 len 8 mflags ND ret 0 duration [0-9]+"
seen choose "$ino flags RESERVED len 8 block ([0-9]+) lblk 0 goal [0-9]+ want 8 ret 0 duration [0-9]+"
block=${found[0]}
seen map "$ino flags WRITE\|WRITEBACK lblk 0 pblk $block len 8 mflags [MU] ret 0 duration [0-9]+"
seen submit "$ino pos 0 len $eight pblk $block flags WRITE\|WRITEBACK\|UNWRITTEN"
seen complete "$ino pos 0 len $eight flags WRITE\|WRITEBACK\|UNWRITTEN ret 0 duration [1-9][0-9]*"
seen publish "$ino pos 0 len $eight flags WRITEBACK\|UNWRITTEN tid [0-9]+ ret 0 duration [1-9][0-9]*"
seen extend "$ino old 0 size $eight tid [0-9]+"

# The other ways to begin, an asynchronous write, and an orphan.
watch python3 - "$MNT/cached" "$MNT/held" <<'P'
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
with mmap.mmap(fd, 4096) as m:
    m[5] = 1
os.posix_fallocate(fd, 1 << 20, 1 << 16)
os.open(sys.argv[2], os.O_RDWR)
os.unlink(sys.argv[2])
P
seen begin "$ino pos 0 len 4096 flags WRITE\|FAULT"
seen begin "$ino pos 1048576 len 65536 flags FALLOCATE"
seen extend "$ino old $eight size $((1048576 + 65536)) tid [0-9]+"
seen orphan "([0-9]+) add 1 tid [0-9]+"
seen orphan "${found[0]} add 0 tid [0-9]+"
ino=$(stat -c %i "$MNT/direct")
watch python3 "$TOP/qemu/test/aio-write.py" "$MNT/direct" $((2 << 20)) $eight
seen submit "$ino pos $((2 << 20)) len $eight pblk [0-9]+ flags WRITE\|DIRECT\|UNWRITTEN"
seen complete "$ino pos $((2 << 20)) len $eight flags WRITE\|DIRECT\|UNWRITTEN ret 0 duration [1-9][0-9]*"
[ "$(grep -c iomapfs_complete .trace)" = 1 ] || fail "an asynchronous write that completes more than once"

# Figures.
sync
[ "$(figure reserved)" = 0 ] || fail "$(figure reserved) blocks are reserved for nothing"
[ "$(figure chosen) $(figure windows) $(figure window_blocks)" = '0 0 0' ] || fail "blocks are chosen for nothing"
[ "$(figure free)" = "$(free_blocks)" ] || fail "$(figure free) blocks are free, $(free_blocks) by statfs"
put cached $eight $eight
got=$(figure reserved)
[ "$got" -ge 8 ] && [ "$got" -lt 30 ] || fail "$got blocks are reserved for 8"
sync
exec 7>>"$MNT/direct"
for at in 0 1 2; do head -c "$BS" /dev/zero | dd of="$MNT/direct" bs="$BS" oflag=append,direct conv=notrunc status=none; done
got=$(figure window_blocks)
[ "$(figure windows)" = 1 ] && [ "$got" -ge 8 ] && [ "$(figure chosen)" = "$got" ] ||
	fail "$got blocks are ahead in $(figure windows) windows, $(figure chosen) chosen"
exec 7>&-
[ "$(figure windows) $(figure chosen)" = '0 0' ] || fail "a window of a closed file"
rm "$MNT/cached"
[ "$(figure pending)" -ge $((8 + 65536 / BS)) ] || fail "$(figure pending) blocks wait for the commit that frees them"
sync
within 5 is_figure pending 0
is_figure retries 0 || fail "space was made for nobody"
# The groups: as many as there are, all that is free, and runs for what has been looked at.
figure groups >.groups
groups=$(dumpe2fs img 2>/dev/null | grep -c '^Group [0-9]')
told=$(awk 'NR > 1 { n++; free += $2; inodes += $3; if (NF > 5) { runs = 0; for (i = 8; i < NF; i++) runs += $i
		if (runs == $5 && $6 <= $2 && $6 > 0) read++; else read = "wrong" } }
	END { print n, free, inodes, (read > 0) }' .groups)
[ "$told" = "$groups $(figure free) $(stat -f -c %d "$MNT") 1" ] || fail "of the groups: $told; $(head -n 3 .groups)"

# No space.
watch full
seen retry "[0-9]+ effort all free [0-9]+ ret 0 duration [1-9][0-9]*"
[ "$(figure retries)" -ge 1 ] || fail "no retry was counted"
rm "$MNT/all"

# Who has a file open when the mount goes: the module stays, and the file says nothing any more.
exec 8<"$D/$name/free"
unmount
[ ! -e "$D/$name" ] || fail "the folder of a mount that is gone"
! cat <&8 >/dev/null 2>&1 || fail "a file of a mount that is gone was read"
! rmmod iomapfs 2>/dev/null || fail "the module goes while a file of it is open"
exec 8<&-
# Who reads meanwhile.
(while :; do cat $D/*/windows $D/*/chosen || :; done >/dev/null 2>&1) &
reader=$!
for _ in 1 2 3; do
	mount_fs img
	unmount
done
kill $reader
wait $reader || :

# A device that writes nothing, and an inode that cannot be trusted.
mkimg -s 24M small
debugfs -w -R 'write /etc/hostname file' small 2>/dev/null
debugfs -w -R 'set_inode_field <12> mtime 5' small 2>/dev/null
expect_errors
no_fsck small
faulty_make small
mount_fs $FAULTY
device
put direct 0 $eight direct
ino=$(stat -c %i "$MNT/direct")
faulty error_writes
watch fails put direct 0 $eight direct
seen complete "$ino pos 0 len $eight flags WRITE\|DIRECT ret -5 duration [1-9][0-9]*"
watch fails put direct $eight $eight '' fsync
seen complete "$ino pos $eight len $eight flags WRITE\|WRITEBACK\|UNWRITTEN ret -5 duration [1-9][0-9]*"
faulty_well
unmount
faulty_end
# The first byte of the inode's data: its mode has another checksum now.
at=$(dumpe2fs small 2>/dev/null | awk '/Inode table at/ { split($4, range, "-"); print range[1]; exit }')
printf '\377' | dd of=small bs=1 seek=$((at * BS + 11 * 256 + 40)) conv=notrunc status=none
mount_fs small
device
watch fails cat "$MNT/file"
seen error "12 block [0-9]+ error -[0-9]+ function [a-z_/]+\.rs line [1-9][0-9]*"
unmount
echo 0 >$T/events/iomapfs/enable

# The same write on ext4: the fields that have the same name are of the same kind and say the same.
fields() { sed -n 's/^.*field:\(.*\) \([a-z]*\)\(\[.*\)\{0,1\};.offset.*signed:\([01]\).*/\2 \1 \4/p' "$T/events/$1/format" | sort; }
same_fields() { # event, ext4's, fields
	local field ours theirs
	for field in $3; do
		ours=$(fields "iomapfs/iomapfs_$1" | awk -v f="$field" '$1 == f { print $NF }')
		theirs=$(fields "ext4/$2" | awk -v f="$field" '$1 == f { print $NF }')
		[ -n "$theirs" ] && [ "$ours" = "$theirs" ] || fail "field $field of $1: '$ours', '$theirs' of ext4's $2"
	done
}
same_fields begin ext4_da_write_begin 'dev ino pos len'
same_fields map ext4_ext_map_blocks_exit 'dev ino flags lblk pblk len mflags ret'
same_fields choose ext4_allocate_blocks 'dev ino block goal flags len'
same_fields error ext4_error 'dev line'
mkimg -s 24M other
for FS in iomapfs ext4; do
	mount_fs other
	: >"$MNT/cached"
	ino=$(stat -c %i "$MNT/cached")
	sync
	[ $FS = ext4 ] && events='ext4/ext4_da_write_begin ext4/ext4_ext_map_blocks_exit ext4/ext4_allocate_blocks' || events=iomapfs
	for event in $events; do echo 1 >"$T/events/$event/enable"; done
	watch put cached 512 100 '' fsync
	for event in $events; do echo 0 >"$T/events/$event/enable"; done
	sed -n -E 's/^.* (iomapfs|ext4)_(begin|da_write_begin|map|ext_map_blocks_exit|choose|allocate_blocks): dev /\2 /p' .trace |
		grep " ino $ino " | sed -E -e 's/^da_write_//' -e 's/^ext_map_blocks_exit/map/' -e 's/^allocate_blocks/choose/' >.$FS
	rm "$MNT/cached"
	unmount
done
FS=iomapfs
# shellcheck disable=SC2013 # words they are
for event in begin map choose; do
	for fs in iomapfs ext4; do
		case $event in
		begin) sed -n 's/^begin .* \(pos [0-9]* len [0-9]*\).*/\1/p' .$fs ;;
		map) sed -n 's/^map .* \(lblk 0\) pblk [1-9][0-9]* \(len 1\) .*/\1 \2/p' .$fs | head -n 1 ;;
		choose) sed -n 's/^choose .* \(len 1\) block [1-9][0-9]* \(lblk 0\) .*/\1 \2/p' .$fs | head -n 1 ;;
		esac >.$fs.$event
		[ -s .$fs.$event ] || { cat .$fs >&2; fail "$fs tells nothing of $event"; }
	done
	diff .iomapfs.$event .ext4.$event >&2 || fail "$event of iomapfs and of ext4 differ"
done
