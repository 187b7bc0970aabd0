# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a directory in many pieces that cannot be removed, or whose blocks stay in use

only_iomapfs

mkimg img
mount_fs img
sync
empty=$(stat -f -c %f "$MNT")
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
! dmesg | awk -v mark="$(cat .mark)" 'seen { print } index($0, mark) { seen = 1 }' | grep -E 'iomapfs \(|JBD2' || fail "words in the log"
sync
[ "$(stat -f -c %f "$MNT")" = "$empty" ] || fail "$(stat -f -c %f "$MNT") blocks are free, expected $empty"
crosscheck img
