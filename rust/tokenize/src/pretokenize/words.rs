//! Where does the next piece of a GPT-2-like pattern end?
//!
//! The family: contractions; letters, behind one space (GPT-2) or any one character that is no newline, letter or number
//! (cl100k); numbers; signs behind one space, in cl100k with the newlines that follow; white space up to its last newline;
//! other white space but the last character before text. Every position starts a match, so pieces cover the text.

use super::blocks::{Rules, Starts, Window};
use super::class::{CLASS_TABLE, ClassTable, LETTER, MARK, NEWLINE, NUMBER, PRESENT, Properties, SPACE};
use super::kinds::{
    APOSTROPHE, BLANK, CAPITAL, KIND_TABLE, KindTable, LINE_OR_SLASH, MARKS, NUMERIC, SMALL, WHITE,
};
use super::scan::{
    contraction, contraction_chars, lines_or_spaces, number_starts, space_run, spaces, tail_starts,
};

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

impl Rules for Words {
    #[inline(always)]
    fn kinds(self) -> &'static KindTable {
        &KIND_TABLE
    }

    #[inline(always)]
    fn starts(self, window: &Window<'_, impl Fn(usize) -> usize>) -> Starts {
        let masks = window.masks;
        let mut letters = masks.with(CAPITAL) | masks.with(SMALL);
        if self.letters & MARK == 0 {
            letters &= !masks.with(MARKS);
        }
        let (numbers, white, blank) = (masks.with(NUMERIC), masks.with(WHITE), masks.with(BLANK));
        let newlines = masks.with(LINE_OR_SLASH) & white;
        let mut signs = masks.valid & !(letters | numbers | white);
        // One sign that no blank takes along stands in front of the word behind it.
        let first_signs = signs & !(signs << 1) & !(blank << 1);
        let mut in_front = first_signs & !(signs >> 1) & (letters >> 1);
        let mut starts = 0;
        let mut apostrophes = in_front & masks.with(APOSTROPHE);
        while apostrophes != 0 {
            let index = apostrophes.trailing_zeros() as usize;
            apostrophes &= apostrophes - 1;
            let any_case = self.contractions == Contractions::AnyCase;
            if let Some(n_chars) = contraction_chars(window.text, (window.position)(index), any_case) {
                // A piece; what is left of the letters begins another.
                let taken = ((1 << n_chars) - 1) << index;
                (letters, signs, in_front) = (letters & !taken, signs & !taken, in_front & !taken);
                starts |= 1 << index;
            }
        }
        let absorbed = if self.newlines {
            // Newlines right behind a sign belong to it.
            newlines & !newlines.wrapping_add(newlines & signs << 1)
        } else {
            0
        };
        let (takes_letters, takes_numbers) =
            if self.space_prefix { (blank, blank) } else { (in_front | white & !newlines, 0) };
        starts |= letters & !(letters << 1) & !(takes_letters << 1);
        starts |= number_starts(numbers, numbers & !(takes_numbers << 1), self.max_numbers);
        starts |= signs & !(signs << 1) & !(blank << 1);
        let free = white & !absorbed;
        let behind = (masks.valid & !white) >> 1;
        starts |= free & !(free << 1);
        if self.newlines {
            let blanks = white & !newlines;
            let whole_at_end = self.trailing_space == TrailingSpace::WholeAtEnd;
            starts |= blanks & behind;
            starts |= tail_starts(window, blanks, newlines, free & newlines, whole_at_end);
        } else {
            starts |= white & behind;
        }
        Starts { bits: starts, are_all: true }
    }

    #[inline]
    fn end(self, text: &[u8], at: usize) -> usize {
        Words::end(self, &CLASS_TABLE, text, at)
    }
}
