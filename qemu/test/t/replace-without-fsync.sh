# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a file that is neither the old one nor the new one, whole, after it was replaced by rename or written anew without fsync

only_iomapfs
mkimg img
mount_fs img
mkdir "$MNT/folder"
for i in {1..8}; do printf 'old content %s' "$i" >"$MNT/file$i"; done
unmount
disk=$(losetup -f --show img)
# Data is long on its way, metadata is as well: a commit may come in between.
dmsetup create slow --table "0 $(blockdev --getsz "$disk") delay $disk 0 0 $disk 0 100"
trap 'umount "$MNT"; dmsetup remove slow; losetup -d "$disk"' EXIT
mount -t iomapfs /dev/mapper/slow "$MNT"
python3 - "$MNT" "$PWD" <<'P'
import os, shutil, subprocess, sys
top, here = sys.argv[1:]
os.chdir(top)
for i in range(1, 9):
    size = (9000, 150_000)[i % 2]
    if i < 5:
        with open(f"new{i}", "wb") as file:
            file.write(b"n" * size)
        os.rename(f"new{i}", f"file{i}")
    else:
        with open(f"file{i}", "wb") as file:
            file.write(b"n" * size)
    # Somebody else has everything committed.
    os.mkdir(f"folder/{i}")
    fd = os.open("folder", os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    subprocess.check_call(["cp", "--sparse=always", f"{here}/img", f"{here}/cut{i}"])
P
umount "$MNT"
dmsetup remove slow
losetup -d "$disk"
trap - EXIT
for i in {1..8}; do
	remember "cut$i"
	mount_fs "cut$i"

	for j in $(seq "$i"); do
		size=$((j % 2 ? 150000 : 9000))
		case $(head -c 3 "$MNT/file$j") in
		old) [ "$(cat "$MNT/file$j")" = "old content $j" ] || fail "cut $i: file$j is a part of the old one" ;;
		*) [ "$(tr -d n <"$MNT/file$j" | wc -c)/$(stat -c %s "$MNT/file$j")" = "0/$size" ] || fail "cut $i: file$j is neither old nor new" ;;
		esac
	done
	unmount
done

# What a rename waits for, and that it need not: in milliseconds for 50 files each.
timed() { # option
	mount_fs img "$1"
	python3 - "$MNT" <<'P'
import os, sys, time
os.chdir(sys.argv[1])
start = time.monotonic()
for i in range(50):
    with open("new", "wb") as file:
        file.write(b"n" * 9000)
    os.rename("new", "file1")
print(int((time.monotonic() - start) * 1000))
P
	unmount
}
log_mark
printf 'iomapfs-test replaced 50 files: %s ms, with noauto_da_alloc %s ms\n' "$(timed auto_da_alloc)" "$(timed noauto_da_alloc)" >/dev/kmsg
log_since 'replaced 50 files'
