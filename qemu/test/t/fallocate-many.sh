# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a file of more extents than the journal can hold in one transaction, in which something moves to another place, or is half
# moved after a power cut, or for which the kernel warns in its log
# blocks: 1024

mkimg -s 48M -J size=1 img
mount_fs img
# many EXTENTS: makes a file of so many, of one block each.
many() {
	python3 -c '
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
for n in range(int(sys.argv[2])):
    os.pwrite(fd, b"%1024d" % n, 2048 * n)
os.fsync(fd)' "$MNT/many" "$1"
}
# is FILE WHAT: the file has what FILE here has.
is() { cmp "$1" "$MNT/many" || fail "$2"; }
many 24000
# Blocks in front of it that are in memory only when it moves.
dirty() { xfs_io -c "pwrite -q -S 0x$1 $BS $BS" "$MNT/many"; }
dirty 31
cp "$MNT/many" before
tail -c +$((BS + 1)) before >collapsed
xfs_io -c "fcollapse 0 $BS" "$MNT/many"
is collapsed 'not as it should be after a collapse'
remount_fs img
is collapsed 'not as it should be after a collapse and a remount'
{ head -c "$BS" /dev/zero && cat collapsed; } >inserted
xfs_io -c "finsert 0 $BS" "$MNT/many"
is inserted 'not as it should be after an insert'
sync -f "$MNT"
crosscheck img
mount_fs img
is inserted 'not as it should be after an insert and a remount'
# In the middle, with data before it that is not written yet, and the power cut before the commit and after it.
dirty 32
at=$((4001 * BS))
{ head -c "$BS" inserted && head -c "$BS" /dev/zero | tr '\0' 2 && tail -c +$((2 * BS + 1)) inserted; } >before
sync -f "$MNT"
xfs_io -c "finsert $at $((7 * BS))" "$MNT/many"
snapshot img early
{ head -c $at before && head -c $((7 * BS)) /dev/zero && tail -c +$((at + 1)) before; } >after
is after 'not as it should be after an insert in the middle'
sync -f "$MNT"
snapshot img late
xfs_io -c "fcollapse $at $((7 * BS))" "$MNT/many"
snapshot img collapsed.early
is before 'not as it was before the insert in the middle'
sync -f "$MNT"
snapshot img collapsed.late
xfs_io -c "fcollapse $((40001 * BS)) $BS" -c "finsert $((40001 * BS)) $BS" "$MNT/many"
is before 'not as it was before something at the end moved'
crosscheck img
for cut in early late collapsed.early collapsed.late; do
	mount_fs $cut
	case $cut in
	early | collapsed.early) cmp before "$MNT/many" 2>.said || cmp after "$MNT/many" 2>>.said || { cat .said >&2; fail "$cut: half moved"; } ;;
	late) is after 'lost after an insert' ;;
	collapsed.late) is before 'lost after a collapse' ;;
	esac
	unmount
done
