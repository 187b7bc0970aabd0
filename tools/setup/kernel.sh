# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Which kernel build belongs to this checkout: sourced after common.sh by those that build it and those that use it.

configs() { # flavour
	printf '%s\n' "$top/qemu/kernel/base.config" "$top/qemu/kernel/optional.config"
	[ "$1" = plain ] || printf '%s\n' "$top/qemu/kernel/$1.config"
}

check_flavour() {
	case $1 in
	plain | debug | kcsan) ;;
	*) fail "kernel flavour '$1'" 'expected plain, debug or kcsan' ;;
	esac
}

# check_kdir: is $KDIR a kernel build that the module can be built for?
check_kdir() {
	local c=$KDIR/include/config/auto.conf
	[ -f "$c" ] && [ -f "$KDIR/Makefile" ] ||
		fail "KDIR=$KDIR is not a configured kernel build" 'expected the build folder of a Linux that this builds for (make O=that-folder ... all)'
	[ -f "$KDIR/Module.symvers" ] || fail "KDIR=$KDIR was not built to the end (no Module.symvers)" 'build it first'
	local o release
	release=$(cat "$KDIR/include/config/kernel.release" 2>/dev/null)
	[ -z "${KVER:-}" ] || [ "$(series "$release")" = "$KVER" ] || fail "KDIR=$KDIR is Linux $release, and KVER=$KVER" 'leave one of them out'
	for o in RUST MODULES BLOCK; do
		grep -q "^CONFIG_$o=y" "$c" || fail "KDIR=$KDIR is configured without CONFIG_$o" "set CONFIG_$o=y and build it again"
	done
	grep -q '^CONFIG_JBD2=[ym]' "$c" && grep -q '^CONFIG_FS_IOMAP=y' "$c" ||
		fail "KDIR=$KDIR has no jbd2 or no iomap" 'set CONFIG_EXT4_FS=y or =m (which brings both) and build it again'
}

# kernel_key FLAVOUR TREE TOOLCHAIN_ID: names a build: source, configuration and compilers. Of a tree of the user's (KSRC=)
# the source is its path, its version and what of git is checked out there; a change that is not committed is not seen.
kernel_key() {
	local source
	source=$(cat "$2/.iomapfs-complete" 2>/dev/null) || {
		source="$2 $(make -s -C "$2" kernelversion)"
		[ ! -e "$2/.git" ] || source+=" $(git -C "$2" rev-parse HEAD)"
	}
	# shellcheck disable=SC2046 # file names of ours
	{ printf '%s\n' "$source" "$3"; cat $(configs "$1"); } | sha256sum | cut -c1-16
}
