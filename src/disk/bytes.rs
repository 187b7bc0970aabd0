// SPDX-License-Identifier: GPL-2.0

//! Fields of structures whose place depends on what is in them, little endian. Structures of one form are types of
//! `zerocopy`.

/// The 16-bit field at byte `at`, if it is there.
pub fn get16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The 32-bit field at byte `at`, if it is there.
pub fn get32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Sets the 16-bit field at byte `at`, if it is there.
pub fn set16(bytes: &mut [u8], at: usize, value: u16) -> Option<()> {
    *bytes.get_mut(at..)?.first_chunk_mut()? = value.to_le_bytes();
    Some(())
}

/// Sets the 32-bit field at byte `at`, if it is there.
pub fn set32(bytes: &mut [u8], at: usize, value: u32) -> Option<()> {
    *bytes.get_mut(at..)?.first_chunk_mut()? = value.to_le_bytes();
    Some(())
}

/// Copies as many bytes as both have. `copy_from_slice` would panic where the lengths differ.
pub fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}
