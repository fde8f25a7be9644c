//! How much mass does a row of the model give to each byte?
//!
//! A row is read once: checked, and exponentiated in the order of the trie. From then on every node of the trie is a
//! slice. Sums are plain sums of float64 probabilities over slices: nothing cancels, as it would with differences of
//! prefix sums. Of a row that is needed below a node, only the tokens below are exponentiated.
//!
//! Rows whose log-probabilities spread over more than [`DEPTH`] do not fit float64 as probabilities. They stay
//! logarithms, and their sums are taken relative to the maximum of each slice.
//!
//! Cost: one pass over the row; then the tokens below the bytes that were pushed.

use tokenloom_vocab::{ByteTrie, TokenId, TrieNode};

use super::law::contains;
use crate::wide::wide;

/// Natural logarithms further apart than this are not added as probabilities: `e^-690` is a normal number.
const DEPTH: f64 = 690.0;

/// A log-probability above this is no rounding error: the row holds logits.
const ABOVE_ONE: f64 = 0.01;

/// A row of the model, for the tokens of a node of the trie.
#[derive(Debug)]
pub(super) struct Row {
    /// The position of the first value.
    lo: usize,
    /// By position: `e^(log_prob - shift)`, 0 for tokens that may not follow; logarithms in a deep row.
    values: Vec<f64>,
    shift: f64,
    is_deep: bool,
    /// Log-probability of all added tokens together.
    pub(super) symbols: f64,
}

impl Row {
    /// Reads a row, natural log-probabilities by id, for the tokens of `node` that are `allowed`.
    pub(super) fn new(
        trie: &ByteTrie,
        node: TrieNode,
        symbols: &[TokenId],
        row: &[f64],
        allowed: Option<&[u64]>,
    ) -> Result<Self, (TokenId, &'static str)> {
        let Extent { max, min, is_bad } = extent(row);
        if is_bad || max > ABOVE_ONE {
            let bad = |value: &f64| value.is_nan() || *value > ABOVE_ONE;
            let id = row.iter().position(bad).unwrap_or(0);
            let found = match row[id] {
                f64::INFINITY => "inf",
                value if value.is_nan() => "NaN",
                _ => "more than 0",
            };
            return Err((id as TokenId, found));
        }
        let symbols = log_sum_exp(symbols.iter().map(|&id| row[id as usize]));
        let is_deep = max == f64::NEG_INFINITY || max - min > DEPTH;
        let ids = &trie.ids()[node.range()];
        let mut values = vec![0.0; ids.len()];
        gather(row, ids, &mut values);
        if let Some(allowed) = allowed {
            let forbidden = |(&id, value): (&TokenId, &mut f64)| {
                *value = if contains(allowed, id) { *value } else { f64::NEG_INFINITY };
            };
            ids.iter().zip(&mut values).for_each(forbidden);
        }
        let shift = if is_deep { 0.0 } else { max };
        if !is_deep {
            exponentials(&mut values, max);
        }
        Ok(Self { lo: node.lo as usize, values, shift, is_deep, symbols })
    }

    fn slice(&self, positions: std::ops::Range<usize>) -> &[f64] {
        &self.values[positions.start - self.lo..positions.end - self.lo]
    }

    /// The row for the tokens of `node` alone.
    pub(super) fn narrowed(&self, node: TrieNode) -> Self {
        Self { lo: node.lo as usize, values: self.slice(node.range()).to_vec(), ..*self }
    }

    /// Whether [`Row::narrowed`] would be much smaller.
    pub(super) fn is_wide_for(&self, node: TrieNode) -> bool {
        self.values.len() > 4 * node.range().len() + 64
    }

    /// How many tokens it holds.
    pub(super) fn n_tokens(&self) -> usize {
        self.values.len()
    }

    /// The natural log-probability of the token at a position of the trie.
    pub(super) fn log_prob(&self, position: usize) -> f64 {
        let value = self.values[position - self.lo];
        if self.is_deep { value } else { self.shift + value.ln() }
    }

    /// Whether some token of the node has mass.
    pub(super) fn has_mass(&self, node: TrieNode) -> bool {
        let impossible = if self.is_deep { f64::NEG_INFINITY } else { 0.0 };
        self.slice(node.range()).iter().any(|&value| value > impossible)
    }

    /// The log mass of the tokens between two positions.
    pub(super) fn mass(&self, positions: std::ops::Range<usize>) -> f64 {
        let values = self.slice(positions);
        if self.is_deep { log_sum_exp(values.iter().copied()) } else { self.shift + sum(values).ln() }
    }

    /// Calls `found` with the log mass of each byte that tokens of the node go on with.
    pub(super) fn each_byte(&self, children: &[(u8, u32)], node: TrieNode, mut found: impl FnMut(u8, f64)) {
        for (at, &(byte, lo)) in children.iter().enumerate() {
            let hi = children.get(at + 1).map_or(node.hi, |&(_, hi)| hi);
            let mass = self.mass(lo as usize..hi as usize);
            if mass > f64::NEG_INFINITY {
                found(byte, mass);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Extent {
    max: f64,
    /// Of the values that are finite.
    min: f64,
    /// NaN or a positive infinity is among them.
    is_bad: bool,
}

wide! {
    fn extent(row: &[f64]) -> Extent {
        const N: usize = 16;
        let (mut max, mut min, mut bad) = ([f64::NEG_INFINITY; N], [f64::INFINITY; N], [0_u64; N]);
        let mut see = |at: usize, value: f64| {
            max[at] = if value > max[at] { value } else { max[at] };
            let finite = if value > f64::NEG_INFINITY { value } else { f64::INFINITY };
            min[at] = if finite < min[at] { finite } else { min[at] };
            bad[at] |= u64::from(value.is_nan() || value == f64::INFINITY);
        };
        let (blocks, rest) = row.as_chunks::<N>();
        for block in blocks {
            block.iter().enumerate().for_each(|(at, &value)| see(at, value));
        }
        rest.iter().enumerate().for_each(|(at, &value)| see(at, value));
        Extent {
            max: max.into_iter().fold(f64::NEG_INFINITY, f64::max),
            min: min.into_iter().fold(f64::INFINITY, f64::min),
            is_bad: bad.into_iter().any(|bad| bad > 0),
        }
    }
}

/// `e^x` for `x` between -700 and 0, to a relative error below 3e-16; 0 for minus infinity.
#[inline(always)]
pub(super) fn exponential(x: f64) -> f64 {
    const ROUNDER: f64 = 6_755_399_441_055_744.0;
    const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let shifted = x.mul_add(std::f64::consts::LOG2_E, ROUNDER);
    let n = shifted - ROUNDER;
    let r = n.mul_add(-LN_2_HIGH, x);
    let r = n.mul_add(-LN_2_LOW, r);
    let mut q = 1.0 / 6_227_020_800.0;
    q = r.mul_add(q, 1.0 / 479_001_600.0);
    q = r.mul_add(q, 1.0 / 39_916_800.0);
    q = r.mul_add(q, 1.0 / 3_628_800.0);
    q = r.mul_add(q, 1.0 / 362_880.0);
    q = r.mul_add(q, 1.0 / 40_320.0);
    q = r.mul_add(q, 1.0 / 5_040.0);
    q = r.mul_add(q, 1.0 / 720.0);
    q = r.mul_add(q, 1.0 / 120.0);
    q = r.mul_add(q, 1.0 / 24.0);
    q = r.mul_add(q, 1.0 / 6.0);
    q = r.mul_add(q, 0.5);
    let fraction = (r * r).mul_add(q, r) + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(ROUNDER.to_bits());
    let scaled = f64::from_bits(fraction.to_bits().wrapping_add(exponent << 52));
    if x > f64::NEG_INFINITY { scaled } else { 0.0 }
}

/// `values[k]` becomes `row[ids[k]]`. Loads that do not wait for each other.
fn gather(row: &[f64], ids: &[TokenId], values: &mut [f64]) {
    for (value, &id) in values.iter_mut().zip(ids) {
        *value = row[id as usize];
    }
}

wide! {
    fn exponentials(values: &mut [f64], max: f64) {
        for value in values.iter_mut() {
            *value = exponential(*value - max);
        }
    }
}

wide! {
    fn sum(values: &[f64]) -> f64 {
        let (blocks, rest) = values.as_chunks::<8>();
        let mut sums = [0.0; 8];
        for block in blocks {
            sums.iter_mut().zip(block).for_each(|(sum, value)| *sum += value);
        }
        sums.iter().sum::<f64>() + rest.iter().sum::<f64>()
    }
}

pub(super) fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let maximum = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if maximum == f64::NEG_INFINITY {
        return maximum;
    }
    maximum + values.map(|value| (value - maximum).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_close_and_impossible_tokens_stay_so() {
        for step in 0..100_000 {
            let x = -f64::from(step) * DEPTH / 100_000.0;
            let (found, expected) = (exponential(x), x.exp());
            assert!((found / expected - 1.0).abs() < 4e-16, "{x}: {found} for {expected}");
        }
        assert_eq!(exponential(f64::NEG_INFINITY), 0.0);
    }

    #[test]
    fn rows_hold_what_is_allowed_in_the_order_of_the_trie() {
        let tokens: [(TokenId, &[u8]); 4] = [(0, b"b"), (1, b"ab"), (2, b"a"), (3, b"c")];
        let trie = ByteTrie::new(tokens);
        let row = [0.1_f64, 0.2, 0.3, 0.4].map(f64::ln);
        let below = trie.find(b"a").unwrap();
        for deep in [0.0, -2000.0] {
            let mut row = row.to_vec();
            row.push(deep);
            let whole = Row::new(&trie, trie.root(), &[], &row, Some(&[0b1011])).unwrap();
            assert_eq!((whole.n_tokens(), whole.log_prob(0)), (4, f64::NEG_INFINITY));
            assert!((whole.mass(0..4).exp() - 0.7).abs() < 1e-15);
            let part = Row::new(&trie, below, &[], &row, None).unwrap();
            assert!((part.mass(below.range()).exp() - 0.5).abs() < 1e-15);
            assert_eq!(whole.narrowed(below).log_prob(1), part.log_prob(1));
        }
    }

    #[test]
    fn extents_see_every_place() {
        for at in 0..40 {
            let mut row = vec![-3.0; 40];
            row[at] = f64::NEG_INFINITY;
            let found = extent(&row);
            assert_eq!((found.max, found.min, found.is_bad), (-3.0, -3.0, false));
            for bad in [f64::NAN, f64::INFINITY] {
                row[at] = bad;
                assert!(extent(&row).is_bad);
            }
        }
    }
}
