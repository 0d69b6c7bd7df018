//! What the text headers of NRRD and MetaImage have in common: numbers, and voxels written in digits.

use std::io::{self, BufRead, Read};

use super::voxels::Number;

/// A whole number of at least 1.
pub fn count(text: &str) -> Option<usize> {
    text.trim().parse().ok().filter(|count| *count > 0)
}

/// Numbers with spaces between them. What is none becomes NaN.
pub fn numbers(text: &str) -> Vec<f64> {
    text.split_whitespace().map(|word| word.parse().unwrap_or(f64::NAN)).collect()
}

/// Longest number in digits that is read.
const LONGEST_WORD: usize = 400;

/// Voxels in decimal digits with white space or commas between them, as little endian bytes.
pub struct Digits<R> {
    reader: R,
    number: Number,
    bytes: [u8; 8],
    /// Bytes of the last number that are not read yet: the last this many of its size.
    left: usize,
}

impl<R: BufRead> Digits<R> {
    pub fn new(reader: R, number: Number) -> Self {
        Self { reader, number, bytes: [0; 8], left: 0 }
    }

    fn next_word(&mut self) -> io::Result<String> {
        let between = |byte: u8| byte.is_ascii_whitespace() || byte == b',';
        let mut word = String::new();
        for byte in self.reader.by_ref().bytes() {
            match byte? {
                byte if !between(byte) && word.len() < LONGEST_WORD => word.push(char::from(byte)),
                byte if !between(byte) => return Err(io::Error::new(io::ErrorKind::InvalidData, "a number of hundreds of digits")),
                _ if word.is_empty() => {}
                _ => break,
            }
        }
        Ok(word)
    }

    /// Whether there was another number.
    fn parse_next(&mut self) -> io::Result<bool> {
        let word = self.next_word()?;
        if word.is_empty() {
            return Ok(false);
        }
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, format!("'{}' is no voxel of its type", word.escape_debug()));
        macro_rules! put {
            ($type:ty) => {
                self.bytes[..size_of::<$type>()].copy_from_slice(&word.parse::<$type>().map_err(|_| invalid())?.to_le_bytes())
            };
        }
        match self.number {
            Number::U8 => put!(u8),
            Number::I8 => put!(i8),
            Number::U16 => put!(u16),
            Number::I16 => put!(i16),
            Number::U32 => put!(u32),
            Number::I32 => put!(i32),
            Number::U64 => put!(u64),
            Number::I64 => put!(i64),
            Number::F32 => put!(f32),
            Number::F64 => put!(f64),
        }
        self.left = self.number.size();
        Ok(true)
    }
}

impl<R: BufRead> Read for Digits<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < out.len() && (self.left > 0 || self.parse_next()?) {
            let length = self.left.min(out.len() - done);
            let at = self.number.size() - self.left;
            out[done..done + length].copy_from_slice(&self.bytes[at..at + length]);
            self.left -= length;
            done += length;
        }
        Ok(done)
    }
}

/// Bytes in hexadecimal digits, with or without white space.
pub struct Hexadecimal<R>(pub R);

impl<R: BufRead> Read for Hexadecimal<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut digits = self.0.by_ref().bytes().filter(|byte| !byte.as_ref().is_ok_and(u8::is_ascii_whitespace)).map(|byte| {
            let byte = byte?;
            let digit = char::from(byte).to_digit(16).map(|digit| digit as u8);
            digit.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("'{}' is no hexadecimal digit", byte.escape_ascii())))
        });
        for (i, byte) in out.iter_mut().enumerate() {
            let (Some(high), Some(low)) = (digits.next().transpose()?, digits.next().transpose()?) else { return Ok(i) };
            *byte = high << 4 | low;
        }
        Ok(out.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_become_bytes_in_pieces_of_any_length() {
        let mut digits = Digits::new(b" 1,\n-2\t 3 ".as_slice(), Number::I16);
        let mut bytes = [0; 3];
        digits.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, [1, 0, 0xfe]);
        digits.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, [0xff, 3, 0]);
        assert_eq!(digits.read(&mut bytes).unwrap(), 0);
        assert!(Digits::new(b"300".as_slice(), Number::U8).read(&mut bytes).unwrap_err().to_string().contains("'300'"));
    }

    #[test]
    fn hexadecimal_digits_are_paired() {
        let mut bytes = [0; 3];
        assert_eq!(Hexadecimal(b"0fA \n0 1".as_slice()).read(&mut bytes).unwrap(), 2);
        assert_eq!(bytes[..2], [0x0f, 0xa0]);
        assert!(Hexadecimal(b"0g".as_slice()).read(&mut bytes).is_err());
    }
}
