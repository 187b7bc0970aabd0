# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a flag of chattr that is lost, that ext4 reads differently, that is taken and does nothing, or that cannot be had
# and is taken
# blocks: 4096

only_here() { [ "$FS" = iomapfs ]; }
mkimg img
mount_fs img
flags() { lsattr -d "$1" | cut -d' ' -f1 | tr -d -- -; }
has() { # path letters: the flags that can be set, and no others
	local got
	got=$(flags "$1" | tr -d eI)
	[ "$got" = "$2" ] || fail "$1 has the flags '$got', expected '$2'"
}

fill "$MNT/f" 10000
mkdir "$MNT/d"
chattr +SdA "$MNT/f"
chattr +SDdAT "$MNT/d"
has "$MNT/f" SdA
has "$MNT/d" SDdAT
# Not every kind of file has every flag; and some are not there at all. Nothing changes then.
expect_errno EOPNOTSUPP chattr +T "$MNT/f"
if only_here; then
	for flag in j c; do expect_errno EOPNOTSUPP chattr +$flag "$MNT/f"; done
	expect_errno EOPNOTSUPP chattr -e "$MNT/f"
	expect_errno EOPNOTSUPP chattr -p 5 "$MNT/f"
fi
has "$MNT/f" SdA

# Append only.
fill "$MNT/append" 1000
chattr +a "$MNT/append"
expect_errno EPERM dd if=/dev/zero of="$MNT/append" bs=1 count=1 conv=notrunc status=none
expect_errno EPERM truncate -s 0 "$MNT/append"
expect_errno EPERM rm "$MNT/append"
printf more >>"$MNT/append"
[ "$(stat -c %s "$MNT/append")" = 1004 ] || fail "nothing was appended"

# Immutable, also for who has the file open or mapped.
text 8192 >.f
cp .f "$MNT/fixed"
python3 - "$MNT/fixed" <<'P'
import errno, mmap, os, signal, subprocess, sys
path = sys.argv[1]
f = os.open(path, os.O_RDWR)
d = os.open(path, os.O_RDWR | os.O_DIRECT)
m = mmap.mmap(f, 8192)
m[5000:5004] = b"mine"
subprocess.run(["chattr", "+i", path], check=True)
def refused(what, *args):
    try:
        what(*args)
    except OSError as e:
        assert e.errno == errno.EPERM, e
    else:
        sys.exit(f"{what} changed an immutable file")
refused(os.pwrite, f, b"x", 0)
refused(os.pwritev, d, [mmap.mmap(-1, 4096)], 0)
refused(os.ftruncate, f, 10)
refused(os.unlink, path)
refused(os.rename, path, path + "2")
refused(os.link, path, path + "2")
refused(os.chmod, path, 0o600)
child = os.fork()
if child == 0:
    m[5000:5004] = b"late"
    os._exit(0)
_, status = os.waitpid(child, 0)
assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGBUS, status
P
printf mine | dd of=.f bs=1 seek=5000 conv=notrunc status=none
cmp .f "$MNT/fixed" || fail "the immutable file has changed, or a store from before is lost"

# What is done to a file with S, to a directory with D, or on a mount with sync or dirsync, is durable at once.
cut_off() { # the power
	rm -f cut
	snapshot img cut
	mount_fs cut '' "$PWD/.cut"
}
append_lives() {
	printf again >>"$MNT/append"
	cut_off
	cmp "$MNT/append" .cut/append || fail "an append is lost: $1"
	unmount "$PWD/.cut"
	# ext4 is less strict about attributes.
	only_here || return 0
	chmod "$2" "$MNT/append"
	cut_off
	[ "$(stat -c %a .cut/append)" = "$2" ] || fail "a mode is lost: $1"
	unmount "$PWD/.cut"
}
names_live() { # directory, why
	local dir=$1
	: >"$MNT/$dir/new"
	cut_off
	[ -e ".cut/$dir/new" ] || fail "a new name is lost: $2"
	unmount "$PWD/.cut"
	mv "$MNT/$dir/new" "$MNT/$dir/moved"
	cut_off
	[ -e ".cut/$dir/moved" ] && [ ! -e ".cut/$dir/new" ] || fail "a rename is lost: $2"
	unmount "$PWD/.cut"
	rm "$MNT/$dir/moved"
	cut_off
	[ ! -e ".cut/$dir/moved" ] || fail "a removal is lost: $2"
	unmount "$PWD/.cut"
}
chattr -a "$MNT/append"
sync
chattr +S "$MNT/append"
if only_here; then
	cut_off
	has "$PWD/.cut/append" S
	unmount "$PWD/.cut"
fi
append_lives chattr 640
names_live d chattr
mkdir "$MNT/plain"
chattr -S "$MNT/append"
remount_fs img sync
append_lives sync 604
names_live plain sync
remount_fs img dirsync
names_live plain dirsync

# As ext4 sees them.
unmount
mount_ext4 img
has "$MNT/f" SdA
has "$MNT/d" SDdAT
has "$MNT/append" ''
has "$MNT/fixed" i
chattr -i "$MNT/fixed"
chattr -S "$MNT/f"
remount_fs img
has "$MNT/fixed" ''
has "$MNT/f" dA
crosscheck img

# Links have flags, whether their target is in the inode or in a block (file_getattr does not follow them).
if [ "$FS" = iomapfs ]; then
	mount_fs img
	ln -s short "$MNT/short"
	ln -s "$(printf 'l%.0s' {1..200})" "$MNT/long"
	python3 - "$MNT/short" "$MNT/long" <<'P'
import ctypes, os, sys
call = ctypes.CDLL(None, use_errno=True).syscall
for path in sys.argv[1:]:
    buffer = ctypes.create_string_buffer(24)
    if call(468, -100, path.encode(), buffer, 24, 0x100) != 0:
        sys.exit(f'{path}: {os.strerror(ctypes.get_errno())}')
P
	crosscheck img
fi
