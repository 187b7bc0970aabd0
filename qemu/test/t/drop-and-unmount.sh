# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: the memory of an inode given back with the help of a super block that is gone already
# parallel: RCU frees inodes while the last mount goes
# guest: alone --append rcutree.blimit=1 --append rcutree.qhimark=1000000 --append slab_debug=FZP,kmalloc-*

files=${N:-12000}
mkimg -s 256M -N $((files + 100)) img
mount_fs img
mkdir "$MNT/dir"
(cd "$MNT/dir" && seq "$files" | xargs touch)
sync

# Inodes are freed by callbacks of RCU on the processor that has dropped them. A process of the highest priority drops them
# there and stays. Until it has, no grace period ends, as the thread that ends them has to wait for the same processor, on
# which nothing of lower priority gets a share (fair_server). Then few callbacks are done at a time (the guest's options),
# while the super block goes on the other processor. What is freed is poisoned.
echo -1 >/proc/sys/kernel/sched_rt_runtime_us
echo 0 >/sys/kernel/debug/sched/fair_server/cpu0/runtime
echo 31 >/sys/module/rcutree/parameters/rcu_divisor
echo 300 >/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout
cat >drop.py <<'P'
import os, time
os.sched_setaffinity(0, {0})
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(90))
with open('/proc/sys/vm/drop_caches', 'w') as f:
    f.write('2')
print('dropped', flush=True)
end = time.monotonic() + 5
while time.monotonic() < end:
    pass
P
graces=$(pgrep -x 'rcu_(preempt|sched)')
taskset -pc 0 "$graces" >/dev/null
mkfifo dropped
python3 drop.py >dropped &
dropper=$!
taskset -pc 1 $$ >/dev/null
read -r _ <dropped
if [ "$FS" = iomapfs ]; then
	left=$(awk '$1 == "iomapfs" { print $2 }' /proc/slabinfo)
	[ "$left" -gt $((files / 2)) ] || fail "only $left of $files inodes are still to be freed: nothing is shown"
fi
taskset -pc 1 "$graces" >/dev/null
umount "$MNT"
# Grace periods for the super block's own callback.
mkdir other
for _ in $(seq 40); do
	mount -t tmpfs other other
	umount other
done
all_end "$dropper"
