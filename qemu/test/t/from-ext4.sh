# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: something that the kernel's ext4 wrote (deep paths, links, holes, many names, special files) and we read otherwise

mkimg img
mount_ext4 img
mkdir -p "$MNT/a/b/c/d" "$MNT/many"
fill "$MNT/a/b/c/d/file" 3M
for i in $(seq 1 16); do
	fill .piece "$BS" "$i"
	dd if=.piece of="$MNT/holes" bs="$BS" seek=$((i * i)) conv=notrunc status=none
done
truncate -s 40M "$MNT/sparse"
fill "$MNT/tail" 70001
# shellcheck disable=SC2046 # names
(cd "$MNT/many" && touch $(seq -f 'a-rather-long-name-for-a-file-%05.0f' 1 1500))
ln "$MNT/a/b/c/d/file" "$MNT/hard"
ln -s a/b/c/d/file "$MNT/soft"
ln -s "$(printf 'x%.0s' $(seq 200))" "$MNT/long"
mknod "$MNT/null" c 1 3
mkfifo "$MNT/fifo"
chmod 4711 "$MNT/tail"
chown 1234:70000 "$MNT/hard"
tree "$MNT" >before
unmount
mount_fs img ro
tree "$MNT" >after
diff -u before after || fail "$FS reads something else than ext4 wrote"
unmount
