# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: old bytes that come back when a file grows again, blocks that stay behind, sizes that differ on disk

mkimg img
mount_fs img
sync
before=$(free_blocks)
fill "$MNT/f" 3M
text 3M >.f
for size in 2999999 1000001 $((BS * 3)) $((BS * 3 + 1)) 2M 1 0 1M 100 5000000 4097 "$BS"; do
	truncate -s "$size" "$MNT/f" .f
	cmp .f "$MNT/f" || fail "size $size"
	printf tail >>"$MNT/f"
	printf tail >>.f
	cmp .f "$MNT/f" || fail "appended at size $size"
	[ "$size" != 2M ] || sync "$MNT/f"
	[ "$size" != 100 ] || drop_caches
	cmp .f "$MNT/f" || fail "size $size, read again"
done
# Many extents, so that one transaction does not do.
perl -e 'open my $f, ">", $ARGV[0] or die; for (1 .. 1000) { sysseek $f, $_ * 2 * $ARGV[1], 0; syswrite $f, "x" or die }' "$MNT/many" "$BS"
sync
truncate -s $((BS * 500)) "$MNT/many"
sync
truncate -s 0 "$MNT/many"
rm "$MNT/many" "$MNT/f"
# The last page of the largest file that there can be: where blocks are smaller, it reaches behind all that a file can have.
if [ "$BS" -lt 4096 ]; then
	largest=$((((1 << 32) - 1) * BS))
	truncate -s "$largest" "$MNT/largest"
	printf end | dd of="$MNT/largest" bs=1 seek=$((largest - 3)) conv=notrunc status=none
	sync
	drop_caches
	[ "$(tail -c 5000 "$MNT/largest" | tail -c 3)" = end ] || fail "the end of the largest file"
	python3 -c '
import mmap, sys
with open(sys.argv[1], "rb") as f:
    start = int(sys.argv[2]) // 4096 * 4096
    with mmap.mmap(f.fileno(), int(sys.argv[2]) - start, prot=mmap.PROT_READ, offset=start) as view:
        sys.exit(view[-3:] != b"end")' "$MNT/largest" "$largest" || fail "the end of the largest file, mapped"
	rm "$MNT/largest"
fi
# To the size that it has: the times change, as with every truncate.
for size in 0 12345; do
	truncate -s $size "$MNT/same"
	for with in truncate ftruncate; do
		touch -d 2001-02-03 "$MNT/same"
		perl -e '($ARGV[0] eq "truncate" ? truncate($ARGV[1], $ARGV[2]) : (open(F, "+<", $ARGV[1]) && truncate(F, $ARGV[2]))) or die $!' $with "$MNT/same" $size
		[ "$(stat -c %Y "$MNT/same")" -gt 1500000000 ] || fail "$with to the $size bytes that a file has leaves the time as it was"
	done
done
rm "$MNT/same"
is_free "$before"
crosscheck img
