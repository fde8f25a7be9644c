//! How much mass does a row of the model give to each byte?
//!
//! A row is read once: checked, exponentiated, and summed by first byte. What lies below a byte is gathered in the
//! order of the trie only when that byte comes, so most of a row is never sorted. Sums are plain sums of float64
//! probabilities, over slices of the sorted order: nothing cancels, as it would with differences of prefix sums.
//!
//! Rows whose log-probabilities spread over more than [`DEPTH`] do not fit float64 as probabilities. They stay
//! logarithms, and their sums are taken relative to the maximum of each slice.
//!
//! Cost: one pass over the row; then the tokens below the byte that was pushed.

use tokenloom_vocab::{ByteTrie, TokenId, TrieNode};

use super::law::contains;
use crate::wide::wide;

/// Natural logarithms further apart than this are not added as probabilities: `e^-690` is a normal number.
const DEPTH: f64 = 690.0;

/// A row of the model, of tokens that may follow.
#[derive(Debug)]
pub(super) struct Row {
    order: Order,
    /// `e^(log_prob - shift)`, 0 for tokens that may not follow; logarithms in a deep row.
    values: Vec<f64>,
    shift: f64,
    is_deep: bool,
    /// Log-probability of all added tokens together.
    pub(super) symbols: f64,
    /// By first byte, where all tokens are below.
    by_first: Option<Box<[f64; 256]>>,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    ById,
    /// From this position of the trie.
    From(usize),
}

impl Row {
    /// Reads a row: natural log-probabilities by id.
    pub(super) fn new(
        first_bytes: &[u8],
        symbols: &[TokenId],
        row: &[f64],
        allowed: &[u64],
    ) -> Result<Self, (TokenId, &'static str)> {
        let Extent { max, min, is_bad } = extent(row);
        if is_bad {
            let bad = |value: &f64| value.is_nan() || *value == f64::INFINITY;
            let id = row.iter().position(bad).unwrap_or(0);
            return Err((id as TokenId, if row[id].is_nan() { "NaN" } else { "inf" }));
        }
        let n_ids = first_bytes.len();
        let symbols = log_sum_exp(symbols.iter().map(|&id| row[id as usize]));
        let is_deep = max == f64::NEG_INFINITY || max - min > DEPTH;
        if is_deep {
            let value = |(id, &value): (usize, &f64)| {
                if contains(allowed, id as TokenId) { value } else { f64::NEG_INFINITY }
            };
            let values = row[..n_ids].iter().enumerate().map(value).collect();
            return Ok(Self { order: Order::ById, values, shift: 0.0, is_deep, symbols, by_first: None });
        }
        let mut values = vec![0.0; n_ids];
        exponentials(&row[..n_ids], max, allowed, &mut values);
        let mut sums = [[0.0; 256]; 4];
        for (values, firsts) in values.chunks(4).zip(first_bytes.chunks(4)) {
            for (at, (&value, &first)) in values.iter().zip(firsts).enumerate() {
                sums[at][usize::from(first)] += value;
            }
        }
        let by_first = Box::new(std::array::from_fn(|byte| {
            (sums[0][byte] + sums[1][byte]) + (sums[2][byte] + sums[3][byte])
        }));
        Ok(Self { order: Order::ById, values, shift: max, is_deep, symbols, by_first: Some(by_first) })
    }

    /// The row for the tokens of `node` alone, in their order.
    pub(super) fn narrowed(&self, trie: &ByteTrie, node: TrieNode) -> Self {
        let values = match self.order {
            Order::ById => trie.ids()[node.range()].iter().map(|&id| self.values[id as usize]).collect(),
            Order::From(lo) => self.values[node.lo as usize - lo..node.hi as usize - lo].to_vec(),
        };
        let order = Order::From(node.lo as usize);
        Self { order, values, by_first: None, ..*self }
    }

    /// Whether [`Row::narrowed`] would be much smaller.
    pub(super) fn is_wide_for(&self, node: TrieNode) -> bool {
        matches!(self.order, Order::ById) || self.values.len() > 4 * node.range().len() + 64
    }

    /// Whether every token of the vocabulary is in it.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.order, Order::ById)
    }

    fn value(&self, trie: &ByteTrie, position: usize) -> f64 {
        match self.order {
            Order::ById => self.values[trie.ids()[position] as usize],
            Order::From(lo) => self.values[position - lo],
        }
    }

    fn impossible(&self) -> f64 {
        if self.is_deep { f64::NEG_INFINITY } else { 0.0 }
    }

    /// The natural log-probability of the token at a position of the trie.
    pub(super) fn log_prob(&self, trie: &ByteTrie, position: usize) -> f64 {
        let value = self.value(trie, position);
        if self.is_deep { value } else { self.shift + value.ln() }
    }

    /// Whether some token of the node has mass.
    pub(super) fn has_mass(&self, trie: &ByteTrie, node: TrieNode) -> bool {
        node.range().any(|position| self.value(trie, position) > self.impossible())
    }

    /// The log mass of the tokens between two positions.
    pub(super) fn mass(&self, trie: &ByteTrie, positions: std::ops::Range<usize>) -> f64 {
        let sum = match self.order {
            Order::From(lo) if !self.is_deep => sum(&self.values[positions.start - lo..positions.end - lo]),
            _ if self.is_deep => {
                return log_sum_exp(positions.map(|position| self.value(trie, position)));
            }
            _ => positions.map(|position| self.value(trie, position)).sum(),
        };
        self.shift + sum.ln()
    }

    /// Calls `found` with the log mass of each byte that tokens of the node go on with.
    pub(super) fn each_byte(
        &self,
        trie: &ByteTrie,
        children: &[(u8, u32)],
        node: TrieNode,
        mut found: impl FnMut(u8, f64),
    ) {
        if node.depth == 0
            && let Some(sums) = &self.by_first
        {
            for (byte, &sum) in (0..=255).zip(sums.iter()) {
                if sum > 0.0 {
                    found(byte, self.shift + sum.ln());
                }
            }
            return;
        }
        for (at, &(byte, lo)) in children.iter().enumerate() {
            let hi = children.get(at + 1).map_or(node.hi, |&(_, hi)| hi);
            let mass = self.mass(trie, lo as usize..hi as usize);
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

wide! {
    fn exponentials(row: &[f64], max: f64, allowed: &[u64], out: &mut [f64]) {
        for ((row, out), &word) in row.chunks(64).zip(out.chunks_mut(64)).zip(allowed) {
            if word == 0 {
                continue;
            }
            for (value, out) in row.iter().zip(out.iter_mut()) {
                *out = exponential(value - max);
            }
            if word != u64::MAX {
                for (at, out) in out.iter_mut().enumerate() {
                    *out = if word >> at & 1 == 1 { *out } else { 0.0 };
                }
            }
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
        let row: Vec<f64> = (0..150).map(|at| -f64::from(at)).collect();
        let mut out = vec![0.0; 150];
        exponentials(&row, 0.0, &[u64::MAX, 0, 1 << 3], &mut out);
        let n_positive = out.iter().filter(|&&value| value > 0.0).count();
        assert_eq!((n_positive, out[63] > 0.0, out[131] > 0.0), (65, true, true));
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
