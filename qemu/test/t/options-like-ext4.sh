# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: an option of ext4 that is refused, or one that is wrong and taken; other words in /proc/mounts; a remount with them that fails
# blocks: 4096
# seconds: 600

only_iomapfs

# What is other than on ext4: the try, what iomapfs comes to, and why. All else must be the same.
cat >differences <<'T'
noacl	OK noacl	ext4 has forgotten this one
nouser_xattr	OK nouser_xattr	ext4 has forgotten this one
data=journal	EINVAL	data does not go through the journal: taking it would be a lie
data=journal,nodelalloc	EINVAL	as before
quota	EINVAL	the volume does not count: nobody would be held to a limit
usrquota	EINVAL	as before
grpquota	EINVAL	as before
usrquota,grpquota	EINVAL	as before
usrjquota=aquota.user,jqfmt=vfsv0	EINVAL	as before
grpjquota=aquota.group,jqfmt=vfsv1	EINVAL	as before
; norecovery	OK - | EINVAL -	the journal is in use: a remount cannot do without it
sb=131072	EROFS	a copy of the super block is for reading
; abort	OK - | OK abort,emergency_ro	what is shown can be given to a remount
errors=continue ; abort,commit=7	OK - | OK abort,commit=7,emergency_ro	as before
ro ; abort	OK ro | OK ro,abort,emergency_ro	as before
ro,sb=131072 ; rw	OK ro,sb=131072 | EROFS ro,sb=131072	as before
T

cat >tries <<'T'

lazytime
bsddf
minixdf
grpid
bsdgroups
nogrpid
sysvgroups
grpid,nogrpid
resgid=0
resgid=17
resuid=0
resuid=4242
resuid=4294967295
resuid=-1
resuid=root
sb=1
sb=2
sb=131072
ro,sb=131072
ro,sb=131072 ; rw
errors=continue
errors=remount-ro
errors=panic
errors=explode
errors
nouid32
debug
oldalloc
orlov
user_xattr
nouser_xattr
acl
noacl
norecovery
noload
ro,norecovery
ro,noload
bh
nobh
commit=0
commit=5
commit=60
commit=86400
commit=9000000
commit=-1
commit=soon
min_batch_time=0
min_batch_time=100
max_batch_time=0
max_batch_time=15000
journal_dev=1793
journal_dev=x
journal_path=/dev/no-such
journal_path
journal_checksum
nojournal_checksum
journal_async_commit
journal_async_commit,data=writeback
data=ordered
data=writeback
data=journal
data=journal,nodelalloc
data=nothing
data_err=abort
data_err=ignore
data_err=x
usrjquota=
grpjquota=
usrjquota=,grpjquota=
usrjquota=aquota.user,jqfmt=vfsv0
grpjquota=aquota.group,jqfmt=vfsv1
jqfmt=vfsold
jqfmt=vfsv0
jqfmt=vfsv1
jqfmt=vfsv7
quota
noquota
usrquota
grpquota
usrquota,grpquota
prjquota
barrier
barrier=1
barrier=0
barrier=perhaps
nobarrier
i_version
dax=inode
dax=never
dax=sometimes
stripe=0
stripe=1
stripe=16
stripe=1000000
delalloc
nodelalloc
warn_on_error
nowarn_on_error
debug_want_extra_isize=32
debug_want_extra_isize=33
debug_want_extra_isize=2
debug_want_extra_isize=4000
mblk_io_submit
nomblk_io_submit
block_validity
noblock_validity
inode_readahead_blks=0
inode_readahead_blks=32
inode_readahead_blks=64
inode_readahead_blks=33
inode_readahead_blks=2147483648
journal_ioprio=0
journal_ioprio=7
journal_ioprio=8
auto_da_alloc
auto_da_alloc=0
auto_da_alloc=1
noauto_da_alloc
dioread_nolock
nodioread_nolock
dioread_lock
discard
discard=5
nodiscard
init_itable
init_itable=0
init_itable=20
noinit_itable
noinit_itable,init_itable=3
max_dir_size_kb=0
max_dir_size_kb=1000
test_dummy_encryption
test_dummy_encryption=v2
inlinecrypt
nombcache
no_mbcache
prefetch_block_bitmaps
no_prefetch_block_bitmaps
mb_optimize_scan=0
mb_optimize_scan=1
mb_optimize_scan=2
mb_optimize_scan=-1
check=none
nocheck
reservation
noreservation
journal=5
frobnicate
emergency_ro
shutdown
abort
errors=remount-ro,commit=17,nobarrier,discard,stripe=8,resuid=7,grpid,data=writeback,init_itable=4,minixdf,dioread_lock
; errors=remount-ro,commit=30,nobarrier
; discard,grpid,minixdf,resuid=5,resgid=6,max_dir_size_kb=7,noauto_da_alloc
commit=17,discard,grpid ; commit=0,nodiscard,nogrpid
; nodelalloc
nodelalloc ; delalloc
nodelalloc ; commit=9
; data=ordered
; data=writeback
data=writeback ; data=ordered
; journal_async_commit
; nojournal_checksum
; journal_dev=1793
; norecovery
; nombcache
nombcache ; commit=9
; sb=131072
; dax=never
; dax=inode
dax=never ; dax=never
dax=inode ; dax=never
; usrjquota=
; noquota
; stripe=16
; mb_optimize_scan=1
; errors=explode
; frobnicate
; abort
errors=continue ; abort,commit=7
ro ; abort
T

say() { # type: what it says to all tries
	python3 "$TOP/qemu/test/options-like.py" "$1" "$dev" "$MNT" <tries
}
compare() { # what: both types say the same, but for the differences
	local try said why line
	say ext4 >"$1.ext4"
	say iomapfs >"$1.iomapfs"
	cp "$1.ext4" "$1.wanted"
	while IFS=$'\t' read -r try said why; do
		line=$(grep -n -x -F -e "$try" tries | head -n 1) || fail "no try like '$try' ($why)"
		! sed -n "${line%%:*}p" "$1.ext4" | grep -q -x -F -e "$try: $said" || fail "$1: ext4 comes to the same: $try: $said"
		awk -v at="${line%%:*}" -v with="$try: $said" 'NR == at { $0 = with } { print }' "$1.wanted" >wanted
		mv wanted "$1.wanted"
	done <differences
	diff "$1.wanted" "$1.iomapfs" >&2 || fail "$1: other than wanted (<)"
}

mkdir -p "$MNT"
expect_errors
mkimg -s 256M img
no_fsck img
dev=$(losetup -f --show img)
compare plain
# Many groups, and options that the volume has by itself: fields, and a text.
losetup -d "$dev"
mkimg -s 96M -g 1024 -E stripe_width=64 img
no_fsck img
tune2fs -o debug,bsdgroups,uid16,discard,nobarrier,nodelalloc,journal_data_writeback -e remount-ro -u 4242 -g 4343 img >tune
debugfs -w -R 'ssv mount_opts commit=11,nogrpid,resgid=12,dioread_lock' img 2>debugfs.log
dev=$(losetup -f --show img)
cat >tries <<'T'

bsddf
nogrpid
grpid
resuid=0
resuid=4242
resgid=4343
errors=continue
errors=remount-ro
data=ordered
data=writeback
journal_async_commit
nodiscard
barrier
delalloc
stripe=0
stripe=9000
commit=5
commit=11
mb_optimize_scan=0
mb_optimize_scan=1
dioread_nolock
; data=ordered
; commit=5,barrier,nodiscard
; delalloc
T
: >differences
compare volume
# A text that makes no sense is ignored; one without an end is not.
debugfs -w -R 'ssv mount_opts commit=11,frobnicate,grpid' img 2>debugfs.log
printf '%s\n' '' commit=12 >tries
compare bad-text
log_mark
mount_fs "$dev"
unmount
log_since 'options in the super block cannot be parsed'
tune2fs -o ^bsdgroups,journal_data img >tune
printf '%s\n' '' data=ordered >tries
printf '%s\t%s\t%s\n' nothing EINVAL "data does not go through the journal" >differences
say ext4 >said.ext4
say iomapfs >said.iomapfs
has_line '^nothing: EINVAL$' <said.iomapfs || fail "data=journal by the super block: $(cat said.iomapfs)"
[ "$(tail -n 1 said.ext4)" = "$(tail -n 1 said.iomapfs)" ] || fail "data=ordered: $(tail -n 1 said.iomapfs), ext4 $(tail -n 1 said.ext4)"
losetup -d "$dev"
# Volumes that count.
mkimg -s 48M -O quota,project -E quotatype=usrquota:grpquota:prjquota img
no_fsck img
dev=$(losetup -f --show img)
cat >tries <<'T'

quota
noquota
usrquota
grpquota
prjquota
usrquota,grpquota,prjquota
usrquota,noquota
jqfmt=vfsv1
usrjquota=aquota.user,jqfmt=vfsv0
usrquota ; noquota
usrquota ; grpquota
; usrquota
ro ; rw
ro,usrquota ; rw
usrquota ; ro
T
: >differences
compare counts
losetup -d "$dev"
mkimg -s 48M -O quota img
no_fsck img
dev=$(losetup -f --show img)
printf '%s\n' prjquota grpquota >tries
: >differences
compare no-projects
losetup -d "$dev"
