//! What is BPE over characters?
//!
//! The trainer of Hugging Face `tokenizers` for any words: symbols are the characters of an alphabet, with a prefix inside
//! words or a suffix at their ends where the model has them. Ids are given to special tokens, to the alphabet in the order
//! of code points, to characters with a prefix or suffix as they come, then to what is merged. Words come here in the order
//! of their strings; there, in that of a hash table, so that ids, and merges of equal counts, are those of one of its runs.
//!
//! All symbols are kept, so that pairs may begin again (see [`queue`](super::queue)): a string that is made twice has one
//! id. O(n log n) for n symbols of distinct words.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use rustc_hash::{FxHashMap, FxHashSet};
use tokenloom_vocab::{TokenId, TokenTable};

use super::intake::{Intake, take};
use super::inventory::Inventory;
use super::queue::{Merged, Rule, merge_pairs};
use super::symbols::MAX_COUNT;
use super::{Merge, Progress, TrainError, Veto};

/// What BPE over characters is told.
#[derive(Clone, Debug, Default)]
pub struct CharacterOptions {
    /// Tokens at the end, special ones and the alphabet included. Fewer if no pair is left, more if those alone are more.
    pub vocab_size: usize,
    /// Pairs below this count are not merged.
    pub min_frequency: u64,
    /// A merged token of more than two symbols has fewer than this.
    pub max_token_length: Option<usize>,
    /// Texts that get the first ids.
    pub special_tokens: Vec<String>,
    /// Characters that are tokens whether they occur or not.
    pub initial_alphabet: Vec<char>,
    /// The most characters of the alphabet; initial ones are left out last, of equally frequent ones the larger.
    pub limit_alphabet: Option<usize>,
    /// What stands before a character that does not begin a word.
    pub continuing_subword_prefix: Option<String>,
    /// What stands behind a character that ends a word.
    pub end_of_word_suffix: Option<String>,
}

/// Token strings by id, and merges in rank order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CharacterTokens {
    /// The strings.
    pub texts: Vec<String>,
    /// The merges. Of a pair that was merged twice, the later one.
    pub merges: Vec<Merge>,
}

/// Trains on words with their counts; the same word may come several times.
///
/// # Errors
/// A corpus beyond the limits, or an interruption: see [`TrainErrorKind`](super::TrainErrorKind).
pub fn train_characters(
    mut words: Vec<(String, u64)>,
    options: &CharacterOptions,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<CharacterTokens, TrainError> {
    words.sort_unstable();
    let mut inventory = Inventory::of_symbols(options.continuing_subword_prefix.as_deref().unwrap_or(""));
    for token in &options.special_tokens {
        inventory.symbol(token);
    }
    for character in alphabet(&words, options) {
        inventory.symbol(character.encode_utf8(&mut [0; 4]));
    }
    let symbols = symbols_of(&words, options, &mut inventory);
    let mut fill = |intake: &mut Intake| {
        let mut start = 0;
        for (&end, (_, count)) in symbols.ends.iter().zip(&words) {
            intake.push(&symbols.ids[start..end], *count)?;
            start = end;
        }
        Ok(false)
    };
    let taken = take(&|_, _| 1, Some(1), 1, MAX_COUNT, usize::MAX, &mut fill)?;
    let mut merged = Merged { inventory, merges: Vec::new(), counts: Vec::new() };
    let rule = Rule {
        stage: 0,
        vocab_size: options.vocab_size.min(TokenTable::MAX_ID as usize + 1),
        max_token_length: options.max_token_length.unwrap_or(usize::MAX),
        veto: &Veto::default(),
        min_count: i64::try_from(options.min_frequency).unwrap_or(i64::MAX).max(1),
        is_new_only: false,
        ends_at_known: false,
    };
    merge_pairs(taken.symbols, taken.pairs, &mut merged, &rule, progress)?;
    let Merged { inventory, merges, .. } = merged;
    let merges = last_of_each_pair(merges);
    let text = |id| String::from_utf8_lossy(inventory.bytes(id)).into_owned();
    Ok(CharacterTokens { texts: (0..inventory.len() as TokenId).map(text).collect(), merges })
}

/// A pair that was merged twice has the later rank.
pub(super) fn last_of_each_pair(mut merges: Vec<Merge>) -> Vec<Merge> {
    let mut seen = FxHashSet::default();
    merges.reverse();
    merges.retain(|merge| seen.insert((merge.left, merge.right)));
    merges.reverse();
    merges
}

/// The characters that are tokens, in the order of code points.
pub(super) fn alphabet<'a>(
    words: impl IntoIterator<Item = &'a (String, u64)>,
    options: &CharacterOptions,
) -> BTreeSet<char> {
    let mut counts: BTreeMap<char, u64> = BTreeMap::new();
    for (word, count) in words {
        for character in word.chars() {
            let sum = counts.entry(character).or_default();
            *sum = sum.saturating_add(*count);
        }
    }
    counts.extend(options.initial_alphabet.iter().map(|&character| (character, u64::MAX)));
    let mut characters: Vec<(char, u64)> = counts.into_iter().collect();
    characters.sort_by_key(|&(_, count)| Reverse(count));
    characters.truncate(options.limit_alphabet.unwrap_or(usize::MAX));
    characters.into_iter().map(|(character, _)| character).collect()
}

/// The symbols of all words, one after the other.
pub(super) struct WordSymbols {
    pub(super) ids: Vec<TokenId>,
    pub(super) ends: Vec<usize>,
}

/// A character that has no id is left out.
pub(super) fn symbols_of(
    words: &[(String, u64)],
    options: &CharacterOptions,
    inventory: &mut Inventory,
) -> WordSymbols {
    let prefix = options.continuing_subword_prefix.as_deref().unwrap_or("");
    let suffix = options.end_of_word_suffix.as_deref().unwrap_or("");
    let mut known: FxHashMap<(char, bool, bool), Option<TokenId>> = FxHashMap::default();
    let mut symbols = WordSymbols { ids: Vec::new(), ends: Vec::with_capacity(words.len()) };
    for (word, _) in words {
        let mut rest = word.chars();
        let mut is_first = true;
        while let Some(character) = rest.next() {
            let is_last = rest.as_str().is_empty();
            let id = *known.entry((character, is_first, is_last)).or_insert_with(|| {
                inventory.id(character.encode_utf8(&mut [0; 4]).as_bytes())?;
                let before = if is_first { "" } else { prefix };
                let behind = if is_last { suffix } else { "" };
                Some(inventory.symbol(&format!("{before}{character}{behind}")))
            });
            symbols.ids.extend(id);
            is_first = false;
        }
        symbols.ends.push(symbols.ids.len());
    }
    symbols
}
