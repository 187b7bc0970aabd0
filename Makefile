# SPDX-License-Identifier: GPL-2.0
#
# What a person types. "make help" lists it. The work is done by small scripts in tools/ and, where it takes a guest, in
# qemu/; the module itself is built by the kernel's build system (see Kbuild).

MAKEFLAGS += --no-print-directory
SHELL := /bin/bash

# What is given on the command line or in the environment (KVER=, KSRC=, ...) make hands on to the scripts by itself.

.DEFAULT_GOAL := help

# What it is installed as.
IOMAPFS_VERSION := 0.1

## run            the main job: set-up, module, guest; dd and fio on a mounted loop device, checked by e2fsck and ext4
.PHONY: run
run: module
	@qemu/main/run

## test           set-up and every test, host and guest; TESTS="name ..." runs only those
.PHONY: test
test: setup
	@qemu/test/all plain $(TESTS)

## crash          the power cut at flushes of logged workloads and in between; N= cuts, SEED=, BS=; AGAIN=FOLDER repeats one that failed
.PHONY: crash
crash: module
	@qemu/crash/run

## boot           a Debian with its root on iomapfs: unpacked, booted, a package installed, the power cut in apt-get install
.PHONY: boot
boot: module
	@qemu/boot/run

## bench          iomapfs, ext4, XFS and the bare device side by side; JOBS="pattern ..." MODE=counted|timed BASE=old.json
.PHONY: bench
bench: module
	@qemu/bench/run $(JOBS)

## bench-profile  which functions one of these jobs is made of, on iomapfs and ext4; JOB=name
.PHONY: bench-profile
bench-profile: module
	@qemu/bench/profile $(JOB)

## trace          what one write does, as a tree of functions with times, and as SVG; ARGS="--direct --append" says which
##                write (--help: all of them), FS=ext4 or xfs on which file system
.PHONY: trace
trace: setup
	@qemu/trace/run $(ARGS)

## sim            host simulation: the core at work, with the power cut anywhere; N= power cuts, SEED=, CASE= repeats one
.PHONY: sim
sim:
	@tools/setup/packages
	@tools/sim/run

## debug          the guest tests on a kernel with KASAN, lockdep, sleep-in-atomic and object checks, then those that do
##                things in parallel on one with KCSAN; KERNELS=debug or KERNELS=kcsan for one of them
KERNELS ?= debug kcsan
.PHONY: debug
debug:
	@for kernel in $(KERNELS); do tools/setup/all "$$kernel" || exit; done
	@qemu/test/all "$(KERNELS)" $(TESTS)

## fuzz           corrupted images: the core by libFuzzer (RUNS=), the module on the debug kernel (N= images); SEED=, ONLY=
.PHONY: fuzz
fuzz:
	@qemu/fuzz/run

## shell          a guest with the module loaded and an image mounted on /run/mnt/test, to try things
.PHONY: shell
shell: module
	@qemu/guest/shell

## check          format, clippy, the project's own rules, shell scripts
.PHONY: check
check: setup
	@tools/check/run

## doc            the documentation of the module and of the host programs, below build/doc
.PHONY: doc
doc: module
	@tools/doc/run

## setup          everything that the others need: packages, kernel source, bindgen, kernel
.PHONY: setup
setup:
	@tools/setup/all plain

## module         build iomapfs.ko; KDIR=FOLDER builds it for a kernel of your own
.PHONY: module
module: setup
	@tools/setup/module plain >/dev/null

## modules_install  install the module that KDIR= built (INSTALL_MOD_PATH= as in the kernel)
.PHONY: modules_install
modules_install: module
	@tools/setup/module plain modules_install >/dev/null

## install        the module, mount.iomapfs, mkfs.iomapfs, fsck.iomapfs, their manual, the source for DKMS (DESTDIR=, PREFIX=/usr)
.PHONY: install
install: module
	@tools/install/run

## deb            a Debian package of it, whose module DKMS builds: build/iomapfs_VERSION_amd64.deb
.PHONY: deb
deb:
	@tools/install/deb

## rust-analyzer  write rust-project.json for an editor
.PHONY: rust-analyzer
rust-analyzer: module
	@tools/setup/rust-analyzer

## paths          print kernel=, build= and module= (absolute), for other harnesses; FLAVOUR=debug for the debug kernel
.PHONY: paths
paths:
	@tools/setup/paths $(or $(FLAVOUR),plain)

## clean          remove what was built here (the kernel and tools in ~/.cache/iomapfs stay)
.PHONY: clean
clean:
	rm -rf build rust-project.json
	@if [ -f tools/Cargo.toml ] && command -v cargo >/dev/null; then cd tools && cargo clean -q; fi

## help           this list
.PHONY: help
help:
	@sed -n 's/^## /  make /p' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo 'Variables: KVER= the version of the kernel (7.3, 7.2), KSRC= a kernel source tree, KDIR= a kernel build folder,'
	@echo 'LLVM= (1, -22 or a folder/), MEM= (MiB) and CPUS= of the guest. The first set-up takes about a quarter of an hour, later'
	@echo 'ones a second.'
