//! Are the laws of the verifiers beside the trees what they say? Any order and points of a space are exact; relaxed rules
//! stay within the bound that they report.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use tokenloom_decode::draft::DraftTree;
use tokenloom_decode::rng::{Purpose, Rng};
use tokenloom_decode::verify::{
    Normal, Relaxed, Rows, VerifyErrorKind, any_order, context_draft, kept_nodes, law, relaxed, step, subtree,
};

const TOLERANCE: f64 = 1e-12;

fn uniform(case: u64, address: u32) -> f64 {
    Rng::new(case, 2).uniform(address, Purpose::SAMPLE)
}

fn random_row(case: u64, address: u32, n_vocab: u32) -> Vec<f64> {
    let weights: Vec<f64> = (0..n_vocab).map(|token| uniform(case, address * 8 + token).powi(3)).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// A law of texts of three tokens, and what it says about a place given others.
struct Texts {
    n_vocab: usize,
    law: BTreeMap<Vec<usize>, f64>,
}

impl Texts {
    fn new(case: u64, n_vocab: usize) -> Self {
        let n_texts = n_vocab.pow(3) as u32;
        let weights: Vec<f64> = (0..n_texts).map(|text| uniform(case, text).powi(2)).collect();
        let total: f64 = weights.iter().sum();
        let text = |i: usize| vec![i / n_vocab / n_vocab, i / n_vocab % n_vocab, i % n_vocab];
        let law = weights.iter().enumerate().map(|(i, weight)| (text(i), weight / total)).collect();
        Self { n_vocab, law }
    }

    fn given(&self, place: usize, known: &[(usize, usize)]) -> Vec<f64> {
        let mut row = vec![0.0; self.n_vocab];
        for (text, &p) in &self.law {
            if known.iter().all(|&(place, token)| text[place] == token) {
                row[text[place]] += p;
            }
        }
        let total: f64 = row.iter().sum();
        row.into_iter().map(|p| p / total).collect()
    }

    /// Decides the places that are left one after the other.
    fn complete(
        &self,
        order: &[usize],
        known: Vec<(usize, usize)>,
        p: f64,
        found: &mut BTreeMap<Vec<usize>, f64>,
    ) {
        let Some(&place) = order.get(known.len()) else {
            let mut text = vec![0; order.len()];
            known.iter().for_each(|&(place, token)| text[place] = token);
            *found.entry(text).or_default() += p;
            return;
        };
        for (token, of_token) in self.given(place, &known).into_iter().enumerate().filter(|(_, p)| *p > 0.0) {
            self.complete(order, [&known[..], &[(place, token)]].concat(), p * of_token, found);
        }
    }
}

#[test]
fn any_order_commits_the_law_of_the_text() {
    let orders = [[0, 1, 2], [2, 0, 1], [1, 2, 0], [2, 1, 0]];
    for case in 0..40u64 {
        let n_vocab = 1 + (case % 3) as usize;
        let (texts, order) = (Texts::new(case, n_vocab), orders[(case % 4) as usize]);
        for n_drafted in 0..=3usize {
            // As the same model says without seeing the other drafts, or anything else.
            let q: Vec<Vec<f64>> = (0..n_drafted)
                .map(|i| match case % 2 {
                    0 => texts.given(order[i], &[]),
                    _ => random_row(case, 900 + i as u32, n_vocab as u32),
                })
                .collect();
            let mut found = BTreeMap::new();
            for draft in 0..n_vocab.pow(n_drafted as u32) {
                let tokens: Vec<usize> =
                    (0..n_drafted).map(|i| draft / n_vocab.pow(i as u32) % n_vocab).collect();
                let of_draft: f64 = tokens.iter().zip(&q).map(|(&token, q)| q[token]).product();
                let known: Vec<(usize, usize)> = order.into_iter().zip(tokens.iter().copied()).collect();
                let p: Vec<f64> = (0..n_drafted).flat_map(|i| texts.given(order[i], &known[..i])).collect();
                let ids: Vec<i64> = tokens.iter().map(|&token| token as i64).collect();
                let parents: Vec<i64> = (-1..n_drafted as i64 - 1).collect();
                let chain = DraftTree::new(&ids, &parents, vec![1.0; n_drafted]).unwrap();
                let shape = [1, n_drafted, n_vocab];
                let p = Rows::of_draft(&p, shape, &[&chain]).unwrap().of_tree(0);
                let flat = q.concat();
                let q = Rows::of_draft(&flat, shape, &[&chain]).unwrap().of_tree(0);
                for (decided, probability) in law(|chance| any_order(p, q, &chain, chance).unwrap()) {
                    let mut known = known[..decided.n_accepted].to_vec();
                    known.extend(decided.instead.map(|token| (order[decided.n_accepted], token as usize)));
                    // The same model drafts its first token as it would decide it.
                    assert!(case % 2 == 1 || n_drafted == 0 || !known.is_empty());
                    texts.complete(&order, known, of_draft * probability, &mut found);
                }
            }
            for (text, p) in &texts.law {
                assert!(
                    (found.get(text).unwrap_or(&0.0) - p).abs() < TOLERANCE,
                    "{case} {n_drafted} {text:?}"
                );
            }
        }
    }
}

#[test]
fn a_context_draft_is_drawn_from_what_it_says() {
    let text = [Some(3), Some(1), None, Some(3), Some(1), None, None, Some(3), Some(0)];
    let mut n_ones = 0;
    for seed in 0..200 {
        let draft = context_draft(&text, &[6, 2, 5], 5, Rng::new(seed, 0)).unwrap();
        let rows: Vec<&[f64]> = draft.q.chunks(5).collect();
        // No left neighbour: all tokens of the text. Behind 1 nothing is known: the same. Place 5 is drafted last.
        assert_eq!(rows[0], [1.0 / 6.0, 2.0 / 6.0, 0.0, 3.0 / 6.0, 0.0].map(|p: f64| p));
        assert!(draft.tokens.iter().zip(&rows).all(|(&token, row)| row[token as usize] > 0.0));
        let behind = context_draft(&text, &[5, 6], 5, Rng::new(seed, 0)).unwrap();
        if behind.tokens[0] == 3 {
            // Behind 3 came 1 twice and 0 once.
            let expected = [1.0 / 3.0, 2.0 / 3.0, 0.0, 0.0, 0.0];
            assert!(behind.q[5..].iter().zip(expected).all(|(p, q)| (p - q).abs() < TOLERANCE));
            n_ones += 1;
        }
    }
    assert!(n_ones > 50);
    assert_eq!(context_draft(&[None], &[0], 4, Rng::new(0, 0)).unwrap().q, [0.25; 4]);
    for (places, token) in [(vec![0], 0), (vec![9], 0), (vec![2, 2], 0), (vec![2], 7)] {
        let text: Vec<Option<u32>> = [&text[..], &[Some(token)]].concat();
        assert!(context_draft(&text, &places, 5, Rng::new(0, 0)).is_err());
    }
}

/// Texts of up to three tokens behind a fixed or drawn tree, completed by the target.
struct Case {
    seed: u64,
    n_vocab: u32,
}

impl Case {
    fn row(&self, who: u32, prefix: &[u32]) -> Vec<f64> {
        let address = prefix.iter().fold(1 + 3 * who, |address, &token| address * 5 + token + 1);
        random_row(self.seed, 100 + address, self.n_vocab)
    }

    fn complete(&self, text: Vec<u32>, p: f64, found: &mut BTreeMap<Vec<u32>, f64>) {
        if text.len() >= 3 {
            *found.entry(text[..3].to_vec()).or_default() += p;
            return;
        }
        for (token, of_token) in self.row(0, &text).into_iter().enumerate() {
            self.complete([&text[..], &[token as u32]].concat(), p * of_token, found);
        }
    }

    /// Total variation of the text, and the mean of the reported bound.
    fn change(
        &self,
        parents: &[i64],
        drafts: &[(Vec<u32>, f64)],
        is_drawn: bool,
        rule: Relaxed<'_>,
    ) -> (f64, f64) {
        let (mut found, mut expected, mut bound) = (BTreeMap::new(), BTreeMap::new(), 0.0);
        rule.check(self.n_vocab as usize).unwrap();
        for (tokens, of_draft) in drafts {
            let ids: Vec<i64> = tokens.iter().map(|&token| i64::from(token)).collect();
            let tree = DraftTree::new(&ids, parents, vec![1.0; ids.len()]).unwrap();
            let prefix = |row: usize| -> Vec<u32> {
                let above =
                    |&row: &usize| if row == 0 { None } else { Some((parents[row - 1] + 1) as usize) };
                let rows = std::iter::successors(Some(row), above);
                let mut prefix: Vec<u32> = rows.filter(|&row| row > 0).map(|row| tokens[row - 1]).collect();
                prefix.reverse();
                prefix
            };
            let rows =
                |who| -> Vec<f64> { (0..=ids.len()).flat_map(|row| self.row(who, &prefix(row))).collect() };
            let (p, q) = (rows(0), rows(1));
            let shape = [1, ids.len() + 1, self.n_vocab as usize];
            let p = Rows::new(&p, shape, &[&tree]).unwrap().of_tree(0);
            let q = Rows::new(&q, shape, &[&tree]).unwrap().of_tree(0);
            let q = Some(q).filter(|_| is_drawn);
            for ((accepted, change), probability) in law(|chance| relaxed(p, q, &tree, rule, chance).unwrap())
            {
                let path = accepted.path.iter().map(|&node| tokens[node]);
                self.complete(
                    path.chain([accepted.next_token]).collect(),
                    of_draft * probability,
                    &mut found,
                );
                bound += of_draft * probability * change;
            }
        }
        self.complete(vec![], 1.0, &mut expected);
        let total: f64 = found.values().sum();
        assert!((total - 1.0).abs() < TOLERANCE);
        let change = expected.iter().map(|(text, p)| (found.get(text).unwrap_or(&0.0) - p).abs());
        (0.5 * change.sum::<f64>(), bound)
    }
}

#[test]
fn relaxed_rules_stay_within_their_bound() {
    let parents = [-1, -1, 0, 0, 1];
    let (mut n_changed, mut n_close) = (0, 0);
    for seed in 0..150u64 {
        let case = Case { seed, n_vocab: 4 };
        let order: Vec<i32> = (0..4).flat_map(|t| [(t + 1) % 4, (t + 3) % 4, (t + 2) % 4]).collect();
        let draft = (0..5).map(|node| (uniform(seed, node) * 4.0) as u32).collect::<Vec<u32>>();
        let delta = 0.3 * uniform(seed, 50);
        let neighbours = Relaxed::Neighbours { order: &order, width: 3, delta, ratio: f64::INFINITY };
        let rules = [
            Relaxed::Typical { epsilon: 0.3, delta: 0.6 },
            Relaxed::Margin { ratio: 0.5 },
            neighbours,
            Relaxed::Neighbours { order: &order, width: 3, delta: 1.0, ratio: 0.5 },
        ];
        for rule in rules {
            let (change, bound) = case.change(&parents, &[(draft.clone(), 1.0)], false, rule);
            assert!(change <= bound + TOLERANCE, "{rule:?} {change} {bound}");
            n_changed += usize::from(change > 0.01);
            n_close += usize::from(change > 0.9 * bound && bound > 0.01);
        }
        let (_, bound) = case.change(&[-1, -1], &[(draft[..2].to_vec(), 1.0)], false, neighbours);
        assert!(bound <= delta + TOLERANCE);
        let exact = Relaxed::Neighbours { order: &order, width: 3, delta: 0.0, ratio: 1.0 };
        assert!(case.change(&parents, &[(draft, 1.0)], false, exact).0 < TOLERANCE);
        // Two independent siblings, and a chain of two.
        for (parents, second) in [([-1, -1], false), ([-1, 0], true)] {
            let first = case.row(1, &[]);
            let drafts: Vec<(Vec<u32>, f64)> = (0..16u32)
                .map(|i| {
                    let tokens = vec![i / 4, i % 4];
                    let law = if second { case.row(1, &tokens[..1]) } else { first.clone() };
                    let p = first[tokens[0] as usize] * law[tokens[1] as usize];
                    (tokens, p)
                })
                .collect();
            let (change, bound) = case.change(&parents, &drafts, true, neighbours);
            assert!(change <= bound + TOLERANCE, "{change} {bound}");
            assert!(case.change(&parents, &drafts, true, exact).0 < TOLERANCE);
        }
    }
    assert!(n_changed > 100 && n_close > 100, "{n_changed} {n_close}");
}

#[test]
fn numbers_of_relaxed_rules_are_checked() {
    let kind = |rule: Relaxed<'_>| rule.check(2).unwrap_err().kind().clone();
    assert!(matches!(kind(Relaxed::Margin { ratio: 1.5 }), VerifyErrorKind::Range { argument: "ratio", .. }));
    assert!(matches!(
        kind(Relaxed::Typical { epsilon: f64::NAN, delta: 0.1 }),
        VerifyErrorKind::Range { argument: "epsilon", .. }
    ));
    let neighbours = |order| Relaxed::Neighbours { order, width: 1, delta: 0.1, ratio: 1.0 };
    assert!(matches!(kind(neighbours(&[0])), VerifyErrorKind::Length { expected: 2, found: 1, .. }));
    assert!(matches!(kind(neighbours(&[0, 2])), VerifyErrorKind::Token { node: 1, token: 2, .. }));
}

/// What comes out has the target's density at every point: accepted points and reflected ones together.
#[test]
fn the_reflection_adds_what_acceptance_lacks() {
    for case in 0..200u64 {
        let numbers =
            |from: u32| -> Vec<f64> { (from..from + 3).map(|i| 4.0 * uniform(case, i) - 2.0).collect() };
        let std: Vec<f64> = (30..33).map(|i| 0.2 + uniform(case, i)).collect();
        let (p_mean, q_mean) = (numbers(0), if case == 0 { numbers(0) } else { numbers(10) });
        let p = Normal { mean: &p_mean, std: &std };
        let q = Normal { mean: &q_mean, std: &std };
        for place in 0..5 {
            let point = numbers(100 + 3 * place);
            let here = step(p, q, &point);
            let from = here.instead.unwrap();
            let there = step(p, q, &from);
            let density = |law: Normal<'_>, at: &[f64]| law.log_density(at).exp();
            let found = density(q, &point) * here.accepted + density(q, &from) * (1.0 - there.accepted);
            let expected = density(p, &point);
            assert!((found - expected).abs() < TOLERANCE * (1.0 + expected), "{found} {expected}");
            let back = there.instead.unwrap();
            assert!(back.iter().zip(&point).all(|(a, b)| (a - b).abs() < 1e-9));
        }
    }
}

#[test]
fn a_cut_takes_what_is_below() {
    let tree = DraftTree::new(&[5, 6, 7, 5, 8], &[-1, 0, 1, -1, 3], vec![0.5; 5]).unwrap();
    let nodes = kept_nodes(&tree, |_, row, token| !(row == 1 && token == 6));
    assert_eq!(nodes, [0, 3, 4]);
    let cut = subtree(&tree, &nodes).unwrap();
    assert_eq!(
        (cut.tokens(), cut.parents(), cut.depths()),
        (&[5, 5, 8][..], &[-1, -1, 1][..], &[1, 1, 2][..])
    );
    assert!(subtree(&tree, &[2]).is_err() && subtree(&tree, &[9]).is_err());
    assert_eq!(kept_nodes(&tree, |_, _, _| false), [0usize; 0]);
}
