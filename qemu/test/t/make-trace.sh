# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: make trace that does not show a function of Rust by its name, an event, or what was called by whom; a picture that is none
# blocks: 4096

only_iomapfs
# $TRACED is the module that make trace has built, $TRACE its program that draws: see qemu/test/run.
[ -n "${TRACED:-}" ] || skip "only on the plain kernel"
T=/sys/kernel/tracing

rmmod iomapfs
truncate -s 64M disk
disk=$(losetup -f --show disk)
read -r size _ <$T/buffer_size_kb
for FS in iomapfs ext4; do
	export FS
	mkdir "$FS"
	[ "$FS" = iomapfs ] && module=$TRACED || module=''
	MODULE=$module OUT=$PWD/$FS DISK=$disk "$TOP/qemu/trace/in-guest" direct append none 4096 65536 && done=1 || done=''
	# For the tests behind this one.
	echo nop >$T/current_tracer
	echo 0 >$T/events/enable
	: >$T/set_graph_function
	: >$T/trace
	echo "$size" >$T/buffer_size_kb
	echo 1 >$T/tracing_on
	[ -n "$done" ] || fail "$FS cannot be traced"
	"$TRACE" --trace "$FS/trace" --svg "$FS/svg" --title "$FS" >"$FS/tree"
done
FS=iomapfs
insmod "$MODULE"

cat >look.py <<'P'
import re, sys, xml.etree.ElementTree


class Trace:
    def __init__(self, fs):
        # How deep, and what: behind the columns of times.
        lines = [line[24:].rstrip("\n") for line in open(f"{fs}/tree") if re.match(" *[0-9.]+ ", line)]
        self.steps = [(len(line) - len(line.lstrip()), line.lstrip()) for line in lines]
        self.picture = xml.etree.ElementTree.parse(f"{fs}/svg").getroot()
        for _, what in self.steps:
            assert not re.match("(->)?_R[A-Z]", what), f"a name that nobody can read: {what}"

    def find(self, what, start=0):
        for n in range(start, len(self.steps)):
            if re.search(what, self.steps[n][1]):
                return n
        sys.exit(f"there is no {what} behind step {start}")

    def has_in_order(self, *all_of_it):
        n = -1
        for what in all_of_it:
            n = self.find(what, n + 1)

    def has_below(self, outer, *inner):
        first = self.find(outer)
        for what in inner:
            n = self.find(what, first)
            depth = min(depth for depth, _ in self.steps[first + 1:n + 1])
            assert depth > self.steps[first][0], f"{what} is not below {outer}"

    def draws(self, *words):
        assert self.picture.tag == "{http://www.w3.org/2000/svg}svg", self.picture.tag
        assert len(self.picture.findall(".//{*}rect")) >= 20, "few boxes"
        text = " ".join(self.picture.itertext())
        for word in words:
            assert word in text, f"no {word} in the picture"


# Of Rust's own functions others may be inlined by another compiler, but not those that C calls.
ours, theirs = Trace("iomapfs"), Trace("ext4")
ours.has_in_order("^linux::file::Table<Regular>::write_iter$", "^// iomapfs_begin: .* len 4096 flags WRITE.DIRECT.APPEND", "^->iomap_dio_rw$",
                  "^->iomap_iter$", "^->linux::iomap::Table<Direct<false>>::next$", "^->iomapfs::map::FileMap::", "^// iomapfs_choose: ",
                  "^// iomapfs_map: ", "^->iomap_dio_bio_iter$", "^// iomapfs_submit: ", "^->submit_bio$",
                  "^->linux::iomap::dio::DioTable<DirectWrite>::end_io$", "^// iomapfs_complete: ", "^->iomapfs::change::",
                  "^->jbd2_journal_get_write_access$", "^// iomapfs_extend: ", "^// iomapfs_publish: ")
ours.has_below("Table<Regular>::write_iter$", "iomapfs_begin", "iomap_dio_rw$", "iomapfs_choose", "iomapfs_publish")
ours.has_below("iomap_iter$", "iomapfs_map")
ours.has_below("DioTable<DirectWrite>::end_io$", "jbd2_journal_get_write_access$", "iomapfs_extend")
ours.draws("DioTable<DirectWrite>::end_io", "iomap_dio_rw", "iomapfs_publish")
theirs.has_in_order("^ext4_file_write_iter$", "^->iomap_dio_rw$", "^->ext4_iomap_begin$", "^// ext4_allocate_blocks: ", "^->submit_bio$",
                    "^->ext4_dio_write_end_io$")
theirs.has_below("ext4_iomap_begin$", "ext4_allocate_blocks")
theirs.draws("ext4_iomap_begin", "iomap_dio_rw", "ext4_allocate_blocks")
P
python3 look.py >.why 2>&1 || { cat ./*/tree .why >&2; fail "$(tail -n 1 .why)"; }
