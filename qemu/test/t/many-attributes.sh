# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: attributes, lists, owners or counts of many files that ext4 reads otherwise than they were made here, or the other way round
# blocks: one
# seconds: 300

# How many files; a million by hand: MEM=3500 N=1000000 PATIENCE=20 qemu/test/run --blocks 4096 many-attributes
count=${N:-2000}
only_iomapfs
program() { python3 "$TOP/qemu/test/many-attributes.py" "$MNT" "$@" "$count"; }
# made MAKER READER
made() {
	mkimg -s $((64 + count / 400))M -N $((count + count / 500 + 100)) img
	mount_as "$1" img
	program make
	program list >"$1.said"
	unmount
	fsck_clean img
	mount_as "$2" img
	program list >"$2.said"
	unmount
	diff -u "$1.said" "$2.said" >.diff || { head -n 20 .diff >&2; fail "what $1 has made $2 reads otherwise"; }
	[ "$(wc -l <"$1.said")" = $(((count + 999) / 1000)) ] || fail 'too few folders'
	has_line '^folder-0 [1-9]' <"$1.said" || fail "no attributes: $(cat "$1.said")"
	rm img
}
made iomapfs ext4
made ext4 iomapfs
