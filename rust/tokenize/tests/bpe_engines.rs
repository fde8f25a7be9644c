//! Do all engines and the pair test follow the definition of byte pair encoding, for any merge table?
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use proptest::prelude::*;
use tokenloom_tokenize::bpe::{Bpe, BpeScratch, Engine};
use tokenloom_tokenize::spec::Merge;
use tokenloom_vocab::{TokenId, TokenTable};

const ALPHABET: &[u8] = b"abc";

/// A model over three letters, described by the cuts of its tokens in rank order. Words that are no token yet become
/// one; a cut whose parts are no tokens is left out. Ranks follow the list, so a part may come after its whole.
fn model(cuts: &[(Vec<u8>, usize)], rank_by_result: bool) -> (Bpe, Vec<Merge>) {
    let mut words: Vec<&[u8]> = ALPHABET.chunks(1).collect();
    for (word, _) in cuts {
        if !words.contains(&word.as_slice()) {
            words.push(word);
        }
    }
    let id = |bytes: &[u8]| words.iter().position(|word| *word == bytes).map(|at| at as TokenId);
    let merges: Vec<Merge> = cuts
        .iter()
        .filter_map(|(word, cut)| {
            let (left, right) = word.split_at(1 + cut % (word.len() - 1));
            Some(Merge { left: id(left)?, right: id(right)?, result: id(word)? })
        })
        .collect();
    let table = TokenTable::new(words.iter().enumerate().map(|(at, word)| (at as TokenId, *word))).unwrap();
    (Bpe::new(table, &merges, rank_by_result, false).unwrap(), merges)
}

/// The definition, one merge at a time.
fn by_definition(bpe: &Bpe, text: &[u8]) -> Vec<TokenId> {
    let mut ids: Vec<TokenId> = text.iter().map(|&byte| bpe.byte_id(byte).unwrap()).collect();
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

fn encode(bpe: &Bpe, text: &[u8]) -> Vec<TokenId> {
    let mut out = Vec::new();
    bpe.encode_piece(text, &mut out, &mut BpeScratch::default());
    out
}

fn letters(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(ALPHABET), length)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn engines_follow_the_definition(
        cuts in prop::collection::vec((letters(2..7), 0usize..6), 0..40),
        texts in prop::collection::vec(letters(0..40), 4),
        rank_by_result: bool,
    ) {
        let (bpe, _) = model(&cuts, rank_by_result);
        let (linear, heap) = (bpe.clone().with_engine(Engine::Linear), bpe.with_engine(Engine::Heap));
        for text in &texts {
            let expected = by_definition(&heap, text);
            prop_assert_eq!(&encode(&heap, text), &expected);
            prop_assert_eq!(&encode(&linear, text), &expected);
        }
    }

    #[test]
    fn pairs_and_splits_follow_the_definition(
        cuts in prop::collection::vec((letters(2..6), 0usize..5), 0..30),
        rank_by_result: bool,
    ) {
        let (bpe, merges) = model(&cuts, rank_by_result);
        let tokens: Vec<(TokenId, &[u8])> = bpe.table().iter().collect();
        for &(id, bytes) in &tokens {
            let own = by_definition(&bpe, bytes);
            prop_assert_eq!(bpe.is_reachable(id), own == [id]);
            if let Some((left, right)) = bpe.split_of(id) {
                let merge = Merge { left, right, result: id };
                prop_assert!(merges.contains(&merge));
                prop_assert!(bpe.is_reachable(left) && bpe.is_reachable(right));
            } else {
                prop_assert!(bytes.len() == 1 || !bpe.is_reachable(id));
            }
            for &(next, more) in &tokens {
                let joined = [bytes, more].concat();
                prop_assert_eq!(bpe.is_valid_pair(id, next), by_definition(&bpe, &joined) == [id, next]);
            }
        }
    }
}
