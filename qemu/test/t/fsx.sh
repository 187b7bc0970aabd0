# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a byte or a size that is wrong after some random sequence of reads, writes, truncates, syncs and mappings

# N operations of each kind; 100,000 by hand.
: "${N:=3000}"
[ -x "${FSX:-}" ] || fail "FSX= is not the program that tools/setup/suite builds"
mkimg img
mount_fs img

exercise() { # name, lines for [weights]
	{
		printf 'flen = 524288\n[opsize]\nmax = 65536\n[weights]\nclose_open = 1\ntruncate = 4\nfsync = 1\nfdatasync = 1\n'
		printf '%s\n' "$2"
	} >"$1.toml"
	"$FSX" -f "$1.toml" -N "$N" -S "$SEED" -P "$PWD" "$MNT/$1" >"$1.out" 2>&1 || {
		tail -n 40 "$1.out" >&2
		fail "fsx, $1, seed $SEED"
	}
}
exercise buffered $'mapread = 0\nmapwrite = 0\nread = 10\nwrite = 10\nsendfile = 4\ncopy_file_range = 4\ninvalidate = 0'
exercise mapped $'mapread = 10\nmapwrite = 10\nread = 2\nwrite = 4\ninvalidate = 2\nposix_fadvise = 1'
crosscheck img
