# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What counts as trouble in a kernel log. One list, used for the whole guest and after each test.

kernel_trouble_re='Kernel panic|BUG:|kernel BUG at|Oops|WARNING:|general protection fault|KASAN|UBSAN|KCSAN|KFENCE'
kernel_trouble_re+='|rcu.*(stall|detected)|soft lockup|hard LOCKUP|workqueue lockup|blocked for more than|circular locking'
kernel_trouble_re+='|recursive locking|turning off the locking correctness validator|suspicious RCU usage|inconsistent lock state|lock held when returning'
kernel_trouble_re+='|bad unlock balance|sleeping function called|scheduling while atomic|ODEBUG|refcount_t:'
kernel_trouble_re+='|list_(add|del) corruption|panicked at|unreferenced object|Objects remaining|VFS: Busy inodes'
kernel_trouble_re+='|Unable to handle kernel|Out of memory:|JBD2: assertion|page allocation failure|DMA-API:.*error'
# What the filesystem and its journal find: trouble, but where the image or the device is bad on purpose.
kernel_errors_re='iomapfs \([^)]*\): error: |Aborting journal|writeback error on inode|EXT4-fs (error|warning)'
kernel_errors_re+='|attempt to access beyond end of device|Buffer I/O error'
kernel_trouble_re+="|$kernel_errors_re|iomapfs \([^)]*\): BUG: |Spotted dirty metadata"

# without_foreign_races FILE: what FILE says, but for the reports of KCSAN on races of the kernel with itself. Ours is one
# where one of the two accesses is in the module, or in a function that it called; what copies memory, and the kernel's
# crates, through which the module calls, do not count. Nor does an access in jbd2: what it reads and writes of its own, it
# does so for every file system, and where it is a buffer of ours, the other access shows that. Nor does the position of a
# read that iomap has queued and looks at once more for its trace point, when the read may be over. A report is what is
# between two lines of "=", with a blank line before the second access. Other trouble that another processor has put
# between them stays.
without_foreign_races() {
	# Not by -v, which takes a backslash for the begin of an escape sequence.
	trouble=$kernel_trouble_re awk '
		BEGIN { trouble = ENVIRON["trouble"] }
		function flush(  lines, n, i) {
			if (!race || ours && !known) printf "%s", text
			else {
				n = split(text, lines, "\n")
				for (i = 1; i <= n; i++) if (lines[i] ~ trouble && lines[i] !~ /BUG: KCSAN/) print lines[i]
			}
			text = ""; race = ours = known = inside = 0
		}
		/^(\[ *[0-9.]+\] )?=+\r?$/ { again = !race; text = text $0 "\n"; flush(); inside = again; next }
		!inside { print; next }
		{ text = text $0 "\n" }
		/BUG: KCSAN/ { race = 1; known = / __iomap_dio_read_simple \/ iomap_dio_simple_complete\r?$/; next }
		!race { flush(); next }
		/ to 0x.* of .* bytes by / { depth = 0; next }
		/ _?_?(__asan_|__tsan_)?mem(cpy|move|set)[+.]/ || (/ _R[A-Za-z0-9_]*(6kernel|4core)/ && !/\[iomapfs\]/) { next }
		depth == 0 && / jbd2_[a-z_]+[+.]/ { depth = 2; next }
		depth++ < 2 && /\[iomapfs\]/ { ours = 1 }
		END { flush() }' "$1"
}

# kernel_trouble ALLOW FILE: prints each line of FILE that shows trouble, with what follows it, except lines that
# match the extended regular expression ALLOW (none when empty). Prints nothing when all is well.
kernel_trouble() {
	# Of what makes a debug kernel say its name in passing ("KernelAddressSanitizer initialized") nothing counts.
	without_foreign_races "$2" |
		grep -a -v -E 'kasan: KernelAddressSanitizer initialized|KASAN: GENERIC|Running RCU self tests|kcsan: .* configured' |
		if [ -n "$1" ]; then grep -v -E -- "$1"; else cat; fi |
		grep -a -E -A 40 -- "$kernel_trouble_re"
}
