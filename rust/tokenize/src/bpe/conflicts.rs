//! Which tokens may not stand behind this one in a pretoken?
//!
//! A pair is invalid where a merge crosses between a part of the left token and a part of the right one while both are
//! at the boundary (see `pairs`). Seen from the left token, those are few merges: for every token of its right spine,
//! the merges that it takes part in on the left before it is merged away. Each of them rules out the right tokens whose
//! left spine holds the other part long enough. Tokens with a common left part are numbered one behind the other, those
//! whose next merge comes late first, so what a merge rules out is one range, found by a binary search.
//!
//! Cost: a binary search for each merge that may cross, and one step for each token ruled out; a test of every pair is
//! never needed. Ties of times that the spines leave open are decided by [`Bpe::is_valid_pair`].

use tokenloom_vocab::TokenId;

use super::Bpe;
use super::pairs::Derivations;

/// For every token, the tokens that cannot follow it.
#[derive(Clone, Debug)]
pub struct Conflicts {
    /// The reachable tokens: each before those whose left spine goes through it.
    order: Vec<TokenId>,
    /// By id: where it stands in `order`.
    places: Vec<u32>,
    /// Tokens by their left part, late ones first, and where the tokens of each left part begin.
    children: Vec<Child>,
    first_child: Vec<u32>,
    /// Merges by their left part, early ones first, and where those of each left part begin.
    merges: Vec<Crossing>,
    first_merge: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Child {
    time: u32,
    id: TokenId,
    /// Where the tokens whose left spine goes through it end in `order`.
    end: u32,
}

#[derive(Clone, Copy, Debug)]
struct Crossing {
    time: u32,
    right: TokenId,
}

/// Groups items by a key below `n`: the items in order, and where each group begins.
fn grouped<T: Copy>(n: usize, mut items: Vec<(TokenId, u32, T)>) -> (Vec<T>, Vec<u32>) {
    items.sort_by_key(|&(key, order, _)| (key, order));
    let mut starts = vec![0; n + 1];
    items.iter().for_each(|&(key, ..)| starts[key as usize + 1] += 1);
    (0..n).for_each(|key| starts[key + 1] += starts[key]);
    (items.into_iter().map(|(.., item)| item).collect(), starts)
}

fn group<'a, T>(items: &'a [T], starts: &[u32], key: TokenId) -> &'a [T] {
    &items[starts[key as usize] as usize..starts[key as usize + 1] as usize]
}

impl Bpe {
    /// Prepares the question for all tokens: O(merges · log merges).
    pub fn conflicts(&self) -> Conflicts {
        let derivations = &self.long(&self.all).derivations;
        let bound = self.table.id_bound();
        let reachable = || (0..bound as TokenId).filter(|&id| derivations.is_reachable(id));
        let children = reachable()
            .filter_map(|id| Some((derivations.split_of(id)?.0, id)))
            .map(|(left, id)| (left, !derivations.time(id), Child { time: derivations.time(id), id, end: 0 }))
            .collect();
        let (children, first_child) = grouped(bound, children);
        let crossing =
            |((left, right), (rank, _)): ((TokenId, TokenId), (tokenloom_vocab::Rank, TokenId))| {
                (left, rank.0 + 1, Crossing { time: rank.0 + 1, right })
            };
        let (merges, first_merge) = grouped(bound, self.merges().iter().map(crossing).collect());
        let mut this = Conflicts {
            order: Vec::new(),
            places: vec![u32::MAX; bound],
            children,
            first_child,
            merges,
            first_merge,
        };
        let roots: Vec<TokenId> = reachable().filter(|&id| derivations.split_of(id).is_none()).collect();
        roots.into_iter().for_each(|id| this.number(id));
        this
    }
}

impl Conflicts {
    /// Gives a symbol and everything that starts with it their places.
    fn number(&mut self, root: TokenId) {
        // The token, and which of its children comes next.
        let mut stack = vec![(root, self.first_child[root as usize])];
        self.place(root);
        while let Some((id, next)) = stack.last_mut() {
            let at = *next as usize;
            if at < self.first_child[*id as usize + 1] as usize {
                *next += 1;
                let child = self.children[at].id;
                self.place(child);
                stack.push((child, self.first_child[child as usize]));
            } else {
                stack.pop();
                if let Some(&(_, next)) = stack.last() {
                    self.children[next as usize - 1].end = self.order.len() as u32;
                }
            }
        }
    }

    fn place(&mut self, id: TokenId) {
        self.places[id as usize] = self.order.len() as u32;
        self.order.push(id);
    }

    /// Calls `found` with every reachable token that cannot follow the reachable token `left` in a pretoken, with some
    /// more than once.
    pub fn each(&self, bpe: &Bpe, left: TokenId, mut found: impl FnMut(TokenId)) {
        let derivations = &bpe.long(&bpe.all).derivations;
        let (mut part, mut merged_at) = (left, u32::MAX);
        loop {
            let made_at = derivations.time(part);
            // Where a part comes to be and is merged away at the same time, times do not say what came between.
            let is_open = made_at == merged_at;
            for &Crossing { time, right } in group(&self.merges, &self.first_merge, part) {
                if time >= merged_at {
                    break;
                }
                if derivations.time(right) >= merged_at || !derivations.is_reachable(right) {
                    continue;
                }
                let (sure, all) = self.ruled_out(derivations, right, time.max(made_at));
                let start = self.places[right as usize] as usize;
                let n_sure = if is_open { 0 } else { sure - start };
                for (at, &id) in self.order[start..all].iter().enumerate() {
                    if at < n_sure || !bpe.is_valid_pair(left, id) {
                        found(id);
                    }
                }
            }
            let Some((_, next)) = derivations.split_of(part) else { return };
            (part, merged_at) = (next, made_at);
        }
    }

    /// Where the tokens end in `order` whose left spine holds `part` until `time` or longer: those of which that is sure, and
    /// all.
    fn ruled_out(&self, derivations: &Derivations, part: TokenId, time: u32) -> (usize, usize) {
        let children = group(&self.children, &self.first_child, part);
        let made_at = derivations.time(part);
        let end = |n: usize| match n {
            0 => self.places[part as usize] as usize + 1,
            n => children[n - 1].end as usize,
        };
        let all = children.partition_point(|child| child.time >= time);
        (end(children[..all].partition_point(|child| child.time > made_at)), end(all))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;
    use crate::spec::{Merge, Ranks, Symbols};
    use tokenloom_vocab::TokenTable;

    /// Random tables over two letters, with several merges of one result and merges whose parts come late.
    #[test]
    fn conflicts_are_the_pairs_that_are_not_valid() {
        let mut seed = 5_u64;
        let mut random = |n: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % n
        };
        for round in 0..400 {
            let n_letters = 1 + round % 3;
            let mut tokens: Vec<Vec<u8>> = (0..n_letters).map(|at| vec![b'a' + at as u8]).collect();
            while tokens.len() < n_letters + 2 + random(12) {
                let joined =
                    [tokens[random(tokens.len())].clone(), tokens[random(tokens.len())].clone()].concat();
                if joined.len() <= 7 && !tokens.contains(&joined) {
                    tokens.push(joined);
                }
            }
            let id = |bytes: &[u8]| tokens.iter().position(|token| token == bytes).map(|at| at as u32);
            let mut merges: Vec<Merge> = Vec::new();
            for (result, bytes) in tokens.iter().enumerate() {
                for cut in 1..bytes.len() {
                    if let (Some(left), Some(right)) = (id(&bytes[..cut]), id(&bytes[cut..]))
                        && random(3) > 0
                    {
                        merges.push(Merge { left, right, result: result as u32 });
                    }
                }
            }
            for at in (1..merges.len()).rev() {
                merges.swap(at, random(at + 1));
            }
            let table = TokenTable::new((0..).zip(&tokens)).unwrap();
            let ranks = if round % 2 == 0 { Ranks::ByPlace } else { Ranks::ByResult };
            let bpe = Bpe::new(table, &Symbols::Bytes, &merges, &ranks, false).unwrap();
            let conflicts = bpe.conflicts();
            for left in (0..tokens.len() as u32).filter(|&left| bpe.is_reachable(left)) {
                let mut found = vec![false; tokens.len()];
                conflicts.each(&bpe, left, |id| found[id as usize] = true);
                for right in (0..tokens.len() as u32).filter(|&right| bpe.is_reachable(right)) {
                    let expected = !bpe.is_valid_pair(left, right);
                    assert_eq!(found[right as usize], expected, "{left} {right} of {tokens:?} {merges:?}");
                }
            }
        }
    }
}
