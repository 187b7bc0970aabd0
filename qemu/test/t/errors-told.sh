# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: an error of the file system that who listens for errors (fanotify) is not told of, twice, or of another file, as by ext4
# blocks: one

only_iomapfs
expect_errors
expect_trouble 'EXT4-fs (error|warning)'

mkimg -s 32M -U 6b6b6b6b-1111-2222-3333-444444444444 img
mount_ext4 img
mkdir "$MNT/dir"
touch "$MNT/bad" "$MNT/dir/one"
fill "$MNT/mapped" 100000
unmount
no_fsck img
debugfs -w -f - img >.dbg 2>&1 <<-'END'
	sif /mapped block[0] 0x00011234
	sif /dir block[0] 0x00015678
END
at=$(debugfs -R "imap /bad" img 2>/dev/null | sed -n 's/.*located at block \([0-9]*\), offset \(0x[0-9a-f]*\).*/\1 \2/p')
printf '\125' | dd of=img bs=1 seek=$((${at% *} * BS + ${at#* } + 16)) conv=notrunc status=none

for how in continue remount-ro; do
	for type in iomapfs ext4; do
		cp --sparse=always img "$type"
		mount_as "$type" "$type" "errors=$how"
		stopped=''
		[ "$how" = continue ] || stopped=stopped
		"$TOP/qemu/test/errors-told.py" "$MNT" $stopped >"$type.told"
		unmount
	done
	diff -u ext4.told iomapfs.told >.diff || { cat .diff >&2; fail "$how: not what ext4 tells"; }
	[ "$(wc -l <iomapfs.told)" -ge 2 ] || fail "$how: $(cat iomapfs.told)"
	[ "$how" != continue ] || [ "$(wc -l <iomapfs.told)" = 5 ] || fail "$how: $(cat iomapfs.told)"
done
