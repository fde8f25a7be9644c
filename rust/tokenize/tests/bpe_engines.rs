//! Do all engines and the pair test follow the definition of byte pair encoding, for any merge table?
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use proptest::prelude::*;
use tokenloom_tokenize::bpe::{Bpe, BpeScratch, Engine};
use tokenloom_tokenize::spec::{Merge, Ranks, Symbols};
use tokenloom_vocab::{TokenId, TokenTable};

/// The symbols that words are made of: bytes, or characters of one to three bytes.
const BYTES: [&str; 3] = ["a", "b", "c"];
const CHARACTERS: [&str; 3] = ["a", "é", "あ"];
/// Shares its first byte with one of the characters, its first two with another.
const UNKNOWN: [&str; 2] = ["è", "い"];

/// A word as indices into the symbols.
type Word = Vec<usize>;

/// What a model is made of: the cuts of its tokens in rank order, and its flags.
#[derive(Clone, Debug)]
struct Design {
    cuts: Vec<(Word, usize)>,
    /// 0: by place, 1: by result, otherwise so many neighbours share a rank.
    n_tied: usize,
    characters: bool,
}

impl Design {
    fn spell(&self, word: &[usize]) -> Vec<u8> {
        let symbols = if self.characters { CHARACTERS } else { BYTES };
        word.iter().flat_map(|&at| symbols.get(at).copied().unwrap_or(UNKNOWN[at % 2]).bytes()).collect()
    }

    /// Words that are no token yet become one; a cut whose parts are no tokens is left out. Ranks follow the list, so
    /// a part may come after its whole.
    fn model(&self) -> (Bpe, Vec<Merge>) {
        let mut words: Vec<Word> = (0..3).map(|at| vec![at]).collect();
        for (word, _) in &self.cuts {
            if !words.contains(word) {
                words.push(word.clone());
            }
        }
        let id = |part: &[usize]| words.iter().position(|word| *word == part).map(|at| at as TokenId);
        let merges: Vec<Merge> = self
            .cuts
            .iter()
            .filter_map(|(word, cut)| {
                let (left, right) = word.split_at(1 + cut % (word.len() - 1));
                Some(Merge { left: id(left)?, right: id(right)?, result: id(word)? })
            })
            .collect();
        let byte_tokens: Vec<TokenId> = (1000..1256).collect();
        let tokens = words.iter().enumerate().map(|(at, word)| (at as TokenId, self.spell(word)));
        let (table, symbols) = if self.characters {
            let bytes = byte_tokens.iter().map(|&id| (id, vec![(id - 1000) as u8]));
            let table = TokenTable::with_hidden(tokens.chain(bytes), &byte_tokens).unwrap();
            (table, Symbols::Characters { byte_tokens })
        } else {
            (TokenTable::new(tokens).unwrap(), Symbols::Bytes)
        };
        let ranks = match self.n_tied {
            0 => Ranks::ByPlace,
            1 => Ranks::ByResult,
            n => Ranks::Given((0..merges.len()).map(|at| (at / n) as u32).collect()),
        };
        (Bpe::new(table, &symbols, &merges, &ranks, false).unwrap(), merges)
    }

    /// The definition, one merge at a time.
    fn by_definition(&self, bpe: &Bpe, text: &[u8]) -> Vec<TokenId> {
        let mut ids: Vec<TokenId> = Vec::new();
        if self.characters {
            for chunk in text.utf8_chunks() {
                for c in chunk.valid().chars() {
                    match bpe.table().id(c.to_string().as_bytes()) {
                        Some(id) => ids.push(id),
                        None => ids.extend(c.to_string().bytes().map(|byte| 1000 + TokenId::from(byte))),
                    }
                }
                ids.extend(chunk.invalid().iter().map(|&byte| 1000 + TokenId::from(byte)));
            }
        } else {
            ids.extend(text.iter().filter_map(|&byte| bpe.byte_id(byte)));
        }
        loop {
            let found = ids
                .windows(2)
                .enumerate()
                .filter_map(|(at, pair)| bpe.merges().get(pair[0], pair[1]).map(|(rank, id)| (rank, at, id)))
                .min_by_key(|&(rank, at, _)| (rank, at));
            let Some((_, at, id)) = found else { return ids };
            ids.splice(at..at + 2, [id]);
        }
    }
}

fn encode(bpe: &Bpe, text: &[u8]) -> Vec<TokenId> {
    let mut out = Vec::new();
    bpe.encode_piece(text, &mut out, &mut BpeScratch::default());
    out
}

fn words(length: std::ops::Range<usize>) -> impl Strategy<Value = Word> {
    prop::collection::vec(0usize..3, length)
}

fn designs(length: std::ops::Range<usize>, n_cuts: std::ops::Range<usize>) -> impl Strategy<Value = Design> {
    let cuts = prop::collection::vec((words(length), 0usize..6), n_cuts);
    (cuts, 0usize..5, any::<bool>()).prop_map(|(cuts, n_tied, characters)| Design {
        cuts,
        n_tied,
        characters,
    })
}

/// Mostly known symbols.
fn texts() -> impl Strategy<Value = Word> {
    let symbol = prop_oneof![12 => 0usize..3, 1 => 3usize..5];
    prop_oneof![
        4 => prop::collection::vec(symbol.clone(), 0..40),
        1 => prop::collection::vec(symbol, 40..300),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn engines_follow_the_definition(
        design in designs(2..7, 0..40),
        texts in prop::collection::vec((texts(), 0usize..9), 4),
        transition in 0u32..40,
    ) {
        let (bpe, _) = design.model();
        let by_words = bpe.clone().with_transition(transition);
        let mut scratch = BpeScratch::default();
        let (linear, scan) = (bpe.clone().with_engine(Engine::Linear), bpe.clone().with_engine(Engine::Scan));
        let heap = bpe.clone().with_engine(Engine::Heap);
        for (text, n_cut) in &texts {
            // Without its first bytes, a text may start inside a character.
            let text = design.spell(text);
            let text = if n_cut % 3 == 0 { &text[text.len().min(n_cut / 3)..] } else { &text };
            let expected = design.by_definition(&heap, text);
            prop_assert_eq!(&encode(&heap, text), &expected);
            prop_assert_eq!(&encode(&linear, text), &expected);
            prop_assert_eq!(&encode(&scan, text), &expected);
            prop_assert_eq!(&encode(&bpe, text), &expected);
            // Twice, as the second time words are remembered.
            for _ in 0..2 {
                let mut ids = Vec::new();
                by_words.encode_piece(text, &mut ids, &mut scratch);
                prop_assert_eq!(&ids, &expected);
            }
        }
    }

    #[test]
    fn pairs_and_splits_follow_the_definition(design in designs(2..6, 0..30)) {
        let (bpe, merges) = design.model();
        let tokens: Vec<(TokenId, &[u8])> = bpe.table().iter().filter(|&(id, _)| id < 1000).collect();
        for &(id, bytes) in &tokens {
            let own = design.by_definition(&bpe, bytes);
            prop_assert_eq!(bpe.is_reachable(id), own == [id]);
            if let Some((left, right)) = bpe.split_of(id) {
                let merge = Merge { left, right, result: id };
                prop_assert!(merges.contains(&merge));
                prop_assert!(bpe.is_reachable(left) && bpe.is_reachable(right));
            } else {
                prop_assert!(id < 3 || !bpe.is_reachable(id));
            }
            for &(next, more) in &tokens {
                let joined = [bytes, more].concat();
                prop_assert_eq!(
                    bpe.is_valid_pair(id, next),
                    design.by_definition(&bpe, &joined) == [id, next]
                );
            }
        }
    }
}
