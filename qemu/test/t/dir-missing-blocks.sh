# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a directory with a hole, or a size beyond its blocks, that is given up whole, or to which a name is added
# blocks: 1024

only_iomapfs
expect_errors
names=200

# look: what is listed, how that ends, how many names are found and how many cannot be told, and what a new name says.
look() {
	python3 - "$MNT" "$names" <<'P'
import errno, os, sys
top, names = sys.argv[1] + '/dir', int(sys.argv[2])
def said(f, *a):
    try:
        f(*a)
        return 'OK'
    except OSError as e:
        return errno.errorcode[e.errno]
listed, end = set(), 'OK'
try:
    for entry in os.scandir(top):
        listed.add(entry.name)
except OSError as e:
    end = errno.errorcode[e.errno]
found = {}
for i in range(1, names + 1):
    name = f'name-{i:04d}-long-long-long-long'
    found[name] = said(os.stat, f'{top}/{name}')
    assert (found[name] == 'OK') == (name in listed), f'{name} is {found[name]} and listed: {name in listed}'
    assert found[name] in ('OK', 'EUCLEAN'), f'{name} is {found[name]}'
new = {said(os.mkdir, f'{top}/{n}') for n in 'abcdefgh'}
new |= {said(os.link, sys.argv[1] + '/file', f'{top}/{n}') for n in 'klmnopqr'}
assert new == {'EUCLEAN'}, f'new names: {new}'
assert said(os.unlink, f'{top}/{min(listed)}') == 'OK' if listed else True
print(len(listed), end)
P
}
for features in ^dir_index dir_index '^metadata_csum,dir_index'; do
	rm -f good
	mkimg -s 16M -O "$features" good
	mount_ext4 good
	mkdir "$MNT/dir"
	touch "$MNT/file"
	(cd "$MNT/dir" && seq -f 'name-%04.0f-long-long-long-long' $names | xargs touch)
	blocks=$(($(stat -c %s "$MNT/dir") / BS))
	unmount
	for missing in 0 1 $((blocks / 2)) $((blocks - 1)) size; do
		cp --sparse=always good img
		case $missing in
		size) debugfs -w -R "sif /dir size $(((blocks + 1000000) * BS))" img 2>/dev/null ;;
		*) debugfs -w -R "punch /dir $missing $missing" img 2>/dev/null ;;
		esac
		mount_fs img errors=continue
		log_mark
		read -r listed end < <(look) || fail "$features, block $missing"
		case $features,$missing in
		^dir_index,size) [ "$listed $end" = "$names EUCLEAN" ] || fail "$features, $missing: $listed, $end" ;;
		*,size) [ "$listed" = $names ] || fail "$features, $missing: $listed, $end" ;;
		^dir_index,*) [ "$listed" -ge $((names - 30)) ] && [ "$listed" -lt $names ] && [ "$end" = EUCLEAN ] || fail "$features, block $missing: $listed, $end" ;;
		*,0) [ "$listed $end" = "$names EUCLEAN" ] || fail "$features, block $missing: $listed, $end" ;;
		*) [ "$listed" -ge $((names - 40)) ] && [ "$listed" -lt $names ] && [ "$end" = EUCLEAN ] || fail "$features, block $missing: $listed, $end" ;;
		esac
		[ "$(log_lines | grep -c 'iomapfs .*missing')" = 1 ] || fail "$features, $missing: $(log_lines | grep -c 'iomapfs .*missing') lines in the log"
		# ls says so by its status, too, and what tar and rsync do with it is their affair.
		ls "$MNT/dir" >.ls 2>/dev/null && [ "$end" = EUCLEAN ] && fail "$features, $missing: ls is content"
		[ "$(wc -l <.ls)" = "$((listed - 1))" ] || fail "$features, $missing: ls lists $(wc -l <.ls)"
		unmount
		rm img
	done
done

# A block that cannot be trusted is told once, as long as it is in memory, and the names in the others are there.
for features in ^dir_index dir_index; do
	rm -f img
	mkimg -s 16M -O "$features" img
	mount_ext4 img
	mkdir "$MNT/dir"
	touch "$MNT/file"
	(cd "$MNT/dir" && seq -f 'name-%04.0f-long-long-long-long' $names | xargs touch)
	unmount
	printf x | dd of=img bs=1 seek=$(($(debugfs -R 'bmap /dir 2' img 2>/dev/null) * BS + BS / 2)) conv=notrunc 2>/dev/null
	no_fsck img
	mount_fs img errors=continue
	log_mark
	read -r listed end < <(look) || fail "$features, a bad block"
	[ "$listed" -ge $((names - 40)) ] && [ "$listed" -lt $names ] && [ "$end" = EUCLEAN ] || fail "$features, a bad block: $listed, $end"
	for n in 1 2 3; do
		! ls "$MNT/dir" >/dev/null 2>&1 || fail "$features, a bad block: ls is content"
		! stat "$MNT/dir/none-$n" >/dev/null 2>&1 || fail "$features, a bad block: finds what there is not"
	done
	[ "$(log_lines | grep -c 'iomapfs .*wrong checksum')" = 1 ] || fail "$features: $(log_lines | grep -c 'iomapfs .*wrong checksum') lines about a bad block"
	unmount
	[ "$(dumpe2fs -h img 2>/dev/null | sed -n 's/^FS Error count: *//p')" = 1 ] || fail "$features: a bad block is counted more than once"
done
