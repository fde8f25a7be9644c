//! What do two models, or a model and a judge, say together?
//!
//! Rows in, a row of logits out, which is then drawn from like any other. *Guidance* (Sanchez et al. 2023) moves away
//! from what a model says without its condition; *contrast* (Li et al. 2023, and the form of O'Brien and Lewis 2023)
//! moves away from a weaker model among what the stronger one finds plausible; *caps* (Cao et al. 2023) bound what tokens
//! that lead to dead ends may have. All see log-probabilities, so constants that models add do not matter.
//!
//! Linear; caps sort the tokens that have one.

use super::keep::Kept;
use super::math::ln_mass;
use super::row::{Logits, RowBuffers, Status};

/// How a stronger and a weaker model are combined.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contrast {
    /// Tokens with less than this share of the expert's best probability are removed.
    pub alpha: f32,
    /// `None`: `log p_e - log p_a`. Otherwise `(1 + beta) log p_e - beta log p_a`.
    pub beta: Option<f32>,
}

/// The logarithm of the sum of `e^logit`.
fn log_norm(logits: &[f32]) -> Result<f32, Status> {
    let mut buffers = RowBuffers::default();
    let row = buffers.read(Logits::F32(logits), None, &[], &[])?;
    Ok(row.max + ln_mass(Kept::all(&row).total_mass()))
}

/// `u + scale (c - u)` of log-probabilities. A token that either row rules out is ruled out.
///
/// # Errors
/// The [`Status`] of a row that is no distribution; `guided` is then NaN.
pub fn guide(
    conditional: &[f32],
    unconditional: &[f32],
    scale: f32,
    guided: &mut [f32],
) -> Result<(), Status> {
    guided.fill(f32::NAN);
    let (norm_c, norm_u) = (log_norm(conditional)?, log_norm(unconditional)?);
    for ((guided, &c), &u) in guided.iter_mut().zip(conditional).zip(unconditional) {
        let (c, u) = (c - norm_c, u - norm_u);
        let is_possible = c > f32::NEG_INFINITY && u > f32::NEG_INFINITY;
        *guided = if is_possible { scale.mul_add(c - u, u) } else { f32::NEG_INFINITY };
    }
    Ok(())
}

/// The score of [`Contrast`] for the expert's plausible tokens, `-inf` for the others. A plausible token that the amateur
/// rules out scores `+inf`.
///
/// # Errors
/// The [`Status`] of a row that is no distribution; `scores` is then NaN.
pub fn contrast(expert: &[f32], amateur: &[f32], how: Contrast, scores: &mut [f32]) -> Result<(), Status> {
    scores.fill(f32::NAN);
    let (norm_e, norm_a) = (log_norm(expert)?, log_norm(amateur)?);
    let max = expert.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let least = max + how.alpha.ln();
    for ((score, &e), &a) in scores.iter_mut().zip(expert).zip(amateur) {
        let (log_e, log_a) = (e - norm_e, a - norm_a);
        *score = match how.beta {
            _ if e < least || e == f32::NEG_INFINITY => f32::NEG_INFINITY,
            None => log_e - log_a,
            Some(0.0) => log_e,
            Some(beta) => (1.0 + beta).mul_add(log_e, -beta * log_a),
        };
    }
    Ok(())
}

/// Log-probabilities `log min(s p_t, cap_t)` with the one `s` that makes them sum to one: no token has more than its cap,
/// and the others keep their proportions. Caps that sum to less than one are all used up, and then in proportion.
///
/// # Errors
/// The [`Status`] of a row that is no distribution, and [`Status::Empty`] where every possible token has a cap of zero;
/// `capped` is then NaN.
pub fn cap(logits: &[f32], caps: &[f32], capped: &mut [f32]) -> Result<(), Status> {
    capped.fill(f32::NAN);
    log_norm(logits)?;
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |logit: f32| (f64::from(logit) - f64::from(max)).exp();
    let total: f64 = logits.iter().map(|&logit| weight(logit)).sum();
    let room: f64 =
        logits.iter().zip(caps).filter(|(l, _)| **l > f32::NEG_INFINITY).map(|(_, &c)| f64::from(c)).sum();
    if room <= 0.0 {
        return Err(Status::Empty);
    }
    // Tokens in the order in which a growing `s` makes them reach their caps.
    let mut reached: Vec<(f64, f64, f64)> = logits
        .iter()
        .zip(caps)
        .filter(|(logit, cap)| **logit > f32::NEG_INFINITY && **cap < 1.0)
        .map(|(&logit, &cap)| (weight(logit) / total, f64::from(cap)))
        .map(|(p, cap)| (cap / p, p, cap))
        .collect();
    reached.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (mut scale, mut p_left, mut cap_left) = (f64::INFINITY, 1.0, 1.0);
    if room > 1.0 {
        scale = 1.0;
        for (ratio, p, cap) in reached {
            if scale <= ratio {
                break;
            }
            p_left -= p;
            cap_left -= cap;
            scale = if p_left > 0.0 { (cap_left / p_left).max(ratio) } else { f64::INFINITY };
        }
    }
    let norm = room.min(1.0);
    for ((capped, &logit), &cap) in capped.iter_mut().zip(logits).zip(caps) {
        let scaled = if logit > f32::NEG_INFINITY { weight(logit) / total * scale } else { 0.0 };
        *capped = (scaled.min(f64::from(cap)) / norm).ln() as f32;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: f32 = f32::NEG_INFINITY;

    #[test]
    fn guidance_moves_away_from_the_unconditional_row() {
        let mut guided = [0.0; 3];
        guide(&[1.0, 0.0, NONE], &[5.0, 5.0, 5.0], 2.0, &mut guided).unwrap();
        assert!((guided[0] - guided[1] - 2.0).abs() < 1e-6 && guided[2] == NONE);
        assert_eq!(guide(&[f32::NAN, 0.0], &[0.0, 0.0], 1.0, &mut guided[..2]), Err(Status::NotFinite));
        assert!(guided[0].is_nan());
    }

    #[test]
    fn contrast_scores_what_the_expert_finds_plausible() {
        let mut scores = [0.0; 4];
        let how = Contrast { alpha: 0.1, beta: None };
        contrast(&[3.0, 2.0, -9.0, NONE], &[3.0, 0.0, 3.0, 0.0], how, &mut scores).unwrap();
        assert!((scores[1] - scores[0] - 2.0).abs() < 1e-6);
        assert_eq!(scores[2..], [NONE, NONE]);
        contrast(&[3.0, 2.0], &[3.0, 0.0], Contrast { beta: Some(0.5), ..how }, &mut scores[..2]).unwrap();
        assert!((scores[1] - scores[0] - 0.0).abs() < 1e-6);
    }

    #[test]
    fn caps_fill_up_like_water() {
        let logits = [0.5f32.ln(), 0.3f32.ln(), 0.2f32.ln(), NONE];
        let capped = |caps: [f32; 4]| {
            let mut capped = [0.0; 4];
            cap(&logits, &caps, &mut capped).map(|()| capped.map(f32::exp))
        };
        let close = |found: [f32; 4], expected: [f32; 4]| {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {expected:?}");
        };
        close(capped([1.0; 4]).unwrap(), [0.5, 0.3, 0.2, 0.0]);
        close(capped([0.4, 1.0, 1.0, 1.0]).unwrap(), [0.4, 0.36, 0.24, 0.0]);
        // The second is pushed over its cap by what the first gives away.
        close(capped([0.4, 0.32, 1.0, 1.0]).unwrap(), [0.4, 0.32, 0.28, 0.0]);
        close(capped([0.2, 0.2, 0.1, 1.0]).unwrap(), [0.4, 0.4, 0.2, 0.0]);
        close(capped([0.0, 0.0, 1.0, 1.0]).unwrap(), [0.0, 0.0, 1.0, 0.0]);
        assert_eq!(capped([0.0, 0.0, 0.0, 1.0]), Err(Status::Empty));
    }
}
