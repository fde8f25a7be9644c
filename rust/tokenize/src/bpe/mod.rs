//! Which tokens does byte pair encoding cut a pretoken into?
//!
//! A short pretoken is merged by looking through it again and again (`scan`). For longer ones [`Bpe`] picks its engine by
//! what it measures of the vocabulary, never by a model's name: the linear engine unless very many tokens are prefixes of
//! one another, the heap otherwise. All give the same ids for every table. What only long pretokens need is made when the
//! first of them comes.

mod cuts;
mod double_array;
mod heap;
mod linear;
mod merges;
mod pair_memo;
mod pairs;
mod prefixes;
mod scan;
mod symbols;
mod whole;

pub use merges::MergeTable;

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use cuts::Cuts;
use heap::HeapScratch;
use pair_memo::PairMemo;
use pairs::{Derivations, Verdict};
use prefixes::Prefixes;
use scan::Row;
use symbols::InitialSymbols;
use tokenloom_vocab::{TokenId, TokenTable};
use whole::WholePieces;

use crate::BuildErrorKind;
use crate::cache::Key;
use crate::spec::{Merge, Ranks, Symbols};

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
    merges: MergeTable,
    whole: WholePieces,
    symbols: InitialSymbols,
    ignore_merges: bool,
    /// By id: whether the token is the encoding of its own bytes, once somebody asked.
    produced: Arc<[AtomicU8]>,
    cuts: OnceLock<Cuts>,
    long: OnceLock<Arc<Long>>,
    /// Instead of what measuring says.
    engine: Option<Engine>,
}

/// What long pretokens need.
#[derive(Debug)]
struct Long {
    derivations: Derivations,
    prefixes: Prefixes,
    engine: Engine,
}

/// Reusable memory of [`Bpe::encode_piece`].
#[derive(Clone, Debug, Default)]
pub struct BpeScratch {
    heap: HeapScratch,
    dead: linear::Dead,
    filtered: Vec<u8>,
    pairs: PairMemo,
}

impl Bpe {
    /// With more tokens than this starting at one position, the linear engine's bound is worse than the heap's.
    const MAX_CANDIDATES: usize = 256;
    /// Longer pieces are quicker in the engine of long ones, once that is made.
    const MAX_SCANNED_BYTES: usize = 12;

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
        let whole = WholePieces::new(&table, |_| true);
        let produced = (0..table.id_bound()).map(|_| AtomicU8::new(UNKNOWN)).collect();
        let (cuts, long) = (OnceLock::new(), OnceLock::new());
        Ok(Self { table, merges, whole, symbols, ignore_merges, produced, cuts, long, engine: None })
    }

    fn long(&self) -> &Long {
        self.long.get_or_init(|| {
            let derivations = Derivations::new(
                &self.table,
                &self.merges,
                self.symbols.all(&self.table),
                |bytes| match self.by_definition(&[bytes]) {
                    (ids, last) if ids.len() == 1 => last,
                    _ => None,
                },
            );
            let prefixes = Prefixes::new(&self.table, |id| derivations.is_reachable(id));
            let fits = prefixes.max_candidates() <= Self::MAX_CANDIDATES;
            let engine = if fits { Engine::Linear } else { Engine::Heap };
            Arc::new(Long { derivations, prefixes, engine })
        })
    }

    /// The same model with another engine: same ids, other speed.
    #[must_use]
    pub fn with_engine(mut self, engine: Engine) -> Self {
        self.engine = Some(engine);
        self
    }

    /// The engine of long pretokens.
    pub fn engine(&self) -> Engine {
        self.engine.unwrap_or_else(|| self.long().engine)
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

    /// Whether some byte has no token and is left out of texts.
    pub fn leaves_out_bytes(&self) -> bool {
        self.symbols.leaves_out_bytes()
    }

    /// Whether merging ever produces `id`: its own bytes encode to it.
    pub fn is_reachable(&self, id: TokenId) -> bool {
        self.long().derivations.is_reachable(id)
    }

    /// The two tokens that encoding the bytes of `id` merges last; `None` for a single byte and for a token that
    /// merging never produces.
    pub fn split_of(&self, id: TokenId) -> Option<(TokenId, TokenId)> {
        self.long().derivations.split_of(id)
    }

    /// Whether merging leaves `left` and `right` as they are where they are adjacent in one pretoken. `false` if
    /// either is unreachable. O(spine); the few pairs that the spines leave open cost a run over their bytes.
    #[inline]
    pub fn is_valid_pair(&self, left: TokenId, right: TokenId) -> bool {
        let derivations = &self.long().derivations;
        derivations.is_reachable(left)
            && derivations.is_reachable(right)
            && self.are_neighbours(derivations, left, right)
    }

    /// The same for reachable tokens.
    #[inline]
    fn are_neighbours(&self, derivations: &Derivations, left: TokenId, right: TokenId) -> bool {
        self.merges.get(left, right).is_none()
            && match derivations.spines_agree(left, right, &self.merges) {
                Verdict::Valid => true,
                Verdict::Invalid => false,
                Verdict::Open => self.are_neighbours_by_definition(left, right),
            }
    }

    #[cold]
    fn are_neighbours_by_definition(&self, left: TokenId, right: TokenId) -> bool {
        let bytes = |id| self.table.bytes(id).unwrap_or_default();
        self.by_definition(&[bytes(left), bytes(right)]).0 == [left, right]
    }

    /// The encoding of the joined parts, which are whole symbols each, and its last merge.
    fn by_definition(&self, parts: &[&[u8]]) -> (Vec<TokenId>, Option<(TokenId, TokenId)>) {
        if parts.iter().map(|part| part.len()).sum::<usize>() <= scan::MAX_SYMBOLS {
            let mut row = Row::new();
            parts.iter().for_each(|part| self.symbols.for_each(&self.table, part, |id| row.push(id)));
            let (ids, last) = row.merge_all(&self.merges);
            return (ids.to_vec(), last);
        }
        let (mut ids, mut heap) = (Vec::new(), HeapScratch::default());
        parts.iter().for_each(|part| self.symbols.for_each(&self.table, part, |id| heap.push(id)));
        let last = heap::merge_all(&self.merges, &mut heap, |id| ids.push(id));
        (ids, last)
    }

    /// The first place inside `piece` where it may be cut so that its parts become what they become together. None
    /// with `ignore_merges`, as a part may be a token that merging does not make.
    #[inline]
    pub(crate) fn first_cut(&self, piece: &[u8]) -> Option<usize> {
        if self.ignore_merges {
            return None;
        }
        self.cuts.get_or_init(|| Cuts::new(&self.table, &self.merges, &self.symbols)).first(piece)
    }

    /// Asks for the memory in which [`Bpe::encode_piece`] looks for a pretoken of at most 15 bytes.
    #[inline]
    pub(crate) fn prefetch(&self, key: Key) {
        self.whole.prefetch(key);
    }

    /// Appends the ids of one pretoken to `out`. Bytes without a token are left out.
    pub fn encode_piece(&self, piece: &[u8], out: &mut Vec<TokenId>, scratch: &mut BpeScratch) {
        if piece.is_empty() {
            return;
        }
        // A long pretoken that is a token is the first thing that the engine of long ones tries.
        let whole = match self.whole.get(piece) {
            Ok(whole) => whole,
            Err(_) if self.ignore_merges => self.table.id(piece),
            Err(_) => None,
        };
        if let Some(id) = whole
            && (self.ignore_merges || self.is_produced(id))
        {
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

    /// The same with dropout, without the look-up of the whole; `drops` is asked as in [`heap::merge_some`].
    pub(crate) fn encode_dropping(
        &self,
        piece: &[u8],
        out: &mut Vec<TokenId>,
        scratch: &mut BpeScratch,
        drops: impl FnMut(Option<TokenId>) -> bool,
    ) {
        self.symbols.for_each(&self.table, piece, |id| scratch.heap.push(id));
        heap::merge_some(&self.merges, &mut scratch.heap, drops, |id| out.push(id));
    }

    /// Whether the token is the encoding of its own bytes. Asked once, remembered for ever.
    #[inline]
    fn is_produced(&self, id: TokenId) -> bool {
        match self.produced[id as usize].load(Ordering::Relaxed) {
            UNKNOWN => self.find_out_produced(id),
            known => known == YES,
        }
    }

    #[cold]
    fn find_out_produced(&self, id: TokenId) -> bool {
        let is_produced = match self.long.get() {
            Some(long) => long.derivations.is_reachable(id),
            None => self.by_definition(&[self.table.bytes(id).unwrap_or_default()]).0 == [id],
        };
        // Whoever asks at the same time finds the same.
        self.produced[id as usize].store(if is_produced { YES } else { NO }, Ordering::Relaxed);
        is_produced
    }

    /// What merging alone makes of bytes that all have a token, without the look-up of the whole.
    pub(crate) fn merge_piece(&self, piece: &[u8], out: &mut Vec<TokenId>, scratch: &mut BpeScratch) {
        let scans = match self.engine {
            None if self.long.get().is_some() => piece.len() <= Self::MAX_SCANNED_BYTES,
            None | Some(Engine::Scan) => piece.len() <= scan::MAX_SYMBOLS,
            Some(_) => false,
        };
        if scans {
            let mut row = Row::new();
            self.symbols.for_each(&self.table, piece, |id| row.push(id));
            out.extend_from_slice(row.merge_all(&self.merges).0);
        // Positions in the heap are 32 bits.
        } else if self.engine() == Engine::Linear || piece.len() >= u32::MAX as usize {
            let Long { derivations, prefixes, .. } = self.long();
            linear::encode(
                (prefixes, derivations),
                piece,
                &mut scratch.dead,
                out,
                |left, right| {
                    scratch.pairs.look_up(left, right, || self.are_neighbours(derivations, left, right))
                },
                |byte| self.symbols.fallback(byte),
            );
        } else {
            self.symbols.for_each(&self.table, piece, |id| scratch.heap.push(id));
            heap::merge_all(&self.merges, &mut scratch.heap, |id| out.push(id));
        }
    }
}

/// Whether a token is the encoding of its own bytes.
const UNKNOWN: u8 = 0;
const YES: u8 = 1;
const NO: u8 = 2;
