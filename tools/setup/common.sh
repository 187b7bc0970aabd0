# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the set-up scripts share: where things are kept, how progress and failure are told.
#
# Everything slow is made once and kept in $cache. A thing there is complete when its stamp file exists; until then
# it is in a folder that the next run continues or throws away, so a set-up can be interrupted at any point.

set -uo pipefail
# What make was told is in variables of their own; the kernel's make must not get it a second time.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES

setup=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
top=$(cd "$setup/../.." && pwd -P)
cache=${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/iomapfs
step=${step:-set-up}

# bindgen's oldest version that the kernel takes, and the one that is built where the system's is older.
bindgen_least=0.71.1
bindgen_version=0.72.1
# The kernels that the module is known to work with, the preferred one first, and Debian's suites that may have them, which
# have one version or two at a time. Which is taken: tools/setup/source.
kernel_versions=${KERNEL_VERSIONS:-7.3 7.2}
source_suites=${SOURCE_SUITES:-trixie-backports stable-backports testing unstable experimental}
# The compilers' oldest versions for this kernel.
rustc_least=1.85.0
llvm_least=15
# The oldest emulator that is not known to run stale code.
qemu_least=8.1

say() { printf '%s: %s\n' "$step" "$*" >&2; }

# fail WHAT REMEDY...: ends the set-up.
fail() {
	printf '\n%s failed: %s\n' "$step" "$1" >&2
	shift
	[ $# -eq 0 ] || printf '  what to do: %s\n' "$@" >&2
	exit 1
}

# at_least HAVE WANT: is version HAVE the same as or newer than WANT?
at_least() {
	[ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# series VERSION: the first two numbers of a kernel's version.
series() {
	grep -o -E '^[0-9]+\.[0-9]+' <<<"$1"
}

# known VERSION: is this a kernel that the module is known to work with?
known() {
	case " $kernel_versions " in
	*" $(series "$1") "*) return 0 ;;
	*) return 1 ;;
	esac
}

# or_words WORD...: "7.3 or 7.2".
or_words() {
	local words=$*
	printf '%s' "${words// / or }"
}

# version TOOL...: the first thing that looks like a version in what TOOL prints.
version() {
	"$@" 2>/dev/null | grep -o -E '[0-9]+\.[0-9]+(\.[0-9]+)*' | head -n 1
}

# on_debian: is this Debian (or made from it), with apt?
on_debian() {
	command -v apt-get >/dev/null && command -v dpkg-query >/dev/null &&
		grep -q -E '^ID(_LIKE)?=.*debian' /etc/os-release 2>/dev/null
}

# as_root COMMAND...: with sudo when we are not root.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		fail "this needs root: $*" 'run it as root, or install sudo'
	fi
}

# long LOG PROGRESS COMMAND...: runs COMMAND with its output in LOG, and every ten seconds prints one line: the step,
# what the function PROGRESS prints, and the time so far.
long() {
	local log=$1 progress=$2 began=$SECONDS pid pause=0.1 next=10
	shift 2
	# In a process group of its own, so that an interrupt can end all of it, and not only this script.
	set -m
	"$@" >"$log" 2>&1 </dev/null 9>&- &
	pid=$!
	set +m
	trap 'kill -- "-$pid" 2>/dev/null; wait "$pid"; say "interrupted; run it again to continue"; exit 130' INT TERM
	while kill -0 "$pid" 2>/dev/null; do
		sleep "$pause"
		# What is short need not wait a second to be seen.
		[ $((SECONDS - began)) -lt 1 ] || pause=1
		[ $((SECONDS - began)) -lt "$next" ] || {
			say "$("$progress"), $((SECONDS - began)) s"
			next=$((SECONDS - began + 10))
		}
	done
	trap - INT TERM
	wait "$pid"
}

# one_at_a_time WHAT: a second set-up that comes to WHAT waits until the first is through. Until this script ends.
one_at_a_time() {
	mkdir -p "$cache" || fail "cannot make $cache" 'set XDG_CACHE_HOME to a folder that can be written'
	exec 9>"$cache/lock-$1"
	flock -n 9 || {
		say 'another set-up is at this, waiting for it'
		flock 9
	}
}
