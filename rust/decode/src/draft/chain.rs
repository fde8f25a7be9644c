//! Which tokens follow, and how many of them are worth a model's time?
//!
//! Every source (the stream itself, the history of finished streams) matches some suffix of the context, and each
//! shorter suffix of it occurred at least as often. The probability of a token blends all these levels, longest first:
//! a level of `k` tokens that was continued `n` times gets the share `n / (n + escape(k))` of what the longer levels
//! left, and gives a token that followed `c` times `c / n` of its share (prediction by partial matching with a
//! Dirichlet escape). One old occurrence is therefore no certainty, and many agreeing ones nearly are.
//! The chain takes the most probable token, steps every source forward and goes on while the probability that the
//! *whole* chain is right stays above a floor: a token is drafted if and only if it is expected to be worth its row.
//!
//! Cost: at most `MAX_LEVELS` levels and `MAX_CANDIDATES` candidates a token, each one transition look-up.
//!
//! Cleary and Witten, "Data compression using adaptive coding and partial string matching", 1984; MacKay and Peto,
//! "A hierarchical Dirichlet language model", 1995.

use tokenloom_vocab::TokenId;

use super::automaton::{Automaton, DocumentEnd, END_OF_DOCUMENT, Match};

/// The stream itself, the young and the old generation of the history.
const N_SOURCES: usize = 3;
/// Levels looked at for one token: what is left below them decides nothing.
const MAX_LEVELS: usize = 8;
/// Shorter levels are skipped once less than this share is left to them.
const NEGLIGIBLE: f64 = 0.02;

/// How match lengths and counts become probabilities, and where a chain ends.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainRule {
    /// The least probability of the whole chain up to and including a token.
    pub floor: f64,
    /// Pseudo-occurrences that a level of one token leaves to the shorter ones; see [`ChainRule::escape`].
    pub escape_short: f64,
    /// What the escape tends to as the match grows.
    pub escape_long: f64,
    /// The factor by which the escape falls with each matched token.
    pub escape_decay: f64,
    /// Extra occurrences for the latest continuation of a level.
    pub recency: f64,
    /// History escape factor.
    pub history: f64,
}

impl Default for ChainRule {
    fn default() -> Self {
        Self { floor: 0.1, escape_short: 4.0, escape_long: 0.3, escape_decay: 0.7, recency: 0.5, history: 2.0 }
    }
}

impl ChainRule {
    /// The pseudo-occurrences that a level of `length` tokens leaves to the levels below.
    fn escape(&self, length: usize, local: bool) -> f64 {
        let fall = self.escape_decay.powi(length.saturating_sub(1) as i32);
        let e = self.escape_long + (self.escape_short - self.escape_long) * fall;
        if local { e } else { e * self.history }
    }
}

/// One index and the suffix of the context that it knows.
pub(crate) struct Source<'a> {
    pub(crate) automaton: &'a Automaton,
    pub(crate) matched: Match,
    /// The document that is still written.
    pub(crate) open: Option<DocumentEnd>,
}

struct Level {
    source: usize,
    matched: Match,
    n_continued: f64,
    share: f64,
    latest: TokenId,
}

/// Drafts at most `budget` tokens behind the context of `sources` into `tokens` and `probs`.
pub(crate) fn draft_chain(rule: &ChainRule, mut sources: [Source<'_>; N_SOURCES], budget: usize) -> (Vec<TokenId>, Vec<f32>) {
    let (mut tokens, mut probs) = (Vec::new(), Vec::new());
    let mut reach = 1.0;
    while tokens.len() < budget {
        let Some((token, prob)) = most_probable(rule, &sources) else { break };
        reach *= prob;
        if reach < rule.floor {
            break;
        }
        tokens.push(token);
        probs.push(prob as f32);
        for source in &mut sources {
            source.matched = source.automaton.advance(source.matched, token);
        }
    }
    (tokens, probs)
}

fn most_probable(rule: &ChainRule, sources: &[Source<'_>; N_SOURCES]) -> Option<(TokenId, f64)> {
    let mut levels: Vec<Level> = Vec::with_capacity(MAX_LEVELS);
    collect_levels(rule, sources, &mut levels);
    let mut best: Option<(TokenId, f64)> = None;
    for (rank, level) in levels.iter().enumerate() {
        let token = level.latest;
        if token == END_OF_DOCUMENT || levels[..rank].iter().any(|above| above.latest == token) {
            continue;
        }
        let prob: f64 = levels
            .iter()
            .map(|level| {
                let Source { automaton, open, .. } = &sources[level.source];
                let n = f64::from(automaton.n_followed_by(level.matched, token, *open));
                let bonus = if level.latest == token { rule.recency } else { 0.0 };
                level.share * (n + bonus) / (level.n_continued + rule.recency)
            })
            .sum();
        if best.is_none_or(|(_, highest)| prob > highest) {
            best = Some((token, prob));
        }
    }
    best
}

fn collect_levels(rule: &ChainRule, sources: &[Source<'_>; N_SOURCES], levels: &mut Vec<Level>) {
    let mut heads: Vec<Option<Match>> =
        sources.iter().map(|s| Some(s.automaton.longest_continued(s.matched))).collect();
    let mut left = 1.0;
    while levels.len() < MAX_LEVELS && left > NEGLIGIBLE {
        let Some(source) = (0..heads.len())
            .filter(|&i| heads[i].is_some_and(|m| m.n_tokens() > 0))
            .max_by_key(|&i| (heads[i].map_or(0, Match::n_tokens), std::cmp::Reverse(i)))
        else {
            break;
        };
        let Some(matched) = heads[source] else { break };
        let automaton = sources[source].automaton;
        heads[source] = automaton.next_shorter(matched);
        let Some((latest, _)) = automaton.latest(matched) else { continue };
        let n_continued = f64::from(automaton.n_continued(matched));
        let n = n_continued + rule.recency;
        let share = left * n / (n + rule.escape(matched.n_tokens(), source == 0));
        left -= share;
        levels.push(Level { source, matched, n_continued, share, latest });
    }
}
