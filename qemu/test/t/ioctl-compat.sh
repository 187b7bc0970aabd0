# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a request of ioctl by a task of 32 bits that comes to something else than on ext4
# blocks: 4096

only_iomapfs
expect_trouble 'EXT4-fs warning|shut down|Aborting journal'
zgrep -q '^CONFIG_IA32_EMULATION=y' /proc/config.gz 2>/dev/null || python3 - <<'P' || skip "the kernel has no tasks of 32 bits"
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64]
# getpid by interrupt 128.
code = bytes.fromhex("b814000000 cd80 c3")
page = libc.mmap(None, 4096, 7, 0x22, -1, 0)
ctypes.memmove(page, code, len(code))
sys.stdout.flush()
child = os.fork()
if child == 0:
    os._exit(ctypes.CFUNCTYPE(ctypes.c_int)(page)() != os.getpid())
sys.exit(os.waitpid(child, 0)[1] != 0)
P

for type in iomapfs ext4; do
	mkimg -s 32M -U 6b6b6b6b-1111-2222-3333-444444444444 -O ^metadata_csum "$type"
	mount_as "$type" "$type"
	"$TOP/qemu/test/ioctl-like.py" -32 "$MNT" >"$type.said"
	unmount
	mount_as "$type" "$type"
	unmount
done
diff -u ext4.said iomapfs.said >.diff || { cat .diff >&2; fail "not as on ext4"; }
grep -q 'set version: .*\\xef\\xbe' iomapfs.said || fail "$(cat iomapfs.said)"
