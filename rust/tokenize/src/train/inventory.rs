//! Which tokens exist so far, and which id does the next one get?
//!
//! Ids are given as the Hugging Face trainer gives them: the special tokens in the order given, then the 256 bytes in
//! the order of the characters that stand for them in a `tokenizer.json` file, then the merged tokens as they come.
//! Ties between pairs go by id, so this order decides merges. A merged token whose string exists already (made by
//! another pair, or spelled like a special token) takes the id of that string. A tokenizer that is extended keeps all
//! its ids, and new ones follow the largest.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;
use tokenloom_vocab::{TokenId, TokenTable};

use super::symbols::BOUNDARY;
use super::{TrainError, TrainErrorKind};
use crate::Tokenizer;

/// All token strings together may hold this many bytes. Merged tokens may nest (each one byte longer than the one
/// before), so that the strings of n tokens can need n^2 bytes of memory from a corpus of a few times n.
pub(super) const MAX_TOKEN_BYTES: usize = 1 << 28;

/// The tokens by id, and the id of each string.
#[derive(Clone, Debug)]
pub(super) struct Inventory {
    buffer: Vec<u8>,
    ends: Vec<usize>,
    by_bytes: HashTable<TokenId>,
    special: Vec<String>,
    byte_ids: [TokenId; 256],
    /// Contents of added tokens, which are no tokens of the model.
    taken: HashSet<Box<[u8]>>,
    /// What the right part of a merge loses if it starts with it.
    prefix: Box<[u8]>,
    /// By id: the symbols that a token is of, where symbols are no bytes.
    widths: Vec<usize>,
}

impl Inventory {
    fn empty(special_tokens: &[String]) -> Self {
        Self {
            buffer: Vec::new(),
            ends: Vec::new(),
            by_bytes: HashTable::new(),
            special: special_tokens.to_vec(),
            byte_ids: [BOUNDARY; 256],
            taken: HashSet::new(),
            prefix: Box::default(),
            widths: Vec::new(),
        }
    }

    /// Symbols of any strings, which are added one by one.
    pub(super) fn of_symbols(prefix: &str) -> Self {
        Self { prefix: prefix.as_bytes().into(), ..Self::empty(&[]) }
    }

    /// The id of a symbol, new if its string is.
    pub(super) fn symbol(&mut self, text: &str) -> TokenId {
        let id = self.id_or_insert(text.as_bytes());
        if id as usize == self.widths.len() {
            self.widths.push(1);
        }
        id
    }

    /// The special tokens and the bytes of an alphabet.
    pub(super) fn new(special_tokens: &[String], has_byte: impl Fn(u8) -> bool) -> Result<Self, TrainError> {
        let mut inventory = Self::empty(special_tokens);
        let mut seen = HashMap::new();
        for (index, token) in special_tokens.iter().enumerate() {
            if token.is_empty() {
                return Err(TrainErrorKind::EmptySpecialToken { index }.into());
            }
            if let Some(first) = seen.insert(token, index) {
                let token = token.clone();
                return Err(TrainErrorKind::DuplicateSpecialToken { token, first, second: index }.into());
            }
            // A string outside the byte alphabet can never be merged; it only takes up its id.
            match bytes_of_spelling(token) {
                Some(bytes) if bytes.len() == 1 => {
                    return Err(
                        TrainErrorKind::SpecialTokenIsByte { token: token.clone(), byte: bytes[0] }.into()
                    );
                }
                Some(bytes) => _ = inventory.id_or_insert(&bytes),
                None => inventory.ends.push(inventory.buffer.len()),
            }
        }
        for byte in byte_order().filter(|&byte| has_byte(byte)) {
            inventory.byte_ids[byte as usize] = inventory.id_or_insert(&[byte]);
        }
        Ok(inventory)
    }

    /// Every token of a tokenizer under its id.
    pub(super) fn extending(tokenizer: &Tokenizer) -> Self {
        let mut inventory = Self::empty(&[]);
        let table = tokenizer.table();
        for id in 0..tokenizer.id_bound() as TokenId {
            let bytes = table.bytes(id).unwrap_or_default();
            inventory.buffer.extend_from_slice(bytes);
            inventory.ends.push(inventory.buffer.len());
            // Of several ids with the same bytes, the model makes the first.
            if table.id(bytes) == Some(id) {
                let Self { buffer, ends, by_bytes, .. } = &mut inventory;
                let rehash = |&id: &TokenId| FxBuildHasher.hash_one(bytes_at(buffer, ends, id));
                by_bytes.insert_unique(FxBuildHasher.hash_one(bytes), id, rehash);
            }
        }
        let added = tokenizer.spec().added_tokens.iter().map(|token| token.content.as_bytes());
        inventory.taken = added.filter(|bytes| table.id(bytes).is_none()).map(Box::from).collect();
        inventory
    }

    /// Whether an added token has this content, so that no token of the model may.
    pub(super) fn is_taken(&self, bytes: &[u8]) -> bool {
        !self.taken.is_empty() && self.taken.contains(bytes)
    }

    /// The id of `bytes`, if there is such a token.
    pub(super) fn id(&self, bytes: &[u8]) -> Option<TokenId> {
        let is = |&id: &TokenId| bytes_at(&self.buffer, &self.ends, id) == bytes;
        self.by_bytes.find(FxBuildHasher.hash_one(bytes), is).copied()
    }

    /// The number of ids given.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of all tokens.
    pub(super) fn n_bytes(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn n_special(&self) -> usize {
        self.special.len()
    }

    /// The texts of the special tokens: their ids are their places.
    pub(super) fn special_tokens(&self) -> &[String] {
        &self.special
    }

    /// The id of each single byte; [`BOUNDARY`] for one outside the alphabet.
    pub(super) fn byte_ids(&self) -> &[TokenId; 256] {
        &self.byte_ids
    }

    /// The bytes of a token; empty for a special token that can never be merged.
    pub(super) fn bytes(&self, id: TokenId) -> &[u8] {
        bytes_at(&self.buffer, &self.ends, id)
    }

    /// How many symbols a token is of.
    pub(super) fn width(&self, id: TokenId) -> usize {
        self.widths.get(id as usize).copied().unwrap_or_else(|| self.bytes(id).len())
    }

    /// Appends the bytes that a merge of two tokens makes.
    pub(super) fn join(&self, left: TokenId, right: TokenId, out: &mut Vec<u8>) {
        let (left, right) = (self.bytes(left), self.bytes(right));
        out.extend_from_slice(left);
        out.extend_from_slice(right.strip_prefix(&*self.prefix).unwrap_or(right));
    }

    /// The id of what a merge of two tokens makes, new if the string is.
    pub(super) fn id_or_insert_joined(&mut self, left: TokenId, right: TokenId, bytes: &[u8]) -> TokenId {
        let width = self.width(left) + self.width(right);
        let id = self.id_or_insert(bytes);
        if !self.widths.is_empty() {
            self.widths.resize(self.ends.len(), width);
            self.widths[id as usize] = width;
        }
        id
    }

    /// The id of `bytes`, new if the string is.
    pub(super) fn id_or_insert(&mut self, bytes: &[u8]) -> TokenId {
        let Self { buffer, ends, by_bytes, .. } = self;
        let hash = FxBuildHasher.hash_one(bytes);
        if let Some(&id) = by_bytes.find(hash, |&id| bytes_at(buffer, ends, id) == bytes) {
            return id;
        }
        let id = ends.len() as TokenId;
        buffer.extend_from_slice(bytes);
        ends.push(buffer.len());
        by_bytes.insert_unique(hash, id, |&id| FxBuildHasher.hash_one(bytes_at(buffer, ends, id)));
        id
    }
}

fn bytes_at<'a>(buffer: &'a [u8], ends: &[usize], id: TokenId) -> &'a [u8] {
    let start = if id == 0 { 0 } else { ends[id as usize - 1] };
    &buffer[start..ends[id as usize]]
}

/// Refuses sizes that the tokens before any merge do not fit, or that the vocabulary tables do not hold.
pub(super) fn check_vocab_size(
    vocab_size: usize,
    n_bytes: usize,
    n_special: usize,
) -> Result<(), TrainError> {
    let limit = TokenTable::MAX_ID as usize + 1;
    if vocab_size > limit {
        return Err(TrainErrorKind::VocabTooLarge { vocab_size, limit }.into());
    }
    if vocab_size < n_bytes + n_special {
        return Err(TrainErrorKind::VocabTooSmall { vocab_size, n_bytes, n_special }.into());
    }
    Ok(())
}

/// Bytes that a `tokenizer.json` file spells as the character of the same number: the printable part of Latin-1.
fn is_spelled_as_itself(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The bytes in the order of their characters: the others are spelled from U+0100 upwards, so they come last.
pub(super) fn byte_order() -> impl Iterator<Item = u8> {
    let others = (0..=255).filter(|&byte| !is_spelled_as_itself(byte));
    (0..=255).filter(|&byte| is_spelled_as_itself(byte)).chain(others)
}

/// The bytes that `text` spells in a `tokenizer.json` file, if every character stands for a byte.
fn bytes_of_spelling(text: &str) -> Option<Vec<u8>> {
    let byte_of = |character: char| match u8::try_from(character) {
        Ok(byte) => is_spelled_as_itself(byte).then_some(byte),
        Err(_) => (0..=255u8)
            .filter(|&byte| !is_spelled_as_itself(byte))
            .nth((character as usize).checked_sub(0x100)?),
    };
    text.chars().map(byte_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(special: &[&str]) -> TrainErrorKind {
        let special: Vec<String> = special.iter().map(|s| (*s).to_owned()).collect();
        Inventory::new(&special, |_| true).unwrap_err().kind().clone()
    }

    #[test]
    fn ids_follow_the_characters_of_the_file_format() {
        let inventory = Inventory::new(&["<s>".into(), "a b".into()], |_| true).unwrap();
        assert_eq!(inventory.len(), 258);
        assert_eq!(inventory.byte_ids()[b'!' as usize], 2);
        assert_eq!(inventory.byte_ids()[0xFF], 2 + 94 + 12 + 82 - 1);
        assert_eq!(inventory.byte_ids()[0], 190);
        assert_eq!(inventory.byte_ids()[b' ' as usize], 190 + 32);
        assert_eq!(inventory.byte_ids()[0xAD], 257);
        assert_eq!(inventory.bytes(0), b"<s>");
        assert_eq!(inventory.bytes(1), b"");
    }

    #[test]
    fn a_string_has_one_id() {
        let mut inventory = Inventory::new(&["<s>".into(), "\u{120}the".into()], |_| true).unwrap();
        assert_eq!(inventory.id_or_insert(b"<s>"), 0);
        assert_eq!(inventory.id_or_insert(b" the"), 1);
        assert_eq!(inventory.id_or_insert(b"new"), 258);
        assert_eq!(inventory.id_or_insert(b"new"), 258);
        assert_eq!(inventory.id_or_insert(b""), 259);
    }

    #[test]
    fn spellings() {
        assert_eq!(bytes_of_spelling("a\u{120}\u{e9}\u{143}"), Some(vec![b'a', b' ', 0xE9, 0xAD]));
        for outside in [" ", "\u{ad}", "\u{144}", "\u{ff5c}"] {
            assert_eq!(bytes_of_spelling(outside), None, "{outside:?}");
        }
    }

    #[test]
    fn special_tokens_are_checked() {
        assert_eq!(kind(&["x y", ""]), TrainErrorKind::EmptySpecialToken { index: 1 });
        assert_eq!(
            kind(&["<s>", "x y", "<s>"]),
            TrainErrorKind::DuplicateSpecialToken { token: "<s>".into(), first: 0, second: 2 }
        );
        assert_eq!(
            kind(&["\u{120}"]),
            TrainErrorKind::SpecialTokenIsByte { token: "\u{120}".into(), byte: b' ' }
        );
    }
}
