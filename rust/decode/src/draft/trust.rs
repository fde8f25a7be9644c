//! How far is a context of this kind to be trusted?
//!
//! A level takes a share of what longer contexts left and leaves the rest to shorter ones ([`super::blend`]). How large the
//! share should be depends on the text and on who says so: a source that repeats what another one knows deserves little,
//! a context of which all occurrences were continued alike deserves more than the rest. So, when tokens came, every level
//! that was asked is told how much of the answer was its own. For each (source, length, kind of context) two counters hold
//! what was expected and what was the case: of the parts it took, and of those it left. The ratio of the two ratios
//! multiplies the odds of later shares.
//!
//! How much of the answer was a level's own is its part in the blended probability of the token that came (the posterior of
//! a mixture; Dempster, Laird and Rubin, "Maximum likelihood from incomplete data via the EM algorithm", 1977). That
//! escapes are best learned by the kind of context is from Bloom, "Solving the problems of context modeling", 1998.

use tokenloom_vocab::TokenId;

use super::calibration::{StreamCalibration, context_cell};
use super::source::{ContextKind, Level, Levels};

/// Parts that are expected on trust of contexts that were counted, ...
const PRIOR: f32 = 5.0;
/// ... and of those whose followers came with probabilities: what their shares are worth is a guess.
const TOLD_PRIOR: f32 = 1.0;
/// The probability of a token that nobody names, of what all contexts left.
const UNNAMED: f32 = 1e-4;

/// The part of a level in what came, or was to be expected: what it took and what it left.
struct Part {
    takes: f32,
    leaves: f32,
}

impl StreamCalibration {
    /// Changes the shares of levels by what was learned of their kinds.
    pub(super) fn weigh(&self, levels: &mut Levels) {
        levels.each(|level| level.escape /= self.odds(level));
    }

    /// What the odds of a level's share are to be multiplied by.
    fn odds(&self, level: &Level) -> f32 {
        let takes = context_cell(level.source, level.n_tokens, level.kind);
        let prior = if level.kind == ContextKind::Told { TOLD_PRIOR } else { PRIOR };
        self.counter(takes).ratio(prior) / self.counter(takes + 1).ratio(prior)
    }

    /// `token` came where these levels, in their order and not weighed yet, were all that is known.
    pub(super) fn learn_shares(&mut self, levels: &Levels, token: TokenId) {
        let mut left = 1.0;
        let mut found: Vec<f32> = Vec::with_capacity(levels.iter().len());
        for level in levels.iter() {
            let share = level.share(self.odds(level));
            found.push(left * share * levels.part(level, token));
            left *= 1.0 - share;
        }
        let total = found.iter().sum::<f32>() + left * UNNAMED;
        let mut reached = 1.0;
        for (level, found) in levels.iter().zip(found) {
            let takes = found / total;
            let share = level.share(1.0);
            let expected = Part { takes: reached * share, leaves: reached * (1.0 - share) };
            self.count(level, &expected, &Part { takes, leaves: (reached - takes).max(0.0) });
            reached = (reached - takes).max(0.0);
        }
    }

    fn count(&mut self, level: &Level, expected: &Part, found: &Part) {
        let takes = context_cell(level.source, level.n_tokens, level.kind);
        self.counter_mut(takes).add(expected.takes, found.takes);
        self.counter_mut(takes + 1).add(expected.leaves, found.leaves);
    }
}
