//! How does a text become ids?
//!
//! Added tokens that are matched in raw text cut it first. What lies between is normalized, cut by the added tokens
//! that are matched in normalized text, pretokenized, and each pretoken encoded. Bytes that are not UTF-8 are
//! encoded as pretokens of their own, one for each maximal run, so that any bytes survive a round trip.

use rustc_hash::FxHashSet;
use tokenloom_vocab::TokenId;

use crate::bpe::BpeScratch;
use crate::pretokenize::Piece;
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
    bpe: BpeScratch,
    prefixed: Vec<u8>,
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

impl Tokenizer {
    /// The ids of `text`.
    ///
    /// # Errors
    /// [`EncodeErrorKind::Pattern`] if a split pattern gives up.
    pub fn encode(&self, text: &str, options: &EncodeOptions) -> Result<Vec<TokenId>, EncodeError> {
        let mut ids = Vec::new();
        self.encode_into(text.as_bytes(), options, &mut Scratch::default(), &mut ids)?;
        Ok(ids)
    }

    /// The ids of any bytes; the same as [`Tokenizer::encode`] where they are UTF-8.
    ///
    /// # Errors
    /// [`EncodeErrorKind::Pattern`] if a split pattern gives up.
    pub fn encode_bytes(&self, bytes: &[u8], options: &EncodeOptions) -> Result<Vec<TokenId>, EncodeError> {
        let mut ids = Vec::new();
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
        for chunk in Utf8Runs(bytes) {
            match chunk {
                Run::Text(text) => self.encode_text(text, options, scratch, out)?,
                Run::Raw(raw) => self.bpe().encode_piece(raw, out, &mut scratch.bpe),
            }
        }
        if options.add_special_tokens {
            out.extend(&template.suffix);
        }
        Ok(())
    }

    fn encode_text(
        &self,
        text: &str,
        options: &EncodeOptions,
        scratch: &mut Scratch,
        out: &mut Vec<TokenId>,
    ) -> Result<(), EncodeError> {
        let allowed = |id| options.allowed_special.allows(id);
        for raw in self.added_raw.segments(text, allowed) {
            if let Some(id) = raw.id {
                out.push(id);
                continue;
            }
            let normalized = self.normalizers.apply(&text[raw.start..raw.end]);
            for segment in self.added_normalized.segments(&normalized, allowed) {
                match segment.id {
                    Some(id) => out.push(id),
                    None => self.encode_ordinary(&normalized[segment.start..segment.end], scratch, out)?,
                }
            }
        }
        Ok(())
    }

    fn encode_ordinary(
        &self,
        text: &str,
        scratch: &mut Scratch,
        out: &mut Vec<TokenId>,
    ) -> Result<(), EncodeError> {
        self.pretokenizers.for_each(text, |piece: Piece| {
            let bytes = &text.as_bytes()[piece.start..piece.end];
            if piece.prefix_space {
                scratch.prefixed.clear();
                scratch.prefixed.push(b' ');
                scratch.prefixed.extend_from_slice(bytes);
                self.bpe().encode_piece(&scratch.prefixed, out, &mut scratch.bpe);
            } else {
                self.bpe().encode_piece(bytes, out, &mut scratch.bpe);
            }
        })
    }

    /// How many ids [`Tokenizer::encode_bytes`] gives.
    ///
    /// # Errors
    /// [`EncodeErrorKind::Pattern`] if a split pattern gives up.
    pub fn count(&self, bytes: &[u8], options: &EncodeOptions) -> Result<usize, EncodeError> {
        Ok(self.encode_bytes(bytes, options)?.len())
    }
}

/// A maximal run of UTF-8, or of bytes that belong to no character.
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
        let error = match std::str::from_utf8(self.0) {
            Ok(text) => {
                self.0 = &[];
                return Some(Run::Text(text));
            }
            Err(error) => error,
        };
        if error.valid_up_to() > 0 {
            let (valid, rest) = self.0.split_at(error.valid_up_to());
            self.0 = rest;
            return std::str::from_utf8(valid).ok().map(Run::Text);
        }
        let mut chunks = self.0.utf8_chunks();
        let n_raw =
            chunks.by_ref().take_while(|chunk| chunk.valid().is_empty()).map(|c| c.invalid().len()).sum();
        let (raw, rest) = self.0.split_at(n_raw);
        self.0 = rest;
        Some(Run::Raw(raw))
    }
}
