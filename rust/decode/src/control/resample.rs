//! Which particles go on, and how often?
//!
//! Resampling replaces weighted particles by equally weighted ones: of `n` particles, particle `i` with normalised weight
//! `w_i` is continued `n w_i` times on average, so no expectation changes. The schemes differ in how far the numbers stray
//! from that mean. Multinomial: `n` independent draws. Stratified: one draw in each of `n` equal shares of the weight.
//! Systematic: the same with one uniform number for all. Residual: `floor(n w_i)` copies for certain, the others by
//! independent draws from what is left.
//!
//! Linear (multinomial: one sort). Weights are logarithms and are scaled by the largest.
//!
//! Douc, Cappé and Moulines, "Comparison of resampling schemes for particle filtering", 2005.

use crate::rng::{Purpose, Rng};

/// How ancestors are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resampling {
    /// Independent draws.
    Multinomial,
    /// One draw in each share.
    Stratified,
    /// The same place in each share.
    Systematic,
    /// Whole copies first, independent draws for the rest.
    Residual,
}

/// The ancestors of the next generation, ascending; as many as there are weights. `None` where no weight is above `-inf`, or
/// one is NaN or `+inf`.
pub fn resample(log_weights: &[f64], scheme: Resampling, rng: Rng) -> Option<Vec<usize>> {
    resample_with(log_weights, scheme, |index| rng.uniform(index, Purpose::RESAMPLE))
}

/// The same with uniform numbers from outside, by index.
fn resample_with(
    log_weights: &[f64],
    scheme: Resampling,
    mut uniform: impl FnMut(u32) -> f64,
) -> Option<Vec<usize>> {
    let best = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !best.is_finite() || log_weights.iter().any(|weight| weight.is_nan()) {
        return None;
    }
    let weights: Vec<f64> = log_weights.iter().map(|weight| (weight - best).exp()).collect();
    let n = weights.len();
    let places = |uniform: &mut dyn FnMut(u32) -> f64| -> Vec<f64> {
        (0..n as u32).map(|i| (f64::from(i) + uniform(i)) / n as f64).collect()
    };
    Some(match scheme {
        Resampling::Multinomial => multinomial(&weights, n, &mut uniform),
        Resampling::Stratified => invert(&weights, &places(&mut uniform)),
        Resampling::Systematic => {
            let offset = uniform(0);
            invert(&weights, &places(&mut |_| offset))
        }
        Resampling::Residual => residual(weights, &mut uniform),
    })
}

fn multinomial(weights: &[f64], n: usize, uniform: &mut impl FnMut(u32) -> f64) -> Vec<usize> {
    let mut places: Vec<f64> = (0..n as u32).map(uniform).collect();
    places.sort_unstable_by(f64::total_cmp);
    invert(weights, &places)
}

fn residual(mut weights: Vec<f64>, uniform: &mut impl FnMut(u32) -> f64) -> Vec<usize> {
    let (n, total) = (weights.len(), weights.iter().sum::<f64>());
    let mut ancestors = Vec::with_capacity(n);
    for (particle, weight) in weights.iter_mut().enumerate() {
        let share = *weight / total * n as f64;
        ancestors.extend(std::iter::repeat_n(particle, share as usize));
        *weight = share.fract();
    }
    // The sum of the whole parts may exceed n by rounding only.
    ancestors.truncate(n);
    ancestors.extend(multinomial(&weights, n - ancestors.len(), uniform));
    ancestors.sort_unstable();
    ancestors
}

/// The particle whose share of the weight each place, ascending in [0, 1), falls into. A place at the very end that rounding
/// leaves over belongs to the last particle with weight.
fn invert(weights: &[f64], places: &[f64]) -> Vec<usize> {
    let total: f64 = weights.iter().sum();
    let last = weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(0);
    let (mut particle, mut below) = (0, 0.0);
    (places.iter())
        .map(|&place| {
            while particle < last && below + weights[particle] <= place * total {
                below += weights[particle];
                particle += 1;
            }
            particle
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMES: [Resampling; 4] =
        [Resampling::Multinomial, Resampling::Stratified, Resampling::Systematic, Resampling::Residual];

    #[test]
    fn every_particle_goes_on_in_proportion_to_its_weight() {
        let weights = [0.0f64, 0.1, 0.45, 0.05, 0.4];
        let log_weights: Vec<f64> = weights.iter().map(|weight| weight.ln() - 900.0).collect();
        for scheme in SCHEMES {
            let n_runs = 20_000u64;
            let mut counts = [0.0; 5];
            for seed in 0..n_runs {
                let ancestors = resample(&log_weights, scheme, Rng::new(seed, 3)).unwrap();
                assert!(ancestors.len() == 5 && ancestors.is_sorted());
                ancestors.into_iter().for_each(|ancestor| counts[ancestor] += 0.2 / n_runs as f64);
            }
            for (count, weight) in counts.iter().zip(weights) {
                // Six standard errors of the independent draws, the widest.
                assert!(
                    (count - weight).abs() < 6.0 * (0.25 / 5.0 / n_runs as f64).sqrt(),
                    "{scheme:?} {counts:?}"
                );
            }
            assert_eq!(counts[0], 0.0);
        }
    }

    /// A particle with weight `w` goes on at least `floor(n w)` times in the schemes that promise it.
    #[test]
    fn whole_copies_are_certain() {
        let log_weights = [0.5f64.ln(), 0.25f64.ln(), 0.125f64.ln(), 0.125f64.ln()];
        for scheme in [Resampling::Systematic, Resampling::Residual] {
            for seed in 0..200 {
                let ancestors = resample(&log_weights, scheme, Rng::new(seed, 0)).unwrap();
                assert_eq!(ancestors[..3], [0, 0, 1], "{scheme:?}");
            }
        }
    }

    #[test]
    fn weights_without_mass_have_no_ancestors() {
        for scheme in SCHEMES {
            assert_eq!(resample(&[f64::NEG_INFINITY; 3], scheme, Rng::new(0, 0)), None);
            assert_eq!(resample(&[0.0, f64::NAN], scheme, Rng::new(0, 0)), None);
            assert_eq!(resample(&[], scheme, Rng::new(0, 0)), None);
            assert_eq!(resample(&[f64::NEG_INFINITY, -1e6], scheme, Rng::new(0, 0)), Some(vec![1, 1]));
            let edge = resample_with(&[0.0, 0.0, f64::NEG_INFINITY], scheme, |_| 1.0 - f64::EPSILON / 2.0);
            assert!(edge.unwrap().iter().all(|&ancestor| ancestor < 2));
        }
    }
}
