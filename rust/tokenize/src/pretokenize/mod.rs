//! Where is text cut before byte pair encoding, so that no token crosses?
//!
//! The steps of the file in order; each splits the pieces that the step before left, and sees nothing outside its
//! piece (look-around stops at its ends).

pub(crate) mod class;
mod generic;

use std::borrow::Cow;
use std::ops::{ControlFlow, Range};

use generic::GenericPattern;

use crate::spec::{Pretokenizer, SplitBehavior, SplitPattern};
use crate::{BuildErrorKind, EncodeError};

/// One piece of text for the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// A space that is not in the text stands before it.
    pub(crate) prefix_space: bool,
}

/// The pretokenizers of a tokenizer, compiled.
#[derive(Clone, Debug)]
pub(crate) struct Pretokenizers {
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    PrefixSpace,
    Split { finder: Finder, behavior: SplitBehavior, invert: bool },
}

#[derive(Clone, Debug)]
enum Finder {
    Regex(GenericPattern),
    Literal(Box<str>),
    Numeric,
}

impl Pretokenizers {
    pub(crate) fn new(steps: &[Pretokenizer]) -> Result<Self, BuildErrorKind> {
        let mut compiled = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let mut split =
                |finder, behavior, invert| compiled.push(Step::Split { finder, behavior, invert });
            match step {
                Pretokenizer::Split { pattern, behavior, invert } => {
                    let finder = match pattern {
                        SplitPattern::Regex(pattern) => Finder::Regex(GenericPattern::new(pattern, index)?),
                        SplitPattern::Literal(text) => Finder::Literal(text.as_str().into()),
                    };
                    split(finder, *behavior, *invert);
                }
                Pretokenizer::Digits { individual } => {
                    let behavior =
                        if *individual { SplitBehavior::Isolated } else { SplitBehavior::Contiguous };
                    split(Finder::Numeric, behavior, false);
                }
                Pretokenizer::ByteLevel { add_prefix_space, use_regex } => {
                    if *add_prefix_space {
                        compiled.push(Step::PrefixSpace);
                    }
                    if *use_regex {
                        let finder = Finder::Regex(GenericPattern::new(generic::GPT2, index)?);
                        compiled.push(Step::Split {
                            finder,
                            behavior: SplitBehavior::Isolated,
                            invert: false,
                        });
                    }
                }
            }
        }
        Ok(Self { steps: compiled })
    }

    /// Calls `emit` with the pieces of `text`, from left to right. None is empty.
    pub(crate) fn for_each(&self, text: &str, mut emit: impl FnMut(Piece)) -> Result<(), EncodeError> {
        let flow = self.try_for_each(text, |piece| {
            emit(piece);
            ControlFlow::Continue(())
        });
        flow.map(|_| ())
    }

    /// The same until `emit` breaks.
    pub(crate) fn try_for_each(
        &self,
        text: &str,
        emit: impl FnMut(Piece) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, EncodeError> {
        let mut pieces = vec![Piece { start: 0, end: text.len(), prefix_space: false }];
        for step in &self.steps {
            let mut next = Vec::new();
            for &piece in &pieces {
                step.apply(text, piece, &mut next)?;
            }
            pieces = next;
        }
        Ok(pieces
            .into_iter()
            .filter(|piece| piece.start < piece.end || piece.prefix_space)
            .try_for_each(emit))
    }
}

impl Step {
    fn apply(&self, text: &str, piece: Piece, out: &mut Vec<Piece>) -> Result<(), EncodeError> {
        match self {
            Self::PrefixSpace => {
                let prefix_space = piece.prefix_space || !text[piece.start..piece.end].starts_with(' ');
                out.push(Piece { prefix_space, ..piece });
                Ok(())
            }
            Self::Split { finder, behavior, invert } => {
                let view = piece.view(text);
                let mut parts = Vec::new();
                finder.parts(&view, &mut parts)?;
                for span in behave(&parts, *behavior, *invert) {
                    if !span.is_empty() {
                        out.push(piece.sub(span));
                    }
                }
                Ok(())
            }
        }
    }
}

impl Piece {
    /// The text of the piece, its prefix space included.
    fn view(self, text: &str) -> Cow<'_, str> {
        let inside = &text[self.start..self.end];
        if self.prefix_space { Cow::Owned(format!(" {inside}")) } else { Cow::Borrowed(inside) }
    }

    /// The part of the piece that `span` of its view covers.
    fn sub(self, span: Range<usize>) -> Self {
        let shift = usize::from(self.prefix_space);
        let at = |offset: usize| self.start + offset.saturating_sub(shift);
        Self { start: at(span.start), end: at(span.end), prefix_space: self.prefix_space && span.start == 0 }
    }
}

impl Finder {
    /// Covers `text` by spans, each with whether it is a match.
    fn parts(&self, text: &str, parts: &mut Vec<(Range<usize>, bool)>) -> Result<(), EncodeError> {
        let mut done = 0;
        let mut push = |start: usize, end: usize| {
            if done < start {
                parts.push((done..start, false));
            }
            parts.push((start..end, true));
            done = end;
        };
        match self {
            Self::Regex(pattern) => pattern.for_each_match(text, &mut push)?,
            Self::Literal(literal) if literal.is_empty() => {}
            Self::Literal(literal) => {
                text.match_indices(&**literal).for_each(|(at, found)| push(at, at + found.len()));
            }
            Self::Numeric => {
                text.match_indices(char::is_numeric).for_each(|(at, found)| push(at, at + found.len()));
            }
        }
        if done < text.len() {
            parts.push((done..text.len(), false));
        }
        Ok(())
    }
}

/// Turns matches and the text between them into pieces.
fn behave(parts: &[(Range<usize>, bool)], behavior: SplitBehavior, invert: bool) -> Vec<Range<usize>> {
    let mut pieces: Vec<Range<usize>> = Vec::with_capacity(parts.len());
    let mut before = false;
    let flagged = parts.iter().map(|(span, is_match)| (span.clone(), *is_match != invert));
    match behavior {
        SplitBehavior::Isolated => pieces.extend(flagged.map(|(span, _)| span)),
        SplitBehavior::Removed => {
            pieces.extend(flagged.filter(|(_, is_match)| !is_match).map(|(span, _)| span))
        }
        SplitBehavior::Contiguous => {
            for (span, is_match) in flagged {
                match pieces.last_mut() {
                    Some(last) if is_match == before => last.end = span.end,
                    _ => pieces.push(span),
                }
                before = is_match;
            }
        }
        SplitBehavior::MergedWithPrevious => {
            for (span, is_match) in flagged {
                match pieces.last_mut() {
                    Some(last) if is_match && !before => last.end = span.end,
                    _ => pieces.push(span),
                }
                before = is_match;
            }
        }
        SplitBehavior::MergedWithNext => {
            for (span, is_match) in flagged.rev() {
                match pieces.last_mut() {
                    Some(last) if is_match && !before => last.start = span.start,
                    _ => pieces.push(span),
                }
                before = is_match;
            }
            pieces.reverse();
        }
    }
    pieces
}
