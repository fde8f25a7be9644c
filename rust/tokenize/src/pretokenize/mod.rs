//! Where is text cut before byte pair encoding, so that no token crosses?
//!
//! The steps of the file in order; each splits the pieces that the step before left, and sees nothing outside its
//! piece (look-around stops at its ends). Published patterns are split by scanners, others by a regular expression
//! engine. Steps that only cut (all published ones do) run as one stream of pieces without a list between them.

mod blocks;
pub(crate) mod class;
mod deepseek;
mod from_right;
pub(crate) mod generic;
mod kinds;
mod masks;
mod o200k;
pub(crate) mod scan;
pub(crate) mod settled;
mod superword;
mod words;

use std::ops::{ControlFlow, Range};

pub(crate) use blocks::{Ends, VectorUnit};
use generic::{GenericPattern, LongSearches};
#[cfg(target_arch = "x86_64")]
pub(crate) use masks::Avx512;
use scan::Scanner;
#[cfg(test)]
pub(crate) use scan::covering_patterns;
pub use scan::published_patterns;

use crate::spec::{PrependScheme, Pretokenizer, SplitBehavior, SplitPattern};
use crate::{BuildErrorKind, EncodeError};

/// A scanner finds at most so many pieces at a time.
pub(crate) const MAX_BATCH: usize = 256;

/// What the scanner of a published pattern is called; `None` if it has none.
pub(crate) fn scanner_name(pattern: &str) -> Option<&'static str> {
    Scanner::of(pattern).map(Scanner::name)
}

/// The scanner that does the first three of these steps at once, if they have one.
pub(crate) fn joint_scanner(steps: &[Pretokenizer]) -> Option<Scanner> {
    let scanner = |step: &Pretokenizer| match step {
        Pretokenizer::Split {
            pattern: SplitPattern::Regex(pattern),
            behavior: SplitBehavior::Isolated,
            ..
        } => Scanner::of(pattern),
        _ => None,
    };
    let [first, second, third] = steps.first_chunk()?;
    Scanner::of_three([scanner(first)?, scanner(second)?, scanner(third)?])
}

/// One piece of text for the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// A space that is not in the text stands before it.
    pub(crate) prefix_space: bool,
}

impl Piece {
    /// Its text in `text`; `buffer` holds it where a space stands before.
    pub(crate) fn text<'a>(self, text: &'a str, buffer: &'a mut String) -> &'a str {
        let text = &text[self.start..self.end];
        if !self.prefix_space {
            return text;
        }
        buffer.clear();
        buffer.push(' ');
        buffer.push_str(text);
        buffer
    }

    /// The bytes of that.
    pub(crate) fn bytes<'a>(self, text: &'a str, buffer: &'a mut String) -> &'a [u8] {
        self.text(text, buffer).as_bytes()
    }
}

/// The pretokenizers of a tokenizer, compiled.
#[derive(Clone, Debug)]
pub(crate) struct Pretokenizers {
    steps: Vec<Step>,
    unit: VectorUnit,
}

#[derive(Clone, Debug)]
enum Step {
    /// Puts a space before a piece that does not start with one; with `only_first` only at the start of the input.
    PrefixSpace { only_first: bool },
    /// Matches are pieces, and so is the text between them unless it is dropped.
    Cut { finder: Finder, keeps_rest: bool },
    /// Whatever else a match can do.
    Split { finder: Finder, behavior: SplitBehavior, invert: bool },
}

/// What finds the matches of a step.
#[derive(Clone, Debug)]
enum Finder {
    Scanner(Scanner),
    Regex(GenericPattern),
    Literal(Box<str>),
    Numeric,
}

impl Pretokenizers {
    pub(crate) fn new(steps: &[Pretokenizer]) -> Result<Self, BuildErrorKind> {
        let mut compiled = Vec::new();
        let mut n_done = 0;
        for (index, step) in steps.iter().enumerate() {
            if index < n_done {
                continue;
            }
            if let Some(scanner) = joint_scanner(&steps[index..]) {
                compiled.push(Step::Cut { finder: Finder::Scanner(scanner), keeps_rest: true });
                n_done = index + 3;
                continue;
            }
            match step {
                Pretokenizer::Split { pattern, behavior, invert } => {
                    let finder = match pattern {
                        SplitPattern::Regex(pattern) => Finder::of(pattern, index)?,
                        SplitPattern::Literal(text) => Finder::Literal(text.as_str().into()),
                    };
                    compiled.push(Step::split(finder, *behavior, *invert));
                }
                Pretokenizer::Digits { individual: true } => {
                    compiled.push(Step::split(Finder::Numeric, SplitBehavior::Isolated, false));
                }
                Pretokenizer::Digits { individual: false } => {
                    compiled.push(Step::split(Finder::Numeric, SplitBehavior::Contiguous, false));
                }
                Pretokenizer::ByteLevel { add_prefix_space, use_regex } => {
                    if *add_prefix_space {
                        compiled.push(Step::PrefixSpace { only_first: false });
                    }
                    if *use_regex {
                        compiled
                            .push(Step::Cut { finder: Finder::of(generic::GPT2, index)?, keeps_rest: true });
                    }
                }
                Pretokenizer::Metaspace { prepend, split } => {
                    if *prepend != PrependScheme::Never {
                        compiled.push(Step::PrefixSpace { only_first: *prepend == PrependScheme::First });
                    }
                    if *split {
                        let finder = Finder::Literal(" ".into());
                        compiled.push(Step::split(finder, SplitBehavior::MergedWithNext, false));
                    }
                }
            }
        }
        Ok(Self { steps: compiled, unit: VectorUnit::detect() })
    }

    /// Whether one scanner cuts the text into pieces that cover it, so that [`Pretokenizers::ends`] finds them.
    pub(crate) fn has_ends(&self) -> bool {
        self.covering().is_some()
    }

    /// Appends the ends of the pieces from byte `at` on, where one starts: some, or all that are left.
    #[inline]
    pub(crate) fn ends(&self, text: &str, at: usize, ends: &mut Ends) {
        if let Some(scanner) = self.covering() {
            scanner.ends(self.unit, text.as_bytes(), at, ends);
        }
    }

    #[inline]
    fn covering(&self) -> Option<Scanner> {
        match &*self.steps {
            [Step::Cut { finder: Finder::Scanner(scanner), .. }] if scanner.covers() => Some(*scanner),
            _ => None,
        }
    }

    /// Calls `emit` with the pieces of `text` from left to right. None is empty. Some pretokenizers treat the start of
    /// the input as something else.
    pub(crate) fn for_each(
        &self,
        text: &str,
        at_start: bool,
        mut emit: impl FnMut(Piece),
    ) -> Result<(), EncodeError> {
        let flow = self.try_for_each(text, at_start, |piece| {
            emit(piece);
            ControlFlow::Continue(())
        });
        flow.map(|_| ())
    }

    /// The same until `emit` breaks.
    pub(crate) fn try_for_each(
        &self,
        text: &str,
        at_start: bool,
        mut emit: impl FnMut(Piece) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, EncodeError> {
        // The common case of one scanner over the whole text, without the recursion.
        if self.has_ends() {
            let (mut start, mut ends) = (0, Ends::default());
            while start < text.len() {
                ends.clear();
                self.ends(text, start, &mut ends);
                for &end in ends.iter() {
                    if emit(Piece { start, end, prefix_space: false }).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    start = end;
                }
            }
            return Ok(ControlFlow::Continue(()));
        }
        let whole = View { text, start: 0, at_start, prefix_space: false };
        run(&self.steps, whole, &LongSearches::for_text(text.len()), &mut emit)
    }
}

/// What a step sees of a piece: its text, with the space put before it.
#[derive(Clone, Copy)]
struct View<'a> {
    text: &'a str,
    /// Where the piece starts in the whole text.
    start: usize,
    /// Whether it starts the input.
    at_start: bool,
    prefix_space: bool,
}

impl<'a> View<'a> {
    fn sub(self, span: Range<usize>) -> Self {
        let shift = usize::from(self.prefix_space);
        Self {
            text: &self.text[span.clone()],
            start: self.start + span.start.saturating_sub(shift),
            at_start: self.at_start && span.start == 0,
            prefix_space: self.prefix_space && span.start == 0,
        }
    }

    fn piece(self) -> Piece {
        let end = self.start + self.text.len() - usize::from(self.prefix_space);
        Piece { start: self.start, end, prefix_space: self.prefix_space }
    }
}

/// Runs `steps` on one piece. As deep as there are steps.
fn run(
    steps: &[Step],
    view: View<'_>,
    long: &LongSearches,
    emit: &mut impl FnMut(Piece) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, EncodeError> {
    if view.text.is_empty() {
        return Ok(ControlFlow::Continue(()));
    }
    let Some((step, later)) = steps.split_first() else { return Ok(emit(view.piece())) };
    match step {
        Step::PrefixSpace { only_first } if view.text.starts_with(' ') || *only_first && !view.at_start => {
            run(later, view, long, emit)
        }
        Step::PrefixSpace { .. } => {
            let text = format!(" {}", view.text);
            run(later, View { text: &text, prefix_space: true, ..view }, long, emit)
        }
        Step::Cut { finder, keeps_rest } => {
            let mut done = 0;
            while let Some((start, end)) = finder.find(view.text, done, long)? {
                if *keeps_rest && done < start && run(later, view.sub(done..start), long, emit)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                if run(later, view.sub(start..end), long, emit)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                done = end;
            }
            if *keeps_rest {
                run(later, view.sub(done..view.text.len()), long, emit)
            } else {
                Ok(ControlFlow::Continue(()))
            }
        }
        Step::Split { finder, behavior, invert } => {
            for span in behave(&finder.parts(view.text, long)?, *behavior, *invert) {
                if run(later, view.sub(span), long, emit)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        }
    }
}

impl Step {
    fn split(finder: Finder, behavior: SplitBehavior, invert: bool) -> Self {
        match (behavior, invert) {
            (SplitBehavior::Isolated, _) => Self::Cut { finder, keeps_rest: true },
            (SplitBehavior::Removed, true) => Self::Cut { finder, keeps_rest: false },
            _ => Self::Split { finder, behavior, invert },
        }
    }
}

impl Finder {
    fn of(pattern: &str, step: usize) -> Result<Self, BuildErrorKind> {
        match Scanner::of(pattern) {
            Some(scanner) => Ok(Self::Scanner(scanner)),
            None => GenericPattern::new(pattern, step).map(Self::Regex),
        }
    }

    /// The first match at or behind `at`, the end of the match before. An empty match right there is none.
    fn find(
        &self,
        text: &str,
        at: usize,
        long: &LongSearches,
    ) -> Result<Option<(usize, usize)>, EncodeError> {
        Ok(match self {
            Self::Scanner(scanner) => scanner.find(text.as_bytes(), at),
            Self::Regex(pattern) => return pattern.find(text, at, long),
            Self::Literal(literal) if literal.is_empty() => None,
            Self::Literal(literal) => {
                text[at..].find(&**literal).map(|start| (at + start, at + start + literal.len()))
            }
            Self::Numeric => {
                let numeric = text[at..].char_indices().find(|(_, c)| c.is_numeric());
                numeric.map(|(start, c)| (at + start, at + start + c.len_utf8()))
            }
        })
    }

    /// Covers `text` by spans, each with whether it is a match.
    fn parts(&self, text: &str, long: &LongSearches) -> Result<Vec<(Range<usize>, bool)>, EncodeError> {
        let mut parts = Vec::new();
        let mut done = 0;
        while let Some((start, end)) = self.find(text, done, long)? {
            if done < start {
                parts.push((done..start, false));
            }
            parts.push((start..end, true));
            done = end;
        }
        if done < text.len() {
            parts.push((done..text.len(), false));
        }
        Ok(parts)
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
