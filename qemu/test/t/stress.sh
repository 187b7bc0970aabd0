# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a crash, a hang, a wrong byte or a damaged image when two workers each do file operations without pause
# parallel: two workers
# seconds: 300

# N seconds of each; 60 by hand.
: "${N:=2}"
mkimg -s 256M img
mount_fs img
run() { # stressor, options...
	local status=0
	mkdir -p "$MNT/$1"
	log_mark
	stress-ng --temp-path "$MNT/$1" --timeout "$N" --verify --oomable "--$1" 2 "${@:2}" >"$1.out" 2>&1 || status=$?
	[ "$status" = 0 ] || {
		cat "$1.out" >&2
		fail "stress-ng $1: status $status"
	}
	! log_lines | grep "$FS (" ||
		fail "stress-ng $1: the kernel's log has words of $FS"
}
run hdd --hdd-bytes 8M
run readahead --readahead-bytes 8M
run rename
run link
run dentry --dentries 400
run dir --dir-dirs 400
run mmap --mmap-file --mmap-bytes 4M
run sync-file --sync-file-bytes 4M
run fallocate --fallocate-bytes 4M
crosscheck img

# By hand all of stress-ng's class of file systems, on ext4 too: which ends how.
[ "$N" -ge 30 ] || return 0
class=$(stress-ng --class 'filesystem?' 2>&1 | sed 's/.*: //')
for type in ext4 "$FS"; do
	mkimg -s 512M class
	mount_as "$type" class
	for stressor in $class; do
		mkdir "$MNT/$stressor"
		status=0
		stress-ng --temp-path "$MNT/$stressor" --timeout "$N" --verify --oomable "--$stressor" 2 >"$stressor.out" 2>&1 || status=$?
		printf '%s %s\n' "$stressor" "$status" | tee -a "class.$type"
		[ "$status" = 0 ] || cat "$stressor.out"
		rm -rf "${MNT:?}/$stressor"
	done
	unmount
done
diff "class.ext4" "class.$FS" >&2 || fail "a stressor ends otherwise than on ext4 (<)"
