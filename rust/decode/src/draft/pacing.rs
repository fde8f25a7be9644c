//! When does a draft model stop drafting, and on which branch does it go on?
//!
//! Confidences along a branch multiply to the chance that all of it is right. When even the best branch falls below a
//! threshold, the target verifies. The threshold adapts: halved when everything was right (drafting may go further), raised
//! by the confidence that turned out wrong when not. Between branches the next token goes to the one that is furthest behind
//! its fair share, a share in proportion to its confidence.
//!
//! Xu et al., "LLMCad: fast and scalable on-device large language model inference", 2023.

/// No threshold is lower: the products of long branches stay above it.
const LOWEST: f64 = 1e-9;
/// At this threshold every token is verified at once.
const HIGHEST: f64 = 1.0;

/// The threshold after a verification in which `n_right` of `n_drafted` tokens stayed, `confidence` being the best
/// branch's when it began.
pub fn next_threshold(threshold: f64, n_right: usize, n_drafted: usize, confidence: f64) -> f64 {
    if n_drafted == 0 {
        return threshold;
    }
    let next = match n_drafted.saturating_sub(n_right) {
        0 => threshold / 2.0,
        n_wrong => threshold / confidence.clamp(LOWEST, 1.0).powf(n_wrong as f64 / n_drafted as f64),
    };
    next.clamp(LOWEST, HIGHEST)
}

/// The branch that gets the next token: that of the largest `M * C_x / sum(C) - T_x` for M tokens in all; `None` where
/// there is none.
pub fn next_branch(confidences: &[f64], n_tokens: &[usize]) -> Option<usize> {
    let sum: f64 = confidences.iter().sum();
    let n_all: usize = n_tokens.iter().sum::<usize>() + 1;
    let behind = |(confidence, &n): (&f64, &usize)| n_all as f64 * confidence / sum.max(LOWEST) - n as f64;
    let lacks: Vec<f64> = confidences.iter().zip(n_tokens).map(behind).collect();
    // The first of equal ones.
    (0..lacks.len()).rev().max_by(|&a, &b| lacks[a].total_cmp(&lacks[b]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_follows_what_was_right() {
        assert_eq!(next_threshold(0.01, 4, 4, 0.5), 0.005);
        assert!((next_threshold(0.01, 0, 4, 0.5) - 0.02).abs() < 1e-15);
        assert!((next_threshold(0.01, 2, 4, 0.25) - 0.02).abs() < 1e-15);
        assert_eq!(next_threshold(0.9, 0, 1, 0.0), HIGHEST);
        assert_eq!(next_threshold(0.3, 0, 0, 0.0), 0.3);
    }

    #[test]
    fn shares_are_fair() {
        let confidences = [0.6, 0.3, 0.1];
        let mut n_tokens = [0; 3];
        for _ in 0..100 {
            n_tokens[next_branch(&confidences, &n_tokens).unwrap()] += 1;
        }
        assert_eq!(n_tokens, [60, 30, 10]);
        assert_eq!(next_branch(&[], &[]), None);
        assert_eq!(next_branch(&[0.0, 0.0], &[1, 0]), Some(1));
    }
}
