//! How is text split by a pattern that has no scanner of its own?
//!
//! By the `fancy-regex` crate, which reads Oniguruma's look-around and possessive forms. Patterns without those run in
//! linear time in its delegate; others backtrack. A search that takes more than a thousand steps back is a long one, and
//! a text may have one long search for each 4 kB of it; more of them, or a search of more than a million steps, is
//! reported as [`EncodeErrorKind::Pattern`], never waited for. So a text of n bytes costs O(1000 · n) steps at worst.

use std::cell::Cell;

use fancy_regex::{Regex, RegexBuilder, RuntimeError};

use crate::{BuildErrorKind, EncodeError, EncodeErrorKind};

/// A compiled split pattern.
#[derive(Clone, Debug)]
pub(crate) struct GenericPattern {
    /// Stops after a thousand steps back.
    quick: Regex,
    /// Stops after a million.
    thorough: Regex,
}

/// How many long searches a text may still have.
#[derive(Clone, Debug)]
pub(crate) struct LongSearches(Cell<usize>);

impl LongSearches {
    pub(crate) fn for_text(n_bytes: usize) -> Self {
        Self(Cell::new(64 + n_bytes / 4096))
    }

    fn take(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }
}

/// The GPT-2 pattern of the ByteLevel step.
pub(crate) const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

impl GenericPattern {
    pub(crate) fn new(pattern: &str, step: usize) -> Result<Self, BuildErrorKind> {
        let build = |n_steps| RegexBuilder::new(pattern).backtrack_limit(n_steps).build();
        match build(1_000).and_then(|quick| Ok(Self { quick, thorough: build(1_000_000)? })) {
            Ok(compiled) => Ok(compiled),
            Err(source) => {
                Err(BuildErrorKind::Pattern { step, pattern: pattern.into(), source: Box::new(source) })
            }
        }
    }

    /// The first match at or behind `at`, the end of the match before. An empty match right there is none.
    pub(crate) fn find(
        &self,
        text: &str,
        at: usize,
        long: &LongSearches,
    ) -> Result<Option<(usize, usize)>, EncodeError> {
        self.find_behind(text, Some(at), long)
    }

    /// The first match behind the one that ended at `last_end`. An empty match right there is none.
    pub(crate) fn find_behind(
        &self,
        text: &str,
        last_end: Option<usize>,
        long: &LongSearches,
    ) -> Result<Option<(usize, usize)>, EncodeError> {
        let search = |from: usize| {
            let found = match self.quick.find_from_pos(text, from) {
                Err(fancy_regex::Error::RuntimeError(RuntimeError::BacktrackLimitExceeded))
                    if long.take() =>
                {
                    self.thorough.find_from_pos(text, from)
                }
                found => found,
            };
            found.map_err(|source| EncodeErrorKind::Pattern {
                byte_offset: from,
                n_bytes: text.len(),
                pattern: self.quick.as_str().into(),
                source: Box::new(source),
            })
        };
        let mut from = last_end.unwrap_or(0);
        loop {
            match search(from)? {
                Some(found) if found.start() == found.end() && Some(found.end()) == last_end => {
                    let Some(c) = text[from..].chars().next() else { return Ok(None) };
                    from += c.len_utf8();
                }
                found => return Ok(found.map(|found| (found.start(), found.end()))),
            }
        }
    }
}
