# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a shrinker that takes away what is still needed, or that waits for whoever needs the memory
# parallel: the shrinker against users of the cache

mkimg -s 128M img
mount_fs img
# Every other block of the file is a hole: thousands of extents.
make() {
	perl -e 'open(my $f, "+>", $ARGV[0]) or die; for my $i (0 .. 2999) { seek($f, $i * 2 * $ARGV[1], 0); print $f chr(65 + $i % 26) x $ARGV[1]; }' \
		"$1" "$BS"
}
make expected
(set +x; while [ ! -e stop ]; do echo 2 >/proc/sys/vm/drop_caches; done) &
shrinking=$!
writing=()
for i in 1 2 3; do
	make "$MNT/f$i" &
	writing+=($!)
done
all_end "${writing[@]}"
for i in 1 2 3; do
	sync "$MNT/f$i"
	# Not from the page cache: the extents are needed again.
	dd if="$MNT/f$i" bs=64k iflag=direct status=none | cmp - expected
done
touch stop
all_end "$shrinking"
remount_fs img
for i in 1 2 3; do cmp "$MNT/f$i" expected; done
unmount
