//! Which tokens does merging start from?
//!
//! Bytes, or characters. A byte that is no token is left out of the text, as Hugging Face `tokenizers` does without an
//! unknown token. A character that is no token becomes one byte token for each of its bytes; no merge names those, so
//! it separates what stands on its two sides.

use tokenloom_vocab::{TokenId, TokenTable};

use crate::BuildErrorKind;
use crate::spec::{Merge, Symbols};

/// The first symbols of a model.
#[derive(Clone, Debug)]
pub(crate) enum InitialSymbols {
    Bytes {
        ids: Box<[Option<TokenId>; 256]>,
        /// Some byte has no token.
        has_gaps: bool,
    },
    Characters {
        /// By byte: the token of the ASCII character.
        ascii: Box<[Option<TokenId>; 256]>,
        byte_tokens: Box<[TokenId; 256]>,
    },
}

impl InitialSymbols {
    pub(crate) fn new(
        symbols: &Symbols,
        table: &TokenTable,
        merges: &[Merge],
    ) -> Result<Self, BuildErrorKind> {
        let Symbols::Characters { byte_tokens } = symbols else {
            let ids: [_; 256] = std::array::from_fn(|byte| table.id(&[byte as u8]));
            return Ok(Self::Bytes { has_gaps: ids.contains(&None), ids: Box::new(ids) });
        };
        let byte_tokens: [TokenId; 256] = byte_tokens
            .as_slice()
            .try_into()
            .map_err(|_| BuildErrorKind::ByteTokens { n_byte_tokens: byte_tokens.len() })?;
        let named = |merge: &Merge| byte_tokens.iter().find(|&&id| id == merge.left || id == merge.right);
        if let Some((index, &id)) =
            merges.iter().enumerate().find_map(|(at, merge)| Some((at, named(merge)?)))
        {
            return Err(BuildErrorKind::MergedByteToken { index, id });
        }
        let ascii = std::array::from_fn(|byte| if byte < 128 { table.id(&[byte as u8]) } else { None });
        Ok(Self::Characters { ascii: Box::new(ascii), byte_tokens: Box::new(byte_tokens) })
    }

    /// Calls `visit` with the symbols of `bytes` and their lengths. Bytes that are left out count for the symbol
    /// before them.
    #[inline]
    pub(crate) fn for_each(&self, table: &TokenTable, bytes: &[u8], mut visit: impl FnMut(TokenId)) {
        match self {
            Self::Bytes { ids, .. } => {
                bytes.iter().filter_map(|&byte| ids[usize::from(byte)]).for_each(visit);
            }
            Self::Characters { ascii, byte_tokens } => {
                for chunk in bytes.utf8_chunks() {
                    for c in chunk.valid().chars() {
                        let known = if c.is_ascii() {
                            ascii[c as usize]
                        } else {
                            table.id(c.encode_utf8(&mut [0; 4]).as_bytes())
                        };
                        match known {
                            Some(id) => visit(id),
                            None => c
                                .encode_utf8(&mut [0; 4])
                                .bytes()
                                .for_each(|byte| visit(byte_tokens[usize::from(byte)])),
                        }
                    }
                    chunk.invalid().iter().for_each(|&byte| visit(byte_tokens[usize::from(byte)]));
                }
            }
        }
    }

    /// The tokens that are one symbol.
    pub(crate) fn all<'a>(&'a self, table: &'a TokenTable) -> impl Iterator<Item = TokenId> + 'a {
        let is_symbol = move |bytes: &[u8]| match self {
            Self::Bytes { .. } => bytes.len() == 1,
            Self::Characters { .. } => {
                std::str::from_utf8(bytes).is_ok_and(|text| text.chars().nth(1).is_none())
            }
        };
        table
            .iter()
            .filter(move |&(id, bytes)| !bytes.is_empty() && is_symbol(bytes) && table.id(bytes) == Some(id))
            .map(|(id, _)| id)
    }

    /// The token that a byte without neighbours becomes.
    pub(crate) fn of_byte(&self, byte: u8) -> Option<TokenId> {
        match self {
            Self::Bytes { ids, .. } => ids[usize::from(byte)],
            Self::Characters { ascii, byte_tokens } => {
                Some(ascii[usize::from(byte)].unwrap_or(byte_tokens[usize::from(byte)]))
            }
        }
    }

    /// The token of a byte of a character that is no token.
    pub(crate) fn fallback(&self, byte: u8) -> Option<TokenId> {
        match self {
            Self::Bytes { .. } => None,
            Self::Characters { byte_tokens, .. } => Some(byte_tokens[usize::from(byte)]),
        }
    }

    /// By byte: the token that it is for itself, whatever stands beside it. `None` for a byte that is left out, and for one
    /// that is no character.
    pub(crate) fn of_bytes(&self) -> &[Option<TokenId>; 256] {
        match self {
            Self::Bytes { ids, .. } => ids,
            Self::Characters { ascii, .. } => ascii,
        }
    }

    /// Whether every byte is a token for itself.
    pub(crate) fn are_all_bytes(&self) -> bool {
        matches!(self, Self::Bytes { has_gaps: false, .. })
    }

    /// Whether some byte has no token and is left out of the text.
    pub(crate) fn leaves_out_bytes(&self) -> bool {
        matches!(self, Self::Bytes { has_gaps: true, .. })
    }
}
