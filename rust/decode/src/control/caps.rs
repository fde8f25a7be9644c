//! Which distribution is closest to `p` and gives no token more than its cap?
//!
//! Tokens whose continuations are likely to end badly may get at most `cap = 1 - (probability of a bad end)`. Of all
//! distributions below the caps the one that changes `p` least (in relative entropy) scales `p` by one number and cuts at
//! the caps: `q = min(s p, cap)`, with `s` such that `q` sums to one. Raising `s` cuts tokens in the order of `cap / p`, so
//! after sorting one pass finds it: water rising in vessels of different height. Repeated clipping and renormalising, as
//! it is often done, stops above the caps.
//!
//! Where the caps sum to less than one no distribution fits: the caps themselves, renormalised, keep their proportions.
//!
//! Cost: O(n log n). Paper: Cao et al., "Systematic rectification of language models via dead-end analysis", 2023.

use crate::dist::{DistError, DistErrorKind, checked_mass};

/// Replaces `probs`, which sum to one up to a factor, by the capped distribution; returns the scale `s`, infinite where
/// the caps leave no room.
///
/// # Errors
/// [`DistError`] for entries that are negative or not finite, and where no token has both mass and a positive cap.
pub fn cap_probs(probs: &mut [f64], caps: &[f64]) -> Result<f64, DistError> {
    checked_mass(caps, 0)?;
    let mut total = checked_mass(probs, 0)?;
    if total.is_infinite() {
        let largest = probs.iter().copied().fold(0.0, f64::max);
        probs.iter_mut().for_each(|p| *p /= largest);
        total = probs.iter().sum();
    }
    let mut open: Vec<(f64, f64, f64)> = probs
        .iter()
        .zip(caps)
        .filter(|&(&p, &cap)| p > 0.0 && cap > 0.0)
        .map(|(&p, &cap)| (cap / (p / total), p / total, cap))
        .collect();
    if open.is_empty() {
        return Err(DistErrorKind::NoMass { row: 0, n_tokens: probs.len() }.into());
    }
    open.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    // Sums from the back, so that the last ones lose no digits to the first.
    let mut rest = vec![0.0; open.len() + 1];
    for (n, &(_, p, _)) in open.iter().enumerate().rev() {
        rest[n] = rest[n + 1] + p;
    }
    let (mut cut, mut scale, mut uncut) = (0.0, f64::INFINITY, None);
    for (n, &(ratio, _, cap)) in open.iter().enumerate() {
        // Token n and all behind it are not cut at this scale.
        let candidate = (1.0 - cut) / rest[n];
        if candidate <= ratio {
            (scale, uncut) = (candidate, Some(rest[n]));
            break;
        }
        cut += cap;
    }
    for (p, &cap) in probs.iter_mut().zip(caps) {
        *p = match uncut {
            _ if *p == 0.0 => 0.0,
            Some(_) if scale.is_finite() => (*p / total * scale).min(cap),
            // What is left below the caps is so little that the scale is no number.
            Some(rest) => (*p / total / rest * (1.0 - cut)).min(cap),
            None => cap / cut,
        };
    }
    Ok(scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, Rng};

    #[test]
    fn extreme_masses_are_no_exception() {
        let mut probs = [1e-320, 1.0, 0.0];
        cap_probs(&mut probs, &[0.5; 3]).unwrap();
        assert_eq!(probs, [0.5, 0.5, 0.0]);
        let mut probs = [1e308, 1e308, 1.0];
        assert_eq!(cap_probs(&mut probs, &[0.25, 1.0, 1.0]).unwrap(), 1.5);
        assert_eq!(probs[..2], [0.25, 0.75]);
    }

    #[test]
    fn the_capped_distribution_sums_to_one_and_keeps_to_the_caps() {
        for case in 0..2000 {
            let rng = Rng::new(case, 0);
            let n = 1 + (case % 9) as usize;
            let draw = |token: usize, purpose| rng.uniform(token as u32, purpose);
            let probs: Vec<f64> =
                (0..n).map(|t| rng.exponential(t as u32, Purpose::SAMPLE).powi(3)).collect();
            let caps: Vec<f64> = (0..n).map(|t| draw(t, Purpose::DRAFT).powi(2)).collect();
            let total: f64 = probs.iter().sum();
            let mut q = probs.clone();
            let scale = cap_probs(&mut q, &caps).unwrap();
            assert!((q.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            if caps.iter().sum::<f64>() < 1.0 {
                assert!(scale.is_infinite());
                continue;
            }
            for t in 0..n {
                assert!(q[t] <= caps[t] * (1.0 + 1e-12));
                assert!((q[t] - (scale * probs[t] / total).min(caps[t])).abs() < 1e-12);
            }
            // Nothing is raised where something below its cap is not.
            assert!(scale >= 1.0 - 1e-12);
        }
    }

    #[test]
    fn hopeless_rows_are_named() {
        assert!(cap_probs(&mut [0.0, 1.0], &[1.0, 0.0]).is_err());
        assert!(cap_probs(&mut [0.5, f64::NAN], &[1.0, 1.0]).is_err());
        assert!(cap_probs(&mut [0.5, 0.5], &[1.0, -1.0]).is_err());
    }
}
