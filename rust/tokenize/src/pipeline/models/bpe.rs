//! Which merges turn the characters of a word into its tokens?
//!
//! Each character becomes a token, with the prefix for the inside of words before it and the suffix for their end behind
//! it. One that is none becomes the tokens of its bytes, or the unknown token, or nothing. Then the pair of neighbours
//! with the lowest rank is merged, the leftmost where two are equal, until no pair is left: a heap of pairs, and a
//! doubly linked list of tokens. Dropout leaves a merge waiting until another one was done.
//!
//! O(n log n) for n characters. A pair that waits in the heap is merged at its rank as long as the pair that stands at
//! its place then has the same result, whatever its own rank: so it is in Hugging Face `tokenizers`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hashbrown::HashMap;
use tokenloom_vocab::TokenId;

use super::{ModelToken, Vocabulary};
use crate::pipeline::definition::BpeModel;
use crate::{BuildErrorKind, EncodeErrorKind};

/// Random numbers by place: the n-th one of a seed is always the same.
#[derive(Clone, Debug)]
pub struct Draws {
    seed: u64,
    n_drawn: u64,
}

impl Draws {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, n_drawn: 0 }
    }

    /// The next number in `0.0..1.0`: SplitMix64 (Steele et al., 2014) of the seed and the count.
    pub(crate) fn uniform(&mut self) -> f32 {
        self.n_drawn += 1;
        let mut bits = self.seed.wrapping_add(self.n_drawn.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        bits = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ bits >> 31) >> 40) as f32 / (1u32 << 24) as f32
    }
}

/// A compiled BPE model without its vocabulary.
#[derive(Clone, Debug)]
pub(super) struct Bpe {
    /// By pair of ids: rank and result.
    merges: HashMap<(TokenId, TokenId), (u32, TokenId)>,
    dropout: Option<f32>,
    unk_token: Option<Box<str>>,
    prefix: Box<str>,
    suffix: Box<str>,
    /// The tokens `<0x00>` to `<0xFF>`, where byte fallback is on.
    bytes: Option<Box<[Option<TokenId>; 256]>>,
    fuse_unk: bool,
    ignore_merges: bool,
}

#[derive(Clone, Copy)]
struct Symbol {
    id: TokenId,
    /// Bytes of the word; 0 once it is merged into the one before it.
    n_bytes: u32,
    previous: u32,
    next: u32,
}

const NONE: u32 = u32::MAX;

impl Bpe {
    pub(super) fn new(definition: &BpeModel, vocabulary: &Vocabulary) -> Result<Self, BuildErrorKind> {
        if let Some(p) = definition.dropout.filter(|p| !(0.0..=1.0).contains(p)) {
            let found = p.to_string().into();
            return Err(BuildErrorKind::Field { field: "dropout", found, expected: "0 to 1" });
        }
        let n_merges = definition.merges.len();
        if n_merges > u32::MAX as usize {
            return Err(BuildErrorKind::TooManyMerges { n_merges, limit: u32::MAX as usize });
        }
        let prefix = definition.continuing_subword_prefix.as_deref().unwrap_or_default();
        let mut merges = HashMap::with_capacity(n_merges);
        let mut joined = Vec::new();
        for (index, &(left, right)) in definition.merges.iter().enumerate() {
            let text = |id| vocabulary.text(id).ok_or(BuildErrorKind::UnknownMergeToken { index, id });
            joined.clear();
            joined.extend_from_slice(text(left)?.as_bytes());
            joined.extend_from_slice(text(right)?.as_bytes().get(prefix.len()..).unwrap_or_default());
            let result = std::str::from_utf8(&joined).ok().and_then(|joined| vocabulary.id(joined));
            let Some(result) = result else {
                let result = String::from_utf8_lossy(&joined).into();
                return Err(BuildErrorKind::UnknownMergeResult { index, result });
            };
            merges.insert((left, right), (index as u32, result));
        }
        let byte = |byte: usize| vocabulary.id(&format!("<0x{byte:02X}>"));
        Ok(Self {
            merges,
            dropout: definition.dropout.filter(|&p| p > 0.0),
            unk_token: definition.unk_token.as_deref().map(Into::into),
            prefix: prefix.into(),
            suffix: definition.end_of_word_suffix.as_deref().unwrap_or_default().into(),
            bytes: definition.byte_fallback.then(|| Box::new(std::array::from_fn(byte))),
            fuse_unk: definition.fuse_unk,
            ignore_merges: definition.ignore_merges,
        })
    }

    pub(super) fn append(
        &self,
        vocabulary: &Vocabulary,
        word: &str,
        draws: &mut Draws,
        out: &mut Vec<ModelToken>,
    ) -> Result<(), EncodeErrorKind> {
        // Dropout asks for the pieces of a word, so the word as a whole is not looked up.
        if self.ignore_merges
            && self.dropout.is_none()
            && !word.is_empty()
            && let Some(id) = vocabulary.id(word)
        {
            out.push(ModelToken::new(id, 0, word.len()));
            return Ok(());
        }
        let mut symbols = self.symbols(vocabulary, word)?;
        self.merge(&mut symbols, draws);
        let mut at = 0;
        for symbol in symbols.iter().filter(|symbol| symbol.n_bytes > 0) {
            let end = at + symbol.n_bytes as usize;
            out.push(ModelToken::new(symbol.id, at, end));
            at = end;
        }
        Ok(())
    }

    /// The tokens of the characters of a word. An unknown one waits for the next known one to be put down, so that
    /// several can be one; bytes of byte fallback do not end the wait.
    fn symbols(&self, vocabulary: &Vocabulary, word: &str) -> Result<Vec<Symbol>, EncodeErrorKind> {
        let mut symbols = Vec::with_capacity(word.len());
        let mut push = |id: TokenId, n_bytes: usize| {
            let place = symbols.len() as u32;
            symbols.push(Symbol {
                id,
                n_bytes: n_bytes as u32,
                previous: place.wrapping_sub(1),
                next: place + 1,
            });
        };
        let mut affixed = String::new();
        let mut unknown: Option<(TokenId, usize)> = None;
        for (at, c) in word.char_indices() {
            let end = at + c.len_utf8();
            let prefix = if at > 0 { &*self.prefix } else { "" };
            let suffix = if end == word.len() { &*self.suffix } else { "" };
            let text = if prefix.is_empty() && suffix.is_empty() {
                &word[at..end]
            } else {
                affixed.clear();
                affixed.extend([prefix, &word[at..end], suffix]);
                affixed.as_str()
            };
            if let Some(id) = vocabulary.id(text) {
                if let Some((unk, n_bytes)) = unknown.take() {
                    push(unk, n_bytes);
                }
                push(id, end - at);
                continue;
            }
            if let Some(bytes) = &self.bytes
                && text.bytes().all(|byte| bytes[usize::from(byte)].is_some())
            {
                text.bytes().filter_map(|byte| bytes[usize::from(byte)]).for_each(|id| push(id, 1));
                continue;
            }
            let Some(unk_token) = &self.unk_token else { continue };
            let no_token = || EncodeErrorKind::NoUnknownToken { byte_offset: at, unk: unk_token.clone() };
            unknown = Some(match unknown {
                Some((unk, n_bytes)) if self.fuse_unk => (unk, n_bytes + (end - at)),
                waiting => {
                    if let Some((unk, n_bytes)) = waiting {
                        push(unk, n_bytes);
                    }
                    (vocabulary.id(unk_token).ok_or_else(no_token)?, end - at)
                }
            });
        }
        if let Some((unk, n_bytes)) = unknown {
            push(unk, n_bytes);
        }
        if let Some(last) = symbols.last_mut() {
            last.next = NONE;
        }
        Ok(symbols)
    }

    fn merge(&self, symbols: &mut [Symbol], draws: &mut Draws) {
        let waiting = |symbols: &[Symbol], left: u32, right: u32| {
            let pair = (symbols[left as usize].id, symbols[right as usize].id);
            self.merges.get(&pair).map(|&(rank, result)| Reverse((rank, left, result)))
        };
        let mut heap: BinaryHeap<Reverse<(u32, u32, TokenId)>> =
            (1..symbols.len() as u32).filter_map(|right| waiting(symbols, right - 1, right)).collect();
        let mut dropped = Vec::new();
        while let Some(top) = heap.pop() {
            if self.dropout.is_some_and(|p| draws.uniform() < p) {
                dropped.push(top);
                continue;
            }
            heap.extend(dropped.drain(..));
            let Reverse((_, left, result)) = top;
            let Symbol { id, n_bytes, previous, next: right } = symbols[left as usize];
            if n_bytes == 0 || right == NONE {
                continue;
            }
            let merged = symbols[right as usize];
            if self.merges.get(&(id, merged.id)).is_none_or(|&(_, now)| now != result) {
                continue;
            }
            symbols[right as usize].n_bytes = 0;
            symbols[left as usize] =
                Symbol { id: result, n_bytes: n_bytes + merged.n_bytes, previous, next: merged.next };
            if previous != NONE {
                heap.extend(waiting(symbols, previous, left));
            }
            if merged.next != NONE {
                symbols[merged.next as usize].previous = left;
                heap.extend(waiting(symbols, left, merged.next));
            }
        }
    }
}
