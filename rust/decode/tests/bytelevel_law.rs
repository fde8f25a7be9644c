//! Byte probabilities against sums over all texts of a small world.
//!
//! A random distribution over all texts of bounded length is turned into the token model that reproduces it exactly;
//! byte probabilities must then be sums over texts. A second model puts mass on every token sequence; its covers are
//! enumerated from the encodings of all texts.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokenloom_decode::bytelevel::{ByteState, CanonicalLaw, Context, Purpose};
use tokenloom_tokenize::spec::{Merge, Pretokenizer, SplitBehavior, SplitPattern, TokenizerSpec};
use tokenloom_tokenize::{EncodeOptions, Tokenizer};
use tokenloom_vocab::AddedToken;

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn unit(&mut self) -> f64 {
        (self.below(1 << 30) as f64 + 0.5) / (1 << 30) as f64
    }
}

/// All single bytes of the alphabet, merges of random adjacent tokens, tokens no merge makes, an end token.
fn tokenizer(
    alphabet: &[&str],
    pretokenizers: &[Pretokenizer],
    ignore_merges: bool,
    random: &mut Random,
) -> Tokenizer {
    let bytes: BTreeSet<u8> = alphabet.iter().flat_map(|c| c.bytes()).collect();
    let mut tokens: Vec<Vec<u8>> = bytes.into_iter().map(|byte| vec![byte]).collect();
    let mut merges = Vec::new();
    while merges.len() < 6 {
        let (left, right) = (random.below(tokens.len()), random.below(tokens.len()));
        let joined = [tokens[left].clone(), tokens[right].clone()].concat();
        if joined.len() <= 4 && !tokens.contains(&joined) {
            merges.push(Merge { left: left as u32, right: right as u32, result: tokens.len() as u32 });
            tokens.push(joined);
        }
    }
    while tokens.len() < 16 {
        let parts = [random.below(4), random.below(4), random.below(4)];
        let joined: Vec<u8> = parts.iter().flat_map(|&at| alphabet[at % alphabet.len()].bytes()).collect();
        if !tokens.contains(&joined) {
            tokens.push(joined);
        }
    }
    let end = tokens.len() as u32;
    let added = AddedToken {
        id: end,
        content: "<end>".into(),
        special: true,
        normalized: false,
        lstrip: false,
        rstrip: false,
        single_word: false,
    };
    let spec = TokenizerSpec {
        tokens: tokens.into_iter().enumerate().map(|(id, bytes)| (id as u32, bytes)).collect(),
        merges,
        ignore_merges,
        added_tokens: vec![added],
        pretokenizers: pretokenizers.to_vec(),
        ..TokenizerSpec::default()
    };
    Tokenizer::new(spec).unwrap()
}

fn texts(alphabet: &[&str], max_chars: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut last = all.clone();
    for _ in 0..max_chars {
        last = last.iter().flat_map(|text| alphabet.iter().map(move |c| format!("{text}{c}"))).collect();
        all.extend_from_slice(&last);
    }
    all
}

type Model<'a> = dyn Fn(&[u32]) -> Vec<f64> + 'a;

fn fill(mut state: ByteState, purpose: Purpose, model: &Model<'_>) -> ByteState {
    loop {
        let contexts = state.contexts(purpose, 3);
        if contexts.is_empty() {
            return state;
        }
        let trunk = state.trunk(0);
        let ids = |context: &Context| [&trunk[..context.n_trunk], &context.ids].concat();
        let rows: Vec<Vec<f64>> = contexts.iter().map(|context| model(&ids(context))).collect();
        let rows: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
        state = state.filled(purpose, 3, &rows).unwrap();
    }
}

fn assert_close(found: f64, expected: f64, what: &str) {
    let close = found == expected || (found.exp() - expected.exp()).abs() <= 1e-12 * expected.exp();
    assert!(close, "{what}: found {found}, expected {expected}");
}

fn worlds() -> Vec<(Vec<&'static str>, Vec<Pretokenizer>)> {
    let gpt2 = Pretokenizer::ByteLevel { add_prefix_space: false, use_regex: true };
    let llama3 = Pretokenizer::Split {
        pattern: SplitPattern::Regex(LLAMA3.into()),
        behavior: SplitBehavior::Isolated,
        invert: false,
    };
    let digits = Pretokenizer::Digits { individual: true };
    vec![
        (vec!["a", "b", "c"], vec![]),
        (vec![" ", "a", "\n"], vec![gpt2.clone()]),
        (vec!["'", "l", "s"], vec![gpt2.clone()]),
        (vec![" ", "1", "a"], vec![digits, gpt2.clone()]),
        // All characters that the bytes of two of them spell.
        (vec![" ", "\u{e9}", "\u{a0}", "\u{e0}", "\u{a9}"], vec![gpt2]),
        (vec![" ", "1", "\n"], vec![llama3.clone()]),
        (vec![" ", "!", "\n"], vec![llama3]),
    ]
}

#[test]
fn sums_over_covers_are_sums_over_texts() {
    let mut random = Random(11);
    for (alphabet, pretokenizers) in worlds() {
        for round in 0..6 {
            let tokenizer = Arc::new(tokenizer(&alphabet, &pretokenizers, round % 2 == 1, &mut random));
            let law = Arc::new(CanonicalLaw::new(Arc::clone(&tokenizer)).unwrap());
            let end = tokenizer.id_bound() as u32 - 1;
            let n_chars = if alphabet.len() > 3 { 4 } else { 5 };
            let texts = texts(&alphabet, n_chars);
            // Mass of every sequence that starts an encoding, the end token included.
            let mut mass: BTreeMap<Vec<u32>, f64> = BTreeMap::new();
            let mut by_prefix: BTreeMap<Vec<u8>, f64> = BTreeMap::new();
            for text in &texts {
                let weight = random.unit().powi(8);
                let mut ids = tokenizer.encode(text, &EncodeOptions::default()).unwrap();
                ids.push(end);
                (0..=ids.len()).for_each(|n| *mass.entry(ids[..n].to_vec()).or_default() += weight);
                let prefixes = (0..=text.len()).map(|n| &text.as_bytes()[..n]);
                prefixes.for_each(|prefix| *by_prefix.entry(prefix.to_vec()).or_default() += weight);
            }
            let model = |context: &[u32]| -> Vec<f64> {
                // Sequences that only longer texts start with have no mass and no continuation.
                let whole = mass.get(context).copied().unwrap_or(1.0);
                let after = |id: u32| mass.get(&[context, &[id]].concat()).map_or(0.0, |part| part / whole);
                (0..tokenizer.id_bound() as u32).map(|id| after(id).ln()).collect()
            };
            let all = by_prefix[&Vec::new()];
            for text in texts.iter().filter(|text| text.chars().count() == n_chars - 1) {
                for n in 0..=text.len() {
                    let prefix = &text.as_bytes()[..n];
                    let state = ByteState::new(&law, &[], prefix).unwrap();
                    let what = format!("{prefix:?} round {round} {pretokenizers:?}");
                    let scored = fill(state.clone(), Purpose::Mass, &model);
                    assert_close(scored.log_mass().unwrap(), (by_prefix[prefix] / all).ln(), &what);
                    let next = fill(state, Purpose::NextByte, &model).next_byte().unwrap().unwrap();
                    assert!(next.leaked < 1e-12, "{what} leaks {}", next.leaked);
                    let mut rest = by_prefix[prefix];
                    for byte in 0..=255u8 {
                        let longer = by_prefix.get(&[prefix, &[byte]].concat()).copied().unwrap_or(0.0);
                        let expected = (longer / by_prefix[prefix]).ln();
                        assert_close(next.log_probs[usize::from(byte)], expected, &what);
                        rest -= longer;
                    }
                    let expected = rest / by_prefix[prefix];
                    assert!((next.log_probs[256].exp() - expected).abs() < 1e-10, "{what} end");
                }
            }
        }
    }
}

#[test]
fn covers_are_the_viable_sequences_that_need_their_last_token() {
    let mut random = Random(5);
    for (alphabet, pretokenizers) in worlds() {
        for round in 0..6 {
            let tokenizer = Arc::new(tokenizer(&alphabet, &pretokenizers, round % 2 == 1, &mut random));
            let law = Arc::new(CanonicalLaw::new(Arc::clone(&tokenizer)).unwrap());
            let mut viable: BTreeSet<Vec<u32>> = BTreeSet::new();
            let (n_long, n_short) = if alphabet.len() > 3 { (6, 2) } else { (8, 3) };
            for text in texts(&alphabet, n_long) {
                let ids = tokenizer.encode(&text, &EncodeOptions::default()).unwrap();
                viable.extend((0..=ids.len()).map(|n| ids[..n].to_vec()));
            }
            let bytes = |ids: &[u32]| tokenizer.decode_bytes(ids).unwrap();
            let short: Vec<(&Vec<u32>, Vec<u8>, usize)> = viable
                .iter()
                .filter(|ids| !ids.is_empty())
                .map(|ids| (ids, bytes(ids), bytes(&ids[..ids.len() - 1]).len()))
                .filter(|(_, _, n_before)| *n_before < 8)
                .collect();
            // A law over all token sequences, the same for equal contexts.
            let model = |context: &[u32]| -> Vec<f64> {
                let seed = round as u64 + 1;
                let seed =
                    context.iter().fold(seed, |seed, &id| seed.wrapping_mul(31).wrapping_add(id.into()));
                let mut random = Random(seed);
                random.below(2);
                let raw: Vec<f64> = (0..tokenizer.id_bound()).map(|_| random.unit().powi(4)).collect();
                let sum: f64 = raw.iter().sum();
                raw.into_iter().map(|weight| (weight / sum).ln()).collect()
            };
            let log_prob =
                |ids: &[u32]| -> f64 { (0..ids.len()).map(|n| model(&ids[..n])[ids[n] as usize]).sum() };
            for text in texts(&alphabet, n_short) {
                let prefix = text.as_bytes();
                if prefix.is_empty() {
                    continue;
                }
                let what = format!("{prefix:?} round {round} {pretokenizers:?}");
                let expected: BTreeMap<Vec<u32>, f64> = short
                    .iter()
                    .filter(|(_, bytes, n_before)| *n_before < prefix.len() && bytes.starts_with(prefix))
                    .map(|(ids, ..)| ((*ids).clone(), log_prob(ids)))
                    .collect();
                let total = expected.values().map(|value| value.exp()).sum::<f64>();
                let state = ByteState::new(&law, &[], prefix).unwrap();
                let state = fill(state, Purpose::Mass, &model);
                assert_close(state.log_mass().unwrap(), total.ln(), &what);
                let covers = state.covers().unwrap().unwrap();
                assert_eq!(covers.log_probs.len(), expected.len(), "{what}");
                for (index, span) in covers.offsets.windows(2).enumerate() {
                    let tail = &covers.values[span[0] as usize..span[1] as usize];
                    let ids = [&covers.ids[..], tail].concat();
                    assert_close(covers.log_probs[index], expected[&ids] - total.ln(), &what);
                }
            }
        }
    }
}

#[test]
fn pushing_grows_the_state_that_starting_builds() {
    let mut random = Random(3);
    for (alphabet, pretokenizers) in worlds() {
        let tokenizer = Arc::new(tokenizer(&alphabet, &pretokenizers, true, &mut random));
        let law = Arc::new(CanonicalLaw::new(Arc::clone(&tokenizer)).unwrap());
        let model = |context: &[u32]| -> Vec<f64> {
            let seed = context.iter().fold(9, |seed: u64, &id| seed.wrapping_mul(37).wrapping_add(id.into()));
            let mut random = Random(seed);
            random.below(2);
            (0..tokenizer.id_bound()).map(|_| (random.unit() / 40.0).ln()).collect()
        };
        let text: String = (0..40).map(|_| alphabet[random.below(alphabet.len())]).collect();
        let mut state = ByteState::new(&law, &[], b"").unwrap();
        let (mut log_mass, mut n_rows) = (0.0, 0);
        for (at, &byte) in text.as_bytes().iter().enumerate() {
            n_rows += state.contexts(Purpose::NextByte, usize::MAX).len();
            state = fill(state, Purpose::NextByte, &model);
            let next = state.next_byte().unwrap().unwrap();
            log_mass += next.log_probs[usize::from(byte)] + (-next.leaked).ln_1p();
            let fresh = ByteState::new(&law, &[], &text.as_bytes()[..at]).unwrap();
            let fresh = fill(fresh, Purpose::NextByte, &model).next_byte().unwrap().unwrap();
            for (found, expected) in next.log_probs.iter().zip(&fresh.log_probs) {
                assert_close(*found, *expected, &text);
            }
            state = state.pushed(byte).unwrap();
        }
        let scored = fill(ByteState::new(&law, &[], text.as_bytes()).unwrap(), Purpose::Mass, &model);
        assert!((scored.log_mass().unwrap() - log_mass).abs() < 1e-9, "chain rule of {text:?}");
        assert!(n_rows <= 2 * text.len(), "{n_rows} contexts for {} bytes", text.len());
    }
}
