//! Which tokens that were drafted at any places of a text may stay?
//!
//! A model that fills a text in any order gives, for places in an order, the law of each token behind the decided ones and
//! the drafted ones before it. Drafted tokens are tested in that order as along a chain; what differs is the ends: the
//! rows are places of the text, and where all drafts stay there is no row for one more. Numbers are looked up at the places
//! themselves, which are decided once.
//!
//! A draft without a model, for texts that repeat themselves: the token behind a known left neighbour is drawn from what
//! followed that neighbour elsewhere, otherwise from all decided tokens, otherwise from the whole vocabulary.
//!
//! O(n V). Guo and Ermon, "Reviving any-subset autoregressive models with principled parallel sampling and speculative
//! decoding", 2025.

use std::collections::BTreeMap;

use tokenloom_vocab::TokenId;

use super::chain::first_rejection;
use super::chance::{Chance, draw_at};
use super::error::{VerifyError, VerifyErrorKind};
use super::residual::Residual;
use super::row::{Number, Row, TreeRows};
use crate::draft::DraftTree;
use crate::rng::{Purpose, Rng};

/// What is decided after a verification in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// How many drafted tokens stay.
    pub n_accepted: usize,
    /// The token that takes the place of the first rejected one, if there is one.
    pub instead: Option<TokenId>,
}

/// Decisions at the places of a text.
#[derive(Clone, Copy, Debug)]
pub struct SeededAt<'a> {
    /// The seed; its position is added to every place.
    pub rng: Rng,
    /// The place of each drafted token.
    pub places: &'a [u64],
}

impl SeededAt<'_> {
    fn at(&self, node: usize) -> Rng {
        self.rng.at(self.rng.position.wrapping_add(self.places[node]))
    }
}

impl Chance for SeededAt<'_> {
    fn accepts(&mut self, node: usize, probability: f64) -> bool {
        probability >= 1.0 || (probability > 0.0 && self.at(node).uniform(0, Purpose::ACCEPT) < probability)
    }

    fn draw<T: Number>(&mut self, from: &Residual<'_, T>, depth: usize, purpose: Purpose) -> Option<TokenId> {
        draw_at(from, self.at(depth), purpose)
    }
}

/// Tests the tokens of a chain, whose nodes stand for places, against row `i` of `p` and `q` each.
///
/// # Errors
/// Those of [`super::chain()`].
pub fn any_order<T: Number>(
    p: TreeRows<'_, T>,
    q: TreeRows<'_, T>,
    drafts: &DraftTree,
    chance: &mut impl Chance,
) -> Result<Decided, VerifyError> {
    Ok(match first_rejection(p, q, drafts, chance)? {
        Some((n_accepted, token)) => Decided { n_accepted, instead: Some(token) },
        None => Decided { n_accepted: drafts.n_nodes(), instead: None },
    })
}

/// Tokens drawn for open places, and the laws they were drawn from, one row a place.
#[derive(Clone, Debug, PartialEq)]
pub struct ContextDraft {
    /// One token a place.
    pub tokens: Vec<TokenId>,
    /// What each was drawn from, row after row.
    pub q: Vec<f64>,
}

/// Drafts tokens for `places` of a text, in their order, from the pairs of neighbours in the text.
///
/// # Errors
/// [`VerifyErrorKind::Place`] for a place that is not open, [`VerifyErrorKind::Token`] for a token that is no column.
pub fn context_draft(
    text: &[Option<TokenId>],
    places: &[usize],
    n_vocab: usize,
    rng: Rng,
) -> Result<ContextDraft, VerifyError> {
    if let Some(node) = text.iter().flatten().position(|&token| token as usize >= n_vocab) {
        let token = text.iter().flatten().nth(node).map_or(0, |&token| token as i32);
        return Err(VerifyErrorKind::Token { node, token, n_vocab }.into());
    }
    let mut followers: BTreeMap<TokenId, Vec<TokenId>> = BTreeMap::new();
    for pair in text.windows(2) {
        if let [Some(token), Some(next)] = pair {
            followers.entry(*token).or_default().push(*next);
        }
    }
    let decided: Vec<TokenId> = text.iter().flatten().copied().collect();
    let mut text = text.to_vec();
    let mut draft = ContextDraft { tokens: Vec::new(), q: vec![0.0; places.len() * n_vocab] };
    for (&place, q) in places.iter().zip(draft.q.chunks_mut(n_vocab.max(1))) {
        if text.get(place) != Some(&None) {
            return Err(VerifyErrorKind::Place { place, n_places: text.len() }.into());
        }
        let neighbour = place.checked_sub(1).and_then(|before| text[before]);
        let seen = neighbour.and_then(|token| followers.get(&token)).unwrap_or(&decided);
        seen.iter().for_each(|&token| q[token as usize] += 1.0 / seen.len() as f64);
        if seen.is_empty() {
            q.fill(1.0 / n_vocab as f64);
        }
        let at = rng.at(rng.position.wrapping_add(place as u64));
        let token = Residual::whole(Row::new(q, 0)?).race(at, Purpose::DRAFT);
        let token = token.ok_or(VerifyError::no_mass(0, n_vocab))?;
        text[place] = Some(token);
        draft.tokens.push(token);
    }
    Ok(draft)
}
