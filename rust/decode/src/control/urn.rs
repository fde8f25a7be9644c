//! Which token is drawn next when nothing is put back?
//!
//! In the exponential race token `t` arrives after a standard exponential time divided by its mass, and the order of
//! arrival is a draw without replacement. Almost no arrival is ever looked at, so the race is not run: a block of tokens
//! with mass `P` has its first arrival after an exponential time of rate `P`, whoever it is. Each block holds that one
//! clock. Only in the block whose clock is first do the tokens race among themselves; when one of mass `p` has arrived, the
//! block's clock moves on by an exponential time of rate `P - p`. That is the law of the whole race: given the order in
//! which a block's tokens arrive, the waits between them are independent and exponential with the rate that is left.
//!
//! Cost: V / 256 clocks, and 256 keys for each block that is opened; in practice one to three blocks a call. All tokens of
//! a row cost O(V log V). Clocks are logarithms and masses are scaled by the best that is left, so a token 1000 nats below
//! the best has its turn. Sums are sums of what is left, never differences.

use super::row_mass::{BLOCK, LogProb, RowMass, exp_negative};
use crate::rng::{Purpose, Rng};
use crate::sample::noise::{CHUNK, fill_waits};
use crate::wide::wide;

/// Keys of tokens within their block.
const KEYS: Purpose = Purpose::awrs(0);
/// First clocks, by block.
const CLOCKS: Purpose = Purpose::awrs(1);
/// How long a block waits on, by the token that has left it.
const MOVES: Purpose = Purpose::awrs(2);
/// Choices among known tokens, by number.
const CHOICES: Purpose = Purpose::awrs(3);
/// Numbers of failures, by number.
const FAILURES: Purpose = Purpose::awrs(4);

/// Arrivals of a block that are searched for; after them the block is sorted.
const N_SEARCHED: usize = 4;
/// Masses below this, relative to their scale, are scaled anew.
const TINY: f64 = 1e-200;

/// A token and the logarithm of its mass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token {
    /// The id.
    pub id: u32,
    /// The natural logarithm of its mass.
    pub log_mass: f64,
}

/// Tokens that were not seen yet, and all the chance that an estimator needs.
pub trait Urn {
    /// Draws an unseen token with a chance in proportion to its mass; it is seen from now on.
    fn draw(&mut self) -> Option<Token>;

    /// The logarithm of the mass of all unseen tokens; `-inf` when there is none.
    fn log_rest(&mut self) -> f64;

    /// The `n` unseen tokens of most mass, the heaviest first; they are seen from now on. Before the first draw only.
    fn heaviest(&mut self, n: usize) -> Vec<Token>;

    /// Those of `tokens` that are unseen and have mass; they are seen from now on. Before the first draw only.
    fn remove(&mut self, tokens: &[u32]) -> Vec<Token>;

    /// An index, drawn with a chance in proportion to the mass; some mass is above `-inf`.
    fn choose(&mut self, log_masses: &[f64]) -> usize;

    /// How many trials fail before one succeeds, if each succeeds with chance `share`.
    fn failures(&mut self, share: f64) -> f64;
}

/// The urn of a row.
pub struct Race<'a, T> {
    row: &'a RowMass<'a, T>,
    rng: Rng,
    /// What is left in each block, as a logarithm and relative to `scale`.
    log_masses: Vec<f64>,
    masses: Vec<f64>,
    scale: f64,
    /// Logarithms of the next arrivals; empty before the first draw.
    clocks: Vec<f64>,
    opened: Vec<Opened>,
    /// Seen before the first draw, ascending.
    removed: Vec<u32>,
    n_choices: u32,
    n_failures: u32,
}

impl<'a, T: LogProb> Race<'a, T> {
    /// An urn with all tokens of the row.
    pub fn new(row: &'a RowMass<'a, T>, rng: Rng) -> Self {
        let log_masses: Vec<f64> = row.blocks.iter().map(|block| block.log_mass).collect();
        let mut race = Self {
            row,
            rng,
            masses: vec![0.0; log_masses.len()],
            log_masses,
            scale: 0.0,
            clocks: Vec::new(),
            opened: Vec::new(),
            removed: Vec::new(),
            n_choices: 0,
            n_failures: 0,
        };
        race.rescale();
        race
    }

    fn rescale(&mut self) {
        self.scale = self.log_masses.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        for (mass, &log_mass) in self.masses.iter_mut().zip(&self.log_masses) {
            *mass = exp_negative(log_mass - self.scale);
        }
    }

    fn start(&mut self) {
        let mut waits = vec![0f32; self.log_masses.len().next_multiple_of(CHUNK)];
        fill_block(&self.rng, 0, CLOCKS, &mut waits);
        self.clocks = (self.log_masses.iter().zip(&waits))
            .map(|(&log_mass, &wait)| clock(f64::NEG_INFINITY, f64::from(wait), log_mass))
            .collect();
    }

    /// The place of a block among the opened ones.
    fn open(&mut self, block: usize) -> usize {
        if let Some(at) = self.opened.iter().position(|opened| opened.block == block) {
            return at;
        }
        let mut waits = [0f32; BLOCK];
        let first = (block * BLOCK) as u32;
        fill_block(&self.rng, first, KEYS, &mut waits);
        let entries = (self.row.entries(block))
            .filter(|(token, _)| self.removed.binary_search(token).is_err())
            .map(|(token, log_prob)| Entry {
                wait: f64::from(waits[(token - first) as usize]),
                token,
                log_prob,
                ..Entry::default()
            });
        self.opened.push(Opened::new(block, entries.collect()));
        self.opened.len() - 1
    }

    fn set_mass(&mut self, block: usize, log_mass: f64) {
        self.log_masses[block] = log_mass;
        self.masses[block] = exp_negative(log_mass - self.scale);
    }
}

impl<T: LogProb> Urn for Race<'_, T> {
    fn draw(&mut self) -> Option<Token> {
        if self.clocks.is_empty() {
            self.start();
        }
        let (block, time) = first_clock(&self.clocks);
        if time == f64::INFINITY {
            return None;
        }
        let at = self.open(block);
        let (token, log_rest) = self.opened[at].take()?;
        self.set_mass(block, log_rest);
        self.clocks[block] = clock(time, self.rng.exponential(token.id, MOVES), log_rest);
        Some(token)
    }

    fn log_rest(&mut self) -> f64 {
        let mut total: f64 = self.masses.iter().sum();
        if total < TINY {
            self.rescale();
            total = self.masses.iter().sum();
        }
        if total > 0.0 { self.scale + total.ln() } else { f64::NEG_INFINITY }
    }

    fn heaviest(&mut self, n: usize) -> Vec<Token> {
        if n == 0 {
            return Vec::new();
        }
        let mut order: Vec<usize> = (0..self.row.blocks.len()).collect();
        order.sort_by(|&a, &b| self.row.blocks[b].best.total_cmp(&self.row.blocks[a].best));
        let mut found: Vec<Token> = Vec::new();
        let heavier = |a: &Token, b: &Token| b.log_mass.total_cmp(&a.log_mass).then(a.id.cmp(&b.id));
        for block in order {
            let least = if found.len() < n { f64::NEG_INFINITY } else { found[n - 1].log_mass };
            if self.row.blocks[block].best < least {
                break;
            }
            found.extend(
                self.row
                    .entries(block)
                    .filter(|(id, log_mass)| *log_mass >= least && self.removed.binary_search(id).is_err())
                    .map(|(id, log_mass)| Token { id, log_mass }),
            );
            found.sort_unstable_by(heavier);
            found.truncate(n);
        }
        self.remove(&found.iter().map(|token| token.id).collect::<Vec<_>>());
        found
    }

    fn remove(&mut self, tokens: &[u32]) -> Vec<Token> {
        let mut found = Vec::new();
        for &id in tokens {
            let log_mass = self.row.log_prob(id);
            if log_mass > f64::NEG_INFINITY
                && let Err(place) = self.removed.binary_search(&id)
            {
                self.removed.insert(place, id);
                found.push(Token { id, log_mass });
            }
        }
        let mut blocks: Vec<usize> = found.iter().map(|token| token.id as usize / BLOCK).collect();
        blocks.sort_unstable();
        blocks.dedup();
        for block in blocks {
            self.opened.retain(|opened| opened.block != block);
            let at = self.open(block);
            let log_rest = self.opened[at].log_rest();
            self.set_mass(block, log_rest);
        }
        found
    }

    fn choose(&mut self, log_masses: &[f64]) -> usize {
        let mut first = (f64::INFINITY, 0);
        for (index, &log_mass) in log_masses.iter().enumerate() {
            if log_mass > f64::NEG_INFINITY {
                let time = self.rng.exponential(self.n_choices, CHOICES).ln() - log_mass;
                first = if time < first.0 { (time, index) } else { first };
                self.n_choices += 1;
            }
        }
        first.1
    }

    fn failures(&mut self, share: f64) -> f64 {
        self.n_failures += 1;
        let log_failure = (-share.min(1.0)).ln_1p();
        (-self.rng.exponential(self.n_failures, FAILURES) / log_failure).floor()
    }
}

/// The logarithm of a time after `log_time`, when mass `e^log_mass` is left; never, where none is.
fn clock(log_time: f64, wait: f64, log_mass: f64) -> f64 {
    match log_mass > f64::NEG_INFINITY {
        true => log_add(log_time, wait.ln() - log_mass),
        false => f64::INFINITY,
    }
}

fn first_clock(clocks: &[f64]) -> (usize, f64) {
    let mut first = (0, f64::INFINITY);
    for (block, &time) in clocks.iter().enumerate() {
        first = if time < first.1 { (block, time) } else { first };
    }
    first
}

/// `ln(e^a + e^b)`.
pub(super) fn log_add(a: f64, b: f64) -> f64 {
    let (high, low) = if a > b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

wide! {
    /// The waiting times of the tokens from `first` on, a multiple of 64; whole chunks.
    fn fill_block(rng: &Rng, first: u32, purpose: Purpose, waits: &mut [f32]) {
        let (chunks, _) = waits.as_chunks_mut::<CHUNK>();
        for (n_chunk, chunk) in chunks.iter_mut().enumerate() {
            fill_waits(rng, first + (n_chunk * CHUNK) as u32, purpose, chunk);
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Entry {
    wait: f64,
    log_prob: f64,
    /// Relative to the block's scale.
    weight: f64,
    /// `wait / weight`
    key: f64,
    /// The weight of this and of all that arrive after it; known in sorted blocks.
    rest: f64,
    token: u32,
}

/// A block whose tokens race among themselves.
struct Opened {
    block: usize,
    scale: f64,
    /// Those that have not arrived; the next one last, once it is sorted.
    entries: Vec<Entry>,
    is_sorted: bool,
    n_taken: usize,
}

impl Opened {
    fn new(block: usize, entries: Vec<Entry>) -> Self {
        let mut opened = Self { block, scale: 0.0, entries, is_sorted: false, n_taken: 0 };
        opened.rescale();
        opened
    }

    fn rescale(&mut self) {
        self.scale = self.entries.iter().map(|entry| entry.log_prob).fold(f64::NEG_INFINITY, f64::max);
        for entry in &mut self.entries {
            entry.weight = exp_negative(entry.log_prob - self.scale);
            entry.key = entry.wait / entry.weight;
        }
        self.is_sorted = false;
    }

    fn sort(&mut self) {
        self.entries.sort_unstable_by(|a, b| b.key.total_cmp(&a.key).then(b.token.cmp(&a.token)));
        let mut rest = 0.0;
        for entry in &mut self.entries {
            rest += entry.weight;
            entry.rest = rest;
        }
        self.is_sorted = true;
    }

    fn rest(&self) -> f64 {
        match self.entries.last() {
            Some(last) if self.is_sorted => last.rest,
            _ => self.entries.iter().map(|entry| entry.weight).sum(),
        }
    }

    fn log_rest(&self) -> f64 {
        if self.entries.is_empty() { f64::NEG_INFINITY } else { self.scale + self.rest().ln() }
    }

    /// The next to arrive, and what is left behind it.
    fn take(&mut self) -> Option<(Token, f64)> {
        if !self.is_sorted && self.n_taken >= N_SEARCHED {
            self.sort();
        }
        let entry = if self.is_sorted {
            self.entries.pop()?
        } else {
            let before = |a: &Entry, b: &Entry| a.key.total_cmp(&b.key).then(a.token.cmp(&b.token));
            let (at, _) = self.entries.iter().enumerate().min_by(|a, b| before(a.1, b.1))?;
            self.entries.swap_remove(at)
        };
        self.n_taken += 1;
        if !self.entries.is_empty() && self.rest() < TINY {
            self.rescale();
        }
        Some((Token { id: entry.token, log_mass: entry.log_prob }, self.log_rest()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole race as it is described: keys within blocks, clocks between them.
    fn expected(row: &[f64], rng: Rng) -> Vec<u32> {
        let wait = |token: u32, purpose| {
            let mut waits = vec![0f32; (token as usize + 1).next_multiple_of(CHUNK)];
            fill_block(&rng, 0, purpose, &mut waits);
            f64::from(waits[token as usize])
        };
        let mut arrivals = Vec::new();
        for (block, values) in row.chunks(BLOCK).enumerate() {
            let mut left: Vec<(f64, u32)> = (0..values.len() as u32)
                .map(|offset| offset + (block * BLOCK) as u32)
                .filter(|&token| row[token as usize] > f64::NEG_INFINITY)
                .map(|token| (wait(token, KEYS).ln() - row[token as usize], token))
                .collect();
            left.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mut time = f64::NEG_INFINITY;
            for (i, &(_, token)) in left.iter().enumerate() {
                let rest = left[i..]
                    .iter()
                    .fold(f64::NEG_INFINITY, |sum, &(_, token)| log_add(sum, row[token as usize]));
                let wait = match i.checked_sub(1) {
                    Some(before) => rng.exponential(left[before].1, MOVES),
                    None => wait(block as u32, CLOCKS),
                };
                time = clock(time, wait, rest);
                arrivals.push((time, token));
            }
        }
        arrivals.sort_by(|a, b| a.0.total_cmp(&b.0));
        arrivals.into_iter().map(|(_, token)| token).collect()
    }

    /// Widths around the block, ties, gaps and a span of two thousand nats.
    #[test]
    fn all_tokens_arrive_once_in_the_order_of_the_race() {
        for n_vocab in [1usize, 2, 64, 300, 512, 513, 1500] {
            let row: Vec<f64> = (0..n_vocab)
                .map(|token| match token % 7 {
                    0 => f64::NEG_INFINITY,
                    1 => -2000.0,
                    2 => -40.0,
                    _ => -((token * 7919 % 1000) as f64) * 0.01,
                })
                .collect();
            let rng = Rng::new(n_vocab as u64, 5);
            let Ok(mass) = RowMass::new(&row, None, 0) else {
                assert_eq!(n_vocab, 1);
                continue;
            };
            let mut race = Race::new(&mass, rng);
            let (mut order, mut rests) = (Vec::new(), vec![race.log_rest()]);
            while let Some(token) = race.draw() {
                assert_eq!(token.log_mass, row[token.id as usize]);
                order.push(token.id);
                rests.push(race.log_rest());
            }
            assert_eq!(order, expected(&row, rng), "{n_vocab}");
            let mut log_rest = f64::NEG_INFINITY;
            for (&token, found) in order.iter().zip(&rests).rev() {
                log_rest = log_add(log_rest, row[token as usize]);
                assert!((found - log_rest).abs() < 1e-11, "{found} {log_rest}");
            }
            assert_eq!(rests.last(), Some(&f64::NEG_INFINITY));
        }
    }

    #[test]
    fn a_steep_row_keeps_its_precision() {
        let row: Vec<f64> = (0..3000).map(|token| -f64::from(token) * 2.0).collect();
        let mass = RowMass::new(&row, None, 0).unwrap();
        let mut race = Race::new(&mass, Rng::new(0, 0));
        let mut left: Vec<bool> = vec![true; row.len()];
        while let Some(token) = race.draw() {
            left[token.id as usize] = false;
            let rest = (0..row.len()).rev().filter(|&i| left[i]);
            let expected = rest.fold(f64::NEG_INFINITY, |sum, i| log_add(sum, row[i]));
            let found = race.log_rest();
            assert!(found == expected || (found - expected).abs() < 1e-10, "{token:?} {found} {expected}");
        }
        assert!(left.iter().all(|&is_left| !is_left));
    }

    #[test]
    fn the_heaviest_leave_first() {
        let row: Vec<f64> = (0..2000).map(|token| -f64::from(token * 7919 % 2000) * 0.01).collect();
        let mass = RowMass::new(&row, None, 0).unwrap();
        let mut race = Race::new(&mass, Rng::new(3, 3));
        let found = race.heaviest(5);
        assert_eq!(
            found.iter().map(|token| token.log_mass).collect::<Vec<_>>(),
            [0.0, -0.01, -0.02, -0.03, -0.04]
        );
        let expected = row.iter().filter(|&&p| p < -0.041).map(|p| p.exp()).sum::<f64>().ln();
        assert!((race.log_rest() - expected).abs() < 1e-12);
        let mut n_left = 0;
        while let Some(token) = race.draw() {
            assert!(!found.contains(&token));
            n_left += 1;
        }
        assert_eq!(n_left, 1995);
        assert_eq!(Race::new(&mass, Rng::new(3, 3)).heaviest(3000).len(), 2000);
        assert!(Race::new(&mass, Rng::new(3, 3)).heaviest(0).is_empty());
        // What was removed before is none of them, and nothing is removed twice.
        let mut race = Race::new(&mass, Rng::new(3, 3));
        assert_eq!(race.remove(&[found[1].id, found[0].id, found[1].id, 5000]), [found[1], found[0]]);
        assert_eq!(race.heaviest(3), found[2..]);
        assert!((race.log_rest() - expected).abs() < 1e-12);
    }

    #[test]
    fn choices_and_failures_have_their_means() {
        let row = [0.0f32];
        let mass = RowMass::new(&row, None, 0).unwrap();
        let mut race = Race::new(&mass, Rng::new(1, 1));
        let n = 40_000;
        let mut counts = [0.0; 3];
        let mut failures = 0.0;
        for _ in 0..n {
            counts[race.choose(&[0.5f64.ln(), f64::NEG_INFINITY, 1.5f64.ln()])] += 1.0 / f64::from(n);
            failures += race.failures(0.2) / f64::from(n);
        }
        assert!(counts[1] == 0.0 && (counts[0] - 0.25).abs() < 0.015, "{counts:?}");
        assert!((failures - 4.0).abs() < 0.15, "{failures}");
        assert_eq!(race.failures(1.0), 0.0);
    }
}
