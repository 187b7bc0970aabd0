# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a system call that comes to something else than POSIX says, or than on ext4: chmod, chown, link, mkdir, mkfifo, mknod, open,
#          rename, rmdir, symlink, truncate, unlink, utimensat and posix_fallocate, as pjdfstest asks for them
# blocks: one
# seconds: 900

only_iomapfs
[ -x "${PJDFSTEST:-}" ] || fail "PJDFSTEST= is not the program that tools/setup/suite builds"
mkdir other
mount -t tmpfs tmpfs other
# Other tests look at a read-only mount: here it is busy at times. pathconf() of the C library, which the suite believes, knows the limit
# of links of ext4 by the name of the type, and says less for others.
settings() {
	cat <<-E
		[features]
		posix_fallocate = {}
		rename_ctime = {}
		utime_now = {}
		utimensat = {}
		secondary_fs = "$PWD/other"
		[settings]
		naptime = 0.02
		expected_failures = [$1]
		[dummy_auth]
		entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
	E
}
settings '' >ext4.toml
settings '"link::link_count_max"' >iomapfs.toml
for type in ext4 iomapfs; do
	mkimg -s 128M "img.$type"
	mount_as "$type" "img.$type"
	"$PJDFSTEST" -c "$type.toml" -p "$MNT" >"says.$type" 2>&1 || fail "on $type: $(tail -n 40 "says.$type")"
	unmount
	sed -i '/link::link_count_max/d' "says.$type"
done
umount other
tail -n 2 says.iomapfs
grep -E ' (ok|FAILED|skipped)$' says.ext4 >results
[ "$(wc -l <results)" -gt 350 ] || fail "not all of it was run: $(head -n 20 says.ext4)"
diff results <(grep -E ' (ok|FAILED|skipped)$' says.iomapfs) >&2 || fail "other than on ext4 (<)"
