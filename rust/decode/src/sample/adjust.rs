//! Which logits do the text so far and the request's lists change?
//!
//! Biases, penalties and bans touch the tokens that were seen or listed, a few hundred of a hundred thousand. They are
//! worked out without the logits, as one [`Adjust`] a token: what to add, by what to divide or multiply, what to take
//! away. An engine applies them while it reads the row, so a row is neither copied nor read twice, and a device needs no
//! table as long as the vocabulary. The order inside one token is that of all three hosts: bias, repetition, frequency
//! and presence, DRY; a ban wins over everything.
//!
//! Sources: repetition, Keskar et al. 2019; DRY, p-e-w 2024; scopes of the hosts: docs/concepts/sample.md. Linear in the
//! text and the lists.

use rustc_hash::FxHashMap;

use super::params::Params;
use super::repeats::{continuations, n_after_breaker};

/// What happens to the logit of one token. `repr(C)`: an array of them, ascending by token, is what a device reads.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Adjust {
    /// The token.
    pub token: u32,
    /// Added; `-inf` bans the token, whatever its logit is.
    pub bias: f32,
    /// Divides a positive result and multiplies another; 1 where the token was not seen.
    pub repetition: f32,
    /// Then taken away.
    pub penalty: f32,
}

impl Adjust {
    /// The adjusted logit.
    #[inline(always)]
    pub fn apply(&self, logit: f32) -> f32 {
        if self.bias == f32::NEG_INFINITY {
            return f32::NEG_INFINITY;
        }
        let biased = logit + self.bias;
        let repeated = if biased > 0.0 { biased / self.repetition } else { biased * self.repetition };
        repeated - self.penalty
    }

    /// The words that a kernel reads: the fields in order.
    pub fn words(&self) -> [u32; 4] {
        [self.token, self.bias.to_bits(), self.repetition.to_bits(), self.penalty.to_bits()]
    }

    /// The same of a logit that was not rounded.
    pub(super) fn apply_exactly(&self, logit: f64) -> f64 {
        let biased = logit + f64::from(self.bias);
        let repetition = f64::from(self.repetition);
        let repeated = if biased > 0.0 { biased / repetition } else { biased * repetition };
        repeated - f64::from(self.penalty)
    }
}

/// A text of which the first `n_prompt` tokens were given.
#[derive(Debug, Clone, Copy, Default)]
pub struct History<'a> {
    /// Prompt, then output.
    pub tokens: &'a [u32],
    /// Tokens of the prompt.
    pub n_prompt: usize,
}

impl<'a> History<'a> {
    fn output(&self) -> &'a [u32] {
        &self.tokens[self.n_prompt.min(self.tokens.len())..]
    }
}

/// The last `n` tokens; a negative `n` is all of them.
fn last(tokens: &[u32], n: i64) -> &[u32] {
    let n_kept = usize::try_from(n).unwrap_or(usize::MAX).min(tokens.len());
    &tokens[tokens.len() - n_kept..]
}

/// What `params` changes after this text in rows of `n_vocab` tokens: ascending by token, each at most once.
pub fn adjustments(params: &Params, history: History<'_>, n_vocab: usize) -> Vec<Adjust> {
    let mut table = Table::default();
    for phrase in &params.lists.phrases {
        if let Some(token) = completed(&phrase.tokens, history.tokens) {
            table.entry(token).bias += phrase.bias;
        }
    }
    penalties(params, history, &mut table);
    dry(params, history.tokens, &mut table);
    bans(params, history, &mut table);
    let mut adjusts: Vec<Adjust> =
        table.0.into_values().filter(|adjust| (adjust.token as usize) < n_vocab).collect();
    adjusts.sort_unstable_by_key(|adjust| adjust.token);
    adjusts
}

#[derive(Default)]
struct Table(FxHashMap<u32, Adjust>);

impl Table {
    fn entry(&mut self, token: u32) -> &mut Adjust {
        self.0.entry(token).or_insert(Adjust { token, bias: 0.0, repetition: 1.0, penalty: 0.0 })
    }

    fn ban(&mut self, token: u32) {
        self.entry(token).bias = f32::NEG_INFINITY;
    }
}

/// The token that would complete `sequence` after `text`.
fn completed(sequence: &[u32], text: &[u32]) -> Option<u32> {
    let (&token, before) = sequence.split_last()?;
    text.ends_with(before).then_some(token)
}

fn penalties(params: &Params, history: History<'_>, table: &mut Table) {
    let window = last(history.tokens, params.penalty_last_n);
    if params.repetition_penalty != 1.0 {
        for &token in window {
            table.entry(token).repetition = params.repetition_penalty as f32;
        }
    }
    if params.frequency_penalty != 0.0 || params.presence_penalty != 0.0 {
        let mut counts: FxHashMap<u32, u32> = FxHashMap::default();
        let counted = if params.output_only { last(history.output(), params.penalty_last_n) } else { window };
        for &token in counted {
            *counts.entry(token).or_insert(0) += 1;
        }
        for (token, count) in counts {
            let frequency = count as f32 * params.frequency_penalty as f32;
            table.entry(token).penalty += frequency + params.presence_penalty as f32;
        }
    }
}

fn dry(params: &Params, text: &[u32], table: &mut Table) {
    if params.dry_multiplier <= 0.0 {
        return;
    }
    let window = last(text, params.dry_last_n);
    let allowed = usize::try_from(params.dry_allowed_length).unwrap_or(usize::MAX);
    let breakers = &params.lists.dry_breakers;
    let longest = n_after_breaker(window, breakers);
    if window.len() <= allowed || longest < allowed {
        return;
    }
    let mut lengths: FxHashMap<u32, usize> = FxHashMap::default();
    // The first token of the window continues nothing.
    for (token, length) in continuations(window, allowed).skip(usize::from(allowed == 0)) {
        let length = length.min(longest);
        let reached = lengths.entry(token).or_insert(length);
        *reached = (*reached).max(length);
    }
    for (token, length) in lengths {
        if breakers.iter().any(|breaker| breaker == &[token]) {
            continue;
        }
        let penalty = params.dry_multiplier * params.dry_base.powf((length - allowed) as f64);
        table.entry(token).penalty += penalty.min(f64::from(f32::MAX)) as f32;
    }
}

fn bans(params: &Params, history: History<'_>, table: &mut Table) {
    if let Ok(n_gram) = usize::try_from(params.no_repeat_ngram)
        && (1..=history.tokens.len()).contains(&n_gram)
    {
        for (token, _) in continuations(history.tokens, n_gram - 1) {
            table.ban(token);
        }
    }
    let text = if params.output_only { history.output() } else { history.tokens };
    for sequence in &params.lists.bad_words {
        if let Some(token) = completed(sequence, text) {
            table.ban(token);
        }
    }
    if (history.output().len() as i64) < params.min_tokens {
        params.lists.stop_tokens.iter().for_each(|&token| table.ban(token));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::params::{Lists, Phrase};
    use super::*;

    fn adjusted(params: &Params, tokens: &[u32], n_prompt: usize) -> Vec<(u32, f32)> {
        let adjusts = adjustments(params, History { tokens, n_prompt }, 100);
        adjusts.iter().map(|adjust| (adjust.token, adjust.apply(2.0))).collect()
    }

    #[test]
    fn penalties_look_where_the_host_looks() {
        let params = Params {
            repetition_penalty: 2.0,
            frequency_penalty: 0.25,
            presence_penalty: 0.5,
            ..Params::default()
        };
        assert_eq!(adjusted(&params, &[3, 5, 3], 1), [(3, 0.0), (5, 0.25)]);
        let output_only = Params { output_only: true, ..params.clone() };
        assert_eq!(adjusted(&output_only, &[3, 5, 3], 1), [(3, 0.25), (5, 0.25)]);
        let short = Params { penalty_last_n: 1, ..params };
        assert_eq!(adjusted(&short, &[3, 5, 3], 0), [(3, 0.25)]);
        assert_eq!(adjusted(&short, &[300], 0), []);
    }

    #[test]
    fn lists_bias_and_ban() {
        let phrases = vec![
            Phrase { tokens: vec![1], bias: 0.5 },
            Phrase { tokens: vec![8, 9, 1], bias: 1.0 },
            Phrase { tokens: vec![7, 2], bias: 1.0 },
        ];
        let lists = Lists { phrases, bad_words: vec![vec![9, 4]], stop_tokens: vec![0], ..Lists::default() };
        let params = Params { lists: Arc::new(lists), min_tokens: 3, ..Params::default() };
        let banned = f32::NEG_INFINITY;
        assert_eq!(adjusted(&params, &[8, 9], 0), [(0, banned), (1, 3.5), (4, banned)]);
        assert_eq!(adjusted(&params, &[9, 8, 7], 0), [(1, 2.5), (2, 3.0)]);
        let output_only = Params { output_only: true, ..params };
        assert_eq!(adjusted(&output_only, &[8, 9], 2), [(0, banned), (1, 3.5)]);
    }

    #[test]
    fn repetitions_cost_more_the_longer_they_are() {
        let params = Params { dry_multiplier: 1.0, dry_base: 2.0, ..Params::default() };
        assert_eq!(adjusted(&params, &[1, 2, 3, 4, 1, 2, 3], 0), [(4, 0.0)]);
        assert_eq!(adjusted(&params, &[1, 2, 3, 1, 2], 0), [(3, 1.0)]);
        let lists = Arc::new(Lists { dry_breakers: vec![vec![2]], ..Lists::default() });
        assert_eq!(adjusted(&Params { lists, ..params }, &[1, 2, 3, 4, 1, 2, 3], 0), []);
        let ngram = Params { no_repeat_ngram: 2, ..Params::default() };
        assert_eq!(adjusted(&ngram, &[1, 2, 1, 3, 1], 0), [(2, f32::NEG_INFINITY), (3, f32::NEG_INFINITY)]);
        let single = Params { no_repeat_ngram: 1, ..Params::default() };
        assert_eq!(adjusted(&single, &[1, 2], 0), [(1, f32::NEG_INFINITY), (2, f32::NEG_INFINITY)]);
        assert_eq!(adjusted(&ngram, &[], 0), []);
    }
}
