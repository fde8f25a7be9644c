//! What kind of character is this?
//!
//! One 16-bit set of properties for every code point, in two stages: a block number for each 256 code points, and the
//! distinct blocks. It is built once, on first use, from the classes of `regex-syntax`: the Unicode data is the same as
//! that of the regular expressions that the scanners stand in for. 60 kB; ASCII has a table of its own.

use std::sync::LazyLock;

use hashbrown::HashMap;
use regex_syntax::hir::{Class, HirKind};

/// A set of properties of a character.
pub(crate) type Properties = u16;

/// `\p{Lu}` or `\p{Lt}`.
pub(crate) const UPPER: Properties = 1;
/// `\p{Ll}`.
pub(crate) const LOWER: Properties = 1 << 1;
/// `\p{Lm}` or `\p{Lo}`: a letter that is neither.
pub(crate) const UNCASED: Properties = 1 << 2;
/// `\p{M}`.
pub(crate) const MARK: Properties = 1 << 3;
/// `\p{N}`.
pub(crate) const NUMBER: Properties = 1 << 4;
/// `\s`.
pub(crate) const SPACE: Properties = 1 << 5;
/// Carriage return or line feed.
pub(crate) const NEWLINE: Properties = 1 << 6;
/// `\p{P}` or `\p{S}`.
pub(crate) const SIGN: Properties = 1 << 7;
/// `[一-龥぀-ゟ゠-ヿ]`.
pub(crate) const HAN_OR_KANA: Properties = 1 << 8;
/// `\p{Nd}`.
pub(crate) const DECIMAL: Properties = 1 << 9;
/// `\p{P}`.
pub(crate) const PUNCTUATION: Properties = 1 << 10;
/// `\p{Lt}`.
pub(crate) const TITLE: Properties = 1 << 11;
/// There is a character: not the end of the text.
pub(crate) const PRESENT: Properties = 1 << 15;
/// `\p{L}`.
pub(crate) const LETTER: Properties = UPPER | LOWER | UNCASED;

const CLASSES: [(&str, Properties); 12] = [
    (r"[\p{Lu}\p{Lt}]", UPPER),
    (r"\p{Ll}", LOWER),
    (r"[\p{Lm}\p{Lo}]", UNCASED),
    (r"\p{M}", MARK),
    (r"\p{N}", NUMBER),
    (r"\s", SPACE),
    (r"[\r\n]", NEWLINE),
    (r"[\p{P}\p{S}]", SIGN),
    ("[一-龥\u{3040}-ゟ゠-ヿ]", HAN_OR_KANA),
    (r"\p{Nd}", DECIMAL),
    (r"\p{P}", PUNCTUATION),
    (r"\p{Lt}", TITLE),
];

/// The properties of every code point.
pub(crate) struct ClassTable {
    ascii: [Properties; 128],
    /// By code point / 256: where its block starts in `blocks`.
    stage: Vec<u16>,
    blocks: Vec<[Properties; 256]>,
}

/// The table. A function of the Unicode data alone.
pub(crate) static CLASS_TABLE: LazyLock<ClassTable> = LazyLock::new(ClassTable::new);

impl ClassTable {
    fn new() -> Self {
        // Most blocks of code points are in no class: the first of these is theirs.
        let mut touched = vec![[PRESENT; 256]];
        let mut by_block = vec![0; (char::MAX as usize + 1) / 256];
        for (pattern, property) in CLASSES {
            // The patterns are constants of this file; a test reads every one of them.
            let hir = regex_syntax::parse(pattern).ok();
            let Some(HirKind::Class(Class::Unicode(class))) = hir.as_ref().map(|hir| hir.kind()) else {
                continue;
            };
            for range in class.ranges() {
                let (first, last) = (range.start() as usize, range.end() as usize);
                for block in first / 256..=last / 256 {
                    if by_block[block] == 0 {
                        by_block[block] = touched.len();
                        touched.push(touched[0]);
                    }
                    let span = first.max(256 * block) % 256..=last.min(256 * block + 255) % 256;
                    touched[by_block[block]][span].iter_mut().for_each(|properties| *properties |= property);
                }
            }
        }
        let (mut blocks, mut known) = (Vec::<[Properties; 256]>::new(), HashMap::new());
        let mut numbers = vec![None; touched.len()];
        let mut number = |at: usize| {
            *known.entry(&touched[at]).or_insert_with(|| {
                blocks.push(touched[at]);
                blocks.len() as u16 - 1
            })
        };
        let stage = by_block.iter().map(|&at| *numbers[at].get_or_insert_with(|| number(at))).collect();
        Self { ascii: std::array::from_fn(|code_point| touched[by_block[0]][code_point]), stage, blocks }
    }

    /// By code point / 256: the number of its block; and the blocks.
    pub(crate) fn stages(&self) -> (&[u16], &[[Properties; 256]]) {
        (&self.stage, &self.blocks)
    }

    /// The properties of the character at byte `at` of UTF-8 text and its length in bytes; `(0, 0)` at the end.
    #[inline]
    pub(crate) fn at(&self, text: &[u8], at: usize) -> (Properties, usize) {
        match text.get(at) {
            None => (0, 0),
            Some(&byte) if byte < 128 => (self.ascii[byte as usize], 1),
            Some(&lead) => self.beyond_ascii(text, at, lead),
        }
    }

    fn beyond_ascii(&self, text: &[u8], at: usize, lead: u8) -> (Properties, usize) {
        let tail = |offset: usize| u32::from(text.get(at + offset).map_or(0, |byte| byte & 0x3F));
        let (code_point, length) = match lead {
            0xF0.. => (u32::from(lead & 7) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3), 4),
            0xE0.. => (u32::from(lead & 15) << 12 | tail(1) << 6 | tail(2), 3),
            _ => (u32::from(lead & 31) << 6 | tail(1), 2),
        };
        let block = self.stage.get(code_point as usize >> 8).map_or(0, |&block| block as usize);
        (self.blocks[block][code_point as usize & 255], length)
    }

    /// The end of the run of characters with any of `properties` from `at` on.
    #[inline]
    pub(crate) fn run(&self, text: &[u8], mut at: usize, properties: Properties) -> usize {
        loop {
            let (found, length) = self.at(text, at);
            if found & properties == 0 {
                return at;
            }
            at += length;
        }
    }

    /// The end of the run of characters with none of `properties` from `at` on.
    #[inline]
    pub(crate) fn run_without(&self, text: &[u8], mut at: usize, properties: Properties) -> usize {
        loop {
            let (found, length) = self.at(text, at);
            if length == 0 || found & properties != 0 {
                return at;
            }
            at += length;
        }
    }

    /// The end of at most `n_max` numbers from `at` on.
    #[inline]
    pub(crate) fn numbers(&self, text: &[u8], mut at: usize, n_max: usize) -> usize {
        for _ in 0..n_max {
            let (found, length) = self.at(text, at);
            if found & NUMBER == 0 {
                break;
            }
            at += length;
        }
        at
    }

    /// Where the character before `end` starts.
    pub(crate) fn before(text: &[u8], end: usize) -> usize {
        let mut at = end - 1;
        while at > 0 && text[at] & 0xC0 == 0x80 {
            at -= 1;
        }
        at
    }
}

/// `\s`: the White_Space property.
#[inline]
pub(crate) fn is_white_space(c: char) -> bool {
    c.is_whitespace()
}

/// `\w`: alphabetic, mark, decimal number, connector punctuation, join control.
pub(crate) fn is_word(c: char) -> bool {
    regex_syntax::is_word_character(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_has_the_properties_that_its_class_says() {
        for (pattern, property) in CLASSES {
            let class = fancy_regex::Regex::new(&format!("^{pattern}$")).unwrap();
            for c in '\0'..=char::MAX {
                let mut buffer = [0; 4];
                let text = &*c.encode_utf8(&mut buffer);
                let (found, length) = CLASS_TABLE.at(text.as_bytes(), 0);
                assert_eq!(length, c.len_utf8());
                let expected = class.is_match(text).unwrap();
                assert_eq!(found & property != 0, expected, "{c:?} in {pattern}");
            }
        }
    }
}
