//! What fields does a protocol buffer message hold?
//!
//! The wire format is a list of `(number, value)`; a value is a varint, 4 or 8 bytes, or bytes with their length.
//! [`Fields`] walks over one message without copying, [`Writer`] makes one; which number means what is the caller's.
//! Linear; a length beyond the message is an error, never a reservation.

use crate::Kind;
use crate::error::{FormatError, FormatErrorKind};

/// A value as the wire has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wire<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

impl<'a> Wire<'a> {
    pub(crate) fn flag(self) -> Option<bool> {
        if let Self::Varint(value) = self { Some(value != 0) } else { None }
    }

    /// Negative numbers are written as 64 bits.
    pub(crate) fn integer(self) -> Option<i64> {
        if let Self::Varint(value) = self { Some(value as i64) } else { None }
    }

    pub(crate) fn float(self) -> Option<f32> {
        if let Self::Fixed32(bytes) = self { Some(f32::from_le_bytes(bytes)) } else { None }
    }

    pub(crate) fn bytes(self) -> Option<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }
}

/// The fields of a message in their order.
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the message starts in the file.
    start: usize,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8], start: usize) -> Self {
        Self { bytes, at: 0, start }
    }

    /// Where in the file reading stands.
    pub(crate) fn byte_offset(&self) -> usize {
        self.start + self.at
    }

    pub(crate) fn error(&self, kind: FormatErrorKind) -> FormatError {
        FormatError::new(Kind::SentencePiece, "", kind).at(self.byte_offset() as u64)
    }

    fn truncated(&self, n_missing: usize) -> FormatError {
        self.error(FormatErrorKind::Truncated { what: "a message", n_missing: n_missing as u64 })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], FormatError> {
        let n_left = self.bytes.len() - self.at;
        if length > n_left {
            return Err(self.truncated(length - n_left));
        }
        let taken = &self.bytes[self.at..self.at + length];
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.truncated(N))
    }

    fn varint(&mut self) -> Result<u64, FormatError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        let found = "a varint of more than ten bytes".into();
        Err(self.error(FormatErrorKind::WrongType { expected: "a number of 64 bits", found }))
    }

    /// The next field, `None` at the end of the message.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Wire<'a>)>, FormatError> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(self.array()?),
            2 => {
                let length = self.varint()?;
                Wire::Bytes(self.take(usize::try_from(length).unwrap_or(usize::MAX))?)
            }
            5 => Wire::Fixed32(self.array()?),
            other => {
                let found = format!("wire type {other}").into();
                return Err(self.error(FormatErrorKind::WrongType { expected: "a field", found }));
            }
        };
        Ok(Some((key >> 3, value)))
    }
}

/// A message in the making.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    pub(crate) fn integer(&mut self, number: u64, value: u64) {
        self.varint(number << 3);
        self.varint(value);
    }

    pub(crate) fn bytes(&mut self, number: u64, value: &[u8]) {
        self.varint(number << 3 | 2);
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    pub(crate) fn float(&mut self, number: u64, value: f32) {
        self.varint(number << 3 | 5);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}
