# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: memory that is held ahead of small files, or of a stream that is synchronised; a stream that gets a folio for each page; bytes
# behind the end of a file that come to light in a folio that was made larger than the write

only_iomapfs
mkimg -s 400M img
mount_fs img
# cached: kilobytes of the page cache.
cached() { awk '$1 == "Cached:" { print $2 }' /proc/meminfo; }
# grows KILOBYTES MOST COMMAND...: the command writes so much; what it adds to the page cache is at most MOST percent of that.
grows() {
	local bytes=$1 most=$2 before after
	shift 2
	sync
	drop_caches
	# What the programs are in themselves is not meant.
	perl -e 1
	dd if=/dev/zero of=/dev/null count=1 status=none
	before=$(cached)
	"$@" >/dev/null
	# Nothing of it was written back by now, which would bring it to the cache of the image too.
	after=$(cached)
	printf '%s: %s KiB written, %s KiB held\n' "$*" "$bytes" $((after - before))
	[ $((after - before)) -le $((bytes * most / 100 + 2048)) ] || fail "$*: more than $most % of what it writes"
}
small() {
	perl -e 'for my $i (1 .. 2000) {
		open my $f, ">", "$ARGV[0]/small$i" or die; $f->autoflush(1);
		for (1 .. 5) { syswrite $f, "s" x 4096 or die } }' "$MNT"
}
middle() {
	perl -e 'for my $i (1 .. 200) {
		open my $f, ">", "$ARGV[0]/middle$i" or die;
		for (1 .. 33) { syswrite $f, "m" x 4096 or die } }' "$MNT"
}
sparse() {
	perl -e 'open my $f, ">", "$ARGV[0]/sparse" or die;
		for (1 .. 2000) { sysseek $f, $_ * 131072, 0; syswrite $f, "x" x 4096 or die }' "$MNT"
}
stream() { dd if=/dev/zero of="$MNT/stream" bs=4096 count=20000 status=none; }
grows 40000 110 small
grows 26400 130 middle
grows 8000 150 sparse
grows 80000 101 stream
# But for its beginning it is in folios of 16 pages. Where memory is short the kernel makes smaller ones. Here are the last 8 MiB.
PYTHONPATH=$TOP/qemu/test python3 - "$MNT/stream" <<'P'
import ctypes, mmap, os, sys
from calls import COMPOUND_TAIL, PAGE, flags, libc
fd = os.open(sys.argv[1], os.O_RDONLY)
length = 8 << 20
memory = libc.mmap(None, length, 1, 1, fd, os.fstat(fd).st_size - length & -65536)
libc.madvise(memory, length, mmap.MADV_RANDOM)
for at in range(0, length, PAGE):
    ctypes.string_at(memory + at, 1)
tails = sum(page >> COMPOUND_TAIL & 1 for page in flags(memory, length))
print(f"{tails} of {length // PAGE} pages are in a folio of an earlier one")
sys.exit(tails < length // PAGE * 9 // 10)
P

# What is in a folio behind the end of the file is zeros, whoever moves the end.
text 300001 >"$MNT/end"
dd if=<(text 300001) of="$MNT/end" bs=1000 status=none
truncate -s 290000 "$MNT/end"
truncate -s 320000 "$MNT/end"
{ text 290000 && head -c 30000 /dev/zero; } | cmp - "$MNT/end" || fail "what is behind the end"
crosscheck img
