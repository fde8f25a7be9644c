//! Which kept token arrives first?
//!
//! Token `t` arrives after its waiting time (`noise`) divided by its weight; the earliest arrival is the draw, ties to
//! the smallest id. Neither the draw nor the total mass depends on the order in which tokens are looked at.

use super::keep::{Kept, LANES, MassLanes, Scale};
use super::math::{ln, mass};
use super::noise::{CHUNK, fill_waits, wait};
use super::row::Row;
use crate::rng::{Purpose, Rng};
use crate::wide::wide;

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
pub(super) fn race(row: &Row<'_>, kept: &Kept, scale: Scale, rng: Rng, purpose: Purpose) -> Finish {
    match kept {
        Kept::All => race_all(row.logits, scale, rng, purpose),
        Kept::Listed(entries) => {
            let mut finish = Finish::NOBODY;
            for entry in entries {
                let weight = scale.weight(entry.logit());
                finish.total_mass += mass(weight);
                finish.arrive(entry.token(), wait(&rng, entry.token(), purpose) / weight);
            }
            finish
        }
    }
}

wide! {
    fn race_all(logits: &[f32], scale: Scale, rng: Rng, purpose: Purpose) -> Finish {
        let mut finish = Finish::NOBODY;
        let mut waits = [0f32; CHUNK];
        let mut masses = MassLanes::default();
        let mut times = [f32::INFINITY; LANES];
        let mut next_times = [f32::INFINITY; LANES];
        let mut tokens = [u32::MAX; LANES];
        let (chunks, tail) = logits.as_chunks::<CHUNK>();
        for (n_chunk, chunk) in chunks.iter().enumerate() {
            let first = (n_chunk * CHUNK) as u32;
            fill_waits(&rng, first, purpose, &mut waits);
            for step in (0..CHUNK).step_by(LANES) {
                for lane in 0..LANES {
                    let weight = scale.weight(chunk[step + lane]);
                    masses.add(lane, weight);
                    let time = waits[step + lane] / weight;
                    let is_first = time < times[lane];
                    let loser = if is_first { times[lane] } else { time };
                    next_times[lane] = if loser < next_times[lane] { loser } else { next_times[lane] };
                    tokens[lane] = if is_first { first + (step + lane) as u32 } else { tokens[lane] };
                    times[lane] = if is_first { time } else { times[lane] };
                }
            }
            if n_chunk % (MassLanes::MAX_STEPS * LANES / CHUNK) == 0 {
                finish.total_mass += masses.drain();
            }
        }
        finish.total_mass += masses.drain();
        for lane in 0..LANES {
            finish.arrive(tokens[lane], times[lane]);
            finish.arrive(u32::MAX, next_times[lane]);
        }
        let first_of_tail = (logits.len() - tail.len()) as u32;
        for (token, &logit) in (first_of_tail..).zip(tail) {
            let weight = scale.weight(logit);
            finish.total_mass += mass(weight);
            finish.arrive(token, wait(&rng, token, purpose) / weight);
        }
        finish
    }
}

#[cfg(test)]
mod tests {
    use super::super::keep::Entry;
    use super::super::row::RowBuffers;
    use super::super::weighted::WeightedRace;
    use super::*;

    #[test]
    fn the_wide_race_equals_the_listed_one() {
        for n_tokens in [1usize, 63, 64, 65, 1000, 20_003] {
            let logits: Vec<f32> = (0..n_tokens)
                .map(|n| if n % 5 == 4 { f32::NEG_INFINITY } else { (n * 7919 % 101) as f32 * 0.2 })
                .collect();
            let mut buffers = RowBuffers::default();
            let row = buffers.read(&logits, None).unwrap();
            let scale = Scale { max: row.max, temperature: 0.8 };
            for position in 0..20 {
                let rng = Rng::new(5, position);
                let entries: Vec<Entry> = Kept::All.into_entries(&row, f32::NEG_INFINITY);
                let wide = race(&row, &Kept::All, scale, rng, Purpose::SAMPLE);
                let listed = race(&row, &Kept::Listed(entries), scale, rng, Purpose::SAMPLE);
                assert_eq!(
                    (wide.token, wide.time, wide.total_mass),
                    (listed.token, listed.time, listed.total_mass)
                );
                assert_eq!(wide.next_time, listed.next_time);
                let weights: Vec<f64> = logits.iter().map(|&logit| f64::from(scale.weight(logit))).collect();
                let mut weighted = WeightedRace::new(rng, Purpose::SAMPLE);
                weighted.run(0, &weights);
                assert_eq!(weighted.winner(), Some(wide.token));
            }
        }
    }
}
