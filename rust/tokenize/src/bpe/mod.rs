//! Which tokens does byte pair encoding cut a pretoken into?
//!
//! [`Bpe`] picks its engine by what it measures of the merge table when it is built, never by a model's name: the
//! linear engine unless the vocabulary could make it slow (very many tokens that are prefixes of one another, or many
//! irregular derivations), the heap otherwise. Both give the same ids for every table.

mod heap;
mod linear;
mod merges;
mod pairs;
mod prefixes;
mod symbols;
mod whole;

pub use merges::MergeTable;

use heap::HeapScratch;
use pairs::Derivations;
use prefixes::Prefixes;
use symbols::InitialSymbols;
use tokenloom_vocab::{TokenId, TokenTable};
use whole::WholePieces;

use crate::BuildErrorKind;
use crate::spec::{Merge, Ranks, Symbols};

/// How pretokens become ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Engine {
    /// Backtracking over longest matches with pair validity.
    Linear,
    /// The definition: a heap of merges.
    Heap,
}

/// A byte pair encoding model.
#[derive(Clone, Debug)]
pub struct Bpe {
    table: TokenTable,
    merges: MergeTable,
    derivations: Derivations,
    prefixes: Prefixes,
    whole: WholePieces,
    symbols: InitialSymbols,
    ignore_merges: bool,
    engine: Engine,
}

/// Reusable memory of [`Bpe::encode_piece`].
#[derive(Clone, Debug, Default)]
pub struct BpeScratch {
    heap: HeapScratch,
    dead: Vec<u64>,
    filtered: Vec<u8>,
}

impl Bpe {
    /// With more tokens than this starting at one position, the linear engine's bound is worse than the heap's.
    const MAX_CANDIDATES: usize = 256;

    /// Builds the model over the tokens of `table`.
    ///
    /// # Errors
    /// Those of [`MergeTable::new`], [`BuildErrorKind::ByteTokens`], [`BuildErrorKind::MergedByteToken`].
    pub fn new(
        table: TokenTable,
        symbols: &Symbols,
        merges: &[Merge],
        ranks: &Ranks,
        ignore_merges: bool,
    ) -> Result<Self, BuildErrorKind> {
        let symbols = InitialSymbols::new(symbols, &table, merges)?;
        let merges = MergeTable::new(merges, ranks, &table)?;
        let derivations = Derivations::new(&table, &merges, &symbols);
        let prefixes = Prefixes::new(&table, |id| derivations.is_reachable(id));
        let whole = WholePieces::new(&table, |id| ignore_merges || derivations.is_reachable(id));
        let regular = derivations.n_irregular * 64 <= table.n_tokens();
        let engine = if regular && prefixes.max_candidates() <= Self::MAX_CANDIDATES {
            Engine::Linear
        } else {
            Engine::Heap
        };
        Ok(Self { table, merges, derivations, prefixes, whole, symbols, ignore_merges, engine })
    }

    /// The same model with another engine: same ids, other speed.
    #[must_use]
    pub fn with_engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// The engine that was chosen.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// The tokens of the model.
    pub fn table(&self) -> &TokenTable {
        &self.table
    }

    /// The merges of the model.
    pub fn merges(&self) -> &MergeTable {
        &self.merges
    }

    /// Whether a pretoken that is a token as a whole becomes that token, reachable or not.
    pub fn ignore_merges(&self) -> bool {
        self.ignore_merges
    }

    /// The token that a byte without neighbours becomes.
    pub fn byte_id(&self, byte: u8) -> Option<TokenId> {
        self.symbols.of_byte(byte)
    }

    /// The token of a byte of a character that is no token, where merging starts from characters.
    pub fn fallback_id(&self, byte: u8) -> Option<TokenId> {
        self.symbols.fallback(byte)
    }

    /// Whether merging ever produces `id`: its own bytes encode to it.
    pub fn is_reachable(&self, id: TokenId) -> bool {
        self.derivations.is_reachable(id)
    }

    /// The two tokens that encoding the bytes of `id` merges last; `None` for a single byte and for a token that
    /// merging never produces.
    pub fn split_of(&self, id: TokenId) -> Option<(TokenId, TokenId)> {
        self.derivations.split_of(id)
    }

    /// Whether merging leaves `left` and `right` as they are where they are adjacent in one pretoken. `false` if
    /// either is unreachable. O(spine); pairs with an irregular token cost a heap run over their bytes.
    #[inline]
    pub fn is_valid_pair(&self, left: TokenId, right: TokenId) -> bool {
        if self.derivations.is_regular(left) && self.derivations.is_regular(right) {
            return self.merges.get(left, right).is_none()
                && self.derivations.spines_agree(left, right, &self.merges);
        }
        self.is_valid_irregular_pair(left, right)
    }

    #[cold]
    fn is_valid_irregular_pair(&self, left: TokenId, right: TokenId) -> bool {
        if !self.is_reachable(left) || !self.is_reachable(right) {
            return false;
        }
        let (Some(a), Some(b)) = (self.table.bytes(left), self.table.bytes(right)) else { return false };
        let mut encoded = Vec::new();
        let mut scratch = HeapScratch::default();
        self.symbols.for_each(&self.table, a, |id| scratch.push(id));
        self.symbols.for_each(&self.table, b, |id| scratch.push(id));
        heap::merge_all(&self.merges, &mut scratch, |id| encoded.push(id));
        encoded == [left, right]
    }

    /// Appends the ids of one pretoken to `out`. Bytes without a token are left out.
    pub fn encode_piece(&self, piece: &[u8], out: &mut Vec<TokenId>, scratch: &mut BpeScratch) {
        if piece.is_empty() {
            return;
        }
        let whole = self.whole.get(piece).unwrap_or_else(|_| {
            self.table.id(piece).filter(|&id| self.ignore_merges || self.is_reachable(id))
        });
        if let Some(id) = whole {
            out.push(id);
            return;
        }
        if self.symbols.leaves_out_bytes() && piece.iter().any(|&byte| self.byte_id(byte).is_none()) {
            let mut filtered = std::mem::take(&mut scratch.filtered);
            filtered.clear();
            filtered.extend(piece.iter().filter(|&&byte| self.byte_id(byte).is_some()));
            self.merge_piece(&filtered, out, scratch);
            scratch.filtered = filtered;
        } else {
            self.merge_piece(piece, out, scratch);
        }
    }

    /// What merging alone makes of bytes that all have a token, without the look-up of the whole.
    pub(crate) fn merge_piece(&self, piece: &[u8], out: &mut Vec<TokenId>, scratch: &mut BpeScratch) {
        // Positions in the heap are 32 bits.
        if self.engine == Engine::Linear || piece.len() >= u32::MAX as usize {
            linear::encode(self, piece, &mut scratch.dead, out);
        } else {
            self.symbols.for_each(&self.table, piece, |id| scratch.heap.push(id));
            heap::merge_all(&self.merges, &mut scratch.heap, |id| out.push(id));
        }
    }
}
