//! What is a tokenizer once it is built?

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use rustc_hash::FxHashSet;
use tokenloom_vocab::{ByteTrie, TokenBytes, TokenId, TokenTable};

use crate::added::AddedMatcher;
use crate::bpe::Bpe;
use crate::cache::PretokenCache;
use crate::normalize::{Normalizers, SPACE_MARK};
use crate::pretokenize::Pretokenizers;
use crate::scratch::ScratchPool;
use crate::spec::{Decoder, Symbols, TokenizerSpec};
use crate::{BuildError, BuildErrorKind, EncodeError};

/// A byte-level BPE tokenizer. Immutable but for memory of what it encoded, so it is shared between threads as it is.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    spec: Arc<TokenizerSpec>,
    bpe: Bpe,
    /// The model's tokens and the added ones, for decoding.
    pub(crate) all_tokens: TokenBytes,
    pub(crate) normalizers: Normalizers,
    pub(crate) pretokenizers: Pretokenizers,
    pub(crate) added_raw: AddedMatcher,
    pub(crate) added_normalized: AddedMatcher,
    special: FxHashSet<TokenId>,
    pub(crate) scratches: ScratchPool,
    /// Made by the first question that needs it.
    trie: OnceLock<Arc<ByteTrie>>,
}

impl Tokenizer {
    /// Each thread that encodes may make a tokenizer keep so many bytes of pretokens and their ids.
    pub const MAX_CACHE_BYTES_PER_THREAD: usize = 2 * PretokenCache::MAX_BYTES;

    /// Builds the tables and automata of `spec`.
    ///
    /// # Errors
    /// Every [`BuildErrorKind`].
    pub fn new(spec: impl Into<Arc<TokenizerSpec>>) -> Result<Self, BuildError> {
        let spec = spec.into();
        let mut table = table_of(&spec)?;
        let normalizers = Normalizers::new(&spec.normalizers);
        let all_tokens = join(&spec, &mut table, &normalizers)?;
        for &id in spec.template.prefix.iter().chain(&spec.template.suffix) {
            if all_tokens.bytes(id).is_none() {
                return Err(BuildErrorKind::UnknownTemplateToken { id }.into());
            }
        }
        let bpe = Bpe::new(table, &spec.symbols, &spec.merges, &spec.ranks, spec.ignore_merges)?;
        let pretokenizers = Pretokenizers::new(&spec.pretokenizers)?;
        let added_raw = AddedMatcher::new(&spec.added_tokens, false, &normalizers)?;
        let added_normalized = AddedMatcher::new(&spec.added_tokens, true, &normalizers)?;
        let special = spec.added_tokens.iter().filter(|token| token.special).map(|token| token.id).collect();
        let scratches = ScratchPool::default();
        Ok(Self {
            spec,
            bpe,
            all_tokens,
            normalizers,
            pretokenizers,
            added_raw,
            added_normalized,
            special,
            scratches,
            trie: OnceLock::new(),
        })
    }

    /// What the tokenizer was built from.
    pub fn spec(&self) -> &Arc<TokenizerSpec> {
        &self.spec
    }

    /// The model's tokens, without added tokens that are not among them.
    pub fn table(&self) -> &TokenTable {
        self.bpe.table()
    }

    /// The model's tokens, without added ones, in the order of their bytes.
    pub fn byte_trie(&self) -> &ByteTrie {
        let make = || {
            let added: FxHashSet<TokenId> = self.spec.added_tokens.iter().map(|token| token.id).collect();
            Arc::new(ByteTrie::new(self.table().iter().filter(|(id, _)| !added.contains(id))))
        };
        self.trie.get_or_init(make)
    }

    /// The merges and what follows from them.
    pub fn bpe(&self) -> &Bpe {
        &self.bpe
    }

    /// One more than the largest id, added tokens included.
    pub fn id_bound(&self) -> usize {
        self.all_tokens.id_bound()
    }

    /// How many ids are tokens, added tokens included.
    pub fn n_tokens(&self) -> usize {
        self.all_tokens.n_tokens()
    }

    /// Whether `id` is a special token.
    pub fn is_special(&self, id: TokenId) -> bool {
        self.special.contains(&id)
    }

    /// The special tokens as `(content, id)`, in file order.
    pub fn special_tokens(&self) -> impl Iterator<Item = (&str, TokenId)> {
        self.spec
            .added_tokens
            .iter()
            .filter(|token| token.special)
            .map(|token| (token.content.as_str(), token.id))
    }

    /// The spans of the pretokens of `text`, which is taken as normalized and free of added tokens, and starts an input. They cover all
    /// of it unless a split step removes matches.
    ///
    /// # Errors
    /// [`crate::EncodeErrorKind::Pattern`] if a split pattern gives up.
    pub fn pretokenize(&self, text: &str) -> Result<Vec<std::ops::Range<usize>>, EncodeError> {
        let mut spans = Vec::new();
        self.pretokenizers.for_each(text, true, |piece| spans.push(piece.start..piece.end))?;
        Ok(spans)
    }
}

/// The model's tokens and, where merging starts from characters, those of single bytes.
fn table_of(spec: &TokenizerSpec) -> Result<TokenTable, BuildError> {
    let tokens = spec.tokens.iter();
    let Symbols::Characters { byte_tokens } = &spec.symbols else { return Ok(TokenTable::new(tokens)?) };
    let all_bytes: [u8; 256] = std::array::from_fn(|byte| byte as u8);
    let bytes = byte_tokens.iter().copied().zip(all_bytes.chunks(1));
    Ok(TokenTable::with_hidden(tokens.chain(bytes), byte_tokens)?)
}

/// The model's tokens, the added ones and those that only decode in one table. An added token that names a model id
/// replaces its bytes in decoding, as its content (normalized where it is matched so) is what `tokenizers` decodes.
fn join(
    spec: &TokenizerSpec,
    table: &mut TokenTable,
    normalizers: &Normalizers,
) -> Result<TokenBytes, BuildError> {
    let mut added: Vec<(TokenId, Cow<'_, str>)> = Vec::with_capacity(spec.added_tokens.len());
    for token in &spec.added_tokens {
        if token.content.is_empty() {
            return Err(BuildErrorKind::EmptyAddedToken { id: token.id }.into());
        }
        let content = token.content.as_str();
        let content = if token.normalized { normalizers.apply(content, false) } else { content.into() };
        let has_marks = spec.decoder != Decoder::Bytes && content.contains(SPACE_MARK);
        added.push((token.id, if has_marks { content.replace(SPACE_MARK, " ").into() } else { content }));
    }
    added.sort_unstable();
    added.dedup();
    if let Some(pair) = added.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(BuildErrorKind::AddedTokenConflict { id: pair[0].0 }.into());
    }
    // Nearly always the added tokens lie behind those of the model, or name them as they are.
    let n_model = table.id_bound();
    let says_more = |(id, content): &&(TokenId, Cow<'_, str>)| table.bytes(*id) != Some(content.as_bytes());
    let more: Vec<(TokenId, &[u8])> = added
        .iter()
        .filter(says_more)
        .map(|(id, content)| (*id, content.as_bytes()))
        .chain(spec.decode_only.iter().map(|(id, bytes)| (*id, &**bytes)))
        .collect();
    if more.iter().all(|(id, _)| *id as usize >= n_model) {
        return Ok(table.continued(more)?);
    }
    let model = table.iter().filter(|&(id, _)| added.binary_search_by_key(&id, |entry| entry.0).is_err());
    let decode_only = spec.decode_only.iter().map(|(id, bytes)| (*id, &**bytes));
    Ok(TokenBytes::new(
        model.chain(added.iter().map(|(id, content)| (*id, content.as_bytes()))).chain(decode_only),
    )?)
}
