# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# catches: bytes that differ after some random sequence of direct and buffered I/O, mappings and truncates on one file

# N operations; 100,000 by hand.
mkimg img
mount_fs img
"$(dirname "${BASH_SOURCE[0]}")/../direct-ops.py" "$MNT/f" "$SEED" "${N:-3000}" || fail "seed $SEED"
crosscheck img
