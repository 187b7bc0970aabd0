# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: an option that is taken and does nothing, is not shown, or is wrong and taken all the same
# blocks: 4096

only_iomapfs

mkimg img
options() { awk -v dir="$MNT" '$2 == dir { print $4 }' /proc/self/mounts; }
shows() { case ,$(options), in *",$1,"*) ;; *) fail "$1 is not in $(options)" ;; esac; }
hides() { case ,$(options), in *",$1,"*) fail "$1 is in $(options)" ;; esac; }

# What is wrong is refused, and the log names it.
for bad in frobnicate errors=explode errors commit=soon commit=-1 barrier=perhaps discard=5 data=journal; do
	log_mark
	expect_mount_errno EINVAL img "$bad"
	log_since "iomapfs.*${bad%%=*}"
done
# By name, in the log.
log_mark
expect_mount_errno EINVAL img frobnicate
log_since "Unknown parameter 'frobnicate'"

mount_fs img errors=remount-ro,commit=17,nobarrier,discard
for o in rw errors=remount-ro commit=17 nobarrier discard; do shows "$o"; done
mount -o remount,errors=continue,commit=3,barrier "$MNT"
shows commit=3
# As it is what the super block says.
for o in nobarrier errors=remount-ro errors=continue; do hides "$o"; done
unmount
mount_fs img
for o in nobarrier discard norecovery; do hides "$o"; done
unmount

# Flushes of the device: with barriers each fsync makes some, without none.
dev=$(losetup -f --show img)
flushes() { awk '{ print $16 }' "/sys/block/${dev#/dev/}/stat"; }
synced() { # option: how many flushes ten fsyncs make
	local before i
	mount_fs "$dev" "$1"
	sync
	before=$(flushes)
	for i in 0 1 2 3 4 5 6 7 8 9; do
		printf '%s' "$i" >"$MNT/f$i"
		sync "$MNT/f$i"
	done
	echo $(($(flushes) - before))
	unmount
}
with=$(synced barrier)
without=$(synced nobarrier)
[ "$with" -ge 10 ] || fail "10 fsyncs made $with flushes"
[ "$without" = 0 ] || fail "with nobarrier 10 fsyncs made $without flushes"
losetup -d "$dev"

# auto_da_alloc: what replaces a file, and what is written anew, is written back at once.
replace() { # option
	mount_fs img "$1"
	fill "$MNT/old" 3000 3
	cp "$MNT/old" "$MNT/anew"
	sync
	fill "$MNT/new" 9000 4
	mv "$MNT/new" "$MNT/old"
	fill "$MNT/anew" 9000 4
}
replace auto_da_alloc
hides noauto_da_alloc
for f in old anew; do within 20 is_written_back "$MNT/$f"; done
unmount
replace noauto_da_alloc
shows noauto_da_alloc
sleep 3
for f in old anew; do ! is_written_back "$MNT/$f" || fail "$f was written back although noauto_da_alloc"; done
mount -o remount,auto_da_alloc=1 "$MNT"
hides noauto_da_alloc
mount -o remount,auto_da_alloc=0 "$MNT"
shows noauto_da_alloc
unmount

# commit=: how long a change may wait until it is durable by itself.
there() { # option seconds: is a new name durable after so many?
	rm -f cut
	mount_fs img "$1"
	rm -rf "$MNT/new"
	sync
	mkdir "$MNT/new"
	sleep "$2"
	snapshot img cut
	unmount
	mount_fs cut
	[ ! -d "$MNT/new" ] && echo no || echo yes
	unmount
}
# The journal's own interval is 5 s.
[ "$(there commit=300 9)" = no ] || fail "durable after 9 s with commit=300"
[ "$(there commit=1 3)" = yes ] || fail "not durable after 3 s with commit=1"
