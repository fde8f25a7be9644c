//! Which format is this file?
//!
//! Told from the content, never from the name: `tokenizer.model` is a SentencePiece model in one repository and a
//! tiktoken rank file in the next.

use std::fmt;

use crate::error::FormatError;

/// A tokenizer file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// `tokenizer.json` of Hugging Face `tokenizers`.
    TokenizerJson,
    /// Lines of `base64 rank`, as tiktoken reads them.
    Tiktoken,
    /// GGUF, the container of llama.cpp.
    Gguf,
    /// Mistral's `tekken.json`. Recognised, not supported.
    Tekken,
    /// A SentencePiece model. Recognised, not supported.
    SentencePiece,
}

impl Kind {
    /// Every format, by name.
    pub const ALL: [Self; 5] =
        [Self::TokenizerJson, Self::Tiktoken, Self::Gguf, Self::Tekken, Self::SentencePiece];

    /// The name that [`fmt::Display`] writes and [`Kind::from_name`] reads.
    pub fn name(self) -> &'static str {
        match self {
            Self::TokenizerJson => "tokenizer.json",
            Self::Tiktoken => "tiktoken",
            Self::Gguf => "gguf",
            Self::Tekken => "tekken.json",
            Self::SentencePiece => "sentencepiece",
        }
    }

    /// The format of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Tells the format from the first bytes, looking at no more than it must.
    ///
    /// # Errors
    /// [`UnknownKind`](crate::FormatErrorKind::UnknownKind).
    pub fn detect(data: &[u8]) -> Result<Self, FormatError> {
        if data.starts_with(b"GGUF") {
            return Ok(Self::Gguf);
        }
        let text = data.trim_ascii_start();
        if text.starts_with(b"{") {
            return Ok(if is_tekken(text) { Self::Tekken } else { Self::TokenizerJson });
        }
        // Field 1 (a piece) of a SentencePiece model is length-delimited: tag 0x0A, its length, then field 1 of the
        // piece with the same tag.
        if let [0x0A, _, 0x0A, ..] = data {
            return Ok(Self::SentencePiece);
        }
        let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let mut words = line.trim_ascii_end().split(|&byte| byte == b' ');
        let is_token = |word: &[u8]| {
            !word.is_empty() && word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte))
        };
        let is_rank = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_digit);
        if let (Some(token), Some(rank), None) = (words.next(), words.next(), words.next())
            && is_token(token)
            && is_rank(rank)
        {
            return Ok(Self::Tiktoken);
        }
        Err(FormatError::unknown_kind())
    }
}

/// A tekken file opens with its `config`, whose first keys name the pattern; no `tokenizer.json` does.
fn is_tekken(text: &[u8]) -> bool {
    let head = &text[..text.len().min(512)];
    let has = |needle: &[u8]| head.windows(needle.len()).any(|window| window == needle);
    has(b"\"config\"") && (has(b"\"pattern\"") || has(b"\"default_vocab_size\""))
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
