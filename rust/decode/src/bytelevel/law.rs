//! Which token sequences begin a canonical encoding?
//!
//! A sequence of tokens is *viable* if some text's encoding starts with it: models that were trained on encoded text
//! put mass on viable sequences only. Within a pretoken, byte pair encoding makes this a matter of adjacent pairs;
//! where pretokens may end is followed by `stream`. So the knowledge about a sequence is its last token and a few
//! hypotheses, one for each way its pretokens may lie, and a sequence is viable while one hypothesis is.
//!
//! Texts are UTF-8. A token may end inside a character; the pretoken boundary before that character is then guessed
//! and proven when the character is complete.
//!
//! Almost always a hypothesis is proven by a text that ends right there. Where it is not (inside a character, in white
//! space that must go on), a continuation is searched over the tokens. With `ignore_merges` a pretoken
//! that is a token as a whole has no other encoding, so such pretokens may not be closed by more tokens than one.
//!
//! Cost of the verdict on all tokens at once: one pair test a token and last token, and one walk through the pattern's
//! table a token and hypothesis; both are kept as bit masks, at most [`CanonicalLaw::MAX_MEMO_BYTES`] of them.

use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::{FxHashMap, FxHashSet};
use tokenloom_tokenize::Tokenizer;
use tokenloom_tokenize::spec::Symbols;
use tokenloom_vocab::{ByteTrie, TokenId, TrieNode};

use super::error::{ByteLevelError, ByteLevelErrorKind};
use super::stream::{START, StateId, Stream};

/// The canonical law of a tokenizer: what counts, and with which bytes.
pub struct CanonicalLaw {
    tokenizer: Arc<Tokenizer>,
    trie: ByteTrie,
    /// Added tokens, ascending: symbols that no bytes spell.
    symbols: Vec<TokenId>,
    memo: Mutex<Memo>,
}

impl std::fmt::Debug for CanonicalLaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CanonicalLaw").field("n_tokens", &self.trie.len()).finish_non_exhaustive()
    }
}

/// One way the pretokens of a token sequence may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Hypothesis {
    state: StateId,
    partial: Partial,
    /// Whether a pretoken starts before the incomplete character.
    boundary: bool,
    /// With `ignore_merges`: bytes of the pretoken in progress; 0 where that does not matter.
    n_open: u32,
    /// With `ignore_merges`: the pretoken in progress is one token so far.
    single: bool,
}

/// The bytes of an incomplete character.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Partial {
    bytes: [u8; 4],
    n: u8,
}

enum Pushed {
    Invalid,
    More(Partial),
    Char(char),
}

struct Memo {
    stream: Stream,
    pairs: FxHashMap<TokenId, Arc<[u64]>>,
    leaves: FxHashMap<(Hypothesis, bool), Arc<Leaves>>,
    proven: FxHashMap<(Hypothesis, TokenId), bool>,
    hopeful: FxHashMap<(StateId, Partial, bool), bool>,
    n_bytes: usize,
}

/// By position: tokens after which a text may end, and tokens for which that takes a search.
struct Leaves {
    sure: Box<[u64]>,
    open: Box<[u64]>,
}

impl CanonicalLaw {
    /// The bit masks kept are forgotten when they exceed this.
    pub const MAX_MEMO_BYTES: usize = 64 << 20;
    const MAX_SEARCH: usize = 1 << 14;

    /// Prepares a tokenizer.
    ///
    /// # Errors
    /// [`ByteLevelErrorKind::Unsupported`], [`ByteLevelErrorKind::Pattern`], [`ByteLevelErrorKind::PlainAddedToken`].
    pub fn new(tokenizer: Arc<Tokenizer>) -> Result<Self, ByteLevelError> {
        let spec = tokenizer.spec();
        if !spec.normalizers.is_empty() {
            return Err(ByteLevelErrorKind::Unsupported { component: "a normalizer" }.into());
        }
        if spec.symbols != Symbols::Bytes {
            return Err(ByteLevelErrorKind::Unsupported { component: "merging of characters" }.into());
        }
        let mut symbols = Vec::with_capacity(spec.added_tokens.len());
        for token in &spec.added_tokens {
            let plain = token.content.chars().all(|c| c.is_alphanumeric() || c.is_whitespace());
            if plain && !token.special {
                let content = token.content.as_str().into();
                return Err(ByteLevelErrorKind::PlainAddedToken { id: token.id, content }.into());
            }
            symbols.push(token.id);
        }
        symbols.sort_unstable();
        symbols.dedup();
        let stream = Stream::new(&spec.pretokenizers)?;
        let bpe = tokenizer.bpe();
        let produced = |&(id, bytes): &(TokenId, &[u8])| {
            let whole = bpe.ignore_merges() && bpe.table().id(bytes) == Some(id);
            (bpe.is_reachable(id) || whole) && symbols.binary_search(&id).is_err()
        };
        let trie = ByteTrie::new(bpe.table().iter().filter(produced));
        let memo = Memo {
            stream,
            pairs: FxHashMap::default(),
            leaves: FxHashMap::default(),
            proven: FxHashMap::default(),
            hopeful: FxHashMap::default(),
            n_bytes: 0,
        };
        Ok(Self { trie, symbols, memo: Mutex::new(memo), tokenizer })
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// The tokens that encodings hold, by their bytes.
    pub fn trie(&self) -> &ByteTrie {
        &self.trie
    }

    /// The added tokens, ascending.
    pub fn symbols(&self) -> &[TokenId] {
        &self.symbols
    }

    pub(super) fn start() -> Hypothesis {
        Hypothesis { state: START, partial: Partial::default(), boundary: false, n_open: 0, single: false }
    }

    /// Runs `work` with the memo; nothing is called out of it.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Judge<'_>) -> T) -> T {
        // Every entry is whole before it is inserted, so a poisoned memo is as good as any.
        let mut memo = self.memo.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut Judge { law: self, memo: &mut memo })
    }
}

/// Judges continuations of a token sequence.
pub(super) struct Judge<'a> {
    law: &'a CanonicalLaw,
    memo: &'a mut Memo,
}

/// What is known about a token sequence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    pub(super) hypotheses: &'a [Hypothesis],
    /// The last token; `None` before the first.
    pub(super) last: Option<TokenId>,
    /// The end of the text so far, at least as long as the longest token where it matters.
    pub(super) text: &'a [u8],
}

impl Judge<'_> {
    /// The viable hypotheses after `position` of the trie is appended.
    pub(super) fn append(
        &mut self,
        known: Known<'_>,
        position: usize,
    ) -> Result<Vec<Hypothesis>, ByteLevelError> {
        let mut found = Vec::new();
        for &hypothesis in known.hypotheses {
            self.successors(hypothesis, known.last, known.text, position, &mut found)?;
        }
        let text = [known.text, self.law.trie.bytes(position)].concat();
        let id = self.law.trie.ids()[position];
        let mut viable = Vec::new();
        for hypothesis in found {
            if !viable.contains(&hypothesis) && self.is_viable(hypothesis, id, &text)? {
                viable.push(hypothesis);
            }
        }
        Ok(viable)
    }

    /// Whether the text may end here: the sequence is then its encoding.
    pub(super) fn ends(&self, known: Known<'_>) -> bool {
        known.hypotheses.iter().any(|&hypothesis| self.is_proven(hypothesis, known.text))
    }

    /// Whether some token of `node` may follow.
    pub(super) fn any_leaf(&mut self, known: Known<'_>, node: TrieNode) -> Result<bool, ByteLevelError> {
        for position in node.range() {
            if !self.append(known, position)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// For each position of `node`, whether its token may follow.
    pub(super) fn leaves(&mut self, known: Known<'_>, node: TrieNode) -> Result<Vec<bool>, ByteLevelError> {
        let n_tokens = self.law.trie.len();
        if node.range().len() * 16 < n_tokens {
            return node.range().map(|position| Ok(!self.append(known, position)?.is_empty())).collect();
        }
        let mut allowed = vec![0_u64; n_tokens.div_ceil(64)];
        let mut unsure = vec![0_u64; allowed.len()];
        for &hypothesis in known.hypotheses {
            if let Some(last) = known.last {
                let pairs = self.pairs(last);
                let leaves = self.leaf_masks(hypothesis, false)?;
                for (word, pair) in pairs.iter().enumerate() {
                    allowed[word] |= pair & leaves.sure[word];
                    unsure[word] |= pair & leaves.open[word];
                }
                if hypothesis.n_open > 0 {
                    self.reopen(hypothesis, known.text, &pairs, &leaves, &mut allowed, &mut unsure);
                }
            }
            if hypothesis.partial.n == 0 && self.may_close(hypothesis, known.text) {
                let leaves = self.leaf_masks(hypothesis, true)?;
                for word in 0..allowed.len() {
                    allowed[word] |= leaves.sure[word];
                    unsure[word] |= leaves.open[word];
                }
            }
        }
        let bit = |words: &[u64], position: usize| words[position / 64] >> (position % 64) & 1 == 1;
        node.range()
            .map(|position| {
                let open = !bit(&allowed, position) && bit(&unsure, position);
                Ok(if open { !self.append(known, position)?.is_empty() } else { bit(&allowed, position) })
            })
            .collect()
    }

    /// With `ignore_merges`, a text may not end after several tokens that are one token together.
    fn reopen(
        &self,
        hypothesis: Hypothesis,
        text: &[u8],
        pairs: &[u64],
        leaves: &Leaves,
        allowed: &mut [u64],
        unsure: &mut [u64],
    ) {
        let table = self.law.tokenizer.table();
        let open = &text[text.len().saturating_sub(hypothesis.n_open as usize)..];
        if open.len() >= table.max_token_bytes() {
            return;
        }
        for word in 0..allowed.len() {
            let mut bits = pairs[word] & leaves.sure[word];
            while bits != 0 {
                let position = word * 64 + bits.trailing_zeros() as usize;
                if table.id(&[open, self.law.trie.bytes(position)].concat()).is_some() {
                    // Another hypothesis may still allow it; `append` decides.
                    allowed[word] &= !(1 << (position % 64));
                    unsure[word] |= 1 << (position % 64);
                }
                bits &= bits - 1;
            }
        }
    }

    /// The positions whose token may follow `last` in one pretoken.
    fn pairs(&mut self, last: TokenId) -> Arc<[u64]> {
        if let Some(known) = self.memo.pairs.get(&last) {
            return Arc::clone(known);
        }
        let bpe = self.law.tokenizer.bpe();
        let ids = self.law.trie.ids();
        let words: Arc<[u64]> = ids
            .chunks(64)
            .map(|ids| {
                let bit = |(at, &id): (usize, &TokenId)| u64::from(bpe.is_valid_pair(last, id)) << at;
                ids.iter().enumerate().map(bit).sum()
            })
            .collect();
        self.make_room(words.len() * 8);
        self.memo.pairs.insert(last, Arc::clone(&words));
        words
    }

    /// The verdict on every token after `hypothesis`, pairs left aside.
    fn leaf_masks(&mut self, hypothesis: Hypothesis, boundary: bool) -> Result<Arc<Leaves>, ByteLevelError> {
        let key = (Hypothesis { n_open: 0, single: false, ..hypothesis }, boundary);
        if let Some(known) = self.memo.leaves.get(&key) {
            return Ok(Arc::clone(known));
        }
        let bpe = self.law.tokenizer.bpe();
        let n_words = self.law.trie.len().div_ceil(64);
        let (mut sure, mut open) = (vec![0_u64; n_words], vec![0_u64; n_words]);
        let mut ends = Vec::new();
        for position in 0..self.law.trie.len() {
            ends.clear();
            self.read(key.0, self.law.trie.bytes(position), boundary, &mut ends)?;
            let id = self.law.trie.ids()[position];
            let bit = 1 << (position % 64);
            for &end in &ends {
                if end.partial.n == 0 && self.memo.stream.ends(end.state) {
                    sure[position / 64] |= bit;
                } else if bpe.ignore_merges() {
                    open[position / 64] |= bit;
                } else if self.is_viable(end, id, &[])? {
                    sure[position / 64] |= bit;
                }
            }
        }
        let leaves = Arc::new(Leaves { sure: sure.into(), open: open.into() });
        self.make_room(n_words * 16);
        self.memo.leaves.insert(key, Arc::clone(&leaves));
        Ok(leaves)
    }

    fn make_room(&mut self, n_bytes: usize) {
        self.memo.n_bytes += n_bytes;
        if self.memo.n_bytes > CanonicalLaw::MAX_MEMO_BYTES {
            self.memo.pairs.clear();
            self.memo.leaves.clear();
            self.memo.proven.clear();
            self.memo.hopeful.clear();
            self.memo.n_bytes = n_bytes;
        }
    }

    /// Adds the hypotheses after a token, viable or not.
    fn successors(
        &mut self,
        hypothesis: Hypothesis,
        last: Option<TokenId>,
        text: &[u8],
        position: usize,
        found: &mut Vec<Hypothesis>,
    ) -> Result<(), ByteLevelError> {
        let bpe = self.law.tokenizer.bpe();
        let id = self.law.trie.ids()[position];
        let bytes = self.law.trie.bytes(position);
        let first = found.len();
        if last.is_some_and(|last| bpe.is_valid_pair(last, id)) {
            self.read(hypothesis, bytes, false, found)?;
            if bpe.ignore_merges() {
                let longest = bpe.table().max_token_bytes() as u32 + 1;
                let n_open = (hypothesis.n_open + bytes.len() as u32).min(longest);
                found[first..].iter_mut().for_each(|next| (next.n_open, next.single) = (n_open, false));
            }
        }
        if hypothesis.partial.n == 0 && self.may_close(hypothesis, text) {
            let first = found.len();
            self.read(hypothesis, bytes, true, found)?;
            if bpe.ignore_merges() {
                let n_open = bytes.len() as u32;
                found[first..].iter_mut().for_each(|next| (next.n_open, next.single) = (n_open, true));
            }
        }
        Ok(())
    }

    /// Reads the bytes of one token, with or without a pretoken boundary before it.
    fn read(
        &mut self,
        from: Hypothesis,
        bytes: &[u8],
        boundary: bool,
        found: &mut Vec<Hypothesis>,
    ) -> Result<(), ByteLevelError> {
        let mut states = vec![from.state];
        let mut partial = from.partial;
        let mut guess = from.boundary;
        for (at, &byte) in bytes.iter().enumerate() {
            if partial.n == 0 {
                guess = at == 0 && boundary;
            }
            match partial.push(byte) {
                Pushed::Invalid => return Ok(()),
                Pushed::More(longer) => partial = longer,
                Pushed::Char(c) => {
                    partial = Partial::default();
                    let class = self.memo.stream.class(c);
                    if guess {
                        let mut next = Vec::new();
                        for state in states {
                            next.extend_from_slice(self.memo.stream.begin(state, class)?);
                        }
                        states = next;
                    } else {
                        let mut n_kept = 0;
                        for at in 0..states.len() {
                            if let Some(next) = self.memo.stream.within(states[at], class)? {
                                states[n_kept] = next;
                                n_kept += 1;
                            }
                        }
                        states.truncate(n_kept);
                    }
                    if states.is_empty() {
                        return Ok(());
                    }
                }
            }
        }
        let boundary = partial.n > 0 && guess;
        found.extend(states.into_iter().map(|state| Hypothesis {
            state,
            partial,
            boundary,
            n_open: 0,
            single: false,
        }));
        Ok(())
    }

    /// Whether the pretoken in progress may end with the tokens it has.
    fn may_close(&self, hypothesis: Hypothesis, text: &[u8]) -> bool {
        let table = self.law.tokenizer.table();
        let n_open = hypothesis.n_open as usize;
        hypothesis.single
            || n_open == 0
            || n_open > table.max_token_bytes()
            || table.id(&text[text.len().saturating_sub(n_open)..]).is_none()
    }

    fn is_proven(&self, hypothesis: Hypothesis, text: &[u8]) -> bool {
        hypothesis.partial.n == 0
            && self.memo.stream.ends(hypothesis.state)
            && self.may_close(hypothesis, text)
    }

    /// Whether some text makes the sequence that ends with `last` the start of its encoding.
    fn is_viable(
        &mut self,
        hypothesis: Hypothesis,
        last: TokenId,
        text: &[u8],
    ) -> Result<bool, ByteLevelError> {
        if self.is_proven(hypothesis, text) {
            return Ok(true);
        }
        if !self.is_hopeful(hypothesis)? {
            return Ok(false);
        }
        let key = (hypothesis, last);
        let memorable = hypothesis.n_open == 0;
        if memorable && let Some(&known) = self.memo.proven.get(&key) {
            return Ok(known);
        }
        let proven = self.search(hypothesis, last, text)?;
        if memorable {
            self.make_room(32);
            self.memo.proven.insert(key, proven);
        }
        Ok(proven)
    }

    /// Whether the split patterns leave a way to prove the hypothesis, tokens left aside.
    fn is_hopeful(&mut self, hypothesis: Hypothesis) -> Result<bool, ByteLevelError> {
        let stream = &mut self.memo.stream;
        if hypothesis.partial.n == 0 {
            return stream.is_hopeful(hypothesis.state);
        }
        let Hypothesis { state, partial, boundary, .. } = hypothesis;
        let key = (state, partial, boundary);
        if let Some(&known) = self.memo.hopeful.get(&key) {
            return Ok(known);
        }
        let mut hopeful = false;
        for class in stream.classes_between(partial.completed_with(0x80), partial.completed_with(0xbf)) {
            let next = if boundary {
                stream.begin(state, class)?.to_vec()
            } else {
                stream.within(state, class)?.into_iter().collect()
            };
            for next in next {
                hopeful |= stream.is_hopeful(next)?;
            }
        }
        self.make_room(32);
        self.memo.hopeful.insert(key, hopeful);
        Ok(hopeful)
    }

    fn search(&mut self, hypothesis: Hypothesis, last: TokenId, text: &[u8]) -> Result<bool, ByteLevelError> {
        // Depth first: characters are completed before others are begun.
        let mut stack = vec![(hypothesis, last, text.to_vec())];
        let mut seen = FxHashSet::default();
        let mut next = Vec::new();
        while let Some((hypothesis, last, text)) = stack.pop() {
            // Inside a character only tokens that start with a continuation byte can follow.
            let positions =
                if hypothesis.partial.n > 0 { self.continuations() } else { 0..self.law.trie.len() };
            for position in positions {
                next.clear();
                self.successors(hypothesis, Some(last), &text, position, &mut next)?;
                if next.is_empty() {
                    continue;
                }
                let id = self.law.trie.ids()[position];
                let text = [text.as_slice(), self.law.trie.bytes(position)].concat();
                for &next in &next {
                    if self.is_proven(next, &text) {
                        return Ok(true);
                    }
                    let open = &text[text.len().saturating_sub(next.n_open as usize)..];
                    if seen.insert((next, id, open.to_vec())) && self.is_hopeful(next)? {
                        stack.push((next, id, text.clone()));
                    }
                }
                if seen.len() > CanonicalLaw::MAX_SEARCH {
                    return Err(ByteLevelErrorKind::TooManyStates { limit: CanonicalLaw::MAX_SEARCH }.into());
                }
            }
        }
        Ok(false)
    }

    fn continuations(&self) -> std::ops::Range<usize> {
        let trie = &self.law.trie;
        let first = |byte: u8| {
            let (mut lo, mut hi) = (0, trie.len());
            while lo < hi {
                let middle = (lo + hi) / 2;
                if trie.bytes(middle)[0] < byte { lo = middle + 1 } else { hi = middle }
            }
            lo
        };
        first(0x80)..first(0xc0)
    }
}

impl Partial {
    /// The code point whose missing bytes are all `filler`, whether it is a character or not.
    fn completed_with(self, filler: u8) -> u32 {
        let lead = self.bytes[0];
        let n_bytes = if lead < 0xe0 {
            2
        } else if lead < 0xf0 {
            3
        } else {
            4
        };
        let rest = (1..n_bytes).map(|at| if at < usize::from(self.n) { self.bytes[at] } else { filler });
        let head = u32::from(lead) & (0x7f >> n_bytes);
        rest.fold(head, |point, byte| point << 6 | u32::from(byte & 0x3f))
    }

    fn push(self, byte: u8) -> Pushed {
        if self.n == 0 && byte.is_ascii() {
            return Pushed::Char(byte.into());
        }
        let mut longer = self;
        longer.bytes[usize::from(self.n)] = byte;
        longer.n += 1;
        match std::str::from_utf8(&longer.bytes[..usize::from(longer.n)]) {
            Ok(text) => text.chars().next().map_or(Pushed::Invalid, Pushed::Char),
            Err(error) if error.error_len().is_none() => Pushed::More(longer),
            Err(_) => Pushed::Invalid,
        }
    }
}
