# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: an installation with which mkfs, mount, fsck or fstab do not find the type, or that does not load the module
# blocks: 4096
# guest: alone

only_iomapfs
release=$(uname -r)
DESTDIR=$PWD/dest MODULE=no "$TOP/tools/install/run"
mkdir -p "dest/usr/lib/modules/$release/updates"
cp "$MODULE" "dest/usr/lib/modules/$release/updates/iomapfs.ko"
touch dest/usr/lib/modules/"$release"/modules.{order,builtin}
depmod -b "$PWD/dest/usr" "$release"
[ -d "dest/usr/src/iomapfs-0.1/src/linux" ] || fail 'there is no source for DKMS'
! grep -r -l '@VERSION@' dest/usr/share dest/usr/src/*/dkms.conf || fail 'there is a version missing'
rmmod iomapfs

# As if it had been installed here. The kernel's own search for a module does not know of mount namespaces.
mount -t overlay -o lowerdir="$PWD/dest/usr:/usr" overlay /usr
truncate -s 64M img other
mkfs -t iomapfs -q img
if mkfs -t iomapfs -q -O bigalloc other 2>said; then fail "was done: $(cat said)"; fi
grep -q 'cannot use a file system with the feature bigalloc' said
if mkfs -t iomapfs -q -O metadata_csum,inline_data other 2>said; then fail "was done: $(cat said)"; fi
grep -q 'the feature inline_data' said
! blkid -p other || fail "there is something on what was refused"
mkdir -p mnt
# By the program beside mount, which loads the module.
mount -t iomapfs -o loop,noacl img mnt
grep -q ' iomapfs .*noacl' /proc/self/mounts
echo text >mnt/file
umount mnt
rmmod iomapfs
# By the kernel, which looks for the type.
disk=$(losetup -f --show img)
mount -i -t iomapfs "$disk" mnt
[ "$(cat mnt/file)" = text ]
umount mnt
# By fstab, and checked by it.
echo "$disk $PWD/mnt iomapfs defaults,errors=remount-ro 0 2" >fstab
mount -T fstab "$PWD/mnt"
umount mnt
FSTAB_FILE=$PWD/fstab fsck -A -T -- -f -y >said
grep -q 'Pass 5' said
losetup -d "$disk"
rmmod iomapfs
# Where there is no module, that is said.
mount -t tmpfs none "/usr/lib/modules/$release"
if mount -t iomapfs -o loop img mnt 2>said; then fail "was done: $(cat said)"; fi
grep -q 'the module iomapfs cannot be loaded' said || fail "without a module: $(cat said)"
umount "/usr/lib/modules/$release"
umount -l /usr
insmod "$MODULE"
