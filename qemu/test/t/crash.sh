# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: a power cut, after any flush or between two, that loses or mixes up what a parallel workload was promised, shows bytes
# blocks: one
# of another time or file, or leaves a volume that cannot be recovered
# seconds: 500
# parallel: up to four threads, and fio

# shellcheck disable=SC2154 # qemu/test/run says where the program is
"$CRASH" --fs "$FS" --dir "$PWD" sweep --points "${N:-150}" --round 75 --seed "$SEED" --block "$BS" --out "$OUT"
