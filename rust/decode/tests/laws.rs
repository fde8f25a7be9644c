//! Are the laws of verification and of weighted rejection exact? Every outcome is enumerated with its probability: the
//! production code takes its draws from outside, so what is enumerated is what runs.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::convert::Infallible;

use tokenloom_decode::control::{WeightedToken, recursive};
use tokenloom_decode::draft::DraftTree;
use tokenloom_decode::rng::{Purpose, Rng};
use tokenloom_decode::sample::Arrival;
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

/// Every order of a draw without replacement, with its probability.
fn orders(probs: &[f64]) -> Vec<(Vec<Arrival>, f64)> {
    let mut open = vec![(Vec::<usize>::new(), 1.0)];
    let mut done = Vec::new();
    while let Some((order, probability)) = open.pop() {
        let left: Vec<usize> =
            (0..probs.len()).filter(|token| probs[*token] > 0.0 && !order.contains(token)).collect();
        let mass: f64 = left.iter().map(|&token| probs[token]).sum();
        if left.is_empty() {
            let rest_from = |i: usize| order[i..].iter().map(|&token| probs[token]).sum::<f64>();
            let arrival = |i: usize| Arrival {
                token: order[i] as u32,
                log_mass: probs[order[i]].ln(),
                log_rest: rest_from(i).ln(),
            };
            done.push(((0..order.len()).map(arrival).collect(), probability));
        }
        for token in left {
            open.push(([&order[..], &[token]].concat(), probability * probs[token] / mass));
        }
    }
    done
}

#[test]
fn the_recursive_weight_is_proper() {
    let mut n_cases = 0;
    for case in 0..240u64 {
        let n_vocab = 1 + (case % 6) as usize;
        let weights = (0..n_vocab as u32).map(|token| match uniform(case, token) {
            u if u < 0.15 => 0.0,
            u => u.powi(6),
        });
        let mass = if case % 3 == 0 { 0.4 } else { 1.0 };
        let weights: Vec<f64> = weights.collect();
        if weights.iter().sum::<f64>() == 0.0 {
            continue;
        }
        let probs: Vec<f64> = normalised(weights).into_iter().map(|p| p * mass).collect();
        let allowed: Vec<bool> = (100..100 + n_vocab as u32).map(|a| uniform(case, a) < 0.6).collect();
        let mut mean = vec![0.0; n_vocab];
        for (order, probability) in orders(&probs) {
            let n_tokens = order.len();
            let total: f64 = probs.iter().sum();
            let mut asked = Vec::new();
            let check = |token: u32| {
                asked.push(token);
                Ok::<_, Infallible>(allowed[token as usize])
            };
            let WeightedToken { token, log_weight, n_checks } = recursive(order.into_iter(), check).unwrap();
            assert_eq!(n_checks, asked.len());
            assert!(asked.iter().all(|&token| probs[token as usize] > 0.0));
            match token {
                Some(token) => {
                    assert!(allowed[token as usize]);
                    let weight = log_weight.exp();
                    assert!(
                        weight >= probs[token as usize] * (1.0 - 1e-12) && weight <= total * (1.0 + 1e-12)
                    );
                    mean[token as usize] += probability * weight;
                }
                None => assert!(log_weight == f64::NEG_INFINITY && n_checks == n_tokens),
            }
        }
        for token in 0..n_vocab {
            let expected = if allowed[token] { probs[token] } else { 0.0 };
            assert!((mean[token] - expected).abs() < TOLERANCE, "case {case}, token {token}");
        }
        n_cases += 1;
    }
    assert!(n_cases > 200);
}
