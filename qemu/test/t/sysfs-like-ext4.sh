# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: what monitoring reads of ext4 in sysfs is missing, or is something else; a file there that outlives its mount
# blocks: 4096

only_iomapfs

# What ext4 has and iomapfs has not: about ext4's allocator, or counts and limits that there are not.
cat >left-out <<'T'
err_ratelimit_burst
err_ratelimit_interval_ms
err_report_sec
extent_max_zeroout_kb
inode_goal
inode_readahead_blks
journal_task
last_trim_minblks
max_writeback_mb_bump
mb_best_avail_max_trim_order
mb_group_prealloc
mb_max_linear_groups
mb_max_to_scan
mb_min_to_scan
mb_order2_req
mb_prefetch
mb_prefetch_limit
mb_stats
mb_stream_req
msg_count
msg_ratelimit_burst
msg_ratelimit_interval_ms
sb_update_kb
sb_update_sec
sra_exceeded_retry_limit
warning_count
warning_ratelimit_burst
warning_ratelimit_interval_ms
T
expect_errors
mkimg plain
value() { cat "$of/$1"; }
is() { [ "$(value "$1")" = "$2" ] || fail "$type: $1 is $(value "$1"), expected $2${3:+: $3}"; }
for type in ext4 iomapfs; do
	cp --sparse=always plain "img.$type"
	no_fsck "img.$type"
	dev=$(losetup -f --show "img.$type")
	mount_as "$type" "$dev" errors=continue
	of=/sys/fs/$type/${dev#/dev/}
	(cd "$of" && find . -type f -printf '%f %m\n' | sort) >"names.$type"
	(cd "/sys/fs/$type/features" && find . -type f -printf '%f %m\n' | sort) >"features.$type"
	has_line '^supported$' <"/sys/fs/$type/features/batched_discard"
	for name in errors_count first_error_time last_error_time first_error_errcode last_error_errcode first_error_ino last_error_ino \
		first_error_block last_error_block first_error_line last_error_line; do
		is "$name" 0 "of a new volume"
	done
	is first_error_func ''
	value reserved_clusters >"kept.$type"
	sync
	written=$(value session_write_kbytes) ever=$(value lifetime_write_kbytes)
	before=$((ever - written))
	fill "$MNT/f" 4M
	late=$(value delayed_allocation_blocks)
	# Some more for the nodes of the tree.
	[ "$late" -ge 1024 ] && [ "$late" -lt 1100 ] || fail "$type: $late blocks are delayed, expected 1024"
	sync
	is delayed_allocation_blocks 0 "after a sync"
	more=$(($(value session_write_kbytes) - written))
	[ "$more" -ge 4096 ] && [ "$more" -lt 8192 ] || fail "$type: $more KiB are written, expected 4096 and some metadata"
	[ $(($(value lifetime_write_kbytes) - $(value session_write_kbytes))) = "$before" ] || fail "$type: the lifetime does not follow the session"
	for text in first second; do
		echo "$text error, by a test" >"$of/trigger_fs_error"
		sleep 1.1
	done
	sync
	within 10 test "$(value errors_count)" -ge 1
	sleep 1
	for name in errors_count first_error_errcode last_error_errcode first_error_ino last_error_ino first_error_block last_error_block; do
		echo "$name $(value "$name")"
	done >"values.$type"
	first=$(value first_error_time) last=$(value last_error_time) now=$(date +%s)
	[ "$first" -gt $((now - 30)) ] && [ "$last" -gt "$first" ] && [ "$last" -le "$now" ] || fail "$type: errors at $first and $last, now $now"
	for name in first_error_func last_error_func first_error_line last_error_line; do
		case $(value $name) in '' | 0) fail "$type: no $name" ;; esac
	done
	is last_error_func "$(dumpe2fs -h "$dev" 2>/dev/null | sed -n 's/^Last error function: *//p')"
	[ "$type" = ext4 ] || {
		expect_errno EACCES setpriv --reuid 1000 --clear-groups tee "$of/trigger_fs_error"
		exec 5<"$of/errors_count"
	}
	ever=$(value lifetime_write_kbytes)
	unmount
	[ ! -e "$of" ] || fail "$of is there after the unmount"
	# It goes on from there.
	mount_as "$type" "$dev"
	[ $(($(value lifetime_write_kbytes) - $(value session_write_kbytes))) -ge "$ever" ] || fail "$type: the lifetime is forgotten by an unmount"
	unmount
	losetup -d "$dev"
done
expect_errno ENODEV cat <&5
exec 5<&-
diff values.ext4 values.iomapfs >&2 || fail "values other than on ext4 (<)"
diff kept.ext4 kept.iomapfs >&2 || fail "reserved_clusters other than on ext4 (<)"
grep -v -E "^($(paste -sd '|' left-out)) " names.ext4 | sed 's/^reserved_clusters 644/reserved_clusters 444/' >wanted
diff wanted names.iomapfs >&2 || fail "names or modes other than on ext4 (<)"
[ -z "$(comm -13 features.ext4 features.iomapfs)" ] || fail "features that ext4 does not know: $(comm -13 features.ext4 features.iomapfs)"

# Who reads while mounts come and go.
dev=$(losetup -f --show plain)
(while [ ! -e stop ]; do cat /sys/fs/iomapfs/*/* 2>/dev/null || :; done >/dev/null) &
reader=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
	mount_fs "$dev"
	unmount
done
touch stop
wait "$reader"
losetup -d "$dev"
