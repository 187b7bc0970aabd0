# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: metadata of some kind that cannot be read or written, or is read with a wrong byte, and the wrong errno, no policy, or damage
# blocks: one
#
# Each kind of block in turn: the reads fail, the reads have one byte changed, the writes fail. N is how many bytes of each kind
# are changed, one at a time (1); SEED says which. With one of the two block sizes the reads of a kind of block are tried, with the
# other its writes; the next SEED has it the other way round.

only_iomapfs
. "$TOP/qemu/test/faults.sh"
expect_errors

features=orphan_file
mkimg -s 24M -N 1024 -J size=4 -O $features img 2>/dev/null || { features=''; mkimg -s 24M -N 1024 -J size=4 img; }
mount_ext4 img
mkdir "$MNT/dir" "$MNT/many" "$MNT/gone"
for i in 1 2 3; do fill "$MNT/dir/f$i" 3000 "$i"; done
perl -e 'for (1 .. 400) { my $n = sprintf "%s/%0100d", $ARGV[0], $_; open my $f, ">", $n or die "$n: $!" }' "$MNT/many"
# Ten extents, more than an inode has room for.
for i in $(seq 0 9); do text 4K "$i" | dd of="$MNT/pieces" bs=4K seek=$((i * 3)) conv=notrunc status=none; done
text 200K 2 >.kept
cp .kept "$MNT/kept"
ln -s "$(printf 'x%.0s' $(seq 600))" "$MNT/link"
: >"$MNT/with"
: >"$MNT/with2"
python3 -c 'import os, sys; [os.setxattr(f, "user.a", f[-1:].encode() * 700) for f in sys.argv[1:]]' "$MNT/with" "$MNT/with2"
unmount
tune2fs -e continue img >/dev/null

kept() { cmp .kept "$1" || fail "$1 has not the bytes that were written"; }
ask() { debugfs -R "$1" img 2>/dev/null; }
bmap() { ask "bmap $1 $2" | grep -o -E '^[0-9]+'; }
group() { dumpe2fs img 2>/dev/null | sed -n "s/^ *$1 at \([0-9]*\).*/\1/p" | head -n 1; }
super=$((BS == 1024))
orphan=$(dumpe2fs -h img 2>/dev/null | sed -n 's/^Orphan file inode: *//p')
# The first extents of a tree: "Level Entries Logical Physical ..." of the root has the block of the leaf.
leaf=$(ask 'stat /pieces' | grep -o -E '\(ETB0\):[0-9]+' | cut -d: -f2)

# Kind, block, bytes to change, errno of reads that fail and of reads with that byte, what reads it, what writes it.
# An errno that is left out is not tried; MOUNT is the mount itself, and "-" what may succeed or not.
cat >kinds <<K
super|$super|$((BS == 1024 ? 200 : 1224))-$((BS == 1024 ? 250 : 1274))|MOUNT EIO|MOUNT EUCLEAN/EBADMSG|true|mkdir new
descriptors|$((super + 1))|3-31|MOUNT EIO|MOUNT EUCLEAN|true|mkdir new
block-bitmap|$(group 'Block bitmap')|40-900|-|-|dd if=/dev/zero of=new bs=1M count=2 oflag=direct status=none|dd if=/dev/zero of=new bs=64K count=1 oflag=direct status=none
inode-bitmap|$(group 'Inode bitmap')|5-30|-|-|touch new|touch new
inode-table|$(ask "imap /many/$(printf '%0100d' 200)" | sed -n 's/.*located at block \([0-9]*\).*/\1/p')|60-900|EIO|-|stat many/*0200|chmod 600 many/*0200
extents|$leaf|30-1000|EIO|EIO/EUCLEAN|cat pieces|truncate -s 8K pieces
directory|$(bmap /dir 0)|60-1000|EIO|EUCLEAN|ls dir|touch dir/new
tree|$(bmap /many 0)|50-1000|-|-|ls many|perl -e 'for (1..90) { my \$n = sprintf "many/n%090d", \$_; open my \$f, ">", \$n or die "\$n: \$!" }'
tree-leaf|$(bmap /many 1)|50-1000|EIO|EUCLEAN|ls many|rm many/*[02468]
link|$(bmap /link 0)||EIO||readlink -v link|true
attributes|$(ask 'stat /with' | sed -n 's/.*File ACL: *\([0-9]*\).*/\1/p')||-||rm with|rm with
attributes-2|$(ask 'stat /with2' | sed -n 's/.*File ACL: *\([0-9]*\).*/\1/p')|40-1000||-|rm -f with2|rm with2
journal|$(bmap '<8>' 0)|2-3|MOUNT EIO|MOUNT EINVAL|true|mkdir new
K
[ -z "$orphan" ] || echo "orphan-file|$(bmap "<$orphan>" 0)|20-1000|MOUNT EIO|MOUNT EUCLEAN|true|rm kept2" >>kinds

cp --sparse=always img fresh
no_fsck img

# provoked DO: does it in the root of the file system; what it says is in .said.
provoked() { LC_ALL=C bash -c "cd $MNT && $1" >.out 2>.said; }
text_of() { perl -MErrno -e '$! = Errno->can($ARGV[0])->(); print "$!"' "$1"; }

# check_read KIND FAULT WANT DO: with this fault of its reads, which leaves the device as it is.
check_read() {
	local kind=$1 fault=$2 want=$3 do=$4 got status=0
	faulty "$fault" "$block"
	got=$(mount_errno "$FS" "$FAULTY" "$MNT" errors=continue)
	case $want in
	MOUNT*)
		[[ "${want#MOUNT }" == *$got* ]] || fail "$kind, $fault: the mount gave $got, expected ${want#MOUNT }"
		return
		;;
	esac
	[ "$got" = OK ] || fail "$kind, $fault: the mount gave $got"
	provoked "$do" || status=$?
	if [ "$want" = - ]; then
		# A group whose bitmap is bad has no free blocks or inodes.
		want=EIO/EUCLEAN/EROFS/ENOSPC
	elif [ "$status" = 0 ]; then
		fail "$kind, $fault: '$do' succeeded"
	fi
	if [ "$status" != 0 ]; then
		for got in ${want//\// } none; do
			[ "$got" != none ] || fail "$kind, $fault: '$do' said '$(cat .said)', expected $want"
			! grep -q -F "$(text_of "$got")" .said || break
		done
	fi
	kept "$MNT/kept"
	unmount
}

cp --sparse=always fresh img
faulty_make img
RANDOM=$SEED
row=0
while IFS='|' read -r kind block bytes eio euclean read write; do
	[ -n "$block" ] && [ "$block" -ge 0 ] || fail "where is $kind?"
	row=$((row + 1))
	sampled "$row" || continue
	[ -z "$eio" ] || check_read "$kind" error_reads "$eio" "$read"
	[ -n "$bytes" ] || continue
	for _ in $(seq "${N:-1}"); do
		byte=$((${bytes%-*} + RANDOM % (${bytes#*-} - ${bytes%-*} + 1))) more=$((RANDOM % 255 + 1))
		# Counted from one, and another value than it has.
		was=$(od -An -t u1 -N 1 -j $((block * BS + byte - 1)) fresh)
		check_read "$kind" "corrupt_bio_byte $byte r $(((was + more) % 256)) 0" "$euclean" "$read"
	done
done <kinds
faulty_well
faulty_end
e2fsck -fy img >.fsck 2>&1 || [ $? -le 2 ] || { cat .fsck; fail "e2fsck -fy, after all the reads"; }
fsck_clean img
mount_ext4 img ro
kept "$MNT/kept"
[ "$(find "$MNT/many" -type f | wc -l)" = 400 ] || fail "names are lost"
unmount

# Its writes fail. The journal has what was synced before, and after if somebody was told so.
row=0
while IFS='|' read -r kind block bytes eio euclean read write; do
	row=$((row + 1))
	! sampled "$row" || continue
	cp --sparse=always fresh img
	faulty_make img
	mount_fs "$FAULTY" errors=continue
	cp "$MNT/kept" "$MNT/kept2"
	sync "$MNT/kept2" "$MNT"
	ls -R "$MNT" >/dev/null
	cat "$MNT/pieces" >/dev/null
	faulty error "$block"
	provoked "$write" || grep -q -E 'Input/output error|Read-only file system' .said || fail "$kind: '$write' said '$(cat .said)'"
	late=''
	! fill "$MNT/late" 5000 9 2>/dev/null || ! sync "$MNT/late" "$MNT" 2>/dev/null || late=1
	kept "$MNT/kept"
	unmount
	faulty_well
	mount_fs "$FAULTY"
	for f in kept kept2; do
		[ "$kind/$f" = orphan-file/kept2 ] || kept "$MNT/$f"
	done
	[ -z "$late" ] || same "$MNT/late" 5000 9
	unmount
	faulty_end
	# Attributes that cannot be read keep a deleted inode from being freed: that is left to e2fsck.
	[[ $kind != attributes* ]] || e2fsck -fy img >/dev/null 2>&1 || [ $? -le 2 ] || fail "$kind: e2fsck -fy"
	e2fsck -fn img >.fsck 2>&1 || { cat .fsck; fail "$kind: e2fsck finds errors after our recovery"; }
done <kinds

# The policy, once: what could not be read stops all changes.
cp --sparse=always fresh img
faulty_make img
faulty error_reads "$(bmap /dir 0)"
mount_fs "$FAULTY" errors=remount-ro
expect_errno EIO ls "$MNT/dir"
expect_errno EROFS touch "$MNT/new"
grep -q " $MNT .*emergency_ro" /proc/self/mounts || fail "/proc/mounts does not show emergency_ro"
unmount
faulty_well
faulty_end

# A truncate that fails leaves blocks behind the end. They read as zeros when the file grows over them.
cp --sparse=always fresh img
faulty_make img
faulty error_reads "$leaf"
mount_fs "$FAULTY" errors=continue
expect_errno EIO truncate -s 5000 "$MNT/pieces"
faulty_well
truncate -s 5000 "$MNT/pieces" || :
truncate -s 100000 "$MNT/pieces"
sync "$MNT/pieces"
drop_caches
cmp "$MNT/pieces" <(text 4K 0; head -c 95904 /dev/zero) || fail "what was cut off is there again"
unmount
faulty_end
e2fsck -fy img >/dev/null || [ $? -le 2 ]
fsck_clean img
