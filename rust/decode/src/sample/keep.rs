//! Which tokens may be drawn?
//!
//! A [`Kept`] starts with every token above `-inf` and goes through the operations of a [`Shape`]. Top-k, top-p and
//! typical keep a prefix of some order: the tokens before which less than a limit has been seen, counting ones, mass in
//! order of logit, or mass in order of distance from the entropy. So one cut does all three. An order is a u64 with the
//! key above the id: a cut through ties is exact, to the smaller id, and a kernel compares the same integers. The other
//! rules are a threshold on the weight. Masses are integers (`math::mass`), so no sum depends on an order.
//!
//! Only tokens that can still matter are listed: above the k-th best block maximum for top-k, above a bound for top-p
//! below which a part of the row says that too little mass lies (which is then checked), above the threshold for the
//! others. A cut counts mass into bins and halves one of them by median of medians: linear in the listed tokens, whatever
//! their values. Worst input: a flat row, where every token is listed and all are in one bin.
//!
//! Papers: docs/concepts/sample.md.

use super::mass::{self, Moments};
use super::math::{MASS_BITS, exp_negative, ln, ln_mass, mass};
use super::order::Op;
use super::row::Row;
use super::shape::Shape;
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

/// What turns a logit into a weight: the best token weighs one.
#[derive(Clone, Copy, Debug)]
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
    pub(super) fn logit_bound(self, log_weight: f64) -> f32 {
        let slack = 1e-5 * (1.0 + log_weight.abs());
        let bound = f64::from(self.max) + f64::from(self.temperature) * (log_weight - slack);
        (bound as f32).next_down()
    }
}

/// A mass as a multiple of the best token's.
#[inline]
fn units(mass: u64) -> f32 {
    mass as f32 * 2.273_736_8e-13
}

/// The tokens that are left.
pub(super) enum Tokens {
    /// Every token above `-inf`.
    All,
    /// These, in no order.
    Listed(Vec<Entry>),
}

/// What the operations have left of a row.
pub(super) struct Kept<'a, 'r> {
    row: &'a Row<'r>,
    pub(super) tokens: Tokens,
    pub(super) scale: Scale,
    /// Where a temperature of zero took the best token: how far the next was behind.
    pub(super) greedy_margin: Option<f32>,
}

impl<'a, 'r> Kept<'a, 'r> {
    /// Everything, at temperature 1.
    pub(super) fn all(row: &'a Row<'r>) -> Self {
        let scale = Scale { max: row.max, temperature: 1.0 };
        Self { row, tokens: Tokens::All, scale, greedy_margin: None }
    }

    /// What is left after the operations of `shape`. `coin` is the word that decides about XTC, `mu` the state of mirostat.
    pub(super) fn shaped(row: &'a Row<'r>, shape: &Shape, coin: u32, mu: f32) -> Self {
        let mut kept = Self::all(row);
        for op in shape.ops() {
            kept.apply(op, shape, coin, mu);
        }
        kept
    }

    fn apply(&mut self, op: Op, shape: &Shape, coin: u32, mu: f32) {
        match op {
            Op::Temperature => self.set_temperature(shape),
            Op::TopK => self.top_k(shape.top_k as usize, false),
            Op::TopKWithTies => self.top_k(shape.top_k as usize, true),
            Op::TopP => self.top_p(shape.top_p),
            Op::MinP => self.at_least(shape.min_p),
            Op::Typical => self.typical_p(shape.typical_p, false),
            Op::TypicalWithTies => self.typical_p(shape.typical_p, true),
            Op::Epsilon => self.at_least(shape.epsilon * units(self.total_mass())),
            Op::Eta => {
                let moments = self.moments();
                let entropy = ln_mass(moments.total) + moments.center();
                let least = shape.eta.min(shape.sqrt_eta * exp_negative(-entropy));
                self.at_least(least * units(moments.total));
            }
            Op::TopNSigma => self.top_n_sigma(shape.n_sigma),
            Op::PLess => self.p_less(shape.p_less_is_normed == 1),
            Op::Xtc if u64::from(coin) < shape.xtc_cells => self.without_obvious(shape.xtc_threshold),
            Op::Xtc => {}
            Op::Mirostat => self.mirostat(shape.mirostat, mu),
        }
    }

    /// The kept tokens whose logit reaches `bound`; those that an earlier rule listed are few and stay.
    pub(super) fn take_entries(&mut self, bound: f32) -> Vec<Entry> {
        match std::mem::replace(&mut self.tokens, Tokens::All) {
            Tokens::Listed(entries) => entries,
            Tokens::All => list(self.row, bound),
        }
    }

    /// All that is left, in no order.
    pub(super) fn into_entries(mut self) -> Vec<Entry> {
        self.take_entries(f32::NEG_INFINITY)
    }

    /// The `n` best tokens that are left, best first, and the logarithms of their probabilities.
    pub(super) fn top(&mut self, n: usize) -> Vec<(u32, f32)> {
        let log_total = ln_mass(self.total_mass());
        let mut best = match &self.tokens {
            Tokens::Listed(entries) => entries.clone(),
            Tokens::All => best_of(self.row, n),
        };
        best.sort_unstable();
        best.truncate(n);
        best.iter().map(|entry| (entry.token(), self.scale.log_weight(entry.logit()) - log_total)).collect()
    }

    pub(super) fn total_mass(&self) -> u64 {
        match &self.tokens {
            Tokens::All => mass::total_mass(self.row, self.scale),
            Tokens::Listed(entries) => listed_moments(entries, self.scale).total,
        }
    }

    pub(super) fn moments(&self) -> Moments {
        match &self.tokens {
            Tokens::All => mass::moments(self.row, self.scale),
            Tokens::Listed(entries) => listed_moments(entries, self.scale),
        }
    }

    /// The best token may be gone: what is left is weighed against its own best.
    fn rescale(&mut self, entries: Vec<Entry>) {
        self.scale.max = entries.iter().min().map_or(self.scale.max, |best| best.logit());
        self.tokens = Tokens::Listed(entries);
    }

    fn set_temperature(&mut self, shape: &Shape) {
        let mut temperature = shape.temperature;
        if shape.temperature_range > 0.0 {
            let n_tokens = match &self.tokens {
                Tokens::All => mass::count_and_min(self.row).0,
                Tokens::Listed(entries) => entries.len() as u64,
            };
            if n_tokens < 2 {
                return;
            }
            let moments = self.moments();
            let entropy = ln_mass(moments.total) + moments.center();
            // The product of the exponent and the logarithm is at most zero, up to rounding.
            let share = (entropy / ln(n_tokens as f32)).min(1.0);
            let power = if share < f32::MIN_POSITIVE {
                if shape.temperature_exponent == 0.0 { 1.0 } else { 0.0 }
            } else {
                exp_negative(shape.temperature_exponent * ln(share).min(0.0))
            };
            let low = (temperature - shape.temperature_range).max(0.0);
            temperature = low + (temperature + shape.temperature_range - low) * power;
        }
        if temperature < f32::MIN_POSITIVE {
            self.keep_best();
        } else {
            self.scale.temperature = temperature;
        }
    }

    fn keep_best(&mut self) {
        let (best, next) = match &self.tokens {
            Tokens::All => {
                let token = self.row.best();
                (Entry::new(self.row.max, token), self.row.runner_up(token))
            }
            Tokens::Listed(entries) => {
                let worst = Entry(u64::MAX);
                let (best, next) = entries.iter().fold((worst, worst), |(best, next), &entry| {
                    if entry < best { (entry, best) } else { (best, next.min(entry)) }
                });
                (best, if next == worst { f32::NEG_INFINITY } else { next.logit() })
            }
        };
        self.scale.max = best.logit();
        self.greedy_margin = Some(best.logit() - next);
        self.tokens = Tokens::Listed(vec![best]);
    }

    fn top_k(&mut self, k: usize, with_ties: bool) {
        let mut bound = f32::NEG_INFINITY;
        if matches!(self.tokens, Tokens::All) && k <= self.row.maxima.len() {
            // k blocks reach the k-th best maximum, so at least k tokens do.
            let mut maxima = self.row.maxima.to_vec();
            bound = *maxima.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1;
        }
        let mut entries = self.take_entries(bound);
        if entries.len() > k {
            let last = *entries.select_nth_unstable(k - 1).1;
            if with_ties {
                entries.retain(|entry| entry.logit() >= last.logit());
            } else {
                entries.truncate(k);
            }
        }
        self.tokens = Tokens::Listed(entries);
    }

    fn top_p(&mut self, top_p: f64) {
        let (total, mut weighed) = self.take_holding(top_p);
        if let Some(last) = last_before(&weighed, top_p * total as f64, |entry| -entry.logit()) {
            weighed.retain(|(entry, _)| *entry <= last);
        }
        self.tokens = Tokens::Listed(weighed.into_iter().map(|(entry, _)| entry).collect());
    }

    /// The total mass, and tokens that hold at least the share `p` of it, with their masses: a best prefix, or all that an
    /// earlier rule listed. What is left is undefined afterwards.
    ///
    /// Three guesses at a bound, none of which can be wrong, only too low to help: where a few hundred tokens hold the
    /// share, they are listed; otherwise those few and every sixteenth block of the rest estimate where the share ends,
    /// with a fifth of what may be left out to spare, and the pass that adds up the mass lists what reaches it and finds
    /// out whether that is enough; otherwise the mean decides.
    pub(super) fn take_holding(&mut self, p: f64) -> (u64, Vec<(Entry, u64)>) {
        const N_BEST_BLOCKS: usize = 128;
        let (scale, n_blocks) = (self.scale, self.row.maxima.len());
        if matches!(self.tokens, Tokens::Listed(_)) {
            return (self.total_mass(), weigh(&self.take_entries(f32::NEG_INFINITY), scale));
        }
        if n_blocks < 2 * N_BEST_BLOCKS {
            let total = self.total_mass();
            let bound = scale.logit_bound(self.tail_bound(p, total));
            return (total, weigh(&self.take_entries(bound), scale));
        }
        let mut maxima = self.row.maxima.to_vec();
        let few = *maxima.select_nth_unstable_by(N_BEST_BLOCKS - 1, |a, b| b.total_cmp(a)).1;
        let best = weigh(&self.take_entries(few), scale);
        let best_mass = sum_of(&best);
        let rest = mass::RestEstimate::of(self.row, scale, few);
        let log_weight = rest.log_weight_above((1.0 - p as f32) * 0.8, units(best_mass));
        let bound = log_weight.map_or(few, |log_weight| scale.logit_bound(log_weight).min(few));
        let (total, listed) = if bound < few {
            mass::total_and_listed(self.row, scale, bound)
        } else {
            (mass::total_mass(self.row, scale), vec![])
        };
        let limit = p * total as f64;
        if best_mass as f64 >= limit {
            return (total, best);
        }
        if sum_of(&listed) as f64 >= limit {
            return (total, listed);
        }
        let bound = scale.logit_bound(self.tail_bound(p, total));
        (total, weigh(&self.take_entries(bound), scale))
    }

    /// The log-weight below which all tokens together hold less than `(1 - p) / 2` of the mass.
    pub(super) fn tail_bound(&self, p: f64, total: u64) -> f64 {
        let mean = total as f64 / (1u64 << MASS_BITS) as f64 / self.row.reader.n_vocab() as f64;
        if 1.0 - p > 1e-9 { ((1.0 - p) / 2.0 * mean).ln() } else { f64::NEG_INFINITY }
    }

    /// Keep tokens with at least this weight, and in any case the best and its equals.
    fn at_least(&mut self, least: f32) {
        let scale = self.scale;
        let mut entries = self.take_entries(scale.logit_bound(f64::from(least.min(1.0)).ln()));
        retain_at_least(&mut entries, scale, least);
        self.tokens = Tokens::Listed(entries);
    }

    fn p_less(&mut self, is_normed: bool) {
        let Moments { total, squares, .. } = self.moments();
        let mut least = squares as f64 / total as f64;
        if is_normed {
            // (V sum p^2 - 1) / (V - 1), in units of the best token.
            let n_vocab = self.row.reader.n_vocab() as f64;
            let units = total as f64 / (1u64 << MASS_BITS) as f64;
            least = (n_vocab * least - units) / (n_vocab - 1.0).max(1.0);
        }
        self.at_least(least.max(0.0) as f32);
    }

    fn top_n_sigma(&mut self, n_sigma: f32) {
        let max = self.scale.max;
        let (n_tokens, least) = match &self.tokens {
            Tokens::All => mass::count_and_min(self.row),
            Tokens::Listed(entries) => {
                (entries.len() as u64, entries.iter().max().map_or(max, |worst| worst.logit()))
            }
        };
        let range = mass::deviation(least, max, 1.0);
        if range < f32::MIN_POSITIVE {
            return;
        }
        // A power of two that is not below the range, so that deviations lie between 0 and 1.
        let exponent = (range.to_bits() >> 23) as i32 - 126;
        let unit = f32::from_bits(((127 - exponent).clamp(1, 254) as u32) << 23);
        let (sum, sum_squares) = match &self.tokens {
            Tokens::All => mass::deviations(self.row, max, unit),
            Tokens::Listed(entries) => entries.iter().fold((0, 0), |(sum, sum_squares), entry| {
                let x = mass::deviation(entry.logit(), max, unit);
                (sum + mass(x), sum_squares + mass(x * x))
            }),
        };
        let scaled = (1u64 << MASS_BITS) as f64 * n_tokens as f64;
        let mean = sum as f64 / scaled;
        let variance = (sum_squares as f64 / scaled - mean * mean).max(0.0);
        let sigma = variance.sqrt() / f64::from(unit * mass::SHRINK);
        let bound = (f64::from(max) - f64::from(n_sigma) * sigma) as f32;
        let mut entries = self.take_entries(bound);
        entries.retain(|entry| entry.logit() >= bound);
        self.tokens = Tokens::Listed(entries);
    }

    fn typical_p(&mut self, typical_p: f64, with_ties: bool) {
        let (moments, scale) = (self.moments(), self.scale);
        // -log p - H = -log_weight - (mean of -log_weight): the normaliser drops out.
        let center = moments.center();
        let limit = typical_p * moments.total as f64;
        let mut bound = f32::NEG_INFINITY;
        if matches!(self.tokens, Tokens::All) {
            // Tokens below a log-weight are further from the center than it is. Where those that are nearer hold the
            // limit, the others need not be listed.
            let log_weight = self.tail_bound(typical_p, moments.total);
            let reach = (-log_weight - 1e-4 * (1.0 + log_weight.abs())) as f32 - center;
            let candidate = scale.logit_bound(log_weight);
            let nearer = mass_within(self.row, candidate, scale, center, reach);
            bound = if nearer as f64 >= limit { candidate } else { bound };
        }
        let entries = self.take_entries(bound);
        let mut by_distance = weigh_by_distance(&entries, scale, center);
        let last = last_before(&by_distance, limit, |key| f32::from_bits((key >> 32) as u32)).unwrap_or(0);
        let last = if with_ties { last | u64::from(u32::MAX) } else { last };
        by_distance.retain(|(key, _)| *key <= last);
        let reader = &self.row.reader;
        let entry_of = |(key, _): (u64, u64)| Entry::new(reader.logit(key as u32), key as u32);
        self.rescale(by_distance.into_iter().map(entry_of).collect());
    }

    /// XTC: of the tokens with at least this probability, only the last stays.
    fn without_obvious(&mut self, threshold: f32) {
        let scale = self.scale;
        let least = threshold * units(self.total_mass());
        let bound = scale.logit_bound(f64::from(least).ln());
        let last = match &self.tokens {
            Tokens::Listed(entries) => last_at_least(entries, scale, least),
            Tokens::All => {
                let entries = Self::all(self.row).take_entries(bound);
                last_at_least(&entries, scale, least)
            }
        };
        if let Some(last) = last {
            let mut entries = self.take_entries(f32::NEG_INFINITY);
            entries.retain(|entry| *entry >= last);
            self.rescale(entries);
        }
    }

    fn mirostat(&mut self, version: u32, mu: f32) {
        if version == 2 {
            let least = exp_negative((-mu * std::f32::consts::LN_2).min(0.0));
            let least = if mu < 0.0 { f32::INFINITY } else { least * units(self.total_mass()) };
            self.at_least(least);
        } else {
            let k = self.mirostat_k(f64::from(mu));
            self.top_k(k, false);
        }
    }

    /// The k of mirostat as published: the exponent of Zipf's law from the best hundred, then the k of its surprise.
    fn mirostat_k(&mut self, mu: f64) -> usize {
        const N_BEST: usize = 100;
        let n_vocab = self.row.reader.n_vocab();
        let mut best = match &self.tokens {
            Tokens::Listed(entries) => entries.clone(),
            Tokens::All => best_of(self.row, N_BEST),
        };
        best.sort_unstable();
        best.truncate(N_BEST);
        let (mut sum_products, mut sum_squares) = (0.0, 0.0);
        for (rank, pair) in best.windows(2).enumerate() {
            let t = ((rank + 2) as f64 / (rank + 1) as f64).ln();
            let gap = f64::from(pair[0].logit()) - f64::from(pair[1].logit());
            sum_products += t * gap / f64::from(self.scale.temperature);
            sum_squares += t * t;
        }
        if sum_squares == 0.0 {
            return 1;
        }
        let s = sum_products / sum_squares;
        let excess = s - 1.0;
        let n = n_vocab as f64;
        // The quotient tends to 1 / ln n where the excess tends to zero.
        let zipf = if excess.abs() < 1e-9 { 1.0 / n.ln() } else { excess / (1.0 - n.powf(-excess)) };
        let k = (zipf * mu.exp2()).powf(1.0 / s);
        (k as usize).clamp(1, n_vocab)
    }
}

/// The `n` best tokens of a row, in no order.
pub(super) fn best_of(row: &Row<'_>, n: usize) -> Vec<Entry> {
    let mut kept = Kept::all(row);
    if n == 0 {
        return vec![];
    }
    kept.top_k(n, false);
    kept.into_entries()
}

/// The last entry, in ascending order, before which there is less mass than `limit`. `rank` rises with the entries; many
/// of them are counted into bins of equal width first, so that only those of one bin are compared. Linear.
pub(super) fn last_before<T: Copy + Ord>(
    entries: &[(T, u64)],
    limit: f64,
    rank: impl Fn(T) -> f32,
) -> Option<T> {
    const N_BINS: usize = 1024;
    // Any entry with mass ends a limit of zero.
    let limit = limit.max(0.5);
    if entries.len() < 2 * N_BINS {
        return last_by_halves(entries.to_vec(), 0, limit);
    }
    let (mut least, mut greatest) = (f32::INFINITY, f32::NEG_INFINITY);
    for &(entry, _) in entries {
        (least, greatest) = (least.min(rank(entry)), greatest.max(rank(entry)));
    }
    // Subtracting, multiplying and rounding keep the order; where they overflow all entries are in the first bin.
    let n_a_unit = N_BINS as f32 / (greatest - least);
    let bin_of = |entry: T| (((rank(entry) - least) * n_a_unit) as i32).min(N_BINS as i32 - 1) as usize;
    let mut masses = [0u64; N_BINS];
    for &(entry, mass) in entries {
        masses[bin_of(entry)] += mass;
    }
    let mut before = 0;
    for (bin, &mass) in masses.iter().enumerate() {
        if ((before + mass) as f64) < limit {
            before += mass;
        } else {
            let of_bin = entries.iter().filter(|(entry, _)| bin_of(*entry) == bin).copied().collect();
            return last_by_halves(of_bin, before, limit);
        }
    }
    entries.iter().map(|&(entry, _)| entry).max()
}

/// [`last_before`] where `before` comes before all of them.
fn last_by_halves<T: Copy + Ord>(mut entries: Vec<(T, u64)>, mut before: u64, limit: f64) -> Option<T> {
    let (mut n_kept, mut n_open) = (0, entries.len());
    let mut last = None;
    while n_kept < n_open {
        let middle = n_kept + (n_open - n_kept) / 2;
        entries[n_kept..n_open].select_nth_unstable_by_key(middle - n_kept, |(key, _)| *key);
        let upper = sum_of(&entries[n_kept..middle]);
        if ((before + upper) as f64) < limit {
            before += upper + entries[middle].1;
            last = Some(entries[middle].0);
            n_kept = middle + 1;
        } else {
            n_open = middle;
        }
    }
    last
}

fn sum_of<T>(entries: &[(T, u64)]) -> u64 {
    entries.iter().map(|(_, mass)| mass).sum()
}

wide! {
    /// The tokens whose logit reaches `bound` and is above `-inf`, in no order.
    fn list(row: &Row<'_>, bound: f32) -> Vec<Entry> {
        let mut entries = Vec::new();
        row.for_each_from(bound, |token, logit| entries.push(Entry::new(logit, token)));
        entries
    }
}

wide! {
    /// Entries with their masses.
    pub(super) fn weigh(entries: &[Entry], scale: Scale) -> Vec<(Entry, u64)> {
        // A loop, not an iterator: closures that the compiler does not inline lose the vector unit.
        let mut weighed = Vec::with_capacity(entries.len());
        for &entry in entries {
            weighed.push((entry, mass(scale.weight(entry.logit()))));
        }
        weighed
    }
}

wide! {
    /// Tokens by their distance from the entropy, with their masses.
    fn weigh_by_distance(entries: &[Entry], scale: Scale, center: f32) -> Vec<(u64, u64)> {
        let mut weighed = Vec::with_capacity(entries.len());
        for entry in entries {
            let log_weight = scale.log_weight(entry.logit());
            let distance = (-log_weight - center).abs();
            let key = u64::from(distance.to_bits()) << 32 | u64::from(entry.token());
            weighed.push((key, mass(exp_negative(log_weight))));
        }
        weighed
    }
}

wide! {
    /// The mass of the tokens whose logit reaches `bound` and that are nearer to `center` than `reach`.
    fn mass_within(row: &Row<'_>, bound: f32, scale: Scale, center: f32, reach: f32) -> u64 {
        let mut total = 0;
        row.for_each_from(bound, |_, logit| {
            let log_weight = scale.log_weight(logit);
            total += if (-log_weight - center).abs() < reach { mass(exp_negative(log_weight)) } else { 0 };
        });
        total
    }
}

wide! {
    fn listed_moments(entries: &[Entry], scale: Scale) -> Moments {
        let mut sums = Moments::default();
        for entry in entries {
            sums.add(scale.log_weight(entry.logit()), scale.weight(entry.logit()));
        }
        sums
    }
}

wide! {
    /// The last, best first, of the entries with at least this weight.
    fn last_at_least(entries: &[Entry], scale: Scale, least: f32) -> Option<Entry> {
        let mut last = None;
        for &entry in entries {
            last = if scale.weight(entry.logit()) >= least { last.max(Some(entry)) } else { last };
        }
        last
    }
}

wide! {
    /// Keep entries with at least this weight, and the best and its equals.
    fn retain_at_least(entries: &mut Vec<Entry>, scale: Scale, least: f32) {
        let mut n_kept = 0;
        for n_entry in 0..entries.len() {
            let entry = entries[n_entry];
            entries[n_kept] = entry;
            n_kept += usize::from(scale.weight(entry.logit()) >= least || entry.logit() == scale.max);
        }
        entries.truncate(n_kept);
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::{Logits, RowBuffers};
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
    fn guesses_at_a_bound_lose_no_token() {
        let n_vocab = 40_007;
        let hash = |n: usize| (n as u32).wrapping_mul(2_654_435_761) as f32 / 4_294_967_296.0;
        let rows: [fn(usize, f32) -> f32; 6] = [
            |_, u| u * 12.0,
            |_, u| -(1.0 / (u + 1e-6)).ln() * 9.0,
            |_, _| 2.5,
            |n, u| if n < 3 { 30.0 } else { u },
            // What the estimate looks at is unlike the rest.
            |n, u| if n / 64 % 16 == 0 { -20.0 } else { u * 2.0 },
            |n, u| if n / 64 % 16 == 0 { u * 9.0 } else { u },
        ];
        for row_of in rows {
            let logits: Vec<f32> = (0..n_vocab).map(|n| row_of(n, hash(n))).collect();
            let mut buffers = RowBuffers::default();
            let row = buffers.read(Logits::F32(&logits), None, &[], &[]).unwrap();
            let scale = Kept::all(&row).scale;
            let mut sorted = weigh(&Kept::all(&row).into_entries(), scale);
            sorted.sort_unstable();
            let total = sum_of(&sorted) as f64;
            for p in [0.0, 0.1, 0.5, 0.9, 0.99, 1.0 - 1e-7] {
                let limit = (p * total).max(0.5);
                let mut before = 0;
                let is_kept = |(_, mass): &&(Entry, u64)| {
                    before += mass;
                    ((before - mass) as f64) < limit
                };
                let expected: Vec<Entry> =
                    sorted.iter().take_while(is_kept).map(|(entry, _)| *entry).collect();
                let mut kept = Kept::all(&row);
                kept.top_p(p);
                let mut found = kept.into_entries();
                found.sort_unstable();
                assert!(found == expected, "{p} {} {}", found.len(), expected.len());
            }
        }
    }

    #[test]
    fn a_cut_keeps_the_entry_that_crosses_the_limit() {
        let entries = [(4u64, 40), (2, 20), (3, 30), (1, 10)];
        for (limit, last) in [(0.0, 1), (10.0, 1), (10.5, 2), (30.0, 2), (99.0, 4), (1e9, 4)] {
            assert_eq!(last_before(&entries, limit, |key| key as f32), Some(last), "{limit}");
        }
        assert_eq!(last_before::<u64>(&[], 1.0, |key| key as f32), None);
    }

    #[test]
    fn bins_cut_where_halves_do() {
        let even = |n: u64| n as f32;
        let clumped = |n: u64| if n == 4999 { f32::MAX } else { (n / 7) as f32 };
        let overflowing = |n: u64| if n < 2500 { f32::MIN } else { f32::MAX };
        for rank in [even, clumped, overflowing, |_| 1.5] {
            let entries: Vec<(u64, u64)> = (0..5000).map(|n| (n * 7919 % 5000, n % 5 * n)).collect();
            let total = sum_of(&entries) as f64;
            for step in 0..=20 {
                let limit = (total * f64::from(step) / 20.0).max(0.5);
                let expected = last_by_halves(entries.clone(), 0, limit);
                assert_eq!(last_before(&entries, limit, rank), expected, "{limit}");
            }
        }
    }
}
