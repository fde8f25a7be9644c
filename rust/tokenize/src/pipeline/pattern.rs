//! Where does a pattern of a `tokenizer.json` match?
//!
//! A literal is searched as it is, a regular expression by the `fancy-regex` crate after translation from Oniguruma's
//! dialect ([`super::oniguruma`]); the published split patterns have scanners. Matches do not overlap and are found from left to right; an empty match right behind
//! a match is none.
//!
//! Linear for literals; for expressions see [`crate::pretokenize`]: a text of n bytes costs at most O(1000 · n) steps,
//! and one that would need more is an error.

use std::ops::Range;

use memchr::memmem::Finder;

use super::definition::Pattern;
use super::offsets::CharIndex;
use super::oniguruma;
use super::pieces::parts_by_match;
use crate::pretokenize::generic::{GenericPattern, LongSearches};
use crate::pretokenize::scan::Scanner;
use crate::{BuildErrorKind, EncodeError};

/// A part of a text in characters, and whether it is a match.
pub type PartInChars = ((usize, usize), bool);

/// A compiled [`Pattern`].
#[derive(Clone, Debug)]
pub struct Matcher(Kind);

#[derive(Clone, Debug)]
enum Kind {
    /// The empty string, which is everywhere.
    Everywhere,
    Literal(Box<Finder<'static>>),
    Scanner(Scanner),
    Regex(Box<GenericPattern>),
}

/// The scanner of a published pattern, where Oniguruma reads the pattern as it was published.
fn scanner(pattern: &str) -> Option<Scanner> {
    let has_anchors = pattern.replace("[^", "[").contains(['^', '$']);
    // `{1,3}+` repeats the interval in Oniguruma; `\p{L}+` is read alike.
    let is_interval = |(end, _)| {
        let (_, inside) = pattern[..end].rsplit_once('{').unwrap_or(("", "x"));
        inside.bytes().all(|byte| byte.is_ascii_digit() || byte == b',')
    };
    let repeats_interval = pattern.match_indices("}+").any(is_interval);
    (!has_anchors && !repeats_interval).then(|| Scanner::of(pattern)).flatten()
}

impl Matcher {
    /// # Errors
    /// [`BuildErrorKind::Oniguruma`] for a construct that cannot be translated, [`BuildErrorKind::Pattern`] for a
    /// pattern that does not compile.
    pub fn new(pattern: &Pattern) -> Result<Self, BuildErrorKind> {
        Ok(Self(match pattern {
            Pattern::Literal(text) if text.is_empty() => Kind::Everywhere,
            Pattern::Literal(text) => Kind::Literal(Box::new(Finder::new(text).into_owned())),
            Pattern::Regex(pattern) if let Some(scanner) = scanner(pattern) => Kind::Scanner(scanner),
            Pattern::Regex(pattern) => {
                let translated = oniguruma::translate(pattern).map_err(|reason| {
                    BuildErrorKind::Oniguruma { pattern: pattern.as_str().into(), reason }
                })?;
                Kind::Regex(Box::new(GenericPattern::new(&translated, 0)?))
            }
        }))
    }

    /// The matches in `text`; none in an empty text.
    ///
    /// # Errors
    /// [`EncodeErrorKind::Pattern`](crate::EncodeErrorKind::Pattern) where the search takes too many steps.
    pub fn matches(&self, text: &str) -> Result<Vec<Range<usize>>, EncodeError> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        match &self.0 {
            Kind::Everywhere => {
                let places = text.char_indices().map(|(at, _)| at).chain([text.len()]);
                Ok(places.map(|at| at..at).collect())
            }
            Kind::Literal(finder) => Ok(finder
                .find_iter(text.as_bytes())
                .map(|start| start..start + finder.needle().len())
                .collect()),
            Kind::Scanner(scanner) => {
                let (mut matches, mut done) = (Vec::new(), 0);
                while let Some((start, end)) = scanner.find(text.as_bytes(), done) {
                    matches.push(start..end);
                    done = end;
                }
                Ok(matches)
            }
            Kind::Regex(regex) => {
                let long = LongSearches::for_text(text.len());
                let (mut matches, mut done) = (Vec::new(), None);
                while let Some((start, end)) = regex.find_behind(text, done, &long)? {
                    matches.push(start..end);
                    done = Some(end);
                }
                Ok(matches)
            }
        }
    }

    /// The parts of `text` that are matches and those that are none, in characters.
    ///
    /// # Errors
    /// As [`matches`](Self::matches).
    pub fn parts(&self, text: &str) -> Result<Vec<PartInChars>, EncodeError> {
        let chars = CharIndex::new(text);
        let parts = parts_by_match(text.len(), &self.matches(text)?).into_iter();
        let in_chars = |span: Range<usize>| (chars.place(span.start), chars.place(span.end));
        Ok(parts.map(|(span, is_match)| (in_chars(span), is_match)).collect())
    }

    /// `text` with each match replaced by `content`.
    ///
    /// # Errors
    /// As [`matches`](Self::matches).
    pub fn replaced(&self, text: &str, content: &str) -> Result<String, EncodeError> {
        let mut made = String::with_capacity(text.len());
        let mut done = 0;
        for found in self.matches(text)? {
            made.push_str(&text[done..found.start]);
            made.push_str(content);
            done = found.end;
        }
        made.push_str(&text[done..]);
        Ok(made)
    }
}
