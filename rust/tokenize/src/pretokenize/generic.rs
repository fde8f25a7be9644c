//! How is text split by a pattern that has no scanner of its own?
//!
//! By the `fancy-regex` crate, which reads Oniguruma's look-around and possessive forms. Patterns without those run in
//! linear time in its delegate; others backtrack, and the crate stops a search after a million steps. That is reported
//! as [`EncodeErrorKind::Pattern`], never waited for.

use fancy_regex::Regex;

use crate::{BuildErrorKind, EncodeError, EncodeErrorKind};

/// A compiled split pattern.
#[derive(Clone, Debug)]
pub(crate) struct GenericPattern {
    regex: Regex,
}

/// The GPT-2 pattern of the ByteLevel step.
pub(crate) const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

impl GenericPattern {
    pub(crate) fn new(pattern: &str, step: usize) -> Result<Self, BuildErrorKind> {
        match Regex::new(pattern) {
            Ok(regex) => Ok(Self { regex }),
            Err(source) => {
                Err(BuildErrorKind::Pattern { step, pattern: pattern.into(), source: Box::new(source) })
            }
        }
    }

    /// Calls `found` with the span of every match. An empty match right behind a match is no match.
    pub(crate) fn for_each_match(
        &self,
        text: &str,
        mut found: impl FnMut(usize, usize),
    ) -> Result<(), EncodeError> {
        let mut last = 0;
        for result in self.regex.find_iter(text) {
            let span = result.map_err(|source| EncodeErrorKind::Pattern {
                byte_offset: last,
                n_bytes: text.len(),
                pattern: self.regex.as_str().into(),
                source: Box::new(source),
            })?;
            last = span.end();
            found(span.start(), span.end());
        }
        Ok(())
    }
}
