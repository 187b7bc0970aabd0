# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a file, name or size that is not in the journal or in its place although fsync, O_DSYNC or syncfs has returned;
# blocks: one
# bytes from before a truncate that come back; an image that recovery cannot mend. (Not: a flush that is missing.)

mkimg img
mount_fs img
fill "$MNT/synced" 2M
sync "$MNT/synced"
mkdir "$MNT/dir"
fill "$MNT/dir/second" 100001 7
sync "$MNT/dir/second" "$MNT/dir"
fill "$MNT/unsynced" 1M 3
# do_cut NAME: a power cut now; NAME is checked with our own recovery, NAME.ext4 with ext4's.
cuts=()
do_cut() {
	snapshot img "$1"
	snapshot img "$1.ext4"
	cuts+=("$1")
}
do_cut all

# A new name is durable when its file is, without a sync of the directory.
fill "$MNT/alone" 5000 2
sync "$MNT/alone"
do_cut alone
# The way editors save.
fill "$MNT/edited" 3000 3
sync
fill "$MNT/edited.new" 9000 4
sync "$MNT/edited.new"
mv "$MNT/edited.new" "$MNT/edited"
sync "$MNT/edited"
do_cut edited
# O_DSYNC and fdatasync make the size durable.
: >"$MNT/log"
sync
text 20000 5 >.log
dd if=.log of="$MNT/log" bs=1000 oflag=dsync conv=notrunc status=none
do_cut log
dd if=.log of="$MNT/log" bs=1000 seek=20 conv=notrunc,fdatasync status=none
do_cut longer
text 16384 6 >.direct
: >"$MNT/direct"
sync
dd if=.direct of="$MNT/direct" bs=4096 oflag=direct,dsync conv=notrunc status=none
do_cut direct
# A file cut off, then written behind its end: what was between must be zeros, though only the write is durable.
head -c 4096 /dev/zero | tr '\0' A >"$MNT/gap"
cp "$MNT/gap" "$MNT/gap.direct"
sync
perl -MFcntl -e '
	for my $f (@ARGV) {
		my $direct = $f =~ /direct$/ ? O_DIRECT : 0;
		truncate $f, 100 or die "truncate: $!";
		exec "dd", "if=/dev/zero", "of=$f", "bs=4096", "count=1", "seek=2", "conv=notrunc", "status=none",
			"oflag=dsync" . ($direct ? ",direct" : "") unless my $pid = fork;
		waitpid $pid, 0;
		$? and die "dd: $?";
	}' "$MNT/gap" "$MNT/gap.direct"
do_cut gap
# The same, where the write begins at the end and only what comes behind that is durable.
head -c 4096 /dev/zero | tr '\0' S >"$MNT/tail"
cp "$MNT/tail" "$MNT/tail.direct"
sync
for f in tail tail.direct; do
	truncate -s 100 "$MNT/$f"
	head -c 3996 /dev/zero | tr '\0' n >>"$MNT/$f"
	case $f in *direct) how=dsync,direct ;; *) how=dsync ;; esac
	dd if=/dev/zero of="$MNT/$f" bs=4096 count=1 seek=1 conv=notrunc status=none oflag="$how"
done
do_cut tail
# A direct write within the file, but behind its end on disk, as what makes it longer is in memory only.
for f in below below.fdatasync; do
	head -c 100 /dev/zero | tr '\0' o >"$MNT/$f"
	sync "$MNT/$f"
	dd if=/dev/zero of="$MNT/$f" bs=4096 count=1 seek=1 conv=notrunc status=none
done
dd if=.direct of="$MNT/below" bs=4096 count=1 oflag=direct,dsync conv=notrunc status=none
dd if=.direct of="$MNT/below.fdatasync" bs=4096 count=1 oflag=direct conv=notrunc,fdatasync status=none
do_cut below
# Nobody syncs what replaces a file, or what is written anew; only the new names are made durable.
fill "$MNT/replaced" 3000 3
fill "$MNT/rewritten" 3000 3
sync
fill "$MNT/replaced.new" 9000 4
mv "$MNT/replaced.new" "$MNT/replaced"
fill "$MNT/rewritten" 9000 5
within 20 is_written_back "$MNT/replaced"
within 20 is_written_back "$MNT/rewritten"
sync "$MNT"
do_cut replaced
unmount
head -c 100 /dev/zero | tr '\0' A >.gap
truncate -s 12288 .gap

check() {
	same "$MNT/synced" 2M
	same "$MNT/dir/second" 100001 7
	case $1 in
	alone) same "$MNT/alone" 5000 2 ;;
	edited) same "$MNT/edited" 9000 4 ;;
	log) cmp .log "$MNT/log" || fail "O_DSYNC" ;;
	longer) cmp <(cat .log .log) "$MNT/log" || fail "fdatasync" ;;
	direct) cmp .direct "$MNT/direct" || fail "O_DIRECT and O_DSYNC" ;;
	below)
		cmp -n 4096 .direct "$MNT/below" || fail "O_DIRECT and O_DSYNC, behind the end on disk"
		cmp -n 4096 .direct "$MNT/below.fdatasync" || fail "O_DIRECT and fdatasync, behind the end on disk"
		;;
	replaced)
		same "$MNT/replaced" 9000 4
		same "$MNT/rewritten" 9000 5
		;;
	gap)
		cmp .gap "$MNT/gap" || fail "bytes from before the truncate"
		cmp .gap "$MNT/gap.direct" || fail "bytes from before the truncate, direct"
		;;
	tail) ! tail -c +101 "$MNT/tail" "$MNT/tail.direct" | has_line S || fail "bytes from before the truncate, at the end" ;;
	esac
}
for cut in "${cuts[@]}"; do
	mount_fs "$cut"
	check "$cut"
	crosscheck "$cut"
	mount_ext4 "$cut.ext4"
	check "$cut"
	unmount
	fsck_clean "$cut.ext4"
done
