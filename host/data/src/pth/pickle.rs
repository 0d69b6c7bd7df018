//! The pickle as bytes: numbers, lengths, lines, and the names of opcodes that are not understood.

use super::error::{Problem, excerpt, unexpected};

/// Text or bytes within the pickle.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Its bytes.
    pub(super) fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

/// A pickle that is read from front to back.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Pickle<'a> {
    /// At the first byte. At most 4 GiB, so that a [`Span`] fits.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        debug_assert!(u32::try_from(bytes.len()).is_ok());
        Self { bytes, position: 0 }
    }

    /// The next bytes.
    pub(super) fn take(&mut self, length: u64) -> Result<Span, Problem> {
        let left = self.bytes.len() - self.position;
        let length = usize::try_from(length).ok().filter(|length| *length <= left);
        let length = length.ok_or_else(|| unexpected(format!("a pickle that ends after {} bytes", self.bytes.len()), "more of it"))?;
        let start = self.position;
        self.position += length;
        Ok(Span { start: start as u32, end: self.position as u32 })
    }

    /// The next bytes, as many as a number takes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let span = self.take(N as u64)?;
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(span));
        Ok(array)
    }

    /// A length or index in `N` bytes.
    pub(super) fn number<const N: usize>(&mut self) -> Result<u64, Problem> {
        let bytes = self.array::<N>()?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The text in the next bytes.
    pub(super) fn text(&mut self, length: u64) -> Result<Span, Problem> {
        let span = self.take(length)?;
        match str::from_utf8(self.bytes(span)) {
            Ok(_) => Ok(span),
            Err(_) => Err(unexpected(format!("text at byte {} of its pickle that is not UTF-8", span.start), "UTF-8")),
        }
    }

    /// The rest of the line, without its end.
    pub(super) fn line(&mut self) -> Result<&'a str, Problem> {
        let rest = &self.bytes[self.position..];
        let length = rest.iter().position(|byte| *byte == b'\n');
        let line = length.and_then(|length| str::from_utf8(&rest[..length]).ok());
        let line = line.ok_or_else(|| unexpected(format!("no name at byte {} of its pickle", self.position), "one"))?;
        self.position += line.len() + 1;
        Ok(line)
    }

    /// An integer of so many bytes.
    pub(super) fn long(&mut self, length: u64) -> Result<i64, Problem> {
        if length > 8 {
            return Err(unexpected(format!("an integer of {length} bytes"), "at most 8"));
        }
        let span = self.take(length)?;
        let bytes = self.bytes(span);
        let sign = if bytes.last().is_some_and(|byte| *byte >= 0x80) { 0xff } else { 0 };
        let mut whole = [sign; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        Ok(i64::from_le_bytes(whole))
    }

    /// Bytes that were read before.
    pub(super) fn bytes(&self, span: Span) -> &'a [u8] {
        &self.bytes[span.start as usize..span.end as usize]
    }

    /// Text that was read before.
    pub(super) fn str(&self, span: Span) -> &'a str {
        str::from_utf8(self.bytes(span)).unwrap_or_default()
    }

    /// Why the opcode that was read last is refused.
    pub(super) fn refuse(&mut self, opcode: u8) -> Problem {
        // Calls by other means than REDUCE, and the protocols 0 and 1, which nothing that writes ZIP files uses.
        let name = match opcode {
            b'i' => match (self.line(), self.line()) {
                (Ok(module), Ok(name)) => return forbidden(module, name),
                _ => "INST",
            },
            b'o' => "OBJ",
            0x81 => "NEWOBJ",
            0x92 => "NEWOBJ_EX",
            0x82..=0x84 => "EXT",
            b'P' => "PERSID",
            0x8f => "EMPTY_SET",
            0x90 => "ADDITEMS",
            0x91 => "FROZENSET",
            0x96 => "BYTEARRAY8",
            0x97 => "NEXT_BUFFER",
            0x98 => "READONLY_BUFFER",
            b'0' => "POP",
            b'1' => "POP_MARK",
            b'2' => "DUP",
            b'I' => "INT",
            b'L' => "LONG",
            b'F' => "FLOAT",
            b'S' | b'T' | b'U' => "STRING",
            b'V' => "UNICODE",
            b'l' => "LIST",
            b'd' => "DICT",
            b'g' => "GET",
            b'p' => "PUT",
            _ => {
                let found = format!("the byte {opcode:#04x} at {} of its pickle", self.position.saturating_sub(1));
                return unexpected(found, "an opcode of the protocols 2 to 5");
            }
        };
        Problem::Forbidden(format!("the opcode {name}"))
    }
}

/// The refusal of a global.
pub(super) fn forbidden(module: &str, name: &str) -> Problem {
    Problem::Forbidden(format!("{}.{}", excerpt(module), excerpt(name)))
}
