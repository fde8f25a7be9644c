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

    /// The first match at or behind `at`, the end of the match before. An empty match right there is none.
    pub(crate) fn find(&self, text: &str, at: usize) -> Result<Option<(usize, usize)>, EncodeError> {
        let search = |from: usize| {
            self.regex.find_from_pos(text, from).map_err(|source| EncodeErrorKind::Pattern {
                byte_offset: from,
                n_bytes: text.len(),
                pattern: self.regex.as_str().into(),
                source: Box::new(source),
            })
        };
        let mut from = at;
        loop {
            match search(from)? {
                Some(found) if found.start() == found.end() && found.end() == at => {
                    let Some(c) = text[from..].chars().next() else { return Ok(None) };
                    from += c.len_utf8();
                }
                found => return Ok(found.map(|found| (found.start(), found.end()))),
            }
        }
    }
}
