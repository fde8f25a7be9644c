//! Which two tokens merge, and when?
//!
//! One hash table from `(left, right)` to `(rank, result)`. A file may list several merges for one result (every way
//! to cut it), ranks need not follow ids, and a part may itself be made by a later merge; nothing here assumes
//! otherwise. Of two entries for one pair the later one counts, as in Hugging Face `tokenizers`.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use tokenloom_vocab::{Rank, TokenId, TokenTable};

use crate::BuildErrorKind;
use crate::spec::{Merge, Ranks};

/// The merges of a model, looked up by their two parts.
#[derive(Clone, Debug, Default)]
pub struct MergeTable {
    by_pair: HashMap<u64, (Rank, TokenId), FxBuildHasher>,
}

fn key(left: TokenId, right: TokenId) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

impl MergeTable {
    /// The largest number of merges: ranks and one more than a rank fit 32 bits.
    pub const MAX_MERGES: usize = (1 << 31) - 1;

    /// Builds the table and checks every merge against the token bytes. Merges that share a rank have that
    /// of the first of them.
    ///
    /// # Errors
    /// [`BuildErrorKind::UnknownMergeToken`], [`BuildErrorKind::MergeBytes`], [`BuildErrorKind::Ranks`], [`BuildErrorKind::TooManyMerges`].
    pub fn new(merges: &[Merge], ranks: &Ranks, table: &TokenTable) -> Result<Self, BuildErrorKind> {
        if merges.len() > Self::MAX_MERGES {
            return Err(BuildErrorKind::TooManyMerges { n_merges: merges.len(), limit: Self::MAX_MERGES });
        }
        let mut by_pair = HashMap::with_capacity_and_hasher(merges.len(), FxBuildHasher);
        let mut rank_of_result: HashMap<TokenId, Rank, FxBuildHasher> = HashMap::default();
        let mut last_group: Option<(u32, Rank)> = None;
        for (index, &Merge { left, right, result }) in merges.iter().enumerate() {
            let bytes = |id| table.bytes(id).ok_or(BuildErrorKind::UnknownMergeToken { index, id });
            let (a, b, joined) = (bytes(left)?, bytes(right)?, bytes(result)?);
            let (head, tail) = joined.split_at_checked(a.len()).unwrap_or((&[], &[]));
            if a.is_empty() || b.is_empty() || head != a || tail != b {
                return Err(BuildErrorKind::MergeBytes { index, left, right, result });
            }
            let rank = Rank(index as u32);
            let rank = match ranks {
                Ranks::ByPlace => rank,
                Ranks::ByResult => *rank_of_result.entry(result).or_insert(rank),
                Ranks::Given(given) => {
                    let group = *given.get(index).ok_or(BuildErrorKind::Ranks { index })?;
                    match last_group {
                        Some((last, _)) if last > group => return Err(BuildErrorKind::Ranks { index }),
                        Some((last, first)) if last == group => first,
                        _ => {
                            last_group = Some((group, rank));
                            rank
                        }
                    }
                }
            };
            by_pair.insert(key(left, right), (rank, result));
        }
        Ok(Self { by_pair })
    }

    /// The rank of the merge of `left` and `right`, and what they become.
    #[inline]
    pub fn get(&self, left: TokenId, right: TokenId) -> Option<(Rank, TokenId)> {
        self.by_pair.get(&key(left, right)).copied()
    }

    /// How many pairs merge.
    pub fn len(&self) -> usize {
        self.by_pair.len()
    }

    /// Whether no pair merges.
    pub fn is_empty(&self) -> bool {
        self.by_pair.is_empty()
    }

    /// All merges as `((left, right), (rank, result))`, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = ((TokenId, TokenId), (Rank, TokenId))> + '_ {
        self.by_pair.iter().map(|(&pair, &made)| (((pair >> 32) as TokenId, pair as TokenId), made))
    }
}
