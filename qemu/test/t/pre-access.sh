# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: who fills in the contents of files when they are wanted (FAN_PRE_ACCESS), and is not asked before a read, a write, a mapping
# or a truncate, of another place than on ext4, cannot deny it, or what it fills in is lost
# blocks: 4096

only_iomapfs
like_ext4 16M "$TOP/qemu/test/pre-access-like.py"
# It is not that both know nothing of it.
for line in "allowed: read: b'0000312.*, asked \['100000 file 4096\+4096'\]" "denied: read: EPERM, asked \['100000 file 4096\+4096'\]" \
	"EIO: write: EIO, asked \['100000 file 0\+4096'\]" "denied: map: EPERM, asked \['100000 file 4096\+12288'\]" \
	"ENOSPC: truncate: ENOSPC, asked \['100000 file 0\+4096'\]" "filled in: map, and fault: b'CCCC"; do
	has_line "^$line" <iomapfs.said || fail "no '$line': $(cat iomapfs.said)"
done
