// SPDX-License-Identifier: GPL-2.0

//! What is written into files: every eight bytes say which file they belong to, which write of it put them there, and
//! where. So bytes of another file, of another place or from before a truncate are seen for what they are.
//!
//! A word is big-endian, so that a dump can be read: 20 bits of file, 22 bits of write, 22 bits of word number.
//! It is never zero, because no file is number 0.

use crate::disk::{DISCARDED, UNUSED};

const WRITE_BITS: u32 = 22;
const WORD_BITS: u32 = 22;

/// The bytes that write number `write` puts at `offset` of file number `file`.
pub fn bytes(file: u32, write: u32, offset: u64, len: usize) -> Vec<u8> {
    let first = offset / 8;
    let skip = (offset % 8) as usize;
    let high = u64::from(file) << (WRITE_BITS + WORD_BITS) | u64::from(write) << WORD_BITS;
    let mut out = Vec::with_capacity(len + 16);
    let mut word = first;

    while out.len() < skip + len {
        out.extend_from_slice(&(high | word).to_be_bytes());
        word += 1;
    }
    out.truncate(skip + len);
    out.drain(..skip);
    out
}

/// What bytes at `offset` are, in words: for who reads about a failure.
pub fn describe(bytes: &[u8], offset: u64) -> String {
    let mut out: Vec<String> = Vec::new();

    for (i, word) in bytes.chunks_exact(8).enumerate() {
        let value = word.iter().fold(0u64, |v, b| v << 8 | u64::from(*b));
        let at = (offset / 8 + i as u64) & ((1 << WORD_BITS) - 1);
        let said = if value == 0 {
            "zeros".to_owned()
        } else if value == u64::from_be_bytes([UNUSED; 8]) {
            "a block that nobody wrote".to_owned()
        } else if value == u64::from_be_bytes([DISCARDED; 8]) {
            "a block that was discarded".to_owned()
        } else {
            let file = value >> (WRITE_BITS + WORD_BITS);
            let write = value >> WORD_BITS & ((1 << WRITE_BITS) - 1);
            let word = value & ((1 << WORD_BITS) - 1);
            let place = if word == at {
                "in its place".to_owned()
            } else {
                format!("of its byte {}", word * 8)
            };
            format!("file {file:#x} write {write} {place}")
        };
        // A word of foreign bytes says something else each time.
        if out.last() != Some(&said) && out.len() < 4 {
            out.push(said);
        }
    }
    out.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_of_a_write_is_the_same_bytes() {
        let whole = bytes(0x1_2003, 77, 0, 4096);
        for (offset, len) in [(0, 1), (1, 7), (7, 9), (513, 1000), (4095, 1)] {
            assert_eq!(
                bytes(0x1_2003, 77, offset as u64, len),
                whole[offset..offset + len]
            );
        }
        assert_eq!(
            describe(&whole[512..1024], 512),
            "file 0x12003 write 77 in its place"
        );
        assert_eq!(describe(&[0; 16], 0), "zeros");
        assert_eq!(describe(&[UNUSED; 16], 0), "a block that nobody wrote");
        assert!(describe(&whole[512..1024], 0).contains("of its byte 512"));
    }
}
