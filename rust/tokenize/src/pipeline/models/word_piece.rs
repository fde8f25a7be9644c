//! Which tokens cover a word, the longest first?
//!
//! At each place of the word the longest token that fits is taken; inside the word only tokens with the prefix fit. Where
//! none does, or the word has too many characters, the whole word is unknown.
//!
//! A walk through the trie of the tokens finds the longest one. O(n · L) for a word of n bytes and tokens of at most L.

use tokenloom_vocab::{ByteTrie, TokenId, TrieNode};

use super::{ModelToken, Vocabulary};
use crate::EncodeErrorKind;

/// A compiled WordPiece model without its vocabulary.
#[derive(Clone, Debug)]
pub(super) struct WordPiece {
    trie: ByteTrie,
    /// The tokens with the prefix for the inside of words.
    inside: Option<TrieNode>,
    unk_token: Box<str>,
    unk_id: Option<TokenId>,
    max_chars: usize,
}

impl WordPiece {
    pub(super) fn new(vocabulary: &Vocabulary, unk_token: &str, prefix: &str, max_chars: usize) -> Self {
        let trie = ByteTrie::new(vocabulary.iter().map(|(text, id)| (id, text.as_bytes())));
        let inside = trie.find(prefix.as_bytes());
        Self { trie, inside, unk_token: unk_token.into(), unk_id: vocabulary.id(unk_token), max_chars }
    }

    pub(super) fn append(&self, word: &str, out: &mut Vec<ModelToken>) -> Result<(), EncodeErrorKind> {
        let first = out.len();
        if word.len() <= self.max_chars || word.chars().count() <= self.max_chars {
            let mut at = 0;
            while at < word.len() {
                let from = if at == 0 { Some(self.trie.root()) } else { self.inside };
                let Some((id, end)) = from.and_then(|node| self.longest(node, word.as_bytes(), at)) else {
                    break;
                };
                out.push(ModelToken::new(id, at, end));
                at = end;
            }
            if at == word.len() {
                return Ok(());
            }
            out.truncate(first);
        }
        let no_token = || EncodeErrorKind::NoUnknownToken { byte_offset: 0, unk: self.unk_token.clone() };
        out.push(ModelToken::new(self.unk_id.ok_or_else(no_token)?, 0, word.len()));
        Ok(())
    }

    /// The longest token below `node` that goes on with `word` from `at` on, and where it ends.
    fn longest(&self, mut node: TrieNode, word: &[u8], at: usize) -> Option<(TokenId, usize)> {
        let mut found = None;
        for (end, &byte) in (at + 1..).zip(&word[at..]) {
            let Some(child) = self.trie.child(node, byte) else { break };
            node = child;
            if let Some(place) = self.trie.exact(node).next() {
                found = Some((self.trie.ids()[place], end));
            }
        }
        found
    }
}
