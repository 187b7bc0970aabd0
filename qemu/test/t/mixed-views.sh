# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a page cache that does not see direct writes, direct reads that miss the page cache, holes reported wrongly

mkimg img
mount_fs img
text 1M 2 >.b
# Direct write under a cached page; direct read of dirty pages.
fill "$MNT/f" 1M
cat "$MNT/f" >/dev/null
dd if=.b of="$MNT/f" bs=4K count=16 seek=8 oflag=direct conv=notrunc status=none
text 1M >.w
dd if=.b of=.w bs=4K count=16 seek=8 conv=notrunc status=none
cmp .w "$MNT/f" || fail "cache after a direct write"
dd if=.b of="$MNT/f" bs=4K count=5 seek=100 conv=notrunc status=none
dd if=.b of=.w bs=4K count=5 seek=100 conv=notrunc status=none
dd if="$MNT/f" of=.r bs=64K iflag=direct status=none
cmp .w .r || fail "direct read of dirty pages"
# Holes: where data is before and after writeback.
truncate -s $((BS * 64)) "$MNT/h"
printf a | dd of="$MNT/h" bs=1 seek=$((BS * 10 + 5)) conv=notrunc status=none
dd if=.b of="$MNT/h" bs="$((BS < 4096 ? 4096 : BS))" count=1 seek=$((BS < 4096 ? 8 : 32)) oflag=direct conv=notrunc status=none
seeks() {
	perl -e '
		open my $f, "<", $ARGV[0] or die; my $pos = 0; my $size = -s $f;
		while (1) {
			my $d = sysseek($f, $pos, 3); last unless defined $d;
			my $h = sysseek($f, $d, 4);
			print "$d-$h\n"; $pos = $h; last if $pos >= $size;
		}' "$1"
}
seeks "$MNT/h" >.s1
sync
seeks "$MNT/h" >.s2
drop_caches
seeks "$MNT/h" >.s3
cmp .s1 .s2 && cmp .s2 .s3 || { paste .s1 .s2 .s3 >&2; fail "holes change with writeback"; }
[ "$(wc -l <.s1)" -ge 2 ] || fail "found $(cat .s1)"
[ "$FS" != iomapfs ] || filefrag -v "$MNT/h" >.frag || fail "fiemap"
# Through a mapping into memory.
fio_job --name=map --rw=randwrite --ioengine=mmap --bs=4K --size=1M --filename=f --verify=crc32c --randseed="$SEED"
crosscheck img
