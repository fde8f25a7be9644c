//! How does a text become ids?
//!
//! Added tokens that are matched in raw text cut it first. What lies between is normalized, cut by the added tokens
//! that are matched in normalized text, pretokenized, and each pretoken encoded. Bytes that are not UTF-8 are
//! encoded as pretokens of their own, one for each maximal run, so that any bytes survive a round trip. One walk
//! serves encoding, counting and offsets; O(n) time, nothing is allocated per pretoken.

use std::ops::{ControlFlow, Range};

use rustc_hash::FxHashSet;
use tokenloom_vocab::TokenId;

use crate::bpe::BpeScratch;
use crate::normalize::Normalized;
use crate::{EncodeError, EncodeErrorKind, Tokenizer};

/// Which special tokens are matched in text; the others are ordinary text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AllowedSpecial {
    /// All of them, as in Hugging Face `tokenizers`.
    #[default]
    All,
    /// These ids only. Added tokens that are not special are always matched.
    Only(FxHashSet<TokenId>),
}

/// What to do beside encoding the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Puts the template's ids around the text.
    pub add_special_tokens: bool,
    /// Which special tokens are matched.
    pub allowed_special: AllowedSpecial,
}

/// Reusable memory of encoding; one a thread.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    pub(crate) bpe: BpeScratch,
}

impl AllowedSpecial {
    /// Allows the special tokens with these contents.
    ///
    /// # Errors
    /// [`EncodeErrorKind::UnknownSpecialToken`] if one is no special token of `tokenizer`.
    pub fn only<'a>(
        tokenizer: &Tokenizer,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, EncodeError> {
        let ids = names.into_iter().map(|name| {
            tokenizer
                .special_tokens()
                .find(|&(content, _)| content == name)
                .map(|(_, id)| id)
                .ok_or_else(|| EncodeErrorKind::UnknownSpecialToken { name: name.into() }.into())
        });
        Ok(Self::Only(ids.collect::<Result<_, EncodeError>>()?))
    }

    fn allows(&self, id: TokenId) -> bool {
        match self {
            Self::All => true,
            Self::Only(ids) => ids.contains(&id),
        }
    }
}

/// What the walk over an input meets, from left to right.
pub(crate) enum Part<'a> {
    /// A run of UTF-8 of the input, or of bytes that belong to no character, begins at `at`.
    Run { at: usize, is_text: bool },
    /// An added token; `text` is what it matched. `span` lies in the stretch, in the run where there is none.
    Added { id: TokenId, text: &'a str, span: Range<usize>, stretch: Option<Stretch<'a>> },
    /// A pretoken. `span` lies in the stretch and leaves out a space put before the text.
    Piece { bytes: &'a [u8], span: Range<usize>, prefix_space: bool, stretch: Stretch<'a> },
    /// A whole run of bytes that belong to no character.
    Raw { bytes: &'a [u8] },
}

/// What lies between two added tokens that are matched in raw text, normalized; it begins at byte `at` of the run.
#[derive(Clone, Copy)]
pub(crate) struct Stretch<'a> {
    pub(crate) at: usize,
    pub(crate) normalized: &'a Normalized<'a>,
}

impl Tokenizer {
    /// The ids of `text`.
    ///
    /// # Errors
    /// [`EncodeErrorKind::Pattern`] if a split pattern gives up.
    pub fn encode(&self, text: &str, options: &EncodeOptions) -> Result<Vec<TokenId>, EncodeError> {
        self.encode_bytes(text.as_bytes(), options)
    }

    /// The ids of any bytes; the same as [`Tokenizer::encode`] where they are UTF-8.
    ///
    /// # Errors
    /// [`EncodeErrorKind::Pattern`] if a split pattern gives up.
    pub fn encode_bytes(&self, bytes: &[u8], options: &EncodeOptions) -> Result<Vec<TokenId>, EncodeError> {
        let mut ids = Vec::with_capacity(bytes.len() / 4 + 8);
        self.encode_into(bytes, options, &mut Scratch::default(), &mut ids)?;
        Ok(ids)
    }

    /// Appends the ids of any bytes to `out`.
    ///
    /// # Errors
    /// [`EncodeErrorKind::Pattern`] if a split pattern gives up; `out` then holds the ids before it.
    pub fn encode_into(
        &self,
        bytes: &[u8],
        options: &EncodeOptions,
        scratch: &mut Scratch,
        out: &mut Vec<TokenId>,
    ) -> Result<(), EncodeError> {
        let template = &self.spec().template;
        if options.add_special_tokens {
            out.extend(&template.prefix);
        }
        let _never_broken = self.walk::<false>(bytes, &options.allowed_special, |part| {
            match part {
                Part::Added { id, .. } => out.push(id),
                Part::Piece { bytes, .. } | Part::Raw { bytes } => {
                    self.bpe().encode_piece(bytes, out, &mut scratch.bpe);
                }
                Part::Run { .. } => {}
            }
            ControlFlow::Continue(())
        })?;
        if options.add_special_tokens {
            out.extend(&template.suffix);
        }
        Ok(())
    }

    /// How many ids [`Tokenizer::encode_bytes`] gives, without keeping them.
    ///
    /// # Errors
    /// [`EncodeErrorKind::Pattern`] if a split pattern gives up.
    pub fn count(&self, bytes: &[u8], options: &EncodeOptions) -> Result<usize, EncodeError> {
        Ok(self.count_until(bytes, options, usize::MAX)?.unwrap_or(usize::MAX))
    }

    /// How many ids [`Tokenizer::encode_bytes`] gives if that is at most `limit`. Stops soon after the limit.
    ///
    /// # Errors
    /// [`EncodeErrorKind::Pattern`] if a split pattern gives up before the limit is passed.
    pub fn count_until(
        &self,
        bytes: &[u8],
        options: &EncodeOptions,
        limit: usize,
    ) -> Result<Option<usize>, EncodeError> {
        let template = &self.spec().template;
        let mut n_ids =
            if options.add_special_tokens { template.prefix.len() + template.suffix.len() } else { 0 };
        let (mut ids, mut scratch) = (Vec::new(), Scratch::default());
        let flow = self.walk::<false>(bytes, &options.allowed_special, |part| {
            match part {
                Part::Added { .. } => n_ids += 1,
                Part::Piece { bytes, .. } | Part::Raw { bytes } => {
                    ids.clear();
                    self.bpe().encode_piece(bytes, &mut ids, &mut scratch.bpe);
                    n_ids += ids.len();
                }
                Part::Run { .. } => {}
            }
            if n_ids > limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok((flow.is_continue() && n_ids <= limit).then_some(n_ids))
    }

    /// Walks over `bytes`. With `ALIGNED` stretches know their source.
    pub(crate) fn walk<const ALIGNED: bool>(
        &self,
        bytes: &[u8],
        allowed: &AllowedSpecial,
        mut visit: impl FnMut(Part<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, EncodeError> {
        let mut at = 0;
        for run in Utf8Runs(bytes) {
            let (is_text, length) = match run {
                Run::Text(text) => (true, text.len()),
                Run::Raw(raw) => (false, raw.len()),
            };
            let mut flow = visit(Part::Run { at, is_text });
            if flow.is_continue() {
                flow = match run {
                    Run::Text(text) => self.walk_text::<ALIGNED>(text, allowed, &mut visit)?,
                    Run::Raw(bytes) => visit(Part::Raw { bytes }),
                };
            }
            if flow.is_break() {
                return Ok(flow);
            }
            at += length;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn walk_text<const ALIGNED: bool>(
        &self,
        text: &str,
        allowed: &AllowedSpecial,
        visit: &mut impl FnMut(Part<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, EncodeError> {
        for raw in self.added_raw.segments(text, |id| allowed.allows(id)) {
            let span = raw.start..raw.end;
            let matched = &text[span.clone()];
            let flow = match raw.id {
                Some(id) => visit(Part::Added { id, text: matched, span, stretch: None }),
                None => {
                    let normalized = if ALIGNED {
                        self.normalizers.apply_aligned(matched)
                    } else {
                        Normalized::unaligned(self.normalizers.apply(matched))
                    };
                    self.walk_stretch(Stretch { at: raw.start, normalized: &normalized }, allowed, visit)?
                }
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn walk_stretch(
        &self,
        stretch: Stretch<'_>,
        allowed: &AllowedSpecial,
        visit: &mut impl FnMut(Part<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, EncodeError> {
        let text = &*stretch.normalized.text;
        let mut prefixed = Vec::new();
        for segment in self.added_normalized.segments(text, |id| allowed.allows(id)) {
            let span = segment.start..segment.end;
            let inside = &text[span.clone()];
            let flow = match segment.id {
                Some(id) => visit(Part::Added { id, text: inside, span, stretch: Some(stretch) }),
                None => self.pretokenizers.try_for_each(inside, |piece| {
                    let mut bytes = &inside.as_bytes()[piece.start..piece.end];
                    if piece.prefix_space {
                        prefixed.clear();
                        prefixed.push(b' ');
                        prefixed.extend_from_slice(bytes);
                        bytes = &prefixed;
                    }
                    let span = segment.start + piece.start..segment.start + piece.end;
                    visit(Part::Piece { bytes, span, prefix_space: piece.prefix_space, stretch })
                })?,
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// A maximal run of UTF-8, or of bytes that belong to no character.
#[derive(Clone, Copy)]
pub(crate) enum Run<'a> {
    Text(&'a str),
    Raw(&'a [u8]),
}

pub(crate) struct Utf8Runs<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Utf8Runs<'a> {
    type Item = Run<'a>;

    fn next(&mut self) -> Option<Run<'a>> {
        if self.0.is_empty() {
            return None;
        }
        let n_valid = match std::str::from_utf8(self.0) {
            Ok(text) => {
                self.0 = &[];
                return Some(Run::Text(text));
            }
            Err(error) => error.valid_up_to(),
        };
        if n_valid > 0 {
            let (valid, rest) = self.0.split_at(n_valid);
            self.0 = rest;
            return std::str::from_utf8(valid).ok().map(Run::Text);
        }
        let mut n_raw = 0;
        for chunk in self.0.utf8_chunks() {
            if !chunk.valid().is_empty() {
                break;
            }
            n_raw += chunk.invalid().len();
        }
        let (raw, rest) = self.0.split_at(n_raw);
        self.0 = rest;
        Some(Run::Raw(raw))
    }
}
