# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: direct writes over data, into holes, behind the end or in parts of blocks that lose, move or show other bytes

mkimg -s 128M img
mount_fs img
# Over data that is there, in whole blocks and in sectors.
fill "$MNT/over" 2M
sync
text 1M 5 >.new
dd if=.new of="$MNT/over" bs=64K oflag=direct conv=notrunc status=none
text 2M >.want
dd if=.new of=.want conv=notrunc status=none
cmp .want "$MNT/over" || fail "overwrite"
dd if=.new of="$MNT/over" bs=512 count=3 seek=5 oflag=direct conv=notrunc status=none
dd if=.new of=.want bs=512 count=3 seek=5 conv=notrunc status=none
cmp .want "$MNT/over" || fail "overwrite of sectors"
# A new file, by appending.
text 3M 6 >.app
dd if=.app of="$MNT/append" bs=4K oflag=direct status=none
cmp .app "$MNT/append" || fail "append"
dd if="$MNT/append" of=.back bs=128K iflag=direct status=none
cmp .app .back || fail "direct read"
# Into holes, back to front, then around them.
truncate -s 1M "$MNT/holes" .holes
for i in 200 100 50 51 49 7 255; do
	dd if=.new of="$MNT/holes" bs=4K count=1 skip="$i" seek="$i" oflag=direct conv=notrunc status=none
	dd if=.new of=.holes bs=4K count=1 skip="$i" seek="$i" conv=notrunc status=none
done
cmp .holes "$MNT/holes" || fail "holes"
# Sectors in holes and behind the end: the rest of the block must be zeros.
for i in 3 900 1777 2500; do
	dd if=.new of="$MNT/holes" bs=512 count=1 skip=9 seek="$i" oflag=direct conv=notrunc status=none
	dd if=.new of=.holes bs=512 count=1 skip=9 seek="$i" conv=notrunc status=none
done
cmp .holes "$MNT/holes" || fail "sectors in holes"
# Lengths that no device can take.
expect_errno EINVAL dd if=.new of="$MNT/odd" bs=1000 count=1 oflag=direct
[ ! -s "$MNT/odd" ] || fail "a refused write left something"
# A limit that cuts a write of whole blocks within a block.
python3 - "$MNT/limited" .new <<'P'
import errno, mmap, os, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = 65536 + 1536
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
data = mmap.mmap(-1, 1 << 20)
data[:] = open(sys.argv[2], "rb").read()
f = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
wrote = os.pwritev(f, [data], 0)
assert wrote == limit, wrote
try:
    os.pwritev(f, [memoryview(data)[:4096]], 69632)
except OSError as e:
    assert e.errno == errno.EFBIG, e
else:
    sys.exit("a write behind the limit")
P
head -c $((65536 + 1536)) .new | cmp - "$MNT/limited" || fail "limited"
remount_fs img
cmp .want "$MNT/over" && cmp .app "$MNT/append" && cmp .holes "$MNT/holes" || fail "after a remount"
crosscheck img
