//! Pixels of less than a byte.

/// Appends the values of rows of `width` pixels of 1, 2 or 4 bits each, of which every row begins with a new byte, as one byte each.
pub fn unpack(packed: &[u8], width: usize, bits: u8, out: &mut Vec<u8>) {
    let per_byte = usize::from(8 / bits);
    for row in packed.chunks_exact(width.div_ceil(per_byte).max(1)) {
        let value = |x: usize| row[x / per_byte] >> (8 - bits as usize * (x % per_byte + 1)) & ((1 << bits) - 1);
        out.extend((0..width).map(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_begin_with_a_new_byte() {
        let mut out = Vec::new();
        unpack(&[0b1010_0000, 0b0110_0000], 3, 1, &mut out);
        unpack(&[0b0001_1011, 0b1100_0000], 5, 2, &mut out);
        unpack(&[0x1f, 0x20], 3, 4, &mut out);
        assert_eq!(out, [1, 0, 1, 0, 1, 1, 0, 1, 2, 3, 3, 1, 15, 2]);
    }
}
