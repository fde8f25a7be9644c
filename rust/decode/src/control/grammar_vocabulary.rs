//! How does the grammar engine see our tokens?
//!
//! `llguidance` walks a trie of token bytes. Added tokens enter it behind the marker byte `0xFF`, so that no text ever
//! spells them. Its trie has limits of its own: tokens longer than [`GrammarVocabulary::MAX_TRIE_BYTES`], and the few
//! whose own bytes start with the marker, stay outside and are looked at one by one; ids and bytes beyond the trie's bit
//! fields are refused.
//!
//! Building costs one sort of the vocabulary and one pass for each of the engine's token slices (about 0.1 s for
//! 128k tokens), so it is done once a tokenizer and shared by every grammar.

use std::fmt;
use std::sync::Arc;

use llguidance::ParserFactory;
use llguidance::toktrie::{INVALID_TOKEN, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenizerEnv};
use tokenloom_vocab::{TokenId, TokenMask};

use super::{ControlError, ControlErrorKind, Crew};

/// Turns the bytes of plain text into ids, added tokens not recognised.
pub type EncodeBytes = Arc<dyn Fn(&[u8]) -> Vec<TokenId> + Send + Sync>;

/// A vocabulary prepared for grammars.
pub struct GrammarVocabulary {
    pub(super) factory: ParserFactory,
    pub(super) environment: TokEnv,
    /// The tokens that the trie holds.
    pub(super) in_trie: TokenMask,
    /// Tokens of text that it does not hold, by id.
    outside: Vec<(TokenId, Box<[u8]>)>,
    /// The added tokens.
    pub(super) is_added: TokenMask,
    pub(super) encode: EncodeBytes,
    crew: Crew,
}

impl fmt::Debug for GrammarVocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrammarVocabulary").field("n_tokens", &self.n_tokens()).finish_non_exhaustive()
    }
}

struct Environment {
    trie: TokTrie,
    encode: EncodeBytes,
}

impl TokenizerEnv for Environment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        (self.encode)(bytes)
    }

    /// Masks are to hold every token whose bytes fit, not just the encoder's choice.
    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}

impl GrammarVocabulary {
    /// The trie counts depths in ten bits; longer tokens stay outside.
    pub const MAX_TRIE_BYTES: usize = 1023;
    const MAX_TOKENS: usize = (1 << 24) - 2;
    const MAX_BYTES: usize = (1 << 22) - 2;

    /// Builds the trie. `tokens` are the model's, `added` the symbols that text never spells; ids may have gaps.
    ///
    /// # Errors
    /// [`ControlErrorKind::VocabularyTooLarge`], [`ControlErrorKind::TooManyBytes`], [`ControlErrorKind::Walk`].
    pub fn new<'a>(
        tokens: impl IntoIterator<Item = (TokenId, &'a [u8])>,
        added: impl IntoIterator<Item = (TokenId, &'a [u8])>,
        encode: EncodeBytes,
    ) -> Result<Self, ControlError> {
        let mut words: Vec<Vec<u8>> = Vec::new();
        let mut added_ids = Vec::new();
        for (id, bytes) in tokens {
            Self::put(&mut words, id, bytes.to_vec())?;
        }
        for (id, bytes) in added {
            Self::put(&mut words, id, [&[TokTrie::SPECIAL_TOKEN_MARKER], bytes].concat())?;
            added_ids.push(id);
        }
        let n_tokens = words.len();
        let (mut in_trie, mut is_added) = (TokenMask::empty(n_tokens), TokenMask::empty(n_tokens));
        added_ids.into_iter().for_each(|id| is_added.set(id, true));
        let mut outside = Vec::new();
        for (id, word) in (0..).zip(&mut words) {
            let has_marker = word.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER);
            if word.len() > Self::MAX_TRIE_BYTES || (has_marker && !is_added.contains(id)) {
                let word = std::mem::take(word);
                if !is_added.contains(id) {
                    outside.push((id, word.into_boxed_slice()));
                }
            }
            in_trie.set(id, !word.is_empty());
        }
        let n_bytes = words.iter().map(Vec::len).sum();
        // Only distinct prefixes become nodes; counting them would mean building the trie.
        if n_bytes > 4 * Self::MAX_BYTES {
            return Err(ControlErrorKind::TooManyBytes { n_bytes, limit: 4 * Self::MAX_BYTES }.into());
        }
        let (factory, environment) = super::grammar::guarded(|| {
            let trie = TokTrie::from(&TokRxInfo::new(n_tokens as u32, INVALID_TOKEN), &words);
            let environment: TokEnv = Arc::new(Environment { trie, encode: Arc::clone(&encode) });
            let caps = InferenceCapabilities::default();
            let slices = llguidance::earley::SlicedBiasComputer::general_slices();
            let mut factory =
                ParserFactory::new(&environment, caps, &slices).map_err(|error| error.to_string())?;
            factory.quiet();
            factory.limits_mut().verbose_errors = false;
            Ok::<_, String>((factory, environment))
        })
        .map_err(|reason| ControlErrorKind::Walk { step: 0, reason })?;
        Ok(Self { factory, environment, in_trie, outside, is_added, encode, crew: Crew::default() })
    }

    fn put(words: &mut Vec<Vec<u8>>, id: TokenId, word: Vec<u8>) -> Result<(), ControlError> {
        let index = id as usize;
        if index >= Self::MAX_TOKENS {
            return Err(
                ControlErrorKind::VocabularyTooLarge { max_id: index, limit: Self::MAX_TOKENS }.into()
            );
        }
        if words.len() <= index {
            words.resize(index + 1, Vec::new());
        }
        words[index] = word;
        Ok(())
    }

    /// The threads that fill masks of this vocabulary side by side.
    pub fn crew(&self) -> &Crew {
        &self.crew
    }

    /// One more than the largest id.
    pub fn n_tokens(&self) -> usize {
        self.in_trie.n_tokens()
    }

    pub(super) fn trie(&self) -> &TokTrie {
        self.environment.tok_trie()
    }

    /// The tokens of text that the trie does not hold.
    pub(super) fn outside(&self) -> impl Iterator<Item = (TokenId, &[u8])> {
        self.outside.iter().map(|(id, bytes)| (*id, &**bytes))
    }

    /// The bytes that a token adds to a text; `None` for added tokens and for ids that are no token.
    pub(super) fn spelling(&self, id: TokenId) -> Option<&[u8]> {
        if self.in_trie.contains(id) {
            return (!self.is_added.contains(id)).then(|| self.trie().token(id));
        }
        let at = self.outside.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(&self.outside[at].1)
    }

    /// Whether all of `eos` are ids of the vocabulary.
    pub(super) fn check_eos(&self, eos: &[TokenId]) -> Result<(), ControlError> {
        let n_tokens = self.n_tokens();
        match eos.iter().find(|&&id| id as usize >= n_tokens) {
            Some(&id) => Err(ControlErrorKind::UnknownEos { id, n_tokens }.into()),
            None => Ok(()),
        }
    }

    /// What the encoder makes of bytes that must follow the token `last`, without the tokens at the end that some
    /// allowed continuation could change; `n_open` counts these.
    pub(super) fn canonical(
        &self,
        last: Option<TokenId>,
        forced: &[u8],
        n_open: impl FnOnce(&TokTrie, &[TokenId]) -> usize,
    ) -> Vec<TokenId> {
        if forced.is_empty() {
            return Vec::new();
        }
        let before = last.and_then(|last| self.spelling(last));
        let mut ids = before.map_or(Vec::new(), |before| (self.encode)(&[before, forced].concat()));
        if before.is_some() && ids.first().copied() == last {
            ids.remove(0);
        } else {
            ids = (self.encode)(forced);
        }
        // The trie knows nothing of tokens outside: what follows one is left to the caller.
        if let Some(at) = ids.iter().position(|&id| !self.in_trie.contains(id)) {
            ids.truncate(at);
        }
        ids.truncate(ids.len() - n_open(self.trie(), &ids));
        ids
    }
}
