//! Which pieces does SentencePiece cut a normalized text into?
//!
//! One of four ways gives spans with ids. An unknown one then becomes the pieces of its bytes, or is joined with the
//! unknown ones beside it.
//!
//! Unigram is Viterbi's algorithm with an arc for every piece, and one for a character that is no piece, ten below the
//! lowest score. Sums are kept with 32 bits, and the first way found stays where scores are equal, so that ties and near ties go as the
//! library decides them. A symbol of the user scores more than any other way.
//!
//! O(n · L) for n bytes and pieces of at most L; see [`super::merging`] for BPE.

use tokenloom_vocab::{ByteTrie, TokenId};

use super::{SPACE_MARK, UserSymbols, merging, trie_of};
use crate::BuildErrorKind;
use crate::pipeline::definition::{PieceAlgorithm, PieceModel, PieceType};
use crate::pipeline::models::{ModelToken, Vocabulary};

/// How much lower than every piece an unknown character scores.
const UNKNOWN_PENALTY: f32 = 10.0;

/// What a symbol of the user scores for each byte but the first; all other scores are below zero.
const USER_SCORE_A_BYTE: f64 = 0.1;

/// A compiled SentencePiece model without its strings.
#[derive(Clone, Debug)]
pub(in crate::pipeline) struct PieceCutter {
    algorithm: PieceAlgorithm,
    types: Box<[PieceType]>,
    scores: Box<[f32]>,
    /// What text may become: normal, unused and the user's pieces. For Unigram alone.
    trie: ByteTrie,
    symbols: UserSymbols,
    unknown: TokenId,
    lowest: f32,
    /// The pieces `<0x00>` to `<0xFF>`, where byte fallback is on.
    bytes: Option<Box<[TokenId; 256]>>,
    longest: usize,
}

/// A part of the text and what it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) id: TokenId,
}

/// The best way to a place in the text.
#[derive(Clone, Copy)]
struct Arc {
    score: f32,
    start: u32,
    id: TokenId,
}

const NOWHERE: Arc = Arc { score: 0.0, start: u32::MAX, id: 0 };

impl PieceCutter {
    pub(in crate::pipeline) fn new(
        model: &PieceModel,
        vocabulary: &Vocabulary,
    ) -> Result<Self, BuildErrorKind> {
        let place = model.pieces.iter().position(|piece| piece.piece_type == PieceType::Unknown);
        let no_unknown = BuildErrorKind::Field {
            field: "pieces",
            found: "none".into(),
            expected: "one piece for what is unknown",
        };
        let normal = || model.pieces.iter().filter(|piece| piece.piece_type == PieceType::Normal);
        let is_text = |piece_type| model.algorithm == PieceAlgorithm::Unigram && is_text(piece_type);
        let byte = |byte: usize| vocabulary.id(&format!("<0x{byte:02X}>")).unwrap_or_default();
        Ok(Self {
            algorithm: model.algorithm,
            types: model.pieces.iter().map(|piece| piece.piece_type).collect(),
            scores: model.pieces.iter().map(|piece| piece.score).collect(),
            trie: trie_of(model, is_text),
            symbols: UserSymbols::new(model),
            unknown: place.ok_or(no_unknown)? as TokenId,
            lowest: normal().fold(f32::MAX, |lowest, piece| lowest.min(piece.score)),
            bytes: model.byte_fallback.then(|| Box::new(std::array::from_fn(byte))),
            longest: model.pieces.iter().map(|piece| piece.text.len()).max().unwrap_or_default(),
        })
    }

    pub(in crate::pipeline) fn append(&self, vocabulary: &Vocabulary, text: &str, out: &mut Vec<ModelToken>) {
        let found = match self.algorithm {
            PieceAlgorithm::Unigram => self.best_way(text),
            PieceAlgorithm::Bpe => merging::merged(self, vocabulary, text),
            PieceAlgorithm::Word => self.look_up(vocabulary, words(text)),
            PieceAlgorithm::Char => {
                let parts = self.symbols_and_characters(text).map(|(start, end, _)| (start, end));
                self.look_up(vocabulary, parts.map(|(start, end)| (start, &text[start..end])))
            }
        };
        let mut is_behind_unknown = false;
        for Found { start, end, id } in found {
            let is_unknown = id == self.unknown;
            match (is_unknown, &self.bytes) {
                (false, _) => out.push(ModelToken::new(id, start, end)),
                (true, Some(bytes)) => {
                    // The last byte stands for all of it, the others for nothing.
                    let ids = text.as_bytes()[start..end].iter().map(|&byte| bytes[usize::from(byte)]);
                    let spans = (start + 1..end).map(|_| (start, start)).chain([(start, end)]);
                    out.extend(ids.zip(spans).map(|(id, (from, to))| ModelToken::new(id, from, to)));
                }
                (true, None) => match out.last_mut() {
                    Some(last) if is_behind_unknown => last.span.1 = end,
                    _ => out.push(ModelToken { id, span: (start, end), is_literal: true }),
                },
            }
            is_behind_unknown = is_unknown;
        }
    }

    /// The piece of a string that merging made, and its score.
    pub(super) fn piece(&self, vocabulary: &Vocabulary, text: &str) -> Option<(TokenId, f32)> {
        let id = vocabulary.id(text).filter(|_| text.len() <= self.longest)?;
        is_text(self.types[id as usize]).then(|| (id, self.scores[id as usize]))
    }

    /// The id of a string: that of a piece that text may become, else the unknown one.
    pub(super) fn id(&self, vocabulary: &Vocabulary, text: &str) -> TokenId {
        vocabulary.id(text).filter(|&id| is_text(self.types[id as usize])).unwrap_or(self.unknown)
    }

    pub(super) fn is_unused(&self, id: TokenId) -> bool {
        self.types[id as usize] == PieceType::Unused
    }

    /// Start and end of each symbol of the user and of each other character, and whether it is a symbol.
    pub(super) fn symbols_and_characters(&self, text: &str) -> impl Iterator<Item = (usize, usize, bool)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let rest = &text[at..];
            let c = rest.chars().next()?;
            let symbol = self.symbols.longest(rest);
            let start = at;
            at += symbol.unwrap_or(c.len_utf8());
            Some((start, at, symbol.is_some()))
        })
    }

    fn look_up<'a>(
        &self,
        vocabulary: &Vocabulary,
        parts: impl Iterator<Item = (usize, &'a str)>,
    ) -> Vec<Found> {
        let found = |(start, part): (usize, &str)| {
            let id = self.id(vocabulary, part);
            Found { start, end: start + part.len(), id: if self.is_unused(id) { self.unknown } else { id } }
        };
        parts.map(found).collect()
    }

    /// The segmentation of the highest score.
    fn best_way(&self, text: &str) -> Vec<Found> {
        let mut best = vec![NOWHERE; text.len() + 1];
        let unknown_score = self.lowest - UNKNOWN_PENALTY;
        for (start, c) in text.char_indices() {
            let so_far = best[start].score;
            let end_of_char = start + c.len_utf8();
            let mut is_piece = false;
            let mut node = self.trie.root();
            for (end, &byte) in (start + 1..).zip(&text.as_bytes()[start..]) {
                let Some(child) = self.trie.child(node, byte) else { break };
                node = child;
                let Some(place) = self.trie.exact(node).next() else { continue };
                let id = self.trie.ids()[place];
                let score = match self.types[id as usize] {
                    PieceType::Unused => continue,
                    PieceType::UserDefined => ((end - start - 1) as f64 * USER_SCORE_A_BYTE) as f32,
                    _ => self.scores[id as usize],
                };
                offer(&mut best[end], score + so_far, start, id);
                is_piece |= end == end_of_char;
            }
            if !is_piece {
                offer(&mut best[end_of_char], unknown_score + so_far, start, self.unknown);
            }
        }
        let (mut found, mut end) = (Vec::new(), text.len());
        while end > 0 {
            let Arc { start, id, .. } = best[end];
            found.push(Found { start: start as usize, end, id });
            end = start as usize;
        }
        found.reverse();
        found
    }
}

fn offer(best: &mut Arc, score: f32, start: usize, id: TokenId) {
    if best.start == NOWHERE.start || score > best.score {
        *best = Arc { score, start: start as u32, id };
    }
}

/// Whether text may become a piece of this type by its spelling.
fn is_text(piece_type: PieceType) -> bool {
    matches!(piece_type, PieceType::Normal | PieceType::UserDefined | PieceType::Unused)
}

/// A word starts at the start and at every mark.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut starts: Vec<usize> = text.match_indices(SPACE_MARK).map(|(at, _)| at).collect();
    if !text.is_empty() && starts.first() != Some(&0) {
        starts.insert(0, 0);
    }
    let ends: Vec<usize> = starts.iter().skip(1).copied().chain([text.len()]).collect();
    starts.into_iter().zip(ends).map(|(start, end)| (start, &text[start..end]))
}
