//! What does a pretoken become as long as the merges of a rank file are not known?
//!
//! A rank file lists no merges: any two neighbours whose bytes together are a token may be joined, the token of the smallest
//! id first, the leftmost of equal ones. Finding all merges takes as long as some ten thousand pretokens take here, where the
//! bytes themselves are looked up, so a program that encodes a few sentences never waits for that.
//! O(n²) time and O(n) look-ups for a pretoken of n bytes.

use tokenloom_vocab::{TokenId, TokenTable};

/// Appends the ids of a pretoken, each byte of which is a token.
pub(crate) fn merge(table: &TokenTable, piece: &[u8], out: &mut Vec<TokenId>) {
    // Where the parts start, and where the last one ends.
    let mut bounds: Vec<usize> = (0..=piece.len()).collect();
    let joined = |bounds: &[usize], at: usize| match bounds.get(at..)? {
        &[start, _, end, ..] => table.id(&piece[start..end]),
        _ => None,
    };
    // By part: what it and the next one are together.
    let mut results: Vec<Option<TokenId>> = (0..piece.len()).map(|at| joined(&bounds, at)).collect();
    while let Some((_, at)) = results.iter().zip(0..).filter_map(|(&result, at)| Some((result?, at))).min() {
        bounds.remove(at + 1);
        results.remove(at + 1);
        results[at] = joined(&bounds, at);
        if let Some(before) = at.checked_sub(1) {
            results[before] = joined(&bounds, before);
        }
    }
    out.extend(bounds.windows(2).filter_map(|part| table.id(&piece[part[0]..part[1]])));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Bpe, BpeScratch, Engine, splits_of};
    use crate::spec::{Ranks, Symbols};
    use tokenloom_vocab::{TokenId, TokenList, TokenTable};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn pretokens_become_the_same_before_and_after_the_splits_are_found(
            words in prop::collection::btree_set(prop::collection::vec(97_u8..100, 2..6), 0..30),
            pieces in prop::collection::vec(prop::collection::vec(97_u8..101, 1..140), 1..20),
            ignore_merges: bool,
        ) {
            let mut tokens: TokenList = (0..=255).map(|byte| (TokenId::from(byte), [byte])).collect();
            tokens.extend((256..).zip(&words));
            let model = |merges: &[_], ranks: Ranks| {
                let table = TokenTable::new(tokens.iter()).unwrap();
                Bpe::new(table, &Symbols::Bytes, merges, &ranks, ignore_merges).unwrap()
            };
            let encode = |bpe: &Bpe| {
                let mut ids = Vec::new();
                pieces.iter().for_each(|piece| bpe.encode_piece(piece, &mut ids, &mut BpeScratch::default()));
                ids
            };
            let listed = model(&splits_of(&tokens), Ranks::ByResult);
            let expected = encode(&listed.clone().with_engine(Engine::Heap));
            let lazy = model(&[], Ranks::Splits);
            prop_assert_eq!(encode(&lazy), &expected[..]);
            prop_assert_eq!(lazy.merges().len(), listed.merges().len());
            prop_assert_eq!(encode(&lazy), expected);
        }
    }
}
