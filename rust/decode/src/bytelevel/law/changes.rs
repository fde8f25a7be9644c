//! What becomes of a text before a tokenizer cuts it?
//!
//! Byte probabilities are about texts as the tokens spell them. Changes that do not blur what a token spells are named
//! as caveats; with others there is no canonical law.

use tokenloom_tokenize::Tokenizer;
use tokenloom_tokenize::spec::{Normalizer, PrependScheme, Pretokenizer, Symbols};
use tokenloom_vocab::TokenId;

use super::super::error::ByteLevelErrorKind;

/// Where the tokenizer puts a space that the text does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bytelevel) enum Space {
    Nowhere,
    /// Before the text.
    First,
    /// Before the text and behind every added token.
    EverySegment,
}

impl Space {
    /// What stands before a segment.
    pub(in crate::bytelevel) fn before(self, is_first: bool) -> &'static [u8] {
        match self {
            Self::EverySegment => b" ",
            Self::First if is_first => b" ",
            Self::First | Self::Nowhere => b"",
        }
    }
}

/// The added tokens, ascending, if text does not spell them by accident.
pub(super) fn added_tokens(tokenizer: &Tokenizer) -> Result<Vec<TokenId>, ByteLevelErrorKind> {
    let mut symbols = Vec::new();
    for token in &tokenizer.spec().added_tokens {
        let plain = token.content.chars().all(|c| c.is_alphanumeric() || c.is_whitespace());
        if plain && !token.special {
            let content = token.content.as_str().into();
            return Err(ByteLevelErrorKind::PlainAddedToken { id: token.id, content });
        }
        symbols.push(token.id);
    }
    symbols.sort_unstable();
    symbols.dedup();
    Ok(symbols)
}

/// What becomes of a text before it is cut.
pub(in crate::bytelevel) fn changes(
    tokenizer: &Tokenizer,
) -> Result<(Space, Vec<&'static str>), ByteLevelErrorKind> {
    let spec = tokenizer.spec();
    let unsupported = |component| Err(ByteLevelErrorKind::Unsupported { component });
    let (mut space, mut caveats) = (Space::Nowhere, Vec::new());
    for normalizer in &spec.normalizers {
        match normalizer {
            Normalizer::Nfc => caveats.push("NFC: texts that it changes count as if it did not"),
            Normalizer::SpaceMark => caveats.push("the space mark U+2581 is read as a space"),
            Normalizer::PrependFirst => space = Space::First,
            Normalizer::PrependSpace => space = Space::EverySegment,
            _ => return unsupported("a normalizer that changes texts"),
        }
    }
    for pretokenizer in &spec.pretokenizers {
        if let Pretokenizer::Metaspace { prepend, .. } = pretokenizer {
            space = match prepend {
                PrependScheme::Never => space,
                PrependScheme::First => Space::First,
                PrependScheme::Always => Space::EverySegment,
            };
        }
    }
    if space != Space::Nowhere {
        caveats.push("the space put before a text is not part of it");
    }
    if tokenizer.bpe().leaves_out_bytes() && spec.symbols == Symbols::Bytes {
        caveats.push("bytes without a token are left out of texts");
    }
    Ok((space, caveats))
}
