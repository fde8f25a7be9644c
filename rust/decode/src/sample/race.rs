//! Which kept token arrives first?
//!
//! Token `t` arrives after its waiting time (`noise`) divided by its weight; the earliest arrival is the draw, ties to
//! the smallest id. Neither the draw nor the total mass depends on the order in which tokens are looked at.
//!
//! A waiting time is at least the fraction `word / 2^32` that it is made of. So most blocks are passed by after their
//! random words: where even the smallest of them, divided by the block's best weight, comes after the second arrival so
//! far, no logarithm and no division is needed. The weights are needed for the total in any case.

use super::keep::{Entry, Kept, Scale, Tokens};
use super::mass::{LANES, MassLanes};
use super::math::ln;
use super::noise::{self, CHUNK, wait_of};
use super::row::{BLOCK, Block, Row};
use crate::rng::{Purpose, Rng};
use crate::wide::wide;

const _: () = assert!(BLOCK == CHUNK, "random words come by the block");

/// The first two arrivals and the mass of all runners.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finish {
    pub(super) token: u32,
    pub(super) time: f32,
    pub(super) next_time: f32,
    pub(super) total_mass: u64,
}

impl Finish {
    const NOBODY: Self =
        Self { token: u32::MAX, time: f32::INFINITY, next_time: f32::INFINITY, total_mass: 0 };

    #[inline(always)]
    fn arrive(&mut self, token: u32, time: f32) {
        if (time, token) < (self.time, self.token) {
            self.next_time = self.time;
            (self.time, self.token) = (time, token);
        } else if time < self.next_time {
            self.next_time = time;
        }
    }

    /// How far the winner was ahead: the difference of the logarithms of the two best arrival times, in nats. A change of
    /// all logits by less than half of it cannot change the winner among the same tokens.
    pub(super) fn margin(&self) -> f32 {
        let ratio = self.next_time / self.time;
        if ratio.is_finite() { ln(ratio) } else { f32::INFINITY }
    }
}

/// Run the race among the kept tokens of a row.
pub(super) fn race(row: &Row<'_>, kept: &Kept<'_, '_>, rng: Rng, purpose: Purpose) -> Finish {
    let scale = kept.scale;
    match &kept.tokens {
        Tokens::All => race_all(row, scale, rng, purpose),
        Tokens::Listed(entries) => race_listed(entries, scale, rng, purpose),
    }
}

/// The race so far, and the masses that were not yet added up.
struct Runners {
    finish: Finish,
    masses: MassLanes,
    n_blocks: usize,
}

impl Runners {
    #[inline(always)]
    fn run(&mut self, first: u32, block: &Block, heaviest: f32, scale: Scale, rng: &Rng, purpose: Purpose) {
        let mut weights = [0f32; BLOCK];
        for (weights, quarter) in weights.as_chunks_mut().0.iter_mut().zip(block.as_chunks::<LANES>().0) {
            for (weight, &logit) in weights.iter_mut().zip(quarter) {
                *weight = scale.weight(logit);
            }
            self.masses.add(weights);
        }
        self.n_blocks += 1;
        if self.n_blocks == MassLanes::MAX_BLOCKS {
            self.finish.total_mass += self.masses.drain();
            self.n_blocks = 0;
        }
        let words = noise::chunk_words(rng, first >> 2, purpose);
        let smallest = words.iter().fold(u32::MAX, |a, &b| a.min(b));
        // The slack covers the rounding of waiting times, weights and quotients.
        let latest = f64::from(self.finish.next_time) * f64::from(heaviest) * 1.0001;
        if f64::from(smallest) * (1.0 / 4_294_967_296.0) > latest {
            return;
        }
        for (offset, (&word, &weight)) in words.iter().zip(&weights).enumerate() {
            if f64::from(word) * (1.0 / 4_294_967_296.0) <= latest {
                let token = first + offset as u32;
                self.finish.arrive(token, wait_of(rng, token, word, purpose) / weight);
            }
        }
    }

    fn finish(mut self) -> Finish {
        self.finish.total_mass += self.masses.drain();
        self.finish
    }
}

wide! {
    fn race_all(row: &Row<'_>, scale: Scale, rng: Rng, purpose: Purpose) -> Finish {
        let mut buffer = [0.0; BLOCK];
        let mut runners = Runners { finish: Finish::NOBODY, masses: MassLanes::default(), n_blocks: 0 };
        for (n_block, &max) in row.maxima.iter().enumerate() {
            let heaviest = scale.weight(max);
            if heaviest > 0.0 {
                let block = row.reader.block(n_block, &mut buffer);
                runners.run((n_block * BLOCK) as u32, block, heaviest, scale, &rng, purpose);
            }
        }
        runners.finish()
    }
}

wide! {
    /// The race of entries in any order.
    fn race_listed(entries: &[Entry], scale: Scale, rng: Rng, purpose: Purpose) -> Finish {
        let mut finish = Finish::NOBODY;
        let mut masses = MassLanes::default();
        for (n_group, group) in entries.chunks(LANES).enumerate() {
            let mut tokens = [0; LANES];
            let mut logits = [f32::NEG_INFINITY; LANES];
            for (lane, entry) in group.iter().enumerate() {
                (tokens[lane], logits[lane]) = (entry.token(), entry.logit());
            }
            let words = noise::gathered_words(&rng, &tokens, purpose);
            let mut weights = [0f32; LANES];
            let mut is_early = [false; LANES];
            let latest = finish.next_time * 1.0001;
            for lane in 0..LANES {
                weights[lane] = scale.weight(logits[lane]);
                is_early[lane] = words[lane] as f32 * 2.328_306_4e-10 <= latest * weights[lane];
            }
            masses.add(&weights);
            if is_early != [false; LANES] {
                for lane in 0..group.len() {
                    if is_early[lane] {
                        let wait = wait_of(&rng, tokens[lane], words[lane], purpose);
                        finish.arrive(tokens[lane], wait / weights[lane]);
                    }
                }
            }
            if n_group % MassLanes::MAX_STEPS == MassLanes::MAX_STEPS - 1 {
                finish.total_mass += masses.drain();
            }
        }
        finish.total_mass += masses.drain();
        finish
    }
}

#[cfg(test)]
mod tests {
    use super::super::math::mass;
    use super::super::row::{Logits, RowBuffers};
    use super::super::weighted::WeightedRace;
    use super::*;

    #[test]
    fn races_by_block_and_by_token_are_equal() {
        for n_tokens in [1usize, 63, 64, 65, 1000, 20_003] {
            let logits: Vec<f32> = (0..n_tokens)
                .map(|n| if n % 5 == 4 { f32::NEG_INFINITY } else { (n * 7919 % 101) as f32 * 0.2 })
                .collect();
            let mut buffers = RowBuffers::default();
            let row = buffers.read(Logits::F32(&logits), None, &[], &[]).unwrap();
            let scale = Scale { max: row.max, temperature: 0.8 };
            for position in 0..20 {
                let (rng, purpose) = (Rng::new(5, position), Purpose::SAMPLE);
                let wide = race_all(&row, scale, rng, purpose);
                let mut entries = Kept::all(&row).into_entries();
                entries.sort_unstable();
                let listed = race_listed(&entries, scale, rng, purpose);
                let mut single = Finish::NOBODY;
                for entry in entries {
                    let (token, weight) = (entry.token(), scale.weight(entry.logit()));
                    single.total_mass += mass(weight);
                    single.arrive(token, noise::wait(&rng, token, purpose) / weight);
                }
                for finish in [wide, listed] {
                    assert_eq!((finish.token, finish.time), (single.token, single.time));
                    assert_eq!((finish.next_time, finish.total_mass), (single.next_time, single.total_mass));
                }
                let weights: Vec<f64> = logits.iter().map(|&logit| f64::from(scale.weight(logit))).collect();
                let mut weighted = WeightedRace::new(rng, purpose);
                weighted.run(0, &weights);
                assert_eq!(weighted.winner(), Some(wide.token));
            }
        }
    }
}
