//! What is the next byte, given the bytes so far?
//!
//! The *covers* of a byte string are the viable token sequences that reach its end and would not without their last
//! token. Under a model that writes only canonical encodings, exactly one cover begins the encoding of every text that
//! starts with the string, so the string's probability is the sum over its covers. The covers share prefixes: they are
//! a tree of token sequences, each with a cursor in the byte trie that holds the tokens which reach past the end.
//!
//! Appending a byte moves every cursor. Where it stands on a whole token, the sequence with that token becomes a new
//! node, if it is viable; where no viable token is left, the node is dropped. Usually one node is born a byte, so the
//! model is asked for one new context a byte. Tokens that all covers share leave the tree for the trunk.
//!
//! Slot 256 is the mass of added tokens: they can follow exactly the encoding of the bytes. The 257 masses miss what
//! the model gives to sequences that are not viable; that share is reported as leaked.
//!
//! Cost of a query: one pass over the tokens below each cursor; of a byte: a binary search a live node.

use std::sync::Arc;

use tokenloom_vocab::{TokenId, TrieNode};

use super::error::{ByteLevelError, ByteLevelErrorKind};
use super::law::{CanonicalLaw, Hypothesis, Known};

/// What the model's rows are needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// [`ByteState::next_byte`].
    NextByte,
    /// [`ByteState::covers`].
    Covers,
    /// [`ByteState::log_mass`].
    Mass,
}

/// The covers of a byte string. Immutable for its users: [`ByteState::pushed`] and [`ByteState::filled`] give new ones.
#[derive(Clone, Debug)]
pub struct ByteState {
    law: Arc<CanonicalLaw>,
    /// Tokens that all covers start with, and their log-probabilities where they were asked for.
    trunk: Arc<Vec<(TokenId, Option<f64>)>>,
    /// How much of the trunk was given as context.
    n_context: usize,
    /// Parents before children.
    nodes: Vec<Node>,
    /// The end of the bytes, kept where pretokens that are whole tokens matter.
    tail: Vec<u8>,
    n_bytes: usize,
}

#[derive(Clone, Debug)]
struct Node {
    parent: usize,
    token: TokenId,
    /// Given the parent; `None` until the model was asked.
    log_prob: Option<f64>,
    hypotheses: Arc<[Hypothesis]>,
    /// The tokens that agree with the bytes behind this node and go on; `None` if there is none.
    cursor: Option<TrieNode>,
    row: Option<Arc<Row>>,
}

/// A row of the model in the order of the trie, from position `lo`; tokens that may not follow are impossible.
#[derive(Debug)]
struct Row {
    lo: usize,
    log_probs: Vec<f64>,
    /// All added tokens together.
    symbols: f64,
}

/// The distribution of the next byte.
#[derive(Clone, Debug)]
pub struct NextByte {
    /// Natural log-probabilities of the 256 bytes, then of an added token or the end.
    pub log_probs: Vec<f64>,
    /// The share of the mass of the bytes so far that goes to sequences which are not canonical.
    pub leaked: f64,
}

/// The covers of a byte string and their distribution.
#[derive(Clone, Debug)]
pub struct Covers {
    /// What all of them start with, context included.
    pub ids: Vec<TokenId>,
    /// The tokens behind it, one cover after the other.
    pub values: Vec<TokenId>,
    /// Where each cover starts in `values`, and where the last one ends.
    pub offsets: Vec<i64>,
    /// Natural log-probabilities; they sum to one.
    pub log_probs: Vec<f64>,
}

enum Wanted {
    Trunk(usize),
    Node(usize),
}

impl ByteState {
    /// The covers of `bytes` behind the tokens of `context`, which end where a pretoken ends (an added token, or
    /// nothing).
    ///
    /// # Errors
    /// [`ByteLevelErrorKind::NoEncoding`], [`ByteLevelErrorKind::TooManyStates`].
    pub fn new(law: &Arc<CanonicalLaw>, context: &[TokenId], bytes: &[u8]) -> Result<Self, ByteLevelError> {
        let root = Node {
            parent: 0,
            token: 0,
            log_prob: Some(0.0),
            hypotheses: [CanonicalLaw::start()].into(),
            cursor: Some(law.trie().root()),
            row: None,
        };
        let mut this = Self {
            law: Arc::clone(law),
            trunk: Arc::new(context.iter().map(|&id| (id, None)).collect()),
            n_context: context.len(),
            nodes: vec![root],
            tail: Vec::new(),
            n_bytes: 0,
        };
        bytes.iter().try_for_each(|&byte| this.push(byte))?;
        Ok(this)
    }

    /// How many bytes were appended.
    pub fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    /// The covers of the bytes with one more.
    ///
    /// # Errors
    /// [`ByteLevelErrorKind::NoEncoding`], [`ByteLevelErrorKind::TooManyStates`].
    pub fn pushed(&self, byte: u8) -> Result<Self, ByteLevelError> {
        let mut next = self.clone();
        next.push(byte)?;
        Ok(next)
    }

    fn push(&mut self, byte: u8) -> Result<(), ByteLevelError> {
        let law = Arc::clone(&self.law);
        let n_old = self.nodes.len();
        law.with(|judge| {
            for index in 0..n_old {
                let Some(node) = self.nodes[index].cursor else { continue };
                let Some(below) = law.trie().child(node, byte) else {
                    self.nodes[index].cursor = None;
                    continue;
                };
                let exact = law.trie().exact(below);
                for position in exact.clone() {
                    let hypotheses = judge.append(self.known(index), position)?;
                    if !hypotheses.is_empty() {
                        let row = self.nodes[index].row.as_ref();
                        self.nodes.push(Node {
                            parent: index,
                            token: law.trie().ids()[position],
                            log_prob: row.map(|row| row.log_probs[position - row.lo]),
                            hypotheses: hypotheses.into(),
                            cursor: Some(law.trie().root()),
                            row: None,
                        });
                    }
                }
                let longer = TrieNode { lo: exact.end as u32, ..below };
                let alive = match &self.nodes[index].row {
                    Some(row) => {
                        longer.range().any(|position| row.log_probs[position - row.lo] > f64::NEG_INFINITY)
                    }
                    None => judge.any_leaf(self.known(index), longer)?,
                };
                self.nodes[index].cursor = alive.then_some(longer);
            }
            Ok::<_, ByteLevelError>(())
        })?;
        self.n_bytes += 1;
        self.remember(byte);
        self.prune();
        if self.nodes.is_empty() {
            return Err(ByteLevelErrorKind::NoEncoding { byte_offset: self.n_bytes }.into());
        }
        Ok(())
    }

    fn remember(&mut self, byte: u8) {
        let bpe = self.law.tokenizer().bpe();
        if bpe.ignore_merges() {
            // A node lies at most one token back, and its open pretoken matters for one token more.
            let n_kept = 2 * bpe.table().max_token_bytes() + 2;
            if self.tail.len() >= 2 * n_kept {
                self.tail.drain(..self.tail.len() - n_kept);
            }
            self.tail.push(byte);
        }
    }

    /// Drops the nodes that no cover goes through and moves the common start to the trunk.
    fn prune(&mut self) {
        let mut needed: Vec<bool> = self.nodes.iter().map(|node| node.cursor.is_some()).collect();
        let mut n_children = vec![0_usize; self.nodes.len()];
        for index in (1..self.nodes.len()).rev() {
            if needed[index] {
                needed[self.nodes[index].parent] = true;
                n_children[self.nodes[index].parent] += 1;
            }
        }
        let mut base = 0;
        while needed[base] && self.nodes[base].cursor.is_none() && n_children[base] == 1 {
            needed[base] = false;
            // The only needed child is the next needed node: nothing else hangs below the base.
            base = needed.iter().position(|&needed| needed).unwrap_or(base);
            let node = &self.nodes[base];
            Arc::make_mut(&mut self.trunk).push((node.token, node.log_prob));
        }
        if !needed[base] {
            self.nodes.clear();
            return;
        }
        self.nodes[base].log_prob = Some(0.0);
        let mut moved = vec![0; self.nodes.len()];
        let mut n_kept = 0;
        for index in 0..self.nodes.len() {
            if needed[index] {
                moved[index] = n_kept;
                self.nodes.swap(n_kept, index);
                self.nodes[n_kept].parent = moved[self.nodes[n_kept].parent];
                n_kept += 1;
            }
        }
        self.nodes.truncate(n_kept);
    }

    fn known(&self, index: usize) -> Known<'_> {
        let node = &self.nodes[index];
        let depth = node.cursor.map_or(0, |cursor| cursor.depth as usize);
        let first = index == 0 && self.trunk.len() == self.n_context;
        let last = if first {
            None
        } else if index == 0 {
            self.trunk.last().map(|&(id, _)| id)
        } else {
            Some(node.token)
        };
        Known {
            hypotheses: &node.hypotheses,
            last,
            text: &self.tail[..self.tail.len().saturating_sub(depth)],
        }
    }

    fn depth(&self, index: usize) -> Option<u32> {
        self.nodes[index].cursor.map(|cursor| cursor.depth)
    }

    fn wanted(&self, purpose: Purpose) -> Vec<Wanted> {
        let mut asked = vec![false; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            let at_end = self.depth(index) == Some(0);
            asked[index] |=
                node.cursor.is_some() && node.row.is_none() && (!at_end || purpose == Purpose::NextByte);
            asked[node.parent] |= node.log_prob.is_none();
        }
        let unknown = |&at: &usize| purpose == Purpose::Mass && self.trunk[at].1.is_none();
        let trunk = (self.n_context..self.trunk.len()).filter(unknown).map(Wanted::Trunk);
        trunk.chain((0..self.nodes.len()).filter(|&index| asked[index]).map(Wanted::Node)).collect()
    }

    /// The contexts whose rows are missing, `limit` at most.
    pub fn contexts(&self, purpose: Purpose, limit: usize) -> Vec<Vec<TokenId>> {
        let trunk: Vec<TokenId> = self.trunk.iter().map(|&(id, _)| id).collect();
        let context = |wanted: Wanted| match wanted {
            Wanted::Trunk(at) => trunk[..at].to_vec(),
            Wanted::Node(index) => [trunk.as_slice(), &self.path(index)].concat(),
        };
        self.wanted(purpose).into_iter().take(limit).map(context).collect()
    }

    /// The tokens behind the trunk.
    fn path(&self, mut index: usize) -> Vec<TokenId> {
        let mut path = Vec::new();
        while index != 0 {
            path.push(self.nodes[index].token);
            index = self.nodes[index].parent;
        }
        path.reverse();
        path
    }

    /// The state with the rows for the contexts that [`contexts`](Self::contexts) gave with the same arguments.
    /// Rows hold natural log-probabilities by id; they may be wider than the vocabulary.
    ///
    /// # Errors
    /// [`ByteLevelErrorKind::RowCount`], [`ByteLevelErrorKind::ShortRow`], [`ByteLevelErrorKind::BadRow`],
    /// [`ByteLevelErrorKind::TooManyStates`].
    pub fn filled(&self, purpose: Purpose, limit: usize, rows: &[&[f64]]) -> Result<Self, ByteLevelError> {
        let wanted: Vec<Wanted> = self.wanted(purpose).into_iter().take(limit).collect();
        if wanted.len() != rows.len() {
            return Err(ByteLevelErrorKind::RowCount { found: rows.len(), expected: wanted.len() }.into());
        }
        let mut next = self.clone();
        for (number, (wanted, &row)) in wanted.into_iter().zip(rows).enumerate() {
            self.check_row(number, row)?;
            match wanted {
                Wanted::Trunk(at) => {
                    let entry = &mut Arc::make_mut(&mut next.trunk)[at];
                    entry.1 = Some(row[entry.0 as usize]);
                }
                Wanted::Node(index) => {
                    for child in &mut next.nodes {
                        if child.parent == index && child.log_prob.is_none() {
                            child.log_prob = Some(row[child.token as usize]);
                        }
                    }
                    let at_end = self.depth(index) == Some(0);
                    if let Some(cursor) = self.nodes[index].cursor
                        && (!at_end || purpose == Purpose::NextByte)
                    {
                        next.nodes[index].row = Some(Arc::new(self.row(index, cursor, row)?));
                    }
                }
            }
        }
        Ok(next)
    }

    fn check_row(&self, number: usize, row: &[f64]) -> Result<(), ByteLevelErrorKind> {
        let expected = self.law.tokenizer().id_bound();
        if row.len() < expected {
            return Err(ByteLevelErrorKind::ShortRow { row: number, found: row.len(), expected });
        }
        let bad = |value: &f64| value.is_nan() || *value == f64::INFINITY;
        match row.iter().position(bad) {
            None => Ok(()),
            Some(id) => {
                let value = if row[id].is_nan() { "NaN" } else { "inf" };
                Err(ByteLevelErrorKind::BadRow { row: number, id: id as TokenId, value })
            }
        }
    }

    fn row(&self, index: usize, cursor: TrieNode, row: &[f64]) -> Result<Row, ByteLevelError> {
        let ids = &self.law.trie().ids()[cursor.range()];
        let may_follow = self.law.with(|judge| judge.leaves(self.known(index), cursor))?;
        let log_probs = ids
            .iter()
            .zip(may_follow)
            .map(|(&id, may)| if may { row[id as usize] } else { f64::NEG_INFINITY })
            .collect();
        let symbols = log_sum_exp(self.law.symbols().iter().map(|&id| row[id as usize]));
        Ok(Row { lo: cursor.lo as usize, log_probs, symbols })
    }

    /// The log-probability of every node behind the trunk; `None` while rows are missing.
    fn weights(&self) -> Option<Vec<f64>> {
        let mut weights: Vec<f64> = Vec::with_capacity(self.nodes.len());
        for (index, node) in self.nodes.iter().enumerate() {
            let before = if index == 0 { 0.0 } else { weights[node.parent] };
            weights.push(before + node.log_prob?);
        }
        Some(weights)
    }

    /// The distribution of the next byte; `None` while rows are missing.
    ///
    /// # Errors
    /// [`ByteLevelErrorKind::ZeroMass`].
    pub fn next_byte(&self) -> Option<Result<NextByte, ByteLevelError>> {
        let weights = self.weights()?;
        let mut bins = Bins::new(257);
        let mut covered = Bins::new(1);
        for pass in [Pass::Maximum, Pass::Sum] {
            for (index, node) in self.nodes.iter().enumerate() {
                let Some(cursor) = node.cursor else { continue };
                let row = node.row.as_ref()?;
                let depth = cursor.depth as usize;
                let weight = weights[index];
                for position in cursor.range() {
                    let value = weight + row.log_probs[position - row.lo];
                    if value > f64::NEG_INFINITY {
                        bins.add(pass, self.law.trie().bytes(position)[depth].into(), value);
                        if depth > 0 {
                            covered.add(pass, 0, value);
                        }
                    }
                }
                if depth == 0 {
                    covered.add(pass, 0, weight);
                    if self.law.with(|judge| judge.ends(self.known(index))) {
                        bins.add(pass, 256, weight + row.symbols);
                    }
                }
            }
        }
        let mut log_probs = bins.finish();
        let total = log_sum_exp(log_probs.iter().copied());
        if total == f64::NEG_INFINITY {
            return Some(Err(ByteLevelErrorKind::ZeroMass.into()));
        }
        log_probs.iter_mut().for_each(|value| *value -= total);
        let leaked = (-(total - covered.finish()[0]).exp_m1()).max(0.0);
        Some(Ok(NextByte { log_probs, leaked }))
    }

    /// The log-probability that a text which starts with the context goes on with the bytes; `None` while rows are
    /// missing.
    pub fn log_mass(&self) -> Option<f64> {
        let mut log_mass = 0.0;
        for &(_, log_prob) in &self.trunk[self.n_context..] {
            log_mass += log_prob?;
        }
        let mut covers = Vec::new();
        self.each_cover(|_, _, log_prob| covers.push(log_prob))?;
        Some(log_mass + log_sum_exp(covers.into_iter()))
    }

    /// The covers that the model can write, and their distribution; `None` while rows are missing.
    ///
    /// # Errors
    /// [`ByteLevelErrorKind::ZeroMass`].
    pub fn covers(&self) -> Option<Result<Covers, ByteLevelError>> {
        let ids = self.trunk.iter().map(|&(id, _)| id).collect();
        let mut covers = Covers { ids, values: Vec::new(), offsets: vec![0], log_probs: Vec::new() };
        let paths: Vec<Vec<TokenId>> = (0..self.nodes.len()).map(|index| self.path(index)).collect();
        self.each_cover(|index, last, log_prob| {
            if log_prob > f64::NEG_INFINITY {
                covers.values.extend_from_slice(&paths[index]);
                covers.values.extend(last);
                covers.offsets.push(covers.values.len() as i64);
                covers.log_probs.push(log_prob);
            }
        })?;
        let total = log_sum_exp(covers.log_probs.iter().copied());
        if total == f64::NEG_INFINITY {
            return Some(Err(ByteLevelErrorKind::ZeroMass.into()));
        }
        covers.log_probs.iter_mut().for_each(|value| *value -= total);
        Some(Ok(covers))
    }

    /// Calls `found` with the node, the token behind it if one is needed, and the log-probability of every cover.
    fn each_cover(&self, mut found: impl FnMut(usize, Option<TokenId>, f64)) -> Option<()> {
        let weights = self.weights()?;
        for (index, node) in self.nodes.iter().enumerate() {
            match (node.cursor, &node.row) {
                (None, _) => {}
                (Some(cursor), _) if cursor.depth == 0 => found(index, None, weights[index]),
                (Some(cursor), Some(row)) => {
                    for position in cursor.range() {
                        let id = self.law.trie().ids()[position];
                        found(index, Some(id), weights[index] + row.log_probs[position - row.lo]);
                    }
                }
                (Some(_), None) => return None,
            }
        }
        Some(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Maximum,
    Sum,
}

/// Sums of exponentials in many bins, each relative to its own maximum so that nothing underflows.
struct Bins {
    maximum: Vec<f64>,
    sum: Vec<f64>,
}

impl Bins {
    fn new(n: usize) -> Self {
        Self { maximum: vec![f64::NEG_INFINITY; n], sum: vec![0.0; n] }
    }

    #[inline]
    fn add(&mut self, pass: Pass, bin: usize, value: f64) {
        if pass == Pass::Maximum {
            self.maximum[bin] = self.maximum[bin].max(value);
        } else if value > f64::NEG_INFINITY {
            self.sum[bin] += (value - self.maximum[bin]).exp();
        }
    }

    fn finish(self) -> Vec<f64> {
        self.maximum
            .into_iter()
            .zip(self.sum)
            .map(|(maximum, sum)| if maximum == f64::NEG_INFINITY { maximum } else { maximum + sum.ln() })
            .collect()
    }
}

fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let maximum = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if maximum == f64::NEG_INFINITY {
        return maximum;
    }
    maximum + values.map(|value| (value - maximum).exp()).sum::<f64>().ln()
}
