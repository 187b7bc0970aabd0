# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a damaged image that makes the module loop, say too much or the wrong errno, or write what e2fsck refuses
# blocks: 1024
# seconds: 240
# guest: alone --append brd.rd_size=12288

expect_errors
# A few of those that "make fuzz" tries on the debug kernel.
"$FUZZ" guest --fs "$FS" --images "$FUZZ_IMAGES" --out "$OUT" --seed "$SEED" --count "${N:-60}" --judge 15
