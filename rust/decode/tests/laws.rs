//! Are the laws of verification and of weighted rejection exact? Every outcome is enumerated with its probability: the
//! production code takes its draws from outside, so what is enumerated is what runs.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::num::NonZeroUsize;

use tokenloom_decode::control::{Check, Estimator, Token, Urn, Weighing, WeightedToken, weigh};
use tokenloom_decode::draft::DraftTree;
use tokenloom_decode::rng::{Purpose, Rng};
use tokenloom_decode::verify::{Accepted, walk_with};

const TOLERANCE: f64 = 1e-12;
/// Committed tokens whose law is compared.
const DEPTH: usize = 3;

/// A number in (0, 1) for each address.
fn uniform(case: u64, address: u32) -> f64 {
    Rng::new(case, 0).uniform(address, Purpose::SAMPLE)
}

fn normalised(weights: Vec<f64>) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// The target's law behind a prefix: a different one for each prefix, with a forbidden token now and then.
fn target(case: u64, prefix: &[u32], n_vocab: u32) -> Vec<f64> {
    let address = prefix.iter().fold(1, |address, &token| address * 7 + token + 1);
    let weight = |token| uniform(case, address * 8 + token).powi(3);
    let mut weights: Vec<f64> = (0..n_vocab).map(weight).collect();
    if n_vocab > 1 && uniform(case, address * 8 + 7) < 0.3 {
        weights[0] = 0.0;
    }
    normalised(weights)
}

/// All trees of `n_nodes` nodes up to depth 3 over `n_vocab` tokens, equal siblings included.
fn trees(n_nodes: usize, n_vocab: i64) -> Vec<DraftTree> {
    let mut shapes: Vec<(Vec<i64>, Vec<i64>)> = vec![(vec![], vec![])];
    for node in 0..n_nodes as i64 {
        let grow = |(tokens, parents): (Vec<i64>, Vec<i64>)| {
            (-1..node).flat_map(move |parent| {
                let (tokens, parents) = (tokens.clone(), parents.clone());
                (0..n_vocab)
                    .map(move |token| ([&tokens[..], &[token]].concat(), [&parents[..], &[parent]].concat()))
            })
        };
        shapes = shapes.into_iter().flat_map(grow).collect();
    }
    let tree = |(tokens, parents): (Vec<i64>, Vec<i64>)| {
        DraftTree::new(&tokens, &parents, vec![1.0; n_nodes]).unwrap()
    };
    shapes.into_iter().map(tree).filter(|tree| tree.depths().iter().all(|&depth| depth <= 3)).collect()
}

/// Tokens on the way from the root to `row`.
fn prefix_of(tree: &DraftTree, row: usize) -> Vec<u32> {
    let mut prefix = Vec::new();
    let mut row = row;
    while row > 0 {
        prefix.push(tree.tokens()[row - 1] as u32);
        row = (tree.parents()[row - 1] + 1) as usize;
    }
    prefix.reverse();
    prefix
}

/// Runs one verification for every sequence of draws that can happen, each with its probability.
fn enumerate_walks(tree: &DraftTree, case: u64, n_vocab: u32, mut visit: impl FnMut(&Accepted, f64)) {
    let mut open: Vec<(Vec<u32>, f64)> = vec![(vec![], 1.0)];
    while let Some((draws, probability)) = open.pop() {
        // A row beyond the draws made so far is reported as an error and branched over.
        let result = walk_with(tree, |row, depth| draws.get(depth).copied().ok_or(row));
        match result {
            Ok(accepted) => visit(&accepted, probability),
            Err(row) => {
                let law = target(case, &prefix_of(tree, row), n_vocab);
                for (token, &p) in law.iter().enumerate().filter(|(_, p)| **p > 0.0) {
                    open.push(([&draws[..], &[token as u32]].concat(), probability * p));
                }
            }
        }
    }
}

/// Extends committed tokens by the target's own law, so that every outcome has `DEPTH` tokens.
fn complete(law: &mut BTreeMap<Vec<u32>, f64>, text: Vec<u32>, probability: f64, case: u64, n_vocab: u32) {
    if text.len() >= DEPTH {
        *law.entry(text[..DEPTH].to_vec()).or_default() += probability;
        return;
    }
    for (token, &p) in target(case, &text, n_vocab).iter().enumerate().filter(|(_, p)| **p > 0.0) {
        complete(law, [&text[..], &[token as u32]].concat(), probability * p, case, n_vocab);
    }
}

#[test]
fn a_walk_commits_the_law_of_the_target() {
    let mut n_trees = 0;
    for n_vocab in 1..=4u32 {
        for n_nodes in 0..=4usize {
            // Every tree over few tokens; over four tokens every shape, with tokens that vary from node to node.
            for (i, tree) in trees(n_nodes, i64::from(n_vocab)).into_iter().enumerate() {
                if n_vocab == 4 && n_nodes == 4 && i % 7 != 0 {
                    continue;
                }
                let case = 1000 * n_nodes as u64 + u64::from(n_vocab);
                let (mut found, mut expected) = (BTreeMap::new(), BTreeMap::new());
                enumerate_walks(&tree, case, n_vocab, |accepted, probability| {
                    let path = accepted.path.iter().map(|&node| tree.tokens()[node] as u32);
                    let text: Vec<u32> = path.chain([accepted.next_token]).collect();
                    complete(&mut found, text, probability, case, n_vocab);
                });
                complete(&mut expected, vec![], 1.0, case, n_vocab);
                assert_eq!(found.len(), expected.len());
                for (text, probability) in &expected {
                    assert!((found[text] - probability).abs() < TOLERANCE, "{tree:?} {text:?}");
                }
                n_trees += 1;
            }
        }
    }
    assert!(n_trees > 3000, "{n_trees}");
}

/// No lossless rule accepts a path more often than the target says it; the walk accepts it exactly that often.
#[test]
fn a_path_stays_as_often_as_the_target_says_it() {
    let tree = DraftTree::new(&[0, 1, 2, 1], &[-1, 0, 0, 1], vec![1.0; 4]).unwrap();
    for (node, path) in [(0usize, vec![0u32]), (1, vec![0, 1]), (2, vec![0, 2]), (3, vec![0, 1, 1])] {
        let mut found = 0.0;
        enumerate_walks(&tree, 5, 3, |accepted, probability| {
            found += if accepted.path.contains(&node) { probability } else { 0.0 };
        });
        let expected: f64 = (0..path.len()).map(|i| target(5, &path[..i], 3)[path[i] as usize]).product();
        assert!((found - expected).abs() < TOLERANCE);
    }
}

/// An urn whose decisions are told: the first ones by `script`, the next one is reported with its chances, and what
/// follows does not matter any more.
struct Scripted<'a> {
    probs: &'a [f64],
    seen: Vec<bool>,
    script: &'a [usize],
    probability: f64,
    branches: Option<Vec<f64>>,
    /// From so many failures on they are all the same.
    most_failures: usize,
}

impl<'a> Scripted<'a> {
    fn new(probs: &'a [f64], script: &'a [usize], most_failures: usize) -> Self {
        let seen = probs.iter().map(|&p| p == 0.0).collect();
        Self { probs, seen, script, probability: 1.0, branches: None, most_failures }
    }

    fn unseen(&self) -> Vec<usize> {
        (0..self.probs.len()).filter(|&token| !self.seen[token]).collect()
    }

    fn decide(&mut self, weights: Vec<f64>) -> usize {
        let chances = normalised(weights);
        if let [choice, rest @ ..] = self.script {
            self.script = rest;
            self.probability *= chances[*choice];
            return *choice;
        }
        self.branches.get_or_insert(chances);
        0
    }
}

impl Urn for Scripted<'_> {
    fn draw(&mut self) -> Option<Token> {
        let unseen = self.unseen();
        if unseen.is_empty() {
            return None;
        }
        let token = unseen[self.decide(unseen.iter().map(|&token| self.probs[token]).collect())];
        self.seen[token] = true;
        Some(Token { id: token as u32, log_mass: self.probs[token].ln() })
    }

    fn log_rest(&mut self) -> f64 {
        self.unseen().into_iter().map(|token| self.probs[token]).sum::<f64>().ln()
    }

    fn heaviest(&mut self, n: usize) -> Vec<Token> {
        let mut unseen = self.unseen();
        unseen.sort_by(|&a, &b| self.probs[b].total_cmp(&self.probs[a]).then(a.cmp(&b)));
        unseen.truncate(n);
        unseen.iter().for_each(|&token| self.seen[token] = true);
        unseen.into_iter().map(|token| Token { id: token as u32, log_mass: self.probs[token].ln() }).collect()
    }

    fn remove(&mut self, tokens: &[u32]) -> Vec<Token> {
        let found: Vec<usize> =
            tokens.iter().map(|&token| token as usize).filter(|&token| !self.seen[token]).collect();
        found.iter().for_each(|&token| self.seen[token] = true);
        found.into_iter().map(|token| Token { id: token as u32, log_mass: self.probs[token].ln() }).collect()
    }

    fn choose(&mut self, log_masses: &[f64]) -> usize {
        self.decide(log_masses.iter().map(|log_mass| log_mass.exp()).collect())
    }

    fn failures(&mut self, share: f64) -> f64 {
        let mut chances: Vec<f64> =
            (0..self.most_failures).map(|n| share * (1.0 - share).powi(n as i32)).collect();
        chances.push((1.0 - share).powi(self.most_failures as i32));
        self.decide(chances) as f64
    }
}

/// Masses and verdicts of a random row of `n_vocab` tokens; some masses are zero, some rows do not sum to 1.
fn row(case: u64, n_vocab: usize) -> Option<(Vec<f64>, Vec<bool>)> {
    let weights: Vec<f64> = (0..n_vocab as u32)
        .map(|token| match uniform(case, token) {
            u if u < 0.15 => 0.0,
            u => u.powi(6),
        })
        .collect();
    let mass = if case.is_multiple_of(3) { 0.4 } else { 1.0 };
    let allowed = (100..100 + n_vocab as u32).map(|address| uniform(case, address) < 0.6).collect();
    let probs: Vec<f64> = normalised(weights).into_iter().map(|p| p * mass).collect();
    probs[0].is_finite().then_some((probs, allowed))
}

/// A check that knows some verdicts beforehand and must not be asked for them.
struct Facts<'a> {
    allowed: &'a [bool],
    known: &'a [(u32, bool)],
    asked: &'a mut Vec<usize>,
}

impl Check for Facts<'_> {
    type Error = Infallible;

    fn check(&mut self, token: u32) -> Result<bool, Infallible> {
        assert!(self.known.iter().all(|&(id, _)| id != token));
        self.asked.push(token as usize);
        Ok(self.allowed[token as usize])
    }

    fn known(&self) -> &[(u32, bool)] {
        self.known
    }
}

/// The mean of the weight by token, and the largest number of checks; every outcome is visited with its probability.
fn mean_weights(
    probs: &[f64],
    allowed: &[bool],
    known: &[(u32, bool)],
    weighing: &Weighing,
    most_failures: usize,
) -> (Vec<f64>, usize) {
    let total: f64 = probs.iter().sum();
    let (mut mean, mut most_checks, mut certainty) = (vec![0.0; probs.len()], 0, 0.0);
    let mut open = vec![Vec::new()];
    while let Some(script) = open.pop() {
        let mut urn = Scripted::new(probs, &script, most_failures);
        let mut asked = Vec::new();
        let check = Facts { allowed, known, asked: &mut asked };
        let WeightedToken { token, log_weight, n_checks } = weigh(&mut urn, check, weighing).unwrap();
        if let Some(branches) = urn.branches {
            for (choice, &chance) in branches.iter().enumerate() {
                if urn.probability * chance > 1e-16 {
                    open.push([&script[..], &[choice]].concat());
                }
            }
            continue;
        }
        certainty += urn.probability;
        most_checks = most_checks.max(n_checks);
        assert_eq!(n_checks, asked.len());
        assert!(
            asked.iter().enumerate().all(|(i, token)| probs[*token] > 0.0 && !asked[..i].contains(token))
        );
        match token.map(|token| token as usize) {
            Some(token) => {
                assert!(allowed[token]);
                let rejected: f64 =
                    asked.iter().filter(|&&token| !allowed[token]).map(|&token| probs[token]).sum();
                let known: f64 =
                    asked.iter().filter(|&&token| allowed[token]).map(|&token| probs[token]).sum::<f64>()
                        + known
                            .iter()
                            .filter(|(_, is_allowed)| *is_allowed)
                            .map(|&(token, _)| probs[token as usize])
                            .sum::<f64>();
                let weight = log_weight.exp();
                if matches!(weighing.estimator, Estimator::KnownMass { .. }) {
                    assert!(
                        known * (1.0 - 1e-12) <= weight
                            && weight <= (total - rejected) * (1.0 + 1e-12) + 1e-15
                    );
                }
                mean[token] += urn.probability * weight;
            }
            None => assert_eq!(log_weight, f64::NEG_INFINITY),
        }
    }
    assert!((certainty - 1.0).abs() < 1e-10);
    (mean, most_checks)
}

fn assert_proper(probs: &[f64], allowed: &[bool], weighing: &Weighing, most_failures: usize) {
    assert_proper_knowing(probs, allowed, &[], weighing, most_failures);
}

fn assert_proper_knowing(
    probs: &[f64],
    allowed: &[bool],
    known: &[(u32, bool)],
    weighing: &Weighing,
    most_failures: usize,
) {
    let (mean, most_checks) = mean_weights(probs, allowed, known, weighing, most_failures);
    assert!(weighing.budget.is_none_or(|budget| most_checks <= budget.get()));
    for token in 0..probs.len() {
        let expected = if allowed[token] { probs[token] } else { 0.0 };
        let error = mean[token] - expected;
        assert!(
            error.abs() < TOLERANCE,
            "{probs:?} {allowed:?} {known:?} {weighing:?} token {token}: {error}"
        );
    }
}

fn known_mass(top_m: usize, extra: usize) -> Estimator {
    Estimator::KnownMass { top_m, extra: NonZeroUsize::new(extra).unwrap() }
}

#[test]
fn known_mass_weights_are_proper_with_every_option() {
    let mut n_cases = 0;
    for case in 0..120u64 {
        let n_vocab = 1 + (case % 6) as usize;
        let Some((probs, allowed)) = row(case, n_vocab) else { continue };
        for top_m in 0..=n_vocab.min(3) {
            for extra in 1..=3 {
                for budget in [0, 1, 2, 3, 5] {
                    let budget = NonZeroUsize::new(budget);
                    let weighing = Weighing { estimator: known_mass(top_m, extra), budget, tolerance: 0.0 };
                    assert_proper(&probs, &allowed, &weighing, 0);
                    n_cases += 1;
                }
            }
        }
    }
    assert!(n_cases > 4000, "{n_cases}");
    let (probs, allowed) = row(4, 7).unwrap();
    assert_proper(&probs, &allowed, &Weighing::default(), 0);
    assert_proper(&probs, &allowed, &Weighing { estimator: known_mass(2, 2), ..Weighing::default() }, 0);
}

#[test]
fn geometric_weights_are_proper_with_and_without_a_budget() {
    let mut n_cases = 0;
    for case in 0..120u64 {
        let n_vocab = 1 + (case % 4) as usize;
        let Some((probs, allowed)) = row(case, n_vocab) else { continue };
        for accepts in [2, 3] {
            for most_rejects in [1, 2, 4] {
                let budget = NonZeroUsize::new(most_rejects + accepts - 1);
                let weighing =
                    Weighing { estimator: Estimator::Geometric { accepts }, budget, tolerance: 0.0 };
                assert_proper(&probs, &allowed, &weighing, most_rejects);
                n_cases += 1;
            }
        }
    }
    assert!(n_cases > 400, "{n_cases}");
    // Without a budget the number of repetitions is unbounded; its tail is cut where it is below 1e-16.
    for (probs, allowed) in [([0.5, 0.4, 0.1], [true, false, true]), ([0.2, 0.7, 0.1], [true, true, false])] {
        let weighing = Weighing { estimator: Estimator::Geometric { accepts: 2 }, ..Weighing::default() };
        assert_proper(&probs, &allowed, &weighing, 60);
    }
}

/// Verdicts known beforehand, of allowed and of forbidden tokens, with every estimator.
#[test]
fn what_is_known_beforehand_keeps_weights_proper() {
    let mut n_cases = 0;
    for case in 0..90u64 {
        let n_vocab = 2 + (case % 4) as usize;
        let Some((probs, allowed)) = row(case, n_vocab) else { continue };
        for n_known in 1..=2 {
            let first = (case / 4) as usize % n_vocab;
            let known: Vec<(u32, bool)> = (0..n_known)
                .map(|i| (first + i) % n_vocab)
                .filter(|&token| probs[token] > 0.0)
                .map(|token| (token as u32, allowed[token]))
                .collect();
            for budget in [0, 1, 2, 3] {
                let budget = NonZeroUsize::new(budget);
                for (top_m, extra) in [(0, 1), (1, 1), (0, 2)] {
                    let weighing = Weighing { estimator: known_mass(top_m, extra), budget, tolerance: 0.0 };
                    assert_proper_knowing(&probs, &allowed, &known, &weighing, 0);
                    n_cases += 1;
                }
            }
            for most_rejects in [1, 3] {
                let budget = NonZeroUsize::new(most_rejects + 1);
                let estimator = Estimator::Geometric { accepts: 2 };
                let weighing = Weighing { estimator, budget, tolerance: 0.0 };
                assert_proper_knowing(&probs, &allowed, &known, &weighing, most_rejects);
            }
        }
    }
    assert!(n_cases > 1000, "{n_cases}");
}

/// What a tolerance leaves out is at most what it says.
#[test]
fn a_tolerance_is_off_by_no_more_than_itself() {
    for case in 0..60u64 {
        let Some((probs, allowed)) = row(case, 1 + (case % 6) as usize) else { continue };
        let total: f64 = probs.iter().sum();
        for (estimator, most_failures) in [(known_mass(0, 1), 0), (known_mass(2, 2), 0)] {
            for tolerance in [1e-3, 0.1, 0.5] {
                let weighing = Weighing { estimator, budget: None, tolerance };
                let (mean, _) = mean_weights(&probs, &allowed, &[], &weighing, most_failures);
                let lost: Vec<f64> = (0..probs.len())
                    .map(|token| if allowed[token] { probs[token] - mean[token] } else { 0.0 })
                    .collect();
                assert!(lost.iter().all(|&lost| lost > -TOLERANCE), "{lost:?}");
                assert!(lost.iter().sum::<f64>() <= tolerance * total + TOLERANCE, "{lost:?}");
            }
        }
    }
}
