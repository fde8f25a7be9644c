//! Which token arrives first when the weights are already there?
//!
//! The race of `race` over weights instead of logits, fed block after block so that a caller can make its weights on the
//! way and nothing as long as the vocabulary is kept. Token `t` arrives after its waiting time divided by its weight; a
//! weight of zero never arrives, and blocks of zeros cost no random numbers. Linear; the winner does not depend on how
//! the row is cut into blocks.

use super::noise::{CHUNK, fill_waits, wait};
use crate::rng::{Purpose, Rng};
use crate::wide::wide;

const LANES: usize = 8;

/// The earliest arrival so far.
#[derive(Clone, Copy, Debug)]
pub struct WeightedRace {
    rng: Rng,
    purpose: Purpose,
    time: f64,
    token: Option<u32>,
}

impl WeightedRace {
    /// A race that nobody has finished.
    pub fn new(rng: Rng, purpose: Purpose) -> Self {
        Self { rng, purpose, time: f64::INFINITY, token: None }
    }

    /// Lets the tokens `first ..` run with these finite, non-negative weights; `first` is a multiple of 64.
    pub fn run(&mut self, first: u32, weights: &[f64]) {
        let (time, token) = first_of(&self.rng, self.purpose, first, weights);
        if time < self.time {
            (self.time, self.token) = (time, Some(token));
        }
    }

    /// The winner; `None` where nothing had weight.
    pub fn winner(&self) -> Option<u32> {
        self.token
    }
}

wide! {
    /// Arrival time and token of the earliest of a block; the smallest token of equal ones.
    fn first_of(rng: &Rng, purpose: Purpose, first: u32, weights: &[f64]) -> (f64, u32) {
        let mut best = (f64::INFINITY, u32::MAX);
        let mut waits = [0f32; CHUNK];
        let (chunks, tail) = weights.as_chunks::<CHUNK>();
        for (n_chunk, chunk) in chunks.iter().enumerate() {
            let mut heaviest = [0f64; LANES];
            for step in (0..CHUNK).step_by(LANES) {
                for lane in 0..LANES {
                    let weight = chunk[step + lane];
                    heaviest[lane] = if weight > heaviest[lane] { weight } else { heaviest[lane] };
                }
            }
            if heaviest == [0f64; LANES] {
                continue;
            }
            let start = first + (n_chunk * CHUNK) as u32;
            fill_waits(rng, start, purpose, &mut waits);
            let mut times = [f64::INFINITY; LANES];
            let mut steps = [0u32; LANES];
            for step in (0..CHUNK).step_by(LANES) {
                for lane in 0..LANES {
                    let time = f64::from(waits[step + lane]) / chunk[step + lane];
                    let is_first = time < times[lane];
                    times[lane] = if is_first { time } else { times[lane] };
                    steps[lane] = if is_first { step as u32 } else { steps[lane] };
                }
            }
            for lane in 0..LANES {
                let arrival = (times[lane], start + steps[lane] + lane as u32);
                best = if arrival < best { arrival } else { best };
            }
        }
        let start = first + (weights.len() - tail.len()) as u32;
        for (token, &weight) in (start..).zip(tail).filter(|(_, weight)| **weight > 0.0) {
            let arrival = (f64::from(wait(rng, token, purpose)) / weight, token);
            best = if arrival < best { arrival } else { best };
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_any_size_have_one_winner() {
        let weights: Vec<f64> =
            (0..5000).map(|n| if n % 700 > 300 { 0.0 } else { (n * 7919 % 101) as f64 }).collect();
        for position in 0..50 {
            let (rng, purpose) = (Rng::new(5, position), Purpose::RESIDUAL);
            let expected = (0u32..)
                .zip(&weights)
                .filter(|(_, weight)| **weight > 0.0)
                .map(|(token, weight)| (f64::from(wait(&rng, token, purpose)) / weight, token))
                .min_by(|a, b| a.partial_cmp(b).unwrap());
            for n_block in [64, 1024, 8192] {
                let mut race = WeightedRace::new(rng, purpose);
                for (i, block) in weights.chunks(n_block).enumerate() {
                    race.run((i * n_block) as u32, block);
                }
                assert_eq!(race.winner(), expected.map(|(_, token)| token));
            }
        }
        let mut race = WeightedRace::new(Rng::new(0, 0), Purpose::SAMPLE);
        race.run(0, &[0.0; 100]);
        assert_eq!(race.winner(), None);
        race.run(128, &[0.0, 1e-300]);
        assert_eq!(race.winner(), Some(129));
    }
}
