# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: what a client of NFS finds otherwise than on ext4: a handle that is lost with the server's memory, or finds what came after its
# file; a change that clients do not see, or that a power cut takes back after the server has said that it is made; a name that a listing
# in pieces leaves out
# blocks: 4096

nfs=/run/mnt/nfs
like=$(dirname "${BASH_SOURCE[0]}")/../nfs-like.py
[ -d /proc/fs/nfsd ] || skip "no nfsd"
pipes=/run/mnt/pipes
mkdir -p $pipes
mount -t rpc_pipefs rpc_pipefs $pipes
# The server looks for it for a second, and else has no memory of its clients.
exec 8< <(exec python3 "${like%/*}/nfs.py" $pipes/nfsd/cld)
memory=$!
trap stop EXIT
read -r _ <&8
# The interface "lo" is up (SIOCSIFFLAGS, IFF_UP).
python3 -c 'import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH14x", b"lo", 1))'
mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd
mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug

# serve: $MNT is served as the root of all that there is. Nobody waits for the kernel's questions: all answers are given before.
serve() {
	local until=$((EPOCHSECONDS + 3600))
	echo "-3 +4 +4.1 +4.2" >/proc/fs/nfsd/versions
	echo "tcp 2049" >/proc/fs/nfsd/portlist
	echo 2 >/proc/fs/nfsd/threads
	echo "nfsd 127.0.0.1 $until all" >/proc/net/rpc/auth.unix.ip/channel
	echo "all $MNT $until $((0x2402)) 65534 65534 0" >/proc/net/rpc/nfsd.export/channel
	printf 'all 1 \\x00000000 %s %s\n' "$until" "$MNT" >/proc/net/rpc/nfsd.fh/channel
}

# stop: after the test, whatever it says.
stop() {
	exec 7<&-
	umount -l "$nfs" 2>/dev/null || :
	silence || :
	kill "$memory"
}

# silence: the server ends, and knows of no file any more.
silence() {
	local cache
	echo 0 >/proc/fs/nfsd/threads
	for cache in /proc/net/rpc/{nfsd.fh,nfsd.export,auth.unix.ip}/flush; do echo 1 >"$cache"; done
}

mkdir -p "$nfs"
for type in ext4 "$FS"; do
	mkimg -s 64M "$type.img"
	mount_as "$type" "$type.img" commit=300
	serve
	echo Y >/proc/fs/nfsd/v4_end_grace || :
	mount -i -t nfs4 -o addr=127.0.0.1,clientaddr=127.0.0.1,vers=4.1,sec=sys,actimeo=0,rsize=16384 127.0.0.1:/ "$nfs"
	exec 7<>"$nfs/held"
	"$like" before "$MNT" "$nfs" state >"$type.said" || fail "$type: $(tail -n 3 "$type.said")"
	silence
	unmount
	mount_as "$type" "$type.img" commit=300
	serve
	"$like" after "$MNT" "$nfs" state >>"$type.said" || fail "$type: $(tail -n 3 "$type.said")"
	exec 7<&-
	[ "$type" != "$FS" ] || "$like" durable "$MNT" "$nfs" state "$type.img" >.durable || fail "$(tail -n 3 .durable)"
	umount "$nfs"
	silence
	crosscheck "$type.img"
	[ "$type" = "$FS" ] || continue
	# What a power cut would have left right after each step: the step is there.
	while read -r step there; do
		mount_ext4 "cut-$step" ""
		(cd "$MNT" && eval "$there") >.cut || fail "lost by a power cut: $step"
		unmount
		rm "cut-$step"
	done <<-'E'
		mkdir [ -d durable/folder ]
		create [ -f durable/created ]
		exclusive [ -f durable/exclusive ]
		symlink [ -L durable/symlink ]
		link [ -f durable/link ]
		rename [ -f new-name ]
		remove [ ! -e durable/removed ]
		mode [ "$(stat -c %a durable/mode)" = 741 ]
		write [ "$(stat -c %s durable/written)" = 10000 ] && ! tr -d w <durable/written | grep .
		commit [ "$(stat -c %s durable/committed)" = 10000 ] && ! tr -d c <durable/committed | grep .
		punch [ "$(tr -d x <durable/space | wc -c)" = 8192 ]
	E
done
diff -u ext4.said "$FS.said" >.diff || { cat .diff >&2; fail "not as on ext4"; }
