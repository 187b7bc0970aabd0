# SPDX-License-Identifier: GPL-2.0
"""Rust source without its comments and literals, for the checks that look for words of the language."""

import re

TOKENS = re.compile(
    r"""//[^\n]*|/\*.*?\*/|r(?P<h>\#*)".*?"(?P=h)|"(?:\\.|[^"\\])*"|'(?:\\.[^']*|[^'\\])'""", re.S
)


def blank(match):
    """Comments and literals become blanks of the same shape, so that places stay right."""
    return re.sub(r"[^\n]", " ", match.group())
