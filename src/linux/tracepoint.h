/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What trace points take from Rust that is no number.
 */
#ifndef _RUST_TRACEPOINT_H
#define _RUST_TRACEPOINT_H

/* Text, which does not end with a zero. Valid as long as the call. */
struct rust_text {
	const char *start;
	unsigned int len;
};

#endif /* _RUST_TRACEPOINT_H */
