# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a write whose bytes cannot all be read from memory that keeps space for more than it has written, says another length than on
# blocks: one
# ext4, or shows what lay on the device; a writer that cannot be killed, does not wait, is not counted, or waits for itself

# $type: see like_ext4.
copies() { "$TOP/qemu/test/copies-like.py" "$1" "${type:-}"; }
like_ext4 300M copies
