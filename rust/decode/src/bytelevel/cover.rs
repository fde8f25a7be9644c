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
//! States are values: they share the trunk and the rows, so a state made from another, and a fork, cost what changes.
//!
//! Slot 256 is the mass of added tokens: they can follow exactly the encoding of the bytes. The 257 masses miss what
//! the model gives to sequences that are not viable; that share is reported as leaked.
//!
//! Cost: one pass over a row when it comes, then the tokens below the byte that is pushed; nothing depends on how many
//! bytes came before.

use std::sync::Arc;

use tokenloom_vocab::{TokenId, TrieNode};

use super::error::{ByteLevelError, ByteLevelErrorKind};
use super::law::{CanonicalLaw, Hypothesis, Known};
use super::row::{Row, log_sum_exp};
use super::trunk::Trunk;

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
    /// Tokens that all covers start with.
    trunk: Trunk,
    /// How much of the trunk was given as context.
    n_context: usize,
    /// How much of the trunk has been asked for, and its log-probability behind the context.
    scored: (usize, f64),
    /// Parents before children.
    nodes: Vec<Node>,
    /// The end of the bytes, kept where pretokens are watched.
    tail: Vec<u8>,
    n_bytes: usize,
    /// Bytes that the tokenizer puts before the text were appended, and none of the text.
    is_before_text: bool,
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

/// A token sequence that the model is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// How many tokens of the trunk it starts with.
    pub n_trunk: usize,
    /// The tokens behind those.
    pub ids: Vec<TokenId>,
}

enum Wanted {
    Trunk(usize),
    Node(usize),
}

impl ByteState {
    /// Rows of more tokens than this are not kept by [`ByteState::slimmed`].
    const MAX_KEPT: usize = 4096;

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
        let inserted = law.inserted(context);
        let mut this = Self {
            law: Arc::clone(law),
            trunk: context.iter().fold(Trunk::default(), |trunk, &id| trunk.with(id)),
            n_context: context.len(),
            scored: (context.len(), 0.0),
            nodes: vec![root],
            tail: Vec::new(),
            n_bytes: 0,
            is_before_text: false,
        };
        inserted.iter().try_for_each(|&byte| this.push(byte))?;
        this.n_bytes = 0;
        this.is_before_text = !inserted.is_empty();
        bytes.iter().try_for_each(|&byte| this.push(byte))?;
        Ok(this)
    }

    /// How many bytes were appended.
    pub fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    /// How many tokens all covers start with.
    pub fn n_trunk(&self) -> usize {
        self.trunk.len()
    }

    /// The tokens that all covers start with, from number `first` on.
    pub fn trunk(&self, first: usize) -> Vec<TokenId> {
        self.trunk.from(first)
    }

    /// The covers of the bytes with one more.
    ///
    /// # Errors
    /// [`ByteLevelErrorKind::NoEncoding`], [`ByteLevelErrorKind::ZeroMass`] where the model rules out all there are,
    /// [`ByteLevelErrorKind::TooManyStates`].
    pub fn pushed(&self, byte: u8) -> Result<Self, ByteLevelError> {
        let mut next = self.clone();
        next.push(byte).map_err(|error| {
            let mut unasked = self.clone();
            unasked.nodes.iter_mut().for_each(|node| node.row = None);
            if unasked.push(byte).is_ok() { ByteLevelErrorKind::ZeroMass.into() } else { error }
        })?;
        Ok(next)
    }

    /// The state without the rows that take much memory; the model is asked for them again where they are needed.
    pub fn slimmed(&self) -> Self {
        let mut next = self.clone();
        next.nodes
            .iter_mut()
            .for_each(|node| node.row = node.row.take().filter(|row| row.n_tokens() <= Self::MAX_KEPT));
        next
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
                    let log_prob = self.nodes[index].row.as_ref().map(|row| row.log_prob(position));
                    if log_prob == Some(f64::NEG_INFINITY) {
                        continue;
                    }
                    let hypotheses = judge.append(self.known(index), position)?;
                    if !hypotheses.is_empty() {
                        self.nodes.push(Node {
                            parent: index,
                            token: law.trie().ids()[position],
                            log_prob,
                            hypotheses: hypotheses.into(),
                            cursor: Some(law.trie().root()),
                            row: None,
                        });
                    }
                }
                let longer = TrieNode { lo: exact.end as u32, ..below };
                let alive = match &self.nodes[index].row {
                    Some(row) => row.has_mass(longer),
                    None => judge.any_leaf(self.known(index), longer)?,
                };
                self.nodes[index].cursor = alive.then_some(longer);
                if let Some(row) = self.nodes[index].row.take_if(|row| !alive || row.is_wide_for(longer)) {
                    self.nodes[index].row = alive.then(|| Arc::new(row.narrowed(longer)));
                }
            }
            Ok::<_, ByteLevelError>(())
        })?;
        self.n_bytes += 1;
        self.is_before_text = false;
        self.remember(byte);
        self.prune();
        if self.nodes.is_empty() {
            return Err(ByteLevelErrorKind::NoEncoding {
                what: "canonical encoding",
                byte_offset: self.n_bytes,
            }
            .into());
        }
        Ok(())
    }

    fn remember(&mut self, byte: u8) {
        if self.law.watches() {
            // A node lies at most one token back, and its open pretoken matters for one token more.
            let n_kept = 2 * self.law.tokenizer().bpe().table().max_token_bytes() + 2;
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
            if let Some(log_prob) = node.log_prob
                && self.scored.0 == self.trunk.len()
            {
                self.scored = (self.scored.0 + 1, self.scored.1 + log_prob);
            }
            self.trunk = self.trunk.with(node.token);
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
        let last = match index {
            0 if self.trunk.len() == self.n_context => None,
            0 => self.trunk.last(),
            _ => Some(node.token),
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
        if self.is_before_text && purpose != Purpose::NextByte {
            return Vec::new();
        }
        let mut asked = vec![false; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            let at_end = self.depth(index) == Some(0);
            asked[index] |=
                node.cursor.is_some() && node.row.is_none() && (!at_end || purpose == Purpose::NextByte);
            asked[node.parent] |= node.log_prob.is_none();
        }
        let unscored = if purpose == Purpose::Mass { self.scored.0..self.trunk.len() } else { 0..0 };
        let nodes = (0..self.nodes.len()).filter(|&index| asked[index]).map(Wanted::Node);
        unscored.map(Wanted::Trunk).chain(nodes).collect()
    }

    /// The contexts whose rows are missing, `limit` at most.
    pub fn contexts(&self, purpose: Purpose, limit: usize) -> Vec<Context> {
        let context = |wanted: Wanted| match wanted {
            Wanted::Trunk(at) => Context { n_trunk: at, ids: Vec::new() },
            Wanted::Node(index) => Context { n_trunk: self.trunk.len(), ids: self.path(index) },
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
        let expected = self.law.tokenizer().id_bound();
        if let Some(row) = rows.iter().position(|row| row.len() < expected) {
            return Err(ByteLevelErrorKind::ShortRow { row, found: rows[row].len(), expected }.into());
        }
        let mut next = self.clone();
        // Only a score asks for the trunk; what else is done does not depend on its length.
        let unscored = if purpose == Purpose::Mass { self.trunk(self.scored.0) } else { Vec::new() };
        for (number, (wanted, &row)) in wanted.into_iter().zip(rows).enumerate() {
            match wanted {
                Wanted::Trunk(at) => {
                    let id = unscored[at - self.scored.0];
                    check(row, number)?;
                    next.scored = (at + 1, next.scored.1 + row[id as usize]);
                }
                Wanted::Node(index) => next.answer(index, number, row, purpose)?,
            }
        }
        Ok(next)
    }

    fn answer(
        &mut self,
        index: usize,
        number: usize,
        row: &[f64],
        purpose: Purpose,
    ) -> Result<(), ByteLevelError> {
        for child in &mut self.nodes {
            if child.parent == index && child.log_prob.is_none() {
                child.log_prob = Some(row[child.token as usize]);
            }
        }
        let at_end = self.depth(index) == Some(0);
        let Some(cursor) = self.nodes[index].cursor.filter(|_| !at_end || purpose == Purpose::NextByte)
        else {
            return Ok(check(row, number)?);
        };
        let law = &self.law;
        let allowed = law.with(|judge| judge.allowed(self.known(index)))?;
        let made = Row::new(law.trie(), cursor, law.symbols(), row, Some(&allowed))
            .map_err(|(id, value)| ByteLevelErrorKind::BadRow { row: number, id, value })?;
        self.nodes[index].row = Some(Arc::new(made));
        Ok(())
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
        // Slot and log mass; the mass of the bytes so far.
        let (mut slots, mut covered) = (Vec::with_capacity(512), Vec::new());
        for (index, node) in self.nodes.iter().enumerate() {
            let Some(cursor) = node.cursor else { continue };
            let row = node.row.as_ref()?;
            let weight = weights[index];
            let (children, ends) = self.law.with(|judge| {
                let at_end = cursor.depth == 0 && !self.is_before_text;
                (judge.children(cursor), at_end && judge.ends(self.known(index)))
            });
            row.each_byte(&children, cursor, |byte, mass| {
                slots.push((usize::from(byte), weight + mass));
                if cursor.depth > 0 {
                    covered.push(weight + mass);
                }
            });
            if cursor.depth == 0 {
                covered.push(weight);
            }
            if ends || self.is_before_text && index == 0 {
                slots.push((256, weight + row.symbols));
            }
        }
        let covered = if self.is_before_text { 0.0 } else { log_sum_exp(covered.iter().copied()) };
        let mut log_probs = add_up(&slots);
        let total = log_sum_exp(log_probs.iter().copied());
        if total == f64::NEG_INFINITY {
            return Some(Err(ByteLevelErrorKind::ZeroMass.into()));
        }
        log_probs.iter_mut().for_each(|value| *value -= total);
        let leaked = (-(total - covered).exp_m1()).max(0.0);
        Some(Ok(NextByte { log_probs, leaked }))
    }

    /// The log-probability that a text which starts with the context goes on with the bytes; `None` while rows are
    /// missing.
    pub fn log_mass(&self) -> Option<f64> {
        if self.is_before_text {
            return Some(0.0);
        }
        let mut covers = Vec::new();
        self.each_cover(|_, _, log_prob| covers.push(log_prob))?;
        let (n_scored, log_mass) = self.scored;
        (n_scored == self.trunk.len()).then(|| log_mass + log_sum_exp(covers.into_iter()))
    }

    /// The covers that the model can write, and their distribution; `None` while rows are missing.
    ///
    /// # Errors
    /// [`ByteLevelErrorKind::ZeroMass`].
    pub fn covers(&self) -> Option<Result<Covers, ByteLevelError>> {
        let ids = self.trunk(0);
        let mut covers = Covers { ids, values: Vec::new(), offsets: vec![0], log_probs: Vec::new() };
        if self.is_before_text {
            covers.offsets.push(0);
            covers.log_probs.push(0.0);
            return Some(Ok(covers));
        }
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
                        found(index, Some(id), weights[index] + row.log_prob(position));
                    }
                }
                (Some(_), None) => return None,
            }
        }
        Some(())
    }
}

fn check(row: &[f64], number: usize) -> Result<(), ByteLevelErrorKind> {
    let bad = |value: &f64| value.is_nan() || *value == f64::INFINITY;
    match row.iter().position(bad) {
        None => Ok(()),
        Some(id) => {
            let value = if row[id].is_nan() { "NaN" } else { "inf" };
            Err(ByteLevelErrorKind::BadRow { row: number, id: id as TokenId, value })
        }
    }
}

/// The 257 log masses of `(slot, log mass)`, each slot relative to its own maximum so that nothing underflows.
pub(super) fn add_up(slots: &[(usize, f64)]) -> Vec<f64> {
    let mut maximum = vec![f64::NEG_INFINITY; 257];
    for &(slot, mass) in slots {
        maximum[slot] = maximum[slot].max(mass);
    }
    let mut sum = vec![0.0; 257];
    for &(slot, mass) in slots.iter().filter(|(_, mass)| *mass > f64::NEG_INFINITY) {
        sum[slot] += (mass - maximum[slot]).exp();
    }
    let log = |(maximum, sum): (f64, f64)| {
        if maximum == f64::NEG_INFINITY { maximum } else { maximum + sum.ln() }
    };
    maximum.into_iter().zip(sum).map(log).collect()
}
