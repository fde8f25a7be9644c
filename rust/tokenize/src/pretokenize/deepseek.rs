//! Where is the next match of the word step of DeepSeek V3?
//!
//! An ASCII sign with the ASCII letters behind it; letters and marks behind one character that is no newline, letter or
//! sign; signs behind one space with the newlines that follow; white space as in cl100k. Control characters and the like
//! match nothing and are left between the matches.

use super::class::{ClassTable, LETTER, MARK, NEWLINE, SIGN, SPACE};
use super::scan::lines_or_spaces;

/// The word step of DeepSeek V3.
pub(crate) struct Deepseek;

impl Deepseek {
    pub(crate) fn find(table: &ClassTable, text: &[u8], mut at: usize) -> Option<(usize, usize)> {
        while at < text.len() {
            let (found, length) = table.at(text, at);
            if let Some(end) = Self::end(table, text, at) {
                return Some((at, end));
            }
            debug_assert!(found & (LETTER | SIGN | SPACE) == 0);
            at += length;
        }
        None
    }

    #[inline]
    fn end(table: &ClassTable, text: &[u8], at: usize) -> Option<usize> {
        let (found, length) = table.at(text, at);
        let (behind, behind_length) = table.at(text, at + length);
        let word = LETTER | MARK;
        if text[at].is_ascii_punctuation() && text.get(at + 1).is_some_and(u8::is_ascii_alphabetic) {
            let n_letters = text[at + 1..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
            return Some(at + 1 + n_letters);
        }
        if found & (NEWLINE | LETTER | SIGN) == 0 && behind & word != 0 {
            return Some(table.run(text, at + length + behind_length, word));
        }
        if found & word != 0 {
            return Some(table.run(text, at + length, word));
        }
        if found & SIGN != 0 || (text[at] == b' ' && behind & SIGN != 0) {
            let signs = table.run(text, at + length, SIGN);
            return Some(table.run(text, signs, NEWLINE));
        }
        (found & SPACE != 0).then(|| lines_or_spaces(table, text, at))
    }
}
