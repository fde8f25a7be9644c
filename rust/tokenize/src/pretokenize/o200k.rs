//! Where does the next piece of an o200k-like pattern end?
//!
//! As cl100k, but a word is capitals followed by small letters (`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*` then
//! `[\p{Ll}\p{Lm}\p{Lo}\p{M}]+`, or capitals alone), a contraction belongs to the word before it, and signs take
//! slashes and newlines with them. Uncased letters and marks count as both; the engine's backtracking over them is
//! played out by remembering the last one.

use super::class::{
    ClassTable, LETTER, LOWER, MARK, NEWLINE, NUMBER, PRESENT, Properties, SPACE, UNCASED, UPPER,
};
use super::scan::{WORDLIKE, contraction, lines_or_spaces};

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
