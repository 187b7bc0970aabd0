# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a directory in many pieces that cannot be removed, or whose blocks stay in use

only_iomapfs

mkimg img
mount_fs img
sync
empty=$(free_blocks)
log_mark
for round in 1 2 3; do
	mkdir "$MNT/a" "$MNT/b" "$MNT/c"
	touch "$MNT/f"
	# The directories grow in turns, and files between them take blocks: no two blocks lie together.
	perl -MIO::Handle -e '
		my ($mnt, $bs) = @ARGV;
		my $per = int(($bs - 50) / 264);
		for my $i (0 .. 150 * $per) {
			for my $d ("a", "b", "c") {
				link "$mnt/f", "$mnt/$d/" . $i . "x" x (250 - length $i) or die "link $i: $!";
			}
			next if $i % $per;
			open my $h, ">", "$mnt/c/s$i" or die; syswrite $h, "x" x $bs; $h->sync;
		}' "$MNT" "$BS"
	[ "$(stat -c %s "$MNT/a")" -ge $((BS * 100)) ] || fail "the directory has only $(stat -c %s "$MNT/a") bytes"
	rm -r "$MNT/a" "$MNT/b" "$MNT/c" "$MNT/f"
done
! log_lines | grep -E 'iomapfs \(|JBD2' || fail "words in the log"
sync
[ "$(free_blocks)" = "$empty" ] || fail "$(free_blocks) blocks are free, expected $empty"
crosscheck img
