//! Which segmentation of a word has the highest score?
//!
//! Viterbi over the bytes of the word: at the start of each character every token that fits is an arc with its score to
//! its end; a character that is no token is an arc with the unknown token, ten below the lowest score of all. Each place
//! keeps its best arc, the first one found where scores are equal; arcs are tried from left to right, shorter first.
//! Neighbouring unknown tokens are one. What they cover is a token after all where the vocabulary has that string, or
//! becomes the tokens of its bytes with byte fallback.
//!
//! O(n · L) for a word of n bytes and tokens of at most L.
//!
//! Kudo, "Subword Regularization", ACL 2018.

use tokenloom_vocab::{ByteTrie, TokenId};

use super::{ModelToken, Vocabulary};
use crate::{BuildErrorKind, EncodeErrorKind};

/// How much lower than every token an unknown character scores.
const UNKNOWN_PENALTY: f64 = 10.0;

/// A compiled Unigram model without its vocabulary.
#[derive(Clone, Debug)]
pub(super) struct Unigram {
    trie: ByteTrie,
    /// By id.
    scores: Box<[f64]>,
    unk_id: Option<TokenId>,
    unk_score: f64,
    /// The tokens `<0x00>` to `<0xFF>`, where byte fallback is on.
    bytes: Option<Box<[Option<TokenId>; 256]>>,
}

/// The best way to a place in a word.
#[derive(Clone, Copy)]
struct Arc {
    score: f64,
    start: u32,
    id: TokenId,
}

const NOWHERE: Arc = Arc { score: 0.0, start: u32::MAX, id: 0 };

impl Unigram {
    pub(super) fn new(
        vocabulary: &Vocabulary,
        scores: Box<[f64]>,
        unk_id: Option<usize>,
        byte_fallback: bool,
    ) -> Result<Self, BuildErrorKind> {
        if let Some(unk_id) = unk_id.filter(|&unk_id| unk_id >= scores.len()) {
            let found = unk_id.to_string().into();
            return Err(BuildErrorKind::Field { field: "unk_id", found, expected: "the place of a token" });
        }
        let lowest =
            scores.iter().fold(f64::INFINITY, |lowest, &score| if score < lowest { score } else { lowest });
        let byte = |byte: usize| vocabulary.id(&format!("<0x{byte:02X}>"));
        Ok(Self {
            trie: ByteTrie::new(vocabulary.iter().map(|(text, id)| (id, text.as_bytes()))),
            scores,
            unk_id: unk_id.map(|unk_id| unk_id as TokenId),
            unk_score: lowest - UNKNOWN_PENALTY,
            bytes: byte_fallback.then(|| Box::new(std::array::from_fn(byte))),
        })
    }

    pub(super) fn append(
        &self,
        vocabulary: &Vocabulary,
        word: &str,
        out: &mut Vec<ModelToken>,
    ) -> Result<(), EncodeErrorKind> {
        let mut end = word.len();
        let best = self.best_arcs(word)?;
        let first = out.len();
        while end > 0 {
            let Arc { mut start, id, .. } = best[end];
            let is_unknown = |arc: Arc| Some(arc.id) == self.unk_id;
            if Some(id) == self.unk_id {
                while start > 0 && is_unknown(best[start as usize]) {
                    start = best[start as usize].start;
                }
                self.append_unknown(vocabulary, word, (start as usize, end), out)?;
            } else {
                // Of two tokens with one string the trie has the one that the string stands for.
                out.push(ModelToken::new(id, start as usize, end));
            }
            end = start as usize;
        }
        out[first..].reverse();
        Ok(())
    }

    /// By place in the word: the arc of the best way that ends there.
    fn best_arcs(&self, word: &str) -> Result<Vec<Arc>, EncodeErrorKind> {
        let mut best = vec![NOWHERE; word.len() + 1];
        let offer = |best: &mut [Arc], start: usize, end: usize, score: f64, id| {
            let better = best[end].start == NOWHERE.start || score > best[end].score;
            if better {
                best[end] = Arc { score, start: start as u32, id };
            }
        };
        for (start, c) in word.char_indices() {
            let so_far = best[start].score;
            let end_of_char = start + c.len_utf8();
            let mut is_token = false;
            let mut node = self.trie.root();
            for (end, &byte) in (start + 1..).zip(&word.as_bytes()[start..]) {
                let Some(child) = self.trie.child(node, byte) else { break };
                node = child;
                if let Some(place) = self.trie.exact(node).next() {
                    let id = self.trie.ids()[place];
                    offer(&mut best, start, end, self.scores[id as usize] + so_far, id);
                    is_token |= end == end_of_char;
                }
            }
            if !is_token {
                let score = self.unk_score + so_far;
                let before = best[end_of_char];
                if before.start == NOWHERE.start || score > before.score {
                    let no_token =
                        || EncodeErrorKind::NoUnknownToken { byte_offset: start, unk: Box::default() };
                    let id = self.unk_id.ok_or_else(no_token)?;
                    offer(&mut best, start, end_of_char, score, id);
                }
            }
        }
        Ok(best)
    }

    /// A stretch of unknown tokens; what it becomes is appended from its end on.
    fn append_unknown(
        &self,
        vocabulary: &Vocabulary,
        word: &str,
        (start, end): (usize, usize),
        out: &mut Vec<ModelToken>,
    ) -> Result<(), EncodeErrorKind> {
        let text = &word[start..end];
        if let Some(id) = vocabulary.id(text) {
            out.push(ModelToken::new(id, start, end));
            return Ok(());
        }
        if let Some(bytes) = &self.bytes
            && text.bytes().all(|byte| bytes[usize::from(byte)].is_some())
        {
            let ids = text.bytes().rev().filter_map(|byte| bytes[usize::from(byte)]);
            out.extend(ids.map(|id| ModelToken::new(id, start, end)));
            return Ok(());
        }
        let no_token = || EncodeErrorKind::NoUnknownToken { byte_offset: start, unk: Box::default() };
        let id = self.unk_id.ok_or_else(no_token)?;
        out.push(ModelToken { id, span: (start, end), is_literal: true });
        Ok(())
    }
}
