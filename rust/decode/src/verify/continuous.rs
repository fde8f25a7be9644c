//! Which drafted points of a continuous space may stay, and which point comes instead?
//!
//! A chain of points, each drawn from a normal law that the draft predicts (a continuous token, a step of a diffusion
//! head). A point is accepted with probability `min(1, p/q)`. At the first rejection:
//!
//! - equal deviations: the draft's own noise is reflected in the direction of the two means and added to the target's
//!   mean. The reflection through the plane halfway between the means swaps the two densities, so it carries the rejected
//!   points, whose density is `(q - p)+`, to `(p - q)+`: exactly what is missing, without a search;
//! - other deviations: points are drawn from `p` and kept with probability `(1 - q/p)+`. They are needed with probability
//!   d, the total variation, and one in 1/d is kept: one try a call on average. After 2^20 tries the last one is taken, which
//!   changes the law by less than 4e-7 for any pair and by nothing for pairs that differ visibly.
//!
//! O(n D). De Bortoli et al., "Accelerated diffusion models via speculative sampling", 2025; Bou-Rabee et al., "Coupling and
//! convergence for Hamiltonian Monte Carlo", 2020 (the reflection).

use super::error::{VerifyError, VerifyErrorKind};
use super::rule::{Results, in_threads};
use crate::rng::{Purpose, Rng};

const MAX_TRIES: u32 = 1 << 20;

/// A normal law with independent coordinates.
#[derive(Clone, Copy, Debug)]
pub struct Normal<'a> {
    /// The mean of each coordinate.
    pub mean: &'a [f64],
    /// The standard deviation of each coordinate, above 0.
    pub std: &'a [f64],
}

impl Normal<'_> {
    /// The logarithm of the density but for a constant.
    pub fn log_density(&self, point: &[f64]) -> f64 {
        let terms = point.iter().zip(self.mean).zip(self.std);
        terms.map(|((x, mean), std)| -0.5 * ((x - mean) / std).powi(2) - std.ln()).sum()
    }

    /// The point of this law with standard normal noise.
    pub fn point(&self, mut noise: impl FnMut(u32) -> f64) -> Vec<f64> {
        let coordinates = (0u32..).zip(self.mean).zip(self.std);
        coordinates.map(|((i, mean), std)| mean + std * noise(i)).collect()
    }

    fn check(&self, argument: &'static str) -> Result<(), VerifyError> {
        let bad = |expected| move |found| VerifyErrorKind::Range { argument, expected, found };
        let mean = self.mean.iter().find(|mean| !mean.is_finite()).copied().map(bad("of finite means"));
        let is_bad = |std: &&f64| !(std.is_normal() && **std > 0.0);
        let std =
            self.std.iter().find(is_bad).copied().map(bad("of deviations that are normal numbers above 0"));
        mean.or(std).map_or(Ok(()), |kind| Err(kind.into()))
    }
}

/// Where a drafted point goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The probability with which it stays.
    pub accepted: f64,
    /// The point that takes its place; `None` where one has to be looked for.
    pub instead: Option<Vec<f64>>,
}

/// What becomes of a point that was drawn from `q`.
pub fn step(p: Normal<'_>, q: Normal<'_>, point: &[f64]) -> Step {
    if p.std != q.std {
        return Step {
            accepted: (p.log_density(point) - q.log_density(point)).exp().min(1.0),
            instead: None,
        };
    }
    // In units of the deviations: the draft's noise, and the way from the target's mean to the draft's.
    let whiten = |from: &[f64], to: &[f64]| -> Vec<f64> {
        from.iter().zip(to).zip(p.std).map(|((from, to), std)| (to - from) / std).collect()
    };
    let (noise, shift) = (whiten(q.mean, point), whiten(p.mean, q.mean));
    let along: f64 = noise.iter().zip(&shift).map(|(noise, shift)| noise * shift).sum();
    let length: f64 = shift.iter().map(|shift| shift * shift).sum();
    let accepted = (-along - 0.5 * length).exp().min(1.0);
    let factor = if length > 0.0 { 2.0 * along / length } else { 0.0 };
    let reflected = noise.iter().zip(&shift).map(|(noise, shift)| noise - factor * shift);
    let instead = reflected.zip(p.mean).zip(p.std).map(|((noise, mean), std)| mean + std * noise).collect();
    Step { accepted, instead: Some(instead) }
}

/// Standard normal number `i` of a purpose at a position (Box and Muller, 1958).
pub fn normal_noise(rng: Rng, purpose: Purpose, i: u32) -> f64 {
    let (first, second) = (i.wrapping_mul(2), i.wrapping_mul(2).wrapping_add(1));
    let angle = std::f64::consts::TAU * rng.uniform(second, purpose);
    (2.0 * rng.exponential(first, purpose)).sqrt() * angle.cos()
}

/// What is committed after a verification of points.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// How many drafted points stay.
    pub n_accepted: usize,
    /// The point behind them.
    pub point: Vec<f64>,
}

/// Chains of up to `n_points` drafted points, and one law of the target more for each chain.
#[derive(Clone, Copy, Debug)]
pub struct Points<'a> {
    /// Points of the longest chain.
    pub n_points: usize,
    /// Coordinates of a point.
    pub n_dims: usize,
    /// Means of the target, row after row.
    pub p_mean: &'a [f64],
    /// Deviations of the target.
    pub p_std: &'a [f64],
    /// Means of the draft.
    pub q_mean: &'a [f64],
    /// Deviations of the draft.
    pub q_std: &'a [f64],
    /// The drafted points.
    pub points: &'a [f64],
}

impl<'a> Points<'a> {
    fn p(&self, n_chain: usize, i: usize) -> Result<Normal<'a>, VerifyError> {
        let of = |numbers| self.row(numbers, n_chain * (self.n_points + 1) + i);
        let law = Normal { mean: of(self.p_mean), std: of(self.p_std) };
        law.check("p").map(|()| law)
    }

    fn q(&self, n_chain: usize, i: usize) -> Result<Normal<'a>, VerifyError> {
        let of = |numbers| self.row(numbers, n_chain * self.n_points + i);
        let law = Normal { mean: of(self.q_mean), std: of(self.q_std) };
        law.check("q").map(|()| law)
    }

    fn row<'b>(&self, numbers: &'b [f64], i: usize) -> &'b [f64] {
        &numbers[i * self.n_dims..][..self.n_dims]
    }

    /// How many of the first `n` points of a chain stay, and the point behind them. Point `i` uses the numbers at
    /// `rng.position + i`: `ACCEPT` for the test, `RESIDUAL` for a search, `SAMPLE` for the point behind all drafts, which is
    /// the one of plain sampling.
    ///
    /// # Errors
    /// [`VerifyErrorKind::Range`] for numbers that are not finite or deviations that are not above 0.
    pub fn accept(&self, n_chain: usize, n: usize, rng: Rng) -> Result<Point, VerifyError> {
        for i in 0..n {
            let (p, q) = (self.p(n_chain, i)?, self.q(n_chain, i)?);
            let point = self.row(self.points, n_chain * self.n_points + i);
            if let Some(&found) = point.iter().find(|x| !x.is_finite()) {
                let (argument, expected) = ("drafted points", "finite");
                return Err(VerifyErrorKind::Range { argument, expected, found }.into());
            }
            let at = rng.at(rng.position.wrapping_add(i as u64));
            let step = step(p, q, point);
            if at.uniform(0, Purpose::ACCEPT) >= step.accepted {
                return Ok(Point { n_accepted: i, point: step.instead.unwrap_or_else(|| search(p, q, at)) });
            }
        }
        let at = rng.at(rng.position.wrapping_add(n as u64));
        let point = self.p(n_chain, n)?.point(|i| normal_noise(at, Purpose::SAMPLE, i));
        Ok(Point { n_accepted: n, point })
    }

    /// [`Points::accept`] for every chain; `lengths` are the points of each.
    ///
    /// # Errors
    /// [`VerifyErrorKind::Length`] where the arrays do not fit each other, [`VerifyErrorKind::Points`] for a length above
    /// that of the longest chain.
    pub fn accept_all(&self, lengths: &[usize], rngs: &[Rng], n_threads: usize) -> Results<Point> {
        let (n_chains, n) = (lengths.len(), lengths.len() * self.n_points * self.n_dims);
        let arrays = [
            ("rngs", n_chains, rngs.len()),
            ("p_mean", n + n_chains * self.n_dims, self.p_mean.len()),
            ("p_std", n + n_chains * self.n_dims, self.p_std.len()),
            ("q_mean", n, self.q_mean.len()),
            ("q_std", n, self.q_std.len()),
            ("points", n, self.points.len()),
        ];
        for (argument, expected, found) in arrays {
            if expected != found {
                return Err(VerifyErrorKind::Length { argument, expected, found }.into());
            }
        }
        if let Some(&length) = lengths.iter().find(|&&length| length > self.n_points) {
            return Err(VerifyErrorKind::Points { length, n_points: self.n_points }.into());
        }
        Ok(in_threads(n_chains, n, n_threads, |i| self.accept(i, lengths[i], rngs[i])))
    }
}

/// A point from what `p` has and `q` has not.
fn search(p: Normal<'_>, q: Normal<'_>, rng: Rng) -> Vec<f64> {
    let mut last = Vec::new();
    for attempt in 0..MAX_TRIES {
        // Every try has numbers of its own.
        let numbers = rng.derive(u64::from(attempt));
        last = p.point(|i| normal_noise(numbers, Purpose::RESIDUAL, i));
        let kept = 1.0 - (q.log_density(&last) - p.log_density(&last)).exp();
        if numbers.uniform(0, Purpose::ACCEPT) < kept {
            break;
        }
    }
    last
}
