//! How are merges shared out among languages?
//!
//! Parity-aware byte pair encoding (Foroutan et al. 2025): there is a corpus for each language. Each step first chooses the
//! language that is compressed least and then merges the pair that is most frequent in *its* corpus, everywhere. How far
//! a language is, its symbols say: those of texts of the same meaning in all languages, or those of its corpus, alone or
//! as a rate beside a target. A window keeps one language from taking all merges.
//!
//! Of equally frequent pairs the one with the larger strings is merged, as in Hugging Face `tokenizers`. Counts are exact,
//! queues are corrected when an entry comes up: O(n log n) for n symbols of distinct words of all languages.

use std::collections::{BinaryHeap, VecDeque};
use std::ops::ControlFlow;
use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet};
use tokenloom_vocab::TokenId;

use super::characters::{CharacterOptions, CharacterTokens, alphabet, last_of_each_pair, symbols_of};
use super::inventory::{Inventory, MAX_TOKEN_BYTES};
use super::symbols::MAX_COUNT;
use super::{Merge, Progress, Stage, TrainError, TrainErrorKind};

const MERGES_PER_REPORT: usize = 256;

/// What parity-aware training is told beside what all trainers of characters are; their `vocab_size` counts nothing here.
#[derive(Clone, Debug, Default)]
pub struct ParityOptions {
    /// Merges at the end, if there are so many pairs.
    pub n_merges: usize,
    /// So many first merges take the pair that is most frequent in all languages together.
    pub n_global_merges: usize,
    /// By language: how far it is to be compressed in comparison to the others. Without: all symbols count alike.
    pub targets: Option<Vec<f64>>,
    /// The most steps of the last `.0` that one language may have had, as a multiple of its share, to be chosen again.
    pub window: Option<(usize, f64)>,
    /// Tokens before any merge count as merges, so that `n_merges` is the size of the vocabulary.
    pub counts_tokens: bool,
    /// The other options.
    pub characters: CharacterOptions,
}

type Words = Vec<(String, u64)>;
type Pair = (TokenId, TokenId);

/// Trains on the words of each language with their counts. `parallel` are words of texts that say the same in each
/// language; none to go by the corpora.
///
/// # Errors
/// A corpus beyond the limits, or an interruption: see [`TrainErrorKind`].
pub fn train_parity(
    mut languages: Vec<Words>,
    mut parallel: Vec<Words>,
    options: &ParityOptions,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<CharacterTokens, TrainError> {
    languages.iter_mut().chain(&mut parallel).for_each(|words| words.sort_unstable());
    let told = &options.characters;
    let mut inventory = Inventory::of_symbols(told.continuing_subword_prefix.as_deref().unwrap_or(""));
    told.special_tokens.iter().for_each(|token| _ = inventory.symbol(token));
    for character in alphabet(languages.iter().chain(&parallel).flatten(), told) {
        inventory.symbol(character.encode_utf8(&mut [0; 4]));
    }
    let longest = told.max_token_length.unwrap_or(usize::MAX);
    let mut corpora = Vec::with_capacity(languages.len());
    for words in &languages {
        let symbols = symbols_of(words, told, &mut inventory);
        let starts = [0].into_iter().chain(symbols.ends.iter().copied());
        let ids = starts.zip(&symbols.ends).map(|(start, &end)| symbols.ids[start..end].to_vec());
        corpora.push(Corpus::new(ids.zip(words.iter().map(|word| word.1)))?);
    }
    let mut texts = Vec::with_capacity(parallel.len());
    for words in &parallel {
        let known =
            words.iter().filter_map(|(word, count)| Some((known_symbols(word, told, &inventory)?, *count)));
        texts.push(Corpus::new(known)?);
    }
    let reduction = if options.counts_tokens { inventory.len() } else { 0 };
    let n_merges = options.n_merges.saturating_sub(reduction);

    let mut names: Vec<Rc<[u8]>> =
        (0..inventory.len() as TokenId).map(|id| inventory.bytes(id).into()).collect();
    corpora.iter_mut().for_each(|corpus| corpus.queue_all(&names));
    let first: Vec<i64> = corpora.iter().map(|corpus| corpus.n_symbols).collect();
    let mut turns = Turns::new(corpora.len(), options.window);
    let mut merges: Vec<Merge> = Vec::new();
    let mut token = Vec::new();
    while merges.len() < n_merges && !turns.is_over() {
        if merges.len().is_multiple_of(MERGES_PER_REPORT) {
            let (n_done, n_total) = (merges.len() as u64, n_merges as u64);
            let n_pairs = corpora.iter().map(|corpus| corpus.counts.len() as u64).sum();
            let now = Progress {
                kind: Stage::Merge,
                stage: 0,
                n_done,
                n_total,
                n_pairs,
                merges: &merges,
                counts: &[],
            };
            if progress(now).is_break() {
                return Err(TrainErrorKind::Interrupted.into());
            }
        }
        let is_enough = |&(count, _): &(i64, Pair)| count as u64 >= told.min_frequency;
        let pair = if merges.len() < options.n_global_merges {
            match best_of_all(&corpora, &names).filter(is_enough) {
                Some((_, pair)) => pair,
                None => break,
            }
        } else {
            let needs: Vec<f64> = (0..corpora.len())
                .map(|at| match (&options.targets, texts.get(at)) {
                    (Some(targets), _) => -(first[at] as f64 / corpora[at].n_symbols as f64 / targets[at]),
                    (None, Some(text)) => text.n_symbols as f64,
                    (None, None) => corpora[at].n_symbols as f64,
                })
                .collect();
            let Some(language) = turns.next(&needs) else { break };
            match corpora[language].best(&names).filter(is_enough) {
                Some((_, pair)) => pair,
                None => {
                    turns.end(language);
                    continue;
                }
            }
        };
        token.clear();
        inventory.join(pair.0, pair.1, &mut token);
        let result = inventory.id_or_insert_joined(pair.0, pair.1, &token);
        if inventory.n_bytes() > MAX_TOKEN_BYTES {
            let (n_bytes, limit) = (inventory.n_bytes() as u64, MAX_TOKEN_BYTES as u64);
            return Err(TrainErrorKind::TokensTooLong { n_bytes, limit, n_merges: merges.len() }.into());
        }
        if result as usize == names.len() {
            names.push(token.as_slice().into());
        }
        merges.push(Merge { left: pair.0, right: pair.1, result });
        let takes = |(left, right): Pair| match inventory.width(left) + inventory.width(right) {
            2 => true,
            width => width < longest,
        };
        corpora.iter_mut().for_each(|corpus| corpus.merge(pair, result, &takes, Some(&names)));
        texts.iter_mut().for_each(|text| text.merge(pair, result, &takes, None));
    }
    let text = |id| String::from_utf8_lossy(inventory.bytes(id)).into_owned();
    let texts = (0..inventory.len() as TokenId).map(text).collect();
    Ok(CharacterTokens { texts, merges: last_of_each_pair(merges) })
}

/// The symbols of a word, if all of them exist.
fn known_symbols(word: &str, options: &CharacterOptions, inventory: &Inventory) -> Option<Vec<TokenId>> {
    let prefix = options.continuing_subword_prefix.as_deref().unwrap_or("");
    let suffix = options.end_of_word_suffix.as_deref().unwrap_or("");
    let n_chars = word.chars().count();
    let symbol = |(at, character): (usize, char)| {
        inventory.id(character.encode_utf8(&mut [0; 4]).as_bytes())?;
        let before = if at == 0 { "" } else { prefix };
        let behind = if at + 1 == n_chars { suffix } else { "" };
        inventory.id(format!("{before}{character}{behind}").as_bytes())
    };
    word.chars().enumerate().map(symbol).collect()
}

/// Words as symbols, and how often each pair of neighbours occurs in them.
struct Corpus {
    words: Vec<(Vec<TokenId>, i64)>,
    counts: FxHashMap<Pair, i64>,
    /// Words in which a pair is, or was.
    places: FxHashMap<Pair, Vec<u32>>,
    queue: BinaryHeap<Entry>,
    n_symbols: i64,
}

/// Count and strings of a pair: the largest comes up first. The count may be one of before.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry(i64, Rc<[u8]>, Rc<[u8]>, Pair);

impl Entry {
    fn new(count: i64, pair: Pair, names: &[Rc<[u8]>]) -> Self {
        Self(count, names[pair.0 as usize].clone(), names[pair.1 as usize].clone(), pair)
    }
}

impl Corpus {
    fn new(words: impl Iterator<Item = (Vec<TokenId>, u64)>) -> Result<Self, TrainError> {
        let (mut counts, mut places) = (FxHashMap::default(), FxHashMap::default());
        let mut n_symbols = 0_i64;
        let mut held = Vec::new();
        for (at, (ids, count)) in words.enumerate() {
            let at = u32::try_from(at).map_err(|_| TrainErrorKind::CountOverflow)?;
            let count = i64::try_from(count).map_err(|_| TrainErrorKind::CountOverflow)?;
            let all = count.checked_mul(ids.len() as i64).and_then(|all| all.checked_add(n_symbols));
            n_symbols = all.filter(|&all| all < MAX_COUNT).ok_or(TrainErrorKind::CountOverflow)?;
            for pair in pairs(&ids) {
                *counts.entry(pair).or_default() += count;
                let places: &mut Vec<u32> = places.entry(pair).or_default();
                if places.last() != Some(&at) {
                    places.push(at);
                }
            }
            held.push((ids, count));
        }
        Ok(Self { words: held, counts, places, queue: BinaryHeap::new(), n_symbols })
    }

    fn queue_all(&mut self, names: &[Rc<[u8]>]) {
        self.queue = self.counts.iter().map(|(&pair, &count)| Entry::new(count, pair, names)).collect();
    }

    /// The most frequent pair and its count; it leaves the queue.
    fn best(&mut self, names: &[Rc<[u8]>]) -> Option<(i64, Pair)> {
        while let Some(Entry(queued, _, _, pair)) = self.queue.pop() {
            let count = self.counts.get(&pair).copied().unwrap_or_default();
            if count == queued {
                return Some((count, pair));
            }
            if count > 0 {
                self.queue.push(Entry::new(count, pair, names));
            }
        }
        None
    }

    /// Puts `result` in the place of a pair. Pairs that `takes` refuses do not begin; with `names` those that do are queued.
    fn merge(
        &mut self,
        pair: Pair,
        result: TokenId,
        takes: &dyn Fn(Pair) -> bool,
        names: Option<&[Rc<[u8]>]>,
    ) {
        let mut at = self.places.remove(&pair).unwrap_or_default();
        at.sort_unstable();
        at.dedup();
        let mut begun = FxHashSet::default();
        for place in at {
            let (ids, count) = &mut self.words[place as usize];
            if !pairs(ids).any(|found| found == pair) {
                continue;
            }
            for old in pairs(ids).filter(|&old| takes(old)) {
                *self.counts.entry(old).or_default() -= *count;
            }
            let n_before = ids.len();
            replace(ids, pair, result);
            self.n_symbols -= (n_before - ids.len()) as i64 * *count;
            for new in pairs(ids).filter(|&new| takes(new)) {
                *self.counts.entry(new).or_default() += *count;
                if new.0 == result || new.1 == result {
                    self.places.entry(new).or_default().push(place);
                    begun.insert(new);
                }
            }
        }
        if self.counts.get(&pair) == Some(&0) {
            self.counts.remove(&pair);
        }
        for pair in begun {
            let count = self.counts.get(&pair).copied().unwrap_or_default();
            self.queue.extend(names.filter(|_| count > 0).map(|names| Entry::new(count, pair, names)));
        }
    }
}

fn pairs(ids: &[TokenId]) -> impl Iterator<Item = Pair> {
    ids.windows(2).map(|pair| (pair[0], pair[1]))
}

/// From left to right.
fn replace(ids: &mut Vec<TokenId>, pair: Pair, result: TokenId) {
    let (mut read, mut write) = (0, 0);
    while read < ids.len() {
        let is_pair = ids[read] == pair.0 && ids.get(read + 1) == Some(&pair.1);
        ids[write] = if is_pair { result } else { ids[read] };
        read += 1 + usize::from(is_pair);
        write += 1;
    }
    ids.truncate(write);
}

/// The most frequent pair of all languages together.
fn best_of_all(corpora: &[Corpus], names: &[Rc<[u8]>]) -> Option<(i64, Pair)> {
    let mut sums: FxHashMap<Pair, i64> = FxHashMap::default();
    for (&pair, &count) in corpora.iter().flat_map(|corpus| &corpus.counts) {
        *sums.entry(pair).or_default() += count;
    }
    let key = |pair: Pair| (&names[pair.0 as usize], &names[pair.1 as usize]);
    let found = sums.into_iter().filter(|&(_, count)| count > 0);
    found.max_by_key(|&(pair, count)| (count, key(pair))).map(|(pair, count)| (count, pair))
}

/// Whose turn is it?
struct Turns {
    has_ended: Vec<bool>,
    /// Length of the window, the largest share of it, and the last turns.
    window: Option<(usize, f64, VecDeque<usize>)>,
}

impl Turns {
    fn new(n_languages: usize, window: Option<(usize, f64)>) -> Self {
        let window = window.map(|(n_turns, alpha)| (n_turns, alpha / n_languages as f64, VecDeque::new()));
        Self { has_ended: vec![false; n_languages], window }
    }

    /// No pair of a language is left.
    fn end(&mut self, language: usize) {
        self.has_ended[language] = true;
    }

    fn is_over(&self) -> bool {
        self.has_ended.iter().all(|&has_ended| has_ended)
    }

    /// The language of the largest need, the first of equals; none where no need can be said.
    fn next(&mut self, needs: &[f64]) -> Option<usize> {
        let Self { has_ended, window } = self;
        let largest = |is_passed: &[bool]| {
            let open = (0..needs.len()).filter(|&at| !has_ended[at] && !is_passed[at] && !needs[at].is_nan());
            open.reduce(|best, at| if needs[at] > needs[best] { at } else { best })
        };
        let mut is_passed = vec![false; needs.len()];
        let neediest = largest(&is_passed)?;
        let Some((n_turns, share, last)) = window else { return Some(neediest) };
        let chosen = loop {
            let found = largest(&is_passed);
            // Where all had their share the first language is asked, as in the peer, though it may have ended.
            let candidate = found.unwrap_or(0);
            let had = last.iter().filter(|&&turn| turn == candidate).count();
            if had as f64 / *n_turns as f64 <= *share {
                break candidate;
            }
            is_passed[candidate] = true;
            if is_passed.iter().all(|&is_passed| is_passed) {
                break candidate;
            }
            if found.is_none() {
                break neediest;
            }
        };
        last.push_back(chosen);
        if last.len() > *n_turns {
            last.pop_front();
        }
        Some(chosen)
    }
}
