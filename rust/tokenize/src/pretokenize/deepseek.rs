//! Where does the next piece of DeepSeek V3 end?
//!
//! Three steps: numbers in threes; Han or kana, a range of code points whatever their class; words. The words: an ASCII sign
//! with the ASCII letters behind it; letters and marks behind one character that is no newline, letter or sign; signs behind
//! one space with the newlines that follow; white space as in cl100k. Control characters and the like match nothing, a run of
//! them between matches is a piece. One scanner does the three at once and covers the text: for words, inside a run of Han or
//! kana and outside, the text ends where a step before has cut. The word step alone has a scanner, too.
//!
//! O(n). Worst: a match behind characters that match nothing is read twice, once to see that it is there.

use std::sync::LazyLock;

use super::blocks::{Rules, Starts, Window};
use super::class::{
    CLASS_TABLE, ClassTable, HAN_OR_KANA, LETTER, MARK, NEWLINE, NUMBER, Properties, SIGN, SPACE,
};
use super::kinds::{BLANK, Kind, KindTable, NUMERIC, WHITE};
use super::scan::{number_starts, space_run, spaces, tail_starts};

/// The word step of DeepSeek V3.
pub(crate) struct Deepseek;

impl Deepseek {
    /// The first match at or behind `at`.
    pub(crate) fn find(table: &ClassTable, text: &[u8], mut at: usize) -> Option<(usize, usize)> {
        let view = View { table, text, sides: 0, side: 0 };
        while at < text.len() {
            if let Some(end) = view.word(at) {
                return Some((at, end));
            }
            at += view.at(at).1;
        }
        None
    }
}

/// The three steps of DeepSeek V3.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeepseekText;

const MAX_NUMBERS: usize = 3;

impl DeepseekText {
    /// The end of the piece that starts at `at`, which is before the end of the text.
    #[inline]
    pub(crate) fn end_in(table: &ClassTable, text: &[u8], at: usize) -> usize {
        let (found, length) = table.at(text, at);
        if found & NUMBER != 0 {
            return table.numbers(text, at, MAX_NUMBERS);
        }
        let view = View { table, text, sides: NUMBER | HAN_OR_KANA, side: found & HAN_OR_KANA };
        view.word(at).unwrap_or_else(|| view.unmatched(at + length))
    }
}

/// Text as the word step sees it.
#[derive(Clone, Copy)]
struct View<'a> {
    table: &'a ClassTable,
    text: &'a [u8],
    /// The text ends before a character that has others of these properties than `side`.
    sides: Properties,
    side: Properties,
}

impl View<'_> {
    #[inline]
    fn at(self, at: usize) -> (Properties, usize) {
        let seen = self.table.at(self.text, at);
        if seen.0 & self.sides == self.side { seen } else { (0, 0) }
    }

    /// The end of the run of characters with any of `properties` from `at` on.
    #[inline]
    fn run(self, mut at: usize, properties: Properties) -> usize {
        loop {
            let (found, length) = self.at(at);
            if found & properties == 0 {
                return at;
            }
            at += length;
        }
    }

    /// The end of the match at `at`, where the text does not end.
    #[inline]
    fn word(self, at: usize) -> Option<usize> {
        let text = self.text;
        let (found, length) = self.at(at);
        let (behind, behind_length) = self.at(at + length);
        let word = LETTER | MARK;
        if text[at].is_ascii_punctuation() && text.get(at + 1).is_some_and(u8::is_ascii_alphabetic) {
            let n_letters = text[at + 1..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
            return Some(at + 1 + n_letters);
        }
        if found & (NEWLINE | LETTER | SIGN) == 0 && behind & word != 0 {
            return Some(self.run(at + length + behind_length, word));
        }
        if found & word != 0 {
            return Some(self.run(at + length, word));
        }
        if found & SIGN != 0 || (text[at] == b' ' && behind & SIGN != 0) {
            let signs = self.run(at + length, SIGN);
            return Some(self.run(signs, NEWLINE));
        }
        (found & SPACE != 0).then(|| self.white_space(at))
    }

    fn white_space(self, at: usize) -> usize {
        let (end, last_newline) = space_run(self.table, self.text, at);
        let is_last = self.at(end).1 == 0;
        last_newline.unwrap_or_else(|| if is_last { end } else { spaces(self.text, at, end) })
    }

    /// The end of the characters from `at` on that match nothing.
    fn unmatched(self, mut at: usize) -> usize {
        loop {
            let (_, length) = self.at(at);
            if length == 0 || self.word(at).is_some() {
                return at;
            }
            at += length;
        }
    }
}

const LETTERS: Kind = 1;
const HAN: Kind = 1 << 1;
const SIGNS: Kind = 1 << 2;
const LINE_END: Kind = 1 << 5;
const ASCII: Kind = 1 << 7;

/// At most one of number, letter or mark, sign, white space, none for what matches nothing; beside it Han or kana.
static KINDS: LazyLock<KindTable> = LazyLock::new(|| {
    let kind_of = |found: Properties| {
        let is = |wanted| found & wanted != 0;
        let han = if is(HAN_OR_KANA) { HAN } else { 0 };
        han | match () {
            () if is(NUMBER) => NUMERIC,
            () if is(LETTER | MARK) => LETTERS,
            () if is(SIGN) => SIGNS,
            () if is(NEWLINE) => WHITE | LINE_END,
            () if is(SPACE) => WHITE,
            () => 0,
        }
    };
    KindTable::new(kind_of, |byte| if byte == b' ' { ASCII | BLANK } else { ASCII })
});

impl Rules for DeepseekText {
    #[inline(always)]
    fn kinds(self) -> &'static KindTable {
        &KINDS
    }

    #[inline(always)]
    fn starts(self, window: &Window<'_, impl Fn(usize) -> usize>) -> Starts {
        let masks = window.masks;
        let valid = masks.valid;
        let (letters, signs, white) = (masks.with(LETTERS), masks.with(SIGNS), masks.with(WHITE));
        let (numbers, han, newlines) = (masks.with(NUMERIC), masks.with(HAN), masks.with(LINE_END));
        let blanks = white & !newlines;
        let unmatched = valid & !(letters | signs | white | numbers);
        // What the Han or kana step cuts from the character before it starts a piece in any case.
        let joined = !(han ^ han << 1);
        // One ASCII sign that no blank takes along takes the ASCII letters behind it.
        let first_signs = signs & !((signs | masks.with(BLANK)) << 1 & joined);
        let ascii_letters = letters & masks.with(ASCII);
        let in_front = first_signs & masks.with(ASCII) & ascii_letters >> 1;
        let taken = ascii_letters & !ascii_letters.wrapping_add(ascii_letters & in_front << 1);
        let mut starts = letters & !((letters | in_front | blanks | unmatched) << 1 & joined);
        starts |= letters & !taken & taken << 1;
        starts |= first_signs;
        starts |= unmatched & (!(unmatched << 1 & joined) | (letters & joined) >> 1);
        starts |= number_starts(numbers, numbers, MAX_NUMBERS);
        // Newlines right behind a sign belong to it.
        let absorbed = newlines & !newlines.wrapping_add(newlines & (signs & !han) << 1);
        let free = white & !absorbed;
        starts |= free & !(free << 1);
        // White space leaves its last character to what follows, but not to what another step has cut off.
        starts |= blanks & (valid & !(white | numbers | han)) >> 1;
        starts |= tail_starts(window, blanks, newlines, free & newlines, false);
        Starts { bits: starts, are_all: true }
    }

    #[inline]
    fn end(self, text: &[u8], at: usize) -> usize {
        DeepseekText::end_in(&CLASS_TABLE, text, at)
    }
}
