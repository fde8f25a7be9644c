//! How do pieces that come one by one get what a scanner's batch gets?
//!
//! Where several steps cut a text, its pieces come from a walk through all of them, one at a time. Those that follow each other
//! are gathered and looked up at once, as if one scanner had found them, and what a few batches missed is merged side by side.
//! Pieces with a space that is not in the text, and those that fall into words of their own, end what was gathered before.
//! O(1) a piece.

use std::ops::ControlFlow;

use tokenloom_vocab::TokenId;

use crate::cache::MAX_KEPT_BYTES;
use crate::lookup::{MANY_MISSED, MAX_BATCHES};
use crate::pretokenize::{Ends, MAX_BATCH};
use crate::scratch::Scratch;
use crate::{EncodeError, Tokenizer};

/// Pieces of a text that follow each other.
struct Gathered {
    start: usize,
    ends: Ends,
    /// How many batches were looked up and wait to be merged.
    n_batches: usize,
}

impl Gathered {
    fn end(&self) -> usize {
        self.ends.last().copied().unwrap_or(self.start)
    }
}

impl Tokenizer {
    /// Appends the ids of text without added tokens whose pieces no single scanner finds, and asks `go_on` now and then.
    pub(crate) fn encode_gathered(
        &self,
        text: &str,
        at_start: bool,
        scratch: &mut Scratch,
        out: &mut Vec<TokenId>,
        go_on: &mut impl FnMut(&mut Vec<TokenId>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, EncodeError> {
        let falls_into_words = self.bpe().falls_into_words();
        let mut gathered = Gathered { start: 0, ends: std::mem::take(&mut scratch.ends), n_batches: 0 };
        gathered.ends.clear();
        gathered.ends.make_room();
        let mut prefixed = String::new();
        let flow = self.pretokenizers.try_for_each(text, at_start, |piece| {
            let is_apart = falls_into_words && piece.end - piece.start > MAX_KEPT_BYTES;
            if piece.prefix_space || is_apart {
                self.merge_gathered(text, &mut gathered, scratch, out);
                gathered.start = piece.end;
                let piece = piece.text(text, &mut prefixed);
                if !is_apart {
                    self.encode_piece(piece.as_bytes(), scratch, out);
                    return go_on(out);
                }
                let ends = |at, ends: &mut _| self.bpe().word_ends(piece, at, ends);
                return self.encode_batches(piece, ends, scratch, out, go_on);
            }
            let mut flow = ControlFlow::Continue(());
            if gathered.end() != piece.start || gathered.ends.len() == MAX_BATCH {
                self.look_up_gathered(text, &mut gathered, scratch);
                gathered.start = piece.start;
                if gathered.n_batches == MAX_BATCHES || scratch.found.missed.len() >= MANY_MISSED {
                    self.merge_gathered(text, &mut gathered, scratch, out);
                    flow = go_on(out);
                }
            }
            gathered.ends.push(piece.end);
            flow
        });
        self.merge_gathered(text, &mut gathered, scratch, out);
        scratch.ends = gathered.ends;
        if flow?.is_break() { Ok(ControlFlow::Break(())) } else { Ok(go_on(out)) }
    }

    fn look_up_gathered(&self, text: &str, gathered: &mut Gathered, scratch: &mut Scratch) {
        let Scratch { cache, found, .. } = scratch;
        let Gathered { start, ends, n_batches } = gathered;
        if !ends.is_empty() {
            if *n_batches == 0 {
                found.clear();
                cache.grow_short();
            }
            found.look_up(cache, text.as_bytes(), *start, ends, |key| self.bpe().prefetch(key));
            ends.clear();
            *n_batches += 1;
        }
    }

    fn merge_gathered(
        &self,
        text: &str,
        gathered: &mut Gathered,
        scratch: &mut Scratch,
        out: &mut Vec<TokenId>,
    ) {
        self.look_up_gathered(text, gathered, scratch);
        if std::mem::take(&mut gathered.n_batches) > 0 {
            self.merge_missed(text, scratch, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::EncodeOptions;
    use crate::bpe::BpeScratch;
    use crate::spec::{Merge, Pretokenizer, SplitBehavior, SplitPattern, Symbols, TokenizerSpec};

    const WORDS: [&str; 9] =
        ["a", "aa", " ", " b", "7", "ab,", "\n", "é", "aab aaaaaaaaaaaaaaaabaaaaaaaabaaaaaaaaaaaaabaaaaaa"];

    fn tokenizer(pretokenizers: &[Pretokenizer]) -> Tokenizer {
        let longer =
            [(256, "aa", 97, 97), (257, "aab", 256, 98), (258, " b", 32, 98), (259, "aaaa", 256, 256)];
        let bytes = (0..=255_u8).map(|byte| (TokenId::from(byte), Box::from([byte])));
        let tokens = bytes.chain(longer.map(|(id, token, ..)| (id, token.as_bytes().into())));
        let spec = TokenizerSpec {
            tokens: tokens.collect(),
            merges: longer.map(|(result, _, left, right)| Merge { left, right, result }).into(),
            pretokenizers: pretokenizers.to_vec(),
            symbols: Symbols::Bytes,
            ..TokenizerSpec::default()
        };
        Tokenizer::new(spec).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn gathered_pieces_become_what_each_becomes_alone(
            words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..6000),
            add_prefix_space: bool,
            individual: bool,
            removes: bool,
        ) {
            let commas = Pretokenizer::Split {
                pattern: SplitPattern::Literal(",".into()),
                behavior: SplitBehavior::Removed,
                invert: removes,
            };
            let digits = Pretokenizer::Digits { individual };
            let tokenizer = tokenizer(&[digits, commas, Pretokenizer::ByteLevel { add_prefix_space, use_regex: true }]);
            let text = words.concat();
            let (mut expected, mut prefixed) = (Vec::new(), String::new());
            tokenizer
                .pretokenizers
                .for_each(&text, true, |piece| {
                    let piece = piece.bytes(&text, &mut prefixed);
                    tokenizer.bpe().encode_piece(piece, &mut expected, &mut BpeScratch::default());
                })
                .unwrap();
            let options = EncodeOptions::default();
            for _ in 0..2 {
                prop_assert_eq!(&tokenizer.encode(&text, &options).unwrap(), &expected);
            }
            let n_ids = expected.len();
            prop_assert_eq!(tokenizer.count_until(&*text, &options, n_ids).unwrap(), Some(n_ids));
            if let Some(fewer) = n_ids.checked_sub(1) {
                prop_assert_eq!(tokenizer.count_until(&*text, &options, fewer).unwrap(), None);
            }
        }
    }
}
