//! How are several tokens drawn at once, none of them twice?
//!
//! The order of arrival in the race is a draw without replacement (the Gumbel top-k trick, Vieira 2014), and its first is
//! the token that a single draw takes. Over whole texts the same is *stochastic beam search* (Kool et al. 2019): a node
//! carries the largest perturbed log-probability of all texts that begin with it; its children's are drawn under the
//! condition that their maximum is that of the node; the beam keeps the largest. The kept texts are a draw without
//! replacement from the model's distribution over texts.
//!
//! The condition changes no order among the children of a node, so only the first `n` arrivals of each row are looked at.

use super::{Sampler, Status};
use crate::rng::{Purpose, Rng};

/// A token drawn without replacement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distinct {
    /// The token.
    pub token: u32,
    /// The natural logarithm of its probability in a single draw.
    pub log_prob: f64,
    /// That and Gumbel noise: keys fall in the order of the draws.
    pub key: f64,
}

impl Sampler {
    /// The first `n` tokens of the race of a row of logits; fewer where fewer can be drawn.
    ///
    /// # Errors
    /// The [`Status`] of a row that cannot be drawn from.
    pub fn distinct(
        &mut self,
        logits: &[f32],
        n: usize,
        rng: Rng,
        purpose: Purpose,
    ) -> Result<Vec<Distinct>, Status> {
        let mut order = self.order(logits, 1.0, rng, purpose)?;
        let best = order.best(1)[0];
        // The best token weighs one, so the logarithm of the mass is that of its inverse probability.
        let log_total = -f64::from(order.log_prob(best));
        let finishers = if n == 0 { vec![] } else { order.arrivals(best, None, n) };
        let draws = finishers.into_iter().map(|finisher| Distinct {
            token: finisher.token,
            log_prob: f64::from(order.log_prob(finisher.token)),
            key: -log_total - f64::from(finisher.time).ln(),
        });
        Ok(draws.collect())
    }
}

/// A text in the beam.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Node {
    /// The natural logarithm of its probability.
    pub log_prob: f64,
    /// The largest perturbed log-probability of the texts that begin with it; 0 for a root.
    pub key: f64,
    /// The seed of the noise of its children; no two nodes share one.
    pub seed: u64,
}

/// A node's child that stays in the beam.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Child {
    /// Which of the nodes it continues.
    pub parent: usize,
    /// With which token.
    pub token: u32,
    /// The child as a node of the next step.
    pub node: Node,
}

/// The `n` best children of the nodes, largest key first. `row(i)` are the logits after node `i`; a row that cannot be
/// drawn from has no children.
pub fn beam_step<'a>(
    nodes: &[Node],
    row: impl Fn(usize) -> &'a [f32],
    n: usize,
    position: u64,
) -> Vec<Child> {
    let mut sampler = Sampler::default();
    let mut children = vec![];
    for (parent, node) in nodes.iter().enumerate() {
        let rng = Rng::new(node.seed, position);
        let drawn = sampler.distinct(row(parent), n, rng, Purpose::SAMPLE).unwrap_or_default();
        let max = drawn.first().map_or(f64::NEG_INFINITY, |first| node.log_prob + first.key);
        children.extend(drawn.into_iter().map(|child| {
            let log_prob = node.log_prob + child.log_prob;
            let key = conditioned(node.log_prob + child.key, max, node.key);
            let seed = rng.derive(u64::from(child.token)).seed;
            Child { parent, token: child.token, node: Node { log_prob, key, seed } }
        }));
    }
    children.sort_by(|a, b| {
        b.node.key.total_cmp(&a.node.key).then((a.parent, a.token).cmp(&(b.parent, b.token)))
    });
    children.truncate(n);
    children
}

/// A Gumbel key under the condition that the largest of its siblings, `max`, is `target`: `-ln(e^-target - e^-max +
/// e^-key)`, in the form of appendix B.3 of Kool et al., which neither overflows nor cancels.
fn conditioned(key: f64, max: f64, target: f64) -> f64 {
    if key >= max {
        return target;
    }
    let v = target - key + (-(key - max).exp()).ln_1p();
    target - v.max(0.0) - (-v.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_once_and_in_the_order_of_their_keys() {
        let row: Vec<f32> =
            (0..200).map(|n| if n % 3 == 0 { f32::NEG_INFINITY } else { (n as f32 * 0.7).sin() }).collect();
        let (rng, purpose) = (Rng::new(3, 4), Purpose::SAMPLE);
        let drawn = Sampler::default().distinct(&row, 500, rng, purpose).unwrap();
        assert_eq!(drawn.len(), 133);
        assert!(drawn.is_sorted_by(|a, b| a.key > b.key));
        let total: f64 = drawn.iter().map(|token| token.log_prob.exp()).sum();
        assert!((total - 1.0).abs() < 1e-5);
        assert_eq!(Sampler::default().distinct(&[f32::NAN], 1, rng, purpose), Err(Status::NotFinite));
        assert_eq!(Sampler::default().distinct(&row, 0, rng, purpose), Ok(vec![]));
    }

    #[test]
    fn keys_of_children_have_the_key_of_their_node_as_maximum() {
        let rows = [vec![0.0f32, -1.0, -2.0], vec![-3.0, -3.0, 0.0]];
        let nodes = [Node { log_prob: -0.5, key: 1.5, seed: 1 }, Node { log_prob: -1.0, key: 0.2, seed: 2 }];
        let children = beam_step(&nodes, |i| &rows[i], 6, 9);
        assert_eq!(children.len(), 6);
        assert_eq!((children[0].parent, children[0].node.key), (0, 1.5));
        assert!(children.is_sorted_by(|a, b| a.node.key >= b.node.key));
        let best_of_second = children.iter().find(|child| child.parent == 1).unwrap();
        assert_eq!(best_of_second.node.key, 0.2);
        let seeds: std::collections::HashSet<u64> = children.iter().map(|child| child.node.seed).collect();
        assert_eq!(seeds.len(), 6);
    }
}
