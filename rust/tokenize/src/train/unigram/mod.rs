//! Which pieces make a corpus most likely, each with a probability of its own?
//!
//! The Unigram trainer of Hugging Face `tokenizers`, step by step. It starts from the characters and the repeated
//! substrings of the words ([`seeds`]). Expectation and maximization: how often is each piece expected in the corpus, and
//! which probabilities follow from that; rare pieces go. Then the pieces without which the corpus would lose least are
//! taken out, each as if its best other cut stood in its place everywhere, and so on down to the size asked for.
//!
//! There, words come in the order of a hash table and sums are cut by threads: the last bits of scores, and pieces of equal
//! loss, are those of a run. Here words come in the order of their strings and sums are those of [`N_BLOCKS`] parts, for any
//! number of threads. A step is O(n · L) for n bytes of words and pieces of at most L.
//!
//! Kudo, "Subword Regularization" (ACL 2018).

mod lattice;
mod seeds;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use lattice::{Piece, Pieces, Scratch};
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use seeds::Characters;

use super::{Progress, Stage, TrainError, TrainErrorKind};

/// Sums are those of so many parts of the words, added in order.
const N_BLOCKS: usize = 8;
/// Pieces that are expected less often go.
const MIN_EXPECTED: f64 = 0.5;
/// Rounds that take nothing away before the training ends all the same.
const MAX_IDLE_ROUNDS: usize = 8;
/// Between the scores of required characters that are no pieces.
const SCORE_STEP: f64 = 0.0001;
/// The name of the unknown piece while training.
const UNKNOWN_TEXT: &str = "<UNK>";

/// What the training of Unigram pieces is told.
#[derive(Clone, Debug)]
pub struct UnigramOptions {
    /// Pieces at the end, special tokens included.
    pub vocab_size: usize,
    /// Texts that get the first ids.
    pub special_tokens: Vec<String>,
    /// Characters that are pieces whether they occur or not.
    pub initial_alphabet: Vec<char>,
    /// Which part of the pieces stays in a round.
    pub shrinking_factor: f64,
    /// What stands for unknown characters; the first piece if it is no special token.
    pub unk_token: Option<String>,
    /// The most characters in a piece.
    pub max_piece_length: usize,
    /// Estimations between two rounds of taking out.
    pub n_sub_iterations: usize,
    /// The most pieces to start from.
    pub seed_size: usize,
}

/// Pieces by id with their scores.
#[derive(Clone, Debug, PartialEq)]
pub struct UnigramPieces {
    /// Strings and natural logarithms of probabilities; 0 for special tokens.
    pub pieces: Vec<(String, f64)>,
    /// The place of the unknown token.
    pub unk_id: Option<usize>,
}

struct Training<'a> {
    words: &'a [(String, u64)],
    options: &'a UnigramOptions,
    pool: Option<rayon::ThreadPool>,
}

/// Trains on words with their counts; the same word may come several times.
///
/// # Errors
/// [`TrainErrorKind::AlphabetTooLarge`], [`TrainErrorKind::CorpusTooLarge`], or an interruption.
pub fn train_unigram(
    mut words: Vec<(String, u64)>,
    options: &UnigramOptions,
    n_threads: usize,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<UnigramPieces, TrainError> {
    words.sort_unstable();
    words.dedup_by(|(word, count), (kept, sum)| {
        let is_same = word == kept;
        *sum = if is_same { sum.saturating_add(*count) } else { *sum };
        is_same
    });
    let training = Training { words: &words, options, pool: super::pool(n_threads) };
    let required = training.required();
    if required.len() > options.vocab_size {
        let (n_chars, vocab_size) = (required.len(), options.vocab_size);
        return Err(TrainErrorKind::AlphabetTooLarge { n_chars, vocab_size }.into());
    }
    let mut pieces = training.seeds()?;
    let (n_first, wanted) = (pieces.len(), options.vocab_size.saturating_mul(11) / 10);
    let mut n_idle = 0;
    loop {
        let n_before = pieces.len();
        for _ in 0..options.n_sub_iterations {
            let (n_done, n_total) = ((n_first - pieces.len()) as u64, n_first.saturating_sub(wanted) as u64);
            let (kind, stage, n_pairs) = (Stage::Merge, 0, pieces.len() as u64);
            let now = Progress { kind, stage, n_done, n_total, n_pairs, merges: &[], counts: &[] };
            if progress(now).is_break() {
                return Err(TrainErrorKind::Interrupted.into());
            }
            let expected = training.expected(&pieces);
            pieces = maximized(pieces, &expected);
        }
        if pieces.len() <= wanted || n_idle > MAX_IDLE_ROUNDS {
            return Ok(training.finished(&pieces, &required));
        }
        pieces = training.pruned(pieces, wanted);
        n_idle = if pieces.len() < n_before { 0 } else { n_idle + 1 };
    }
}

impl Training<'_> {
    /// All characters.
    fn required(&self) -> BTreeSet<char> {
        let words = self.words.iter().flat_map(|(word, _)| word.chars());
        words.chain(self.options.initial_alphabet.iter().copied()).collect()
    }

    /// The pieces to start from behind the unknown one: characters, then repeated substrings, the weightiest first.
    fn seeds(&self) -> Result<Vec<Piece>, TrainError> {
        let mut counts: BTreeMap<char, u64> = BTreeMap::new();
        let mut characters = Characters::default();
        for (word, count) in self.words.iter().filter(|(word, _)| !word.is_empty()) {
            characters.push(word);
            for character in word.chars().filter(|&character| character != '\0') {
                let sum = counts.entry(character).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
        let (n_symbols, limit) = (characters.len() as u64, u64::from(u32::MAX) / 2);
        if n_symbols > limit {
            return Err(TrainErrorKind::CorpusTooLarge { n_symbols, limit }.into());
        }
        let mut singles: Vec<(u64, char)> = counts.into_iter().map(|(c, count)| (count, c)).collect();
        singles.sort_unstable_by_key(|&single| Reverse(single));
        let mut repeats = characters.repeats(self.options.max_piece_length);
        let weight = |repeat: &seeds::Repeat| u64::from(repeat.count) * u64::from(repeat.len);
        repeats
            .sort_unstable_by(|a, b| (weight(b), characters.codes(b)).cmp(&(weight(a), characters.codes(a))));
        // At least one, as in the peer.
        repeats.truncate(self.options.seed_size.saturating_sub(singles.len()).max(1));
        let mut pieces: Vec<Piece> = vec![(UNKNOWN_TEXT.into(), f64::NAN)];
        pieces.extend(singles.iter().map(|(count, c)| (c.to_string().into(), *count as f64)));
        pieces.extend(repeats.iter().map(|repeat| (characters.text(repeat).into(), weight(repeat) as f64)));
        let log_sum = pieces[1..].iter().map(|(_, weight)| weight).sum::<f64>().ln();
        pieces[1..].iter_mut().for_each(|(_, score)| *score = score.ln() - log_sum);
        Ok(pieces)
    }

    /// The sums over all words of what `add` adds for one of them.
    fn sums(&self, n: usize, add: impl Fn(&str, f64, &mut [f64], &mut Scratch) + Sync) -> Vec<f64> {
        let of_block = |words: &[(String, u64)]| {
            let (mut sums, mut scratch) = (vec![0.0; n], Scratch::default());
            words.iter().for_each(|(word, count)| add(word, *count as f64, &mut sums, &mut scratch));
            sums
        };
        let n_words = self.words.len().div_ceil(N_BLOCKS).max(1);
        let blocks: Vec<Vec<f64>> = match &self.pool {
            Some(pool) => pool.install(|| self.words.par_chunks(n_words).map(of_block).collect()),
            None => self.words.chunks(n_words).map(of_block).collect(),
        };
        let mut blocks = blocks.into_iter();
        let mut sums = blocks.next().unwrap_or_else(|| vec![0.0; n]);
        for block in blocks {
            sums.iter_mut().zip(&block).for_each(|(sum, more)| *sum += more);
        }
        sums
    }

    /// How often each piece is expected.
    fn expected(&self, pieces: &[Piece]) -> Vec<f64> {
        let trie = Pieces::new(pieces);
        self.sums(pieces.len(), |word, count, sums, scratch| trie.expect(word, count, sums, scratch))
    }

    /// Without the pieces that the corpus would miss least.
    fn pruned(&self, mut pieces: Vec<Piece>, wanted: usize) -> Vec<Piece> {
        let trie = Pieces::new(&pieces);
        let counts = self.sums(pieces.len(), |word, count, sums, scratch| {
            trie.cut(word, scratch).iter().for_each(|&piece| sums[piece as usize] += count);
        });
        let n_words: f64 = self.words.iter().map(|(_, count)| *count as f64).sum();
        let sum: f64 = counts.iter().sum();
        let mut scratch = Scratch::default();
        let (mut kept, mut candidates) = (vec![0], Vec::new());
        for (id, (text, _)) in pieces.iter().enumerate().skip(1) {
            let count = counts[id];
            let alternative = trie.alternative(text, &mut scratch);
            let is_only = alternative.is_none();
            match alternative.filter(|others| !others.is_empty()) {
                None if count > 0.0 || is_only => kept.push(id),
                Some(others) if count > 0.0 => {
                    // All its occurrences go to the pieces of the other cut. The sum grows by that of all pieces and not of
                    // those alone, as in the peer and in SentencePiece.
                    let log_sum = (sum + count * (pieces.len() - 1) as f64).ln();
                    let other: f64 =
                        others.iter().map(|&other| (counts[other as usize] + count).ln() - log_sum).sum();
                    candidates.push((id, count / n_words * (count.ln() - sum.ln() - other)));
                }
                _ => {}
            }
        }
        candidates.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let n_wanted = wanted.max((pieces.len() as f64 * self.options.shrinking_factor) as usize);
        // Where more than that are kept anyway, all candidates are: as in the peer.
        let n_more = n_wanted.checked_sub(kept.len()).unwrap_or(candidates.len());
        kept.extend(candidates.iter().take(n_more).map(|(id, _)| id));
        kept.into_iter().map(|id| std::mem::take(&mut pieces[id])).collect()
    }

    /// The pieces in the order of their scores, with all required characters, behind the special tokens.
    fn finished(&self, pieces: &[Piece], required: &BTreeSet<char>) -> UnigramPieces {
        let options = self.options;
        let scores: FxHashMap<&str, f64> = pieces.iter().map(|(text, score)| (&**text, *score)).collect();
        let lowest = pieces.iter().map(|(_, score)| *score).fold(f64::INFINITY, f64::min);
        let mut missing = (0..).map(|n| lowest + f64::from(n) * SCORE_STEP);
        let mut found: Vec<(String, f64)> = Vec::new();
        let mut has = FxHashSet::from_iter([UNKNOWN_TEXT.to_owned()]);
        for character in required {
            let text = character.to_string();
            let score = scores.get(&*text).copied().or_else(|| missing.next()).unwrap_or(lowest);
            has.insert(text.clone());
            found.push((text, score));
        }
        let place = |unk: &String| options.special_tokens.iter().position(|token| token == unk);
        let unk_id = options.unk_token.as_ref().map(|unk| place(unk).unwrap_or(0));
        let added_unk = options.unk_token.as_ref().filter(|unk| place(unk).is_none());
        let n_special = options.special_tokens.len() + usize::from(added_unk.is_some());
        let n_pieces = options.vocab_size.saturating_sub(n_special);
        for (text, score) in pieces.iter().filter(|(text, _)| has.insert(text.to_string())) {
            found.push((text.to_string(), if score.is_nan() { 0.0 } else { *score }));
            // Where there are more already, all are taken: as in the peer.
            if found.len() == n_pieces {
                break;
            }
        }
        found.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let special = added_unk.into_iter().chain(&options.special_tokens).map(|token| (token.clone(), 0.0));
        UnigramPieces { pieces: special.chain(found).collect(), unk_id }
    }
}

/// Scores that follow from how often pieces are expected, with a prior for few pieces; rare ones go.
fn maximized(pieces: Vec<Piece>, expected: &[f64]) -> Vec<Piece> {
    let mut kept: Vec<Piece> = Vec::with_capacity(pieces.len());
    let mut sum = 0.0;
    for (id, ((text, _), &count)) in pieces.into_iter().zip(expected).enumerate() {
        if id == 0 {
            kept.push((text, f64::NAN));
        } else if count >= MIN_EXPECTED {
            kept.push((text, count));
            sum += count;
        }
    }
    let log_sum = digamma(sum);
    kept.iter_mut().for_each(|(_, score)| *score = digamma(*score) - log_sum);
    kept
}

/// The derivative of the logarithm of the gamma function.
fn digamma(mut x: f64) -> f64 {
    let mut result = 0.0;
    while x < 7.0 {
        result -= 1.0 / x;
        x += 1.0;
    }
    x -= 0.5;
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let fourth = square * square;
    let series = x.ln() + (1.0 / 24.0) * square - 7.0 / 960.0 * fourth + (31.0 / 8064.0) * fourth * square
        - (127.0 / 30720.0) * fourth * fourth;
    result + series
}
