//! Where does the next piece of an o200k-like pattern end?
//!
//! As cl100k, but a word is capitals followed by small letters (`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*` then
//! `[\p{Ll}\p{Lm}\p{Lo}\p{M}]+`, or capitals alone), a contraction belongs to the word before it, and signs take
//! slashes and newlines with them. Uncased letters and marks count as both; the engine's backtracking over them is
//! played out by remembering the last one.

use super::blocks::{Rules, Starts, Window};
use super::class::{
    CLASS_TABLE, ClassTable, LETTER, LOWER, MARK, NEWLINE, NUMBER, PRESENT, Properties, SPACE, UNCASED, UPPER,
};
use super::kinds::{self, KIND_TABLE, KindTable};
use super::scan::{WORDLIKE, contraction, contraction_chars, lines_or_spaces, number_starts, tail_starts};

/// A pattern of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct O200k {
    /// A contraction belongs to the word before it.
    pub(crate) contractions: bool,
    pub(crate) max_numbers: usize,
}

const BOTH: Properties = UNCASED | MARK;
const CAPITAL: Properties = UPPER | BOTH;
const SMALL: Properties = LOWER | BOTH;

impl O200k {
    /// The end of the piece that starts at `at`, which is before the end of the text.
    #[inline]
    pub(crate) fn end(self, table: &ClassTable, text: &[u8], at: usize) -> usize {
        let (found, length) = table.at(text, at);
        if found & LETTER != 0 {
            if let Some(end) = small_word(table, text, at).or_else(|| capitals(table, text, at)) {
                return self.with_contraction(text, end);
            }
        } else if found & (NEWLINE | NUMBER) == 0 {
            // A mark may be the character in front of the word or belong to it, tried in this order.
            let behind = at + length;
            let word = small_word(table, text, behind)
                .or_else(|| small_word(table, text, at).filter(|_| found & MARK != 0))
                .or_else(|| capitals(table, text, behind));
            if let Some(end) = word {
                return self.with_contraction(text, end);
            }
        }
        if found & NUMBER != 0 {
            return table.numbers(text, at, self.max_numbers);
        }
        let is_sign = |properties: Properties| properties & PRESENT != 0 && properties & WORDLIKE == 0;
        if is_sign(found) || (text[at] == b' ' && is_sign(table.at(text, at + 1).0)) {
            let mut end = table.run_without(text, at + length, WORDLIKE);
            while text.get(end).is_some_and(|byte| matches!(byte, b'\r' | b'\n' | b'/')) {
                end += 1;
            }
            return end;
        }
        debug_assert!(found & SPACE != 0);
        lines_or_spaces(table, text, at)
    }

    fn with_contraction(self, text: &[u8], end: usize) -> usize {
        if self.contractions && text.get(end) == Some(&b'\'') {
            return contraction(text, end, true).unwrap_or(end);
        }
        end
    }
}

/// The end of `CAPITAL*SMALL+` at `start`.
#[inline]
fn small_word(table: &ClassTable, text: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut last_both) = (start, None);
    loop {
        let (found, length) = table.at(text, at);
        if found & CAPITAL == 0 {
            // Capitals are over: small letters follow, or the last character that counts as one stands for them.
            return if found & LOWER != 0 { Some(table.run(text, at + length, SMALL)) } else { last_both };
        }
        at += length;
        if found & BOTH != 0 {
            last_both = Some(at);
        }
    }
}

/// The end of `CAPITAL+SMALL*` at `start` where there is no `CAPITAL*SMALL+`.
fn capitals(table: &ClassTable, text: &[u8], start: usize) -> Option<usize> {
    let end = table.run(text, start, CAPITAL);
    (end > start).then_some(end)
}

impl Rules for O200k {
    #[inline(always)]
    fn kinds(self) -> &'static KindTable {
        &KIND_TABLE
    }

    #[inline(always)]
    fn starts(self, window: &Window<'_, impl Fn(usize) -> usize>) -> Starts {
        let masks = window.masks;
        let (capital, small) = (masks.with(kinds::CAPITAL), masks.with(kinds::SMALL));
        let (mark, line_or_slash) = (masks.with(kinds::MARKS), masks.with(kinds::LINE_OR_SLASH));
        let mut letters = (capital | small) & !mark;
        let white = masks.with(kinds::WHITE);
        let mut marks = attached(mark, letters);
        let mut taken = 0;
        if self.contractions {
            // Behind a word, and not behind another contraction.
            let mut apostrophes = masks.with(kinds::APOSTROPHE) & (letters | marks) << 1;
            while apostrophes != 0 {
                let index = apostrophes.trailing_zeros() as usize;
                apostrophes &= apostrophes - 1;
                if (letters | marks) & (1 << index) >> 1 == 0 {
                    continue;
                }
                if let Some(n_chars) = contraction_chars(window.text, (window.position)(index), true) {
                    taken |= ((1 << n_chars) - 1) << index;
                    letters &= !taken;
                    marks = attached(mark, letters);
                }
            }
        }
        // A mark that follows no word may belong to signs or begin a word: from there on the masks do not tell.
        let loose = mark & !marks;
        let known = if loose == 0 { u64::MAX } else { (1 << loose.trailing_zeros()) - 1 };
        let valid = masks.valid & known;
        let (letters, white, numbers) = (letters & known, white & known, masks.with(kinds::NUMERIC) & known);
        let words = (letters | marks) & known;
        let taken = taken & known;
        let newlines = line_or_slash & white;
        let signs = valid & !(words | numbers | white | taken);
        // Newlines behind a sign belong to it, and the newlines and slashes behind them.
        let lines = line_or_slash & valid & !taken;
        let first_lines = newlines & signs << 1;
        let absorbed = lines & !lines.wrapping_add(first_lines) | first_lines;
        let signs = signs & !absorbed;
        let first_signs = signs & !(signs << 1) & !(masks.with(kinds::BLANK) << 1);
        let in_front = first_signs & !(signs >> 1) & letters >> 1;
        let mut starts = words & !(words << 1) & !((in_front | white & !newlines) << 1);
        // Inside a word: a capital behind a small letter, uncased ones between them left aside.
        let (capitals, smalls) = (capital & !small & words, small & !capital & words);
        let uncased = capital & small & words;
        let behind_small = uncased & !uncased.wrapping_add(uncased & smalls << 1);
        starts |= capitals & (smalls | behind_small) << 1;
        starts |= last_capitals(window, capitals, uncased & !behind_small, words, known);
        starts |= number_starts(numbers, numbers, self.max_numbers);
        starts |= first_signs;
        let free = white & !absorbed;
        starts |= free & !(free << 1);
        // What follows a contraction or newlines and slashes that a sign took.
        starts |= valid & !taken & taken << 1;
        starts |= valid & !absorbed & absorbed << 1;
        let blanks = white & !newlines;
        starts |= blanks & (valid & !white) >> 1;
        starts |= tail_starts(window, blanks, newlines, free & newlines, false);
        Starts { bits: starts & known, are_all: loose == 0 }
    }

    #[inline]
    fn end(self, text: &[u8], at: usize) -> usize {
        O200k::end(self, &CLASS_TABLE, text, at)
    }
}

/// The marks that follow a letter or another such mark.
#[inline(always)]
fn attached(marks: u64, letters: u64) -> u64 {
    marks & !marks.wrapping_add(marks & letters << 1)
}

/// Capitals that end a word in which the characters before them, uncased or capital, are no part of a small word's end:
/// the last uncased character ends a piece, and they are another.
#[inline(always)]
fn last_capitals(
    window: &Window<'_, impl Fn(usize) -> usize>,
    capitals: u64,
    uncased: u64,
    words: u64,
    known: u64,
) -> u64 {
    let mut found = 0;
    let mut candidates = capitals & uncased << 1;
    while candidates != 0 {
        let index = candidates.trailing_zeros();
        candidates &= candidates - 1;
        let end = index + (capitals >> index).trailing_ones();
        let valid = window.masks.valid & known;
        let ends_word = if end < 64 && valid >> end & 1 == 1 {
            words >> end & 1 == 0
        } else {
            window.is_end && known == u64::MAX
        };
        found |= u64::from(ends_word) << index;
    }
    found
}
