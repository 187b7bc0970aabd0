# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Fetching Debian packages of other suites than the machine's, without installing them.
#
# apt gets a configuration of its own: its own list of sources, its own lists and cache; the mirror is the one that
# this machine's apt uses, and the signatures are checked against Debian's archive keys. The system's apt
# configuration is read and not changed.

# The mirrors that apt is configured for, Debian's own archive first.
mirrors() {
	# shellcheck disable=SC2016 # apt replaces these words
	apt-get indextargets --format '$(ORIGIN)|$(COMPONENT)|$(RELEASE)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
		awk -F'|' '$2 == "main" && $3 !~ /security/ && ($1 == "Debian" || $1 == "" || $1 ~ /^\$/) && $4 ~ /debian|^mirror/ \
			{ print ($1 == "Debian" ? 0 : 1), $4 }' | sort -s -k1,1n | cut -d' ' -f2- | awk '!seen[$0]++'
}

# use_folder DIR: what follows keeps apt's files in DIR, which is for this alone, and is done there.
use_folder() {
	local dir=$1 k
	keyring=''
	for k in /usr/share/keyrings/debian-archive-keyring.{gpg,pgp}; do
		[ -e "$k" ] && { keyring=$k; break; }
	done
	[ -n "$keyring" ] || fail "Debian's archive keys are not installed" 'apt-get install debian-archive-keyring'
	mkdir -p "$dir"/{lists/partial,cache/archives/partial,state} || fail "cannot make $dir"
	cd "$dir" || exit 1
	private=(-q
		-o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null
		-o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null
		-o "Dir::State::lists=$dir/lists" -o "Dir::Cache=$dir/cache"
		-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
		-o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
		-o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false
		-o APT::Sandbox::User="$(id -un)" -o Acquire::Retries=3)
}

fetched() {
	find . -name '*.deb' -printf '%k\n' | awk '{ n += $1 } END { if (n) print n " KiB fetched"; else print "reading the package list" }'
}

# read_list LOG SUITE MIRROR: makes apt know this suite of this mirror, and nothing else. 1 where it cannot be read.
read_list() {
	printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$3" "$2" >sources.list
	long "$1" fetched apt-get "${private[@]}" update
}

# names_in_suite LOG SUITE PREFIX: sets $names to the packages of the suite whose names begin with PREFIX, one a line. 1
# where no mirror has the suite. After use_folder.
names_in_suite() {
	local mirror status=1
	names=''
	while read -r mirror; do
		say "looking for $3 in $2 on $mirror"
		read_list "$1" "$2" "$mirror" || continue
		status=0
		names+=$(apt-cache "${private[@]}" pkgnames "$3")$'\n'
	done < <(mirrors)
	return "$status"
}

# fetch_packages DIR LOG "SUITE..." PACKAGE...: the packages' files, of the first suite that has them, in DIR. 1 where
# none has them.
fetch_packages() {
	local dir=$1 log=$2 suites=$3 suite mirror
	shift 3
	use_folder "$dir"
	for suite in $suites; do
		while read -r mirror; do
			say "looking for $1 in $suite on $mirror"
			read_list "$log" "$suite" "$mirror" || continue
			apt-get "${private[@]}" --print-uris download "$@" >/dev/null 2>&1 || continue
			rm -f ./*.deb
			long "$log" fetched apt-get "${private[@]}" download "$@" || {
				tail -n 5 "$log" >&2
				fail "fetching $* from $suite on $mirror" "see $log; run it again to continue"
			}
			return 0
		done < <(mirrors)
	done
	return 1
}
