# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What a guest test is made of. Read qemu/test/README.md first: it says how a test file looks. A test is sourced after
# this file by a shell with -e, -u and pipefail, as root in the guest, in an empty folder of its own below /tmp.
#
# Variables: $FS the type under test (iomapfs, or ext4 to try a test), $BS the block size of this variant, $SEED for
# what is random, $MODULE the module's path, $OUT a folder that stays on the host, $MNT where the image under test is
# mounted.
#
# Images made by mkimg are remembered; after the test everything is unmounted and each of them must be e2fsck-clean,
# the module must unload, and the kernel's log must be free of trouble.
#
# Starting a program is what takes most of the time in an emulated machine, so the functions that all tests use start few.

# shellcheck source=qemu/guest/kernel-log.sh
. "$TOP/qemu/guest/kernel-log.sh"

MNT=/run/mnt/test
images=$PWD/.images
: "${FS:=iomapfs}" "${BS:=4096}" "${SEED:=1}"

# fail WORDS...: ends the test: it failed.
fail() {
	printf 'FAILED: %s\n' "$*" >&2
	exit 1
}

# skip WORDS...: ends the test: it cannot be run here.
skip() {
	printf 'SKIPPED: %s\n' "$*" >&2
	exit 77
}

# only_iomapfs: for a test of what only iomapfs does.
only_iomapfs() { [ "$FS" = iomapfs ] || skip "only for iomapfs"; }

# remember IMAGE: it is checked after the test.
remember() {
	absolute "$1"
	echo "$path" >>"$images"
}
absolute() {
	case $1 in
	/*) path=$1 ;;
	*) path=$PWD/$1 ;;
	esac
}

# mkimg [-s SIZE] [mke2fs option...] FILE: an image of SIZE (64M if not given) and block size $BS.
mkimg() {
	local size=64M
	[ "$1" != -s ] || { size=$2; shift 2; }
	local file=${*: -1}
	: >"$file"
	truncate -s "$size" "$file"
	case " $* " in
	*' -b '*) mke2fs -q -F -t ext4 "$@" ;;
	*) mke2fs -q -F -t ext4 -b "$BS" "$@" ;;
	esac
	remember "$file"
}

# sampled NUMBER: whether the case of that number is for this block size, of two that share the cases. Another SEED shares them
# the other way round.
sampled() { (((${1} + SEED + (BS == 4096)) % 2 == 0)); }

# no_fsck IMAGE: the test broke this image on purpose: it is not checked afterwards.
no_fsck() {
	absolute "$1"
	grep -v -x -F "$path" "$images" >"$images.new" || :
	mv "$images.new" "$images"
}

# mount_fs IMAGE|DEVICE [OPTIONS [DIR]]: mounts it as $FS, through a loop device when it is a file.
mount_fs() { mount_as "$FS" "$@"; }

# mount_ext4 IMAGE|DEVICE [OPTIONS [DIR]]: mounts it with the kernel's own ext4.
mount_ext4() { mount_as ext4 "$@"; }

mount_as() { # type image [options [dir]]
	local opts=${3:-} dir=${4:-$MNT} mounts
	[ ! -f "$2" ] || opts=loop${opts:+,$opts}
	[ -d "$dir" ] || mkdir -p "$dir"
	mount -t "$1" ${opts:+-o "$opts"} "$2" "$dir"
	read -r -d '' mounts </proc/self/mounts || :
	[[ $mounts == *" $dir $1 "* ]] || fail "$dir is not mounted as $1"
}

# unmount [DIR]
unmount() { umount "${1:-$MNT}"; }

# null_disk NAME SETTING=VALUE...: /dev/NAME is a disk in memory with these settings of null_blk, in $null_disks/NAME.
null_disks=/sys/kernel/config/nullb
null_disk() {
	local folder=$null_disks/$1 set
	shift
	mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config || skip "no configfs"
	[ -d "$null_disks" ] || skip "no null_blk"
	mkdir "$folder"
	for set in blocksize=512 memory_backed=1 "$@" power=1; do echo "${set#*=}" >"$folder/${set%=*}"; done
}

# pmem_disk: /dev/pmem0 is the memory that the guest has with --pmem; files of a file system on it can be used as memory (DAX).
pmem_disk() {
	local nd=/sys/bus/nd seed
	[ -e $nd/devices/namespace0.0 ] || skip "no persistent memory"
	if [ "$(cat /sys/block/pmem0/queue/dax)" = 0 ]; then
		# The kernel wants room for what it keeps of each page, and a record of that on the memory.
		seed=$(cat $nd/devices/region0/pfn_seed)
		echo namespace0.0 >$nd/drivers/nd_pmem/unbind
		echo ram >"$nd/devices/$seed/mode"
		cat /proc/sys/kernel/random/uuid >"$nd/devices/$seed/uuid"
		echo namespace0.0 >"$nd/devices/$seed/namespace"
		echo "$seed" >$nd/drivers/nd_pmem/bind
	fi
	[ "$(cat /sys/block/pmem0/queue/dax)" = 1 ] || skip "no DAX"
}

# remount_fs IMAGE [OPTIONS]: unmounts and mounts again, so that nothing is read from a cache.
remount_fs() {
	unmount
	mount_fs "$@"
}

# drop_caches: page cache, dentries and inodes.
drop_caches() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
}

# fsck_clean IMAGE [WHAT]: e2fsck -fn finds nothing, and the journal needs no replay. WHAT it is, for a message.
fsck_clean() {
	e2fsck -fn "$1" >.fsck 2>&1 || {
		cat .fsck >&2
		fail "${2:+$2: }e2fsck finds errors in $1"
	}
	[[ $(dumpe2fs -h "$1" 2>/dev/null) != *needs_recovery* ]] || fail "${2:+$2: }$1 needs recovery after a clean unmount"
}

# tree DIR: a line for each thing below DIR: type, mode, owner, size, links, time, name, link target; one more for each
# file: checksum, name. Sorted.
tree() {
	(
		cd "$1" || exit 1
		find . -path ./lost+found -prune -o -type d -printf '%y %m %U:%G %T@ %p\n' \
			-o -printf '%y %m %U:%G %s %n %T@ %p -> %l\n' &&
			find . -path ./lost+found -prune -o -type f -exec sha256sum {} +
	) | LC_ALL=C sort
}

# crosscheck IMAGE: $MNT is mounted from IMAGE as $FS. Unmounts it and compares everything with what the kernel's ext4
# then reads from it, after e2fsck found it clean. Leaves IMAGE unmounted.
crosscheck() {
	tree "$MNT" >.tree.fs
	unmount
	fsck_clean "$1"
	mount_ext4 "$1" ro
	tree "$MNT" >.tree.ext4
	unmount
	diff -u .tree.fs .tree.ext4 >.tree.diff || {
		head -n 40 .tree.diff >&2
		fail "ext4 reads something else from $1 than $FS wrote"
	}
}

# like_ext4 SIZE PROGRAM: on a new image of that size, PROGRAM says the same of $MNT with $FS, in $FS.said, as with ext4.
# Both images are compared as crosscheck does.
like_ext4() {
	local type
	for type in ext4 "$FS"; do
		mkimg -s "$1" "$type.img"
		mount_as "$type" "$type.img"
		"$2" "$MNT" >"$type.said" || fail "$type: $(tail -n 3 "$type.said")"
		crosscheck "$type.img"
	done
	diff -u ext4.said "$FS.said" >.diff || { cat .diff >&2; fail "not as on ext4"; }
}

# text SIZE [SEED]: SIZE bytes (4K, 3M, ...) of text that depends on SEED and differs in every place.
text() {
	local first=$((1000000000 + ${2:-$SEED} % 1000 * 8000009))
	# head closes the pipe when it has enough.
	{ seq "$first" 9999999999 2>/dev/null || :; } | head -c "$1"
}

# fill FILE SIZE [SEED]
fill() { text "$2" "${3:-}" >"$1"; }

# same FILE SIZE [SEED]: FILE has just what fill writes.
same() {
	text "$2" "${3:-}" | cmp - "$1" || fail "$1 has not the bytes that were written"
}

# snapshot IMAGE COPY: what a power cut at this moment would leave on the device. COPY is checked like any image.
snapshot() {
	cp --sparse=always "$1" "$2"
	remember "$2"
}

# expect_errno NAME COMMAND...: COMMAND fails, and says the text of errno NAME.
expect_errno() {
	local name=$1 text said
	shift
	text=$(perl -MErrno -e '$! = Errno->can($ARGV[0])->(); print "$!"' "$name")
	if said=$(LC_ALL=C "$@" 2>&1); then
		fail "'$*' succeeded, expected $name ($text)"
	fi
	case $said in
	*"$text"*) ;;
	*) fail "'$*' failed with '$said', expected $name ($text)" ;;
	esac
}

# mount_errno TYPE DEVICE DIR [OPTIONS [ro]]: what mount(2) itself says: OK or the name of the errno. mount(8) hides it.
mount_errno() {
	perl -MErrno -e '
		my ($type, $dev, $dir, $data, $ro) = @ARGV;
		$data = "$data\0"; my $flags = ($ro // "") eq "ro" ? 1 : 0;
		if (syscall(165, $dev, $dir, $type, $flags, $data) == 0) { print "OK\n"; exit }
		for (grep { !/^(ENOTSUP|EWOULDBLOCK|EDEADLOCK)$/ } keys %!) { if ($!{$_}) { print "$_\n"; exit } }
		print "errno ", $! + 0, "\n"' "$1" "$2" "$3" "${4:-}" "${5:-}"
}

# expect_mount_errno NAME IMAGE [OPTIONS [ro]]: mounting IMAGE as $FS fails with errno NAME.
expect_mount_errno() {
	local dev got
	dev=$(losetup -f --show "$2")
	mkdir -p "$MNT"
	got=$(mount_errno "$FS" "$dev" "$MNT" "${3:-}" "${4:-}")
	[ "$got" != OK ] || umount "$MNT"
	losetup -d "$dev"
	[ "$got" = "$1" ] || fail "mount of $2 (${3:-no options} ${4:-}) gave $got, expected $1"
}

# expect_remount_errno NAME|OK ro|rw [OPTIONS [DIR]]: what mount(2) says to a remount; mount(8) has words of its own.
expect_remount_errno() {
	local got
	got=$(perl -MErrno -e '
		my ($dir, $ro, $data) = @ARGV;
		my $flags = 32 | ($ro eq "ro" ? 1 : 0); my $none = "none\0"; $data = "$data\0";
		if (syscall(165, $none, $dir, $none, $flags, $data) == 0) { print "OK\n"; exit }
		for (grep { !/^(ENOTSUP|EWOULDBLOCK|EDEADLOCK)$/ } keys %!) { if ($!{$_}) { print "$_\n"; exit } }' "${4:-$MNT}" "$2" "${3:-}")
	[ "$got" = "$1" ] || fail "remount $2 (${3:-no options}) gave $got, expected $1"
}

# exchange OLD NEW: the two names change places (RENAME_EXCHANGE); prints OK or the name of the errno.
exchange() {
	python3 - "$@" <<'P'
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
old, new = (os.fsencode(name) for name in sys.argv[1:])
print(errno.errorcode[ctypes.get_errno()] if libc.renameat2(-100, old, -100, new, 2) else "OK")
P
}

# all_end PID...: each of them ends, and well.
all_end() {
	local pid
	for pid; do wait "$pid" || fail "process $pid ended with status $?"; done
}

# has_line RE: does the input have a line that matches the extended expression RE? All of it is read, as whoever writes it would fail
# if it were not.
has_line() {
	local lines
	lines=$(grep -a -E -- "$1")
}

# log_mark, log_lines: the kernel's log since log_mark. A message without its end of line is read when the next one is there.
log_mark() { echo "iomapfs-test mark $BASHPID $RANDOM" | tee .mark >/dev/kmsg; }
log_lines() {
	echo "iomapfs-test read" >/dev/kmsg
	dmesg | awk -v mark="$(cat .mark)" 'seen && !/iomapfs-test read/ { print } index($0, mark) { seen = 1 }'
}
# log_since RE: does that have a line that matches the extended expression RE?
log_since() {
	log_lines | has_line "$1" ||
		fail "the kernel's log has no line like: $1"
}

# within SECONDS COMMAND...: COMMAND is tried until it is true; fails if it has not been by then.
within() {
	local until=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$until" ] || fail "still not so: $*"
		sleep 0.1
	done
}

# is_written_back FILE: all its data is on the disk and its map says so, as far as the kernel tells without a sync.
is_written_back() {
	filefrag -v "$1" >.extents || fail "fiemap of $1"
	has_line '^ +0:' <.extents && ! has_line 'delalloc|unwritten' <.extents
}

# free_blocks: as many as statfs tells.
free_blocks() { stat -f -c %f "$MNT"; }

# available_blocks: those of them that anybody may have: without the reserve, and without what is kept back for data that
# was accepted.
available_blocks() { stat -f -c %a "$MNT"; }

# is_free WANT [WHAT]: exactly so many blocks are free once the transactions that freed some have committed.
is_free() {
	for _ in 1 2 3 4 5 6 7 8; do
		sync
		[ "$(free_blocks)" != "$1" ] || return 0
		sleep 0.2
	done
	fail "$(free_blocks) blocks are free, expected $1${2:+: $2}"
}

# expect_trouble RE: lines of the kernel's log that match RE are part of this test (a BUG or WARNING it provokes).
expect_trouble() { printf '%s\n' "$1" >>.allow; }
# expect_errors: the filesystem finds errors in this test, as the image or the device is bad on purpose.
expect_errors() { expect_trouble "$kernel_errors_re"; }

# fio_job JOBFILE|OPTION...: fio in $MNT, quiet unless it fails; its JSON is left in fio.json.
fio_job() {
	fio --directory="$MNT" --aux-path=/tmp --output=fio.json --output-format=json "$@" >fio.out 2>&1 || {
		cat fio.out >&2
		grep -v '^[ {}"]' fio.json >&2 || :
		fail "fio $*"
	}
	! grep -q '"error" : [1-9]' fio.json || fail "fio reports an error: $*"
}
