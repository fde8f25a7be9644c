//! Which token sequences begin a canonical encoding?
//!
//! A sequence of tokens is *viable* if some text's encoding starts with it: models that were trained on encoded text
//! put mass on viable sequences only. Within a pretoken, byte pair encoding makes this a matter of adjacent pairs;
//! where pretokens may end is followed by `stream`. So the knowledge about a sequence is its last token and a few
//! hypotheses, one for each way its pretokens may lie, and a sequence is viable while one hypothesis is.
//!
//! Texts are UTF-8. A token may end inside a character; the pretoken boundary before that character is then guessed
//! and proven when the character is complete. Where merging starts from characters, only byte tokens do that, and they
//! never spell a character that is a token.
//!
//! Almost always a hypothesis is proven by a text that ends right there. Where it is not (inside a character, in white
//! space that must go on), a continuation is searched over the tokens. With `ignore_merges` a pretoken that is a token
//! as a whole has no other encoding. That matters for tokens that merges do not make, which are few: a pretoken is
//! watched while such a token starts with its bytes.
//!
//! Verdicts on all tokens are masks: pairs that may stand in one pretoken by last token ([`Conflicts`]), and what the
//! patterns allow by hypothesis, for which tokens that the patterns cannot tell apart are judged once. Cost of a mask
//! that was not needed before: the pairs ruled out, or the kinds of tokens; later a look-up. At most
//! [`CanonicalLaw::MAX_MEMO_BYTES`] of them are kept.

use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::{FxHashMap, FxHashSet};
use tokenloom_tokenize::Tokenizer;
use tokenloom_tokenize::bpe::Conflicts;
use tokenloom_tokenize::spec::Symbols;
use tokenloom_vocab::{ByteTrie, TokenId, TrieNode};

use super::error::{ByteLevelError, ByteLevelErrorKind};
use super::partial::{Partial, Pushed};
use super::stream::{START, StateId, Stream};
use changes::added_tokens;

pub(super) use changes::{Space, changes};
pub use sequence::Sequence;

mod changes;
mod sequence;

/// The canonical law of a tokenizer: what counts, and with which bytes.
pub struct CanonicalLaw {
    tokenizer: Arc<Tokenizer>,
    trie: ByteTrie,
    /// Added tokens, ascending: symbols that no bytes spell.
    symbols: Vec<TokenId>,
    caveats: Vec<&'static str>,
    /// Where a space is put before the text.
    space: Space,
    /// By byte token: its byte. Empty where merging starts from bytes.
    byte_tokens: FxHashMap<TokenId, u8>,
    /// With `ignore_merges`: the tokens that no merge makes.
    unmade: ByteTrie,
    conflicts: Conflicts,
    /// The tokens that merging makes, and byte tokens: one bit an id.
    pairable: Box<[u64]>,
    /// Tokens that start with a whole character, by what the patterns see of them.
    kinds: Vec<(Kind, Vec<u32>)>,
    /// Positions of the tokens that start inside a character, and of byte tokens.
    fragments: Vec<u32>,
    memo: Mutex<Memo>,
}

/// What the patterns see of a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    classes: Box<[u16]>,
    /// The character it ends in.
    tail: Partial,
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
    /// Bytes of the pretoken in progress while a token that no merge makes starts with them; otherwise 0.
    n_open: u32,
    /// The pretoken in progress is one token so far; told only of watched ones.
    single: bool,
}

struct Memo {
    stream: Stream,
    pairs: FxHashMap<TokenId, Arc<[u64]>>,
    leaves: FxHashMap<(Hypothesis, bool), Arc<[u64]>>,
    proven: FxHashMap<(Hypothesis, TokenId), bool>,
    hopeful: FxHashMap<(StateId, Partial, bool), bool>,
    children: FxHashMap<TrieNode, Arc<[(u8, u32)]>>,
    n_bytes: usize,
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
        let bpe = tokenizer.bpe();
        let symbols = added_tokens(&tokenizer)?;
        let (space, caveats) = changes(&tokenizer)?;
        let stream = Stream::new(&spec.pretokenizers)?;
        let byte_tokens: FxHashMap<TokenId, u8> = match &spec.symbols {
            Symbols::Characters { byte_tokens } => byte_tokens.iter().copied().zip(0..=255).collect(),
            Symbols::Bytes => FxHashMap::default(),
        };
        let is_symbol = |id: TokenId| symbols.binary_search(&id).is_ok();
        let is_whole = |id, bytes: &[u8]| {
            bpe.ignore_merges()
                && bpe.table().id(bytes) == Some(id)
                && !bpe.is_reachable(id)
                && !is_symbol(id)
        };
        let produced = |&(id, bytes): &(TokenId, &[u8])| {
            bpe.is_reachable(id) && !is_symbol(id) || byte_tokens.contains_key(&id) || is_whole(id, bytes)
        };
        let trie = ByteTrie::new(bpe.table().iter().filter(produced));
        let unmade = ByteTrie::new(bpe.table().iter().filter(|&(id, bytes)| is_whole(id, bytes)));
        let mut pairable = vec![0; tokenizer.id_bound().div_ceil(64)];
        let pairs = trie.ids().iter().filter(|&&id| bpe.is_reachable(id) || byte_tokens.contains_key(&id));
        pairs.for_each(|&id| set(&mut pairable, id));
        let (kinds, fragments) = kinds_of(&trie, &stream, &byte_tokens);
        let memo = Memo {
            stream,
            pairs: FxHashMap::default(),
            leaves: FxHashMap::default(),
            proven: FxHashMap::default(),
            hopeful: FxHashMap::default(),
            children: FxHashMap::default(),
            n_bytes: 0,
        };
        Ok(Self {
            conflicts: bpe.conflicts(),
            pairable: pairable.into(),
            memo: Mutex::new(memo),
            trie,
            symbols,
            caveats,
            space,
            byte_tokens,
            unmade,
            kinds,
            fragments,
            tokenizer,
        })
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

    /// What the tokenizer does to texts before they are tokens, so that probabilities are those of the changed text.
    pub fn caveats(&self) -> &[&'static str] {
        &self.caveats
    }

    /// What the tokenizer puts before a text behind `context`.
    pub fn inserted(&self, context: &[TokenId]) -> &'static [u8] {
        self.space.before(context.is_empty())
    }

    /// Whether `ids`, none of them added and with nothing put before them, are the encoding of their bytes.
    ///
    /// # Errors
    /// [`ByteLevelErrorKind::TooManyStates`].
    pub fn is_encoding(&self, ids: &[TokenId]) -> Result<bool, ByteLevelError> {
        let mut here = Sequence::raw();
        for &id in ids {
            if self.is_symbol(id) || !here.push(self, id)? {
                return Ok(false);
            }
        }
        Ok(here.ends(self))
    }

    /// Whether `id` is an added token.
    pub fn is_symbol(&self, id: TokenId) -> bool {
        self.symbols.binary_search(&id).is_ok()
    }

    pub(super) fn start() -> Hypothesis {
        Hypothesis { state: START, partial: Partial::default(), boundary: false, n_open: 0, single: false }
    }

    /// Whether pretokens are watched, so that hypotheses need the end of the text.
    pub(super) fn watches(&self) -> bool {
        !self.unmade.is_empty()
    }

    /// Runs `work` with the memo; nothing is called out of it.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Judge<'_>) -> T) -> T {
        // Every entry is whole before it is inserted, so a poisoned memo is as good as any.
        let mut memo = self.memo.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut Judge { law: self, memo: &mut memo })
    }

    /// Where a token stands in the trie.
    fn position(&self, id: TokenId) -> Option<usize> {
        let bytes = self.tokenizer.bpe().table().bytes(id)?;
        let node = self.trie.find(bytes)?;
        self.trie.exact(node).find(|&position| self.trie.ids()[position] == id)
    }
}

fn kinds_of(
    trie: &ByteTrie,
    stream: &Stream,
    byte_tokens: &FxHashMap<TokenId, u8>,
) -> (Vec<(Kind, Vec<u32>)>, Vec<u32>) {
    let mut numbers: FxHashMap<Kind, usize> = FxHashMap::default();
    let (mut kinds, mut fragments) = (Vec::new(), Vec::new());
    for position in 0..trie.len() {
        let bytes = trie.bytes(position);
        if byte_tokens.contains_key(&trie.ids()[position]) || (0x80..0xc0).contains(&bytes[0]) {
            fragments.push(position as u32);
            continue;
        }
        let (mut classes, mut tail) = (Vec::new(), Partial::default());
        let is_text = bytes.iter().all(|&byte| match tail.push(byte) {
            Pushed::Invalid => false,
            Pushed::More(longer) => {
                tail = longer;
                true
            }
            Pushed::Char(c) => {
                tail = Partial::default();
                classes.push(stream.class(c));
                true
            }
        });
        if is_text {
            let kind = Kind { classes: classes.into(), tail };
            let number = *numbers.entry(kind).or_insert_with_key(|kind| {
                kinds.push((kind.clone(), Vec::new()));
                kinds.len() - 1
            });
            kinds[number].1.push(position as u32);
        }
    }
    (kinds, fragments)
}

#[inline]
fn set(words: &mut [u64], id: TokenId) {
    words[id as usize / 64] |= 1 << (id % 64);
}

#[inline]
fn clear(words: &mut [u64], id: TokenId) {
    words[id as usize / 64] &= !(1 << (id % 64));
}

/// Whether the bit of `id` is set.
#[inline]
pub(super) fn contains(words: &[u64], id: TokenId) -> bool {
    words[id as usize / 64] >> (id % 64) & 1 == 1
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
    /// The end of the text so far, as far back as a watched pretoken reaches.
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
        if found.is_empty() {
            return Ok(found);
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

    /// The bytes that tokens of a node go on with, and where those begin.
    pub(super) fn children(&mut self, node: TrieNode) -> Arc<[(u8, u32)]> {
        const N_REMEMBERED: usize = 64;
        if let Some(known) = self.memo.children.get(&node) {
            return Arc::clone(known);
        }
        let children = self.law.trie.children(node).map(|(byte, child)| (byte, child.lo));
        let children: Arc<[(u8, u32)]> = children.collect();
        if node.range().len() >= N_REMEMBERED {
            self.make_room(16 + 8 * children.len());
            self.memo.children.insert(node, Arc::clone(&children));
        }
        children
    }

    /// Whether some token of `node` may follow.
    pub(super) fn any_leaf(&mut self, known: Known<'_>, node: TrieNode) -> Result<bool, ByteLevelError> {
        const N_TRIED: usize = 8;
        for position in node.range().take(N_TRIED) {
            if !self.append(known, position)?.is_empty() {
                return Ok(true);
            }
        }
        if node.range().len() <= N_TRIED {
            return Ok(false);
        }
        let allowed = self.allowed(known)?;
        Ok(node.range().any(|position| contains(&allowed, self.law.trie.ids()[position])))
    }

    /// The tokens that may follow: one bit an id.
    pub(super) fn allowed(&mut self, known: Known<'_>) -> Result<Vec<u64>, ByteLevelError> {
        let mut allowed = vec![0_u64; self.law.pairable.len()];
        for &hypothesis in known.hypotheses {
            if let Some(last) = known.last {
                let pairs = self.pairs(last);
                let leaves = self.leaves(Hypothesis { n_open: 0, single: false, ..hypothesis }, false)?;
                let both = pairs.iter().zip(leaves.iter()).map(|(pair, leaf)| pair & leaf);
                allowed.iter_mut().zip(both).for_each(|(word, both)| *word |= both);
            }
            if hypothesis.partial.n() == 0 && self.may_close(hypothesis, known.text) {
                let leaves = self.leaves(Hypothesis { n_open: 0, single: false, ..hypothesis }, true)?;
                allowed.iter_mut().zip(leaves.iter()).for_each(|(word, leaf)| *word |= leaf);
            }
        }
        self.judge_watched(known, &mut allowed)?;
        Ok(allowed)
    }

    /// Tokens that keep a pretoken watched, or fill it, are judged one by one.
    fn judge_watched(&mut self, known: Known<'_>, allowed: &mut [u64]) -> Result<(), ByteLevelError> {
        let law = self.law;
        let mut positions = Vec::new();
        for hypothesis in known.hypotheses.iter().filter(|hypothesis| hypothesis.n_open > 0) {
            let open = open_text(*hypothesis, known.text);
            let Some(node) = law.unmade.find(open) else { continue };
            for whole in node.range() {
                let rest = &law.unmade.bytes(whole)[open.len()..];
                let prefixes = (1..=rest.len()).filter_map(|n| law.trie.find(&rest[..n]));
                positions.extend(prefixes.flat_map(|node| law.trie.exact(node)));
            }
        }
        positions.sort_unstable();
        positions.dedup();
        for position in positions {
            let id = law.trie.ids()[position];
            if contains(allowed, id) && self.append(known, position)?.is_empty() {
                clear(allowed, id);
            }
        }
        Ok(())
    }

    /// The tokens that may follow `last` in one pretoken.
    fn pairs(&mut self, last: TokenId) -> Arc<[u64]> {
        if let Some(known) = self.memo.pairs.get(&last) {
            return Arc::clone(known);
        }
        let bpe = self.law.tokenizer.bpe();
        let mut words = self.law.pairable.to_vec();
        if !contains(&words, last) {
            words.fill(0);
        } else if !self.law.byte_tokens.contains_key(&last) {
            self.law.conflicts.each(bpe, last, |id| clear(&mut words, id));
        }
        let words: Arc<[u64]> = words.into();
        self.make_room(words.len() * 8);
        self.memo.pairs.insert(last, Arc::clone(&words));
        words
    }

    fn may_stand(&self, left: TokenId, right: TokenId) -> bool {
        let law = self.law;
        let is_byte = |id| law.byte_tokens.contains_key(&id);
        match (is_byte(left), is_byte(right)) {
            (false, false) => law.tokenizer.bpe().is_valid_pair(left, right),
            _ => contains(&law.pairable, left) && contains(&law.pairable, right),
        }
    }

    /// The verdict on every token after an unwatched `hypothesis`, pairs left aside.
    fn leaves(&mut self, hypothesis: Hypothesis, boundary: bool) -> Result<Arc<[u64]>, ByteLevelError> {
        if let Some(known) = self.memo.leaves.get(&(hypothesis, boundary)) {
            return Ok(Arc::clone(known));
        }
        let law = self.law;
        let mut words = vec![0_u64; law.pairable.len()];
        let mut ends = Vec::new();
        if hypothesis.partial.n() == 0 {
            for (kind, positions) in &law.kinds {
                ends.clear();
                self.read_kind(hypothesis, kind, boundary, &mut ends)?;
                let ids = positions.iter().map(|&position| law.trie.ids()[position as usize]);
                if ends.iter().any(|end| end.partial.n() == 0 && self.memo.stream.ends(end.state)) {
                    ids.for_each(|id| set(&mut words, id));
                    continue;
                }
                for &position in positions {
                    self.judge_leaf(&ends, position, boundary, &mut words)?;
                }
            }
        }
        for &position in &law.fragments {
            ends.clear();
            self.read(hypothesis, position as usize, boundary, &mut ends)?;
            self.judge_leaf(&ends, position, boundary, &mut words)?;
        }
        let words: Arc<[u64]> = words.into();
        self.make_room(words.len() * 8);
        self.memo.leaves.insert((hypothesis, boundary), Arc::clone(&words));
        Ok(words)
    }

    fn judge_leaf(
        &mut self,
        ends: &[Hypothesis],
        position: u32,
        boundary: bool,
        words: &mut [u64],
    ) -> Result<(), ByteLevelError> {
        let (id, bytes) = (self.law.trie.ids()[position as usize], self.law.trie.bytes(position as usize));
        for &end in ends {
            let end = if boundary { self.watched(end, bytes, true) } else { end };
            if self.is_viable(end, id, bytes)? {
                set(words, id);
                break;
            }
        }
        Ok(())
    }

    /// The hypothesis, watched if a token that no merge makes starts with the `open` bytes of its pretoken.
    fn watched(&self, hypothesis: Hypothesis, open: &[u8], single: bool) -> Hypothesis {
        if self.law.unmade.is_empty() || self.law.unmade.find(open).is_none() {
            return Hypothesis { n_open: 0, single: false, ..hypothesis };
        }
        Hypothesis { n_open: open.len() as u32, single, ..hypothesis }
    }

    fn make_room(&mut self, n_bytes: usize) {
        self.memo.n_bytes += n_bytes;
        if self.memo.n_bytes > CanonicalLaw::MAX_MEMO_BYTES {
            self.memo.pairs.clear();
            self.memo.leaves.clear();
            self.memo.proven.clear();
            self.memo.hopeful.clear();
            self.memo.children.clear();
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
        let id = self.law.trie.ids()[position];
        let bytes = self.law.trie.bytes(position);
        let first = found.len();
        if last.is_some_and(|last| self.may_stand(last, id)) {
            self.read(hypothesis, position, false, found)?;
            if hypothesis.n_open > 0 {
                let open = [open_text(hypothesis, text), bytes].concat();
                found[first..].iter_mut().for_each(|next| *next = self.watched(*next, &open, false));
            }
        }
        if hypothesis.partial.n() == 0 && self.may_close(hypothesis, text) {
            let first = found.len();
            self.read(hypothesis, position, true, found)?;
            found[first..].iter_mut().for_each(|next| *next = self.watched(*next, bytes, true));
        }
        Ok(())
    }

    /// Reads one token, with or without a pretoken boundary before it.
    fn read(
        &mut self,
        from: Hypothesis,
        position: usize,
        boundary: bool,
        found: &mut Vec<Hypothesis>,
    ) -> Result<(), ByteLevelError> {
        let law = self.law;
        let is_byte = law.byte_tokens.contains_key(&law.trie.ids()[position]);
        if from.partial.n() > 0 && !is_byte && !law.byte_tokens.is_empty() {
            return Ok(());
        }
        let mut states = vec![from.state];
        let mut partial = from.partial;
        let mut guess = from.boundary;
        for (at, &byte) in law.trie.bytes(position).iter().enumerate() {
            if partial.n() == 0 {
                guess = at == 0 && boundary;
            }
            match partial.push(byte) {
                Pushed::Invalid => return Ok(()),
                Pushed::More(longer) => partial = longer,
                Pushed::Char(c) => {
                    let is_token =
                        || law.tokenizer.bpe().table().id(c.encode_utf8(&mut [0; 4]).as_bytes()).is_some();
                    if is_byte && is_token() {
                        return Ok(());
                    }
                    partial = Partial::default();
                    let class = self.memo.stream.class(c);
                    self.step(&mut states, class, guess)?;
                    if states.is_empty() {
                        return Ok(());
                    }
                }
            }
        }
        let boundary = partial.n() > 0 && guess;
        found.extend(states.into_iter().map(|state| Hypothesis {
            state,
            partial,
            boundary,
            n_open: 0,
            single: false,
        }));
        Ok(())
    }

    /// Reads what the patterns see of a token.
    fn read_kind(
        &mut self,
        from: Hypothesis,
        kind: &Kind,
        boundary: bool,
        found: &mut Vec<Hypothesis>,
    ) -> Result<(), ByteLevelError> {
        let mut states = vec![from.state];
        for (at, &class) in kind.classes.iter().enumerate() {
            self.step(&mut states, class, at == 0 && boundary)?;
            if states.is_empty() {
                return Ok(());
            }
        }
        let boundary = kind.classes.is_empty() && boundary;
        found.extend(states.into_iter().map(|state| Hypothesis {
            state,
            partial: kind.tail,
            boundary,
            n_open: 0,
            single: false,
        }));
        Ok(())
    }

    /// The states behind one more character.
    fn step(&mut self, states: &mut Vec<StateId>, class: u16, boundary: bool) -> Result<(), ByteLevelError> {
        if boundary {
            let mut next = Vec::new();
            for &state in states.iter() {
                next.extend_from_slice(self.memo.stream.begin(state, class)?);
            }
            *states = next;
            return Ok(());
        }
        let mut n_kept = 0;
        for at in 0..states.len() {
            if let Some(next) = self.memo.stream.within(states[at], class)? {
                states[n_kept] = next;
                n_kept += 1;
            }
        }
        states.truncate(n_kept);
        Ok(())
    }

    /// Whether the pretoken in progress may end with the tokens it has.
    fn may_close(&self, hypothesis: Hypothesis, text: &[u8]) -> bool {
        hypothesis.single
            || hypothesis.n_open == 0
            || self.law.tokenizer.table().id(open_text(hypothesis, text)).is_none()
    }

    fn is_proven(&self, hypothesis: Hypothesis, text: &[u8]) -> bool {
        hypothesis.partial.n() == 0
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
        if hypothesis.partial.n() == 0 {
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
        let law = self.law;
        let mut stack = vec![(hypothesis, last, text.to_vec())];
        let mut seen = FxHashSet::default();
        let mut next = Vec::new();
        while let Some((hypothesis, last, text)) = stack.pop() {
            // Inside a character only tokens that start with a continuation byte can follow.
            let is_inside = hypothesis.partial.n() > 0;
            let n_positions = if is_inside { law.fragments.len() } else { law.trie.len() };
            for at in 0..n_positions {
                let position = if is_inside { law.fragments[at] as usize } else { at };
                next.clear();
                self.successors(hypothesis, Some(last), &text, position, &mut next)?;
                if next.is_empty() {
                    continue;
                }
                let id = law.trie.ids()[position];
                let text = [text.as_slice(), law.trie.bytes(position)].concat();
                for &next in &next {
                    if self.is_proven(next, &text) {
                        return Ok(true);
                    }
                    let open = open_text(next, &text);
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
}

/// The bytes of the watched pretoken.
fn open_text(hypothesis: Hypothesis, text: &[u8]) -> &[u8] {
    &text[text.len().saturating_sub(hypothesis.n_open as usize)..]
}
