//! What does SentencePiece make of a text before it cuts it?
//!
//! From left to right: a symbol of the user as it is, else the replacement of the longest key of the compiled map, else one
//! character. Spaces at the ends and repeated ones may go, a space may be put at one end, and what is left of spaces
//! becomes U+2581. The byte that a replacement starts with stands for nothing but the last one for all that it replaces:
//! so are the places that the library reports.
//!
//! Of a text that added tokens have cut, each part is normalized for itself; the additional space is put at the end of
//! the whole only.
//!
//! O(n · L) for n bytes and keys of at most L.

use super::{SPACE_MARK, UserSymbols};
use crate::BuildErrorKind;
use crate::pipeline::definition::PieceModel;
use crate::pipeline::normalizers::Charsmap;
use crate::pipeline::text::AlignedText;

/// A compiled normalizer.
#[derive(Clone, Debug)]
pub(in crate::pipeline) struct PieceNormalizer {
    charsmap: Option<Charsmap>,
    symbols: UserSymbols,
    add_dummy_prefix: bool,
    remove_extra_whitespaces: bool,
    treat_whitespace_as_suffix: bool,
    space: &'static str,
}

/// A normalized text in the making.
#[derive(Default)]
struct Made {
    text: String,
    /// By byte: where in the old text the step stood that wrote it.
    starts: Vec<u32>,
}

impl Made {
    fn push(&mut self, text: &str, start: usize) {
        self.text.push_str(text);
        self.starts.resize(self.text.len(), start as u32);
    }
}

impl PieceNormalizer {
    pub(in crate::pipeline) fn new(model: &PieceModel) -> Result<Self, BuildErrorKind> {
        Ok(Self {
            charsmap: match model.charsmap.as_slice() {
                [] => None,
                map => Some(Charsmap::new(map)?),
            },
            symbols: UserSymbols::new(model),
            add_dummy_prefix: model.add_dummy_prefix,
            remove_extra_whitespaces: model.remove_extra_whitespaces,
            treat_whitespace_as_suffix: model.treat_whitespace_as_suffix,
            space: if model.escape_whitespaces { SPACE_MARK } else { " " },
        })
    }

    pub(in crate::pipeline) fn apply(&self, text: &mut AlignedText<'_>) {
        let adds_before =
            self.add_dummy_prefix && !self.treat_whitespace_as_suffix && text.source().start == 0;
        let adds_behind = self.add_dummy_prefix && self.treat_whitespace_as_suffix && text.is_at_end();
        let (made, end) = self.normalized(text.as_str(), adds_before, adds_behind);
        let ends = made.starts.iter().skip(1).copied().chain([end as u32]);
        let alignment = made.starts.iter().copied().zip(ends).collect();
        text.replace_all(made.text, alignment);
    }

    /// The normalized text, and where in the old one it ends.
    fn normalized(&self, old: &str, adds_before: bool, adds_behind: bool) -> (Made, usize) {
        let mut made = Made::default();
        let mut at = 0;
        if self.remove_extra_whitespaces {
            while let Some((n_bytes, " ")) = self.prefix(&old[at..]) {
                at += n_bytes;
            }
        }
        if at == old.len() {
            return (made, at);
        }
        if adds_before {
            made.push(self.space, at);
        }
        let mut is_behind_space = self.remove_extra_whitespaces;
        while let Some((n_bytes, mut new)) = self.prefix(&old[at..]) {
            if is_behind_space {
                new = new.trim_start_matches(' ');
            }
            for (place, part) in new.split(' ').enumerate() {
                if place > 0 {
                    made.push(self.space, at);
                }
                made.push(part, at);
            }
            if !new.is_empty() {
                is_behind_space = self.remove_extra_whitespaces && new.ends_with(' ');
            }
            at += n_bytes;
        }
        if self.remove_extra_whitespaces {
            while let Some(rest) = made.text.strip_suffix(self.space) {
                let n_left = rest.len();
                at = made.starts[n_left] as usize;
                made.text.truncate(n_left);
                made.starts.truncate(n_left);
            }
        }
        if adds_behind {
            made.push(self.space, at);
        }
        (made, at)
    }

    /// How many bytes the next step takes, and what it writes for them.
    fn prefix<'a>(&'a self, old: &'a str) -> Option<(usize, &'a str)> {
        let first = old.chars().next()?;
        if let Some(n_bytes) = self.symbols.longest(old) {
            return Some((n_bytes, &old[..n_bytes]));
        }
        if let Some((n_bytes, new)) = self.charsmap.as_ref().and_then(|map| map.longest(old))
            && old.is_char_boundary(n_bytes)
        {
            return Some((n_bytes, new));
        }
        Some((first.len_utf8(), &old[..first.len_utf8()]))
    }
}
