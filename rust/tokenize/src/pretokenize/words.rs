//! Where does the next piece of a GPT-2-like pattern end?
//!
//! The family: contractions; letters, behind one space (GPT-2) or any one character that is no newline, letter or number
//! (cl100k); numbers; signs behind one space, in cl100k with the newlines that follow; white space up to its last newline;
//! other white space but the last character before text. Every position starts a match, so pieces cover the text.

use super::class::{ClassTable, LETTER, NEWLINE, NUMBER, PRESENT, Properties, SPACE};
use super::scan::{contraction, lines_or_spaces, space_run, spaces};

/// A pattern of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) contractions: Contractions,
    /// GPT-2: only a space joins the word behind it, and numbers too; otherwise any character that is none of these.
    pub(crate) space_prefix: bool,
    /// What a word consists of.
    pub(crate) letters: Properties,
    pub(crate) max_numbers: usize,
    /// Newlines join the signs before them, and white space up to a newline is one piece.
    pub(crate) newlines: bool,
    pub(crate) trailing_space: TrailingSpace,
}

/// Which contractions are pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contractions {
    /// In lower case.
    Lower,
    /// In any case.
    AnyCase,
}

/// What becomes of white space at the end of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrailingSpace {
    /// Nothing special.
    AllButLast,
    /// It is one piece, newlines or not (`\s++$`).
    WholeAtEnd,
}

impl Words {
    /// The end of the piece that starts at `at`, which is before the end of the text.
    #[inline]
    pub(crate) fn end(self, table: &ClassTable, text: &[u8], at: usize) -> usize {
        let (found, length) = table.at(text, at);
        let next = at + length;
        if found & self.letters & LETTER != 0 {
            return table.run(text, next, self.letters);
        }
        if text[at] == b'\''
            && let Some(end) = contraction(text, at, self.contractions == Contractions::AnyCase)
        {
            return end;
        }
        if found & NUMBER != 0 {
            return table.numbers(text, at, self.max_numbers);
        }
        let (behind, behind_length) = table.at(text, next);
        let joins = if self.space_prefix { text[at] == b' ' } else { found & NEWLINE == 0 };
        if joins && behind & self.letters != 0 {
            return table.run(text, next + behind_length, self.letters);
        }
        if found & self.letters != 0 {
            return table.run(text, next, self.letters);
        }
        if self.space_prefix && joins && behind & NUMBER != 0 {
            return table.numbers(text, next, self.max_numbers);
        }
        let wordlike = SPACE | NUMBER | self.letters;
        let is_sign = |properties: Properties| properties & PRESENT != 0 && properties & wordlike == 0;
        if is_sign(found) || (text[at] == b' ' && is_sign(behind)) {
            let signs = table.run_without(text, next, wordlike);
            return if self.newlines { table.run(text, signs, NEWLINE) } else { signs };
        }
        self.white_space(table, text, at)
    }

    fn white_space(self, table: &ClassTable, text: &[u8], at: usize) -> usize {
        if !self.newlines || self.trailing_space == TrailingSpace::WholeAtEnd {
            let (end, _) = space_run(table, text, at);
            if !self.newlines || end == text.len() {
                return spaces(text, at, end);
            }
        }
        lines_or_spaces(table, text, at)
    }
}
