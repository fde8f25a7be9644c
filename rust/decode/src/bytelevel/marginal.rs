//! What is the next byte, if every token sequence that spells the bytes counts?
//!
//! The *marginal* target sums a model over all token sequences whose bytes start with the given ones, canonical or not.
//! There are exponentially many, each with a context of its own, so most are never looked into. A *head* is a token
//! sequence and its log-probability. It is *asleep* until the model is asked about it; awake, it has a cursor in the
//! byte trie, and each byte on which the cursor meets a whole token leaves a new head behind, asleep.
//!
//! What is asleep is bounded: a head's probability is at least the mass of everything below it. So is what was
//! forgotten. With A the mass that was summed and U the bound of the rest, the answer is within U / (A + U) of the exact
//! one in total variation: the exact law is (A q + u r) / (A + u) for some u <= U and some law r, and
//! |p - q| = u / (A + u) |q - r|. The heaviest heads are woken until this *certificate* is small enough. A head that was born some bytes ago and is
//! woken now reads those bytes first.
//!
//! Certainty is dear: a head's bound stays while the text becomes less probable with every byte. So heads that hold less
//! than `min_share` of the mass when they are born can be left alone; the certificate counts them. They are woken only
//! where nothing else is left.
//!
//! At most `max_heads` heads are kept; the lightest are forgotten, which the certificate counts. Cost: a pass over a row
//! for each head that is woken; a byte costs a search for each awake head.

use std::collections::VecDeque;
use std::sync::Arc;

use tokenloom_tokenize::Tokenizer;
use tokenloom_vocab::{ByteTrie, TokenId, TrieNode};

use super::cover::{Context, NextByte, add_up};
use super::error::{ByteLevelError, ByteLevelErrorKind};
use super::law::{Space, changes};
use super::row::{Row, log_sum_exp};
use super::trunk::Trunk;

/// The tokens that spell bytes, and how much of their law is kept.
#[derive(Debug)]
pub struct MarginalLaw {
    tokenizer: Arc<Tokenizer>,
    trie: ByteTrie,
    symbols: Vec<TokenId>,
    /// The bytes that tokens begin with, and where those begin.
    first_bytes: Vec<(u8, u32)>,
    limits: Limits,
    space: Space,
    caveats: Vec<&'static str>,
}

/// How much of the law is looked into.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// How far answers may be from the exact ones, in total variation.
    pub max_tv: f64,
    /// Token sequences kept.
    pub max_heads: usize,
    /// Sequences that hold less of the mass than this when they are born are not looked into, whatever `max_tv` says.
    pub min_share: f64,
}

impl MarginalLaw {
    /// Heads older than this many bytes are forgotten.
    pub const MAX_AGE: usize = 256;
    /// Likewise those that were light when they were born: longer than nearly all tokens.
    const MAX_LIGHT_AGE: usize = 32;

    /// Prepares a tokenizer.
    ///
    /// # Errors
    /// [`ByteLevelErrorKind::Unsupported`] where the text is changed beyond what is known.
    pub fn new(tokenizer: Arc<Tokenizer>, limits: Limits) -> Result<Self, ByteLevelError> {
        let (space, caveats) = changes(&tokenizer)?;
        let mut symbols: Vec<TokenId> = tokenizer.spec().added_tokens.iter().map(|token| token.id).collect();
        symbols.sort_unstable();
        symbols.dedup();
        let ids = (0..tokenizer.id_bound() as TokenId).filter(|id| symbols.binary_search(id).is_err());
        let trie = ByteTrie::new(ids.filter_map(|id| Some((id, tokenizer.token_bytes(id)?))));
        let first_bytes = trie.children(trie.root()).map(|(byte, child)| (byte, child.lo)).collect();
        let limits = Limits { max_heads: limits.max_heads.max(2), ..limits };
        Ok(Self { trie, symbols, first_bytes, limits, space, caveats, tokenizer })
    }

    /// What the tokenizer puts before a text behind `context`.
    pub fn inserted(&self, context: &[TokenId]) -> &'static [u8] {
        let is_start = context.last().is_none_or(|id| self.symbols.binary_search(id).is_ok());
        if is_start { self.space.before(context.is_empty()) } else { b"" }
    }

    /// What the tokenizer does to texts before they are tokens.
    pub fn caveats(&self) -> &[&'static str] {
        &self.caveats
    }

    /// The added tokens, ascending.
    pub fn symbols(&self) -> &[TokenId] {
        &self.symbols
    }

    /// Whether some token sequence spells these bytes and perhaps more.
    fn has_cover(&self, bytes: &[u8]) -> bool {
        let mut begins_token = vec![false; bytes.len() + 1];
        begins_token[0] = true;
        for start in 0..bytes.len() {
            if !begins_token[start] {
                continue;
            }
            let mut node = self.trie.root();
            for (at, &byte) in bytes.iter().enumerate().skip(start) {
                let Some(below) = self.trie.child(node, byte) else { break };
                if at + 1 == bytes.len() {
                    return true;
                }
                begins_token[at + 1] |= !self.trie.exact(below).is_empty();
                node = below;
            }
        }
        bytes.is_empty()
    }
}

#[derive(Clone, Debug)]
struct Head {
    path: Trunk,
    log_prob: f64,
    /// Of the log mass of the sequences below: exact for an awake head.
    bound: f64,
    work: Work,
}

#[derive(Clone, Debug)]
enum Work {
    /// Since that many bytes.
    Asleep(usize),
    /// Likewise, with less than `min_share` of the mass at that time.
    Light(usize),
    Awake(TrieNode, Arc<Row>),
}

/// The token sequences that spell a byte string, as far as they matter. Values: operations give new ones.
#[derive(Clone, Debug)]
pub struct MarginalState {
    law: Arc<MarginalLaw>,
    /// The tokens behind which the bytes stand.
    context: Trunk,
    heads: Vec<Head>,
    /// The last bytes.
    text: VecDeque<u8>,
    n_bytes: usize,
    /// A bound of the log mass below forgotten heads.
    forgotten: f64,
}

/// What is known of the mass of the bytes.
#[derive(Clone, Copy, Debug)]
struct Masses {
    /// Summed.
    known: f64,
    /// Of heads that end with the bytes and are asleep.
    fresh: f64,
    /// A bound of what is below the others, and of what was forgotten.
    open: f64,
}

impl MarginalState {
    /// No bytes behind `context`.
    pub fn new(law: &Arc<MarginalLaw>, context: &[TokenId]) -> Self {
        let context = context.iter().fold(Trunk::default(), |trunk, &id| trunk.with(id));
        let root = Head { path: Trunk::default(), log_prob: 0.0, bound: 0.0, work: Work::Asleep(0) };
        Self {
            law: Arc::clone(law),
            context,
            heads: vec![root],
            text: VecDeque::new(),
            n_bytes: 0,
            forgotten: f64::NEG_INFINITY,
        }
    }

    /// How many bytes were appended.
    pub fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    /// How many tokens the bytes stand behind.
    pub fn n_context(&self) -> usize {
        self.context.len()
    }

    /// The tokens that the bytes stand behind, from number `first` on.
    pub fn context(&self, first: usize) -> Vec<TokenId> {
        self.context.from(first)
    }

    /// The state with one more byte.
    ///
    /// # Errors
    /// [`ByteLevelErrorKind::NoEncoding`] where no token sequence spells the bytes.
    pub fn pushed(&self, byte: u8) -> Result<Self, ByteLevelError> {
        let mut next = self.clone();
        next.text.push_back(byte);
        next.n_bytes += 1;
        let mut born = Vec::new();
        next.heads.retain_mut(|head| head.read(&next.law, byte, next.n_bytes, &mut born));
        next.weigh(&mut born);
        next.heads.append(&mut born);
        next.forget();
        if !next.has_tokens() {
            next.heads.clear();
        }
        if next.heads.is_empty() && next.forgotten == f64::NEG_INFINITY {
            let what = "token sequence with mass";
            return Err(ByteLevelErrorKind::NoEncoding { what, byte_offset: next.n_bytes }.into());
        }
        Ok(next)
    }

    /// Whether tokens spell what some head was given. One that sleeps takes any byte.
    fn has_tokens(&self) -> bool {
        self.heads.iter().any(|head| match head.work {
            Work::Awake(..) => true,
            Work::Asleep(since) | Work::Light(since) => {
                let first = self.text.len() - (self.n_bytes - since);
                let text: Vec<u8> = self.text.range(first..).copied().collect();
                self.law.has_cover(&text)
            }
        })
    }

    /// The state without the rows that take much memory; the model is asked for them again where they are needed.
    pub fn slimmed(&self) -> Self {
        let mut next = self.clone();
        for head in &mut next.heads {
            if matches!(&head.work, Work::Awake(_, row) if row.n_tokens() == next.law.trie.len()) {
                head.work = Work::Asleep(next.n_bytes);
                head.bound = head.log_prob;
            }
        }
        next
    }

    /// Tells which of the heads that were just born are light, and forgets those that were long ago.
    fn weigh(&mut self, born: &mut [Head]) {
        let min_share = self.law.limits.min_share;
        if min_share == 0.0 {
            return;
        }
        let oldest = self.n_bytes.saturating_sub(MarginalLaw::MAX_LIGHT_AGE);
        let forgotten = &mut self.forgotten;
        self.heads.retain(|head| {
            let is_old = matches!(head.work, Work::Light(since) if since < oldest);
            if is_old {
                *forgotten = log_add(*forgotten, head.log_prob);
            }
            !is_old
        });
        let Masses { known, fresh, .. } = self.masses();
        let here = |head: &&Head| matches!(head.work, Work::Asleep(since) if since == self.n_bytes);
        let new = log_sum_exp(born.iter().filter(here).map(|head| head.log_prob));
        let least = log_add(log_add(known, fresh), new) + min_share.ln();
        for head in born.iter_mut().filter(|head| head.log_prob < least) {
            if let Work::Asleep(since) = head.work {
                head.work = Work::Light(since);
            }
        }
    }

    fn forget(&mut self) {
        let oldest = self.n_bytes.saturating_sub(MarginalLaw::MAX_AGE);
        let max_heads = self.law.limits.max_heads;
        let too_many = self.heads.len() > max_heads;
        if !too_many && self.text.len() <= 2 * MarginalLaw::MAX_AGE {
            return;
        }
        let mut lost = vec![self.forgotten];
        self.heads.sort_by(|a, b| b.bound.total_cmp(&a.bound));
        let n_kept = if too_many { max_heads - max_heads / 4 } else { self.heads.len() };
        lost.extend(self.heads.drain(n_kept..).map(|head| head.bound));
        self.heads.retain(|head| {
            let is_old = matches!(head.work, Work::Asleep(born) | Work::Light(born) if born < oldest);
            lost.extend(is_old.then_some(head.log_prob));
            !is_old
        });
        self.text.drain(..self.text.len().saturating_sub(MarginalLaw::MAX_AGE));
        self.forgotten = log_sum_exp(lost.into_iter());
    }

    fn masses(&self) -> Masses {
        let (mut known, mut fresh, mut open) = (Vec::new(), Vec::new(), vec![self.forgotten]);
        for head in &self.heads {
            match head.work {
                Work::Awake(..) => known.push(head.bound),
                Work::Asleep(born) | Work::Light(born) if born == self.n_bytes => fresh.push(head.log_prob),
                Work::Asleep(_) | Work::Light(_) => open.push(head.log_prob),
            }
        }
        let sum = |logs: Vec<f64>| log_sum_exp(logs.into_iter());
        Masses { known: sum(known), fresh: sum(fresh), open: sum(open) }
    }

    /// The share of the mass that may be missing: a bound of the total variation of what
    /// [`next_byte`](Self::next_byte) gives. With `of_mass`, of what [`log_mass`](Self::log_mass) misses.
    pub fn certificate(&self, of_mass: bool) -> f64 {
        let Masses { known, fresh, open } = self.masses();
        let (sure, rest) =
            if of_mass { (log_add(known, fresh), open) } else { (known, log_add(fresh, open)) };
        if rest == f64::NEG_INFINITY { 0.0 } else { 1.0 / (1.0 + (sure - rest).exp()) }
    }

    /// The heads to wake, heaviest first: those without which the certificate would be too large.
    fn wanted(&self, of_mass: bool, limit: usize) -> Vec<usize> {
        let Masses { known, fresh, .. } = self.masses();
        let with = |light: bool| -> Vec<usize> {
            let is_wanted = |&at: &usize| match self.heads[at].work {
                Work::Awake(..) => false,
                Work::Asleep(born) => !of_mass || born < self.n_bytes,
                Work::Light(born) => light && (!of_mass || born < self.n_bytes),
            };
            (0..self.heads.len()).filter(is_wanted).collect()
        };
        let mut asleep = with(false);
        if asleep.is_empty() && known == f64::NEG_INFINITY && (!of_mass || fresh == f64::NEG_INFINITY) {
            asleep = with(true);
        }
        asleep.sort_by(|&a, &b| self.heads[b].log_prob.total_cmp(&self.heads[a].log_prob));
        // Fresh heads that are woken add what they hold; of the others nothing is sure. Relative to the largest, what was
        // forgotten aside: it may be larger by any factor, long ago.
        let first = asleep.first().map_or(f64::NEG_INFINITY, |&at| self.heads[at].log_prob);
        let largest = known.max(fresh).max(first);
        let relative = |log: f64| if log == f64::NEG_INFINITY { 0.0 } else { (log - largest).exp() };
        let mut sure = relative(known) + if of_mass { relative(fresh) } else { 0.0 };
        // What was forgotten or is light stays so: it is no reason to wake more.
        let mut rest: f64 = asleep.iter().map(|&at| relative(self.heads[at].log_prob)).sum();
        let mut n = 0;
        while n < asleep.len().min(limit) && rest > self.law.limits.max_tv * (sure + rest) {
            let head = &self.heads[asleep[n]];
            let mass = relative(head.log_prob);
            if mass == 0.0 {
                break;
            }
            rest = (rest - mass).max(0.0);
            if matches!(head.work, Work::Asleep(born) | Work::Light(born) if born == self.n_bytes) {
                sure += mass;
            }
            n += 1;
        }
        asleep.truncate(n);
        asleep
    }

    /// The contexts to ask the model about, `limit` at most; none where the certificate is small enough, or as small as it
    /// gets.
    pub fn contexts(&self, of_mass: bool, limit: usize) -> Vec<Context> {
        let n_trunk = self.context.len();
        let context = |at: usize| Context { n_trunk, ids: self.heads[at].path.from(0) };
        self.wanted(of_mass, limit).into_iter().map(context).collect()
    }

    /// The state with the rows for the contexts that [`contexts`](Self::contexts) gave with the same arguments.
    ///
    /// # Errors
    /// [`ByteLevelErrorKind::RowCount`], [`ByteLevelErrorKind::ShortRow`], [`ByteLevelErrorKind::BadRow`].
    pub fn filled(&self, of_mass: bool, limit: usize, rows: &[&[f64]]) -> Result<Self, ByteLevelError> {
        let wanted = self.wanted(of_mass, limit);
        if wanted.len() != rows.len() {
            return Err(ByteLevelErrorKind::RowCount { found: rows.len(), expected: wanted.len() }.into());
        }
        let mut next = self.clone();
        let mut born = Vec::new();
        let mut dead = vec![false; self.heads.len()];
        let expected = self.law.tokenizer.id_bound();
        for (number, (&at, row)) in wanted.iter().zip(rows).enumerate() {
            if row.len() < expected {
                return Err(ByteLevelErrorKind::ShortRow { row: number, found: row.len(), expected }.into());
            }
            let law = &self.law;
            let row = Row::new(&law.trie, law.trie.root(), &law.symbols, row, None)
                .map_err(|(id, value)| ByteLevelErrorKind::BadRow { row: number, id, value })?;
            let head = &mut next.heads[at];
            let (Work::Asleep(since) | Work::Light(since)) = head.work else { continue };
            head.work = Work::Awake(law.trie.root(), Arc::new(row));
            let first = self.text.len() - (self.n_bytes - since);
            dead[at] = !self
                .text
                .range(first..)
                .zip(since + 1..)
                .all(|(&byte, n)| head.read(law, byte, n, &mut born));
        }
        let mut dead = dead.into_iter();
        next.heads.retain(|_| !dead.next().unwrap_or(false));
        next.weigh(&mut born);
        next.heads.append(&mut born);
        next.forget();
        Ok(next)
    }

    /// The distribution of the next byte over what is awake, within the certificate of the exact one.
    ///
    /// # Errors
    /// [`ByteLevelErrorKind::ZeroMass`].
    pub fn next_byte(&self) -> Result<NextByte, ByteLevelError> {
        let trie = &self.law.trie;
        let (mut slots, mut covered) = (Vec::with_capacity(512), Vec::new());
        for head in &self.heads {
            let Work::Awake(cursor, row) = &head.work else { continue };
            let below: Vec<(u8, u32)>;
            let children = if cursor.depth == 0 {
                &self.law.first_bytes
            } else {
                below = trie.children(*cursor).map(|(byte, child)| (byte, child.lo)).collect();
                &below
            };
            row.each_byte(children, *cursor, |byte, mass| {
                slots.push((usize::from(byte), head.log_prob + mass));
                if cursor.depth > 0 {
                    covered.push(head.log_prob + mass);
                }
            });
            if cursor.depth == 0 {
                slots.push((256, head.log_prob + row.symbols));
                covered.push(head.log_prob);
            }
        }
        let mut log_probs = add_up(&slots);
        let total = log_sum_exp(log_probs.iter().copied());
        if total == f64::NEG_INFINITY {
            return Err(ByteLevelErrorKind::ZeroMass.into());
        }
        log_probs.iter_mut().for_each(|value| *value -= total);
        let leaked = (-(total - log_sum_exp(covered.iter().copied())).exp_m1()).max(0.0);
        Ok(NextByte { log_probs, leaked })
    }

    /// The log-probability of all token sequences found whose bytes start with these, behind the context. What is
    /// missing is at most the certificate's share.
    pub fn log_mass(&self) -> f64 {
        let Masses { known, fresh, .. } = self.masses();
        log_add(known, fresh)
    }
}

fn log_add(a: f64, b: f64) -> f64 {
    log_sum_exp([a, b].into_iter())
}

impl Head {
    /// Reads a byte, number `n`, if awake; whether anything is left below.
    fn read(&mut self, law: &MarginalLaw, byte: u8, n: usize, born: &mut Vec<Head>) -> bool {
        let Work::Awake(cursor, row) = &mut self.work else { return true };
        let Some(below) = law.trie.child(*cursor, byte) else { return false };
        let exact = law.trie.exact(below);
        for position in exact.clone() {
            let log_prob = self.log_prob + row.log_prob(position);
            if log_prob > f64::NEG_INFINITY {
                let path = self.path.with(law.trie.ids()[position]);
                born.push(Head { path, log_prob, bound: log_prob, work: Work::Asleep(n) });
            }
        }
        let longer = TrieNode { lo: exact.end as u32, ..below };
        if row.is_wide_for(longer) {
            *row = Arc::new(row.narrowed(longer));
        }
        *cursor = longer;
        self.bound = self.log_prob + row.mass(longer.range());
        self.bound > f64::NEG_INFINITY
    }
}
