//! Which words does a hierarchical autoregressive transformer read?
//!
//! Between the word boundaries of UAX 29 cut behind every punctuation character and between a lower and an upper case
//! letter; join single spaces that follow each other. Then glue from left to right: a word to a single space before it,
//! punctuation to a single space, word or punctuation before it. The behaviour of hat-splitter 0.1, without its allocations.

use unicode_segmentation::UnicodeSegmentation;

use crate::pretokenize::class::{CLASS_TABLE, LOWER, PUNCTUATION, Properties, SPACE, TITLE, UPPER};

/// What a part between two cuts is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Punctuation,
    WhiteSpace,
    SingleSpace,
}

/// Calls `emit` with the end of every word of `text`.
pub(super) fn ends(text: &str, mut emit: impl FnMut(usize)) {
    let mut parts = Parts { text, start: 0, last: None };
    let mut close = |part: Option<usize>| {
        if let Some(end) = part {
            emit(end);
        }
    };
    for (at, word) in text.split_word_bound_indices() {
        let mut chars = word.char_indices().peekable();
        while let Some((offset, c)) = chars.next() {
            let end = at + offset + c.len_utf8();
            let cuts = match chars.peek() {
                None => true,
                Some(&(_, next)) => {
                    let (here, behind) = (properties(c), properties(next));
                    here & PUNCTUATION != 0 || (here & LOWER != 0 && behind & (UPPER | TITLE) == UPPER)
                }
            };
            if cuts {
                close(parts.push(end));
            }
        }
    }
    close(parts.finish());
    if !text.is_empty() {
        emit(text.len());
    }
}

fn properties(c: char) -> Properties {
    let mut bytes = [0; 4];
    CLASS_TABLE.at(c.encode_utf8(&mut bytes).as_bytes(), 0).0
}

/// The part in progress, which single spaces may still join, and the kind of the one before it.
struct Parts<'a> {
    text: &'a str,
    start: usize,
    last: Option<(usize, Option<Kind>)>,
}

impl Parts<'_> {
    /// Adds the part that ends at `end`; returns the end of a word that is complete now.
    fn push(&mut self, end: usize) -> Option<usize> {
        let Some((current_end, before)) = self.last else {
            self.last = Some((end, None));
            return None;
        };
        let spaces = |from: usize, to: usize| self.text.as_bytes()[from..to].iter().all(|&byte| byte == b' ');
        if end - current_end == 1 && spaces(self.start, end) {
            self.last = Some((end, before));
            return None;
        }
        let (complete, kind) = self.settle(current_end, before);
        self.start = current_end;
        self.last = Some((end, Some(kind)));
        complete
    }

    /// The end of the word before the last part, if that part does not join it.
    fn finish(&mut self) -> Option<usize> {
        let (end, before) = self.last?;
        self.settle(end, before).0
    }

    /// Whether the part up to `end` starts a word, which completes the one before; and its kind.
    fn settle(&self, end: usize, before: Option<Kind>) -> (Option<usize>, Kind) {
        let kind = self.kind(end);
        let joins = match (before, kind) {
            (Some(Kind::SingleSpace), Kind::Word) => true,
            (Some(Kind::SingleSpace | Kind::Word | Kind::Punctuation), Kind::Punctuation) => true,
            (before, _) => before.is_none(),
        };
        ((!joins).then_some(self.start), kind)
    }

    fn kind(&self, end: usize) -> Kind {
        let part = &self.text[self.start..end];
        let mut chars = part.chars();
        match (chars.next(), chars.next()) {
            (Some(' '), None) => Kind::SingleSpace,
            (Some(c), None) if properties(c) & PUNCTUATION != 0 => Kind::Punctuation,
            _ if part.chars().all(|c| properties(c) & SPACE != 0) => Kind::WhiteSpace,
            _ => Kind::Word,
        }
    }
}
