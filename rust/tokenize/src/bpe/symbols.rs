//! Which tokens does merging start from?
//!
//! Bytes, or characters. A byte that is no token is left out of the text, as Hugging Face `tokenizers` does without an
//! unknown token. A character that is no token becomes one byte token for each of its bytes; no merge names those, so
//! it separates what stands on its two sides.

use std::num::NonZero;
use std::ops::RangeInclusive;

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
        byte_token_ids: RangeInclusive<TokenId>,
        others: CodePoints,
    },
}

/// The tokens of characters that are not ASCII: blocks of code points, and by code point over their length, which one.
#[derive(Clone, Debug)]
pub(crate) struct CodePoints {
    stage: Vec<u16>,
    /// The first one has none.
    blocks: Vec<[Option<NonZero<TokenId>>; CodePoints::BLOCK]>,
}

impl CodePoints {
    const BLOCK: usize = 128;

    fn new(table: &TokenTable) -> Self {
        let none = [None; Self::BLOCK];
        let mut this = Self { stage: vec![0; 0x11_0000 / Self::BLOCK], blocks: vec![none] };
        for (id, bytes) in table.iter_answering().filter(|(_, bytes)| (2..=4).contains(&bytes.len())) {
            let mut chars = std::str::from_utf8(bytes).unwrap_or_default().chars();
            let (Some(c), None) = (chars.next(), chars.next()) else { continue };
            let block = &mut this.stage[c as usize / Self::BLOCK];
            if *block == 0 {
                *block = this.blocks.len() as u16;
                this.blocks.push(none);
            }
            // The number after the id.
            this.blocks[usize::from(*block)][c as usize % Self::BLOCK] = NonZero::new(id + 1);
        }
        this
    }

    #[inline]
    fn get(&self, c: char) -> Option<TokenId> {
        let block = &self.blocks[usize::from(self.stage[c as usize / Self::BLOCK])];
        block[c as usize % Self::BLOCK].map(|after| after.get() - 1)
    }
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
        let byte_token_ids = byte_tokens
            .iter()
            .fold(RangeInclusive::new(TokenId::MAX, 0), |ids, &id| id.min(*ids.start())..=id.max(*ids.end()));
        let is_byte_token = |id: &TokenId| byte_token_ids.contains(id) && byte_tokens.contains(id);
        let named = |merge: &Merge| [merge.left, merge.right].into_iter().find(is_byte_token);
        if let Some((index, id)) = merges.iter().enumerate().find_map(|(at, merge)| Some((at, named(merge)?)))
        {
            return Err(BuildErrorKind::MergedByteToken { index, id });
        }
        let ascii = std::array::from_fn(|byte| if byte < 128 { table.id(&[byte as u8]) } else { None });
        let others = CodePoints::new(table);
        Ok(Self::Characters {
            ascii: Box::new(ascii),
            byte_tokens: Box::new(byte_tokens),
            byte_token_ids,
            others,
        })
    }

    /// Calls `visit` with the symbols of `bytes` and their lengths. Bytes that are left out count for the symbol
    /// before them.
    #[inline]
    pub(crate) fn for_each(&self, bytes: &[u8], mut visit: impl FnMut(TokenId)) {
        match self {
            Self::Bytes { ids, .. } => {
                bytes.iter().filter_map(|&byte| ids[usize::from(byte)]).for_each(visit);
            }
            Self::Characters { ascii, byte_tokens, others, .. } => {
                for chunk in bytes.utf8_chunks() {
                    for c in chunk.valid().chars() {
                        match if c.is_ascii() { ascii[c as usize] } else { others.get(c) } {
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

    /// The symbols of a text that have room for them, if each character is one.
    pub(crate) fn of_text<'a>(&self, text: &str, symbols: &'a mut [TokenId]) -> Option<&'a [TokenId]> {
        let Self::Characters { ascii, others, .. } = self else { return None };
        let mut n = 0;
        for c in text.chars() {
            symbols[n] = if c.is_ascii() { ascii[c as usize]? } else { others.get(c)? };
            n += 1;
        }
        Some(&symbols[..n])
    }

    /// Whether merging starts from at most so many symbols, unless some character is none.
    pub(crate) fn fit(&self, bytes: &[u8], n_symbols: usize) -> bool {
        let n_chars = || bytes.iter().filter(|&&byte| byte & 0xC0 != 0x80).count();
        bytes.len() <= n_symbols
            || self.are_characters() && bytes.len() <= 4 * n_symbols && n_chars() <= n_symbols
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
            Self::Characters { ascii, byte_tokens, .. } => {
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

    /// The range of the tokens that bytes of such characters become; empty where there are none.
    pub(crate) fn fallback_ids(&self) -> RangeInclusive<TokenId> {
        match self {
            Self::Bytes { .. } => RangeInclusive::new(1, 0),
            Self::Characters { byte_token_ids, .. } => byte_token_ids.clone(),
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

    /// Whether merging starts from characters.
    pub(crate) fn are_characters(&self) -> bool {
        matches!(self, Self::Characters { .. })
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
