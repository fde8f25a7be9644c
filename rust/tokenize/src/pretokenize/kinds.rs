//! Of what kind is each of the next characters, told in one byte?
//!
//! The properties that a scanner looks at, packed into eight bits, for characters one after the other: ASCII from a table
//! of 128, others from two stages by code point, without a branch on the length of a character. 25 kB, built on first use
//! from the table of properties. The scanners of words share the flags of this file; others have a table of their own.

use std::sync::LazyLock;

use super::class::{CLASS_TABLE, LOWER, MARK, NEWLINE, NUMBER, Properties, SPACE, UNCASED, UPPER};

/// Eight flags of a character.
pub(crate) type Kind = u8;

/// A capital, or a letter or mark without case.
pub(crate) const CAPITAL: Kind = 1;
/// A small letter, or a letter or mark without case.
pub(crate) const SMALL: Kind = 1 << 1;
/// A mark; it is `CAPITAL` and `SMALL` too.
pub(crate) const MARKS: Kind = 1 << 2;
pub(crate) const NUMERIC: Kind = 1 << 3;
pub(crate) const WHITE: Kind = 1 << 4;
/// Carriage return or line feed with `WHITE`; a slash without.
pub(crate) const LINE_OR_SLASH: Kind = 1 << 5;
/// U+0020.
pub(crate) const BLANK: Kind = 1 << 6;
/// U+0027.
pub(crate) const APOSTROPHE: Kind = 1 << 7;

/// Kinds of every code point.
pub(crate) struct KindTable {
    pub(crate) ascii: [Kind; 128],
    stage: Vec<u16>,
    blocks: Vec<[Kind; BLOCK]>,
}

const BLOCK: usize = 256;

/// The table of the scanners of words. A function of the Unicode data alone.
pub(crate) static KIND_TABLE: LazyLock<KindTable> = LazyLock::new(|| KindTable::new(kind_of, ascii_kind_of));

fn kind_of(found: Properties) -> Kind {
    let flags = [
        (UPPER | UNCASED | MARK, CAPITAL),
        (LOWER | UNCASED | MARK, SMALL),
        (MARK, MARKS),
        (NUMBER, NUMERIC),
        (SPACE, WHITE),
        (NEWLINE, LINE_OR_SLASH),
    ];
    flags.iter().filter(|(property, _)| found & property != 0).fold(0, |kind, flag| kind | flag.1)
}

fn ascii_kind_of(byte: u8) -> Kind {
    match byte {
        b' ' => BLANK,
        b'\'' => APOSTROPHE,
        b'/' => LINE_OR_SLASH,
        _ => 0,
    }
}

impl KindTable {
    /// Each character has the kind of its properties, in ASCII also the flags of its byte.
    pub(crate) fn new(kind_of: impl Fn(Properties) -> Kind, ascii_kind_of: impl Fn(u8) -> Kind) -> Self {
        let (stage, blocks) = CLASS_TABLE.stages();
        let mut stage = stage.to_vec();
        // Four bytes of something else than UTF-8 would give at most 21 bits.
        stage.resize((1 << 21) / BLOCK, 0);
        let mut blocks: Vec<[Kind; BLOCK]> = blocks.iter().map(|block| block.map(&kind_of)).collect();
        let ascii = &mut blocks[usize::from(stage[0])];
        (0..128).for_each(|byte| ascii[usize::from(byte)] |= ascii_kind_of(byte));
        Self { ascii: std::array::from_fn(|code_point| ascii[code_point]), stage, blocks }
    }

    /// The kind of the character that starts with the high byte of `bytes`.
    #[inline(always)]
    fn of(&self, bytes: u32) -> Kind {
        // By the five high bits of the first byte: which of its bits count, and how many bits of the rest do not.
        const LEAD: [(u8, u8); 32] = {
            let mut lead = [(0x7F, 18); 32];
            let mut high = 24;
            while high < 32 {
                lead[high] = match high {
                    24..28 => (0x1F, 12),
                    28..30 => (0x0F, 6),
                    _ => (0x07, 0),
                };
                high += 1;
            }
            lead
        };
        let (mask, shift) = LEAD[(bytes >> 27) as usize];
        let tail = |at: u32| (bytes >> at) & 0x3F;
        let code_point =
            ((bytes >> 24 & u32::from(mask)) << 18 | tail(16) << 12 | tail(8) << 6 | tail(0)) >> shift;
        self.blocks[usize::from(self.stage[code_point as usize / BLOCK])][code_point as usize % BLOCK]
    }
}

/// Kinds of characters that follow each other.
pub(crate) struct Kinds {
    pub(crate) kinds: [Kind; Kinds::CAPACITY],
    /// By character, and behind the last one: where it starts, counted from the first.
    pub(crate) offsets: [u16; Kinds::CAPACITY + 1],
    pub(crate) n_chars: usize,
}

impl Kinds {
    pub(crate) const CAPACITY: usize = 192;
    /// Fewer bytes than this are looked at a time: no more characters than fit.
    const N_BYTES: usize = 64;

    pub(crate) fn new() -> Self {
        Self { kinds: [0; Self::CAPACITY], offsets: [0; Self::CAPACITY + 1], n_chars: 0 }
    }

    /// Reads the characters of valid UTF-8 from `start` on, where one starts, until the text or the room ends.
    #[inline(always)]
    pub(crate) fn read(&mut self, table: &KindTable, text: &[u8], start: usize) {
        let (mut n_chars, mut at) = (0, start);
        while n_chars + Self::N_BYTES <= Self::CAPACITY && at < text.len() {
            let mut padded = [0; Self::N_BYTES + 4];
            let chunk: &[u8; Self::N_BYTES + 4] = match text[at..].first_chunk() {
                Some(chunk) => chunk,
                None => {
                    let rest = &text[at..];
                    padded[..rest.len()].copy_from_slice(rest);
                    &padded
                }
            };
            let n_bytes = Self::N_BYTES.min(text.len() - at);
            let mut starts = starts(chunk) & (u64::MAX >> (Self::N_BYTES - n_bytes));
            while starts != 0 {
                let offset = starts.trailing_zeros() as usize;
                starts &= starts - 1;
                let bytes = chunk[offset..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
                self.kinds[n_chars] = table.of(bytes);
                self.offsets[n_chars] = (at - start + offset) as u16;
                n_chars += 1;
            }
            at += n_bytes;
        }
        // The last chunk may end inside a character.
        while at < text.len() && text[at] & 0xC0 == 0x80 {
            at += 1;
        }
        self.offsets[n_chars] = (at - start) as u16;
        self.n_chars = n_chars;
    }
}

/// A bit for each of the first 64 bytes that starts a character.
#[inline(always)]
fn starts(chunk: &[u8; Kinds::N_BYTES + 4]) -> u64 {
    let mut starts = 0;
    for (at, &byte) in chunk[..Kinds::N_BYTES].iter().enumerate() {
        starts |= u64::from(byte as i8 >= -64) << at;
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_is_read_with_its_kind() {
        let all: String = ('\0'..=char::MAX).collect();
        let (mut kinds, mut at) = (Kinds::new(), 0);
        while at < all.len() {
            kinds.read(&KIND_TABLE, all.as_bytes(), at);
            let mut end = at;
            for (index, c) in all[at..].chars().take(kinds.n_chars).enumerate() {
                assert_eq!(usize::from(kinds.offsets[index]), end - at, "{c:?}");
                let (found, _) = CLASS_TABLE.at(all.as_bytes(), end);
                let expected = match c {
                    ' ' => WHITE | BLANK,
                    '\'' => APOSTROPHE,
                    '/' => LINE_OR_SLASH,
                    _ => kind_of(found),
                };
                assert_eq!(kinds.kinds[index], expected, "{c:?}");
                end += c.len_utf8();
            }
            assert_eq!(usize::from(kinds.offsets[kinds.n_chars]), end - at);
            at = end;
        }
    }
}
