# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a buffered write that is accepted and lost at writeback for lack of space, or bytes that are wrong on a full disk
# blocks: one

mkimg -s 12M -N 256 -m 0 -J size=4 img
mount_fs img
sync
empty=$(free_blocks)
# fill_up FILE BYTES: writes until ENOSPC; prints how many bytes were taken. Whatever was taken, fsync must put there.
fill_up() {
	perl -MErrno=ENOSPC -MFcntl -e '
		my ($name, $bytes) = @ARGV;
		sysopen my $f, $name, O_WRONLY | O_CREAT, 0644 or die "open: $!";
		my ($taken, $piece) = (0);
		open my $in, "<", ".text" or die;
		while (1) {
			sysread $in, $piece, $bytes or die "the text is too short";
			my $done = syswrite $f, $piece;
			if (!defined $done) { $! == ENOSPC or die "write: $!"; last }
			$taken += $done;
			sysseek $in, $taken, 0 if $done < length $piece;
		}
		$f->sync or die "fsync: $!";
		print "$taken\n"' "$@"
}
text 14M >.text
# Buffered, large and small pieces.
for piece in 1048576 2777; do
	taken=$(fill_up "$MNT/f" "$piece")
	[ "$taken" -ge $((empty * BS * 8 / 10)) ] || fail "full after $taken bytes of $((empty * BS))"
	[ "$(stat -c %s "$MNT/f")" = "$taken" ] || fail "size"
	[ "$(available_blocks)" -le 8 ] || fail "ENOSPC with $(available_blocks) blocks free"
	drop_caches
	head -c "$taken" .text | cmp - "$MNT/f" || fail "what was written to a full disk is not there"
	# What needs no space still works, what needs it says so.
	printf over | dd of="$MNT/f" conv=notrunc status=none
	sync "$MNT/f"
	expect_errno ENOSPC dd if=.text of="$MNT/g" bs="$BS" count=64 status=none conv=fsync
	rm -f "$MNT/f" "$MNT/g"
	is_free "$empty"
done
# Direct.
expect_errno ENOSPC dd if=.text of="$MNT/d" bs=64K oflag=direct
size=$(stat -c %s "$MNT/d")
[ "$size" -ge $((empty * BS * 8 / 10)) ] || fail "direct: full after $size bytes"
cmp -n "$size" .text "$MNT/d" || fail "direct: what was written to a full disk is not there"
rm "$MNT/d"
is_free "$empty"
# Into the holes of a file that is long enough.
truncate -s 12M "$MNT/holes"
fill_up "$MNT/f" 65536 >/dev/null
perl -MErrno=ENOSPC -e '
	open my $f, "+<", $ARGV[0] or die;
	sysseek $f, 8 << 20, 0;
	my $taken = 0;
	while (my $done = syswrite $f, "x" x 4096) { $taken += $done }
	$! == ENOSPC or die "write: $!";
	$f->sync or die "fsync: $!";
	$taken <= 65536 or die "$taken bytes on a full disk"' "$MNT/holes"
rm "$MNT/f" "$MNT/holes"
is_free "$empty"
# A store into a hole when there is only what was freed a moment ago.
truncate -s 1M "$MNT/mapped"
fill_up "$MNT/f" 65536 >/dev/null
python3 - "$MNT/mapped" "$MNT/f" <<'P'
import mmap, os, sys
with open(sys.argv[1], "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
    os.unlink(sys.argv[2])
    for at in range(0, 1 << 20, 4096):
        m[at] = 77
P
cmp "$MNT/mapped" <(perl -e 'print "M" . "\0" x 4095 for 1 .. 256') || fail "stores"
rm "$MNT/mapped"
is_free "$empty"
# Directories and inodes.
n=0
mkdir "$MNT/many"
while mkdir "$MNT/many/dir$n" 2>.err; do n=$((n + 1)); done
grep -q 'No space left' .err || fail "mkdir: $(cat .err)"
expect_errno ENOSPC touch "$MNT/file"
[ "$n" -ge 200 ] || fail "only $n directories"
rm -r "$MNT/many"
touch "$MNT/file"
rm "$MNT/file"
is_free "$empty"
crosscheck img
