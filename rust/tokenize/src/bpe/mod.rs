//! Which tokens does byte pair encoding cut a pretoken into?
//!
//! A short pretoken is merged by looking through it again and again (`scan`, many at once in `rows`). For longer ones [`Bpe`] picks its engine by
//! what it measures of the vocabulary, never by a model's name: the linear engine unless very many tokens are prefixes of
//! one another, the heap otherwise. All give the same ids for every table. What only long pretokens need is made once
//! it pays.

mod chunks;
mod conflicts;
mod contexts;
mod cuts;
mod double_array;
mod heap;
mod joins;
mod linear;
mod merges;
mod pair_memo;
mod pairs;
mod prefixes;
mod rows;
mod scan;
mod seams;
mod splits;
mod stage;
mod symbols;
mod whole;
mod words;

pub use conflicts::Conflicts;
pub use merges::MergeTable;

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use heap::HeapScratch;
use rows::MAX_ROW_BYTES;
use stage::{Stage, StageScratch};
use symbols::InitialSymbols;
use tokenloom_vocab::{TokenId, TokenList, TokenTable};
use whole::WholePieces;
use words::{Words, WordsScratch};

use crate::cache::{Key, MAX_KEY_BYTES, Missed};
use crate::spec::{Merge, Ranks, Symbols};
use crate::{BuildErrorKind, Text};

/// How pretokens become ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Engine {
    /// Backtracking over longest matches with pair validity.
    Linear,
    /// The definition: a heap of merges.
    Heap,
    /// The definition: the smallest rank is looked for again and again. Short pretokens only; longer ones go to the heap.
    Scan,
}

/// A byte pair encoding model.
#[derive(Clone, Debug)]
pub struct Bpe {
    table: TokenTable,
    /// Where merges are all splits, made when they pay.
    lookups: OnceLock<Lookups>,
    /// How many pretokens were merged without.
    n_by_bytes: Arc<AtomicUsize>,
    symbols: InitialSymbols,
    ignore_merges: bool,
    /// All merges.
    all: Stage,
    words: OnceLock<Arc<Words>>,
    /// Instead of what measuring says.
    engine: Option<Engine>,
}

/// What is asked of most pretokens that were not seen before.
#[derive(Clone, Debug)]
struct Lookups {
    merges: MergeTable,
    whole: WholePieces,
}

impl Lookups {
    fn of_splits(table: &TokenTable) -> Self {
        let whole = WholePieces::new(table, |_| true);
        Self { merges: MergeTable::of_splits(&splits::splits(table, &whole)), whole }
    }
}

/// Every split of every token, as [`Ranks::Splits`] means it; of none where the tokens are no vocabulary.
pub(crate) fn splits_of(tokens: &TokenList) -> Vec<Merge> {
    let splits = |table| splits::splits(&table, &WholePieces::new(&table, |_| true));
    TokenTable::new(tokens.iter()).map(splits).unwrap_or_default()
}

/// Reusable memory of [`Bpe::encode_piece`].
#[derive(Clone, Debug, Default)]
pub struct BpeScratch {
    all: StageScratch,
    words: Option<Box<WordsScratch>>,
}

impl Bpe {
    /// So many pretokens are merged by their bytes before all splits are worth their time,
    const MAX_BY_BYTES: usize = 256;
    /// unless one is longer.
    const MAX_JOINED_BYTES: usize = 128;

    /// Builds the model over the tokens of `table`. Of [`Ranks::Splits`] `merges` are not looked at.
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
        let lookups = match ranks {
            Ranks::Splits if symbols.are_all_bytes() => OnceLock::new(),
            Ranks::Splits => return Err(BuildErrorKind::Ranks { index: 0 }),
            _ => {
                let merges = MergeTable::new(merges, ranks, &table)?;
                OnceLock::from(Lookups { merges, whole: WholePieces::new(&table, |_| true) })
            }
        };
        let all = Stage::new(Stage::ALL, table.id_bound());
        let (n_by_bytes, words) = (Arc::default(), OnceLock::new());
        Ok(Self { table, lookups, n_by_bytes, symbols, ignore_merges, all, words, engine: None })
    }

    #[inline]
    fn lookups(&self) -> &Lookups {
        self.lookups.get_or_init(|| Lookups::of_splits(&self.table))
    }

    #[inline]
    fn whole(&self) -> &WholePieces {
        &self.lookups().whole
    }

    /// Whether few pretokens were merged yet, and the merges are not known.
    #[inline]
    fn merges_by_bytes(&self) -> bool {
        self.lookups.get().is_none()
            && self.engine.is_none()
            && self.n_by_bytes.load(Ordering::Relaxed) < Self::MAX_BY_BYTES
    }

    /// The same model with another engine: same ids, other speed.
    #[must_use]
    pub fn with_engine(mut self, engine: Engine) -> Self {
        self.engine = Some(engine);
        self
    }

    /// The same model whose long pretokens are cut by what the merges of ranks below `limit` can cross: same ids, other
    /// speed.
    #[must_use]
    pub fn with_transition(mut self, limit: u32) -> Self {
        self.words = OnceLock::from(Arc::new(self.words_below(limit)));
        self
    }

    /// The engine of long pretokens that have no cuts.
    pub fn engine(&self) -> Engine {
        self.engine.unwrap_or_else(|| self.long(&self.all).engine)
    }

    /// The tokens of the model.
    pub fn table(&self) -> &TokenTable {
        &self.table
    }

    /// The merges of the model.
    pub fn merges(&self) -> &MergeTable {
        &self.lookups().merges
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

    /// Ids among which all of these are.
    pub(crate) fn fallback_ids(&self) -> RangeInclusive<TokenId> {
        self.symbols.fallback_ids()
    }

    /// Whether some byte has no token and is left out of texts.
    pub fn leaves_out_bytes(&self) -> bool {
        self.symbols.leaves_out_bytes()
    }

    /// Whether merging ever produces `id`: its own bytes encode to it.
    pub fn is_reachable(&self, id: TokenId) -> bool {
        self.long(&self.all).derivations.is_reachable(id)
    }

    /// The two tokens that encoding the bytes of `id` merges last; `None` for a single byte and for a token that
    /// merging never produces.
    pub fn split_of(&self, id: TokenId) -> Option<(TokenId, TokenId)> {
        self.long(&self.all).derivations.split_of(id)
    }

    /// Whether merging leaves `left` and `right` as they are where they are adjacent in one pretoken. `false` if
    /// either is unreachable. O(spine); the few pairs that the spines leave open cost a run over their bytes.
    #[inline]
    pub fn is_valid_pair(&self, left: TokenId, right: TokenId) -> bool {
        let derivations = &self.long(&self.all).derivations;
        derivations.is_reachable(left)
            && derivations.is_reachable(right)
            && self.are_neighbours(&self.all, derivations, left, right)
    }

    /// Asks for the memory in which [`Bpe::encode_piece`] looks for a pretoken of at most 15 bytes.
    #[inline]
    pub(crate) fn prefetch(&self, key: Key) {
        if let Some(lookups) = self.lookups.get() {
            lookups.whole.prefetch(key);
        }
    }

    /// Whether the piece becomes the token of its bytes, whatever merging does.
    fn is_whole_first(&self, piece: &[u8]) -> bool {
        self.ignore_merges && self.table.id(piece).is_some()
    }

    /// Whether [`Bpe::encode_side_by_side`] may make of a piece that is too long for a key what [`Bpe::encode_piece`] makes of it.
    pub(crate) fn can_encode_side_by_side(&self, piece: &[u8]) -> bool {
        self.engine.is_none() && self.symbols.fit(piece, MAX_ROW_BYTES) && !self.is_whole_first(piece)
    }

    /// Encodes those of `missed` of which nothing is known, and calls `done` with each and its ids. Those that need another
    /// engine are passed over.
    pub(crate) fn encode_side_by_side(
        &self,
        text: Text<'_>,
        missed: &mut [Missed],
        scratch: &mut BpeScratch,
        done: impl FnMut(&mut Missed, &[TokenId]),
    ) {
        if self.engine.is_none() && !self.merges_by_bytes() {
            self.merge_side_by_side(&self.all, text, missed, self.ignore_merges, &mut scratch.all, done);
        }
    }

    /// Appends the ids of one pretoken to `out`. Bytes without a token are left out.
    pub fn encode_piece(&self, piece: &[u8], out: &mut Vec<TokenId>, scratch: &mut BpeScratch) {
        if piece.is_empty() {
            return;
        }
        if self.merges_by_bytes() && piece.len() <= Self::MAX_JOINED_BYTES {
            return self.encode_by_bytes(piece, out);
        }
        // A long pretoken that is a token is the first thing that the engine of long ones tries.
        let whole = match self.whole().get(piece) {
            Ok(whole) => whole,
            Err(_) if self.ignore_merges => self.table.id(piece),
            Err(_) => None,
        };
        if let Some(id) = whole
            && (self.ignore_merges || self.is_produced(&self.all, id))
        {
            out.push(id);
            return;
        }
        self.merge_piece(piece, out, scratch);
    }

    /// The same as long as [`Bpe::merges_by_bytes`].
    fn encode_by_bytes(&self, piece: &[u8], out: &mut Vec<TokenId>) {
        match self.table.id(piece) {
            Some(id) if self.ignore_merges => out.push(id),
            _ => {
                self.n_by_bytes.fetch_add(1, Ordering::Relaxed);
                joins::merge(&self.table, piece, out);
            }
        }
    }

    /// The same with dropout, without the look-up of the whole; `drops` is asked as in [`heap::merge_some`].
    pub(crate) fn encode_dropping(
        &self,
        piece: &[u8],
        out: &mut Vec<TokenId>,
        scratch: &mut BpeScratch,
        drops: impl FnMut(Option<TokenId>) -> bool,
    ) {
        self.symbols.for_each(piece, |id| scratch.all.heap.push(id));
        heap::merge_some(self.merges().below(Stage::ALL), &mut scratch.all.heap, drops, |id| out.push(id));
    }

    /// What merging alone makes of a piece, without the look-up of the whole. Bytes without a token are left out.
    pub(crate) fn merge_piece(&self, piece: &[u8], out: &mut Vec<TokenId>, scratch: &mut BpeScratch) {
        if self.engine.is_none() && piece.len() > MAX_KEY_BYTES {
            let words = self.words();
            if words.can_cut(piece) {
                let whole = 0..piece.len();
                return self.merge_words(words, piece, std::slice::from_ref(&whole), out, scratch);
            }
        }
        self.merge_within(&self.all, piece, out, &mut scratch.all);
    }
}
