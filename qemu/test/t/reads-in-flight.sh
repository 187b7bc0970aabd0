# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a read into the page cache that is on its way to the device while an atomic write, or an exchange with another file, has the
# file give up its blocks, and that shows what somebody else has written there
# blocks: 4096

only_iomapfs
mkimg -s 8M img
disk=$(losetup -f --show img)
size=$(blockdev --getsz "$disk")
dmsetup create slow --table "0 $size linear $disk 0"
mount_fs /dev/mapper/slow
python3 - "$MNT" "$disk" "$size" "$BS" <<'P'
import errno, fcntl, mmap, os, struct, subprocess, sys, threading, time

top, disk, size, block = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])

def memory(byte):
    buffer = mmap.mmap(-1, block)
    buffer[:] = byte * block
    return buffer

def opened(name):
    return os.open(f"{top}/{name}", os.O_RDWR | os.O_CREAT | os.O_DIRECT)

def fill(name):
    fd, at = opened(name), 0
    while True:
        try:
            at += os.pwrite(fd, memory(b"S"), at)
        except OSError as error:
            assert error.errno == errno.ENOSPC
            return

def table(text):
    for words in (["suspend", "--nolockfs", "slow"], ["load", "slow", "--table", f"0 {size} {text}"], ["resume", "slow"]):
        subprocess.run(["dmsetup", *words], check=True)

# All is full but for the one block to which the atomic write can go.
file, other = opened("file"), opened("other")
os.pwrite(file, memory(b"a"), 0)
os.pwrite(other, memory(b"o"), 0)
fill("full")
os.close(other)
os.unlink(f"{top}/other")
os.sync()
cached = os.open(f"{top}/file", os.O_RDONLY)
# Milliseconds that a read and a write take. The read begins while the data of the write is on its way: before that nothing
# may be in the page cache, and what is being read there is waited for.
table(f"delay {disk} 0 12000 {disk} 0 1000")
found = []
readers = [threading.Thread(target=lambda: found.append(os.pread(cached, block, 0))) for _ in range(12)]
writer = threading.Thread(target=lambda: os.pwritev(file, [memory(b"n")], 0, 0x40))
writer.start()
time.sleep(0.5)
for reader in readers:
    reader.start()
# The write itself does not return before the reads: at its end it takes out of the page cache what they have read.
time.sleep(2)
os.sync()
fill("more")
for thread in [writer, *readers]:
    thread.join()
table(f"linear {disk} 0")
if wrong := set(found) - {b"a" * block, b"n" * block}:
    sys.exit(f"reads found {[bytes_[:8] for bytes_ in wrong]}")

# An exchange waits for a read that has begun, and only then reads itself what is to be copied: so it takes two reads.
os.unlink(f"{top}/more")
os.sync()
donor = os.open(top, os.O_RDWR | os.O_TMPFILE)
os.posix_fallocate(donor, 0, block)
os.fsync(file)
before = os.pread(cached, block, 0)
os.posix_fadvise(cached, 0, 0, os.POSIX_FADV_DONTNEED)
table(f"delay {disk} 0 3000 {disk} 0 0")
found = []
reader = threading.Thread(target=lambda: found.append(os.pread(cached, block, 0)))
reader.start()
time.sleep(0.5)
began = time.monotonic()
what = bytearray(struct.pack("=IIQQQQ", 0, donor, 0, 0, 1, 0))
fcntl.ioctl(file, 0xC028660F, what)
took = time.monotonic() - began
reader.join()
table(f"linear {disk} 0")
if struct.unpack("=IIQQQQ", what)[5] != 1 or found != [before] or os.pread(cached, block, 0) != before:
    sys.exit(f"the exchange: {struct.unpack('=IIQQQQ', what)}, reads found {[bytes_[:8] for bytes_ in found]}")
if took < 4:
    sys.exit(f"the exchange took {took} s: it has not waited for the read")
P
unmount
dmsetup remove slow
losetup -d "$disk"
