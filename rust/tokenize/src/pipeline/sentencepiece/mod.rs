//! How does SentencePiece turn text into pieces and back?
//!
//! A `.model` file is read here as the `sentencepiece` library reads it, step by step: its normalizer, its four ways to
//! cut text, and its decoder. They are not those of a `tokenizer.json`: the compiled map is walked by its longest key,
//! scores are 32 bits wide, symbols that the user defined are seen by the normalizer, too, and the first space of a text
//! is dropped by rules of its own. The machine around them is the one for all definitions.
//!
//! Compared with `sentencepiece` 0.2.3.
//!
//! Kudo and Richardson, "SentencePiece", EMNLP 2018.

mod cutter;
mod decoder;
mod merging;
mod normalizer;

pub(super) use cutter::PieceCutter;
pub(super) use decoder::{PieceDecoder, PieceState};
pub(super) use normalizer::PieceNormalizer;

use tokenloom_vocab::{ByteTrie, TokenId};

use super::definition::{PieceModel, PieceType};

/// What the library writes for a space.
const SPACE_MARK: &str = "\u{2581}";

/// The pieces of some types, to be found at the start of a text.
fn trie_of(model: &PieceModel, is_in: impl Fn(PieceType) -> bool) -> ByteTrie {
    let pieces = model.pieces.iter().zip(0..).filter(|(piece, _)| is_in(piece.piece_type));
    ByteTrie::new(pieces.map(|(piece, id): (_, TokenId)| (id, piece.text.as_bytes())))
}

/// The symbols that the user defined: none is ever cut or joined.
#[derive(Clone, Debug)]
struct UserSymbols(Option<ByteTrie>);

impl UserSymbols {
    fn new(model: &PieceModel) -> Self {
        let trie = trie_of(model, |piece_type| piece_type == PieceType::UserDefined);
        Self((!trie.is_empty()).then_some(trie))
    }

    /// The length of the longest symbol that `text` starts with.
    fn longest(&self, text: &str) -> Option<usize> {
        let trie = self.0.as_ref()?;
        let (mut node, mut longest) = (trie.root(), None);
        for (n_bytes, &byte) in (1..).zip(text.as_bytes()) {
            let Some(child) = trie.child(node, byte) else { break };
            node = child;
            if !trie.exact(node).is_empty() {
                longest = Some(n_bytes);
            }
        }
        longest
    }
}
