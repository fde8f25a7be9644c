//! What is every id of this vocabulary, as bytes?
//!
//! One buffer of bytes, where each id starts in it, and what kind of token it is. O(bytes of the vocabulary); telling
//! which tokens are never written costs one pretokenization of each where whole pretokens are looked up.

use rustc_hash::FxHashSet;
use tokenloom_vocab::TokenId;

use crate::Tokenizer;

/// What an id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TokenKind {
    /// No token.
    Absent,
    /// A token of the model that encoding can write.
    Normal,
    /// A special token.
    Special,
    /// An added token that is not special.
    Added,
    /// A token of one byte.
    Byte,
    /// A token of the model that encoding never writes: no merges lead to it, or another id has its bytes.
    Unreachable,
}

/// The tokens by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vocabulary {
    /// All bytes.
    pub bytes: Vec<u8>,
    /// Token `id` is `bytes[offsets[id]..offsets[id + 1]]`.
    pub offsets: Vec<i64>,
    /// By id: a [`TokenKind`].
    pub kinds: Vec<u8>,
}

impl Tokenizer {
    /// The tokens of the model and the added ones, by id.
    pub fn vocabulary(&self) -> Vocabulary {
        let added: FxHashSet<TokenId> = self.spec().added_tokens.iter().map(|token| token.id).collect();
        let mut view = Vocabulary { offsets: vec![0], ..Vocabulary::default() };
        for id in 0..self.id_bound() as TokenId {
            let kind = match self.token_bytes(id) {
                None => TokenKind::Absent,
                Some(_) if self.is_special(id) => TokenKind::Special,
                Some(_) if added.contains(&id) => TokenKind::Added,
                Some(&[byte])
                    if self.bpe().byte_id(byte) == Some(id) || self.bpe().fallback_id(byte) == Some(id) =>
                {
                    TokenKind::Byte
                }
                Some(bytes) if self.is_written(id, bytes) => TokenKind::Normal,
                Some(_) => TokenKind::Unreachable,
            };
            view.bytes.extend_from_slice(self.token_bytes(id).unwrap_or_default());
            view.offsets.push(view.bytes.len() as i64);
            view.kinds.push(kind as u8);
        }
        view
    }

    /// Whether merging makes the token, or a whole pretoken may become it.
    fn is_written(&self, id: TokenId, bytes: &[u8]) -> bool {
        if self.table().id(bytes) != Some(id) {
            return false;
        }
        let whole = || match std::str::from_utf8(bytes) {
            // A pattern that gives up on so short a text says nothing about it.
            Ok(text) => self.pretokenize(text).map_or(true, |pieces| pieces.len() <= 1),
            Err(_) => false,
        };
        self.bpe().is_reachable(id) || (self.bpe().ignore_merges() && whole())
    }
}
