//! The trainer against a transcription of its rule that scans every word at every step, and its worst inputs.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::inventory::Inventory;
use super::*;
use crate::spec::Merge;

const ALL: Resources = Resources { n_threads: 1, n_bytes: usize::MAX };

fn words<'a>(items: impl IntoIterator<Item = (&'a [u8], u64)>) -> WordCounts {
    let mut words = WordCounts::new();
    items.into_iter().for_each(|(word, count)| words.add(word, count));
    words
}

/// One stage with these special tokens.
#[derive(Clone, Debug, Default)]
struct BpeOptions {
    special_tokens: Vec<String>,
    stage: StageOptions,
}

fn train_bpe(
    words: &WordCounts,
    options: &BpeOptions,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<Trained, TrainError> {
    let start = Start { special_tokens: options.special_tokens.clone(), ..Start::default() };
    super::train(&start, &[(words, &options.stage)], None, ALL, progress)
}

fn train(items: &[(&[u8], u64)], options: &BpeOptions) -> Trained {
    train_bpe(&words(items.iter().copied()), options, &mut |_| ControlFlow::Continue(())).unwrap()
}

/// `(left, right)` as bytes.
fn merges_of(trained: &Trained) -> Vec<(Vec<u8>, Vec<u8>)> {
    let bytes: HashMap<TokenId, &[u8]> = trained.tokens().iter().map(|(id, bytes)| (*id, &**bytes)).collect();
    trained.merges().iter().map(|m| (bytes[&m.left].to_vec(), bytes[&m.right].to_vec())).collect()
}

/// Words as lists of ids, batches as sets of words, the queue as a list that is searched for its maximum.
struct Slow {
    inventory: Inventory,
    words: Vec<(Vec<TokenId>, i64)>,
    counts: HashMap<(TokenId, TokenId), i64>,
    queue: Vec<(i64, (TokenId, TokenId), BTreeSet<usize>)>,
    max_token_length: usize,
}

impl Slow {
    fn merge_word(&mut self, at: usize, pair: (TokenId, TokenId), new: TokenId, begun: &mut Begun) {
        let (word, weight) = self.words[at].clone();
        let mut word = word;
        let mut i = 0;
        while i + 1 < word.len() {
            if (word[i], word[i + 1]) == pair {
                word.splice(i..i + 2, [new]);
                let mut change =
                    |old: (TokenId, TokenId), fresh: (TokenId, TokenId), inventory: &Inventory| {
                        *self.counts.entry(old).or_default() -= weight;
                        let length = inventory.bytes(fresh.0).len() + inventory.bytes(fresh.1).len();
                        if length < self.max_token_length {
                            *self.counts.entry(fresh).or_default() += weight;
                            begun.entry(fresh).or_default().insert(at);
                        }
                    };
                if i > 0 {
                    change((word[i - 1], pair.0), (word[i - 1], new), &self.inventory);
                }
                if i + 1 < word.len() {
                    change((pair.1, word[i + 1]), (new, word[i + 1]), &self.inventory);
                }
            }
            i += 1;
        }
        self.words[at].0 = word;
    }

    fn enqueue(&mut self, begun: Begun) {
        for (pair, at) in begun {
            if self.counts[&pair] > 0 {
                self.queue.push((self.counts[&pair], pair, at));
            }
        }
    }
}

type Begun = HashMap<(TokenId, TokenId), BTreeSet<usize>>;

fn train_slowly(items: &[(&[u8], u64)], options: &BpeOptions) -> Trained {
    let inventory = Inventory::new(&options.special_tokens, |_| true).unwrap();
    let ids = *inventory.byte_ids();
    let words = words(items.iter().copied());
    let words: Vec<(Vec<TokenId>, i64)> =
        words.iter().map(|(w, c)| (w.iter().map(|&b| ids[b as usize]).collect(), c as i64)).collect();
    let mut slow = Slow {
        inventory,
        words,
        counts: HashMap::new(),
        queue: Vec::new(),
        max_token_length: options.stage.max_token_length,
    };
    let mut begun = Begun::new();
    for (at, (word, weight)) in slow.words.iter().enumerate() {
        for pair in word.windows(2) {
            *slow.counts.entry((pair[0], pair[1])).or_default() += weight;
            begun.entry((pair[0], pair[1])).or_default().insert(at);
        }
    }
    slow.enqueue(begun);
    let mut merges = Vec::new();
    while slow.inventory.len() < options.stage.vocab_size {
        let best = |&i: &usize| (slow.queue[i].0, std::cmp::Reverse(slow.queue[i].1));
        let Some(top) = (0..slow.queue.len()).max_by_key(best) else { break };
        let (queued, pair, at) = slow.queue.remove(top);
        let count = slow.counts[&pair];
        if queued != count {
            slow.queue.push((count, pair, at));
            continue;
        }
        if count < 1 || (count as u64) < options.stage.min_frequency {
            break;
        }
        let token = [slow.inventory.bytes(pair.0), slow.inventory.bytes(pair.1)].concat();
        let new = slow.inventory.id_or_insert(&token);
        merges.push(Merge { left: pair.0, right: pair.1, result: new });
        let mut begun = Begun::new();
        for word in at {
            slow.merge_word(word, pair, new, &mut begun);
        }
        slow.enqueue(begun);
    }
    Trained::new(&Start::default(), Merged { inventory: slow.inventory, merges, counts: Vec::new() })
}

fn sized(vocab_size: usize) -> StageOptions {
    StageOptions { vocab_size, ..StageOptions::default() }
}

fn options(n_merges: usize) -> BpeOptions {
    BpeOptions { special_tokens: Vec::new(), stage: sized(256 + n_merges) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn equals_the_transcription(
        corpus in prop::collection::vec(("[ab]{0,12}|[a-d]{0,40}", 1u64..4), 0..12),
        n_merges in 0usize..60,
        min_frequency in 0u64..4,
        max_token_length in prop_oneof![4 => Just(usize::MAX), 1 => 0usize..12],
        special in prop::collection::vec("[ab]{2,4}", 0..3),
    ) {
        let items: Vec<(&[u8], u64)> = corpus.iter().map(|(w, c)| (w.as_bytes(), *c)).collect();
        let special_tokens: Vec<String> = BTreeSet::from_iter(special).into_iter().collect();
        let vocab_size = 256 + special_tokens.len() + n_merges;
        let stage = StageOptions { vocab_size, min_frequency, max_token_length, ..StageOptions::default() };
        let options = BpeOptions { special_tokens, stage };
        let (fast, slow) = (train(&items, &options), train_slowly(&items, &options));
        prop_assert_eq!(fast.merges(), slow.merges());
        prop_assert_eq!(fast.tokens(), slow.tokens());
        let results: BTreeSet<TokenId> = fast.merges().iter().map(|merge| merge.result).collect();
        prop_assert_eq!(results.len(), fast.merges().len(), "one string was made of two pairs");
    }
}

/// Pseudo-random bytes out of `alphabet`.
fn noise(n_bytes: usize, alphabet: &[u8]) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        alphabet[(state >> 16) as usize % alphabet.len()]
    };
    (0..n_bytes).map(|_| next()).collect()
}

#[test]
fn counts_beyond_32_bits_decide() {
    let trained =
        train(&[(b"ab", (1 << 41) + 1), (b"cd", 1 << 41), (b"ef", (1 << 41) + (1 << 32))], &options(3));
    let pairs = [(b"e", b"f"), (b"a", b"b"), (b"c", b"d")];
    assert_eq!(merges_of(&trained), pairs.map(|(l, r)| (l.to_vec(), r.to_vec())));
    let too_many = words([(b"ab".as_slice(), 1 << 60)]);
    let error = train_bpe(&too_many, &options(3), &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert_eq!(error.kind(), &TrainErrorKind::CountOverflow);
}

#[test]
fn one_long_word_is_as_good_as_many() {
    // A step that scanned the word would take 10^6 * 4,000 symbol reads here.
    let run = vec![b'a'; 1 << 20];
    assert_eq!(train(&[(&run, 1)], &options(40)).merges().len(), 20);
    let (mut fibonacci, mut before) = (b"ab".to_vec(), b"a".to_vec());
    while fibonacci.len() < 1_000_000 {
        let next = [fibonacci.as_slice(), &before].concat();
        before = std::mem::replace(&mut fibonacci, next);
    }
    assert!(train(&[(&fibonacci, 1)], &options(4000)).merges().len() >= 20);
    let noise = noise(1_000_000, b"abcdefghijklmnop");
    assert_eq!(train(&[(&noise, 1)], &options(4000)).merges().len(), 4000);
}

#[test]
fn tokens_that_nest_stop_at_the_limit_of_memory() {
    // t_n ... t_2 t_1 of tokens in the order of their ids is merged from its end, each token longer than the last.
    let mut corpus = WordCounts::new();
    let mut chain = Vec::new();
    let n = 128 * 128;
    for i in (0..n).rev() {
        let token = [(i / 128) as u8, 128 + (i % 128) as u8];
        corpus.add(&token, 2 + n - i);
        chain.extend_from_slice(&token);
    }
    corpus.add(&chain, 1);
    let result = train_bpe(&corpus, &options(200_000), &mut |_| ControlFlow::Continue(()));
    assert!(matches!(result.unwrap_err().kind(), TrainErrorKind::TokensTooLong { .. }));
}

#[test]
fn nothing_to_merge() {
    for corpus in [&[][..], &[(b"".as_slice(), 3)], &[(b"a", 3)]] {
        let trained = train(corpus, &options(10));
        assert_eq!((trained.tokens().len(), trained.merges().len()), (256, 0));
    }
}

#[test]
fn a_special_token_is_a_model_token_only_if_it_is_merged() {
    let special_tokens = vec!["<s>".to_owned(), "ab".to_owned(), "a b".to_owned()];
    let options = BpeOptions { special_tokens, stage: sized(262) };
    let trained = train(&[(b"abab", 3)], &options);
    assert_eq!(trained.tokens()[0], (1, b"ab".as_slice().into()));
    assert_eq!(trained.tokens().len(), 1 + 256 + 1);
    let spec = trained.into_spec(None);
    assert_eq!(
        spec.added_tokens.iter().map(|t| (t.id, t.content.as_str())).collect::<Vec<_>>(),
        [(0, "<s>"), (1, "ab"), (2, "a b")]
    );
}

#[test]
fn progress_can_stop_a_training() {
    let run = words([(b"abcabcabd".as_slice(), 3)]);
    let error = train_bpe(&run, &options(3), &mut |_| ControlFlow::Break(())).unwrap_err();
    assert_eq!(error.kind(), &TrainErrorKind::Interrupted);
}

#[test]
fn options_are_checked() {
    let kind = |options: &BpeOptions| {
        train_bpe(&WordCounts::new(), options, &mut |_| ControlFlow::Continue(())).unwrap_err().kind().clone()
    };
    let special_tokens = vec!["<s>".to_owned()];
    let small = BpeOptions { special_tokens, stage: sized(256) };
    assert_eq!(kind(&small), TrainErrorKind::VocabTooSmall { vocab_size: 256, n_bytes: 256, n_special: 1 });
    let large = BpeOptions { stage: sized(usize::MAX), ..BpeOptions::default() };
    assert!(matches!(kind(&large), TrainErrorKind::VocabTooLarge { .. }));
}
