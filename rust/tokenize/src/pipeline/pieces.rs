//! How is a text cut into pieces, step by step?
//!
//! A list of pieces, each an [`AlignedText`]; a piece that is an added token has its id and is not touched again. A
//! step replaces every other piece by the parts it makes of it, and parts without text are dropped.

use std::ops::Range;

use tokenloom_vocab::TokenId;

use super::text::{AlignedText, Misaligned};
use crate::EncodeError;
use crate::spec::SplitBehavior;

/// A piece of a text.
#[derive(Clone, Debug)]
pub struct Piece<'a> {
    /// Its text.
    pub text: AlignedText<'a>,
    /// The added token that it is.
    pub added: Option<TokenId>,
}

/// The pieces of a text, in order.
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    pieces: Vec<Piece<'a>>,
}

/// A part of a text, and whether it is a match.
pub type Part = (Range<usize>, bool);

impl<'a> Pieces<'a> {
    /// The whole text as one piece.
    pub fn new(text: AlignedText<'a>) -> Self {
        Self { pieces: vec![Piece { text, added: None }] }
    }

    /// The pieces.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Piece<'a>> + ExactSizeIterator {
        self.pieces.iter()
    }

    /// Replaces each piece that is no added token by what `split` appends for it.
    ///
    /// # Errors
    /// Those of `split`.
    pub fn split(
        &mut self,
        mut split: impl FnMut(AlignedText<'a>, &mut Vec<Piece<'a>>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let mut made = Vec::with_capacity(self.pieces.len());
        for piece in self.pieces.drain(..) {
            if piece.added.is_some() {
                made.push(piece);
                continue;
            }
            let start = made.len();
            split(piece.text, &mut made)?;
            let mut place = start;
            for at in start..made.len() {
                if !made[at].text.is_empty() {
                    made.swap(place, at);
                    place += 1;
                }
            }
            made.truncate(place);
        }
        self.pieces = made;
        Ok(())
    }

    /// Changes the text of each piece that is no added token.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn change(
        &mut self,
        mut change: impl FnMut(&mut AlignedText<'a>) -> Result<(), Misaligned>,
    ) -> Result<(), EncodeError> {
        for piece in self.pieces.iter_mut().filter(|piece| piece.added.is_none()) {
            change(&mut piece.text)?;
        }
        Ok(())
    }
}

/// Cuts `text` at the matches among `parts`, which cover it, as `behavior` says.
pub fn cut<'a>(text: &AlignedText<'a>, parts: Vec<Part>, behavior: SplitBehavior, out: &mut Vec<Piece<'a>>) {
    let mut push = |span: Range<usize>| {
        if !span.is_empty() {
            out.push(Piece { text: text.slice(span), added: None });
        }
    };
    match behavior {
        SplitBehavior::Isolated => parts.into_iter().for_each(|(span, _)| push(span)),
        SplitBehavior::Removed => {
            parts.into_iter().filter(|(_, is_match)| !is_match).for_each(|(span, _)| push(span));
        }
        SplitBehavior::Contiguous => {
            joined(parts, |is_match, previous| is_match == previous).for_each(push);
        }
        SplitBehavior::MergedWithPrevious => {
            joined(parts, |is_match, previous| is_match && !previous).for_each(push);
        }
        SplitBehavior::MergedWithNext => {
            let mirrored = parts.into_iter().rev().collect();
            let spans: Vec<_> = joined(mirrored, |is_match, previous| is_match && !previous).collect();
            spans.into_iter().rev().for_each(push);
        }
    }
}

/// Joins each part to the one before it where `joins` says so of both being matches or not. Before the first part there
/// is none, which counts as no match.
fn joined(parts: Vec<Part>, joins: impl Fn(bool, bool) -> bool) -> impl Iterator<Item = Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::with_capacity(parts.len());
    let mut previous = false;
    for (span, is_match) in parts {
        match spans.last_mut() {
            Some(last) if joins(is_match, previous) => {
                *last = last.start.min(span.start)..last.end.max(span.end);
            }
            _ => spans.push(span),
        }
        previous = is_match;
    }
    spans.into_iter()
}

/// The parts of `text` where each character that is a delimiter is a match.
pub fn parts_by_char(text: &str, is_delimiter: impl Fn(char) -> bool) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut done = 0;
    for (at, c) in text.char_indices().filter(|&(_, c)| is_delimiter(c)) {
        if done < at {
            parts.push((done..at, false));
        }
        done = at + c.len_utf8();
        parts.push((at..done, true));
    }
    if done < text.len() {
        parts.push((done..text.len(), false));
    }
    parts
}

/// The parts of a text of `n_bytes` with these matches in it.
pub fn parts_by_match(n_bytes: usize, matches: &[Range<usize>]) -> Vec<Part> {
    let mut parts = Vec::with_capacity(2 * matches.len() + 1);
    let mut done = 0;
    for found in matches {
        if done != found.start {
            parts.push((done..found.start, false));
        }
        parts.push((found.clone(), true));
        done = found.end;
    }
    if done != n_bytes {
        parts.push((done..n_bytes, false));
    }
    parts
}
