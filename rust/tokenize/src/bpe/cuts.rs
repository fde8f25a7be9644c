//! Where may a text be cut so that its parts are encoded by themselves?
//!
//! Between two bytes that stand side by side inside no token that merging starts from or makes: no merge can ever cross there. One bit
//! for each pair of bytes is all there is to know, and it holds for any merge table. In SentencePiece vocabularies most
//! cuts lie before a space, so a text without pretokens falls into words.

use super::MergeTable;
use super::symbols::InitialSymbols;
use tokenloom_vocab::TokenTable;

/// The pairs of bytes that some token has side by side.
#[derive(Clone, Debug)]
pub(crate) struct Cuts {
    inside: Box<[u64; 1024]>,
}

impl Cuts {
    /// Of the first symbols and the tokens that some merge makes. A byte that is left out of the text separates nothing.
    pub(crate) fn new(table: &TokenTable, merges: &MergeTable, symbols: &InitialSymbols) -> Self {
        let mut inside = Box::new([0; 1024]);
        for byte in (0..=255).filter(|&byte| symbols.of_byte(byte).is_none()) {
            for other in 0..=255 {
                for pair in [[byte, other], [other, byte]] {
                    let pair = usize::from(u16::from_be_bytes(pair));
                    inside[pair / 64] |= 1 << (pair % 64);
                }
            }
        }
        let mut is_made = vec![false; table.id_bound()];
        merges.iter().for_each(|(_, (_, result))| is_made[result as usize] = true);
        symbols.all(table).for_each(|id| is_made[id as usize] = true);
        for (_, bytes) in table.iter().filter(|&(id, _)| is_made[id as usize]) {
            for pair in bytes.windows(2) {
                let pair = usize::from(u16::from_be_bytes([pair[0], pair[1]]));
                inside[pair / 64] |= 1 << (pair % 64);
            }
        }
        Self { inside }
    }

    /// The first cut inside `bytes`.
    #[inline]
    pub(crate) fn first(&self, bytes: &[u8]) -> Option<usize> {
        let is_cut = |pair: &[u8]| {
            let pair = usize::from(u16::from_be_bytes([pair[0], pair[1]]));
            self.inside[pair / 64] >> (pair % 64) & 1 == 0
        };
        bytes.windows(2).position(is_cut).map(|at| at + 1)
    }
}
