//! How else might this text have been cut?
//!
//! BPE dropout: a merge that is about to be applied is put aside with some probability, and waits again once another one
//! was applied, as in Hugging Face `tokenizers`; there, too, `ignore_merges` does not count then. With probability 1 text
//! stays first symbols. For superword vocabularies dropout may be kept to merges that bring white space inside a token
//! (as in the SuperBPE fork), so that words stay whole. Draws are a function of the seed and their number alone.
//! O(n log n) a pretoken and merge engine run; no cache is read or written.

use std::ops::ControlFlow;

use tokenloom_vocab::TokenId;

use crate::encode::{Part, Text};
use crate::pipeline::models::Draws;
use crate::scratch::Scratch;
use crate::{EncodeError, EncodeOptions, Tokenizer};

/// Which merges are put aside, and how often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The probability, from 0 to 1.
    pub probability: f32,
    /// Decides the draws.
    pub seed: u64,
    /// Only merges whose result has white space behind something else.
    pub superwords_only: bool,
}

impl Tokenizer {
    /// The ids of `text` under dropout.
    ///
    /// # Errors
    /// [`crate::EncodeErrorKind::Pattern`] if a split pattern gives up.
    pub fn encode_with_dropout(
        &self,
        text: Text<'_>,
        options: &EncodeOptions,
        dropout: Dropout,
    ) -> Result<Vec<TokenId>, EncodeError> {
        let template = &self.spec().template;
        let mut ids = if options.add_special_tokens { template.prefix.clone() } else { Vec::new() };
        let mut draws = Draws::new(dropout.seed);
        let mut drops = |result: Option<TokenId>| {
            let counts = !dropout.superwords_only
                || result.and_then(|id| self.table().bytes(id)).is_some_and(is_superword);
            counts && draws.uniform() < dropout.probability
        };
        let (mut scratch, mut prefixed) = (Scratch::default(), String::new());
        let _never_broken = self.walk::<false>(text, &options.allowed_special, |part| {
            match part {
                Part::Run { .. } => {}
                Part::Added { id, .. } => ids.push(id),
                Part::Inside { text, at_start, .. } => {
                    self.pretokenizers.for_each(text, at_start, |piece| {
                        let bytes = piece.bytes(text, &mut prefixed);
                        self.bpe().encode_dropping(bytes, &mut ids, &mut scratch.bpe, &mut drops);
                    })?;
                }
                Part::Raw { bytes } => {
                    self.bpe().encode_dropping(bytes, &mut ids, &mut scratch.bpe, &mut drops);
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if options.add_special_tokens {
            ids.extend(&template.suffix);
        }
        Ok(ids)
    }
}

/// Whether white space follows something else.
fn is_superword(token: &[u8]) -> bool {
    token.trim_ascii_start().iter().any(u8::is_ascii_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Merge, TokenizerSpec};

    fn tokenizer() -> Tokenizer {
        let words = [&b"ab"[..], b"ab ", b"ab ab"];
        let bytes = (0..=255u8).map(|byte| (TokenId::from(byte), Box::from([byte])));
        let words = words.iter().zip(256..).map(|(&word, id)| (id, Box::from(word)));
        let merge = |left, right, result| Merge { left, right, result };
        Tokenizer::new(TokenizerSpec {
            tokens: bytes.chain(words).collect(),
            merges: vec![merge(97, 98, 256), merge(256, 32, 257), merge(257, 256, 258)],
            ..TokenizerSpec::default()
        })
        .unwrap()
    }

    fn ids(probability: f32, seed: u64, superwords_only: bool) -> Vec<TokenId> {
        let dropout = Dropout { probability, seed, superwords_only };
        tokenizer().encode_with_dropout("ab ab".into(), &EncodeOptions::default(), dropout).unwrap()
    }

    #[test]
    fn the_ends_of_the_scale_are_the_encoding_and_the_bytes() {
        assert_eq!(ids(0.0, 1, false), [258]);
        assert_eq!(ids(1.0, 1, false), b"ab ab".map(TokenId::from));
    }

    #[test]
    fn words_stay_whole_where_only_superwords_are_dropped() {
        assert_eq!(ids(1.0, 1, true), [256, 32, 256]);
    }

    #[test]
    fn a_seed_gives_the_same_ids_and_all_ids_the_same_bytes() {
        let drawn: Vec<_> = (0..200).map(|seed| ids(0.5, seed, false)).collect();
        assert!(drawn.iter().enumerate().all(|(seed, drawn)| *drawn == ids(0.5, seed as u64, false)));
        assert!(drawn.iter().all(|ids| tokenizer().decode_bytes(ids).unwrap() == b"ab ab"));
        let n_whole = drawn.iter().filter(|ids| **ids == [258]).count();
        assert!((5..150).contains(&n_whole), "{n_whole}");
    }
}
