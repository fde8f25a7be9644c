//! How does a text become ids?
//!
//! Added tokens that are matched in raw text cut it first. What lies between is normalized, cut by the added tokens
//! that are matched in normalized text, pretokenized, and each pretoken encoded. Bytes that are not UTF-8 are
//! encoded as pretokens of their own, one for each maximal run, so that any bytes survive a round trip. One walk
//! serves encoding, counting and offsets; O(n) time, nothing is allocated per pretoken. Pretokens are looked up in batches; those
//! that are not known are merged side by side.

use std::ops::{ControlFlow, Range};

use rustc_hash::FxHashSet;
use tokenloom_vocab::TokenId;

use crate::cache::{Missed, Slot};
use crate::lookup::{Found, MANY_MISSED, MAX_BATCHES};
use crate::normalize::Normalized;
use crate::pretokenize::{Ends, MAX_BATCH};
use crate::scratch::Scratch;
use crate::{EncodeError, EncodeErrorKind, Tokenizer};

/// A text to encode.
#[derive(Clone, Copy, Debug)]
pub enum Text<'a> {
    /// UTF-8 that need not be looked through again.
    Str(&'a str),
    /// Any bytes.
    Bytes(&'a [u8]),
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self::Str(text)
    }
}

impl<'a> From<&'a [u8]> for Text<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> Text<'a> {
    /// The bytes of the text.
    pub fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Str(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// The bytes of a span, if they are UTF-8.
    #[inline]
    pub(crate) fn characters(self, span: Range<usize>) -> Option<&'a str> {
        match self {
            Self::Str(text) => text.get(span),
            Self::Bytes(bytes) => std::str::from_utf8(bytes.get(span)?).ok(),
        }
    }
}

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

    pub(crate) fn allows(&self, id: TokenId) -> bool {
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
    /// What lies between added tokens, normalized; it begins at byte `start` of the stretch and is not empty.
    Inside { text: &'a str, start: usize, at_start: bool, stretch: Stretch<'a> },
    /// A whole run of bytes that belong to no character.
    Raw { bytes: &'a [u8] },
}

/// What lies between two added tokens that are matched in raw text, normalized; it begins at byte `at` of the run.
#[derive(Clone, Copy)]
pub(crate) struct Stretch<'a> {
    pub(crate) at: usize,
    pub(crate) normalized: &'a Normalized<'a>,
}

type Flow = Result<ControlFlow<()>, EncodeError>;

impl Tokenizer {
    /// The ids of `text`.
    ///
    /// # Errors
    /// [`EncodeErrorKind::Pattern`] if a split pattern gives up.
    pub fn encode(&self, text: &str, options: &EncodeOptions) -> Result<Vec<TokenId>, EncodeError> {
        self.encode_text(text.into(), options)
    }

    /// The ids of any bytes; the same as [`Tokenizer::encode`] where they are UTF-8.
    ///
    /// # Errors
    /// [`EncodeErrorKind::Pattern`] if a split pattern gives up.
    pub fn encode_bytes(&self, bytes: &[u8], options: &EncodeOptions) -> Result<Vec<TokenId>, EncodeError> {
        self.encode_text(bytes.into(), options)
    }

    /// The ids of `text`.
    ///
    /// # Errors
    /// [`EncodeErrorKind::Pattern`] if a split pattern gives up.
    pub fn encode_text(&self, text: Text<'_>, options: &EncodeOptions) -> Result<Vec<TokenId>, EncodeError> {
        let mut ids = Vec::with_capacity(text.as_bytes().len() / 4 + 8);
        self.scratches.with(|scratch| self.encode_into(text, options, scratch, &mut ids))?;
        Ok(ids)
    }

    /// Appends the ids of `text` to `out`. After an error `out` holds the ids before it.
    pub(crate) fn encode_into(
        &self,
        text: Text<'_>,
        options: &EncodeOptions,
        scratch: &mut Scratch,
        out: &mut Vec<TokenId>,
    ) -> Result<(), EncodeError> {
        self.encode_while(text, options, scratch, out, |_| ControlFlow::Continue(())).map(|_| ())
    }

    /// How many ids [`Tokenizer::encode_text`] gives, without keeping them.
    ///
    /// # Errors
    /// [`EncodeErrorKind::Pattern`] if a split pattern gives up.
    pub fn count<'a>(
        &self,
        text: impl Into<Text<'a>>,
        options: &EncodeOptions,
    ) -> Result<usize, EncodeError> {
        Ok(self.count_until(text, options, usize::MAX)?.unwrap_or(usize::MAX))
    }

    /// How many ids [`Tokenizer::encode_text`] gives if that is at most `limit`. Stops soon after the limit.
    ///
    /// # Errors
    /// [`EncodeErrorKind::Pattern`] if a split pattern gives up before the limit is passed.
    pub fn count_until<'a>(
        &self,
        text: impl Into<Text<'a>>,
        options: &EncodeOptions,
        limit: usize,
    ) -> Result<Option<usize>, EncodeError> {
        let (mut n_ids, mut ids) = (0, Vec::new());
        let flow = self.scratches.with(|scratch| {
            self.encode_while(text.into(), options, scratch, &mut ids, |ids| {
                n_ids += ids.len();
                ids.clear();
                if n_ids > limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        })?;
        n_ids += ids.len();
        Ok((flow.is_continue() && n_ids <= limit).then_some(n_ids))
    }

    /// Appends ids to `out` and asks `go_on` after every batch of them, which may take them away.
    fn encode_while(
        &self,
        text: Text<'_>,
        options: &EncodeOptions,
        scratch: &mut Scratch,
        out: &mut Vec<TokenId>,
        mut go_on: impl FnMut(&mut Vec<TokenId>) -> ControlFlow<()>,
    ) -> Flow {
        let template = &self.spec().template;
        if options.add_special_tokens {
            out.extend(&template.prefix);
        }
        let flow = self.walk::<false>(text, &options.allowed_special, |part| match part {
            Part::Run { .. } => Ok(ControlFlow::Continue(())),
            Part::Added { id, .. } => {
                out.push(id);
                Ok(ControlFlow::Continue(()))
            }
            Part::Inside { text, at_start, .. } => {
                self.encode_inside(text, at_start, scratch, out, &mut go_on)
            }
            Part::Raw { bytes } => {
                self.encode_piece(bytes, scratch, out);
                Ok(go_on(out))
            }
        })?;
        if options.add_special_tokens {
            out.extend(&template.suffix);
        }
        Ok(flow)
    }

    /// Appends the ids of text without added tokens.
    fn encode_inside(
        &self,
        text: &str,
        at_start: bool,
        scratch: &mut Scratch,
        out: &mut Vec<TokenId>,
        go_on: &mut impl FnMut(&mut Vec<TokenId>) -> ControlFlow<()>,
    ) -> Flow {
        if !self.pretokenizers.has_ends() {
            if self.bpe().joins_words() {
                return self.encode_joined(text, at_start, scratch, out, go_on);
            }
            return self.encode_gathered(text, at_start, scratch, out, go_on);
        }
        let ends = |at, ends: &mut _| self.pretokenizers.ends(text, at, ends);
        Ok(self.encode_batches(text, ends, scratch, out, go_on))
    }

    /// Appends the ids of text without added tokens, where merges reach across words.
    fn encode_joined(
        &self,
        text: &str,
        at_start: bool,
        scratch: &mut Scratch,
        out: &mut Vec<TokenId>,
        go_on: &mut impl FnMut(&mut Vec<TokenId>) -> ControlFlow<()>,
    ) -> Flow {
        let mut pieces = Vec::with_capacity(MAX_BATCH);
        let mut prefixed = String::new();
        let mut encode = |bytes: &[u8], pieces: &mut Vec<Range<usize>>, out: &mut Vec<TokenId>| {
            self.bpe().encode_joined(bytes, pieces, out, &mut scratch.bpe);
            pieces.clear();
        };
        let flow = self.pretokenizers.try_for_each(text, at_start, |piece| {
            if piece.prefix_space {
                encode(text.as_bytes(), &mut pieces, out);
                let bytes = piece.bytes(text, &mut prefixed);
                pieces.push(0..bytes.len());
                encode(bytes, &mut pieces, out);
                return go_on(out);
            }
            pieces.push(piece.start..piece.end);
            if pieces.len() < MAX_BATCH {
                return ControlFlow::Continue(());
            }
            encode(text.as_bytes(), &mut pieces, out);
            go_on(out)
        })?;
        encode(text.as_bytes(), &mut pieces, out);
        Ok(flow)
    }

    /// Appends the ids of text without added tokens that one scanner covers.
    pub(crate) fn encode_covered(&self, text: &str, scratch: &mut Scratch, out: &mut Vec<TokenId>) {
        let ends = |at, ends: &mut _| self.pretokenizers.ends(text, at, ends);
        let _never_broken = self.encode_batches(text, ends, scratch, out, &mut |_| ControlFlow::Continue(()));
    }

    /// Appends the ids of text whose pretokens end where `find_ends` says: it appends some ends from a byte on, or all that are
    /// left.
    pub(crate) fn encode_batches(
        &self,
        text: &str,
        find_ends: impl Fn(usize, &mut Ends),
        scratch: &mut Scratch,
        out: &mut Vec<TokenId>,
        go_on: &mut impl FnMut(&mut Vec<TokenId>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let (mut at, mut flow) = (0, ControlFlow::Continue(()));
        while at < text.len() && flow.is_continue() {
            at = self.look_up(text, at, &find_ends, scratch);
            self.merge_missed(text, scratch, out);
            flow = go_on(out);
        }
        flow
    }

    /// Looks up some batches of pretokens from `at` on. Where the next one begins.
    fn look_up(
        &self,
        text: &str,
        mut at: usize,
        find_ends: impl Fn(usize, &mut Ends),
        scratch: &mut Scratch,
    ) -> usize {
        let Scratch { cache, ends, found, .. } = scratch;
        found.clear();
        cache.grow_short();
        for _ in 0..MAX_BATCHES {
            ends.clear();
            find_ends(at, ends);
            found.look_up(cache, text.as_bytes(), at, ends, |key| self.bpe().prefetch(key));
            at = ends.last().copied().unwrap_or(text.len());
            if at >= text.len() || found.missed.len() >= MANY_MISSED {
                break;
            }
        }
        at
    }

    /// Appends the ids of the pretokens that were looked up.
    pub(crate) fn merge_missed(&self, text: &str, scratch: &mut Scratch, out: &mut Vec<TokenId>) {
        let bytes = text.as_bytes();
        let mut found = std::mem::take(&mut scratch.found);
        let Scratch { bpe, cache, .. } = &mut *scratch;
        let Found { missed, apart, together, ids, ends, .. } = &mut found;
        for missed in missed.iter_mut().filter(|missed| missed.is_long()) {
            let span = missed.start..missed.end;
            let piece = &bytes[span.clone()];
            if cache.long(piece).is_some() {
                missed.slot = Slot::elsewhere();
            } else if !self.bpe().can_encode_side_by_side(piece) {
                missed.slot = Slot::elsewhere();
                if self.bpe().can_encode_together(piece) {
                    missed.slot = Slot::together();
                    together.push(span);
                }
            }
        }
        self.bpe().encode_side_by_side(text.into(), missed, bpe, |missed, ids| {
            if missed.is_long() {
                cache.insert(&bytes[missed.start..missed.end], ids);
            } else {
                missed.slot = cache.keep(missed.slot.key(), ids);
            }
            if missed.slot.ids().is_none() {
                let start = apart.len() as u32;
                apart.extend_from_slice(ids);
                missed.slot = Slot::apart(start..apart.len() as u32);
            }
        });
        self.bpe().encode_together(bytes, together, ids, ends, bpe);
        let (mut n_out, mut n_together, mut ends) = (0, 0, found.ends.iter());
        for &Missed { at, start, end, slot } in &found.missed {
            out.extend_from_slice(&found.ready()[n_out..at]);
            n_out = at;
            let slot = if slot.is_pending() { *scratch.cache.find(slot.key()) } else { slot };
            if let Some(ids) = slot.ids() {
                out.extend_from_slice(ids);
            } else if let Some(span) = slot.span_apart() {
                out.extend_from_slice(&found.apart[span]);
            } else if slot.is_together()
                && let Some(&end_of_ids) = ends.next()
            {
                let ids = &found.ids[std::mem::replace(&mut n_together, end_of_ids)..end_of_ids];
                out.extend_from_slice(ids);
                scratch.cache.insert(&bytes[start..end], ids);
            } else {
                self.encode_piece(&bytes[start..end], scratch, out);
            }
        }
        out.extend_from_slice(&found.ready()[n_out..]);
        scratch.found = found;
    }

    /// Appends the ids of `text`; `inside` appends those of text without added tokens.
    pub(crate) fn encode_by_parts(
        &self,
        text: Text<'_>,
        options: &EncodeOptions,
        out: &mut Vec<TokenId>,
        mut inside: impl FnMut(&str, &mut Vec<TokenId>),
    ) -> Result<(), EncodeError> {
        let template = &self.spec().template;
        if options.add_special_tokens {
            out.extend(&template.prefix);
        }
        let flow = self.walk::<false>(text, &options.allowed_special, |part| {
            match part {
                Part::Run { .. } => {}
                Part::Added { id, .. } => out.push(id),
                Part::Inside { text, .. } => inside(text, out),
                Part::Raw { bytes } => {
                    self.scratches.with(|scratch| self.encode_piece(bytes, scratch, out));
                }
            }
            Ok(ControlFlow::Continue(()))
        });
        if options.add_special_tokens {
            out.extend(&template.suffix);
        }
        flow.map(|_| ())
    }

    /// Appends the ids of one pretoken.
    pub(crate) fn encode_piece(&self, piece: &[u8], scratch: &mut Scratch, out: &mut Vec<TokenId>) {
        if scratch.cache.recall(piece, out) {
            return;
        }
        let n_before = out.len();
        self.bpe().encode_piece(piece, out, &mut scratch.bpe);
        scratch.cache.insert(piece, &out[n_before..]);
    }

    /// Walks over `text`. With `ALIGNED` stretches know their source.
    pub(crate) fn walk<const ALIGNED: bool>(
        &self,
        text: Text<'_>,
        allowed: &AllowedSpecial,
        mut visit: impl FnMut(Part<'_>) -> Flow,
    ) -> Flow {
        let bytes = match text {
            Text::Str(text) => {
                let flow = visit(Part::Run { at: 0, is_text: true })?;
                return if flow.is_break() {
                    Ok(flow)
                } else {
                    self.walk_text::<ALIGNED>(text, true, allowed, &mut visit)
                };
            }
            Text::Bytes(bytes) => bytes,
        };
        let mut at = 0;
        for run in Utf8Runs(bytes) {
            let (is_text, length) = match run {
                Run::Text(text) => (true, text.len()),
                Run::Raw(raw) => (false, raw.len()),
            };
            let mut flow = visit(Part::Run { at, is_text })?;
            if flow.is_continue() {
                flow = match run {
                    Run::Text(text) => self.walk_text::<ALIGNED>(text, at == 0, allowed, &mut visit)?,
                    Run::Raw(bytes) => visit(Part::Raw { bytes })?,
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
        starts_input: bool,
        allowed: &AllowedSpecial,
        visit: &mut impl FnMut(Part<'_>) -> Flow,
    ) -> Flow {
        for raw in self.added_raw.segments(text, |id| allowed.allows(id)) {
            let span = raw.start..raw.end;
            let matched = &text[span.clone()];
            let at_start = starts_input && raw.start == 0;
            let flow = match raw.id {
                Some(id) => {
                    let first_space = at_start.then(|| self.normalizers.first_space()).flatten();
                    if let Some(normalized) = first_space {
                        let stretch = Stretch { at: 0, normalized: &normalized };
                        let flow = self.walk_stretch(stretch, true, allowed, visit)?;
                        if flow.is_break() {
                            return Ok(flow);
                        }
                    }
                    visit(Part::Added { id, text: matched, span, stretch: None })?
                }
                None => {
                    let normalized = if ALIGNED {
                        self.normalizers.apply_aligned(matched, at_start)
                    } else {
                        Normalized::unaligned(self.normalizers.apply(matched, at_start))
                    };
                    self.walk_stretch(
                        Stretch { at: raw.start, normalized: &normalized },
                        at_start,
                        allowed,
                        visit,
                    )?
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
        at_start: bool,
        allowed: &AllowedSpecial,
        visit: &mut impl FnMut(Part<'_>) -> Flow,
    ) -> Flow {
        let text = &*stretch.normalized.text;
        for segment in self.added_normalized.segments(text, |id| allowed.allows(id)) {
            let span = segment.start..segment.end;
            let inside = &text[span.clone()];
            let flow = match segment.id {
                Some(id) => visit(Part::Added { id, text: inside, span, stretch: Some(stretch) })?,
                None => visit(Part::Inside {
                    text: inside,
                    start: segment.start,
                    at_start: at_start && span.start == 0,
                    stretch,
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
        let n_valid = match simdutf8::compat::from_utf8(self.0) {
            Ok(text) => {
                self.0 = &[];
                return Some(Run::Text(text));
            }
            Err(error) => error.valid_up_to(),
        };
        if n_valid > 0 {
            let (valid, rest) = self.0.split_at(n_valid);
            self.0 = rest;
            return simdutf8::compat::from_utf8(valid).ok().map(Run::Text);
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
