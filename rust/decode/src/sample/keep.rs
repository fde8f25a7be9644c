//! Which tokens may be drawn?
//!
//! Every rule but min-p keeps a prefix of some order: the tokens before which less than a limit has been seen, counting
//! ones (top-k), mass in order of logit (top-p), or mass in order of distance from the entropy (typical). So one cut does
//! all three. An order is a u64 with the key above the id: ties are cut exactly, to the smaller id, and the kernel in
//! `cuda/sample.cuh` compares the same integers. Masses are integers too (`math::mass`), so no sum depends on an order.
//!
//! Rules apply in the order of Hugging Face's processors, each to what the one before has left, renormalised: temperature,
//! top-k, top-p, min-p, typical. Where no values tie the sets are theirs; theirs keep all ties of the last token.
//!
//! A row is read, then only tokens that can still matter are listed: above the k-th best block maximum for top-k, above
//! `(1 - p) / 2` of the mean mass for top-p (all below it together hold less than `1 - p`). Selection is by
//! median-of-medians halving: linear in the listed tokens, whatever their values. Worst input: a flat row, where every
//! token is listed.
//!
//! Papers: top-k, Fan et al. 2018; top-p, Holtzman et al. 2020; typical, Meister et al. 2023; min-p, Nguyen et al. 2025.

use super::math::{MASS_BITS, exp_negative, mass};
use super::params::Params;
use super::row::Row;
use crate::wide::wide;

/// A logit and its token as one integer: better tokens are smaller, ties are in order of id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry(u64);

impl Entry {
    #[inline(always)]
    pub(super) fn new(logit: f32, token: u32) -> Self {
        // Adding zero makes -0.0 and 0.0 one value.
        let bits = (logit + 0.0).to_bits();
        let ascending = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        Self(u64::from(!ascending) << 32 | u64::from(token))
    }

    #[inline(always)]
    pub(super) fn token(self) -> u32 {
        self.0 as u32
    }

    #[inline(always)]
    pub(super) fn logit(self) -> f32 {
        let ascending = !((self.0 >> 32) as u32);
        f32::from_bits(if ascending >> 31 == 1 { ascending & !(1 << 31) } else { !ascending })
    }
}

/// What turns a logit into a weight: the best token of the row weighs one.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    pub(super) max: f32,
    pub(super) temperature: f32,
}

impl Scale {
    /// The logarithm of the weight. Subtracting before dividing neither overflows nor cancels.
    #[inline(always)]
    pub(super) fn log_weight(self, logit: f32) -> f32 {
        (logit - self.max) / self.temperature
    }

    #[inline(always)]
    pub(super) fn weight(self, logit: f32) -> f32 {
        exp_negative(self.log_weight(logit))
    }

    /// A logit that every token with at least this log-weight reaches, whatever the rounding.
    fn logit_bound(self, log_weight: f64) -> f32 {
        let slack = 1e-5 * (1.0 + log_weight.abs());
        let bound = f64::from(self.max) + f64::from(self.temperature) * (log_weight - slack);
        (bound as f32).next_down()
    }
}

/// The tokens a row may be drawn from.
pub(super) enum Kept {
    /// Every token above `-inf`.
    All,
    /// These, in no order.
    Listed(Vec<Entry>),
}

impl Kept {
    /// Apply the rules of `params` to a row.
    pub(super) fn new(row: &Row<'_>, scale: Scale, params: &Params) -> Self {
        let mut kept = Self::All;
        if let Some(k) = params.n_best(row.logits.len()) {
            kept = Self::Listed(top_k(row, k));
        }
        if params.top_p < 1.0 {
            kept = Self::Listed(kept.top_p(row, scale, params.top_p));
        }
        if params.min_p > 0.0 {
            kept = Self::Listed(kept.min_p(row, scale, params.min_p));
        }
        if params.typical_p < 1.0 {
            kept = Self::Listed(kept.typical_p(row, scale, params.typical_p));
        }
        kept
    }

    /// The kept tokens whose logit reaches `bound`; those that an earlier rule listed are few and stay.
    pub(super) fn into_entries(self, row: &Row<'_>, bound: f32) -> Vec<Entry> {
        match self {
            Self::Listed(entries) => entries,
            Self::All => {
                let mut entries = vec![];
                row.for_each_from(bound, |token, logit| entries.push(Entry::new(logit, token)));
                entries
            }
        }
    }

    /// The sum of the masses.
    pub(super) fn total_mass(&self, row: &Row<'_>, scale: Scale) -> u64 {
        match self {
            Self::All => total_mass(row.logits, scale),
            Self::Listed(entries) => entries.iter().map(|entry| mass(scale.weight(entry.logit()))).sum(),
        }
    }

    fn top_p(self, row: &Row<'_>, scale: Scale, top_p: f64) -> Vec<Entry> {
        let total = self.total_mass(row, scale) as f64;
        let mean = total / (1u64 << MASS_BITS) as f64 / row.logits.len() as f64;
        let bound = scale.logit_bound(((1.0 - top_p) / 2.0 * mean).ln());
        let mut entries = self.into_entries(row, if 1.0 - top_p > 1e-9 { bound } else { f32::NEG_INFINITY });
        cut_by_mass(&mut entries, top_p * total, |entry| mass(scale.weight(entry.logit())));
        entries
    }

    fn min_p(self, row: &Row<'_>, scale: Scale, min_p: f64) -> Vec<Entry> {
        let mut entries = self.into_entries(row, scale.logit_bound(min_p.ln()));
        entries.retain(|entry| scale.weight(entry.logit()) >= min_p as f32);
        entries
    }

    fn typical_p(self, row: &Row<'_>, scale: Scale, typical_p: f64) -> Vec<Entry> {
        let entries = self.into_entries(row, f32::NEG_INFINITY);
        let (mut total, mut surprise) = (0u64, 0u64);
        for entry in &entries {
            let weight = scale.weight(entry.logit());
            total += mass(weight);
            // At most 1/e, so it has a mass too.
            surprise += if weight > 0.0 { mass(weight * -scale.log_weight(entry.logit())) } else { 0 };
        }
        // -log p - H = -log_weight - (mean of -log_weight): the normaliser drops out.
        let center = (surprise as f64 / total as f64) as f32;
        let distance = |entry: &Entry| (-scale.log_weight(entry.logit()) - center).abs();
        let mut by_distance: Vec<u64> = entries
            .iter()
            .map(|entry| u64::from(distance(entry).to_bits()) << 32 | u64::from(entry.token()))
            .collect();
        let logit = |key: u64| row.logits[(key & 0xFFFF_FFFF) as usize];
        cut_by_mass(&mut by_distance, typical_p * total as f64, |key| mass(scale.weight(logit(key))));
        by_distance.into_iter().map(|key| Entry::new(logit(key), key as u32)).collect()
    }
}

/// The `k` best tokens, fewer if fewer are above `-inf`.
fn top_k(row: &Row<'_>, k: usize) -> Vec<Entry> {
    let mut bound = f32::NEG_INFINITY;
    if k <= row.maxima.len() {
        // k blocks reach the k-th best maximum, so at least k tokens do.
        let mut maxima = row.maxima.to_vec();
        bound = *maxima.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1;
    }
    let mut entries = Kept::All.into_entries(row, bound);
    if entries.len() > k {
        entries.select_nth_unstable(k - 1);
        entries.truncate(k);
    }
    entries
}

/// Keep the entries before which, in ascending order, there is less mass than `limit`; at least one.
fn cut_by_mass<T: Copy + Ord>(entries: &mut Vec<T>, limit: f64, mass: impl Fn(T) -> u64) {
    // Any entry with mass ends a limit of zero.
    let limit = limit.max(0.5);
    let (mut n_kept, mut n_open, mut before) = (0, entries.len(), 0u64);
    while n_kept < n_open {
        let middle = n_kept + (n_open - n_kept) / 2;
        entries[n_kept..n_open].select_nth_unstable(middle - n_kept);
        let upper: u64 = entries[n_kept..middle].iter().map(|&entry| mass(entry)).sum();
        if ((before + upper) as f64) < limit {
            before += upper + mass(entries[middle]);
            n_kept = middle + 1;
        } else {
            n_open = middle;
        }
    }
    entries.truncate(n_kept);
}

/// Lanes of the loops over a whole row.
pub(super) const LANES: usize = 16;

/// Sums of masses, in two halves that vector units can add: `mass = high 2^22 + low`.
#[derive(Default, Clone, Copy)]
pub(super) struct MassLanes {
    high: [u32; LANES],
    low: [u32; LANES],
}

impl MassLanes {
    /// Steps after which the halves must be drained: the low halves are below 2^22.
    pub(super) const MAX_STEPS: usize = 1 << 10;

    #[inline(always)]
    pub(super) fn add(&mut self, lane: usize, weight: f32) {
        // Exact: scaling by powers of two, and the fraction that truncation leaves.
        let scaled = weight * 1_048_576.0;
        let high = scaled as i32;
        let low = ((scaled - high as f32) * 4_194_304.0) as i32;
        self.high[lane] += high as u32;
        self.low[lane] += low as u32;
    }

    #[inline(always)]
    pub(super) fn drain(&mut self) -> u64 {
        let sum = |lanes: &[u32; LANES]| lanes.iter().map(|&lane| u64::from(lane)).sum::<u64>();
        let total = (sum(&self.high) << 22) + sum(&self.low);
        *self = Self::default();
        total
    }
}

wide! {
    fn total_mass(logits: &[f32], scale: Scale) -> u64 {
        let mut total = 0;
        let mut lanes = MassLanes::default();
        for span in logits.chunks(LANES * MassLanes::MAX_STEPS) {
            let (steps, tail) = span.as_chunks::<LANES>();
            for step in steps {
                for (lane, &logit) in step.iter().enumerate() {
                    lanes.add(lane, scale.weight(logit));
                }
            }
            total += lanes.drain();
            total += tail.iter().map(|&logit| mass(scale.weight(logit))).sum::<u64>();
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_sort_by_value_then_id_and_give_both_back() {
        let logits = [3.5, 0.0, -0.0, -1e-40, -2.0, f32::MIN];
        let entries: Vec<_> =
            logits.iter().zip(0..).map(|(&logit, token)| Entry::new(logit, token)).collect();
        assert!(entries.is_sorted());
        assert!(entries.iter().zip(logits).all(|(entry, logit)| entry.logit() == logit));
        assert!(Entry::new(1.0, 7) < Entry::new(1.0, 8));
        assert_eq!(Entry::new(0.0, 7), Entry::new(-0.0, 7));
    }

    #[test]
    fn a_cut_keeps_the_entry_that_crosses_the_limit() {
        let cut = |limit: f64| {
            let mut entries = vec![4u64, 2, 3, 1];
            cut_by_mass(&mut entries, limit, |entry| entry * 10);
            entries.sort_unstable();
            entries
        };
        assert_eq!(cut(0.0), [1]);
        assert_eq!(cut(10.0), [1]);
        assert_eq!(cut(10.5), [1, 2]);
        assert_eq!(cut(30.0), [1, 2]);
        assert_eq!(cut(99.0), [1, 2, 3, 4]);
    }

    #[test]
    fn lanes_add_up_to_the_masses() {
        let logits: Vec<f32> = (0..40_007).map(|n| -((n * 7919 % 10_007) as f32) * 4e-3).collect();
        let scale = Scale { max: 0.0, temperature: 0.9 };
        let expected: u64 = logits.iter().map(|&logit| mass(scale.weight(logit))).sum();
        assert_eq!(total_mass(&logits, scale), expected);
    }
}
