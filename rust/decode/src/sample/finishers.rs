//! In which order do tokens arrive, when some of them will be sent away at the door?
//!
//! A caller that may only ask about single tokens wants the race of [`Sampler::draw`] as if the forbidden tokens had never
//! run. Removing tokens changes nobody's waiting time; it changes the scale of the weights, which is the best token's
//! logit. So the caller finds the best allowed token first ([`RaceOrder::best`]), and then takes arrivals at that scale
//! ([`RaceOrder::arrivals`]): the first that is allowed is the draw under the mask, to the last bit.
//!
//! Cost: one read of the row for the first arrivals, as for a draw; each further list reads it again. No truncation
//! rules: they look at all allowed tokens.

use super::keep::{Entry, Scale, best_of};
use super::mass::{LANES, MassLanes, total_mass};
use super::math::ln_mass;
use super::noise::{chunk_words, wait_of};
use super::row::{BLOCK, Logits, Row};
use super::{Sampler, Status};
use crate::rng::{Purpose, Rng};
use crate::wide::wide;

/// A token and when it arrives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finisher {
    /// Its waiting time over its weight.
    pub time: f32,
    /// The token.
    pub token: u32,
}

/// A row about to be drawn from.
pub struct RaceOrder<'a> {
    row: Row<'a>,
    temperature: f32,
    rng: Rng,
    purpose: Purpose,
    /// The mass of all tokens, once somebody asked for it.
    total: Option<u64>,
}

impl Sampler {
    /// The row's order of arrival at a temperature; at 0 there is only the order of [`RaceOrder::best`].
    ///
    /// # Errors
    /// The [`Status`] of a row that cannot be drawn from.
    pub fn order<'a>(
        &'a mut self,
        logits: &'a [f32],
        temperature: f64,
        rng: Rng,
        purpose: Purpose,
    ) -> Result<RaceOrder<'a>, Status> {
        let row = self.buffers.read(Logits::F32(logits), None, &[], &[])?;
        Ok(RaceOrder { row, temperature: temperature as f32, rng, purpose, total: None })
    }
}

impl RaceOrder<'_> {
    /// The `n` best tokens above `-inf`, best first, ties in order of id.
    pub fn best(&self, n: usize) -> Vec<u32> {
        if n == 1 {
            return vec![self.row.best()];
        }
        let mut entries = best_of(&self.row, n);
        entries.sort_unstable();
        entries.into_iter().map(Entry::token).collect()
    }

    /// The `n` earliest arrivals behind `after`, weighed as if `best` were the best token: better ones do not run.
    pub fn arrivals(&mut self, best: u32, after: Option<Finisher>, n: usize) -> Vec<Finisher> {
        let scale = Scale { max: self.row.reader.logit(best), temperature: self.temperature };
        let mut podium = Podium::new(n, after);
        let mass = run(&self.row, scale, self.rng, self.purpose, &mut podium);
        if scale.max == self.row.max {
            self.total = Some(mass);
        }
        podium.into_sorted()
    }

    /// The logarithm of the token's probability among all tokens of the row.
    pub fn log_prob(&mut self, token: u32) -> f32 {
        let scale = Scale { max: self.row.max, temperature: self.temperature.max(f32::MIN_POSITIVE) };
        let total = *self.total.get_or_insert_with(|| total_mass(&self.row, scale));
        scale.log_weight(self.row.reader.logit(token)) - ln_mass(total)
    }

    /// How many tokens the row has.
    pub fn n_tokens(&self) -> usize {
        self.row.reader.n_vocab()
    }
}

/// The earliest so far: all that came before `bound`, and sometimes a few more.
struct Podium {
    n: usize,
    after: Finisher,
    bound: f32,
    finishers: Vec<Finisher>,
}

impl Podium {
    fn new(n: usize, after: Option<Finisher>) -> Self {
        let after = after.unwrap_or(Finisher { time: f32::NEG_INFINITY, token: 0 });
        Self { n, after, bound: f32::MAX, finishers: Vec::with_capacity(2 * n) }
    }

    fn arrive(&mut self, time: f32, token: u32) {
        if (time, token) <= (self.after.time, self.after.token) {
            return;
        }
        self.finishers.push(Finisher { time, token });
        if self.finishers.len() == 2 * self.n {
            self.finishers.select_nth_unstable_by(self.n - 1, Self::earlier);
            self.finishers.truncate(self.n);
            self.bound = self.finishers[self.n - 1].time;
        }
    }

    fn earlier(a: &Finisher, b: &Finisher) -> std::cmp::Ordering {
        a.time.total_cmp(&b.time).then(a.token.cmp(&b.token))
    }

    fn into_sorted(mut self) -> Vec<Finisher> {
        self.finishers.sort_unstable_by(Self::earlier);
        self.finishers.truncate(self.n);
        self.finishers
    }
}

wide! {
    /// Lets the row run; returns the mass of the runners.
    fn run(row: &Row<'_>, scale: Scale, rng: Rng, purpose: Purpose, podium: &mut Podium) -> u64 {
        let (mut buffer, mut weights) = ([0.0; BLOCK], [0.0; BLOCK]);
        let mut masses = MassLanes::default();
        let (mut total, mut n_added) = (0, 0);
        for (n_block, &max) in row.maxima.iter().enumerate() {
            let heaviest = scale.weight(max.min(scale.max));
            if heaviest == 0.0 {
                continue;
            }
            let block = row.reader.block(n_block, &mut buffer);
            for (weights, quarter) in weights.as_chunks_mut().0.iter_mut().zip(block.as_chunks::<LANES>().0) {
                for (weight, &logit) in weights.iter_mut().zip(quarter) {
                    *weight = if logit > scale.max { 0.0 } else { scale.weight(logit) };
                }
                masses.add(weights);
            }
            n_added += 1;
            if n_added % MassLanes::MAX_BLOCKS == 0 {
                total += masses.drain();
            }
            let first = (n_block * BLOCK) as u32;
            let words = chunk_words(&rng, first >> 2, purpose);
            // A waiting time is at least its fraction; see `race`.
            let latest = f64::from(podium.bound) * f64::from(heaviest) * 1.0001;
            let smallest = words.iter().fold(u32::MAX, |a, &b| a.min(b));
            if f64::from(smallest) * (1.0 / 4_294_967_296.0) > latest {
                continue;
            }
            for (offset, (&word, &weight)) in words.iter().zip(&weights).enumerate() {
                if weight > 0.0 && f64::from(word) * (1.0 / 4_294_967_296.0) <= latest {
                    let token = first + offset as u32;
                    let time = wait_of(&rng, token, word, purpose) / weight;
                    if time <= podium.bound {
                        podium.arrive(time, token);
                    }
                }
            }
        }
        total + masses.drain()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{History, Params, Source};
    use super::*;

    #[test]
    fn lists_go_on_where_the_last_one_ended() {
        let logits: Vec<f32> = (0..1_003)
            .map(|n| if n % 5 == 4 { f32::NEG_INFINITY } else { (n * 7919 % 101) as f32 * 0.2 })
            .collect();
        let mut sampler = Sampler::default();
        for position in 0..10 {
            let mut order = sampler.order(&logits, 0.8, Rng::new(5, position), Purpose::SAMPLE).unwrap();
            let best = order.best(4);
            assert!(best.windows(2).all(|pair| logits[pair[0] as usize] >= logits[pair[1] as usize]));
            assert_eq!(best[0], order.best(1)[0]);
            let whole = order.arrivals(best[3], None, 2_000);
            let n_runners =
                logits.iter().filter(|&&l| l > f32::NEG_INFINITY && l <= logits[best[3] as usize]);
            assert_eq!(whole.len(), n_runners.count());
            let mut pieces = order.arrivals(best[3], None, 7);
            while let Some(&last) = pieces.last() {
                let more = order.arrivals(best[3], Some(last), 100);
                if more.is_empty() {
                    break;
                }
                pieces.extend(more);
            }
            assert_eq!(pieces, whole);
        }
    }

    #[test]
    fn the_first_arrival_is_the_draw() {
        let logits: Vec<f32> = (0..20_003).map(|n| (n * 7919 % 10_007) as f32 * 1e-3).collect();
        let mut sampler = Sampler::default();
        for position in 0..50 {
            let (rng, purpose) = (Rng::new(9, position), Purpose::SAMPLE);
            let (params, history) = (Params::default(), History::default());
            let source =
                Source { logits: Logits::F32(&logits), mask: None, params: &params, history, mu: f32::NAN };
            let draw = sampler.draw(source, rng, purpose).unwrap();
            let mut order = sampler.order(&logits, 1.0, rng, purpose).unwrap();
            let best = order.best(1)[0];
            let first = order.arrivals(best, None, 8)[0];
            assert_eq!(first.token, draw.token);
            assert_eq!(order.log_prob(first.token), draw.log_prob);
        }
    }
}
