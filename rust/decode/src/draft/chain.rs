//! Which tokens follow, and how many of them are worth a row of the model?
//!
//! Every source (the stream itself, the history of finished streams) matches some suffix of the context, and each
//! shorter suffix of it occurred at least as often. The probability of a token blends all these levels, longest first:
//! a level of `k` tokens that was continued `n` times takes the share `n / (n + escape(k))` of what the longer levels
//! left, and gives a token that followed `c` times `c / n` of its share (prediction by partial matching with a
//! Dirichlet escape). One old occurrence is therefore no certainty, and many agreeing ones nearly are.
//! The chain takes the most probable token, steps every source forward, and goes on while the probability that the
//! *whole* chain is right stays at `min_prob` or above: a token is drafted if and only if it is expected to be accepted
//! that often. The constants make the probabilities calibrated on text, mathematics and code: of the tokens drafted
//! with probability 0.3, about 0.3 are right.
//!
//! Cost: at most `MAX_LEVELS` levels and as many candidates a token, one transition each. Candidates are the latest
//! continuation of each level: a token that was frequent long ago at one level only is not considered.
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
/// Occurrences that a match of one token leaves to other explanations, ...
const ESCAPE_SHORT: f64 = 3.0;
/// ... that a very long one leaves, ...
const ESCAPE_LONG: f64 = 0.3;
/// ... and the factor by which the difference falls with each matched token.
const ESCAPE_DECAY: f64 = 0.7;
/// Another text explains this one less than it does itself: its escapes are this many times larger.
const HISTORY_ESCAPE: f64 = 5.0;
/// The latest continuation counts for this many occurrences more.
const RECENCY: f64 = 0.4;

/// One index and the suffix of the context that it knows.
pub(super) struct Source<'a> {
    pub(super) automaton: &'a Automaton,
    pub(super) matched: Match,
    /// The document that is still written.
    pub(super) open: Option<DocumentEnd>,
    /// Is the text of the stream itself indexed?
    pub(super) is_own: bool,
}

/// A suffix of the context in one source, and its share in the blend.
struct Level<'a> {
    source: &'a Source<'a>,
    matched: Match,
    n_continued: f64,
    latest: TokenId,
    share: f64,
}

/// Drafts at most `budget` tokens behind the context of `sources`, with their probabilities.
pub(super) fn draft_chain(
    min_prob: f64,
    mut sources: [Source<'_>; N_SOURCES],
    budget: usize,
) -> (Vec<TokenId>, Vec<f32>) {
    let (mut tokens, mut probs) = (Vec::new(), Vec::new());
    let mut chain_prob = 1.0;
    while tokens.len() < budget {
        let Some((token, prob)) = most_probable(&sources) else { break };
        chain_prob *= prob;
        if chain_prob < min_prob {
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

/// The most probable of the latest continuations; ties go to the longer match.
fn most_probable(sources: &[Source<'_>; N_SOURCES]) -> Option<(TokenId, f64)> {
    let levels = blend_levels(sources);
    let levels = || levels.iter().flatten();
    let mut best: Option<(TokenId, f64)> = None;
    for (rank, Level { latest: token, .. }) in levels().enumerate() {
        if *token == END_OF_DOCUMENT || levels().take(rank).any(|longer| longer.latest == *token) {
            continue;
        }
        let prob: f64 = levels().map(|level| level.share * level.prob(*token)).sum();
        if best.is_none_or(|(_, highest)| prob > highest) {
            best = Some((*token, prob));
        }
    }
    best
}

/// The levels of all sources, longest match first, the stream before the history, each with its share.
fn blend_levels<'a>(sources: &'a [Source<'a>; N_SOURCES]) -> [Option<Level<'a>>; MAX_LEVELS] {
    let mut levels = [const { None }; MAX_LEVELS];
    let mut next = sources.each_ref().map(|source| source.automaton.longest_continued(source.matched));
    let mut left = 1.0;
    for slot in &mut levels {
        let mut longest = 0;
        for i in 1..N_SOURCES {
            if next[i].n_tokens() > next[longest].n_tokens() {
                longest = i;
            }
        }
        let (source, matched) = (&sources[longest], next[longest]);
        if matched.n_tokens() == 0 || left < NEGLIGIBLE {
            break;
        }
        next[longest] = source.automaton.next_shorter(matched).unwrap_or_default();
        let Some((latest, _)) = source.automaton.latest(matched) else { break };
        let n_continued = f64::from(source.automaton.n_continued(matched)) + RECENCY;
        let share = left * n_continued / (n_continued + source.escape(matched.n_tokens()));
        left -= share;
        *slot = Some(Level { source, matched, n_continued, latest, share });
    }
    levels
}

impl Source<'_> {
    /// The occurrences that a match of `n_tokens` leaves to shorter ones.
    fn escape(&self, n_tokens: usize) -> f64 {
        let fall = ESCAPE_DECAY.powi(n_tokens.min(64) as i32 - 1);
        let escape = ESCAPE_LONG + (ESCAPE_SHORT - ESCAPE_LONG) * fall;
        if self.is_own { escape } else { escape * HISTORY_ESCAPE }
    }
}

impl Level<'_> {
    /// How probable `token` is at this level alone.
    fn prob(&self, token: TokenId) -> f64 {
        let Source { automaton, open, .. } = self.source;
        let bonus = if self.latest == token { RECENCY } else { 0.0 };
        (f64::from(automaton.n_followed_by(self.matched, token, *open)) + bonus) / self.n_continued
    }
}
