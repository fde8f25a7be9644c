//! How does the grammar engine see our tokens?
//!
//! `llguidance` walks a trie of token bytes. Added tokens enter it behind the marker byte `0xFF`, so that no text ever
//! spells them. Its trie has limits of its own: tokens longer than [`GrammarVocabulary::MAX_TOKEN_BYTES`] are left
//! out, which means that grammars never allow them; ids and bytes beyond the trie's bit fields are refused.
//!
//! Building costs one sort of the vocabulary and one pass for each of the engine's token slices (about 0.1 s for
//! 128k tokens), so it is done once a tokenizer and shared by every grammar.

use std::fmt;
use std::sync::Arc;

use llguidance::ParserFactory;
use llguidance::toktrie::{INVALID_TOKEN, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenizerEnv};
use tokenloom_vocab::{TokenId, TokenMask};

use super::{ControlError, ControlErrorKind};

/// Turns the bytes of plain text into ids, added tokens not recognised.
pub type EncodeBytes = Arc<dyn Fn(&[u8]) -> Vec<TokenId> + Send + Sync>;

/// A vocabulary prepared for grammars.
pub struct GrammarVocabulary {
    pub(super) factory: ParserFactory,
    pub(super) environment: TokEnv,
    /// The tokens a grammar can speak of.
    pub(super) in_trie: TokenMask,
    /// The added tokens.
    pub(super) is_added: TokenMask,
    pub(super) encode: EncodeBytes,
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
    /// Tokens of more bytes are never allowed by a grammar.
    pub const MAX_TOKEN_BYTES: usize = 1023;
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
        for (id, word) in words.iter_mut().enumerate() {
            if word.len() > Self::MAX_TOKEN_BYTES {
                word.clear();
            }
            in_trie.set(id as TokenId, !word.is_empty());
        }
        added_ids.into_iter().for_each(|id| is_added.set(id, true));
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
        Ok(Self { factory, environment, in_trie, is_added, encode })
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

    /// One more than the largest id.
    pub fn n_tokens(&self) -> usize {
        self.in_trie.n_tokens()
    }

    pub(super) fn trie(&self) -> &TokTrie {
        self.environment.tok_trie()
    }
}
