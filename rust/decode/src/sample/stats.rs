//! What does the model's distribution look like?
//!
//! Features that routing, cascades and drafting ask for, of the row as the model gave it, at temperature 1, without mask
//! and penalties: how uncertain it is (entropy and its spread, collision probability), how the best tokens stand, where
//! the drawn token stands, and quantiles of the surprise: the row's shape in a few numbers (Gupta et al. 2024 show that
//! quantiles tell more than their sum). One pass over the row, and a selection among the tokens above the last quantile.

use super::Draw;
use super::keep::{Entry, Kept, Scale, last_before};
use super::math::{MASS_BITS, ln_mass, mass};
use super::row::Row;
use crate::wide::wide;

/// How many quantiles there are.
pub const N_QUANTILES: usize = 6;
/// The shares of the mass, best tokens first.
pub const QUANTILES: [f64; N_QUANTILES] = [0.1, 0.25, 0.5, 0.75, 0.9, 0.99];

/// Numbers about a row; natural logarithms throughout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogitStats {
    /// The logarithm of the sum of `e^logit`.
    pub log_norm: f32,
    /// The mean of the surprise `-log p`.
    pub entropy: f32,
    /// The variance of the surprise.
    pub varentropy: f32,
    /// The sum of the squared probabilities: how often two draws agree.
    pub collision: f32,
    /// The logarithm of the best probability.
    pub max_log_prob: f32,
    /// The gap between the two best logits; infinite where there is one.
    pub margin: f32,
    /// How many tokens are better than the drawn one.
    pub rank: u32,
    /// The probability of the tokens that are better than the drawn one.
    pub mass_above: f32,
    /// The surprise of the token at which the mass of the best tokens reaches each of [`QUANTILES`].
    pub quantiles: [f32; N_QUANTILES],
}

/// What to report besides the draw.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// How many of the best tokens.
    pub n_top: usize,
    /// Their probabilities under the rules, not under the model.
    pub processed: bool,
}

/// A draw and what the row looks like.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The draw.
    pub draw: Draw,
    /// The logarithm of the model's own probability of the token, before mask, penalties and temperature.
    pub raw_log_prob: f32,
    /// The model's distribution.
    pub stats: LogitStats,
    /// The best tokens, best first, and the logarithms of their probabilities; fewer where fewer can be drawn.
    pub top: Vec<(u32, f32)>,
}

/// The part of a [`Report`] that the model's distribution determines.
pub(super) struct Look {
    pub(super) stats: LogitStats,
    pub(super) raw_log_prob: f32,
    pub(super) top: Vec<(u32, f32)>,
}

impl Look {
    /// Of a row that is no distribution without its mask.
    pub(super) const UNKNOWN: Self = Self {
        stats: LogitStats {
            log_norm: f32::NAN,
            entropy: f32::NAN,
            varentropy: f32::NAN,
            collision: f32::NAN,
            max_log_prob: f32::NAN,
            margin: f32::NAN,
            rank: u32::MAX,
            mass_above: f32::NAN,
            quantiles: [f32::NAN; N_QUANTILES],
        },
        raw_log_prob: f32::NAN,
        top: vec![],
    };
}

/// Looks at a row that was read as the model gave it.
pub(super) fn look(row: &Row<'_>, token: u32, wanted: Wanted) -> Look {
    let mut all = Kept::all(row);
    let (scale, moments) = (all.scale, all.moments());
    let log_total = ln_mass(moments.total);
    let unit = (1u64 << MASS_BITS) as f64;
    let total = moments.total as f64;
    let center = moments.center();
    let own = Entry::new(row.reader.logit(token), token);
    let (rank, above) = better(row, own, scale);
    let stats = LogitStats {
        log_norm: row.max + log_total,
        entropy: log_total + center,
        varentropy: (moments.surprise_squares as f64 / total - f64::from(center).powi(2)).max(0.0) as f32,
        collision: (moments.squares as f64 * unit / (total * total)) as f32,
        max_log_prob: -log_total,
        margin: row.max - row.runner_up(row.best()),
        rank,
        mass_above: (above as f64 / total) as f32,
        quantiles: quantiles(row),
    };
    let top = if wanted.processed { vec![] } else { all.top(wanted.n_top) };
    Look { stats, raw_log_prob: scale.log_weight(own.logit()) - log_total, top }
}

wide! {
    /// How many tokens are better than this one, and their mass.
    fn better(row: &Row<'_>, own: Entry, scale: Scale) -> (u32, u64) {
        let (mut rank, mut above) = (0, 0);
        row.for_each_from(own.logit(), |token, logit| {
            if Entry::new(logit, token) < own {
                rank += 1;
                above += mass(scale.weight(logit));
            }
        });
        (rank, above)
    }
}

fn quantiles(row: &Row<'_>) -> [f32; N_QUANTILES] {
    let mut all = Kept::all(row);
    let scale = all.scale;
    let (total, mut weighed) = all.take_holding(QUANTILES[N_QUANTILES - 1]);
    let mut surprises = [0.0; N_QUANTILES];
    for (surprise, share) in surprises.iter_mut().zip(QUANTILES).rev() {
        let last = last_before(&weighed, share * total as f64, |entry| -entry.logit());
        let worst = last.map_or(row.max, Entry::logit);
        weighed.retain(|(entry, _)| Some(*entry) <= last);
        *surprise = ln_mass(total) - scale.log_weight(worst);
    }
    surprises
}

#[cfg(test)]
mod tests {
    use super::super::row::{Logits, RowBuffers};
    use super::*;

    #[test]
    fn numbers_are_those_of_the_distribution() {
        let logits: Vec<f32> = (0..300).map(|n| ((n * 7919 % 101) as f32) * 0.07).collect();
        let mut buffers = RowBuffers::default();
        let row = buffers.read(Logits::F32(&logits), None, &[], &[]).unwrap();
        let norm: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
        let p: Vec<f64> = logits.iter().map(|&logit| f64::from(logit).exp() / norm).collect();
        let entropy: f64 = p.iter().map(|p| -p * p.ln()).sum();
        let spread: f64 = p.iter().map(|p| p * (p.ln() + entropy).powi(2)).sum();
        let mut order: Vec<usize> = (0..300).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
        let token = order[40];
        let Look { stats, raw_log_prob, top } =
            look(&row, token as u32, Wanted { n_top: 3, processed: false });
        let close = |found: f32, expected: f64| {
            assert!(
                (f64::from(found) - expected).abs() < 2e-6 * (1.0 + expected.abs()),
                "{found} {expected}"
            );
        };
        close(stats.log_norm, norm.ln());
        close(stats.entropy, entropy);
        close(stats.varentropy, spread);
        close(stats.collision, p.iter().map(|p| p * p).sum());
        close(stats.max_log_prob, p[order[0]].ln());
        close(stats.margin, f64::from(logits[order[0]] - logits[order[1]]));
        close(stats.mass_above, order[..40].iter().map(|&token| p[token]).sum());
        close(raw_log_prob, p[token].ln());
        assert_eq!(stats.rank, 40);
        for (found, share) in stats.quantiles.into_iter().zip(QUANTILES) {
            let mut mass = 0.0;
            let reached = order.iter().find(|&&token| {
                mass += p[token];
                mass >= share
            });
            close(found, -p[*reached.unwrap()].ln());
        }
        let best: Vec<u32> = order[..3].iter().map(|&token| token as u32).collect();
        assert_eq!(top.iter().map(|(token, _)| *token).collect::<Vec<_>>(), best);
        close(top[2].1, p[order[2]].ln());
    }
}
